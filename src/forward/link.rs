//! One link to other hosts: its peers in order of preference, its connection, and when to try which
//! peer again. It makes no system call and reads no clock.
//!
//! A link uses the first peer that answers. While it uses a later one it checks from time to time
//! whether an earlier one is back, and returns to it when everything in flight has been
//! acknowledged. A peer that fails is retried after a wait that doubles, with some jitter, so that
//! a fleet does not reconnect at one instant.

use std::collections::VecDeque;
use std::time::Duration;

use super::client::{Client, Clients, Heard, Offer};
use super::out::Out;
use super::partition;
use super::plan::ForwardPlan;
use super::service::Known;
use crate::batch::Batch;
use crate::clock::Mono;
use crate::format::Formatter;
use crate::ledger::Count;
use crate::limits::{
    CONNECT_MAX, FORWARD_OUT, FORWARD_WINDOW, LOOKUP_MAX, RECONNECT, TRIAL_BYTES, TRIAL_UNHEARD,
};
use crate::net::dns::Answer;
use crate::url::Url;

use peers::{Peers, earliest};

/// How long a connection must have lasted before its peer counts as good again.
const LASTED: Duration = Duration::from_secs(10);

/// What the driver must do for a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Connect to a peer; answered by [`Link::trying`] for each of its addresses, then by
    /// [`Link::connected`], [`Link::not_found`] or [`Link::failed`].
    Connect {
        /// The peer.
        url: Url,
        /// The name that its certificate must have.
        name: String,
        /// The number of this attempt.
        attempt: u64,
    },
    /// Look up the service of this name; answered by [`Link::found`].
    Find(String),
    /// The peer's current address does not answer: try its next one.
    NextAddress,
    /// Close the connection or cancel the attempt.
    Disconnect,
    /// Check whether this peer accepts connections; answered by [`Link::probed`].
    Probe(Url),
}

/// An event for the owner of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Lines may be sent. From a logweir: the last line of our spool that it has.
    Up(Option<Option<u64>>),
    /// The connection is gone: everything sent and not released must be sent again.
    Down(Ended),
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The peer refused the first unacknowledged line.
    Refused,
    /// The peer closed it while lines awaited acknowledgement.
    ByPeer,
    /// In any other way.
    Otherwise,
}

/// A link.
#[derive(Debug)]
pub struct Link {
    peers: Peers,
    formatter: Formatter,
    clients: Clients,
    /// How long a peer may leave everything unanswered.
    timeout: Duration,
    state: State,
    /// The number of the current or last connection.
    attempt: u64,
    commands: VecDeque<Command>,
    events: VecDeque<Event>,
    /// The earlier peer that is being probed.
    probing: Option<usize>,
    /// True if this connection must send no more lines.
    leaving: bool,
    /// True if the link is to end.
    ending: bool,
    /// Lines acknowledged on a closed connection, not taken yet.
    done: Count,
    error: Option<String>,
    /// True if the peer's name has no address.
    unresolved: bool,
    /// When the link lost its last usable peer.
    down_since: Option<Mono>,
    /// The last error logged, until lines get through again.
    logged: Option<String>,
    /// A sentence for the log.
    complaint: Option<String>,
    /// When that began.
    failing_since: Option<Mono>,
    /// Since when lines had not got through that do again.
    returned: Option<Mono>,
}

#[derive(Debug)]
enum State {
    Down,
    /// Until the deadline `until`, a name is looked up or an address is tried.
    Connecting {
        peer: usize,
        looking_up: bool,
        until: Mono,
    },
    Up(Box<Connection>),
}

#[derive(Debug)]
struct Connection {
    peer: usize,
    since: Mono,
    /// How long it must last before the peer's TCP acknowledgements count.
    trial_time: Duration,
    /// When the peer was last heard from, or nothing was awaited.
    heard: Mono,
    client: Box<dyn Client>,
    opened: bool,
    /// Bytes of lines in flight.
    under_way: u64,
    /// Bytes of lines that may be sent while the peer is on trial; `None` if it sends
    /// acknowledgements, or once the connection has lasted.
    trial: Option<u64>,
    /// Bytes that the peer's TCP has acknowledged and that do not count yet.
    withheld: u64,
}

