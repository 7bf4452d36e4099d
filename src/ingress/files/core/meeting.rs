//! Who a file is, and where reading goes on in it: identities, and what spools know of them.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::decode::Carried;
use super::super::disk::{Disk, Facts, Tailed, is_rotation, stems_of};
use super::super::identity::{first_line, identity};
use super::super::reading::Reading;
use super::{Core, Followed, Role, State};
use crate::batch::Inquiry;
use crate::clock::Mono;
use crate::ids::Identity;
use crate::limits::{FIRST_LINE_MAX, LOOK_BACK};

/// When a file was last written to, and when it was born.
type Age = (SystemTime, Duration);

/// Of each path the newest of its rotated files that is read, and where it is in the table.
type Rotated = HashMap<PathBuf, (Age, usize)>;

/// Of each origin its last byte in each spool that has one.
pub(super) type Known = BTreeMap<Identity, Vec<Option<u64>>>;

impl<D: Disk> Core<D> {
    /// What is to be asked and said behind what was read so far; `None` where there is nothing.
    pub fn inquire(&mut self) -> Option<Inquiry> {
        if !(self.asked.is_empty() && self.packed_asked.is_empty()) {
            // One question at a time: the answer must be of the origins as they are now.
            return None;
        }
        self.asked = std::mem::take(&mut self.to_ask);
        self.packed_asked = std::mem::take(&mut self.packed);
        let ended = std::mem::take(&mut self.ended);
        self.ending.extend(&ended);
        let kinds = self.asked.iter().filter_map(|at| match &self.files[*at].as_ref()?.state {
            State::Asked(identity) => Some(identity.kind()),
            _ => None,
        });
        let kinds = kinds.chain(self.packed_asked.iter().map(|packed| packed.kind));
        let inquiry = Inquiry { kinds: kinds.collect(), ended, ..Inquiry::default() };
        let is_empty = inquiry.kinds.is_empty() && inquiry.ended.is_empty();
        (!is_empty).then_some(inquiry)
    }

    /// An inquiry is lost: it is made again.
    pub fn ask_again(&mut self, ended: Vec<Identity>) {
        for identity in &ended {
            self.ending.remove(identity);
        }
        self.ended.extend(ended);
        self.to_ask.append(&mut self.asked);
        self.packed.append(&mut self.packed_asked);
    }

    /// An inquiry has passed: the origins that had ended in it are forgotten.
    pub fn has_ended(&mut self, ended: &[Identity]) {
        for identity in ended {
            self.ending.remove(identity);
            self.stored_changed |= self.stored.remove(identity).is_some();
        }
        for at in std::mem::take(&mut self.blocked) {
            self.retry_identity(at);
        }
    }

    pub(super) fn retry_identity(&mut self, at: usize) {
        if let Some(followed) = &self.files[at]
            && let State::Blocked(identity) = followed.state
        {
            self.set_identity(at, identity);
        }
    }

