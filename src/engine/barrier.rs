//! Acknowledgement barriers, for clients whose lines are acknowledged only once they are on disk.
//!
//! A barrier is set when a client's lines have entered the flow. It is released when every spool
//! downstream of the input has made durable (or counted as dropped) every line that had entered it
//! by then. Queues are first in, first out, so one count per spool is enough. If no spool is
//! downstream, the barrier is released at once. Lines printed by a filter process are new lines,
//! and no barrier waits for them.
//!
//! A spool that a reload removes has until its grace is over. If it then gives up lines, the
//! barriers behind them are lost: their clients are disconnected, so that they send those lines
//! again, to whatever is downstream now.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{Identity, NodeId};

use super::graph::Graph;
use super::{Action, Engine};

/// The unreleased barriers of each input, oldest first.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    waiting: BTreeMap<NodeId, VecDeque<Barrier>>,
}

#[derive(Debug)]
struct Barrier {
    number: u64,
    /// The number of lines each spool must have completed.
    marks: Vec<(NodeId, u64)>,
    /// Origins for which the last line stored here is requested.
    resume: Vec<Identity>,
    /// A spool was removed that had given up lines before it.
    lost: bool,
}

impl Barrier {
    /// Returns whether every spool has completed its lines.
    fn is_passed(&self, graph: &Graph) -> bool {
        self.marks
            .iter()
            .all(|(id, mark)| graph.spool(*id).is_some_and(|spool| spool.has_completed(*mark)))
    }

    /// A spool is removed: what it has completed needs no wait, and what it has not is lost.
    fn without(&mut self, spool: NodeId, has_completed: impl Fn(u64) -> bool) {
        let Some(at) = self.marks.iter().position(|(id, _)| *id == spool) else { return };
        let (_, mark) = self.marks.remove(at);
        self.lost |= !has_completed(mark);
    }

    /// For each requested origin, its last line in each spool.
    fn lasts(&self, graph: &Graph) -> Vec<Vec<Option<u64>>> {
        let in_spool = |id: NodeId, origin: &Identity| {
            graph.spool(id).and_then(|spool| spool.origins.get(origin).copied())
        };
        let of_origin =
            |origin: &Identity| self.marks.iter().map(|(id, _)| in_spool(*id, origin)).collect();
        self.resume.iter().map(of_origin).collect()
    }
}

impl Engine {
    /// Sets a barrier: a client waits for all lines that the input has handed over so far.
    pub(super) fn set_barrier(&mut self, input: NodeId, number: u64, resume: Vec<Identity>) {
        let mut marks = Vec::new();
        for id in self.graph.ends(input) {
            if let Some(spool) = self.graph.spool_mut(id) {
                let mark = spool.mark();
                spool.want(mark);
                marks.push((id, mark));
                self.cx.touch(id);
            }
        }
        let barrier = Barrier { number, marks, resume, lost: false };
        self.barriers.waiting.entry(input).or_default().push_back(barrier);
        self.release_barriers();
    }

    /// Takes a spool that is about to be removed out of all barriers.
    pub(super) fn forget_in_barriers(&mut self, id: NodeId) {
        let Some(spool) = self.graph.spool(id) else { return };
        let all = self.barriers.waiting.values_mut().flatten();
        all.for_each(|barrier| barrier.without(id, |mark| spool.has_completed(mark)));
        self.release_barriers();
    }

    /// Releases every barrier that has been passed, and reports those that are lost.
    pub(super) fn release_barriers(&mut self) {
        let (graph, cx) = (&self.graph, &mut self.cx);
        self.barriers.waiting.retain(|&node, waiting| {
            let mut last = None;
            while waiting.front().is_some_and(|barrier| barrier.lost || barrier.is_passed(graph))
                && let Some(barrier) = waiting.pop_front()
            {
                if barrier.lost {
                    // In order: completing a later barrier also completes those before it.
                    if let Some(barrier) = last.take() {
                        cx.act(Action::Completed { node, barrier });
                    }
                    cx.act(Action::Lost { node, barrier: barrier.number });
                    continue;
                }
                last = Some(barrier.number);
                if !barrier.resume.is_empty() {
                    let lasts = barrier.lasts(graph);
                    cx.act(Action::Resume { node, barrier: barrier.number, lasts });
                }
            }
            if let Some(barrier) = last {
                cx.act(Action::Completed { node, barrier });
            }
            !waiting.is_empty()
        });
    }
}
