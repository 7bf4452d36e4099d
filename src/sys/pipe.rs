//! How full a pipe is.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The number of unread bytes in a pipe (ioctl_pipe(2), FIONREAD). It can be read at either end,
/// even if the other end is closed.
///
/// # Errors
/// The system's error.
pub fn unread(pipe: impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open, and FIONREAD writes one `c_int` to a live one.
    let code = unsafe { libc::ioctl(pipe.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    if code == 0 {
        Ok(usize::try_from(bytes).unwrap_or(0))
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_writer_sees_what_is_unread_also_after_the_reader_is_gone() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"0123456789").unwrap();
        assert_eq!(unread(&writer).unwrap(), 10);
        reader.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(unread(&writer).unwrap(), 6);
        drop(reader);
        assert_eq!(unread(&writer).unwrap(), 6);
    }
}
