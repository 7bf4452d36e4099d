//! `top --since T --until T`: what every node did with the lines of some minutes, and what was lost
//! then.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::cli::control::Daemon;
use crate::cli::losses;
use crate::driver::control::Request;
use crate::driver::losses::{Record, zoned};
use crate::engine::minutes::{MinutesReport, NodeMinutes};
use crate::ledger::told::MinuteCounts;
use crate::printable::printable;

const MINUTE: u64 = 60;

/// Whole minutes, in seconds since 1970: from the first one on, before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Window {
    since: u64,
    until: u64,
}

impl Window {
    /// The minutes that have a part between two times, in seconds since 1970; none if the second is
    /// not after the first.
    pub(super) fn new(since: f64, until: f64) -> Option<Self> {
        let since = whole(since) / MINUTE * MINUTE;
        let until = whole(until.ceil()).next_multiple_of(MINUTE);
        (since < until).then_some(Self { since, until })
    }

    fn has(self, at: u64) -> bool {
        (self.since..self.until).contains(&at)
    }

    /// The minutes to ask for, back from now.
    fn back(self, now: f64) -> u32 {
        let minutes = whole(now).saturating_sub(self.since) / MINUTE + 1;
        u32::try_from(minutes).unwrap_or(u32::MAX)
    }
}

/// Whole seconds; times before 1970 are the beginning.
fn whole(seconds: f64) -> u64 {
    Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs()
}

/// A node in a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    name: String,
    kind: String,
    #[serde(flatten)]
    counts: MinuteCounts,
    /// Lines that have come to no end yet.
    queued: u64,
}

/// Everything that is known of a window.
#[derive(Debug, Serialize)]
struct Seen {
    #[serde(flatten)]
    window: Window,
    nodes: Vec<Row>,
    losses: Vec<Record>,
}

/// What the daemon knows of a window, as a table or as JSON.
///
/// # Errors
/// The daemon is not found, or its answer is invalid.
pub(super) fn show(
    daemon: &Daemon,
    window: Window,
    now: f64,
    json: bool,
) -> anyhow::Result<String> {
    let losses: Vec<Record> = serde_json::from_value(daemon.ask(Request::Losses)?)?;
    let (since, until) = (window.since as f64, window.until as f64);
    let in_window = |loss: &Record| loss.last >= since && loss.began < until;
    let losses = losses.into_iter().filter(in_window).collect();
    let minutes = window.back(now);
    let report = ask(daemon, None, minutes)?;
    let mut nodes = Vec::new();
    for node in report.nodes {
        // So many minutes of all nodes are too much for one answer.
        let whole = report.minutes >= minutes.min(report.kept);
        let named = if whole { vec![node] } else { ask(daemon, Some(node.name), minutes)?.nodes };
        nodes.extend(named.iter().map(|node| row(node, window)));
    }
    let seen = Seen { window, nodes, losses };
    Ok(if json { serde_json::to_string(&seen)? + "\n" } else { table(&seen) })
}

fn ask(daemon: &Daemon, node: Option<String>, minutes: u32) -> anyhow::Result<MinutesReport> {
    let answer = daemon.ask(Request::Minutes { node, minutes: Some(minutes) })?;
    Ok(serde_json::from_value(answer)?)
}

/// The sums of a node's minutes in the window.
fn row(node: &NodeMinutes, window: Window) -> Row {
    let mut counts = MinuteCounts::default();
    for row in node.rows.iter().filter(|row| window.has(row.at)) {
        counts.add(&row.counts);
    }
    let queued = counts.waiting();
    Row { name: node.name.clone(), kind: node.kind.clone(), counts, queued }
}

fn table(seen: &Seen) -> String {
    let time = |at: u64| zoned(at as f64).strftime("%F %H:%M").to_string();
    let Window { since, until } = seen.window;
    let longest = seen.nodes.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let width = longest.max("NODE".len());
    let mut text = format!(
        "lines first received from {} to {}\n\n{:width$} {:<6} {:>12} {:>12} {:>12} {:>12} {:>9} \
         {:>8}  NOTES\n",
        time(since),
        time(until),
        "NODE",
        "KIND",
        "LINES IN",
        "LINES OUT",
        "NOT SELECTED",
        "DROPPED",
        "QUEUED",
        "KERNEL"
    );
    for Row { name, kind, counts, queued } in &seen.nodes {
        let reasons = counts.dropped.iter().map(|(reason, lines)| format!("{reason} {lines}"));
        let is_deaf = counts.lines_in > 0 && counts.not_selected == counts.lines_in;
        let reasons = reasons.chain(is_deaf.then(|| "selected none".to_string()));
        let kernel = match kind.as_str() {
            "input" => counts.kernel_drops.to_string(),
            _ => "-".into(),
        };
        let line = format!(
            "{:width$} {kind:<6} {:>12} {:>12} {:>12} {:>12} {queued:>9} {kernel:>8}  {}",
            printable(name),
            counts.lines_in,
            counts.lines_out,
            counts.not_selected,
            counts.dropped_in_all(),
            reasons.collect::<Vec<_>>().join(", ")
        );
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.push_str(if seen.losses.is_empty() { "\nnothing was lost then\n" } else { "\n" });
    for loss in &seen.losses {
        let _ = writeln!(text, "{}", losses::line(loss));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::minutes::MinuteRow;

    #[test]
    fn a_window_is_of_whole_minutes() {
        assert_eq!(Window::new(605.0, 605.5), Some(Window { since: 600, until: 660 }));
        assert_eq!(Window::new(600.0, 660.0), Some(Window { since: 600, until: 660 }));
        assert_eq!(Window::new(600.0, 660.1), Some(Window { since: 600, until: 720 }));
        assert_eq!((Window::new(660.0, 600.0), Window::new(600.0, 600.0)), (None, None));
        let window = Window { since: 600, until: 720 };
        assert_eq!((window.back(600.0), window.back(721.0), window.back(0.0)), (1, 3, 1));
    }

    #[test]
    fn a_row_has_the_sums_of_its_minutes_and_adds_up() {
        let minute = |at, lines_in, lost| {
            let mut counts = MinuteCounts { lines_in, lines_out: 5, ..MinuteCounts::default() };
            counts.dropped.insert("queue_full".into(), lost);
            MinuteRow { at, counts }
        };
        let rows = vec![minute(540, 100, 1), minute(600, 10, 3), minute(660, 20, 4)];
        let name = "mobile".to_string();
        let node = NodeMinutes { name, kind: "filter".into(), rows, ..NodeMinutes::default() };
        let window = Window { since: 600, until: 720 };
        let row = row(&node, window);
        assert_eq!((row.counts.lines_in, row.counts.lines_out, row.queued), (30, 10, 13));
        let table = table(&Seen { window, nodes: vec![row], losses: Vec::new() });
        let last: Vec<_> = table.lines().nth(3).unwrap().split_whitespace().collect();
        let wanted = ["mobile", "filter", "30", "10", "0", "7", "13", "-", "queue_full", "7"];
        assert_eq!(last, wanted);
        assert!(table.ends_with("\nnothing was lost then\n"), "{table}");
        let counts = MinuteCounts { lines_in: 9, not_selected: 9, ..MinuteCounts::default() };
        let deaf = Row { name: "api".into(), kind: "filter".into(), counts, queued: 0 };
        let table = super::table(&Seen { window, nodes: vec![deaf], losses: Vec::new() });
        assert!(table.lines().nth(3).unwrap().ends_with("  selected none"), "{table}");
    }
}
