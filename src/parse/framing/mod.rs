//! Extracting messages from a stream of syslog over TCP (RFC 6587, RFC 5425).
//!
//! The framing of each message is determined by its first byte: 1 to 9 begins an octet count (RFC
//! 6587, section 3.4.1), anything else a message terminated by a newline (section 3.4.2). A number
//! that is not followed by a space is text, and so is one that exceeds the maximum message size
//! without a `<` after the space: a log line that begins with a date must not swallow what comes
//! after it.
//!
//! A wrong count must not silence a connection. Bytes after a counted message that are not a count
//! are passed on unchanged, up to a newline, or up to the next count followed by a PRI (`seeker`):
//! then a count was wrong, and the stream is in step again. A message without an end is passed on
//! in pieces, and an endless counted one is reported. Each of these is a [`Slip`].

mod seeker;

use std::borrow::Cow;
use std::fmt;

use crate::limits::{COUNT_MAX, LONG_LINE};
use seeker::{DIGITS_MAX, Found, Seeker, value};

/// A byte order mark, which some senders put before a count.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// The shortest header of RFC 5424: `<1>1 - - - - - -`.
const HEADER_MIN: u64 = 16;
/// A message without an end is given up at this multiple of the maximum message size, but not below
/// [`ENDLESS_MIN`] bytes.
const ENDLESS: usize = 2;
const ENDLESS_MIN: usize = 128 * 1024;

/// Finds the messages in a stream that arrives in pieces.
#[derive(Debug)]
pub struct Framer {
    max_message: usize,
    /// True if NUL also ends a message, as a newline does.
    nul: bool,
    state: State,
    /// The received part of an unfinished message; at most `max_message` bytes.
    kept: Vec<u8>,
    /// Bytes of it that were cut off.
    cut: usize,
    /// Its last byte, kept or not.
    last: u8,
    /// True if the previous message was counted.
    is_counted: bool,
    /// True once a count was followed by a PRI.
    has_counts: bool,
    /// The last count that is large enough for a complete header.
    usual_count: u64,
    /// True once a newline ended a message.
    has_newlines: bool,
    /// True if the current bytes belong to a message whose beginning was already passed on.
    is_piece: bool,
    /// True if the excessive size of the current message was already reported.
    is_told: bool,
    seeker: Seeker,
    slips: u64,
    slip: Option<Slip>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a message.
    Between,
    /// Within a possible byte order mark, which is in `kept`.
    Mark,
    /// Within digits that may be a count; they are in `kept`, with the space.
    Counting,
    /// Within a message terminated by a newline.
    Line,
    /// After a NUL in such a message.
    Nul,
    /// Within a counted message of which this many bytes are missing.
    Counted(u64),
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'f> {
    /// Its bytes, at most the maximum message size. A long one that was gathered is handed over.
    pub bytes: Cow<'f, [u8]>,
    /// How many bytes were cut off.
    pub cut: usize,
}

/// A sender's deviation from the framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slip {
    /// A count in the middle of a message: an earlier one was wrong.
    OutOfStep,
    /// A message does not end.
    Endless,
    /// A counted message is far larger than the maximum message size.
    Large,
    /// Messages end with NUL alone.
    Nul,
}

/// An octet count larger than any real message; nothing after it can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge(pub u64);

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "says that its next message has {} bytes", self.0)
    }
}

impl fmt::Display for Slip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfStep => {
                "sent a wrong octet count: what follows is read up to the next count; \
                 the sender must count bytes (not characters), without the space after the number"
            }
            Self::Endless => {
                "sends a message without an end, which is passed on in pieces: \
                 the sender must end messages with a newline or count their octets"
            }
            Self::Large => {
                "counts far more octets than `max_message`: they are treated as one message, \
                 which is cut; if the count is wrong, fix the sender"
            }
            Self::Nul => {
                "ends messages with NUL: the input accepts it from now on; \
                 write `delimiter = \"nul\"` for all of its clients"
            }
        })
    }
}

impl Framer {
    /// Creates a framer that truncates messages to `max_message` bytes.
    pub fn new(max_message: usize, nul: bool) -> Self {
        Self {
            max_message,
            nul,
            state: State::Between,
            kept: Vec::new(),
            cut: 0,
            last: 0,
            is_counted: false,
            has_counts: false,
            usual_count: 0,
            has_newlines: false,
            is_piece: false,
            is_told: false,
            seeker: Seeker::default(),
            slips: 0,
            slip: None,
        }
    }

