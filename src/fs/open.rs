//! Opening the files that outputs append to.
//!
//! A stranger controls what a message put into a path: below the folder that is the user's own, no
//! symbolic link is followed, and only a regular file is written. Nothing is opened in a way that
//! could block.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Group, Uid, User, fchown};

use crate::limits::FILE_MODE_DEFAULT;

/// The access rights of new files and folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The mode of a new file.
    pub mode: u32,
    /// True if the umask does not apply to it.
    pub mode_is_exact: bool,
    /// The mode of a new folder, whatever the umask; `None` for 0777 less the umask.
    pub dir_mode: Option<u32>,
    /// The name or number of the owner of new files and folders.
    pub owner: Option<String>,
    /// The name or number of their group.
    pub group: Option<String>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            mode: FILE_MODE_DEFAULT,
            mode_is_exact: false,
            dir_mode: None,
            owner: None,
            group: None,
        }
    }
}

/// Opens a file for appending and reading; creates it and its folders if missing. After the first
/// `trusted` bytes of the path no link is followed, and the file must be a regular one; `None` if
/// the whole path is trusted.
pub(super) fn output(path: &Path, trusted: Option<usize>, access: &Access) -> io::Result<File> {
    match trusted {
        None => {
            let done = at(AT_FDCWD, path, OFlag::empty(), access);
            let done = match done {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    make_folders(path.parent().unwrap_or_else(|| Path::new("/")), access)?;
                    at(AT_FDCWD, path, OFlag::empty(), access)
                }
                done => done,
            };
            may_be_written(done?)
        }
        Some(trusted) => {
            let (trusted, rest) = path.as_os_str().as_bytes().split_at(trusted);
            let trusted = Path::new(std::ffi::OsStr::from_bytes(trusted));
            let rest = Path::new(std::ffi::OsStr::from_bytes(rest));
            let file = at(walk(trusted, rest, access)?, last(rest)?, OFlag::O_NOFOLLOW, access)?;
            match file.metadata()?.is_file() {
                true => Ok(file),
                false => Err(invalid("it is not a regular file")),
            }
        }
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, why)
}

fn last(path: &Path) -> io::Result<&Path> {
    path.file_name().map(Path::new).ok_or_else(|| invalid("it is not the name of a file"))
}

/// Accepts what a user may want to append to: a regular file, or a device, whose writes then block.
fn may_be_written(file: File) -> io::Result<File> {
    let kind = file.metadata()?.file_type();
    if kind.is_fifo() {
        return Err(invalid("it is a named pipe: write to it with pipe = \"cat > …\" instead"));
    }
    if !kind.is_file() {
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    }
    Ok(file)
}

/// Opens a file in a folder; creates it if missing.
fn at(folder: impl AsFd, name: &Path, how: OFlag, access: &Access) -> io::Result<File> {
    let how = how
        | OFlag::O_RDWR
        | OFlag::O_APPEND
        | OFlag::O_NONBLOCK
        | OFlag::O_NOCTTY
        | OFlag::O_CLOEXEC;
    let open = |how| openat(folder.as_fd(), name, how, mode(access.mode)).map(File::from);
    match open(how) {
        Err(Errno::ENOENT) => {}
        done => return Ok(done?),
    }
    match open(how | OFlag::O_CREAT | OFlag::O_EXCL) {
        // Another process just created it, or it is a link to a missing file.
        Err(Errno::EEXIST) => Ok(open(how | OFlag::O_CREAT)?),
        Err(error) => Err(error.into()),
        Ok(file) => {
            let exact = access.mode_is_exact.then_some(access.mode);
            give(&file, exact, access).inspect_err(|_| {
                // Otherwise the next attempt would find a file with the wrong access rights.
                let _ = nix::unistd::unlinkat(folder.as_fd(), name, NO_FOLDER);
            })?;
            Ok(file)
        }
    }
}

const NO_FOLDER: nix::unistd::UnlinkatFlags = nix::unistd::UnlinkatFlags::NoRemoveDir;

fn mode(bits: u32) -> Mode {
    Mode::from_bits_truncate(bits)
}

