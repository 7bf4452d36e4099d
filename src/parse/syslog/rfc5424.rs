//! The header of RFC 5424, section 6: found by its spaces, in one walk.

use super::{Fault, Message, Sent, Span, sd};

/// The longest HOSTNAME, APP-NAME, PROCID and MSGID.
const MOST: [usize; 4] = [255, 48, 128, 32];

/// Finds the parts behind the PRI, which ends at `at` and is followed by `1 `. Where the header is
/// not as it must be, all of it is text. Not `whole`, the structured data is not looked at.
pub(super) fn parse(line: &[u8], at: usize, whole: bool, message: &mut Message) {
    let mut at = at + 2;
    let mut spans = [Span::default(); 5];
    for span in &mut spans {
        let Some(end) = memchr::memchr(b' ', &line[at..]) else {
            message.fault = Some(Fault::BadHeader);
            return;
        };
        *span = Span::new(at, at + end);
        at += end + 1;
    }
    let [time, fields @ ..] = spans;
    let is_nil = |span: Span| span.of(line) == Some(b"-");
    let good_time = is_nil(time) || time.of(line).is_some_and(is_timestamp);
    let good = good_time && fields.iter().all(|field| !field.is_empty()) && at < line.len();
    if !good {
        message.fault = Some(Fault::BadHeader);
        return;
    }
    message.is_rfc5424 = true;
    if !is_nil(time) {
        message.sent = Sent::Text(time);
    }
    let long = |(field, most): (&Span, usize)| field.of(line).is_some_and(|f| f.len() > most);
    if fields.iter().zip(MOST).any(long) {
        message.fault = Some(Fault::LongField);
    }
    let [host, app, procid, msgid] = fields;
    let set = |span: Span| if is_nil(span) { Span::default() } else { span };
    (message.host, message.app) = (set(host), set(app));
    (message.procid, message.msgid) = (set(procid), set(msgid));
    if !whole {
        return;
    }
    let text = match line[at] {
        b'-' => Some(at + 1),
        _ => sd::end(&line[at..]).map(|len| {
            message.data = Span::new(at, at + len);
            at + len
        }),
    };
    let text = match text {
        Some(end) if end == line.len() => end,
        Some(end) if line[end] == b' ' => end + 1,
        _ => {
            message.fault = Some(Fault::BadData);
            message.data = Span::default();
            at
        }
    };
    message.text = Span::new(text, text).start;
}

/// Whether this is a timestamp of section 6.2.3, with up to nine digits of a second.
pub(super) fn is_timestamp(text: &[u8]) -> bool {
    const SHAPE: &[u8; 19] = b"0000-00-00T00:00:00";
    if text.len() < 20 {
        return false;
    }
    let (head, mut rest) = text.split_at(SHAPE.len());
    // All bytes at once is quicker than until the first that is wrong.
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
