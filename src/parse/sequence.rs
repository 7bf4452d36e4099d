//! Detecting lost lines by the sequence numbers of the lines received.
//!
//! In a line whose first two words are a sender's name and a number, the number says how many lines
//! that sender has sent. Numbers missing between the first and the highest are lost, unless they
//! arrive late. A number far back, or absurdly far ahead, means that the sender restarted.

use std::collections::HashMap;
use std::sync::Arc;

use crate::limits::{SENDER_NAME_MAX, SENDERS_MAX, SEQUENCE_JUMP_MAX};

/// How many numbers back a line still counts as late rather than as a restart.
pub const WINDOW: u64 = u64::BITS as u64;

/// The statistics of one sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sender {
    /// Lines received, excluding duplicates.
    pub received: u64,
    /// Lines missing between the first and the highest number.
    pub lost: u64,
    /// The number of restarts.
    pub restarts: u64,
    /// Lines that came after a higher number.
    pub late: u64,
    /// Lines whose number had already been seen.
    pub duplicates: u64,
    span: Span,
    /// Lines lost before the current span.
    lost_before: u64,
}

/// The numbers since a sender's last restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Span {
    first: u64,
    highest: u64,
    received: u64,
    /// Bit `n` represents the number `highest - n`.
    seen: u64,
}

/// Tracks the numbers of all senders. Beyond [`SENDERS_MAX`], the least recently heard from is
/// forgotten: if it sends again, it is new, and its losses in the meantime are not counted.
#[derive(Debug)]
pub struct GapTracker {
    step: u64,
    delimiter: Option<u8>,
    places: HashMap<Arc<[u8]>, usize>,
    senders: Vec<(Arc<[u8]>, Sender)>,
    heard: Heard,
    /// The index of the last line's sender, usually that of the next one too.
    last: usize,
    unnumbered: u64,
    forgotten: u64,
    told_forgotten: u64,
    lost: u64,
    told: u64,
}

impl Default for GapTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl GapTracker {
    /// Creates a tracker for senders that pass on every line.
    pub fn new() -> Self {
        Self::with_step(1)
    }

    /// Creates a tracker for senders that pass on one line in `sample`; 0 counts as 1.
    pub fn with_step(sample: u64) -> Self {
        Self {
            step: sample.max(1),
            delimiter: None,
            places: HashMap::new(),
            senders: Vec::new(),
            heard: Heard::default(),
            last: 0,
            unnumbered: 0,
            forgotten: 0,
            told_forgotten: 0,
            lost: 0,
            told: 0,
        }
    }

