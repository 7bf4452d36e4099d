//! All files that an input follows: which file a name denotes, where reading continues, and in
//! which order. It makes no system calls except those of its files.
//!
//! A file is followed from the moment it is opened; from then on the descriptor is the file, and
//! names only tell where it was last seen. Its life:
//!
//! 1. [`State::New`]: until its first line, and with it its identity, is known.
//! 2. [`State::Asked`]: the spools are asked for their position in it.
//! 3. [`State::Read`]: it is read.
//!
//! When its last name is gone it is *leaving*: it is read to its end and closed once no process
//! writes to it. Then its origin has ended. A truncated file begins anew as another one, and a copy
//! is searched for what was not read before. was not read before is looked for in a copy.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::decode::Decode;
use super::disk::{Disk, Facts, Tailed, is_rotation};
use super::identity::{first_line, identity};
use super::reading::{Reading, Step, Wish};
use crate::batch::{Blocks, Inquiry};
use crate::clock::Mono;
use crate::ids::Identity;
use crate::input::{InputCounts, Piece};
use crate::limits::{FIRST_LINE_MAX, FOLLOW_LOOK, LET_GO_AFTER, LOOK_BACK};

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

/// When a file was last written to, and when it was created.
type Age = (SystemTime, Duration);

/// The role of a file for the input.
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
    by_path: HashMap<PathBuf, usize>,
    identities: HashMap<Identity, usize>,
    ready: VecDeque<usize>,
    leaving: BTreeSet<usize>,
    /// Files with incomplete records.
    resting: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    blocked: BTreeSet<usize>,
    /// Files whose identity must be queried.
    to_ask: Vec<usize>,
    asked: Vec<usize>,
    /// Origins that have ended, to be reported after their last lines.
    ended: Vec<Identity>,
    /// The last origin that ended of each path whose file was rotated. It is not told yet: at a
    /// start it says which of the rotated files are newer and were never read.
    kept: HashMap<PathBuf, Identity>,
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
            by_path: HashMap::new(),
            identities: HashMap::new(),
            ready: VecDeque::new(),
            leaving: BTreeSet::new(),
            resting: BTreeSet::new(),
            failed: BTreeSet::new(),
            blocked: BTreeSet::new(),
            to_ask: Vec::new(),
            asked: Vec::new(),
            ended: Vec::new(),
            kept: HashMap::new(),
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
        let after = before.or_else(|| self.leaving_from(&path));
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
        let Some(followed) = &mut self.files[at] else { return };
        followed.names.push(path.clone());
        followed.last_name.clone_from(&path);
        followed.leaving = None;
        followed.is_last = false;
        if followed.role == Role::Neighbour {
            followed.role = role;
        }
        self.leaving.remove(&at);
        self.by_path.insert(path, at);
    }

    fn leaving_from(&self, path: &Path) -> Option<usize> {
        let was_there = |at: &&usize| {
            self.files[**at].as_ref().is_some_and(|followed| followed.last_name == *path)
        };
        self.leaving.iter().find(was_there).copied()
    }

    /// Records that a path denotes nothing any more, or another file.
    pub fn gone(&mut self, path: &Path, now: Mono) {
        let Some(at) = self.by_path.remove(path) else { return };
        let Some(followed) = &mut self.files[at] else { return };
        followed.names.retain(|name| name != path);
        if followed.names.is_empty() {
            followed.leaving = Some(now);
            followed.grew = now;
            self.leaving.insert(at);
            self.wake(at);
        }
    }

    /// Records that the file at a path was written to.
    pub fn changed(&mut self, path: &Path) {
        if let Some(&at) = self.by_path.get(path) {
            self.wake(at);
        }
    }

    /// Records that any file may have been written to.
    pub fn suspect_all(&mut self) {
        (0..self.files.len()).for_each(|at| self.wake(at));
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

    // ---- what the spools know

    /// The queries and statements to send after what was read so far; `None` if there are none.
    pub fn inquire(&mut self) -> Option<Inquiry> {
        if !self.asked.is_empty() {
            // One query at a time: the answer must describe the origins as they are now.
            return None;
        }
        self.asked = std::mem::take(&mut self.to_ask);
        let ended = std::mem::take(&mut self.ended);
        self.ending.extend(&ended);
        let kinds = self.asked.iter().filter_map(|at| match &self.files[*at].as_ref()?.state {
            State::Asked(identity) => Some(identity.kind()),
            _ => None,
        });
        let inquiry = Inquiry { kinds: kinds.collect(), ended, ..Inquiry::default() };
        let is_empty = inquiry.kinds.is_empty() && inquiry.ended.is_empty();
        (!is_empty).then_some(inquiry)
    }

    /// Records that an inquiry was processed: the origins that ended in it are forgotten.
    pub fn has_ended(&mut self, ended: &[Identity]) {
        for identity in ended {
            self.ending.remove(identity);
            self.stored_changed |= self.stored.remove(identity).is_some();
        }
        for at in std::mem::take(&mut self.blocked) {
            self.retry_identity(at);
        }
    }

    fn retry_identity(&mut self, at: usize) {
        if let Some(followed) = &self.files[at]
            && let State::Blocked(identity) = followed.state
        {
            self.set_identity(at, identity);
        }
    }

    fn set_identity(&mut self, at: usize, identity: Identity) {
        let taken = self.identities.get(&identity).is_some_and(|other| *other != at);
        let is_kept = self.kept.extract_if(|_, kept| *kept == identity);
        self.ended.extend(is_kept.map(|(_, kept)| kept));
        let ends = self.ending.contains(&identity) || self.ended.contains(&identity);
        let Some(followed) = &mut self.files[at] else { return };
        if taken || ends {
            followed.state = State::Blocked(identity);
            self.blocked.insert(at);
            return;
        }
        followed.state = State::Asked(identity);
        self.identities.insert(identity, at);
        self.to_ask.push(at);
    }

    /// Processes the origins that each spool has of the requested kinds; no spools if there are
    /// none.
    pub fn answered(&mut self, spools: &[Vec<(Identity, u64)>], now: Mono) {
        let mut known: HashMap<Identity, Vec<Option<u64>>> = HashMap::new();
        for (number, spool) in spools.iter().enumerate() {
            for (identity, last) in spool {
                let lasts = known.entry(*identity).or_insert_with(|| vec![None; spools.len()]);
                lasts[number] = Some(*last);
            }
        }
        if spools.is_empty() {
            let stored = self.stored.iter().map(|(identity, next)| (*identity, *next));
            known.extend(
                stored.filter_map(|(is, next)| Some((is, vec![Some(next.checked_sub(1)?)]))),
            );
        }
        let asked = std::mem::take(&mut self.asked);
        // For each path, when the newest known rotated file was last written to.
        let mut rotated = HashMap::new();
        let mut unknown = Vec::new();
        for at in asked {
            match self.origin_of(at, &known) {
                Some(identity) => {
                    self.begin(at, (identity, known.get(&identity)), &mut rotated, now)
                }
                None => unknown.push(at),
            }
        }
        for at in unknown {
            let own = match self.files[at].as_ref().map(|followed| &followed.state) {
                Some(State::Asked(own)) => *own,
                _ => continue,
            };
            match self.is_newer(at, &rotated) {
                true => self.begin(at, (own, None), &mut rotated, now),
                false => self.forget(at),
            }
        }
    }

    /// The origin under which spools know a file: its own, or the one it continues.
    fn origin_of(
        &self,
        at: usize,
        known: &HashMap<Identity, Vec<Option<u64>>>,
    ) -> Option<Identity> {
        match self.files[at].as_ref()?.state {
            State::Asked(own) if known.contains_key(&own) => Some(own),
            State::Asked(own) => self.continued(at, own, known),
            _ => None,
        }
    }

    /// Returns whether to read a file that no spool knows: its name is selected, or it was rotated
    /// later than one that a spool knows.
    fn is_newer(&self, at: usize, rotated: &HashMap<PathBuf, Age>) -> bool {
        let Some(followed) = &self.files[at] else { return false };
        if followed.role != Role::Neighbour {
            return true;
        }
        let path = self.rotated_from(&followed.last_name);
        let newest = path.and_then(|path| rotated.get(&path));
        let age = followed.file.facts().map(|facts| (facts.written, facts.born));
        newest.is_some_and(|newest| age.is_ok_and(|age| age > *newest))
    }

    /// The followed path that a file was rotated from, judging by its name.
    fn rotated_from(&self, path: &Path) -> Option<PathBuf> {
        let is_from = |(wanted, at): &(&PathBuf, &usize)| {
            self.files[**at].as_ref().is_some_and(|followed| followed.role != Role::Neighbour)
                && *wanted != path
                && is_rotation(wanted, path)
        };
        self.by_path.iter().find(is_from).map(|(wanted, _)| wanted.clone())
    }

    /// Begins to read a file.
    fn begin(
        &mut self,
        at: usize,
        (identity, lasts): (Identity, Option<&Vec<Option<u64>>>),
        rotated: &mut HashMap<PathBuf, Age>,
        now: Mono,
    ) {
        let Some(followed) = &self.files[at] else { return };
        let State::Asked(own) = followed.state else { return };
        let is_unknown = lasts.is_none();
        if followed.role == Role::Neighbour
            && let Some(path) = self.rotated_from(&followed.last_name)
            && let Ok(facts) = followed.file.facts()
        {
            let age = (facts.written, facts.born);
            let newest = rotated.entry(path).or_insert(age);
            *newest = age.max(*newest);
        }
        if identity != own {
            self.identities.remove(&own);
            self.identities.insert(identity, at);
        }
        let mut ends: Vec<u64> = lasts.into_iter().flatten().flatten().map(|l| l + 1).collect();
        ends.sort_unstable();
        let is_whole = lasts.is_some_and(|lasts| lasts.iter().all(Option::is_some));
        let start = match (is_whole, ends.first()) {
            (true, Some(least)) => *least,
            _ => self.unknown_start(at, identity),
        };
        ends.retain(|end| *end > start);
        let Some(followed) = &mut self.files[at] else { return };
        if is_unknown && start > 0 {
            self.stored.insert(identity, start);
            self.stored_changed = true;
        }
        let decoder = (self.manner.decoder)(&followed.last_name);
        let size = followed.file.facts().map_or(0, |facts| facts.size);
        let begun = match start > size + 1 {
            true => Ok(None),
            false => Reading::begin(&followed.file, identity, start, ends, decoder),
        };
        match begun {
            Ok(Some(reading)) => {
                followed.state = State::Read(reading);
                if followed.role == Role::Neighbour {
                    // Its name is not selected: it is dropped at its end.
                    let path = followed.last_name.clone();
                    self.gone(&path, now);
                }
            }
            Ok(None) => self.truncated(at, identity, now),
            Err(error) => {
                followed.state = State::Asked(identity);
                self.fail(at, &error);
                self.to_ask.push(at);
                return;
            }
        }
        self.wake(at);
    }

    /// The start offset in a file of which a spool knows nothing.
    fn unknown_start(&self, at: usize, identity: Identity) -> u64 {
        if let Some(stored) = self.stored.get(&identity) {
            return *stored;
        }
        self.files[at].as_ref().map_or(0, |followed| followed.skip)
    }

    /// The origin that a file continues: it is a copy of a file that was truncated while the daemon
    /// did not run. It has the same first line, and the origin's file either begins differently by
    /// now or is gone; there must be only one such origin.
    fn continued(
        &self,
        at: usize,
        own: Identity,
        known: &HashMap<Identity, Vec<Option<u64>>>,
    ) -> Option<Identity> {
        let followed = self.files[at].as_ref()?;
        let size = followed.file.facts().ok()?.size;
        let is_orphan = |identity: &Identity| {
            identity.kind() == own.kind() && !self.identities.contains_key(identity)
        };
        let was_here = |identity: &Identity| {
            self.identities.keys().any(|other| other.part() == identity.part())
        };
        let may = |identity: &Identity| {
            let lasts = &known[identity];
            let last = lasts.iter().flatten().max().copied().unwrap_or(0);
            let fits = followed.role == Role::Neighbour || was_here(identity);
            fits && last < size && byte_at(&followed.file, last) == Some(b'\n')
        };
        let mut orphans = known.keys().filter(|identity| is_orphan(identity) && may(identity));
        let found = *orphans.next()?;
        if orphans.next().is_some() {
            log::warn!(
                "{:?} may be the rest of more than one file that is gone: it is read from its \
                 beginning",
                followed.last_name
            );
            return None;
        }
        Some(found)
    }

    /// Records that outputs have completed a file up to this byte.
    pub fn store(&mut self, identity: Identity, next: u64) {
        self.stored.insert(identity, next);
        self.stored_changed = true;
    }

    /// Returns whether everything found at first was identified and queried: from now on positions
    /// must be kept, even if there are none.
    pub fn settle_first(&mut self) -> bool {
        let settled = self.asked.is_empty() && self.to_ask.is_empty() && self.ready.is_empty();
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
                if let Some(followed) = &mut self.files[at] {
                    followed.after = None;
                }
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

    /// Returns whether a file that others wait for is not read to its end.
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

    /// Identifies a new file.
    fn meet(&mut self, at: usize, ended: bool) {
        let Some(followed) = &mut self.files[at] else { return };
        let mut start = vec![0; FIRST_LINE_MAX];
        let read = followed.file.read(&mut start, 0);
        let facts = followed.file.facts();
        let (Ok(count), Ok(facts)) = (read, facts) else {
            return self.fail(at, &std::io::Error::other("it cannot be read"));
        };
        start.truncate(count);
        let first = first_line(&start).or((ended && count > 0).then_some(&start[..]));
        followed.at_end = first.is_none();
        if first.is_none() && followed.role == Role::Neighbour {
            return self.forget(at);
        }
        if let Some(first) = first {
            let identity = identity(first, &facts);
            if !self.is_shadow(at, identity, &facts) {
                self.set_identity(at, identity);
            }
        }
    }

    /// Returns whether a new file is a copy of a followed one up to its position, as made by
    /// logrotate's copytruncate. It waits until it has more data or the other is gone.
    fn is_shadow(&mut self, at: usize, identity: Identity, facts: &Facts) -> bool {
        let Some(followed) = &self.files[at] else { return false };
        let same_kind = |(other, _): &(&Identity, &usize)| other.kind() == identity.kind();
        let others = self.identities.iter().filter(same_kind);
        let mut others = others.filter_map(|(_, other)| self.files[*other].as_ref());
        let found = others.any(|other| {
            let State::Read(reading) = &other.state else { return false };
            let length = |followed: &Followed<D::File>| followed.last_name.as_os_str().len();
            let is_near = is_rotation(&other.last_name, &followed.last_name)
                && length(followed) > length(other);
            let most = reading.position.min(facts.size);
            is_near
                && other.key != followed.key
                && most > 0
                && (same_before(&followed.file, &other.file, most) || reading.fits(&followed.file))
        });
        if found && let Some(followed) = &mut self.files[at] {
            followed.at_end = true;
            if !std::mem::replace(&mut followed.is_shadow, true) {
                let name = &followed.last_name;
                log::info!("{name:?} is a copy of a followed file, and not read twice");
            }
        }
        found
    }

    // ---- truncation and the end

    /// Ends a file's origin. If the file still exists, rotated, the origin is kept until the next
    /// one of its path ends.
    fn end_origin(&mut self, identity: Identity, followed: &Followed<D::File>) {
        let is_there = followed.file.facts().is_ok_and(|facts| facts.links > 0);
        let path = match is_there {
            true => self.rotated_from(&followed.last_name).or_else(|| {
                self.by_path.contains_key(&followed.last_name).then(|| followed.last_name.clone())
            }),
            false => None,
        };
        match path {
            Some(path) => self.ended.extend(self.kept.insert(path, identity)),
            None => self.ended.push(identity),
        }
    }

    /// Handles a truncated or rewritten file. A copy is searched for what was not read before.
    fn truncated(&mut self, at: usize, identity: Identity, now: Mono) {
        let Some(followed) = &mut self.files[at] else { return };
        let (path, key) = (followed.last_name.clone(), followed.key);
        let state = std::mem::replace(&mut followed.state, State::New);
        followed.at_end = false;
        self.resting.remove(&at);
        self.identities.remove(&identity);
        self.counts.truncated += 1;
        let copy = match state {
            State::Read(reading) => self.copy_of(&path, key, &reading),
            _ => None,
        };
        match copy {
            Some((copy, reading)) => {
                log::info!("{path:?} was truncated; the rest is read from {:?}", copy.0);
                let copy = self.follow_copy(copy, reading, now);
                if let Some(followed) = &mut self.files[at] {
                    followed.after = copy;
                }
            }
            None => {
                log::warn!(
                    "{path:?} was truncated, and no copy of it is in its folder: what was written \
                     since it was last read is lost; rotate by renaming where that matters"
                );
                self.ended.push(identity);
            }
        }
        self.wake(at);
    }

    /// Finds a file with the same bytes before the position.
    fn copy_of(
        &self,
        path: &Path,
        key: (u64, u64),
        reading: &Reading,
    ) -> Option<((PathBuf, D::File), Reading)> {
        let is_copy = |(_, file): &(PathBuf, D::File)| {
            let other = file.facts().is_ok_and(|facts| {
                (facts.device, facts.inode) != key && facts.size >= reading.position
            });
            other && reading.fits(file)
        };
        let copy = self.disk.neighbours(path).into_iter().find(is_copy)?;
        let decoder = (self.manner.decoder)(path);
        let start = reading.position;
        let reading = Reading::begin(&copy.1, reading.identity, start, Vec::new(), decoder);
        Some((copy, reading.ok()??))
    }

    fn follow_copy(
        &mut self,
        (path, file): (PathBuf, D::File),
        reading: Reading,
        now: Mono,
    ) -> Option<(usize, (u64, u64))> {
        let facts = file.facts().ok()?;
        let key = (facts.device, facts.inode);
        let at = self.by_key.get(&key).copied();
        let at = at.or_else(|| {
            self.found(path.clone(), file, Role::Neighbour, now, facts.written);
            self.by_path.get(&path).copied()
        });
        let at = at?;
        let followed = self.files[at].as_mut()?;
        if let State::Asked(own) | State::Blocked(own) = followed.state {
            self.identities.remove(&own);
        }
        self.identities.insert(reading.identity, at);
        followed.state = State::Read(reading);
        let is_neighbour = followed.role == Role::Neighbour;
        self.wake(at);
        if is_neighbour {
            // Its name is not selected: it is dropped at its end.
            self.gone(&path, now);
        }
        Some((at, key))
    }

    /// When there is work to do even if no file is known to have changed.
    pub fn deadline(&self) -> Option<Mono> {
        let rests = self.resting.iter().filter_map(|at| match &self.files[*at].as_ref()?.state {
            State::Read(reading) => reading.rests.map(|(since, _)| since + self.manner.timeout),
            _ => None,
        });
        let looks = !(self.leaving.is_empty() && self.failed.is_empty());
        rests.chain(looks.then(|| self.looked + FOLLOW_LOOK)).min()
    }

    /// Checks the files that cause no events, from time to time.
    fn look(&mut self, now: Mono) {
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

    fn look_at_leaving(&mut self, at: usize, now: Mono) {
        let Some(followed) = &self.files[at] else { return };
        let too_long =
            followed.leaving.is_some_and(|since| now.since(since) > self.manner.keep_open);
        if !too_long && (!followed.at_end || followed.queued) {
            return self.wake(at);
        }
        let is_new = matches!(followed.state, State::New);
        if matches!(followed.state, State::Asked(_) | State::Blocked(_)) && !too_long {
            return;
        }
        let quiet = now.since(followed.grew) >= LET_GO_AFTER;
        let writer = followed.file.has_writer();
        let left_alone = writer == Some(false) || writer.is_none() && quiet;
        if too_long && !left_alone || too_long && !followed.at_end {
            return self.give_up(at);
        }
        if !left_alone {
            return self.wake(at);
        }
        if is_new {
            self.meet(at, true);
            if self.files[at].as_ref().is_some_and(|f| matches!(f.state, State::New)) {
                // Empty, or a copy of another one.
                self.forget(at);
            }
            return;
        }
        if let Some(followed) = &mut self.files[at] {
            followed.is_last = true;
        }
        self.wake(at);
    }

    fn give_up(&mut self, at: usize) {
        let Some(followed) = &self.files[at] else { return };
        let size = followed.file.facts().map_or(0, |facts| facts.size);
        let read = match &followed.state {
            State::Read(reading) => reading.position,
            _ => 0,
        };
        log::warn!(
            "{:?} is gone, and is let go after `keep_open` though {} bytes of it are unread",
            followed.last_name,
            size.saturating_sub(read)
        );
        self.counts.unread += 1;
        self.forget(at);
    }

    fn fail(&mut self, at: usize, error: &std::io::Error) {
        let Some(followed) = &mut self.files[at] else { return };
        if !std::mem::replace(&mut followed.failed, true) {
            log::warn!("{:?}: {error}; tried again", followed.last_name);
        }
        followed.at_end = true;
        self.failed.insert(at);
    }

    /// Closes a file. Its origin has ended.
    fn forget(&mut self, at: usize) {
        let Some(followed) = self.files[at].take() else { return };
        self.free.push(at);
        self.by_key.remove(&followed.key);
        for name in &followed.names {
            self.by_path.remove(name);
        }
        for set in [&mut self.leaving, &mut self.resting, &mut self.failed, &mut self.blocked] {
            set.remove(&at);
        }
        let identity = match followed.state {
            State::New => return,
            State::Asked(identity) | State::Blocked(identity) => identity,
            State::Read(ref reading) => reading.identity,
        };
        if self.identities.get(&identity) == Some(&at) {
            self.identities.remove(&identity);
            if matches!(followed.state, State::Read(_)) {
                self.end_origin(identity, &followed);
            }
        }
        for at in std::mem::take(&mut self.blocked) {
            self.retry_identity(at);
        }
    }
}

fn is_due(reading: &Reading, timeout: Duration, now: Mono) -> bool {
    reading.rests.is_some_and(|(since, _)| now.since(since) >= timeout)
}

/// Returns whether both files have the same bytes before `end`.
fn same_before(one: &impl Tailed, other: &impl Tailed, end: u64) -> bool {
    let count = end.min(LOOK_BACK as u64);
    let read = |file: &dyn Fn(&mut [u8]) -> std::io::Result<usize>| {
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
        file(&mut bytes).ok().filter(|read| *read == bytes.len()).map(|_| bytes)
    };
    let one = read(&|bytes| one.read(bytes, end - count));
    one.is_some() && one == read(&|bytes| other.read(bytes, end - count))
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

fn byte_at(file: &impl Tailed, at: u64) -> Option<u8> {
    let mut byte = [0];
    (file.read(&mut byte, at).ok()? == 1).then_some(byte[0])
}
