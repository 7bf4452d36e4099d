//! What a loss is due to, and what to do about it: one set of texts for the log, `top`, `logweir
//! losses` and `/healthz`.

use std::io::{Error, ErrorKind as Kind};

use super::losses::{Cause, amount};
use super::status::{NodeStatus, ReaderStatus};
use crate::ledger::Reason;

/// Seconds without a line leaving a queue from which its reader counts as stalled here.
pub(super) const STALLED: f64 = 2.0;

/// Seconds without one from which it may be stalled.
const PAUSED: f64 = 0.1;

/// Why a node loses lines now, and the remedy, in one sentence.
pub fn of_loss(node: &NodeStatus, cause: Cause) -> String {
    match cause {
        Cause::Dropped(reason) => of_drop(node, reason),
        Cause::Kernel => "the receive buffer is full; raise `receive_buffer` (the kernel allows \
                          net.core.rmem_max), or `sockets`; if all processes that take its lines \
                          have full queues, make these faster"
            .into(),
        Cause::Oversize => {
            "they are longer than `max_line` or `max_message`; raise it, or shorten them".into()
        }
        Cause::Sequence => "they were lost before they came here; look at the senders' drops and \
                            the network's, and see `logweir loss` in logweir(1)"
            .into(),
    }
}

fn of_drop(node: &NodeStatus, reason: Reason) -> String {
    match reason {
        Reason::QueueFull => of_full_queue(node),
        Reason::ChildGone => of_missing_child(node),
        Reason::Rate => "there are more than `rate` allows; raise it if they are wanted".into(),
        Reason::DiskError => {
            let error = error(node);
            format!("{error}; {}", of_disk(&error))
        }
        Reason::SendError => format!("{}; look at the receiver and the network", error(node)),
        Reason::SpoolFull => of_full_spool(node),
        Reason::Damaged => "segments are damaged; see `logweir spool verify`".into(),
        Reason::Shutdown => "the grace was over; raise `daemon.grace`".into(),
        Reason::Oversize => {
            "the peer takes no lines that long; raise its limit, or lower `max_line`".into()
        }
        Reason::Duplicate => "they are here already".into(),
        Reason::Repeated => "they are counted in a line by `squeeze`".into(),
    }
}

/// The current error, or that there was one.
fn error(node: &NodeStatus) -> String {
    let of_lane = || node.lanes.iter().find_map(|lane| lane.error.as_deref());
    let error = node.error.as_deref().or_else(of_lane);
    error.unwrap_or("lines were refused").to_string()
}

/// Why a queue is full: its reader, or the memory that all queues share.
fn of_full_queue(node: &NodeStatus) -> String {
    if node.queue.is_some_and(|queue| queue.used < queue.limit / 2) {
        return "the memory of all queues together is used up; raise `daemon.memory`, or fix the \
                node with the fullest queue"
            .into();
    }
    stalled(node).unwrap_or_else(|| {
        let (what, verb, stalled) = reading(node);
        let slow = match node.command {
            Some(_) => "raise `workers`, make it faster, or give it fewer lines by `sample`",
            None => "make it faster, or raise `queue` for bursts",
        };
        // Too early to tell which it is.
        match node.stuck_seconds.filter(|seconds| *seconds >= PAUSED) {
            Some(seconds) => format!(
                "{what} has {verb} nothing for {seconds:.1} s; if that lasts, {stalled}; if not, \
                 {slow}"
            ),
            None => format!("{what} is too slow for these lines; {slow}"),
        }
    })
}

/// Who takes the lines of a node's queue, what it does with them, and what to do if it does not.
fn reading(node: &NodeStatus) -> (&'static str, &'static str, &'static str) {
    match node.command {
        Some(_) => {
            let remedy = "end it, and it is started again; find out what it waits for";
            (reader(node), "read", remedy)
        }
        None => (reader(node), "taken", "find out what it waits for"),
    }
}

