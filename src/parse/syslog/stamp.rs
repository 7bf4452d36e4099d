//! Times as senders write them: RFC 3339, RFC 3164, and variants of either.
//!
//! A time that is nearly valid ([`Sent::Unknown`] with a length) must not cost the message its
//! host, its app and its data: only the time itself is dropped.

use jiff::civil;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::{Sent, Span, rfc5424};

/// A time by a sender's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Date and time. If the year is unknown, in a leap year, which has every date.
    time: civil::DateTime,
    has_year: bool,
    /// The offset from UTC, if given.
    offset: Option<Offset>,
}

/// A year with a 29 February.
const LEAP_YEAR: i16 = 2000;
/// A time at most this far from its reception is in the same year; for a larger distance, the years
/// before and after are also considered.
const SURELY_NEAREST: SignedDuration = SignedDuration::from_hours(180 * 24);
/// The maximum number of fractional digits of a second.
const FRACTION_MAX: usize = 9;

impl Civil {
    /// Sets the offset, if the time has none.
    pub(super) fn with_offset(mut self, offset: Option<Offset>) -> Self {
        self.offset = self.offset.or(offset);
        self
    }

    /// The reading of the sender's clock.
    pub(super) fn clock(&self) -> civil::DateTime {
        self.time
    }

    /// The moment it denotes: without a year, in the year that puts it nearest to `received`; in
    /// the hour that occurs twice when the clocks go back, the nearer of the two. `zone` applies to
    /// a time without an offset.
    pub(super) fn nearest(&self, zone: &TimeZone, received: Timestamp) -> Option<Timestamp> {
        let fixed = self.offset.map(TimeZone::fixed);
        let zone = fixed.as_ref().unwrap_or(zone);
        let distance = |time: &Timestamp| time.duration_since(received).abs();
        let in_year = |year: i16| moment(self.time.with().year(year).build().ok()?, zone, received);
        if self.has_year {
            return moment(self.time, zone, received);
        }
        let year = received.to_zoned(zone.clone()).year();
        let this = in_year(year);
        if let Some(time) = this.filter(|time| distance(time) < SURELY_NEAREST) {
            return Some(time);
        }
        let others = [year.checked_sub(1), year.checked_add(1)].into_iter().flatten();
        others.filter_map(in_year).chain(this).min_by_key(distance)
    }
}

/// The moment of a time in this zone; the one nearest to `received` if there are two.
fn moment(time: civil::DateTime, zone: &TimeZone, received: Timestamp) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(time);
    if let AmbiguousOffset::Fold { before, after } = ambiguous.offset() {
        let both = [before, after].into_iter().filter_map(|at| at.to_timestamp(time).ok());
        return both.min_by_key(|at| at.duration_since(received).abs());
    }
    ambiguous.compatible().ok()
}

/// Parses the time that begins at `at`; returns it with its end, or `None` if none begins. A time
/// that is impossible but nearly valid is [`Sent::Unknown`].
pub(super) fn read(line: &[u8], at: usize) -> Option<(Sent, usize)> {
    let mut reader = Reader { line, at };
    let sent = match line.get(at)?.is_ascii_digit() {
        true => reader.iso(at)?,
        false => Sent::from(reader.month_first()?),
    };
    matches!(line.get(reader.at), None | Some(b' ' | b':' | b'\t')).then_some((sent, reader.at))
}

/// The date and time of day of a valid RFC 3339 time.
pub(super) fn clock(text: &[u8]) -> Option<civil::DateTime> {
    let mut reader = Reader { line: text, at: 0 };
    let (year, month, day) = reader.date()?;
    reader.at += 1;
    let (hour, minute, second) = reader.clock()?;
    civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()
}

/// A time in RFC 3339 form after the version of RFC 5424, and where it ends; only the date and the
/// `T` after it need to be valid.
pub(super) fn nearly_iso(line: &[u8], at: usize) -> Option<(Sent, usize)> {
    if let Some((sent, end)) = read(line, at)
        && matches!(line.get(end), None | Some(b' '))
        && line[at].is_ascii_digit()
    {
        return Some((sent, end));
    }
    let mut reader = Reader { line, at };
    reader.date()?;
    reader.one_of(b"Tt")?;
    let is_part = |byte: &&u8| byte.is_ascii_digit() || b":.,+-Zz".contains(byte);
    let len = line[reader.at..].iter().take_while(is_part).count();
    matches!(line.get(reader.at + len), None | Some(b' '))
        .then_some((Sent::Unknown, reader.at + len))
}