    /// Processes a piece of the stream; `take` receives each message that it completes.
    ///
    /// # Errors
    /// A count is too large; nothing more may be pushed.
    pub fn push(
        &mut self,
        mut piece: &[u8],
        take: &mut impl FnMut(Frame<'_>),
    ) -> Result<(), TooLarge> {
        while !piece.is_empty() {
            piece = match self.state {
                State::Between => self.begin(piece),
                State::Mark => self.mark(piece),
                State::Counting => self.count(piece)?,
                State::Line if self.has_counts => self.lost(piece, take),
                State::Line => self.line(piece, take),
                State::Nul => self.behind_nul(piece, take),
                State::Counted(left) => self.counted(piece, left, take),
            };
        }
        Ok(())
    }

    /// Handles the end of the stream: emits its last message, as far as it was received.
    pub fn end(&mut self, take: &mut impl FnMut(Frame<'_>)) {
        self.finish(take);
    }

    /// Bytes buffered of an unfinished message.
    pub fn held(&self) -> usize {
        self.kept.len()
    }

    /// Takes the number of slips since the last call, and the first of them.
    pub fn take_slips(&mut self) -> (u64, Option<Slip>) {
        (std::mem::take(&mut self.slips), self.slip.take())
    }

    fn slipped(&mut self, slip: Slip) {
        self.slips += 1;
        self.slip.get_or_insert(slip);
    }

    fn begin<'p>(&mut self, piece: &'p [u8]) -> &'p [u8] {
        // What some senders append to a counted message.
        let is_trailer = |byte: u8| self.is_counted && matches!(byte, b'\r' | 0);
        let is_gap = |byte: u8| byte == b' ' || self.ends(byte) || is_trailer(byte);
        let Some(start) = piece.iter().position(|&byte| !is_gap(byte)) else { return &[] };
        self.last = 0;
        (self.is_piece, self.is_told) = (false, false);
        self.state = match piece[start] {
            b'1'..=b'9' => State::Counting,
            byte if byte == MARK[0] => State::Mark,
            _ => self.begin_line(),
        };
        &piece[start..]
    }

    /// Begins a message terminated by a newline.
    fn begin_line(&mut self) -> State {
        self.seeker.reset();
        State::Line
    }

