//! `logweir spool ls`: lists the segments of a spool, its readers with their lag, and the spools
//! that its lines came from.
//!
//! Only the heads of segments are read, plus the whole newest segment, and a reader's current
//! segment up to its position: that is fast however much the spool holds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use serde::{Serialize, Serializer};

use super::folder::{Contents, Folder, Segment, contents, open, size};
use super::{count, time};
use crate::fs::{Fs, OsFs};
use crate::ids::Identity;
use crate::spool::cursor::{Cursor, SUFFIX};
use crate::spool::folder::Name;
use crate::spool::scan::Item;

/// List the segments of a spool, its readers and their lag
///
/// The time at which the last lines of a segment were received is derived from when its file was
/// last written, or when the next segment was begun, whichever is earlier.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The spool's folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Print the same as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the list.
///
/// # Errors
/// The system's.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let spool = Spool::read(&Folder::open(&args.dir)?)?;
    let text = match args.json {
        true => serde_json::to_string(&spool)? + "\n",
        false => spool.to_string(),
    };
    crate::cli::print(text.as_bytes()).context("standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// The content of the list.
#[derive(Debug, Serialize)]
struct Spool {
    identity: Option<String>,
    /// The number of the oldest line kept.
    first: u64,
    /// The number after the last line.
    end: u64,
    lines: u64,
    bytes: u64,
    #[serde(serialize_with = "exact")]
    first_received: Option<SystemTime>,
    #[serde(serialize_with = "exact")]
    last_received: Option<SystemTime>,
    segments: Vec<Row>,
    readers: Vec<Reader>,
    /// Lines that every reader with a cursor has passed, held only because of `keep`.
    kept_lines: u64,
    /// The last line from each other spool.
    origins: BTreeMap<String, u64>,
}

/// A segment.
#[derive(Debug, Serialize)]
struct Row {
    first: u64,
    lines: u64,
    bytes: u64,
    compressed: bool,
    #[serde(serialize_with = "exact")]
    first_received: Option<SystemTime>,
    #[serde(serialize_with = "exact")]
    last_received: Option<SystemTime>,
}

/// What happens to a reader whose cursor is unusable.
const AGAIN: &str = "it begins at the oldest line kept";

/// A reader.
#[derive(Debug, Default, Serialize)]
struct Reader {
    reader: String,
    position: Option<u64>,
    lag_lines: Option<u64>,
    lag_bytes: Option<u64>,
    /// How long ago the first line that it has not passed was received.
    lag_seconds: Option<f64>,
    /// The problem with its cursor.
    error: Option<String>,
}

fn exact<S: Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    time.map(time::exact).serialize(to)
}

impl Spool {
    fn read(folder: &Folder) -> anyhow::Result<Self> {
        let cursors = folder.cursors()?;
        let segments = folder.segments()?;
        let newest = segments.last().map(|newest| contents(&folder.dir, newest.name));
        let newest = newest.transpose()?.flatten();
        let rows = rows(&folder.dir, &segments, newest.as_ref());
        let identity = folder.identity()?;
        let end = newest.as_ref().map_or(0, |newest| newest.end);
        let mut spool = Self {
            identity: identity.map(|identity| identity.to_string()),
            first: rows.first().map_or(end, |row| row.first),
            end,
            lines: rows.iter().map(|row| row.lines).sum(),
            bytes: rows.iter().map(|row| row.bytes).sum(),
            first_received: rows.iter().find_map(|row| row.first_received),
            last_received: rows.iter().rev().find_map(|row| row.last_received),
            segments: rows,
            readers: Vec::new(),
            kept_lines: 0,
            origins: BTreeMap::new(),
        };
        for (origin, last) in newest.into_iter().flat_map(|newest| newest.origins) {
            spool.origins.insert(origin.to_string(), last);
        }
        for (name, cursor) in cursors {
            let reader = spool.reader(&folder.dir, &name, cursor, identity)?;
            spool.readers.push(reader);
        }
        spool.kept_lines = spool.passed().saturating_sub(spool.first).min(spool.lines);
        Ok(spool)
    }

    /// The first line that some reader has not passed; the oldest line if there are no readers.
    fn passed(&self) -> u64 {
        let position = |reader: &Reader| reader.position.unwrap_or(self.first);
        self.readers.iter().map(position).min().unwrap_or(self.first)
    }

    /// Reads the cursor file with that name.
    fn reader(
        &self,
        dir: &Path,
        name: &str,
        cursor: Option<Cursor>,
        identity: Option<Identity>,
    ) -> anyhow::Result<Reader> {
        let name = name.strip_suffix(SUFFIX).unwrap_or(name);
        let mut reader = Reader { reader: name.into(), ..Reader::default() };
        match cursor {
            None => reader.error = Some(format!("damaged: {AGAIN}")),
            Some(Cursor { spool, .. }) if identity.is_some_and(|identity| identity != spool) => {
                reader.error = Some(format!("of another spool ({spool}): {AGAIN}"));
            }
            Some(Cursor { position, .. }) => self.lag(dir, position, &mut reader)?,
        }
        Ok(reader)
    }

