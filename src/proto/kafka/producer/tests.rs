//! The producer against brokers that are made up: crashes at every point, answers that are lost or
//! late, requests of a dead process that are carried out later, leaders that move.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, UNIX_EPOCH};

use bytes::BytesMut;
use fastrand::Rng;
use proptest::prelude::*;

use super::assign::{Assigner, Partitioning};
use super::fake::{Fake, Request};
use super::{Producer, Setup};
use crate::batch::{Batch, Numbers, count_lines};
use crate::clock::Mono;
use crate::format::Formatter;
use crate::format::plan::FormatPlan;
use crate::proto::kafka::cluster::{Cluster, Command};
use crate::proto::kafka::compress::Compression;

/// What is durable: lines that are completed, and the notes.
type Durable = (usize, Vec<String>);

/// A process that produces, its connections, and the disk.
struct World {
    fake: Fake,
    lines: Vec<String>,
    topic: String,
    how: Partitioning,
    keeps: bool,
    /// What the spool held when the process began.
    held_to: u64,
    durable: Durable,
    producer: Producer,
    /// Completed lines, and the batches behind them that the producer may have.
    position: usize,
    refused: u64,
    queue: VecDeque<Batch>,
    now: Mono,
    rng: Rng,
    connections: BTreeMap<i32, Connection>,
    /// Requests of connections that are gone, which brokers still carry out.
    late: Vec<Request>,
}

#[derive(Default)]
struct Connection {
    received: BytesMut,
    requests: VecDeque<Request>,
    answers: Vec<u8>,
}

fn producer(topic: &str, how: &Partitioning, keeps_state: bool, now: Mono) -> Producer {
    let setup = Setup {
        name: "out".into(),
        compression: Compression::None,
        timeout: Duration::from_secs(30),
        keeps_state,
        sticky: 7,
    };
    let formatter = Formatter::new(&FormatPlan::default());
    let topic = topic.parse().unwrap();
    let assigner = Assigner::new(topic, how, false, formatter, "h".into()).unwrap();
    let seeds = vec![("seed".to_string(), 9092)];
    Producer::new(setup, Cluster::new(seeds, Duration::from_secs(35), true, now), assigner)
}

impl World {
    fn new(fake: Fake, lines: usize, topic: &str, how: Partitioning, seed: u64) -> Self {
        let now = Mono(Duration::from_secs(1));
        Self {
            fake,
            lines: (0..lines).map(|n| format!("{n}")).collect(),
            producer: producer(topic, &how, true, now),
            topic: topic.into(),
            how,
            keeps: true,
            held_to: lines as u64,
            durable: (0, Vec::new()),
            position: 0,
            refused: 0,
            queue: VecDeque::new(),
            now,
            rng: Rng::with_seed(seed),
            connections: BTreeMap::new(),
            late: Vec::new(),
        }
    }

    /// The process dies; requests that it has sent lie in the brokers' sockets.
    fn crash(&mut self) {
        let ids: Vec<_> = self.connections.keys().copied().collect();
        ids.into_iter().for_each(|id| self.cut(id));
        self.producer = producer(&self.topic, &self.how, self.keeps, self.now);
        self.producer.restore(&self.durable.1.clone(), self.held_to);
        self.position = self.durable.0;
        self.queue.clear();
    }

    /// A connection breaks. Some of its requests are carried out later, others never.
    fn cut(&mut self, id: i32) {
        if let Some(connection) = self.connections.remove(&id) {
            let kept = self.rng.usize(0..=connection.requests.len());
            self.late.extend(connection.requests.into_iter().take(kept));
        }
    }

    fn fill(&mut self) {
        let queued: usize = self.queue.iter().map(|batch| batch.lines as usize).sum();
        let mut next = self.position + queued;
        while self.queue.len() < 4 && next < self.lines.len() {
            let held_to = usize::try_from(self.held_to).unwrap();
            let most = if next < held_to { held_to } else { usize::MAX };
            let end = (next + self.rng.usize(1..=40)).min(most).min(self.lines.len());
            let text = self.lines[next..end].join("\n") + "\n";
            let lines = count_lines(text.as_bytes());
            let numbers = Some(Numbers { first: next as u64, last: end as u64 - 1 });
            let batch = Batch::new(text.into(), lines, "in".into(), UNIX_EPOCH);
            self.queue.push_back(Batch { numbers, ..batch });
            next = end;
        }
    }

