//! Lines over plain TCP with octet counting (RFC 6587, section 3.4.1; RFC 5425, section 4.3):
//! the length of each line in decimal, a space, the line.
//!
//! Nobody answers. Lines count as the peer's when its TCP has acknowledged their last byte, of
//! which the kernel tells how many are missing.

use std::collections::VecDeque;

use super::out::Out;
use crate::batch::Batch;
use crate::format::Formatter;
use crate::ledger::Count;
use crate::proto::relp::wire::decimal;

/// One connection.
#[derive(Debug, Default)]
pub struct Stream {
    out: Out,
    /// Bytes given out to be written since the connection was made.
    given: u64,
    /// Where the lines sent end, in bytes since the connection was made.
    sent: VecDeque<(u64, Count)>,
}

impl Stream {
    /// Sends lines.
    pub fn send_lines(&mut self, batch: &Batch, formatter: &Formatter) {
        let (bytes, _) = formatter.batch(batch);
        let formatted = batch.with(bytes, batch.lines);
        let mut out = Vec::with_capacity(formatted.bytes.len() + batch.lines as usize * 8);
        for (line, written) in batch.iter().zip(formatted.iter()) {
            decimal(&mut out, written.len() as u64);
            out.push(b' ');
            out.extend_from_slice(written);
            self.sent.push_back((
                self.given + out.len() as u64,
                Count { lines: 1, bytes: line.len() as u64 + 1 },
            ));
        }
        self.given += out.len() as u64;
        self.out.push(out.into());
    }

    /// Of all that was given out, the peer has acknowledged the first `bytes` bytes: the lines
    /// that are whole in them, since the last time.
    pub fn take_done(&mut self, bytes: u64) -> Count {
        let mut done = Count::default();
        while let Some((end, count)) = self.sent.front()
            && *end <= bytes
        {
            done.add(count.lines, count.bytes);
            self.sent.pop_front();
        }
        done
    }

    /// Whether lines were sent that are not acknowledged.
    pub fn waits(&self) -> bool {
        !self.sent.is_empty()
    }

    /// What is to be written.
    pub fn out(&self) -> &Out {
        &self.out
    }

    /// So many bytes were written.
    pub fn wrote(&mut self, bytes: usize) {
        self.out.wrote(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::FormatPlan;
    use crate::filter::batch_of;

    #[test]
    fn lines_are_done_when_their_last_byte_is_acknowledged() {
        let mut stream = Stream::default();
        stream.send_lines(
            &batch_of("hello\n\nline of ten\n"),
            &Formatter::new(&FormatPlan::default()),
        );
        let out: Vec<u8> = stream.out.pieces().iter().flat_map(|bytes| bytes.to_vec()).collect();
        assert_eq!(String::from_utf8(out).unwrap(), "5 hello0 11 line of ten");
        let mut done = Vec::new();
        for bytes in 0..=23 {
            done.push(stream.take_done(bytes).lines);
        }
        assert_eq!(done.iter().sum::<u64>(), 3);
        assert_eq!((done[7], done[9], done[23]), (1, 1, 1));
        assert!(!stream.waits());
    }
}
