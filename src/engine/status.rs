//! Snapshots of every node's counts, for `top`, `ctl status` and the final ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::clock::Mono;
use crate::forward::service::Known;
use crate::ids::NodeId;
use crate::input::InputCounts;
use crate::ledger::REASONS;
use crate::ledger::told::is_zero;
use crate::logger::Verbosity;
use crate::output::supervisor::State;
use crate::parse::syslog::Faults;

use super::child::Child;
use super::connection::Connection;
use super::consumer::Consumer;
use super::graph::{Body, Lanes, Node};
use super::lane::{Lane, Receiver};
use super::losses::{Cause, Loss};
use super::spool::SpoolState;
use super::sums::Sums;
use super::{Engine, remedy, shape};

/// A snapshot of the whole daemon.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// Seconds since the daemon started.
    pub uptime: f64,
    /// When the daemon started, in seconds since 1970; 0 if unknown.
    #[serde(default)]
    pub started: f64,
    /// The log level; absent if the snapshot does not come from the running daemon.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub log: Option<Verbosity>,
    /// Bytes of memory in all queues. What several of them hold counts once.
    #[serde(default)]
    pub queues_bytes: u64,
    /// A node whose queue has released nothing for this many seconds is stuck.
    #[serde(default)]
    pub stuck_after: f64,
    /// What nodes counted that reloads have removed; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gone: Option<GoneStatus>,
    /// Every node, including removed ones that are still draining.
    pub nodes: Vec<NodeStatus>,
}

/// The counts of nodes that reloads have removed, so that sums over all nodes never go back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneStatus {
    /// How many nodes.
    pub nodes: u64,
    /// Lines that entered the inputs among them.
    pub lines_in: u64,
    /// Lines that they dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Datagrams that the kernel dropped.
    pub kernel_drops: u64,
}

impl GoneStatus {
    /// Everything lost, including by the kernel.
    pub fn lost(&self) -> u64 {
        self.dropped.values().sum::<u64>() + self.kernel_drops
    }
}

/// A summary of the daemon.
#[derive(Debug)]
pub struct Figures {
    /// Lines received by all inputs.
    pub lines: u64,
    /// Lines dropped anywhere, including by the kernel.
    pub dropped: u64,
    /// The reader of a spool with the largest lag, and that lag in seconds.
    pub lag: Option<(Arc<str>, f64)>,
}

/// A snapshot of one node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// `input`, `filter`, `spool` or `output`.
    pub kind: String,
    /// The nodes it reads from.
    pub from: Vec<String>,
    /// Lines that entered it.
    pub lines_in: u64,
    /// Lines that left it.
    pub lines_out: u64,
    /// Lines that its selectors rejected.
    pub not_selected: u64,
    /// It takes one line in so many of those that its selectors select (`sample`); absent if it
    /// takes all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sample: Option<u64>,
    /// Lines that were dropped, by reason; every reason is present.
    pub dropped: BTreeMap<String, u64>,
    /// Lines that wait in its queue.
    pub queued: u64,
    /// Bytes that entered it, with newlines.
    pub bytes_in: u64,
    /// Bytes that left it, with newlines.
    pub bytes_out: u64,
    /// Bytes that were dropped.
    pub bytes_dropped: u64,
    /// True if the counts balance in lines and in bytes.
    pub balanced: bool,
    /// Bytes held by its queue, including overhead; absent if it has no queue.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub queue: Option<QueueStatus>,
    /// An input's counts other than lines; for a filter process, those of its output.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub input: Option<InputStatus>,
    /// Messages this node could not parse, by fault; they are passed on unchanged.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub faults: Option<Faults>,
    /// The command of its children.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub command: Option<String>,
    /// The last lines that its children wrote to standard error, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub stderr: Vec<Complaint>,
    /// Its children.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub children: Vec<ChildStatus>,
    /// How often its children were restarted, also before a reload has rebuilt it.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub restarts: u64,
    /// Lines its children printed (a filter process's stream).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub printed: Option<u64>,
    /// How long its queue has held lines without releasing any, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stuck_seconds: Option<f64>,
    /// The current disk error; for an input, what keeps it from taking everything that is sent to
    /// it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// Lines that wait at an input's source, in each of its parts.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub waiting: Vec<WaitingStatus>,
    /// The content of a spool.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub spool: Option<SpoolStatus>,
    /// The peers of a forward output's lanes.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lanes: Vec<LaneStatus>,
    /// True if it reads from a spool, which keeps its lines until it has completed them.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub reads_spool: bool,
    /// What it is losing, and what it lost last.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub losses: Vec<LossStatus>,
    /// When the newest minute began whose lines have left it, in seconds since 1970: so old are the
    /// newest lines that come out of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub newest_minute: Option<u64>,
    /// True while a full queue downstream pauses it.
    pub paused: bool,
    /// True if a reload removed it and it is draining.
    pub retired: bool,
}

