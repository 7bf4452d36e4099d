//! What became of the lines of each window, node by node.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::flow::Flow;
use super::store::{Entry, NodeKey, Store};
use crate::ledger::told::MinuteCounts;

/// A window.
#[derive(Debug, Serialize)]
pub(super) struct Window {
    /// When it begins, in seconds since 1970.
    pub(super) start: i64,
    /// Its length.
    pub(super) seconds: u32,
    /// True if every host has closed it.
    pub(super) closed: bool,
    /// The nodes in the order of the flow.
    pub(super) rows: Vec<Row>,
}

/// A node in a window.
#[derive(Debug, Default, Serialize)]
pub(super) struct Row {
    pub(super) host: String,
    pub(super) node: String,
    pub(super) kind: String,
    /// Lines that were sent to it, by nodes that are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sent: Option<u64>,
    /// Lines that came in.
    pub(super) lines_in: u64,
    /// Lines that went on.
    pub(super) lines_out: u64,
    pub(super) not_selected: u64,
    /// Lines that wait in it, or in the spool before it.
    pub(super) under_way: u64,
    /// Lines dropped here, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) dropped: BTreeMap<String, u64>,
    /// Datagrams that the kernel dropped.
    pub(super) kernel_drops: u64,
    /// Lines that were sent and did not arrive, or, below zero, that came from elsewhere.
    pub(super) difference: i64,
    /// False if something is missing, or more came out than went in.
    pub(super) adds_up: bool,
    /// How often it was corrected after it had closed.
    pub(super) late: u32,
}

impl Window {
    /// Returns whether every line is accounted for.
    pub(super) fn adds_up(&self) -> bool {
        self.rows.iter().all(|row| row.adds_up)
    }

    /// Returns whether lines were dropped or are missing.
    pub(super) fn is_bad(&self) -> bool {
        let drops = |row: &Row| !row.dropped.is_empty() || row.kernel_drops > 0;
        !self.adds_up() || self.rows.iter().any(drops)
    }
}

/// All windows, oldest first.
pub(super) fn windows(store: &Store, flow: &Flow) -> Vec<Window> {
    let windows = store.windows.iter();
    windows.map(|(&(start, seconds), nodes)| window(store, flow, (start, seconds), nodes)).collect()
}

type Nodes = BTreeMap<NodeKey, Entry>;

fn window(store: &Store, flow: &Flow, (start, seconds): (i64, u32), nodes: &Nodes) -> Window {
    let end = start + i64::from(seconds);
    let hosts: BTreeSet<_> = flow.about.keys().map(|key| &key.host).collect();
    let closed = hosts.iter().all(|host| store.closed.get(*host).is_some_and(|at| *at >= end));
    let rows = flow.order.iter().filter_map(|key| row(flow, nodes, key));
    Window { start, seconds, closed, rows: rows.collect() }
}

fn counts(nodes: &Nodes, key: &NodeKey) -> MinuteCounts {
    nodes.get(key).map(Entry::counts).unwrap_or_default()
}

/// The lines that went on from a node: what a filter process printed are new lines.
fn stream(flow: &Flow, nodes: &Nodes, key: &NodeKey) -> u64 {
    let counts = counts(nodes, key);
    let is_process =
        flow.about.get(key).is_some_and(|about| about.kind == "filter") && counts.printed > 0;
    if is_process { counts.printed } else { counts.lines_out }
}

fn row(flow: &Flow, nodes: &Nodes, key: &NodeKey) -> Option<Row> {
    let about = flow.about.get(key)?;
    let upstream = flow.upstream(key);
    let is_known = |key: &&NodeKey| flow.about.contains_key(*key);
    let sources: Vec<_> = upstream.iter().filter(is_known).collect();
    let sum: u64 = sources.iter().map(|key| stream(flow, nodes, key)).sum();
    let own = counts(nodes, key);
    if own == MinuteCounts::default() && sum == 0 {
        return None;
    }
    let gone = own.lines_out + own.not_selected + own.dropped_in_all();
    let mut row = Row {
        host: key.host.clone(),
        node: key.node.clone(),
        kind: about.kind.clone(),
        sent: (!sources.is_empty()).then_some(sum),
        lines_in: own.lines_in,
        lines_out: own.lines_out,
        not_selected: own.not_selected,
        under_way: own.waiting(),
        dropped: own.dropped.clone(),
        kernel_drops: own.kernel_drops,
        difference: 0,
        adds_up: gone <= own.lines_in,
        late: nodes.get(key).map_or(0, Entry::late),
    };
    if sources.is_empty() {
        return Some(row);
    }
    let is_spool = |key: &&&NodeKey| flow.about.get(**key).is_some_and(|one| one.kind == "spool");
    if about.kind == "input" {
        row.compare_with_senders(flow, nodes, key, sum);
    } else if sources.iter().any(|key| is_spool(&key)) {
        // What the spool holds and this reader has not completed.
        row.under_way += sum.saturating_sub(own.lines_in);
        row.difference = -to_signed(own.lines_in.saturating_sub(sum));
        row.adds_up &= row.difference == 0;
    } else {
        row.difference = to_signed(sum) - to_signed(own.lines_in);
        row.adds_up &= row.difference == 0;
    }
    Some(row)
}

fn to_signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Row {
    /// Compares an input, and those that get lines of the same outputs, with what was sent. What is
    /// more may come from hosts that nothing is known of, or was sent twice.
    fn compare_with_senders(&mut self, flow: &Flow, nodes: &Nodes, key: &NodeKey, sent: u64) {
        let inputs = flow.siblings(key);
        let all = inputs.iter().map(|key| counts(nodes, key));
        let (mut arrived, mut kernel) = (0, 0);
        all.for_each(|counts| {
            arrived += counts.lines_in;
            kernel += counts.kernel_drops;
        });
        if inputs.first() != Some(key) {
            // Said at the first of them.
            self.sent = None;
            return;
        }
        let missing = to_signed(sent) - to_signed(arrived);
        // Outputs send one line in a datagram.
        self.difference = if missing > 0 { (missing - to_signed(kernel)).max(0) } else { missing };
        self.adds_up &= self.difference <= 0;
    }
}
