//! The other spools that lines came from, and the last line of each that is here.
//!
//! The table is bounded: the spool that nothing came from for longest is forgotten first. What a
//! sync has not covered yet can be taken back, line by line: appends go on while a sync runs, and
//! one that fails leaves in doubt only what was appended since the last that did not.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::ids::Identity;
use crate::limits::ORIGINS_MAX;

/// The origins of a spool's lines.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    known: HashMap<Identity, Origin>,
    /// The same, the one heard from least recently first.
    by_age: BTreeSet<(u64, Identity)>,
    /// Counts up with each line heard.
    heard: u64,
    /// What the last appends changed, oldest first.
    undo: VecDeque<Undo>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    /// The number of the last line there.
    last: u64,
    /// When it was heard of.
    heard: u64,
}

/// A change that is not durable yet.
#[derive(Debug, Clone)]
struct Undo {
    /// It is durable once the spool is, up to this line.
    end: u64,
    spool: Identity,
    before: Option<Origin>,
}

impl Origins {
    /// The number of the last line from `spool`, durable or not.
    pub fn last(&self, spool: Identity) -> Option<u64> {
        self.known.get(&spool).map(|origin| origin.last)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Lines up to `last` of `spool` were appended, and this spool ends with line `end` (not
    /// included) by that. The origin that had to be forgotten for it, where there were too many.
    pub fn note(&mut self, spool: Identity, last: u64, end: u64) -> Option<Identity> {
        self.heard += 1;
        self.change(spool, Some(Origin { last, heard: self.heard }), end);
        if self.known.len() <= ORIGINS_MAX {
            return None;
        }
        let &(_, oldest) = self.by_age.first()?;
        self.change(oldest, None, end);
        Some(oldest)
    }

    /// Nothing will come from `spool` any more, and all that came is durable. Not taken back by
    /// [`Self::roll_back`]: its numbers may begin anew behind this.
    pub fn end(&mut self, spool: Identity) {
        debug_assert!(self.undo.iter().all(|undo| undo.spool != spool));
        self.set(spool, None);
    }

    /// Takes a durable row in; rows are in the order in which they were heard of.
    pub fn restore(&mut self, spool: Identity, last: u64) {
        self.note(spool, last, 0);
        self.undo.clear();
    }

    /// The spool is durable up to line `until`. The origins that this changed, with the last
    /// durable line of each; `None` of one that is forgotten.
    pub fn settle(&mut self, until: u64) -> Vec<(Identity, Option<u64>)> {
        let mut changed = BTreeSet::new();
        while let Some(undo) = self.undo.front().filter(|undo| undo.end <= until) {
            changed.insert(undo.spool);
            self.undo.pop_front();
        }
        if changed.is_empty() {
            return Vec::new();
        }
        let pending = self.pending();
        let durable = |spool| match pending.get(&spool) {
            Some(before) => before.map(|origin| origin.last),
            None => self.last(spool),
        };
        changed.into_iter().map(|spool| (spool, durable(spool))).collect()
    }

    /// Takes back what is not durable.
    pub fn roll_back(&mut self) {
        while let Some(Undo { spool, before, .. }) = self.undo.pop_back() {
            self.set(spool, before);
        }
    }

    /// The last durable line of each.
    pub fn durable(&self) -> BTreeMap<Identity, u64> {
        let mut durable: BTreeMap<_, _> =
            self.known.iter().map(|(&spool, origin)| (spool, origin.last)).collect();
        for (spool, before) in self.pending() {
            match before {
                Some(origin) => drop(durable.insert(spool, origin.last)),
                None => drop(durable.remove(&spool)),
            }
        }
        durable
    }

    /// All of them, the one heard from least recently first, as they stand where a segment begins.
    pub fn rows(&self) -> impl Iterator<Item = (Identity, u64)> {
        let last = |&(_, spool): &(u64, Identity)| Some((spool, self.last(spool)?));
        self.by_age.iter().filter_map(last)
    }

    /// What those were before that have changes which are not durable.
    fn pending(&self) -> HashMap<Identity, Option<Origin>> {
        self.undo.iter().rev().map(|undo| (undo.spool, undo.before)).collect()
    }

    fn change(&mut self, spool: Identity, to: Option<Origin>, end: u64) {
        let before = self.set(spool, to);
        self.undo.push_back(Undo { end, spool, before });
    }

    fn set(&mut self, spool: Identity, to: Option<Origin>) -> Option<Origin> {
        let before = match to {
            Some(origin) => self.known.insert(spool, origin),
            None => self.known.remove(&spool),
        };
        if let Some(before) = before {
            self.by_age.remove(&(before.heard, spool));
        }
        if let Some(origin) = to {
            self.by_age.insert((origin.heard, spool));
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Identity = Identity::of(0xa << 64);
    const B: Identity = Identity::of(0xb << 64);

    #[test]
    fn what_a_sync_covered_is_durable_and_the_rest_can_be_taken_back() {
        let mut origins = Origins::default();
        origins.note(A, 4, 5);
        origins.note(B, 1, 7);
        origins.note(A, 9, 12);
        assert!(origins.durable().is_empty());
        assert_eq!(origins.settle(7), [(A, Some(4)), (B, Some(1))]);
        assert_eq!(origins.durable(), BTreeMap::from([(A, 4), (B, 1)]));
        assert_eq!(origins.last(A), Some(9));
        origins.roll_back();
        assert_eq!(origins.rows().collect::<Vec<_>>(), [(A, 4), (B, 1)]);
    }

    #[test]
    fn an_origin_that_has_ended_may_begin_anew_whatever_is_taken_back() {
        let mut origins = Origins::default();
        origins.note(A, 4, 5);
        origins.note(B, 9, 7);
        assert_eq!(origins.settle(7), [(A, Some(4)), (B, Some(9))]);
        origins.note(A, 6, 9);
        origins.end(B);
        assert_eq!(origins.last(B), None);
        origins.roll_back();
        assert_eq!(origins.rows().collect::<Vec<_>>(), [(A, 4)]);
        assert_eq!(origins.durable(), BTreeMap::from([(A, 4)]));
        origins.note(B, 0, 8);
        assert_eq!(origins.settle(8), [(B, Some(0))]);
    }

    #[test]
    fn the_origin_that_is_unheard_of_for_longest_is_forgotten() {
        let mut origins = Origins::default();
        let number = |at: usize| Identity::of(at as u128);
        for at in 0..ORIGINS_MAX {
            // The numbers fall, so that the lowest is the newest.
            let last = (ORIGINS_MAX - at) as u64;
            assert_eq!(origins.note(number(at), last, 1), None);
        }
        origins.note(number(0), ORIGINS_MAX as u64 + 1, 1);
        assert_eq!(origins.note(A, 0, 1), Some(number(1)), "0 was heard of since");
        assert_eq!(origins.len(), ORIGINS_MAX);
        let mut again = Origins::default();
        origins.rows().for_each(|(spool, last)| again.restore(spool, last));
        assert_eq!(again.note(B, 0, 2), Some(number(2)), "the order is kept on disk");
    }
}