/// An episode of losses: it ends when nothing was lost for a minute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LossStatus {
    /// The reason of the ledger, or `kernel_drops`, `oversize` or `sequence_lost`.
    pub cause: String,
    /// How many were lost.
    pub count: u64,
    /// What is counted: `lines` or `datagrams`.
    pub unit: String,
    /// When the first was lost, in seconds since the daemon started.
    pub began: f64,
    /// When the last was lost, in seconds since the daemon started.
    pub last: f64,
    /// True once the episode has ended.
    pub ended: bool,
    /// Why, and what to do, while it lasts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
}

/// A part of an input's source, such as a partition of a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingStatus {
    /// Its name.
    pub name: String,
    /// Lines in it that were not read yet.
    pub lines: u64,
}

/// The content of a spool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SpoolStatus {
    /// Its identity.
    pub identity: String,
    /// The number of the oldest line kept.
    pub oldest: u64,
    /// The number after the last durable line.
    pub durable: u64,
    /// The number of the next line.
    pub next: u64,
    /// Durable lines that no reader waits for: they are only kept, to be replayed by hand.
    #[serde(default)]
    pub kept: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// The maximum of those bytes.
    #[serde(default)]
    pub max_size: u64,
    /// Segments.
    pub segments: u64,
    /// Its readers.
    pub readers: Vec<ReaderStatus>,
}

impl SpoolStatus {
    /// The number of lines held.
    pub fn lines(&self) -> u64 {
        self.next.saturating_sub(self.oldest)
    }

    /// Lines that a reader has in memory and the spool, being full, no longer holds.
    pub fn only_in_memory(&self, reader: &ReaderStatus) -> u64 {
        self.oldest.saturating_sub(reader.position).saturating_sub(reader.dropped_lines)
    }
}

/// A reader of a spool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReaderStatus {
    /// Its name: the output's, and the lane where it has several.
    pub name: String,
    /// The number of its first uncompleted line.
    pub position: u64,
    /// Lines by which it lags the newest line.
    pub lag_lines: u64,
    /// Approximate lag in bytes.
    pub lag_bytes: u64,
    /// The time between the newest line and its position, in seconds.
    pub lag_seconds: f64,
    /// When its oldest uncompleted line was received, in seconds since 1970; absent if none waits
    /// for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waits_since: Option<f64>,
    /// Lines that were dropped before it has read them; what it has in memory is not lost. The
    /// ledger of its output counts them once it comes to them.
    #[serde(default)]
    pub dropped_lines: u64,
}

/// A lane of a forward output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneStatus {
    /// The connected peer, if any.
    pub peer: Option<String>,
    /// The current error, if any.
    pub error: Option<String>,
    /// True if that is that the peer's name has no address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unresolved: bool,
    /// Seconds since it last had a peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_seconds: Option<u64>,
    /// The services among its peers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceStatus>,
}

/// What DNS says of a service among the peers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// The name of the service.
    pub name: String,
    /// Its hosts and their ports, in the order in which they are tried.
    pub hosts: Vec<String>,
    /// The age of that answer in seconds; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// Why the last look-up failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The fill level of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Bytes used.
    pub used: u64,
    /// Bytes it may use.
    pub limit: u64,
}

