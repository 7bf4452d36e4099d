//! `from` and the selectors, common to filters, spools and outputs.

use std::num::NonZeroU64;

use super::fields;
use crate::filter::plan::{RatePlan, SampleMode, SamplePlan, SelectPlan};
use crate::proto::shared::keyed::{key, regex};
use crate::settings::key::{Key, REGEX, Value, words};
use crate::settings::{Report, Section};

/// The keys common to all nodes except inputs.
pub(super) const KEYS: &[&[Key]] = &[FROM, SELECTORS];

/// The place of a key among those that say which lines a node takes; `None` if it says something
/// else.
pub(crate) fn place_of(key: &str) -> Option<usize> {
    KEYS.iter().copied().flatten().position(|selector| selector.name == key)
}

/// The nodes that a node reads from.
pub(super) const FROM: &[Key] = &[Key::or_else(
    "from",
    Value::Texts("Name", r"\S"),
    "every input",
    "The node or nodes whose lines it reads.",
)];

/// The selectors.
pub(super) const SELECTORS: &[Key] = &[
    fields::FACILITY,
    fields::SEVERITY,
    fields::HOST,
    fields::APP,
    fields::PROGRAM,
    fields::PROCID,
    fields::MSGID,
    fields::MESSAGE,
    fields::SOURCE,
    fields::PID,
    fields::UID,
    fields::SD,
    MATCH,
    REJECT,
    RATE,
    SAMPLE,
    SAMPLE_MODE,
    SAMPLE_KEY,
];

const MATCH: Key = Key::new("match", REGEX, "Only lines that this regex matches.");
const REJECT: Key = Key::new("reject", REGEX, "Only lines that this regex does not match.");
const RATE: Key = Key::new(
    "rate",
    Value::Text("Rate, as in \"1000/s\"", r"^\s*[0-9]+\s*/\s*[smhd]\s*$"),
    "Pass at most this many lines per period; the excess is dropped and counted.",
);
const SAMPLE: Key = Key::or("sample", Value::Integer(1..=u64::MAX), "1", "Keep one line in N.");
const MODES: [(&str, Mode); 3] =
    [("every", Mode::Every), ("random", Mode::Random), ("hash", Mode::Hash)];
const MODE_WORDS: [&str; 3] = words(&MODES);
const SAMPLE_MODE: Key =
    Key::or("sample_mode", Value::Words(&MODE_WORDS), "\"every\"", "Which of N lines to keep.");
const SAMPLE_KEY: Key = Key::new(
    "sample_key",
    Value::Text("Regex with one group, or field in braces", ""),
    "The key for sample_mode = \"hash\".",
);

/// Reads all selectors of a node.
pub(super) fn read(section: &Section<'_>, report: &mut Report<'_>) -> SelectPlan {
    SelectPlan {
        fields: fields::read(section, report),
        matches: section.entry(&MATCH).and_then(|entry| regex(entry, report)),
        reject: section.entry(&REJECT).and_then(|entry| regex(entry, report)),
        rate: rate(section, report),
        sample: sample(section, report),
    }
}

fn rate(section: &Section<'_>, report: &mut Report<'_>) -> Option<RatePlan> {
    let entry = section.entry(&RATE)?;
    let text = entry.text(report)?;
    entry.accept(report, text.parse())
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Every,
    Random,
    Hash,
}

fn sample(section: &Section<'_>, report: &mut Report<'_>) -> Option<SamplePlan> {
    let mode_entry = section.entry(&SAMPLE_MODE);
    let mode = match mode_entry {
        Some(entry) => entry.word(report, &MODES),
        None => Some(Mode::Every),
    };
    let key_entry = section.entry(&SAMPLE_KEY);
    let key = key_entry.and_then(|entry| key(entry, report));
    if let Some(entry) = key_entry
        && mode.is_some_and(|mode| mode != Mode::Hash)
    {
        entry.misplaced(report, "needs `sample_mode = \"hash\"`");
    }
    if let Some(entry) = mode_entry
        && mode == Some(Mode::Hash)
        && key_entry.is_none()
    {
        let help = "give the key as a regex with one group, as in sample_key = 'host=(\\S+)'";
        entry.wrong_help(report, "\"hash\" needs `sample_key`", help);
    }
    let Some(entry) = section.entry(&SAMPLE) else {
        if let Some(entry) = mode_entry {
            entry.misplaced(report, "needs `sample`");
        }
        return None;
    };
    let n = NonZeroU64::new(entry.integer(report, 1..=u64::MAX)?)?;
    let mode = match mode? {
        Mode::Every => SampleMode::Every,
        Mode::Random => SampleMode::Random,
        Mode::Hash => SampleMode::Hash { key: key? },
    };
    (n.get() > 1).then_some(SamplePlan { n, mode })
}
