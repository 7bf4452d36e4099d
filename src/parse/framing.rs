//! Messages out of a stream of syslog over TCP (RFC 6587, RFC 5425).
//!
//! How a message is framed is told for each one by its first byte: 1 to 9 begins the count of its
//! octets (RFC 6587, section 3.4.1), anything else a message that a newline ends (section 3.4.2).
//! A number that no space follows is text, and so is one that is larger than any message may be
//! without a `<` behind the space: a log line that begins with a date must not swallow what comes
//! after it.

use crate::limits::COUNT_MOST;

/// Digits of a count.
const DIGITS_MOST: usize = 10;

/// Finds the messages in a stream that comes in pieces.
#[derive(Debug)]
pub struct Framer {
    max_message: usize,
    /// Whether NUL ends a message as a newline does.
    nul: bool,
    state: State,
    /// What came so far of a message that has no end yet; at most `max_message` bytes.
    kept: Vec<u8>,
    /// Bytes of it that were cut off.
    cut: usize,
    /// The last byte of it, kept or not.
    last: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a message.
    Between,
    /// Within digits that may be a count; `kept` has them, and the space.
    Counting,
    /// Within a message that a newline ends.
    Line,
    /// Within a message of which so many bytes are missing.
    Counted(u64),
}

/// A message that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'f> {
    /// Its bytes, at most as many as a message may have.
    pub bytes: &'f [u8],
    /// How many more it had.
    pub cut: usize,
}

impl Framer {
    /// A framer that cuts messages to `max_message` bytes.
    pub fn new(max_message: usize, nul: bool) -> Self {
        Self { max_message, nul, state: State::Between, kept: Vec::new(), cut: 0, last: 0 }
    }

    /// Takes in a piece of the stream; `take` gets each message that it completes.
    ///
    /// # Errors
    /// That a count is larger than anybody can mean; nothing more is to be taken in.
    pub fn push(
        &mut self,
        mut piece: &[u8],
        take: &mut impl FnMut(Frame<'_>),
    ) -> Result<(), String> {
        while !piece.is_empty() {
            piece = match self.state {
                State::Between => self.begin(piece),
                State::Counting => self.count(piece)?,
                State::Line => self.line(piece, take),
                State::Counted(left) => self.counted(piece, left, take),
            };
        }
        Ok(())
    }

    /// The stream has ended: its last message, as far as it came.
    pub fn end(&mut self, take: &mut impl FnMut(Frame<'_>)) {
        self.finish(take);
    }

    /// Bytes held of a message that has no end yet.
    pub fn held(&self) -> usize {
        self.kept.len()
    }

    fn begin<'p>(&mut self, piece: &'p [u8]) -> &'p [u8] {
        let is_gap = |byte: u8| byte == b' ' || self.ends(byte);
        let Some(start) = piece.iter().position(|&byte| !is_gap(byte)) else { return &[] };
        let is_count = (b'1'..=b'9').contains(&piece[start]);
        self.last = 0;
        self.state = if is_count { State::Counting } else { State::Line };
        &piece[start..]
    }

