//! Members of a group before a coordinator that shares partitions out as Apache Kafka does:
//! killed between any two steps, joining, leaving. Each has a spool that keeps what was durable.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::proto::kafka::consumer::member::Member;

pub(super) const PARTS: i32 = 5;

/// The coordinator of the group.
#[derive(Debug, Default)]
pub(super) struct Coordinator {
    epoch: i32,
    members: BTreeMap<String, Known>,
    pub(super) committed: BTreeMap<i32, i64>,
    pub(super) notes: BTreeMap<i32, StrBytes>,
    /// Offsets may go back.
    pub(super) loose: bool,
    /// So many answers are refused, as by one that has just started.
    busy: usize,
}

#[derive(Debug, Default)]
struct Known {
    epoch: i32,
    owned: BTreeSet<i32>,
}

impl Coordinator {
    /// What a member is to own once everybody has given back what is not theirs.
    fn target(&self, member: &str) -> BTreeSet<i32> {
        let (count, at) = (self.members.len(), self.members.keys().position(|id| id == member));
        (0..PARTS).filter(|part| Some(*part as usize % count) == at).collect()
    }

    /// `odd` is an error that it answers with in any case.
    pub(super) fn answer(
        &mut self,
        (key, odd): (i16, i16),
        version: i16,
        body: &mut Bytes,
        out: &mut BytesMut,
    ) {
        let busy = self.busy > 0 || odd != 0;
        self.busy = self.busy.saturating_sub(1);
        let error = if odd == 0 && busy { 14 } else { odd };
        match key {
            10 => {
                FindCoordinatorRequest::decode(body, version).unwrap();
                let answer = FindCoordinatorResponse::default().with_error_code(error);
                let answer = answer.with_host(StrBytes::from_static_str("k")).with_port(9092);
                answer.encode(out, version).unwrap();
            }
            68 => {
                let asked = ConsumerGroupHeartbeatRequest::decode(body, version).unwrap();
                let answer = match busy {
                    true => ConsumerGroupHeartbeatResponse::default().with_error_code(error),
                    false => self.beat(&asked),
                };
                answer.with_heartbeat_interval_ms(500).encode(out, version).unwrap();
            }
            8 => self
                .commit(&OffsetCommitRequest::decode(body, version).unwrap(), error)
                .encode(out, version)
                .unwrap(),
            _ => self
                .offsets(&OffsetFetchRequest::decode(body, version).unwrap(), error)
                .encode(out, version)
                .unwrap(),
        }
    }

    fn beat(&mut self, asked: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        use m::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
        let answer = ConsumerGroupHeartbeatResponse::default();
        let id = asked.member_id.to_string();
        if asked.member_epoch < 0 {
            self.members.remove(&id);
            self.epoch += 1;
            return answer.with_member_epoch(-1);
        }
        match self.members.get_mut(&id) {
            None if asked.member_epoch > 0 => return answer.with_error_code(25),
            None => {
                self.epoch += 1;
                self.members.insert(id.clone(), Known::default());
            }
            Some(_) => {
                let topics = asked.topic_partitions.iter().flatten();
                let owned: BTreeSet<_> =
                    topics.flat_map(|topic| topic.partitions.clone()).collect();
                for (other, known) in &self.members {
                    let both: Vec<_> = known.owned.intersection(&owned).collect();
                    assert!(*other == id || both.is_empty(), "two members own {both:?}");
                }
                self.members.get_mut(&id).unwrap().owned = owned;
            }
        }
        let target = self.target(&id);
        let others = self.members.iter().filter(|(other, _)| **other != id);
        let taken: BTreeSet<_> = others.flat_map(|(_, known)| known.owned.clone()).collect();
        let (epoch, known) = (self.epoch, self.members.get_mut(&id).unwrap());
        let assigned: BTreeSet<_> = match known.owned.is_subset(&target) {
            true => {
                known.epoch = epoch;
                target.difference(&taken).copied().collect()
            }
            false => known.owned.intersection(&target).copied().collect(),
        };
        if known.owned.is_subset(&target) {
            // It owns them as soon as it is told.
            known.owned.extend(&assigned);
        }
        let parts = TopicPartitions::default()
            .with_topic_id(format!("{:032x}", 42).parse().unwrap())
            .with_partitions(assigned.into_iter().collect());
        let assignment = Assignment::default().with_topic_partitions(vec![parts]);
        answer.with_member_epoch(known.epoch).with_assignment(Some(assignment))
    }

