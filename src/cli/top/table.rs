//! The table of `top --once` and `ctl status`: for a pipe, a mail or a ticket.

use std::fmt::Write;

use super::model::{Model, Sort};
use super::notes::{last_loss, notes};
use super::rows::rows;
use super::text::{Glyphs, amount, duration, one_line, percent};
use crate::engine::status::Status;

/// The nodes in flow order, one per line, whose counts add up: in = out + not selected + dropped +
/// queued. Rates are means since the daemon's start.
pub(super) fn table(status: Status, glyphs: &Glyphs) -> String {
    let model = Model::new(status);
    let status = model.status();
    let rows = rows(&model, Sort::Flow, "", false, glyphs);
    let labels: Vec<_> = rows.iter().map(|row| row.label(usize::MAX, glyphs)).collect();
    let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).max(20);
    let log = status.log.map_or_else(String::new, |level| format!("  log {}", level.word()));
    let mut text = format!(
        "logweir {}  pid {}  up {}{log}\n{}\n{:<width$} {:<6} {:>12} {:>12} {:>12} {:>12} {:>9} \
         {:>8} {:>7} {:>7} {:>5}  NOTES\n",
        status.version,
        status.pid,
        duration(status.uptime),
        last_loss(status).map_or_else(String::new, |loss| format!("last loss: {loss}\n")),
        "NODE",
        "KIND",
        "LINES IN",
        "LINES OUT",
        "NOT SELECTED",
        "DROPPED",
        "QUEUED",
        "KERNEL",
        "LINES/S",
        "BYTES/S",
        "QUEUE",
    );
    let mean = |count: u64| amount(count as f64 / status.uptime.max(0.001));
    for (row, label) in rows.iter().zip(&labels) {
        let (view, node) = (&row.view, row.view.node);
        let notes: Vec<_> = notes(view, glyphs).into_iter().map(|(note, _)| note).collect();
        let kernel = node.input.filter(|_| node.kind == "input");
        let kernel = kernel.map_or_else(|| "-".into(), |input| input.kernel_drops.to_string());
        let line = format!(
            "{:<width$} {:<6} {:>12} {:>12} {:>12} {:>12} {:>9} {:>8} {:>7} {:>7} {:>5}  {}",
            label,
            node.kind,
            node.lines_in,
            node.lines_out,
            node.not_selected,
            node.dropped.values().sum::<u64>(),
            node.queued,
            kernel,
            mean(node.lines_in),
            mean(node.bytes_in),
            view.fill().map_or_else(|| "-".into(), percent),
            notes.join(", "),
        );
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for view in model.views() {
        for trouble in view.troubles() {
            let (word, name) = (trouble.level.word(), &view.node.name);
            let _ = writeln!(text, "{word}: {name}: {}", one_line(&trouble.sentence()));
        }
    }
    if let Some(gone) = &status.gone {
        let (nodes, lost) = (gone.nodes, gone.lost());
        let _ = writeln!(text, "{nodes} nodes that reloads have removed had lost {lost}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::samples::{node, status};
    use super::super::text::UNICODE;
    use super::*;
    use crate::engine::status::{InputStatus, NodeStatus, QueueStatus};
    use crate::logger::Verbosity;

    #[test]
    fn a_line_for_each_node() {
        let input = Some(InputStatus { kernel_drops: 2, ..InputStatus::default() });
        let mut all = node("all", "output", &["net"]);
        all.dropped.insert("queue_full".into(), 20);
        let queue = Some(QueueStatus { used: 30, limit: 60 });
        let all = NodeStatus { lines_in: 100, lines_out: 70, queued: 10, queue, ..all };
        let net =
            NodeStatus { lines_in: 100, bytes_in: 20_000, input, ..node("net", "input", &[]) };
        let status = Status { log: Some(Verbosity::Debug), ..status(120.0, vec![net, all]) };
        let table = table(status, &UNICODE);
        let lines: Vec<Vec<_>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        let expected = [
            "logweir 0.1.0 pid 1 up 2 min log debug",
            "",
            "NODE KIND LINES IN LINES OUT NOT SELECTED DROPPED QUEUED KERNEL LINES/S BYTES/S \
             QUEUE NOTES",
            "net input 100 0 0 0 0 2 0.8 167 - kernel_drops 2",
            "└─ all output 100 70 0 20 10 - 0.8 0 50% queue_full 20",
        ];
        assert_eq!(lines, expected.map(|line| line.split_whitespace().collect::<Vec<_>>()));
    }
}
