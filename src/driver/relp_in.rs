//! RELP inputs: one thread an input, with all of its connections.
//!
//! The thread hands lines to the loop under tickets and goes on reading; when the loop says
//! that a ticket is settled, every client whose lines that makes durable gets all its answers by
//! one write. While the loop takes nothing (because a spool is behind), handing over waits, and
//! so do the clients.
//!
//! Told to stop, it reads no more, but stays until what was handed over is answered.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Interest, Poll, Token, Waker};

use super::door::{Arrival, Bound, Door};
use super::receiver::{Out, Received, Reply};
use super::transport::Transport;
use crate::batch::Batch;
use crate::ids::Identity;
use crate::input::InputCounts;
use crate::input::relp::Session;
use crate::limits::{ANSWERS_MOST, OPEN_MOST, READ_CHUNK, TURN};
use crate::sources::{Source, Sources};

const WAKE: Token = Token(0);
const LISTENER: Token = Token(1);
const FIRST_CLIENT: usize = 2;
/// How long clients are waited for at the end to take their last answers.
const FAREWELL: Duration = Duration::from_millis(200);

/// One input.
pub(super) struct Server {
    poll: Poll,
    door: Door,
    max_message: usize,
    /// Dropped once told to stop, which tells the loop that no more lines come.
    out: Option<Out>,
    name: Arc<str>,
    replies: Receiver<Reply>,
    clients: HashMap<Token, Client>,
    next_token: usize,
    next_ticket: u64,
    /// Clients that wait for the number of their last line, by ticket.
    asking: HashMap<u64, Token>,
    /// Clients that may have sent more than one turn took.
    again: Vec<Token>,
    chunk: Vec<u8>,
}

struct Client {
    transport: Transport,
    peer: SocketAddr,
    session: Session,
    since: Instant,
    opened: bool,
    /// It is not read from, because it does not read its answers.
    stuffed: bool,
}

