//! How many connections an input accepts.

use crate::limits;
use crate::settings::{Key, Report, Section, Value};

/// The keys of inputs with connections.
pub const KEYS: &[Key] = &[MAX_CONNECTIONS];

const MAX_CONNECTIONS: Key = Key::or(
    "max_connections",
    Value::Integer(1..=limits::CONNECTIONS_MAX),
    "1000",
    "The maximum number of connections; more are refused and counted.",
);

/// Reads the maximum number of connections.
pub fn read(section: &Section<'_>, report: &mut Report<'_>) -> usize {
    let max = section.integer(&MAX_CONNECTIONS, report).unwrap_or(limits::CONNECTIONS_DEFAULT);
    usize::try_from(max).unwrap_or(usize::MAX)
}
