//! The server's side of RELP: the same lines and answers wherever the stream is split, none
//! answered before it is on disk, and no more held than a frame may have.

use logweir::batch::count_lines;
use logweir::input::Piece;
use logweir::limits::LINES_FRAME_MAX;
use logweir::proto::relp::session::Session;

use crate::parameters::Parameters;

/// Heads of frames, on top of what a frame's data may have.
const HEADS: usize = 256;

#[derive(Debug, Default, PartialEq, Eq)]
struct Served {
    /// The answers, sorted: which of them wait for the disk depends on the split.
    answers: Vec<Vec<u8>>,
    bytes: Vec<u8>,
    lines: u64,
    failed: bool,
    oversize: u64,
}

fn served(pieces: &[&[u8]], max_message: usize, lasts: &[Option<u64>]) -> Served {
    let mut session = Session::new(max_message);
    let (mut served, mut answers) = (Served::default(), Vec::new());
    for (barrier, piece) in (1..).zip(pieces) {
        served.failed = session.push(piece).is_err();
        let longest = max_message.max(LINES_FRAME_MAX).max(32 * 1024) + HEADS;
        assert!(session.held() <= longest + piece.len(), "holds {} bytes", session.held());
        for piece in session.take_pieces() {
            check_piece(&piece, max_message);
            served.lines += u64::from(piece.lines);
            served.bytes.extend_from_slice(&piece.bytes);
        }
        let answered = session.out().len();
        session.sent(barrier);
        assert_eq!(session.out().len(), answered, "answered before it was on disk");
        session.completed(barrier);
        if session.asks().is_some() {
            session.tell_last(lasts);
        }
        answers.append(session.out());
        if served.failed || session.is_over() {
            break;
        }
    }
    served.answers = answers.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    served.answers.sort_unstable();
    served.oversize = session.take_counts().oversize;
    served
}

fn check_piece(piece: &Piece, max_message: usize) {
    assert!(piece.lines > 0);
    assert_eq!(count_lines(&piece.bytes), piece.lines);
    assert_eq!(piece.bytes.last(), Some(&b'\n'));
    match piece.origin {
        Some(span) => {
            assert!(span.first <= span.last);
            assert!(u64::from(piece.lines) - 1 <= span.last - span.first);
        }
        // A newline inside a message takes four bytes.
        None => piece.bytes.split(|byte| *byte == b'\n').for_each(|line| {
            assert!(line.len() <= max_message * 4);
        }),
    }
}

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    let max_message = parameters.number(64, 700);
    let lasts: &[Option<u64>] = match parameters.byte() % 4 {
        0 => &[None],
        1 => &[Some(5)],
        2 => &[Some(3), Some(9), None],
        _ => &[Some(u64::MAX - 1), Some(2)],
    };
    let splits = parameters.splits();
    let stream = parameters.0;
    let whole = served(&[stream], max_message, lasts);
    // A client that offers its spool must wait for the answer: what it sends before that is an
    // error, and how much it sent depends on the split. So does what is read behind `close`.
    let has = |word: &[u8]| memchr::memmem::find(stream, word).is_some();
    let depends = has(b"logweir_spool") || has(b"close");
    for pieces in splits {
        let split = served(&pieces, max_message, lasts);
        if !depends {
            assert_eq!(split, whole);
        }
    }
}
