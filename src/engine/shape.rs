//! The engine's view of a node's plan: what most of the engine asks about a plan's body.

use crate::config::plan::{
    BodyPlan, FormatPlan, ForwardPlan, ProcessPlan, Shape, SpoolPlan, WhenFull,
};

/// The child processes of a filter or an output.
pub(super) fn process(body: &BodyPlan) -> Option<&ProcessPlan> {
    body.process()
}

/// The peers of an output.
pub(super) fn forward(body: &BodyPlan) -> Option<&ForwardPlan> {
    match body {
        BodyPlan::Forward(plan) => Some(plan),
        _ => None,
    }
}

/// A spool.
pub(super) fn spool(body: &BodyPlan) -> Option<&SpoolPlan> {
    match body {
        BodyPlan::Spool(plan) => Some(plan),
        _ => None,
    }
}

/// The bound of a queue that pauses inputs when it is full.
pub(super) fn blocks_at(body: &BodyPlan) -> Option<u64> {
    process(body).filter(|plan| plan.when_full == WhenFull::Block).map(|plan| plan.queue)
}

/// Returns whether a node keeps its state when its plan changes from `one` to `other`. A spool is
/// identified by its folder.
pub(super) fn is_same(one: &BodyPlan, other: &BodyPlan) -> bool {
    match (one, other) {
        (BodyPlan::Spool(one), BodyPlan::Spool(other)) => one.dir == other.dir,
        _ => one == other,
    }
}

/// The format of the lines in an output's queue. Files and peers get raw lines and format them when
/// writing: a file can then be chosen by the content of a line, and lines in doubt can be written
/// again.
pub(super) fn queue_format(body: &BodyPlan) -> &FormatPlan {
    const LINE: &FormatPlan = &FormatPlan { shape: Shape::Line, tag: None };
    match body {
        BodyPlan::Pipe(plan) => &plan.format,
        BodyPlan::Udp(plan) => &plan.format,
        BodyPlan::Stdout(plan) => &plan.format,
        _ => LINE,
    }
}
