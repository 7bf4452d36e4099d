//! Reading into memory that was never written to: nothing is cleared first.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use bytes::{BufMut, BytesMut};

/// Reads at most `count` bytes of a file from byte `at` on, and appends them to a buffer; returns
/// how many (pread(2)). Fewer than asked for are no sign of the file's end.
///
/// # Errors
/// The system's.
pub fn append_at(file: &File, buffer: &mut BytesMut, count: usize, at: u64) -> io::Result<usize> {
    buffer.reserve(count);
    let offset = libc::off64_t::try_from(at).map_err(io::Error::other)?;
    let spare = buffer.chunk_mut();
    let count = count.min(spare.len());
    // SAFETY: the descriptor is open, and the spare memory has at least `count` bytes, which the
    // kernel only writes to.
    let read = unsafe { libc::pread64(file.as_raw_fd(), spare.as_mut_ptr().cast(), count, offset) };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has written the first `read` bytes, at most `count`.
    unsafe { buffer.advance_mut(read) };
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_appended_up_to_the_end_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "0123456789").unwrap();
        let file = File::open(&path).unwrap();
        let mut buffer = BytesMut::from("a");
        assert_eq!(append_at(&file, &mut buffer, 3, 2).unwrap(), 3);
        assert_eq!(&buffer[..], b"a234");
        assert_eq!(append_at(&file, &mut buffer, 100, 8).unwrap(), 2);
        assert_eq!(append_at(&file, &mut buffer, 100, 10).unwrap(), 0);
        assert_eq!(append_at(&file, &mut buffer, 100, 1 << 40).unwrap(), 0);
        assert_eq!(&buffer[..], b"a23489");
        assert!(append_at(&file, &mut buffer, 1, u64::MAX).is_err());
        let folder = File::open(folder.path()).unwrap();
        assert!(append_at(&folder, &mut buffer, 1, 0).is_err());
        assert_eq!(&buffer[..], b"a23489", "an error leaves it as it was");
    }
}
