//! All files that an input follows: which file a name denotes, where reading continues, and in
//! which order. It makes no system calls except those of its files.
//!
//! A file is followed from the moment it is opened; from then on the descriptor is the file, and
//! names only tell where it was last seen. Its life:
//!
//! 1. `State::New`: until its first line, and with it its identity, is known.
//! 2. `State::Asked`: the spools are asked for their position in it.
//! 3. `State::Read`: it is read.
//!
//! When its last name is gone it is *leaving*: it is read to its end and closed once no process
//! writes to it. Then its origin has ended. A truncated file begins anew as another one, and a copy
//! is searched for what was not read before.

mod compressed;
mod ending;
mod meeting;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::decode::Decode;
use super::disk::{Disk, Tailed};
use super::packed::Packed;
use super::reading::{Reading, Step, Wish};
use crate::batch::Blocks;
use crate::clock::Mono;
use crate::ids::Identity;
use crate::input::{InputCounts, Piece};
use crate::limits::{FIRST_LINE_MAX, FOLLOW_LOOK};

/// Creates the decoder for a file.
pub type MakeDecoder = Box<dyn Fn(&Path) -> Box<dyn Decode> + Send>;

/// How files are followed.
pub struct Manner {
    /// Longer lines are truncated.
    pub max_line: usize,
    /// How long a file without a name is kept open while it is not read to its end or still written
    /// to.
    pub keep_open: Duration,
    /// After this time an incomplete record in a file is sent.
    pub timeout: Duration,
    /// The lines of files last written longer ago than this when found are skipped.
    pub ignore_older: Option<Duration>,
    /// The decoder of a file.
    pub decoder: MakeDecoder,
}

/// What a file is to the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is followed.
    Wanted,
    /// It is followed, but its present lines are skipped.
    FromEnd,
    /// Its name is not selected, but it may be a followed file under another name.
    Neighbour,
}

/// The stage in a file's life.
enum State {
    New,
    Asked(Identity),
    /// Another file has the identity, or that origin has not ended yet.
    Blocked(Identity),
    Read(Reading),
}

struct Followed<F> {
    file: F,
    key: (u64, u64),
    names: Vec<PathBuf>,
    /// The last name it had.
    last_name: PathBuf,
    role: Role,
    state: State,
    /// The previous file with its name, which must be read first: its index and identity.
    after: Option<(usize, (u64, u64))>,
    /// Lines before this offset are skipped if nothing is known of the file.
    skip: u64,
    /// True if no process writes to it any more: the next read is the last.
    is_last: bool,
    /// True if it is a copy of another file.
    is_shadow: bool,
    queued: bool,
    at_end: bool,
    /// When it lost its last name.
    leaving: Option<Mono>,
    /// When it last had new data.
    grew: Mono,
    failed: bool,
}

/// All followed files of an input.
pub struct Core<D: Disk> {
    disk: D,
    manner: Manner,
    files: Vec<Option<Followed<D::File>>>,
    free: Vec<usize>,
    by_key: HashMap<(u64, u64), usize>,
    /// In the order of their paths, so that those that begin alike stand together.
    by_path: BTreeMap<PathBuf, usize>,
    /// In their order, so that those of one kind stand together.
    identities: BTreeMap<Identity, usize>,
    ready: VecDeque<usize>,
    leaving: BTreeSet<usize>,
    /// The newest of those that had this as its last name.
    left: HashMap<PathBuf, usize>,
    /// Files with incomplete records.
    resting: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    blocked: BTreeSet<usize>,
    /// Files whose identity must be queried.
    to_ask: Vec<usize>,
    asked: Vec<usize>,
    /// Compressed files, of which must be asked whether they were read; and those asked for.
    packed: Vec<Packed>,
    packed_asked: Vec<Packed>,
    /// Origins that have ended, to be reported after their last lines.
    ended: Vec<Identity>,
    /// The last origin that ended of each path whose file was rotated. It is not told yet: at a
    /// start it says which of the rotated files are newer and were never read.
    kept: HashMap<PathBuf, Identity>,
    /// The same by the origin.
    kept_paths: HashMap<Identity, PathBuf>,
    /// Those reported, until the spools have forgotten them.
    ending: HashSet<Identity>,
    /// Known positions in files, in addition to those in spools.
    stored: HashMap<Identity, u64>,
    stored_changed: bool,
    /// The remainders that files left at their end.
    last_pieces: VecDeque<Piece>,
    blocks: Blocks,
    looked: Mono,
    /// The counts since they were last taken.
    pub counts: InputCounts,
}

