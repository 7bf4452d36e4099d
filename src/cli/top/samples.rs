//! Hand-made snapshots for the tests of `top`.

use crate::engine::status::{NodeStatus, Status};
use crate::ledger::REASONS;

/// A node without any activity.
pub(super) fn node(name: &str, kind: &str, from: &[&str]) -> NodeStatus {
    NodeStatus {
        name: name.into(),
        kind: kind.into(),
        from: from.iter().map(ToString::to_string).collect(),
        dropped: REASONS.iter().map(|reason| (reason.word().into(), 0)).collect(),
        balanced: true,
        ..NodeStatus::default()
    }
}

/// A daemon with pid 1.
pub(super) fn status(uptime: f64, nodes: Vec<NodeStatus>) -> Status {
    Status { version: "0.1.0".into(), pid: 1, uptime, log: None, nodes, ..Status::default() }
}
