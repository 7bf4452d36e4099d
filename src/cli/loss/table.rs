//! The tables that `loss` prints: by hour, and by gap.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::runs::{Hour, Runs, Seconds};

/// Wikimedia's hourly table: the lines expected from each sender, and those received.
pub(super) fn hourly(runs: &Runs, step: u64) -> String {
    let mut text = format!(
        "{:<17} {:<24} {:>3} {:>12} {:>12} {:>12} {:>10} {:>10} {:>8}\n",
        "HOUR", "SENDER", "RUN", "EXPECTED", "GOT", "DISTINCT", "LOST", "DOUBLED", "LOST %"
    );
    let mut rows: Vec<_> = runs
        .all()
        .flat_map(|(name, run, of)| {
            of.hours(step).into_iter().map(move |(hour, counts)| (hour, name, run, counts))
        })
        .collect();
    rows.sort_by_key(|(hour, name, run, _)| (*hour, *name, *run));
    for (hour, name, run, counts) in rows {
        let Hour { got, distinct, lost, .. } = counts;
        let expected = distinct.saturating_add(lost);
        let percent = lost as f64 / expected.max(1) as f64 * 100.0;
        let hour = hour.map_or_else(|| "-".into(), |hour| time(hour * 3600, "%Y-%m-%dT%H:%MZ"));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{hour:<17} {:<24} {run:>3} {expected:>12} {got:>12} {distinct:>12} {lost:>10} \
             {:>10} {percent:>8.3}",
            name.escape_ascii().to_string(),
            got - distinct,
        );
    }
    notes(runs, &mut text);
    text
}

/// Which numbers are missing, and between which times.
pub(super) fn gaps(runs: &Runs) -> String {
    let mut text = format!(
        "{:<24} {:>3} {:>20} {:>20} {:>10} {:<20} {:<20}\n",
        "SENDER", "RUN", "FIRST", "LAST", "MISSING", "AFTER", "BEFORE"
    );
    let shown = |seconds: Seconds| {
        seconds.map_or_else(|| "-".into(), |seconds| time(seconds, "%Y-%m-%dT%H:%M:%SZ"))
    };
    for (name, run, of) in runs.all() {
        let name = name.escape_ascii().to_string();
        for gap in of.gaps() {
            let ((first, last), (after, before)) = (gap.numbers, gap.times);
            let (missing, after, before) = (last - first + 1, shown(after), shown(before));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{name:<24} {run:>3} {first:>20} {last:>20} {missing:>10} {after:<20} {before}"
            );
        }
    }
    notes(runs, &mut text);
    text
}

fn notes(runs: &Runs, text: &mut String) {
    for (count, what) in [
        (runs.unlisted, "gaps are counted in their hours, but too many to be listed"),
        (runs.left_out, "lines of senders and hours beyond the limits"),
    ] {
        if count > 0 {
            let _ = writeln!(text, "{count} {what}");
        }
    }
}

fn time(seconds: i64, form: &str) -> String {
    let time = Timestamp::from_second(seconds);
    time.map_or_else(|_| "-".into(), |time| time.strftime(form).to_string())
}

/// The seconds since 1970 of a word that is a time: those seconds in decimal, with or without a
/// fraction, or `2026-11-27T13:00:00` with a zone or in UTC.
pub(super) fn seconds(word: &[u8]) -> Seconds {
    let word = std::str::from_utf8(word).ok().filter(|word| word.len() <= 40)?;
    let whole = word.split('.').next().unwrap_or_default();
    if (9..=11).contains(&whole.len()) && whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return whole.parse().ok();
    }
    if let Ok(time) = word.parse::<Timestamp>() {
        return Some(time.as_second());
    }
    let time = word.parse::<jiff::civil::DateTime>().ok().filter(|_| word.contains('T'))?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_senders_write_them() {
        for (word, wanted) in [
            ("1700000000.123", Some(1_700_000_000)),
            ("1700000000", Some(1_700_000_000)),
            ("2023-11-14T22:13:20", Some(1_700_000_000)),
            ("2023-11-14T22:13:20.5Z", Some(1_700_000_000)),
            ("2023-11-14T23:13:20+01:00", Some(1_700_000_000)),
            ("17", None),
            ("2023-11-14", None),
            ("GET", None),
            ("", None),
        ] {
            assert_eq!(seconds(word.as_bytes()), wanted, "{word}");
        }
    }
}
