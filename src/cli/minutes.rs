//! Minutes of nodes as a table, for `ctl status --minutes`.

use std::fmt::Write as _;

use crate::driver::losses::zoned;
use crate::engine::minutes::{MinutesReport, NodeMinutes};
use crate::ledger::told::MinuteCounts;
use crate::printable::printable;

/// Minutes of every node.
pub(super) const OF_ALL: u32 = 5;
/// Minutes of one node.
pub(super) const OF_ONE: u32 = 60;

/// A line for each node and minute with lines.
pub(super) fn table(report: &MinutesReport) -> String {
    let longest = report.nodes.iter().map(|node| node.name.chars().count()).max().unwrap_or(0);
    let name = longest.max("NODE".len());
    let mut text = format!(
        "{:name$}  {:8} {:>12} {:>12} {:>12} {:>9} {:>9}\n",
        "NODE", "MINUTE", "IN", "OUT", "NOT SELECTED", "WAITING", "DROPPED"
    );
    for node in &report.nodes {
        add(&mut text, node, name);
    }
    text
}

fn add(text: &mut String, node: &NodeMinutes, width: usize) {
    let name = printable(&node.name);
    let rows = node
        .rows
        .iter()
        .map(|row| (zoned(row.at as f64).strftime("%H:%M").to_string(), &row.counts));
    let undated = node.undated.iter().map(|counts| ("undated".to_string(), counts));
    for (minute, counts) in rows.chain(undated) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name:width$}  {minute:8} {:>12} {:>12} {:>12} {:>9} {:>9}{}",
            counts.lines_in,
            counts.lines_out,
            counts.not_selected,
            counts.waiting(),
            counts.dropped_in_all(),
            reasons(counts)
        );
    }
}

/// The reasons of drops, those of the kernel included.
fn reasons(counts: &MinuteCounts) -> String {
    let kernel = (counts.kernel_drops > 0).then_some(("kernel_drops", counts.kernel_drops));
    let dropped = counts.dropped.iter().map(|(reason, lines)| (reason.as_str(), *lines));
    dropped.chain(kernel).map(|(reason, lines)| format!("  {reason} {lines}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::minutes::MinuteRow;

    #[test]
    fn a_minute_is_a_line_with_its_drops_by_reason() {
        let mut counts = MinuteCounts { lines_in: 10, lines_out: 5, ..MinuteCounts::default() };
        counts.dropped.insert("queue_full".into(), 3);
        counts.kernel_drops = 7;
        let row = MinuteRow { at: 600_000, counts };
        let undated = Some(MinuteCounts { lines_in: 1, lines_out: 1, ..MinuteCounts::default() });
        let name = "mobile".to_string();
        let node = NodeMinutes { name, rows: vec![row], undated, ..NodeMinutes::default() };
        let report = MinutesReport { nodes: vec![node], ..MinutesReport::default() };
        let at = zoned(600_000.0).strftime("%H:%M").to_string();
        let wanted = format!(
            "NODE    MINUTE             IN          OUT NOT SELECTED   WAITING   DROPPED\n\
             mobile  {at}              10            5            0         2         3\
             \x20 queue_full 3  kernel_drops 7\n\
             mobile  undated             1            1            0         0         0\n"
        );
        assert_eq!(table(&report), wanted);
    }
}
