//! Lines in a stream, each ended by a newline. Nobody answers: what has arrived is what the
//! peer's TCP has acknowledged. What a TLS server took that may still refuse us does not count
//! yet, and little is sent to it until then.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::wire::Wire;
use super::{Client, Options, Stop};
use crate::limits::{READ_CHUNK, TRIAL, TRIAL_BYTES};
use crate::url::Url;

/// How long the line under way and what the peer has not acknowledged yet are waited for after
/// the user has had enough.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// How often it is looked whether the peer has acknowledged all.
const LOOK: Duration = Duration::from_millis(2);

/// A connection that lines go through.
pub(super) struct Stream {
    wire: Wire,
    since: Instant,
    handed: u64,
    /// True if it refused us: nothing that it took has arrived.
    refused: bool,
}

impl Stream {
    /// Connects.
    ///
    /// # Errors
    /// The system's at the last attempt, or TLS'.
    pub(super) fn connect(to: &Url, options: &Options, stop: &Stop) -> io::Result<Self> {
        let wire = Wire::connect(to, options, stop)?;
        Ok(Self { wire, since: Instant::now(), handed: 0, refused: false })
    }

    /// Writes until all is gone or `over` says so; how much went.
    fn write(&mut self, bytes: &[u8], over: impl Fn() -> bool) -> (usize, io::Result<()>) {
        let mut sent = 0;
        while sent < bytes.len() && !over() {
            match self.turn(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) => return (sent, Err(self.broken(error))),
            }
        }
        (sent, Ok(()))
    }

    fn turn(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.listen()?;
        let waits = self.handed >= TRIAL_BYTES && self.is_doubtful();
        if !waits && let Some(count) = self.wire.write(bytes)? {
            self.handed += count as u64;
            return Ok(count);
        }
        self.wire.rest(self.wire.is_tls(), !waits)?;
        Ok(0)
    }

    /// Whether the peer may still refuse us. One that says nothing has taken us after a while.
    fn is_doubtful(&self) -> bool {
        self.wire.may_be_refused() && self.since.elapsed() < TRIAL.0
    }

    fn broken(&mut self, error: io::Error) -> io::Error {
        self.refused |= self.is_doubtful();
        error
    }

    /// Waits for what is on its way, and for a word of a server that may still refuse us.
    fn wait_for_all(&mut self, stop: &Stop) -> io::Result<()> {
        let mut asked = None;
        while self.unacknowledged() > 0 {
            self.wire.check()?;
            self.listen()?;
            self.wire.flush()?;
            if stop.asked() && asked.get_or_insert_with(Instant::now).elapsed() > LAST_WAIT {
                break;
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Reads what TLS needs; what the peer says is nothing to us. A plain connection is not read:
    /// its peer may have closed its own side and take lines all the same.
    fn listen(&mut self) -> io::Result<()> {
        let mut chunk = [0; READ_CHUNK / 16];
        while self.wire.is_tls() && self.wire.read(&mut chunk)?.is_some() {}
        Ok(())
    }
}

impl Client for Stream {
    fn send(&mut self, lines: &[u8], stop: &Stop) -> (usize, io::Result<()>) {
        let (mut sent, mut done) = self.write(lines, || stop.over());
        if done.is_ok() && sent > 0 && lines[sent - 1] != b'\n' {
            // The rest of a line, so that the peer gets no half one.
            let rest = &lines[sent..];
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let start = Instant::now();
            let (more, finished) = self.write(&rest[..end], || start.elapsed() > LAST_WAIT);
            sent += more;
            done = finished;
        }
        (sent, done)
    }

    fn unacknowledged(&mut self) -> u64 {
        if self.refused || self.is_doubtful() {
            return self.handed;
        }
        // A connection of which this cannot be asked tells nothing.
        let there = self.wire.acknowledged().unwrap_or(self.handed);
        self.handed.saturating_sub(there)
    }

    fn settle(&mut self, stop: &Stop) -> io::Result<()> {
        self.wait_for_all(stop).map_err(|error| self.broken(error))?;
        self.wire.close();
        Ok(())
    }
}
