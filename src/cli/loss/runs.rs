//! The numbers received from each sender, with their times: the data for the hourly table and the
//! list of gaps.
//!
//! The numbers of a sender are kept as ranges, each with the times of its two ends; a sender that
//! restarts is a new incarnation with ranges of its own. The numbers between two ranges are
//! missing, in the hour of the line after them.

use std::collections::{BTreeMap, HashMap};

use crate::limits::{SENDERS_MAX, SEQUENCE_JUMP_MAX};
use crate::parse::sequence::WINDOW;

/// The maximum number of ranges for all senders: each is a gap. Beyond it, the oldest gap is
/// counted in its hour and no longer listed.
const RANGES_MAX: usize = 1 << 18;
/// The maximum number of rows in the hourly table.
const HOURS_MAX: usize = 1 << 18;

/// Seconds since 1970, if a line has a time.
pub(super) type Seconds = Option<i64>;

/// The lines of one sender and incarnation in one hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hour {
    /// Lines received.
    pub(super) got: u64,
    /// Distinct numbers among them.
    pub(super) distinct: u64,
    /// Numbers missing before a line of this hour.
    pub(super) lost: u64,
    /// The lowest and the highest number.
    lowest: u64,
    highest: u64,
}

/// Numbers missing between two lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    /// The first and the last missing number.
    pub(super) numbers: (u64, u64),
    /// The times of the lines before and after it.
    pub(super) times: (Seconds, Seconds),
}

/// The numbers of a sender between two restarts.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// By their first number.
    ranges: BTreeMap<u64, Range>,
    /// By hours since 1970; lines without a time come first.
    hours: BTreeMap<Option<i64>, Hour>,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    end: u64,
    times: (Seconds, Seconds),
}

/// All senders.
#[derive(Debug, Default)]
pub(super) struct Runs {
    senders: HashMap<Box<[u8]>, Vec<Run>>,
    ranges: usize,
    hours: usize,
    /// Gaps that are counted but cannot be listed.
    pub(super) unlisted: u64,
    /// Lines that exceed the bounds.
    pub(super) left_out: u64,
}

impl Runs {
    /// Records a line.
    pub(super) fn line(&mut self, name: &[u8], number: u64, time: Seconds) {
        if !self.senders.contains_key(name) {
            if self.senders.len() == SENDERS_MAX {
                self.left_out += 1;
                return;
            }
            self.senders.insert(name.into(), vec![Run::default()]);
        }
        let Some(runs) = self.senders.get_mut(name) else { return };
        if runs.last().is_some_and(|run| run.is_before(number, time)) {
            runs.push(Run::default());
        }
        let Some(run) = runs.last_mut() else { return };
        let hour = time.map(|time| time.div_euclid(3600));
        if !run.hours.contains_key(&hour) {
            if self.hours == HOURS_MAX {
                self.left_out += 1;
                return;
            }
            self.hours += 1;
        }
        let before = run.ranges.len();
        run.line(number, time, hour);
        self.ranges = self.ranges + run.ranges.len() - before;
        if self.ranges > RANGES_MAX && run.forget_oldest() {
            self.ranges -= 1;
            self.unlisted += 1;
        }
    }

    /// The incarnations of all senders, by name and in order, numbered from 1.
    pub(super) fn all(&self) -> impl Iterator<Item = (&[u8], usize, &Run)> {
        let mut names: Vec<_> = self.senders.keys().collect();
        names.sort_unstable();
        names.into_iter().flat_map(|name| {
            let runs = self.senders[name].iter().enumerate();
            runs.map(|(index, run)| (&**name, index + 1, run))
        })
    }
}

impl Run {
    /// Returns whether a line with this number means that the sender restarted: its number is far
    /// back, or absurdly far ahead, and its time is not that of an old line.
    fn is_before(&self, number: u64, time: Seconds) -> bool {
        let Some((_, last)) = self.ranges.last_key_value() else { return false };
        if number > last.end {
            return number - last.end > SEQUENCE_JUMP_MAX;
        }
        let older = time.zip(last.times.1).is_some_and(|(time, last)| time < last);
        last.end - number >= WINDOW && !older
    }

    fn line(&mut self, number: u64, time: Seconds, hour: Option<i64>) {
        let is_new = self.enter(number, time);
        let hour =
            self.hours.entry(hour).or_insert_with(|| Hour { lowest: number, ..Hour::default() });
        hour.got += 1;
        hour.distinct += u64::from(is_new);
        hour.lowest = hour.lowest.min(number);
        hour.highest = hour.highest.max(number);
    }

