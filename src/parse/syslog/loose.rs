//! Headers that are not of RFC 5424: RFC 3164 in its many shapes, and none at all.
//!
//! The syslog_loose crate finds the parts. Before it, what it does not know is taken away
//! (Cisco's sequence number and mark before the time, fractions of a second); after it, two of
//! its choices are changed to rsyslog's, which is what people expect: a word with a colon right
//! behind it is the tag, never the host, and a message without a time may yet have a tag.

use chrono::Utc;
use syslog_loose::{Variant, parse_message_with_year_exact_tz};

use super::{Fault, Message, Month, Sent, Span};

/// So much of a message can be header.
const HEAD_MOST: usize = 512;
/// The PRI that syslog_loose is given: any will do.
const PRI: &[u8] = b"<13>";
/// The longest tag where there is no time before it.
const TAG_MOST: usize = 64;

/// Finds the parts behind the PRI, which ends at `at`.
pub(super) fn parse(line: &[u8], at: usize, received: Month, message: &mut Message) {
    let at = at + spaces(&line[at..]);
    let start = at + cisco(&line[at..]);
    let head = Head::new(&line[start..]);
    if !timed(line, start, &head, received, message) && !tagged(line, at, message) {
        message.fault = Some(Fault::NoHeader);
    }
}

/// A header with a time in it.
fn timed(line: &[u8], start: usize, head: &Head, received: Month, message: &mut Message) -> bool {
    let text = head.text();
    // To syslog_loose `-` is a time left out; to people it is how text may begin.
    if text[PRI.len()..].starts_with('-') {
        return false;
    }
    let year = |date: (u32, u32, u32, u32, u32)| received.year_of(date.0);
    let found = parse_message_with_year_exact_tz(text, year, Some(Utc), Variant::RFC3164);
    let Ok(found) = found else { return false };
    let place = |part: &str| start + head.place(part);
    let span = |part: Option<&str>| {
        part.map_or_else(Span::default, |part| Span::new(place(part), place(part) + part.len()))
    };
    if let Some(time) = found.timestamp {
        let end = line[start..].iter().position(|&byte| byte == b' ').unwrap_or(0);
        message.sent = match line[start].is_ascii_alphabetic() {
            true => {
                let micros = time.naive_utc().and_utc().timestamp_micros();
                Sent::Local(micros + head.micros)
            }
            false => Sent::Text(Span::new(start, start + end)),
        };
    }
    (message.host, message.app) = (span(found.hostname), span(found.appname));
    let colon_at = |end: u32| line.get(end as usize) == Some(&b':');
    if message.app.is_empty() && !message.host.is_empty() && colon_at(message.host.end) {
        message.app = std::mem::take(&mut message.host);
    }
    let mut text = place(found.msg);
    if let Some(first) = found.structured_data.first() {
        message.data = Span::new(place(first.id) - 1, text);
        let data = message.data.of(line).unwrap_or_default();
        let end = super::sd::end(data).unwrap_or(0);
        message.data = Span::new(place(first.id) - 1, place(first.id) - 1 + end);
    } else if message.app.is_empty() {
        if let Some((app, end)) = mnemonic(&line[text..]) {
            message.app = Span::new(text, text + app);
            text += end;
        }
    } else {
        text = behind_tag(line, message);
    }
    message.text = Span::new(text, text).start;
    true
}

/// Finds `[procid]`, the colon and the one space behind the app, where they are; where the text
/// begins.
fn behind_tag(line: &[u8], message: &mut Message) -> usize {
    let mut at = message.app.end as usize;
    if line.get(at) == Some(&b'[')
        && let Some(end) = line[at..].iter().position(|&byte| byte == b']')
    {
        message.procid = Span::new(at + 1, at + end);
        at += end + 1;
    }
    at += usize::from(line.get(at) == Some(&b':'));
    at + usize::from(line.get(at) == Some(&b' '))
}

