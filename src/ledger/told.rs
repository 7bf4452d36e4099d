//! What is told of the counts of a minute: to observers, in audit lines, over a restart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::minutes::Counts;
use super::{Count, REASONS, Reason};
use crate::minute::Minute;

/// Counts of one minute, or of several together. Zeroes are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MinuteCounts {
    /// Lines that entered.
    #[serde(skip_serializing_if = "is_zero")]
    pub lines_in: u64,
    /// Bytes that entered, with newlines.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_in: u64,
    /// Lines that left.
    #[serde(skip_serializing_if = "is_zero")]
    pub lines_out: u64,
    /// Bytes that left.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_out: u64,
    /// Lines that the selectors rejected.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_selected: u64,
    /// Their bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_not_selected: u64,
    /// Lines that were dropped, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped: BTreeMap<String, u64>,
    /// Their bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_dropped: u64,
    /// Datagrams that the kernel dropped in this minute; inputs only.
    #[serde(skip_serializing_if = "is_zero")]
    pub kernel_drops: u64,
    /// Lines that its children printed in this minute; filter processes only.
    #[serde(skip_serializing_if = "is_zero")]
    pub printed: u64,
}

/// A window whose counts are to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The node's name.
    pub node: String,
    /// `input`, `filter`, `spool` or `output`.
    pub kind: &'static str,
    /// The nodes it reads from.
    pub from: Vec<String>,
    /// What it reads from or writes to, on one line.
    pub at: Option<String>,
    /// The first minute.
    pub start: Minute,
    /// How often the window was told before.
    pub told: u16,
    /// What was counted in all its minutes so far.
    pub counts: MinuteCounts,
}

/// The windows that have closed, and the late counts of earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Since when the daemon counts, in seconds since 1970.
    pub since: u64,
    /// The present minute: all windows that ended before are closed.
    pub minute: Minute,
    /// The length of a window in minutes.
    pub length: u32,
    /// The number of nodes in the daemon.
    pub nodes: usize,
    /// Lines that wait at the sources of inputs, of those that know.
    pub waiting: BTreeMap<String, u64>,
    /// The windows.
    pub windows: Vec<Window>,
}

/// The version of audit lines.
pub const AUDIT_VERSION: u32 = 1;
/// What a process reads or writes is told by this word.
pub const PROCESS: &str = "process";
/// The kind of the line that a daemon has of itself.
pub const DAEMON: &str = "daemon";

/// An audit line (logweir-audit(7)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// [`AUDIT_VERSION`].
    pub v: u32,
    /// The beginning of the window, as RFC 3339 has it.
    pub window: String,
    /// Its length in seconds.
    pub seconds: u32,
    /// The host.
    pub host: String,
    /// The node; empty in the line of the daemon itself.
    pub node: String,
    /// The node's kind, or [`DAEMON`].
    pub kind: String,
    /// The nodes it reads from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// What it reads from or writes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Since when the daemon counts, in seconds since 1970.
    pub since: u64,
    /// How many lines about the window came before: 0, or the number of this correction.
    #[serde(default)]
    pub late: u32,
    /// In the line of the daemon: lines that wait at the sources of inputs, of those that know.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waiting: BTreeMap<String, u64>,
    /// The counts, of the whole window so far.
    #[serde(flatten)]
    pub counts: MinuteCounts,
}

/// Returns whether a count need not be written.
pub(crate) fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl From<&Counts> for MinuteCounts {
    fn from(counts: &Counts) -> Self {
        let dropped = REASONS.iter().map(|&reason| (reason.word(), counts.dropped(reason)));
        let dropped = dropped.filter(|(_, lines)| *lines > 0);
        Self {
            lines_in: counts.entered.lines,
            bytes_in: counts.entered.bytes,
            lines_out: counts.left.lines,
            bytes_out: counts.left.bytes,
            not_selected: counts.not_selected.lines,
            bytes_not_selected: counts.not_selected.bytes,
            dropped: dropped.map(|(word, lines)| (word.to_string(), lines)).collect(),
            bytes_dropped: counts.dropped_in_all().bytes,
            kernel_drops: counts.kernel_drops(),
            printed: counts.printed(),
        }
    }
}

impl From<&MinuteCounts> for Counts {
    fn from(told: &MinuteCounts) -> Self {
        let mut counts = Self::default();
        counts.entered.add(told.lines_in, told.bytes_in);
        counts.left.add(told.lines_out, told.bytes_out);
        counts.not_selected.add(told.not_selected, told.bytes_not_selected);
        let mut bytes = told.bytes_dropped;
        for (word, &lines) in &told.dropped {
            // A reason that this version does not know was one of another version.
            let reason = REASONS.iter().find(|reason| reason.word() == word);
            let reason = reason.copied().unwrap_or(Reason::Damaged);
            let bytes = std::mem::take(&mut bytes);
            counts.drop(reason, Count { lines, bytes });
        }
        if told.kernel_drops > 0 {
            counts.add_kernel_drops(told.kernel_drops);
        }
        if told.printed > 0 {
            counts.add_printed(told.printed);
        }
        counts
    }
}

impl MinuteCounts {
    /// Adds all of another. What others tell may be anything, so a sum ends at the highest number.
    pub fn add(&mut self, other: &Self) {
        self.merge(other, u64::saturating_add);
    }

    /// Takes the higher of each count.
    pub fn raise(&mut self, other: &Self) {
        self.merge(other, u64::max);
    }

    fn merge(&mut self, other: &Self, merge: impl Fn(u64, u64) -> u64) {
        for (count, other) in [
            (&mut self.lines_in, other.lines_in),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.lines_out, other.lines_out),
            (&mut self.bytes_out, other.bytes_out),
            (&mut self.not_selected, other.not_selected),
            (&mut self.bytes_not_selected, other.bytes_not_selected),
            (&mut self.bytes_dropped, other.bytes_dropped),
            (&mut self.kernel_drops, other.kernel_drops),
            (&mut self.printed, other.printed),
        ] {
            *count = merge(*count, other);
        }
        for (reason, &lines) in &other.dropped {
            let count = self.dropped.entry(reason.clone()).or_default();
            *count = merge(*count, lines);
        }
    }

    /// Lines that were dropped for any reason.
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.values().fold(0, |sum, lines| sum.saturating_add(*lines))
    }

    /// Lines that left, were not selected, or were dropped.
    pub fn gone(&self) -> u64 {
        let passed = self.lines_out.saturating_add(self.not_selected);
        passed.saturating_add(self.dropped_in_all())
    }

    /// Lines that entered and have neither left nor been dropped.
    pub fn waiting(&self) -> u64 {
        self.lines_in.saturating_sub(self.gone())
    }
}