/// Sets the configured owner, group and mode of a new file or folder.
fn give(made: &File, exact: Option<u32>, access: &Access) -> io::Result<()> {
    if access.owner.is_some() || access.group.is_some() {
        let owner = access.owner.as_deref().map(user).transpose()?;
        let group = access.group.as_deref().map(group).transpose()?;
        fchown(made, owner, group).map_err(|error| {
            let [owner, group] = [&access.owner, &access.group].map(|name| name.as_deref());
            let whom = format!("{}:{}", owner.unwrap_or_default(), group.unwrap_or_default());
            io::Error::other(format!("cannot be given to `{whom}`: {}", error.desc()))
        })?;
    }
    if let Some(bits) = exact {
        fchmod(made, mode(bits))?;
    }
    Ok(())
}

fn user(name: &str) -> io::Result<Uid> {
    let known = || User::from_name(name).ok().flatten().map(|user| user.uid);
    let number = name.parse().ok().map(Uid::from_raw);
    number.or_else(known).ok_or_else(|| io::Error::other(format!("there is no user `{name}`")))
}

fn group(name: &str) -> io::Result<Gid> {
    let known = || Group::from_name(name).ok().flatten().map(|group| group.gid);
    let number = name.parse().ok().map(Gid::from_raw);
    number.or_else(known).ok_or_else(|| io::Error::other(format!("there is no group `{name}`")))
}

