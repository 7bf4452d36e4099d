//! The daemon's end of the control socket (protocol: logweir-control(7)).
//!
//! A client has one request in flight at a time, and at most one is carried out for it per pass of
//! the loop. Further requests wait in its socket, and answers it has not read wait here, bounded,
//! so a client that stops reading harms nobody else.
//!
//! A client with a tap gets pieces of what leaves a node, each after a [`TapHead`], as fast as it
//! reads them. When it shuts down its sending side, it gets the rest and then the end.

mod ask;
mod listening;
mod protocol;

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use crate::batch::Batch;
use crate::clock::Mono;
use crate::engine::tap::Tapped;
use crate::limits::{
    CONTROL_ANSWERS_MAX, CONTROL_CLIENTS_MAX, CONTROL_IDLE, CONTROL_REQUEST_MAX, TURN,
};

pub use ask::{ask, open};
pub use listening::Listening;
pub use protocol::{Answer, Outcome, Request, TapHead, VERSION};

/// Answer to any request on a connection with a tap.
const ONLY_TAP: &str = "a connection with a tap accepts no other requests";
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The daemon's end of the control socket.
#[derive(Debug)]
pub struct Control {
    listening: Listening,
    /// The listener's token; the clients' tokens follow it.
    token: Token,
    clients: HashMap<Token, Client>,
    next_token: usize,
    last_token: usize,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    /// True if it has a tap.
    taps: bool,
    /// True if it is disconnected once its answer is written.
    closing: bool,
    /// True if its request is answered later; further requests wait meanwhile.
    deferred: bool,
    /// True once it has sent a request.
    asked: bool,
    /// When its last request was answered, or when it connected.
    last_request: Mono,
}

/// The result of serving a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Served {
    /// Nothing for the caller to do.
    Nothing,
    /// It sent a request.
    Asks(Request),
    /// It wants its tap ended.
    EndsTap,
    /// It had a tap and is gone.
    Gone,
}

/// Input from a client.
enum Incoming {
    /// Nothing so far, or it has not read the previous answer.
    Nothing,
    /// A line, and the request parsed from it.
    Request(Result<Request, String>),
    /// End of file on a connection with a tap.
    End,
}

impl Control {
    /// Serves clients. Tokens range from `first_token` up to `last_token`.
    ///
    /// # Errors
    /// The listener cannot be registered.
    pub fn new(
        listening: Listening,
        registry: &Registry,
        first_token: usize,
        last_token: usize,
    ) -> io::Result<Self> {
        let token = Token(first_token);
        let (clients, next_token) = (HashMap::new(), first_token + 1);
        let mut control = Self { listening, token, clients, next_token, last_token };
        registry.register(&mut control.listening.listener, token, Interest::READABLE)?;
        Ok(control)
    }

    /// Moves to another socket; connected clients stay.
    ///
    /// # Errors
    /// The listener cannot be registered.
    pub fn move_to(&mut self, listening: Listening, registry: &Registry) -> io::Result<()> {
        self.listening = listening;
        registry.register(&mut self.listening.listener, self.token, Interest::READABLE)
    }

    /// Returns whether its path still leads to it: somebody may have removed it.
    pub fn is_at_its_path(&self) -> bool {
        self.listening.is_at_its_path()
    }

    /// Serves a connection that is ready. The caller must answer a request with [`Self::answer`].
    pub fn ready(&mut self, token: Token, registry: &Registry, now: Mono) -> Served {
        if token == self.token {
            self.accept(registry, now);
            return Served::Nothing;
        }
        let waiting = self.waiting_answers();
        let Some(client) = self.clients.get_mut(&token) else { return Served::Nothing };
        match client.serve() {
            Ok(Incoming::Request(_)) if waiting > CONTROL_ANSWERS_MAX => {
                let message = "too many answers are waiting to be read; try again";
                self.answer(token, Err(message.into()), registry, now)
            }
            Ok(Incoming::Request(Ok(request))) => Served::Asks(request),
            Ok(Incoming::Request(Err(message))) => self.answer(token, Err(message), registry, now),
            Ok(Incoming::End) => Served::EndsTap,
            Ok(Incoming::Nothing) => Served::Nothing,
            Err(error) => self.disconnect(token, &error),
        }
    }

