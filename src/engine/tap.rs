//! Taps: copies of what leaves a node, for somebody who looks. A tap that is not emptied loses
//! lines, which it counts; the flow never waits for it.

use crate::batch::Batch;
use crate::filter::patterns::{Hits, PatternId, Patterns};
use crate::filter::{Picked, gather};
use crate::ids::NodeId;
use crate::limits::{TAP_BYTES, TAPS_MOST};

use super::Engine;

/// One tap.
#[derive(Debug)]
pub(super) struct Tap {
    id: u64,
    /// The node's name: a reload may give it to another node, and the tap stays.
    node: String,
    pattern: Option<(Patterns, PatternId)>,
    taken: Vec<Batch>,
    bytes: usize,
    lost: u64,
}

/// What a tap has taken.
#[derive(Debug)]
pub struct Tapped {
    /// Lines, in the order in which they left.
    pub batches: Vec<Batch>,
    /// How many lines it has lost since it was opened.
    pub lost: u64,
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
        self.taps.push(Tap { id, node, pattern, taken: Vec::new(), bytes: 0, lost: 0 });
        Ok(())
    }

    /// Closes a tap.
    pub fn close_tap(&mut self, id: u64) {
        self.taps.retain(|tap| tap.id != id);
    }

    /// What a tap has taken since it was last asked.
    pub fn take_tapped(&mut self, id: u64) -> Option<Tapped> {
        let tap = self.taps.iter_mut().find(|tap| tap.id == id)?;
        tap.bytes = 0;
        Some(Tapped { batches: std::mem::take(&mut tap.taken), lost: tap.lost })
    }

    /// Lines leave a node.
    pub(super) fn tap(&mut self, from: NodeId, batch: &Batch) {
        if self.taps.is_empty() {
            return;
        }
        let Some(Some(node)) = self.nodes.get(from.0 as usize) else { return };
        for tap in self.taps.iter_mut().filter(|tap| tap.node == *node.name) {
            tap.take(batch);
        }
    }
}

impl Tap {
    fn take(&mut self, batch: &Batch) {
        let chosen = match &self.pattern {
            None => Some(batch.clone()),
            Some((patterns, id)) => {
                let mut hits = Hits::default();
                patterns.search(batch, &mut hits);
                gather(batch, &Picked::Some(hits.of(*id).to_vec()))
            }
        };
        let Some(chosen) = chosen else { return };
        if self.bytes + chosen.bytes.len() > TAP_BYTES {
            self.lost += u64::from(chosen.lines);
            return;
        }
        self.bytes += chosen.bytes.len();
        // A block must not be held for a few lines of it.
        let bytes = match chosen.bytes.len() < batch.bytes.len() {
            true => chosen.bytes,
            false => bytes::Bytes::copy_from_slice(&chosen.bytes),
        };
        self.taken.push(Batch { bytes, sources: None, ..chosen });
    }
}