    fn set_identity(&mut self, at: usize, identity: Identity) {
        let taken = self.identities.get(&identity).is_some_and(|other| *other != at);
        if let Some(path) = self.kept_paths.remove(&identity) {
            // The same file has a name again. Where no birth is recorded it may be another one.
            let kept = self.kept.remove(&path);
            let facts = self.files[at].as_ref().and_then(|followed| followed.file.facts().ok());
            self.ended.extend(kept.filter(|_| facts.is_none_or(|facts| facts.born.is_zero())));
        }
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

    /// The origins that each spool has of the kinds asked for; no spools where there is none.
    pub fn answered(&mut self, spools: &[Vec<(Identity, u64)>], now: Mono) {
        let mut known = Known::new();
        for (number, spool) in spools.iter().enumerate() {
            for (identity, last) in spool {
                let lasts = known.entry(*identity).or_insert_with(|| vec![None; spools.len()]);
                lasts[number] = Some(*last);
            }
        }
        if spools.is_empty() {
            let stored = self.stored.iter().map(|(identity, next)| (*identity, *next));
            known.extend(stored.map(|(is, next)| (is, vec![next.checked_sub(1)])));
        }
        let asked = std::mem::take(&mut self.asked);
        let is_neighbour = |at: &usize| {
            self.files[*at].as_ref().is_some_and(|followed| followed.role == Role::Neighbour)
        };
        let (neighbours, meant): (Vec<_>, Vec<_>) = asked.into_iter().partition(is_neighbour);
        let mut rotated = Rotated::new();
        let mut unknown = Vec::new();
        for at in neighbours {
            match self.origin_of(at, &known) {
                Some(identity) => {
                    self.begin(at, (identity, known.get(&identity)), &mut rotated, now);
                }
                None => unknown.push(at),
            }
        }
        for at in unknown {
            match self.own_identity(at).filter(|_| self.is_newer(at, &rotated)) {
                Some(own) => self.begin(at, (own, None), &mut rotated, now),
                None => self.forget(at),
            }
        }
        for at in meant {
            let identity = self.origin_of(at, &known).or_else(|| self.own_identity(at));
            if let Some(identity) = identity {
                self.begin(at, (identity, known.get(&identity)), &mut rotated, now);
            }
        }
        self.judge_packed(&known);
    }

    /// The identity that a file was asked for.
    fn own_identity(&self, at: usize) -> Option<Identity> {
        match self.files[at].as_ref()?.state {
            State::Asked(own) => Some(own),
            _ => None,
        }
    }

    /// The origin that spools know a file by: its own, or that which it continues.
    fn origin_of(&self, at: usize, known: &Known) -> Option<Identity> {
        match self.files[at].as_ref()?.state {
            State::Asked(own) if known.contains_key(&own) => Some(own),
            State::Asked(own) => self.continued(at, own, known),
            _ => None,
        }
    }

    /// Whether a rotated file that no spool knows is to be read: it was written to later than one
    /// that a spool knows.
    fn is_newer(&self, at: usize, rotated: &Rotated) -> bool {
        let Some(followed) = &self.files[at] else { return false };
        let path = self.rotated_from(&followed.last_name);
        let newest = path.and_then(|path| rotated.get(&path));
        let age = followed.file.facts().map(|facts| (facts.written, facts.born));
        newest.is_some_and(|(newest, _)| age.is_ok_and(|age| age > *newest))
    }

    /// The followed path that a file was rotated from, by its name.
    pub(super) fn rotated_from(&self, path: &Path) -> Option<PathBuf> {
        let is_from = |(wanted, at): &(&PathBuf, &usize)| {
            self.files[**at].as_ref().is_some_and(|followed| followed.role != Role::Neighbour)
                && *wanted != path
                && is_rotation(wanted, path)
        };
        // All paths that begin with the stem and at most an ending.
        let of_stem = |stem: PathBuf| {
            let mut dotted = stem.clone().into_os_string();
            dotted.push(".");
            let dotted = PathBuf::from(dotted);
            let begins = dotted.clone().into_os_string();
            let ends = self.by_path.range(dotted..).take_while(move |(path, _)| {
                path.as_os_str().as_bytes().starts_with(begins.as_bytes())
            });
            self.by_path.get_key_value(&stem).into_iter().chain(ends).find(is_from)
        };
        let found = stems_of(path).find_map(of_stem);
        found.map(|(wanted, _)| wanted.clone())
    }

    /// Begins to read a file.
    fn begin(
        &mut self,
        at: usize,
        (identity, lasts): (Identity, Option<&Vec<Option<u64>>>),
        rotated: &mut Rotated,
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
            let newest = rotated.entry(path).or_insert((age, at));
            *newest = (age, at).max(*newest);
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
        if is_unknown {
            // Also of one that begins at its beginning: nothing may be completed for long.
            self.stored.insert(identity, start);
            self.stored_changed = true;
        }
        let decoder = (self.manner.decoder)(&followed.last_name);
        let before = match followed.role {
            Role::Neighbour => None,
            _ => rotated.get(&followed.last_name).map(|(_, before)| *before),
        };
        let carried = self.carried_at(before, at, start);
        let Some(followed) = &mut self.files[at] else { return };
        let size = followed.file.facts().map_or(0, |facts| facts.size);
        let begun = match start > size + 1 {
            true => Ok(None),
            false => Reading::begin(&followed.file, identity, start, ends, (decoder, carried)),
        };
        match begun {
            Ok(Some(reading)) => {
                followed.state = State::Read(reading);
                if followed.role == Role::Neighbour {
                    // Its name is not meant: it goes at its end.
                    let path = followed.last_name.clone();
                    self.gone(&path, now);
                }
            }
            Ok(None) => self.truncated(at, identity, now),
            Err(error) => {
                followed.state = State::New;
                self.identities.remove(&identity);
                return self.fail(at, &error);
            }
        }
        self.wake(at);
    }

    /// A file is read from `start` on, and this one was rotated before it: what has no end there
    /// ends here. Where this one was read in part, that is known already; else it comes when the
    /// other one is read to its end.
    fn carried_at(&mut self, before: Option<usize>, at: usize, start: u64) -> Vec<Carried> {
        let Some(before) = before.filter(|before| *before != at) else { return Vec::new() };
        let Some(Followed { state: State::Read(reading), key, .. }) = &mut self.files[before]
        else {
            return Vec::new();
        };
        if start > 0 {
            return reading.carry();
        }
        let after = Some((before, *key));
        if let Some(followed) = &mut self.files[at] {
            followed.after = after;
        }
        Vec::new()
    }

    /// Where a file begins of which a spool knows nothing.
    fn unknown_start(&self, at: usize, identity: Identity) -> u64 {
        if let Some(stored) = self.stored.get(&identity) {
            return *stored;
        }
        self.files[at].as_ref().map_or(0, |followed| followed.skip)
    }

    /// The origin that a file is the continuation of: a copy of one that was truncated while
    /// nobody looked. It has the same first line, and is that of a file that is here and begins
    /// differently by now, or that of none; only one such may be there.
    fn continued(&self, at: usize, own: Identity, known: &Known) -> Option<Identity> {
        let followed = self.files[at].as_ref()?;
        let size = followed.file.facts().ok()?.size;
        let is_orphan = |identity: &Identity| !self.identities.contains_key(identity);
        let was_here = |identity: &Identity| {
            self.identities.keys().any(|other| other.part() == identity.part())
        };
        let may = |identity: &Identity| {
            let lasts = &known[identity];
            let last = lasts.iter().flatten().max().copied().unwrap_or(0);
            let fits = followed.role == Role::Neighbour || was_here(identity);
            fits && last < size && byte_at(&followed.file, last) == Some(b'\n')
        };
        let same_kind = known.range(Identity::all_of(own.kind())).map(|(identity, _)| identity);
        let mut orphans = same_kind.filter(|identity| is_orphan(identity) && may(identity));
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

    /// Finds out who a new file is.
    pub(super) fn meet(&mut self, at: usize, ended: bool) {
        let Some(followed) = &mut self.files[at] else { return };
        let mut start = vec![0; FIRST_LINE_MAX];
        let read = followed.file.read(&mut start, 0);
        let facts = followed.file.facts();
        let (Ok(count), Ok(facts)) = (read, facts) else {
            return self.fail(at, &std::io::Error::other("it cannot be read"));
        };
        start.truncate(count);
        let first = first_line(&start).or_else(|| (ended && count > 0).then_some(&start[..]));
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

    /// Whether a new file is a copy of one that is followed, as far as that was read: what
    /// logrotate's copytruncate makes. It waits until it is more or the other is gone.
    fn is_shadow(&mut self, at: usize, identity: Identity, facts: &Facts) -> bool {
        let Some(followed) = &self.files[at] else { return false };
        let others = self.identities.range(Identity::all_of(identity.kind()));
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
}

/// Whether both files have the same bytes before `end`.
fn same_before(one: &impl Tailed, other: &impl Tailed, end: u64) -> bool {
    let count = end.min(LOOK_BACK as u64);
    let read = |file: &dyn Fn(&mut [u8]) -> std::io::Result<usize>| {
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
        file(&mut bytes).ok().filter(|read| *read == bytes.len()).map(|_| bytes)
    };
    let one = read(&|bytes| one.read(bytes, end - count));
    one.is_some() && one == read(&|bytes| other.read(bytes, end - count))
}

fn byte_at(file: &impl Tailed, at: u64) -> Option<u8> {
    let mut byte = [0];
    (file.read(&mut byte, at).ok()? == 1).then_some(byte[0])
}
