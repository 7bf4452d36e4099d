//! What a node takes of the streams it is given, as the configuration says it.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use crate::parse::field::Field;
use crate::settings::units;

/// What a node takes of the streams it is given, in the order of the fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SelectPlan {
    /// Only lines in which all of these fields are as wanted.
    pub fields: Vec<FieldPlan>,
    /// Only lines this regex finds something in.
    pub matches: Option<String>,
    /// Only lines this regex finds nothing in.
    pub reject: Option<String>,
    /// At most so many lines.
    pub rate: Option<RatePlan>,
    /// One line of so many.
    pub sample: Option<SamplePlan>,
}

/// What a field must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPlan {
    /// Which.
    pub field: Field,
    /// What it must be.
    pub wanted: Wanted,
}

/// What a field may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A facility or a severity whose bit is set, the lowest for number 0.
    Numbers(u32),
    /// Text.
    Text {
        /// It must be one of these; `None` for anything, nothing at all among it.
        only: Option<Words>,
        /// It must be none of these.
        not: Words,
    },
}

/// Some texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    /// These very texts; of a source, networks too, as in `192.0.2.0/24`.
    pub names: Vec<String>,
    /// What one of these regexes finds something in.
    pub patterns: Vec<String>,
}

/// `rate = "1000/s"`: a token bucket that holds one period's worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatePlan {
    /// Lines a period.
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

/// `sample = N`, N greater than 1 (1 selects all and is no plan).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplePlan {
    /// One line of so many.
    pub n: NonZeroU64,
    /// Which.
    pub mode: SampleMode,
}

/// Which lines a sample takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SampleMode {
    /// Each N-th, with a phase of the node's own.
    Every,
    /// Each N-th line of the stream from its first on, as udp2log counts: one counter for
    /// all that take from it.
    EveryFromStart,
    /// Each with a chance of 1/N.
    Random,
    /// Those whose key, the first group of this regex, hashes to 0 modulo N.
    Hash {
        /// A regex with one group.
        key: String,
    },
}
