//! Counts by the minute, of lines that left a queue together.

use super::Count;
use crate::minute::Minute;

/// Lines and bytes, by the minute in which the lines were first received. Lines of one minute, the
/// usual case, need no memory of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    first: (Minute, Count),
    more: Vec<(Minute, Count)>,
}

impl Tally {
    /// Lines of one minute.
    pub fn of(minute: Minute, count: Count) -> Self {
        Self { first: (minute, count), more: Vec::new() }
    }

    /// Adds lines of a minute.
    pub fn add(&mut self, minute: Minute, count: Count) {
        let (first, sum) = &mut self.first;
        if *sum == Count::default() {
            *first = minute;
        }
        if *first == minute {
            return sum.add(count.lines, count.bytes);
        }
        match self.more.iter_mut().find(|(other, _)| *other == minute) {
            Some((_, sum)) => sum.add(count.lines, count.bytes),
            None => self.more.push((minute, count)),
        }
    }

    /// Adds all of another.
    pub fn add_all(&mut self, other: &Self) {
        other.iter().for_each(|(minute, count)| self.add(minute, count));
    }

    /// The counts of each minute.
    pub fn iter(&self) -> impl Iterator<Item = (Minute, Count)> {
        std::iter::once(self.first)
            .chain(self.more.iter().copied())
            .filter(|(_, count)| *count != Count::default())
    }

    /// All of them.
    pub fn sum(&self) -> Count {
        let mut all = Count::default();
        self.iter().for_each(|(_, count)| all.add(count.lines, count.bytes));
        all
    }

    /// Takes out so many lines and bytes, from the first minute on: which of the lines they were
    /// is not known.
    #[must_use]
    pub fn take(&mut self, mut count: Count) -> Self {
        let mut taken = Self::default();
        for (minute, here) in std::iter::once(&mut self.first).chain(&mut self.more) {
            let lines = here.lines.min(count.lines);
            let bytes = here.bytes.min(count.bytes);
            let part = Count { lines, bytes };
            if part == Count::default() {
                continue;
            }
            *here = Count { lines: here.lines - lines, bytes: here.bytes - bytes };
            count = Count { lines: count.lines - lines, bytes: count.bytes - bytes };
            taken.add(*minute, part);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(lines: u64, bytes: u64) -> Count {
        Count { lines, bytes }
    }

    #[test]
    fn lines_are_added_by_minute_and_taken_from_the_first() {
        let minute = Minute::from_number;
        let mut tally = Tally::default();
        assert_eq!(tally.iter().count(), 0);
        for (at, lines) in [(7, 2), (8, 1), (7, 1), (9, 4)] {
            tally.add(minute(at), count(lines, lines * 10));
        }
        let parts: Vec<_> = tally.iter().collect();
        let expected =
            [(minute(7), count(3, 30)), (minute(8), count(1, 10)), (minute(9), count(4, 40))];
        assert_eq!(parts, expected);
        assert_eq!(tally.sum(), count(8, 80));
        let taken = tally.take(count(4, 42));
        assert_eq!(
            taken.iter().collect::<Vec<_>>(),
            [(minute(7), count(3, 30)), (minute(8), count(1, 10)), (minute(9), count(0, 2))]
        );
        assert_eq!(tally.iter().collect::<Vec<_>>(), [(minute(9), count(4, 38))]);
    }
}
