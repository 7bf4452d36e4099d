//! The names of archives: rotated and compressed files.
//!
//! A rotated file has a stamp appended to its name and, if two have the same stamp, a number; a
//! compressed one has `.zst` at its end: `x.log.20261127T100000Z.0001.zst`. A name with parts from
//! a message must never end like that ([`ending_at`]), or its file could be mistaken for an archive
//! of another one.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use crate::fs::with_suffix;

/// The suffix of a compressed file's name.
const PACKED: &str = ".zst";
/// The suffix of a file's name while it is being compressed.
const UNFINISHED: &str = ".zst.part";
/// The minimum number of digits of a number, so that the last part of an address is not one.
const DIGITS: usize = 4;

/// The stamp of a time, as in `20261123T050000Z`.
pub fn stamp(when: SystemTime) -> String {
    let time = Timestamp::try_from(when).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The name of an uncompressed archive of `path`; the first with a stamp has no number.
pub fn rotated(path: &Path, stamp: &str, number: u32) -> PathBuf {
    match number {
        0 => with_suffix(path, &format!(".{stamp}")),
        number => with_suffix(path, &format!(".{stamp}.{number:04}")),
    }
}

/// The name of a compressed file; the first with a name has no number.
pub fn packed(path: &Path, number: u32) -> PathBuf {
    match number {
        0 => with_suffix(path, PACKED),
        number => with_suffix(path, &format!(".{number:04}{PACKED}")),
    }
}

/// The name of a file while it is being compressed.
pub fn unfinished(path: &Path) -> PathBuf {
    with_suffix(path, UNFINISHED)
}

/// Returns whether a file's name has the suffix of a compressed one.
pub fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}

/// Where the suffix begins that makes a name look like an archive's; the name's length if it has
/// none.
pub fn ending_at(name: &str) -> usize {
    let packed = name.strip_suffix(UNFINISHED).or_else(|| name.strip_suffix(PACKED));
    let rest = packed.unwrap_or(name);
    // A number of its own, and the number of the file that was compressed.
    let once = without_number(rest).unwrap_or(rest);
    let twice = packed.and_then(|_| without_number(once)).unwrap_or(once);
    let stamped = [rest, once, twice].into_iter().find_map(without_stamp);
    match (stamped, packed) {
        (Some(before), _) => before.len(),
        (None, Some(_)) => once.len(),
        (None, None) => name.len(),
    }
}

/// Returns whether this is what an archive's name has after the file's name: a stamp, a number and
/// `.zst`, each of which may be missing.
pub fn is_ending(suffix: &str) -> bool {
    suffix.is_empty() || (ending_at(suffix) == 0 && !suffix.ends_with(UNFINISHED))
}

fn without_number(name: &str) -> Option<&str> {
    let (before, number) = name.rsplit_once('.')?;
    (number.len() >= DIGITS && digits(number)).then_some(before)
}

fn without_stamp(name: &str) -> Option<&str> {
    let (before, stamp) = name.rsplit_once('.')?;
    let (date, time) = stamp.strip_suffix('Z')?.split_once('T')?;
    (date.len() == 8 && digits(date) && time.len() == 6 && digits(time)).then_some(before)
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn every_name_that_is_given_to_an_archive_is_known_again() {
        let path = Path::new("x.log");
        let stamp = stamp(UNIX_EPOCH + Duration::from_secs(1_795_773_600));
        assert_eq!(stamp, "20261127T100000Z");
        let plain =
            [rotated(path, &stamp, 0), rotated(path, &stamp, 1), rotated(path, &stamp, 99_999)];
        let compressed: Vec<_> = plain
            .iter()
            .map(PathBuf::as_path)
            .chain([path])
            .flat_map(|path| [packed(path, 0), packed(path, 1)])
            .collect();
        for name in plain.iter().chain(&compressed) {
            let name = name.to_str().unwrap();
            assert!(is_ending(name.strip_prefix("x.log").unwrap()), "{name}");
            assert!(ending_at(name) < name.len(), "{name}");
        }
        for path in &plain {
            let unfinished = unfinished(path);
            let name = unfinished.to_str().unwrap();
            assert_eq!(ending_at(name), "x.log".len(), "{name}");
        }
        assert!(is_ending(""));
    }

    #[test]
    fn what_only_resembles_an_archive_is_none() {
        for name in [
            "10.20.30.40",
            "x.zs",
            "x.20261127T100000",
            "x.2026112T100000Z",
            "x.20261127T100000Z_",
            "x.0001",
        ] {
            assert_eq!(ending_at(name), name.len(), "{name}");
            assert!(!is_ending(&format!(".{name}")), "{name}");
        }
        assert!(!is_ending(".zst.part") && !is_ending(".bak"));
        assert_eq!(ending_at("victim.20990101T000000Z.0001.zst.part"), 6);
        assert_eq!(ending_at("victim.0001.zst"), 6);
    }
}
