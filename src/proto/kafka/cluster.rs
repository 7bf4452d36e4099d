//! The brokers of a cluster, without their sockets: which there are, who leads which partition,
//! when to connect to which, and when to ask again.
//!
//! A cluster is entered by one of the addresses of the configuration (a *seed*); from then on its
//! own word is what counts, until no broker of it answers. A broker that fails is tried again after
//! a wait that doubles. Whoever uses this sends requests to brokers that are ready and gets an
//! event for each: its answer, or that it was lost with its connection.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::frames::Spare;
use super::messages::Api;
use super::messages::metadata::{self, Metadata};
use super::sasl::Credentials;
use super::session::{Answer, Session};
use super::wire::{Reader, Uuid, Writer};
use crate::clock::Mono;
use crate::forward::out::Out;
use crate::limits::{BROKERS_MAX, CONNECT_MAX, METADATA_AGE, METADATA_EVERY, RECONNECT};

/// A broker by its number; the seeds have numbers below 0.
pub(super) type BrokerId = i32;

/// The coordinator of a group, on a connection of its own: what is asked there waits for nothing
/// that is asked of the same broker as a leader.
pub(super) const COORDINATOR: BrokerId = -1;

/// What is to be done for a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Connect; answered by [`Cluster::connected`] or [`Cluster::failed`].
    Connect { broker: BrokerId, host: String, port: u16 },
    /// Let go of the connection, or of the attempt at one.
    Disconnect(BrokerId),
}

/// What happened.
#[derive(Debug)]
pub(super) enum Event<K> {
    /// An answer.
    Answer { broker: BrokerId, kind: K, version: i16, body: Reader },
    /// Requests whose answers will not come: whether they were carried out is not known.
    Lost(Vec<K>),
    /// The cluster has said what it is.
    Metadata,
}

/// What a request was for: the cluster's own, or its user's.
#[derive(Debug)]
enum Kind<K> {
    Metadata,
    User(K),
}

/// What is known of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) error: i16,
    pub(super) id: Uuid,
    /// The leader and its epoch, by the number of the partition.
    pub(super) leaders: Vec<(BrokerId, i32)>,
}

/// A cluster; `K` tells what a request was for.
#[derive(Debug)]
pub(super) struct Cluster<K> {
    seeds: Vec<(String, u16)>,
    brokers: BTreeMap<BrokerId, Broker<K>>,
    id: Option<String>,
    wanted: BTreeSet<String>,
    topics: BTreeMap<String, View>,
    /// Whether brokers may make topics that are not there.
    create: bool,
    refresh: Refresh,
    timeout: Duration,
    commands: VecDeque<Command>,
    events: VecDeque<Event<K>>,
    /// The last error of any broker, until one is ready.
    error: Option<String>,
    /// Memory for large answers.
    spare: Spare,
}

#[derive(Debug)]
struct Refresh {
    /// Whether to ask as soon as it may be.
    due: bool,
    asked: bool,
    /// When it may be asked next, and the wait after that.
    next: Mono,
    wait: Duration,
    /// When what is known is too old.
    stale: Mono,
}

#[derive(Debug)]
struct Broker<K> {
    host: String,
    port: u16,
    link: Link<K>,
    retry_at: Mono,
    wait: Duration,
    /// Nothing is to be sent before, by the broker's own wish.
    muted: Mono,
}

#[derive(Debug)]
enum Link<K> {
    Down,
    /// Until a time.
    Connecting(Mono),
    Up(Box<Session<Kind<K>>>),
}

impl<K> Broker<K> {
    fn new(host: String, port: u16, now: Mono) -> Self {
        let (retry_at, muted) = (now, now);
        Self { host, port, link: Link::Down, retry_at, wait: RECONNECT.0, muted }
    }
}

impl<K> Cluster<K> {
    /// A cluster that is entered by one of `seeds`. A request that is unanswered for `timeout`
    /// ends its connection.
    pub(super) fn new(
        seeds: Vec<(String, u16)>,
        timeout: Duration,
        create: bool,
        now: Mono,
    ) -> Self {
        let brokers = (i32::MIN..).zip(&seeds);
        let brokers =
            brokers.map(|(id, (host, port))| (id, Broker::new(host.clone(), *port, now))).collect();
        Self {
            seeds,
            brokers,
            id: None,
            wanted: BTreeSet::new(),
            topics: BTreeMap::new(),
            create,
            refresh: Refresh {
                due: true,
                asked: false,
                next: now,
                wait: METADATA_EVERY.0,
                stale: now + METADATA_AGE,
            },
            timeout,
            commands: VecDeque::new(),
            events: VecDeque::new(),
            error: None,
            spare: Spare::default(),
        }
    }

