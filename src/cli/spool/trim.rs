//! `logweir spool trim`: removes whole segments, or gives a spool a new identity.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, bail};

use super::folder::{Folder, open, size};
use super::{count, time};
use crate::fs::{Fs, Kind, OsFs, replace};
use crate::ids::Identity;
use crate::spool::cursor::{Cursor, SUFFIX};
use crate::spool::folder::{IDENTITY, LOCK, Name};
use crate::spool::format::Row;
use crate::spool::recover::{Newest, read_newest};
use crate::spool::scan::Item;

/// Remove the segments whose lines are all before a time or a number, or begin a new identity
///
/// Only while no daemon writes to the spool. The newest segment always stays. A new identity
/// is for a spool that was copied or restored from a backup, so that its peers do not take new
/// lines for ones they have; numbers and readers go on as they are.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct Args {
    /// The spool's folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Remove the segments whose lines were all received before T or have numbers below N
    #[arg(long, value_name = "T|N", value_parser = bound, group = "what")]
    before: Option<Bound>,
    /// Begin a new segment under a new identity
    #[arg(long, group = "what")]
    new_identity: bool,
}

/// Up to where segments are removed.
#[derive(Debug, Clone, Copy)]
enum Bound {
    Time(SystemTime),
    Line(u64),
}

fn bound(text: &str) -> Result<Bound, String> {
    match text.parse() {
        Ok(line) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Bound::Line(line)),
        _ => time::parse(text)
            .map(Bound::Time)
            .map_err(|error| format!("{error}; or the number of a line")),
    }
}

