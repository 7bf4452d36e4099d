//! Windows as metrics, in the text format of Prometheus, for a collector that reads files.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::reckon::{Row, Window};

/// A metric: its name, its help, and its value for each set of labels.
type Metric<'m> = (&'static str, &'static str, BTreeMap<String, u64>);

/// The sums of all closed windows.
pub(super) fn text(windows: &[Window]) -> String {
    let closed: Vec<_> = windows.iter().filter(|window| window.closed).collect();
    let bad = closed.iter().filter(|window| !window.adds_up()).count();
    let newest = closed.iter().map(|window| window.start + i64::from(window.seconds)).max();
    let alone = |value: usize| BTreeMap::from([(String::new(), value as u64)]);
    let rows = || closed.iter().flat_map(|window| &window.rows);
    let dropped = rows().flat_map(|row| {
        let kernel = (row.kernel_drops > 0).then_some(("kernel_drops", row.kernel_drops));
        let reasons = row.dropped.iter().map(|(reason, lines)| (reason.as_str(), *lines));
        reasons.chain(kernel).map(|(reason, lines)| (labels(row, Some(reason)), lines))
    });
    let compared = || rows().filter(|row| row.is_compared || row.difference > 0);
    let missing = compared().map(|row| (labels(row, None), row.difference.max(0).unsigned_abs()));
    let under_way = rows().map(|row| (labels(row, None), row.under_way));
    let metrics: [Metric<'_>; 6] = [
        ("windows", "Closed windows", alone(closed.len())),
        ("bad_windows", "Closed windows that do not add up", alone(bad)),
        (
            "newest_timestamp_seconds",
            "When the newest closed window ended",
            BTreeMap::from([(String::new(), newest.unwrap_or(0).max(0).unsigned_abs())]),
        ),
        ("missing_lines", "Lines that were sent and did not arrive", sums(missing)),
        ("dropped_lines", "Lines and datagrams that were dropped", sums(dropped)),
        ("under_way_lines", "Lines that wait in a node or before it", sums(under_way)),
    ];
    let mut text = String::new();
    for (name, help, values) in metrics {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP logweir_audit_{name} {help}");
        let _ = writeln!(text, "# TYPE logweir_audit_{name} gauge");
        for (labels, value) in values {
            let _ = writeln!(text, "logweir_audit_{name}{labels} {value}");
        }
    }
    text
}

fn sums(values: impl Iterator<Item = (String, u64)>) -> BTreeMap<String, u64> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for (labels, value) in values {
        let sum = sums.entry(labels).or_default();
        *sum = sum.saturating_add(value);
    }
    sums
}

fn labels(row: &Row, reason: Option<&str>) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let reason = reason.map(|reason| format!(",reason=\"{}\"", quoted(reason)));
    let (host, node) = (quoted(&row.host), quoted(&row.node));
    format!("{{host=\"{host}\",node=\"{node}\"{}}}", reason.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_windows_are_summed_and_open_ones_are_not() {
        let window = |start, closed, missing| {
            let input = Row {
                host: "h\"1".into(),
                node: "in".into(),
                difference: missing,
                is_compared: true,
                adds_up: missing <= 0,
                kernel_drops: 2,
                ..Row::default()
            };
            let mut output =
                Row { node: "out".into(), under_way: 3, adds_up: true, ..Row::default() };
            output.dropped.insert("rate".into(), 5);
            Window { start, seconds: 60, closed, rows: vec![input, output] }
        };
        let said = text(&[window(60, true, 7), window(120, true, -1), window(180, false, 9)]);
        for line in [
            "# TYPE logweir_audit_missing_lines gauge",
            "logweir_audit_windows 2",
            "logweir_audit_bad_windows 1",
            "logweir_audit_newest_timestamp_seconds 180",
            "logweir_audit_missing_lines{host=\"h\\\"1\",node=\"in\"} 7",
            "logweir_audit_dropped_lines{host=\"h\\\"1\",node=\"in\",reason=\"kernel_drops\"} 4",
            "logweir_audit_dropped_lines{host=\"\",node=\"out\",reason=\"rate\"} 10",
            "logweir_audit_under_way_lines{host=\"\",node=\"out\"} 6",
        ] {
            assert!(said.lines().any(|one| one == line), "{line}\n{said}");
        }
    }
}
