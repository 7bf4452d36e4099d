//! The keys of inputs that follow files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::filter::regex;
use crate::ingress::files::decode::Begins;
use crate::ingress::files::source::Start;
use crate::limits::{self, KEEP_OPEN_DEFAULT, MULTILINE_DEFAULT};
use crate::parse::glob::Glob;
use crate::proto::traits::Opening;
use crate::settings::key::{PATH, REGEX, words};
use crate::settings::{Entry, Key, Report, Section, Value};

/// Records of several lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultilinePlan {
    /// Matches the first line of a record.
    pub start: String,
    /// A last record that has not grown for this long is sent.
    pub timeout: Duration,
}

/// How files are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowPlan {
    /// Where to begin in files that exist at the very first start.
    pub start: Start,
    /// Files that are not followed.
    pub exclude: Vec<Glob>,
    /// The lines of files last written longer ago than this when found are skipped.
    pub ignore_older: Option<Duration>,
    /// The maximum time to keep a file without a name open.
    pub keep_open: Duration,
    /// The file of positions; `None` for one named after the input.
    pub positions: Option<PathBuf>,
}

const STARTS: [(&str, Start); 2] = [("beginning", Start::Beginning), ("end", Start::End)];
const START_WORDS: [&str; 2] = words(&STARTS);
const START: Key = Key::or(
    "start",
    Value::Words(&START_WORDS),
    "\"beginning\"",
    "Where reading begins in what is there at the very first start of the input.",
);
const EXCLUDE: Key = Key::new(
    "exclude",
    Value::Texts("Pattern for paths", "^/"),
    "Files that match such a pattern are not followed.",
);
const IGNORE_OLDER: Key = Key::or_else(
    "ignore_older",
    Value::Time(Duration::from_secs(1)),
    "never",
    "When a file is found that was not written to for this long, the lines in it are left out.",
);
const KEEP_OPEN: Key = Key::or(
    "keep_open",
    Value::Time(limits::LET_GO_AFTER),
    "\"1d\"",
    "A deleted or renamed file that is not read to its end, or that a program still writes to, is \
     kept open for this long at most.",
);
const POSITIONS: Key = Key::or_else(
    "positions",
    PATH,
    "NAME.positions in the folder of state, else in /var/lib/logweir",
    "Where positions are kept for what goes to no spool.",
);
const MULTILINE_START: Key =
    Key::required("start", REGEX, "What the first line of a record matches.");
const MULTILINE_TIMEOUT: Key = Key::or(
    "timeout",
    Value::Time(Duration::from_millis(1)),
    "\"1s\"",
    "A record that has not grown for this long is whole.",
);
const MULTILINE_KEYS: &[Key] = &[MULTILINE_START, MULTILINE_TIMEOUT];
const MULTILINE: Key = Key::new(
    "multiline",
    Value::Table(MULTILINE_KEYS),
    "Joins the lines of a record into one; the newlines inside become #012.",
);

/// The keys of all inputs that follow files.
pub const KEYS: &[Key] = &[START, EXCLUDE, IGNORE_OLDER, KEEP_OPEN, POSITIONS];
/// The keys of inputs that read something else with positions.
pub const BEGIN: &[Key] = &[START, POSITIONS];
/// The key of inputs whose `start` is their own.
pub const PLACES: &[Key] = &[POSITIONS];
/// The keys of inputs whose records may have several lines.
pub const RECORDS: &[Key] = &[MULTILINE];

/// Reads how files are followed.
pub fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<FollowPlan> {
    let exclude = match section.entry(&EXCLUDE) {
        Some(entry) => globs(entry, report)?,
        None => Vec::new(),
    };
    let (start, positions) = begin(section, report);
    Some(FollowPlan {
        start,
        exclude,
        ignore_older: section.time(&IGNORE_OLDER, report),
        keep_open: section.time(&KEEP_OPEN, report).unwrap_or(KEEP_OPEN_DEFAULT),
        positions,
    })
}

/// Reads where reading begins, and where positions are kept.
pub fn begin(section: &Section<'_>, report: &mut Report<'_>) -> (Start, Option<PathBuf>) {
    let start = section.word(&START, &STARTS, report).unwrap_or(Start::Beginning);
    (start, positions(section, report))
}

/// Reads where positions are kept.
pub fn positions(section: &Section<'_>, report: &mut Report<'_>) -> Option<PathBuf> {
    section.system_text(&POSITIONS, report).map(PathBuf::from)
}

/// The file of positions of an input that is opened: `path`, or one named after the input.
pub fn positions_of(path: Option<&Path>, opening: &Opening<'_>) -> PathBuf {
    let folder = opening.state.unwrap_or_else(|| Path::new("/var/lib/logweir"));
    let default = || folder.join(format!("{}.positions", opening.name));
    path.map_or_else(default, Path::to_path_buf)
}

/// Reads a pattern, or a list of them.
pub fn globs(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Vec<Glob>> {
    let texts: Vec<_> = entry.names(report)?.into_iter().map(|text| *text.get_ref()).collect();
    if texts.is_empty() || texts.len() > limits::GLOBS_MAX {
        let message = format!("must be 1 to {} patterns", limits::GLOBS_MAX);
        entry.wrong_help(report, message, "as in [\"/var/log/nginx/*.log\"]");
        return None;
    }
    let read = |text: &&str| Glob::parse(text).map_err(|why| format!("`{text}` {why}"));
    let globs: Result<Vec<_>, _> = texts.iter().map(read).collect();
    entry.accept(report, globs)
}

/// Reads the settings that join the lines of a record.
pub fn multiline(section: &Section<'_>, report: &mut Report<'_>) -> Option<Option<MultilinePlan>> {
    let Some(entry) = section.entry(&MULTILINE) else { return Some(None) };
    let table = entry.section(MULTILINE_KEYS, ", as in { start = '^\\d{4}-' }", report)?;
    let Some(start) = table.entry(&MULTILINE_START) else {
        entry.wrong_help(report, "has no `start`", "as in { start = '^\\d{4}-' }");
        return None;
    };
    let text = start.text(report)?;
    if let Err(error) = regex::compile(text) {
        start.wrong(report, regex::explain(&error).0);
        return None;
    }
    let timeout = table.time(&MULTILINE_TIMEOUT, report).unwrap_or(MULTILINE_DEFAULT);
    Some(Some(MultilinePlan { start: text.to_string(), timeout }))
}

impl MultilinePlan {
    /// Returns the test whether a line begins a record; `None` if the regex is invalid, which the
    /// check has refused.
    pub fn begins(&self) -> Option<Begins> {
        let regex = regex::compile(&self.start).ok()?;
        Some(Arc::new(move |line| regex.is_match(line)))
    }
}

impl FollowPlan {
    /// The file of positions for the input that is opened.
    pub fn positions_of(&self, opening: &Opening<'_>) -> PathBuf {
        positions_of(self.positions.as_deref(), opening)
    }
}
