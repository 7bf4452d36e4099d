//! The header of RFC 5424, section 6, split at its spaces in one pass.

use super::{Fault, Message, Sent, Span, sd, stamp};

/// The maximum lengths of HOSTNAME, APP-NAME, PROCID and MSGID.
const MAX: [usize; 4] = [255, 48, 128, 32];

/// HOSTNAME, APP-NAME, PROCID and MSGID; empty if absent.
type Names = [Span; 4];

/// Finds the parts after the PRI, which ends at `at` and is followed by `1 `. A header that is not
/// even nearly valid is text as a whole. Unless `whole`, the structured data is not parsed.
pub(super) fn parse(line: &[u8], at: usize, whole: bool, message: &mut Message) {
    let start = at + 2;
    let Some((sent, names, at)) = strict(line, start) else {
        message.fault = Some(Fault::BadHeader);
        nearly(line, start, message);
        return;
    };
    message.sent = sent;
    set(line, names, message);
    if whole {
        behind_names(line, at, message);
    }
}

/// A valid header: its time, its names, and where the structured data begins.
fn strict(line: &[u8], start: usize) -> Option<(Sent, Names, usize)> {
    let mut at = start;
    let mut spans = [Span::default(); 5];
    for span in &mut spans {
        let end = at + memchr::memchr(b' ', &line[at..])?;
        *span = Span::new(at, end);
        at = end + 1;
    }
    let [time, names @ ..] = spans;
    let sent = match time.of(line)? {
        b"-" => Sent::Unknown,
        text if is_timestamp(text) => Sent::Text(time),
        _ => return None,
    };
    let is_good = names.iter().all(|name| !name.is_empty()) && at < line.len();
    is_good.then_some((sent, names, at))
}

/// A header with a defect: a time that is nearly valid, more than one space, an empty name, or an
/// end before the structured data. Only unambiguous parts are used.
fn nearly(line: &[u8], start: usize, message: &mut Message) {
    let start = start + line[start..].iter().take_while(|byte| **byte == b' ').count();
    let (sent, end) = match line.get(start..start + 2) {
        Some(b"- ") => (Sent::Unknown, start + 1),
        _ => match stamp::nearly_iso(line, start) {
            Some(found) => found,
            None => return,
        },
    };
    let is_timed = line[start] != b'-';
    // An empty name and an extra space look alike: the reading with valid structured data is
    // chosen.
    let is_right = |found: &(Names, usize)| data(line, found.1).is_some();
    let gaps = names(line, end, true);
    let single = || Some(names(line, end, false)).filter(is_right);
    let (names, at) = Some(gaps).filter(is_right).or_else(single).unwrap_or(gaps);
    if names.iter().all(|name| name.is_empty()) {
        return;
    }
    // Without a time, little is certain, so all names must be present.
    let has_all = names.iter().all(|name| !name.is_empty()) && at == line.len();
    if !is_timed && !has_all {
        return;
    }
    message.sent = sent;
    set(line, names, message);
    message.text = Span::new(at, at).start;
    if at < line.len() {
        behind_names(line, at, message);
    }
}

/// The names after the time, which ends at `at`, and where they end. One space precedes each, or
/// with `gaps` any number of spaces. Names may be missing at the end of the line.
fn names(line: &[u8], mut at: usize, gaps: bool) -> (Names, usize) {
    let mut names = Names::default();
    for name in &mut names {
        at = behind_space(line, at, gaps);
        let len = memchr::memchr(b' ', &line[at..]).unwrap_or(line.len() - at);
        *name = Span::new(at, at + len);
        at += len;
    }
    (names, behind_space(line, at, gaps))
}

fn behind_space(line: &[u8], at: usize, gaps: bool) -> usize {
    let spaces = line[at..].iter().take_while(|byte| **byte == b' ').count();
    at + if gaps { spaces } else { spaces.min(1) }
}

fn set(line: &[u8], names: Names, message: &mut Message) {
    message.is_rfc5424 = true;
    let is_long = |(name, max): (&Span, usize)| name.of(line).is_some_and(|n| n.len() > max);
    if message.fault.is_none() && names.iter().zip(MAX).any(is_long) {
        message.fault = Some(Fault::LongField);
    }
    let or_nil = |span: Span| if span.of(line) == Some(b"-") { Span::default() } else { span };
    let [host, app, procid, msgid] = names.map(or_nil);
    (message.host, message.app) = (host, app);
    (message.procid, message.msgid) = (procid, msgid);
}

/// Finds the structured data and the text after it.
fn behind_names(line: &[u8], at: usize, message: &mut Message) {
    let mut found = data(line, at);
    let spaces = behind_space(line, at, true);
    if found.is_none() && spaces > at {
        found = data(line, spaces);
        message.fault = found.and(Some(Fault::BadHeader));
    }
    if found.is_none() {
        message.fault = Some(Fault::BadData);
    }
    let (data, text) = found.unwrap_or_else(|| (Span::default(), at));
    message.data = data;
    message.text = Span::new(text, text).start;
}

/// The structured data that begins at `at`, and where the text begins; `None` if it is invalid.
fn data(line: &[u8], at: usize) -> Option<(Span, usize)> {
    let (data, end) = match line.get(at)? {
        b'-' => (Span::default(), at + 1),
        _ => {
            let end = at + sd::end(&line[at..])?;
            (Span::new(at, end), end)
        }
    };
    match line.get(end) {
        None => Some((data, end)),
        Some(b' ') => Some((data, end + 1)),
        Some(_) => None,
    }
}

/// Returns whether this is a timestamp of section 6.2.3, with up to nine fractional digits.
pub(super) fn is_timestamp(text: &[u8]) -> bool {
    const SHAPE: &[u8; 19] = b"0000-00-00T00:00:00";
    if text.len() < 20 {
        return false;
    }
    let (head, mut rest) = text.split_at(SHAPE.len());
    // Checking all bytes at once is faster than stopping at the first wrong one.
    let alike = |so_far: bool, (&byte, &shape): (&u8, &u8)| {
        so_far & if shape == b'0' { byte.is_ascii_digit() } else { byte == shape }
    };
    let two = |bytes: &[u8]| (bytes[0] - b'0') * 10 + (bytes[1] - b'0');
    if !head.iter().zip(SHAPE).fold(true, alike)
        || !(1..=12).contains(&two(&head[5..]))
        || !(1..=31).contains(&two(&head[8..]))
        || two(&head[11..]) > 23
        || two(&head[14..]) > 59
        || two(&head[17..]) > 59
    {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return false;
        }
        rest = &fraction[digits..];
    }
    match rest {
        b"Z" => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            let digits = [*h1, *h2, *m1, *m2];
            digits.iter().all(u8::is_ascii_digit) && two(&digits) < 24 && two(&digits[2..]) < 60
        }
        _ => false,
    }
}