/// Trims the spool.
///
/// # Errors
/// That a daemon runs, and the system's.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // Nothing is made in a folder that is no spool's, a lock neither.
    Folder::open(&args.dir)?;
    let shown = args.dir.display();
    let Some(_lock) = OsFs.lock(&args.dir.join(LOCK)).with_context(|| shown.to_string())? else {
        bail!("{shown}: a daemon writes to this spool: end it first");
    };
    let folder = Folder::open(&args.dir)?;
    match args.before {
        Some(bound) => remove(&folder, bound)?,
        None => {
            begin_anew(&folder)?;
            keep_owner(&args.dir)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives what was made to the folder's owner: this may have been root, and the daemon is not.
fn keep_owner(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let owner = dir.metadata().with_context(|| dir.display().to_string())?;
    for (path, kind) in OsFs.entries(dir).with_context(|| dir.display().to_string())? {
        let said = || path.display().to_string();
        if kind != Kind::File {
            continue;
        }
        let file = OsFs.open_own(&path).with_context(said)?;
        let data = file.metadata().with_context(said)?;
        let (ours, theirs) = ((data.uid(), data.gid()), (owner.uid(), owner.gid()));
        if data.uid() == nix::unistd::geteuid().as_raw() && ours != theirs {
            std::os::unix::fs::fchown(&file, Some(theirs.0), Some(theirs.1)).with_context(said)?;
        }
    }
    Ok(())
}

/// Removes the segments before `bound`, the oldest first.
fn remove(folder: &Folder, bound: Bound) -> anyhow::Result<()> {
    let dir = &folder.dir;
    let segments = folder.segments()?;
    // From the newest one that was begun whole a start takes what it must know.
    let newest = segments.iter().rposition(|segment| segment.spool.is_some()).unwrap_or(0);
    let (mut bytes, mut removed) = (0, 0);
    for pair in segments.windows(2).take(newest) {
        let (segment, next) = (&pair[0], &pair[1]);
        let is_before = match bound {
            Bound::Line(line) => next.name.first <= line,
            Bound::Time(time) => {
                next.received.is_some_and(|received| received <= time)
                    || last_received(dir, segment.name)?.is_some_and(|last| last < time)
            }
        };
        if !is_before {
            break;
        }
        bytes += size(dir, segment.name);
        remove_segment(dir, segment.name.first)?;
        removed += 1;
    }
    OsFs.sync_folder(dir).with_context(|| dir.display().to_string())?;
    let (first, end) = (folder.oldest(), segments.get(removed).map_or(0, |s| s.name.first));
    match removed {
        0 => println!("no segment is wholly before that (the newest one always stays)"),
        _ => println!(
            "removed {}: {} ({first} to {}), {}",
            count(removed as u64, "segment"),
            count(end - first, "line"),
            end - 1,
            count(bytes, "byte"),
        ),
    }
    say_unread(folder, end)
}

/// Says which readers had not read all that was removed.
fn say_unread(folder: &Folder, end: u64) -> anyhow::Result<()> {
    for cursor in folder.cursors()?.into_iter().filter_map(|(_, cursor)| cursor) {
        if cursor.position < end {
            let from = cursor.position.max(folder.oldest());
            println!("{} had not read {} of these lines", cursor.reader, end - from);
        }
    }
    Ok(())
}

fn remove_segment(dir: &Path, first: u64) -> anyhow::Result<()> {
    for packed in [true, false] {
        let path = Name { first, packed }.path(dir);
        match OsFs.remove(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.with_context(|| path.display().to_string())?,
        }
    }
    Ok(())
}

/// When the last lines of a segment were received: the latest time that it says.
fn last_received(dir: &Path, name: Name) -> anyhow::Result<Option<SystemTime>> {
    let Some(mut scanner) = open(dir, name)? else { return Ok(None) };
    let mut last = None;
    while let Some(item) =
        scanner.next(true, |_| false).with_context(|| name.path(dir).display().to_string())?
    {
        if let Item::Skipped(header) = item {
            last = last.max(Some(header.received));
        }
    }
    Ok(last)
}

/// Begins a new identity: a segment without lines, then the cursors, then the file. Until the
/// file is written a daemon refuses to start over the two identities; doing this again then
/// begins yet another one and finishes it.
fn begin_anew(folder: &Folder) -> anyhow::Result<()> {
    let dir = &folder.dir;
    let said = || dir.display().to_string();
    let newest = read_newest(&OsFs, dir, &folder.listing.segments).with_context(said)?;
    let known = known_identities(folder, &newest)?;
    let cursors = sound_cursors(folder, &known)?;
    // A line number is never given twice, even where lines are gone.
    let ahead = cursors.iter().map(|cursor| cursor.position).max().unwrap_or(0);
    let next = newest.next.max(ahead);
    let spool = Identity::new();
    let path = Name { first: next, packed: false }.path(dir);
    replace(&OsFs, &path, &head(spool, next, &newest)).with_context(said)?;
    for cursor in &cursors {
        let path = Cursor::path(dir, &cursor.reader);
        // Notes are what a peer knows the old identity by.
        let renamed = Cursor { spool, notes: Vec::new(), ..cursor.clone() };
        replace(&OsFs, &path, &renamed.encode()).with_context(said)?;
    }
    replace(&OsFs, &dir.join(IDENTITY), format!("{spool}\n").as_bytes()).with_context(said)?;
    let kept = count(cursors.len() as u64, "cursor");
    println!("identity {spool} from line {next} on, {kept} kept");
    Ok(())
}

/// The rows that a segment begins with.
fn head(spool: Identity, first: u64, newest: &Newest) -> Vec<u8> {
    let origins = u32::try_from(newest.origins.len()).unwrap_or(u32::MAX);
    let mut head = Row::Segment { spool, first, origins, durable: first }.encode().to_vec();
    for (spool, last) in newest.origins.rows() {
        head.extend_from_slice(&Row::Origin { spool, last }.encode());
    }
    head
}

/// The identities that the numbers of this folder go by: those of its segments. An identity
/// file that says another one came from elsewhere, and so did its cursors.
fn known_identities(folder: &Folder, newest: &Newest) -> anyhow::Result<BTreeSet<Identity>> {
    let segments = folder.segments()?;
    let mut known: BTreeSet<_> = segments.iter().filter_map(|segment| segment.spool).collect();
    known.extend(newest.spool);
    if known.is_empty() {
        known.extend(folder.identity()?);
    }
    Ok(known)
}

/// The cursors that are whole and of this spool; says which are not.
fn sound_cursors(folder: &Folder, known: &BTreeSet<Identity>) -> anyhow::Result<Vec<Cursor>> {
    let mut sound = Vec::new();
    for (name, cursor) in folder.cursors()? {
        match cursor {
            Some(cursor) if name.strip_suffix(SUFFIX) != Some(&cursor.reader) => {
                println!("{name}: is of another reader ({}) and left alone", cursor.reader);
            }
            Some(cursor) if known.contains(&cursor.spool) => sound.push(cursor),
            Some(cursor) => println!("{name}: is of the spool {} and left alone", cursor.spool),
            None => println!("{name}: is damaged and left alone"),
        }
    }
    Ok(sound)
}
