//! Sessions whose clients send many records in a message: the same lines and answers wherever the
//! stream is split, lines within their bound, and no more held than may be.

use logweir::batch::count_lines;
use logweir::ingress::server::{Session, State};
use logweir::input::{Gather, InputCounts, Pieces};
use logweir::proto::shared::record::As;

use crate::parameters::Parameters;

#[derive(Debug, Default, PartialEq, Eq)]
struct Served {
    lines: Vec<u8>,
    answers: Vec<u8>,
    counts: InputCounts,
    failed: bool,
}

/// What a session makes of pieces; `check` looks at it after each, with the piece's length.
fn served<S: Session<Gather = Pieces>>(
    mut session: S,
    pieces: &[&[u8]],
    max_line: usize,
    check: impl Fn(&mut S, usize),
) -> Served {
    let (mut served, mut gather) = (Served::default(), Pieces::default());
    for (barrier, piece) in (1..).zip(pieces) {
        served.failed = session.push(piece, &mut gather).is_err();
        take(&mut gather, max_line, &mut served.lines);
        check(&mut session, piece.len());
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

/// Serves the stream in `data` whole and in pieces, with sessions for a form and a longest line.
pub fn check<S: Session<Gather = Pieces>>(
    data: &[u8],
    session: impl Fn(As, usize) -> S,
    after: impl Fn(&mut S, usize, usize),
) {
    let mut parameters = Parameters(data);
    let max_line = parameters.number(64, 2000);
    let form = match parameters.byte() % 3 {
        0 => As::Message,
        1 => As::Line,
        _ => As::Json,
    };
    let splits = parameters.splits();
    let stream = parameters.0;
    let serve = |pieces: &[&[u8]]| {
        let check = |session: &mut S, length| after(session, max_line, length);
        served(session(form, max_line), pieces, max_line, check)
    };
    let whole = serve(&[stream]);
    // The first bytes of a client that speaks something else are looked at as they come.
    if stream.starts_with(&[0x16]) {
        return;
    }
    for pieces in splits {
        assert_eq!(serve(&pieces), whole);
    }
}
