//! Audit lines of what the daemon tells.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use crate::ledger::told::{AUDIT_VERSION, AuditLine, DAEMON, MinuteCounts, Told, Window};
use crate::limits::AUDIT_PIECE;
use crate::minute::Minute;

/// The lines, in pieces with their number of lines. The line of the daemon comes last: after it,
/// the window is closed.
pub(super) fn lines_of(told: &Told, host: &str) -> Vec<(Bytes, u32)> {
    let nodes = told.windows.iter().map(|window| line(told, host, window));
    let mut pieces = Vec::new();
    let (mut text, mut count) = (Vec::new(), 0);
    for line in nodes.chain([closed(told, host)]) {
        // Maps of texts and numbers can always be written.
        if serde_json::to_writer(&mut text, &line).is_err() {
            continue;
        }
        text.push(b'\n');
        count += 1;
        if text.len() >= AUDIT_PIECE {
            pieces.push((Bytes::from(std::mem::take(&mut text)), std::mem::take(&mut count)));
        }
    }
    if count > 0 {
        pieces.push((text.into(), count));
    }
    pieces
}

fn line(told: &Told, host: &str, window: &Window) -> AuditLine {
    AuditLine {
        v: AUDIT_VERSION,
        window: start(window.start),
        seconds: told.length * 60,
        host: host.to_string(),
        node: window.node.clone(),
        kind: window.kind.to_string(),
        from: window.from.clone(),
        at: window.at.clone(),
        since: told.since,
        late: window.told.into(),
        waiting: BTreeMap::new(),
        counts: window.counts.clone(),
    }
}

/// The line of the daemon itself: its last closed window.
fn closed(told: &Told, host: &str) -> AuditLine {
    let end = told.minute.before(told.minute.number() % told.length);
    AuditLine {
        v: AUDIT_VERSION,
        window: start(end.before(told.length)),
        seconds: told.length * 60,
        host: host.to_string(),
        kind: DAEMON.to_string(),
        since: told.since,
        waiting: told.waiting.clone(),
        counts: MinuteCounts::default(),
        ..AuditLine::default()
    }
}

fn start(minute: Minute) -> String {
    Timestamp::try_from(minute.start()).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_a_line_about_a_window_and_the_daemon_says_that_it_is_closed() {
        let start = Minute::from_number(29_930_184);
        let mut counts = MinuteCounts { lines_in: 5, bytes_in: 50, ..MinuteCounts::default() };
        counts.dropped.insert("queue_full".into(), 5);
        let window = Window {
            node: "hub".into(),
            kind: "output",
            from: vec!["in".into()],
            at: Some("forward relp://hub:2514".into()),
            start,
            told: 2,
            counts,
        };
        let told = Told {
            since: 7,
            minute: start.after(3),
            length: 1,
            nodes: 4,
            waiting: BTreeMap::from([("web".into(), 3)]),
            windows: vec![window],
        };
        let pieces = lines_of(&told, "edge1");
        let text = String::from_utf8(pieces[0].0.to_vec()).unwrap();
        let wanted = "{\"v\":1,\"window\":\"2026-11-27T20:24:00Z\",\"seconds\":60,\
            \"host\":\"edge1\",\"node\":\"hub\",\"kind\":\"output\",\"from\":[\"in\"],\
            \"at\":\"forward relp://hub:2514\",\"since\":7,\"late\":2,\"lines_in\":5,\
            \"bytes_in\":50,\"dropped\":{\"queue_full\":5}}\n\
            {\"v\":1,\"window\":\"2026-11-27T20:26:00Z\",\"seconds\":60,\"host\":\"edge1\",\
            \"node\":\"\",\"kind\":\"daemon\",\"since\":7,\"late\":0,\"waiting\":{\"web\":3}}\n";
        assert_eq!((text.as_str(), pieces[0].1, pieces.len()), (wanted, 2, 1));
        let back: AuditLine = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(back, line(&told, "edge1", &told.windows[0]));
    }

    #[test]
    fn many_lines_come_in_several_pieces() {
        let window = Window {
            node: "x".repeat(64),
            kind: "filter",
            from: Vec::new(),
            at: None,
            start: Minute::from_number(60),
            told: 0,
            counts: MinuteCounts::default(),
        };
        let windows = vec![window; 1000];
        let minute = Minute::from_number(61);
        let waiting = BTreeMap::new();
        let told = Told { since: 0, minute, length: 1, nodes: 1000, waiting, windows };
        let pieces = lines_of(&told, "h");
        assert!(pieces.len() > 1);
        assert_eq!(pieces.iter().map(|piece| piece.1).sum::<u32>(), 1001);
        assert!(pieces.iter().all(|(bytes, lines)| {
            crate::batch::count_lines(bytes) == *lines && bytes.len() < AUDIT_PIECE + 1024
        }));
    }
}
