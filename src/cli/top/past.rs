//! The past of one node, for its page: its day by the minute, its last hour by the second.
//!
//! Each cell of a line stands for several minutes or seconds; below it stands whether anything was
//! lost in them.

use std::path::Path;
use std::time::Duration;

use crate::driver::control::{Request, ask};
use crate::driver::losses::zoned;
use crate::driver::seconds::SecondsReport;
use crate::engine::minutes::MinutesReport;
use crate::limits::{MINUTES_KEPT, SECONDS_KEPT};

/// Windows with losses that are listed.
const LISTED: usize = 5;

/// What a node counted over time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Past {
    /// The node's name.
    pub(super) node: String,
    /// Its day.
    pub(super) minutes: Span,
    /// Its last hour.
    pub(super) seconds: Span,
}

/// Windows of the same length, up to now.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Span {
    /// The length of a window in seconds.
    window: u64,
    /// When the first window began, in seconds since 1970.
    from: u64,
    /// How many windows there are.
    count: u64,
    /// Those with lines.
    rows: Vec<Row>,
}

/// A window with lines.
#[derive(Debug, Clone, Default, PartialEq)]
struct Row {
    at: u64,
    lines: u64,
    lost: u64,
    why: String,
}

/// A line of cells.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Cells {
    /// Lines a second.
    pub(super) rates: Vec<f64>,
    /// True where something was lost.
    pub(super) lost: Vec<bool>,
}

/// Asks the daemon for the past of a node.
///
/// # Errors
/// A sentence for the user: that no daemon answers, or that its answer is invalid.
pub(super) fn ask_past(path: &Path, node: &str) -> Result<Past, String> {
    let named = || Some(node.to_string());
    let invalid = |error: serde_json::Error| error.to_string();
    let minutes = ask(path, Request::Minutes { node: named(), minutes: None })?;
    let minutes: MinutesReport = serde_json::from_value(minutes).map_err(invalid)?;
    let seconds = ask(path, Request::Seconds { node: named(), seconds: None })?;
    let seconds: SecondsReport = serde_json::from_value(seconds).map_err(invalid)?;
    Ok(Past::of(node, &minutes, &seconds))
}

impl Past {
    fn of(node: &str, minutes: &MinutesReport, seconds: &SecondsReport) -> Self {
        let mut day = Span::new(60, MINUTES_KEPT.into(), minutes.now);
        for row in minutes.nodes.iter().filter(|one| one.name == node).flat_map(|one| &one.rows) {
            let counts = &row.counts;
            let mut why: Vec<_> = counts.dropped.keys().map(String::as_str).collect();
            if counts.kernel_drops > 0 {
                why.push("kernel_drops");
            }
            let lost = counts.dropped_in_all().saturating_add(counts.kernel_drops);
            day.rows.push(Row { at: row.at, lines: counts.lines_in, lost, why: why.join(", ") });
        }
        let mut hour = Span::new(1, SECONDS_KEPT.into(), seconds.now);
        for row in seconds.nodes.iter().filter(|one| one.name == node).flat_map(|one| &one.rows) {
            let lost = row.counts.dropped.saturating_add(row.counts.kernel_drops);
            let (at, lines) = (row.at, row.counts.lines_in);
            hour.rows.push(Row { at, lines, lost, why: String::new() });
        }
        Self { node: node.to_string(), minutes: day, seconds: hour }
    }
}

impl Span {
    fn new(window: u64, count: u64, now: f64) -> Self {
        let now = Duration::try_from_secs_f64(now).unwrap_or_default().as_secs();
        let last = now / window * window;
        let from = last.saturating_sub((count - 1) * window);
        Self { window, from, count, rows: Vec::new() }
    }

    /// So many cells at most, each of the same number of windows; the last one may have fewer.
    pub(super) fn cells(&self, width: usize) -> Cells {
        let width = width.max(1) as u64;
        let each = self.count.div_ceil(width).max(1);
        let count = usize::try_from(self.count.div_ceil(each)).unwrap_or(0);
        let mut cells = Cells { rates: vec![0.0; count], lost: vec![false; count] };
        for row in self.rows.iter().filter(|row| row.at >= self.from) {
            let at = usize::try_from((row.at - self.from) / self.window.max(1) / each);
            // A window of the daemon may be newer than its answer says.
            let at = at.unwrap_or(count).min(count.saturating_sub(1));
            if let (Some(rate), Some(lost)) = (cells.rates.get_mut(at), cells.lost.get_mut(at)) {
                *rate += row.lines as f64 / (each * self.window) as f64;
                *lost |= row.lost > 0;
            }
        }
        cells
    }