    /// Computes the lag of a reader at line `position`.
    fn lag(&self, dir: &Path, position: u64, reader: &mut Reader) -> anyhow::Result<()> {
        reader.position = Some(position);
        if position > self.end {
            let ahead = count(position - self.end, "line");
            reader.error = Some(format!("{ahead} ahead of the last one"));
        }
        if position < self.first {
            let gone = count(self.first - position, "line");
            reader.error = Some(format!("not passed and no longer here: {gone}"));
        }
        let position = position.clamp(self.first, self.end);
        let received = self.received(dir, position)?;
        let age = |time| SystemTime::now().duration_since(time).unwrap_or_default();
        reader.lag_lines = Some(self.end - position);
        reader.lag_bytes = Some(self.bytes_from(position));
        reader.lag_seconds = Some(received.map_or(0.0, |time| age(time).as_secs_f64()));
        Ok(())
    }

    /// The bytes from line `position` on; for its own segment, in proportion to its lines.
    fn bytes_from(&self, position: u64) -> u64 {
        let share = |row: &Row| {
            let lines = (row.first + row.lines).saturating_sub(position.max(row.first));
            let bytes = u128::from(row.bytes) * u128::from(lines) / u128::from(row.lines.max(1));
            u64::try_from(bytes).unwrap_or(row.bytes)
        };
        self.segments.iter().map(share).sum()
    }

    /// When line `position` was received; `None` if it has not arrived yet.
    fn received(&self, dir: &Path, position: u64) -> anyhow::Result<Option<SystemTime>> {
        let holds = |row: &&Row| (row.first..row.first + row.lines).contains(&position);
        let Some(row) = self.segments.iter().find(holds) else { return Ok(None) };
        let name = Name { first: row.first, packed: row.compressed };
        let Some(mut scanner) = open(dir, name)? else { return Ok(None) };
        while let Ok(Some(item)) = scanner.next(false, |_| false) {
            if let Item::Skipped(header) = item
                && header.end() > position
            {
                return Ok(Some(header.received));
            }
        }
        Ok(None)
    }
}

/// The segments with the data from their names, heads and files.
fn rows(dir: &Path, segments: &[Segment], newest: Option<&Contents>) -> Vec<Row> {
    let row = |(at, segment): (usize, &Segment)| {
        let name = segment.name;
        let next = segments.get(at + 1);
        let (end, last_received) = match next {
            Some(next) => (next.name.first, last_received(dir, segment, next)),
            None => newest.map_or((name.first, None), |newest| (newest.end, newest.received)),
        };
        Row {
            first: name.first,
            lines: end - name.first,
            bytes: size(dir, name),
            compressed: name.packed,
            first_received: segment.received,
            last_received,
        }
    };
    segments.iter().enumerate().map(row).collect()
}

/// When the last lines of a segment other than the newest were received. A copied file was written
/// late, and on a quiet day the next segment is begun late: the earlier time is close.
fn last_received(dir: &Path, segment: &Segment, next: &Segment) -> Option<SystemTime> {
    let first = segment.received?;
    let written = OsFs.modified(&segment.name.path(dir)).ok();
    let last = written.into_iter().chain(next.received).min().unwrap_or(first);
    Some(last.max(first))
}

impl std::fmt::Display for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.segment_table())?;
        f.write_str(&self.reader_table())?;
        let unknown = "missing or damaged: the daemon takes it from the newest segment";
        writeln!(f, "\nidentity {}", self.identity.as_deref().unwrap_or(unknown))?;
        if !self.origins.is_empty() {
            writeln!(f, "\n{:<32} {:>20}", "ORIGIN", "LAST LINE")?;
        }
        self.origins.iter().try_for_each(|(origin, last)| writeln!(f, "{origin} {last:>20}"))
    }
}

impl Spool {
    fn segment_table(&self) -> String {
        if self.segments.is_empty() {
            return "no segments: no line was stored yet\n".into();
        }
        let mut text = format!(
            "{:>20} {:>12} {:>15}  {:<20}  {}\n",
            "FIRST LINE", "LINES", "BYTES", "FIRST RECEIVED", "LAST RECEIVED"
        );
        let show = |time: Option<SystemTime>| time.map_or_else(|| "-".into(), time::short);
        for row in &self.segments {
            let (first, last) = (show(row.first_received), show(row.last_received));
            let packed = if row.compressed { "  zstd" } else { "" };
            let is_kept = row.lines > 0 && row.first + row.lines <= self.passed();
            let kept = if is_kept { "  kept" } else { "" };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:>20} {:>12} {:>15}  {first:<20}  {last}{packed}{kept}",
                row.first, row.lines, row.bytes
            );
        }
        let (first, last) = (show(self.first_received), show(self.last_received));
        let count = count(self.segments.len() as u64, "segment");
        let _ = writeln!(
            text,
            "{count:>20} {:>12} {:>15}  {first:<20}  {last}",
            self.lines, self.bytes
        );
        text
    }

    fn reader_table(&self) -> String {
        if self.readers.is_empty() {
            return "\nno reader has a cursor here\n".into();
        }
        let mut text = format!(
            "\n{:<20} {:>20} {:>12} {:>15} {:>12}\n",
            "READER", "POSITION", "LAG LINES", "LAG BYTES", "LAG SECONDS"
        );
        let show = |value: Option<u64>| value.map_or_else(|| "-".into(), |value| value.to_string());
        for reader in &self.readers {
            let seconds = reader.lag_seconds.map_or_else(|| "-".into(), |s| format!("{s:.0}"));
            let error =
                reader.error.as_ref().map_or_else(String::new, |error| format!("  {error}"));
            let _ = writeln!(
                text,
                "{:<20} {:>20} {:>12} {:>15} {seconds:>12}{error}",
                reader.reader,
                show(reader.position),
                show(reader.lag_lines),
                show(reader.lag_bytes),
            );
        }
        text
    }
}
