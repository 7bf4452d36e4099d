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
    // One space may be between them and what follows.
    let at = at + usize::from(line.get(at) == Some(&b' '));
    message.text = Span::new(at, at).start;
    let cisco = Cisco::new(line, at + spaces(&line[at..]));
    let head = Head::new(&line[cisco.end..]);
    if timed(line, cisco.end, &head, received, message) {
        behind_time(line, &cisco, message);
    } else if !tagged(line, cisco.end, message) {
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
    let year =
        |date: (u32, u32, u32, u32, u32)| head.year.unwrap_or_else(|| received.year_of(date.0));
    let found = parse_message_with_year_exact_tz(text, year, Some(Utc), Variant::RFC3164);
    let Ok(found) = found else { return false };
    let place = |part: &str| start + head.place(part);
    let span = |part: Option<&str>| {
        part.map_or_else(Span::default, |part| Span::new(place(part), place(part) + part.len()))
    };
    if let Some(time) = found.timestamp {
        let end = line[start..].iter().position(|&byte| byte == b' ').unwrap_or(0);
        message.sent = match head.is_local {
            true => Sent::Local(time.naive_utc().and_utc().timestamp_micros() + head.micros),
            false => Sent::Text(Span::new(start, start + end)),
        };
    }
    (message.host, message.app) = (span(found.hostname), span(found.appname));
    let behind = place(found.msg);
    let one_space = usize::from(line.get(behind) == Some(&b' '));
    message.text = Span::new(behind + one_space, line.len()).start;
    true
}

/// Sets right what syslog_loose took for the host and the tag, and finds where the text begins.
fn behind_time(line: &[u8], cisco: &Cisco, message: &mut Message) {
    let byte_at = |at: u32| line.get(at as usize).copied();
    if message.app.is_empty() && byte_at(message.host.end) == Some(b':') {
        message.app = std::mem::take(&mut message.host);
    }
    if message.host.is_empty() {
        message.host = cisco.origin;
    }
    // Without a colon behind it, only what looks like a name is a tag.
    let no_name = |app: &[u8]| app.iter().all(u8::is_ascii_digit) || !app.iter().all(is_name);
    if !matches!(byte_at(message.app.end), Some(b':' | b'['))
        && message.app.of(line).is_some_and(no_name)
    {
        message.app = Span::default();
    }
    if forwarded(line, message) {
        return;
    }
    if !message.app.is_empty() {
        let text = behind_tag(line, message);
        message.text = Span::new(text, text).start;
        // What stands before Cisco's mnemonic is the host, or the zone of the time.
        if let Some((app, end)) = mnemonic(&line[text..])
            && message.procid.is_empty()
            && message.host.of(line) == cisco.origin.of(line)
        {
            let word = std::mem::replace(&mut message.app, Span::new(text, text + app));
            if cisco.is_numbered {
                message.host = cisco.origin;
            } else {
                message.host = word;
            }
            message.text += Span::new(end, end).start;
        }
        return;
    }
    if !message.host.is_empty() && message.host != cisco.origin {
        let host = message.host.end as usize;
        let colon = if line[host..].starts_with(b" : ") { 3 } else { 0 };
        let space = usize::from(line.get(host) == Some(&b' '));
        message.text = Span::new(host + space.max(colon), line.len()).start;
    }
    if let Some((app, end)) = mnemonic(&line[message.text as usize..]) {
        let text = message.text as usize;
        message.app = Span::new(text, text + app);
        message.text = Span::new(text + end, line.len()).start;
    }
}

/// What AIX puts before a message that it passes on: `Message forwarded from HOST: TAG…`.
fn forwarded(line: &[u8], message: &mut Message) -> bool {
    let words = (message.host.of(line), message.app.of(line));
    if words != (Some(&b"Message"[..]), Some(&b"forwarded"[..])) {
        return false;
    }
    let at = message.app.end as usize;
    let Some(rest) = line[at..].strip_prefix(b" from ") else { return false };
    let host = rest.iter().take_while(|byte| is_name(byte)).count();
    if host == 0 || !rest[host..].starts_with(b": ") {
        return false;
    }
    let start = at + b" from ".len();
    message.host = Span::new(start, start + host);
    message.app = Span::default();
    let behind = start + host + b": ".len();
    message.text = Span::new(behind, behind).start;
    tagged(line, behind, message);
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

/// What the names of programs and hosts are made of.
fn is_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-./%".contains(byte)
}

