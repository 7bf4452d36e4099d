//! The data of `top`: the newest snapshot, the one before it, and the flow of the last minute.
//! Pure: takes snapshots and returns figures; the only clock is the daemon's.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};

use crate::engine::status::{NodeStatus, Status};
use crate::engine::trouble::{self, Level, Trouble};

/// Seconds after which a node is stuck, if the daemon does not say.
const STUCK: f64 = 60.0;
/// Seconds that a sparkline covers.
pub(super) const MINUTE: f64 = 60.0;

/// The sort order of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// The order of the flow, as a tree.
    Flow,
    /// Lines per second.
    Rate,
    /// Lines dropped per second, then in total.
    Drops,
    /// The worst trouble, then drops, then the queue.
    Worst,
    /// Fill level of the queue.
    Queue,
    /// The name.
    Name,
}

/// All orders, in the sequence of the `s` key.
pub(super) const SORTS: [Sort; 6] =
    [Sort::Flow, Sort::Worst, Sort::Rate, Sort::Drops, Sort::Queue, Sort::Name];

impl Sort {
    /// Its name.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Worst => "worst",
            Self::Rate => "lines/s",
            Self::Drops => "drops",
            Self::Queue => "queue",
            Self::Name => "name",
        }
    }

    /// The next order.
    #[must_use]
    pub(super) fn next(self) -> Self {
        let at = SORTS.iter().position(|sort| *sort == self).unwrap_or(0);
        SORTS[(at + 1) % SORTS.len()]
    }
}

/// Identifies a node across snapshots: a node removed by a reload may have the same name as a
/// current one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Its name.
    pub(super) name: String,
    retired: bool,
    nth: usize,
}

/// The history of a node.
#[derive(Debug, Default)]
struct Track {
    /// The previous snapshot, and its age in seconds.
    before: Option<(NodeStatus, f64)>,
    /// What is wrong with it, worst first.
    troubles: Vec<Trouble>,
    history: VecDeque<Span>,
}

/// Lines per second that flowed between two times.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: f64,
    to: f64,
    rate: f64,
}

/// A node in the newest snapshot, with its history.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    /// Its key.
    pub(super) key: &'a Key,
    /// The newest state.
    pub(super) node: &'a NodeStatus,
    track: &'a Track,
    now: f64,
}

/// The daemon over time.
#[derive(Debug, Default)]
pub(super) struct Model {
    status: Status,
    /// The keys of the snapshot's nodes.
    keys: Vec<Key>,
    tracks: HashMap<Key, Track>,
}

impl Model {
    /// A daemon with its first snapshot.
    pub(super) fn new(status: Status) -> Self {
        let mut model = Self::default();
        model.take(status);
        model
    }

    /// Adds a snapshot. One of another daemon starts afresh.
    pub(super) fn take(&mut self, status: Status) {
        if status.pid != self.status.pid || status.uptime < self.status.uptime {
            *self = Self::default();
        }
        let (from, to) = (self.status.uptime, status.uptime);
        let known = std::mem::take(&mut self.keys).into_iter();
        let mut before: HashMap<Key, NodeStatus> =
            known.zip(std::mem::take(&mut self.status.nodes)).collect();
        let mut tracks = std::mem::take(&mut self.tracks);
        // Older daemons do not say.
        let stuck_after = if status.stuck_after > 0.0 { status.stuck_after } else { STUCK };
        for node in &status.nodes {
            let mut key = Key { name: node.name.clone(), retired: node.retired, nth: 0 };
            while self.tracks.contains_key(&key) {
                key.nth += 1;
            }
            let mut track = tracks.remove(&key).unwrap_or_default();
            track.before = before.remove(&key).map(|node| (node, to - from));
            track.remember(node, from, to);
            track.troubles = trouble::of(node, stuck_after);
            self.tracks.insert(key.clone(), track);
            self.keys.push(key);
        }
        self.status = status;
    }

    /// The newest snapshot.
    pub(super) fn status(&self) -> &Status {
        &self.status
    }

