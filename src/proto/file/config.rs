//! `file = "NAME"`.

use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use toml::de::DeValue;

use super::worker::FileOutput;
use crate::format::plan::FormatPlan;
use crate::fs::{Access, Fs};
use crate::limits;
use crate::output::name::{NameTemplate, Values};
use crate::output::worker::{Worker, Workplace};
use crate::proto::shared::{format, queue};
use crate::proto::traits::{Claim, Need, Output, SinkPlan};
use crate::settings::key::{Choice, Form, Key, MODE, Value};
use crate::settings::units::{self, show_size, show_time};
use crate::settings::{Entry, Report, Section};

/// An output file.
#[derive(Debug, Clone, PartialEq)]
pub struct FilePlan {
    /// The name template, with strftime and `{input}`.
    pub path: NameTemplate,
    /// When a file is rotated: renamed, so that a new one begins.
    pub rotate: Option<Rotate>,
    /// The number of rotated files to keep.
    pub keep: Option<u32>,
    /// True to compress rotated files with zstd.
    pub compress: bool,
    /// The modes and the owner of new files and folders.
    pub access: Box<Access>,
    /// How lines are written.
    pub format: FormatPlan,
    /// The bound of the queue before it, in bytes.
    pub queue: u64,
}

impl FilePlan {
    /// An output to a file that is not rotated, with defaults for everything else.
    pub fn new(path: NameTemplate) -> Self {
        Self {
            path,
            rotate: None,
            keep: None,
            compress: false,
            access: Box::default(),
            format: FormatPlan::default(),
            queue: limits::QUEUE_FILE_DEFAULT,
        }
    }
}

/// `rotate`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotate {
    /// At each whole multiple of this time, counted in UTC.
    Every(Duration),
    /// Before the file grows beyond this many bytes.
    Size(u64),
}

const ROTATE: Key = Key::or_else(
    "rotate",
    Value::Either(&[
        Value::Time(limits::ROTATE_TIME_MIN),
        Value::Text("size with its unit, of at least 1KiB", r"^\s*[0-9]+\s*(B|KiB|MiB|GiB)\s*$"),
    ]),
    "never",
    "When the file is rotated and a new one begun: at each whole multiple of a time, counted in \
     UTC, or before the file grows beyond a size.",
);
const KEEP: Key = Key::or_else(
    "keep",
    Value::Integer(1..=u32::MAX as u64),
    "all",
    "The number of rotated files to keep.",
);
const COMPRESS: Key = Key::or_else(
    "compress",
    Value::Words(&["zstd"]),
    "not at all",
    "Rotated files are compressed.",
);
const FILE_MODE: Key =
    Key::or_else("mode", MODE, "0640 less the umask", "The mode of a new file, to the bit.");
const DIR_MODE: Key =
    Key::or_else("dir_mode", MODE, "0777 less the umask", "The mode of a new folder.");
const OWNER: Key = Key::or_else(
    "owner",
    Value::Text("Name", r"^[^:]+$"),
    "the daemon's",
    "The user, by name or number, that new files and folders belong to.",
);
const GROUP: Key = Key::or_else(
    "group",
    Value::Text("Name", r"^[^:]+$"),
    "the daemon's",
    "The group, by name or number, that new files and folders belong to; without privileges one \
     that the daemon is a member of.",
);
const TIME_ZONE: Key = Key::or(
    "time_zone",
    Value::Text("Time zone", r"\S"),
    "\"UTC\"",
    "The zone of the time in the file's name: \"UTC\", \"local\" (the host's), or a name as in \
     \"Europe/Berlin\".",
);