    /// What the thread of an output and the engine do in one turn.
    fn turn(&mut self) {
        self.now = self.now + Duration::from_millis(self.rng.u64(1..120));
        self.fill();
        let batches: Vec<_> = self.queue.iter().cloned().collect();
        self.producer.give(&batches);
        self.producer.advance(self.now, 0);
        while let Some(command) = self.producer.cluster.poll_command() {
            match command {
                Command::Connect { broker, .. } => {
                    self.connections.insert(broker, Connection::default());
                    self.producer.cluster.connected(broker, None, self.now);
                }
                Command::Disconnect(broker) => self.cut(broker),
            }
        }
        self.move_bytes();
        let mut done = self.producer.take_done();
        self.refused += done.refused.lines;
        while done.bytes > 0 {
            let batch = self.queue.pop_front().unwrap();
            done.bytes -= batch.bytes.len();
            self.position += batch.lines as usize;
        }
    }

    /// A checkpoint, in two steps between which the process may die.
    fn checkpoint(&mut self, dies: bool) {
        let state = self.producer.state();
        if !dies {
            self.durable = (self.position, state);
            self.producer.saved();
        }
    }

    fn move_bytes(&mut self) {
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            if let Some(out) = self.producer.cluster.out(id) {
                let bytes: Vec<u8> = out.pieces().iter().flat_map(|p| p.to_vec()).collect();
                connection.received.extend_from_slice(&bytes);
                self.producer.cluster.wrote(id, bytes.len());
            }
            let broker = if id < 0 { 0 } else { id };
            while let Some(request) = Request::take(broker, &mut connection.received) {
                connection.requests.push_back(request);
            }
            for _ in 0..self.rng.usize(0..4) {
                let Some(request) = connection.requests.pop_front() else { break };
                connection.answers.extend(self.fake.answer(request));
            }
            let some = self.rng.usize(0..=connection.answers.len());
            let answers: Vec<u8> = connection.answers.drain(..some).collect();
            self.producer.cluster.received(id, &answers, self.now);
        }
    }

    /// Something goes wrong, or a request of a dead process is carried out.
    fn mischief(&mut self) {
        if self.rng.u32(0..4) != 0 {
            // Or nothing would ever be sent.
            return;
        }
        match self.rng.u32(0..12) {
            0 => self.crash(),
            1 => {
                self.checkpoint(true);
                self.crash();
            }
            2 => {
                let ids: Vec<_> = self.connections.keys().copied().collect();
                if let Some(id) = self.rng.choice(ids) {
                    self.cut(id);
                    self.producer.cluster.failed(id, "cut".into(), self.now);
                }
            }
            3 => self.fake.moved += 1,
            4..=7 if !self.late.is_empty() => {
                let at = self.rng.usize(0..self.late.len());
                self.fake.answer(self.late.remove(at));
            }
            8 => self.fake.refusals.push_back(self.rng.choice([19, 20, 5, 7]).unwrap()),
            _ => {}
        }
    }

    fn step(&mut self) {
        self.turn();
        // A checkpoint that is needed takes a while.
        let needed = self.producer.needs_saving() && self.rng.bool();
        if needed || self.rng.u32(0..6) == 0 {
            self.checkpoint(false);
        }
    }

    /// Goes on without faults until everything is completed.
    fn finish(&mut self) {
        for _ in 0..20_000 {
            if self.position == self.lines.len() {
                return;
            }
            self.step();
        }
        panic!("{} of {}: {:?}", self.position, self.lines.len(), self.producer.error());
    }

    /// The lines in each partition of a topic.
    fn logs(&self, topic: &str) -> Vec<Vec<usize>> {
        let number = |value: &Vec<u8>| String::from_utf8_lossy(value).parse().unwrap();
        let logs = self.fake.topics[topic].1.iter();
        logs.map(|log| log.values.iter().map(number).collect()).collect()
    }

    /// Every line once, but for `missing`, and in order in each partition.
    fn assert_exact(&self, topic: &str, missing: &BTreeSet<usize>) {
        let logs = self.logs(topic);
        for log in &logs {
            assert!(log.is_sorted_by(|one, other| one < other), "out of order or twice: {log:?}");
        }
        let there: BTreeSet<usize> = logs.iter().flatten().copied().collect();
        let count: usize = logs.iter().map(Vec::len).sum();
        let expected: BTreeSet<usize> =
            (0..self.lines.len()).filter(|line| !missing.contains(line)).collect();
        assert_eq!(there, expected);
        assert_eq!(count, expected.len(), "a line is in two partitions");
    }
}