/// An input's counts other than lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputStatus {
    /// Datagrams received.
    pub datagrams: u64,
    /// Datagrams without payload.
    pub empty_datagrams: u64,
    /// Datagrams that the kernel dropped.
    pub kernel_drops: u64,
    /// Lines that were truncated.
    pub oversize: u64,
    /// Lines missing according to their sequence numbers.
    pub sequence_lost: u64,
    /// Senders whose sequence numbers are no longer tracked, because newer ones took their place.
    #[serde(default)]
    pub senders_forgotten: u64,
    /// Malformed messages.
    #[serde(default)]
    pub malformed: u64,
    /// Connections accepted.
    #[serde(default)]
    pub connections: u64,
    /// Connections refused because the limit was reached.
    #[serde(default)]
    pub refused: u64,
    /// Records that clients were asked to send again later, because a queue was full.
    #[serde(default)]
    pub deferred: u64,
    /// Followed files that were truncated.
    #[serde(default)]
    pub truncated: u64,
    /// Followed files that were not read, or not to their end.
    #[serde(default)]
    pub unread: u64,
    /// Times that inotify lost changes of followed files, so that all were looked at.
    #[serde(default)]
    pub overflows: u64,
}

/// A line that a child wrote to standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Complaint {
    /// When it was written, in seconds since the daemon started.
    pub at: f64,
    /// The line, as it appears in the log.
    pub text: Arc<str>,
}

/// One child.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildStatus {
    /// Its process id, while it runs.
    pub pid: Option<u32>,
    /// `running`, `waiting`, `starting`, `ending`, `ended` or `crash-loop`.
    pub state: String,
    /// Number of restarts.
    pub restarts: u64,
    /// A description of how it last ended.
    pub last_end: Option<String>,
    /// The size of the pipe to it in bytes, while it runs and if known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pipe: Option<u64>,
}

