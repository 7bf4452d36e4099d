//! The schemes of lines over TCP, and `framing`.

use crate::proto::traits::ClientPlan;
use crate::settings::key::words;
use crate::settings::{Key, Report, Section, Value};
use crate::url::Protocol;

/// The URL schemes of the client.
pub const SCHEMES: &[Protocol] = &[Protocol::Tcp, Protocol::Tls];

/// What a peer can tell lines apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// The length of each line before it (RFC 6587, section 3.4.1).
    #[default]
    Count,
    /// A newline behind each line (RFC 6587, section 3.4.2).
    Newline,
}

/// What an output says of plain TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpOutPlan {
    /// How lines are told apart.
    pub framing: Framing,
}

const FRAMINGS: [(&str, Framing); 2] = [("count", Framing::Count), ("newline", Framing::Newline)];
const FRAMING_WORDS: [&str; 2] = words(&FRAMINGS);
const FRAMING: Key = Key::or(
    "framing",
    Value::Words(&FRAMING_WORDS),
    "\"count\"",
    "How peers that are reached by tcp:// and tls:// tell lines apart: by the length of each \
     before it, or by a newline behind it.",
);

impl ClientPlan for TcpOutPlan {
    const KEYS: &'static [Key] = &[FRAMING];

    fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<Self> {
        match section.entry(&FRAMING) {
            Some(entry) => entry.word(report, &FRAMINGS).map(|framing| Self { framing }),
            None => Some(Self::default()),
        }
    }
}
