//! Records that are more than a line, such as those of containers: how they become lines.
//!
//! By default a record is one message of RFC 5424: the time, host, app and severity from it, its
//! other fields as structured data, its text behind. So selectors, file names, formats and every
//! syslog peer know its parts.

use std::fmt::Write;

use bytes::BytesMut;
use jiff::Timestamp;

use crate::batch::take_front;
use crate::input::{InputCounts, Piece};
use crate::limits::BLOCK;
use crate::settings::key::words;
use crate::settings::{Key, Report, Section, Value};

/// How a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// As a message of RFC 5424.
    Message,
    /// Its text alone.
    Line,
    /// As a JSON object.
    Json,
}

const FORMS: [(&str, As); 3] = [("message", As::Message), ("line", As::Line), ("json", As::Json)];
const FORM_WORDS: [&str; 3] = words(&FORMS);
const AS: Key = Key::or(
    "as",
    Value::Words(&FORM_WORDS),
    "\"message\"",
    "What a record becomes: a message of RFC 5424 with its fields as structured data, its text \
     alone, or a JSON object.",
);

/// The keys of inputs with records.
pub const KEYS: &[Key] = &[AS];

/// Reads how records are written.
pub fn read(section: &Section<'_>, report: &mut Report<'_>) -> As {
    section.word(&AS, &FORMS, report).unwrap_or(As::Message)
}

/// The longest HOSTNAME, APP-NAME and PROCID (RFC 5424, section 6).
pub const HOST_MAX: usize = 255;
/// See [`HOST_MAX`].
pub const APP_MAX: usize = 48;
/// See [`HOST_MAX`].
pub const PROCID_MAX: usize = 128;
/// The longest name of a parameter.
const NAME_MAX: usize = 32;

/// Whether something can stand in a header as it is.
pub fn fits(part: &[u8], most: usize) -> bool {
    !part.is_empty() && part.len() <= most && part.iter().all(u8::is_ascii_graphic)
}

/// A time: seconds since 1970 and nanoseconds within them.
pub type Time = (i64, u32);

/// The head of a message of RFC 5424, up to where its structured data begins.
#[derive(Debug, Clone, Copy)]
pub struct Header<'h> {
    /// Facility and severity.
    pub pri: u8,
    /// When it was made; `None` for when it is received.
    pub time: Option<Time>,
    /// Empty, or what does not fit, is left out: that which [`fits`] into [`HOST_MAX`].
    pub host: &'h [u8],
    /// As `host`; what does not fit is cut.
    pub app: &'h [u8],
    /// As `host`.
    pub procid: &'h [u8],
}

/// Writes a JSON string (RFC 8259). What is not UTF-8 becomes U+FFFD.
pub fn json_string(text: &[u8], out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, String::from_utf8_lossy(text).as_ref());
}

/// Writes the heads of messages.
#[derive(Debug, Default)]
pub struct Heads {
    /// The last second that was written, and its text.
    second: Option<i64>,
    text: String,
}

impl Heads {
    /// Writes a header, up to the space before its structured data.
    pub fn header(&mut self, header: &Header<'_>, out: &mut Vec<u8>) {
        out.push(b'<');
        out.extend_from_slice(header.pri.to_string().as_bytes());
        out.extend_from_slice(b">1 ");
        match header.time {
            Some(time) => self.time(time, out),
            None => out.push(b'-'),
        }
        out.push(b' ');
        part(header.host, HOST_MAX, out);
        let start = out.len();
        let app = header.app.iter().filter(|byte| byte.is_ascii_graphic());
        out.extend(app.take(APP_MAX));
        if out.len() == start {
            out.push(b'-');
        }
        out.push(b' ');
        part(header.procid, PROCID_MAX, out);
        out.extend_from_slice(b"- ");
    }

    /// Writes a time as RFC 3339 has it, with microseconds, in UTC.
    pub fn time(&mut self, (seconds, nanos): Time, out: &mut Vec<u8>) {
        if self.second != Some(seconds) {
            self.second = Some(seconds);
            self.text.clear();
            let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
            // Writing to memory cannot fail.
            let _ = write!(self.text, "{time}");
            self.text.truncate(self.text.len() - 1);
        }
        out.extend_from_slice(self.text.as_bytes());
        let micros = (nanos / 1000).min(999_999) + 1_000_000;
        out.extend_from_slice(micros.to_string().replacen('1', ".", 1).as_bytes());
        out.push(b'Z');
    }
}

/// A part of a header with a space behind it; `-` for what cannot stand there.
fn part(part: &[u8], most: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(if fits(part, most) { part } else { b"-" });
    out.push(b' ');
}