    /// What is to be done next.
    pub(super) fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// What happened next.
    pub(super) fn poll_event(&mut self) -> Option<Event<K>> {
        self.events.pop_front()
    }

    /// The identity of the cluster, once it has said it.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The last error, while no broker is ready.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Asks for a topic too, from now on.
    pub(super) fn want(&mut self, topic: &str) {
        if self.wanted.insert(topic.to_string()) {
            self.refresh.due = true;
            self.refresh.next = Mono::default();
        }
    }

    /// What is known of a topic.
    pub(super) fn topic(&self, name: &str) -> Option<&View> {
        self.topics.get(name)
    }

    /// The broker that leads a partition.
    pub(super) fn leader(&self, topic: &str, partition: i32) -> Option<BrokerId> {
        let (leader, _) = self.topics.get(topic)?.leaders.get(usize::try_from(partition).ok()?)?;
        Some(*leader).filter(|leader| *leader >= 0)
    }

    /// What is known is not so any more: asks again, not too often.
    pub(super) fn refresh(&mut self) {
        self.refresh.due = true;
    }

    /// When to call [`Self::tick`] again, if nothing happens before. What is due by now waits for
    /// something that will happen.
    pub(super) fn deadline(&self, now: Mono) -> Option<Mono> {
        let refresh = match (self.refresh.due, self.refresh.asked) {
            (_, true) => None,
            (true, _) => Some(self.refresh.next),
            (false, _) => Some(self.refresh.stale),
        };
        let brokers = self.brokers.values().filter_map(|broker| match &broker.link {
            // One that nobody needs is not connected to.
            Link::Down => self.refresh.due.then_some(broker.retry_at),
            Link::Connecting(until) => Some(*until),
            Link::Up(session) => session.waits_since().map(|since| since + self.timeout),
        });
        brokers.chain(refresh).filter(|at| *at > now).min()
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Mono) {
        let ids: Vec<_> = self.brokers.keys().copied().collect();
        for id in ids {
            self.tick_broker(id, now);
        }
        if now >= self.refresh.stale {
            self.refresh.due = true;
        }
        if self.refresh.due && !self.refresh.asked && now >= self.refresh.next {
            self.ask_metadata(now);
        }
    }

    fn tick_broker(&mut self, id: BrokerId, now: Mono) {
        let Some(broker) = self.brokers.get(&id) else { return };
        match &broker.link {
            Link::Connecting(until) if now >= *until => {
                self.failed(id, format!("no connection in {CONNECT_MAX:?}"), now);
            }
            Link::Up(session) => {
                let waits = session.waits_since();
                if waits.is_some_and(|since| now >= since + self.timeout) {
                    self.failed(id, format!("no answer in {:?}", self.timeout), now);
                } else if session.expires(now) && session.waiting() == 0 {
                    self.drop_link(id);
                }
            }
            _ => {}
        }
    }

    fn ask_metadata(&mut self, now: Mono) {
        if let Some(id) = self.ready() {
            let topics: Vec<_> = self.wanted.iter().cloned().collect();
            let create = self.create;
            let Some(session) = self.session(id, now) else { return };
            match session.needed(metadata::API) {
                Ok(version) => {
                    session.send((metadata::API, version), Kind::Metadata, now, |writer| {
                        metadata::write(writer, version, &topics, create);
                    });
                    self.refresh.asked = true;
                }
                Err(error) => self.failed(id, error, now),
            }
            return;
        }
        self.connect_any(now);
    }

    /// Connects to some broker, where none is connected or being connected to.
    pub(super) fn connect_any(&mut self, now: Mono) {
        let connecting = |(id, broker): (&BrokerId, &Broker<K>)| {
            *id != COORDINATOR && !matches!(broker.link, Link::Down)
        };
        if self.brokers.iter().any(connecting) {
            return;
        }
        // Brokers that are known stand before the seeds.
        let rank = |(id, broker): &(&BrokerId, &Broker<K>)| (broker.wait, **id < 0);
        let ready = self
            .brokers
            .iter()
            .filter(|(id, broker)| broker.retry_at <= now && **id != COORDINATOR);
        if let Some(id) = ready.min_by_key(rank).map(|(id, _)| *id) {
            self.connect(id, now);
        }
    }

