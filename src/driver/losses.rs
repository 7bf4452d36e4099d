//! What was lost, for the log and for `logweir losses`.
//!
//! The engine reports each episode of losses when it begins, while it lasts and when it ends. The
//! reports of the last day are kept here, and in a file of the state folder, so that a restart does
//! not forget them.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Mono, SystemClock};
use crate::engine::Engine;
use crate::engine::losses::{Loss, amount, verb};
use crate::limits::{LOSSES_FILE_MAX, LOSSES_KEPT, LOSSES_MAX};

use super::state_file::{self, StateFile};

/// An episode of losses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The node's name.
    pub node: String,
    /// The reason of the ledger, or `kernel_drops`, `oversize` or `sequence_lost`.
    pub cause: String,
    /// How many were lost.
    pub count: u64,
    /// What is counted: `lines` or `datagrams`.
    pub unit: String,
    /// When the first was lost, in seconds since 1970.
    pub began: f64,
    /// When the last was lost, in seconds since 1970.
    pub last: f64,
    /// True if nothing was lost for a minute after that.
    pub ended: bool,
    /// Why, and what to do, as it was last reported.
    pub why: String,
}

/// The losses of the last day.
#[derive(Debug)]
pub(super) struct Losses {
    clock: SystemClock,
    /// Oldest first. An episode of this process has the time of its first loss.
    records: VecDeque<(Option<Mono>, Record)>,
    file: StateFile<Record>,
}

impl Losses {
    /// The losses that the file in this folder has.
    pub(super) fn new(folder: Option<&Path>, clock: SystemClock) -> Self {
        let (file, records) = StateFile::<Record>::open(folder, seconds(clock.wall()));
        let records = records.into_iter().map(|record| (None, Record { ended: true, ..record }));
        Self { clock, records: records.collect(), file }
    }

    /// Logs a report of the engine and keeps it.
    pub(super) fn report(&mut self, loss: &Loss, engine: &Engine, now: Mono) {
        let record = self.enter(loss, engine, now);
        log::warn!("{}", line(&record));
        self.file.keep(vec![record]);
    }

    /// The losses of the last day, oldest first.
    pub(super) fn all(&mut self, engine: &Engine, now: Mono) -> Vec<&Record> {
        for loss in engine.open_losses() {
            self.enter(loss, engine, now);
        }
        self.records.iter().map(|(_, record)| record).collect()
    }

    /// Adds an episode, or what is new of it.
    fn enter(&mut self, loss: &Loss, engine: &Engine, now: Mono) -> Record {
        let same = |(began, record): &&mut (Option<Mono>, Record)| {
            *began == Some(loss.began)
                && record.node == *loss.node
                && record.cause == loss.cause.word()
        };
        let wall = |at: Mono| seconds(self.clock.wall()) - now.since(at).as_secs_f64();
        let (began, last) = (wall(loss.began), wall(loss.last));
        let why = || engine.remedy_of(loss.id, loss.cause, now);
        if let Some((_, record)) = self.records.iter_mut().rev().find(same) {
            // Why it was so is what was seen while it was.
            let is_more = record.count < loss.count && !loss.ended;
            record.count = loss.count;
            record.last = last;
            record.ended = loss.ended;
            if is_more && let Some(why) = why() {
                record.why = why;
            }
            return record.clone();
        }
        let record = Record {
            node: loss.node.to_string(),
            cause: loss.cause.word().into(),
            count: loss.count,
            unit: loss.cause.unit().into(),
            began,
            last,
            ended: loss.ended,
            why: why().unwrap_or_default(),
        };
        let oldest = seconds(self.clock.wall()) - LOSSES_KEPT.as_secs_f64();
        while let Some((_, first)) = self.records.front()
            && (self.records.len() >= LOSSES_MAX || first.last < oldest)
        {
            self.records.pop_front();
        }
        self.records.push_back((Some(loss.began), record.clone()));
        record
    }

    /// Waits until the file has all of them.
    pub(super) fn finish(&mut self) {
        self.file.finish();
    }
}

