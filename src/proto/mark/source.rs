//! Making marks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::host;
use crate::ingress::Source;
use crate::ingress::inbox::Inlet;
use crate::input::InputCounts;
use crate::proto::shared::record::{Header, Heads, Lines, Time};

/// The longest line: host, app and the mark.
const LINE_MAX: usize = 512;
/// syslog.info, as rsyslog's immark has it.
const PRI: u8 = 5 * 8 + 6;

/// The source, not started yet.
pub(super) struct Marks {
    /// The time from one mark to the next.
    pub(super) every: Duration,
}

impl Source for Marks {
    fn run(self: Box<Self>, inlet: Inlet) {
        let mut next = Instant::now() + self.every;
        loop {
            inlet.rest(next.saturating_duration_since(Instant::now()));
            if inlet.rang_for_end() {
                return;
            }
            let now = Instant::now();
            if now < next {
                continue;
            }
            // After a long stop of the machine one mark is enough.
            next = (next + self.every).max(now);
            let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let time = (i64::try_from(time.as_secs()).unwrap_or(0), time.subsec_nanos());
            let mut lines = mark(time, host::name().as_bytes());
            for piece in lines.take() {
                inlet.send(Some(inlet.batch(piece)), InputCounts::default());
            }
        }
    }
}

/// One mark.
fn mark(time: Time, host: &[u8]) -> Lines {
    let header = Header { pri: PRI, time: Some(time), host, app: b"logweir", procid: b"" };
    let mut head = Vec::new();
    Heads::default().header(&header, &mut head);
    head.extend_from_slice(b"- -- MARK --");
    let mut lines = Lines::new(LINE_MAX);
    lines.push(&head);
    lines.end(0);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_message_of_logweir_itself() {
        let mut lines = mark((1_767_225_600, 0), b"web1");
        let piece = lines.take().next().unwrap();
        let want = "<46>1 2026-01-01T00:00:00.000000Z web1 logweir - - - -- MARK --\n";
        assert_eq!((String::from_utf8_lossy(&piece.bytes).as_ref(), piece.lines), (want, 1));
    }
}
