//! Taps: copies of what leaves a node, for somebody who looks. A tap that is not emptied loses
//! lines, which it counts; the flow never waits for it. What a tap gives and what it has lost is
//! together all that left the node from when the tap was opened until it ended.

use std::collections::VecDeque;

use crate::batch::Batch;
use crate::filter::patterns::{Hits, PatternId, Patterns};
use crate::filter::{Picked, gather};
use crate::ids::NodeId;
use crate::limits::{TAP_BYTES, TAPS_BYTES, TAPS_MOST};

use super::Engine;

/// One tap.
#[derive(Debug)]
pub(super) struct Tap {
    id: u64,
    /// The node's name: a reload may give it to another node, and the tap stays.
    node: String,
    pattern: Option<(Patterns, PatternId)>,
    taken: VecDeque<Batch>,
    bytes: usize,
    lost: u64,
    /// Why it takes no more, where it is so.
    end: Option<&'static str>,
}

/// What a tap has taken.
#[derive(Debug)]
pub struct Tapped {
    /// Lines, in the order in which they left.
    pub batches: Vec<Batch>,
    /// How many lines it has lost since it was opened.
    pub lost: u64,
    /// Why nothing comes after these, where it is so.
    pub end: Option<&'static str>,
}

impl Engine {
    /// Taps a node under a number that is the caller's: of an input, a filter or a spool what it
    /// passes on, of an output what it is given. Only lines that the regex finds something in.
    ///
    /// # Errors
    /// That there is no such node, that the regex is none, or that there are too many taps.
    pub fn open_tap(&mut self, id: u64, node: &str, matches: Option<&str>) -> Result<(), String> {
        if self.find(node).is_none() {
            let names: Vec<_> = self.nodes().map(|(_, node)| node.name.to_string()).collect();
            return Err(format!("there is no node `{node}`; there are: {}", names.join(", ")));
        }
        if self.taps.len() >= TAPS_MOST {
            return Err(format!("there are {TAPS_MOST} taps already"));
        }
        let pattern = match matches {
            Some(text) => {
                let mut patterns = Patterns::default();
                let id = patterns.enter(text);
                patterns.compile()?;
                Some((patterns, id))
            }
            None => None,
        };
        let node = node.to_string();
        let taken = VecDeque::new();
        self.taps.push(Tap { id, node, pattern, taken, bytes: 0, lost: 0, end: None });
        Ok(())
    }

    /// Closes a tap.
    pub fn close_tap(&mut self, id: u64) {
        self.taps.retain(|tap| tap.id != id);
    }

    /// A tap takes no more; what it has taken is there yet.
    pub fn end_tap(&mut self, id: u64, why: &'static str) {
        for tap in self.taps.iter_mut().filter(|tap| tap.id == id) {
            tap.end.get_or_insert(why);
        }
    }

    /// All taps take no more.
    pub fn end_taps(&mut self, why: &'static str) {
        for tap in &mut self.taps {
            tap.end.get_or_insert(why);
        }
    }

    /// A node is gone; another may have its name.
    pub(super) fn end_taps_of(&mut self, name: &str) {
        if self.nodes().all(|(_, node)| *node.name != *name) {
            for tap in self.taps.iter_mut().filter(|tap| tap.node == name) {
                tap.end.get_or_insert("the node is gone: a reload has removed it");
            }
        }
    }

    /// What a tap has taken since it was last asked, about `most` bytes of it.
    pub fn take_tapped(&mut self, id: u64, most: usize) -> Option<Tapped> {
        let tap = self.taps.iter_mut().find(|tap| tap.id == id)?;
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while bytes < most
            && let Some(batch) = tap.taken.pop_front()
        {
            bytes += batch.bytes.len();
            batches.push(batch);
        }
        tap.bytes -= bytes;
        let end = tap.end.filter(|_| tap.taken.is_empty());
        Some(Tapped { batches, lost: tap.lost, end })
    }

    /// Lines leave a node.
    pub(super) fn tap(&mut self, from: NodeId, batch: &Batch) {
        if self.taps.is_empty() {
            return;
        }
        let Some(Some(node)) = self.nodes.get(from.0 as usize) else { return };
        let mut held: usize = self.taps.iter().map(|tap| tap.bytes).sum();
        let of_node = |tap: &&mut Tap| tap.node == *node.name && tap.end.is_none();
        for tap in self.taps.iter_mut().filter(of_node) {
            let room = TAPS_BYTES.saturating_sub(held).min(TAP_BYTES - tap.bytes);
            held += tap.take(batch, room);
        }
    }
}

impl Tap {
    /// Takes of a batch what it wants, where there is room for it; how many bytes.
    fn take(&mut self, batch: &Batch, room: usize) -> usize {
        let chosen = match &self.pattern {
            None => Some(batch.clone()),
            Some((patterns, id)) => {
                let mut hits = Hits::default();
                patterns.search(batch, &mut hits);
                gather(batch, &Picked::Some(hits.of(*id).to_vec()))
            }
        };
        let Some(chosen) = chosen else { return 0 };
        let count = chosen.bytes.len();
        if count > room {
            self.lost += u64::from(chosen.lines);
            return 0;
        }
        self.bytes += count;
        // A block must not be held for a few lines of it.
        let bytes = match chosen.bytes.len() < batch.bytes.len() {
            true => chosen.bytes,
            false => bytes::Bytes::copy_from_slice(&chosen.bytes),
        };
        self.taken.push_back(Batch { bytes, sources: None, ..chosen });
        count
    }
}