/// A tag without a time before it: `su: …`, `su[12]: …`.
fn tagged(line: &[u8], at: usize, message: &mut Message) -> bool {
    let head = &line[at..line.len().min(at + TAG_MOST)];
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

/// What Cisco's devices put before the time: a colon, or sequence numbers, an origin, and `*` or
/// `.` where the clock is not synchronised; instead of the time, how long they are up.
struct Cisco {
    /// Where the time begins.
    end: usize,
    is_numbered: bool,
    /// The host's name between number and time.
    origin: Span,
}

impl Cisco {
    fn new(line: &[u8], at: usize) -> Self {
        let mut cisco = Self { end: at, is_numbered: false, origin: Span::default() };
        if line[at..].starts_with(b": ") {
            cisco.end += 2;
        }
        while let Some(len) = word(&line[cisco.end..], u8::is_ascii_digit) {
            (cisco.end, cisco.is_numbered) = (cisco.end + len + 2, true);
        }
        if let Some(len) = word(&line[cisco.end..], is_name).filter(|_| cisco.is_numbered) {
            let behind = &line[cisco.end + len + 2..];
            let time =
                behind.strip_prefix(b"*").or_else(|| behind.strip_prefix(b".")).unwrap_or(behind);
            if is_month(time) {
                cisco.origin = Span::new(cisco.end, cisco.end + len);
                cisco.end += len + 2;
            } else if behind.starts_with(b"%") {
                cisco.end += len + 2;
            }
        }
        if line.get(cisco.end).is_some_and(|byte| b"*.".contains(byte))
            && is_month(&line[cisco.end + 1..])
        {
            cisco.end += 1;
        }
        cisco
    }
}

/// The length of a short word of such bytes with a colon and a space behind it.
fn word(bytes: &[u8], is_part: impl Fn(&u8) -> bool) -> Option<usize> {
    let len = bytes.iter().take(TAG_MOST).take_while(|byte| is_part(byte)).count();
    (len > 0 && bytes[len..].starts_with(b": ")).then_some(len)
}

/// Whether text begins with the name of a month.
fn is_month(text: &[u8]) -> bool {
    const MONTHS: &[u8] = b"janfebmaraprmayjunjulaugsepoctnovdec";
    text.get(..3).is_some_and(|word| MONTHS.chunks(3).any(|m| m.eq_ignore_ascii_case(word)))
}

/// The head of a message as syslog_loose takes it: ASCII, with a PRI, and its time without a
/// fraction of a second or a year behind it, and with a zone where RFC 3339 wants one.
struct Head {
    bytes: [u8; HEAD_MOST],
    len: usize,
    /// Where something was cut out or put in behind the PRI, and how much of each.
    edit: (usize, usize, usize),
    /// The fraction that was cut out, in microseconds.
    micros: i64,
    /// The year that was.
    year: Option<i32>,
    /// Whether the time is without a zone.
    is_local: bool,
}

impl Head {
    fn new(line: &[u8]) -> Self {
        let mut head = Self {
            bytes: [0; HEAD_MOST],
            len: 0,
            edit: (0, 0, 0),
            micros: 0,
            year: None,
            is_local: is_month(line),
        };
        if head.is_local {
            head.find_fraction(line);
        } else {
            head.find_missing_zone(line);
        }
        let (at, cut, put) = head.edit;
        let zone: &[u8] = if put > 0 { b"Z" } else { b"" };
        let kept = line[..at].iter().chain(zone).chain(&line[at + cut..]);
        // What is not ASCII is no part of a header; one byte stands for one, so that places stay.
        let ascii = kept.map(|&byte| if byte.is_ascii() { byte } else { b'?' });
        for (to, from) in head.bytes.iter_mut().zip(PRI.iter().copied().chain(ascii)) {
            *to = from;
            head.len += 1;
        }
        head
    }

    /// Finds `.123` or ` 2026` behind `22:14:15`.
    fn find_fraction(&mut self, line: &[u8]) {
        let colon = line.iter().take(32).position(|&byte| byte == b':');
        let Some(time) = colon.map(|at| at + 6).filter(|at| *at < line.len()) else { return };
        let behind = &line[time + 1..];
        let digits = behind.iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
        let value = |digits: &[u8]| digits.iter().fold(0, |v, d| v * 10 + i64::from(d - b'0'));
        match line[time] {
            b'.' => {
                let micros = digits.min(6);
                let scale = u32::try_from(6 - micros).unwrap_or(0);
                self.micros = value(&behind[..micros]) * 10_i64.pow(scale);
                self.edit = (time, digits + 1, 0);
            }
            b' ' if digits == 4 && behind.get(4) == Some(&b' ') => {
                let year = value(&behind[..4]);
                if (1970..2100).contains(&year) {
                    self.year = i32::try_from(year).ok();
                    self.edit = (time, 5, 0);
                }
            }
            _ => {}
        }
    }

    /// Finds where RFC 3339 would have a zone: `2026-11-23T10:00:00.123 host`.
    fn find_missing_zone(&mut self, line: &[u8]) {
        let end = line.iter().take(40).position(|&byte| byte == b' ').unwrap_or(0);
        let is_part = |byte: &u8| byte.is_ascii_digit() || b"-T:.".contains(byte);
        let time = &line[..end];
        if end >= 19 && time[10] == b'T' && time[11..].iter().all(|b| is_part(b) && *b != b'-') {
            self.is_local = true;
            self.edit = (end, 0, 1);
        }
    }

    fn text(&self) -> &str {
        // Only ASCII was put in.
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }

    /// Where a part of [`Self::text`] stands in the line this was made from.
    fn place(&self, part: &str) -> usize {
        let at = (part.as_ptr() as usize - self.bytes.as_ptr() as usize).saturating_sub(PRI.len());
        let (edit, cut, put) = self.edit;
        if at > edit { at + cut - put } else { at }
    }
}
