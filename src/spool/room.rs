//! Room in a spool: what is dropped when the spool or its disk is full, what is too old, and what
//! every reader has passed.
//!
//! What every reader has passed goes first, whatever the policy for unread lines. Dropping unread
//! lines is logged.

use std::io::{self, ErrorKind};
use std::time::SystemTime;

use super::age::Steady;
use super::folder::Name;
use super::plan::{SpoolFull, SpoolKeep};
use super::writer::{Closed, Halt, Writer};
use crate::clock::Mono;
use crate::fs::Fs;
use crate::limits::{DROPS_SAID_EVERY, FREE_EVERY, ROOM_CREDITED};

/// What is known of the free room on the disk, and what was dropped for lack of it.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The estimated free room: the last observation, less what was written and plus what was
    /// removed since.
    left: u64,
    /// How much was written since the last observation.
    asked: u64,
    /// Removed bytes that the disk does not show as free yet, and when the last were removed.
    credit: u64,
    credited: Mono,
    /// The number after the last line that was dropped for its age.
    pub(super) expired: u64,
    /// When dropping unread lines was last logged.
    warned: Option<Mono>,
}

impl Room {
    /// Records that the disk reports `free` bytes.
    fn observe(&mut self, free: u64, now: Mono) {
        // Any increase over the estimate without the credit has been given back by the disk.
        let shown = free.saturating_sub(self.left.saturating_sub(self.credit));
        self.credit = match now.since(self.credited) < ROOM_CREDITED {
            true => self.credit.saturating_sub(shown),
            false => 0,
        };
        self.left = free.saturating_add(self.credit);
        self.asked = 0;
    }

    fn removed(&mut self, bytes: u64, now: Mono) {
        self.credit += bytes;
        self.credited = now;
        self.left = self.left.saturating_add(bytes);
    }

    fn written(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
        self.asked += bytes;
    }
}

impl<F: Fs> Writer<F> {
    /// Makes room for `size` more bytes within `max_size` and above `reserve`, by dropping the
    /// oldest segments if that is the policy.
    pub(super) fn make_room(&mut self, size: u64) -> Result<(), Halt> {
        loop {
            let fits = self.bytes() + size <= self.plan.max_size;
            let wanted = size.saturating_add(self.plan.reserve);
            // Others write to the disk too: an observation is trusted only for a while.
            if self.room.left < wanted || self.room.asked > FREE_EVERY {
                let free = self.fs.free(&self.plan.dir)?;
                self.room.observe(free, self.now.mono);
            }
            if fits && self.room.left >= wanted {
                self.room.written(size);
                return Ok(());
            }
            let why = match fits {
                true => "the disk is full but for the reserve",
                false => "max_size is reached",
            };
            self.drop_for_room(why)?;
        }
    }

    /// Drops the oldest segment if every reader has passed it or the policy says so.
    pub(super) fn drop_for_room(&mut self, why: &'static str) -> Result<(), Halt> {
        let drops = self.plan.when_full == SpoolFull::DropOldest;
        if !drops && !self.oldest_is_passed() {
            return Err(Halt::Full(why));
        }
        if self.can_spare() {
            return Ok(self.drop_oldest(Some(why))?);
        }
        // A segment is dropped as a whole, and one segment whose name is durable must stay: the
        // active one is closed and another begun.
        let has_lines = self.active.as_ref().is_some_and(|active| active.first < self.next);
        if has_lines && self.closed.is_empty() {
            self.close_active();
            self.begin_where_needed(0)?;
        }
        let unnamed = self.active.as_ref().is_some_and(|active| !active.named);
        match self.is_dirty() || !self.unsynced.is_empty() || (unnamed && !self.closed.is_empty()) {
            true => Err(Halt::Unsynced),
            false => Err(Halt::Full(why)),
        }
    }

    /// Returns whether the oldest segment can go: it is durable, and not the last one with a
    /// durable name, from which numbering continues.
    pub(super) fn can_spare(&self) -> bool {
        let is_durable = self.end_of_oldest().is_some_and(|end| end <= self.durable);
        let mut others = self.closed.iter().skip(1);
        let active = self.active.as_ref().is_some_and(|active| active.named);
        is_durable && (active || others.any(|closed| closed.named))
    }

    /// The number after the last line of the oldest closed segment.
    fn end_of_oldest(&self) -> Option<u64> {
        self.closed.front()?;
        self.end_of(0)
    }

    /// The number after the last line of a closed segment.
    pub(super) fn end_of(&self, at: usize) -> Option<u64> {
        let later = self.closed.get(at + 1).map(|closed| closed.first);
        later.or_else(|| self.active.as_ref().map(|active| active.first))
    }

    /// The first line that some reader has not passed; `None` if there is no reader.
    pub(super) fn passed(&self) -> Option<u64> {
        self.readers.values().min().copied()
    }

    /// Returns whether every reader has passed the oldest segment; that may be the active one.
    fn oldest_is_passed(&self) -> bool {
        let active = || self.active.as_ref().filter(|active| active.first < self.next);
        let end = self.end_of_oldest().or_else(|| active().map(|_| self.next));
        end.zip(self.passed()).is_some_and(|(end, passed)| end <= passed)
    }

