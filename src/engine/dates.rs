//! The minutes in which the lines of a spool were first received, by their numbers.
//!
//! Lines that are dropped before they are read are only numbers; this dates them.

use std::collections::VecDeque;

use crate::limits::SPOOL_DATES_MAX;
use crate::minute::Minute;
use crate::spool::reader::Missing;

/// Runs of lines of one minute, in the order of their numbers. Lines before the first run and
/// after the last one are not dated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dates {
    /// Each run's first line and its minute.
    runs: VecDeque<(u64, Minute)>,
    /// The line after the last run.
    end: u64,
}

impl Dates {
    /// Notes lines that are now durable; their numbers only grow.
    pub(super) fn note(&mut self, first: u64, end: u64, minute: Minute) {
        if first > self.end {
            self.start(self.end, Minute::UNKNOWN);
        }
        self.start(first, minute);
        self.end = end;
    }

    fn start(&mut self, first: u64, minute: Minute) {
        let last = self.runs.back().map(|(_, minute)| *minute);
        if last == Some(minute) || last.is_none() && minute == Minute::UNKNOWN {
            return;
        }
        if self.runs.len() == SPOOL_DATES_MAX {
            self.runs.pop_front();
        }
        self.runs.push_back((first, minute));
    }

    /// The missing lines in runs of one minute: first line, the line after the last one, minute.
    pub(super) fn of(&self, gap: &Missing) -> Vec<(u64, u64, Minute)> {
        let before = self.runs.partition_point(|(first, _)| *first <= gap.first);
        let undated = (gap.first, Minute::UNKNOWN);
        let start = before.checked_sub(1).map_or(undated, |at| (gap.first, self.runs[at].1));
        let later = self.runs.range(before..).copied().chain([(self.end, Minute::UNKNOWN)]);
        let mut runs = Vec::new();
        let (mut first, mut minute) = start;
        if first >= self.end {
            minute = Minute::UNKNOWN;
        }
        for (next, then) in later.filter(|(next, _)| *next > gap.first && *next < gap.end) {
            runs.push((first, next, minute));
            (first, minute) = (next, then);
        }
        runs.push((first, gap.end, minute));
        runs
    }

    /// The runs and their end, to be kept over a restart.
    pub(super) fn parts(&self) -> (Vec<(u64, u32)>, u64) {
        let runs = self.runs.iter().map(|(first, minute)| (*first, minute.number()));
        (runs.collect(), self.end)
    }

    /// The runs of an earlier process, of which `durable` lines are left.
    pub(super) fn restored(runs: &[(u64, u32)], end: u64, durable: u64) -> Self {
        let sound = runs.is_sorted_by(|one, next| one.0 < next.0)
            && runs.len() <= SPOOL_DATES_MAX
            && runs.last().is_none_or(|(first, _)| *first < end)
            && end <= durable;
        if !sound {
            return Self::default();
        }
        let runs = runs.iter().map(|(first, minute)| (*first, Minute::from_number(*minute)));
        Self { runs: runs.collect(), end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(dates: &Dates, first: u64, end: u64) -> Vec<(u64, u64, u32)> {
        let runs = dates.of(&Missing { first, end, damaged: false });
        runs.into_iter().map(|(first, end, minute)| (first, end, minute.number())).collect()
    }

    #[test]
    fn missing_lines_are_dated_by_their_numbers() {
        let minute = Minute::from_number;
        let mut dates = Dates::default();
        assert_eq!(runs(&dates, 3, 9), [(3, 9, 0)]);
        dates.note(10, 20, minute(7));
        dates.note(20, 25, minute(7));
        dates.note(25, 30, minute(8));
        dates.note(40, 50, minute(8));
        assert_eq!(runs(&dates, 0, 12), [(0, 10, 0), (10, 12, 7)]);
        assert_eq!(runs(&dates, 12, 24), [(12, 24, 7)]);
        assert_eq!(runs(&dates, 12, 25), [(12, 25, 7)]);
        let all = [(5, 10, 0), (10, 25, 7), (25, 30, 8), (30, 40, 0), (40, 50, 8), (50, 60, 0)];
        assert_eq!(runs(&dates, 5, 60), all);
        assert_eq!(runs(&dates, 50, 60), [(50, 60, 0)]);
        let (parts, end) = dates.parts();
        assert_eq!(Dates::restored(&parts, end, 50), dates);
        assert_eq!(Dates::restored(&parts, end, 49), Dates::default(), "of another spool");
    }

    #[test]
    fn of_too_many_changes_the_oldest_are_forgotten() {
        let mut dates = Dates::default();
        for (line, minute) in (0..=SPOOL_DATES_MAX as u64).zip([5, 6].into_iter().cycle()) {
            dates.note(line, line + 1, Minute::from_number(minute));
        }
        assert_eq!(dates.runs.len(), SPOOL_DATES_MAX);
        assert_eq!(runs(&dates, 0, 3), [(0, 1, 0), (1, 2, 6), (2, 3, 5)]);
    }
}
