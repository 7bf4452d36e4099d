//! The files in which programs with librdkafka kept their offsets (`offset.store.method = file`):
//! where a partition begins of which nothing is stored here.
//!
//! A file holds one offset, that of the next record, in decimal digits and a newline
//! (`rdkafka_offset.c`). It is only read, and only until a position of our own is stored.

use std::fs::File;
use std::io::{self, Read};
use std::str::FromStr;

/// How the path of a partition's file is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetFiles(String);

const TOPIC: &str = "{topic}";
const PARTITION: &str = "{partition}";
/// More than the digits of any offset.
const LONGEST: u64 = 22;

impl FromStr for OffsetFiles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "as in \"/var/cache/kafkatee/{topic}-{partition}.offset\"";
        match text.contains(PARTITION) {
            true => Ok(Self(text.into())),
            false => Err(format!("must have a `{PARTITION}`, {example}")),
        }
    }
}

impl OffsetFiles {
    /// The offset to go on with; `None` where there is no file. A file that says nothing is warned
    /// of in the name of `input`.
    pub(super) fn next(&self, input: &str, topic: &str, partition: i32) -> Option<u64> {
        let path = self.0.replace(TOPIC, topic).replace(PARTITION, &partition.to_string());
        let error = match read(&path).map(|text| offset(&text)) {
            Ok(Some(offset)) => return Some(offset),
            Ok(None) => "holds no offset".into(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => error.to_string(),
        };
        log::warn!("{input}: {path}: {error}; the partition is read from `start`");
        None
    }
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

/// The number that a text begins with, as strtoull() reads it. Negative ones stand for no offset.
fn offset(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number: i64 = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    u64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_librdkafka_reads_it() {
        for (text, wanted) in [
            ("1234\n", Some(1234)),
            ("0\n", Some(0)),
            ("77", Some(77)),
            // What was there before is cut off behind the newline only afterwards.
            ("99\n45\n", Some(99)),
            ("9223372036854775807\n", Some(i64::MAX.unsigned_abs())),
            ("18446744073709551615\n", None),
            ("-1001\n", None),
            ("", None),
            ("\n", None),
            ("x1\n", None),
        ] {
            assert_eq!(offset(text.as_bytes()), wanted, "{text:?}");
        }
    }

    #[test]
    fn each_partition_has_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let pattern = folder.path().join("{topic}-{partition}-tee.offset").display().to_string();
        let files: OffsetFiles = pattern.parse().unwrap();
        std::fs::write(folder.path().join("web-3-tee.offset"), "500\n").unwrap();
        std::fs::write(folder.path().join("web-4-tee.offset"), "").unwrap();
        let next = |partition| files.next("input.k", "web", partition);
        assert_eq!([2, 3, 4].map(next), [None, Some(500), None]);
        let error = "/var/cache/{topic}.offset".parse::<OffsetFiles>().unwrap_err();
        assert!(error.starts_with("must have a `{partition}`"), "{error}");
    }
}
