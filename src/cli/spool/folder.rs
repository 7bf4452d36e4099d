//! A spool's folder as found: its segments, by their names and heads.
//!
//! Only the heads of segments are read, except for the newest one.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail};

use crate::fs::{Fs, OsFs};
use crate::ids::Identity;
use crate::limits::CURSOR_MAX;
use crate::spool::cursor::Cursor;
use crate::spool::folder::{IDENTITY, Listing, Name};
use crate::spool::format::Row;
use crate::spool::reader::{Either, open_segment};
use crate::spool::scan::{Item, Scanner};

/// A spool's folder.
#[derive(Debug)]
pub(super) struct Folder {
    /// Its path.
    pub dir: PathBuf,
    /// Its content.
    pub listing: Listing,
}

/// A segment, as described by its head.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// Its name.
    pub name: Name,
    /// The spool that its head names.
    pub spool: Option<Identity>,
    /// When its first lines were received.
    pub received: Option<SystemTime>,
}

/// The content of a segment, from all of its rows.
#[derive(Debug)]
pub(super) struct Contents {
    /// The number after its last line.
    pub end: u64,
    /// When its last lines were received.
    pub received: Option<SystemTime>,
    /// The spool that its head names.
    pub spool: Option<Identity>,
    /// The last line from each other spool.
    pub origins: BTreeMap<Identity, u64>,
}

impl Folder {
    /// Opens and lists a folder.
    ///
    /// # Errors
    /// That it is not a spool's, or cannot be read, with advice.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let shown = dir.display();
        let listing = Listing::of(&OsFs, dir).map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow!("{shown}: there is no such folder; {NAME_A_SPOOL}"),
            ErrorKind::NotADirectory => anyhow!("{shown}: is not a folder; {NAME_A_SPOOL}"),
            ErrorKind::PermissionDenied => {
                anyhow!("{shown}: {error}: do this as the daemon's user or as root")
            }
            _ => anyhow!("{shown}: {error}"),
        })?;
        if listing.segments.is_empty() && !listing.has_identity {
            bail!("{shown}: is not a spool: it has no segment and no identity; {NAME_A_SPOOL}");
        }
        Ok(Self { dir: dir.to_path_buf(), listing })
    }

    /// The number of the oldest line that may be here.
    pub(super) fn oldest(&self) -> u64 {
        self.listing.segments.first().map_or(0, |name| name.first)
    }

    /// The number after the last line, from the newest segment.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn end(&self) -> anyhow::Result<u64> {
        match self.listing.segments.last() {
            None => Ok(0),
            Some(&name) => Ok(contents(&self.dir, name)?.map_or(name.first, |found| found.end)),
        }
    }

    /// The segments with their heads, except those removed just now.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn segments(&self) -> anyhow::Result<Vec<Segment>> {
        let heads = self.listing.segments.iter().map(|&name| head(&self.dir, name));
        heads.filter_map(Result::transpose).collect()
    }

    /// The cursor files by name with their content, `None` if damaged. Call it before reading the
    /// segments, to which a running daemon keeps adding.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn cursors(&self) -> anyhow::Result<Vec<(String, Option<Cursor>)>> {
        let mut paths = self.listing.cursors.clone();
        paths.sort();
        let read = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Ok((name.into_owned(), Cursor::decode(&read_small(path)?)))
        };
        paths.iter().map(read).collect()
    }

    /// The content of the identity file; `None` if it is missing or damaged.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn identity(&self) -> anyhow::Result<Option<Identity>> {
        if !self.listing.has_identity {
            return Ok(None);
        }
        let text = read_small(&self.dir.join(IDENTITY))?;
        Ok(String::from_utf8_lossy(&text).trim().parse().ok())
    }
}

const NAME_A_SPOOL: &str = "name the `dir` of a spool";

/// Reads a file that is small if it is valid.
fn read_small(path: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read;
    let read = || {
        let mut content = Vec::new();
        OsFs.open_own(path)?.take(CURSOR_MAX).read_to_end(&mut content)?;
        Ok::<_, io::Error>(content)
    };
    read().with_context(|| path.display().to_string())
}

/// A segment's scanner, under its current name; `None` if it is gone.
///
/// # Errors
/// The system's.
pub(super) fn open(
    dir: &Path,
    name: Name,
) -> anyhow::Result<Option<Scanner<Either<std::fs::File>>>> {
    // It may be compressed between the listing and the opening.
    for name in [name, Name { packed: !name.packed, ..name }] {
        match open_segment(&OsFs, dir, name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => {
                return Ok(Some(opened.with_context(|| name.path(dir).display().to_string())?));
            }
        }
    }
    Ok(None)
}

/// The size of a segment on disk, in bytes.
pub(super) fn size(dir: &Path, name: Name) -> u64 {
    let names = [name, Name { packed: !name.packed, ..name }];
    names.iter().find_map(|name| OsFs.length(&name.path(dir)).ok()).unwrap_or(0)
}

/// How far to search for a head if the beginning is damaged.
const HEAD_MAX: u64 = 4 << 20;

/// Reads a segment up to its first batch; `None` if it is gone.
fn head(dir: &Path, name: Name) -> anyhow::Result<Option<Segment>> {
    let Some(mut scanner) = open(dir, name)? else { return Ok(None) };
    let mut segment = Segment { name, spool: None, received: None };
    // An unreadable segment has no head; `verify` reports it.
    while let Ok(Some(item)) = scanner.next(true, |_| false) {
        match item {
            Item::Row(Row::Segment { spool, .. }) => segment.spool = Some(spool),
            Item::Skipped(header) => {
                segment.received = Some(header.received);
                break;
            }
            Item::Damage { .. } if scanner.offset() > HEAD_MAX => break,
            _ => {}
        }
    }
    Ok(Some(segment))
}

/// Reads a segment from its beginning to its last whole batch; `None` if it is gone.
///
/// # Errors
/// The system's.
pub(super) fn contents(dir: &Path, name: Name) -> anyhow::Result<Option<Contents>> {
    let Some(mut scanner) = open(dir, name)? else { return Ok(None) };
    let mut contents =
        Contents { end: name.first, received: None, spool: None, origins: BTreeMap::new() };
    while let Ok(Some(item)) = scanner.next(false, |_| true) {
        match item {
            Item::Row(Row::Segment { spool, .. }) => contents.spool = Some(spool),
            Item::Row(Row::Origin { spool, last }) => {
                contents.origins.insert(spool, last);
            }
            Item::Batch(header, _) => {
                contents.end = contents.end.max(header.end());
                contents.received = Some(header.received);
                contents.origins.extend(header.origin);
            }
            _ => {}
        }
    }
    Ok(Some(contents))
}
