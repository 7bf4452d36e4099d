//! Where replayed lines go to, and what of them has arrived there.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use super::feed::Piece;
use crate::batch::{Batch, count_lines};
use crate::cli::peer::{RelpPeer, Stop, TcpPeer, UdpPeer};
use crate::limits::{DATAGRAM_SENT_MOST, READ_CHUNK};
use crate::sys::socket::unacknowledged;
use crate::url::{Protocol, Url};

/// Attempts to reach a TCP peer at the start; with the waits between them some seven seconds.
const ATTEMPTS: u32 = 8;
/// How long the line under way and what the peer has not acknowledged yet are waited for after
/// the user has had enough.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// How often it is looked whether the peer has acknowledged all.
const LOOK: Duration = Duration::from_millis(2);

/// Where the lines go.
pub(super) enum Target {
    /// Each in a datagram.
    Udp(Udp),
    /// Each ended by a newline in a stream.
    Tcp(Tcp),
    /// Each in a message that is answered.
    Relp(Box<Relp>),
}

impl Target {
    /// Connects.
    ///
    /// # Errors
    /// The system's or the resolver's.
    pub(super) fn connect(to: &Url, stop: &Stop) -> io::Result<Self> {
        Ok(match to.protocol {
            Protocol::Udp => Self::Udp(Udp { peer: UdpPeer::connect(to)?, cut: 0 }),
            Protocol::Relp => {
                let peer = RelpPeer::connect(to, ATTEMPTS, stop)?;
                Self::Relp(Box::new(Relp { peer, handed: 0 }))
            }
            _ => {
                let peer = TcpPeer::connect(to, ATTEMPTS, stop)?;
                Self::Tcp(Tcp { peer, joined: Vec::new() })
            }
        })
    }

    /// Sends until all is gone or the user has had enough; how many bytes of the pieces went.
    /// Where that is not all, the reason or the user's.
    pub(super) fn send(&mut self, pieces: &[Piece], stop: &Stop) -> (u64, io::Result<()>) {
        match self {
            Self::Udp(udp) => udp.send(pieces, stop),
            Self::Tcp(tcp) => tcp.send(pieces, stop),
            Self::Relp(relp) => relp.send(pieces, stop),
        }
    }

    /// How many of the last bytes may not have arrived.
    pub(super) fn unacknowledged(&self) -> u64 {
        match self {
            Self::Udp(_) => 0,
            Self::Tcp(tcp) => tcp.unacknowledged(),
            Self::Relp(relp) => relp.handed - relp.peer.answered.bytes,
        }
    }

    /// Waits until all has arrived; where the user has had enough, not for long.
    ///
    /// # Errors
    /// How the connection broke.
    pub(super) fn settle(&mut self, stop: &Stop) -> io::Result<()> {
        match self {
            Self::Udp(_) => Ok(()),
            Self::Tcp(tcp) => tcp.settle(stop),
            Self::Relp(relp) => relp.peer.finish(),
        }
    }

    /// What else is to be said.
    pub(super) fn notes(&self) -> String {
        let Self::Udp(Udp { peer, cut }) = self else { return String::new() };
        let mut notes = String::new();
        if *cut > 0 {
            notes += &format!(", {cut} cut to {DATAGRAM_SENT_MOST} bytes");
        }
        if peer.errors > 0 {
            notes += &format!(", {} refused by the network and sent again", peer.errors);
        }
        notes
    }
}

/// A socket.
pub(super) struct Udp {
    peer: UdpPeer,
    /// Lines that were too long for a datagram.
    cut: u64,
}

impl Udp {
    fn send(&mut self, pieces: &[Piece], stop: &Stop) -> (u64, io::Result<()>) {
        let lines: Vec<&[u8]> = pieces
            .iter()
            .flat_map(|piece| piece.bytes.split_inclusive(|&byte| byte == b'\n'))
            .collect();
        let messages: Vec<&[u8]> =
            lines.iter().map(|line| &line[..line.len().min(DATAGRAM_SENT_MOST)]).collect();
        let (count, done) = match self.peer.send(&messages, stop) {
            Ok(count) => (count, Ok(())),
            Err((count, error)) => (count, Err(error)),
        };
        let sent = &lines[..count];
        let long = sent.iter().filter(|line| line.len() > DATAGRAM_SENT_MOST);
        self.cut += long.count() as u64;
        (sent.iter().map(|line| line.len() as u64).sum(), done)
    }
}

/// A connection.
pub(super) struct Tcp {
    peer: TcpPeer,
    /// Pieces together, for one large write.
    joined: Vec<u8>,
}

impl Tcp {
    fn send(&mut self, pieces: &[Piece], stop: &Stop) -> (u64, io::Result<()>) {
        let bytes = match pieces {
            [piece] => &piece.bytes[..],
            _ => {
                self.joined.clear();
                pieces.iter().for_each(|piece| self.joined.extend_from_slice(&piece.bytes));
                &self.joined
            }
        };
        let (mut sent, done) = match self.peer.send(bytes, stop) {
            Ok(sent) => (sent, Ok(())),
            Err((sent, error)) => (sent, Err(error)),
        };
        let in_a_line = sent > 0 && bytes[sent - 1] != b'\n';
        if done.is_ok() && in_a_line {
            let rest = &bytes[sent..];
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            sent += finish_line(&mut self.peer, &rest[..end]);
        }
        (sent as u64, done)
    }

    fn unacknowledged(&self) -> u64 {
        // A connection of which this cannot be asked tells nothing.
        unacknowledged(self.peer.stream.as_fd()).unwrap_or(0).into()
    }

    fn settle(&mut self, stop: &Stop) -> io::Result<()> {
        let mut asked = None;
        while self.unacknowledged() > 0 {
            if let Some(error) = self.peer.stream.take_error()? {
                return Err(error);
            }
            if stop.asked() && asked.get_or_insert_with(Instant::now).elapsed() > LAST_WAIT {
                break;
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// Writes the rest of a line, so that the peer gets no half one; how much went.
fn finish_line(peer: &mut TcpPeer, rest: &[u8]) -> usize {
    let start = Instant::now();
    let mut sent = 0;
    while sent < rest.len() && start.elapsed() < LAST_WAIT {
        match peer.stream.write(&rest[sent..]) {
            Ok(count) => sent += count,
            Err(error) => match error.kind() {
                ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => {}
                _ => break,
            },
        }
    }
    sent
}

/// A RELP session.
pub(super) struct Relp {
    peer: RelpPeer,
    /// Bytes handed over.
    handed: u64,
}

impl Relp {
    fn send(&mut self, pieces: &[Piece], stop: &Stop) -> (u64, io::Result<()>) {
        let before = self.handed;
        for piece in pieces {
            let Piece { lines, bytes, received, .. } = piece.clone();
            let input = "replay".into();
            let mut rest = Batch::new(bytes, lines, input, received);
            // Little at a time, so that answers are read between.
            let mut parts = Vec::new();
            while rest.bytes.len() > READ_CHUNK
                && let Some(part) = rest.split_to(READ_CHUNK)
            {
                parts.push(part);
            }
            parts.push(rest);
            for part in parts {
                if stop.asked() {
                    return (self.handed - before, Ok(()));
                }
                // What of it went is known by the answers.
                self.handed += part.bytes.len() as u64;
                if let Err(error) = self.peer.send(&part, stop) {
                    return (self.handed - before, Err(error));
                }
            }
        }
        (self.handed - before, Ok(()))
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
