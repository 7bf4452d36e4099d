//! The last day of every node by the minute: for observers, for audit lines, and over a restart.
//!
//! Counting is the ledger's ([`crate::ledger::minutes`]). A node that a reload replaces leaves its
//! minutes to its successor; those of a node that is gone are kept until they are a day old.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dates::Dates;
use super::graph::{Body, Node};
use super::{Engine, shape};
use crate::config::plan::Kind;
use crate::ledger::minutes::{Minutes, Row};
use crate::ledger::told::{MinuteCounts, Window};
use crate::limits::{
    MINUTES_ANSWER, MINUTES_DEFAULT, MINUTES_DEPARTED, MINUTES_KEPT, MINUTES_ROWS, MINUTES_ROWS_MIN,
};
use crate::minute::Minute;

/// A minute of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinuteRow {
    /// When it began, in seconds since 1970.
    pub at: u64,
    /// What was counted of its lines.
    #[serde(flatten)]
    pub counts: MinuteCounts,
}

/// The minutes of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMinutes {
    /// The node's name.
    pub name: String,
    /// `input`, `filter`, `spool` or `output`.
    pub kind: String,
    /// The nodes it reads from; none if it is gone.
    pub from: Vec<String>,
    /// The minutes that have lines, oldest first.
    pub rows: Vec<MinuteRow>,
    /// Lines of minutes that are not kept: older, of the future, or not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub undated: Option<MinuteCounts>,
}

/// The minutes of some nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MinutesReport {
    /// The version of this format, 1.
    pub v: u32,
    /// When it was made, in seconds since 1970.
    pub now: f64,
    /// The length of a window in seconds.
    pub window: u32,
    /// The minutes told, back from now.
    pub minutes: u32,
    /// The minutes that each node keeps at most.
    pub kept: u32,
    /// The nodes, those that are gone last.
    pub nodes: Vec<NodeMinutes>,
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct MinutesQuery {
    /// One node; else all.
    pub node: Option<String>,
    /// Minutes back from now; else a day of one node, or an hour of all.
    pub minutes: Option<u32>,
}

/// A minute of a node, as it outlives a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The node's name.
    pub node: String,
    /// Its kind.
    pub kind: String,
    /// How often the minute was told in audit lines.
    #[serde(default, skip_serializing_if = "is_untold")]
    pub told: u16,
    /// True if it has changed since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untold: bool,
    /// The minute.
    #[serde(flatten)]
    pub row: MinuteRow,
}

/// The minutes of a spool's lines, as they outlive a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptDates {
    /// The spool's node.
    pub spool: String,
    /// Its identity.
    pub identity: String,
    /// The first lines of runs of one minute, each with that minute's number.
    pub runs: Vec<(u64, u32)>,
    /// The line after the last run.
    pub end: u64,
}

/// Minutes of a node that is gone.
#[derive(Debug)]
pub(super) struct Departed {
    name: String,
    kind: Kind,
    minutes: Minutes,
}

fn is_untold(told: &u16) -> bool {
    *told == 0
}

impl Engine {
    /// The minutes of some nodes, at this minute.
    pub fn minutes(&self, query: &MinutesQuery, now: Minute) -> MinutesReport {
        let is_wanted = |name: &str| query.node.as_deref().is_none_or(|wanted| wanted == name);
        let all = self.all_minutes();
        let wanted: Vec<_> = all.into_iter().filter(|(name, ..)| is_wanted(name)).collect();
        let default = if query.node.is_some() { MINUTES_KEPT } else { MINUTES_DEFAULT };
        let each = u32::try_from(MINUTES_ANSWER / wanted.len().max(1)).unwrap_or(MINUTES_KEPT);
        let most = each.clamp(1, MINUTES_KEPT);
        let minutes = query.minutes.unwrap_or(default).clamp(1, most);
        let kept = u32::try_from(self.minutes_limit()).unwrap_or(MINUTES_KEPT);
        let mut nodes: Vec<NodeMinutes> = Vec::new();
        for (name, kind, node, own) in wanted {
            let kind = kind.word();
            match nodes.iter_mut().find(|other| other.name == name && other.kind == kind) {
                Some(same) => same.add(own, now, minutes),
                None => {
                    let from = node.map_or_else(Vec::new, |node| node.plan.from.clone());
                    let (name, kind) = (name.to_string(), kind.to_string());
                    let mut told = NodeMinutes { name, kind, from, ..NodeMinutes::default() };
                    told.add(own, now, minutes);
                    nodes.push(told);
                }
            }
        }
        MinutesReport { v: 1, now: 0.0, window: 60, minutes, kept, nodes }
    }

