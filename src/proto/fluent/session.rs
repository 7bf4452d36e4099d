//! A client's connection: messages in, lines and the answers to chunks out.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;

use super::auth::{self, Nonce, Secrets};
use super::message::{self, Message, NO_ARRAY, write_ack};
use super::msgpack::Scanner;
use super::record::Records;
use crate::batch::take_front;
use crate::ingress::server::{self, State};
use crate::input::{Gather, Pieces};
use crate::limits::{CHUNKS_REMEMBERED, RECORDS_MESSAGE_MAX};
use crate::parse::is_tls_hello;
use crate::proto::shared::answers::Answers;
use crate::proto::shared::record::As;
use crate::sources::Source;

/// The chunks that came to an input last, of whichever client: one that did not hear the answer
/// sends its chunk again on another connection, and its lines are here already.
#[derive(Debug, Clone, Default)]
pub struct Chunks(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    all: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Chunks {
    /// What a message with a chunk's id is known by: all of its bytes, so that a client that counts
    /// its chunks from 1 at each start loses nothing.
    fn mark(message: &[u8]) -> u128 {
        xxhash_rust::xxh3::xxh3_128(message)
    }

    fn has(&self, mark: u128) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all.contains(&mark)
    }

    /// Remembers a message whose lines were taken.
    fn remember(&self, mark: u128) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.all.insert(mark) {
            remembered.order.push_back(mark);
        }
        if remembered.order.len() > CHUNKS_REMEMBERED
            && let Some(oldest) = remembered.order.pop_front()
        {
            remembered.all.remove(&oldest);
        }
    }
}

/// What a client can do wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It speaks TLS to an input without.
    Tls,
    /// It speaks JSON, or HTTP.
    NotMsgpack,
    /// What it sends is no message.
    Message(message::Fault),
    /// It may not send here.
    Refused(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls => f.write_str(
                "speaks TLS, which this input does not: give it `tls`, or have the sender speak \
                 plain TCP",
            ),
            Self::NotMsgpack => f.write_str("sends text, and no MessagePack"),
            Self::Message(fault) => fault.fmt(f),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl From<message::Fault> for Fault {
    fn from(fault: message::Fault) -> Self {
        Self::Message(fault)
    }
}

/// What one client is asked for.
#[derive(Debug)]
struct Challenge {
    secrets: Arc<Secrets>,
    nonce: Nonce,
    salt: Nonce,
}

/// One client.
#[derive(Debug)]
pub struct Session {
    buffer: BytesMut,
    scanner: Scanner,
    records: Records,
    chunks: Chunks,
    /// Set until the client has shown the shared key.
    challenge: Option<Challenge>,
    is_over: bool,
    /// Whether the first bytes are to be looked at: what they cannot be says what is wrong.
    is_new: bool,
    is_tls: bool,
    slip: Option<String>,
    answers: Answers,
}

impl Session {
    /// A session with this client, whose records become lines of `max_line` bytes at most.
    pub fn new(
        (source, is_tls): (Source, bool),
        form: As,
        max_line: usize,
        chunks: Chunks,
    ) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanner: Scanner::new(RECORDS_MESSAGE_MAX),
            records: Records::new(form, max_line, source),
            chunks,
            challenge: None,
            is_over: false,
            is_new: true,
            is_tls,
            slip: None,
            answers: Answers::default(),
        }
    }

    /// The client must show the shared key first. `nonce` and `salt` are random.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<Secrets>, nonce: Nonce, salt: Nonce) -> Self {
        *self.answers.out() = auth::hello(&secrets, &nonce, &salt);
        self.challenge = Some(Challenge { secrets, nonce, salt });
        self
    }

    /// Looks at the first byte of a connection: no message begins with these.
    fn look_at_first(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if !self.is_tls && is_tls_hello(bytes) {
            return Err(Fault::Tls);
        }
        match bytes.first() {
            Some(b'{' | b'[' | b'A'..=b'Z' | b'<') => Err(Fault::NotMsgpack),
            _ => Ok(()),
        }
    }

    fn take_all(&mut self) -> Result<(), Fault> {
        while !self.buffer.is_empty() {
            let scanned = self.scanner.scan(&self.buffer).map_err(message::Fault::Msgpack)?;
            let Some(len) = scanned else {
                // Not even a byte of what is no message is kept for long.
                return match self.buffer[0] {
                    0x90..=0x9f | 0xdc | 0xdd => Ok(()),
                    _ => Err(message::Fault::Shape(NO_ARRAY).into()),
                };
            };
            let value = take_front(&mut self.buffer, len);
            match &self.challenge {
                Some(_) => self.take_ping(&value)?,
                None => self.take_message(&value)?,
            }
        }
        Ok(())
    }

    fn take_ping(&mut self, value: &[u8]) -> Result<(), Fault> {
        let Some(challenge) = self.challenge.take() else { return Ok(()) };
        let Challenge { secrets, nonce, salt } = &challenge;
        match auth::judge(secrets, (nonce, salt), value) {
            Ok(answer) => self.answers.out().extend(answer),
            Err((answer, why)) => {
                self.answers.out().extend(answer);
                return Err(Fault::Refused(why));
            }
        }
        Ok(())
    }

    fn take_message(&mut self, value: &[u8]) -> Result<(), Fault> {
        let Some(message) = Message::read(value)? else { return Ok(()) };
        let mark = message.chunk().map(|_| Chunks::mark(value));
        if !mark.is_some_and(|mark| self.chunks.has(mark)) {
            let (tag, records) = (message.tag, &mut self.records);
            let taken = message.take(&mut |entry| records.take(tag, entry))?;
            if let Some(what) = taken.bad_is {
                self.records.counts().malformed += taken.bad;
                self.slip = Some(format!("sends {what}: {} passed over", taken.bad));
            }
        }
        if let (Some(chunk), Some(mark)) = (message.chunk(), mark) {
            self.chunks.remember(mark);
            write_ack(self.answers.fresh(), chunk);
        }
        Ok(())
    }

    fn hand_over(&mut self, pieces: &mut Pieces) {
        self.records.hand_over(pieces);
        pieces.counts().add(&std::mem::take(self.records.counts()));
    }
}

