//! What the parts of the engine share while an event is handled: the memory budget, the time,
//! what the driver is to do, and the agenda.

use std::collections::VecDeque;

use crate::clock::Mono;
use crate::ids::{LaneId, NodeId};
use crate::output::queue::Budget;

use super::Action;
use super::agenda::Agenda;

/// Handed to every part that is asked to do something.
#[derive(Debug, Default)]
pub(super) struct Cx {
    /// The memory that all queues share.
    pub(super) budget: Budget,
    /// When [`super::Engine::handle`] was last called.
    pub(super) now: Mono,
    pub(super) agenda: Agenda,
    actions: VecDeque<Action>,
    ready: VecDeque<LaneId>,
}

impl Cx {
    /// Has the driver do something.
    pub(super) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// Names a lane as ready to be written.
    pub(super) fn name_ready(&mut self, lane: LaneId) {
        self.ready.push_back(lane);
    }

    /// Has a node serviced before the event is over.
    pub(super) fn touch(&mut self, node: NodeId) {
        self.agenda.touch(node);
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(super) fn poll_ready(&mut self) -> Option<LaneId> {
        self.ready.pop_front()
    }
}