    /// All minutes: those of the nodes in the plan, then of those that drain, then of those that
    /// are gone.
    fn all_minutes(&self) -> Vec<(&str, Kind, Option<&Node>, &Minutes)> {
        let (live, retired): (Vec<_>, Vec<_>) =
            self.graph.iter().map(|(_, node)| node).partition(|node| node.retired.is_none());
        let of_node = |node| {
            let Node { name, plan, ledger, .. }: &Node = node;
            (&**name, plan.body.kind(), Some(node), &ledger.minutes)
        };
        let gone = self.departed.iter().map(|one| (&*one.name, one.kind, None, &one.minutes));
        live.into_iter().chain(retired).map(of_node).chain(gone).collect()
    }

    /// The windows of `length` minutes that ended before `now`, and that have changed since they
    /// were told. They count as told.
    pub fn take_windows(&mut self, length: u32, now: Minute) -> Vec<Window> {
        let start_of = |minute: Minute| minute.before(minute.number() % length);
        let is_closed = |row: &Row| start_of(row.minute).after(length) <= now;
        let mut windows: BTreeMap<(Minute, &str, &str), Window> = BTreeMap::new();
        let all = self.all_minutes();
        for &(name, kind, node, minutes) in &all {
            for row in minutes.rows().filter(|row| row.untold && is_closed(row)) {
                let start = start_of(row.minute);
                windows.entry((start, name, kind.word())).or_insert_with(|| Window {
                    node: name.to_string(),
                    kind: kind.word(),
                    from: node.map_or_else(Vec::new, |node| node.plan.from.clone()),
                    at: node.and_then(|node| shape::place(&node.plan.body)),
                    start,
                    told: 0,
                    counts: MinuteCounts::default(),
                });
            }
        }
        // Of a window that has changed, all minutes are told again, those of nodes of the same name
        // together.
        for &(name, kind, _, minutes) in &all {
            for row in minutes.rows() {
                let key = (start_of(row.minute), name, kind.word());
                if let Some(window) = windows.get_mut(&key) {
                    window.counts.add(&MinuteCounts::from(&row.counts));
                    window.told = window.told.max(row.told);
                }
            }
        }
        let windows = windows.into_values().collect();
        for minutes in self.all_minutes_mut() {
            for row in minutes.rows_mut().filter(|row| row.untold && is_closed(row)) {
                row.untold = false;
                row.unsaved = true;
                row.told = row.told.saturating_add(1);
            }
        }
        windows
    }

    /// Lines that wait at the sources of inputs, of those that know.
    pub fn waiting_at_sources(&self) -> BTreeMap<String, u64> {
        let live = self.graph.iter().map(|(_, node)| node).filter(|node| node.retired.is_none());
        let knows = live.filter(|node| !node.waiting.is_empty());
        let sum = |node: &Node| node.waiting.iter().map(|(_, lines)| *lines).sum();
        knows.map(|node| (node.name.to_string(), sum(node))).collect()
    }

    fn all_minutes_mut(&mut self) -> impl Iterator<Item = &mut Minutes> {
        let nodes = self.graph.iter_mut().map(|(_, node)| &mut node.ledger.minutes);
        nodes.chain(self.departed.iter_mut().map(|one| &mut one.minutes))
    }

    // ---- over a restart

