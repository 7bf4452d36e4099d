//! Who a file is, whatever it is called: its first line, its inode and the time of its birth.
//!
//! The upper half of the identity is the first line's (what the file says), the lower half that of
//! inode and birth (what the file is). There is no device number in it: that changes when a host
//! starts or a volume moves. An inode is used again, but not with the same birth and first line.
//! Where a file system tells no birth, the first line does its work.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::disk::Facts;
use crate::ids::Identity;
use crate::limits::FIRST_LINE_MAX;

/// The part of the first line that belongs to the identity; `None` while the line has no end and
/// may grow. `start` is what the file begins with, at least [`FIRST_LINE_MAX`] bytes of it where it
/// has them.
pub fn first_line(start: &[u8]) -> Option<&[u8]> {
    let start = &start[..start.len().min(FIRST_LINE_MAX)];
    match memchr::memchr(b'\n', start) {
        Some(end) => Some(&start[..=end]),
        None => (start.len() == FIRST_LINE_MAX).then_some(start),
    }
}

/// The identity of a file with this first line.
pub fn identity(first_line: &[u8], facts: &Facts) -> Identity {
    let mut is = facts.inode.to_le_bytes().to_vec();
    is.extend_from_slice(&facts.born.as_nanos().to_le_bytes());
    Identity::of(u128::from(kind(first_line)) << 64 | u128::from(xxh3_64(&is)))
}

/// The upper half of the identity of a file with this first line.
pub fn kind(first_line: &[u8]) -> u64 {
    xxh3_64(first_line)
}

/// What stands for some bytes of a file, to be compared later.
pub fn mark(bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, 1)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn facts(inode: u64, born: u64) -> Facts {
        let born = Duration::from_nanos(born);
        Facts { device: 1, inode, born, links: 1, size: 0, written: UNIX_EPOCH }
    }

    #[test]
    fn the_first_line_counts_once_it_has_an_end_or_is_long() {
        assert_eq!(first_line(b""), None);
        assert_eq!(first_line(b"abc"), None);
        assert_eq!(first_line(b"abc\ndef\n"), Some(&b"abc\n"[..]));
        let long = vec![b'x'; FIRST_LINE_MAX + 5];
        assert_eq!(first_line(&long[..FIRST_LINE_MAX - 1]), None);
        assert_eq!(first_line(&long).unwrap().len(), FIRST_LINE_MAX);
    }

    #[test]
    fn another_first_line_inode_or_birth_is_another_file_and_another_device_is_not() {
        let is = identity(b"a\n", &facts(1, 5));
        assert_eq!(is, identity(b"a\n", &Facts { device: 9, size: 7, ..facts(1, 5) }));
        let others = [
            identity(b"b\n", &facts(1, 5)),
            identity(b"a\n", &facts(2, 5)),
            identity(b"a\n", &facts(1, 6)),
        ];
        assert!(others.iter().all(|other| *other != is));
        assert!(others[0].kind() != is.kind() && others[1].kind() == is.kind());
        assert_eq!(others[0].part(), is.part());
    }
}