/// What keeps a queue from moving at all, and the remedy; `None` if it moves.
pub fn stalled(node: &NodeStatus) -> Option<String> {
    if let Some(lane) = node.lanes.iter().find(|lane| lane.peer.is_none()) {
        let error = lane.error.as_deref().unwrap_or("it has not answered yet");
        let wait = waiting(node, "a spool would keep the lines");
        return Some(format!("no peer is connected ({error}); {wait}"));
    }
    if node.children.iter().any(|child| child.state != "running") {
        return Some(of_missing_child(node));
    }
    if let Some(error) = &node.error {
        return Some(format!("{error}; {}", of_disk(error)));
    }
    let seconds = node.stuck_seconds.filter(|seconds| *seconds >= STALLED)?;
    let (what, verb, remedy) = reading(node);
    Some(format!("{what} has {verb} nothing for {seconds:.0} s; {remedy}"))
}

/// Who takes the lines of a node's queue.
fn reader(node: &NodeStatus) -> &'static str {
    match () {
        () if node.command.is_some() => "the process",
        () if node
            .lanes
            .iter()
            .any(|lane| lane.peer.as_deref().is_some_and(|peer| !peer.starts_with("udp:"))) =>
        {
            "the peer"
        }
        () if !node.lanes.is_empty() => "the network",
        () => "the disk",
    }
}

/// Where its lines wait: in the spool that it reads, or as told.
fn waiting(node: &NodeStatus, without_spool: &'static str) -> &'static str {
    if node.reads_spool { "its lines wait in the spool" } else { without_spool }
}

/// What to do about a peer that is not there.
pub(super) fn of_missing_peer(node: &NodeStatus) -> String {
    let wait = waiting(node, "its lines wait in the queue, and a spool would keep more of them");
    format!("fix the peer or the network path to it; {wait}")
}

/// What to do about a node's error.
pub(super) fn of_error(node: &NodeStatus) -> String {
    if node.kind == "input" {
        return "fix that; it continues by itself".into();
    }
    let wait = waiting(node, "its lines wait in the queue until that is full");
    format!("{}; {wait}", of_disk(&error(node)))
}

/// What to do about an error of a disk, by its number where the text has one (errno(3)).
fn of_disk(error: &str) -> &'static str {
    let number = error.split_once("(os error ").and_then(|(_, rest)| rest.split_once(')'));
    let number = number.and_then(|(number, _)| number.parse().ok());
    match number.map(|number| Error::from_raw_os_error(number).kind()) {
        Some(Kind::StorageFull | Kind::QuotaExceeded) => "free space on the disk",
        Some(Kind::ReadOnlyFilesystem) => "repair the disk, or make it writable",
        Some(Kind::PermissionDenied) => "give the daemon's user the right to it",
        Some(Kind::NotFound | Kind::NotADirectory | Kind::IsADirectory) => {
            "correct the path, or what is at it"
        }
        _ => "free space on the disk or repair it",
    }
}

/// What to do about selectors that select no line.
pub(super) fn of_selector(node: &NodeStatus) -> String {
    let from = node.from.first().map_or("", String::as_str);
    format!(
        "if that is not meant, compare its selectors with the lines that `logweir tap {from}` shows"
    )
}

pub(super) fn of_missing_child(node: &NodeStatus) -> String {
    let end = node.children.iter().find_map(|child| child.last_end.as_deref());
    let last = node.stderr.last().map(|complaint| format!("; its last words: {}", complaint.text));
    let (end, last) = (end.unwrap_or("has not been started yet"), last.unwrap_or_default());
    format!("the process {end}{last}; fix the command")
}

/// What to do about a spool that fills up.
pub(super) fn of_filling_spool(node: &NodeStatus) -> String {
    match slowest(node) {
        Some(reader) => format!(
            "{} lags {}; fix what it sends to, or raise `max_size`",
            reader.name,
            amount(reader.lag_lines, "lines")
        ),
        None => "raise `max_size`, or free the disk".into(),
    }
}

/// The reader of its spool that lags most, if one lags.
fn slowest(node: &NodeStatus) -> Option<&ReaderStatus> {
    let readers = node.spool.iter().flat_map(|spool| &spool.readers);
    readers.max_by_key(|reader| reader.lag_lines).filter(|reader| reader.lag_lines > 0)
}

