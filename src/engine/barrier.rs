//! Barriers: points in an input's lines that are reported once everything before them is done with.
//!
//! A barrier is set when lines have entered the flow. It is released when every spool downstream of
//! the input has made durable (or counted as dropped) every line that had entered it by then.
//! Queues are first in, first out, so one count per spool is enough. Lines printed by a filter
//! process are new lines, and no barrier waits for them.
//!
//! If no spool is downstream, a barrier of an input whose clients wait for an acknowledgement is
//! released at once. An input that numbers its lines keeps positions, so its barriers also wait
//! for every output and process that the lines go to directly. What the input asks with a barrier
//! is answered without waiting for those: an output that is stuck delays nothing but positions.
//!
//! A spool that a reload removes has until its grace is over. If it then gives up lines, the
//! barriers behind them are lost: their clients are disconnected, so that they send those lines
//! again, to whatever is downstream now. Lines may have gone there before a reload and have their
//! barrier after it, so the first barrier after a reload also waits for what was downstream before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::batch::Inquiry;
use crate::ids::{Identity, LaneId, NodeId};
use crate::limits::BARRIERS_HELD;

use super::cx::Cx;
use super::graph::{Graph, Node};
use super::{Action, Engine};

/// The unreleased barriers of each input, oldest first.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    waiting: BTreeMap<NodeId, VecDeque<Barrier>>,
    /// For inputs without a barrier since the last reload, what is downstream of them no more.
    former: BTreeMap<NodeId, Former>,
}

/// What was downstream of an input before a reload, and has lines of it that no barrier is behind.
#[derive(Debug, Default)]
struct Former {
    /// The number of lines each spool must have completed.
    marks: Vec<(NodeId, u64)>,
    /// The same of outputs without a spool.
    lanes: Vec<(LaneId, u64)>,
    /// A spool was removed that had given some of them up.
    lost: bool,
}

impl Former {
    /// A spool is removed: what it has completed needs no wait, and what it has not is lost.
    fn without(&mut self, spool: NodeId, has_completed: impl Fn(u64) -> bool) {
        while let Some(at) = self.marks.iter().position(|(id, _)| *id == spool) {
            let (_, mark) = self.marks.remove(at);
            self.lost |= !has_completed(mark);
        }
    }
}

#[derive(Debug)]
struct Barrier {
    number: u64,
    /// The number of lines each spool must have completed.
    marks: Vec<(NodeId, u64)>,
    /// The same of outputs without a spool.
    lanes: Vec<(LaneId, u64)>,
    /// What else has lines before it; an inquiry does not concern that.
    former: Former,
    inquiry: Inquiry,
    /// True if the inquiry was answered, and the barrier waits for outputs only.
    is_answered: bool,
    /// A spool was removed that had given up lines before it.
    lost: bool,
}

impl Barrier {
    /// Returns whether every spool has completed its lines.
    fn is_durable(&self, graph: &Graph) -> bool {
        let spool = |(id, mark): &(NodeId, u64)| {
            graph.spool(*id).is_some_and(|spool| spool.has_completed(*mark))
        };
        self.marks.iter().chain(&self.former.marks).all(spool)
    }

    /// Returns whether every output has completed its lines. A removed output counts as complete:
    /// it has counted what it gave up.
    fn is_delivered(&self, graph: &Graph) -> bool {
        let lane = |(id, mark): &(LaneId, u64)| {
            graph.lane(*id).is_none_or(|lane| lane.has_completed(*mark))
        };
        self.lanes.iter().chain(&self.former.lanes).all(lane)
    }

    /// A spool is removed: what it has completed needs no wait, and what it has not is lost.
    fn without(&mut self, spool: NodeId, has_completed: impl Fn(u64) -> bool) {
        self.former.without(spool, &has_completed);
        self.lost |= self.former.lost;
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
        self.inquiry.origins.iter().map(of_origin).collect()
    }

    /// The origins of each spool that are of one of the requested kinds.
    fn kin(&self, graph: &Graph) -> Vec<Vec<(Identity, u64)>> {
        let wanted: BTreeSet<_> = self.inquiry.kinds.iter().copied().collect();
        let in_spool = |(id, _): &(NodeId, u64)| {
            let origins = graph.spool(*id).into_iter().flat_map(|spool| &spool.origins);
            let kin = origins.filter(|(origin, _)| wanted.contains(&origin.kind()));
            kin.map(|(origin, last)| (*origin, *last)).collect()
        };
        self.marks.iter().map(in_spool).collect()
    }
}