impl Server {
    pub(super) fn new(
        bound: Bound,
        max_message: usize,
        out: Out,
        replies: Receiver<Reply>,
    ) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let door = Door::open(&out.name, bound, poll.registry(), LISTENER)?;
        let server = Self {
            poll,
            door,
            max_message,
            name: Arc::clone(&out.name),
            out: Some(out),
            replies,
            clients: HashMap::new(),
            next_token: FIRST_CLIENT,
            next_ticket: 1,
            asking: HashMap::new(),
            again: Vec::new(),
            chunk: vec![0; READ_CHUNK],
        };
        Ok((server, waker))
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let wait = self.longest_wait();
            if let Err(error) = self.poll.poll(&mut events, wait)
                && error.kind() != ErrorKind::Interrupted
            {
                log::error!("input.{}: epoll: {error}", self.name);
                break;
            }
            // Also those who came before anything could tell.
            self.accept();
            for token in std::mem::take(&mut self.again) {
                self.read(token);
            }
            for event in &events {
                match event.token() {
                    WAKE | LISTENER => {}
                    token => {
                        self.write(token);
                        self.read(token);
                    }
                }
            }
            let open = self.take_replies();
            self.close_silent();
            if self.out.is_none() && (!open || !self.is_waited_for()) {
                break;
            }
        }
        self.part();
    }

    fn longest_wait(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let silent = self.clients.values().any(|client| !client.opened);
        let silent = silent.then_some(Duration::from_secs(1));
        silent.into_iter().chain(self.door.look_again()).min()
    }

    fn is_waited_for(&self) -> bool {
        self.clients.values().any(|client| client.session.waits())
    }

    // ---- connections

    fn accept(&mut self) {
        while let Some(arrival) = self.door.next(self.clients.len()) {
            let mut counts = InputCounts::default();
            match arrival {
                Arrival::Refused => counts.refused += 1,
                Arrival::Client(transport, peer) => {
                    counts.connections += 1;
                    if let Err(error) = self.enter(transport, peer) {
                        self.door.complain(peer, &error.to_string());
                    }
                }
            }
            self.count(counts);
        }
    }

    fn enter(&mut self, mut transport: Transport, peer: SocketAddr) -> io::Result<()> {
        let token = Token(self.next_token);
        self.next_token += 1;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut transport, token, both)?;
        let session = Session::new(self.max_message);
        let since = Instant::now();
        let client = Client { transport, peer, session, since, opened: false, stuffed: false };
        self.clients.insert(token, client);
        Ok(())
    }

    fn count(&self, counts: InputCounts) {
        if let Some(out) = &self.out
            && counts != InputCounts::default()
        {
            out.hand(Received { batch: None, counts, ticket: None });
        }
    }

    /// Lets go of clients that connected and say nothing.
    fn close_silent(&mut self) {
        let name = &self.name;
        self.clients.retain(|_, client| {
            let silent = !client.opened && client.since.elapsed() > OPEN_MOST;
            if silent {
                log::debug!("input.{name}: {}: says nothing and is let go", client.peer);
            }
            !silent
        });
    }

    fn close(&mut self, token: Token) {
        if let Some(mut client) = self.clients.remove(&token) {
            client.transport.close();
        }
    }

    /// Lets a client go with whom TLS cannot be spoken: its certificate, or no TLS at all.
    fn refuse(&mut self, token: Token, why: &str) {
        if let Some(client) = self.clients.get(&token) {
            self.door.complain(client.peer, why);
            self.count(InputCounts { malformed: 1, ..InputCounts::default() });
        }
        self.close(token);
    }

    // ---- reading

    fn read(&mut self, token: Token) {
        for _ in 0..TURN {
            if self.out.is_none() {
                return;
            }
            let Some(client) = self.clients.get_mut(&token) else { return };
            if client.session.is_over() || client.session.asks().is_some() {
                return;
            }
            client.stuffed = client.session.out().len() > ANSWERS_MOST;
            if client.stuffed {
                return;
            }
            let count = match client.transport.read(&mut self.chunk) {
                Ok(0) => return self.close(token),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // TLS may have something to say of its own.
                    return self.write(token);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    return self.refuse(token, &error.to_string());
                }
                Err(error) => {
                    log::debug!("input.{}: {}: {error}", self.name, client.peer);
                    return self.close(token);
                }
            };
            let done = client.session.push(&self.chunk[..count]);
            if let Err(error) = done {
                self.door.complain(client.peer, &error);
            }
            self.hand_over(token);
            self.write(token);
        }
        self.again.push(token);
    }

    /// Hands what a client sent to the loop, under one ticket.
    fn hand_over(&mut self, token: Token) {
        let (Some(client), Some(out)) = (self.clients.get_mut(&token), &self.out) else { return };
        client.opened |= client.session.is_open();
        let counts = client.session.take_counts();
        let pieces = client.session.take_pieces();
        let ticket = self.next_ticket;
        if !pieces.is_empty() {
            self.next_ticket += 1;
            client.session.handed(ticket);
        }
        let received = SystemTime::now();
        let last = pieces.len().saturating_sub(1);
        for (at, piece) in pieces.into_iter().enumerate() {
            let mut batch: Batch = piece.into_batch(&self.name, received);
            batch.sources = Some(Sources::one(Source::Address(client.peer)));
            let ticket = (at == last).then_some((ticket, None));
            out.hand(Received { batch: Some(batch), counts: InputCounts::default(), ticket });
        }
        self.count(counts);
        self.ask(token);
    }

    /// A logweir wants to know the last of its lines that is on disk here. Other connections of
    /// the same spool are of the past, and what they sent comes before the question.
    fn ask(&mut self, token: Token) {
        let Some(client) = self.clients.get(&token) else { return };
        let Some(spool) = client.session.asks() else { return };
        self.close_others(token, spool);
        let Some(out) = &self.out else { return };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.asking.insert(ticket, token);
        let ticket = Some((ticket, Some(spool)));
        out.hand(Received { batch: None, counts: InputCounts::default(), ticket });
    }

    fn close_others(&mut self, token: Token, spool: Identity) {
        let same = |(other, client): (&Token, &Client)| {
            (*other != token && client.session.sender() == Some(spool)).then_some(*other)
        };
        for other in self.clients.iter().filter_map(same).collect::<Vec<_>>() {
            self.close(other);
        }
    }

    // ---- answering

    /// Takes what the loop says; false once it says nothing any more.
    fn take_replies(&mut self) -> bool {
        let mut settled = None;
        let open = loop {
            match self.replies.try_recv() {
                Ok(Reply::Settled(ticket)) => settled = Some(ticket),
                Ok(Reply::Tell(ticket, lasts)) => self.tell(ticket, &lasts),
                Ok(Reply::Stop) => {
                    self.door.close();
                    self.out = None;
                }
                Err(TryRecvError::Empty) => break true,
                Err(TryRecvError::Disconnected) => break false,
            }
        };
        if let Some(ticket) = settled {
            let waiting =
                |(token, client): (&Token, &Client)| client.session.waits().then_some(*token);
            for token in self.clients.iter().filter_map(waiting).collect::<Vec<_>>() {
                if let Some(client) = self.clients.get_mut(&token) {
                    client.session.settled(ticket);
                }
                self.write(token);
            }
        }
        if !open {
            self.out = None;
        }
        open
    }

    fn tell(&mut self, ticket: u64, lasts: &[Option<u64>]) {
        let Some(token) = self.asking.remove(&ticket) else { return };
        let Some(client) = self.clients.get_mut(&token) else { return };
        client.session.tell_last(lasts);
        client.opened = true;
        self.write(token);
        self.again.push(token);
    }

    /// Writes answers, as much as goes.
    fn write(&mut self, token: Token) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        loop {
            let done = match client.session.out().is_empty() {
                true => client.transport.flush().map(|()| 0),
                false => {
                    let slice = IoSlice::new(client.session.out());
                    client.transport.write(&[slice])
                }
            };
            match done {
                Ok(0) => break,
                Ok(count) => drop(client.session.out().drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    log::debug!("input.{}: {}: {error}", self.name, client.peer);
                    return self.close(token);
                }
            }
        }
        if client.session.is_over() {
            return self.close(token);
        }
        if std::mem::take(&mut client.stuffed) {
            self.again.push(token);
        }
    }

    /// Tells the clients that are left that the server goes.
    fn part(&mut self) {
        let start = Instant::now();
        for client in self.clients.values_mut() {
            client.session.part();
        }
        while !self.clients.is_empty() && start.elapsed() < FAREWELL {
            for token in self.clients.keys().copied().collect::<Vec<_>>() {
                self.write(token);
            }
            if !self.clients.is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