    fn commit(&mut self, asked: &OffsetCommitRequest, busy: i16) -> OffsetCommitResponse {
        let known = self.members.get(asked.member_id.as_str());
        let error = match known {
            _ if busy != 0 => busy,
            None => 25,
            Some(known) if known.epoch != asked.generation_id_or_member_epoch => 113,
            Some(_) => 0,
        };
        self.commit_unless(asked, error)
    }

    pub(super) fn commit_unless(
        &mut self,
        asked: &OffsetCommitRequest,
        error: i16,
    ) -> OffsetCommitResponse {
        use m::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
        let topic = &asked.topics[0];
        let mut parts = Vec::new();
        for part in &topic.partitions {
            if error == 0 {
                let before = self.committed.insert(part.partition_index, part.committed_offset);
                let is_on = before.is_none_or(|before| before <= part.committed_offset);
                assert!(is_on || self.loose);
                let note = part.committed_metadata.clone().unwrap();
                self.notes.insert(part.partition_index, note);
            }
            let answer = OffsetCommitResponsePartition::default();
            parts.push(answer.with_partition_index(part.partition_index).with_error_code(error));
        }
        let answer = OffsetCommitResponseTopic::default().with_name(topic.name.clone());
        OffsetCommitResponse::default().with_topics(vec![answer.with_partitions(parts)])
    }

    fn offsets(&self, asked: &OffsetFetchRequest, busy: i16) -> OffsetFetchResponse {
        use m::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
        let topic = &asked.topics.as_ref().unwrap()[0];
        let part = |index: &i32| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(*index)
                .with_committed_offset(self.committed.get(index).copied().unwrap_or(-1))
                .with_metadata(self.notes.get(index).cloned())
        };
        let answer = OffsetFetchResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(topic.partition_indexes.iter().map(part).collect());
        OffsetFetchResponse::default().with_topics(vec![answer]).with_error_code(busy)
    }
}

/// A host: its member file and its spool outlive the process.
pub(super) struct Host {
    pub(super) consumer: Option<Consumer>,
    seat: Seat,
    pub(super) begin: Begin,
    pub(super) saved: Option<Member>,
    /// What is in the spool, and the next offset of each partition there.
    pub(super) spool: Vec<String>,
    pub(super) next: BTreeMap<i32, i64>,
    /// What was handed over and is not durable.
    queue: Vec<(i32, Identity, i64, String)>,
    drain: Option<Vec<Place>>,
}

impl Host {
    pub(super) fn new() -> Self {
        let (consumer, saved, drain) = (None, None, None);
        let (spool, next, queue) = (Vec::new(), BTreeMap::new(), Vec::new());
        let (seat, begin) = (Seat::default(), Begin::Beginning);
        Self { consumer, seat, begin, saved, spool, next, queue, drain }
    }

    pub(super) fn start(&mut self, now: Mono) {
        let setup = Setup { group: Some("g".into()), ..setup(self.begin) };
        let seeds = vec![("k".into(), 9092)];
        let cluster = Cluster::new(seeds, Duration::from_secs(30), false, now);
        self.consumer = Some(Consumer::new(setup, cluster, self.saved.clone()));
        self.seat = Seat::default();
    }

    /// Ended between two steps: what was not durable is lost.
    pub(super) fn kill(&mut self) {
        self.consumer = None;
        self.queue.clear();
        self.drain = None;
    }