impl Link {
    /// Creates the link of a lane, to the first of its peers that answers.
    pub fn new(plan: &ForwardPlan, lane: u16, now: Mono) -> Self {
        Self {
            peers: Peers::new(partition::peers(plan, lane), now),
            clients: plan.clients.clone(),
            formatter: Formatter::new(&plan.format),
            timeout: plan.timeout,
            state: State::Down,
            attempt: 0,
            commands: VecDeque::new(),
            events: VecDeque::new(),
            probing: None,
            leaving: false,
            ending: false,
            done: Count::default(),
            error: None,
            unresolved: false,
            down_since: Some(now),
            logged: None,
            complaint: None,
            failing_since: None,
            returned: None,
        }
    }

    /// The next command for the driver.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::tick`] again, if nothing happens before.
    pub fn deadline(&self) -> Option<Mono> {
        match &self.state {
            State::Down if self.ending => None,
            State::Down => earliest(self.peers.retry_at(..), self.peers.ask_at()),
            State::Connecting { until, .. } => {
                earliest(Some(*until), self.peers.ask_at().filter(|_| !self.ending))
            }
            State::Up(connection) => {
                let patience = if connection.opened { self.timeout } else { CONNECT_MAX };
                let answer = self.waits().then(|| connection.heard + patience);
                let earlier = self.peers.retry_at(..connection.peer);
                let earlier = earlier.filter(|_| self.probing.is_none() && !self.leaving);
                let trial = connection.trial.map(|_| connection.since + connection.trial_time);
                let own = answer.into_iter().chain(earlier).chain(trial).min();
                earliest(own, self.peers.ask_at().filter(|_| !self.ending))
            }
        }
    }

    /// Advances the time.
    pub fn tick(&mut self, now: Mono) {
        if !self.ending {
            self.commands.extend(self.peers.ask(now).map(Command::Find));
        }
        match &self.state {
            State::Down if !self.ending => {
                if let Some(peer) = self.peers.ready(.., now) {
                    let until = now + LOOKUP_MAX;
                    self.state = State::Connecting { peer, looking_up: true, until };
                    self.attempt += 1;
                    let url = self.peers[peer].url.clone();
                    let (name, attempt) = (self.peers.certified(peer), self.attempt);
                    self.commands.push_back(Command::Connect { url, name, attempt });
                }
            }
            State::Connecting { looking_up, until, .. } if now >= *until => {
                if *looking_up {
                    self.not_found(format!("its name was not found in {LOOKUP_MAX:?}"), now);
                } else {
                    self.trying(now);
                    self.commands.push_back(Command::NextAddress);
                }
            }
            State::Up(_) => self.tick_up(now),
            _ => {}
        }
    }

    fn tick_up(&mut self, now: Mono) {
        let waits = self.waits();
        let State::Up(connection) = &mut self.state else { return };
        if !waits {
            connection.heard = now;
        }
        let patience = if connection.opened { self.timeout } else { CONNECT_MAX };
        if now >= connection.heard + patience {
            self.failed(format!("no answer in {patience:?}"), now);
            return;
        }
        let peer = &mut self.peers[connection.peer];
        if now >= connection.since + connection.trial_time {
            connection.trial = None;
        }
        if now >= connection.since + LASTED && connection.opened {
            peer.wait = RECONNECT.0;
            peer.hung_up = false;
        }
        if self.probing.is_none()
            && !self.leaving
            && let Some(peer) = self.peers.ready(..connection.peer, now)
        {
            self.probing = Some(peer);
            self.commands.push_back(Command::Probe(self.peers[peer].url.clone()));
        }
        self.leave_when_answered();
    }

    /// The number of the current attempt. Events of any other connection, or of this one after it
    /// was abandoned, are ignored.
    pub fn attempt(&self) -> Option<u64> {
        (!matches!(self.state, State::Down)).then_some(self.attempt)
    }

    /// Records that an address of the peer is being tried.
    pub fn trying(&mut self, now: Mono) {
        if let State::Connecting { looking_up, until, .. } = &mut self.state {
            *looking_up = false;
            *until = now + CONNECT_MAX;
            self.unresolved = false;
        }
    }

    /// Records that the peer's name has no address.
    pub fn not_found(&mut self, error: String, now: Mono) {
        self.failed(error, now);
        self.unresolved = !self.ending;
    }