impl Engine {
    /// A snapshot taken now.
    pub fn status(&self, now: Mono) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime: now.0.as_secs_f64(),
            started: 0.0,
            log: None,
            queues_bytes: self.queues_bytes(),
            stuck_after: self.plan().daemon.stuck_after.as_secs_f64(),
            gone: Some(self.gone.clone()).filter(|gone| gone.nodes > 0),
            nodes: self.graph.iter().map(|(id, node)| self.node_status(id, node, now)).collect(),
        }
    }

    fn queues_bytes(&self) -> u64 {
        let own = self.graph.iter().map(|(_, node)| match &node.body {
            Body::Spool(spool) => spool.queue.own(),
            _ => node.lanes().iter().map(|lane| lane.queue.own()).sum(),
        });
        own.sum::<u64>() + self.cx.budget.lent()
    }

    /// A summary of the daemon.
    pub fn figures(&self) -> Figures {
        let (mut lines, mut dropped) = (self.gone.lines_in, self.gone.lost());
        for (_, node) in self.graph.iter() {
            let sums = node.sums();
            if node.is_input() {
                lines += sums.ledger.entered.lines;
                dropped += sums.counts.kernel_drops;
            }
            dropped += sums.ledger.dropped_in_all().lines;
        }
        let lags = self.consumers.iter().filter_map(|(lane, consumer)| {
            Some((lane.node, consumer.lag(self.graph.spool(consumer.spool)?).1))
        });
        let furthest = lags.reduce(|max, other| if other.1 > max.1 { other } else { max });
        let lag = furthest.map(|(node, lag)| (Arc::clone(&self.graph.node(node).name), lag));
        Figures { lines, dropped, lag }
    }

    /// Why a node loses lines for this cause now, and the remedy; `None` if it is gone. Only what
    /// the remedies look at is gathered for it: many nodes may lose lines at the same time.
    pub fn remedy_of(&self, id: NodeId, cause: Cause, now: Mono) -> Option<String> {
        let node = self.graph.get(id)?;
        let lanes = match &node.body {
            Body::Lanes(lanes) => Some(lanes),
            _ => None,
        };
        let words = lanes.and_then(|lanes| lanes.stderr.back()).cloned();
        let status = NodeStatus {
            kind: node.plan.body.kind().word().into(),
            queue: queue_status(node),
            spool: self.spool_status(id, node),
            lanes: lanes.map_or_else(Vec::new, |lanes| lane_statuses(lanes, now)),
            command: node.plan.body.command().map(|_| String::new()),
            stderr: words.into_iter().collect(),
            children: lanes.map_or_else(Vec::new, child_statuses),
            stuck_seconds: stuck_seconds(node, now),
            error: error_of(node),
            reads_spool: self.consumers.reads_from_spool(id),
            ..NodeStatus::default()
        };
        Some(remedy::of_loss(&status, cause))
    }

    fn node_status(&self, id: NodeId, node: &Node, now: Mono) -> NodeStatus {
        let mut status = self.counts_of(id, node, now);
        let losses = node.losses.past.iter().chain(node.losses.open());
        status.losses = losses.map(|loss| loss_status(loss, &status)).collect();
        status
    }

    /// A snapshot of a node without its losses.
    fn counts_of(&self, id: NodeId, node: &Node, now: Mono) -> NodeStatus {
        let waiting = self.queued_in(id);
        let Sums { ledger, counts, printed, restarts } = node.sums();
        let has_children = node.plan.body.process().is_some();
        let lanes = match &node.body {
            Body::Lanes(lanes) => Some(lanes),
            _ => None,
        };
        let process = lanes.filter(|_| has_children);
        let dropped =
            REASONS.iter().zip(ledger.dropped).map(|(one, lost)| (one.word().into(), lost.lines));
        NodeStatus {
            name: node.name.to_string(),
            kind: node.plan.body.kind().word().into(),
            from: node.plan.from.clone(),
            lines_in: ledger.entered.lines,
            lines_out: ledger.left.lines,
            not_selected: ledger.not_selected.lines,
            sample: node.plan.select.sample.as_ref().map(|sample| sample.n.get()),
            dropped: dropped.collect(),
            queued: waiting.lines,
            bytes_in: ledger.entered.bytes,
            bytes_out: ledger.left.bytes,
            bytes_dropped: ledger.dropped_in_all().bytes,
            balanced: node.ledger.balances(waiting),
            queue: queue_status(node),
            input: (node.is_input() || counts.oversize > 0).then(|| input_status(&counts)),
            faults: (counts.faults.sum() > 0).then_some(counts.faults),
            waiting: waiting_statuses(node),
            spool: self.spool_status(id, node),
            lanes: lanes.map_or_else(Vec::new, |lanes| lane_statuses(lanes, now)),
            command: node.plan.body.command().map(str::to_string),
            stderr: process.map_or_else(Vec::new, |lanes| lanes.stderr.iter().cloned().collect()),
            children: lanes.map_or_else(Vec::new, child_statuses),
            restarts,
            printed: process.map(|_| printed.lines),
            stuck_seconds: stuck_seconds(node, now),
            error: error_of(node),
            reads_spool: self.consumers.reads_from_spool(id),
            losses: Vec::new(),
            newest_minute: newest_minute(node),
            paused: self.backpressure.is_paused(id),
            retired: node.retired.is_some(),
        }
    }

    fn spool_status(&self, id: NodeId, node: &Node) -> Option<SpoolStatus> {
        let Body::Spool(spool) = &node.body else { return None };
        let held = spool.held;
        let readers =
            self.consumers.of_spool(id).map(|(_, consumer)| reader_status(consumer, spool));
        let passed = self.consumers.of_spool(id).map(|(_, consumer)| consumer.position).min();
        let passed = passed.unwrap_or(held.durable).clamp(held.oldest, held.durable);
        Some(SpoolStatus {
            kept: passed - held.oldest,
            identity: spool.identity.to_string(),
            oldest: held.oldest,
            durable: held.durable,
            next: held.next,
            bytes: held.bytes,
            max_size: shape::spool(&node.plan.body).map_or(0, |plan| plan.max_size),
            segments: held.segments,
            readers: readers.collect(),
        })
    }
}

fn waiting_statuses(node: &Node) -> Vec<WaitingStatus> {
    let status =
        |(name, lines): &(Arc<str>, u64)| WaitingStatus { name: name.to_string(), lines: *lines };
    node.waiting.iter().map(status).collect()
}

fn loss_status(loss: &Loss, node: &NodeStatus) -> LossStatus {
    LossStatus {
        cause: loss.cause.word().into(),
        count: loss.count,
        unit: loss.cause.unit().into(),
        began: loss.began.0.as_secs_f64(),
        last: loss.last.0.as_secs_f64(),
        ended: loss.ended,
        why: (!loss.ended).then(|| remedy::of_loss(node, loss.cause)),
    }
}

fn input_status(counts: &InputCounts) -> InputStatus {
    InputStatus {
        datagrams: counts.datagrams,
        empty_datagrams: counts.empty_datagrams,
        kernel_drops: counts.kernel_drops,
        oversize: counts.oversize,
        sequence_lost: counts.sequence_lost,
        senders_forgotten: counts.senders_forgotten,
        malformed: counts.malformed,
        connections: counts.connections,
        refused: counts.refused,
        deferred: counts.deferred,
        truncated: counts.truncated,
        unread: counts.unread,
        overflows: counts.overflows,
    }
}

