//! A syslog message: the positions of its parts in the line (RFC 5424, RFC 3164 and what is sent in
//! their names).
//!
//! Nothing is copied and nothing is refused: what cannot be parsed remains part of the text, and
//! the message records why ([`Fault`]). A line without a PRI is treated as RFC 3164, section 4.3.3,
//! requires: user.notice, with the whole line as its text.

mod cisco;
mod loose;
pub mod names;
mod rfc5424;
pub mod sd;
mod stamp;
#[cfg(test)]
mod tests;

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use serde::{Deserialize, Serialize};

pub use stamp::Civil;

/// The PRI of a message without a valid one: user.notice (RFC 3164, section 4.3.3).
pub const PRI_DEFAULT: u8 = 13;
/// The highest PRI: local7.debug (RFC 5424, section 6.2.1).
const PRI_MAX: u16 = 191;

/// A piece of a line; empty if the part is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// From `start` up to `end`.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        // No line is as long as 4 GiB.
        let at = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: at(start), end: at(end) }
    }

    /// Returns whether the message lacks this part.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The part, in the line in which it was found.
    pub fn of(self, line: &[u8]) -> Option<&[u8]> {
        (!self.is_empty()).then(|| &line[self.start as usize..self.end as usize])
    }
}

/// A fault in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not begin with a PRI.
    NoPri,
    /// It begins with `<`, but not with a number up to 191 and `>`.
    BadPri,
    /// Neither a time nor a tag follows the PRI.
    NoHeader,
    /// It claims to be RFC 5424, but its header is malformed, wholly or in part.
    BadHeader,
    /// Its structured data violates RFC 5424 and counts as text.
    BadData,
    /// A part of the header is longer than RFC 5424 allows. It is accepted all the same.
    LongField,
}

/// The time a message says it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sent {
    /// It names none.
    #[default]
    Unknown,
    /// At this time, as RFC 3339 writes it.
    Text(Span),
    /// At this time of the sender's clock.
    Civil(Civil),
}

/// The parts of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Message {
    /// Facility times eight plus severity; [`PRI_DEFAULT`] if the message has none.
    pub pri: u8,
    /// True if the header is an RFC 5424 header.
    pub is_rfc5424: bool,
    /// When it was sent.
    pub sent: Sent,
    /// HOSTNAME.
    pub host: Span,
    /// APP-NAME, or the name in an RFC 3164 tag.
    pub app: Span,
    /// PROCID, or the number in brackets after that name.
    pub procid: Span,
    /// MSGID.
    pub msgid: Span,
    /// STRUCTURED-DATA, from the first `[` to the last `]`.
    pub data: Span,
    /// The offset of the message proper.
    pub text: u32,
    /// Its fault, if any.
    pub fault: Option<Fault>,
}

impl Message {
    /// Finds the parts of `line`.
    pub fn parse(line: &[u8]) -> Self {
        Self::find(line, true)
    }

    /// Finds the parts of an RFC 5424 header before the structured data and skips the rest, which
    /// is most of the work; for any other message, finds all parts.
    pub fn parse_header(line: &[u8]) -> Self {
        Self::find(line, false)
    }

    #[inline]
    fn find(line: &[u8], whole: bool) -> Self {
        match pri(line) {
            Ok((pri, at)) => rfc5424::valid(line, pri, at, whole)
                .unwrap_or_else(|| Self::find_other(line, pri, at, whole)),
            Err(fault) => Self { pri: PRI_DEFAULT, fault: Some(fault), ..Self::default() },
        }
    }

    /// Finds the parts of a line without a valid RFC 5424 header right after its PRI.
    fn find_other(line: &[u8], pri: u8, at: usize, whole: bool) -> Self {
        // A byte order mark and spaces are possible here too.
        let unmarked = without_mark(&line[at..]);
        let start = line.len() - unmarked.len();
        let spaces = unmarked.iter().take_while(|byte| **byte == b' ').count();
        let plain = Self { pri, text: Span::new(start, start).start, ..Self::default() };
        if unmarked[spaces..].starts_with(b"1 ") {
            let header = start + spaces;
            // Right after the PRI, a valid one was looked for already.
            let is_exact = header == at;
            let valid = if is_exact { None } else { rfc5424::valid(line, pri, header, whole) };
            let mut message = valid.unwrap_or_else(|| {
                let mut message = plain;
                rfc5424::nearly(line, header, &mut message);
                message
            });
            if is_exact {
                return message;
            }
            if message.is_rfc5424 {
                message.fault = message.fault.or(Some(Fault::BadHeader));
                return message;
            }
        }
        let mut message = plain;
        loose::parse(line, start, &mut message);
        message
    }

    /// Returns whether the line is an RFC 5424 message without any fault that another daemon might
    /// reject.
    pub fn is_clean_rfc5424(&self) -> bool {
        self.is_rfc5424 && matches!(self.fault, None | Some(Fault::LongField))
    }

