//! Lines from standard input or any other reader, in bounded memory.

use std::io::{self, BufRead};

/// One line of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    /// True if a newline ended it rather than the end of the input.
    pub ended: bool,
    /// Bytes beyond the bound, which were omitted.
    pub cut: u64,
}

/// Reads the next line, without its newline, into `line`: at most `max` bytes of it. `None` at the
/// end of the input.
///
/// # Errors
/// The reader's.
pub(super) fn next_line(
    reader: &mut impl BufRead,
    max: usize,
    line: &mut Vec<u8>,
) -> io::Result<Option<Line>> {
    line.clear();
    let mut cut = 0;
    let mut any = false;
    loop {
        let piece = match reader.fill_buf() {
            Ok(piece) => piece,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if piece.is_empty() {
            return Ok(any.then_some(Line { ended: false, cut }));
        }
        any = true;
        let end = memchr::memchr(b'\n', piece);
        let text = &piece[..end.unwrap_or(piece.len())];
        let kept = text.len().min(max - line.len());
        line.extend_from_slice(&text[..kept]);
        cut += (text.len() - kept) as u64;
        let used = end.map_or(piece.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(Some(Line { ended: true, cut }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_or_cut() {
        // A small buffer makes lines span several reads.
        let mut reader = io::BufReader::with_capacity(3, &b"ab\n\nabcdefgh\nend"[..]);
        let mut line = Vec::new();
        let mut got = Vec::new();
        while let Some(Line { ended, cut }) = next_line(&mut reader, 5, &mut line).unwrap() {
            got.push((String::from_utf8(line.clone()).unwrap(), ended, cut));
        }
        let want = [("ab", true, 0), ("", true, 0), ("abcde", true, 3), ("end", false, 0)];
        assert_eq!(got, want.map(|(text, ended, cut)| (text.to_string(), ended, cut)));
    }
}
