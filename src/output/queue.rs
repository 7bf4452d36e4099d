//! A queue of batches, bounded in bytes, under one budget for all queues.
//!
//! Each queue has a reserved share of the budget (`budget.rs`), so that no queue can take what
//! another one needs: a stalled child fills its own queue and harms nothing else. Unreserved memory
//! is borrowed on demand, up to the queue's own bound. Memory shared by several queues is charged
//! once.

use std::collections::VecDeque;

use bytes::Bytes;

use super::budget::{Budget, Charge};
use crate::batch::Batch;
use crate::ledger::Count;
use crate::ledger::tally::Tally;

/// A bounded queue of batches.
///
/// A batch written into a pipe stays until the child has read it: what is left unread can be
/// written to the next child, and counts as queued until then.
#[derive(Debug)]
pub struct Queue {
    batches: VecDeque<Batch>,
    /// The charge for each of them.
    charges: VecDeque<Charge>,
    /// The number of batches written in full; `next` indexes the first unwritten one.
    next: usize,
    offset: usize,
    /// Bytes written, counted from the first batch on.
    written: usize,
    /// Bytes written after those, of a line that was given up in the middle.
    torn: usize,
    /// The total cost of the batches.
    used: u64,
    /// The part of it that is charged to the queue's own memory.
    own: u64,
    count: Count,
    limit: u64,
    reserved: u64,
}

impl Queue {
    /// An empty queue limited to `limit` bytes, of which `reserved` are its own.
    pub fn new(limit: u64, reserved: u64) -> Self {
        let reserved = reserved.min(limit);
        Self {
            batches: VecDeque::new(),
            charges: VecDeque::new(),
            next: 0,
            offset: 0,
            written: 0,
            torn: 0,
            used: 0,
            own: 0,
            count: Count::default(),
            limit,
            reserved,
        }
    }

    /// The queue's reserved share of the budget.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// The bytes of its own memory that it uses.
    pub fn own(&self) -> u64 {
        self.own
    }

    /// The bytes of its own memory beyond its share: its share was reduced, or it took in more than
    /// it may.
    pub fn overdraft(&self) -> u64 {
        self.own.saturating_sub(self.reserved)
    }

    /// Changes the queue's share; its lines stay. The budget must then be recomputed from the
    /// [`Self::reserved`] and [`Self::overdraft`] of all queues.
    pub fn set_share(&mut self, share: u64) {
        self.reserved = share.min(self.limit);
    }

    /// Sets the bound in bytes.
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// The lines it holds, in whole or in part.
    pub fn count(&self) -> Count {
        self.count
    }

    /// The lines it holds, by the minute in which they were first received.
    #[cfg(test)]
    pub(crate) fn tally(&self) -> Tally {
        let mut all = Tally::default();
        self.batches.iter().for_each(|batch| all.add(batch.minute, batch.count()));
        all
    }

    /// The bytes at which it should take no more for now, whatever its bound: half of what it could
    /// have of the budget just now, and its own memory at least. So lines that are large beside the
    /// budget are taken one at a time.
    pub fn ample(&self, budget: &Budget) -> u64 {
        (self.used.saturating_add(budget.free()) / 2).max(self.reserved)
    }

    /// Returns whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The bytes it holds and the bytes it may hold.
    pub fn fill(&self) -> (u64, u64) {
        (self.used, self.limit)
    }

    /// Queues as many whole lines as fit.
    ///
    /// # Errors
    /// The lines that did not fit.
    pub fn push(&mut self, mut batch: Batch, budget: &mut Budget) -> Result<(), Count> {
        self.compact(&mut batch, budget);
        loop {
            let room = self.room(&batch, budget);
            if batch.cost() <= room {
                self.enter(batch, budget);
                return Ok(());
            }
            let beside = batch.cost() - batch.bytes.len() as u64;
            let bytes = usize::try_from(room.saturating_sub(beside)).unwrap_or(usize::MAX);
            let Some(first) = batch.split_to(bytes) else { return Err(batch.count()) };
            self.enter(first, budget);
        }
    }

