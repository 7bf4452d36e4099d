//! Audit lines by window and node. Memory is bounded: of too many, the oldest windows go.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::ledger::told::{AUDIT_VERSION, AuditLine, DAEMON, MinuteCounts};
use crate::limits::AUDIT_ENTRIES_MAX;

/// Where in a line an object may begin: before it may stand what a sender adds.
const OBJECTS_TRIED: usize = 4;

/// A node of a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeKey {
    pub(super) host: String,
    pub(super) node: String,
}

/// What is known of a node besides counts.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    pub(super) kind: String,
    pub(super) from: Vec<String>,
    pub(super) at: Option<String>,
}

/// What a window has of a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    /// The highest counts of each life of the daemon, by the time since when it counts.
    lives: BTreeMap<u64, (u32, MinuteCounts)>,
}

impl Entry {
    /// The counts of all lives.
    pub(super) fn counts(&self) -> MinuteCounts {
        let mut sum = MinuteCounts::default();
        self.lives.values().for_each(|(_, counts)| sum.add(counts));
        sum
    }

    /// How often the window was corrected.
    pub(super) fn late(&self) -> u32 {
        self.lives.values().fold(0, |sum, (late, _)| sum.saturating_add(*late))
    }
}

/// All lines.
#[derive(Debug, Default)]
pub(super) struct Store {
    since: Option<u64>,
    until: Option<u64>,
    /// By the beginning of the window and its length in seconds.
    pub(super) windows: BTreeMap<(i64, u32), BTreeMap<NodeKey, Entry>>,
    pub(super) nodes: BTreeMap<NodeKey, About>,
    /// The end of the last window that each host has closed.
    pub(super) closed: BTreeMap<String, i64>,
    /// Lines that wait at the sources of inputs, as each host said last.
    waiting: BTreeMap<String, (i64, BTreeMap<String, u64>)>,
    entries: usize,
    forgotten: usize,
    other_lines: u64,
    other_versions: u64,
}

impl Store {
    /// A store of windows from `since` on and before `until`, in seconds since 1970.
    pub(super) fn new(since: Option<u64>, until: Option<u64>) -> Self {
        Self { since, until, ..Self::default() }
    }

    /// Takes a line. An audit line may stand in a syslog message.
    pub(super) fn take(&mut self, line: &[u8]) {
        let parsed = memchr::memchr_iter(b'{', line).take(OBJECTS_TRIED).find_map(|start| {
            let mut values = serde_json::Deserializer::from_slice(&line[start..]).into_iter();
            values.next()?.ok()
        });
        match parsed {
            Some(line) => self.enter(line),
            None if line.trim_ascii().is_empty() => {}
            None => self.other_lines += 1,
        }
    }

