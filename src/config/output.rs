//! `[output.NAME]`

use jiff::tz::TimeZone;

use super::plan::{BodyPlan, FilePlan, FormatPlan, Kind, Rotate, StdoutPlan, UdpOutPlan};
use super::report::Report;
use super::section::{Entry, Section};
use super::units::{self, show_size, show_time};
use super::{format, forward, keys, process};
use crate::fs::Access;
use crate::limits;
use crate::output::name::NameTemplate;

/// Reads an output.
pub(super) fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<BodyPlan> {
    let sort = keys::choose(section, &["pipe", "file", "udp", "forward", "stdout"], report);
    keys::check(section, Kind::Output, sort, report);
    let entry = section.get(sort?)?;
    if sort? == "pipe" {
        return process::read(section, "pipe", report).map(BodyPlan::Pipe);
    }
    let queue = process::queue(section, limits::QUEUE_FILE_DEFAULT, report);
    if sort? == "forward" {
        return forward::read(section, entry, queue, report).map(BodyPlan::Forward);
    }
    let format = format::read(section, report);
    match sort? {
        "file" => file(section, entry, (queue, format?), report).map(BodyPlan::File),
        "udp" => {
            let (to, format) = (udp(entry, report)?, format?);
            Some(BodyPlan::Udp(UdpOutPlan { to, format, queue }))
        }
        _ => {
            if entry.boolean(report)? {
                return Some(BodyPlan::Stdout(StdoutPlan { format: format?, queue }));
            }
            entry.wrong(report, "an output with `stdout = false` goes nowhere: remove the output");
            None
        }
    }
}

fn file(
    section: &Section<'_>,
    entry: &Entry<'_>,
    (queue, format): (u64, FormatPlan),
    report: &mut Report<'_>,
) -> Option<FilePlan> {
    let path = entry.text(report).and_then(|text| {
        NameTemplate::parse(text).map_err(|message| entry.wrong(report, message)).ok()
    });
    let rotate = section.get("rotate").and_then(|entry| rotate(entry, report));
    let keep = section.get("keep").and_then(|entry| entry.integer(report, 1..=u32::MAX.into()));
    let compress = section.get("compress").and_then(|e| e.word(report, &[("zstd", true)]));
    let access = access(section, report);
    let path = path.map(|path| match section.get("time_zone") {
        Some(entry) => match zone(entry, report) {
            Some(zone) => path.in_zone(zone),
            None => path,
        },
        None => path,
    });
    let named_by_time = path.as_ref().is_some_and(NameTemplate::has_time);
    if section.get("rotate").is_none() && !named_by_time {
        for key in ["keep", "compress"] {
            if let Some(entry) = section.get(key) {
                entry.misplaced(
                    report,
                    "is about rotated files: it needs `rotate`, or a time in the file's name",
                    None,
                );
            }
        }
    }
    Some(FilePlan {
        path: path?,
        rotate,
        keep: keep.and_then(|n| u32::try_from(n).ok()),
        compress: compress.unwrap_or(false),
        access: Box::new(access),
        format,
        queue,
    })
}

/// `mode`, `dir_mode`, `owner` and `group`.
fn access(section: &Section<'_>, report: &mut Report<'_>) -> Access {
    let mut mode = |key, read: fn(&str) -> Result<u32, String>| {
        let entry = section.get(key)?;
        let text = entry.text(report)?;
        read(text).map_err(|message| entry.wrong(report, message)).ok()
    };
    let (file, folder) = (mode("mode", units::mode), mode("dir_mode", units::folder_mode));
    let mut name = |key| {
        let entry = section.get(key)?;
        let name = entry.system_text(report)?;
        if name.is_empty() || name.contains(':') {
            entry.wrong(report, "is not one name: `owner` is a user, and `group` a group");
            return None;
        }
        Some(name.to_string())
    };
    Access {
        mode: file.unwrap_or(limits::FILE_MODE_DEFAULT),
        mode_is_exact: file.is_some(),
        dir_mode: folder,
        owner: name("owner"),
        group: name("group"),
    }
}

/// `time_zone`
fn zone(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<TimeZone> {
    let name = entry.system_text(report)?;
    let zone = match name {
        "UTC" => Ok(TimeZone::UTC),
        "local" => TimeZone::try_system(),
        name => TimeZone::get(name),
    };
    if zone.is_err() {
        let help = "as in \"local\", \"Europe/Berlin\" or \"UTC\"";
        entry.wrong_help(report, "is not a time zone known here", help);
    }
    zone.ok()
}

/// A time or a size; a number without a unit is a size, as everywhere.
fn rotate(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Rotate> {
    let is_time = entry.as_str().is_some_and(|text| units::time(text).is_ok());
    if is_time {
        let time = entry.time(report)?;
        if time < limits::ROTATE_TIME_LEAST {
            let least = show_time(limits::ROTATE_TIME_LEAST);
            entry.wrong(report, format!("must be at least {least}"));
            return None;
        }
        return Some(Rotate::Every(time));
    }
    if entry.as_str().is_some_and(|text| units::size(text).is_err()) {
        let least = show_size(limits::ROTATE_SIZE_LEAST);
        let help = format!("as in \"1h\" or \"1GiB\" (at least 1s or {least})");
        entry.wrong_help(report, "is neither a time nor a size", help);
        return None;
    }
    entry.size(report, limits::ROTATE_SIZE_LEAST..=u64::MAX).map(Rotate::Size)
}

fn udp(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = entry.system_text(report)?;
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse::<u16>().is_ok_and(|port| port > 0);
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '/', ' ', '[', ']']),
        };
        digits && port && host
    });
    if !good {
        let help = "as in \"hub1:8420\", \"192.0.2.1:8420\" or \"[2001:db8::1]:8420\"";
        entry.wrong_help(report, "is not a host and a port", help);
        return None;
    }
    Some(text.into())
}
