//! A queue of batches with a bound in bytes, under one budget for all queues together.
//!
//! Each queue has a share of the budget reserved, so that no queue can take what another
//! one needs: a stalled child fills its own queue and harms nobody. What is not reserved is
//! borrowed by whoever needs it, up to the queue's own bound.

use std::collections::VecDeque;

use crate::batch::Batch;
use crate::ledger::Count;

/// What is left of the memory for all queues after the reserved shares.
#[derive(Debug, Default)]
pub struct Budget {
    free: u64,
}

impl Budget {
    /// The rest of `memory` that is free to borrow when `reserved` is set apart.
    pub fn new(memory: u64, reserved: u64) -> Self {
        Self { free: memory.saturating_sub(reserved) }
    }

    /// The share of `memory` that each of `queues` queues has for itself: half of it is
    /// shared out, half is there to borrow.
    pub fn share(memory: u64, queues: usize) -> u64 {
        memory / 2 / (queues.max(1) as u64)
    }
}

/// A bounded queue of batches.
#[derive(Debug)]
pub struct Queue {
    batches: VecDeque<Batch>,
    /// Bytes of the first batch that were already written.
    offset: usize,
    /// What the batches cost together.
    used: u64,
    count: Count,
    limit: u64,
    reserved: u64,
}

impl Queue {
    /// An empty queue bounded to `limit` bytes, of which `reserved` are its own.
    pub fn new(limit: u64, reserved: u64) -> Self {
        let reserved = reserved.min(limit);
        let (batches, count) = (VecDeque::new(), Count::default());
        Self { batches, offset: 0, used: 0, count, limit, reserved }
    }

    /// The share of the budget that is the queue's own.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// What it has borrowed from the budget.
    pub fn borrowed(&self) -> u64 {
        self.used.saturating_sub(self.reserved)
    }

    /// Gives the queue another share, with its lines as they are. The budget is to be made
    /// anew from all queues' [`Self::reserved`] and [`Self::borrowed`].
    pub fn set_share(&mut self, share: u64) {
        self.reserved = share.min(self.limit);
    }

    /// The lines in it, whole or in part.
    pub fn count(&self) -> Count {
        self.count
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The bytes it holds against the bytes it may hold.
    pub fn fill(&self) -> (u64, u64) {
        (self.used, self.limit)
    }

    /// Takes in as many whole lines as there is room for; what is left over comes back.
    ///
    /// # Errors
    /// The lines for which there was no room.
    pub fn push(&mut self, mut batch: Batch, budget: &mut Budget) -> Result<(), Batch> {
        let room = self.room(budget);
        if batch.cost() <= room {
            self.enter(batch, budget);
            return Ok(());
        }
        let bytes = room.saturating_sub(crate::limits::BATCH_OVERHEAD);
        if let Some(first) = usize::try_from(bytes).ok().and_then(|room| batch.split_to(room)) {
            self.enter(first, budget);
        }
        Err(batch)
    }

    /// Takes in a batch though it may be more than there is room for: for queues that make
    /// their inputs wait, and for what comes back from a dead child.
    pub fn push_anyway(&mut self, batch: Batch, budget: &mut Budget) {
        self.enter(batch, budget);
    }

    /// Puts whole lines back in front. The first batch must not be written in part.
    pub fn push_front(&mut self, batch: Batch, budget: &mut Budget) {
        debug_assert_eq!(self.offset, 0);
        self.count.add(u64::from(batch.lines), batch.bytes.len() as u64);
        self.charge(batch.cost(), budget);
        self.batches.push_front(batch);
    }

    fn room(&self, budget: &Budget) -> u64 {
        let own = self.reserved.saturating_sub(self.used);
        (own + budget.free).min(self.limit.saturating_sub(self.used))
    }

    fn enter(&mut self, mut batch: Batch, budget: &mut Budget) {
        // A queue that is filling up takes in one batch of many: a small one must not hold on
        // to the whole block of memory it was cut from.
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

    /// Takes the first batch out, whatever was written of it.
    pub fn pop(&mut self, budget: &mut Budget) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.offset = 0;
        let before = self.borrowed();
        self.used -= batch.cost();
        budget.free += before - self.borrowed();
        self.count.lines -= u64::from(batch.lines);
        self.count.bytes -= batch.bytes.len() as u64;
        Some(batch)
    }

    /// The first batch.
    pub fn front(&self) -> Option<&Batch> {
        self.batches.front()
    }

    /// The unwritten bytes of the first batches, in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let offset = self.offset;
        self.batches
            .iter()
            .enumerate()
            .map(move |(at, batch)| if at == 0 { &batch.bytes[offset..] } else { &batch.bytes[..] })
    }

