//! A batch: whole lines, each ended by a newline, in one shared piece of memory.
//!
//! Batches are the unit in which lines travel. The bytes are reference-counted, so
//! that any number of queues hold one copy; nothing ever changes them.

use std::time::SystemTime;

use bytes::Bytes;

use crate::ids::NodeId;

/// Whole lines that entered together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The lines, each ended by `\n`; the last byte is always `\n`.
    pub bytes: Bytes,
    /// How many lines `bytes` holds; at least one.
    pub lines: u32,
    /// The node whose stream these lines are in a file name's `{input}`:
    /// the input they came by, or the `run` filter that printed them.
    pub input: NodeId,
    /// When they were received.
    pub received: SystemTime,
}

impl Batch {
    /// The same flow, with other lines: what a selection made of this batch.
    pub fn with(&self, bytes: Bytes, lines: u32) -> Self {
        Self { bytes, lines, ..*self }
    }

    /// The lines, without their newlines.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        // A batch ends with a newline, so what follows the last one is empty and no line.
        let body = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        body.split(|&byte| byte == b'\n')
    }

    /// What the batch costs a queue: its bytes and the room of its entry.
    pub fn cost(&self) -> u64 {
        self.bytes.len() as u64 + crate::limits::BATCH_OVERHEAD
    }
}