    /// Retries at once the peers that are waiting to be retried.
    pub fn hasten(&mut self, now: Mono) {
        self.peers.hasten(now);
    }

    /// Records what was found of a service. A peer that is none of its hosts any more is left once
    /// everything in flight has been acknowledged.
    pub fn found(&mut self, service: &str, found: Result<Answer, String>, now: Mono) {
        let current = match &self.state {
            State::Down => None,
            State::Connecting { peer, .. } => Some(*peer),
            State::Up(connection) => Some(connection.peer),
        };
        let Some(moved) = self.peers.found(service, found, current, self.probing, now) else {
            return self.note_trouble();
        };
        self.probing = moved.probed;
        match (&mut self.state, moved.current) {
            (State::Connecting { peer, .. }, Some(to)) => *peer = to,
            (State::Up(connection), Some(to)) => connection.peer = to,
            _ => {}
        }
        if moved.current.is_some_and(|peer| self.peers[peer].gone) {
            match &self.state {
                State::Up(connection) if connection.opened => {
                    self.leaving = true;
                    self.leave_when_answered();
                }
                _ => self.drop_connection(),
            }
        }
        self.note_trouble();
        self.tick(now);
    }

    /// Says why there is no peer to try at all, if so.
    fn note_trouble(&mut self) {
        if let (State::Down, Some(error)) = (&self.state, self.peers.trouble()) {
            self.error = Some(error);
            self.unresolved = !self.ending;
        }
    }

    /// What is known of the services among its peers.
    pub fn services(&self, now: Mono) -> Vec<Known> {
        self.peers.known(now)
    }

    /// Records that the connection is established; `offer` is for a peer that is a logweir.
    pub fn connected(&mut self, offer: Offer, now: Mono) {
        let State::Connecting { peer, .. } = self.state else { return };
        let Some(client) = self.clients.0.client(self.peers[peer].url.protocol, offer) else {
            return self.failed("lines cannot be forwarded by this protocol".into(), now);
        };
        let opened = client.is_open();
        self.leaving = false;
        let (since, heard) = (now, now);
        let trial = client.counts_acknowledged_bytes().then_some(TRIAL_BYTES);
        let trial_time = self.peers[peer].trial();
        self.state = State::Up(Box::new(Connection {
            peer,
            since,
            trial_time,
            heard,
            client,
            opened,
            under_way: 0,
            trial,
            withheld: 0,
        }));
        if opened {
            self.up(None);
        }
    }

    /// Records whether the peer has shown that it takes lines from us; of most peers this is known
    /// from the beginning. Until it has, the trial takes the longer time.
    pub fn proven(&mut self, proven: bool) {
        if let State::Up(connection) = &mut self.state {
            let least = if proven { Duration::ZERO } else { TRIAL_UNHEARD };
            connection.trial_time = self.peers[connection.peer].trial().max(least);
        }
    }

    /// Records that the session is open.
    fn up(&mut self, last: Option<Option<u64>>) {
        if let State::Up(connection) = &mut self.state {
            connection.opened = true;
        }
        self.events.push_back(Event::Up(last));
        self.error = None;
        self.unresolved = false;
        self.down_since = None;
    }

    /// Records that a connection failed or could not be made. What the peer's TCP acknowledged on a
    /// new connection may never have been read: it is sent again.
    pub fn failed(&mut self, error: String, now: Mono) {
        self.fail(error, Ended::Otherwise, now);
    }

    /// Records that the connection was reset; what it had acknowledged is as for [`Self::failed`].
    pub fn reset(&mut self, error: String, now: Mono) {
        let ended = self.ended_by_peer();
        self.fail(error, ended, now);
    }

    /// Records that the peer closed the connection: it has read what its TCP acknowledged.
    pub fn closed(&mut self, error: String, now: Mono) {
        self.count_withheld();
        let ended = self.ended_by_peer();
        self.fail(error, ended, now);
    }

    /// How a connection ended that the peer closes now. For a peer without acknowledgements,
    /// closing says nothing about a line.
    fn ended_by_peer(&self) -> Ended {
        match &self.state {
            State::Up(connection)
                if connection.opened && !connection.client.counts_acknowledged_bytes() =>
            {
                Ended::ByPeer
            }
            _ => Ended::Otherwise,
        }
    }