    /// A broker that can be asked.
    pub(super) fn ready(&self) -> Option<BrokerId> {
        let mut brokers = self.brokers.iter().rev().filter(|(id, _)| **id != COORDINATOR);
        brokers.find_map(|(id, broker)| match &broker.link {
            Link::Up(session) if session.is_ready() => Some(*id),
            _ => None,
        })
    }

    /// Connects to a broker, where it is not connected and may be tried.
    pub(super) fn connect(&mut self, id: BrokerId, now: Mono) {
        let Some(broker) = self.brokers.get_mut(&id) else {
            self.refresh.due = true;
            return;
        };
        if matches!(broker.link, Link::Down) && broker.retry_at <= now {
            broker.link = Link::Connecting(now + CONNECT_MAX);
            let (host, port) = (broker.host.clone(), broker.port);
            self.commands.push_back(Command::Connect { broker: id, host, port });
        }
    }

    /// The group's coordinator is there; [`COORDINATOR`] stands for it from now on.
    pub(super) fn coordinate(&mut self, host: String, port: u16, now: Mono) {
        let known = self.brokers.get_mut(&COORDINATOR);
        if let Some(known) = known.filter(|known| known.host == host && known.port == port) {
            // The cluster says that it is there: tried at once, whatever was before.
            (known.retry_at, known.wait) = (now, RECONNECT.0);
            return;
        }
        self.drop_link(COORDINATOR);
        self.brokers.insert(COORDINATOR, Broker::new(host, port, now));
    }

    /// When a broker that is not connected may be tried.
    pub(super) fn retry_at(&self, id: BrokerId) -> Option<Mono> {
        let broker = self.brokers.get(&id)?;
        match broker.link {
            Link::Down => Some(broker.retry_at),
            Link::Up(_) => Some(broker.muted),
            Link::Connecting(_) => None,
        }
    }

    /// Whether a broker cannot be reached, and is not to be tried yet.
    pub(super) fn has_failed(&self, id: BrokerId, now: Mono) -> bool {
        let broker = self.brokers.get(&id);
        broker.is_some_and(|broker| matches!(broker.link, Link::Down) && now < broker.retry_at)
    }

    fn session(&mut self, id: BrokerId, now: Mono) -> Option<&mut Session<Kind<K>>> {
        match &mut self.brokers.get_mut(&id)?.link {
            Link::Up(session) if session.is_ready() && !session.expires(now) => Some(session),
            _ => None,
        }
    }

    /// Whether a broker can be sent a request now.
    pub(super) fn takes(&self, id: BrokerId, now: Mono) -> bool {
        self.brokers.get(&id).is_some_and(|broker| match &broker.link {
            Link::Up(session) => session.is_ready() && !session.expires(now) && now >= broker.muted,
            _ => false,
        })
    }

    /// The version of a request for a ready broker; `None` where it knows none.
    pub(super) fn version(&mut self, id: BrokerId, api: Api, now: Mono) -> Option<i16> {
        self.session(id, now)?.version(api)
    }

    /// Sends a request to a broker that takes it.
    pub(super) fn send(
        &mut self,
        id: BrokerId,
        call: (Api, i16),
        kind: K,
        now: Mono,
        write: impl FnOnce(&mut Writer),
    ) {
        if let Some(session) = self.session(id, now) {
            session.send(call, Kind::User(kind), now, write);
        }
    }

    /// Sends a request in pieces.
    pub(super) fn send_pieces(
        &mut self,
        id: BrokerId,
        call: (Api, i16),
        kind: K,
        now: Mono,
        write: impl FnOnce(Writer) -> Vec<Bytes>,
    ) {
        if let Some(session) = self.session(id, now) {
            session.send_pieces(call, Kind::User(kind), now, write);
        }
    }

