//! `logweir losses`: what the daemon lost in the last day.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::civil::{DateTime, Time};
use jiff::{Timestamp, Zoned};

use super::Refused;
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
    /// Only what was lost from this time on: 10:00 (today), "2026-11-23 08:00" (local), or 2h
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
/// `--since` is yet to come, the daemon is not found, or its answer is invalid.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    must_have_come(args.since, SystemTime::now())?;
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
        text.push_str("nothing was lost here\n");
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

/// Parses a point in time. Without a zone it is in the host's, as what is shown is; without a date
/// it is today's.
pub(super) fn point(text: &str) -> Result<SystemTime, String> {
    let text = text.trim();
    let now = Zoned::now();
    let civil = || match text.contains('-') {
        true => text.parse::<DateTime>().ok(),
        false => Some(now.date().to_datetime(text.parse::<Time>().ok()?)),
    };
    if text.parse::<Timestamp>().is_err()
        && let Some(civil) = text.contains(':').then(civil).flatten()
    {
        let at = civil.to_zoned(now.time_zone().clone()).map_err(|error| error.to_string())?;
        return Ok(at.timestamp().into());
    }
    time::ago_or_stamp(text).ok_or_else(|| {
        "write 10:00 for today's, \"2026-11-23 08:00\" in the host's zone, 2026-11-23T08:00:00Z, \
         or 2h for two hours ago"
            .into()
    })
}

/// Refuses a `--since` that is yet to come: mostly a time without a date that meant yesterday's.
///
/// # Errors
/// It is later than `now`.
pub(super) fn must_have_come(since: Option<SystemTime>, now: SystemTime) -> anyhow::Result<()> {
    let Some(since) = since.filter(|since| *since > now) else { return Ok(()) };
    let shown = zoned(seconds(since));
    anyhow::bail!(Refused(format!(
        "--since {} has not come yet; write the date with the time if you mean another day",
        shown.strftime("%F %T")
    )));
}

/// A time in seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> f64 {
    let before = |error: std::time::SystemTimeError| -error.duration().as_secs_f64();
    time.duration_since(UNIX_EPOCH).map_or_else(before, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        assert!(point("2h").unwrap() > point("3h").unwrap());
        for text in ["noon", "-2h", "2026-13-01 08:00", ""] {
            assert!(point(text).unwrap_err().starts_with("write 10:00 for today's"), "{text}");
        }
    }

    #[test]
    fn a_time_with_a_date_is_of_that_day_in_the_zone_in_which_times_are_shown() {
        let at = point("2026-11-23 08:00").unwrap();
        let shown = zoned(seconds(at)).strftime("%F %T").to_string();
        assert_eq!(shown, "2026-11-23 08:00:00");
        assert_eq!(point("2026-11-23T08:00").unwrap(), at);
    }

    #[test]
    fn what_begins_later_is_refused_with_what_to_write() {
        let now = point("2026-11-23 08:00").unwrap();
        for past in [None, Some(now), Some(now - Duration::from_secs(1))] {
            must_have_come(past, now).unwrap();
        }
        let refusal = must_have_come(Some(now + Duration::from_secs(1)), now).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "--since 2026-11-23 08:00:01 has not come yet; write the date with the time if you \
             mean another day"
        );
    }
}
