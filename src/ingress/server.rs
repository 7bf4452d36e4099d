//! The connection server: one thread per input, with all of its clients. The protocol of a
//! connection is implemented by the [`Session`].
//!
//! If clients do not wait for acknowledgements, their lines are gathered into shared batches, which
//! are sent to the loop when a block is full, when the clients pause, or after twenty pauses of a
//! millisecond (as for datagrams): a client that sends without pause has its turn, and then the
//! others have theirs. While the loop takes nothing, sending waits, and so do the clients; they
//! also wait while a file falls behind in a burst.
//!
//! If clients wait for acknowledgements, lines are sent at once, with a barrier after those of each
//! read, and the server continues reading. When a barrier is completed, every client whose lines it
//! makes durable gets all its acknowledgements in one write. When told to stop, the server reads no
//! more, but remains until everything sent is acknowledged.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::acceptor::{Acceptor, Arrival, Bound};
use super::holding::Holding;
use super::inbox::Inlet;
use super::parting::{Parting, wrong};
pub use super::session::{Accept, Session, State};
use super::{Socket, Source};
use crate::ids::Identity;
use crate::input::Gather;
use crate::limits::{
    ANSWERS_MAX, BARRIERS_MAX, OPEN_MAX, READ_CHUNK, RECV_PAUSE, STREAM_FULL, TURN, YIELDS_IDLE,
    YIELDS_SILENT,
};
use crate::net::tls::ServerTls;
use crate::net::transport::Transport;
use crate::sources::Source as Peer;

const BELL: Token = Token(0);
const LISTENER: Token = Token(1);
const FIRST_CLIENT: usize = 2;
/// How often to check for idle clients.
const IDLE_EVERY: Duration = Duration::from_secs(1);
/// How long to wait at the end for clients to receive their last acknowledgements.
const FAREWELL: Duration = Duration::from_millis(200);

/// A bound input with connections.
pub struct Server<A> {
    bound: Bound,
    accept: A,
    poll: Poll,
}

impl<A: Accept> Server<A> {
    /// Creates a server that accepts no clients yet.
    ///
    /// # Errors
    /// The system's.
    pub fn new(bound: Bound, accept: A) -> io::Result<Self> {
        Ok(Self { bound, accept, poll: Poll::new()? })
    }
}

impl<A: Accept> Source for Server<A> {
    fn run(self: Box<Self>, inlet: Inlet) {
        let name = std::sync::Arc::clone(inlet.name());
        match Running::new(*self, inlet) {
            Ok(running) => running.run(),
            Err(error) => log::error!("input.{name}: epoll: {error}"),
        }
    }

    fn socket(&self) -> io::Result<Option<Socket>> {
        self.bound.listener.try_clone().map(|listener| Some(Socket::Listener(listener)))
    }

    fn sends_barriers(&self) -> bool {
        A::ACKNOWLEDGES
    }

    fn tls(&self) -> Option<ServerTls> {
        self.bound.tls.clone()
    }
}

/// A running server.
struct Running<A: Accept> {
    poll: Poll,
    acceptor: Acceptor,
    accept: A,
    inlet: Inlet,
    gather: <A::Session as Session>::Gather,
    clients: HashMap<Token, Client<A::Session>>,
    next_token: usize,
    /// Clients that may have sent more than one turn read.
    again: Vec<Token>,
    /// Which client waits for which barrier, oldest first.
    waiting: VecDeque<(u64, Token)>,
    /// Who is not read from before fewer barriers are waited for.
    held_back: Vec<Token>,
    /// Who made the resume query of which barrier.
    querying: HashMap<u64, Token>,
    /// What all clients make us hold.
    holding: Holding,
    idle_looked: Instant,
    chunk: Vec<u8>,
}