    /// Records a number; returns whether it is new.
    fn enter(&mut self, number: u64, time: Seconds) -> bool {
        let before = self.ranges.range_mut(..=number).next_back();
        let mut range = Range { end: number, times: (time, time) };
        let mut start = number;
        if let Some((first, before)) = before {
            if number <= before.end {
                return false;
            }
            if before.end + 1 == number {
                (start, range.times.0) = (*first, before.times.0);
            }
        }
        if let Some(next) = number.checked_add(1).and_then(|next| self.ranges.remove(&next)) {
            (range.end, range.times.1) = (next.end, next.times.1);
        }
        self.ranges.insert(start, range);
        true
    }

    /// Joins the two lowest ranges, after counting the gap between them; returns false if there are
    /// not two.
    fn forget_oldest(&mut self) -> bool {
        let mut lowest = self.ranges.iter();
        let (Some((&start, &first)), Some((&next, &second))) = (lowest.next(), lowest.next())
        else {
            return false;
        };
        let hour = second.times.0.map(|time| time.div_euclid(3600));
        if let Some(hour) = self.hours.get_mut(&hour) {
            hour.lost += next - first.end - 1;
        }
        self.ranges.remove(&next);
        let times = (first.times.0, second.times.1);
        self.ranges.insert(start, Range { end: second.end, times });
        true
    }

    /// The gaps, in the order of their numbers.
    pub(super) fn gaps(&self) -> impl Iterator<Item = Gap> {
        self.ranges.values().zip(self.ranges.iter().skip(1)).map(|(before, (start, after))| Gap {
            numbers: (before.end + 1, start - 1),
            times: (before.times.1, after.times.0),
        })
    }

    /// The hours, in order. With `step`, one line in `step` was sent, and only the span of an hour
    /// tells how many lines to expect.
    pub(super) fn hours(&self, step: u64) -> BTreeMap<Option<i64>, Hour> {
        let mut hours = self.hours.clone();
        if step > 1 {
            for hour in hours.values_mut() {
                hour.lost = ((hour.highest - hour.lowest) / step + 1).saturating_sub(hour.distinct);
            }
            return hours;
        }
        for gap in self.gaps() {
            let hour = gap.times.1.map(|time| time.div_euclid(3600));
            if let Some(hour) = hours.get_mut(&hour) {
                hour.lost += gap.numbers.1 - gap.numbers.0 + 1;
            }
        }
        hours
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn runs(lines: impl IntoIterator<Item = (u64, i64)>) -> Runs {
        let mut runs = Runs::default();
        for (number, time) in lines {
            runs.line(b"a", number, Some(time));
        }
        runs
    }

    #[test]
    fn a_gap_between_two_hours_is_of_the_later_one() {
        let runs = runs([(1, 3590), (2, 3599), (5, 3600), (5, 3601), (4, 3602)]);
        let (_, _, run) = runs.all().next().unwrap();
        let hours: Vec<_> = run.hours(1).into_values().collect();
        let of = |hour: &Hour| (hour.got, hour.distinct, hour.lost);
        assert_eq!(hours.iter().map(of).collect::<Vec<_>>(), [(2, 2, 0), (3, 2, 1)]);
        let gaps: Vec<_> = run.gaps().collect();
        assert_eq!(gaps, [Gap { numbers: (3, 3), times: (Some(3599), Some(3602)) }]);
    }

    #[test]
    fn a_sender_that_begins_anew_is_a_new_incarnation_and_an_old_line_is_not() {
        let restarted = runs([(1000, 10), (1001, 11), (1, 12), (2, 13)]);
        assert_eq!(restarted.all().map(|(_, run, _)| run).collect::<Vec<_>>(), [1, 2]);
        let replayed = runs([(1000, 10), (1001, 11), (1, 2), (2, 3)]);
        assert_eq!(replayed.all().count(), 1);
    }

    proptest! {
        #[test]
        fn each_missing_number_is_in_one_gap_and_one_hour(
            kept in prop::collection::vec(any::<bool>(), 1..200),
            order in prop::collection::vec(0..30_u64, 200),
        ) {
            let index = |number: u64| usize::try_from(number).unwrap();
            let numbered = (0..).zip(&kept).filter(|(_, kept)| **kept);
            let mut numbers: Vec<_> = numbered.map(|(number, _)| number).collect();
            numbers.sort_by_key(|number: &u64| number + order[index(*number)]);
            let time = |number: u64| i64::try_from(number * 100).unwrap();
            let lines = numbers.iter().map(|number| (*number, time(*number)));
            let runs = runs(lines);
            let Some((_, _, run)) = runs.all().next() else { return Ok(()) };
            let lowest = *numbers.iter().min().unwrap();
            let highest = *numbers.iter().max().unwrap();
            let missing: Vec<_> =
                (lowest..=highest).filter(|number| !kept[index(*number)]).collect();
            let listed: Vec<_> =
                run.gaps().flat_map(|gap| gap.numbers.0..=gap.numbers.1).collect();
            prop_assert_eq!(&listed, &missing);
            let lost: u64 = run.hours(1).values().map(|hour| hour.lost).sum();
            prop_assert_eq!(lost, missing.len() as u64);
        }
    }
}
