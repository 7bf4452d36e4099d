//! Windows for a person.

use std::fmt::Write as _;

use super::reckon::{Row, Window};
use crate::driver::losses::zoned;
use crate::printable::printable;

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Draws windows, each with its nodes in the order of the flow.
pub(super) fn draw<'w>(
    text: &mut String,
    windows: impl Iterator<Item = &'w Window>,
    colours: bool,
) {
    let paint = |colour: &'static str| if colours { colour } else { "" };
    for window in windows {
        let start = zoned(window.start as f64).strftime("%F %H:%M").to_string();
        let verdict = match (window.closed, window.adds_up()) {
            (false, _) => "open",
            (true, true) => "adds up",
            (true, false) => "DOES NOT ADD UP",
        };
        let (bold, plain) = (paint(BOLD), paint(PLAIN));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{bold}{start} ({} s): {verdict}{plain}", window.seconds);
        let longest = window.rows.iter().map(|row| name(row).chars().count()).max().unwrap_or(0);
        let width = longest.max(4);
        let _ = writeln!(
            text,
            "  {:width$} {:>12} {:>12} {:>12} {:>12} {:>10}  DROPPED, DIFFERENCE",
            "NODE", "SENT", "ARRIVED", "OUT", "NOT SELECTED", "UNDER WAY"
        );
        for row in &window.rows {
            let colour = match (row.adds_up, row.dropped.is_empty() && row.kernel_drops == 0) {
                (false, _) => paint(RED),
                (true, false) => paint(YELLOW),
                (true, true) => "",
            };
            let end = if colour.is_empty() { "" } else { plain };
            let sent = row.sent.map_or_else(String::new, |sent| sent.to_string());
            let line = format!(
                "  {:width$} {sent:>12} {:>12} {:>12} {:>12} {:>10}  {}",
                name(row),
                row.lines_in,
                row.lines_out,
                row.not_selected,
                row.under_way,
                remarks(row)
            );
            let _ = writeln!(text, "{colour}{}{end}", line.trim_end());
        }
        text.push('\n');
    }
}

/// The last line: how many windows add up, and in how many lines were dropped all the same.
pub(super) fn summary(text: &mut String, all: usize, bad: usize, dropping: usize) {
    let windows = if all == 1 { "1 window".into() } else { format!("{all} windows") };
    let _ = match bad {
        0 => write!(text, "{windows}; every closed one adds up"),
        1 => write!(text, "{windows}; 1 does not add up"),
        _ => write!(text, "{windows}; {bad} do not add up"),
    };
    let _ = match dropping {
        0 => writeln!(text),
        _ => writeln!(text, "; lines were dropped, with their reasons, in {dropping} of them"),
    };
}

fn name(row: &Row) -> String {
    printable(&format!("{}/{}", row.host, row.node)).into_owned()
}

/// Drops by reason, and what nothing explains.
fn remarks(row: &Row) -> String {
    let mut remarks: Vec<String> = row
        .dropped
        .iter()
        .map(|(reason, lines)| format!("{} {lines}", printable(reason)))
        .collect();
    if row.kernel_drops > 0 {
        remarks.push(format!("kernel_drops {}", row.kernel_drops));
    }
    if row.lines_in > 0 && row.not_selected == row.lines_in {
        remarks.push("selected none".into());
    }
    match row.difference {
        0 => {}
        missing @ 1.. => remarks.push(format!("{missing} MISSING")),
        more => remarks.push(format!("{} more than were sent", -more)),
    }
    if row.beside > 0 {
        remarks.push(format!("{} arrived a window earlier or later", row.beside));
    }
    if !row.adds_up && row.difference == 0 {
        remarks.push("more went out than came in".into());
    }
    if let Some(first) = &row.with {
        remarks.push(format!("shares the lines of {}", printable(first)));
    }
    if row.late > 0 {
        remarks.push(format!("corrected {} times", row.late));
    }
    remarks.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_says_who_dropped_and_what_is_missing_and_has_colours_only_if_wanted() {
        let row = |node: &str, adds_up| Row {
            host: "hub".into(),
            node: node.into(),
            sent: Some(100),
            lines_in: 90,
            lines_out: 80,
            adds_up,
            ..Row::default()
        };
        let mut drops = row("api", true);
        drops.dropped.insert("queue_full".into(), 10);
        let deaf = Row { not_selected: 90, lines_out: 0, ..row("deaf", true) };
        let mut lost = row("edge", false);
        (lost.difference, lost.late) = (10, 2);
        let window =
            Window { start: 600_000, seconds: 60, closed: true, rows: vec![lost, drops, deaf] };
        let mut text = String::new();
        draw(&mut text, [&window].into_iter(), false);
        summary(&mut text, 1, 1, 1);
        let at = zoned(600_000.0).strftime("%F %H:%M").to_string();
        assert!(text.starts_with(&format!("{at} (60 s): DOES NOT ADD UP\n")), "{text}");
        let edge = "  hub/edge          100           90           80            0          0  \
                    10 MISSING, corrected 2 times\n";
        let api = "  hub/api           100           90           80            0          0  \
                   queue_full 10\n";
        assert!(text.contains(edge) && text.contains(api), "{text}");
        assert!(text.contains("            0           90          0  selected none\n"), "{text}");
        assert!(text.ends_with(
            "1 window; 1 does not add up; lines were dropped, with their reasons, in 1 of them\n"
        ) && !text.contains('\x1b'));
        let mut coloured = String::new();
        draw(&mut coloured, [&window].into_iter(), true);
        assert!(coloured.contains("\x1b[31m  hub/edge"), "{coloured}");
    }
}
