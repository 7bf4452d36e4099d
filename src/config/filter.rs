//! `[filter.NAME]`

use std::time::Duration;

use super::keys::{self, Table};
use super::plan::{BodyPlan, Kind};
use crate::limits::SQUEEZE_MIN;
use crate::proto::shared::{lines, process};
use crate::settings::key::{COMMAND, Value};
use crate::settings::{Choice, Form, Key, Report, Section};

const RUN: Key = Key::new(
    "run",
    COMMAND,
    "It reads the selected lines from its standard input; the lines that it prints are the \
     filter's stream.",
);

const SQUEEZE: Key = Key::new(
    "squeeze",
    Value::Time(SQUEEZE_MIN),
    "Joins the repeats of a message that come within this time: the first passes, the others \
     become \"message repeated N times: [TEXT]\".",
);

/// The choices for a filter.
pub(super) const CHOICES: &[Choice] = &[
    Choice {
        key: Some(RUN),
        name: "filter process",
        forms: &[Form {
            name: "filter process",
            scheme: None,
            keys: &[process::KEYS, process::PRINTS, lines::PRINTED],
        }],
    },
    Choice {
        key: None,
        name: "filter without `run`",
        forms: &[Form { name: "filter without `run`", scheme: None, keys: &[&[SQUEEZE]] }],
    },
];

/// Reads the `squeeze` of a filter.
pub(super) fn squeeze(section: &Section<'_>, report: &mut Report<'_>) -> Option<Duration> {
    section.time(&SQUEEZE, report)
}

/// Reads a filter.
pub(super) fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<BodyPlan> {
    let chosen = if section.entry(&RUN).is_some() { RUN.name } else { "" };
    keys::check(section, Kind::Filter, Table::of(Kind::Filter).form(section, chosen), report);
    if chosen.is_empty() {
        return Some(BodyPlan::Pass);
    }
    let mut process = process::read(section, &RUN, report);
    let max_line = lines::max_line(section, report);
    let unbuffered = process::unbuffered(section, report);
    if let Some(process) = &mut process {
        process.unbuffered = unbuffered;
        process.max_line = max_line;
    }
    process.map(BodyPlan::Run)
}