    fn fail(&mut self, error: String, ended: Ended, now: Mono) {
        self.note_done();
        let peer = match &self.state {
            State::Down => return,
            State::Connecting { peer, .. } => *peer,
            State::Up(connection) => {
                self.events.push_back(Event::Down(ended));
                self.peers[connection.peer].hung_up = now < connection.since + LASTED;
                connection.peer
            }
        };
        self.down_since.get_or_insert(now);
        self.commands.push_back(Command::Disconnect);
        self.state = State::Down;
        let url = self.peers[peer].url.clone();
        self.peers.failed(peer, now);
        self.peers.forget_gone();
        if !self.ending {
            let error = format!("{url}: {error}");
            if self.logged.is_none() {
                self.failing_since = Some(now);
            }
            if self.logged.as_ref() != Some(&error) {
                self.complaint =
                    Some(format!("{error}; retrying at least every {:?}", RECONNECT.1));
                self.logged = Some(error.clone());
            }
            self.error = Some(error);
        }
        self.tick(now);
    }

    /// Records whether an earlier peer accepts connections.
    pub fn probed(&mut self, takes: bool, now: Mono) {
        let Some(peer) = self.probing.take().filter(|peer| *peer < self.peers.len()) else {
            return;
        };
        if takes {
            self.peers[peer].retry_at = now;
            self.leaving = true;
            self.leave_when_answered();
        } else {
            let peer = &mut self.peers[peer];
            peer.retry_at = now + peer.wait;
            peer.wait = (peer.wait * 2).min(RECONNECT.1);
        }
        self.tick(now);
    }

    /// Processes bytes from the peer.
    pub fn received(&mut self, bytes: &[u8], now: Mono) {
        let State::Up(connection) = &mut self.state else { return };
        connection.heard = now;
        let mut heard = Vec::new();
        let done = connection.client.push(bytes, &mut heard);
        let peer = connection.peer;
        let mut refused = false;
        for heard in heard {
            match heard {
                Heard::Opened(last) => self.up(last),
                Heard::Refused => refused = true,
                Heard::Closed => {
                    if !self.ending {
                        let left = &self.peers[peer];
                        let why = match left.gone {
                            true => "its service does not name it any more",
                            false => "an earlier peer is back",
                        };
                        log::info!("{}: left, because {why}", left.url);
                    }
                    self.drop_connection();
                    self.tick(now);
                    return;
                }
            }
        }
        if let Err(error) = done {
            let ended = if refused { Ended::Refused } else { self.ended_by_peer() };
            self.fail(error.to_string(), ended, now);
            return;
        }
        self.leave_when_answered();
    }

    /// Records that the peer's TCP has acknowledged `bytes` bytes of this connection, and was heard
    /// from `silence` ago: a peer whose TCP answers is alive, though it may read nothing.
    pub fn acknowledged(&mut self, bytes: u64, silence: Duration, now: Mono) -> Count {
        if let State::Up(connection) = &mut self.state {
            connection.withheld = bytes;
            if connection.trial.is_none() || self.leaving {
                self.count_withheld();
            }
        }
        let done = self.take_done();
        if let State::Up(connection) = &mut self.state {
            let heard = if done.lines > 0 { now } else { now.before(silence) };
            connection.heard = connection.heard.max(heard);
        }
        done
    }

    /// Counts everything that the peer's TCP has acknowledged as delivered.
    fn count_withheld(&mut self) {
        if let State::Up(connection) = &mut self.state {
            connection.client.acknowledged(connection.withheld);
        }
    }

    /// Returns whether it needs to know how much the peer's TCP has acknowledged: something was
    /// sent, and the protocol has no acknowledgements.
    pub fn wants_acknowledged(&self) -> bool {
        matches!(&self.state, State::Up(connection)
            if connection.client.counts_acknowledged_bytes() && connection.client.waits())
    }

    /// Takes the lines acknowledged by the peer since the last call.
    pub fn take_done(&mut self) -> Count {
        self.note_done();
        std::mem::take(&mut self.done)
    }

    /// Takes what is to be logged of a failure.
    pub fn take_complaint(&mut self) -> Option<String> {
        self.complaint.take()
    }

    /// Takes the news that lines get through again: the peer, and since when they had not.
    pub fn take_return(&mut self) -> Option<(&Url, Mono)> {
        let since = self.returned.take()?;
        Some((self.peer()?, since))
    }

