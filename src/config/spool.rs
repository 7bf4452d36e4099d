//! `[spool.NAME]`, and `spool = {…}` on an output.

use std::path::PathBuf;
use std::time::Duration;

use crate::limits;
use crate::settings::key::{Choice, Form, Key, PATH, Value, words};
use crate::settings::units::{self, show_size, show_time};
use crate::settings::{Entry, Report, Section};
use crate::spool::plan::{SpoolFull, SpoolKeep, SpoolPlan, Sync};

/// The choices for a spool: there is one kind.
pub(super) const CHOICES: &[Choice] = &[Choice {
    key: None,
    name: "spool",
    forms: &[Form { name: "spool", scheme: None, keys: &[KEYS] }],
}];

/// The keys of a spool, except `from` and the selectors, which belong to the output in `spool =
/// {…}`.
pub(super) const KEYS: &[Key] =
    &[DIR, MAX_SIZE, MAX_AGE, KEEP, SEGMENT, SYNC, WHEN_FULL, COMPRESS, RESERVE, QUEUE];

const DIR: Key = Key::required("dir", PATH, "The folder of the spool.");
const MAX_SIZE: Key = Key::or(
    "max_size",
    Value::Size(2 * limits::SEGMENT_MIN..=u64::MAX),
    "\"10GiB\"",
    "The maximum size of the spool on disk, at least two segments.",
);
const MAX_AGE: Key = Key::or_else(
    "max_age",
    Value::Time(Duration::ZERO),
    "never",
    "Segments whose lines are all older than this are dropped.",
);
const KEEP: Key = Key::or_else(
    "keep",
    Value::Either(&[Value::Time(Duration::ZERO), Value::Size(0..=u64::MAX)]),
    "nothing",
    "How long, or up to which size, lines that every reader has passed are kept for replay.",
);
const SEGMENT: Key = Key::or(
    "segment",
    Value::Size(limits::SEGMENT_MIN..=u64::MAX),
    "\"64MiB\"",
    "The size of a segment.",
);
const SYNC: Key = Key::or(
    "sync",
    Value::Either(&[Value::Time(limits::SYNC_MIN), Value::Words(&["batch", "never"])]),
    "\"1s\"",
    "The maximum time until written lines are durable.",
);
const FULL: [(&str, SpoolFull); 3] = [
    ("drop-oldest", SpoolFull::DropOldest),
    ("drop-newest", SpoolFull::DropNewest),
    ("block", SpoolFull::Block),
];
const FULL_WORDS: [&str; 3] = words(&FULL);
const WHEN_FULL: Key = Key::or(
    "when_full",
    Value::Words(&FULL_WORDS),
    "\"drop-oldest\"",
    "What happens at max_size, and when less than reserve is free.",
);
const COMPRESS: Key = Key::or_else(
    "compress",
    Value::Words(&["zstd"]),
    "not at all",
    "Closed segments are compressed.",
);
const RESERVE: Key =
    Key::or("reserve", Value::Size(0..=u64::MAX), "\"64MiB\"", "The disk space to leave free.");
const QUEUE: Key = Key::or(
    "queue",
    Value::Size(limits::QUEUE_MIN..=u64::MAX),
    "\"32MiB\"",
    "The bound of the queue before the spool, where lines wait until they are on disk.",
);

/// Reads a spool.
pub(super) fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<SpoolPlan> {
    if section.entry(&DIR).is_none() {
        let message = "needs `dir`, as in dir = \"/var/spool/logweir/hub\"";
        report.error(&section.span, &section.path, message);
    }
    let dir = section.system_text(&DIR, report).map(PathBuf::from);
    let segment = section.size(&SEGMENT, report).unwrap_or(limits::SEGMENT_DEFAULT);
    let max_size = section.size(&MAX_SIZE, report).unwrap_or(limits::SPOOL_SIZE_DEFAULT);
    if max_size < segment.saturating_mul(2) {
        let message = format!(
            "must be at least two segments, {} (a segment has {})",
            show_size(segment.saturating_mul(2)),
            show_size(segment)
        );
        let path = format!("{}.{}", section.path, MAX_SIZE.name);
        let finding = report.error(section.place(MAX_SIZE.name), &path, message);
        finding.help("whole segments are what is dropped and what is kept");
        if let Some(entry) = section.entry(&SEGMENT) {
            finding.label(&entry.span, "a segment has this size");
        }
    }
    let sync = section.entry(&SYNC).and_then(|entry| sync(entry, report));
    let when_full = section.word(&WHEN_FULL, &FULL, report);
    let compress = section.word(&COMPRESS, &[("zstd", true)], report);
    let max_age = section.time(&MAX_AGE, report);
    let keep = section.entry(&KEEP).and_then(|entry| keep(entry, report));
    let reserve = section.size(&RESERVE, report).unwrap_or(limits::RESERVE_DEFAULT);
    let queue = section.size(&QUEUE, report).unwrap_or(limits::QUEUE_SPOOL_DEFAULT);
    Some(SpoolPlan {
        dir: dir?,
        max_size,
        max_age,
        keep,
        segment,
        sync: sync.unwrap_or(Sync::Every(limits::SYNC_DEFAULT)),
        when_full: when_full.unwrap_or(SpoolFull::DropOldest),
        compress: compress.unwrap_or(false),
        reserve,
        queue,
    })
}

/// A time or a size.
fn keep(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<SpoolKeep> {
    match entry.text(report)? {
        text if units::time(text).is_ok() => entry.time(report).map(SpoolKeep::Time),
        text if units::size(text).is_ok() => entry.size(report, 0..=u64::MAX).map(SpoolKeep::Size),
        _ => {
            let message = "is neither a time nor a size";
            entry.wrong_help(report, message, "as in keep = \"7d\" or keep = \"20GiB\"");
            None
        }
    }
}

/// A time, or one of two words.
fn sync(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Sync> {
    match entry.text(report)? {
        "batch" => return Some(Sync::Batch),
        "never" => return Some(Sync::Never),
        text if units::time(text).is_err() => {
            let message = "is neither a time nor \"batch\" nor \"never\"";
            entry.wrong_help(report, message, "as in sync = \"1s\"");
            return None;
        }
        _ => {}
    }
    let time = entry.time(report)?;
    if time < limits::SYNC_MIN {
        let min = show_time(limits::SYNC_MIN);
        entry.wrong_help(report, format!("must be at least {min}"), "or \"batch\"");
        return None;
    }
    Some(Sync::Every(time))
}
