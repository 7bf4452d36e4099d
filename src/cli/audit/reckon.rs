//! What became of the lines of each window, node by node.

use std::collections::BTreeMap;

use serde::Serialize;

use super::flow::Flow;
use super::store::{About, Entry, NodeKey, Store};
use crate::ledger::told::{MinuteCounts, PROCESS};

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
    /// Of the lines that did not arrive, those that arrived in the window before or after this one,
    /// or that the kernel dropped then: not every connection carries the minute.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) beside: i64,
    /// Datagrams that the kernel dropped and that none of the senders misses.
    #[serde(skip)]
    pub(super) unexplained: i64,
    /// True for an input that is compared with its senders.
    #[serde(skip)]
    pub(super) is_compared: bool,
    /// The input where its lines are compared, if it shares them with others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) with: Option<String>,
}

fn is_zero(count: &i64) -> bool {
    *count == 0
}

impl Window {
    /// Returns whether every line is accounted for.
    pub(super) fn adds_up(&self) -> bool {
        self.rows.iter().all(|row| row.adds_up)
    }

    /// Returns whether lines were dropped or are missing.
    pub(super) fn is_bad(&self) -> bool {
        !self.adds_up() || self.has_drops()
    }

    /// Returns whether lines were dropped, all of them counted.
    pub(super) fn has_drops(&self) -> bool {
        let drops = |row: &Row| !row.dropped.is_empty() || row.kernel_drops > 0;
        self.rows.iter().any(drops)
    }
}

/// All windows, oldest first.
pub(super) fn windows(store: &Store, flow: &Flow) -> Vec<Window> {
    let all = store.windows.iter();
    let windows = all.map(|(&place, nodes)| window(store, flow, place, nodes));
    let mut windows: Vec<_> = windows.collect();
    for at in 1..windows.len() {
        if let [earlier, later] = &mut windows[at - 1..=at]
            && earlier.start + i64::from(earlier.seconds) == later.start
        {
            settle(earlier, later);
        }
    }
    find_waiting(store, flow, &mut windows);
    for row in windows.iter_mut().flat_map(|window| &mut window.rows).filter(|row| row.is_compared)
    {
        row.adds_up &= row.difference <= 0;
    }
    windows
}

/// Of what is missing, what waits at the inputs' sources is under way. The lines that were sent
/// last wait there.
fn find_waiting(store: &Store, flow: &Flow, windows: &mut [Window]) {
    let mut left: BTreeMap<NodeKey, u64> = BTreeMap::new();
    let rows = windows.iter_mut().rev().flat_map(|window| &mut window.rows);
    for row in rows.filter(|row| row.is_compared && row.difference > 0) {
        let key = NodeKey { host: row.host.clone(), node: row.node.clone() };
        let inputs = flow.siblings(&key).iter();
        let waiting = || inputs.map(|input| store.waiting(input)).fold(0, u64::saturating_add);
        let left = left.entry(key).or_insert_with(waiting);
        let found = row.difference.unsigned_abs().min(*left);
        *left -= found;
        row.under_way = row.under_way.saturating_add(found);
        row.difference -= to_signed(found);
    }
}

/// What is missing in one of two windows and arrived, or was dropped by the kernel, in the other.
fn settle(earlier: &mut Window, later: &mut Window) {
    for row in earlier.rows.iter_mut().filter(|row| row.is_compared) {
        let same = |other: &&mut Row| (&other.host, &other.node) == (&row.host, &row.node);
        if let Some(other) = later.rows.iter_mut().find(same) {
            row.settle_with(other);
            other.settle_with(row);
        }
    }
}

type Nodes = BTreeMap<NodeKey, Entry>;

fn window(store: &Store, flow: &Flow, (start, seconds): (i64, u32), nodes: &Nodes) -> Window {
    let end = start + i64::from(seconds);
    let rows: Vec<_> = flow.order.iter().filter_map(|key| row(flow, nodes, key)).collect();
    let is_closed = |host| store.closed.get(host).is_some_and(|at| *at >= end);
    let closed = rows.iter().all(|row| is_closed(&row.host));
    Window { start, seconds, closed, rows }
}

fn counts(nodes: &Nodes, key: &NodeKey) -> MinuteCounts {
    nodes.get(key).map(Entry::counts).unwrap_or_default()
}

