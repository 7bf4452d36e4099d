//! `rate`: a token bucket that holds one period's worth of lines.

use std::time::Duration;

use super::patterns::Hits;
use super::plan::RatePlan;
use super::{Picked, Range};
use crate::batch::Batch;
use crate::clock::Mono;
use crate::ledger::Count;

/// A token bucket over lines; full at the start.
#[derive(Debug)]
pub struct Bucket {
    plan: RatePlan,
    tokens: u64,
    /// The time up to which tokens have been added; a fraction of a token's time carries over.
    filled: Option<Mono>,
}

impl Bucket {
    /// A full bucket.
    pub fn new(plan: RatePlan) -> Self {
        Self { plan, tokens: plan.lines.get(), filled: None }
    }

    /// Passes as many of the picked lines as there are tokens; counts the others.
    pub fn pick(
        &mut self,
        picked: Picked,
        batch: &Batch,
        hits: &mut Hits,
        now: Mono,
        held: &mut Count,
    ) -> Picked {
        self.fill(now);
        let wanted = match &picked {
            Picked::All => u64::from(batch.lines),
            Picked::Some(ranges) => ranges.len() as u64,
        };
        let granted = wanted.min(self.tokens);
        self.tokens -= granted;
        if granted == wanted {
            return picked;
        }
        let mut ranges = match picked {
            Picked::All => hits.lines(batch).to_vec(),
            Picked::Some(ranges) => ranges,
        };
        let size = |&(start, end): &Range| u64::from(end - start);
        let granted = usize::try_from(granted).unwrap_or(usize::MAX);
        held.add(wanted - granted as u64, ranges[granted..].iter().map(size).sum());
        ranges.truncate(granted);
        Picked::Some(ranges)
    }

    fn fill(&mut self, now: Mono) {
        let filled = *self.filled.get_or_insert(now);
        let lines = u128::from(self.plan.lines.get());
        let per = self.plan.per.as_nanos().max(1);
        let earned = now.since(filled).as_nanos() * lines / per;
        if earned == 0 {
            return;
        }
        let tokens = (u128::from(self.tokens) + earned).min(lines);
        if tokens == lines {
            self.filled = Some(now);
        } else {
            let paid = u64::try_from(earned * per / lines).unwrap_or(u64::MAX);
            self.filled = Some(filled + Duration::from_nanos(paid));
        }
        self.tokens = u64::try_from(tokens).unwrap_or(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch_of;
    use super::*;

    fn through(bucket: &mut Bucket, lines: usize, at_ms: u64) -> (usize, Count) {
        let batch = batch_of(&"x\n".repeat(lines));
        let mut held = Count::default();
        let now = Mono(Duration::from_millis(at_ms));
        let mut hits = Hits::default();
        let got = match bucket.pick(Picked::All, &batch, &mut hits, now, &mut held) {
            Picked::All => lines,
            Picked::Some(ranges) => ranges.len(),
        };
        (got, held)
    }

    #[test]
    fn a_burst_of_one_period_passes_and_the_rest_is_counted() {
        let plan = RatePlan { lines: 10.try_into().unwrap(), per: Duration::from_secs(1) };
        let mut bucket = Bucket::new(plan);
        assert_eq!(through(&mut bucket, 8, 0), (8, Count::default()));
        assert_eq!(through(&mut bucket, 8, 0), (2, Count { lines: 6, bytes: 12 }));
        assert_eq!(through(&mut bucket, 8, 99).0, 0);
        assert_eq!(through(&mut bucket, 8, 100).0, 1);
        assert_eq!(through(&mut bucket, 8, 350).0, 2);
        assert_eq!(through(&mut bucket, 8, 400).0, 1, "half a token carried over");
        assert_eq!(through(&mut bucket, 80, 60_000).0, 10, "never more than a period's worth");
    }
}