    /// Gathers a byte order mark, which is skipped if a count follows it.
    fn mark<'p>(&mut self, piece: &'p [u8]) -> &'p [u8] {
        let byte = piece[0];
        let len = self.kept.len();
        if MARK.get(len) == Some(&byte) {
            self.kept.push(byte);
            return &piece[1..];
        }
        self.state = match byte {
            b'1'..=b'9' if len == MARK.len() => {
                self.kept.clear();
                State::Counting
            }
            _ => self.begin_kept(),
        };
        piece
    }

    /// Begins a message terminated by a newline whose first bytes are already kept.
    fn begin_kept(&mut self) -> State {
        let state = self.begin_line();
        for byte in std::mem::take(&mut self.kept) {
            self.seeker.next(byte, self.usual_count);
            self.kept.push(byte);
        }
        state
    }

    /// Gathers digits, the space and the byte after it, which together determine what begins here.
    fn count<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], TooLarge> {
        let byte = piece[0];
        match self.kept.last() {
            Some(b' ') => {
                let digits = self.kept.len() - 1;
                let count = value(&self.kept[..digits]);
                let is_count = byte == b'<' || count <= self.max_message as u64;
                if is_count && count > COUNT_MAX {
                    self.kept.clear();
                    self.state = State::Between;
                    return Err(TooLarge(count));
                }
                if is_count {
                    self.kept.clear();
                    self.has_counts |= byte == b'<';
                    if byte == b'<' && count >= HEADER_MIN {
                        self.usual_count = count;
                    }
                    self.state = State::Counted(count);
                } else {
                    self.state = self.begin_kept();
                }
                Ok(piece)
            }
            _ if byte.is_ascii_digit() && self.kept.len() < DIGITS_MAX
                || byte == b' ' && !self.kept.is_empty() =>
            {
                self.kept.push(byte);
                Ok(&piece[1..])
            }
            _ => {
                self.state = self.begin_kept();
                Ok(piece)
            }
        }
    }

    /// Within a message that only a newline ends, on a connection without counts.
    fn line<'p>(&mut self, piece: &'p [u8], take: &mut impl FnMut(Frame<'_>)) -> &'p [u8] {
        // A connection without newlines so far may use NUL.
        let end = match self.has_newlines && !self.nul {
            true => memchr::memchr(b'\n', piece),
            false => memchr::memchr2(b'\n', 0, piece),
        };
        let room = self.room();
        if end.is_none_or(|end| end > room) && piece.len() > room {
            self.give_up(&piece[..room], take);
            return &piece[room..];
        }
        let Some(end) = end else {
            self.keep(piece);
            return &[];
        };
        if piece[end] == 0 && !self.nul {
            self.keep(&piece[..=end]);
            self.state = State::Nul;
            return &piece[end + 1..];
        }
        self.end_line(&piece[..end], piece[end], take);
        &piece[end + 1..]
    }

    /// Ends a line with `last`; the terminator `end` is a newline or NUL.
    fn end_line(&mut self, last: &[u8], end: u8, take: &mut impl FnMut(Frame<'_>)) {
        // A carriage return before the newline is part of the terminator.
        let mut last = last;
        self.is_counted = false;
        if end == b'\n' {
            self.has_newlines = true;
            match last.strip_suffix(b"\r") {
                Some(line) => last = line,
                None if last.is_empty() && self.last == b'\r' => self.take_back(1),
                None => {}
            }
        }
        self.complete(last, take);
    }

    /// After a NUL, if no newline has ended a message yet: followed by a PRI, it is a terminator.
    fn behind_nul<'p>(&mut self, piece: &'p [u8], take: &mut impl FnMut(Frame<'_>)) -> &'p [u8] {
        self.state = State::Line;
        if piece[0] == b'<' {
            self.slipped(Slip::Nul);
            self.nul = true;
            self.take_back(1);
            self.finish(take);
        }
        piece
    }

    /// Within a line on a connection with counts: it ends at a newline, or before the next count.
    fn lost<'p>(&mut self, piece: &'p [u8], take: &mut impl FnMut(Frame<'_>)) -> &'p [u8] {
        let room = self.room();
        for (at, &byte) in piece.iter().enumerate() {
            if self.ends(byte) {
                self.end_line(&piece[..at], byte, take);
                return &piece[at + 1..];
            }
            if at == room {
                self.give_up(&piece[..at], take);
                return &piece[at..];
            }
            if let Some(found) = self.seeker.next(byte, self.usual_count) {
                self.keep(&piece[..=at]);
                self.found(&found, take);
                return &piece[at + 1..];
            }
        }
        self.keep(piece);
        &[]
    }

    /// Handles a count at the end of the kept bytes: what precedes it is a message, what follows is
    /// in step again.
    fn found(&mut self, found: &Found, take: &mut impl FnMut(Frame<'_>)) {
        self.take_back(found.len);
        self.slipped(Slip::OutOfStep);
        self.finish(take);
        let pri = found.pri.bytes();
        if found.count >= HEADER_MIN {
            self.usual_count = found.count;
        }
        self.state = State::Counted(found.count - pri.len() as u64);
        self.keep(pri);
    }

    /// How many more bytes a line may have before it is given up.
    fn room(&self) -> usize {
        let max = match self.is_piece {
            true => self.max_message,
            false => self.max_message.saturating_mul(ENDLESS).max(ENDLESS_MIN),
        };
        max.max(1).saturating_sub(self.kept.len() + self.cut)
    }

    /// Passes on what was received of an endless line; the rest follows in pieces.
    fn give_up(&mut self, last: &[u8], take: &mut impl FnMut(Frame<'_>)) {
        self.keep(last);
        if !self.is_piece {
            self.slipped(Slip::Endless);
        }
        self.finish(take);
        self.state = State::Line;
        self.is_piece = true;
    }

    fn counted<'p>(
        &mut self,
        piece: &'p [u8],
        left: u64,
        take: &mut impl FnMut(Frame<'_>),
    ) -> &'p [u8] {
        self.is_counted = true;
        if let Ok(left) = usize::try_from(left)
            && left <= piece.len()
        {
            if left > self.room() && !self.is_told {
                self.slipped(Slip::Large);
            }
            self.complete(&piece[..left], take);
            return &piece[left..];
        }
        let room = self.room();
        self.keep(piece);
        self.state = State::Counted(left - piece.len() as u64);
        if piece.len() > room && !std::mem::replace(&mut self.is_told, true) {
            self.slipped(Slip::Large);
        }
        &[]
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

    /// Removes the last bytes of a message again.
    fn take_back(&mut self, count: usize) {
        let of_kept = count.saturating_sub(self.cut);
        self.cut = self.cut.saturating_sub(count);
        self.kept.truncate(self.kept.len().saturating_sub(of_kept));
    }

    /// Completes a message with `last`; if no part of it was kept before, it is not copied.
    fn complete(&mut self, last: &[u8], take: &mut impl FnMut(Frame<'_>)) {
        if self.kept.is_empty() && last.len() <= self.max_message {
            self.state = State::Between;
            if self.is_piece && last.is_empty() {
                return;
            }
            take(Frame { bytes: Cow::Borrowed(last), cut: 0 });
            return;
        }
        self.keep(last);
        self.finish(take);
    }

    fn finish(&mut self, take: &mut impl FnMut(Frame<'_>)) {
        self.state = State::Between;
        let cut = std::mem::take(&mut self.cut);
        if self.kept.len() >= LONG_LINE {
            take(Frame { bytes: Cow::Owned(std::mem::take(&mut self.kept)), cut });
        } else if !self.kept.is_empty() {
            take(Frame { bytes: Cow::Borrowed(&self.kept), cut });
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

    /// The messages of a stream that arrives in these pieces, each with the number of bytes cut
    /// off.
    fn frames(framer: &mut Framer, pieces: &[&[u8]]) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        let mut take = |frame: Frame<'_>| {
            found.push((String::from_utf8_lossy(&frame.bytes).into_owned(), frame.cut));
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
        assert_eq!(error, TooLarge(9_999_999_999));
        assert!(error.to_string().contains("9999999999"), "{error}");
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

    /// Messages of RFC 5424 whose text ends with a letter.
    fn messages(count: usize) -> Vec<String> {
        (0..count)
            .map(|n| format!("<13>1 - h a - - - message {n} {}x", "y".repeat(9 + n % 90)))
            .collect()
    }

    /// The messages, the number of slips and the first slip of a stream, however it is split.
    fn run(max_message: usize, stream: &[u8]) -> (Vec<String>, u64, Option<Slip>) {
        let once = |pieces: &[&[u8]]| {
            let mut framer = Framer::new(max_message, false);
            let found = frames(&mut framer, pieces);
            let (slips, slip) = framer.take_slips();
            (found.into_iter().map(|(text, _)| text).collect::<Vec<_>>(), slips, slip)
        };
        let whole = once(&[stream]);
        assert_eq!(once(&stream.chunks(1).collect::<Vec<_>>()), whole);
        for at in 0..stream.len().min(2000) {
            let (first, second) = stream.split_at(at);
            assert_eq!(once(&[first, second]), whole, "split at {at}");
        }
        whole
    }

    #[test]
    fn one_wrong_count_costs_no_more_than_the_messages_beside_it() {
        let messages = messages(60);
        for wrong in [-9_i64, -3, -2, -1, 1, 2, 3, 4, 7, 30, 150] {
            let mut stream = String::new();
            for (n, message) in messages.iter().enumerate() {
                let less = if n == 5 { wrong } else { 0 };
                let count = i64::try_from(message.len()).unwrap() + less;
                stream += &format!("{count} {message}");
            }
            let (found, slips, slip) = run(500, stream.as_bytes());
            assert_eq!(found[..5], messages[..5], "{wrong}");
            let tail = &messages[messages.len() - 50..];
            assert_eq!(found[found.len() - 50..], *tail, "{wrong}");
            assert!((1..=9).contains(&slips), "{wrong}: {slips}");
            assert_eq!(slip, Some(Slip::OutOfStep), "{wrong}");
            // Each text is in some line, except for spaces where one was split.
            let text = found.concat().replace(' ', "");
            for number in 0..messages.len() {
                assert!(text.contains(&format!("message{number}y")), "{wrong}: {number}");
            }
        }
    }

    #[test]
    fn counts_that_are_all_wrong_lose_hardly_a_text() {
        let messages = messages(200);
        for wrong in [-2_i64, -1, 1, 2] {
            let count = |message: &str| i64::try_from(message.len()).unwrap() + wrong;
            let stream: String =
                messages.iter().map(|message| format!("{} {message}", count(message))).collect();
            let (found, slips, _) = run(500, stream.as_bytes());
            let text = found.concat().replace(' ', "");
            let came = |number: &usize| text.contains(&format!("message{number}y"));
            // A number in a text that is out of step may be mistaken for a count.
            assert!((0..messages.len()).filter(came).count() > 190, "{wrong}");
            assert!(slips > 10, "{wrong}");
        }
    }

    #[test]
    fn what_stands_between_counted_messages_for_no_reason_is_passed_over() {
        for between in ["\n", "\r\n", "\0", "\0\n", " ", "\u{feff}", "\n\u{feff}"] {
            let stream: String = messages(9)
                .iter()
                .map(|message| format!("{between}{} {message}", message.len()))
                .collect();
            // Before the first message nobody knows yet that there are counts.
            let stream = match between.contains(['\r', '\0']) {
                true => &stream[between.len()..],
                false => &stream,
            };
            let (found, slips, _) = run(500, stream.as_bytes());
            assert_eq!((found, slips), (messages(9), 0), "{between:?}");
        }
    }

    #[test]
    fn messages_that_nul_alone_ends_are_taken_and_told() {
        let stream: String = messages(9).iter().map(|message| format!("{message}\0")).collect();
        let (found, slips, slip) = run(500, stream.as_bytes());
        assert_eq!((found, slips, slip), (messages(9), 1, Some(Slip::Nul)));
        // If newlines end messages, NUL is an ordinary byte.
        let (found, slips, _) = run(500, b"<1>a\n<1>b\0<2>c\n");
        assert_eq!((found, slips), (vec!["<1>a".to_string(), "<1>b\0<2>c".into()], 0));
        assert_eq!(run(500, b"<1>b\0c\n").1, 0);
    }

    #[test]
    fn a_message_without_an_end_is_handed_on_in_pieces_and_told() {
        let stream = [&b"<1>"[..], &b"abcdefghij".repeat(ENDLESS_MIN / 10)].concat();
        let size = 60_000;
        let mut framer = Framer::new(size, false);
        let found = frames(&mut framer, &[&stream, &stream, b"\n<2>b\n"]);
        // A message of that size is treated as truncated; from there on everything is passed on.
        assert_eq!((found[0].0.len(), found[0].1), (size, ENDLESS_MIN - size));
        let rest: String = found[1..found.len() - 1].iter().map(|(text, _)| &**text).collect();
        let all = [&stream[..], &stream].concat();
        assert!(rest.as_bytes() == &all[ENDLESS_MIN..]);
        assert!(found[1..].iter().all(|(text, cut)| text.len() <= size && *cut == 0));
        assert_eq!(found.last().unwrap().0, "<2>b");
        assert_eq!(framer.take_slips(), (1, Some(Slip::Endless)));
        // Nothing waits for the end, however the stream is split.
        let mut framer = Framer::new(size, false);
        let mut count = 0;
        for piece in stream.repeat(2).chunks(777) {
            framer.push(piece, &mut |_| count += 1).unwrap();
        }
        assert_eq!((count, framer.held()), (3, rest.len() - 2 * size));
    }

    #[test]
    fn a_count_that_is_far_too_large_is_told_before_its_end() {
        let mut framer = Framer::new(5, false);
        let mut found = Vec::new();
        let mut take = |frame: Frame<'_>| found.push((frame.bytes.to_vec(), frame.cut));
        framer.push(b"900000 <1>abcd", &mut take).unwrap();
        assert_eq!(framer.take_slips(), (0, None));
        framer.push(&[b'x'; ENDLESS_MIN], &mut take).unwrap();
        assert_eq!(framer.take_slips(), (1, Some(Slip::Large)));
        framer.push(&[b'x'; 900_000 - ENDLESS_MIN - 7], &mut take).unwrap();
        framer.push(b"4 <1>z", &mut take).unwrap();
        assert_eq!(found, [(b"<1>ab".to_vec(), 899_995), (b"<1>z".to_vec(), 0)]);
        assert_eq!(framer.take_slips(), (0, None));
        let large = [b"200000 <1>", &[b'x'; 199_997][..]].concat();
        assert_eq!(slips_of(&large, &[large.len()]), slips_of(&large, &[9, 50, 150_000, 199_999]));
    }

    /// The number of slips in a stream whose pieces end at these offsets.
    fn slips_of(stream: &[u8], ends: &[usize]) -> u64 {
        let mut framer = Framer::new(5, false);
        let mut start = 0;
        for end in ends.iter().copied().chain([stream.len()]) {
            framer.push(&stream[start..end], &mut |_| {}).unwrap();
            start = end;
        }
        framer.take_slips().0
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(
            parts in proptest::collection::vec(
                "[0-9]{0,3} ?|<[a-z0-9 ]{0,9}|<[0-9]{0,3}>|\n|\r|\0|\u{feff}",
                0..12,
            ),
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