    /// The broker wants nothing for a while.
    pub(super) fn mute(&mut self, id: BrokerId, until: Mono) {
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.muted = broker.muted.max(until);
        }
    }

    /// The connection is established.
    pub(super) fn connected(&mut self, id: BrokerId, who: Option<Credentials>, now: Mono) {
        if let Some(broker) = self.brokers.get_mut(&id)
            && matches!(broker.link, Link::Connecting(_))
        {
            broker.link = Link::Up(Box::new(Session::new(who, self.spare.clone(), now)));
        }
    }

    /// There is no connection, or there is none any more. The first reason is the one that counts.
    pub(super) fn failed(&mut self, id: BrokerId, error: String, now: Mono) {
        let Some(broker) = self.brokers.get_mut(&id) else { return };
        if matches!(broker.link, Link::Down) {
            return;
        }
        let jitter = 0.75 + fastrand::f64() / 2.0;
        broker.retry_at = now + broker.wait.mul_f64(jitter);
        broker.wait = (broker.wait * 2).min(RECONNECT.1);
        self.error = Some(format!("{}:{}: {error}", broker.host, broker.port));
        self.drop_link(id);
        // It may lead nothing any more.
        self.refresh.due = true;
    }

    /// Lets go of a connection.
    fn drop_link(&mut self, id: BrokerId) {
        let Some(broker) = self.brokers.get_mut(&id) else { return };
        let link = std::mem::replace(&mut broker.link, Link::Down);
        self.let_go(id, link);
    }

    fn let_go(&mut self, id: BrokerId, link: Link<K>) {
        if matches!(link, Link::Down) {
            return;
        }
        self.commands.push_back(Command::Disconnect(id));
        if let Link::Up(session) = link {
            let mut lost = Vec::new();
            for kind in session.into_kinds() {
                match kind {
                    Kind::Metadata => self.refresh.asked = false,
                    Kind::User(kind) => lost.push(kind),
                }
            }
            if !lost.is_empty() {
                self.events.push_back(Event::Lost(lost));
            }
        }
    }

    /// A broker has sent bytes.
    pub(super) fn received(&mut self, id: BrokerId, bytes: &[u8], now: Mono) {
        self.take_in(id, now, |session, answers| session.push(bytes, now, answers));
    }

    /// Where what a broker sends next may be written; then call [`Self::filled`]. Without a place
    /// call [`Self::received`].
    pub(super) fn room(&mut self, id: BrokerId) -> Option<&mut [u8]> {
        match &mut self.brokers.get_mut(&id)?.link {
            Link::Up(session) => session.room(),
            _ => None,
        }
    }

    /// So many bytes that a broker sent were written there.
    pub(super) fn filled(&mut self, id: BrokerId, count: usize, now: Mono) {
        self.take_in(id, now, |session, answers| session.filled(count, now, answers));
    }

    /// Takes in what a session makes of bytes.
    fn take_in(
        &mut self,
        id: BrokerId,
        now: Mono,
        read: impl FnOnce(&mut Session<Kind<K>>, &mut Vec<Answer<Kind<K>>>) -> Result<(), String>,
    ) {
        let Some(Broker { link: Link::Up(session), .. }) = self.brokers.get_mut(&id) else {
            return;
        };
        let mut answers = Vec::new();
        let done = read(session, &mut answers);
        if session.is_ready() {
            self.error = None;
        }
        for Answer { kind, version, mut body } in answers {
            match kind {
                Kind::User(kind) => {
                    self.events.push_back(Event::Answer { broker: id, kind, version, body });
                    if let Some(broker) = self.brokers.get_mut(&id) {
                        broker.wait = RECONNECT.0;
                    }
                }
                Kind::Metadata => match metadata::read(&mut body, version) {
                    Ok(metadata) => self.take_metadata(metadata, now),
                    Err(error) => return self.failed(id, error.to_string(), now),
                },
            }
        }
        if let Err(error) = done {
            self.failed(id, error, now);
        }
    }

    fn take_metadata(&mut self, metadata: Metadata, now: Mono) {
        let calm = now > self.refresh.next + METADATA_EVERY.1;
        let wait = if calm { METADATA_EVERY.0 } else { self.refresh.wait };
        self.refresh = Refresh {
            due: false,
            asked: false,
            next: now + wait,
            wait: (wait * 2).min(METADATA_EVERY.1),
            stale: now + METADATA_AGE,
        };
        // What a backlog needed is not kept for ever.
        self.spare.clear();
        self.id = metadata.cluster;
        self.take_brokers(metadata.brokers, now);
        for topic in metadata.topics {
            if !self.wanted.contains(&topic.name) {
                continue;
            }
            let mut leaders = vec![(-1, -1); topic.partitions.len()];
            for partition in &topic.partitions {
                let index = usize::try_from(partition.index).unwrap_or(usize::MAX);
                if let Some(slot) = leaders.get_mut(index) {
                    *slot = (partition.leader, partition.epoch);
                }
            }
            let view = View { error: topic.error, id: topic.id, leaders };
            self.topics.insert(topic.name, view);
        }
        self.events.push_back(Event::Metadata);
    }

    /// The brokers that there are now. The seeds are let go of: they were the way in.
    fn take_brokers(&mut self, brokers: Vec<metadata::Broker>, now: Mono) {
        if brokers.is_empty() {
            return;
        }
        let mut before = std::mem::take(&mut self.brokers);
        if let Some(coordinator) = before.remove(&COORDINATOR) {
            self.brokers.insert(COORDINATOR, coordinator);
        }
        for broker in brokers.into_iter().take(BROKERS_MAX).filter(|broker| broker.id >= 0) {
            let port = u16::try_from(broker.port).unwrap_or(0);
            let same = |known: &Broker<K>| known.host == broker.host && known.port == port;
            let kept = match before.get(&broker.id).is_some_and(same) {
                true => before.remove(&broker.id),
                false => None,
            };
            let entry = kept.unwrap_or_else(|| Broker::new(broker.host, port, now));
            self.brokers.insert(broker.id, entry);
        }
        for (id, gone) in before {
            self.let_go(id, gone.link);
        }
        for (id, (host, port)) in (i32::MIN..).zip(&self.seeds) {
            // Tried when no broker answers.
            let mut seed = Broker::new(host.clone(), *port, now);
            seed.wait = RECONNECT.0 * 2;
            self.brokers.insert(id, seed);
        }
    }

    /// What is to be written to a broker.
    pub(super) fn out(&self, id: BrokerId) -> Option<&Out> {
        match &self.brokers.get(&id)?.link {
            Link::Up(session) => Some(session.out()),
            _ => None,
        }
    }

    /// So many bytes of it were written.
    pub(super) fn wrote(&mut self, id: BrokerId, bytes: usize) {
        if let Some(Broker { link: Link::Up(session), .. }) = self.brokers.get_mut(&id) {
            session.wrote(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Mono = Mono(Duration::from_secs(1));

    fn connect(cluster: &mut Cluster<u8>, now: Mono) -> Option<BrokerId> {
        cluster.tick(now);
        match cluster.poll_command() {
            Some(Command::Connect { broker, .. }) => Some(broker),
            _ => None,
        }
    }

    fn cluster() -> Cluster<u8> {
        let seeds = vec![("k1".to_string(), 9092), ("k2".to_string(), 9093)];
        let mut cluster = Cluster::new(seeds, Duration::from_secs(35), true, START);
        cluster.want("t");
        cluster
    }

    #[test]
    fn seeds_are_tried_in_turn_and_after_ever_longer_waits() {
        let mut cluster = cluster();
        let (mut now, mut tried) = (START, Vec::new());
        while now < START + Duration::from_secs(100) {
            if let Some(broker) = connect(&mut cluster, now) {
                tried.push((broker, now));
                cluster.failed(broker, "refused".into(), now);
                assert_eq!(cluster.poll_command(), Some(Command::Disconnect(broker)));
            }
            let error = cluster.error().unwrap();
            assert!(error.starts_with("k1:9092: ref") || error.starts_with("k2:9093: ref"));
            now = now + Duration::from_millis(50);
        }
        let of_one: Vec<_> = tried.iter().filter(|(id, _)| *id == tried[0].0).collect();
        assert!((6..16).contains(&of_one.len()), "{}", of_one.len());
        assert!(tried.iter().any(|(id, _)| *id != tried[0].0));
    }

    #[test]
    fn a_broker_that_sends_half_an_answer_and_then_nothing_is_given_up() {
        let mut cluster = cluster();
        let broker = connect(&mut cluster, START).unwrap();
        cluster.connected(broker, None, START);
        cluster.received(broker, &[0, 0, 1, 0, 0], START);
        let at = cluster.deadline(START).unwrap();
        assert_eq!(at, START + Duration::from_secs(35));
        cluster.tick(at);
        assert!(cluster.error().unwrap().contains("no answer in 35s"), "{:?}", cluster.error());
        assert_eq!(cluster.poll_command(), Some(Command::Disconnect(broker)));
        assert!(matches!(cluster.poll_command(), Some(Command::Connect { .. })), "the other one");
    }

    #[test]
    fn a_connection_that_does_not_come_about_is_given_up() {
        let mut cluster = cluster();
        let broker = connect(&mut cluster, START).unwrap();
        cluster.tick(START + CONNECT_MAX);
        assert!(cluster.error().unwrap().contains("no connection in 10s"));
        // What comes too late is not taken up.
        cluster.connected(broker, None, START + CONNECT_MAX);
        assert!(cluster.out(broker).is_none());
    }
}
