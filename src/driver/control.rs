//! The daemon's end of the control socket (logweir-control(7) says what is spoken on it).
//!
//! A client has one request under way at a time, and one is carried out for it in a pass of the
//! loop. What it sends meanwhile waits in its socket, and what it does not read waits here,
//! bounded, so that a client that stops reading harms nobody.
//!
//! A client with a tap gets pieces of what leaves a node, each behind a [`TapHead`], as fast as it
//! reads them; when it closes its side it gets what there is yet, and the end.

mod ask;
mod listening;
mod protocol;

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

use crate::batch::Batch;
use crate::clock::Mono;
use crate::engine::tap::Tapped;
use crate::limits::{
    CONTROL_ANSWERS_MOST, CONTROL_CLIENTS_MOST, CONTROL_IDLE, CONTROL_REQUEST_MOST, TURN,
};

pub use ask::{ask, open};
pub use listening::Listening;
pub use protocol::{Answer, Outcome, Request, TapHead, VERSION};

/// What a client with a tap is told that asks for something else.
const ONLY_TAP: &str = "a connection with a tap is good for nothing else";
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The daemon's end.
#[derive(Debug)]
pub struct Control {
    listening: Listening,
    /// The listening socket's token; the clients' come after it.
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
    /// Whether it gets what leaves a node.
    taps: bool,
    /// Whether it is disconnected when it has its answer.
    parting: bool,
    /// Whether its request is answered later; what it sends meanwhile waits.
    deferred: bool,
    /// When it asked for something the last time.
    heard: Mono,
}

/// What came of a client's readiness.
#[derive(Debug, PartialEq, Eq)]
pub enum Served {
    /// Nothing that concerns anybody else.
    Nothing,
    /// It asks for something.
    Asks(Request),
    /// It wants no more of its tap than there is.
    Ends,
    /// It had a tap and is gone.
    Gone,
}

/// What a client said.
enum Heard {
    /// Nothing yet, or it has not read what was answered before.
    Nothing,
    /// A line, and the request in it.
    Request(Result<Request, String>),
    /// That it says no more and has a tap.
    End,
}

impl Control {
    /// Takes clients in. Its tokens are from `first_token` up to `last_token`.
    ///
    /// # Errors
    /// The system's.
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

    /// Listens elsewhere from now on; the clients there are stay.
    ///
    /// # Errors
    /// The system's.
    pub fn move_to(&mut self, listening: Listening, registry: &Registry) -> io::Result<()> {
        self.listening = listening;
        registry.register(&mut self.listening.listener, self.token, Interest::READABLE)
    }

    /// Whether its path still leads to it: somebody may have removed it.
    pub fn is_at_its_path(&self) -> bool {
        self.listening.is_at_its_path()
    }

    /// Serves whoever is ready. What it asks for is to be answered with [`Self::answer`].
    pub fn ready(&mut self, token: Token, registry: &Registry, now: Mono) -> Served {
        if token == self.token {
            self.accept(registry, now);
            return Served::Nothing;
        }
        let waiting = self.waiting_answers();
        let Some(client) = self.clients.get_mut(&token) else { return Served::Nothing };
        match client.serve() {
            Ok(Heard::Request(_)) if waiting > CONTROL_ANSWERS_MOST => {
                let said = "too many answers wait for somebody to read them; try again";
                self.answer(token, Err(said.into()), registry, now)
            }
            Ok(Heard::Request(Ok(request))) => Served::Asks(request),
            Ok(Heard::Request(Err(said))) => self.answer(token, Err(said), registry, now),
            Ok(Heard::End) => Served::Ends,
            Ok(Heard::Nothing) => Served::Nothing,
            Err(error) => self.let_go(token, &error),
        }
    }

    /// Tells a client what came of its request.
    pub fn answer(
        &mut self,
        token: Token,
        outcome: Outcome,
        registry: &Registry,
        now: Mono,
    ) -> Served {
        let Some(client) = self.clients.get_mut(&token) else { return Served::Nothing };
        client.heard = now;
        client.deferred = false;
        // What there may be besides this request is looked at in the next pass.
        let done =
            client.say(outcome).and_then(|()| registry.reregister(&mut client.stream, token, BOTH));
        done.map_or_else(|error| self.let_go(token, &error), |()| Served::Nothing)
    }

    /// A client's request is answered later. Nothing more is taken from it until then.
    pub fn defer(&mut self, token: Token) {
        if let Some(client) = self.clients.get_mut(&token) {
            client.deferred = true;
        }
    }

    /// From now on a client gets what leaves a node.
    pub fn taps(&mut self, token: Token) {
        if let Some(client) = self.clients.get_mut(&token) {
            client.taps = true;
        }
    }

