//! A spool with so many lines: a sender whose receiver is not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::chain::{Chain, Feed, Peer, Place, Programs, Way};
use crate::load::LINE_BYTES;

/// A spool that is not full after so long has failed.
const FILL: Duration = Duration::from_secs(120);

/// Fills a spool below `dir`; its folder.
pub(super) fn fill(programs: &Programs, lines: u64, dir: &Path) -> Result<PathBuf> {
    let place = Place::new(dir, Way::Stream, "64MiB")?;
    let chain = Chain { sender: Peer::Logweir, receiver: Peer::Logweir };
    let sender = programs.sender(chain, &place)?;
    let feed = Feed::start(&place.door(chain.sender), lines, None)?;
    let start = Instant::now();
    while !feed.is_over() || segment_bytes(&place.spool())? < lines * LINE_BYTES {
        ensure!(start.elapsed() < FILL, "the spool was not full after {FILL:?}");
        thread::sleep(Duration::from_millis(50));
    }
    feed.wait().context("the feed")?;
    sender.stop()?;
    Ok(place.spool())
}

/// The bytes of a spool's segments.
pub(super) fn segment_bytes(spool: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(spool)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|end| end == "log") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// A copy of a spool's files: a replay may leave its position in the folder.
pub(super) fn copy(spool: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(spool)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
