//! The spool: lines on disk, in plain text, until every reader has passed them.
//!
//! [`writer`] appends batches to segments, makes them durable, drops what must go and keeps
//! the cursors; it is also what repairs a spool when a daemon starts ([`recover`]). [`reader`]
//! reads from any line on, in the daemon and in `logweir spool`. Both stand on [`scan`], which
//! reads one segment, and on [`mod@format`], which knows the bytes. All are generic over
//! [`Fs`](crate::fs::Fs), so that tests can stop the machine before any step.
//!
//! The order of writes is: data, fdatasync, fsync of the folder where a segment is new; then
//! cursors; then the removal of segments that every reader has passed. What is durable only
//! ever grows, and only what is durable is acknowledged or read.
//!
//! The segments alone are the truth. A segment ends where the name of the next one says that
//! it begins, whatever stands behind: after a failed sync what was not durable is written again
//! to a new segment, and the old one is never touched again.

pub mod cursor;
pub mod folder;
pub mod format;
pub mod job;
pub mod plan;
pub mod reader;
pub mod recover;
pub mod scan;
#[cfg(test)]
mod tests;
pub mod writer;