/// How long its queue has held lines without releasing any, in seconds.
fn stuck_seconds(node: &Node, now: Mono) -> Option<f64> {
    (node.held().lines > 0).then(|| now.since(node.moved).as_secs_f64())
}

fn newest_minute(node: &Node) -> Option<u64> {
    let left = node.ledger.minutes.rows().rev().find(|row| row.counts.left.lines > 0);
    left.map(|row| row.minute.seconds())
}

/// The current error of a node.
fn error_of(node: &Node) -> Option<String> {
    match &node.body {
        Body::Spool(spool) => spool.error.clone(),
        Body::Input { .. } => node.problem.clone(),
        _ => node.lanes().iter().find_map(|lane| lane.jobs()?.error.clone()),
    }
}

/// The combined fill level of a node's queues; `None` if it has none.
fn queue_status(node: &Node) -> Option<QueueStatus> {
    let fills: Vec<_> = match &node.body {
        Body::Input { .. } | Body::Pass => return None,
        Body::Lanes(lanes) => lanes.lanes.iter().map(|lane| lane.queue.fill()).collect(),
        Body::Spool(spool) => vec![spool.queue.fill()],
    };
    let (used, limit) = fills.iter().fold((0, 0), |sum, fill| (sum.0 + fill.0, sum.1 + fill.1));
    Some(QueueStatus { used, limit })
}

fn reader_status(consumer: &Consumer, spool: &SpoolState) -> ReaderStatus {
    let held = spool.held;
    let lines = u128::from((held.next - held.oldest).max(1));
    let (lag_lines, lag_seconds) = consumer.lag(spool);
    // The lag in bytes is estimated from the mean length of a line.
    let bytes = u128::from(lag_lines) * u128::from(held.bytes) / lines;
    let lag_bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let (name, position) = (consumer.reader.clone(), consumer.position);
    let since = consumer.waits_since(spool).and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let waits_since = since.map(|since| since.as_secs_f64());
    let dropped_lines = held.oldest.saturating_sub(consumer.next());
    ReaderStatus { name, position, lag_lines, lag_bytes, lag_seconds, waits_since, dropped_lines }
}

/// Where lanes send to, of those that send to a peer.
fn lane_statuses(lanes: &Lanes, now: Mono) -> Vec<LaneStatus> {
    let connection = |connection: &Connection| LaneStatus {
        peer: connection.link.peer().map(ToString::to_string),
        error: connection.link.error().map(str::to_string),
        unresolved: connection.link.is_unresolved(),
        down_seconds: connection.link.down_since().map(|since| now.since(since).as_secs()),
        services: connection.link.services(now).into_iter().map(service_status).collect(),
    };
    let receiver = |receiver: &Receiver| LaneStatus {
        peer: receiver.address.map(|address| format!("udp://{address}")),
        error: receiver.error.clone(),
        unresolved: receiver.address.is_none() && receiver.error.is_some(),
        ..LaneStatus::default()
    };
    let status =
        |lane: &Lane| lane.connection().map(connection).or_else(|| lane.receiver().map(receiver));
    lanes.lanes.iter().filter_map(status).collect()
}

fn service_status(known: Known) -> ServiceStatus {
    let age_seconds = known.age.map(|age| age.as_secs());
    ServiceStatus { name: known.name, hosts: known.hosts, age_seconds, error: known.error }
}

fn child_statuses(lanes: &Lanes) -> Vec<ChildStatus> {
    let status = |child: &Child| ChildStatus {
        pid: child.pid,
        state: match child.supervisor.state() {
            State::Running(_) => "running",
            State::Waiting(_) if child.supervisor.crash_loop() => "crash-loop",
            State::Waiting(_) => "waiting",
            State::Starting => "starting",
            State::Ending(..) => "ending",
            State::Ended => "ended",
        }
        .into(),
        restarts: child.supervisor.restarts,
        last_end: child.last_end.clone(),
        pipe: child.pid.and(child.pipe),
    };
    lanes.lanes.iter().filter_map(|lane| lane.child().map(status)).collect()
}
