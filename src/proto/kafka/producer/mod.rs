//! The producer: lines in, requests out, without sockets; and what makes it exactly once.
//!
//! Lines come in pieces (batches of the output's queue) and go to partitions (`assign`). A piece is
//! completed when its last line is acknowledged, and pieces are completed in order. With the
//! position behind the completed ones goes a state (`state`): who we are to the cluster, and the
//! sequence of the next line in each partition. After a restart each partition is asked which
//! sequence it had last from us. So many lines behind the position are there already; they are
//! passed over, and count as completed once the partition's replicas are known to have them.
//!
//! **Invariant:** what a line's partition and sequence depend on is durable before the line is
//! sent. Whatever changes it (a new identity, a new topic, more partitions, a line that is left
//! out) makes `needs_saving` true, and no batch is made until `saved`.
//!
//! **Invariant:** the epoch is never raised. A partition that does not expect a batch is asked what
//! it has; nothing else is concluded from its refusal.

mod answers;
pub mod assign;
mod chunk;
#[cfg(test)]
mod fake;
mod identity;
mod partition;
mod state;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use self::assign::Assigner;
use self::identity::Earlier;
use self::partition::{Partition, Phase, Unanswered};
use self::state::State;
use self::topics::Topics;
use super::cluster::{BrokerId, Cluster, Event};
use super::compress::Compression;
use super::messages::offsets;
use super::messages::produce;
use super::messages::producers::{self, ProducerId};
use super::records::{Builder, Record, sequence};
use crate::batch::Batch;
use crate::clock::Mono;
use crate::ledger::Count;
use crate::limits::RECORDS_REQUEST_MAX;

/// How a producer works.
#[derive(Debug)]
pub(super) struct Setup {
    /// The name of the output, for the log.
    pub(super) name: String,
    pub(super) compression: Compression,
    /// How long brokers may take to have a batch in all replicas.
    pub(super) timeout: Duration,
    /// Whether a state is kept with the position.
    pub(super) keeps_state: bool,
    /// What chooses the partition of all lines, where they go to one.
    pub(super) sticky: u64,
}

/// What a request was for.
#[derive(Debug)]
pub(super) enum Ask {
    Identity,
    /// The last sequences of these partitions.
    Last(Vec<(usize, usize)>),
    /// Batches: topic, partition, serial number.
    Batches(Vec<(usize, usize, u64)>),
    /// Where the leader's log of a partition ends.
    End(usize, usize),
    /// Up to where all replicas in sync have it, which must be this offset.
    Replicated(usize, usize, i64),
}

/// Lines of one batch of the queue.
#[derive(Debug)]
struct Piece {
    bytes: usize,
    /// Lines that are not completed.
    left: u64,
    /// Lines that were given up.
    refused: Count,
    parts: Vec<(usize, usize, u64)>,
}

/// What is completed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Bytes of lines, from the first one that was given on.
    pub(super) bytes: usize,
    /// Of those, lines that no partition takes.
    pub(super) refused: Count,
}

/// A producer.
#[derive(Debug)]
pub(super) struct Producer {
    setup: Setup,
    pub(super) cluster: Cluster<Ask>,
    assigner: Assigner,
    builder: Builder,
    topics: Topics,
    identity: Option<ProducerId>,
    asks_identity: bool,
    /// No new identity is asked for before.
    identity_at: Mono,
    /// The cluster that the state is of.
    of_cluster: Option<String>,
    /// What an earlier process of this identity can have sent.
    earlier: Earlier,
    /// Whether brokers say which sequence they had last.
    can_ask: bool,
    pieces: VecDeque<Piece>,
    first_piece: u64,
    /// Bytes of lines taken and not completed.
    taken: usize,
    done: Done,
    serial: u64,
    /// Counts changes of what must be durable before lines are sent; what of it is.
    version: u64,
    saving: u64,
    saved: u64,
    /// Why nothing more is sent, until a person has done something.
    stopped: Option<String>,
    error: Option<String>,
    /// The time of day in milliseconds since 1970.
    wall: i64,
}