    /// Answers a client's request.
    pub fn answer(
        &mut self,
        token: Token,
        outcome: Outcome,
        registry: &Registry,
        now: Mono,
    ) -> Served {
        let Some(client) = self.clients.get_mut(&token) else { return Served::Nothing };
        (client.last_request, client.asked) = (now, true);
        client.deferred = false;
        // Further requests are looked at in the next pass.
        let done = client
            .send(outcome)
            .and_then(|()| registry.reregister(&mut client.stream, token, BOTH));
        done.map_or_else(|error| self.disconnect(token, &error), |()| Served::Nothing)
    }

    /// Postpones the answer to a client's request. Nothing more is read from it until then.
    pub fn defer(&mut self, token: Token) {
        if let Some(client) = self.clients.get_mut(&token) {
            client.deferred = true;
        }
    }

    /// Marks a client as having a tap.
    pub fn taps(&mut self, token: Token) {
        if let Some(client) = self.clients.get_mut(&token) {
            client.taps = true;
        }
    }

    /// Sends tapped lines to the clients that have read everything sent before; `take` returns the
    /// lines for a client's number. Returns the numbers of clients that are gone.
    pub fn pour(&mut self, mut take: impl FnMut(u64) -> Option<Tapped>) -> Vec<u64> {
        let mut gone = Vec::new();
        let tapping = self.clients.iter().filter(|(_, client)| client.taps).map(|(at, _)| *at);
        for token in tapping.collect::<Vec<_>>() {
            let id = token.0 as u64;
            for _ in 0..TURN {
                let Some(client) = self.clients.get_mut(&token) else { break };
                if !client.answer.is_empty() {
                    break;
                }
                let Some(tapped) = take(id) else { break };
                if tapped.batches.is_empty() && tapped.end.is_none() {
                    break;
                }
                if let Err(error) = client.pour(&tapped)
                    && self.disconnect(token, &error) == Served::Gone
                {
                    gone.push(id);
                }
            }
        }
        gone
    }

    /// Returns whether any client has a tap.
    pub fn has_taps(&self) -> bool {
        self.clients.values().any(|client| client.taps)
    }

    fn disconnect(&mut self, token: Token, why: &io::Error) -> Served {
        if why.kind() != ErrorKind::UnexpectedEof {
            log::debug!("control: {why}");
        }
        let gone = self.clients.remove(&token);
        if gone.is_some_and(|client| client.taps) { Served::Gone } else { Served::Nothing }
    }

    /// Bytes of answers that clients have not read.
    fn waiting_answers(&self) -> usize {
        let answers = self.clients.values().filter(|client| !client.taps);
        answers.map(|client| client.answer.len()).sum()
    }

