//! `/status.json`: what whoever reaches the metrics port may know of the nodes.
//!
//! The fields have the names of `top --once --json`. They are listed here one by one, so that
//! nothing gets out by being added to the status: no command, which may hold a password, is among
//! them.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde::Serialize;

use super::Snapshot;
use crate::engine::status::{
    ChildStatus, Complaint, GoneStatus, InputStatus, LaneStatus, LossStatus, NodeStatus,
    QueueStatus, SpoolStatus,
};
use crate::engine::trouble::{self, Trouble};
use crate::host;

/// The version of the format.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Public<'a> {
    v: u32,
    version: &'a str,
    host: &'a str,
    uptime: f64,
    /// When the daemon started, in seconds since 1970.
    started: f64,
    memory: u64,
    queues_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<&'a GoneStatus>,
    nodes: Vec<Node<'a>>,
}

#[derive(Serialize)]
struct Node<'a> {
    name: &'a str,
    kind: &'a str,
    from: &'a [String],
    lines_in: u64,
    lines_out: u64,
    not_selected: u64,
    /// Reasons for which no line was dropped are left out.
    dropped: BTreeMap<&'a str, u64>,
    queued: u64,
    bytes_in: u64,
    bytes_out: u64,
    bytes_dropped: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueueStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<InputStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    printed: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    children: &'a [ChildStatus],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stderr: &'a [Complaint],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    lanes: &'a [LaneStatus],
    #[serde(skip_serializing_if = "Option::is_none")]
    spool: Option<&'a SpoolStatus>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    losses: &'a [LossStatus],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    troubles: Vec<Trouble>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    retired: bool,
}

/// The document.
pub fn status(snapshot: &Snapshot) -> String {
    let Snapshot { status, memory, stuck_after, started, .. } = snapshot;
    let stuck_after = stuck_after.as_secs_f64();
    let public = Public {
        v: VERSION,
        version: &status.version,
        host: host::name(),
        uptime: status.uptime,
        started: started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        memory: *memory,
        queues_bytes: status.queues_bytes,
        gone: status.gone.as_ref(),
        nodes: status.nodes.iter().map(|node| public(node, stuck_after)).collect(),
    };
    // Every key is text, so this cannot fail.
    serde_json::to_string(&public).unwrap_or_default() + "\n"
}

fn public(node: &NodeStatus, stuck_after: f64) -> Node<'_> {
    let dropped = node.dropped.iter().filter(|(_, lines)| **lines > 0);
    Node {
        name: &node.name,
        kind: &node.kind,
        from: &node.from,
        lines_in: node.lines_in,
        lines_out: node.lines_out,
        not_selected: node.not_selected,
        dropped: dropped.map(|(reason, lines)| (reason.as_str(), *lines)).collect(),
        queued: node.queued,
        bytes_in: node.bytes_in,
        bytes_out: node.bytes_out,
        bytes_dropped: node.bytes_dropped,
        queue: node.queue,
        input: node.input,
        printed: node.printed.filter(|_| node.kind == "filter"),
        children: &node.children,
        stderr: &node.stderr,
        lanes: &node.lanes,
        spool: node.spool.as_ref(),
        losses: &node.losses,
        troubles: trouble::of(node, stuck_after),
        retired: node.retired,
    }
}