    /// Queues a batch even if it exceeds the bound, for queues that pause their inputs.
    pub fn push_anyway(&mut self, mut batch: Batch, budget: &mut Budget) {
        self.compact(&mut batch, budget);
        self.enter(batch, budget);
    }

    /// A queue that is filling up may hold one batch of many; a small batch must not keep the whole
    /// block alive that it was cut from.
    fn compact(&self, batch: &mut Batch, budget: &mut Budget) {
        if self.used > self.limit / 2 && batch.bytes.len() < crate::limits::BLOCK / 2 {
            batch.bytes = budget.compact(&batch.bytes);
        }
    }

    /// The maximum cost of a batch or a part of it.
    fn room(&self, batch: &Batch, budget: &Budget) -> u64 {
        let room = match budget.is_paid(&batch.bytes) {
            true => u64::MAX,
            false => self.reserved.saturating_sub(self.own).max(budget.free()),
        };
        room.min(self.limit.saturating_sub(self.used))
    }

    fn enter(&mut self, batch: Batch, budget: &mut Budget) {
        let cost = batch.cost();
        let fits = self.own + cost <= self.reserved;
        let charge = budget.charge(&batch.bytes, cost, fits);
        let before = self.overdraft();
        self.own += charge.own;
        budget.overdrawn(self.overdraft() - before);
        self.used += cost;
        self.count.add(u64::from(batch.lines), batch.bytes.len() as u64);
        self.batches.push_back(batch);
        self.charges.push_back(charge);
    }

    /// Releases this many bytes of the queue's own memory.
    fn take_back(&mut self, bytes: u64, budget: &mut Budget) {
        let before = self.overdraft();
        self.own -= bytes;
        budget.paid_back(before - self.overdraft());
    }

    /// Subtracts a removed batch from the counts.
    fn leave(&mut self, batch: &Batch, charge: Option<Charge>, budget: &mut Budget) {
        self.used -= batch.cost();
        self.count.lines -= u64::from(batch.lines);
        self.count.bytes -= batch.bytes.len() as u64;
        if let Some(charge) = charge {
            self.take_back(charge.own, budget);
            budget.release(&charge);
        }
    }

    /// Removes everything. Returns its count.
    pub fn clear(&mut self, budget: &mut Budget) -> Tally {
        let mut all = Tally::default();
        while let Some(batch) = self.pop(budget) {
            all.add(batch.minute, batch.count());
        }
        all
    }