    fn accept(&mut self, registry: &Registry, now: Mono) {
        for _ in 0..CONTROL_CLIENTS_MAX {
            let mut stream = match self.listening.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    log::warn!("control: cannot accept a client: {error}");
                    return;
                }
            };
            if !self.has_room(now) {
                let message =
                    format!("the limit of {CONTROL_CLIENTS_MAX} clients is reached; try again");
                // Best effort: the client is disconnected either way.
                let _ = protocol::answer(Err(message)).map(|line| stream.write(&line));
                continue;
            }
            let token = Token(self.next_token);
            self.next_token += 1;
            if registry.register(&mut stream, token, BOTH).is_ok() {
                let (request, answer) = (Vec::new(), Vec::new());
                let (taps, closing, deferred, asked) = (false, false, false, false);
                let last_request = now;
                let client = Client {
                    stream,
                    request,
                    answer,
                    taps,
                    closing,
                    deferred,
                    asked,
                    last_request,
                };
                self.clients.insert(token, client);
            }
        }
        // There may be more; others get their turn first.
        let listener = &mut self.listening.listener;
        if let Err(error) = registry.reregister(listener, self.token, Interest::READABLE) {
            log::error!("control: {error}");
        }
    }

    /// Returns whether another client can be accepted. If the limit is reached, a client gives way
    /// that has not asked for anything, or else the one that has been idle for longest.
    fn has_room(&mut self, now: Mono) -> bool {
        if self.clients.len() >= CONTROL_CLIENTS_MAX {
            let may_go = self.clients.iter().filter(|(_, client)| client.may_go(now));
            let age = |token: Token, client: &Client| (client.asked, client.last_request, token);
            let first = may_go.map(|(token, client)| age(*token, client)).min();
            if let Some((.., token)) = first {
                self.clients.remove(&token);
            }
        }
        self.clients.len() < CONTROL_CLIENTS_MAX && self.next_token < self.last_token
    }
}

impl Client {
    /// Returns whether it may be disconnected in favour of another: one with a tap or a request
    /// under way may not.
    fn may_go(&self, now: Mono) -> bool {
        match (self.taps || self.deferred, self.asked) {
            (true, _) => false,
            (false, true) => now.since(self.last_request) >= CONTROL_IDLE,
            // What it has sent may just not have been read yet.
            (false, false) => {
                let peeked = SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]);
                peeked.map_or(true, |count| count == 0)
            }
        }
    }

    /// Writes and reads until the client blocks or a request is complete.
    fn serve(&mut self) -> io::Result<Incoming> {
        if self.deferred {
            return Ok(Incoming::Nothing);
        }
        loop {
            self.write()?;
            if !self.answer.is_empty() {
                return Ok(Incoming::Nothing);
            }
            if let Some(end) = memchr::memchr(b'\n', &self.request) {
                let line: Vec<u8> = self.request.drain(..=end).collect();
                let only_tap = || Err(ONLY_TAP.into());
                let request = if self.taps { only_tap() } else { Request::read(&line) };
                return Ok(Incoming::Request(request));
            }
            if self.request.len() > CONTROL_REQUEST_MAX {
                let most = CONTROL_REQUEST_MAX;
                self.request = Vec::new();
                self.closing = true;
                self.send(Err(format!("a request is a line of {most} bytes at most")))?;
                return Ok(Incoming::Nothing);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) if self.taps => return Ok(Incoming::End),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.request.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Incoming::Nothing);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&mut self, outcome: Outcome) -> io::Result<()> {
        self.answer = protocol::answer(outcome)?;
        self.write()
    }

    /// Queues a piece of its tap and writes as much as fits.
    fn pour(&mut self, tapped: &Tapped) -> io::Result<()> {
        let head = TapHead {
            lines: tapped.batches.iter().map(|batch| u64::from(batch.lines)).sum(),
            bytes: tapped.batches.iter().map(|batch: &Batch| batch.bytes.len()).sum(),
            lost: tapped.lost,
            end: tapped.end.map(str::to_string),
        };
        self.closing = head.end.is_some();
        self.answer = protocol::line(&head)?;
        for batch in &tapped.batches {
            self.answer.extend_from_slice(&batch.bytes);
        }
        self.write()
    }

    /// Writes the waiting bytes. Returns an error also when a client to be disconnected has been
    /// sent everything.
    fn write(&mut self) -> io::Result<()> {
        let mut written = 0;
        while written < self.answer.len() {
            match self.stream.write(&self.answer[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.answer.drain(..written);
        if !self.answer.is_empty() {
            return Ok(());
        }
        // An answer may be large; its memory is released.
        self.answer.shrink_to(CONTROL_REQUEST_MAX);
        if self.closing { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