    /// Notes that `written` bytes of [`Self::slices`] were written; the batches that were
    /// thereby finished leave the queue and are counted.
    pub fn wrote(&mut self, mut written: usize, budget: &mut Budget) -> Count {
        let mut done = Count::default();
        while let Some(first) = self.batches.front() {
            let left = first.bytes.len() - self.offset;
            if written < left {
                self.offset += written;
                break;
            }
            written -= left;
            if let Some(batch) = self.pop(budget) {
                done.add(u64::from(batch.lines), batch.bytes.len() as u64);
            }
        }
        done
    }

    /// Bytes of the first batch that were written.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Takes back that bytes of the first batch were written, down to `offset`.
    pub fn rewind(&mut self, offset: usize) {
        debug_assert!(offset <= self.offset);
        self.offset = offset;
    }

    /// Clones of the first batches without what was written of them, at least one and at most
    /// `most` bytes where there are more.
    pub fn first(&self, most: u64) -> Vec<Batch> {
        let mut sum = 0;
        let fits = |batch: &&Batch| {
            let before = sum;
            sum += batch.bytes.len() as u64;
            before == 0 || sum <= most
        };
        self.batches.iter().take_while(fits).cloned().collect()
    }

    /// Takes out the first whole lines that make up `bytes` bytes, and counts them. For
    /// readers that take whole lines only, so that the count is exact in every moment.
    pub fn advance(&mut self, bytes: usize, budget: &mut Budget) -> Count {
        let mut done = self.wrote(bytes, budget);
        let (whole, torn) = self.cut_at_line(budget);
        debug_assert_eq!(torn, Count::default());
        done.add(whole.lines + torn.lines, whole.bytes + torn.bytes);
        done
    }

    /// Whoever read from the queue is gone in the middle of the first batch: its lines that
    /// were written whole leave, and so does a line that was written in part. Returns both
    /// counts; what is left begins with a whole line.
    pub fn cut_at_line(&mut self, budget: &mut Budget) -> (Count, Count) {
        let (mut whole, mut torn) = (Count::default(), Count::default());
        if self.offset == 0 {
            return (whole, torn);
        }
        let offset = self.offset;
        let Some(batch) = self.pop(budget) else { return (whole, torn) };
        let start = memchr::memrchr(b'\n', &batch.bytes[..offset]).map_or(0, |at| at + 1);
        whole.add(u64::from(crate::batch::count_lines(&batch.bytes[..start])), start as u64);
        let mut rest = start;
        if start < offset {
            let line = memchr::memchr(b'\n', &batch.bytes[offset..]);
            rest = line.map_or(batch.bytes.len(), |at| offset + at + 1);
            torn.add(1, (rest - start) as u64);
        }
        if rest < batch.bytes.len() {
            let bytes = batch.bytes.slice(rest..);
            let lines = crate::batch::count_lines(&bytes);
            self.push_front(batch.with(bytes, lines), budget);
        }
        (whole, torn)
    }
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
        assert_eq!((&left.bytes[..], left.lines), (&b"c\nd\n"[..], 2));
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
    fn a_reader_gone_in_the_middle_leaves_whole_lines() {
        let mut budget = Budget::new(10_000, 0);
        let mut queue = Queue::new(10_000, 0);
        queue.push(batch_of("one\ntwo\nthree\n"), &mut budget).unwrap();
        assert_eq!(queue.wrote(6, &mut budget), Count::default());
        let (whole, torn) = queue.cut_at_line(&mut budget);
        assert_eq!((whole, torn), (Count { lines: 1, bytes: 4 }, Count { lines: 1, bytes: 4 }));
        assert_eq!(queue.slices().next().unwrap(), b"three\n");
        assert_eq!(queue.count(), Count { lines: 1, bytes: 6 });
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_was_put_in(
            texts in proptest::collection::vec("[a-z]{0,5}\n", 1..20),
            steps in proptest::collection::vec(1..30_usize, 1..50),
        ) {
            let mut budget = Budget::new(1 << 20, 0);
            let mut queue = Queue::new(1 << 20, 0);
            for text in &texts {
                queue.push(batch_of(text), &mut budget).unwrap();
            }
            let mut out = Vec::new();
            let mut done = Count::default();
            for step in steps {
                let bytes: Vec<u8> = queue.slices().flatten().copied().take(step).collect();
                out.extend_from_slice(&bytes);
                let count = queue.wrote(bytes.len(), &mut budget);
                done.add(count.lines, count.bytes);
            }
            let all = texts.concat().into_bytes();
            prop_assert_eq!(&out[..], &all[..out.len()]);
            prop_assert_eq!(done.bytes + queue.count().bytes, all.len() as u64);
            prop_assert_eq!(done.lines + queue.count().lines, texts.len() as u64);
        }
    }
}