    /// Removes the first batch, even if parts of it were written.
    pub fn pop(&mut self, budget: &mut Budget) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        if self.next > 0 {
            self.next -= 1;
            self.written -= batch.bytes.len();
        } else {
            self.written = 0;
            self.offset = 0;
        }
        let charge = self.charges.pop_front();
        self.leave(&batch, charge, budget);
        Some(batch)
    }

    /// The first batch.
    pub fn front(&self) -> Option<&Batch> {
        self.batches.front()
    }

    /// Clones of the first batches: as many as fit into `max` bytes, but at least one.
    pub fn first(&self, max: u64) -> Vec<Batch> {
        first_of(self.batches.iter(), max)
    }

    /// Removes whole lines that make up the first `bytes` bytes. Returns their count.
    pub fn advance(&mut self, mut bytes: usize, budget: &mut Budget) -> Tally {
        let mut done = Tally::default();
        while let Some(first) = self.batches.front() {
            let len = first.bytes.len();
            if bytes < len {
                break;
            }
            bytes -= len;
            done.add(first.minute, first.count());
            self.pop(budget);
        }
        if let Some(minute) = self.batches.front().map(|first| first.minute)
            && bytes > 0
        {
            let lines = u64::from(self.cut_front(bytes, budget));
            done.add(minute, Count { lines, bytes: bytes as u64 });
        }
        done
    }

    /// Removes bytes from the front of the first batch, which must be longer. Returns the number of
    /// lines.
    fn cut_front(&mut self, bytes: usize, budget: &mut Budget) -> u32 {
        if self.next > 0 {
            self.written -= bytes;
        } else {
            let written = bytes.min(self.offset);
            self.offset -= written;
            self.written -= written;
        }
        let Some(first) = self.batches.front_mut() else { return 0 };
        let before = first.cost();
        let lines = first.cut_front(bytes);
        let freed = before - first.cost();
        self.used -= freed;
        self.count.lines -= u64::from(lines);
        self.count.bytes -= bytes as u64;
        // Common memory stays borrowed until no queue holds any of the batch.
        if let Some(charge) = self.charges.front_mut().filter(|charge| charge.own > 0) {
            charge.own -= freed;
            self.take_back(freed, budget);
        }
        lines
    }

    /// Returns whether everything in it was written.
    pub fn all_written(&self) -> bool {
        self.next == self.batches.len()
    }

    /// The first batch that was not written in full.
    pub fn unwritten(&self) -> Option<&Batch> {
        self.batches.get(self.next)
    }

    /// The unwritten bytes of that batch.
    pub fn unwritten_bytes(&self) -> Option<Bytes> {
        Some(self.batches.get(self.next)?.bytes.slice(self.offset..))
    }

    /// The bytes of that batch that were written.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// How many queues hold that batch, this one included.
    pub fn unwritten_holders(&self, budget: &Budget) -> u32 {
        self.charges.get(self.next).map_or(0, |charge| budget.holders(charge))
    }

    /// The first unwritten lines of one batch: as many as fit into `max` bytes, but at least one.
    pub fn unwritten_lines(&self, max: usize) -> Option<Batch> {
        let mut batch = self.batches.get(self.next)?.clone();
        if self.offset > 0 {
            batch.cut_front(self.offset);
        }
        if batch.bytes.len() > max && batch.lines > 1 {
            let first = crate::batch::end_of_lines(&batch.bytes, 1);
            return batch.split_to(max.max(first));
        }
        Some(batch)
    }

    /// The lines that were written and are still here.
    pub fn written_lines(&self) -> u64 {
        let whole =
            self.batches.range(..self.next).map(|batch| u64::from(batch.lines)).sum::<u64>();
        let part = self.batches.get(self.next).map_or(&[][..], |batch| &batch.bytes[..self.offset]);
        whole + crate::batch::count_lines(part) as u64
    }

    /// Clones of the first unwritten batches: as many as fit into `max` bytes, but at least one.
    pub fn first_unwritten(&self, max: u64) -> Vec<Batch> {
        first_of(self.batches.range(self.next..), max)
    }

    /// The bytes that were written and are still here.
    pub fn written_bytes(&self) -> u64 {
        self.written as u64
    }

    /// Marks everything as unwritten.
    pub fn rewind(&mut self) {
        self.next = 0;
        self.offset = 0;
        self.written = 0;
        self.torn = 0;
    }

    /// The unwritten bytes, in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut offset = self.offset;
        self.batches.range(self.next..).map(move |batch| {
            let slice = &batch.bytes[offset..];
            offset = 0;
            slice
        })
    }

    /// Notes that `bytes` bytes of [`Self::slices`] were written.
    pub fn wrote(&mut self, mut bytes: usize) {
        self.written += bytes;
        while let Some(batch) = self.batches.get(self.next) {
            let left = batch.bytes.len() - self.offset;
            if bytes < left {
                self.offset += bytes;
                return;
            }
            bytes -= left;
            self.next += 1;
            self.offset = 0;
        }
    }

    /// Notes that all written bytes except the last `unread` were read. Removes and counts the
    /// lines that were read whole.
    pub fn read_but(&mut self, unread: usize, budget: &mut Budget) -> Tally {
        let mut done = Tally::default();
        while self.next > 0
            && let Some(first) = self.batches.front()
            && first.bytes.len() <= self.read_of(unread)
        {
            done.add(first.minute, first.count());
            self.pop(budget);
        }
        done
    }

    /// The number of bytes read, from the first batch on, if `unread` bytes were not.
    fn read_of(&self, unread: usize) -> usize {
        self.written.saturating_sub(unread.saturating_sub(self.torn))
    }

    /// Gives up the unwritten lines, including one that was written in part. Returns their count.
    pub fn cut_unwritten(&mut self, budget: &mut Budget) -> Tally {
        let mut cut = Tally::default();
        while self.batches.len() > self.next {
            let Some(mut batch) = self.batches.pop_back() else { break };
            let charge = self.charges.pop_back();
            self.leave(&batch, charge, budget);
            if self.batches.len() == self.next && self.offset > 0 {
                self.torn = self.offset;
                self.written -= self.offset;
                if let Some(whole) = batch.split_to(std::mem::take(&mut self.offset)) {
                    self.torn -= whole.bytes.len();
                    self.written += whole.bytes.len();
                    self.enter(whole, budget);
                    self.next += 1;
                }
                cut.add(batch.minute, batch.count());
                break;
            }
            cut.add(batch.minute, batch.count());
        }
        cut
    }

    /// The reader is gone and left the last `unread` bytes, which will be written again. Returns
    /// the whole lines that were read, and the line read in part, which is removed too: no reader
    /// gets half a line.
    pub fn reader_gone(&mut self, unread: usize, budget: &mut Budget) -> (Tally, Tally) {
        let mut whole = self.read_but(unread, budget);
        let read = self.read_of(unread);
        self.rewind();
        let Some(first) = self.batches.front() else { return (whole, Tally::default()) };
        let start = memchr::memrchr(b'\n', &first.bytes[..read]).map_or(0, |at| at + 1);
        let end = match memchr::memchr(b'\n', &first.bytes[read..]) {
            Some(at) if start < read => read + at + 1,
            _ => start,
        };
        whole.add_all(&self.advance(start, budget));
        let torn = self.advance(end - start, budget);
        (whole, torn)
    }
}

