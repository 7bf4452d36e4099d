//! Opening a spool: interpreting the folder, cutting off a torn tail, reading the cursors.
//!
//! Only the newest segment is read, plus those before it that were not known to be durable when it
//! was begun, so that the time to start does not grow with the spool.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

use super::age::{Now, Written};
use super::cursor::{Cursor, SUFFIX};
use super::folder::{IDENTITY, LOCK, Listing, Name, QUARANTINE};
use super::format::{MARK, Row, VERSION};
use super::origins::Origins;
use super::plan::SpoolPlan;
use super::reader::{quarantine, set_aside};
use super::scan::{Item, Packed, Plain, Scanner, SegmentBytes};
use super::writer::{Closed, Recovered, Writer};
use crate::fs::{Fs, FsFile, read_full, replace};
use crate::ids::Identity;
use crate::limits::{CURSOR_MAX, FILE_MODE_DEFAULT};

/// A spool that was opened.
pub struct Opened<F: Fs> {
    /// Its writer.
    pub writer: Writer<F>,
    /// The sound cursors of the requested readers.
    pub cursors: BTreeMap<String, Cursor>,
    /// Notes for the user, one sentence each.
    pub notes: Vec<String>,
}

/// Opens the spool that `plan` describes for the readers of these names; creates it if missing.
///
/// # Errors
/// One sentence for the user: what is wrong with the folder, and what to do.
pub fn open<F: Fs + Clone>(
    fs: F,
    plan: &SpoolPlan,
    readers: &[String],
    now: Now,
) -> Result<Opened<F>, String> {
    let describe = |error: io::Error| format!("{}: {error}", plan.dir.display());
    make_folder(&fs, &plan.dir).map_err(describe)?;
    let Some(lock) = fs.lock(&plan.dir.join(LOCK)).map_err(describe)? else {
        return Err(format!(
            "{}: another daemon writes to this spool: stop it first, or name another folder",
            plan.dir.display()
        ));
    };
    let mut listing = Listing::of(&fs, &plan.dir).map_err(describe)?;
    let mut notes = Vec::new();
    if !listing.foreign.is_empty() {
        let name = listing.foreign[0].file_name().unwrap_or_default().to_string_lossy();
        let name = name.escape_default();
        if listing.segments.is_empty() && !listing.has_identity {
            return Err(format!(
                "{}: holds files that do not belong to a spool ({name}): name an empty folder",
                plan.dir.display()
            ));
        }
        notes.push(format!("{name}: is not a spool's file; left alone"));
    }
    for path in listing.leftovers.iter().chain(&listing.twins) {
        fs.remove(path).map_err(describe)?;
    }
    if !listing.segments.is_empty() {
        fs.sync_folder(&plan.dir).map_err(describe)?;
    }
    let newest = read_newest(&fs, &plan.dir, &listing.segments).map_err(describe)?;
    for name in &newest.doubtful {
        move_to_quarantine(&fs, &plan.dir, *name).map_err(describe)?;
        notes.push(format!(
            "{}: follows lines that a crash lost before they reached the disk: it is \
             now in {QUARANTINE}/",
            name.path(&plan.dir).display()
        ));
    }
    listing.segments.retain(|name| !newest.doubtful.contains(name));
    let identity = identity(&fs, plan, &listing, &newest)?;
    if let Some(tail) = &newest.torn {
        let bytes = cut_tail(&fs, &plan.dir, tail).map_err(describe)?;
        notes.push(format!(
            "{}: {bytes} torn bytes were cut off",
            tail.name.path(&plan.dir).display()
        ));
    }
    let mut known = BTreeMap::new();
    let cursors =
        cursors(&fs, &listing, identity, readers, &mut known, &mut notes).map_err(describe)?;
    // A line number is never assigned twice, even if lines are gone.
    let ahead = cursors.values().map(|cursor| cursor.position).max().unwrap_or(0);
    if ahead > newest.next {
        let gone = ahead - newest.next;
        notes.push(format!("{gone} lines that were read already are no longer here"));
    }
    let next = newest.next.max(ahead);
    let mut closed = VecDeque::new();
    for name in &listing.segments {
        let path = name.path(&plan.dir);
        closed.push_back(Closed {
            first: name.first,
            packed: name.packed,
            bytes: fs.length(&path).map_err(describe)?,
            written: Written { wall: fs.modified(&path).map_err(describe)?, mono: None },
            named: true,
        });
    }
    let positions = readers.iter().map(|name| {
        let position = cursors.get(name).map_or(0, |cursor| cursor.position);
        (name.clone(), position)
    });
    let found = Recovered {
        identity,
        closed,
        next,
        origins: newest.origins,
        readers: positions.collect(),
        known,
        now,
    };
    let writer = Writer::recovered(fs, plan.clone(), lock, found);
    Ok(Opened { writer, cursors, notes })
}

