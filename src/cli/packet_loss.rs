//! `logweir packet-loss`: the drop-in for Wikimedia's packet-loss. Its output is identical to the
//! byte: people parse it.
//!
//! Every ten minutes, by the times in the lines, it reports how many lines were lost, estimated
//! from a sample of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use super::stdin::next_line;
use crate::limits;

/// The lines' own time between two reports, in seconds.
const INTERVAL: i64 = 600;
/// A line of at least this many bytes, including its newline, is invalid.
const LINE_INVALID: usize = 65_535;
/// Marks a sender whose numbers went back: its next number is only recorded.
const LOST_TRACK: u64 = u64::MAX;
/// A sender with fewer lines is omitted from the report.
const SAMPLE_MIN: i64 = 10;

/// Estimate packet loss from a sample of numbered lines, as Wikimedia's packet-loss does
///
/// It reads lines from standard input that begin with a sender's name, a number and a time as in
/// 2026-11-25T19:10:34. Every ten minutes by these times, and at the end, it reports the
/// percentages of lines that were invalid, out of order, and lost, in total and for each sender
/// with ten lines or more.
#[derive(Debug, clap::Args)]
#[command(override_usage = "packet-loss RATE [DELIMITER]")]
pub struct Args {
    /// The sampling rate N, for one line in N; and the bytes between fields (a space), \t for a tab
    #[arg(value_name = "RATE [DELIMITER]", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Reports until the input ends; returns 1 if the command line is refused.
///
/// # Errors
/// The system's, when reading or writing.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(rate) = args.args.first() else {
        eprintln!("usage: packet-loss <sample-rate> [delimiter]");
        return Ok(ExitCode::FAILURE);
    };
    let rate = rate.to_str().and_then(|rate| rate.parse::<i32>().ok()).filter(|rate| *rate >= 1);
    let Some(rate) = rate else {
        eprintln!("packet-loss: invalid sample rate");
        return Ok(ExitCode::FAILURE);
    };
    // With more than two arguments the original ignores the second.
    let delimiters: &[u8] = match &args.args[..] {
        [_, delimiter] if delimiter == "\\t" => b"\t",
        [_, delimiter] => delimiter.as_bytes(),
        _ => b" ",
    };
    let mut stdin = io::BufReader::with_capacity(limits::READ_CHUNK, io::stdin().lock());
    match report_all(&mut stdin, &mut io::stdout().lock(), rate.into(), delimiters) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        done => done?,
    }
    Ok(ExitCode::SUCCESS)
}

fn report_all(
    input: &mut impl io::BufRead,
    out: &mut impl Write,
    rate: i64,
    delimiters: &[u8],
) -> io::Result<()> {
    let mut counts = Counts::default();
    let mut time = Time::default();
    let mut reported = 0;
    let mut line = Vec::new();
    while let Some(read) = next_line(input, LINE_INVALID, &mut line)? {
        counts.total += 1;
        if line.len() + usize::from(read.ended) >= LINE_INVALID
            || counts.line(&line, delimiters, &mut time).is_none()
        {
            counts.invalid += 1;
            continue;
        }
        let now = time.normalize();
        if now - reported >= INTERVAL {
            reported = now;
            out.write_all(&counts.report(&time, rate))?;
            out.flush()?;
            counts.begin_anew();
        }
    }
    out.write_all(&counts.report(&time, rate))?;
    out.flush()
}

/// The statistics of one sender.
#[derive(Debug)]
struct Host {
    /// Sampled lines received since the last report; its very first line counts in each.
    received: i64,
    /// Lines sent, according to the numbers.
    sent: i64,
    number: u64,
}

/// The counts since the last report.
#[derive(Debug, Default)]
struct Counts {
    total: i64,
    out_of_order: i64,
    invalid: i64,
    hosts: BTreeMap<Box<[u8]>, Host>,
}

impl Counts {
    /// Counts a line; `None` if it is invalid.
    fn line(&mut self, line: &[u8], delimiters: &[u8], time: &mut Time) -> Option<()> {
        // The original works on C strings, which end at a NUL.
        let mut rest = line.split(|byte| *byte == 0).next()?;
        let host = token(&mut rest, delimiters)?;
        let number = token(&mut rest, delimiters)?;
        let when = token(&mut rest, delimiters)?;
        if rest.is_empty() {
            return None;
        }
        let number = parse_number(number)?;
        time.parse(when)?;
        self.number(host, number)
    }

