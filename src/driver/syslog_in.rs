//! Syslog inputs with connections: one thread an input, with all of its clients.
//!
//! What clients send is gathered into the same batches, handed on when a block is full, when the
//! clients rest, or after twenty pauses of a millisecond (as for datagrams, see `receiver`): a
//! client that sends without pause has its turn, and then the others have theirs. While the loop
//! takes nothing, handing over waits, and so do the clients; they also wait while a file is behind
//! in a burst.

use std::collections::HashMap;
use std::io::{self, ErrorKind, PipeReader};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::door::{Arrival, Bound, Door};
use super::receiver::Out;
use super::transport::Transport;
use crate::config::plan::{SyslogInPlan, TcpInPlan};
use crate::input::Intake;
use crate::input::messages::Messages;
use crate::limits::{OPEN_MOST, READ_CHUNK, RECV_PAUSE, STREAM_FULL, TURN, UNFINISHED_MOST};
use crate::parse::framing::{Frame, Framer};
use crate::sources::Source;

const STOP: Token = Token(0);
const LISTENER: Token = Token(1);
const FIRST_CLIENT: usize = 2;
/// How often it is looked whether a client is idle.
const IDLE_EVERY: Duration = Duration::from_secs(1);

/// One input.
pub(super) struct Server {
    poll: Poll,
    /// Closed at its other end to tell the thread to stop.
    _stop: PipeReader,
    door: Door,
    out: Out,
    intake: Messages,
    max_message: usize,
    nul: bool,
    idle_timeout: Option<Duration>,
    clients: HashMap<Token, Client>,
    next_token: usize,
    /// Clients that may have sent more than one turn took.
    again: Vec<Token>,
    /// What all clients sent of messages that have no end yet, in bytes.
    unfinished: usize,
    idle_looked: Instant,
    chunk: Vec<u8>,
}

struct Client {
    transport: Transport,
    peer: SocketAddr,
    framer: Framer,
    /// When it came, or sent something the last time.
    heard: Instant,
    /// Whether anything came from it.
    spoke: bool,
    /// Whether its end has come: what is before it is read up to there, for the kernel tells of
    /// both only once.
    ends: bool,
}

/// Why a client is let go.
enum Parting {
    /// It has ended.
    End,
    /// It did something wrong.
    Wrong(String),
}