impl Producer {
    pub(super) fn new(setup: Setup, cluster: Cluster<Ask>, assigner: Assigner) -> Self {
        let sticky = assigner.is_sticky().then_some(setup.sticky);
        let mut producer = Self {
            topics: Topics::new(sticky, assigner.common_topic()),
            setup,
            cluster,
            assigner,
            builder: Builder::default(),
            identity: None,
            asks_identity: false,
            identity_at: Mono::default(),
            of_cluster: None,
            earlier: Earlier::Anything,
            can_ask: true,
            pieces: VecDeque::new(),
            first_piece: 0,
            taken: 0,
            done: Done::default(),
            serial: 0,
            version: 0,
            saving: 0,
            saved: 0,
            stopped: None,
            error: None,
            wall: 0,
        };
        if let Some(topic) = producer.assigner.only_topic() {
            producer.cluster.want(topic);
        }
        producer
    }

    /// Goes on from what was kept with the position; an earlier process had lines up to the number
    /// `held_to`, without it. Before any lines are given.
    pub(super) fn restore(&mut self, notes: &[String], held_to: u64) {
        match State::decode(notes) {
            Some(state) => {
                self.earlier = Earlier::LinesTo(held_to);
                self.identity = state.producer;
                self.of_cluster = state.cluster;
                for topic in &state.topics {
                    self.cluster.want(&topic.name);
                    self.topics.restore(topic);
                }
            }
            None if notes.is_empty() => {}
            None => log::warn!(
                "{}: what is kept with the position cannot be read; lines of the last second may \
                 come twice",
                self.setup.name
            ),
        }
    }

    /// What is to be kept with the position behind everything that is completed.
    pub(super) fn state(&mut self) -> Vec<String> {
        self.saving = self.version;
        if self.identity.is_none() {
            return Vec::new();
        }
        let cluster = self.of_cluster.clone();
        State { cluster, producer: self.identity, topics: self.topics.state() }.encode()
    }

    /// The last state is durable.
    pub(super) fn saved(&mut self) {
        self.saved = self.saving;
    }

    /// Whether the state must be durable before more is sent.
    pub(super) fn needs_saving(&self) -> bool {
        self.setup.keeps_state && self.saved < self.version
    }

    /// What must be durable has changed.
    fn change(&mut self) {
        self.version += 1;
    }

    /// Takes the lines that wait, of which it may have some already.
    pub(super) fn give(&mut self, batches: &[Batch]) {
        let mut known = self.taken;
        for batch in batches {
            let mut batch = batch.clone();
            if known >= batch.bytes.len() {
                known -= batch.bytes.len();
                continue;
            }
            if known > 0 {
                batch.cut_front(std::mem::take(&mut known));
            }
            if !self.take(&batch) {
                return;
            }
        }
    }

    fn take(&mut self, batch: &Batch) -> bool {
        if self.topics.known.iter().any(|topic| topic.grows_to.is_some()) {
            return false;
        }
        if !self.is_free_for(batch) {
            return false;
        }
        let number = self.first_piece + self.pieces.len() as u64;
        let is_assigned = self.assigner.assign(batch, number, &mut self.topics);
        for topic in &self.topics.missing {
            self.cluster.want(topic);
        }
        if is_assigned {
            let (bytes, left) = (batch.bytes.len(), u64::from(batch.lines));
            let parts = std::mem::take(&mut self.topics.parts);
            self.pieces.push_back(Piece { bytes, left, refused: Count::default(), parts });
            self.taken += bytes;
        }
        is_assigned
    }

    /// Lines that would have come next are missing.
    pub(super) fn missing(&mut self) {
        let mut uncountable = false;
        self.topics.all_mut().for_each(|partition| uncountable |= partition.forget_skip());
        if uncountable {
            self.warn_uncountable();
        }
    }