    /// The nodes of the newest snapshot, in its order.
    pub(super) fn views(&self) -> Vec<View<'_>> {
        let pairs = self.keys.iter().zip(&self.status.nodes);
        let view = |(key, node)| {
            Some(View { key, node, track: self.tracks.get(key)?, now: self.status.uptime })
        };
        pairs.filter_map(view).collect()
    }

    /// A node, if it still exists.
    pub(super) fn view(&self, key: &Key) -> Option<View<'_>> {
        self.views().into_iter().find(|view| view.key == key)
    }
}

impl Track {
    fn remember(&mut self, node: &NodeStatus, from: f64, to: f64) {
        self.history.retain(|span| span.to > to - MINUTE);
        if let Some(rate) = self.rate(node, |node| node.lines_in) {
            self.history.push_back(Span { from, to, rate });
        }
    }

    fn rate(&self, node: &NodeStatus, of: impl Fn(&NodeStatus) -> u64) -> Option<f64> {
        let (before, seconds) = self.before.as_ref()?;
        // A rebuilt node counts from zero.
        let new = of(node).saturating_sub(of(before));
        (*seconds > 0.0).then(|| new as f64 / seconds)
    }
}

impl View<'_> {
    /// What is wrong with the node, worst first.
    pub(super) fn troubles(&self) -> &[Trouble] {
        &self.track.troubles
    }

    /// How bad the worst of it is.
    pub(super) fn worst(&self) -> Option<Level> {
        self.track.troubles.first().map(|trouble| trouble.level)
    }

    /// The growth of a count per second, if there is an earlier snapshot.
    pub(super) fn rate(&self, of: impl Fn(&NodeStatus) -> u64) -> Option<f64> {
        self.track.rate(self.node, of)
    }

    /// The fill level of its queue (0 to 1), if it has one.
    pub(super) fn fill(&self) -> Option<f64> {
        let queue = self.node.queue?;
        Some(queue.used as f64 / queue.limit.max(1) as f64)
    }

    /// Lines per second in the last minute, as the means of `parts` equal parts.
    pub(super) fn last_minute(&self, parts: usize) -> Vec<f64> {
        let each = MINUTE / parts.max(1) as f64;
        let part = |part: usize| {
            let from = self.now - MINUTE + part as f64 * each;
            let in_part = |span: &Span| {
                let overlap = span.to.min(from + each) - span.from.max(from);
                span.rate * overlap.max(0.0)
            };
            self.track.history.iter().map(in_part).sum::<f64>() / each
        };
        (0..parts).map(part).collect()
    }
}

/// Returns whether lines dropped for a reason are somewhere all the same.
pub(super) fn is_harmless(reason: &str) -> bool {
    matches!(reason, "duplicate" | "repeated")
}

/// The lines a node has dropped, including kernel drops known to an input, but not those that are
/// somewhere all the same.
pub(super) fn drops(node: &NodeStatus) -> u64 {
    let dropped = node.dropped.iter().filter(|(reason, _)| !is_harmless(reason));
    dropped.map(|(_, lines)| lines).sum::<u64>() + kernel_drops(node)
}

/// The datagrams that the kernel dropped before an input.
pub(super) fn kernel_drops(node: &NodeStatus) -> u64 {
    node.input.map_or(0, |input| input.kernel_drops)
}

