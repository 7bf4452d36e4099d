//! What a node selects from the streams it reads, as configured.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use crate::parse::field::Field;
use crate::settings::units;

/// What a node selects from the streams it reads, in the order of the fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SelectPlan {
    /// Only lines in which all of these fields have the wanted values.
    pub fields: Vec<FieldPlan>,
    /// Only lines that this regex matches.
    pub matches: Option<String>,
    /// Only lines that this regex does not match.
    pub reject: Option<String>,
    /// Pass at most this many lines per period.
    pub rate: Option<RatePlan>,
    /// Keep one line in N.
    pub sample: Option<SamplePlan>,
}

/// A test on a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPlan {
    /// The field.
    pub field: Field,
    /// The accepted values.
    pub wanted: Wanted,
}

/// The accepted values of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A facility or a severity whose bit is set; bit 0 is number 0.
    Numbers(u32),
    /// Text.
    Text {
        /// It must be one of these; `None` accepts anything, including a missing field.
        only: Option<Words>,
        /// It must be none of these.
        not: Words,
    },
}

/// A set of texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    /// Literal texts; for a source, also networks, as in `192.0.2.0/24`.
    pub names: Vec<String>,
    /// Regexes, one of which must match.
    pub patterns: Vec<String>,
}

/// `rate = "1000/s"`: a token bucket that holds one period's worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatePlan {
    /// Lines per period.
    pub lines: NonZeroU64,
    /// The period.
    pub per: Duration,
}

impl FromStr for RatePlan {
    type Err = String;

    /// Reads a rate such as `1000/s`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (lines, per) = units::rate(text)?;
        Ok(Self { lines, per })
    }
}

impl fmt::Display for RatePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&units::show_rate(self.lines, self.per))
    }
}

/// `sample = N`, N greater than 1 (1 selects everything and has no plan).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplePlan {
    /// Keep one line in N.
    pub n: NonZeroU64,
    /// Which of the N lines.
    pub mode: SampleMode,
}

/// Which lines a sample keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SampleMode {
    /// Every Nth, with a phase of the node's own.
    Every,
    /// Every Nth line of the stream from its first line on, as udp2log counts: one counter shared
    /// by all nodes that read from it.
    EveryFromStart,
    /// Each with probability 1/N.
    Random,
    /// Those whose key, the first group of this regex, hashes to 0 modulo N.
    Hash {
        /// A regex with one group.
        key: String,
    },
}