    /// The message proper, without a byte order mark before it (RFC 5424, section 6.4).
    pub fn text<'l>(&self, line: &'l [u8]) -> &'l [u8] {
        without_mark(&line[self.text as usize..])
    }

    /// The RFC 3164 tag as received, with its number and its colon, and what follows it; the space
    /// before the message is kept.
    pub fn tag<'l>(&self, line: &'l [u8]) -> (&'l [u8], &'l [u8]) {
        let start = self.app.start as usize;
        let mut end = self.app.end as usize;
        if !self.procid.is_empty() {
            end = self.procid.end as usize + 1;
        }
        end += usize::from(line.get(end) == Some(&b':'));
        (&line[start..end], &line[end..])
    }

    /// The time it was sent, as received, if it conforms to RFC 5424, section 6.2.3.
    pub fn sent_text<'l>(&self, line: &'l [u8]) -> Option<&'l str> {
        let Sent::Text(text) = self.sent else { return None };
        let text = text.of(line).filter(|text| rfc5424::is_timestamp(text))?;
        std::str::from_utf8(text).ok()
    }

    /// The time it was sent by the sender's clock, whatever its zone; without a year, in a leap
    /// year.
    pub fn clock(&self, line: &[u8]) -> Option<civil::DateTime> {
        match self.sent {
            Sent::Unknown => None,
            Sent::Text(text) => stamp::clock(text.of(line)?),
            Sent::Civil(time) => Some(time.clock()),
        }
    }

    /// The time it was sent, if the message has one. `zone` applies to a sender that names none; a
    /// time without a year is in the year that puts it nearest to `received`.
    pub fn sent(&self, line: &[u8], zone: &TimeZone, received: Timestamp) -> Option<Timestamp> {
        match self.sent {
            Sent::Unknown => None,
            Sent::Text(text) => std::str::from_utf8(text.of(line)?).ok()?.parse().ok(),
            Sent::Civil(time) => time.nearest(zone, received),
        }
    }
}

/// Bytes without a leading UTF-8 byte order mark.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The PRI of a line, and where it ends (RFC 5424, section 6.2.1). A byte order mark may precede
/// it.
///
/// # Errors
/// That there is none, or that it is invalid.
pub fn pri(line: &[u8]) -> Result<(u8, usize), Fault> {
    let digit = |byte: u8| u16::from(byte.wrapping_sub(b'0'));
    let marked = line;
    let line = without_mark(line);
    let mark = marked.len() - line.len();
    let (value, end) = match *line {
        [b'<', a, b'>', ..] => (digit(a), 3),
        [b'<', a, b, b'>', ..] if digit(b) < 10 => (digit(a) * 10 + digit(b), 4),
        [b'<', a, b, c, b'>', ..] if digit(b) < 10 && digit(c) < 10 => {
            (digit(a) * 100 + digit(b) * 10 + digit(c), 5)
        }
        [b'<', ..] => return Err(Fault::BadPri),
        _ => return Err(Fault::NoPri),
    };
    match u8::try_from(value) {
        Ok(pri) if value <= PRI_MAX && digit(line[1]) < 10 => Ok((pri, mark + end)),
        _ => Err(Fault::BadPri),
    }
}

/// The number of messages with each fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Faults {
    /// [`Fault::NoPri`]
    pub no_pri: u64,
    /// [`Fault::BadPri`]
    pub bad_pri: u64,
    /// [`Fault::NoHeader`]
    pub no_header: u64,
    /// [`Fault::BadHeader`]
    pub bad_header: u64,
    /// [`Fault::BadData`]
    pub bad_data: u64,
    /// [`Fault::LongField`]
    pub long_field: u64,
}

impl Faults {
    /// Counts a message's fault, if it has one.
    pub fn count(&mut self, fault: Option<Fault>) {
        match fault {
            None => {}
            Some(Fault::NoPri) => self.no_pri += 1,
            Some(Fault::BadPri) => self.bad_pri += 1,
            Some(Fault::NoHeader) => self.no_header += 1,
            Some(Fault::BadHeader) => self.bad_header += 1,
            Some(Fault::BadData) => self.bad_data += 1,
            Some(Fault::LongField) => self.long_field += 1,
        }
    }

    /// The same, except for a missing or invalid PRI: those are counted where messages enter.
    pub fn count_header(&mut self, fault: Option<Fault>) {
        if !matches!(fault, Some(Fault::NoPri | Fault::BadPri)) {
            self.count(fault);
        }
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Self) {
        self.no_pri += other.no_pri;
        self.bad_pri += other.bad_pri;
        self.no_header += other.no_header;
        self.bad_header += other.bad_header;
        self.bad_data += other.bad_data;
        self.long_field += other.long_field;
    }

    /// The total.
    pub fn sum(&self) -> u64 {
        self.no_pri
            + self.bad_pri
            + self.no_header
            + self.bad_header
            + self.bad_data
            + self.long_field
    }
}
