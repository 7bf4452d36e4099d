//! What is wrong with a node, and what to do about it: the list that `top`, the page and
//! `/healthz` show. The remedies are those of the log.

use serde::{Deserialize, Serialize};

use super::losses::{amount, verb};
use super::remedy;
use super::status::{LossStatus, NodeStatus, ReaderStatus};
use crate::ledger::Reason;

/// Seconds by which a reader of a spool may lag before that is a trouble.
pub const LAG_WORTH_A_LOOK: f64 = 10.0;
/// The part of a spool's `max_size` from which on it is filling, in percent.
const SPOOL_FILLING: u64 = 80;
/// Lines from which on it is worth a note that none of them was selected.
const UNSELECTED: u64 = 100;

/// The cause of losses that the configuration asks for.
const RATE: &str = "rate";

/// How bad a trouble is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It may be meant.
    Note,
    /// Lines are lost, wait or are late.
    Warning,
    /// `/healthz` is red because of it.
    Unhealthy,
}

/// Something that is wrong with a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// How bad it is.
    pub level: Level,
    /// What is seen, in a few words.
    pub what: String,
    /// Why, and what to do; empty if nothing is known.
    pub remedy: String,
}

impl Level {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Trouble {
    fn new(level: Level, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level, what: what.into(), remedy: remedy.into() }
    }

    /// Both in one sentence.
    pub fn sentence(&self) -> String {
        match self.remedy.is_empty() {
            true => self.what.clone(),
            false => format!("{}: {}", self.what, self.remedy),
        }
    }
}

/// What is wrong with a node, worst first. It is stuck once its queue has released nothing for
/// `stuck_after` seconds.
pub fn of(node: &NodeStatus, stuck_after: f64) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if !node.balanced {
        let remedy = "this is a fault of logweir: please report it with this node's ledger";
        troubles.push(Trouble::new(Level::Unhealthy, "its ledger does not balance", remedy));
    }
    troubles.extend(stuck(node, stuck_after));
    if let Some(error) = &node.error {
        troubles.push(Trouble::new(Level::Unhealthy, error, remedy::of_error(node)));
    }
    troubles.extend(peers(node, stuck_after));
    troubles.extend(children(node));
    for loss in node.losses.iter().filter(|loss| !loss.ended) {
        let lost = amount(loss.count, &loss.unit);
        let what = format!("{} ({}, {lost})", verb(&loss.cause), loss.cause);
        // What a rate holds back was meant to be.
        let level = if loss.cause == RATE { Level::Note } else { Level::Warning };
        troubles.push(Trouble::new(level, what, loss.why.clone().unwrap_or_default()));
    }
    troubles.extend(spool(node));
    if node.paused {
        let remedy = "a queue behind it with when_full = \"block\" is full; fix what reads that";
        troubles.push(Trouble::new(Level::Warning, "paused", remedy));
    }
    if node.lines_in >= UNSELECTED && node.not_selected == node.lines_in {
        let what = format!("has selected none of {}", amount(node.lines_in, "lines"));
        troubles.push(Trouble::new(Level::Note, what, remedy::of_selector(node)));
    }
    troubles.sort_by_key(|trouble| std::cmp::Reverse(trouble.level));
    troubles
}

/// A queue that does not move. Seconds are enough for a warning.
fn stuck(node: &NodeStatus, stuck_after: f64) -> Option<Trouble> {
    let seconds = node.stuck_seconds?;
    let why = remedy::stalled(node);
    let level = match seconds > stuck_after {
        true => Level::Unhealthy,
        false if seconds >= remedy::STALLED && why.is_some() && !is_said(node) => Level::Warning,
        false => return None,
    };
    let what = format!("nothing has left its queue for {seconds:.0} s");
    Some(Trouble::new(level, what, why.unwrap_or_default()))
}

/// Whether another trouble says why its queue does not move: a peer or a process is missing, or it
/// drops lines because of it.
fn is_said(node: &NodeStatus) -> bool {
    let full = |loss: &LossStatus| !loss.ended && loss.cause == Reason::QueueFull.word();
    node.lanes.iter().any(|lane| lane.peer.is_none())
        || node.children.iter().any(|child| child.state != "running")
        || node.losses.iter().any(full)
}

