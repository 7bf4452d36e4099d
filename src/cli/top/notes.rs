//! Notes on a node beside its counts: the most urgent first, because space is short.

use super::model::{View, drops, is_harmless};
use super::text::{Glyphs, amount, count, duration, one_line, size};
use crate::driver::losses::zoned;
use crate::engine::losses::amount as count_of;
use crate::engine::status::{ChildStatus, NodeStatus, SpoolStatus, Status};
use crate::engine::trouble::{LAG_WORTH_A_LOOK, Level};

/// The urgency of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tone {
    /// All is well.
    Plain,
    /// It may need attention.
    Warn,
    /// Something is wrong now.
    Bad,
}

/// A short text and its urgency.
pub(super) type Note = (String, Tone);

/// The notes on a node.
pub(super) fn notes(view: &View, glyphs: &Glyphs) -> Vec<Note> {
    let node = view.node;
    let mut notes = Vec::new();
    if !node.balanced {
        notes.push(("DOES NOT BALANCE".into(), Tone::Bad));
    }
    notes.extend(node.error.iter().map(|error| (one_line(error), Tone::Bad)));
    notes.extend(children(&node.children, glyphs));
    notes.extend(node.sample.map(|n| (format!("one line in {n}"), Tone::Plain)));
    notes.extend(silent(node));
    notes.extend(node.spool.as_ref().and_then(lag));
    let waiting: u64 = node.waiting.iter().map(|part| part.lines).sum();
    if !node.waiting.is_empty() {
        let tone = if waiting > 0 { Tone::Warn } else { Tone::Plain };
        notes.push((format!("lag {}", count(waiting)), tone));
    }
    for lane in &node.lanes {
        notes.push(match (&lane.peer, &lane.error) {
            (Some(peer), _) => (format!("to {}", one_line(peer)), Tone::Plain),
            (None, Some(error)) => (format!("no peer: {}", one_line(error)), Tone::Bad),
            (None, None) => ("not connected".into(), Tone::Warn),
        });
    }
    if node.paused {
        notes.push(("paused".into(), Tone::Warn));
    }
    if node.retired {
        notes.push(("retired".into(), Tone::Plain));
    }
    for (reason, total) in reasons(node) {
        let rate = view.rate(|node| of_reason(node, reason)).unwrap_or(0.0);
        notes.push(match rate > 0.0 {
            _ if is_harmless(reason) => (format!("{reason} {}", count(total)), Tone::Plain),
            true => (format!("{reason} {} +{}/s", count(total), amount(rate)), Tone::Bad),
            false => (format!("{reason} {}", count(total)), Tone::Warn),
        });
    }
    if let Some(input) = &node.input {
        let counts = [
            ("oversize", input.oversize),
            ("malformed", input.malformed),
            ("sequence_lost", input.sequence_lost),
            ("senders_forgotten", input.senders_forgotten),
            ("refused", input.refused),
            ("deferred", input.deferred),
            ("truncated", input.truncated),
            ("unread", input.unread),
            ("overflows", input.overflows),
        ];
        let counted = counts.into_iter().filter(|(_, lines)| *lines > 0);
        notes.extend(counted.map(|(what, lines)| (format!("{what} {}", count(lines)), Tone::Warn)));
    }
    if let Some(faults) = &node.faults {
        notes.push((format!("not understood {}", count(faults.sum())), Tone::Warn));
    }
    if let Some(spool) = &node.spool {
        let lines = count(spool.lines());
        let kept = match spool.kept {
            0 => String::new(),
            kept => format!(", {} of them delivered already", count(kept)),
        };
        notes.push((format!("holds {lines} lines, {}{kept}", size(spool.bytes)), Tone::Plain));
    }
    notes
}

/// The last loss of all nodes, with the time of its last line.
pub(super) fn last_loss(status: &Status) -> Option<String> {
    let of_node = |node: &'_ NodeStatus| {
        let last = node.losses.iter().max_by(|a, b| a.last.total_cmp(&b.last))?.clone();
        Some((node.name.clone(), last))
    };
    let all = status.nodes.iter().filter_map(of_node);
    let (name, loss) = all.max_by(|(_, a), (_, b)| a.last.total_cmp(&b.last))?;
    let at = match status.started {
        0.0 => format!("{} ago", duration(status.uptime - loss.last)),
        started => zoned(started + loss.last).strftime("%H:%M:%S").to_string(),
    };
    Some(format!("{name} {} ({}) {at}", count_of(loss.count, &loss.unit), loss.cause))
}

/// The urgency of a node's drops: highest while there are new ones.
pub(super) fn tone_of_drops(view: &View) -> Tone {
    tone_of_lost(view.rate(drops), drops(view.node))
}