/// Writes structured data (RFC 5424, section 6.3), up to a bound.
#[derive(Debug)]
pub struct Data<'o> {
    out: &'o mut Vec<u8>,
    /// How long the output may become.
    most: usize,
    start: usize,
    /// Whether an element is open.
    is_open: bool,
    /// Bytes of values that had no room.
    pub cut: usize,
}

impl<'o> Data<'o> {
    /// Structured data behind what is there, of `most` bytes.
    pub fn new(out: &'o mut Vec<u8>, most: usize) -> Self {
        let start = out.len();
        Self { most: start + most, start, out, is_open: false, cut: 0 }
    }

    /// The parameters that follow are in an element of this id; without any there is none.
    pub fn param(&mut self, id: &str, name: &[u8], value: &[u8]) {
        let before = self.out.len();
        if !self.is_open {
            self.out.push(b'[');
            self.out.extend_from_slice(id.as_bytes());
        }
        self.out.push(b' ');
        let is_good = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'=' | b']' | b'"');
        let name = if name.is_empty() { b"_" } else { name };
        let good = name.iter().map(|byte| if is_good(byte) { *byte } else { b'_' });
        self.out.extend(good.take(NAME_MAX));
        self.out.extend_from_slice(b"=\"");
        for &byte in value {
            if matches!(byte, b'"' | b'\\' | b']') {
                self.out.push(b'\\');
            }
            self.out.push(byte);
        }
        self.out.push(b'"');
        // Half a value would be another one.
        if self.out.len() + 1 > self.most {
            self.out.truncate(before);
            self.cut += value.len();
        } else {
            self.is_open = true;
        }
    }

    /// The element that is open ends; the next parameter begins another one.
    pub fn end_element(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.out.push(b']');
        }
    }

    /// Ends it, with the space before the text; how many bytes had no room.
    pub fn end(mut self) -> usize {
        self.end_element();
        if self.out.len() == self.start {
            self.out.push(b'-');
        }
        self.out.push(b' ');
        self.cut
    }
}

/// Gathers lines that are made here into pieces.
#[derive(Debug)]
pub struct Lines {
    max_line: usize,
    buffer: BytesMut,
    /// Where the present line begins.
    start: usize,
    /// Bytes of the present line that had no room.
    cut: usize,
    count: u32,
    full: Vec<Piece>,
    /// What was counted since it was last taken.
    pub counts: InputCounts,
}

impl Lines {
    /// Lines may have `max_line` bytes; longer ones are cut and counted.
    pub fn new(max_line: usize) -> Self {
        Self {
            max_line,
            buffer: BytesMut::new(),
            start: 0,
            cut: 0,
            count: 0,
            full: Vec::new(),
            counts: InputCounts::default(),
        }
    }

    /// The longest line.
    pub fn max_line(&self) -> usize {
        self.max_line
    }

    /// Bytes of the lines that are whole and not taken.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Makes room for lines of about so many bytes: a buffer that grows is copied as often as it
    /// does.
    pub fn reserve(&mut self, bytes: usize) {
        self.buffer.reserve(bytes.min(BLOCK));
    }

    /// Puts text behind the present line. A newline in it becomes `#012`.
    pub fn push(&mut self, text: &[u8]) {
        let mut from = 0;
        for at in memchr::memchr_iter(b'\n', text) {
            self.put(&text[from..at]);
            // Not a part of it.
            if self.room() >= 4 {
                self.put(b"#012");
            } else {
                self.put(&text[at..=at]);
            }
            from = at + 1;
        }
        self.put(&text[from..]);
    }

    fn room(&self) -> usize {
        if self.cut > 0 {
            return 0;
        }
        self.max_line - (self.buffer.len() - self.start)
    }

    fn put(&mut self, text: &[u8]) {
        let is_newline = text == b"\n";
        let kept = if is_newline { 0 } else { text.len().min(self.room()) };
        self.buffer.extend_from_slice(&text[..kept]);
        self.cut += text.len() - kept;
    }

    /// The present line is whole; `cut` bytes of it were left out before.
    pub fn end(&mut self, cut: usize) {
        self.cut += cut;
        if self.cut > 0 {
            self.counts.cut(std::mem::take(&mut self.cut));
        }
        self.buffer.extend_from_slice(b"\n");
        self.start = self.buffer.len();
        self.count += 1;
        if self.buffer.len() >= BLOCK {
            self.seal();
        }
    }

    fn seal(&mut self) {
        if self.count > 0 {
            let all = self.buffer.len();
            let bytes = take_front(&mut self.buffer, all);
            self.start = 0;
            self.full.push(Piece::new(bytes, std::mem::take(&mut self.count)));
        }
    }

