//! How a file ends: truncated, or without a name, read to its end and let go.

use std::path::{Path, PathBuf};

use super::super::disk::{Disk, Tailed};
use super::super::reading::Reading;
use super::{Core, Followed, Role, State};
use crate::clock::Mono;
use crate::ids::Identity;
use crate::limits::LET_GO_AFTER;

impl<D: Disk> Core<D> {
    /// An origin has ended with its file. Where the file is there yet, rotated, it is kept until
    /// the next one of its path ends.
    fn end_origin(&mut self, identity: Identity, followed: &Followed<D::File>) {
        let is_there = followed.file.facts().is_ok_and(|facts| facts.links > 0);
        let path = match is_there {
            true => self.rotated_from(&followed.last_name).or_else(|| {
                self.by_path.contains_key(&followed.last_name).then(|| followed.last_name.clone())
            }),
            false => None,
        };
        match path {
            Some(path) => {
                self.kept_paths.insert(identity, path.clone());
                if let Some(before) = self.kept.insert(path, identity) {
                    self.kept_paths.remove(&before);
                    self.ended.push(before);
                }
            }
            None => self.ended.push(identity),
        }
    }

    /// A file was truncated, or written anew. What was not read before is looked for in a copy.
    pub(super) fn truncated(&mut self, at: usize, identity: Identity, now: Mono) {
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

    /// A file with the same bytes before the position.
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
        let reading =
            Reading::begin(&copy.1, reading.identity, start, Vec::new(), (decoder, Vec::new()));
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
            // Its name is not meant: it goes at its end.
            self.gone(&path, now);
        }
        Some((at, key))
    }

    pub(super) fn look_at_leaving(&mut self, at: usize, now: Mono) {
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
        if too_long && !(left_alone && followed.at_end) {
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

    pub(super) fn fail(&mut self, at: usize, error: &std::io::Error) {
        let Some(followed) = &mut self.files[at] else { return };
        if !std::mem::replace(&mut followed.failed, true) {
            log::warn!("{:?}: {error}; tried again", followed.last_name);
        }
        followed.at_end = true;
        self.failed.insert(at);
    }

    /// Lets a file go. Its origin has ended.
    pub(super) fn forget(&mut self, at: usize) {
        self.stays(at);
        let Some(followed) = self.files[at].take() else { return };
        self.free.push(at);
        self.by_key.remove(&followed.key);
        for name in &followed.names {
            self.by_path.remove(name);
        }
        for set in [&mut self.resting, &mut self.failed, &mut self.blocked] {
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