/// Returns whether text begins with the name of a month.
pub(super) fn is_month(text: &[u8]) -> bool {
    month(text).is_some()
}

/// The month whose name text begins with.
fn month(text: &[u8]) -> Option<i8> {
    const MONTHS: &[u8] = b"janfebmaraprmayjunjulaugsepoctnovdec";
    let word = text.get(..3)?;
    (1..).zip(MONTHS.chunks(3)).find(|(_, name)| name.eq_ignore_ascii_case(word)).map(|(n, _)| n)
}

/// Names of zones that follow a time in place of an offset. What one of them means depends on the
/// country (IST, CST), so only those of UTC are interpreted as an offset.
const ZONES: [&[u8]; 50] = [
    b"UTC", b"GMT", b"UCT", b"Z", b"WET", b"WEST", b"BST", b"IST", b"CET", b"CEST", b"MET",
    b"MEST", b"EET", b"EEST", b"MSK", b"TRT", b"SAST", b"CAT", b"EAT", b"WAT", b"GST", b"PKT",
    b"NPT", b"ICT", b"WIB", b"HKT", b"SGT", b"PHT", b"KST", b"JST", b"AWST", b"ACST", b"ACDT",
    b"AEST", b"AEDT", b"NZST", b"NZDT", b"BRT", b"ART", b"CLT", b"AST", b"ADT", b"EST", b"EDT",
    b"CST", b"CDT", b"MST", b"MDT", b"PST", b"PDT",
];

/// The length of the zone at the start of the text, up to a space, a colon or the end, and its
/// offset if unambiguous: a name, `+01:00`, `+0100` or `UTC+1`.
pub(super) fn zone(text: &[u8]) -> Option<(usize, Option<Offset>)> {
    let is_end = |byte: Option<&u8>| matches!(byte, None | Some(b' ' | b':'));
    let letters = text.iter().take(5).take_while(|byte| byte.is_ascii_uppercase()).count();
    let name = &text[..letters];
    if is_end(text.get(letters)) && ZONES.contains(&name) {
        let is_utc = matches!(name, b"UTC" | b"GMT" | b"UCT" | b"Z");
        return Some((letters, is_utc.then_some(Offset::UTC)));
    }
    if letters > 0 && !matches!(name, b"UTC" | b"GMT") {
        return None;
    }
    let mut reader = Reader { line: text, at: letters };
    let offset = reader.offset(letters > 0)?;
    is_end(text.get(reader.at)).then_some((reader.at, Some(offset)))
}

/// The parts of a time, which may be impossible together.
#[derive(Default)]
struct Parts {
    year: Option<i16>,
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
    nanos: i32,
    offset: Option<Offset>,
}

impl From<Parts> for Sent {
    fn from(parts: Parts) -> Self {
        let Parts { year, month, day, hour, minute, second, nanos, offset } = parts;
        let year_or = year.unwrap_or(LEAP_YEAR);
        let time = civil::DateTime::new(year_or, month, day, hour, minute, second, nanos);
        time.map_or(Self::Unknown, |time| {
            Self::Civil(Civil { time, has_year: year.is_some(), offset })
        })
    }
}

/// Parses the parts of a time one after the other.
struct Reader<'l> {
    line: &'l [u8],
    at: usize,
}