fn cluster(topic: &str, partitions: usize) -> Fake {
    let mut fake = Fake::new(3);
    fake.create(topic, 77, partitions);
    fake
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_line_is_there_once_and_in_order_whatever_happens(seed: u64, partitions in 1..6_usize) {
        let hash = Partitioning::Hash { key: "(.)$".into() };
        let how = [Partitioning::Runs, hash, Partitioning::Sticky];
        let how = how[(seed % 3) as usize].clone();
        let mut world = World::new(cluster("t", partitions), 3000, "t", how, seed);
        for _ in 0..600 {
            world.step();
            world.mischief();
        }
        world.finish();
        world.assert_exact("t", &BTreeSet::new());
        prop_assert_eq!(world.refused, 0);
    }

    /// Whatever a broker sends, the connection ends or goes on; nothing panics, no memory is taken
    /// for what is not there.
    #[test]
    fn garbage_from_a_broker_ends_the_connection(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut world = World::new(cluster("t", 2), 100, "t", Partitioning::Runs, 1);
        for _ in 0..5 {
            world.turn();
        }
        let ids: Vec<_> = world.connections.keys().copied().collect();
        for id in ids {
            world.producer.cluster.received(id, &bytes, world.now);
            world.cut(id);
            world.producer.cluster.failed(id, "cut".into(), world.now);
        }
        world.finish();
        world.assert_exact("t", &BTreeSet::new());
    }
}

#[test]
fn a_process_that_dies_after_every_single_step_still_delivers_once() {
    for crash_at in 0..120 {
        let mut world = World::new(cluster("t", 2), 300, "t", Partitioning::Runs, 5);
        for _ in 0..crash_at {
            world.step();
        }
        world.crash();
        // What lies in the sockets is carried out while the next process asks.
        for _ in 0..3 {
            world.turn();
        }
        while !world.late.is_empty() {
            let request = world.late.remove(0);
            world.fake.answer(request);
            world.turn();
        }
        world.finish();
        world.assert_exact("t", &BTreeSet::new());
    }
}

#[test]
fn a_line_that_is_too_large_is_left_out_alone_also_by_the_next_process() {
    for seed in 0..60 {
        let mut fake = cluster("t", 2);
        fake.max_batch = 400;
        let mut world = World::new(fake, 500, "t", Partitioning::Runs, seed);
        world.lines[77] = "7".repeat(500);
        world.lines[310] = "8".repeat(500);
        for _ in 0..150 {
            world.step();
            if world.rng.u32(0..25) == 0 {
                world.crash();
            }
        }
        world.finish();
        world.assert_exact("t", &[77, 310].into());
        assert!(world.refused >= 2, "{}", world.refused);
    }
}

#[test]
fn new_partitions_are_used_behind_a_line_that_is_durable() {
    for seed in 0..40 {
        let mut world = World::new(cluster("t", 2), 6000, "t", Partitioning::Runs, seed);
        for _ in 0..60 {
            world.step();
        }
        let log = super::fake::Log::default;
        world.fake.topics.get_mut("t").unwrap().1.extend([log(), log()]);
        world.producer.cluster.refresh();
        for _ in 0..200 {
            world.step();
            if world.rng.u32(0..20) == 0 {
                world.crash();
            }
        }
        world.finish();
        world.assert_exact("t", &BTreeSet::new());
        assert!(world.logs("t")[3].len() > 100, "{:?}", world.logs("t")[3].len());
    }
}

