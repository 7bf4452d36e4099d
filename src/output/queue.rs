//! A queue of batches, bounded in bytes, under one budget for all queues.
//!
//! Each queue has a reserved share of the budget, so that no queue can take what another one needs:
//! a stalled child fills its own queue and harms nothing else. Unreserved memory is borrowed on
//! demand, up to the queue's own bound.

use std::collections::VecDeque;

use crate::batch::Batch;
use crate::ledger::Count;

/// The memory of all queues that is left after the reserved shares.
#[derive(Debug, Default)]
pub struct Budget {
    free: u64,
}

impl Budget {
    /// A budget with `reserved` of `memory` set apart.
    pub fn new(memory: u64, reserved: u64) -> Self {
        Self { free: memory.saturating_sub(reserved) }
    }

    /// The share of `memory` reserved for each of `queues` queues: half of it is reserved, half is
    /// free to borrow.
    pub fn share(memory: u64, queues: usize) -> u64 {
        memory / 2 / (queues.max(1) as u64)
    }
}

/// A bounded queue of batches.
///
/// A batch written into a pipe stays until the child has read it: what is left unread can be
/// written to the next child, and counts as queued until then.
#[derive(Debug)]
pub struct Queue {
    batches: VecDeque<Batch>,
    /// The number of batches written in full; `next` indexes the first unwritten one.
    next: usize,
    offset: usize,
    /// Bytes written, counted from the first batch on.
    written: usize,
    /// Bytes written after those, of a line that was given up in the middle.
    torn: usize,
    /// The total cost of the batches.
    used: u64,
    count: Count,
    limit: u64,
    reserved: u64,
}

impl Queue {
    /// An empty queue limited to `limit` bytes, of which `reserved` are its own.
    pub fn new(limit: u64, reserved: u64) -> Self {
        let reserved = reserved.min(limit);
        let (batches, count) = (VecDeque::new(), Count::default());
        Self { batches, next: 0, offset: 0, written: 0, torn: 0, used: 0, count, limit, reserved }
    }

    /// The queue's reserved share of the budget.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// The bytes it has borrowed from the budget.
    pub fn borrowed(&self) -> u64 {
        self.used.saturating_sub(self.reserved)
    }

