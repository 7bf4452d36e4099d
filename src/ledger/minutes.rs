//! The last day of a ledger, by the minute in which the lines were first received.
//!
//! A minute without lines has no row, so an idle node costs nothing. Lines of a minute that is not
//! kept, because it is too old or not known, are counted in one sum beside the rows: the rows and
//! that sum are always all that was counted.

use std::collections::VecDeque;

use super::{Count, REASONS, Reason};
use crate::limits::MINUTES_KEPT;
use crate::minute::Minute;

/// What a node counted of the lines of one minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines that entered.
    pub entered: Count,
    /// Lines that left.
    pub left: Count,
    /// Lines that the selectors rejected.
    pub not_selected: Count,
    /// What few nodes count.
    rare: Option<Box<Rare>>,
}

/// Counts that few nodes have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rare {
    dropped: [u64; REASONS.len()],
    bytes_dropped: u64,
    kernel_drops: u64,
    printed: u64,
}

impl Counts {
    /// Lines dropped for a reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.dropped[reason as usize])
    }

    /// Lines and bytes dropped for any reason.
    pub fn dropped_in_all(&self) -> Count {
        self.rare.as_ref().map_or_else(Count::default, |rare| Count {
            lines: rare.dropped.iter().sum(),
            bytes: rare.bytes_dropped,
        })
    }

    /// Datagrams that the kernel dropped in this minute.
    pub fn kernel_drops(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.kernel_drops)
    }

    /// Lines that children printed in this minute.
    pub fn printed(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.printed)
    }

    /// Counts dropped lines.
    pub fn drop(&mut self, reason: Reason, count: Count) {
        let rare = self.rare.get_or_insert_default();
        rare.dropped[reason as usize] += count.lines;
        rare.bytes_dropped += count.bytes;
    }

    /// Counts datagrams that the kernel dropped.
    pub fn add_kernel_drops(&mut self, count: u64) {
        self.rare.get_or_insert_default().kernel_drops += count;
    }

    /// Counts lines that children printed.
    pub fn add_printed(&mut self, lines: u64) {
        self.rare.get_or_insert_default().printed += lines;
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in [
            (&mut self.entered, other.entered),
            (&mut self.left, other.left),
            (&mut self.not_selected, other.not_selected),
        ] {
            sum.add(count.lines, count.bytes);
        }
        let Some(rare) = &other.rare else { return };
        let sum = self.rare.get_or_insert_default();
        for (sum, lines) in sum.dropped.iter_mut().zip(rare.dropped) {
            *sum += lines;
        }
        sum.bytes_dropped += rare.bytes_dropped;
        sum.kernel_drops += rare.kernel_drops;
        sum.printed += rare.printed;
    }

    /// What entered and has neither left nor been dropped, in lines and bytes.
    pub fn waiting(&self) -> Count {
        let dropped = self.dropped_in_all();
        let gone = |of: fn(&Count) -> u64| of(&self.left) + of(&self.not_selected) + of(&dropped);
        Count {
            lines: self.entered.lines.saturating_sub(gone(|count| count.lines)),
            bytes: self.entered.bytes.saturating_sub(gone(|count| count.bytes)),
        }
    }
}

/// A minute and its counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The minute.
    pub minute: Minute,
    /// How often the counts were told in audit lines.
    pub told: u16,
    /// True if they have changed since they were told.
    pub untold: bool,
    /// True if they have changed since they were saved.
    pub unsaved: bool,
    /// The counts.
    pub counts: Counts,
}

/// The last day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minutes {
    /// Oldest first.
    rows: VecDeque<Row>,
    /// The earliest minute that may have a row.
    floor: Minute,
    /// The most rows.
    limit: usize,
    /// Lines of minutes that have no row.
    other: Counts,
    /// True if it has counts of an earlier process or of another node.
    adopted: bool,
}

impl Row {
    fn change(&mut self) -> &mut Counts {
        self.untold = true;
        self.unsaved = true;
        &mut self.counts
    }
}

impl Default for Minutes {
    fn default() -> Self {
        Self {
            rows: VecDeque::new(),
            floor: Minute::UNKNOWN.after(1),
            limit: MINUTES_KEPT as usize,
            other: Counts::default(),
            adopted: false,
        }
    }
}