#[test]
fn a_topic_that_appears_later_gets_every_line() {
    let mut world = World::new(Fake::new(1), 500, "t", Partitioning::Runs, 3);
    for _ in 0..100 {
        world.step();
    }
    assert_eq!(world.position, 0);
    let error = world.producer.error().unwrap();
    assert!(error.contains("topic t: UNKNOWN_TOPIC_OR_PARTITION (3): create the topic"), "{error}");
    world.fake.create("t", 5, 3);
    world.finish();
    world.assert_exact("t", &BTreeSet::new());
    assert_eq!(world.producer.error(), None);
}

#[test]
fn brokers_that_do_not_tell_get_every_line_at_least_once() {
    for seed in 0..30 {
        let mut fake = cluster("t", 3);
        fake.tells = false;
        let mut world = World::new(fake, 1500, "t", Partitioning::Runs, seed);
        for _ in 0..150 {
            world.step();
            world.mischief();
        }
        world.finish();
        let there: BTreeSet<usize> = world.logs("t").into_iter().flatten().collect();
        assert_eq!(there.len(), 1500);
    }
}

#[test]
fn without_a_spool_every_line_is_there_once_while_the_process_lives() {
    let mut world = World::new(cluster("t", 3), 1500, "t", Partitioning::Runs, 8);
    world.keeps = false;
    world.crash();
    for _ in 0..100 {
        world.turn();
        if world.rng.u32(0..8) == 0 {
            world.fake.moved += 1;
        }
    }
    assert!(!world.producer.needs_saving());
    world.finish();
    world.assert_exact("t", &BTreeSet::new());
}

#[test]
fn a_second_daemon_with_a_copy_of_the_spool_makes_one_of_the_two_stop() {
    let mut one = World::new(cluster("t", 1), 4000, "t", Partitioning::Runs, 4);
    while one.position < 500 {
        one.step();
    }
    one.checkpoint(false);
    // The copy goes on with the same identity and sends other lines.
    let mut fake = Fake::new(3);
    std::mem::swap(&mut fake, &mut one.fake);
    let mut two = World::new(fake, 4000, "t", Partitioning::Runs, 9);
    two.durable = one.durable.clone();
    two.crash();
    while two.position < 2500 {
        two.step();
    }
    std::mem::swap(&mut two.fake, &mut one.fake);
    for _ in 0..300 {
        one.step();
    }
    let error = one.producer.error().unwrap();
    assert!(error.contains("a copy that a second daemon uses too? Stop one"), "{error}");
}

/// The first daemon goes on before the second one is started, so that at its start the second one
/// finds lines of its identity that it never had.
#[test]
fn a_copy_of_the_spool_that_is_started_later_passes_none_of_its_own_lines_over() {
    for seed in 0..40 {
        let mut one = World::new(cluster("t", 3), 4000, "t", Partitioning::Runs, seed);
        while one.position < 500 {
            one.step();
        }
        one.checkpoint(false);
        let (durable, held_to) = (one.durable.clone(), 800);
        while one.position < 3000 {
            one.step();
        }
        let fake = std::mem::replace(&mut one.fake, Fake::new(3));
        let mut two = World::new(fake, 4000, "t", Partitioning::Runs, seed);
        (two.durable, two.held_to) = (durable, held_to);
        // Up to there both have the same lines.
        (800..4000).for_each(|at| two.lines[at] = format!("{}", 10_000 + at));
        two.crash();
        for _ in 0..300 {
            two.step();
        }
        let error = two.producer.error().unwrap();
        assert!(error.contains("a copy that a second daemon uses too? Stop one"), "{error}");
        assert!(two.position <= 800, "{}", two.position);
        assert!(two.logs("t").iter().flatten().all(|line| *line < 10_000));
    }
}

#[test]
fn a_topic_made_anew_gets_the_lines_that_are_not_completed() {
    let mut world = World::new(cluster("t", 2), 3000, "t", Partitioning::Runs, 6);
    while world.position < 1000 {
        world.step();
    }
    world.fake.create("t", 78, 2);
    world.producer.cluster.refresh();
    let from = world.position;
    world.finish();
    let there: BTreeSet<usize> = world.logs("t").into_iter().flatten().collect();
    // What was under way may have gone to the old topic.
    assert!((from + 300..3000).all(|line| there.contains(&line)), "{}", there.len());
}

