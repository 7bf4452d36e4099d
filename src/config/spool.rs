//! `[spool.NAME]`, and `spool = {…}` on an output.

use std::path::PathBuf;

use super::plan::{SpoolFull, SpoolKeep, SpoolPlan, Sync};
use super::process;
use super::report::Report;
use super::section::{Entry, Section};
use super::units::{self, show_size, show_time};
use crate::limits;

/// The keys of `spool = {…}`: those of a spool's own table but for the selectors and `from`,
/// which are the output's.
pub(super) const INLINE_KEYS: [&str; 10] = [
    "dir",
    "max_size",
    "max_age",
    "keep",
    "segment",
    "sync",
    "when_full",
    "compress",
    "reserve",
    "queue",
];

/// Reads a spool.
pub(super) fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<SpoolPlan> {
    let dir = match section.get("dir") {
        Some(entry) => entry.system_text(report).map(PathBuf::from),
        None => {
            let message = "needs `dir`, as in dir = \"/var/spool/logweir/hub\"";
            report.error(&section.span, &section.path, message);
            None
        }
    };
    let size = |key: &str, least: u64, default: u64, report: &mut Report<'_>| {
        let entry = section.get(key);
        entry.and_then(|entry| entry.size(report, least..=u64::MAX)).unwrap_or(default)
    };
    let segment = size("segment", limits::SEGMENT_LEAST, limits::SEGMENT_DEFAULT, report);
    let max_size = size("max_size", 2 * limits::SEGMENT_LEAST, limits::SPOOL_SIZE_DEFAULT, report);
    if max_size < segment.saturating_mul(2) {
        let message = format!(
            "must be at least two segments, {} (a segment has {})",
            show_size(segment.saturating_mul(2)),
            show_size(segment)
        );
        let help = "whole segments are what is dropped and what is kept";
        let place = section.place("max_size");
        report.error_help(place, &format!("{}.max_size", section.path), message, help);
    }
    let reserve = size("reserve", 0, limits::RESERVE_DEFAULT, report);
    let max_age = section.get("max_age").and_then(|entry| entry.time(report));
    let keep = section.get("keep").and_then(|entry| keep(entry, report));
    let sync = section.get("sync").and_then(|entry| sync(entry, report));
    let words = [
        ("drop-oldest", SpoolFull::DropOldest),
        ("drop-newest", SpoolFull::DropNewest),
        ("block", SpoolFull::Block),
    ];
    let when_full = section.get("when_full").and_then(|entry| entry.word(report, &words));
    let compress = section.get("compress").and_then(|e| e.word(report, &[("zstd", true)]));
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
        queue: process::queue(section, limits::QUEUE_SPOOL_DEFAULT, report),
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
    if time < limits::SYNC_LEAST {
        let least = show_time(limits::SYNC_LEAST);
        entry.wrong_help(report, format!("must be at least {least}"), "or \"batch\"");
        return None;
    }
    Some(Sync::Every(time))
}