impl Engine {
    /// Sets a barrier behind all lines that the input has handed over so far.
    pub(super) fn set_barrier(&mut self, input: NodeId, number: u64, inquiry: Inquiry) {
        let waits_for_outputs = self.graph.node(input).is_numbered();
        let (mut marks, mut lanes) = (Vec::new(), Vec::new());
        for id in self.graph.ends(input) {
            if let Some(spool) = self.graph.spool_mut(id) {
                let mark = spool.mark();
                if !inquiry.is_patient {
                    spool.want(mark);
                }
                marks.push((id, mark));
                self.cx.touch(id);
            } else if waits_for_outputs {
                lanes.extend(self.graph.node(id).lanes().iter().map(|lane| (lane.id, lane.mark())));
            }
        }
        let mut former = self.barriers.former.remove(&input).unwrap_or_default();
        for &(id, mark) in &former.marks {
            if let Some(spool) = self.graph.spool_mut(id).filter(|_| !inquiry.is_patient) {
                spool.want(mark);
                self.cx.touch(id);
            }
        }
        let lost = former.lost;
        let waiting = self.barriers.waiting.entry(input).or_default();
        // Completing the new one also completes the last one.
        let is_full = waiting.len() >= BARRIERS_HELD;
        if is_full && waiting.back().is_some_and(|last| last.is_answered) {
            let last = waiting.pop_back();
            former.lanes.extend(last.into_iter().flat_map(|last| last.former.lanes));
        }
        let is_answered = false;
        waiting.push_back(Barrier { number, marks, lanes, former, inquiry, is_answered, lost });
        self.release_barriers();
    }

    /// What is downstream of each input that sets barriers, before a reload.
    pub(super) fn downstream_of_inputs(&self) -> Vec<(NodeId, Vec<NodeId>)> {
        let live = |node: &Node| node.is_acknowledged() && node.retired.is_none();
        let inputs = self.graph.iter().filter(|(_, node)| live(node));
        inputs.map(|(id, _)| (id, self.graph.ends(id))).collect()
    }

    /// Notes after a reload what was downstream `before` it and is no more: it may have lines whose
    /// barrier is yet to come.
    pub(super) fn note_former(&mut self, before: Vec<(NodeId, Vec<NodeId>)>) {
        for (input, ends) in before {
            if self.graph.get(input).is_none_or(|node| node.retired.is_some()) {
                continue;
            }
            let now: BTreeSet<_> = self.graph.ends(input).into_iter().collect();
            let numbered = self.graph.node(input).is_numbered();
            for id in ends.into_iter().filter(|id| !now.contains(id)) {
                let former = self.barriers.former.entry(input).or_default();
                match self.graph.spool(id) {
                    Some(spool) => former.marks.push((id, spool.mark())),
                    None if numbered => {
                        let lanes = self.graph.get(id).into_iter().flat_map(Node::lanes);
                        former.lanes.extend(lanes.map(|lane| (lane.id, lane.mark())));
                    }
                    None => {}
                }
            }
        }
    }

    /// Takes a node that is about to be removed out of all barriers.
    pub(super) fn forget_in_barriers(&mut self, id: NodeId) {
        self.barriers.former.remove(&id);
        let Some(spool) = self.graph.spool(id) else { return };
        let has_completed = |mark| spool.has_completed(mark);
        let all = self.barriers.waiting.values_mut().flatten();
        all.for_each(|barrier| barrier.without(id, has_completed));
        self.barriers.former.values_mut().for_each(|former| former.without(id, has_completed));
        self.release_barriers();
    }

    /// Answers and releases every barrier that has been passed, and reports those that are lost.
    pub(super) fn release_barriers(&mut self) {
        let (graph, cx) = (&mut self.graph, &mut self.cx);
        self.barriers.waiting.retain(|&node, waiting| {
            answer(node, waiting, graph, cx);
            let mut last = None;
            while waiting.front().is_some_and(|barrier| {
                barrier.lost || barrier.is_answered && barrier.is_delivered(graph)
            }) && let Some(passed) = waiting.pop_front()
            {
                let barrier = passed.number;
                if passed.lost {
                    // In order: completing a later barrier also completes those before it.
                    if let Some(barrier) = last.take() {
                        cx.act(Action::Completed { node, barrier });
                    }
                    cx.act(Action::Lost { node, barrier });
                    continue;
                }
                last = Some(barrier);
            }
            if let Some(barrier) = last {
                cx.act(Action::Completed { node, barrier });
            }
            !waiting.is_empty()
        });
    }

    /// Releases the barriers that outputs without a spool have held, where there are any.
    pub(super) fn release_held_barriers(&mut self) {
        let holds = |waiting: &VecDeque<Barrier>| {
            let held = |b: &Barrier| !b.lanes.is_empty() || !b.former.lanes.is_empty();
            waiting.front().is_some_and(held)
        };
        if self.barriers.waiting.values().any(holds) {
            self.release_barriers();
        }
    }
}

/// Answers the inquiries of those barriers whose lines are durable, in their order. Of one that is
/// lost, the input asks again.
fn answer(node: NodeId, waiting: &mut VecDeque<Barrier>, graph: &mut Graph, cx: &mut Cx) {
    for asked in waiting.iter_mut().filter(|barrier| !barrier.is_answered && !barrier.lost) {
        if !asked.is_durable(graph) {
            return;
        }
        asked.is_answered = true;
        for (spool, _) in &asked.marks {
            if let Some(spool) = graph.spool_mut(*spool) {
                spool.end_origins(&asked.inquiry.ended);
            }
        }
        let barrier = asked.number;
        if !asked.inquiry.origins.is_empty() {
            let lasts = asked.lasts(graph);
            cx.act(Action::Resume { node, barrier, lasts });
        }
        if !asked.inquiry.kinds.is_empty() {
            let spools = asked.kin(graph);
            cx.act(Action::Kin { node, barrier, spools });
        }
    }
}

#[cfg(test)]
mod tests;