/// The urgency of a number of lost lines with this rate of new ones per second.
pub(super) fn tone_of_lost(rate: Option<f64>, lines: u64) -> Tone {
    match rate {
        Some(rate) if rate > 0.0 => Tone::Bad,
        _ if lines > 0 => Tone::Warn,
        _ => Tone::Plain,
    }
}

/// The reasons for which a node has dropped lines, with their counts.
pub(super) fn reasons(node: &NodeStatus) -> Vec<(&str, u64)> {
    let dropped = node.dropped.iter().map(|(reason, lines)| (reason.as_str(), *lines));
    let kernel = node.input.map(|input| ("kernel_drops", input.kernel_drops));
    dropped.chain(kernel).filter(|(_, lines)| *lines > 0).collect()
}

/// The lines a node has dropped for one of [`reasons`].
pub(super) fn of_reason(node: &NodeStatus, reason: &str) -> u64 {
    match reason {
        "kernel_drops" => node.input.map_or(0, |input| input.kernel_drops),
        _ => node.dropped.get(reason).copied().unwrap_or(0),
    }
}

/// The urgency of a trouble.
pub(super) fn tone_of_level(level: Level) -> Tone {
    match level {
        Level::Note => Tone::Plain,
        Level::Warning => Tone::Warn,
        Level::Unhealthy => Tone::Bad,
    }
}

/// The urgency of a child's state.
pub(super) fn tone_of_child(child: &ChildStatus) -> Tone {
    match child.state.as_str() {
        "running" | "ended" => Tone::Plain,
        "crash-loop" => Tone::Bad,
        _ => Tone::Warn,
    }
}

/// The process note: the pid or state of a single child, or how many of several run.
fn children(children: &[ChildStatus], glyphs: &Glyphs) -> Option<Note> {
    let worst = children.iter().max_by_key(|child| tone_of_child(child))?;
    let running = children.iter().filter(|child| child.state == "running").count();
    let mut text = match (children, worst.pid) {
        ([child], Some(pid)) if child.state == "running" => format!("pid {pid}"),
        ([child], _) => child.state.clone(),
        (all, _) if running == all.len() => format!("{running} running"),
        (all, _) => format!("{} {running}/{} run", worst.state, all.len()),
    };
    let restarts: u64 = children.iter().map(|child| child.restarts).sum();
    if restarts > 0 {
        text.push_str(&format!(" {}{}", glyphs.times, count(restarts)));
    }
    Some((text, tone_of_child(worst)))
}

/// Lines that a filter process may read and print nothing before that needs attention.
const SILENT_MIN: u64 = 20;

/// A filter process that reads and prints nothing, which has two usual causes.
fn silent(node: &NodeStatus) -> Option<Note> {
    let is_filter = node.kind == "filter" && node.printed == Some(0);
    let runs = node.children.iter().all(|child| child.state == "running");
    if !is_filter || !runs || node.lines_out == 0 {
        return None;
    }
    let tone = if node.lines_out < SILENT_MIN { Tone::Plain } else { Tone::Warn };
    let read = count(node.lines_out);
    let text = format!(
        "read {read}, printed 0: does it buffer its output? (unbuffered = true) Or nothing matches"
    );
    Some((text, tone))
}

/// The lag of the spool's slowest reader.
fn lag(spool: &SpoolStatus) -> Option<Note> {
    let last = spool.readers.iter().max_by_key(|reader| reader.lag_lines)?;
    let seconds = spool.readers.iter().map(|reader| reader.lag_seconds).fold(0.0, f64::max);
    let tone = if seconds > LAG_WORTH_A_LOOK { Tone::Warn } else { Tone::Plain };
    let held = spool.only_in_memory(last);
    let lag = format!("lag {} {}", count(last.lag_lines), duration(seconds));
    Some(match held {
        0 => (lag, tone),
        _ => (format!("{lag}; {} only in memory: a restart loses them", count(held)), Tone::Bad),
    })
}

#[cfg(test)]
mod tests {
    use super::super::model::Model;
    use super::super::samples::{node, status};
    use super::super::text::UNICODE;
    use super::*;
    use crate::engine::status::{InputStatus, LaneStatus, ReaderStatus};

    fn child(state: &str, restarts: u64) -> ChildStatus {
        let pid = (state == "running").then_some(42);
        ChildStatus { pid, state: state.into(), restarts, last_end: None, pipe: None }
    }

    /// The notes on a node that was different a second before.
    fn notes_of(before: NodeStatus, now: NodeStatus) -> Vec<Note> {
        let mut model = Model::default();
        model.take(status(1.0, vec![before]));
        model.take(status(2.0, vec![now]));
        notes(&model.views()[0], &UNICODE)
    }

    fn of(node: NodeStatus) -> Vec<Note> {
        notes_of(node.clone(), node)
    }

    #[test]
    fn a_sample_is_told_as_what_it_takes() {
        let node = NodeStatus { sample: Some(1000), ..node("x", "output", &["in"]) };
        assert_eq!(of(node), [("one line in 1000".to_owned(), Tone::Plain)]);
    }