/// A tag without a time before it: `su: …`, `su[12]: …`.
fn tagged(line: &[u8], at: usize, message: &mut Message) -> bool {
    let head = &line[at..line.len().min(at + TAG_MOST)];
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./%".contains(byte);
    let app = head.iter().take_while(|byte| is_name(byte)).count();
    let mut end = app;
    if head.get(app) == Some(&b'[') {
        let digits = head[app + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        end += digits + 2;
        if digits == 0 || head.get(end - 1) != Some(&b']') {
            return false;
        }
    }
    let colon = head.get(end) == Some(&b':') && matches!(head.get(end + 1), None | Some(b' '));
    if app == 0 || !colon {
        return false;
    }
    message.app = Span::new(at, at + app);
    let text = behind_tag(line, message);
    message.text = Span::new(text, text).start;
    true
}

/// Cisco's `%FACILITY-SEVERITY-MNEMONIC:`; the length of the name, and where the text begins.
fn mnemonic(text: &[u8]) -> Option<(usize, usize)> {
    let end = text.iter().take(TAG_MOST).position(|byte| matches!(byte, b':' | b' '))?;
    let is_one = text.first() == Some(&b'%') && text[end] == b':';
    is_one.then(|| (end, end + 1 + usize::from(text.get(end + 1) == Some(&b' '))))
}

fn spaces(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|&&byte| byte == b' ').count()
}

/// The length of what Cisco's IOS puts before the time: a sequence number, and `*` or `.` where
/// the clock is not synchronised.
fn cisco(bytes: &[u8]) -> usize {
    let digits = bytes.iter().take(12).take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = 0;
    if digits > 0 && bytes[digits..].starts_with(b": ") {
        at = digits + 2;
        at += spaces(&bytes[at..]);
    }
    let marked = bytes.get(at).is_some_and(|byte| b"*.".contains(byte))
        && bytes.get(at + 1).is_some_and(u8::is_ascii_alphabetic);
    at + usize::from(marked)
}

/// The head of a message as syslog_loose takes it: ASCII, with a PRI, and without a fraction of a
/// second.
struct Head {
    bytes: [u8; HEAD_MOST],
    len: usize,
    /// Where the fraction was, behind the PRI, and how long it was.
    cut: (usize, usize),
    /// The fraction, in microseconds.
    micros: i64,
}

impl Head {
    fn new(line: &[u8]) -> Self {
        let mut head = Self { bytes: [0; HEAD_MOST], len: 0, cut: (0, 0), micros: 0 };
        if line.first().is_some_and(u8::is_ascii_alphabetic) {
            head.find_fraction(line);
        }
        let (at, cut) = head.cut;
        let kept = line[..at].iter().chain(&line[at + cut..]);
        // What is not ASCII is no part of a header; one byte stands for one, so that places stay.
        let ascii = kept.map(|&byte| if byte.is_ascii() { byte } else { b'?' });
        for (to, from) in head.bytes.iter_mut().zip(PRI.iter().copied().chain(ascii)) {
            *to = from;
            head.len += 1;
        }
        head
    }

    /// Finds `.123` behind `22:14:15`.
    fn find_fraction(&mut self, line: &[u8]) {
        let time = line.iter().take(32).position(|&byte| byte == b':');
        let Some(time) = time.map(|at| at + 6) else { return };
        if line.get(time) != Some(&b'.') {
            return;
        }
        let is_digit = |byte: &&u8| byte.is_ascii_digit();
        let digits: Vec<_> = line[time + 1..].iter().take(9).take_while(is_digit).collect();
        self.cut = (time, digits.len() + 1);
        let value =
            digits.iter().take(6).fold(0, |sum, &&digit| sum * 10 + i64::from(digit - b'0'));
        let scale = 6_u32.saturating_sub(u32::try_from(digits.len()).unwrap_or(6));
        self.micros = value * 10_i64.pow(scale);
    }

    fn text(&self) -> &str {
        // Only ASCII was put in.
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }

    /// Where a part of [`Self::text`] stands in the line this was made from.
    fn place(&self, part: &str) -> usize {
        let at = (part.as_ptr() as usize - self.bytes.as_ptr() as usize).saturating_sub(PRI.len());
        let (cut_at, cut) = self.cut;
        if at > cut_at { at + cut } else { at }
    }
}