    fn note_done(&mut self) {
        if let State::Up(connection) = &mut self.state {
            let done = connection.client.take_done();
            connection.under_way -= done.bytes;
            self.done.add(done.lines, done.bytes);
            if done.lines > 0 && self.logged.take().is_some() {
                self.returned = self.failing_since;
            }
        }
    }

    /// Returns whether another batch may be sent now.
    pub fn has_room(&self) -> bool {
        let State::Up(connection) = &self.state else { return false };
        let client = &connection.client;
        let fits = client.has_room() && client.out().len() < FORWARD_OUT;
        let trial = connection.trial != Some(0);
        fits && trial && !self.leaving && connection.under_way < FORWARD_WINDOW
    }

    /// How many bytes of lines may be sent at once now, in addition to the first line.
    pub fn room(&self) -> usize {
        let State::Up(connection) = &self.state else { return 0 };
        let trial = connection.trial.unwrap_or(u64::MAX);
        usize::try_from(trial).unwrap_or(usize::MAX)
    }

    /// Returns whether the peer's protocol reports a line that it cannot take.
    pub fn is_answered(&self) -> bool {
        match &self.state {
            State::Up(connection) => !connection.client.counts_acknowledged_bytes(),
            _ => false,
        }
    }

    /// Sends lines.
    pub fn send(&mut self, batch: &Batch) {
        let State::Up(connection) = &mut self.state else { return };
        connection.under_way += batch.bytes.len() as u64;
        if let Some(trial) = &mut connection.trial {
            *trial = trial.saturating_sub(batch.bytes.len() as u64);
        }
        connection.client.send(batch, &self.formatter);
    }

    /// The bytes to write, oldest first.
    pub fn out(&self) -> Option<&Out> {
        match &self.state {
            State::Up(connection) => Some(connection.client.out()),
            _ => None,
        }
    }

    /// Records that `bytes` of them were written.
    pub fn wrote(&mut self, bytes: usize) {
        let State::Up(connection) = &mut self.state else { return };
        connection.client.wrote(bytes);
        self.leave_when_answered();
    }

    /// Returns whether anything sent is unacknowledged.
    pub fn waits(&self) -> bool {
        match &self.state {
            State::Up(connection) => connection.client.waits(),
            _ => false,
        }
    }

    /// Ends the link in an orderly way: everything in flight is acknowledged first.
    pub fn end(&mut self, now: Mono) {
        if !self.ending {
            self.ending = true;
            self.leaving = true;
            match &self.state {
                State::Connecting { .. } => self.drop_connection(),
                State::Up(connection) if !connection.opened => self.drop_connection(),
                _ => self.leave_when_answered(),
            }
            self.tick(now);
        }
    }

    /// Closes everything at once.
    pub fn abort(&mut self) {
        self.ending = true;
        if !matches!(self.state, State::Down) {
            self.drop_connection();
        }
    }

    /// Returns whether the link has ended.
    pub fn has_ended(&self) -> bool {
        self.ending && matches!(self.state, State::Down)
    }

    fn leave_when_answered(&mut self) {
        let State::Up(connection) = &mut self.state else { return };
        let client = &mut connection.client;
        let idle = client.is_open() && !client.waits();
        if idle && (self.leaving || client.is_exhausted()) {
            self.leaving = true;
            if client.close() {
                self.drop_connection();
            }
        }
    }

    fn drop_connection(&mut self) {
        self.note_done();
        if matches!(self.state, State::Up(_)) {
            self.events.push_back(Event::Down(Ended::Otherwise));
        }
        self.state = State::Down;
        self.leaving = self.ending;
        self.commands.push_back(Command::Disconnect);
        self.peers.forget_gone();
        self.note_trouble();
    }

    /// The peer it is connected to, once lines may be sent.
    pub fn peer(&self) -> Option<&Url> {
        match &self.state {
            State::Up(connection) if connection.opened => Some(&self.peers[connection.peer].url),
            _ => None,
        }
    }

    /// The current problem, while there is no connection.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Returns whether the problem is that a peer's name has no address.
    pub fn is_unresolved(&self) -> bool {
        self.unresolved
    }

    /// When the last connection that could send lines was lost.
    pub fn down_since(&self) -> Option<Mono> {
        self.down_since
    }
}

mod peers;
#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod tests;
