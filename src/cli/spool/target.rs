//! Where replayed lines go to, and what of them has arrived there.

use std::collections::VecDeque;
use std::io;

use super::feed::Piece;
use crate::batch::count_lines;
use crate::driver::clients::{Client, Stop};

/// Where the lines go.
pub(super) struct Target {
    client: Box<dyn Client>,
    /// Pieces together, for one large write.
    joined: Vec<u8>,
}

impl Target {
    /// Sends through a client.
    pub(super) fn new(client: Box<dyn Client>) -> Self {
        Self { client, joined: Vec::new() }
    }

    /// Sends until all is gone or the user has had enough; how many bytes of the pieces went.
    /// Where that is not all, the reason or the user's.
    pub(super) fn send(&mut self, pieces: &[Piece], stop: &Stop) -> (u64, io::Result<()>) {
        if self.client.tells_numbers() {
            return self.send_numbered(pieces, stop);
        }
        let bytes = match pieces {
            [piece] => &piece.bytes[..],
            _ => {
                self.joined.clear();
                pieces.iter().for_each(|piece| self.joined.extend_from_slice(&piece.bytes));
                &self.joined
            }
        };
        let (sent, done) = self.client.send(bytes, stop);
        (sent as u64, done)
    }

    fn send_numbered(&mut self, pieces: &[Piece], stop: &Stop) -> (u64, io::Result<()>) {
        let mut all = 0;
        for piece in pieces {
            let (sent, done) = self.client.send_numbered(piece.first, &piece.bytes, stop);
            all += sent as u64;
            if done.is_err() || sent < piece.bytes.len() {
                return (all, done);
            }
        }
        (all, Ok(()))
    }

    /// How many of the last bytes may not have arrived.
    pub(super) fn unacknowledged(&mut self) -> u64 {
        self.client.unacknowledged()
    }

    /// Waits until all has arrived; where the user has had enough, not for long.
    ///
    /// # Errors
    /// How the connection broke.
    pub(super) fn settle(&mut self, stop: &Stop) -> io::Result<()> {
        self.client.settle(stop)
    }

    /// What else is to be said.
    pub(super) fn notes(&self) -> String {
        self.client.notes()
    }
}

/// What has arrived, and what was handed over and may not have.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Lines that have arrived.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The number of the first of them.
    pub first: u64,
    /// The number of the first line that has not.
    pub next: u64,
    /// Bytes that were handed over and may arrive yet; known when it is closed.
    pub doubtful: u64,
    under_way: VecDeque<Piece>,
    under_way_bytes: u64,
}

impl Sent {
    /// Nothing yet; the first line to come has number `next`.
    pub(super) fn new(next: u64) -> Self {
        Self { first: next, next, ..Self::default() }
    }

    /// Takes notice that the first `bytes` bytes of the pieces were handed over.
    pub(super) fn add(&mut self, pieces: Vec<Piece>, mut bytes: u64) {
        for mut piece in pieces {
            let len = piece.bytes.len() as u64;
            if bytes < len {
                piece.bytes.truncate(usize::try_from(bytes).unwrap_or(0));
                piece.lines = count_lines(&piece.bytes);
            }
            self.under_way_bytes += piece.bytes.len() as u64;
            bytes -= piece.bytes.len() as u64;
            if !piece.bytes.is_empty() {
                self.under_way.push_back(piece);
            }
        }
    }

    /// Takes notice that of all that was handed over only the last bytes may not have arrived.
    pub(super) fn acknowledge(&mut self, missing: u64) {
        // Only the last piece can end in the middle of a line.
        while let Some(piece) = self.under_way.front()
            && piece.bytes.ends_with(b"\n")
            && self.under_way_bytes - piece.bytes.len() as u64 >= missing
        {
            let (first, lines, bytes) = (piece.first, piece.lines, piece.bytes.len() as u64);
            self.arrived(first, lines, bytes);
            self.under_way_bytes -= bytes;
            self.under_way.pop_front();
        }
    }

    /// The same to the line, when no more is handed over.
    pub(super) fn close(&mut self, missing: u64) {
        self.acknowledge(missing);
        let Some(piece) = self.under_way.front() else { return };
        let arrived = usize::try_from(self.under_way_bytes - missing).unwrap_or(0);
        let whole = memchr::memrchr(b'\n', &piece.bytes[..arrived]).map_or(0, |at| at + 1);
        let (first, lines) = (piece.first, count_lines(&piece.bytes[..whole]));
        self.arrived(first, lines, whole as u64);
        self.doubtful = self.under_way_bytes - whole as u64;
        self.under_way.clear();
        self.under_way_bytes = 0;
    }

    fn arrived(&mut self, first: u64, lines: u32, bytes: u64) {
        if self.lines == 0 {
            self.first = first;
        }
        self.lines += u64::from(lines);
        self.bytes += bytes;
        self.next = first + u64::from(lines);
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bytes::Bytes;

    use super::*;

    fn piece(first: u64, text: &'static str) -> Piece {
        let bytes = Bytes::from_static(text.as_bytes());
        Piece { first, lines: count_lines(&bytes), bytes, received: UNIX_EPOCH }
    }

    #[test]
    fn only_whole_lines_that_arrived_count() {
        for (handed, missing, wanted) in [
            (15, 0, (5, 15, 22)),
            (15, 1, (4, 12, 21)),
            (15, 3, (4, 12, 21)),
            (15, 6, (3, 9, 20)),
            (15, 7, (2, 6, 19)),
            (15, 15, (0, 0, 10)),
            (14, 0, (4, 12, 21)),
            (13, 5, (2, 6, 19)),
            (9, 0, (3, 9, 20)),
            (0, 0, (0, 0, 7)),
        ] {
            let mut sent = Sent::new(7);
            sent.add(vec![piece(10, "aa\nbb\n"), piece(19, "cc\n"), piece(20, "dd\nee\n")], handed);
            sent.close(missing);
            let got = (sent.lines, sent.bytes, sent.next);
            assert_eq!(got, wanted, "{handed} handed over, {missing} missing");
        }
    }
}