    fn enter(&mut self, line: AuditLine) {
        if line.v != AUDIT_VERSION {
            self.other_versions += 1;
            return;
        }
        let Ok(window) = line.window.parse::<Timestamp>() else {
            self.other_lines += 1;
            return;
        };
        let (start, AuditLine { host, node, kind, from, at, counts, seconds, .. }) =
            (window.as_second(), line.clone());
        if kind == DAEMON {
            let end = start + i64::from(seconds);
            let waiting = self.waiting.entry(host.clone()).or_default();
            if end >= waiting.0 {
                *waiting = (end, line.waiting);
            }
            let closed = self.closed.entry(host).or_insert(end);
            *closed = end.max(*closed);
            return;
        }
        let key = NodeKey { host, node };
        self.nodes.insert(key.clone(), About { kind, from, at });
        let before = |bound: u64| start < i64::try_from(bound).unwrap_or(i64::MAX);
        if self.since.is_some_and(before) || !self.until.is_none_or(before) {
            return;
        }
        let window = self.windows.entry((start, seconds)).or_default();
        let entry = window.entry(key).or_insert_with(|| {
            self.entries += 1;
            Entry::default()
        });
        let life = entry.lives.entry(line.since).or_default();
        life.0 = life.0.max(line.late);
        // Counts only grow, and after a crash a later line may know less.
        life.1.raise(&counts);
        while self.entries > AUDIT_ENTRIES_MAX && self.windows.len() > 1 {
            let Some((_, oldest)) = self.windows.pop_first() else { break };
            self.entries -= oldest.len();
            self.forgotten += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.closed.is_empty()
    }

    /// Lines that wait at the source of an input.
    pub(super) fn waiting(&self, input: &NodeKey) -> u64 {
        let of_host = self.waiting.get(&input.host);
        of_host.and_then(|(_, inputs)| inputs.get(&input.node)).copied().unwrap_or(0)
    }

    /// What was left out.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.other_lines > 0 {
            notes.push(format!("{} lines are no audit lines", self.other_lines));
        }
        if self.other_versions > 0 {
            let count = self.other_versions;
            notes.push(format!("{count} audit lines are of another version than {AUDIT_VERSION}"));
        }
        if self.forgotten > 0 {
            let count = self.forgotten;
            notes.push(format!("the {count} oldest windows are left out; ask for less by --since"));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(window: &str, host: &str, node: &str, since: u64, late: u32, lines_in: u64) -> String {
        format!(
            "{{\"v\":1,\"window\":\"{window}\",\"seconds\":60,\"host\":\"{host}\",\
             \"node\":\"{node}\",\"kind\":\"input\",\"since\":{since},\"late\":{late},\
             \"lines_in\":{lines_in}}}\n"
        )
    }

    #[test]
    fn a_correction_replaces_what_it_corrects_and_lives_are_added() {
        let mut store = Store::default();
        let window = "2026-11-27T10:04:00Z";
        for (since, late, lines) in [(7, 1, 12), (7, 0, 10), (7, 2, 13), (9, 0, 100)] {
            let text =
                format!("<14>1 - edge - - - - {}", line(window, "a", "in", since, late, lines));
            store.take(text.as_bytes());
        }
        let entries: Vec<_> = store.windows.values().flat_map(BTreeMap::values).collect();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].counts().lines_in, entries[0].late()), (113, 2));
    }

    #[test]
    fn what_is_no_audit_line_is_counted_and_windows_outside_are_left_out() {
        let start: Timestamp = "2026-11-27T10:04:00Z".parse().unwrap();
        let start = u64::try_from(start.as_second()).unwrap();
        let mut store = Store::new(Some(start), Some(start + 60));
        for minute in 3..6 {
            let window = format!("2026-11-27T10:0{minute}:00Z");
            store.take(line(&window, "a", "in", 1, 0, 1).as_bytes());
        }
        for text in ["\n", "other\n", "{\"v\":1}\n", "{\"v\":2,\"window\":\"\"}\n", "{\"v\":\n"] {
            store.take(text.as_bytes());
        }
        assert_eq!(store.windows.len(), 1);
        assert_eq!(store.notes(), ["4 lines are no audit lines"]);
        store.take(line("2026-11-27T10:04:00Z", "a", "in", 1, 0, 1).replace("1,", "3,").as_bytes());
        assert_eq!(store.notes().len(), 2);
    }

    proptest! {
        #[test]
        fn whatever_lines_say_nothing_panics(
            counts in proptest::collection::vec(any::<u64>(), 4),
            text in "[{}\"v:,0-9a-z]{0,40}",
            seconds in any::<u32>(),
        ) {
            let mut store = Store::default();
            store.take(text.as_bytes());
            for (since, count) in counts.iter().enumerate() {
                let rest = format!("\"late\":{seconds},\"lines_in\":{count},\"lines_out\":{count}");
                for kind in ["input", "daemon"] {
                    let line = format!(
                        "{{\"v\":1,\"window\":\"9999-12-30T22:00:00Z\",\"seconds\":{seconds},\
                         \"host\":\"h\",\"node\":\"n\",\"kind\":\"{kind}\",\
                         \"since\":{since},{rest}}}"
                    );
                    store.take(line.as_bytes());
                }
            }
            let flow = super::super::flow::Flow::of(&store, &[]).unwrap();
            let windows = super::super::reckon::windows(&store, &flow);
            let sum = counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
            let rows = windows.iter().flat_map(|one| &one.rows);
            let lines: Vec<_> = rows.map(|row| row.lines_in).collect();
            prop_assert_eq!(lines, vec![sum; usize::from(sum > 0)]);
        }
    }
}