/// The lines that went on from a node: what a filter process printed are new lines.
fn stream(flow: &Flow, nodes: &Nodes, key: &NodeKey) -> u64 {
    let counts = counts(nodes, key);
    let is_process = |about: &About| about.kind == "filter" && about.at.as_deref() == Some(PROCESS);
    let is_process = flow.about.get(key).is_some_and(is_process);
    if is_process { counts.printed } else { counts.lines_out }
}

fn row(flow: &Flow, nodes: &Nodes, key: &NodeKey) -> Option<Row> {
    let about = flow.about.get(key)?;
    let upstream = flow.upstream(key);
    let is_known = |key: &&NodeKey| flow.about.contains_key(*key);
    let sources: Vec<_> = upstream.iter().filter(is_known).collect();
    let sent = sources.iter().map(|key| stream(flow, nodes, key));
    let sum = sent.fold(0, u64::saturating_add);
    let own = counts(nodes, key);
    if own == MinuteCounts::default() && sum == 0 {
        return None;
    }
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
        adds_up: own.gone() <= own.lines_in,
        late: nodes.get(key).map_or(0, Entry::late),
        ..Row::default()
    };
    if sources.is_empty() {
        return Some(row);
    }
    let is_spool = |key: &&&NodeKey| flow.about.get(**key).is_some_and(|one| one.kind == "spool");
    if about.kind == "input" {
        row.compare_with_senders(flow, nodes, key, sum);
    } else if sources.iter().any(|key| is_spool(&key)) {
        // What the spool holds and this reader has not completed.
        row.under_way = row.under_way.saturating_add(sum.saturating_sub(own.lines_in));
        row.difference = -to_signed(own.lines_in.saturating_sub(sum));
        row.adds_up &= row.difference == 0;
    } else {
        row.difference = to_signed(sum) - to_signed(own.lines_in);
        row.adds_up &= row.difference == 0;
    }
    Some(row)
}

fn to_signed(count: u64) -> i64 {
    // Half of the range, so that two of them can be compared.
    i64::try_from(count).unwrap_or(i64::MAX).min(i64::MAX / 2)
}

impl Row {
    /// Takes from another window what is missing here.
    fn settle_with(&mut self, other: &mut Self) {
        let arrived = self.difference.clamp(0, (-other.difference).max(0));
        self.difference -= arrived;
        other.difference += arrived;
        let dropped = self.difference.clamp(0, other.unexplained.max(0));
        self.difference -= dropped;
        other.unexplained -= dropped;
        self.beside += arrived + dropped;
    }