/// Creates the folder and makes its name durable.
fn make_folder<F: Fs>(fs: &F, dir: &Path) -> io::Result<()> {
    if !fs.exists(dir) {
        fs.create_folders(dir)?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        fs.sync_folder(parent.unwrap_or_else(|| Path::new(".")))?;
    }
    Ok(())
}

/// How many segments are examined when each of them turns out to have an incomplete head.
const SEGMENTS_READ_MAX: usize = 8;

/// What the newest segment holds.
#[derive(Debug, Default)]
pub struct Newest {
    /// The spool it belongs to.
    pub spool: Option<Identity>,
    /// The number after its last line.
    pub next: u64,
    /// The last line of each origin.
    pub origins: Origins,
    /// Later segments that a crash has made worthless: lines that should precede theirs never
    /// reached the disk.
    pub doubtful: Vec<Name>,
    torn: Option<Tail>,
}

/// A torn end of the newest segment: `sound` bytes of `len` remain.
#[derive(Debug)]
struct Tail {
    name: Name,
    sound: u64,
    len: u64,
}

/// Reads the newest segment, and those before it that may have lost lines not covered by a sync.
/// All lines it accepts are durable on return.
///
/// # Errors
/// The system's.
pub fn read_newest<F: Fs>(fs: &F, dir: &Path, segments: &[Name]) -> io::Result<Newest> {
    let mut count = segments.len();
    loop {
        let (newest, durable) = read_last(fs, dir, &segments[..count])?;
        match first_gap(fs, dir, &segments[..count], durable)? {
            Some(last) if last + 1 < count => count = last + 1,
            _ => {
                let doubtful = segments[count..].to_vec();
                return Ok(Newest { doubtful, ..newest });
            }
        }
    }
}

/// Reads the last of these segments, and the line from which earlier lines may be incomplete. A
/// segment with an incomplete head (the machine stopped just then) is skipped for the one before
/// it.
fn read_last<F: Fs>(fs: &F, dir: &Path, segments: &[Name]) -> io::Result<(Newest, u64)> {
    let bound = segments.last().map_or(0, |name| name.first);
    let mut newest = Newest { next: bound, ..Newest::default() };
    // For a segment with an incomplete head the durable line is unknown.
    let mut durable = 0;
    for (at, name) in segments.iter().enumerate().rev().take(SEGMENTS_READ_MAX) {
        let is_last = at + 1 == segments.len();
        let (read, len) = match read_one(fs, dir, *name) {
            // It reports its own damage.
            Err(_) if name.packed => continue,
            read => read?,
        };
        if is_last {
            newest.next = read.end.max(bound);
            if read.sound < len {
                newest.torn = Some(Tail { name: *name, sound: read.sound, len });
            }
        }
        // For each origin the later segments take precedence.
        let later = std::mem::replace(&mut newest.origins, read.origins);
        later.rows().for_each(|(spool, last)| newest.origins.restore(spool, last));
        if read.spool.is_some() {
            newest.spool = read.spool;
            durable = read.durable;
            break;
        }
    }
    Ok((newest, durable))
}

