//! The maximum length of a line or a message, and whether lines are numbered.

use crate::limits;
use crate::settings::{Key, Report, Section, Value};

/// The keys of inputs with raw lines.
pub const LINES: &[Key] = &[MAX_LINE, SEQUENCE];
/// The keys of inputs with messages.
pub const MESSAGES: &[Key] = &[MAX_MESSAGE];
/// The keys of a process that prints lines.
pub const PRINTED: &[Key] = &[MAX_LINE];

const LENGTH: Value = Value::Size(limits::LINE_LENGTH_MIN as u64..=limits::LINE_LENGTH_MAX as u64);

const MAX_LINE: Key =
    Key::or("max_line", LENGTH, "\"64KiB\"", "Longer lines are cut to this length and counted.");

const SEQUENCE: Key = Key::or(
    "sequence",
    Value::Bool,
    "false",
    "Whether each line begins with a sender's name and a sequence number, whose gaps are counted \
     for each sender.",
);

const MAX_MESSAGE: Key = Key::or(
    "max_message",
    LENGTH,
    "\"64KiB\"",
    "Longer messages are cut to this length and counted.",
);

/// Reads the maximum length of a line, in bytes.
pub fn max_line(section: &Section<'_>, report: &mut Report<'_>) -> usize {
    let size = section.size(&MAX_LINE, report);
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(limits::LINE_LENGTH_DEFAULT)
}

/// Reads the maximum length of a line or message that an input accepts, in bytes.
pub fn longest(section: &Section<'_>, report: &mut Report<'_>) -> usize {
    if section.entry(&MAX_MESSAGE).is_none() {
        return max_line(section, report);
    }
    let size = section.size(&MAX_MESSAGE, report);
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(limits::MESSAGE_DEFAULT)
}

/// Reads whether senders number their lines.
pub fn sequence(section: &Section<'_>, report: &mut Report<'_>) -> bool {
    section.boolean(&SEQUENCE, report).unwrap_or(false)
}
