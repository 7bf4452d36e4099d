//! The header of RFC 5424, section 6, split at its spaces in one pass.

use std::ops::Range;

use super::{Fault, Message, Sent, Span, sd, stamp};

/// The maximum lengths of HOSTNAME, APP-NAME, PROCID and MSGID.
const MAX: [usize; 4] = [255, 48, 128, 32];

/// HOSTNAME, APP-NAME, PROCID and MSGID; empty if absent.
type Names = [Span; 4];

/// The message of a line with a valid header. Its PRI is `pri` and ends at `at`. Unless `whole`,
/// the structured data is not parsed.
///
/// Nearly every message of a busy host comes this way, so each part is found once and stored once.
#[inline]
pub(super) fn valid(line: &[u8], pri: u8, at: usize, whole: bool) -> Option<Message> {
    if !line[at..].starts_with(b"1 ") {
        return None;
    }
    let (time, end) = part(line, at + 2)?;
    let (host, end) = part(line, end)?;
    let (app, end) = part(line, end)?;
    let (procid, end) = part(line, end)?;
    let (msgid, end) = part(line, end)?;
    let sent = match &line[time.clone()] {
        b"-" => Sent::Unknown,
        text if is_timestamp(text) => Sent::Text(Span::new(time.start, time.end)),
        _ => return None,
    };
    if end == line.len() {
        return None;
    }
    let [host_max, app_max, procid_max, msgid_max] = MAX;
    let is_long = host.len() > host_max
        || app.len() > app_max
        || procid.len() > procid_max
        || msgid.len() > msgid_max;
    let mut message = Message {
        pri,
        is_rfc5424: true,
        sent,
        host: unless_nil(line, host),
        app: unless_nil(line, app),
        procid: unless_nil(line, procid),
        msgid: unless_nil(line, msgid),
        data: Span::default(),
        text: Span::new(at, at).start,
        fault: is_long.then_some(Fault::LongField),
    };
    if whole {
        behind_names(line, end, &mut message);
    }
    Some(message)
}

/// The part of a header that begins at `start`, and where the next one begins; `None` if it is
/// empty or no space follows it.
#[inline]
fn part(line: &[u8], start: usize) -> Option<(Range<usize>, usize)> {
    let len = space(&line[start..])?;
    (len > 0).then_some((start..start + len, start + len + 1))
}

/// The position of the first space. Most parts are shorter than eight bytes, which are compared at
/// once: a call of a search function costs more.
#[inline]
pub(super) fn space(text: &[u8]) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = LOW << 7;
    let Some(first) = text.first_chunk().map(|first| u64::from_le_bytes(*first)) else {
        return memchr::memchr(b' ', text);
    };
    // A space is a zero in `odd`; the lowest bit set in `zeros` is at the first of them.
    let odd = first ^ (LOW * 0x20);
    let zeros = odd.wrapping_sub(LOW) & !odd & HIGH;
    match zeros {
        0 => memchr::memchr(b' ', &text[8..]).map(|at| at + 8),
        _ => Some(zeros.trailing_zeros() as usize / 8),
    }
}

#[inline]
fn unless_nil(line: &[u8], part: Range<usize>) -> Span {
    match part.len() == 1 && line[part.start] == b'-' {
        true => Span::default(),
        false => Span::new(part.start, part.end),
    }
}

/// Finds the parts of a header with a defect, whose `1 ` is at `at`: a time that is nearly valid,
/// more than one space, an empty name, or an end before the structured data. Only unambiguous parts
/// are used; a header that is not even nearly valid is text as a whole.
#[cold]
pub(super) fn nearly(line: &[u8], at: usize, message: &mut Message) {
    message.fault = Some(Fault::BadHeader);
    let start = at + 2;
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
    const LEN: usize = b"0000-00-00T00:00:00".len();
    const DATE: Shape = Shape::new(b"0000-00-");
    const MIDDLE: Shape = Shape::new(b"00T00:00");
    const TIME: Shape = Shape::new(b"00:00:00");
    if text.len() <= LEN {
        return false;
    }
    let (head, mut rest) = text.split_at(LEN);
    let two = |bytes: &[u8]| (bytes[0] - b'0') * 10 + (bytes[1] - b'0');
    if !DATE.is_at(head, 0)
        || !MIDDLE.is_at(head, 8)
        || !TIME.is_at(head, 11)
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

/// Eight bytes of a timestamp, of which some are digits. All are compared at once, for every
/// message with a time is asked.
struct Shape {
    bytes: u64,
    more: u64,
    mask: u64,
}

impl Shape {
    /// Zeros are any digits, everything else is itself.
    const fn new(shape: &[u8; 8]) -> Self {
        let (mut more, mut mask) = ([0; 8], [0xff; 8]);
        let mut at = 0;
        while at < shape.len() {
            if shape[at] == b'0' {
                (more[at], mask[at]) = (6, 0xf0);
            }
            at += 1;
        }
        let [bytes, more, mask] =
            [u64::from_le_bytes(*shape), u64::from_le_bytes(more), u64::from_le_bytes(mask)];
        Self { bytes, more, mask }
    }

    /// Returns whether the text at `at` is so.
    #[inline]
    fn is_at(&self, text: &[u8], at: usize) -> bool {
        let Some(bytes) = text[at..].first_chunk() else { return false };
        // A digit differs from `0` by at most 9, so that 6 more leave the upper half of it empty.
        let difference = u64::from_le_bytes(*bytes) ^ self.bytes;
        (difference | difference.wrapping_add(self.more)) & self.mask == 0
    }
}