    /// Takes all lines that are whole. There must be no other.
    pub fn take(&mut self) -> std::vec::Drain<'_, Piece> {
        self.seal();
        self.full.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::syslog::Message;
    use crate::parse::syslog::sd;

    fn line(header: &Header<'_>) -> String {
        let mut out = Vec::new();
        Heads::default().header(header, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_header_has_what_fits_and_a_dash_for_the_rest() {
        let (host, app, procid) = (&b"web1"[..], &b"nginx.access"[..], &b"7"[..]);
        let header =
            Header { pri: 14, time: Some((1_767_225_600, 123_456_789)), host, app, procid };
        assert_eq!(line(&header), "<14>1 2026-01-01T00:00:00.123456Z web1 nginx.access 7 - ");
        let app = &b"a tag with spaces, too long for an app in a header by far"[..];
        let header = Header { pri: 0, time: None, host: b"a b", app, procid: b"" };
        let short = "atagwithspaces,toolongforanappinaheaderbyfar";
        assert_eq!(line(&header), format!("<0>1 - - {short} - - "));
        let header = Header { app: &[b'x'; 60], time: Some((i64::MAX, 0)), ..header };
        let app = "x".repeat(48);
        assert_eq!(line(&header), format!("<0>1 1970-01-01T00:00:00.000000Z - {app} - - "));
    }

    #[test]
    fn structured_data_says_what_it_was_given_whatever_that_is() {
        let values: [&[u8]; 4] = [b"plain", b"a \"b\" \\ ]", b"\xff\n", b""];
        let mut out = b"<13>1 - - app - - ".to_vec();
        let mut data = Data::new(&mut out, 1000);
        for (at, value) in values.iter().enumerate() {
            data.param("one@1", format!("n{at}").as_bytes(), value);
        }
        data.end_element();
        data.param("two@1", b"a=b c]\"", b"x");
        data.param("two@1", b"", b"y");
        assert_eq!(data.end(), 0);
        out.extend_from_slice(b"text");
        let message = Message::parse(&out);
        let data = message.data.of(&out).unwrap();
        for (at, value) in values.iter().enumerate() {
            let found = sd::find(data, b"one@1", format!("n{at}").as_bytes());
            assert_eq!(found.unwrap().as_ref(), *value);
        }
        assert_eq!(sd::find(data, b"two@1", b"a_b_c__").unwrap().as_ref(), b"x");
        assert_eq!(sd::find(data, b"two@1", b"_").unwrap().as_ref(), b"y");
        assert_eq!(message.text(&out), b"text");
    }

    #[test]
    fn what_has_no_room_is_left_out_whole_and_counted() {
        let mut out = Vec::new();
        let mut data = Data::new(&mut out, 24);
        data.param("id@1", b"a", b"12345");
        data.param("id@1", b"b", b"123456");
        data.param("id@1", b"c", b"1");
        assert_eq!(data.end(), 6);
        assert_eq!(out, b"[id@1 a=\"12345\" c=\"1\"] ");
        let mut out = Vec::new();
        let mut data = Data::new(&mut out, 3);
        data.param("id@1", b"a", b"1");
        assert_eq!((data.end(), out.as_slice()), (1, &b"- "[..]));
    }

    #[test]
    fn lines_are_cut_at_their_bound_and_never_within_an_escape() {
        let mut lines = Lines::new(10);
        lines.push(b"12345\n7");
        lines.end(0);
        lines.push(b"1234567\n9");
        lines.end(0);
        lines.push(b"12345");
        lines.push(b"6789012");
        lines.end(3);
        lines.push(b"");
        lines.end(0);
        let text: Vec<u8> = lines.take().flat_map(|piece| piece.bytes.to_vec()).collect();
        assert_eq!(String::from_utf8(text).unwrap(), "12345#0127\n1234567\n1234567890\n\n");
        assert_eq!((lines.counts.oversize, lines.counts.oversize_bytes), (2, 2 + 2 + 3));
    }

    #[test]
    fn a_flood_of_lines_is_several_pieces() {
        let mut lines = Lines::new(1000);
        let many = 3 * BLOCK / 500;
        for _ in 0..many {
            lines.push(&[b'x'; 499]);
            lines.end(0);
        }
        let pieces: Vec<_> = lines.take().collect();
        assert!(pieces.len() > 2 && pieces.iter().all(|piece| piece.bytes.len() <= BLOCK + 500));
        assert_eq!(pieces.iter().map(|piece| piece.lines as usize).sum::<usize>(), many);
    }
}
