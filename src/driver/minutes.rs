//! The minutes of all nodes over time: closed windows for inputs that tell them, and the file in
//! the state folder with which a restart goes on counting.
//!
//! The file is written before windows are told, with the same counts: what was told is never taken
//! back after a crash.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Mono, SystemClock};
use crate::engine::Engine;
use crate::engine::minutes::{Kept, KeptDates, MinutesQuery, MinutesReport};
use crate::ingress::told::Teller;
use crate::ledger::told::Told;
use crate::limits::{MINUTES_CLOSE, MINUTES_FILE_MAX, MINUTES_KEPT, MINUTES_ROWS};
use crate::minute::Minute;

use super::state_file::{Record, StateFile};

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    /// A minute of a node.
    Row(Kept),
    /// The minutes of a spool's lines, and when they were written.
    Dates {
        /// In seconds since 1970.
        written: f64,
        #[serde(flatten)]
        dates: KeptDates,
    },
    /// Since when this daemon counts, over restarts.
    Since {
        /// In seconds since 1970.
        since: u64,
        /// When that was last written.
        written: f64,
    },
}

impl Record for Line {
    type Key = (u8, String, String, u64);

    const FILE: &'static str = "minutes.jsonl";
    const WHAT: &'static str = "what was counted by the minute";
    const SIZE_MAX: u64 = MINUTES_FILE_MAX;
    const COUNT_MAX: usize = MINUTES_ROWS;

    fn key(&self) -> Self::Key {
        match self {
            Self::Row(kept) => (0, kept.node.clone(), kept.kind.clone(), kept.row.at),
            Self::Dates { dates, .. } => (1, dates.spool.clone(), String::new(), 0),
            Self::Since { .. } => (2, String::new(), String::new(), 0),
        }
    }

    fn time(&self) -> f64 {
        match self {
            Self::Row(kept) => kept.row.at as f64,
            Self::Dates { written, .. } | Self::Since { written, .. } => *written,
        }
    }

    fn lifetime() -> f64 {
        f64::from(MINUTES_KEPT * 60)
    }
}

/// The loop's part.
#[derive(Debug)]
pub(super) struct MinuteKeeper {
    clock: SystemClock,
    file: StateFile<Line>,
    found: Vec<Line>,
    /// Since when this daemon counts, in seconds since 1970.
    since: u64,
    /// When it is next time to save and to tell; `None` while nothing happens, so that an idle
    /// daemon is not woken.
    next: Option<Mono>,
    teller: Teller,
}

impl MinuteKeeper {
    /// Reads what an earlier process counted.
    pub(super) fn new(folder: Option<&Path>, clock: SystemClock, teller: Teller) -> Self {
        let now = seconds(clock.wall());
        let (file, found) = StateFile::open(folder, now);
        let earlier = found.iter().find_map(|line| match line {
            Line::Since { since, .. } => Some(*since),
            _ => None,
        });
        let since = earlier.unwrap_or_else(|| Minute::of(clock.wall()).seconds());
        Self { clock, file, found, since, next: None, teller }
    }

    /// Has the engine go on with it, once its spools are open.
    pub(super) fn restore(&mut self, engine: &mut Engine) {
        let (mut rows, mut spools) = (Vec::new(), Vec::new());
        for line in self.found.drain(..) {
            match line {
                Line::Row(kept) => rows.push(kept),
                Line::Dates { dates, .. } => spools.push(dates),
                Line::Since { .. } => {}
            }
        }
        engine.restore_minutes(&rows, &spools);
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.next
    }

    /// Saves and tells what is due. Returns whether there is something for those who are told.
    pub(super) fn look(&mut self, engine: &mut Engine, now: Mono) -> bool {
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        let wall = self.clock.wall();
        if self.next.is_none() {
            self.next = Some(now + until_close(wall));
            return false;
        }
        let mut is_told = false;
        if let Some(length) = self.teller.window() {
            let windows = engine.take_windows(length, Minute::of(wall));
            let (nodes, waiting) = (engine.plan().nodes.len(), engine.waiting_at_sources());
            let _ = self.save(engine);
            let (since, minute) = (self.since, Minute::of(wall));
            self.teller.tell(Told { since, minute, length, nodes, waiting, windows });
            is_told = true;
            self.next = Some(now + until_close(wall));
        } else {
            self.next = self.save(engine).then(|| now + until_close(wall));
        }
        is_told
    }

    /// Saves everything, at the end.
    pub(super) fn finish(&mut self, engine: &mut Engine) {
        let _ = self.save(engine);
        self.file.finish();
    }

    /// Saves what has changed. Returns whether anything has.
    fn save(&mut self, engine: &mut Engine) -> bool {
        let written = seconds(self.clock.wall());
        let since = Line::Since { since: self.since, written };
        let rows = engine.take_unsaved();
        if rows.is_empty() {
            return false;
        }
        let rows = rows.into_iter().map(Line::Row);
        let dates = engine.spool_dates().into_iter().map(|dates| Line::Dates { written, dates });
        self.file.keep(std::iter::once(since).chain(rows).chain(dates).collect());
        true
    }

    /// The minutes of some nodes.
    pub(super) fn report(&self, engine: &Engine, query: &MinutesQuery) -> MinutesReport {
        let wall = self.clock.wall();
        MinutesReport { now: seconds(wall), ..engine.minutes(query, Minute::of(wall)) }
    }
}

/// The time until the present minute counts as closed: some seconds after its end, in which most
/// of its last lines come to where they go.
fn until_close(wall: SystemTime) -> Duration {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default() + Duration::from_secs(60)
        - MINUTES_CLOSE;
    let into = Duration::new(since.as_secs() % 60, since.subsec_nanos());
    Duration::from_secs(60) - into
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::minutes::MinuteRow;
    use crate::ledger::told::MinuteCounts;

    #[test]
    fn a_minute_closes_some_seconds_after_its_end() {
        let wait = |seconds| until_close(UNIX_EPOCH + Duration::from_secs(seconds));
        let close = MINUTES_CLOSE.as_secs();
        assert_eq!(wait(600), MINUTES_CLOSE);
        assert_eq!(wait(600 + close), Duration::from_secs(60));
        assert_eq!(wait(659), Duration::from_secs(1 + close));
    }

    #[test]
    fn lines_of_the_file_are_told_apart_and_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let counts = MinuteCounts { lines_in: 3, ..MinuteCounts::default() };
        let row = |at, told| {
            let row = MinuteRow { at, counts: counts.clone() };
            Line::Row(Kept { node: "a".into(), kind: "input".into(), told, untold: false, row })
        };
        let dates =
            KeptDates { spool: "s".into(), runs: vec![(1, 2)], end: 9, ..Default::default() };
        let lines = [
            row(600_060, 1),
            Line::Dates { written: 600_070.5, dates },
            Line::Since { since: 7, written: 600_070.5 },
            row(600_120, 0),
            row(600_060, 2),
        ];
        let (mut file, none) = StateFile::<Line>::open(Some(folder.path()), 0.0);
        assert_eq!(none, []);
        file.keep(lines.to_vec());
        file.finish();
        let (_, found) = StateFile::<Line>::open(Some(folder.path()), 600_100.0);
        let [_, dates, since, later, first] = lines;
        assert_eq!(found, [first, dates, since, later.clone()]);
        let (_, found) = StateFile::<Line>::open(Some(folder.path()), 600_071.0 + 86_400.0);
        assert_eq!(found, [later], "a day later");
    }
}