/// Returns the first segment with lines from `durable` on that ends before the next one begins:
/// what follows was never acknowledged and must not count without the lines before it.
fn first_gap<F: Fs>(
    fs: &F,
    dir: &Path,
    segments: &[Name],
    durable: u64,
) -> io::Result<Option<usize>> {
    for (at, pair) in segments.windows(2).enumerate() {
        let (name, next) = (pair[0], pair[1].first);
        // Only durable segments are compressed.
        let may_lack = next > durable && !name.packed;
        if may_lack && read_one(fs, dir, name)?.0.end < next {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Reads a segment; also returns its length if it is not compressed.
fn read_one<F: Fs>(fs: &F, dir: &Path, name: Name) -> io::Result<(Segment, u64)> {
    let path = name.path(dir);
    let file = path.file_name().unwrap_or_default().display();
    read_file(fs, &path, name)
        .map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))
}

fn read_file<F: Fs>(fs: &F, path: &Path, name: Name) -> io::Result<(Segment, u64)> {
    if name.packed {
        return Ok((read_segment(Packed::new(fs.open_own(path)?)?, name)?, 0));
    }
    // Everything accepted from here on must be on disk.
    let mut file = fs.append_own(path, FILE_MODE_DEFAULT)?;
    file.sync()?;
    let len = file.length()?;
    refuse_newer(&file)?;
    Ok((read_segment(Plain::new(file), name)?, len))
}

/// Moves a whole segment to the quarantine.
fn move_to_quarantine<F: Fs>(fs: &F, dir: &Path, name: Name) -> io::Result<()> {
    let path = name.path(dir);
    let Some(file) = path.file_name() else { return Ok(()) };
    let folder = quarantine(fs, dir)?;
    fs.rename(&path, &folder.join(file))?;
    fs.sync_folder(dir)
}

/// Fails if a segment was written by a later version of this program: data that this version cannot
/// read must not be mistaken for damage.
fn refuse_newer(file: &impl FsFile) -> io::Result<()> {
    let mut begin = [0; 2];
    if read_full(file, &mut begin, 0)? == 2 && begin[0] == MARK && begin[1] > VERSION {
        let version = char::from(begin[1]);
        return Err(io::Error::other(format!(
            "a segment has format {version}, which this version of logweir does not know: use \
             the one that wrote it"
        )));
    }
    Ok(())
}

/// Returns whether damaged bytes contain a run of zeros.
fn is_hole(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 64] = [0; 64];
    memchr::memmem::find(bytes, &ZEROS).is_some()
}

struct Segment {
    /// The spool, if the segment's head is complete.
    spool: Option<Identity>,
    /// The number after its last line before any hole.
    end: u64,
    /// The line from which earlier lines may be incomplete.
    durable: u64,
    origins: Origins,
    /// Where the last valid item ends, in bytes.
    sound: u64,
}

fn read_segment<S: SegmentBytes>(source: S, name: Name) -> io::Result<Segment> {
    let mut scanner = Scanner::new(source, name.first);
    let first = name.first;
    let mut read =
        Segment { spool: None, end: first, durable: first, origins: Origins::default(), sound: 0 };
    let (mut begun, mut origins_left) = (None, 0);
    while let Some(item) = scanner.next(true, |_| true)? {
        match item {
            // A crash leaves zeros in pages that were not written out; what follows them was not
            // acknowledged either. Other damage came later, to lines that were on disk.
            Item::Damage { bytes, .. } if is_hole(&bytes) => break,
            Item::Damage { .. } => continue,
            Item::Row(Row::Segment { spool, origins, durable, .. }) => {
                (begun, origins_left) = (Some(spool), origins);
                read.durable = durable.min(first);
            }
            Item::Row(Row::Origin { spool, last }) => {
                read.origins.restore(spool, last);
                origins_left = origins_left.saturating_sub(1);
            }
            Item::Row(_) | Item::Skipped(_) => {}
            Item::Batch(header, _) => {
                read.end = header.end();
                if let Some((spool, last)) = header.origin {
                    read.origins.restore(spool, last);
                }
            }
        }
        read.sound = scanner.offset();
    }
    read.spool = begun.filter(|_| origins_left == 0);
    Ok(read)
}