    fn number(&mut self, name: &[u8], number: u64) -> Option<()> {
        let Some(host) = self.hosts.get_mut(name) else {
            let full = self.hosts.len() == limits::PACKET_LOSS_HOSTS_MAX;
            if full || name.len() > limits::SENDER_NAME_MAX {
                return None;
            }
            self.hosts.insert(name.into(), Host { received: 1, sent: 0, number });
            return Some(());
        };
        if host.number == LOST_TRACK {
            host.number = number;
        } else if host.number > number {
            self.out_of_order += 1;
            host.number = LOST_TRACK;
        } else {
            host.sent = host.sent.wrapping_add_unsigned(number - host.number);
            host.received += 1;
            host.number = number;
        }
        Some(())
    }

    fn begin_anew(&mut self) {
        (self.total, self.out_of_order, self.invalid) = (0, 0, 0);
        for host in self.hosts.values_mut() {
            (host.received, host.sent) = (1, 0);
        }
    }

    fn report(&self, time: &Time, rate: i64) -> Vec<u8> {
        let mut text = Vec::new();
        let mut say = |what: &[u8], ratio: String| {
            text.extend_from_slice(time.to_string().as_bytes());
            text.extend_from_slice(what);
            text.extend_from_slice(ratio.as_bytes());
            text.push(b'\n');
        };
        let error = (self.total as f64).sqrt();
        say(b"invalid: ", ratio(self.invalid, self.total, error));
        say(b"out of order: ", ratio(self.out_of_order, self.total, error));
        let lost = |sent: i64, received: i64| {
            let missing = sent.wrapping_sub(received.wrapping_mul(rate));
            ratio(missing, sent, (received as f64).sqrt() * rate as f64)
        };
        let hosts = || self.hosts.iter().filter(|(_, host)| host.received >= SAMPLE_MIN);
        let (sent, received) = hosts().fold((0_i64, 0), |(sent, received), (_, host)| {
            (sent.wrapping_add(host.sent), received + host.received)
        });
        say(b"total lost: ", lost(sent, received));
        for (name, host) in hosts() {
            say(&[name, &b" lost: "[..]].concat(), lost(host.sent, host.received));
        }
        text
    }
}

fn ratio(part: i64, whole: i64, part_error: f64) -> String {
    if whole == 0 {
        return "(0 +/- 0)%".into();
    }
    let whole = whole as f64;
    format!("({:.5} +/- {:.5})%", part as f64 / whole * 100.0, part_error / whole * 100.0)
}

/// The next token, as in strtok(3): delimiters before it are skipped, and the one after it is
/// consumed.
fn token<'a>(rest: &mut &'a [u8], delimiters: &[u8]) -> Option<&'a [u8]> {
    let is_delimiter = |byte: &u8| delimiters.contains(byte);
    let start = rest.iter().position(|byte| !is_delimiter(byte))?;
    let text = &rest[start..];
    let end = text.iter().position(is_delimiter).unwrap_or(text.len());
    *rest = text.get(end + 1..).unwrap_or_default();
    Some(&text[..end])
}

/// Parses a number like boost's `lexical_cast` to an unsigned type: with or without a sign, and a
/// negative number wraps around.
fn parse_number(word: &[u8]) -> Option<u64> {
    let digits = |word: &[u8]| {
        let text = std::str::from_utf8(word).ok()?;
        text.starts_with(|first: char| first.is_ascii_digit()).then(|| text.parse().ok())?
    };
    match word {
        [b'-', rest @ ..] => digits(rest).map(u64::wrapping_neg),
        [b'+', rest @ ..] => digits(rest),
        word => digits(word),
    }
}

/// A time of day as written in the lines. If a line's time is invalid in its middle, the fields
/// before that are used, as in strptime(3): the last report shows them.
#[derive(Debug, Clone, Copy)]
struct Time {
    /// Year, month, day, hour, minute, second.
    fields: [i64; 6],
}

impl Default for Time {
    fn default() -> Self {
        // The output of strftime(3) for a `struct tm` of zeroes.
        Self { fields: [1900, 1, 0, 0, 0, 0] }
    }
}

