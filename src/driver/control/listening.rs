//! A listening Unix socket for administrators (control, metrics): creating and removing it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mio::net::UnixListener;
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::limits::CONTROL_BACKLOG;

/// Access for the daemon's user and the group of the socket.
const MODE: u32 = 0o660;

/// A listening socket. Its path is removed on drop.
#[derive(Debug)]
pub struct Listening {
    path: PathBuf,
    /// The socket we created: a socket that another process put there is not ours.
    made: Made,
    pub(super) listener: UnixListener,
}

impl Listening {
    /// Creates the socket, and its folder if it is missing. A socket without a listener is
    /// replaced.
    ///
    /// # Errors
    /// The socket cannot be created, or another daemon answers there.
    pub fn open(path: &Path) -> io::Result<Self> {
        match path.symlink_metadata() {
            Ok(data) if !data.file_type().is_socket() => {
                return Err(io::Error::other("a file that is not a socket is there"));
            }
            Ok(_) if is_listened_on(path)? => {
                return Err(io::Error::other("another daemon answers there"));
            }
            Ok(_) => fs::remove_file(path)?,
            Err(_) => {}
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Set before the socket has a name, so that it is never open to others; set again because
        // of the umask.
        fchmod(&socket, Mode::from_bits_truncate(MODE))?;
        socket.bind(&SockAddr::unix(path)?)?;
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        let made = inode(path)?;
        socket.listen(CONTROL_BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = UnixListener::from_std(std::os::unix::net::UnixListener::from(socket));
        Ok(Self { path: path.to_path_buf(), made, listener })
    }

    /// The socket, which does not block.
    pub(in crate::driver) fn socket(&mut self) -> &mut UnixListener {
        &mut self.listener
    }

    /// Returns whether the path still leads to it.
    pub fn is_at_its_path(&self) -> bool {
        inode(&self.path).is_ok_and(|found| found == self.made)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|there| there == self.made)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::debug!("{}: {error}", self.path.display());
        }
    }
}

/// A file: its device, inode and birth. Some file systems give an inode's number again at once.
type Made = (u64, u64, Option<SystemTime>);

fn inode(path: &Path) -> io::Result<Made> {
    let data = path.symlink_metadata()?;
    Ok((data.dev(), data.ino(), data.created().ok()))
}

/// Returns whether a process listens on a socket, even if it is too busy to answer.
fn is_listened_on(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_the_dead_is_replaced_and_one_of_the_living_or_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/control.sock");
        let first = Listening::open(&path).unwrap();
        assert_eq!(path.symlink_metadata().unwrap().permissions().mode() & 0o7777, 0o660);
        let error = Listening::open(&path).unwrap_err();
        assert!(error.to_string().contains("another daemon answers there"), "{error}");
        drop(first);
        assert!(path.symlink_metadata().is_err(), "it is removed");

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let second = Listening::open(&path).unwrap();
        fs::rename(&path, path.with_extension("away")).unwrap();
        fs::write(&path, "of somebody else").unwrap();
        drop(second);
        assert_eq!(fs::read_to_string(&path).unwrap(), "of somebody else");
        let error = Listening::open(&path).unwrap_err();
        assert!(error.to_string().contains("not a socket"), "{error}");
    }

    #[test]
    fn one_whose_queue_of_clients_is_full_is_living() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _listening = Listening::open(&path).unwrap();
        let mut waiting = Vec::new();
        loop {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            if socket.connect(&SockAddr::unix(&path).unwrap()).is_err() {
                break;
            }
            waiting.push(socket);
        }
        assert!(waiting.len() > 100);
        assert!(is_listened_on(&path).unwrap());
    }
}
