//! A spool, as the configuration says it.

use std::path::PathBuf;
use std::time::Duration;

/// A spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolPlan {
    /// Its folder.
    pub dir: PathBuf,
    /// The bytes it may hold on disk.
    pub max_size: u64,
    /// How old its lines may become.
    pub max_age: Option<Duration>,
    /// How long, or how much of, what every reader has passed is kept.
    pub keep: Option<SpoolKeep>,
    /// The bytes of a segment.
    pub segment: u64,
    /// When what was written is made durable.
    pub sync: Sync,
    /// What happens when it is full.
    pub when_full: SpoolFull,
    /// Whether closed segments are compressed with zstd.
    pub compress: bool,
    /// So many bytes of the disk are left free.
    pub reserve: u64,
    /// The bound of the queue before it, in bytes.
    pub queue: u64,
}

/// What a spool keeps of the segments that every reader has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolKeep {
    /// Those that were written within this time.
    Time(Duration),
    /// So many bytes of them.
    Size(u64),
}

/// When what was written to a spool is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// After so much time at most, and as soon as somebody waits for it.
    Every(Duration),
    /// As soon as the disk has done with what was before.
    Batch,
    /// When the system likes.
    Never,
}

/// What happens when a spool is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolFull {
    /// The oldest segment is dropped.
    DropOldest,
    /// New lines are dropped.
    DropNewest,
    /// The inputs behind it wait.
    Block,
}