impl Server {
    pub(super) fn new(
        bound: Bound,
        (plan, tcp): (&SyslogInPlan, &TcpInPlan),
        max_message: usize,
        out: Out,
        stop: PipeReader,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let fd = stop.as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), STOP, Interest::READABLE)?;
        let door = Door::open(&Arc::clone(&out.name), bound, poll.registry(), LISTENER)?;
        Ok(Self {
            poll,
            _stop: stop,
            door,
            out,
            intake: Messages::new(max_message, plan.escape),
            max_message,
            nul: tcp.nul,
            idle_timeout: tcp.idle_timeout,
            clients: HashMap::new(),
            next_token: FIRST_CLIENT,
            again: Vec::new(),
            unfinished: 0,
            idle_looked: Instant::now(),
            chunk: vec![0; READ_CHUNK],
        })
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut pauses = 0;
        let mut resting = true;
        loop {
            // For a second at most.
            while self.out.wishes.hold() {
                std::thread::sleep(RECV_PAUSE);
            }
            let wait = if resting { self.longest_wait() } else { Some(Duration::ZERO) };
            if let Err(error) = self.poll.poll(&mut events, wait)
                && error.kind() != ErrorKind::Interrupted
            {
                log::error!("input.{}: epoll: {error}", self.out.name);
                break;
            }
            if events.iter().any(|event| event.token() == STOP) {
                break;
            }
            let brought = self.turn(&events);
            resting = brought == 0;
            if brought >= STREAM_FULL {
                continue;
            }
            pauses = if brought > 0 { pauses + 1 } else { 0 };
            if brought == 0 || self.out.wishes.are_enough(pauses) {
                pauses = 0;
                self.hand_over_all();
            }
            if brought > 0 {
                std::thread::sleep(RECV_PAUSE);
            }
        }
        self.finish();
    }

    /// Takes in what the clients have, a turn's worth each; how many bytes it was.
    fn turn(&mut self, events: &Events) -> usize {
        // Also those who came before anything could tell.
        self.accept();
        let mut brought = 0;
        for token in std::mem::take(&mut self.again) {
            brought += self.read(token);
        }
        for event in events {
            if let Some(client) = self.clients.get_mut(&event.token()) {
                client.ends |= event.is_read_closed();
                brought += self.read(event.token());
            }
        }
        if self.idle_looked.elapsed() >= IDLE_EVERY {
            self.idle_looked = Instant::now();
            self.close_idle();
        }
        brought
    }

    fn longest_wait(&self) -> Option<Duration> {
        let silent = self.clients.values().any(|client| !client.spoke);
        let watched = silent || self.idle_timeout.is_some() && !self.clients.is_empty();
        let watched = watched.then_some(IDLE_EVERY);
        let more = (!self.again.is_empty()).then_some(Duration::ZERO);
        watched.into_iter().chain(more).chain(self.door.look_again()).min()
    }

    // ---- clients

    fn accept(&mut self) {
        while let Some(arrival) = self.door.next(self.clients.len()) {
            match arrival {
                Arrival::Refused => self.intake.counts().refused += 1,
                Arrival::Client(transport, peer) => {
                    self.intake.counts().connections += 1;
                    if let Err(error) = self.enter(transport, peer) {
                        self.door.complain(peer, &error.to_string());
                    }
                }
            }
        }
    }

    fn enter(&mut self, mut transport: Transport, peer: SocketAddr) -> io::Result<()> {
        let token = Token(self.next_token);
        self.next_token += 1;
        // Only TLS has something to say, and only while it begins.
        let interest = match transport.is_tls() {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        self.poll.registry().register(&mut transport, token, interest)?;
        let framer = Framer::new(self.max_message, self.nul);
        let heard = Instant::now();
        self.clients
            .insert(token, Client { transport, peer, framer, heard, spoke: false, ends: false });
        Ok(())
    }

    /// Lets go of clients that are idle, and of those that begin TLS and do not go on.
    fn close_idle(&mut self) {
        let idle_timeout = self.idle_timeout;
        let is_idle = |client: &Client| {
            let most = match client.transport.is_tls() && !client.spoke {
                true => Some(OPEN_MOST),
                false => idle_timeout,
            };
            most.is_some_and(|most| client.heard.elapsed() > most)
        };
        let idle = self.clients.iter().filter(|(_, client)| is_idle(client)).map(|(at, _)| *at);
        for token in idle.collect::<Vec<_>>() {
            if let Some(client) = self.clients.get(&token) {
                log::debug!("input.{}: {}: idle, and let go", self.out.name, client.peer);
            }
            self.part(token, Parting::End);
        }
    }

    /// Lets a client go. What it had sent of a last message is a message.
    fn part(&mut self, token: Token, parting: Parting) {
        let Some(mut client) = self.clients.remove(&token) else { return };
        self.unfinished -= client.framer.held();
        let source = Some(Source::Address(client.peer));
        let intake = &mut self.intake;
        client.framer.end(&mut |frame: Frame<'_>| intake.message(frame.bytes, frame.cut, source));
        if let Parting::Wrong(why) = parting {
            self.intake.counts().malformed += 1;
            self.door.complain(client.peer, &why);
        }
        client.transport.close();
    }

    // ---- reading

    /// Reads from a client for a turn; how many bytes came.
    fn read(&mut self, token: Token) -> usize {
        let mut brought = 0;
        for _ in 0..TURN {
            let Some(client) = self.clients.get_mut(&token) else { return brought };
            let count = match client.transport.read(&mut self.chunk) {
                Ok(0) => {
                    self.part(token, Parting::End);
                    return brought;
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // TLS may have something to say of its own; one that cannot be told is told
                    // when it can.
                    let _ = client.transport.flush();
                    return brought;
                }
                Err(error) => {
                    let parting = wrong(client, &error);
                    self.part(token, parting);
                    return brought;
                }
            };
            brought += count;
            let more = count == self.chunk.len() || client.transport.is_tls() || client.ends;
            if let Err(why) = self.take(token, count) {
                self.part(token, Parting::Wrong(why));
                return brought;
            }
            // Less than was asked for is all there was (epoll(7)).
            if !more {
                return brought;
            }
        }
        self.again.push(token);
        brought
    }

    /// Takes in the first `count` bytes of the chunk.
    fn take(&mut self, token: Token, count: usize) -> Result<(), String> {
        let Some(client) = self.clients.get_mut(&token) else { return Ok(()) };
        let bytes = &self.chunk[..count];
        if !client.spoke && !client.transport.is_tls() && is_tls_hello(bytes) {
            return Err("speaks TLS, which this input does not: write tls:// for it, or have the \
                        sender speak plain TCP"
                .into());
        }
        (client.spoke, client.heard) = (true, Instant::now());
        let source = Some(Source::Address(client.peer));
        let before = client.framer.held();
        let intake = &mut self.intake;
        let mut message = |frame: Frame<'_>| intake.message(frame.bytes, frame.cut, source);
        let done = client.framer.push(bytes, &mut message);
        let (slips, slip) = client.framer.take_slips();
        self.intake.counts().malformed += slips;
        if let Some(slip) = slip {
            self.door.complain(client.peer, &slip.to_string());
        }
        self.unfinished = self.unfinished + client.framer.held() - before;
        self.out.hand_full(&mut self.intake);
        if self.unfinished > UNFINISHED_MOST {
            self.part_with_largest();
        }
        done
    }

    /// All unfinished messages together are too much: whoever has sent most of one goes.
    fn part_with_largest(&mut self) {
        let largest = self.clients.iter().max_by_key(|(_, client)| client.framer.held());
        if let Some(token) = largest.map(|(token, _)| *token) {
            let why = "has sent much of a message and not its end, as have others: together they \
                       take too much memory";
            self.part(token, Parting::Wrong(why.into()));
        }
    }

    // ---- handing over

    fn hand_over_all(&mut self) {
        self.out.hand_all(&mut self.intake);
        if self.clients.is_empty() {
            self.intake.rest();
        }
    }

    /// What clients had sent before the stop is taken yet, a turn's worth each.
    fn finish(&mut self) {
        self.door.close();
        for token in self.clients.keys().copied().collect::<Vec<_>>() {
            self.read(token);
            self.part(token, Parting::End);
        }
        self.hand_over_all();
    }
}

/// What a broken connection means.
fn wrong(client: &Client, error: &io::Error) -> Parting {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidMessage(what)) if !client.spoke => Parting::Wrong(format!(
            "speaks no TLS ({what:?}); a sender of plain text needs a tcp:// input"
        )),
        Some(error) => Parting::Wrong(format!("TLS: {error}")),
        None => Parting::End,
    }
}

/// Whether a connection begins with a record of TLS (RFC 8446, section 5.1): no message does.
fn is_tls_hello(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x16, 0x03])
}