impl Time {
    /// `%Y-%m-%dT%H:%M:%S`; anything after it is ignored.
    fn parse(&mut self, word: &[u8]) -> Option<()> {
        const FORM: [(Option<u8>, usize, i64, i64); 6] = [
            (None, 4, 0, 9999),
            (Some(b'-'), 2, 1, 12),
            (Some(b'-'), 2, 1, 31),
            (Some(b'T'), 2, 0, 23),
            (Some(b':'), 2, 0, 59),
            (Some(b':'), 2, 0, 61),
        ];
        let mut rest = word;
        for (field, (before, width, min, max)) in self.fields.iter_mut().zip(FORM) {
            if let Some(byte) = before {
                rest = rest.strip_prefix(&[byte])?;
            }
            let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
            rest = &rest[spaces..];
            *field = take_number(&mut rest, width, max).filter(|number| *number >= min)?;
        }
        Some(())
    }

    /// Normalizes a 31 February or a second 60, as timegm(3) does; returns the seconds since 1970.
    fn normalize(&mut self) -> i64 {
        let [year, month, day, hour, minute, second] = self.fields;
        // Years that begin in March have their leap day at the end.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = days_before(year) + (153 * month + 2) / 5 + day - 1;
        let seconds = (days * 24 + hour) * 3600 + minute * 60 + second;
        let days = seconds.div_euclid(86_400);
        // Slightly low, because years are slightly shorter.
        let mut year = days * 400 / 146_097 - 1;
        while days_before(year + 1) <= days {
            year += 1;
        }
        let day = days - days_before(year);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
        self.fields = [
            year,
            month,
            day,
            seconds.div_euclid(3600).rem_euclid(24),
            seconds.div_euclid(60).rem_euclid(60),
            seconds.rem_euclid(60),
        ];
        seconds - 719_468 * 86_400
    }
}

/// Days from 1 March of the year 0 to 1 March of this one.
fn days_before(year: i64) -> i64 {
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400)
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [year, month, day, hour, minute, second] = self.fields;
        write!(f, "[{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}] ")
    }
}

/// At most `width` digits, stopping when ten times the number exceeds `max`.
fn take_number(rest: &mut &[u8], width: usize, max: i64) -> Option<i64> {
    let mut number = None;
    for _ in 0..width {
        let room = number.is_none_or(|number: i64| number * 10 <= max);
        let digit = rest.first().filter(|byte| room && byte.is_ascii_digit());
        let Some(digit) = digit else { break };
        number = Some(number.unwrap_or(0) * 10 + i64::from(digit - b'0'));
        *rest = &rest[1..];
    }
    number.filter(|number| *number <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_brought_into_order_as_the_c_library_does() {
        let known = [
            ("2012-01-01T00:00:00.123Z", 1_325_376_000, "[2012-01-01T00:00:00] "),
            ("2012-2-31T23:59:60", 1_330_732_800, "[2012-03-03T00:00:00] "),
            ("2000-02-29T7:8:9", 951_808_089, "[2000-02-29T07:08:09] "),
            ("1900-02-29T00:00:00", -2_203_891_200, "[1900-03-01T00:00:00] "),
        ];
        for (text, seconds, shown) in known {
            let mut time = Time::default();
            assert_eq!(time.parse(text.as_bytes()), Some(()), "{text}");
            assert_eq!((time.normalize(), time.to_string().as_str()), (seconds, shown));
        }
        let mut time = Time::default();
        assert_eq!(time.parse(b"2012-07-04T24:00:00"), None);
        assert_eq!(time.to_string(), "[2012-07-04T00:00:00] ");
    }

    #[test]
    fn numbers_are_read_as_boost_does() {
        let known = [
            ("7", Some(7)),
            ("+7", Some(7)),
            ("-1", Some(u64::MAX)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("+", None),
            ("-", None),
            ("+-1", None),
            ("1x", None),
        ];
        for (text, number) in known {
            assert_eq!(parse_number(text.as_bytes()), number, "{text}");
        }
    }

    #[test]
    fn a_line_too_long_is_invalid_and_ends_nothing() {
        let mut input = Vec::new();
        for len in [65_533, 65_534, 200_000] {
            input.extend_from_slice(b"a 1 1970-01-01T00:00:00 ");
            input.resize(input.len() + len - 24, b'x');
            input.push(b'\n');
        }
        input.extend_from_slice(b"a 2 1970-01-01T00:00:01 x\n");
        let mut out = Vec::new();
        report_all(&mut &input[..], &mut out, 1, b" ").unwrap();
        let want = "[1970-01-01T00:00:01] invalid: (50.00000 +/- 50.00000)%\n";
        assert!(String::from_utf8(out).unwrap().starts_with(want));
    }
}
