//! Points in time as users write them, and as they are shown: in UTC.

use std::time::SystemTime;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

use crate::config::units;

/// Parses a point in time: `2026-11-23T08:00:00Z`, `2026-11-23 08:00` (UTC), or how long ago, as in
/// `2h`.
pub(in crate::cli) fn parse(text: &str) -> Result<SystemTime, String> {
    let text = text.trim();
    let civil = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    let found = ago_or_stamp(text).or_else(|| civil().map(|time| time.timestamp().into()));
    found.ok_or_else(|| {
        "write a time as 2026-11-23T08:00:00Z, \"2026-11-23 08:00\" (UTC), or 2h for two hours ago"
            .into()
    })
}

/// Parses what means the same in every zone: a time with its offset, or how long ago.
pub(in crate::cli) fn ago_or_stamp(text: &str) -> Option<SystemTime> {
    match units::time(text) {
        Ok(ago) => SystemTime::now().checked_sub(ago),
        Err(_) => text.parse::<Timestamp>().ok().map(SystemTime::from),
    }
}

/// A point in time to the second, for a table.
pub(super) fn short(time: SystemTime) -> String {
    let to_second = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor);
    let stamp = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    stamp.round(to_second).unwrap_or(stamp).to_string()
}

/// A point in time to the nanosecond, in a form that [`parse`] reads back exactly.
pub(super) fn exact(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_are_read_in_several_forms() {
        let eight = UNIX_EPOCH + Duration::from_secs(1_795_420_800);
        for text in [
            "2026-11-23T08:00:00Z",
            "2026-11-23T09:00:00+01:00",
            "2026-11-23 08:00",
            "2026-11-23T08:00",
            " 2026-11-23 08:00:00 ",
        ] {
            assert_eq!(parse(text), Ok(eight), "{text}");
        }
        assert_eq!(parse("2026-11-23"), Ok(eight - Duration::from_secs(8 * 3600)));
        let before = parse("2h").unwrap();
        let ago = SystemTime::now().duration_since(before).unwrap();
        assert!((7200..7260).contains(&ago.as_secs()), "{ago:?}");
        for text in ["", "8:00", "yesterday", "2026-13-01", "2h ago", "-2h"] {
            assert!(parse(text).unwrap_err().contains("write a time"), "{text}");
        }
    }

    #[test]
    fn what_is_shown_exactly_is_read_as_the_same() {
        let time = UNIX_EPOCH + Duration::new(1_795_420_800, 123_456_789);
        assert_eq!(parse(&exact(time)), Ok(time));
        assert_eq!(short(time), "2026-11-23T08:00:00Z");
    }
}
