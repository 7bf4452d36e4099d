//! The spool: lines on disk, in plain text, until every reader has passed them.
//!
//! [`writer`] appends batches to segments; [`sync`] makes them durable in parallel, puts cursors on
//! disk and removes segments; [`room`] decides what to drop when the spool or the disk is full.
//! [`job`] is the contract with the owner of the lines and the threads. [`recover`] repairs a spool
//! when a daemon starts. [`reader`] reads from any line on, in the daemon and in `logweir spool`.
//! Both are built on [`scan`], which reads one segment, and on [`mod@format`], which defines the
//! bytes. All are generic over [`Fs`](crate::fs::Fs), so that tests can stop the machine before any
//! step.
//!
//! Appending never waits for a sync: lines go to the kernel at once, and a sync, in another thread,
//! covers what was appended before it began. The order of writes is: data, fdatasync, fsync of the
//! folder if a segment is new; then cursors; then the removal of segments that every reader has
//! passed. The durable range only ever grows, and only durable lines are acknowledged or read.
//!
//! The segments alone are the truth. A segment ends where the name of the next one says that it
//! begins, whatever bytes follow: after a failed sync the lines that are not durable are written
//! again to a new segment, and the old one is never touched again. Several segments may be waiting
//! for a sync, and a crash may cost an older one more than a newer one: each records at its
//! beginning the line from which earlier ones were in doubt, and a start abandons what follows the
//! first gap.

pub mod age;
pub mod cursor;
pub mod folder;
pub mod format;
pub mod job;
pub mod origins;
pub mod plan;
pub mod reader;
pub mod recover;
pub mod room;
pub mod scan;
pub mod sync;
#[cfg(test)]
mod tests;
pub mod writer;