impl Minutes {
    /// The rows, oldest first.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.rows.iter()
    }

    /// The rows, to note that they were told.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        self.rows.iter_mut()
    }

    /// Lines of minutes that have no row.
    pub fn other(&self) -> &Counts {
        &self.other
    }

    /// The counts of a minute, to be changed.
    pub fn at(&mut self, minute: Minute) -> &mut Counts {
        if self.rows.back().is_none_or(|row| row.minute != minute) {
            return self.search(minute);
        }
        // There is one: it was looked at just now.
        let at = self.rows.len() - 1;
        self.rows[at].change()
    }

    /// The counts of a minute that is not the newest.
    #[cold]
    fn search(&mut self, minute: Minute) -> &mut Counts {
        if minute < self.floor {
            return &mut self.other;
        }
        let at = match self.rows.binary_search_by_key(&minute, |row| row.minute) {
            Ok(at) => at,
            Err(at) if at == 0 && self.rows.len() >= self.limit => return &mut self.other,
            Err(at) => {
                let counts = Counts::default();
                // Few rows more than needed: this memory is held for a day.
                if self.rows.len() == self.rows.capacity() {
                    self.rows.reserve_exact((self.rows.len() / 4).max(4));
                }
                let row = Row { minute, told: 0, untold: true, unsaved: true, counts };
                self.rows.insert(at, row);
                at - self.forget_old()
            }
        };
        self.rows[at].change()
    }

    /// Takes in a row of an earlier process, or of a node that this one replaces.
    pub fn take_in(&mut self, row: &Row) {
        self.adopted = true;
        let is_new = self.rows.binary_search_by_key(&row.minute, |row| row.minute).is_err();
        self.at(row.minute).add(&row.counts);
        if let Ok(at) = self.rows.binary_search_by_key(&row.minute, |row| row.minute) {
            let here = &mut self.rows[at];
            here.told = here.told.max(row.told);
            if is_new {
                (here.untold, here.unsaved) = (row.untold, row.unsaved);
            }
        }
    }

    /// Takes in all of a node that this one replaces.
    pub fn take_in_all(&mut self, other: &Self) {
        self.adopted = true;
        self.other.add(&other.other);
        other.rows.iter().for_each(|row| self.take_in(row));
    }

    /// Returns whether it has counts of an earlier process or of another node.
    pub fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// Returns whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.other == Counts::default()
    }

    /// Sets the most rows, at least one.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
        self.forget_old();
    }

    /// Adds rows that are too old, or too many, to the sum of the others. Returns how many.
    fn forget_old(&mut self) -> usize {
        let newest = self.rows.back().map_or(Minute::UNKNOWN, |row| row.minute);
        let oldest = newest.before(MINUTES_KEPT - 1);
        let mut gone = 0;
        while let Some(first) = self.rows.front()
            && (first.minute < oldest || self.rows.len() > self.limit)
        {
            self.floor = first.minute.after(1);
            self.other.add(&first.counts);
            self.rows.pop_front();
            gone += 1;
        }
        self.floor = self.floor.max(oldest);
        gone
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn minute(number: u32) -> Minute {
        Minute::from_number(number)
    }

    fn entered(minutes: &Minutes) -> Vec<(u32, u64)> {
        minutes.rows().map(|row| (row.minute.number(), row.counts.entered.lines)).collect()
    }

    #[test]
    fn rows_are_sparse_and_in_order_and_old_ones_are_summed() {
        let mut minutes = Minutes::default();
        for (at, lines) in [(10_000, 1), (10_005, 2), (10_002, 4), (10_005, 8), (0, 16)] {
            minutes.at(minute(at)).entered.add(lines, 0);
        }
        assert_eq!(entered(&minutes), [(10_000, 1), (10_002, 4), (10_005, 10)]);
        assert_eq!(minutes.other().entered.lines, 16);
        // A day later.
        minutes.at(minute(10_000 + MINUTES_KEPT)).entered.add(32, 0);
        minutes.at(minute(10_000)).entered.add(64, 0);
        let later = 10_000 + MINUTES_KEPT;
        assert_eq!(entered(&minutes), [(10_002, 4), (10_005, 10), (later, 32)]);
        assert_eq!(minutes.other().entered.lines, 16 + 1 + 64);
        minutes.set_limit(1);
        assert_eq!(entered(&minutes), [(later, 32)]);
        minutes.at(minute(later - 1)).entered.add(128, 0);
        assert_eq!(minutes.other().entered.lines, 16 + 1 + 64 + 4 + 10 + 128);
    }

    proptest! {
        #[test]
        fn whatever_the_order_nothing_is_lost_and_the_rows_are_bounded(
            adds in proptest::collection::vec((9_000_u32..12_000, 1_u64..9), 0..400),
            limit in 1_usize..50,
        ) {
            let mut minutes = Minutes::default();
            minutes.set_limit(limit);
            let mut all = 0;
            for (at, lines) in adds {
                minutes.at(minute(at)).entered.add(lines, 0);
                all += lines;
                prop_assert!(minutes.rows().count() <= limit);
            }
            let rows = entered(&minutes);
            prop_assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let sum: u64 = rows.iter().map(|row| row.1).sum();
            prop_assert_eq!(sum + minutes.other().entered.lines, all);
        }
    }
}