/// Creates a folder and its missing parents.
fn make_folders(folder: &Path, access: &Access) -> io::Result<()> {
    if folder.as_os_str().is_empty() {
        return Ok(());
    }
    let make = || fs::DirBuilder::new().mode(access.dir_mode.unwrap_or(0o777)).create(folder);
    let made = match make() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_folders(folder.parent().unwrap_or_else(|| Path::new("/")), access)?;
            make()
        }
        made => made,
    };
    match made {
        Ok(()) => give(&File::open(folder)?, access.dir_mode, access),
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// The folder of a file, reached without links from the trusted one.
fn walk(trusted: &Path, rest: &Path, access: &Access) -> io::Result<File> {
    let here = if trusted.as_os_str().is_empty() { Path::new(".") } else { trusted };
    let how = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let open = || openat(AT_FDCWD, here, how, Mode::empty());
    let mut folder = match open() {
        Err(Errno::ENOENT) => {
            make_folders(here, access)?;
            open()?
        }
        done => done?,
    };
    let how = how | OFlag::O_NOFOLLOW;
    for name in rest.parent().unwrap_or_else(|| Path::new("")) {
        folder = match openat(&folder, name, how, Mode::empty()) {
            Err(Errno::ENOENT) => {
                match mkdirat(&folder, name, mode(access.dir_mode.unwrap_or(0o777))) {
                    Ok(()) => {
                        let read = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                        let made = File::from(openat(&folder, name, read, Mode::empty())?);
                        give(&made, access.dir_mode, access)?;
                    }
                    Err(Errno::EEXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                openat(&folder, name, how, Mode::empty())?
            }
            done => done?,
        };
    }
    Ok(folder.into())
}

/// Renames a file to a name that must be free.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_env = "gnu")]
    {
        use nix::fcntl::{RenameFlags, renameat2};
        let flags = RenameFlags::RENAME_NOREPLACE;
        match renameat2(AT_FDCWD, from, AT_FDCWD, to, flags) {
            // The file system does not support it.
            Err(Errno::EINVAL | Errno::ENOSYS) => {}
            done => return Ok(done?),
        }
    }
    match to.symlink_metadata() {
        Ok(_) => Err(ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

/// Creates a file for writing that nobody else can read; a file left under that name by an earlier
/// attempt is removed.
///
/// # Errors
/// The system's.
pub fn scratch(path: &PathBuf) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path),
    }
}

/// Opens a regular file for reading; links are refused.
///
/// # Errors
/// The system's; `InvalidInput` if it is something else.
pub fn regular(path: &Path) -> io::Result<File> {
    let how = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(openat(AT_FDCWD, path, how, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(invalid("it is not a regular file")),
    }
}

/// Gives a copy the owner, the group and the mode of its original, as far as permitted: those who
/// cannot read the original must not read the copy.
///
/// # Errors
/// The system's.
pub fn copy_access(from: &fs::Metadata, to: &File) -> io::Result<()> {
    let (owner, group) = (Uid::from_raw(from.uid()), Gid::from_raw(from.gid()));
    let given = fchown(to, Some(owner), Some(group)).is_ok();
    let bits = if given { 0o7777 } else { 0o700 };
    Ok(fchmod(to, mode(from.mode() & bits))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn trusted(folder: &Path) -> Option<usize> {
        Some(folder.as_os_str().len() + 1)
    }

    fn open(folder: &Path, name: &str) -> io::Result<File> {
        output(&folder.join(name), trusted(folder), &Access::default())
    }

    #[test]
    fn no_link_is_followed_where_a_message_has_a_part_in_the_path() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("log");
        let other = scratch.path().join("other");
        fs::create_dir(&folder).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("target"), "kept").unwrap();
        symlink(other.join("target"), folder.join("link")).unwrap();
        symlink(other.join("missing"), folder.join("dangling")).unwrap();
        symlink("loop", folder.join("loop")).unwrap();
        symlink(&other, folder.join("dir")).unwrap();
        for name in ["link", "dangling", "loop", "dir", "dir/new", "loop/new"] {
            assert!(open(&folder, name).is_err(), "{name}");
        }
        assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(other.join("target")).unwrap(), "kept");
        // The user's own links are allowed.
        let path = scratch.path().join("log/link");
        assert!(output(&path, None, &Access::default()).is_ok());
        let path = scratch.path().join("log/dir/new");
        let trusted = Some(path.as_os_str().len() - 3);
        assert!(output(&path, trusted, &Access::default()).is_ok());
        assert!(other.join("new").is_file());
    }

    #[test]
    fn only_a_regular_file_has_the_name_that_a_message_says_and_nothing_waits() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path();
        nix::unistd::mkfifo(&folder.join("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
        fs::create_dir(folder.join("folder")).unwrap();
        for name in ["fifo", "socket", "folder", "fifo/x", "socket/x"] {
            assert!(open(folder, name).is_err(), "{name}");
        }
        assert!(open(folder, "a/b/c").is_ok());
        assert!(folder.join("a/b/c").is_file());
    }

    #[test]
    fn what_is_made_has_the_modes_that_are_asked_for() {
        let scratch = tempfile::tempdir().unwrap();
        let access = Access {
            mode: 0o666,
            mode_is_exact: true,
            dir_mode: Some(0o2775),
            owner: Some(nix::unistd::getuid().to_string()),
            group: Some(nix::unistd::getgid().to_string()),
        };
        for (path, trusted) in [("a/b/x", None), ("c/d/x", trusted(scratch.path()))] {
            let path = scratch.path().join(path);
            let file = output(&path, trusted, &access).unwrap();
            let mode = |data: fs::Metadata| data.permissions().mode() & 0o7777;
            assert_eq!(mode(file.metadata().unwrap()), 0o666);
            for folder in [path.parent().unwrap(), path.parent().unwrap().parent().unwrap()] {
                assert_eq!(mode(folder.metadata().unwrap()), 0o2775, "{}", folder.display());
            }
        }
        // Existing files and folders are unchanged.
        let old = scratch.path().join("old");
        fs::write(&old, "").unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o600)).unwrap();
        let file = output(&old, None, &access).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_cannot_be_given_to_its_owner_is_not_left_behind() {
        let scratch = tempfile::tempdir().unwrap();
        let owner = Some("nobody-of-this-name".to_string());
        let access = Access { owner, ..Access::default() };
        let path = scratch.path().join("x");
        let error = output(&path, None, &access).unwrap_err();
        assert_eq!(error.to_string(), "there is no user `nobody-of-this-name`");
        assert!(!path.exists());
    }

    #[test]
    fn a_name_that_is_taken_is_not_given_again() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        fs::write(path("from"), "new").unwrap();
        fs::write(path("taken"), "old").unwrap();
        let error = rename_new(&path("from"), &path("taken")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        rename_new(&path("from"), &path("free")).unwrap();
        let read = |name: &str| fs::read_to_string(path(name)).unwrap();
        assert_eq!((read("taken"), read("free")), ("old".into(), "new".into()));
    }
}
