//! Barriers: what a client waits for that is acknowledged only when its lines are on disk.
//!
//! A barrier is set when lines of a client have entered the flow. It is released when every spool
//! downstream of the input has made durable (or counted as dropped) all that had entered it by
//! then; queues are first in, first out, so a count is all there is to remember. Without a spool
//! downstream a barrier is released at once. Lines that a filter process prints are new lines, and
//! no barrier waits for them.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{Identity, NodeId};

use super::graph::Graph;
use super::{Action, Engine};

/// The barriers that were not released yet, by input, oldest first.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    waiting: BTreeMap<NodeId, VecDeque<Barrier>>,
}

#[derive(Debug)]
struct Barrier {
    number: u64,
    /// What each spool must have completed.
    marks: Vec<(NodeId, u64)>,
    /// Origins whose last line here is asked for.
    resume: Vec<Identity>,
}

impl Barrier {
    /// Whether every spool has completed what it had to. A spool that is gone has completed all.
    fn is_passed(&self, graph: &Graph) -> bool {
        self.marks
            .iter()
            .all(|(id, mark)| graph.spool(*id).is_none_or(|spool| spool.has_completed(*mark)))
    }

    /// For each origin that was asked for, its last line in each spool.
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
    /// An input has handed in lines up to here, and a client waits for them.
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
        let barrier = Barrier { number, marks, resume };
        self.barriers.waiting.entry(input).or_default().push_back(barrier);
        self.release_barriers();
    }

    /// Releases every barrier that is passed.
    pub(super) fn release_barriers(&mut self) {
        let (graph, cx) = (&self.graph, &mut self.cx);
        self.barriers.waiting.retain(|&node, waiting| {
            let mut last = None;
            while waiting.front().is_some_and(|barrier| barrier.is_passed(graph))
                && let Some(barrier) = waiting.pop_front()
            {
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