    pub(super) fn turn(&mut self, brokers: &mut Brokers, now: Mono) {
        let Some(consumer) = &mut self.consumer else { return };
        consumer.advance(now);
        if let Some(member) = consumer.member_to_save() {
            self.saved = Some(member.clone());
            consumer.member_saved();
        }
        brokers.serve_at(&mut self.seat, consumer, now);
        consumer.advance(now);
        for (place, _) in consumer.take_unknown() {
            // The answer comes behind all that is under way.
            assert!(self.queue.iter().all(|(part, ..)| *part != place.1));
            let next = self.next.get(&place.1).map(|next| next.unsigned_abs());
            consumer.resume(&place, (next, Vec::new()), false);
        }
        if let Some(run) = consumer.run(now, WALL) {
            let text = String::from_utf8(run.piece.bytes.to_vec()).unwrap();
            self.queue.push((run.place.1, run.origin, run.span.last + 1, text));
        }
        if self.drain.is_none() {
            self.drain = Some(consumer.take_drain()).filter(|places| !places.is_empty());
        }
    }

    /// All that was handed over becomes durable.
    pub(super) fn sync(&mut self) {
        let Some(consumer) = &mut self.consumer else { return };
        for (part, origin, next, text) in self.queue.drain(..) {
            self.spool.extend(text.lines().map(str::to_string));
            self.next.insert(part, next);
            consumer.stored(origin, next.unsigned_abs());
        }
        if let Some(places) = self.drain.take() {
            consumer.drained(&places, true);
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Turn,
    Sync(usize),
    Kill(usize),
    Leave(usize),
    Start(usize),
    Append(usize),
    Busy,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => Just(Step::Turn),
        6 => (0..3_usize).prop_map(Step::Sync),
        2 => (0..3_usize).prop_map(Step::Kill),
        1 => (0..3_usize).prop_map(Step::Leave),
        2 => (0..3_usize).prop_map(Step::Start),
        4 => (0..PARTS as usize).prop_map(Step::Append),
        1 => Just(Step::Busy),
    ]
}

/// Lets hosts do these steps, and then gives all of them time; returns how many lines there are.
pub(super) fn play(
    brokers: &mut Brokers,
    hosts: &mut [Host; 3],
    steps: &[Step],
    mut between: impl FnMut(&mut Brokers, usize, Mono),
) -> usize {
    let (mut now, mut lines) = (START, 0);
    for (nth, step) in steps.iter().enumerate() {
        now = now + Duration::from_millis(400);
        between(brokers, nth, now);
        match *step {
            Step::Turn => hosts.iter_mut().for_each(|host| host.turn(brokers, now)),
            Step::Sync(at) => hosts[at].sync(),
            Step::Kill(at) => hosts[at].kill(),
            Step::Leave(at) => {
                if let Some(consumer) = &mut hosts[at].consumer {
                    consumer.leave();
                }
            }
            Step::Start(at) if hosts[at].consumer.is_none() => hosts[at].start(now),
            Step::Start(_) => {}
            Step::Append(at) => {
                brokers.append(at, &[&format!("{lines}"), &format!("{}", lines + 1)], 0);
                lines += 2;
            }
            Step::Busy => brokers.coordinator.busy = 2,
        }
    }
    // All come back, and have their time.
    for nth in 0..400 {
        now = now + Duration::from_millis(400);
        between(brokers, steps.len() + nth, now);
        for host in hosts.iter_mut() {
            if host.consumer.as_ref().is_some_and(Consumer::has_left) {
                host.kill();
            }
            if host.consumer.is_none() {
                host.start(now);
            }
            host.turn(brokers, now);
            host.sync();
        }
    }
    lines
}

/// The numbers of the lines in all spools.
pub(super) fn there(hosts: &[Host]) -> Vec<usize> {
    let each = hosts.iter().flat_map(|host| host.spool.iter().map(|line| line.parse().unwrap()));
    let mut there: Vec<usize> = each.collect();
    there.sort_unstable();
    there
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn every_line_is_in_one_spool_once_whatever_members_do(steps in vec(step(), 20..160)) {
        let mut brokers = Brokers::new(PARTS as usize);
        let mut hosts = [Host::new(), Host::new(), Host::new()];
        let lines = play(&mut brokers, &mut hosts, &steps, |_, _, _| {});
        prop_assert_eq!(there(&hosts), (0..lines).collect::<Vec<_>>());
        let committed: i64 = brokers.coordinator.committed.values().sum();
        prop_assert_eq!(committed, lines as i64);
    }
}