    /// Compares an input, and those that get lines of the same outputs, with what was sent. What is
    /// more may come from hosts that nothing is known of, or was sent twice.
    fn compare_with_senders(&mut self, flow: &Flow, nodes: &Nodes, key: &NodeKey, sent: u64) {
        let inputs = flow.siblings(key);
        let all = inputs.iter().map(|key| counts(nodes, key));
        let mut sum = MinuteCounts::default();
        all.for_each(|counts| sum.add(&counts));
        let (arrived, kernel) = (sum.lines_in, sum.kernel_drops);
        if inputs.first() != Some(key) {
            // Said at the first of them.
            self.sent = None;
            self.with = inputs.first().map(|first| format!("{}/{}", first.host, first.node));
            return;
        }
        let missing = to_signed(sent) - to_signed(arrived);
        // Outputs send one line in a datagram.
        let dropped = missing.clamp(0, to_signed(kernel));
        self.difference = missing - dropped;
        self.unexplained = to_signed(kernel) - dropped;
        self.is_compared = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of an edge that sends to a hub: lines sent, arrived, and dropped by the kernel.
    fn reckoned(windows: &[(u64, u64, u64)]) -> Vec<(i64, i64, bool, bool)> {
        let mut store = Store::new(None, None);
        let line = |minute: usize, host: &str, rest: &str| {
            format!(
                "{{\"v\":1,\"window\":\"2026-11-27T10:{minute:02}:00Z\",\"seconds\":60,\
                 \"host\":\"{host}\",\"since\":1,{rest}}}"
            )
        };
        for (minute, (sent, arrived, kernel)) in windows.iter().enumerate() {
            let edge = format!(
                "\"node\":\"hub\",\"kind\":\"output\",\"at\":\"udp hub:8420\",\
                 \"lines_in\":{sent},\"lines_out\":{sent}"
            );
            let hub = format!(
                "\"node\":\"in\",\"kind\":\"input\",\"at\":\"udp 0.0.0.0:8420\",\
                 \"lines_in\":{arrived},\"lines_out\":{arrived},\"kernel_drops\":{kernel}"
            );
            let daemon = "\"node\":\"\",\"kind\":\"daemon\"";
            for (host, rest) in [("edge", &*edge), ("hub", &hub), ("edge", daemon), ("hub", daemon)]
            {
                store.take(line(minute, host, rest).as_bytes());
            }
        }
        let flow = Flow::of(&store, &[]).unwrap();
        let hub = |window: &Window| {
            let row = window.rows.iter().find(|row| row.node == "in").unwrap();
            (row.difference, row.beside, window.adds_up(), window.closed)
        };
        super::windows(&store, &flow).iter().map(hub).collect()
    }

    #[test]
    fn what_did_not_arrive_is_missing_unless_the_kernel_dropped_it() {
        assert_eq!(reckoned(&[(100, 100, 0)]), [(0, 0, true, true)]);
        assert_eq!(reckoned(&[(100, 93, 0)]), [(7, 0, false, true)]);
        assert_eq!(reckoned(&[(100, 93, 7)]), [(0, 0, true, true)]);
        assert_eq!(reckoned(&[(100, 90, 7)]), [(3, 0, false, true)]);
        assert_eq!(reckoned(&[(100, 103, 0)]), [(-3, 0, true, true)]);
    }

    #[test]
    fn readers_of_a_topic_share_what_was_sent_and_what_waits_there_is_under_way() {
        let mut store = Store::new(None, None);
        let line = |minute: u32, host: &str, rest: &str| {
            format!(
                "{{\"v\":1,\"window\":\"2026-11-27T10:{minute:02}:00Z\",\"seconds\":60,\
                 \"host\":\"{host}\",\"since\":1,{rest}}}"
            )
        };
        for minute in [4, 5] {
            let hub = "\"node\":\"out\",\"kind\":\"output\",\"at\":\"kafka t on k:1\",\
                       \"lines_in\":100,\"lines_out\":100";
            store.take(line(minute, "hub", hub).as_bytes());
            for (host, lines) in [("f1", 60), ("f2", 30)] {
                let reader = format!(
                    "\"node\":\"web\",\"kind\":\"input\",\"at\":\"kafka t on k:1 in group g\",\
                     \"lines_in\":{lines},\"lines_out\":{lines}"
                );
                store.take(line(minute, host, &reader).as_bytes());
            }
            for (host, waiting) in [("hub", 0), ("f1", 8), ("f2", 7)] {
                let rest =
                    format!("\"node\":\"\",\"kind\":\"daemon\",\"waiting\":{{\"web\":{waiting}}}");
                store.take(line(minute, host, &rest).as_bytes());
            }
        }
        let flow = Flow::of(&store, &[]).unwrap();
        let windows = windows(&store, &flow);
        let row = |at: usize, host: &str| {
            let rows: &Vec<Row> = &windows[at].rows;
            rows.iter().find(|row| row.host == host && row.node == "web").unwrap()
        };
        let of = |row: &Row| (row.sent, row.lines_in, row.under_way, row.difference);
        assert_eq!(of(row(1, "f1")), (Some(100), 60, 10, 0), "the newest lines wait");
        assert_eq!(of(row(0, "f1")), (Some(100), 60, 5, 5));
        assert_eq!(of(row(0, "f2")), (None, 30, 0, 0));
        assert_eq!(row(0, "f2").with.as_deref(), Some("f1/web"));
        assert!(windows[1].adds_up() && !windows[0].adds_up());
    }

    #[test]
    fn lines_that_arrive_in_the_next_minute_are_not_missing() {
        let two = reckoned(&[(100, 90, 0), (50, 60, 0)]);
        assert_eq!(two, [(0, 10, true, true), (0, 0, true, true)]);
        let early = reckoned(&[(100, 105, 0), (50, 43, 0)]);
        assert_eq!(early, [(0, 0, true, true), (2, 5, false, true)]);
        let dropped = reckoned(&[(100, 96, 0), (50, 50, 4), (50, 49, 0)]);
        assert_eq!(dropped.iter().map(|row| row.0).collect::<Vec<_>>(), [0, 0, 1]);
    }

    /// The lines of a site: edges that send to a hub, which writes a topic that two filters share.
    /// `lost` lines less arrive at the second filter in the first window.
    fn site(windows: &[([u32; 3], u32, u32)], lost: u32) -> Store {
        let mut store = Store::new(None, None);
        let mut say =
            |minute: usize, host: &str, node: &str, (kind, at): (&str, &str), rest: &str| {
                let from = if kind == "output" { "\"from\":[\"in\"]," } else { "" };
                let at = if at.is_empty() { String::new() } else { format!("\"at\":\"{at}\",") };
                let line = format!(
                    "{{\"v\":1,\"window\":\"2026-11-27T10:{minute:02}:00Z\",\"seconds\":60,\
                 \"host\":\"{host}\",\"node\":\"{node}\",\"kind\":\"{kind}\",{from}{at}\
                 \"since\":1,{rest}}}"
                );
                store.take(line.as_bytes());
            };
        let passed = |lines: u64| format!("\"lines_in\":{lines},\"lines_out\":{lines}");
        for (minute, (edges, dropped, share)) in windows.iter().enumerate() {
            let all: u64 = edges.iter().map(|lines| u64::from(*lines)).sum();
            for (nth, lines) in edges.iter().enumerate() {
                let (host, lines) = (format!("edge{nth}"), passed((*lines).into()));
                say(minute, &host, "in", ("input", "udp 0.0.0.0:8420"), &lines);
                say(minute, &host, "hub", ("output", "forward relp://hub:2514"), &lines);
                say(minute, &host, "", ("daemon", ""), "\"late\":0");
            }
            let dropped = u64::from(*dropped).min(all);
            say(minute, "hub", "in", ("input", "relp 0.0.0.0:2514"), &passed(all));
            let rest = format!(
                "\"lines_in\":{all},\"lines_out\":{},\"dropped\":{{\"queue_full\":{dropped}}}",
                all - dropped
            );
            say(minute, "hub", "topic", ("output", "kafka web on k1:9092 k2:9092"), &rest);
            say(minute, "hub", "", ("daemon", ""), "\"late\":0");
            let first = u64::from(*share).min(all - dropped);
            let second = all - dropped - first;
            let second = if minute == 0 { second - u64::from(lost).min(second) } else { second };
            for (host, lines) in [("f1", first), ("f2", second)] {
                let at = format!("kafka web on {}:9092 in group g", ["k1", "k2"][minute % 2]);
                say(minute, host, "web", ("input", &at), &passed(lines));
                say(minute, host, "", ("daemon", ""), "\"late\":0");
            }
        }
        store
    }

    proptest::proptest! {
        #[test]
        fn a_site_adds_up_window_by_window_and_what_is_taken_away_is_missing_to_the_line(
            windows in proptest::collection::vec(
                ([0_u32..1000, 0_u32..1000, 1_u32..1000], 0_u32..500, 0_u32..1500),
                1..5,
            ),
            lost in 0_u32..400,
        ) {
            let judge = |store: &Store| {
                let flow = Flow::of(store, &[]).unwrap();
                assert!(flow.notes().is_empty(), "{:?}", flow.notes());
                let windows = super::windows(store, &flow);
                let rows = windows.iter().flat_map(|window| &window.rows);
                let missing: i64 = rows.map(|row| row.difference).sum();
                let bad: Vec<_> = windows.iter().map(|window| !window.adds_up()).collect();
                assert!(windows.iter().all(|window| window.closed));
                (missing, bad)
            };
            let (missing, bad) = judge(&site(&windows, 0));
            proptest::prop_assert_eq!((missing, bad.iter().any(|bad| *bad)), (0, false));
            let ([a, b, c], dropped, share) = windows[0];
            let second = (a + b + c).saturating_sub(dropped).saturating_sub(share);
            let taken = lost.min(second);
            let (missing, bad) = judge(&site(&windows, lost));
            proptest::prop_assert_eq!((missing, bad[0]), (i64::from(taken), taken > 0));
            proptest::prop_assert!(bad[1..].iter().all(|bad| !bad));
        }
    }
}
