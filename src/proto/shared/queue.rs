//! The queue before an output.

use crate::limits;
use crate::settings::{Key, Report, Section, Value};

/// The keys of outputs without a process.
pub const KEYS: &[Key] = &[QUEUE];

const QUEUE: Key = Key::or(
    "queue",
    Value::Size(limits::QUEUE_MIN..=u64::MAX),
    "\"64MiB\"",
    "The bound of the queue before the output; new lines that do not fit are dropped and counted.",
);

/// Reads the bound of the queue, in bytes.
pub fn read(section: &Section<'_>, report: &mut Report<'_>) -> u64 {
    section.size(&QUEUE, report).unwrap_or(limits::QUEUE_FILE_DEFAULT)
}
