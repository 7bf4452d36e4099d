//! The agenda: the nodes that an event has reached, and the timers of the others.
//!
//! An event touches the nodes it reaches, and only those are serviced afterwards. A node that waits
//! for a time has one timer, so an event costs nothing for the nodes it does not reach.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::clock::Mono;
use crate::ids::NodeId;

/// The nodes to be serviced now, and the timers of the others.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    touched: VecDeque<NodeId>,
    is_touched: HashSet<NodeId>,
    timers: BTreeSet<(Mono, NodeId)>,
    armed: HashMap<NodeId, Mono>,
    /// How many nodes were serviced so far.
    #[cfg(test)]
    pub(super) looks: u64,
}

impl Agenda {
    /// Has a node serviced before the current event is finished.
    pub(super) fn touch(&mut self, node: NodeId) {
        if self.is_touched.insert(node) {
            self.touched.push_back(node);
        }
    }

    /// The next node to service.
    pub(super) fn next(&mut self) -> Option<NodeId> {
        let node = self.touched.pop_front()?;
        self.is_touched.remove(&node);
        #[cfg(test)]
        {
            self.looks += 1;
        }
        Some(node)
    }

    /// Touches every node whose timer has expired.
    pub(super) fn expire(&mut self, now: Mono) {
        while let Some(&(at, node)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            self.armed.remove(&node);
            self.touch(node);
        }
    }

    /// Sets a node's timer. A time in the past sets none: what could be done was done when the node
    /// was serviced, and the rest waits for an event.
    pub(super) fn arm(&mut self, node: NodeId, at: Option<Mono>, now: Mono) {
        let at = at.filter(|at| *at > now);
        if self.armed.get(&node).copied() == at {
            return;
        }
        if let Some(before) = self.armed.remove(&node) {
            self.timers.remove(&(before, node));
        }
        if let Some(at) = at {
            self.armed.insert(node, at);
            self.timers.insert((at, node));
        }
    }

    /// When the first timer expires.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Forgets a node that has been removed.
    pub(super) fn forget(&mut self, node: NodeId) {
        if let Some(at) = self.armed.remove(&node) {
            self.timers.remove(&(at, node));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    #[test]
    fn a_node_that_was_touched_twice_is_serviced_once() {
        let mut agenda = Agenda::default();
        for node in [1, 2, 1] {
            agenda.touch(NodeId(node));
        }
        let order: Vec<_> = std::iter::from_fn(|| agenda.next()).collect();
        assert_eq!(order, [NodeId(1), NodeId(2)]);
        agenda.touch(NodeId(1));
        assert_eq!(agenda.next(), Some(NodeId(1)));
    }

    #[test]
    fn a_node_has_one_timer_and_it_expires_once() {
        let mut agenda = Agenda::default();
        agenda.arm(NodeId(1), Some(at(5)), at(0));
        agenda.arm(NodeId(1), Some(at(3)), at(0));
        agenda.arm(NodeId(2), Some(at(4)), at(0));
        assert_eq!(agenda.deadline(), Some(at(3)));
        agenda.expire(at(3));
        assert_eq!((agenda.next(), agenda.next()), (Some(NodeId(1)), None));
        assert_eq!(agenda.deadline(), Some(at(4)));
        agenda.forget(NodeId(2));
        assert_eq!(agenda.deadline(), None);
    }

    #[test]
    fn a_time_that_has_come_already_sets_no_timer() {
        let mut agenda = Agenda::default();
        agenda.arm(NodeId(1), Some(at(5)), at(0));
        agenda.arm(NodeId(1), Some(at(5)), at(5));
        assert_eq!(agenda.deadline(), None);
    }
}