#[test]
fn lines_that_are_dropped_from_the_spool_take_no_others_with_them() {
    for seed in 0..40 {
        let mut world = World::new(cluster("t", 2), 3000, "t", Partitioning::Runs, seed);
        while world.position < 1000 {
            world.turn();
            if world.producer.needs_saving() {
                world.checkpoint(false);
            }
        }
        // Nothing was kept since the start; then the spool drops what is oldest.
        world.crash();
        let resumed = world.rng.bool();
        for _ in 0..if resumed { 12 } else { 0 } {
            world.turn();
        }
        let queued: usize = world.queue.iter().map(|batch| batch.lines as usize).sum();
        let gap = world.position + queued..world.position + queued + 400;
        world.lines.drain(gap.clone());
        world.producer.missing();
        world.finish();
        let there: BTreeSet<usize> = world.logs("t").into_iter().flatten().collect();
        assert!((gap.end..3000).all(|line| there.contains(&line)), "seed {seed}");
    }
}

#[test]
fn another_cluster_gets_a_new_identity() {
    let mut world = World::new(cluster("t", 2), 2000, "t", Partitioning::Runs, 6);
    while world.position < 1000 {
        world.step();
    }
    world.checkpoint(false);
    world.fake = cluster("t", 2);
    world.fake.id = "D".into();
    world.crash();
    let from = world.position;
    world.finish();
    let there: BTreeSet<usize> = world.logs("t").into_iter().flatten().collect();
    assert_eq!(there, (from..2000).collect());
}

#[test]
fn topics_are_named_by_lines_and_one_too_many_is_common() {
    let mut fake = Fake::new(1);
    for app in ["a", "b", "_"] {
        fake.create(&format!("web-{app}"), 1, 2);
    }
    let mut world = World::new(fake, 0, "web-{app}", Partitioning::Runs, 2);
    world.lines = (0..300).map(|n| format!("<14>1 - h {} - - - {n}", ["a", "b"][n % 2])).collect();
    world.finish();
    let count = |topic: &str| -> usize {
        world.fake.topics[topic].1.iter().map(|log| log.values.len()).sum()
    };
    assert_eq!((count("web-a"), count("web-b"), count("web-_")), (150, 150, 0));
}

/// InitProducerId, Metadata, DescribeProducers and Produce answer with an error of a later version.
#[test]
fn an_error_that_is_not_known_is_said_with_what_to_do_and_costs_no_line() {
    for (key, who) in [(22, "no producer id"), (3, "topic t"), (61, "topic t"), (0, "topic t")] {
        let mut world = World::new(cluster("t", 3), 600, "t", Partitioning::Runs, 6);
        // What is asked at the start, and in the middle of the flow.
        while key == 0 && world.position < 100 {
            world.step();
        }
        world.fake.odd.insert(key, 999);
        let before = world.position;
        for _ in 0..200 {
            world.step();
        }
        let error = world.producer.error().unwrap_or_default();
        let wanted = ": error 999, which is not known here: look into the broker's log";
        assert_eq!(error, format!("{who}{wanted}"), "{key}");
        assert!(world.position <= before + 600 / 3, "{key}: {}", world.position);
        world.fake.odd.clear();
        world.finish();
        world.assert_exact("t", &BTreeSet::new());
        assert_eq!(world.producer.error(), None, "{key}");
    }
}

/// After a crash, a partition that has more than is known here is asked how far all replicas have
/// it: OffsetForLeaderEpoch and ListOffsets answer with an error of a later version.
#[test]
fn an_error_that_is_not_known_after_a_crash_is_said_and_costs_no_line() {
    for key in [23, 2] {
        let mut said = 0;
        for seed in 0..10 {
            let mut world = World::new(cluster("t", 3), 600, "t", Partitioning::Runs, seed);
            while world.position < 200 {
                world.step();
            }
            world.fake.odd.insert(key, 999);
            world.crash();
            for _ in 0..100 {
                world.step();
            }
            if let Some(error) = world.producer.error() {
                let wanted =
                    "topic t: error 999, which is not known here: look into the broker's log";
                assert_eq!(error, wanted, "{key}");
                said += 1;
            }
            world.fake.odd.clear();
            world.finish();
            world.assert_exact("t", &BTreeSet::new());
            assert_eq!(world.producer.error(), None, "{key}");
        }
        assert!(said > 0, "{key}");
    }
}
