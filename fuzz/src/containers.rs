//! The files of containers: reading that goes on at any line gives the same lines, and no byte of
//! a file makes a line too long or one too many.

use std::path::Path;

use bytes::Bytes;
use logweir::batch::count_lines;
use logweir::ingress::files::decode::Decode;
use logweir::input::InputCounts;
use logweir::proto::containers::decoder::{Decoder, Style};
use logweir::proto::shared::record::As;

use crate::parameters::Parameters;

fn decoder(form: As, max_message: usize) -> Decoder {
    let path = Path::new("/var/log/pods/ns_pod_uid/app/0.log");
    Decoder::new(path, Style { form, max_message, host: "h".into() })
}

fn decode(decoder: &mut Decoder, lines: &[u8]) -> Vec<u8> {
    let (mut at, mut out) = (0, Vec::new());
    while at < lines.len() {
        let bytes = Bytes::copy_from_slice(&lines[at..]);
        let decoded = decoder.decode(&bytes, false, &mut InputCounts::default());
        assert_eq!(count_lines(&decoded.bytes), decoded.lines);
        assert!(decoded.consumed > 0);
        at += decoded.consumed;
        out.extend_from_slice(&decoded.bytes);
    }
    out
}

pub fn check(data: &[u8]) {
    let mut parameters = Parameters(data);
    let max_message = parameters.number(1, 300);
    let form = [As::Message, As::Line, As::Json][parameters.number(0, 2)];
    let splits = parameters.splits();
    let mut stream = parameters.0.to_vec();
    stream.push(b'\n');
    let whole = decode(&mut decoder(form, max_message), &stream);
    if form == As::Line {
        // An escaped newline has four bytes.
        let most = 4 * max_message;
        assert!(whole.split(|byte| *byte == b'\n').all(|line| line.len() <= most));
    }
    for pieces in splits {
        let first = pieces.first().map_or(0, |piece| piece.len());
        let at = memchr::memchr(b'\n', &stream[first..]).map_or(stream.len(), |at| first + at + 1);
        let (before, behind) = stream.split_at(at);
        let mut again = decoder(form, max_message);
        let mut got = decode(&mut decoder(form, max_message), before);
        again.resume(before);
        got.extend_from_slice(&decode(&mut again, behind));
        assert_eq!(got, whole);
    }
}