impl server::Session for Session {
    type Gather = Pieces;
    type Fault = Fault;

    fn push(&mut self, bytes: &[u8], pieces: &mut Pieces) -> Result<(), Fault> {
        if self.is_over {
            return Ok(());
        }
        let mut done = match std::mem::take(&mut self.is_new) {
            true => self.look_at_first(bytes),
            false => Ok(()),
        };
        if done.is_ok() {
            self.buffer.extend_from_slice(bytes);
            done = self.take_all();
        }
        if done.is_err() {
            self.records.counts().malformed += 1;
            self.is_over = true;
            self.buffer.clear();
        }
        self.hand_over(pieces);
        done
    }

    fn take_slip(&mut self) -> Option<String> {
        self.slip.take()
    }

    fn finish(&mut self, pieces: &mut Pieces) {
        self.records.finish();
        self.hand_over(pieces);
    }

    fn state(&self) -> State {
        match (self.is_over, &self.challenge) {
            (true, _) => State::Over,
            (false, Some(_)) => State::New,
            (false, None) => State::Open,
        }
    }

    fn held(&self) -> usize {
        self.buffer.len() + self.records.held() + self.answers.held()
    }

    fn out(&mut self) -> &mut Vec<u8> {
        self.answers.out()
    }

    fn wants_barrier(&self) -> bool {
        self.answers.wants_barrier()
    }

    fn sent(&mut self, barrier: u64) {
        self.answers.sent(barrier);
    }

    fn completed(&mut self, barrier: u64) {
        self.answers.completed(barrier);
    }

    fn waits(&self) -> bool {
        self.answers.waits()
    }
}

#[cfg(test)]
mod tests;
