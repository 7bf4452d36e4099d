//! A spool, as configured.

use std::path::PathBuf;
use std::time::Duration;

/// A spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolPlan {
    /// Its folder.
    pub dir: PathBuf,
    /// The maximum number of bytes on disk.
    pub max_size: u64,
    /// The maximum age of its lines.
    pub max_age: Option<Duration>,
    /// How much of the lines that every reader has passed is kept, by time or size.
    pub keep: Option<SpoolKeep>,
    /// The maximum size of a segment in bytes.
    pub segment: u64,
    /// When written lines are made durable.
    pub sync: Sync,
    /// What happens when it is full.
    pub when_full: SpoolFull,
    /// True if closed segments are compressed with zstd.
    pub compress: bool,
    /// The number of bytes to leave free on the disk.
    pub reserve: u64,
    /// The bound of the queue before the spool, in bytes.
    pub queue: u64,
}

/// What a spool keeps of the segments that every reader has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolKeep {
    /// Those written within this time.
    Time(Duration),
    /// This many bytes of them.
    Size(u64),
}

/// When the lines written to a spool are made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Within this time, and at once when something waits for it.
    Every(Duration),
    /// As soon as the disk has finished the previous sync.
    Batch,
    /// When the system decides.
    Never,
}

/// What happens when a spool is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolFull {
    /// The oldest segment is dropped.
    DropOldest,
    /// New lines are dropped.
    DropNewest,
    /// The inputs upstream of it wait.
    Block,
}