    /// The minutes that have changed since they were last taken here, to be kept over a restart.
    pub fn take_unsaved(&mut self) -> Vec<Kept> {
        let mut kept = Vec::new();
        let nodes = self.graph.iter_mut().map(|(_, node)| {
            let Node { name, plan, ledger, .. } = node;
            (name.to_string(), plan.body.kind(), &mut ledger.minutes)
        });
        let gone =
            self.departed.iter_mut().map(|one| (one.name.clone(), one.kind, &mut one.minutes));
        for (name, kind, minutes) in nodes.chain(gone) {
            for row in minutes.rows_mut().filter(|row| row.unsaved) {
                row.unsaved = false;
                let counts = MinuteCounts::from(&row.counts);
                let (told, untold) = (row.told, row.untold);
                let (node, kind) = (name.clone(), kind.word().to_string());
                let row = MinuteRow { at: row.minute.seconds(), counts };
                kept.push(Kept { node, kind, told, untold, row });
            }
        }
        kept
    }

    /// The minutes of the lines in all spools.
    pub fn spool_dates(&self) -> Vec<KeptDates> {
        let spools = self.graph.iter().filter_map(|(_, node)| match &node.body {
            Body::Spool(spool) if node.retired.is_none() => Some((node, spool)),
            _ => None,
        });
        let kept = spools.map(|(node, spool)| {
            let (runs, end) = spool.dates.parts();
            let (spool, identity) = (node.name.to_string(), spool.identity.to_string());
            KeptDates { spool, identity, runs, end }
        });
        kept.filter(|kept| !kept.runs.is_empty()).collect()
    }

    /// Goes on with what an earlier process counted. Called before the first line.
    pub fn restore_minutes(&mut self, kept: &[Kept], dates: &[KeptDates]) {
        // A file can hold anything; no node ever counted that much.
        let is_sound =
            |kept: &&Kept| kept.row.counts.lines_in.max(kept.row.counts.bytes_in) < 1 << 60;
        for kept in kept.iter().filter(is_sound) {
            let minute =
                Minute::of(std::time::UNIX_EPOCH + std::time::Duration::from_secs(kept.row.at));
            let Kept { told, untold, .. } = *kept;
            let row =
                Row { minute, told, untold, unsaved: false, counts: (&kept.row.counts).into() };
            let node = self.graph.find(&kept.node).and_then(|id| self.graph.get_mut(id));
            match node.filter(|node| node.plan.body.kind().word() == kept.kind) {
                Some(node) => node.ledger.minutes.take_in(&row),
                None => self.departed_of(&kept.node, &kept.kind).take_in(&row),
            }
        }
        for kept in dates {
            let Some(id) = self.graph.find(&kept.spool) else { continue };
            let Some(spool) = self.graph.spool_mut(id) else { continue };
            if spool.identity.to_string() == kept.identity {
                spool.dates = Dates::restored(&kept.runs, kept.end, spool.held.durable);
            }
        }
        self.share_rows();
    }

    /// The minutes of a node that is gone.
    fn departed_of(&mut self, name: &str, kind: &str) -> &mut Minutes {
        let found =
            self.departed.iter().position(|one| one.name == name && one.kind.word() == kind);
        let at = found.unwrap_or_else(|| {
            if self.departed.len() >= MINUTES_DEPARTED {
                self.departed.remove(0);
            }
            let kinds = [Kind::Input, Kind::Filter, Kind::Spool, Kind::Output];
            let kind = kinds.into_iter().find(|one| one.word() == kind).unwrap_or(Kind::Output);
            let (name, minutes) = (name.to_string(), Minutes::default());
            self.departed.push(Departed { name, kind, minutes });
            self.departed.len() - 1
        });
        &mut self.departed[at].minutes
    }

    /// A node is gone: its successor, or the list of those that are gone, keeps its minutes.
    pub(super) fn keep_minutes_of(&mut self, node: &Node) {
        let own = &node.ledger.minutes;
        if own.is_empty() {
            return;
        }
        match self.graph.successor_of(node) {
            Some(id) => self.graph.node_mut(id).ledger.minutes.take_in_all(own),
            None => self.departed_of(&node.name, node.plan.body.kind().word()).take_in_all(own),
        }
    }

