//! Selectors: the part of a stream that a node reads.
//!
//! The order is fields, `match`, `reject`, `rate`, `sample`. The patterns of all nodes that read
//! from one stream are searched for together ([`patterns::Patterns`]), in one pass over the batch;
//! the remaining work costs only the selected lines.

pub mod fields;
pub mod key;
pub mod network;
pub mod patterns;
pub mod plan;
pub mod rate;
pub mod regex;
pub mod sample;
pub mod squeeze;

use crate::batch::Batch;
use crate::clock::Mono;
use crate::ledger::Count;
pub use crate::sources::Range;
use fields::FieldTests;
use patterns::{Hits, PatternId, Patterns};
use plan::SelectPlan;
use rate::Bucket;
use sample::Sampler;

/// The lines selected from a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Picked {
    /// Every line.
    All,
    /// These lines, in order; possibly none.
    Some(Vec<Range>),
}

/// The selectors of one node.
#[derive(Debug)]
pub struct Selector {
    plan: SelectPlan,
    fields: FieldTests,
    rate: Option<Bucket>,
    sample: Option<Sampler>,
}

impl Selector {
    /// Compiles the selectors of `plan`. `name` is the node's name and gives the sample a phase of
    /// its own.
    ///
    /// # Errors
    /// Which regex does not compile.
    pub fn new(plan: &SelectPlan, name: &str) -> Result<Self, String> {
        Ok(Self {
            plan: plan.clone(),
            fields: FieldTests::new(&plan.fields)?,
            rate: plan.rate.map(Bucket::new),
            sample: plan.sample.as_ref().map(|plan| Sampler::new(plan, name)).transpose()?,
        })
    }

    /// The plan it was made from.
    pub fn plan(&self) -> &SelectPlan {
        &self.plan
    }

    /// Continues as if `lines` lines of the stream had passed, if samples are counted that way.
    pub fn align(&mut self, lines: u64) {
        if let (Some(sampler), Some(plan)) = (&mut self.sample, &self.plan.sample) {
            sampler.align(plan, lines);
        }
    }

    /// Adds the node's patterns to those of a stream it reads from; returns the ids by which it
    /// finds its own hits.
    pub fn enter_patterns(&self, patterns: &mut Patterns) -> PatternIds {
        PatternIds {
            matches: self.plan.matches.as_deref().map(|text| patterns.enter(text)),
            reject: self.plan.reject.as_deref().map(|text| patterns.enter(text)),
        }
    }

    /// Picks lines of `batch`, whose pattern hits are `hits`. Adds the lines dropped by `rate` to
    /// `held`.
    pub fn pick(
        &mut self,
        batch: &Batch,
        ids: PatternIds,
        hits: &mut Hits,
        now: Mono,
        held: &mut Count,
    ) -> Picked {
        let mut picked = Picked::All;
        if !self.fields.is_empty() {
            picked = self.fields.pick(batch, hits);
        }
        if let Some(id) = ids.matches {
            picked = within(picked, hits.of(id));
        }
        if let Some(id) = ids.reject {
            picked = without(picked, id, hits, batch);
        }
        if let Some(bucket) = &mut self.rate {
            picked = bucket.pick(picked, batch, hits, now, held);
        }
        if let Some(sampler) = &mut self.sample {
            picked = sampler.pick(picked, batch, hits);
        }
        picked
    }
}

/// The ids of a node's patterns among those of one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PatternIds {
    matches: Option<PatternId>,
    reject: Option<PatternId>,
}

/// Restricts the picked lines to those that a pattern hit.
fn within(picked: Picked, hit: &[Range]) -> Picked {
    let Picked::Some(candidates) = picked else { return Picked::Some(hit.to_vec()) };
    // Both lists are in the order of the batch, so one walk over each is enough.
    let mut hit = hit.iter().peekable();
    let kept = candidates.into_iter().filter(|range| {
        while hit.next_if(|other| other.0 < range.0).is_some() {}
        hit.peek().is_some_and(|other| other.0 == range.0)
    });
    Picked::Some(kept.collect())
}

/// Removes the lines that pattern `id` hit from the picked lines.
fn without(picked: Picked, id: PatternId, hits: &mut Hits, batch: &Batch) -> Picked {
    if hits.of(id).is_empty() {
        return picked;
    }
    let candidates = match picked {
        Picked::All => hits.lines(batch).to_vec(),
        Picked::Some(ranges) => ranges,
    };
    // Both lists are in the order of the batch, so one walk over each is enough.
    let mut rejected = hits.of(id).iter().peekable();
    let kept = candidates.into_iter().filter(|range| {
        while rejected.next_if(|other| other.0 < range.0).is_some() {}
        rejected.peek().is_none_or(|other| other.0 != range.0)
    });
    Picked::Some(kept.collect())
}

/// The picked lines as a batch of their own; `None` if nothing was picked. A full selection shares
/// the batch's memory; a partial one is copied into a block of its exact size.
pub fn gather(batch: &Batch, picked: &Picked) -> Option<Batch> {
    let ranges = match picked {
        Picked::All => return Some(batch.clone()),
        Picked::Some(ranges) if ranges.is_empty() => return None,
        Picked::Some(ranges) if ranges.len() == batch.lines as usize => return Some(batch.clone()),
        Picked::Some(ranges) => ranges,
    };
    let size = ranges.iter().map(|&(start, end)| (end - start) as usize).sum();
    let mut bytes = Vec::with_capacity(size);
    for &(start, end) in ranges {
        bytes.extend_from_slice(&batch.bytes[start as usize..end as usize]);
    }
    let lines = u32::try_from(ranges.len()).unwrap_or(u32::MAX);
    let mut gathered = batch.with(bytes.into(), lines);
    gathered.sources = batch.sources.as_ref().map(|sources| sources.gather(ranges));
    Some(gathered)
}

/// A batch for tests.
#[cfg(test)]
pub(crate) fn batch_of(text: &str) -> Batch {
    let bytes = bytes::Bytes::copy_from_slice(text.as_bytes());
    let lines = crate::batch::count_lines(&bytes);
    let received = std::time::SystemTime::UNIX_EPOCH;
    Batch::new(bytes, lines, "in".into(), received)
}