fn first_of<'b>(batches: impl Iterator<Item = &'b Batch>, max: u64) -> Vec<Batch> {
    let mut sum = 0;
    let fits = |batch: &&Batch| {
        let before = sum;
        sum += batch.bytes.len() as u64;
        before == 0 || sum <= max
    };
    batches.take_while(fits).cloned().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::filter::batch_of;
    use crate::limits::BATCH_OVERHEAD;
    use crate::minute::Minute;

    #[test]
    fn a_full_queue_takes_the_lines_that_fit() {
        let mut budget = Budget::new(1000, 0);
        let mut queue = Queue::new(BATCH_OVERHEAD + 5, 0);
        let left = queue.push(batch_of("a\nb\nc\nd\n"), &mut budget).unwrap_err();
        assert_eq!(left, Count { lines: 2, bytes: 4 });
        assert_eq!(queue.count(), Count { lines: 2, bytes: 4 });
    }

    #[test]
    fn a_greedy_queue_never_takes_the_share_of_another() {
        let memory = 8 * 1024;
        let share = Budget::share(memory, 2);
        let mut budget = Budget::new(memory, 2 * share);
        let (mut greedy, mut modest) = (Queue::new(memory, share), Queue::new(memory, share));
        while greedy.push(batch_of("xxxxxxxxxxxxxxx\n"), &mut budget).is_ok() {}
        let mut kept = 0;
        while modest.push(batch_of("xxxxxxxxxxxxxxx\n"), &mut budget).is_ok() {
            kept += 1;
        }
        assert!(kept * (16 + BATCH_OVERHEAD) + 200 > share, "{kept} lines in {share} bytes");
        while greedy.pop(&mut budget).is_some() {}
        while modest.pop(&mut budget).is_some() {}
        assert_eq!(budget.free(), memory - 2 * share, "all that was borrowed came back");
    }

    #[test]
    fn what_many_queues_hold_is_paid_for_once_until_the_last_lets_go() {
        let memory = 1 << 20;
        let share = Budget::share(memory, 10);
        let mut budget = Budget::new(memory, 10 * share);
        let new = || Queue::new(memory, share);
        let mut queues: Vec<_> = std::iter::repeat_with(new).take(10).collect();
        let mut held = 0;
        loop {
            let batch = batch_of(&"0123456789abcde\n".repeat(64));
            let full = queues.iter_mut().map(|queue| queue.push(batch.clone(), &mut budget));
            if full.collect::<Vec<_>>().iter().any(Result::is_err) {
                break;
            }
            held += 1;
        }
        // If memory were charged ten times, each queue could hold only a tenth.
        assert!(held * (1024 + BATCH_OVERHEAD) > memory * 3 / 4, "{held}");
        for queue in &mut queues[1..] {
            queue.clear(&mut budget);
            assert_eq!(queue.fill().0, 0);
        }
        // The one that did not move has all of the common memory; the others have their shares.
        let mut kept = 0;
        while queues[1].push(batch_of(&"x\n".repeat(100)), &mut budget).is_ok() {
            kept += 1;
        }
        assert!(kept * (200 + BATCH_OVERHEAD) + 1000 > share, "{kept} batches in {share} bytes");
        queues[1].clear(&mut budget);
        queues[0].clear(&mut budget);
        assert_eq!(budget.free(), memory - 10 * share, "all that was borrowed came back");
    }

    #[test]
    fn what_is_taken_in_beyond_the_bound_is_paid_back_in_full() {
        let mut budget = Budget::new(1000, 0);
        let mut queue = Queue::new(100, 0);
        for _ in 0..10 {
            queue.push_anyway(batch_of(&"x\n".repeat(500)), &mut budget);
        }
        assert_eq!(budget.free(), 0);
        queue.clear(&mut budget);
        assert_eq!(budget.free(), 1000, "no more than there was");
    }

    #[test]
    fn what_a_reader_left_unread_is_written_to_the_next_reader() {
        let mut budget = Budget::new(10_000, 0);
        let mut queue = Queue::new(10_000, 0);
        for text in ["one\ntwo\n", "three\nfour\n", "five\n"] {
            queue.push(batch_of(text), &mut budget).unwrap();
        }
        queue.wrote(19);
        assert!(!queue.all_written());
        let read = queue.read_but(11, &mut budget);
        assert_eq!(read.sum(), Count { lines: 2, bytes: 8 });
        // Ten more bytes were read: "three\n" and the first half of "four\n".
        let (whole, torn) = queue.reader_gone(3, &mut budget);
        let counts = (whole.sum(), torn.sum());
        assert_eq!(counts, (Count { lines: 1, bytes: 6 }, Count { lines: 1, bytes: 5 }));
        assert_eq!(queue.slices().collect::<Vec<_>>(), [b"five\n"]);
        assert_eq!(queue.count(), Count { lines: 1, bytes: 5 });
    }

    #[test]
    fn lines_that_were_not_written_come_in_pieces_of_whole_lines() {
        let mut budget = Budget::new(1 << 20, 0);
        let mut queue = Queue::new(1 << 20, 0);
        queue.push(batch_of("one\ntwo\nthree\n"), &mut budget).unwrap();
        queue.push(batch_of("four\n"), &mut budget).unwrap();
        let piece = |queue: &mut Queue, max: usize| {
            let piece = queue.unwritten_lines(max)?;
            queue.wrote(piece.bytes.len());
            Some((String::from_utf8(piece.bytes.to_vec()).unwrap(), queue.written_lines()))
        };
        assert_eq!(piece(&mut queue, 0), Some(("one\n".into(), 1)));
        assert_eq!(piece(&mut queue, 9), Some(("two\n".into(), 2)));
        // Acknowledged lines no longer count as written, even in the middle of a batch.
        assert_eq!(queue.advance(4, &mut budget).sum().lines, 1);
        assert_eq!((queue.written_bytes(), queue.written_lines()), (4, 1));
        assert_eq!(piece(&mut queue, 1000), Some(("three\n".into(), 2)));
        assert_eq!(queue.advance(4, &mut budget).sum().lines, 1);
        assert_eq!((queue.written_bytes(), queue.written_lines()), (6, 1));
        assert_eq!(piece(&mut queue, 1000), Some(("four\n".into(), 2)));
        assert_eq!(piece(&mut queue, 1000), None);
        assert_eq!(queue.advance(11, &mut budget).sum().lines, 2);
        assert_eq!((queue.written_bytes(), queue.is_empty()), (0, true));
    }

    proptest! {
        #[test]
        fn every_line_is_read_whole_once_or_counted_as_torn(
            texts in proptest::collection::vec("([a-z]{0,5}\n){1,3}", 1..10),
            steps in proptest::collection::vec(
                (0..20_usize, 0..20_usize, any::<bool>(), 0..20_u8),
                1..40,
            ),
        ) {
            let mut budget = Budget::new(1 << 20, 0);
            let mut queue = Queue::new(1 << 20, 0);
            let mut entered = Tally::default();
            for (number, text) in (0..).zip(&texts) {
                let minute = Minute::from_number(number / 2);
                let batch = Batch { minute, ..batch_of(text) };
                entered.add(minute, batch.count());
                queue.push(batch, &mut budget).unwrap();
            }
            let all = texts.concat();
            let (mut read, mut torn) = (Tally::default(), Tally::default());
            let (mut pipe, mut seen) = (Vec::new(), Vec::new());
            let mut got = String::new();
            for (write, take, dies, chance) in steps {
                let gives_up = chance == 0;
                let bytes: Vec<u8> = queue.slices().flatten().copied().take(write).collect();
                queue.wrote(bytes.len());
                pipe.extend_from_slice(&bytes);
                seen.extend(pipe.drain(..take.min(pipe.len())));
                if gives_up {
                    let cut = queue.cut_unwritten(&mut budget);
                    torn.add_all(&cut);
                    prop_assert!(queue.all_written());
                }
                let (whole, lost) = if dies {
                    let gone = queue.reader_gone(pipe.len(), &mut budget);
                    pipe.clear();
                    let text = String::from_utf8(std::mem::take(&mut seen)).unwrap();
                    // The part of its last line that a reader has read is useless to it.
                    got.push_str(&text[..text.rfind('\n').map_or(0, |at| at + 1)]);
                    gone
                } else {
                    (queue.read_but(pipe.len(), &mut budget), Tally::default())
                };
                read.add_all(&whole);
                torn.add_all(&lost);
                let queued = queue.count();
                prop_assert_eq!(queue.tally().sum(), queued);
                let (read_sum, torn_sum) = (read.sum(), torn.sum());
                prop_assert_eq!(read_sum.bytes + torn_sum.bytes + queued.bytes, all.len() as u64);
                let lines = all.lines().count() as u64;
                prop_assert_eq!(read_sum.lines + torn_sum.lines + queued.lines, lines);
                for (minute, count) in entered.iter() {
                    let mut sum = Count::default();
                    for tally in [&read, &torn, &queue.tally()] {
                        let of = tally.iter().filter(|(other, _)| *other == minute);
                        of.for_each(|(_, count)| sum.add(count.lines, count.bytes));
                    }
                    prop_assert_eq!(sum, count);
                }
            }
            let mut lines = all.lines();
            for line in got.lines() {
                let found = lines.any(|other| other == line);
                prop_assert!(found, "{} came twice or never went in", line);
            }
        }

        #[test]
        fn advancing_takes_whole_lines_off_and_counts_them(
            texts in proptest::collection::vec("([a-z]{0,5}\n){1,3}", 1..10),
            lines in 0..20_usize,
        ) {
            let mut budget = Budget::new(1 << 20, 0);
            let mut queue = Queue::new(1 << 20, 0);
            for text in &texts {
                queue.push(batch_of(text), &mut budget).unwrap();
            }
            let all = texts.concat();
            let bytes: usize = all.split_inclusive('\n').take(lines).map(str::len).sum();
            let done = queue.advance(bytes, &mut budget);
            prop_assert_eq!(done.sum().bytes, bytes as u64);
            prop_assert_eq!(done.sum().lines, lines.min(all.lines().count()) as u64);
            let left: Vec<u8> = queue.slices().flatten().copied().collect();
            prop_assert_eq!(&left[..], &all.as_bytes()[bytes..]);
        }
    }
}