    #[test]
    fn processes_are_described_by_pid_or_by_what_is_wrong() {
        for (children, expected) in [
            (vec![child("running", 0)], ("pid 42", Tone::Plain)),
            (vec![child("running", 3)], ("pid 42 ×3", Tone::Plain)),
            (vec![child("waiting", 1)], ("waiting ×1", Tone::Warn)),
            (vec![child("crash-loop", 1200)], ("crash-loop ×1.20k", Tone::Bad)),
            (vec![child("running", 0), child("running", 0)], ("2 running", Tone::Plain)),
            (
                vec![child("running", 0), child("crash-loop", 5)],
                ("crash-loop 1/2 run ×5", Tone::Bad),
            ),
        ] {
            let node = NodeStatus { children, ..node("x", "filter", &["in"]) };
            assert_eq!(of(node), [(expected.0.to_owned(), expected.1)]);
        }
    }

    #[test]
    fn a_process_that_reads_and_prints_nothing_is_told() {
        let silent = |lines_out, printed| NodeStatus {
            children: vec![child("running", 0)],
            lines_out,
            printed: Some(printed),
            ..node("x", "filter", &["in"])
        };
        let told = |read: &str, tone| {
            let text = format!(
                "read {read}, printed 0: does it buffer its output? (unbuffered = true) Or nothing \
                 matches"
            );
            (text, tone)
        };
        assert_eq!(of(silent(20, 0))[1..], [told("20", Tone::Warn)]);
        assert_eq!(of(silent(19, 0))[1..], [told("19", Tone::Plain)]);
        assert_eq!(of(silent(20, 1))[1..], []);
        assert_eq!(of(silent(0, 0))[1..], []);
        let output = NodeStatus { kind: "output".into(), ..silent(20, 0) };
        assert_eq!(of(output)[1..], []);
    }

    #[test]
    fn lines_that_are_somewhere_all_the_same_are_not_urgent() {
        let with = |repeated: u64| {
            let mut node = node("x", "filter", &["in"]);
            node.dropped.insert("repeated".into(), repeated);
            node
        };
        let now = with(130);
        assert_eq!(drops(&now), 0);
        assert_eq!(notes_of(with(100), now), [("repeated 130".to_owned(), Tone::Plain)]);
    }

    #[test]
    fn drops_are_described_by_reason_and_urgent_while_there_are_new_ones() {
        let with = |full: u64, kernel_drops: u64| {
            let mut node = node("x", "filter", &["in"]);
            node.dropped.insert("queue_full".into(), full);
            node.input = Some(InputStatus { kernel_drops, oversize: 2, ..Default::default() });
            node
        };
        let expected = [
            ("queue_full 130 +30/s", Tone::Bad),
            ("kernel_drops 7", Tone::Warn),
            ("oversize 2", Tone::Warn),
        ];
        assert_eq!(notes_of(with(100, 7), with(130, 7)), expected.map(|(a, b)| (a.to_owned(), b)));
    }

    #[test]
    fn what_is_most_urgent_comes_first() {
        let reader = |name: &str, lag_lines, lag_seconds| ReaderStatus {
            name: name.into(),
            position: 1,
            lag_lines,
            lag_bytes: 1,
            lag_seconds,
            waits_since: None,
            dropped_lines: 0,
        };
        let lane = |peer: Option<&str>, error: Option<&str>| LaneStatus {
            peer: peer.map(str::to_owned),
            error: error.map(str::to_owned),
            ..LaneStatus::default()
        };
        let node = NodeStatus {
            balanced: false,
            paused: true,
            retired: true,
            error: Some("No space\u{1b}[2J left".into()),
            spool: Some(SpoolStatus {
                oldest: 10,
                next: 5010,
                kept: 2000,
                bytes: 3 << 20,
                readers: vec![reader("a", 10, 90.0), reader("b", 2000, 1.0)],
                ..SpoolStatus::default()
            }),
            lanes: vec![
                lane(Some("hub1:2514"), None),
                lane(None, Some("refused")),
                lane(None, None),
            ],
            ..node("x", "spool", &["in"])
        };
        let expected = [
            ("DOES NOT BALANCE", Tone::Bad),
            ("No space [2J left", Tone::Bad),
            ("lag 2.00k 1 min; 9 only in memory: a restart loses them", Tone::Bad),
            ("to hub1:2514", Tone::Plain),
            ("no peer: refused", Tone::Bad),
            ("not connected", Tone::Warn),
            ("paused", Tone::Warn),
            ("retired", Tone::Plain),
            ("holds 5.00k lines, 3.0 MiB, 2.00k of them delivered already", Tone::Plain),
        ];
        assert_eq!(of(node), expected.map(|(a, b)| (a.to_owned(), b)));
    }
}