    /// A node was added: it goes on with the minutes of one of its name that is gone.
    pub(super) fn take_up_minutes(&mut self, id: crate::ids::NodeId) {
        let node = self.graph.node_mut(id);
        let (name, kind) = (&*node.name, node.plan.body.kind());
        let found = self.departed.iter().position(|one| one.name == name && one.kind == kind);
        if let Some(at) = found {
            node.ledger.minutes.take_in_all(&self.departed.remove(at).minutes);
        }
    }

    /// The most rows of each node.
    fn minutes_limit(&self) -> usize {
        let nodes = self.graph.iter().count() + self.departed.len();
        (MINUTES_ROWS / nodes.max(1)).clamp(MINUTES_ROWS_MIN, MINUTES_KEPT as usize)
    }

    /// Shares the rows out among all nodes.
    pub(super) fn share_rows(&mut self) {
        let limit = self.minutes_limit();
        self.all_minutes_mut().for_each(|minutes| minutes.set_limit(limit));
    }
}

impl NodeMinutes {
    /// Adds the last minutes of a node.
    fn add(&mut self, minutes: &Minutes, now: Minute, most: u32) {
        for row in minutes.rows().filter(|row| row.minute > now.before(most)) {
            let at = row.minute.seconds();
            let counts = MinuteCounts::from(&row.counts);
            match self.rows.binary_search_by_key(&at, |row| row.at) {
                Ok(place) => self.rows[place].counts.add(&counts),
                Err(place) => self.rows.insert(place, MinuteRow { at, counts }),
            }
        }
        let other = MinuteCounts::from(minutes.other());
        if other != MinuteCounts::default() {
            self.undated.get_or_insert_default().add(&other);
        }
    }
}

#[cfg(test)]
impl Engine {
    /// Lines that entered a node, by the number of the minute.
    pub(crate) fn lines_by_minute(&self, node: &str) -> Vec<(u32, u64)> {
        let node = self.graph.node(self.graph.find(node).unwrap());
        let rows = node.ledger.minutes.rows();
        rows.map(|row| (row.minute.number(), row.counts.entered.lines)).collect()
    }

    /// Checks that the minutes of every node are all that its ledger counted, and that each minute
    /// balances.
    pub(crate) fn check_minutes(&self) {
        for (id, node) in self.graph.iter() {
            let (ledger, minutes) = (&node.ledger, &node.ledger.minutes);
            let mut queued = std::collections::HashMap::new();
            if !self.consumers.reads_from_spool(id) {
                let queues = node.lanes().iter().map(|lane| lane.queue.tally());
                let spool = match &node.body {
                    Body::Spool(spool) => Some(spool.queue.tally()),
                    _ => None,
                };
                let repeats = node.squeezer.as_ref().map(|squeezer| squeezer.tally());
                for (minute, count) in queues
                    .chain(spool)
                    .chain(repeats)
                    .flat_map(|tally| tally.iter().collect::<Vec<_>>())
                {
                    let sum: &mut crate::ledger::Count = queued.entry(minute).or_default();
                    sum.add(count.lines, count.bytes);
                }
            }
            let mut all = minutes.other().clone();
            for row in minutes.rows() {
                let waiting = queued.get(&row.minute).copied().unwrap_or_default();
                assert_eq!(row.counts.waiting(), waiting, "{}: {row:?}", node.name);
                all.add(&row.counts);
            }
            if !minutes.is_adopted() {
                let sums = (all.entered, all.left, all.not_selected, all.dropped_in_all());
                let (entered, left) = (ledger.entered, ledger.left);
                let counted = (entered, left, ledger.not_selected, ledger.dropped_in_all());
                assert_eq!(sums, counted, "{}", node.name);
            }
        }
    }
}
