//! The engine's view of a node's plan: what most of the engine asks about a plan's body.

use crate::config::plan::{BodyPlan, SpoolPlan, WhenFull};
use crate::ledger::told::PROCESS;
use crate::proto::traits::SinkPlan;

/// The plan of a spool.
pub(super) fn spool(body: &BodyPlan) -> Option<&SpoolPlan> {
    match body {
        BodyPlan::Spool(plan) => Some(plan),
        _ => None,
    }
}

/// The bound of a queue that pauses inputs when it is full.
pub(super) fn blocks_at(body: &BodyPlan) -> Option<u64> {
    body.process().filter(|plan| plan.when_full == WhenFull::Block).map(|plan| plan.queue)
}

/// Returns whether a node keeps its state when its plan changes from `one` to `other`. A spool is
/// identified by its folder.
pub(super) fn is_same(one: &BodyPlan, other: &BodyPlan) -> bool {
    match (one, other) {
        (BodyPlan::Spool(one), BodyPlan::Spool(other)) => one.dir == other.dir,
        _ => one == other,
    }
}

/// What an input reads from, or an output writes to, on one line; of a process not the command,
/// which may be long and is nobody else's business.
pub(super) fn place(body: &BodyPlan) -> Option<String> {
    match body.sink() {
        Some(SinkPlan::Children(_)) => Some(PROCESS.into()),
        None if !matches!(body, BodyPlan::Input(_)) => None,
        _ => Some(body.describe()),
    }
}
