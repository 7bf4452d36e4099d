//! Syslog messages in a TCP stream: the same messages wherever the stream is split.

use logweir::parse::framing::{Frame, Framer};

use crate::parameters::Parameters;

/// A count that may turn out to be text is held whole: ten digits and a space.
const COUNT_BYTES: usize = 11;

#[derive(Debug, PartialEq, Eq)]
struct Framed {
    /// Each message, and how many bytes were cut off it.
    messages: Vec<(Vec<u8>, usize)>,
    refused: bool,
}

fn framed(pieces: &[&[u8]], max_message: usize, nul: bool) -> Framed {
    let mut framer = Framer::new(max_message, nul);
    let mut messages = Vec::new();
    let mut take = |frame: Frame<'_>| messages.push((frame.bytes.to_vec(), frame.cut));
    for piece in pieces {
        if framer.push(piece, &mut take).is_err() {
            return Framed { messages, refused: true };
        }
        assert!(framer.held() <= max_message.max(COUNT_BYTES), "holds {} bytes", framer.held());
    }
    framer.end(&mut take);
    assert_eq!(framer.held(), 0, "holds bytes after the end");
    Framed { messages, refused: false }
}

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    let max_message = parameters.number(1, 600);
    let nul = parameters.flag();
    let splits = parameters.splits();
    let stream = parameters.0;
    let whole = framed(&[stream], max_message, nul);
    let bytes: usize = whole.messages.iter().map(|(message, cut)| message.len() + cut).sum();
    assert!(bytes <= stream.len(), "bytes were invented");
    for (message, _) in &whole.messages {
        assert!(message.len() <= max_message.max(COUNT_BYTES));
    }
    for pieces in splits {
        assert_eq!(framed(&pieces, max_message, nul), whole);
    }
}
