//! State shared by the parts of the engine while an event is handled: the memory budget, the time,
//! the driver's pending actions, and the agenda.

use std::collections::VecDeque;

use crate::clock::Mono;
use crate::ids::{LaneId, NodeId};
use crate::output::budget::Budget;

use super::Action;
use super::agenda::Agenda;

/// Passed to every part of the engine that acts on an event.
#[derive(Debug, Default)]
pub(super) struct Cx {
    /// The memory shared by all queues.
    pub(super) budget: Budget,
    /// The time of the latest event, or of the latest call that changed the flow.
    pub(super) now: Mono,
    pub(super) agenda: Agenda,
    actions: VecDeque<Action>,
    ready: VecDeque<LaneId>,
}

impl Cx {
    /// Queues an action for the driver.
    pub(super) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// Names a lane as ready to be written.
    pub(super) fn name_ready(&mut self, lane: LaneId) {
        self.ready.push_back(lane);
    }

    /// Has a node serviced before the current event is finished.
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
