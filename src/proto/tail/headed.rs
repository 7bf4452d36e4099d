//! Lines of a file as messages: a header before each.

use bytes::{Bytes, BytesMut};

use crate::ingress::files::decode::{Decode, Decoded, lines};
use crate::input::InputCounts;
use crate::limits::BLOCK;

/// Puts a header before each line of another decoder.
pub(super) struct Headed {
    head: Vec<u8>,
    inner: Box<dyn Decode>,
}

impl Headed {
    /// Puts `head` before the lines of `inner`, which looks back at nothing.
    pub(super) fn new(head: Vec<u8>, inner: Box<dyn Decode>) -> Self {
        Self { head, inner }
    }

    /// The length of those of the first lines whose headers fit into a block: empty lines become
    /// many times as long as they were.
    fn enough(&self, bytes: &[u8]) -> usize {
        let most = BLOCK / (self.head.len() + 1);
        memchr::memchr_iter(b'\n', bytes).nth(most).map_or(bytes.len(), |at| at + 1)
    }
}

impl Decode for Headed {
    fn decode(&mut self, bytes: &Bytes, all: bool, counts: &mut InputCounts) -> Decoded {
        let enough = self.enough(bytes);
        let mut is_full = enough < bytes.len();
        let mut decoded = self.inner.decode(&bytes.slice(..enough), all && !is_full, counts);
        if is_full && decoded.consumed == 0 {
            // One record of very many lines.
            is_full = false;
            decoded = self.inner.decode(bytes, all, counts);
        }
        let grown = decoded.bytes.len() + self.head.len() * decoded.lines as usize;
        let mut out = BytesMut::with_capacity(grown);
        if decoded.lines > 0 {
            for line in lines(&decoded.bytes) {
                out.extend_from_slice(&self.head);
                out.extend_from_slice(line);
                out.extend_from_slice(b"\n");
            }
        }
        Decoded { bytes: out.freeze(), is_full, ..decoded }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ingress::files::decode::{Begins, Multiline, Plain};

    fn decoded(decoder: &mut Headed, text: &'static [u8], all: bool) -> (Vec<u8>, Decoded) {
        let decoded = decoder.decode(&Bytes::from_static(text), all, &mut InputCounts::default());
        (decoded.bytes.to_vec(), decoded)
    }

    #[test]
    fn each_line_has_the_header_and_what_waits_has_none() {
        let mut plain = Headed::new(b"<13>1 ".to_vec(), Box::new(Plain { max_line: 3 }));
        let (bytes, of) = decoded(&mut plain, b"abcd\n\nx\n", false);
        assert_eq!(bytes, b"<13>1 abc\n<13>1 \n<13>1 x\n");
        assert_eq!((of.lines, of.consumed, of.is_full), (3, 8, false));
        let begins: Begins = Arc::new(|line| line.starts_with(b"2"));
        let mut records = Headed::new(b"h ".to_vec(), Box::new(Multiline { begins, max_line: 99 }));
        let (bytes, of) = decoded(&mut records, b"2 a\n b\n2 c\n", false);
        assert_eq!((&bytes[..], of.lines, of.consumed), (&b"h 2 a#012 b\n"[..], 1, 7));
        let (bytes, of) = decoded(&mut records, b"2 c\n", true);
        assert_eq!((&bytes[..], of.lines, of.consumed), (&b"h 2 c\n"[..], 1, 4));
        let (bytes, of) = decoded(&mut records, b"2 c\n", false);
        assert_eq!((bytes.len(), of.lines, of.consumed), (0, 0, 0));
    }

    #[test]
    fn empty_lines_are_taken_a_block_at_a_time() {
        let mut plain = Headed::new(vec![b'h'; 99], Box::new(Plain { max_line: 3 }));
        let bytes = Bytes::from(vec![b'\n'; BLOCK]);
        let mut at = 0;
        while at < bytes.len() {
            let decoded = plain.decode(&bytes.slice(at..), false, &mut InputCounts::default());
            assert!(decoded.bytes.len() <= BLOCK + 100 && decoded.consumed > 0);
            assert_eq!(decoded.is_full, at + decoded.consumed < bytes.len());
            at += decoded.consumed;
        }
        // A record that has no end yet is not cut.
        let begins: Begins = Arc::new(|line| line.starts_with(b"2"));
        let inner = Multiline { begins, max_line: BLOCK * 8 };
        let mut records = Headed::new(vec![b'h'; 99], Box::new(inner));
        let decoded = records.decode(&bytes, true, &mut InputCounts::default());
        assert_eq!((decoded.lines, decoded.consumed), (1, BLOCK));
    }
}