    /// Drops the oldest segment; logs `why` if a reader had not read all of it.
    pub(super) fn drop_oldest(&mut self, why: Option<&str>) -> io::Result<()> {
        let Some(oldest) = self.closed.front() else { return Ok(()) };
        let (first, bytes) = (oldest.first, oldest.bytes);
        remove_segment(&self.fs, &self.plan.dir, first)?;
        if let (Some(why), Some(end)) = (why, self.end_of_oldest()) {
            self.say_unread(first, end, why);
        }
        self.closed.pop_front();
        self.room.removed(bytes, self.now.mono);
        Ok(())
    }

    /// Accounts for a removed segment.
    pub(super) fn forget_segment(&mut self, first: u64) {
        if let Some(at) = self.closed.iter().position(|closed| closed.first == first)
            && let Some(Closed { bytes, .. }) = self.closed.remove(at)
        {
            self.room.removed(bytes, self.now.mono);
        }
    }

    fn say_unread(&mut self, first: u64, end: u64, why: &str) {
        let Some((reader, position)) = self.readers.iter().min_by_key(|(_, position)| **position)
        else {
            return;
        };
        let from = first.max(*position);
        let quiet = self.room.warned.is_some_and(|at| self.now.mono.since(at) < DROPS_SAID_EVERY);
        if from >= end || quiet {
            return;
        }
        log::warn!(
            "{}: {why}: lines {from} to {} are removed before {reader} is done with them",
            self.plan.dir.display(),
            end - 1
        );
        self.room.warned = Some(self.now.mono);
    }

    /// Does what is due by age: closes a segment whose lines are old, and drops those whose lines
    /// are too old.
    ///
    /// # Errors
    /// The system's.
    pub fn expire(&mut self) -> io::Result<()> {
        let wall = self.steady_wall();
        let Some(max) = self.plan.max_age else { return Ok(()) };
        let is_old = |written| Steady::age(wall, self.now, written) > max;
        let active = self.active.as_ref().filter(|active| active.first < self.next);
        if active.is_some_and(|active| is_old(active.begun)) {
            self.close_active();
        }
        while let Some(oldest) = self.closed.front()
            && Steady::age(wall, self.now, oldest.written) > max
            && self.can_spare()
        {
            let end = self.end_of_oldest().unwrap_or(0);
            self.drop_oldest(Some("max_age is reached"))?;
            self.room.expired = end;
        }
        Ok(())
    }

    /// The wall clock, ignoring a jump ahead that has not lasted long enough.
    pub(super) fn steady_wall(&mut self) -> SystemTime {
        let (wall, ahead) = self.steady.look(self.now);
        let by_age = matches!(self.plan.keep, Some(SpoolKeep::Time(_)));
        if let Some(ahead) = ahead.filter(|_| by_age || self.plan.max_age.is_some()) {
            log::warn!(
                "{}: the clock is {ahead:.0?} ahead of the time that has passed: no line is \
                 removed for its age by it within the next hour",
                self.plan.dir.display()
            );
        }
        wall
    }

    /// The closed segments to remove once all readers are at `position`, oldest first: all except
    /// those that `keep` retains.
    pub(super) fn removable(&self, wall: SystemTime, position: u64) -> Vec<(u64, u64)> {
        let is_passed = |at: &usize| self.end_of(*at).is_some_and(|end| end <= position);
        let passed: Vec<_> = (0..self.closed.len()).take_while(is_passed).collect();
        let mut kept: u64 = passed.iter().map(|at| self.closed[*at].bytes).sum();
        let mut removable = Vec::new();
        for at in passed {
            let closed = &self.closed[at];
            let goes = match self.plan.keep {
                None => true,
                Some(SpoolKeep::Time(time)) => Steady::age(wall, self.now, closed.written) > time,
                Some(SpoolKeep::Size(bytes)) => kept > bytes,
            };
            let named = self.closed.iter().skip(at + 1).any(|later| later.named)
                || self.active.as_ref().is_some_and(|active| active.named);
            let end = self.end_of(at).unwrap_or(u64::MAX);
            if !goes || !named || end > self.durable {
                break;
            }
            kept -= closed.bytes;
            removable.push((closed.first, end));
        }
        removable
    }
}

/// Removes a segment, compressed or not.
///
/// # Errors
/// The system's.
pub(super) fn remove_segment<F: Fs>(fs: &F, dir: &std::path::Path, first: u64) -> io::Result<()> {
    for packed in [true, false] {
        match fs.remove(&Name { first, packed }.path(dir)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    #[test]
    fn room_that_a_file_system_gives_back_late_is_counted_meanwhile() {
        let mut room = Room::default();
        room.observe(100, at(0));
        room.removed(50, at(1));
        room.written(10);
        // Delayed: none of it shows.
        room.observe(90, at(2));
        assert_eq!((room.left, room.credit), (140, 50));
        // Half of it shows, and others took 5.
        room.observe(110, at(3));
        assert_eq!((room.left, room.credit), (140, 30));
        room.observe(140, at(4));
        assert_eq!((room.left, room.credit), (140, 0));
    }

    #[test]
    fn room_that_never_comes_is_not_counted_for_ever() {
        let mut room = Room::default();
        room.observe(100, at(0));
        room.removed(50, at(1));
        room.observe(100, at(1 + ROOM_CREDITED.as_secs()));
        assert_eq!((room.left, room.credit), (100, 0));
    }
}
