//! A file of positions, for an input without a spool downstream: how far each followed file was
//! read and completed by every output. At least once: what was completed since the last write is
//! read again after a crash.
//!
//! It is text: a line with its format and host, a line for each file (its identity and the number
//! of bytes), and a checksum over both. It is replaced atomically, by rename.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::fs::{NEW, with_suffix};
use crate::ids::Identity;
use crate::limits::{FILE_MODE_DEFAULT, POSITIONS_MAX};

const TITLE: &str = "logweir positions 1";

/// The positions in files.
pub type Positions = HashMap<Identity, u64>;

/// A file of positions.
#[derive(Debug)]
pub struct PositionsFile {
    path: PathBuf,
    host: String,
    /// The error of the last write, so that it is logged once.
    failed: Option<String>,
}

/// The content of a file of positions.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// It does not exist: this is the first start.
    Nothing,
    /// Positions, and whether they are from another host.
    Positions(Positions, bool),
    /// It is damaged.
    Damaged,
}

impl PositionsFile {
    /// Creates a handle for the file at this path.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), host: host(), failed: None }
    }

    /// Reads it. A damaged file is renamed, and one of another host is reported; also returns
    /// whether this is the first start.
    pub fn load(&self, name: &str) -> (Positions, bool) {
        let path = &self.path;
        match read(path).map(|text| decode(&text, &self.host)) {
            Ok(Found::Nothing) => (Positions::new(), true),
            Ok(Found::Positions(positions, is_ours)) => {
                if !is_ours {
                    log::warn!(
                        "input.{name}: {path:?} was written on another host; what it says of files \
                         that are here is used, the others begin at their beginning"
                    );
                }
                (positions, false)
            }
            Ok(Found::Damaged) => {
                let aside = with_suffix(path, ".damaged");
                let moved = fs::rename(path, &aside);
                let kept = if moved.is_ok() { " (it is kept beside it)" } else { "" };
                log::warn!(
                    "input.{name}: {path:?} is damaged{kept}; files whose lines are in no spool \
                     are read from their beginning"
                );
                (Positions::new(), false)
            }
            Err(error) => {
                log::warn!(
                    "input.{name}: {path:?}: {error}; files whose lines are in no spool are read \
                     from their beginning"
                );
                (Positions::new(), false)
            }
        }
    }

    /// Replaces it. An error is logged once.
    pub fn save(&mut self, name: &str, positions: &Positions) {
        let failed = self.replace(positions).err().map(|error| error.to_string());
        match &failed {
            Some(error) if self.failed.is_none() => log::warn!(
                "input.{name}: {:?}: {error}; after a restart lines may come twice (`positions` \
                 names another file)",
                self.path
            ),
            None if self.failed.is_some() => {
                log::info!("input.{name}: {:?} is written again", self.path);
            }
            _ => {}
        }
        self.failed = failed;
    }

    fn replace(&self, positions: &Positions) -> io::Result<()> {
        replace(&self.path, encode(positions, &self.host).as_bytes())
    }
}

/// Replaces a small file by rename, durably.
///
/// # Errors
/// The system's.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = with_suffix(path, NEW);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(FILE_MODE_DEFAULT);
    let mut file = options.custom_flags(libc::O_NOFOLLOW).open(&new)?;
    file.write_all(content)?;
    file.sync_data()?;
    fs::rename(&new, path)
}

/// Reads such a file; one that is not there is empty.
///
/// # Errors
/// The system's.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(POSITIONS_MAX + 1).read_to_end(&mut bytes).map(|_| bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(bytes),
        Err(error) => Err(error),
    }
}

/// Distinguishes this host from others: its machine id, else its name (machine-id(5)).
pub fn host() -> String {
    let id = fs::read("/etc/machine-id").unwrap_or_default();
    let id = match id.is_empty() {
        true => nix::unistd::gethostname().unwrap_or_default().into_encoded_bytes(),
        false => id,
    };
    format!("{:016x}", xxh3_64(&id))
}

fn encode(positions: &Positions, host: &str) -> String {
    let mut sorted: Vec<_> = positions.iter().collect();
    sorted.sort_unstable();
    let mut text = format!("{TITLE} {host}\n");
    for (identity, next) in sorted {
        text.push_str(&format!("{identity} {next}\n"));
    }
    text.push_str(&format!("{:08x}\n", crc32c::crc32c(text.as_bytes())));
    text
}

/// Parses the output of `encode`. An empty file counts as missing: it was never written.
pub fn decode(bytes: &[u8], own_host: &str) -> Found {
    if bytes.is_empty() {
        return Found::Nothing;
    }
    whole(bytes, own_host).unwrap_or(Found::Damaged)
}

fn whole(bytes: &[u8], own_host: &str) -> Option<Found> {
    let text = std::str::from_utf8(bytes).ok().filter(|_| bytes.len() as u64 <= POSITIONS_MAX)?;
    let body = text.strip_suffix('\n')?;
    let (body, sum) = body.rsplit_once('\n')?;
    let covered = &bytes[..=body.len()];
    if u32::from_str_radix(sum, 16).ok()? != crc32c::crc32c(covered) {
        return None;
    }
    let mut lines = body.lines();
    let host = lines.next()?.strip_prefix(TITLE)?.trim();
    let position = |line: &str| {
        let (identity, next) = line.split_once(' ')?;
        Some((identity.parse().ok()?, next.parse().ok()?))
    };
    let positions: Option<Positions> = lines.map(position).collect();
    Some(Found::Positions(positions?, host == own_host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Positions {
        Positions::from([(Identity::of(7), 0), (Identity::of(1 << 100), u64::MAX)])
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.positions");
        let mut file = PositionsFile::new(&path);
        assert_eq!(file.load("in"), (Positions::new(), true));
        file.save("in", &some());
        assert_eq!(file.load("in"), (some(), false));
        assert!(!with_suffix(&path, NEW).exists());
    }

    #[test]
    fn any_damage_is_seen_and_the_file_set_aside() {
        let text = encode(&some(), "h");
        assert_eq!(decode(text.as_bytes(), "h"), Found::Positions(some(), true));
        assert_eq!(decode(text.as_bytes(), "other"), Found::Positions(some(), false));
        for cut in 1..text.len() {
            assert_eq!(decode(&text.as_bytes()[..cut], "h"), Found::Damaged, "{cut}");
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(decode(&bytes, "h"), Found::Damaged, "{at}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, &text[1..]).unwrap();
        assert_eq!(PositionsFile::new(&path).load("in"), (Positions::new(), false));
        assert_eq!(fs::read(with_suffix(&path, ".damaged")).unwrap(), &text.as_bytes()[1..]);
    }
}