    /// Sets the byte that separates words, instead of a space or a tab.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = Some(delimiter);
        self
    }

    /// Tracks lines, each terminated by a newline.
    pub fn lines(&mut self, lines: &[u8]) {
        let mut rest = lines;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            self.line(&rest[..at]);
            rest = &rest[at + 1..];
        }
    }

    /// Tracks one line; returns its sender, its number and its third word, which may be empty.
    pub fn line<'l>(&mut self, line: &'l [u8]) -> Option<(&'l [u8], u64, &'l [u8])> {
        let Some((name, number, third)) = self.words(line) else {
            self.unnumbered += 1;
            return None;
        };
        let place = self.place(name);
        self.last = place;
        let sender = &mut self.senders[place].1;
        let before = sender.lost;
        sender.number(number, self.step);
        self.lost = (self.lost - before).saturating_add(sender.lost);
        Some((name, number, third))
    }

    /// Lines lost from all senders. A line that arrives late reduces it again.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// By how much [`Self::lost`] exceeds the total returned so far: the sum of the results only
    /// grows.
    pub fn newly_lost(&mut self) -> u64 {
        let new = self.lost.saturating_sub(self.told);
        self.told += new;
        new
    }

    /// Lines without a sender's name and a number.
    pub fn unnumbered(&self) -> u64 {
        self.unnumbered
    }

    /// Senders forgotten to make room for others.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Senders forgotten since the last call.
    pub fn newly_forgotten(&mut self) -> u64 {
        self.forgotten - std::mem::replace(&mut self.told_forgotten, self.forgotten)
    }

    /// The senders.
    pub fn senders(&self) -> impl Iterator<Item = (&[u8], &Sender)> {
        self.senders.iter().map(|(name, sender)| (&**name, sender))
    }

    /// The sender, the number and the third word of a line, which may be empty.
    fn words<'a>(&self, line: &'a [u8]) -> Option<(&'a [u8], u64, &'a [u8])> {
        let end = |bytes: &[u8]| match self.delimiter {
            Some(delimiter) => memchr::memchr(delimiter, bytes),
            None => memchr::memchr2(b' ', b'\t', bytes),
        };
        let at = end(line).filter(|at| (1..=SENDER_NAME_MAX).contains(at))?;
        let (name, rest) = (&line[..at], &line[at + 1..]);
        let at = end(rest).unwrap_or(rest.len());
        let third = rest.get(at + 1..).unwrap_or_default();
        let third = &third[..end(third).unwrap_or(third.len())];
        Some((name, digits(&rest[..at])?, third))
    }

    /// The index of this sender, marked as just heard from.
    fn place(&mut self, name: &[u8]) -> usize {
        if self.senders.get(self.last).is_some_and(|(last, _)| **last == *name) {
            return self.last;
        }
        if let Some(&place) = self.places.get(name) {
            self.heard.now(place);
            return place;
        }
        let name: Arc<[u8]> = name.into();
        let entry = (Arc::clone(&name), Sender::default());
        let place = if self.senders.len() < SENDERS_MAX {
            self.senders.push(entry);
            self.heard.add()
        } else {
            let place = self.heard.longest_ago();
            let (old, _) = std::mem::replace(&mut self.senders[place], entry);
            self.places.remove(&old);
            self.forgotten += 1;
            self.heard.now(place);
            place
        };
        self.places.insert(name, place);
        place
    }
}

/// The order in which senders were last heard from: a ring of linked indexes, so that no operation
/// depends on their number.
#[derive(Debug, Default)]
struct Heard {
    /// The neighbours of each index: the one heard from before it and the one after. The last is
    /// followed by the first.
    links: Vec<(usize, usize)>,
    last: usize,
}

impl Heard {
    /// Adds a new index, just heard from.
    fn add(&mut self) -> usize {
        let place = self.links.len();
        self.links.push((place, place));
        if place > 0 {
            self.insert(place);
        }
        self.last = place;
        place
    }

    /// Marks this index as just heard from.
    fn now(&mut self, place: usize) {
        if place == self.last {
            return;
        }
        let (before, after) = self.links[place];
        (self.links[before].1, self.links[after].0) = (after, before);
        self.insert(place);
        self.last = place;
    }

    /// The index least recently heard from.
    fn longest_ago(&self) -> usize {
        self.links[self.last].1
    }

    /// Appends an index that is not in the ring.
    fn insert(&mut self, place: usize) {
        let first = self.links[self.last].1;
        self.links[place] = (self.last, first);
        self.links[self.last].1 = place;
        self.links[first].0 = place;
    }
}

impl Sender {
    fn number(&mut self, number: u64, step: u64) {
        let span = &mut self.span;
        if span.received == 0 {
            self.begin(number);
        } else if number > span.highest {
            let ahead = number - span.highest;
            if ahead / step > SEQUENCE_JUMP_MAX {
                self.restarts += 1;
                self.begin(number);
                return;
            }
            span.highest = number;
            // `<<` cannot shift out all bits at once.
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            span.seen = span.seen.checked_shl(shift).unwrap_or(0) | 1;
            span.received += 1;
            self.received += 1;
        } else if (span.highest - number) / step >= WINDOW {
            self.restarts += 1;
            self.begin(number);
            return;
        } else if !span.late(number, step) {
            self.duplicates += 1;
        } else {
            self.late += 1;
            self.received += 1;
        }
        self.lost = self.lost_before.saturating_add(self.span.lost(step));
    }