/// Lanes without a peer. One that cannot be found is reported at once, any other after a while.
fn peers(node: &NodeStatus, stuck_after: f64) -> impl Iterator<Item = Trouble> {
    let down = node.lanes.iter().filter(|lane| lane.peer.is_none());
    down.filter_map(move |lane| {
        let error = lane.error.as_ref()?;
        let lasts = lane.down_seconds.is_some_and(|seconds| seconds as f64 > stuck_after);
        let level = if lane.unresolved || lasts { Level::Unhealthy } else { Level::Warning };
        Some(Trouble::new(level, error, remedy::of_missing_peer(node)))
    })
}

fn children(node: &NodeStatus) -> Option<Trouble> {
    let is = |state: &str| node.children.iter().any(|child| child.state == state);
    let why = || remedy::of_missing_child(node);
    if is("crash-loop") {
        return Some(Trouble::new(Level::Unhealthy, "its process is in a crash loop", why()));
    }
    is("waiting").then(|| Trouble::new(Level::Warning, "its process is to be started again", why()))
}

fn spool(node: &NodeStatus) -> Vec<Trouble> {
    let Some(spool) = &node.spool else { return Vec::new() };
    let late = |reader: &&ReaderStatus| reader.lag_seconds >= LAG_WORTH_A_LOOK;
    let mut troubles = Vec::new();
    for reader in spool.readers.iter().filter(late) {
        let ReaderStatus { name, lag_lines, lag_seconds, .. } = reader;
        let lines = amount(*lag_lines, "lines");
        let what = format!("{name} lags {lines}, {lag_seconds:.0} s");
        let gone = reader.dropped_lines;
        let (what, remedy) = match gone {
            0 => match spool.only_in_memory(reader) {
                0 => (what, format!("nothing is lost yet; look at {name} and at what it sends to")),
                held => (
                    format!("{what}, of which {} are only in memory", amount(held, "lines")),
                    format!(
                        "the spool was full: a restart loses them; look at {name} and at what it \
                         sends to, or raise `max_size`"
                    ),
                ),
            },
            // The ledger counts them when the reader comes to them.
            _ => (
                format!("{what}, of which {} are dropped already", amount(gone, "lines")),
                format!("the spool was full; look at {name} and at what it sends to"),
            ),
        };
        troubles.push(Trouble::new(Level::Warning, what, remedy));
    }
    if spool.readers.iter().any(|reader| reader.dropped_lines > 0) {
        return troubles;
    }
    let unread = spool.durable.saturating_sub(spool.oldest + spool.kept);
    let share = spool.bytes.saturating_mul(100) / spool.max_size.max(1);
    if spool.max_size > 0 && unread > 0 && share >= SPOOL_FILLING {
        let what = format!("the spool is {share} % full");
        troubles.push(Trouble::new(Level::Warning, what, remedy::of_filling_spool(node)));
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::super::status::{ChildStatus, LaneStatus, SpoolStatus};
    use super::*;

    fn node() -> NodeStatus {
        NodeStatus { balanced: true, ..NodeStatus::default() }
    }

    fn said(node: &NodeStatus) -> Vec<(Level, String)> {
        of(node, 60.0).iter().map(|trouble| (trouble.level, trouble.sentence())).collect()
    }

    fn only(node: &NodeStatus) -> (Level, String) {
        let [one] = &said(node)[..] else { panic!("{:?}", said(node)) };
        one.clone()
    }

    #[test]
    fn a_node_without_trouble_has_none_and_an_unbalanced_one_has_the_worst() {
        assert_eq!(said(&node()), []);
        let (level, text) = only(&NodeStatus { balanced: false, ..node() });
        assert_eq!(level, Level::Unhealthy);
        assert!(text.starts_with("its ledger does not balance: this is a fault of"), "{text}");
    }

    #[test]
    fn a_queue_that_does_not_move_is_a_warning_and_then_unhealthy() {
        let stuck = |seconds| NodeStatus { stuck_seconds: Some(seconds), ..node() };
        assert_eq!(said(&stuck(1.0)), []);
        let text = "nothing has left its queue for 5 s: the disk has taken nothing for 5 s; find \
                    out what it waits for";
        assert_eq!(only(&stuck(5.0)), (Level::Warning, text.into()));
        assert_eq!(only(&stuck(61.0)).0, Level::Unhealthy);
        let losses = vec![LossStatus { cause: "queue_full".into(), ..LossStatus::default() }];
        let dropping = NodeStatus { losses, ..stuck(5.0) };
        assert_eq!(only(&dropping), (Level::Warning, "dropping (queue_full, 0 )".into()));
    }

    #[test]
    fn a_peer_that_is_gone_is_unhealthy_after_a_while_and_says_where_lines_wait() {
        let lane = |down, unresolved| LaneStatus {
            error: Some("hub:2514: Connection refused".into()),
            down_seconds: Some(down),
            unresolved,
            ..LaneStatus::default()
        };
        let forward = |lane, reads_spool| NodeStatus { lanes: vec![lane], reads_spool, ..node() };
        let (level, text) = only(&forward(lane(5, false), false));
        assert_eq!(level, Level::Warning);
        assert_eq!(
            text,
            "hub:2514: Connection refused: fix the peer or the network path to it; its lines wait \
             in the queue, and a spool would keep more of them"
        );
        let (level, text) = only(&forward(lane(61, false), true));
        assert_eq!(level, Level::Unhealthy);
        assert!(
            text.ends_with("fix the peer or the network path to it; its lines wait in the spool")
        );
        assert_eq!(only(&forward(lane(1, true), false)).0, Level::Unhealthy);
    }

    #[test]
    fn a_process_that_ends_is_named_with_its_end() {
        let process = |state: &str| {
            let last_end = Some("exited with 3".into());
            let child = ChildStatus { state: state.into(), last_end, ..ChildStatus::default() };
            NodeStatus { children: vec![child], ..node() }
        };
        let looping = "its process is in a crash loop: the process exited with 3; fix the command";
        assert_eq!(only(&process("crash-loop")), (Level::Unhealthy, looping.into()));
        assert_eq!(only(&process("waiting")).0, Level::Warning);
        assert_eq!(said(&process("running")), []);
    }

    #[test]
    fn losses_that_last_are_there_and_ended_ones_are_not() {
        let loss = |ended| LossStatus {
            cause: "kernel_drops".into(),
            count: 1234,
            unit: "datagrams".into(),
            ended,
            why: (!ended).then(|| "raise it".into()),
            ..LossStatus::default()
        };
        let text = "losing datagrams in the kernel (kernel_drops, 1,234 datagrams): raise it";
        let lossy = NodeStatus { losses: vec![loss(true), loss(false)], ..node() };
        assert_eq!(only(&lossy), (Level::Warning, text.into()));
    }

    #[test]
    fn a_spool_says_who_lags_and_that_it_fills_up() {
        let reader = ReaderStatus {
            name: "hub".into(),
            position: 0,
            lag_lines: 2000,
            lag_bytes: 0,
            lag_seconds: 42.0,
            waits_since: None,
            dropped_lines: 0,
        };
        let spool = SpoolStatus {
            durable: 2000,
            bytes: 80,
            max_size: 100,
            readers: vec![reader],
            ..SpoolStatus::default()
        };
        let texts = said(&NodeStatus { spool: Some(spool.clone()), ..node() });
        assert!(texts[0].1.starts_with("hub lags 2,000 lines, 42 s: nothing is lost"), "{texts:?}");
        let full = "the spool is 80 % full: hub lags 2,000 lines; fix what it sends to";
        assert!(texts[1].1.starts_with(full), "{texts:?}");
        let mut dropped = spool.clone();
        dropped.readers[0].dropped_lines = 1500;
        let text = "hub lags 2,000 lines, 42 s, of which 1,500 lines are dropped already: the \
                    spool was full; look at hub and at what it sends to";
        let node_of = |spool| NodeStatus { spool: Some(spool), ..node() };
        assert_eq!(only(&node_of(dropped)), (Level::Warning, text.into()));
        let kept = SpoolStatus { kept: 2000, readers: Vec::new(), ..spool };
        assert_eq!(said(&NodeStatus { spool: Some(kept), ..node() }), []);
    }

    #[test]
    fn a_selector_that_selects_nothing_is_a_note() {
        let deaf = NodeStatus {
            lines_in: 12_345,
            not_selected: 12_345,
            from: vec!["squid".into()],
            ..node()
        };
        let (level, text) = only(&deaf);
        assert_eq!(level, Level::Note);
        assert_eq!(
            text,
            "has selected none of 12,345 lines: if that is not meant, compare its selectors with \
             the lines that `logweir tap squid` shows"
        );
        assert_eq!(said(&NodeStatus { not_selected: 12_344, ..deaf }), []);
    }
}