    fn warn_uncountable(&mut self) {
        log::warn!(
            "{}: lines that were under way when the last process ended are missing from the spool; \
             others of its last second may come twice",
            self.setup.name
        );
        self.change();
    }

    /// What was completed since the last time.
    pub(super) fn take_done(&mut self) -> Done {
        std::mem::take(&mut self.done)
    }

    /// Whether lines that were given are not completed.
    pub(super) fn is_busy(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// What is wrong, if anything is.
    pub(super) fn error(&self) -> Option<String> {
        let partitions = || self.topics.all().find_map(|(_, _, p)| p.error.clone());
        let cluster = || self.cluster.error().map(str::to_string);
        self.stopped.clone().or_else(|| self.error.clone()).or_else(partitions).or_else(cluster)
    }

    /// When to call [`Self::advance`] again, if nothing happens before.
    pub(super) fn deadline(&self, now: Mono) -> Option<Mono> {
        let retries = self.topics.all().filter(|(_, _, partition)| !partition.is_idle());
        let retries = retries.flat_map(|(topic, _, partition)| {
            let name = &self.topics.known[topic].name;
            let leader = self.cluster.leader(name, partition.index);
            let reconnect = leader.and_then(|leader| self.cluster.retry_at(leader));
            [Some(partition.retry_at), reconnect]
        });
        let identity = (self.identity.is_none()).then_some(self.identity_at);
        let own = retries.flatten().chain(identity).filter(|at| *at > now);
        own.chain(self.cluster.deadline(now)).min()
    }

    /// Does what is to be done by now: takes in answers, asks, sends.
    /// `wall` is the time of day in milliseconds since 1970.
    pub(super) fn advance(&mut self, now: Mono, wall: i64) {
        self.wall = wall;
        self.cluster.tick(now);
        while let Some(event) = self.cluster.poll_event() {
            match event {
                Event::Metadata => self.take_metadata(),
                Event::Lost(asks) => asks.into_iter().for_each(|ask| self.lost(ask)),
                Event::Answer { broker, kind, version, body } => {
                    self.take_answer(broker, kind, version, body, now);
                }
            }
        }
        if self.stopped.is_some() {
            return;
        }
        self.ask_identity(now);
        if self.identity.is_none() || self.cluster.id().is_none() && self.of_cluster.is_some() {
            return;
        }
        self.skim();
        self.ask_partitions(now);
        if !self.needs_saving() {
            self.send_batches(now);
        }
        self.cluster.tick(now);
    }

    /// The cluster has said what it is.
    fn take_metadata(&mut self) {
        self.error = None;
        let id = self.cluster.id().map(str::to_string);
        if self.of_cluster.is_some() && self.of_cluster != id && self.identity.is_some() {
            log::warn!(
                "{}: this is another cluster ({}) than before ({}); sequences begin anew, and \
                 lines that it has from the last second may come twice",
                self.setup.name,
                id.as_deref().unwrap_or("without a name"),
                self.of_cluster.as_deref().unwrap_or_default()
            );
            self.renew_identity();
        }
        self.of_cluster = id;
        self.take_topics();
        let waits = !self.topics.missing.is_empty();
        let leaderless = self.topics.all().any(|(topic, _, partition)| {
            let name = &self.topics.known[topic].name;
            !partition.is_idle() && self.cluster.leader(name, partition.index).is_none()
        });
        if waits || leaderless {
            self.cluster.refresh();
        }
    }

    fn take_topics(&mut self) {
        for name in self.topics.missing.clone() {
            self.resolve(&name);
        }
        if let Some(name) = self.assigner.only_topic().map(str::to_string) {
            self.resolve(&name);
        }
        for topic in &mut self.topics.known {
            let Some(view) = self.cluster.topic(&topic.name) else { continue };
            if view.leaders.is_empty() {
                continue;
            }
            if topic.id != view.id && topic.id.0 != 0 && view.id.0 != 0 {
                log::warn!(
                    "{}: topic {} was deleted and made anew; what it had is gone, and this output \
                     goes on in the new one",
                    self.setup.name,
                    topic.name
                );
                // It takes any sequence first; what is under way may have come to it already.
                let ready = topic.partitions.iter_mut().filter(|p| p.phase == Phase::Ready);
                ready.for_each(|p| p.phase = Phase::Unknown { start: false });
            }
            topic.id = view.id;
            if view.leaders.len() > topic.partitions.len() {
                topic.grows_to = Some(view.leaders.len());
            }
        }
        self.grow();
    }

    fn resolve(&mut self, name: &str) {
        let Some(view) = self.cluster.topic(name) else { return };
        let phase = self.phase_of_new();
        match self.topics.resolve(name, view, phase) {
            Ok(true) => self.change(),
            Ok(false) => {}
            Err(error) => {
                self.error = Some(error);
                self.cluster.refresh();
            }
        }
    }

    /// What is known of a partition that is new to the output. An identity that was kept may have
    /// sent lines there all the same: the state is up to a second old.
    fn phase_of_new(&self) -> Phase {
        match self.setup.keeps_state && self.can_ask {
            true => Phase::Unknown { start: self.earlier != Earlier::Nothing },
            false => Phase::Ready,
        }
    }

    /// Uses new partitions, once every line that was assigned without them is completed.
    fn grow(&mut self) {
        let grows = self.topics.known.iter().any(|topic| topic.grows_to.is_some());
        if !grows || self.is_busy() {
            return;
        }
        let phase = self.phase_of_new();
        for topic in &mut self.topics.known {
            let Some(count) = topic.grows_to.take() else { continue };
            log::info!("{}: topic {} has {count} partitions now", self.setup.name, topic.name);
            for at in topic.partitions.len()..count {
                let new = Partition::new(topics::index(at), 0, VecDeque::new(), phase);
                topic.partitions.push(new);
            }
        }
        self.change();
    }

    /// Passes over lines that are there, and gives back those that are to be left out.
    fn skim(&mut self) {
        let mut refused = Vec::new();
        for partition in self.topics.all_mut().filter(|p| p.phase == Phase::Ready) {
            refused.append(&mut partition.skim());
        }
        for chunk in refused {
            self.complete(&chunk, true);
        }
    }

    /// Asks partitions what they have, where that is not known.
    fn ask_partitions(&mut self, now: Mono) {
        let mut asks: Vec<(BrokerId, usize, usize, bool)> = Vec::new();
        for (topic, at, partition) in self.topics.all() {
            let unknown = matches!(partition.phase, Phase::Unknown { .. }) && !partition.is_sent();
            let confirm = partition.phase == Phase::Ready
                && !partition.unconfirmed.is_empty()
                && partition.is_idle();
            if (!unknown && !confirm) || now < partition.retry_at {
                continue;
            }
            if let Some(leader) =
                self.cluster.leader(&self.topics.known[topic].name, partition.index)
            {
                asks.push((leader, topic, at, unknown));
            } else {
                self.cluster.refresh();
            }
        }
        asks.sort_unstable();
        for of_broker in asks.chunk_by(|one, other| one.0 == other.0) {
            let broker = of_broker[0].0;
            if !self.cluster.takes(broker, now) {
                self.cluster.connect(broker, now);
                continue;
            }
            let last: Vec<_> = of_broker.iter().filter(|a| a.3).map(|a| (a.1, a.2)).collect();
            if !last.is_empty() {
                self.ask_last(broker, last, now);
            }
            for (_, topic, at, _) in of_broker.iter().filter(|ask| !ask.3) {
                self.ask_end(broker, *topic, *at, now);
            }
        }
    }

    fn ask_last(&mut self, broker: BrokerId, asked: Vec<(usize, usize)>, now: Mono) {
        let version = self.cluster.version(broker, producers::DESCRIBE, now);
        let Some(version) = version.filter(|_| self.can_ask) else {
            return self.cannot_ask("the brokers do not tell what they have from us");
        };
        let mut topics: Vec<(String, Vec<i32>)> = Vec::new();
        for (topic, at) in &asked {
            let name = &self.topics.known[*topic].name;
            let index = topics::index(*at);
            match topics.last_mut() {
                Some((last, indexes)) if last == name => indexes.push(index),
                _ => topics.push((name.clone(), vec![index])),
            }
            if let Some(partition) = self.topics.partition_mut(*topic, *at)
                && let Phase::Unknown { start } = partition.phase
            {
                partition.phase = Phase::Asked { start };
            }
        }
        let call = (producers::DESCRIBE, version);
        self.cluster.send(broker, call, Ask::Last(asked), now, |writer| {
            producers::write_describe(writer, &topics);
        });
    }

    /// Asks where the leader's log ends, to wait until all replicas have it.
    fn ask_end(&mut self, broker: BrokerId, topic: usize, at: usize, now: Mono) {
        let name = self.topics.known[topic].name.clone();
        let leaders = self.cluster.topic(&name).map(|view| view.leaders.as_slice());
        let epoch = leaders.and_then(|leaders| leaders.get(at)).map_or(-1, |(_, epoch)| *epoch);
        let version = self.cluster.version(broker, offsets::EPOCH_END, now);
        let Some(version) = version.filter(|_| epoch >= 0) else {
            return self.confirm(topic, at);
        };
        if let Some(partition) = self.topics.partition_mut(topic, at) {
            partition.retry_at = now + self.setup.timeout;
        }
        let asks = [(name, topics::index(at), i64::from(epoch))];
        let call = (offsets::EPOCH_END, version);
        self.cluster.send(broker, call, Ask::End(topic, at), now, |writer| {
            offsets::write_epoch_end(writer, version, &asks);
        });
    }

    /// Sends the batches that are to be sent, those of one broker together.
    fn send_batches(&mut self, now: Mono) {
        let mut ready: Vec<(BrokerId, usize, usize)> = Vec::new();
        for (topic, at, partition) in self.topics.all() {
            let again = partition.unanswered.iter().any(|batch| !batch.sent);
            let again = again && partition.phase == Phase::Ready;
            if now < partition.retry_at || !(again || partition.wants_batch()) {
                continue;
            }
            let name = &self.topics.known[topic].name;
            match self.cluster.leader(name, partition.index) {
                Some(leader) => ready.push((leader, topic, at)),
                None => self.cluster.refresh(),
            }
        }
        ready.sort_unstable();
        for of_broker in ready.chunk_by(|one, other| one.0 == other.0) {
            let broker = of_broker[0].0;
            if !self.cluster.takes(broker, now) {
                self.cluster.connect(broker, now);
                continue;
            }
            let mut rest: Vec<_> = of_broker.iter().map(|(_, topic, at)| (*topic, *at)).collect();
            while !rest.is_empty() {
                rest = self.send_request(broker, rest, now);
            }
        }
    }

    /// Sends one request with at most one batch of each partition; the partitions that have more.
    fn send_request(
        &mut self,
        broker: BrokerId,
        partitions: Vec<(usize, usize)>,
        now: Mono,
    ) -> Vec<(usize, usize)> {
        let Some(version) = self.cluster.version(broker, produce::API, now) else {
            self.error = Some("the broker takes no batches of format 2: it is too old".into());
            return Vec::new();
        };
        let (mut parts, mut asked, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        for (topic, at) in partitions {
            if bytes >= RECORDS_REQUEST_MAX {
                rest.push((topic, at));
                continue;
            }
            let Some((batch, serial)) = self.next_batch(topic, at) else { continue };
            bytes += batch.len();
            parts.push((topic, topics::index(at), batch));
            asked.push((topic, at, serial));
            rest.push((topic, at));
        }
        if parts.is_empty() {
            return Vec::new();
        }
        let names = &self.topics.known;
        let part =
            |(topic, index, batch): (usize, i32, Bytes)| (names[topic].name.as_str(), index, batch);
        let parts: Vec<_> = parts.into_iter().map(part).collect();
        let (call, timeout) = ((produce::API, version), self.setup.timeout);
        self.cluster.send_pieces(broker, call, Ask::Batches(asked), now, |writer| {
            produce::write(writer, timeout, &parts)
        });
        rest
    }

    /// The next batch of a partition to be sent: one that is to be sent again, or a new one.
    fn next_batch(&mut self, topic: usize, at: usize) -> Option<(Bytes, u64)> {
        let identity = self.identity?;
        let serial = self.serial;
        let partition = self.topics.known.get_mut(topic)?.partitions.get_mut(at)?;
        let again = partition.unanswered.iter().position(|batch| !batch.sent);
        let place = match again {
            Some(place) => place,
            None if partition.wants_batch() && partition.next_batch(serial) => {
                self.serial += 1;
                partition.unanswered.len() - 1
            }
            None => return None,
        };
        let unanswered = &mut partition.unanswered[place];
        if unanswered.batch.is_empty() {
            let wall = unanswered.now.then_some(self.wall);
            match build(&mut self.builder, unanswered, (self.setup.compression, identity), wall) {
                Ok(batch) => unanswered.batch = batch,
                Err(error) => {
                    self.stopped = Some(format!("a batch cannot be compressed: {error}"));
                    return None;
                }
            }
        }
        unanswered.sent = true;
        Some((unanswered.batch.clone(), unanswered.serial))
    }

    /// Lines are acknowledged, or (`refused`) are given up.
    fn complete(&mut self, chunk: &chunk::Chunk, refused: bool) {
        let at = chunk.piece.checked_sub(self.first_piece).and_then(|at| usize::try_from(at).ok());
        let Some(piece) = at.and_then(|at| self.pieces.get_mut(at)) else { return };
        piece.left = piece.left.saturating_sub(u64::from(chunk.count));
        if refused {
            piece.refused.add(u64::from(chunk.count), chunk.lines.len() as u64);
        }
        while self.pieces.front().is_some_and(|piece| piece.left == 0) {
            let Some(piece) = self.pieces.pop_front() else { break };
            self.first_piece += 1;
            self.taken -= piece.bytes;
            self.done.bytes += piece.bytes;
            self.done.refused.add(piece.refused.lines, piece.refused.bytes);
            for (topic, partition, lines) in piece.parts {
                self.topics.pass(topic, partition, lines);
            }
        }
        self.grow();
    }

    /// All replicas have what the leader has.
    fn confirm(&mut self, topic: usize, at: usize) {
        let Some(partition) = self.topics.partition_mut(topic, at) else { return };
        let done = std::mem::take(&mut partition.unconfirmed);
        partition.error = None;
        done.iter().for_each(|chunk| self.complete(chunk, false));
    }
}

/// Makes the records of a batch; with `time` they are of that time.
fn build(
    builder: &mut Builder,
    unanswered: &Unanswered,
    (compression, identity): (Compression, ProducerId),
    time: Option<i64>,
) -> std::io::Result<Bytes> {
    for chunk in &unanswered.chunks {
        let headers = chunk.headers.as_ref().map(|headers| {
            let [(one, first), (other, second)] = &**headers;
            [(*one, &first[..]), (*other, &second[..])]
        });
        let headers = headers.as_ref().map_or(&[][..], |headers| headers);
        let time = time.unwrap_or(chunk.time);
        let key = chunk.key.as_deref();
        let body = chunk.lines.strip_suffix(b"\n").unwrap_or(&chunk.lines);
        for value in body.split(|byte| *byte == b'\n') {
            builder.push(&Record { time, key, value, headers });
        }
    }
    builder.finish(compression, identity, sequence(unanswered.first))
}