/// Cuts off a torn tail and returns its length. A copy goes to the quarantine: its lines were never
/// acknowledged, but they may be all that is left on a damaged disk.
fn cut_tail<F: Fs>(fs: &F, dir: &Path, tail: &Tail) -> io::Result<u64> {
    const KEPT_MAX: u64 = 1 << 20;
    let cut = tail.len - tail.sound;
    let mut file = fs.append_own(&tail.name.path(dir), FILE_MODE_DEFAULT)?;
    let mut bytes = vec![0; usize::try_from(cut.min(KEPT_MAX)).unwrap_or(0)];
    let count = read_full(&file, &mut bytes, tail.sound)?;
    set_aside(fs, dir, tail.name, tail.sound, &bytes[..count])?;
    file.set_len(tail.sound)?;
    file.sync()?;
    Ok(cut)
}

/// The spool's identity: from its file, else from the newest segment, else a new one.
fn identity<F: Fs>(
    fs: &F,
    plan: &SpoolPlan,
    listing: &Listing,
    newest: &Newest,
) -> Result<Identity, String> {
    let path = plan.dir.join(IDENTITY);
    let describe = |error: io::Error| format!("{}: {error}", path.display());
    let written = match listing.has_identity {
        false => None,
        true => {
            let text = read_small(fs, &path).map_err(describe)?;
            let text = String::from_utf8_lossy(&text).trim().to_string();
            // A damaged file tells nothing; the segments know.
            text.parse::<Identity>().ok()
        }
    };
    match (written, newest.spool) {
        (Some(written), None) => Ok(written),
        (Some(written), Some(spool)) if written == spool => Ok(written),
        (Some(written), Some(spool)) => Err(format!(
            "{}: its identity is {written}, but its newest segment is of the spool {spool}: put \
             the right files back, or begin anew under a new identity with `logweir spool trim \
             --new-identity {}`",
            plan.dir.display(),
            plan.dir.display()
        )),
        (None, Some(spool)) => {
            replace(fs, &path, format!("{spool}\n").as_bytes()).map_err(describe)?;
            Ok(spool)
        }
        (None, None) => {
            let has_data = listing
                .segments
                .iter()
                .any(|name| fs.length(&name.path(&plan.dir)).is_ok_and(|bytes| bytes > 0));
            if has_data {
                return Err(format!(
                    "{}: none of its segments can be read, and its identity is gone: look at it \
                     with `logweir spool verify`, or name another folder",
                    plan.dir.display()
                ));
            }
            let new = Identity::new();
            replace(fs, &path, format!("{new}\n").as_bytes()).map_err(describe)?;
            Ok(new)
        }
    }
}

fn read_small<F: Fs>(fs: &F, path: &Path) -> io::Result<Vec<u8>> {
    let read = || {
        let len = fs.length(path)?.min(CURSOR_MAX);
        let mut content = vec![0; usize::try_from(len).unwrap_or(0)];
        let count = read_full(&fs.open_own(path)?, &mut content, 0)?;
        content.truncate(count);
        Ok(content)
    };
    let file = path.file_name().unwrap_or_default().display();
    read().map_err(|error: io::Error| io::Error::new(error.kind(), format!("{file}: {error}")))
}

/// Returns the sound cursors of the requested readers and notes the unusable ones. The positions of
/// all sound cursors go to `known`.
fn cursors<F: Fs>(
    fs: &F,
    listing: &Listing,
    spool: Identity,
    readers: &[String],
    known: &mut BTreeMap<String, u64>,
    notes: &mut Vec<String>,
) -> io::Result<BTreeMap<String, Cursor>> {
    let mut cursors = BTreeMap::new();
    for path in &listing.cursors {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let reader = name.strip_suffix(SUFFIX).unwrap_or(name);
        let cursor = Cursor::decode(&read_small(fs, path)?);
        if let Some(cursor) = cursor.as_ref().filter(|cursor| cursor.spool == spool) {
            known.insert(reader.to_string(), cursor.position);
        }
        if !readers.iter().any(|wanted| wanted == reader) {
            notes.push(format!(
                "{name}: no reader of that name exists any more; it retains no lines"
            ));
            continue;
        }
        match cursor {
            None => notes
                .push(format!("{name}: is damaged; {reader} begins again at the oldest line kept")),
            Some(cursor) if cursor.spool != spool => notes.push(format!(
                "{name}: is of another spool ({}); {reader} begins at the oldest line kept",
                cursor.spool
            )),
            Some(cursor) => drop(cursors.insert(reader.to_string(), cursor)),
        }
    }
    Ok(cursors)
}
