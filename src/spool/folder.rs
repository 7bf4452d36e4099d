//! The contents of a spool's folder.

use std::io;
use std::path::{Path, PathBuf};

use super::cursor;
use super::format::{parse_segment_name, segment_name};
use crate::fs::{Fs, Kind, NEW};

/// The file with the spool's identity.
pub const IDENTITY: &str = "identity";
/// The file whose lock marks the folder as in use by a daemon.
pub const LOCK: &str = "lock";
/// The file that reserves room for a cursor on a full disk.
pub const SPARE: &str = "spare";
/// Exists at the root of some file systems.
const LOST_FOUND: &str = "lost+found";
/// The folder for damaged data.
pub const QUARANTINE: &str = "quarantine";
/// The suffix of a partly compressed segment's name.
const PART: &str = ".part";

/// A segment, as named in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The number of its first line.
    pub first: u64,
    /// True if it is compressed.
    pub packed: bool,
}

impl Name {
    /// Its path.
    pub fn path(&self, dir: &Path) -> PathBuf {
        let mut name = segment_name(self.first);
        if self.packed {
            name.push_str(".zst");
        }
        dir.join(name)
    }
}

/// The folder's contents, sorted by kind.
#[derive(Debug, Default)]
pub struct Listing {
    /// The segments in order; one that exists both plain and compressed is listed as plain.
    pub segments: Vec<Name>,
    /// Compressed segments that also exist plain.
    pub twins: Vec<PathBuf>,
    /// Cursor files.
    pub cursors: Vec<PathBuf>,
    /// Files left by an interrupted replacement or compression.
    pub leftovers: Vec<PathBuf>,
    /// Files that do not belong to a spool.
    pub foreign: Vec<PathBuf>,
    /// True if there is an identity file.
    pub has_identity: bool,
}

impl Listing {
    /// Lists a folder.
    ///
    /// # Errors
    /// The system's.
    pub fn of<F: Fs>(fs: &F, dir: &Path) -> io::Result<Self> {
        let mut listing = Self::default();
        for (path, kind) in fs.entries(dir)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match name {
                QUARANTINE | LOST_FOUND if kind == Kind::Folder => {}
                // A link, a pipe or a folder is not ours, whatever its name.
                _ if kind != Kind::File => listing.foreign.push(path),
                IDENTITY => listing.has_identity = true,
                LOCK | SPARE => {}
                _ if name.ends_with(cursor::SUFFIX) => listing.cursors.push(path),
                _ if is_leftover(name) => listing.leftovers.push(path),
                _ => match parse_segment_name(name) {
                    Some((first, packed)) => listing.segments.push(Name { first, packed }),
                    None => listing.foreign.push(path),
                },
            }
        }
        listing.segments.sort();
        let mut twins = Vec::new();
        listing.segments.dedup_by(|later, earlier| {
            let same = later.first == earlier.first;
            if same {
                twins.push(later.path(dir));
            }
            same
        });
        listing.twins = twins;
        Ok(listing)
    }
}

/// Returns whether an interrupted step of ours leaves files of that name.
fn is_leftover(name: &str) -> bool {
    let whole = |name: &str| {
        matches!(name, IDENTITY | SPARE)
            || name.ends_with(cursor::SUFFIX)
            || parse_segment_name(name).is_some()
    };
    name.strip_suffix(NEW).or_else(|| name.strip_suffix(PART)).is_some_and(whole)
}
