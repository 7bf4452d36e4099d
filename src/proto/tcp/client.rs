//! Lines over plain TCP with octet counting (RFC 6587, section 3.4.1; RFC 5425, section 4.3):
//! the length of each line in decimal, a space, the line. For peers that know no counts, a newline
//! behind each line instead (RFC 6587, section 3.4.2); there is none inside a line.
//!
//! The peer sends no answers. Lines count as delivered when the peer's TCP has acknowledged their
//! last byte; the kernel reports how many bytes are unacknowledged.

use std::collections::VecDeque;
use std::error::Error;

use bytes::Bytes;

use crate::batch::Batch;
use crate::format::Formatter;
use crate::format::decimal::decimal;
use crate::forward::client::{Client, Heard, Offer};
use crate::forward::out::Out;
use crate::ledger::Count;
use crate::limits::{LINES_UNACKNOWLEDGED_MAX, LONG_LINE};

use super::config::{Framing, TcpOutPlan};

/// One connection.
#[derive(Debug, Default)]
pub struct TcpClient {
    framing: Framing,
    out: Out,
    /// Bytes passed on for writing since the connection was made.
    given: u64,
    /// The ends of the lines sent, in bytes since the connection was made.
    sent: VecDeque<(u64, Count)>,
    /// Bytes that the peer's TCP has acknowledged.
    acknowledged: u64,
}

/// Creates a client; its offer is unused, because a plain TCP peer cannot receive it.
pub fn new(_: Offer, plan: &TcpOutPlan) -> TcpClient {
    TcpClient { framing: plan.framing, ..TcpClient::default() }
}

impl TcpClient {
    /// Sends lines of which some are long.
    fn send_long(&mut self, batch: &Batch, formatter: &Formatter) {
        formatter.each_long(batch, |len, long| {
            let before = self.out.len();
            let mut count = Vec::new();
            if self.framing == Framing::Count {
                decimal(&mut count, long.len as u64);
                count.push(b' ');
            }
            self.out.push(count.into());
            self.out.push_long(long);
            if self.framing == Framing::Newline {
                self.out.push(Bytes::from_static(b"\n"));
            }
            self.given += (self.out.len() - before) as u64;
            self.sent.push_back((self.given, Count { lines: 1, bytes: len as u64 }));
        });
    }
}

impl Client for TcpClient {
    /// Ignores whatever a plain TCP peer sends.
    fn push(&mut self, _: &[u8], _: &mut Vec<Heard>) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }

    fn is_open(&self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        self.sent.len() < LINES_UNACKNOWLEDGED_MAX
    }

    fn send(&mut self, batch: &Batch, formatter: &Formatter) {
        if batch.bytes.len() >= LONG_LINE {
            return self.send_long(batch, formatter);
        }
        let (bytes, _) = formatter.batch(batch);
        let formatted = batch.with(bytes, batch.lines);
        let mut out = Vec::with_capacity(formatted.bytes.len() + batch.lines as usize * 8);
        for (line, written) in batch.iter().zip(formatted.iter()) {
            match self.framing {
                Framing::Count => {
                    decimal(&mut out, written.len() as u64);
                    out.push(b' ');
                    out.extend_from_slice(written);
                }
                Framing::Newline => {
                    out.extend_from_slice(written);
                    out.push(b'\n');
                }
            }
            self.sent.push_back((
                self.given + out.len() as u64,
                Count { lines: 1, bytes: line.len() as u64 + 1 },
            ));
        }
        self.given += out.len() as u64;
        self.out.push(out.into());
    }

    fn out(&self) -> &Out {
        &self.out
    }

    fn wrote(&mut self, bytes: usize) {
        self.out.wrote(bytes);
    }

    fn counts_acknowledged_bytes(&self) -> bool {
        true
    }

    fn acknowledged(&mut self, bytes: u64) {
        self.acknowledged = bytes;
    }

    /// The lines that the peer's TCP has acknowledged completely.
    fn take_done(&mut self) -> Count {
        let mut done = Count::default();
        while let Some((end, count)) = self.sent.front()
            && *end <= self.acknowledged
        {
            done.add(count.lines, count.bytes);
            self.sent.pop_front();
        }
        done
    }

    fn waits(&self) -> bool {
        !self.sent.is_empty()
    }

    fn close(&mut self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::FormatPlan;
    use crate::filter::batch_of;

    #[test]
    fn the_number_of_lines_in_flight_is_bounded_however_short_they_are() {
        let mut client = TcpClient::default();
        let formatter = Formatter::new(&FormatPlan::default());
        let batch = batch_of(&"\n".repeat(LINES_UNACKNOWLEDGED_MAX / 2));
        client.send(&batch, &formatter);
        assert!(client.has_room());
        client.send(&batch, &formatter);
        assert!(!client.has_room());
        client.acknowledged(2);
        assert_eq!(client.take_done().lines, 1);
        assert!(client.has_room());
    }

    #[test]
    fn lines_are_done_when_their_last_byte_is_acknowledged() {
        let mut client = TcpClient::default();
        client.send(&batch_of("hello\n\nline of ten\n"), &Formatter::new(&FormatPlan::default()));
        let out: Vec<u8> = client.out.pieces().iter().flat_map(|bytes| bytes.to_vec()).collect();
        assert_eq!(String::from_utf8(out).unwrap(), "5 hello0 11 line of ten");
        let mut done = Vec::new();
        for bytes in 0..=23 {
            client.acknowledged(bytes);
            done.push(client.take_done().lines);
        }
        assert_eq!(done.iter().sum::<u64>(), 3);
        assert_eq!((done[7], done[9], done[23]), (1, 1, 1));
        assert!(!client.waits());
    }

    #[test]
    fn a_peer_without_counts_gets_a_newline_behind_each_line() {
        let mut client = new(None, &TcpOutPlan { framing: Framing::Newline });
        client.send(&batch_of("hello\n\nline of ten\n"), &Formatter::new(&FormatPlan::default()));
        let out: Vec<u8> = client.out.pieces().iter().flat_map(|bytes| bytes.to_vec()).collect();
        assert_eq!(String::from_utf8(out).unwrap(), "hello\n\nline of ten\n");
        client.acknowledged(7);
        assert_eq!(client.take_done().lines, 2);
        client.acknowledged(18);
        assert_eq!(client.take_done().lines, 0);
        client.acknowledged(19);
        assert_eq!(client.take_done(), Count { lines: 1, bytes: 12 });
    }
}
