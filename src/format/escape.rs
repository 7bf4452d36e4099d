//! Text inside the quotes of a JSON string (RFC 8259, section 7): any bytes, as a whole or in
//! pieces. Invalid UTF-8 becomes U+FFFD.

/// What stands for invalid UTF-8.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// What stands for a byte: `u` is the number of the byte in four hexadecimal digits, anything else
/// that character, both after a backslash; 0 is the byte itself.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[b'\t' as usize] = b't';
    table[b'\n' as usize] = b'n';
    table[0x0c] = b'f';
    table[b'\r' as usize] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// Appends text, escaped.
pub fn json(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        valid(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(REPLACEMENT);
        }
    }
}

fn valid(text: &[u8], out: &mut Vec<u8>) {
    let mut start = 0;
    for (at, &byte) in text.iter().enumerate() {
        let escape = ESCAPES[usize::from(byte)];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&text[start..at]);
        start = at + 1;
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
            out.extend_from_slice(&[b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out.extend_from_slice(&text[start..]);
}

/// The number of bytes that text has once it is escaped.
pub fn json_len(text: &[u8]) -> usize {
    let len_of = |byte: u8| match ESCAPES[usize::from(byte)] {
        0 => 1,
        b'u' => 6,
        _ => 2,
    };
    let chunks = text.utf8_chunks().map(|chunk| {
        let valid: usize = chunk.valid().bytes().map(len_of).sum();
        valid + if chunk.invalid().is_empty() { 0 } else { REPLACEMENT.len() }
    });
    chunks.sum()
}

/// Where to cut text of which up to `most` bytes, four at least, are to be escaped first, so that the parts become
/// what the whole does: not within a character.
pub fn cut(text: &[u8], most: usize) -> usize {
    if text.len() <= most {
        return text.len();
    }
    let continues = |at: usize| text[at] & 0xc0 == 0x80;
    // A character has at most four bytes.
    let boundary = (most.saturating_sub(3)..=most).rev().find(|at| !continues(*at));
    boundary.filter(|at| *at > 0).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        json(text, &mut out);
        assert_eq!(out.len(), json_len(text));
        out
    }

    fn of_serde(text: &[u8]) -> String {
        let quoted = serde_json::to_string(&String::from_utf8_lossy(text)).unwrap();
        quoted[1..quoted.len() - 1].to_string()
    }

    #[test]
    fn each_byte_is_escaped_as_the_rfc_says() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(String::from_utf8(escaped(&all)).unwrap(), of_serde(&all));
        assert_eq!(escaped(b"a\"\\\n\x01\x7f"), b"a\\\"\\\\\\n\\u0001\x7f");
    }

    proptest! {
        #[test]
        fn pieces_are_escaped_as_the_whole_is(
            parts in proptest::collection::vec(
                prop_oneof![
                    "\\PC{0,4}".prop_map(String::into_bytes),
                    proptest::collection::vec(any::<u8>(), 0..4),
                    proptest::collection::vec(0x80..=0xbf_u8, 0..6),
                ],
                0..20,
            ),
            most in 4..12_usize,
        ) {
            let text = parts.concat();
            let whole = escaped(&text);
            prop_assert_eq!(String::from_utf8(whole.clone()).unwrap(), of_serde(&text));
            let (mut rest, mut pieces) = (&text[..], Vec::new());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cut(rest, most));
                prop_assert!(!piece.is_empty() && piece.len() <= most);
                pieces.extend(escaped(piece));
                rest = after;
            }
            prop_assert_eq!(pieces, whole);
        }
    }
}
