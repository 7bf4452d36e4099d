//! `file = "NAME"`.

use std::time::{Duration, SystemTime};

use toml::de::DeValue;

use crate::format::plan::FormatPlan;
use crate::limits;
use crate::output::name::{NameTemplate, Values};
use crate::proto::shared::{format, queue};
use crate::proto::traits::{Claim, Output};
use crate::settings::key::{Choice, Form, Key, MODE, Value};
use crate::settings::units::{self, show_size, show_time};
use crate::settings::{Entry, Report, Section};

/// An output file.
#[derive(Debug, Clone, PartialEq)]
pub struct FilePlan {
    /// The name, with strftime and `{input}`.
    pub path: NameTemplate,
    /// When a file is set aside and a new one begun.
    pub rotate: Option<Rotate>,
    /// How many files set aside are kept.
    pub keep: Option<u32>,
    /// Whether files set aside are compressed with zstd.
    pub compress: bool,
    /// The mode of a new file.
    pub mode: u32,
    /// How lines are written.
    pub format: FormatPlan,
    /// The bound of the queue before it, in bytes.
    pub queue: u64,
}

/// `rotate`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotate {
    /// At each whole multiple of this time, counted in UTC.
    Every(Duration),
    /// Before the file grows beyond so many bytes.
    Size(u64),
}

const ROTATE: Key = Key::or_else(
    "rotate",
    Value::Either(&[
        Value::Time(limits::ROTATE_TIME_LEAST),
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
    "So many rotated files are kept.",
);
const COMPRESS: Key = Key::or_else(
    "compress",
    Value::Words(&["zstd"]),
    "not at all",
    "Rotated files are compressed.",
);
const FILE_MODE: Key = Key::or("mode", MODE, "\"0640\"", "The mode of a new file.");

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
            keys: &[&[ROTATE, KEEP, COMPRESS, FILE_MODE], format::KEYS, queue::KEYS],
        }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let queue = queue::read(section, report);
        let format = format::read(section, report);
        let path = entry.text(report);
        let path = path.and_then(|text| entry.accept(report, NameTemplate::parse(text)));
        let rotate = section.entry(&ROTATE).and_then(|entry| rotate(entry, report));
        let keep = section.integer(&KEEP, report);
        let compress = section.word(&COMPRESS, &[("zstd", true)], report);
        let mode = section.mode(&FILE_MODE, report);
        let named_by_time = path.as_ref().is_some_and(NameTemplate::has_time);
        if section.entry(&ROTATE).is_none() && !named_by_time {
            for entry in [&KEEP, &COMPRESS].into_iter().filter_map(|key| section.entry(key)) {
                let message = "is about files set aside: it needs `rotate`, or a time in the \
                               file's name";
                entry.misplaced(report, message);
            }
        }
        Some(Self {
            path: path?,
            rotate,
            keep,
            compress: compress.unwrap_or(false),
            mode: mode.unwrap_or(limits::FILE_MODE_DEFAULT),
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

    /// The names that it makes at one instant, one for each input that reaches it.
    fn claims(&self, inputs: &mut dyn FnMut() -> Vec<String>) -> Vec<Claim> {
        // An instant no two of whose parts are equal: 2031-11-23 04:56:37 UTC.
        let when = SystemTime::UNIX_EPOCH + Duration::from_secs(1_953_176_197);
        let inputs = match self.path.as_str().contains("{input}") {
            true => inputs(),
            false => vec![String::new()],
        };
        let name = |input: String| {
            // A field can be anything: it stands for itself.
            let fields = self.path.fields().iter().map(|field| format!("{{{field}}}").into_bytes());
            let values = Values { input: input.into(), fields: fields.collect() };
            Claim::File(self.path.render(when, &values))
        };
        inputs.into_iter().map(name).collect()
    }
}

/// A time or a size. A bare number is refused: it does not say which of the two is meant.
fn rotate(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Rotate> {
    let (min_time, min_size) = (limits::ROTATE_TIME_LEAST, limits::ROTATE_SIZE_LEAST);
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
