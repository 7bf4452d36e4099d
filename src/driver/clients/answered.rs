//! Lines as messages that the peer answers: what has arrived is what was answered.

use std::io;
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use super::wire::Wire;
use super::{Client, Options, Stop};
use crate::batch::{Batch, Numbers, count_lines};
use crate::config::plan::FormatPlan;
use crate::format::Formatter;
use crate::forward::client::{Client as Protocol, Heard, OpenClients};
use crate::ids::Identity;
use crate::limits::{ANSWER_DEFAULT, FORWARD_OUT, READ_CHUNK};
use crate::proto::ClientPlans;
use crate::url::Url;

/// A session that lines go through.
pub(super) struct Answered {
    wire: Wire,
    client: Box<dyn Protocol>,
    formatter: Formatter,
    /// The origin of numbered lines, and whether the peer wants to know it.
    origin: Option<Identity>,
    knows_origins: bool,
    /// Bytes of lines handed over, and of those that were answered.
    handed: u64,
    answered: u64,
}

impl Answered {
    /// Connects and opens a session.
    ///
    /// # Errors
    /// The system's, TLS', or the peer's refusal.
    pub(super) fn connect(to: &Url, options: &Options, stop: &Stop) -> io::Result<Self> {
        let wire = Wire::connect(to, options, stop)?;
        let formatter = Formatter::new(&FormatPlan::default());
        let unknown = || io::Error::other("lines cannot be forwarded by this protocol");
        let origin = options.origin;
        let offer = origin.map(|origin| (origin, 0));
        let client = ClientPlans::default().client(to.protocol, offer).ok_or_else(unknown)?;
        let (handed, answered, knows_origins) = (0, 0, false);
        let mut session = Self { wire, client, formatter, origin, knows_origins, handed, answered };
        session.wait_until(|client| stop.asked() || client.is_open())?;
        Ok(session)
    }

    fn batch(&mut self, batch: &Batch, stop: &Stop) -> io::Result<()> {
        let room = |client: &dyn Protocol| client.has_room() && client.out().len() < FORWARD_OUT;
        self.wait_until(|client| stop.over() || room(client))?;
        if !stop.over() {
            self.client.send(batch, &self.formatter);
            self.handed += batch.bytes.len() as u64;
        }
        Ok(())
    }

    fn wait_until(&mut self, done: impl Fn(&dyn Protocol) -> bool) -> io::Result<()> {
        let mut heard = Instant::now();
        loop {
            let moved = self.turn()?;
            if done(&*self.client) {
                return Ok(());
            }
            if moved {
                heard = Instant::now();
            } else if heard.elapsed() > ANSWER_DEFAULT {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not answer"));
            } else {
                self.wire.rest(true, !self.client.out().is_empty())?;
            }
        }
    }

    /// Writes and reads what goes; whether anything did.
    fn turn(&mut self) -> io::Result<bool> {
        let mut moved = false;
        while let Some(first) = self.client.out().pieces().front() {
            let Some(count) = self.wire.write(first)? else { break };
            self.client.wrote(count);
            moved = true;
        }
        let mut chunk = [0; READ_CHUNK / 4];
        while let Some(count) = self.wire.read(&mut chunk)? {
            moved = true;
            let mut heard = Vec::new();
            let done = self.client.push(&chunk[..count], &mut heard);
            self.knows_origins |= heard.iter().any(|heard| matches!(heard, Heard::Opened(Some(_))));
            self.answered += self.client.take_done().bytes;
            done.map_err(io::Error::other)?;
        }
        self.wire.flush()?;
        Ok(moved)
    }
}

impl Answered {
    fn send_from(
        &mut self,
        first: Option<u64>,
        lines: &[u8],
        stop: &Stop,
    ) -> (usize, io::Result<()>) {
        let before = self.handed;
        let bytes = Bytes::copy_from_slice(lines);
        let count = count_lines(&bytes);
        let mut rest = Batch::new(bytes, count, "send".into(), SystemTime::now());
        rest.numbers = first.filter(|_| count > 0).map(|first| {
            let last = first + u64::from(count) - 1;
            Numbers { first, last }
        });
        let mut done = Ok(());
        // Little at a time, so that answers are read between.
        while done.is_ok()
            && rest.bytes.len() > READ_CHUNK
            && let Some(part) = rest.split_to(READ_CHUNK)
        {
            done = self.batch(&part, stop);
        }
        if done.is_ok() && !rest.bytes.is_empty() {
            done = self.batch(&rest, stop);
        }
        (usize::try_from(self.handed - before).unwrap_or(usize::MAX), done)
    }
}

impl Client for Answered {
    fn send(&mut self, lines: &[u8], stop: &Stop) -> (usize, io::Result<()>) {
        self.send_from(None, lines, stop)
    }

    fn send_numbered(&mut self, first: u64, lines: &[u8], stop: &Stop) -> (usize, io::Result<()>) {
        self.send_from(Some(first), lines, stop)
    }

    fn tells_numbers(&self) -> bool {
        self.knows_origins
    }

    fn notes(&self) -> String {
        let origin = self.origin.filter(|_| self.knows_origins);
        origin.map_or_else(String::new, |origin| format!(", as origin {origin}"))
    }

    fn unacknowledged(&mut self) -> u64 {
        self.handed - self.answered
    }

    fn settle(&mut self, _stop: &Stop) -> io::Result<()> {
        self.wait_until(|client| !client.waits())?;
        self.client.close();
        // All is answered: how the session ends matters to nobody.
        let _ = self.turn();
        self.wire.close();
        Ok(())
    }
}