    /// Gathers digits, the space and the byte behind it, which together say what begins here.
    fn count<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], String> {
        let byte = piece[0];
        match self.kept.last() {
            Some(b' ') => {
                let digits = &self.kept[..self.kept.len() - 1];
                let value = |sum: u64, digit: &u8| sum * 10 + u64::from(digit - b'0');
                let count = digits.iter().fold(0, value);
                let is_count = byte == b'<' || count <= self.max_message as u64;
                if is_count && count > COUNT_MOST {
                    self.kept.clear();
                    self.state = State::Between;
                    return Err(format!("says that its next message has {count} bytes"));
                }
                if is_count {
                    self.kept.clear();
                }
                self.state = if is_count { State::Counted(count) } else { State::Line };
                Ok(piece)
            }
            _ if byte.is_ascii_digit() && self.kept.len() < DIGITS_MOST
                || byte == b' ' && !self.kept.is_empty() =>
            {
                self.kept.push(byte);
                Ok(&piece[1..])
            }
            _ => {
                self.state = State::Line;
                Ok(piece)
            }
        }
    }

    fn line<'p>(&mut self, piece: &'p [u8], take: &mut impl FnMut(Frame<'_>)) -> &'p [u8] {
        let end = match self.nul {
            false => memchr::memchr(b'\n', piece),
            true => memchr::memchr2(b'\n', 0, piece),
        };
        let Some(end) = end else {
            self.keep(piece);
            return &[];
        };
        let rest = &piece[end + 1..];
        // A carriage return before the newline is part of the end.
        let mut last = &piece[..end];
        if piece[end] == b'\n' {
            match last.strip_suffix(b"\r") {
                Some(line) => last = line,
                None if last.is_empty() && self.last == b'\r' => match self.cut {
                    0 => drop(self.kept.pop()),
                    _ => self.cut -= 1,
                },
                None => {}
            }
        }
        self.complete(last, take);
        rest
    }

    fn counted<'p>(
        &mut self,
        piece: &'p [u8],
        left: u64,
        take: &mut impl FnMut(Frame<'_>),
    ) -> &'p [u8] {
        match usize::try_from(left) {
            Ok(left) if left <= piece.len() => {
                self.complete(&piece[..left], take);
                &piece[left..]
            }
            _ => {
                self.keep(piece);
                self.state = State::Counted(left - piece.len() as u64);
                &[]
            }
        }
    }

    fn ends(&self, byte: u8) -> bool {
        byte == b'\n' || self.nul && byte == 0
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.max_message.saturating_sub(self.kept.len());
        let (kept, cut) = bytes.split_at(room.min(bytes.len()));
        self.kept.extend_from_slice(kept);
        self.cut += cut.len();
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    /// A message ends with `last`: where nothing of it came before, it is not copied.
    fn complete(&mut self, last: &[u8], take: &mut impl FnMut(Frame<'_>)) {
        if self.kept.is_empty() && last.len() <= self.max_message {
            self.state = State::Between;
            take(Frame { bytes: last, cut: 0 });
            return;
        }
        self.keep(last);
        self.finish(take);
    }

    fn finish(&mut self, take: &mut impl FnMut(Frame<'_>)) {
        self.state = State::Between;
        let cut = std::mem::take(&mut self.cut);
        if !self.kept.is_empty() {
            take(Frame { bytes: &self.kept, cut });
            self.kept.clear();
            // A long message must not cost its memory for the life of the connection.
            self.kept.shrink_to(4096);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The messages of a stream that comes in these pieces, each with what was cut off.
    fn frames(framer: &mut Framer, pieces: &[&[u8]]) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        let mut take = |frame: Frame<'_>| {
            found.push((String::from_utf8_lossy(frame.bytes).into_owned(), frame.cut));
        };
        for piece in pieces {
            framer.push(piece, &mut take).unwrap();
        }
        framer.end(&mut take);
        found
    }

    fn texts(stream: &str) -> Vec<String> {
        let found = frames(&mut Framer::new(20, false), &[stream.as_bytes()]);
        found.into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn each_message_says_by_its_first_byte_how_it_is_framed() {
        assert_eq!(texts("6 <1>abc<2>d e\n7 <3>f\nghi"), ["<1>abc", "<2>d e", "<3>f\ngh", "i"]);
        assert_eq!(texts("3 <1> \n\n 3 <2>"), ["<1>", "<2>"]);
        assert_eq!(texts("9876 foo\n"), ["9876 foo"], "larger than a message, and no <");
        assert_eq!(texts("9876foo\n12\n"), ["9876foo", "12"]);
        assert_eq!(texts("0 <1>\n01 <1>\n"), ["0 <1>", "01 <1>"]);
        assert_eq!(texts("12345678901 <\n"), ["12345678901 <"], "eleven digits are no count");
        assert_eq!(texts("<1>a"), ["<1>a"], "the end of the stream ends a message");
        assert_eq!(texts("9 <1>a"), ["<1>a"]);
        assert_eq!(texts("17"), ["17"]);
        assert_eq!(texts("17 "), ["17 "]);
        assert!(texts("\n\n \n").is_empty());
    }

    #[test]
    fn long_messages_are_cut_and_their_rest_is_no_message() {
        let mut framer = Framer::new(5, false);
        let found = frames(&mut framer, &[b"8 <1>abcde9 <2>3 fghi<4>abcdef\n<5>\n"]);
        let want = [("<1>ab", 3), ("<2>3 ", 4), ("<4>ab", 4), ("<5>", 0)];
        assert_eq!(found, want.map(|(text, cut)| (text.to_string(), cut)));
    }

    #[test]
    fn a_count_that_nobody_can_mean_is_refused() {
        let mut framer = Framer::new(100, false);
        let error = framer.push(b"9999999999 <1>x", &mut |_| {}).unwrap_err();
        assert!(error.contains("9999999999"), "{error}");
    }

    #[test]
    fn nul_ends_a_message_where_it_is_told_to() {
        let mut framer = Framer::new(100, true);
        let found = frames(&mut framer, &[b"<1>a\0<2>b\n\0<3>c"]);
        assert_eq!(
            found.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(),
            ["<1>a", "<2>b", "<3>c"]
        );
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(
            parts in proptest::collection::vec("[0-9]{0,3} ?|<[a-z0-9 ]{0,9}|\n|\0", 0..12),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
            nul in any::<bool>(),
        ) {
            let stream = parts.concat().into_bytes();
            let whole = frames(&mut Framer::new(8, nul), &[&stream]);
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            at.extend([0, stream.len()]);
            at.sort_unstable();
            let pieces: Vec<_> = at.windows(2).map(|at| &stream[at[0]..at[1]]).collect();
            prop_assert_eq!(frames(&mut Framer::new(8, nul), &pieces), whole);
            let bytes: Vec<_> = stream.chunks(1).collect();
            prop_assert_eq!(
                frames(&mut Framer::new(8, nul), &bytes),
                frames(&mut Framer::new(8, nul), &[&stream])
            );
        }
    }
}