impl<D: Disk> Core<D> {
    /// Creates an empty set. `stored` has the positions that spools do not know.
    pub fn new(disk: D, manner: Manner, stored: HashMap<Identity, u64>) -> Self {
        Self {
            disk,
            manner,
            files: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            by_path: BTreeMap::new(),
            identities: BTreeMap::new(),
            ready: VecDeque::new(),
            leaving: BTreeSet::new(),
            left: HashMap::new(),
            resting: BTreeSet::new(),
            failed: BTreeSet::new(),
            blocked: BTreeSet::new(),
            to_ask: Vec::new(),
            asked: Vec::new(),
            packed: Vec::new(),
            packed_asked: Vec::new(),
            ended: Vec::new(),
            kept: HashMap::new(),
            kept_paths: HashMap::new(),
            ending: HashSet::new(),
            stored,
            stored_changed: false,
            last_pieces: VecDeque::new(),
            blocks: Blocks::default(),
            looked: Mono::default(),
            counts: InputCounts::default(),
        }
    }

    /// The number of open files.
    pub fn open_files(&self) -> usize {
        self.files.len() - self.free.len()
    }

    // ---- names

    /// Records that a file was opened at a path.
    pub fn found(&mut self, path: PathBuf, file: D::File, role: Role, now: Mono, wall: SystemTime) {
        let Ok(facts) = file.facts() else { return };
        let key = (facts.device, facts.inode);
        let before = self.by_path.get(&path).copied();
        if let Some(&at) = self.by_key.get(&key) {
            if before != Some(at) {
                self.gone(&path, now);
                self.add_name(at, path, role);
            }
            return self.wake(at);
        }
        let after = before.or_else(|| self.left.get(&path).copied());
        let after = after.and_then(|at| Some((at, self.files[at].as_ref()?.key)));
        self.gone(&path, now);
        let old = self
            .manner
            .ignore_older
            .is_some_and(|most| wall.duration_since(facts.written).is_ok_and(|age| age > most));
        let skip = match role {
            Role::Wanted if !old => 0,
            Role::Neighbour => 0,
            _ => last_line_end(&file, facts.size),
        };
        let followed = Followed {
            file,
            key,
            names: vec![path.clone()],
            last_name: path.clone(),
            role,
            state: State::New,
            after,
            skip,
            is_last: false,
            is_shadow: false,
            queued: false,
            at_end: false,
            leaving: None,
            grew: now,
            failed: false,
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.files.push(None);
            self.files.len() - 1
        });
        self.files[at] = Some(followed);
        self.by_key.insert(key, at);
        self.by_path.insert(path, at);
        self.wake(at);
    }

    fn add_name(&mut self, at: usize, path: PathBuf, role: Role) {
        self.stays(at);
        let Some(followed) = &mut self.files[at] else { return };
        followed.names.push(path.clone());
        followed.last_name.clone_from(&path);
        followed.leaving = None;
        followed.is_last = false;
        if followed.role == Role::Neighbour {
            followed.role = role;
        }
        self.by_path.insert(path, at);
    }

    /// A file is not leaving any more.
    fn stays(&mut self, at: usize) {
        if self.leaving.remove(&at)
            && let Some(followed) = &self.files[at]
            && self.left.get(&followed.last_name) == Some(&at)
        {
            self.left.remove(&followed.last_name);
        }
    }

    /// Records that a path denotes nothing any more, or another file.
    pub fn gone(&mut self, path: &Path, now: Mono) {
        let Some(at) = self.by_path.remove(path) else { return };
        let Some(followed) = &mut self.files[at] else { return };
        followed.names.retain(|name| name != path);
        if followed.names.is_empty() {
            followed.leaving = Some(now);
            followed.grew = now;
            let last_name = followed.last_name.clone();
            self.leaving.insert(at);
            self.left.insert(last_name, at);
            self.wake(at);
        }
    }

    /// Records that the file at a path was written to.
    pub fn changed(&mut self, path: &Path) {
        if let Some(&at) = self.by_path.get(path) {
            self.wake(at);
        }
    }

    /// Records that any file may have been written to. Those without a name are looked at anyway,
    /// and are let go only while they are not waiting to be read.
    pub fn suspect_all(&mut self) {
        for at in 0..self.files.len() {
            if !self.leaving.contains(&at) {
                self.wake(at);
            }
        }
    }

    fn wake(&mut self, at: usize) {
        if let Some(followed) = &mut self.files[at]
            && !followed.queued
        {
            followed.queued = true;
            followed.at_end = false;
            self.ready.push_back(at);
        }
    }

    /// Outputs are done with a file up to this byte.
    pub fn store(&mut self, identity: Identity, next: u64) {
        self.stored.insert(identity, next);
        self.stored_changed = true;
    }

    /// Returns whether everything found so far was identified, queried and read.
    pub fn is_settled(&self) -> bool {
        let asks = !(self.asked.is_empty() && self.packed_asked.is_empty());
        let must_ask = !(self.to_ask.is_empty() && self.packed.is_empty());
        !asks && !must_ask && self.ready.is_empty()
    }

    /// Returns whether everything found at first was identified and queried: from now on positions
    /// must be kept, even if there are none.
    pub fn settle_first(&mut self) -> bool {
        let settled = self.is_settled();
        self.stored_changed |= settled;
        settled
    }

    /// Returns whether [`Self::take_stored`] has anything.
    pub fn has_unsaved(&self) -> bool {
        self.stored_changed
    }

    /// The positions in files, if they changed since the last call.
    pub fn take_stored(&mut self) -> Option<&HashMap<Identity, u64>> {
        std::mem::take(&mut self.stored_changed).then_some(&self.stored)
    }

    // ---- reading

    /// Reads the next lines of any file; `None` if there are none at present.
    pub fn read(&mut self, now: Mono) -> Option<Piece> {
        self.look(now);
        if let Some(piece) = self.last_pieces.pop_front() {
            return Some(piece);
        }
        let mut passed = 0;
        while passed <= self.ready.len()
            && let Some(at) = self.ready.pop_front()
        {
            let Some(followed) = &mut self.files[at] else { continue };
            if let Some(before) = followed.after {
                if self.is_behind(before) {
                    self.ready.push_back(at);
                    passed += 1;
                    continue;
                }
                self.carry(before.0, at);
            }
            if let Some(followed) = &mut self.files[at] {
                followed.queued = false;
            }
            passed = 0;
            if let Some(piece) = self.read_one(at, now) {
                return Some(piece);
            }
        }
        None
    }

    /// A file's turn has come, behind the one before it: what waits there for more goes on here.
    /// It stays behind that one until both are read.
    fn carry(&mut self, before: usize, at: usize) {
        if before == at || before.max(at) >= self.files.len() {
            return;
        }
        let Ok([before, next]) = self.files.get_disjoint_mut([before, at]) else { return };
        let (Some(before), Some(next)) = (before, next) else { return };
        if let (State::Read(before), State::Read(next_reading)) =
            (&mut before.state, &mut next.state)
        {
            before.carry_to(next_reading);
            next.after = None;
        }
    }

    /// Whether a file that others wait for is not read to its end.
    fn is_behind(&self, (at, key): (usize, (u64, u64))) -> bool {
        self.files[at].as_ref().is_some_and(|followed| {
            let is_blocked = matches!(followed.state, State::Blocked(_));
            followed.key == key && !is_blocked && !followed.at_end
        })
    }

    fn read_one(&mut self, at: usize, now: Mono) -> Option<Piece> {
        let followed = self.files[at].as_mut()?;
        match &mut followed.state {
            State::New => self.meet(at, false),
            State::Asked(_) | State::Blocked(_) => {}
            State::Read(reading) => {
                let all = is_due(reading, self.manner.timeout, now);
                let (max_line, ended) = (self.manner.max_line, followed.is_last);
                let wish = Wish { max_line, ended, all, now };
                let step = reading.step(&followed.file, wish, &mut self.blocks, &mut self.counts);
                return self.stepped(at, step, now);
            }
        }
        None
    }

    fn stepped(&mut self, at: usize, step: std::io::Result<Step>, now: Mono) -> Option<Piece> {
        let followed = self.files[at].as_mut()?;
        let (piece, more) = match step {
            Ok(Step::Lines(piece, more)) => (Some(piece), more),
            Ok(Step::None(more)) => (None, more),
            Ok(Step::Truncated) => {
                if let State::Read(reading) = &followed.state {
                    let identity = reading.identity;
                    self.truncated(at, identity, now);
                }
                return None;
            }
            Err(error) => {
                self.fail(at, &error);
                return None;
            }
        };
        followed.failed = false;
        followed.at_end = !more;
        if piece.is_some() {
            followed.grew = now;
        }
        match &followed.state {
            State::Read(reading) if reading.rests.is_some() => drop(self.resting.insert(at)),
            _ => drop(self.resting.remove(&at)),
        }
        if more {
            self.wake(at);
        } else if followed.is_last {
            self.finish(at);
        }
        piece
    }

    /// Handles the end of a file without a name, to which no process writes.
    fn finish(&mut self, at: usize) {
        if let Some(Followed { state: State::Read(reading), .. }) = &mut self.files[at] {
            self.last_pieces.extend(reading.end(&mut self.counts));
        }
        self.forget(at);
    }

    /// When there is something to do though no file is known to have changed.
    pub fn deadline(&self) -> Option<Mono> {
        let rests = self.resting.iter().filter_map(|at| match &self.files[*at].as_ref()?.state {
            State::Read(reading) => reading.rests.map(|(since, _)| since + self.manner.timeout),
            _ => None,
        });
        let looks = !(self.leaving.is_empty() && self.failed.is_empty());
        rests.chain(looks.then(|| self.looked + FOLLOW_LOOK)).min()
    }

    /// Checks the files that cause no events, from time to time.
    pub fn look(&mut self, now: Mono) {
        for at in self.resting.clone() {
            let due = self.files[at].as_ref().is_some_and(|followed| match &followed.state {
                State::Read(reading) => is_due(reading, self.manner.timeout, now),
                _ => false,
            });
            if due {
                self.wake(at);
            }
        }
        if now.since(self.looked) < FOLLOW_LOOK {
            return;
        }
        self.looked = now;
        for at in std::mem::take(&mut self.failed) {
            self.wake(at);
        }
        for at in self.leaving.clone() {
            self.look_at_leaving(at, now);
        }
    }
}

fn is_due(reading: &Reading, timeout: Duration, now: Mono) -> bool {
    reading.rests.is_some_and(|(since, _)| now.since(since) >= timeout)
}

/// The end of the last whole line before byte `size`.
fn last_line_end(file: &impl Tailed, size: u64) -> u64 {
    let mut end = size;
    let mut bytes = vec![0; FIRST_LINE_MAX];
    while end > 0 {
        let count = end.min(FIRST_LINE_MAX as u64);
        let piece = &mut bytes[..usize::try_from(count).unwrap_or(0)];
        let Ok(read) = file.read(piece, end - count) else { return size };
        if let Some(at) = memchr::memrchr(b'\n', &piece[..read]) {
            return end - count + at as u64 + 1;
        }
        end -= count;
    }
    0
}