    fn begin(&mut self, number: u64) {
        self.lost_before = self.lost;
        self.received += 1;
        self.span = Span { first: number, highest: number, received: 1, seen: 1 };
    }
}

impl Span {
    /// Records a number that is not the highest, unless it is already known.
    fn late(&mut self, number: u64, step: u64) -> bool {
        let back = self.highest - number;
        // With sampling the distances vary, and only the last number is known for certain.
        let known = if step == 1 { self.seen >> back & 1 == 1 } else { back == 0 };
        if known {
            return false;
        }
        if step == 1 {
            self.seen |= 1 << back;
        }
        self.first = self.first.min(number);
        self.received += 1;
        true
    }

    /// With sampling the distances vary, so only the whole span tells how many lines to expect.
    fn lost(&self, step: u64) -> u64 {
        ((self.highest - self.first) / step + 1).saturating_sub(self.received)
    }
}

/// A number of decimal digits only.
fn digits(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fed(mut tracker: GapTracker, numbers: impl IntoIterator<Item = u64>) -> GapTracker {
        for number in numbers {
            tracker.line(format!("cp1 {number} rest").as_bytes());
        }
        tracker
    }

    fn only(tracker: &GapTracker) -> Sender {
        assert_eq!(tracker.senders().count(), 1);
        *tracker.senders().next().unwrap().1
    }

    #[test]
    fn gaps_are_lost_and_late_lines_give_back() {
        let mut tracker = fed(GapTracker::new(), [5, 6, 9]);
        assert_eq!((tracker.lost(), tracker.newly_lost(), tracker.newly_lost()), (2, 2, 0));
        tracker = fed(tracker, [8]);
        assert_eq!((tracker.lost(), tracker.newly_lost()), (1, 0));
        tracker = fed(tracker, [8, 9, 11]);
        assert_eq!((tracker.lost(), tracker.newly_lost()), (2, 0));
        tracker = fed(tracker, [13]);
        assert_eq!((tracker.lost(), tracker.newly_lost()), (3, 1));
        let sender = only(&tracker);
        assert_eq!((sender.received, sender.late, sender.duplicates), (6, 1, 2));
    }

    #[test]
    fn far_back_and_absurdly_far_ahead_are_new_beginnings() {
        let tracker = fed(GapTracker::new(), [1000, 1002, 0, 1, 3, u64::MAX, u64::MAX, 4, 5]);
        let sender = only(&tracker);
        assert_eq!((sender.received, sender.lost, sender.restarts), (8, 2, 3));
        assert_eq!((sender.duplicates, tracker.lost()), (1, 2));
    }

    #[test]
    fn a_line_before_the_first_is_late_and_hides_no_loss() {
        let tracker = fed(GapTracker::new(), [5, 4, 6, 8]);
        assert_eq!((only(&tracker).late, tracker.lost()), (1, 1));
    }

    #[test]
    fn sampled_senders_are_expected_to_skip() {
        let tracker = fed(GapTracker::with_step(10), [10, 20, 30, 60, 70]);
        assert_eq!(tracker.lost(), 2);
        // One line in ten on average, at varying distances.
        let tracker = fed(GapTracker::with_step(10), [3, 18, 25, 32, 43]);
        assert_eq!(tracker.lost(), 0);
    }

    #[test]
    fn other_lines_are_counted_and_change_nothing() {
        let mut tracker = GapTracker::new();
        let long = [b'x'; SENDER_NAME_MAX + 1];
        let mut too_long = long.to_vec();
        too_long.extend_from_slice(b" 1");
        let bad: [&[u8]; 9] = [
            b"",
            b"word",
            b"a b",
            b" 1 2",
            b"a 1x",
            b"a -1",
            b"a ",
            b"a 18446744073709551616",
            &too_long,
        ];
        for line in bad {
            tracker.line(line);
        }
        assert_eq!((tracker.unnumbered(), tracker.senders().count()), (9, 0));
        tracker.lines(b"a\t1\tx\na\t3\nno end");
        assert_eq!((tracker.unnumbered(), tracker.lost()), (9, 1));
    }

    #[test]
    fn a_delimiter_of_the_users_own() {
        let mut tracker = GapTracker::new().delimiter(b',');
        tracker.lines(b"a b,1,x\na b,4\na 1 2\n");
        let (name, sender) = tracker.senders().next().unwrap();
        assert_eq!((name, sender.lost, tracker.unnumbered()), (&b"a b"[..], 2, 1));
    }

    #[test]
    fn of_too_many_senders_the_one_heard_from_least_recently_is_forgotten() {
        let mut tracker = GapTracker::new();
        for name in 0..SENDERS_MAX {
            tracker.line(format!("{name} 1").as_bytes());
        }
        tracker.line(b"0 2");
        for name in ["new", "newer", "new"] {
            tracker.line(format!("{name} 1").as_bytes());
        }
        assert_eq!((tracker.senders().count(), tracker.forgotten()), (SENDERS_MAX, 2));
        assert_eq!((tracker.newly_forgotten(), tracker.newly_forgotten()), (2, 0));
        let known = |tracker: &GapTracker, name: &[u8]| tracker.senders().any(|(n, _)| n == name);
        assert!(known(&tracker, b"0"), "it was heard from again");
        assert!(!known(&tracker, b"1") && !known(&tracker, b"2") && known(&tracker, b"3"));
        tracker.line(b"newer 10");
        tracker.line(b"0 4");
        assert_eq!(tracker.lost(), 8 + 1);
        // Losses of forgotten senders remain counted.
        for name in 0..SENDERS_MAX {
            tracker.line(format!("other-{name} 1").as_bytes());
        }
        assert_eq!((tracker.lost(), tracker.forgotten()), (9, 2 + SENDERS_MAX as u64));
    }

    proptest! {
        #[test]
        fn what_was_dropped_is_lost(kept in proptest::collection::vec(any::<bool>(), 0..300)) {
            let mut tracker = fed(GapTracker::new(), [0]);
            let numbers = (1..).zip(&kept).filter(|(_, kept)| **kept).map(|(number, _)| number);
            tracker = fed(tracker, numbers);
            let last = kept.iter().rposition(|kept| *kept).map_or(0, |at| at + 1);
            let dropped = kept[..last].iter().filter(|kept| !**kept).count();
            prop_assert_eq!(tracker.lost(), dropped as u64);
        }

        #[test]
        fn order_within_the_window_is_of_no_matter(
            keys in proptest::collection::vec((0..30_u64, any::<bool>()), 1..300),
        ) {
            let mut numbers: Vec<_> = (0..).zip(&keys).filter(|(_, key)| key.1).collect();
            numbers.sort_by_key(|(number, key)| number + key.0);
            let numbers: Vec<u64> = numbers.into_iter().map(|(number, _)| number).collect();
            let tracker = fed(GapTracker::new(), numbers.iter().copied());
            let (min, max) = (numbers.iter().min(), numbers.iter().max());
            let span = min.zip(max).map_or(0, |(min, max)| max - min + 1);
            prop_assert_eq!(tracker.lost(), span - numbers.len() as u64);
        }

        #[test]
        fn places_are_in_the_order_they_were_heard_of(
            places in proptest::collection::vec(0..7_usize, 0..60),
        ) {
            let mut heard = Heard::default();
            let mut order: Vec<usize> = (0..7).map(|_| heard.add()).collect();
            for place in places {
                heard.now(place);
                order.retain(|other| *other != place);
                order.push(place);
                prop_assert_eq!(heard.longest_ago(), order[0]);
            }
        }

        #[test]
        fn any_lines_do(lines in proptest::collection::vec((0..3_u8, any::<u64>()), 0..100)) {
            let mut tracker = GapTracker::with_step(3);
            for (name, number) in &lines {
                tracker.line(format!("{name} {number}").as_bytes());
            }
            let sum: u64 = tracker.senders().map(|(_, sender)| sender.lost).sum();
            prop_assert_eq!(tracker.lost(), sum);
        }
    }
}