/// What the log says of an episode.
fn line(record: &Record) -> String {
    let Record { node, cause, count, unit, began, last, why, .. } = record;
    let verb = verb(cause);
    let count = amount(*count, unit);
    let (from, to) = (time(*began), time(*last));
    match (record.ended, from == to) {
        // Whether the cause is gone as well is not known: there may be nothing to lose just now.
        (true, true) => format!("{node}: nothing more since {to}; {count} then ({cause})"),
        (true, false) => {
            format!("{node}: nothing more since {to}; {count} from {from} on ({cause})")
        }
        (false, true) => format!("{node}: {verb} ({cause}, {count}): {why}"),
        (false, false) => format!("{node}: {verb} since {from} ({cause}, {count}): {why}"),
    }
}

/// A time of day in the host's zone.
fn time(at: f64) -> String {
    zoned(at).strftime("%H:%M:%S").to_string()
}

/// A time in seconds since 1970, in the host's zone.
pub fn zoned(at: f64) -> Zoned {
    let since = Duration::try_from_secs_f64(at).unwrap_or_default();
    let at = Timestamp::try_from(UNIX_EPOCH + since).unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned(TimeZone::system())
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

// ---- the file

impl state_file::Record for Record {
    type Key = (String, String, u64);

    const FILE: &'static str = "losses.jsonl";
    const WHAT: &'static str = "what is lost";
    const SIZE_MAX: u64 = LOSSES_FILE_MAX;
    const COUNT_MAX: usize = LOSSES_MAX;

    fn key(&self) -> Self::Key {
        (self.node.clone(), self.cause.clone(), self.began.to_bits())
    }

    fn time(&self) -> f64 {
        self.last
    }

    fn lifetime() -> f64 {
        LOSSES_KEPT.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    use super::state_file::{Record as _, read, write};
    use super::*;

    fn record(node: &str, began: f64, count: u64) -> Record {
        Record {
            node: node.into(),
            cause: "queue_full".into(),
            count,
            unit: "lines".into(),
            began,
            last: began + 1.0,
            ended: false,
            why: "x".into(),
        }
    }

    #[test]
    fn the_last_line_of_an_episode_counts_and_old_or_damaged_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(Record::FILE);
        assert_eq!(read::<Record>(&file, 0.0), []);
        for record in [record("a", 5.0, 1), record("b", 90_000.0, 1), record("b", 90_000.0, 7)] {
            write(&file, &[record]).unwrap();
        }
        let mut out = OpenOptions::new().append(true).open(&file).unwrap();
        out.write_all(b"{\"node\":\"c\",\n").unwrap();
        write(&file, &[record("a", 90_001.0, 2)]).unwrap();
        let expected = [record("b", 90_000.0, 7), record("a", 90_001.0, 2)];
        assert_eq!(read::<Record>(&file, 90_010.0), expected);
    }

    #[test]
    fn a_file_that_grows_is_rewritten_with_a_line_an_episode() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(Record::FILE);
        for count in 0..=LOSSES_FILE_MAX / 100 {
            write(&file, &[record("a", 5.0, count)]).unwrap();
        }
        assert!(fs::metadata(&file).unwrap().len() < LOSSES_FILE_MAX / 2);
        assert_eq!(read::<Record>(&file, 10.0), [record("a", 5.0, LOSSES_FILE_MAX / 100)]);
    }

    #[test]
    fn the_log_says_what_is_lost_since_when_and_why() {
        let mut record = record("mobile", 3600.0 * 11.0, 206_735);
        record.why = "the process has read nothing for 44 s; end it".into();
        let began = time(record.began);
        assert_eq!(
            line(&record),
            format!(
                "mobile: dropping since {began} (queue_full, 206,735 lines): the process has read \
                 nothing for 44 s; end it"
            )
        );
        record.ended = true;
        let to = time(record.last);
        assert_eq!(
            line(&record),
            format!("mobile: nothing more since {to}; 206,735 lines from {began} on (queue_full)")
        );
        record = Record { ended: false, last: record.began, count: 1, ..record };
        assert!(line(&record).starts_with("mobile: dropping (queue_full, 1 line): the process"));
    }
}