impl Reader<'_> {
    /// `2026-11-27T10:00:00.123+01:00`, also with a space for the `T`, a comma for the dot, no
    /// colon in the offset, or no offset.
    fn iso(&mut self, start: usize) -> Option<Sent> {
        let (year, month, day) = self.date()?;
        let is_spaced = self.one_of(b"Tt ")? == b' ';
        let (hour, minute, second) = self.clock()?;
        let before_fraction = self.at;
        let nanos = self.fraction()?;
        let is_long = self.at - before_fraction > FRACTION_MAX + 1;
        let offset = match self.one_of(b"Zz") {
            Some(_) => Some(Offset::UTC),
            None if matches!(self.line.get(self.at), Some(b'+' | b'-')) => {
                Some(self.offset(is_spaced)?)
            }
            None => None,
        };
        if rfc5424::is_timestamp(&self.line[start..self.at]) {
            return Some(Sent::Text(Span::new(start, self.at)));
        }
        if is_long && offset.is_some() {
            return Some(Sent::Unknown);
        }
        let year = Some(year);
        Some(Parts { year, month, day, hour, minute, second, nanos, offset }.into())
    }

    fn date(&mut self) -> Option<(i16, i8, i8)> {
        let year = i16::try_from(self.digits(4, 4)?).ok()?;
        self.one_of(b"-")?;
        let month = self.small(2, 2)?;
        self.one_of(b"-")?;
        Some((year, month, self.small(2, 2)?))
    }

    /// `Nov 27 10:00:00.123`, with a year before or after the time of day or at the front.
    fn month_first(&mut self) -> Option<Parts> {
        let mut parts = Parts { month: month(&self.line[self.at..])?, ..Parts::default() };
        self.at += 3;
        self.spaces()?;
        parts.day = self.small(1, 2).filter(|day| (1..=31).contains(day))?;
        self.spaces()?;
        parts.year = self.year();
        if parts.year.is_some() {
            self.spaces()?;
        }
        (parts.hour, parts.minute, parts.second) = self.clock()?;
        if parts.hour > 23 || parts.minute > 59 || parts.second > 60 {
            return None;
        }
        parts.nanos = self.fraction()?;
        if parts.year.is_none() && self.line.get(self.at) == Some(&b' ') {
            let mut behind = Reader { line: self.line, at: self.at + 1 };
            parts.year = behind.year();
            if parts.year.is_some() {
                self.at = behind.at;
            }
        }
        Some(parts)
    }

    /// A four-digit year followed by a space.
    fn year(&mut self) -> Option<i16> {
        let start = self.at;
        let year = self.digits(4, 4).and_then(|year| i16::try_from(year).ok());
        let year = year.filter(|year| (1970..2100).contains(year));
        let year = year.filter(|_| self.line.get(self.at) == Some(&b' '));
        if year.is_none() {
            self.at = start;
        }
        year
    }

    fn clock(&mut self) -> Option<(i8, i8, i8)> {
        let hour = self.small(1, 2)?;
        self.one_of(b":")?;
        let minute = self.small(2, 2).or_else(|| self.small(1, 1))?;
        self.one_of(b":")?;
        let second = self.small(2, 2).or_else(|| self.small(1, 1))?;
        Some((hour, minute, second))
    }

    /// The fraction of a second, in nanoseconds; 0 if absent.
    fn fraction(&mut self) -> Option<i32> {
        let behind = self.line.get(self.at + 1).is_some_and(u8::is_ascii_digit);
        match self.line.get(self.at) {
            Some(b'.') => {}
            Some(b',') if behind => {}
            _ => return Some(0),
        }
        self.at += 1;
        let digits = self.line[self.at..].iter().take_while(|byte| byte.is_ascii_digit());
        let (mut nanos, mut unit) = (0, 100_000_000);
        let mut count = 0;
        for digit in digits {
            nanos += i32::from(digit - b'0') * unit;
            unit /= 10;
            count += 1;
        }
        self.at += count;
        Some(nanos)
    }

    /// `+01:00`, `+0100` or `+01`; with a one-digit hour only if `short`.
    fn offset(&mut self, short: bool) -> Option<Offset> {
        let sign = if self.one_of(b"+-")? == b'-' { -1 } else { 1 };
        let hours = match self.digits(2, 2) {
            Some(hours) => hours,
            None if short => self.digits(1, 1)?,
            None => return None,
        };
        let colon = self.line.get(self.at) == Some(&b':')
            && self.line.get(self.at + 1).is_some_and(u8::is_ascii_digit);
        self.at += usize::from(colon);
        let minutes = self.digits(2, 2).unwrap_or(0);
        if hours > 15 || minutes > 59 {
            return None;
        }
        Offset::from_seconds(sign * i32::try_from((hours * 60 + minutes) * 60).ok()?).ok()
    }

    fn spaces(&mut self) -> Option<()> {
        let count = self.line[self.at..].iter().take_while(|byte| **byte == b' ').count();
        self.at += count;
        (count > 0).then_some(())
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let byte = *self.line.get(self.at).filter(|byte| bytes.contains(byte))?;
        self.at += 1;
        Some(byte)
    }

    fn small(&mut self, min: usize, max: usize) -> Option<i8> {
        self.digits(min, max).and_then(|value| i8::try_from(value).ok())
    }

    /// A number of at least `min` and at most `max` digits.
    fn digits(&mut self, min: usize, max: usize) -> Option<u32> {
        let digits = &self.line[self.at.min(self.line.len())..];
        let count = digits.iter().take(max).take_while(|byte| byte.is_ascii_digit()).count();
        if count < min || count == 0 {
            return None;
        }
        self.at += count;
        Some(digits[..count].iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
    }
}
