//! From what the kernel gave us to whole lines: no system calls, only bytes and counts.

pub mod datagrams;
pub mod lines;
pub mod relp;

use serde::Serialize;

/// What an input knows beside the lines themselves. Sent along with each batch as what came
/// since the last one, and added up by the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct InputCounts {
    /// Datagrams received.
    pub datagrams: u64,
    /// Datagrams without a byte, in which there is no line.
    pub empty_datagrams: u64,
    /// Lines cut to `max_line`.
    pub oversize: u64,
    /// Bytes cut off those lines.
    pub oversize_bytes: u64,
    /// Datagrams that the kernel dropped for want of room.
    pub kernel_drops: u64,
    /// Lines missing by the sequence numbers in them.
    pub sequence_lost: u64,
    /// Messages that made no sense; such a connection is closed.
    pub malformed: u64,
    /// Connections taken.
    pub connections: u64,
    /// Connections refused because there were too many.
    pub refused: u64,
}

impl InputCounts {
    /// Adds what came since.
    pub fn add(&mut self, other: &Self) {
        self.datagrams += other.datagrams;
        self.empty_datagrams += other.empty_datagrams;
        self.oversize += other.oversize;
        self.oversize_bytes += other.oversize_bytes;
        self.kernel_drops += other.kernel_drops;
        self.sequence_lost += other.sequence_lost;
        self.malformed += other.malformed;
        self.connections += other.connections;
        self.refused += other.refused;
    }

    /// Counts a line that was cut by so many bytes.
    pub fn cut(&mut self, bytes: usize) {
        self.oversize += 1;
        self.oversize_bytes += bytes as u64;
    }
}
