//! The last hour of a node by the second, from sums that are looked at once a second.
//!
//! A second in which nothing happened has no row. The second is that in which the lines were
//! counted here, unlike the minute of [`super::minutes`].

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::told::is_zero;
use crate::limits::SECONDS_KEPT;

/// Sums of a node that are compared over time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Lines that entered.
    #[serde(skip_serializing_if = "is_zero")]
    pub lines_in: u64,
    /// Lines that left.
    #[serde(skip_serializing_if = "is_zero")]
    pub lines_out: u64,
    /// Lines that the selectors rejected.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_selected: u64,
    /// Lines that were dropped for any reason.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// Datagrams that the kernel dropped; inputs only.
    #[serde(skip_serializing_if = "is_zero")]
    pub kernel_drops: u64,
}

/// What a node counted in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondRow {
    /// When the second began, in seconds since 1970.
    pub at: u64,
    /// What was counted in it.
    #[serde(flatten)]
    pub counts: Totals,
}

/// A second of a node, as small as it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    second: u32,
    counts: [u32; 5],
}

/// The last hour of a node.
#[derive(Debug, Clone, Default)]
pub struct Seconds {
    seen: Totals,
    /// Oldest first.
    rows: VecDeque<Row>,
}

impl Totals {
    fn all(self) -> [u64; 5] {
        [self.lines_in, self.lines_out, self.not_selected, self.dropped, self.kernel_drops]
    }

    /// Adds those of another node.
    pub fn add(&mut self, other: Self) {
        self.lines_in += other.lines_in;
        self.lines_out += other.lines_out;
        self.not_selected += other.not_selected;
        self.dropped += other.dropped;
        self.kernel_drops += other.kernel_drops;
    }
}

impl Seconds {
    /// Returns whether these sums differ from those that were noted last.
    pub fn differs(&self, sums: Totals) -> bool {
        self.seen != sums
    }

    /// Notes the sums at the end of a second. At most `limit` rows are kept, and none that is
    /// older than an hour. Returns whether anything was counted.
    pub fn note(&mut self, second: u32, sums: Totals, limit: usize) -> bool {
        let before = std::mem::replace(&mut self.seen, sums).all();
        let mut counts = [0; 5];
        for ((count, sum), before) in counts.iter_mut().zip(sums.all()).zip(before) {
            *count = u32::try_from(sum.saturating_sub(before)).unwrap_or(u32::MAX);
        }
        let is_any = counts != [0; 5];
        if is_any {
            self.enter(Row { second, counts });
        }
        let oldest = second.saturating_sub(SECONDS_KEPT - 1);
        while let Some(first) = self.rows.front()
            && (first.second < oldest || self.rows.len() > limit)
        {
            self.rows.pop_front();
        }
        is_any
    }

    fn enter(&mut self, row: Row) {
        // The clock was set back: what it has yet to come to again is forgotten.
        while self.rows.back().is_some_and(|last| last.second > row.second) {
            self.rows.pop_back();
        }
        if let Some(last) = self.rows.back_mut().filter(|last| last.second == row.second) {
            for (sum, count) in last.counts.iter_mut().zip(row.counts) {
                *sum = sum.saturating_add(count);
            }
            return;
        }
        // Few rows more than needed: this memory is held for an hour.
        if self.rows.len() == self.rows.capacity() {
            self.rows.reserve_exact((self.rows.len() / 4).max(16));
        }
        self.rows.push_back(row);
    }

    /// Returns whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows from this second on, oldest first.
    pub fn rows(&self, from: u32) -> impl Iterator<Item = SecondRow> {
        let rows = self.rows.iter().filter(move |row| row.second >= from);
        rows.map(|row| {
            let [lines_in, lines_out, not_selected, dropped, kernel_drops] =
                row.counts.map(u64::from);
            let counts = Totals { lines_in, lines_out, not_selected, dropped, kernel_drops };
            SecondRow { at: row.second.into(), counts }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(lines_in: u64) -> Totals {
        Totals { lines_in, ..Totals::default() }
    }

    fn rows(seconds: &Seconds) -> Vec<(u64, u64)> {
        seconds.rows(0).map(|row| (row.at, row.counts.lines_in)).collect()
    }

    #[test]
    fn a_second_has_what_the_sums_grew_by_and_an_hour_is_kept() {
        let mut seconds = Seconds::default();
        let mut note = |second, sum| (seconds.note(second, lines(sum), 10_000), rows(&seconds));
        assert_eq!(note(1000, 5), (true, vec![(1000, 5)]));
        assert_eq!(note(1001, 5), (false, vec![(1000, 5)]), "nothing happened");
        assert_eq!(note(1007, 12).1, [(1000, 5), (1007, 7)]);
        assert_eq!(note(1007, 13).1, [(1000, 5), (1007, 8)], "twice in a second");
        assert_eq!(note(1003, 14).1, [(1000, 5), (1003, 1)], "the clock was set back");
        assert_eq!(note(1000 + SECONDS_KEPT, 14).1, [(1003, 1)]);
        assert_eq!(note(9000, 3), (false, vec![]), "another node of this name");
        assert_eq!(note(9001, 4).1, [(9001, 1)]);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_bounded_in_order_and_no_more_than_was_counted(
            steps in proptest::collection::vec((0_u32..5000, 0_u64..1 << 40), 0..200),
            limit in 1_usize..50,
        ) {
            let (mut seconds, mut sum) = (Seconds::default(), 0);
            for (second, more) in steps {
                sum += more;
                prop_assert_eq!(seconds.note(second, lines(sum), limit), more > 0);
                let rows = rows(&seconds);
                prop_assert!(rows.len() <= limit);
                prop_assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0));
                let oldest = u64::from(second.saturating_sub(SECONDS_KEPT - 1));
                prop_assert!(rows.iter().all(|row| row.0 >= oldest));
                prop_assert!(rows.iter().map(|row| row.1).sum::<u64>() <= sum);
                prop_assert!(!seconds.differs(lines(sum)));
            }
        }
    }
}