/// The order of two nodes.
pub(super) fn order(sort: Sort, a: &View, b: &View) -> Ordering {
    let downwards = |of: fn(&View) -> f64| of(b).total_cmp(&of(a));
    let by_drops = || downwards(|view| view.rate(drops).unwrap_or(0.0));
    let by_queue = || downwards(|view| view.fill().unwrap_or(-1.0));
    match sort {
        Sort::Flow => Ordering::Equal,
        Sort::Worst => b.worst().cmp(&a.worst()).then_with(by_drops).then_with(by_queue),
        Sort::Rate => downwards(|view| view.rate(|node| node.lines_in).unwrap_or(0.0)),
        Sort::Drops => by_drops().then_with(|| drops(b.node).cmp(&drops(a.node))),
        Sort::Queue => by_queue(),
        Sort::Name => a.node.name.cmp(&b.node.name),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{node, status};
    use super::*;
    use crate::engine::status::{InputStatus, QueueStatus};

    fn flowing(uptime: f64, lines: u64) -> Status {
        status(uptime, vec![NodeStatus { lines_in: lines, ..node("in", "input", &[]) }])
    }

    fn rate_of(model: &Model) -> Option<f64> {
        model.views()[0].rate(|node| node.lines_in)
    }

    #[test]
    fn rates_are_between_two_snapshots() {
        let mut model = Model::new(flowing(10.0, 500));
        assert_eq!(rate_of(&model), None);
        model.take(flowing(12.0, 700));
        assert_eq!(rate_of(&model), Some(100.0));
    }

    #[test]
    fn another_daemon_begins_anew() {
        let mut model = Model::new(flowing(100.0, 500));
        model.take(flowing(101.0, 700));
        model.take(flowing(1.0, 7));
        assert_eq!(rate_of(&model), None);
        assert_eq!(model.views()[0].last_minute(1), [0.0]);
        model.take(Status { pid: 2, ..flowing(2.0, 8) });
        assert_eq!(rate_of(&model), None);
    }

    #[test]
    fn the_last_minute_is_shown_in_parts_whatever_the_time_between_snapshots() {
        let mut model = Model::new(flowing(100.0, 0));
        model.take(flowing(130.0, 300));
        model.take(flowing(131.0, 400));
        let parts = model.views()[0].last_minute(60);
        assert_eq!((parts.len(), parts[28], parts[29], parts[58], parts[59]), {
            (60, 0.0, 10.0, 10.0, 100.0)
        });
        assert_eq!(model.views()[0].last_minute(2), [10.0 / 30.0, (29.0 * 10.0 + 100.0) / 30.0]);
        for second in 132..300 {
            model.take(flowing(f64::from(second), 400));
        }
        assert_eq!(model.views()[0].last_minute(3), [0.0; 3]);
        assert!(model.views()[0].track.history.len() <= 60);
    }

    #[test]
    fn a_node_that_was_replaced_and_its_successor_are_told_apart() {
        let mut model = Model::default();
        let with = |uptime, old: u64, new: u64| {
            let old = NodeStatus { lines_in: old, retired: true, ..node("x", "filter", &[]) };
            let new = NodeStatus { lines_in: new, ..node("x", "filter", &[]) };
            status(uptime, vec![old.clone(), old, new])
        };
        model.take(with(1.0, 100, 0));
        model.take(with(2.0, 101, 50));
        let rates: Vec<_> = model.views().iter().map(|v| v.rate(|n| n.lines_in)).collect();
        assert_eq!(rates, [Some(1.0), Some(1.0), Some(50.0)]);
        let key = model.views()[2].key.clone();
        assert_eq!(model.view(&key).unwrap().node.lines_in, 50);
        // The counts of a node rebuilt under the same name go back.
        model.take(with(3.0, 102, 7));
        assert_eq!(model.views()[2].rate(|node| node.lines_in), Some(0.0));
    }

    #[test]
    fn rows_are_sorted_by_what_hurts_most() {
        let queue = |used| Some(QueueStatus { used, limit: 100 });
        let kernel_drops = |kernel_drops| Some(InputStatus { kernel_drops, ..Default::default() });
        let with = |uptime, factor: u64| {
            let mut filter = node("b", "filter", &["c"]);
            filter.dropped.insert("queue_full".into(), 10);
            let nodes = vec![
                NodeStatus {
                    lines_in: 10 * factor,
                    input: kernel_drops(5 * factor),
                    ..node("c", "input", &[])
                },
                NodeStatus { lines_in: 30 * factor, queue: queue(20), ..filter },
                NodeStatus { lines_in: 20 * factor, queue: queue(90), ..node("a", "output", &[]) },
            ];
            status(uptime, nodes)
        };
        let mut model = Model::new(with(1.0, 1));
        model.take(with(2.0, 2));
        let names = |sort| {
            let mut views = model.views();
            views.sort_by(|a, b| order(sort, a, b));
            views.iter().map(|view| view.node.name.as_str()).collect::<String>()
        };
        assert_eq!(SORTS.map(names), ["cba", "cab", "bac", "cba", "abc", "abc"]);
        assert_eq!((Sort::Flow.next(), Sort::Name.next()), (Sort::Worst, Sort::Flow));
    }
}