    /// Changes the queue's share; its lines stay. The budget must then be recomputed from the
    /// [`Self::reserved`] and [`Self::borrowed`] of all queues.
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
        let room = self.room(budget);
        if batch.cost() <= room {
            self.enter(batch, budget);
            return Ok(());
        }
        let beside = batch.cost() - batch.bytes.len() as u64;
        let bytes = room.saturating_sub(beside);
        if let Some(first) = usize::try_from(bytes).ok().and_then(|room| batch.split_to(room)) {
            self.enter(first, budget);
        }
        Err(batch.count())
    }

    /// Queues a batch even if it exceeds the bound, for queues that pause their inputs.
    pub fn push_anyway(&mut self, batch: Batch, budget: &mut Budget) {
        self.enter(batch, budget);
    }

    fn room(&self, budget: &Budget) -> u64 {
        let own = self.reserved.saturating_sub(self.used);
        (own + budget.free).min(self.limit.saturating_sub(self.used))
    }

    fn enter(&mut self, mut batch: Batch, budget: &mut Budget) {
        // A queue that is filling up may hold one batch of many; a small batch must not keep the
        // whole block alive that it was cut from.
        if self.used > self.limit / 2 && batch.bytes.len() < crate::limits::BLOCK / 2 {
            batch.bytes = bytes::Bytes::copy_from_slice(&batch.bytes);
        }
        self.count.add(u64::from(batch.lines), batch.bytes.len() as u64);
        self.charge(batch.cost(), budget);
        self.batches.push_back(batch);
    }

    fn charge(&mut self, cost: u64, budget: &mut Budget) {
        let before = self.borrowed();
        self.used += cost;
        budget.free = budget.free.saturating_sub(self.borrowed() - before);
    }

    /// The inverse of [`Self::charge`].
    fn release(&mut self, cost: u64, budget: &mut Budget) {
        let before = self.borrowed();
        self.used -= cost;
        budget.free += before - self.borrowed();
    }

    /// Removes everything. Returns its count.
    pub fn clear(&mut self, budget: &mut Budget) -> Count {
        let all = self.count;
        while self.pop(budget).is_some() {}
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
        self.release(batch.cost(), budget);
        self.count.lines -= u64::from(batch.lines);
        self.count.bytes -= batch.bytes.len() as u64;
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
    pub fn advance(&mut self, mut bytes: usize, budget: &mut Budget) -> Count {
        let mut done = Count::default();
        while let Some(first) = self.batches.front() {
            let len = first.bytes.len();
            if bytes < len {
                break;
            }
            bytes -= len;
            done.add(u64::from(first.lines), len as u64);
            self.pop(budget);
        }
        if bytes > 0 {
            done.add(u64::from(self.cut_front(bytes, budget)), bytes as u64);
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
        let lines = first.cut_front(bytes);
        self.count.lines -= u64::from(lines);
        self.count.bytes -= bytes as u64;
        self.release(bytes as u64, budget);
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
    pub fn read_but(&mut self, unread: usize, budget: &mut Budget) -> Count {
        let mut done = Count::default();
        while self.next > 0
            && let Some(first) = self.batches.front()
            && first.bytes.len() <= self.read_of(unread)
        {
            done.add(u64::from(first.lines), first.bytes.len() as u64);
            self.pop(budget);
        }
        done
    }

    /// The number of bytes read, from the first batch on, if `unread` bytes were not.
    fn read_of(&self, unread: usize) -> usize {
        self.written.saturating_sub(unread.saturating_sub(self.torn))
    }

    /// Gives up the unwritten lines, including one that was written in part. Returns their count.
    pub fn cut_unwritten(&mut self, budget: &mut Budget) -> Count {
        let mut cut = Count::default();
        while self.batches.len() > self.next {
            let Some(mut batch) = self.batches.pop_back() else { break };
            self.release(batch.cost(), budget);
            self.count.lines -= u64::from(batch.lines);
            self.count.bytes -= batch.bytes.len() as u64;
            cut.add(u64::from(batch.lines), batch.bytes.len() as u64);
            if self.batches.len() == self.next && self.offset > 0 {
                self.torn = self.offset;
                self.written -= self.offset;
                if let Some(whole) = batch.split_to(std::mem::take(&mut self.offset)) {
                    cut.lines -= u64::from(whole.lines);
                    cut.bytes -= whole.bytes.len() as u64;
                    self.torn -= whole.bytes.len();
                    self.written += whole.bytes.len();
                    self.enter(whole, budget);
                    self.next += 1;
                }
                break;
            }
        }
        cut
    }

    /// The reader is gone and left the last `unread` bytes, which will be written again. Returns
    /// the whole lines that were read, and the line read in part, which is removed too: no reader
    /// gets half a line.
    pub fn reader_gone(&mut self, unread: usize, budget: &mut Budget) -> (Count, Count) {
        let mut whole = self.read_but(unread, budget);
        let read = self.read_of(unread);
        self.rewind();
        let Some(first) = self.batches.front() else { return (whole, Count::default()) };
        let start = memchr::memrchr(b'\n', &first.bytes[..read]).map_or(0, |at| at + 1);
        let end = match memchr::memchr(b'\n', &first.bytes[read..]) {
            Some(at) if start < read => read + at + 1,
            _ => start,
        };
        let count = self.advance(start, budget);
        whole.add(count.lines, count.bytes);
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
        assert_eq!(budget.free, memory - 2 * share, "all that was borrowed came back");
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
        assert_eq!(read, Count { lines: 2, bytes: 8 });
        // Ten more bytes were read: "three\n" and the first half of "four\n".
        let (whole, torn) = queue.reader_gone(3, &mut budget);
        assert_eq!((whole, torn), (Count { lines: 1, bytes: 6 }, Count { lines: 1, bytes: 5 }));
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
        assert_eq!(queue.advance(4, &mut budget).lines, 1);
        assert_eq!((queue.written_bytes(), queue.written_lines()), (4, 1));
        assert_eq!(piece(&mut queue, 1000), Some(("three\n".into(), 2)));
        assert_eq!(queue.advance(4, &mut budget).lines, 1);
        assert_eq!((queue.written_bytes(), queue.written_lines()), (6, 1));
        assert_eq!(piece(&mut queue, 1000), Some(("four\n".into(), 2)));
        assert_eq!(piece(&mut queue, 1000), None);
        assert_eq!(queue.advance(11, &mut budget).lines, 2);
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
            for text in &texts {
                queue.push(batch_of(text), &mut budget).unwrap();
            }
            let all = texts.concat();
            let (mut read, mut torn) = (Count::default(), Count::default());
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
                    torn.add(cut.lines, cut.bytes);
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
                    (queue.read_but(pipe.len(), &mut budget), Count::default())
                };
                read.add(whole.lines, whole.bytes);
                torn.add(lost.lines, lost.bytes);
                let queued = queue.count();
                prop_assert_eq!(read.bytes + torn.bytes + queued.bytes, all.len() as u64);
                let lines = all.lines().count() as u64;
                prop_assert_eq!(read.lines + torn.lines + queued.lines, lines);
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
            prop_assert_eq!(done.bytes, bytes as u64);
            prop_assert_eq!(done.lines, lines.min(all.lines().count()) as u64);
            let left: Vec<u8> = queue.slices().flatten().copied().collect();
            prop_assert_eq!(&left[..], &all.as_bytes()[bytes..]);
        }
    }
}
