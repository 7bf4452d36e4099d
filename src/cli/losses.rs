//! `logweir losses`: what the daemon lost in the last day.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Zoned;
use jiff::civil::Time;

use super::control::Daemon;
use super::spool::time;
use crate::driver::control::Request;
use crate::driver::losses::{Record, zoned};
use crate::engine::losses::amount;
use crate::printable::printable;

/// List what was lost in the last day: by which node, when, how much and why
///
/// Each line is an episode: it begins with the first lost line and ends when nothing was lost for
/// a minute. Episodes from before a restart are listed if the daemon has a state folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    daemon: Daemon,
    /// Only what was lost from this time on: 10:00 (today), "2026-11-23 08:00" (UTC), or 2h ago
    #[arg(long, value_name = "T", value_parser = point)]
    since: Option<SystemTime>,
    /// Only what was lost before this time
    #[arg(long, value_name = "T", value_parser = point)]
    until: Option<SystemTime>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Prints the episodes.
///
/// # Errors
/// The daemon is not found, or its answer is invalid.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let answer = args.daemon.ask(Request::Losses)?;
    let records: Vec<Record> = serde_json::from_value(answer)?;
    let (since, until) = (args.since.map(seconds), args.until.map(seconds));
    let wanted = records.into_iter().filter(|record| {
        since.is_none_or(|since| record.last >= since)
            && until.is_none_or(|until| record.began < until)
    });
    let mut text = String::new();
    for record in wanted {
        text.push_str(&match args.json {
            true => serde_json::to_string(&record)?,
            false => line(&record),
        });
        text.push('\n');
    }
    if text.is_empty() && !args.json {
        text.push_str("nothing was lost\n");
    }
    super::print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// An episode as a line for a person.
pub(super) fn line(record: &Record) -> String {
    let (began, last) = (zoned(record.began), zoned(record.last));
    let end = match (record.ended, began.date() == last.date()) {
        (false, _) => "now".to_string(),
        (true, true) => last.strftime("%H:%M:%S").to_string(),
        (true, false) => last.strftime("%F %T").to_string(),
    };
    let Record { node, cause, count, unit, why, .. } = record;
    let count = amount(*count, unit);
    let line = format!("{} to {end}  {node}: {count} ({cause}): {why}", began.strftime("%F %T"));
    printable(&line).into_owned()
}

/// Parses a point in time. A time without a date is today's, in the host's zone.
pub(super) fn point(text: &str) -> Result<SystemTime, String> {
    let today = || {
        let time: Time = text.trim().parse().ok()?;
        let at = Zoned::now().date().to_datetime(time);
        Some(SystemTime::from(at.to_zoned(Zoned::now().time_zone().clone()).ok()?.timestamp()))
    };
    match text.contains(':').then(today).flatten() {
        Some(at) => Ok(at),
        None => time::parse(text).map_err(|error| format!("{error}; or 10:00 for today's")),
    }
}

/// A time in seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> f64 {
    let before = |error: std::time::SystemTimeError| -error.duration().as_secs_f64();
    time.duration_since(UNIX_EPOCH).map_or_else(before, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_bare_time_is_todays() {
        let at = Timestamp::try_from(point("10:07").unwrap()).unwrap();
        let at = at.to_zoned(Zoned::now().time_zone().clone());
        assert_eq!(at.strftime("%T").to_string(), "10:07:00");
        assert_eq!(at.date(), Zoned::now().date());
        let exact = Timestamp::try_from(point("2026-11-23T08:00:00Z").unwrap()).unwrap();
        assert_eq!(exact.as_second(), 1_795_420_800);
        assert!(point("noon").unwrap_err().ends_with("10:00 for today's"));
    }
}
