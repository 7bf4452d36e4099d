//! The Fluent forward protocol: the same lines and answers wherever the stream is split, none
//! answered before it is on disk, lines within their bound, and no more held than may be.

use logweir::batch::count_lines;
use logweir::ingress::server::{Session as _, State};
use logweir::input::{Gather, InputCounts, Pieces};
use logweir::limits::RECORDS_MESSAGE_MAX;
use logweir::proto::fluent::session::{Chunks, Session};
use logweir::proto::shared::record::As;
use logweir::sources::Source;

use crate::parameters::Parameters;

/// Texts that Docker has split may be held beside a message, at most so many.
const TEXTS: usize = 16;

#[derive(Debug, Default, PartialEq, Eq)]
struct Served {
    lines: Vec<u8>,
    answers: Vec<u8>,
    counts: InputCounts,
    failed: bool,
}

fn served(pieces: &[&[u8]], form: As, max_line: usize) -> Served {
    let client = Source::Process { pid: 1, uid: 1 };
    let mut session = Session::new((client, false), form, max_line, Chunks::default());
    let (mut served, mut gather) = (Served::default(), Pieces::default());
    for (barrier, piece) in (1..).zip(pieces) {
        served.failed = session.push(piece, &mut gather).is_err();
        take(&mut gather, max_line, &mut served.lines);
        // A head may be as long as half a line and what a header has.
        let texts = TEXTS * (2 * max_line + 1024);
        assert!(session.held() <= RECORDS_MESSAGE_MAX + texts + piece.len() * 2);
        assert!(session.out().is_empty(), "answered before it was on disk");
        if session.wants_barrier() {
            session.sent(barrier);
            session.completed(barrier);
        }
        served.answers.append(session.out());
        assert_eq!(session.state() == State::Over, served.failed);
        if served.failed {
            break;
        }
    }
    session.finish(&mut gather);
    take(&mut gather, max_line, &mut served.lines);
    served.counts = *gather.counts();
    served
}

fn take(gather: &mut Pieces, max_line: usize, lines: &mut Vec<u8>) {
    for piece in gather.full() {
        assert!(piece.lines > 0);
        assert_eq!(count_lines(&piece.bytes), piece.lines);
        assert_eq!(piece.bytes.last(), Some(&b'\n'));
        for line in piece.bytes.split(|byte| *byte == b'\n') {
            assert!(line.len() <= max_line, "{} bytes", line.len());
        }
        lines.extend_from_slice(&piece.bytes);
    }
}

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    let max_line = parameters.number(64, 2000);
    let form = match parameters.byte() % 3 {
        0 => As::Message,
        1 => As::Line,
        _ => As::Json,
    };
    let splits = parameters.splits();
    let stream = parameters.0;
    let whole = served(&[stream], form, max_line);
    // The first bytes of a client that speaks something else are looked at as they come.
    if stream.starts_with(&[0x16]) {
        return;
    }
    for pieces in splits {
        assert_eq!(served(&pieces, form, max_line), whole);
    }
}
