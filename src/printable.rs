//! Text from outside, made fit for a log or a terminal.
//!
//! What a peer, a file or a process wrote may hold newlines that forge lines of a log, sequences
//! that make a terminal do things, and characters that reorder what is shown. All of them are
//! written as escapes here; every other character stays as it is.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with every character escaped that is not simply shown.
///
/// Escapes are `\n`, `\r`, `\t`, `\xNN` for other control characters of ASCII, and `\u{N}` for
/// those beyond. A text without such characters is returned as it is.
pub fn printable(text: &str) -> Cow<'_, str> {
    match text.find(is_hidden) {
        None => Cow::Borrowed(text),
        Some(first) => {
            let mut out = String::with_capacity(text.len() + 16);
            out.push_str(&text[..first]);
            escape(&text[first..], &mut out);
            Cow::Owned(out)
        }
    }
}

/// The same of bytes: those that are not UTF-8 are written as `\xNN`.
pub fn printable_bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return printable(text);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        escape(chunk.valid(), &mut out);
        for byte in chunk.invalid() {
            // A String takes whatever is written to it.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    Cow::Owned(out)
}

/// A line for a terminal: the same, but tabs stay.
pub fn printable_columns(line: &[u8]) -> String {
    let columns: Vec<_> = line.split(|byte| *byte == b'\t').map(printable_bytes).collect();
    columns.join("\t")
}

/// A text of several lines: the newlines between them stay.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| c != '\n' && is_hidden(c)) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    Cow::Owned(lines.join("\n"))
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        // A String takes whatever is written to it.
        let _ = match c {
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            c if c.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(c)),
            c if is_hidden(c) => write!(out, "\\u{{{:x}}}", u32::from(c)),
            c => out.write_char(c),
        };
    }
}

/// Whether a character does something other than being shown: controls (C0, DEL, C1), line and
/// paragraph separators, and the formatting characters that reorder or hide text.
pub fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
        || c.is_control()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_for_a_terminal_keeps_its_tabs_and_no_sequence() {
        assert_eq!(printable_columns(b"a\tb\x1b[2J\xff\t"), "a\tb\\x1b[2J\\xff\t");
    }

    #[test]
    fn what_is_not_shown_is_escaped_and_the_rest_stays() {
        for (text, wanted) in [
            ("plain, größe, 日本, C:\\dir", "plain, größe, 日本, C:\\dir"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\x1b[31mred\x07\x7f\0", "\\x1b[31mred\\x07\\x7f\\x00"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\u{202e}b\u{2028}c\u{2066}\u{feff}", "a\\u{202e}b\\u{2028}c\\u{2066}\\u{feff}"),
        ] {
            assert_eq!(printable(text), wanted);
        }
        assert!(matches!(printable("as it is"), Cow::Borrowed(_)));
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        assert_eq!(printable_bytes(b"a\xff\x9b\x1b\xc3\xa9\n"), "a\\xff\\x9b\\x1bé\\n");
    }

    #[test]
    fn newlines_stay_between_lines() {
        assert_eq!(printable_lines("a\x1b\nb\n"), "a\\x1b\nb\n");
        assert!(matches!(printable_lines("a\nb"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = printable_bytes(&bytes);
            prop_assert!(!text.contains(is_hidden));
            prop_assert_eq!(printable(&text), &*text);
        }
    }
}