struct Client<S> {
    transport: Transport,
    peer: Peer,
    session: S,
    since: Instant,
    /// When it connected or last sent something.
    heard: Instant,
    /// True if it has sent anything.
    spoke: bool,
    /// True if its end has come: data before the end is read first, because the kernel reports
    /// both only once.
    ends: bool,
    /// True if it misbehaved and is disconnected once its answers are written.
    faulty: bool,
    /// Reads are paused: the peer is not draining its acknowledgements.
    write_blocked: bool,
    /// Whether it is in [`Running::held_back`].
    held_back: bool,
    /// Its part of [`Running::holding`], in bytes.
    held: usize,
}

impl<A: Accept> Running<A> {
    fn new(server: Server<A>, inlet: Inlet) -> io::Result<Self> {
        let Server { bound, accept, poll } = server;
        let bell = inlet.bell().as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&bell), BELL, Interest::READABLE)?;
        let acceptor = Acceptor::open(inlet.name(), bound, poll.registry(), LISTENER)?;
        let holding = inlet.holding();
        Ok(Self {
            poll,
            acceptor,
            gather: accept.gather(),
            accept,
            inlet,
            clients: HashMap::new(),
            next_token: FIRST_CLIENT,
            again: Vec::new(),
            waiting: VecDeque::new(),
            held_back: Vec::new(),
            querying: HashMap::new(),
            holding,
            idle_looked: Instant::now(),
            chunk: vec![0; READ_CHUNK],
        })
    }

    fn run(mut self) {
        if A::ACKNOWLEDGES {
            self.run_with_barriers();
            self.part_all();
        } else {
            self.run_gathering();
            self.finish();
        }
    }

    fn run_with_barriers(&mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let wait = self.longest_wait();
            if !self.poll(&mut events, wait) {
                break;
            }
            self.turn(&events);
            self.take_answers();
            self.inlet.send_all(&mut self.gather);
            if self.inlet.stopped() && !self.inlet.is_closed() {
                self.acceptor.close();
                self.inlet.close();
            }
            let waited_for = || self.clients.values().any(|client| client.session.waits());
            if self.inlet.is_closed() && (self.inlet.is_abandoned() || !waited_for()) {
                break;
            }
        }
    }

    fn run_gathering(&mut self) {
        let mut events = Events::with_capacity(256);
        let mut pauses = 0;
        let mut resting = true;
        loop {
            // For at most a second.
            while self.inlet.control().throttled() && !self.inlet.stopped() {
                std::thread::sleep(RECV_PAUSE);
            }
            let wait = if resting { self.longest_wait() } else { Some(Duration::ZERO) };
            if !self.poll(&mut events, wait) || self.inlet.stopped() {
                break;
            }
            let brought = self.turn(&events);
            resting = brought == 0;
            if brought >= STREAM_FULL {
                continue;
            }
            pauses = if brought > 0 { pauses + 1 } else { 0 };
            if brought == 0 || self.inlet.control().are_enough(pauses) {
                pauses = 0;
                self.send_all();
            }
            if brought > 0 {
                std::thread::sleep(RECV_PAUSE);
            }
        }
    }

    /// Waits for readiness; returns false if that is impossible.
    fn poll(&mut self, events: &mut Events, wait: Option<Duration>) -> bool {
        match self.poll.poll(events, wait) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                log::error!("input.{}: epoll: {error}", self.inlet.name());
                false
            }
            _ => true,
        }
    }

    /// Reads a turn's worth from each client; returns how many bytes it was.
    fn turn(&mut self, events: &Events) -> usize {
        // Including clients who connected before any event.
        self.accept();
        let mut brought = 0;
        for token in std::mem::take(&mut self.again) {
            brought += self.read(token);
        }
        for event in events {
            let token = event.token();
            if let Some(client) = self.clients.get_mut(&token) {
                client.ends |= event.is_read_closed();
                self.write(token);
                brought += self.read(token);
            }
        }
        if self.idle_looked.elapsed() >= IDLE_EVERY {
            self.idle_looked = Instant::now();
            self.close_idle();
            self.hold_less();
            self.acceptor.look(&self.inlet, self.poll.registry(), LISTENER);
            self.acceptor.tell_state(&self.inlet);
        }
        brought
    }

    fn longest_wait(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let has_timeout = self.accept.idle_timeout().is_some();
        let watched = self.clients.values().any(|client| has_timeout || client.must_open());
        let watched = watched.then_some(IDLE_EVERY);
        watched.into_iter().chain(self.acceptor.look_again()).min()
    }

    // ---- clients

    fn accept(&mut self) {
        while let Some(arrival) = self.acceptor.next(self.clients.len()) {
            let (transport, peer) = match arrival {
                Arrival::Client(transport, peer) => (transport, peer),
                Arrival::TooMany(stream, peer) if self.make_room() => {
                    let Some(transport) = self.acceptor.welcome(stream, peer) else { continue };
                    (transport, peer)
                }
                Arrival::TooMany(_, peer) => {
                    self.gather.counts().refused += 1;
                    self.acceptor.refuse(peer, &self.inlet);
                    continue;
                }
            };
            self.gather.counts().connections += 1;
            if let Err(error) = self.enter(transport, peer) {
                self.acceptor.complain(peer, &error.to_string());
            }
        }
    }

    /// Disconnects a client to make room for a new one: one that has sent nothing since it
    /// connected, else the longest idle; returns whether there was one. So nobody can keep others
    /// out by silence.
    fn make_room(&mut self) -> bool {
        let now = Instant::now();
        let yields = |client: &Client<A::Session>| {
            let min_idle = if client.spoke { YIELDS_IDLE } else { YIELDS_SILENT };
            !client.session.waits() && now.duration_since(client.heard) >= min_idle
        };
        let idle = self.clients.iter().filter(|(_, client)| yields(client));
        let longest = idle.min_by_key(|(_, client)| (client.spoke, client.heard));
        let Some((token, peer)) = longest.map(|(token, client)| (*token, client.peer)) else {
            return false;
        };
        self.acceptor.complain(peer, "idle, disconnected for a new client (max_connections)");
        self.part(token, Parting::End);
        true
    }

    fn enter(&mut self, mut transport: Transport, peer: Peer) -> io::Result<()> {
        let token = Token(self.next_token);
        self.next_token += 1;
        let interest = match A::ACKNOWLEDGES || transport.is_tls() {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        self.poll.registry().register(&mut transport, token, interest)?;
        let session = self.accept.session(peer, transport.is_tls());
        let now = Instant::now();
        let client = Client {
            transport,
            peer,
            session,
            since: now,
            heard: now,
            spoke: false,
            ends: false,
            faulty: false,
            write_blocked: false,
            held_back: false,
            held: 0,
        };
        self.clients.insert(token, client);
        Ok(())
    }

    /// Disconnects idle clients, and those that begin a session or TLS and do not complete it.
    fn close_idle(&mut self) {
        let idle_timeout = self.accept.idle_timeout();
        let is_idle = |client: &Client<A::Session>| match client.must_open() {
            true => client.since.elapsed() > OPEN_MAX,
            false => idle_timeout.is_some_and(|max| client.heard.elapsed() > max),
        };
        let idle = self.clients.iter().filter(|(_, client)| is_idle(client)).map(|(at, _)| *at);
        for token in idle.collect::<Vec<_>>() {
            if let Some(client) = self.clients.get(&token) {
                log::debug!("input.{}: {}: idle, disconnected", self.inlet.name(), client.peer);
            }
            self.part(token, Parting::End);
        }
    }

    /// Disconnects a client. The part of a last message that it sent counts as a message.
    fn part(&mut self, token: Token, parting: Parting) {
        let Some(mut client) = self.clients.remove(&token) else { return };
        self.holding.change(client.held, 0);
        client.session.finish(&mut self.gather);
        if let Parting::Wrong(why) = parting {
            self.gather.counts().malformed += 1;
            self.acceptor.complain(client.peer, &why);
        }
        client.transport.close();
    }

    /// Counts what a client makes us hold.
    fn account(&mut self, token: Token) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        let held = client.session.held() + client.session.out().len();
        self.holding.change(client.held, held);
        client.held = held;
        self.hold_less();
    }

    /// Where all clients together make us hold too much, whoever does most is disconnected.
    fn hold_less(&mut self) {
        while self.holding.is_too_much() {
            let largest = self.clients.iter().max_by_key(|(_, client)| client.held);
            let Some(token) = largest.map(|(token, _)| *token) else { break };
            let why = "has sent a large unfinished message, or does not read its answers, \
                       as do others: together they take too much memory";
            self.part(token, Parting::Wrong(why.into()));
        }
    }

    // ---- reading

    /// Reads from a client for a turn; returns how many bytes were read.
    fn read(&mut self, token: Token) -> usize {
        let mut brought = 0;
        for _ in 0..TURN {
            let Some(client) = self.clients.get_mut(&token) else { return brought };
            if self.inlet.is_closed() || !client.is_read_from() {
                return brought;
            }
            if self.waiting.len() >= BARRIERS_MAX {
                if !std::mem::replace(&mut client.held_back, true) {
                    self.held_back.push(token);
                }
                return brought;
            }
            let count = match client.transport.read(&mut self.chunk) {
                Ok(0) => {
                    self.part(token, Parting::End);
                    return brought;
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // TLS may have output of its own.
                    self.write(token);
                    return brought;
                }
                Err(error) => {
                    let parting = wrong(&error, client.spoke, self.accept.plain_hint());
                    self.part(token, parting);
                    return brought;
                }
            };
            brought += count;
            // A short read means that there was no more (epoll(7)).
            let more = count == self.chunk.len() || client.transport.is_tls() || client.ends;
            self.take(token, count);
            if !more {
                return brought;
            }
        }
        self.again.push(token);
        brought
    }

    /// Processes the first `count` bytes of the chunk.
    fn take(&mut self, token: Token, count: usize) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        if !client.spoke
            && let Some(certificate) = client.transport.peer_certificate()
        {
            client.session.authenticated(certificate);
        }
        (client.spoke, client.heard) = (true, Instant::now());
        client.session.set_held_back(!self.inlet.has_room(1));
        if let Err(fault) = client.session.push(&self.chunk[..count], &mut self.gather) {
            client.faulty = true;
            self.acceptor.complain(client.peer, &fault.to_string());
        }
        if let Some(slip) = client.session.take_slip() {
            self.acceptor.complain(client.peer, &slip);
        }
        self.send(token);
        self.account(token);
        self.write(token);
    }

    // ---- sending to the loop

    /// Sends the complete messages of a client.
    fn send(&mut self, token: Token) {
        if !A::ACKNOWLEDGES {
            return self.inlet.send_full(&mut self.gather);
        }
        self.inlet.send_all(&mut self.gather);
        let Some(client) = self.clients.get_mut(&token) else { return };
        if client.session.wants_barrier() {
            let barrier = self.inlet.barrier();
            client.session.sent(barrier);
            self.waiting.push_back((barrier, token));
        }
        if let State::Querying(origins) = client.session.state() {
            self.query(token, origins);
        }
    }

    /// Sends a client's query for the last of its lines on disk here. Other connections of the same
    /// origin are obsolete, and what they sent precedes the query.
    fn query(&mut self, token: Token, origins: Vec<Identity>) {
        let same = |(other, client): (&Token, &Client<A::Session>)| {
            let shares = client.session.origins().iter().any(|origin| origins.contains(origin));
            (*other != token && shares).then_some(*other)
        };
        for other in self.clients.iter().filter_map(same).collect::<Vec<_>>() {
            self.part(other, Parting::End);
        }
        let barrier = self.inlet.query(origins);
        self.querying.insert(barrier, token);
    }

    fn send_all(&mut self) {
        self.inlet.send_all(&mut self.gather);
        if self.clients.is_empty() {
            self.gather.rest();
        }
    }

    // ---- answering

    /// Processes the loop's answers.
    fn take_answers(&mut self) {
        let answers = self.inlet.answers();
        self.disconnect_lost(&answers.lost);
        for (barrier, lasts) in answers.resumed {
            let Some(token) = self.querying.remove(&barrier) else { continue };
            let Some(client) = self.clients.get_mut(&token) else { continue };
            client.session.resume(&lasts);
            self.account(token);
            self.write(token);
            self.again.push(token);
        }
        if let Some(completed) = answers.completed {
            self.tell_completed(completed);
        }
        if self.waiting.len() < BARRIERS_MAX {
            for token in self.held_back.drain(..) {
                if let Some(client) = self.clients.get_mut(&token) {
                    client.held_back = false;
                    self.again.push(token);
                }
            }
        }
    }

    /// Tells the clients whose lines are on disk now.
    fn tell_completed(&mut self, completed: u64) {
        let mut reached = Vec::new();
        while let Some((barrier, token)) = self.waiting.front()
            && *barrier <= completed
        {
            reached.push(*token);
            self.waiting.pop_front();
        }
        reached.sort_unstable();
        reached.dedup();
        for token in reached {
            if let Some(client) = self.clients.get_mut(&token) {
                client.session.completed(completed);
            }
            self.account(token);
            self.write(token);
        }
    }

    /// Disconnects clients whose lines could not be stored, because their spool was removed first:
    /// they send them again, on a new connection.
    fn disconnect_lost(&mut self, lost: &[u64]) {
        for barrier in lost {
            let asked = self.querying.remove(barrier);
            let at = self.waiting.iter().position(|(number, _)| number == barrier);
            let waited = at.and_then(|at| self.waiting.remove(at)).map(|(_, token)| token);
            for token in waited.into_iter().chain(asked) {
                let Some(client) = self.clients.get(&token) else { continue };
                let why = "disconnected, because the spool of its lines was removed before they \
                           were on disk: they have no acknowledgement, and it must send them again";
                self.acceptor.complain(client.peer, why);
                self.part(token, Parting::End);
            }
        }
    }

    /// Writes answers and TLS output, as much as possible.
    fn write(&mut self, token: Token) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        match client.write() {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return self.account(token),
            // Its earlier data may still be there to read.
            Err(_) if !A::ACKNOWLEDGES => return,
            Err(error) => {
                log::debug!("input.{}: {}: {error}", self.inlet.name(), client.peer);
                return self.part(token, Parting::End);
            }
        }
        if client.faulty || client.session.state() == State::Over {
            return self.part(token, Parting::End);
        }
        if std::mem::take(&mut client.write_blocked) {
            self.again.push(token);
        }
        self.account(token);
    }

    // ---- the end

    /// Reads what clients had sent before the stop, a turn's worth each.
    fn finish(&mut self) {
        self.acceptor.close();
        for token in self.clients.keys().copied().collect::<Vec<_>>() {
            self.read(token);
            self.part(token, Parting::End);
        }
        self.send_all();
    }

    /// Tells the remaining clients that the server is closing.
    fn part_all(&mut self) {
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

impl<S: Session> Client<S> {
    /// Returns whether it must send something within a bounded time.
    fn must_open(&self) -> bool {
        let begins = matches!(self.session.state(), State::New | State::Querying(_));
        begins || self.transport.is_tls() && !self.spoke
    }

    /// Returns whether it should be read from.
    fn is_read_from(&mut self) -> bool {
        self.write_blocked = self.session.owed() > ANSWERS_MAX;
        let may_speak = matches!(self.session.state(), State::New | State::Open);
        !self.write_blocked && !self.faulty && may_speak
    }

    /// Writes everything available.
    fn write(&mut self) -> io::Result<()> {
        while !self.session.out().is_empty() {
            let slice = IoSlice::new(self.session.out());
            match self.transport.write(&[slice]) {
                Ok(0) => return Err(ErrorKind::WouldBlock.into()),
                Ok(count) => drop(self.session.out().drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // Do not keep the memory of a long queue of answers.
        self.session.out().shrink_to(READ_CHUNK);
        self.transport.flush()
    }
}

#[cfg(test)]
mod tests;