impl Output for FilePlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "file",
            Value::Text("File name, with strftime in UTC and fields in braces", "[^/]$"),
            "Lines are appended to this file.",
        )),
        name: "file output",
        forms: &[Form {
            name: "file output",
            scheme: None,
            keys: &[
                &[ROTATE, KEEP, COMPRESS, FILE_MODE, DIR_MODE, OWNER, GROUP, TIME_ZONE],
                format::KEYS,
                queue::KEYS,
            ],
        }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let queue = queue::read(section, report);
        let format = format::read(section, report);
        let path = entry.text(report);
        let path = path.and_then(|text| entry.accept(report, NameTemplate::parse(text)));
        let zone = section.entry(&TIME_ZONE).and_then(|entry| zone(entry, report));
        let path = path.map(|path| match zone {
            Some(zone) => path.in_zone(zone),
            None => path,
        });
        let rotate = section.entry(&ROTATE).and_then(|entry| rotate(entry, report));
        let keep = section.integer(&KEEP, report);
        let compress = section.word(&COMPRESS, &[("zstd", true)], report);
        let access = access(section, report);
        let named_by_time = path.as_ref().is_some_and(NameTemplate::has_time);
        if section.entry(&ROTATE).is_none() && !named_by_time {
            for entry in [&KEEP, &COMPRESS].into_iter().filter_map(|key| section.entry(key)) {
                let message = "is about rotated files: it needs `rotate`, or a time in the \
                               file's name";
                entry.misplaced(report, message);
            }
        }
        Some(Self {
            path: path?,
            rotate,
            keep,
            compress: compress.unwrap_or(false),
            access: Box::new(access),
            format: format?,
            queue,
        })
    }

    fn format(&self) -> &FormatPlan {
        &self.format
    }

    fn queue(&self) -> u64 {
        self.queue
    }

    fn describe(&self) -> String {
        format!("file {}", self.path.as_str())
    }

    /// The names it produces at one instant, one for each input that reaches it.
    fn claims(&self, inputs: &mut dyn FnMut() -> Vec<String>) -> Vec<Claim> {
        // An instant whose parts all differ: 2031-11-23 04:56:37 UTC.
        let when = SystemTime::UNIX_EPOCH + Duration::from_secs(1_953_176_197);
        let inputs = match self.path.as_str().contains("{input}") {
            true => inputs(),
            false => vec![String::new()],
        };
        let name = |input: String| {
            // A field can have any value: it stands for itself.
            let fields = self.path.fields().iter().map(|field| format!("{{{field}}}").into_bytes());
            let values = Values { input: input.into(), fields: fields.collect() };
            Claim::File(self.path.render(when, &values))
        };
        inputs.into_iter().map(name).collect()
    }

    fn sink(&self) -> SinkPlan<'_> {
        SinkPlan::Jobs { has_position: true }
    }

    fn needs(&self) -> Vec<Need> {
        let (user, group) = (self.access.owner.clone(), self.access.group.clone());
        vec![Need::Owner { user, group }]
    }

    fn formats_when_written(&self) -> bool {
        true
    }

    fn worker<F: Fs + 'static>(&self, workplace: Workplace<'_, F>) -> Option<Box<dyn Worker>> {
        Some(Box::new(FileOutput::open(self.clone(), workplace)))
    }
}

/// `mode`, `dir_mode`, `owner` and `group`.
fn access(section: &Section<'_>, report: &mut Report<'_>) -> Access {
    let mode = section.mode(&FILE_MODE, report);
    let dir_mode = section.entry(&DIR_MODE).and_then(|entry| {
        let text = entry.text(report)?;
        entry.accept(report, units::folder_mode(text))
    });
    let mut name = |key: &Key| {
        let entry = section.entry(key)?;
        let name = entry.system_text(report)?;
        if name.contains(':') {
            entry.wrong(report, "is not one name: `owner` is a user, and `group` a group");
            return None;
        }
        Some(name.to_string())
    };
    Access {
        mode: mode.unwrap_or(limits::FILE_MODE_DEFAULT),
        mode_is_exact: mode.is_some(),
        dir_mode,
        owner: name(&OWNER),
        group: name(&GROUP),
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

/// Parses a time or a size. A bare number is refused: it could be either.
fn rotate(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Rotate> {
    let (min_time, min_size) = (limits::ROTATE_TIME_MIN, limits::ROTATE_SIZE_MIN);
    let number = match entry.value() {
        DeValue::Integer(number) => Some(number.as_str()),
        DeValue::String(text) => Some(text.trim()).filter(|text| text.parse::<u64>().is_ok()),
        _ => None,
    };
    if let Some(number) = number {
        let message = format!("is neither a time nor a size: write \"{number}s\" or \"{number}B\"");
        entry.wrong(report, message);
        return None;
    }
    let text = entry.text(report)?;
    if let Ok(time) = units::time(text) {
        if time < min_time {
            entry.wrong(report, format!("must be at least {}", show_time(min_time)));
            return None;
        }
        return Some(Rotate::Every(time));
    }
    if units::size(text).is_err() {
        let (time, size) = (show_time(min_time), show_size(min_size));
        let help = format!("as in \"1h\" or \"1GiB\" (at least {time} or {size})");
        entry.wrong_help(report, "is neither a time nor a size", help);
        return None;
    }
    entry.size(report, min_size..=u64::MAX).map(Rotate::Size)
}