fn of_full_spool(node: &NodeStatus) -> String {
    let Some(slowest) = slowest(node) else {
        return "the spool dropped them before they were read: it was full, they were too old, or \
                they were trimmed; fix what its reader sends to, or raise `max_size` or `max_age`"
            .into();
    };
    format!(
        "the spool is full because {} lags {} lines; fix what it sends to, or raise `max_size`",
        slowest.name, slowest.lag_lines
    )
}

#[cfg(test)]
mod tests {
    use super::super::status::{ChildStatus, Complaint, LaneStatus, QueueStatus, SpoolStatus};
    use super::*;

    const FULL: Cause = Cause::Dropped(Reason::QueueFull);

    fn full() -> NodeStatus {
        NodeStatus { queue: Some(QueueStatus { used: 100, limit: 100 }), ..NodeStatus::default() }
    }

    fn process(state: &str) -> NodeStatus {
        let last_end = (state != "running").then(|| "exited with 3".into());
        let child = ChildStatus { state: state.into(), last_end, ..ChildStatus::default() };
        NodeStatus { command: Some("x".into()), children: vec![child], ..full() }
    }

    #[test]
    fn a_full_queue_is_due_to_whoever_reads_it_or_to_the_memory() {
        let stuck = Some(44.4);
        let lane = |peer: Option<&str>, error: Option<&str>| LaneStatus {
            peer: peer.map(str::to_owned),
            error: error.map(str::to_owned),
            ..LaneStatus::default()
        };
        let crashed = NodeStatus {
            stderr: vec![Complaint { at: 1.0, text: "no such table".into() }],
            ..process("crash-loop")
        };
        for (node, expected) in [
            (
                NodeStatus { stuck_seconds: stuck, ..process("running") },
                "the process has read nothing for 44 s; ",
            ),
            (process("running"), "the process is too slow for these lines; raise `workers`"),
            (crashed, "the process exited with 3; its last words: no such table; fix"),
            (
                NodeStatus { stuck_seconds: Some(0.4), ..process("running") },
                "the process has read nothing for 0.4 s; if that lasts, end it, and it is started \
                 again; find out what it waits for; if not, raise `workers`",
            ),
            (NodeStatus { stuck_seconds: stuck, ..full() }, "the disk has taken nothing for 44 s"),
            (
                NodeStatus { stuck_seconds: stuck, error: Some("No space".into()), ..full() },
                "No space; free space on the disk or repair it",
            ),
            (
                NodeStatus {
                    stuck_seconds: stuck,
                    error: Some("/d/x: No such file or directory (os error 2)".into()),
                    ..full()
                },
                "/d/x: No such file or directory (os error 2); correct the path, or what is at it",
            ),
            (full(), "the disk is too slow"),
            (
                NodeStatus { lanes: vec![lane(None, Some("refused"))], ..full() },
                "no peer is connected (refused); a spool",
            ),
            (
                NodeStatus { lanes: vec![lane(Some("relp://hub:1"), None)], ..full() },
                "the peer is too slow",
            ),
            (
                NodeStatus {
                    queue: Some(QueueStatus { used: 10, limit: 100 }),
                    ..process("running")
                },
                "the memory of all queues together is used up",
            ),
        ] {
            let said = of_loss(&node, FULL);
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn a_full_spool_is_due_to_its_slowest_reader() {
        let reader = |name: &str, lag_lines| ReaderStatus {
            name: name.into(),
            position: 0,
            lag_lines,
            lag_bytes: 0,
            lag_seconds: 0.0,
            waits_since: None,
            dropped_lines: 0,
        };
        let readers = vec![reader("a", 7), reader("b", 70)];
        let spool = Some(SpoolStatus { readers, ..SpoolStatus::default() });
        let node = NodeStatus { spool, ..NodeStatus::default() };
        let said = of_loss(&node, Cause::Dropped(Reason::SpoolFull));
        assert!(said.starts_with("the spool is full because b lags 70 lines"), "{said}");
    }
}