    /// Gives clients with a tap what `take` has for their number, as far as they have read what
    /// was before; the numbers of those that are gone.
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
                    && self.let_go(token, &error) == Served::Gone
                {
                    gone.push(id);
                }
            }
        }
        gone
    }

    /// Whether anybody has a tap.
    pub fn has_taps(&self) -> bool {
        self.clients.values().any(|client| client.taps)
    }

    fn let_go(&mut self, token: Token, why: &io::Error) -> Served {
        if why.kind() != ErrorKind::UnexpectedEof {
            log::debug!("control: {why}");
        }
        let gone = self.clients.remove(&token);
        if gone.is_some_and(|client| client.taps) { Served::Gone } else { Served::Nothing }
    }

    /// The bytes of answers that nobody has read yet.
    fn waiting_answers(&self) -> usize {
        let answers = self.clients.values().filter(|client| !client.taps);
        answers.map(|client| client.answer.len()).sum()
    }

    fn accept(&mut self, registry: &Registry, now: Mono) {
        for _ in 0..CONTROL_CLIENTS_MOST {
            let mut stream = match self.listening.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    log::warn!("control: a client cannot be taken: {error}");
                    return;
                }
            };
            if !self.has_room(now) {
                let said = format!("there are {CONTROL_CLIENTS_MOST} clients already; try again");
                // Best effort: the client is sent away either way.
                let _ = protocol::answer(Err(said)).map(|line| stream.write(&line));
                continue;
            }
            let token = Token(self.next_token);
            self.next_token += 1;
            if registry.register(&mut stream, token, BOTH).is_ok() {
                let (request, answer) = (Vec::new(), Vec::new());
                let (taps, parting, deferred) = (false, false, false);
                let client =
                    Client { stream, request, answer, taps, parting, deferred, heard: now };
                self.clients.insert(token, client);
            }
        }
        // There may be more; others have their turn first.
        let listener = &mut self.listening.listener;
        if let Err(error) = registry.reregister(listener, self.token, Interest::READABLE) {
            log::error!("control: {error}");
        }
    }

    /// Whether one more client can be taken. One that has said nothing for long makes room.
    fn has_room(&mut self, now: Mono) -> bool {
        if self.clients.len() >= CONTROL_CLIENTS_MOST {
            let may_go = |client: &Client| !client.taps && !client.deferred;
            let silent = self.clients.iter().filter(|(_, client)| may_go(client));
            let longest = silent.min_by_key(|(_, client)| client.heard);
            if let Some((&token, client)) = longest
                && now.since(client.heard) >= CONTROL_IDLE
            {
                self.clients.remove(&token);
            }
        }
        self.clients.len() < CONTROL_CLIENTS_MOST && self.next_token < self.last_token
    }
}

impl Client {
    /// Goes on as far as the client lets us, up to a request.
    fn serve(&mut self) -> io::Result<Heard> {
        if self.deferred {
            return Ok(Heard::Nothing);
        }
        loop {
            self.write()?;
            if !self.answer.is_empty() {
                return Ok(Heard::Nothing);
            }
            if let Some(end) = memchr::memchr(b'\n', &self.request) {
                let line: Vec<u8> = self.request.drain(..=end).collect();
                let only_tap = || Err(ONLY_TAP.into());
                let request = if self.taps { only_tap() } else { Request::read(&line) };
                return Ok(Heard::Request(request));
            }
            if self.request.len() > CONTROL_REQUEST_MOST {
                let most = CONTROL_REQUEST_MOST;
                self.request = Vec::new();
                self.parting = true;
                self.say(Err(format!("a request is a line of {most} bytes at most")))?;
                return Ok(Heard::Nothing);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) if self.taps => return Ok(Heard::End),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.request.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Heard::Nothing),
                Err(error) => return Err(error),
            }
        }
    }

    fn say(&mut self, outcome: Outcome) -> io::Result<()> {
        self.answer = protocol::answer(outcome)?;
        self.write()
    }

    /// Writes lines of its tap, or as much of them as it takes.
    fn pour(&mut self, tapped: &Tapped) -> io::Result<()> {
        let head = TapHead {
            lines: tapped.batches.iter().map(|batch| u64::from(batch.lines)).sum(),
            bytes: tapped.batches.iter().map(|batch: &Batch| batch.bytes.len()).sum(),
            lost: tapped.lost,
            end: tapped.end.map(str::to_string),
        };
        self.parting = head.end.is_some();
        self.answer = protocol::line(&head)?;
        for batch in &tapped.batches {
            self.answer.extend_from_slice(&batch.bytes);
        }
        self.write()
    }

    /// Writes what waits; an error also once a client that is to be let go has all of it.
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
        // An answer may be large; its room is not kept.
        self.answer.shrink_to(CONTROL_REQUEST_MOST);
        if self.parting { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