    /// The last windows with losses, in words; the newest first.
    pub(super) fn losses(&self) -> Vec<String> {
        let lossy = self.rows.iter().rev().filter(|row| row.lost > 0 && row.at >= self.from);
        let form = if self.window < 60 { "%H:%M:%S" } else { "%H:%M" };
        let words = lossy.take(LISTED).map(|row| {
            let at = zoned(row.at as f64).strftime(form).to_string();
            let why = if row.why.is_empty() { String::new() } else { format!(" ({})", row.why) };
            format!("{at}  {} of {} lines lost{why}", row.lost, row.lines)
        });
        words.collect()
    }

    /// Returns whether nothing is known of it.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
pub(super) use tests::past as sample;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::seconds::NodeSeconds;
    use crate::engine::minutes::{MinuteRow, NodeMinutes};
    use crate::ledger::seconds::{SecondRow, Totals};
    use crate::ledger::told::MinuteCounts;

    const NOW: u64 = 1_795_000_000;

    /// The past of `mobile`: lines and losses in a few windows.
    pub(in crate::cli::top) fn past() -> Past {
        let this = NOW / 60 * 60;
        let minute = |back: u64, lines_in, lost: u64| {
            let mut counts = MinuteCounts { lines_in, ..MinuteCounts::default() };
            if lost > 0 {
                counts.dropped.insert("queue_full".into(), lost);
            }
            MinuteRow { at: this - back * 60, counts }
        };
        let rows =
            vec![minute(1500, 9, 9), minute(1439, 600, 0), minute(30, 60, 5), minute(0, 6, 0)];
        let name = "mobile".to_string();
        let node = NodeMinutes { name: name.clone(), rows, ..NodeMinutes::default() };
        let minutes =
            MinutesReport { now: NOW as f64, nodes: vec![node], ..MinutesReport::default() };
        let counts = Totals { lines_in: 7, kernel_drops: 2, ..Totals::default() };
        let rows = vec![SecondRow { at: NOW - 1, counts }];
        let node = NodeSeconds { name, rows, ..NodeSeconds::default() };
        let seconds =
            SecondsReport { now: NOW as f64, nodes: vec![node], ..SecondsReport::default() };
        Past::of("mobile", &minutes, &seconds)
    }

    #[test]
    fn cells_cover_a_day_and_an_hour_whatever_the_width() {
        let past = past();
        let day = past.minutes.cells(24);
        assert_eq!(
            (day.rates.len(), day.rates[0], day.rates[23]),
            (24, 600.0 / 3600.0, 66.0 / 3600.0)
        );
        assert_eq!(day.lost.iter().position(|lost| *lost), Some(23));
        for width in [1, 7, 59, 60, 1439, 1440, 9999] {
            let cells = past.minutes.cells(width);
            assert!(cells.rates.len() <= width && cells.lost.len() == cells.rates.len(), "{width}");
            assert!(cells.lost.iter().any(|lost| *lost) && cells.rates[0] > 0.0, "{width}");
        }
        let hour = past.seconds.cells(60);
        assert_eq!((hour.rates[59], hour.lost[59], hour.rates[58]), (7.0 / 60.0, true, 0.0));
    }

    #[test]
    fn the_last_losses_are_said_with_their_time_and_reason() {
        let at = |seconds: u64, form: &str| zoned(seconds as f64).strftime(form).to_string();
        let minute = at(NOW / 60 * 60 - 1800, "%H:%M");
        let losses = past().minutes.losses();
        assert_eq!(losses, [format!("{minute}  5 of 60 lines lost (queue_full)")]);
        let second = at(NOW - 1, "%H:%M:%S");
        assert_eq!(past().seconds.losses(), [format!("{second}  2 of 7 lines lost")]);
    }
}
