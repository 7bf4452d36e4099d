//! Times in a template, in strftime(3) notation. Common conversions are written directly, which is
//! many times faster than interpreting the notation for each line.

use std::fmt;
use std::str::FromStr;

use jiff::Zoned;
use jiff::civil::DateTime;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The maximum size of a rendered sample time in bytes: far below what [`Template::most`] allows
/// for a value, because names of days and months differ in length.
///
/// [`Template::most`]: super::template::Template::most
const BYTES_MAX: usize = 256;

/// How a time is written.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Clock {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `%b`
    Month,
    /// A number of two digits: `%d`, `%H`, `%M`, `%S`, `%m`.
    Two(Digits),
    /// `%e`
    Day,
    /// `%Y`
    Year,
    /// Any other conversion that jiff supports.
    Other(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digits {
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

impl Clock {
    /// `%b %e %H:%M:%S`, as in RFC 3164.
    pub(super) fn traditional(time: DateTime, out: &mut Vec<u8>) {
        month(time, out);
        out.push(b' ');
        day(time, out);
        out.push(b' ');
        two(time.hour(), out);
        out.push(b':');
        two(time.minute(), out);
        out.push(b':');
        two(time.second(), out);
    }

    /// Writes a time.
    pub(super) fn write(&self, time: &Zoned, out: &mut Vec<u8>) {
        let civil = time.datetime();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Month => month(civil, out),
                Part::Day => day(civil, out),
                Part::Year => out.extend_from_slice(format!("{:04}", civil.year()).as_bytes()),
                Part::Two(digits) => two(digits.of(civil), out),
                Part::Other(words) => {
                    // A format that cannot be rendered was refused when it was parsed.
                    let text = jiff::fmt::strtime::format(words, time).unwrap_or_default();
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
    }
}

impl Digits {
    fn of(self, time: DateTime) -> i8 {
        match self {
            Self::Month => time.month(),
            Self::Day => time.day(),
            Self::Hour => time.hour(),
            Self::Minute => time.minute(),
            Self::Second => time.second(),
        }
    }
}

fn month(time: DateTime, out: &mut Vec<u8>) {
    let at = usize::from(time.month().unsigned_abs()) - 1;
    out.extend_from_slice(MONTHS[at].as_bytes());
}

fn day(time: DateTime, out: &mut Vec<u8>) {
    let day = time.day().unsigned_abs();
    out.extend([if day < 10 { b' ' } else { b'0' + day / 10 }, b'0' + day % 10]);
}

fn two(number: i8, out: &mut Vec<u8>) {
    let number = number.unsigned_abs();
    out.extend([b'0' + number / 10, b'0' + number % 10]);
}

impl FromStr for Clock {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A time with a fraction and a zone: if it can be rendered, any time can.
        let sample = Zoned::UNIX_EPOCH;
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            if at > 0 {
                parts.push(Part::Text(rest[..at].into()));
            }
            let words = &rest[at..];
            // A directive consists of flags, a width or a precision, and a letter.
            let is_end = |(_, sign): &(usize, char)| sign.is_alphabetic() || *sign == '%';
            let end = words.char_indices().skip(1).find(is_end);
            let end = end.map_or(words.len(), |(at, sign)| at + sign.len_utf8());
            let (word, behind) = words.split_at(end);
            parts.push(match word {
                "%b" | "%h" => Part::Month,
                "%m" => Part::Two(Digits::Month),
                "%d" => Part::Two(Digits::Day),
                "%H" => Part::Two(Digits::Hour),
                "%M" => Part::Two(Digits::Minute),
                "%S" => Part::Two(Digits::Second),
                "%e" => Part::Day,
                "%Y" => Part::Year,
                "%%" => Part::Text("%".into()),
                other => {
                    let written = jiff::fmt::strtime::format(other, &sample);
                    let written =
                        written.map_err(|error| format!("the time's {other}: {error}"))?;
                    if written.contains(['\n', '\r', '\0']) {
                        return Err(format!("the time's {other}: a template is one line"));
                    }
                    Part::Other(other.into())
                }
            });
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        let clock = Self { text: text.into(), parts };
        let mut written = Vec::new();
        clock.write(&sample, &mut written);
        if written.len() > BYTES_MAX {
            return Err(format!("the time {text} takes more than {BYTES_MAX} bytes"));
        }
        Ok(clock)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn every_word_gives_what_strftime_gives() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let words = [
            "%b %e %H:%M:%S",
            "%Y-%m-%dT%H:%M:%S%.6f%:z",
            "%d/%b/%Y:%H:%M:%S %z",
            "%F %T,%3f",
            "%a %A %B %j %s %y %I %p %Z",
            "100%% %-d %_H",
            "%h",
        ];
        for second in [0, 1_795_780_801, 1_767_225_599, 951_782_400] {
            let time = Timestamp::new(second, 123_456_789).unwrap().to_zoned(zone.clone());
            for words in words {
                let clock: Clock = words.parse().unwrap();
                let mut out = Vec::new();
                clock.write(&time, &mut out);
                let want = jiff::fmt::strtime::format(words, &time).unwrap();
                assert_eq!(String::from_utf8(out).unwrap(), want, "{words}");
            }
            let mut out = Vec::new();
            Clock::traditional(time.datetime(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), time.strftime("%b %e %T").to_string());
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in ["%", "%!", "%H:%K?", "%n"] {
            assert!(wrong.parse::<Clock>().is_err(), "{wrong}");
        }
    }
}
