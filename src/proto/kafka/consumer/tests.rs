//! A consumer before brokers that answer as Apache Kafka does, and some that do not.
//!
//! The brokers are a script: the log of each partition is a list of records, some of which are
//! missing, marks of transactions, or aborted. What the consumer hands over is compared with them.

#![allow(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as m;
use kafka_protocol::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, MetadataRequest};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use kafka_protocol::records::{
    Compression, Record as Theirs, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use super::unpack::Codec;
use super::unpack::tests::pack;
use super::*;
use crate::proto::kafka::cluster::Command;

mod classic;
mod group;
mod unknown;

const START: Mono = Mono(Duration::from_secs(100));
const WALL: i64 = 1_800_000_030_000;

/// A batch in a log.
#[derive(Debug, Clone)]
struct Batch {
    base: i64,
    last: i64,
    bytes: Bytes,
    /// An aborted transaction's producer.
    aborted: Option<i64>,
}

#[derive(Debug, Default)]
struct Log {
    start: i64,
    batches: Vec<Batch>,
}

impl Log {
    fn end(&self) -> i64 {
        self.batches.last().map_or(self.start, |batch| batch.last + 1)
    }
}

/// The connections of one consumer.
#[derive(Default)]
struct Seat {
    /// A connection's bytes that are no whole request yet.
    unread: HashMap<i32, BytesMut>,
    connected: Vec<i32>,
}

/// Brokers 0 and 1, of which partition N is led by N mod 2, until `moved`.
struct Brokers {
    cluster: &'static str,
    id: u128,
    logs: Vec<Log>,
    moved: bool,
    /// Answers of this error to that many fetches.
    refuse: (i16, usize),
    /// Errors that requests with these keys get.
    odd: BTreeMap<i16, i16>,
    /// The bytes of the next records are damaged.
    damage: usize,
    /// How often each partition was asked for records.
    asked: Vec<usize>,
    seat: Seat,
    /// What answers questions about a group, and who asks them.
    coordinator: group::Coordinator,
    /// Where members share partitions out among themselves.
    classic: Option<classic::Coordinator>,
    /// Answers are given in pieces of so many bytes.
    piece: usize,
}

fn theirs(offset: i64, value: &str, time: i64, kind: (i64, bool)) -> Theirs {
    let (producer, control) = kind;
    let key = if control { Some(Bytes::from_static(b"\0\0\0\0")) } else { None };
    Theirs {
        transactional: producer >= 0,
        control,
        delete_horizon: false,
        partition_leader_epoch: 1,
        producer_id: producer,
        producer_epoch: 0,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: offset as i32,
        timestamp: time,
        key,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    }
}

fn batch(records: &[Theirs], codec: u8, aborted: Option<i64>) -> Batch {
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut out, records, &options).unwrap();
    let (base, last) = (records[0].offset, records[records.len() - 1].offset);
    Batch { base, last, bytes: packed(&out, codec), aborted }
}

/// A batch with its records compressed: its attributes, its length and its checksum change.
fn packed(batch: &[u8], codec: u8) -> Bytes {
    let Some(by) = Codec::of(codec.into()).unwrap() else { return Bytes::copy_from_slice(batch) };
    let mut out = batch[..61].to_vec();
    out[22] |= codec;
    out.extend_from_slice(&pack(by, &batch[61..]));
    let length = (out.len() - 12) as i32;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    let sum = crc32c::crc32c(&out[21..]);
    out[17..21].copy_from_slice(&sum.to_be_bytes());
    out.into()
}

impl Brokers {
    fn new(partitions: usize) -> Self {
        Self {
            cluster: "c",
            id: 42,
            logs: (0..partitions).map(|_| Log::default()).collect(),
            moved: false,
            refuse: (0, 0),
            odd: BTreeMap::new(),
            damage: 0,
            asked: vec![0; partitions],
            seat: Seat::default(),
            coordinator: group::Coordinator::default(),
            classic: None,
            piece: usize::MAX,
        }
    }

    /// Appends lines in one batch.
    fn append(&mut self, at: usize, lines: &[&str], codec: u8) {
        let base = self.logs[at].end();
        let records: Vec<_> = (base..)
            .zip(lines)
            .map(|(offset, line)| theirs(offset, line, WALL - 1000, (-1, false)))
            .collect();
        self.logs[at].batches.push(batch(&records, codec, None));
    }

    /// Appends a transaction: a record and the mark of its end.
    fn transaction(&mut self, at: usize, line: &str, commits: bool) {
        let end = self.logs[at].end();
        let aborted = (!commits).then_some(77);
        let record = [theirs(end, line, WALL, (77, false))];
        self.logs[at].batches.push(batch(&record, 0, aborted));
        let mut mark = theirs(end + 1, "", WALL, (77, true));
        if commits {
            mark.key = Some(Bytes::from_static(b"\0\0\0\x01"));
        }
        self.logs[at].batches.push(batch(&[mark], 0, None));
    }

    fn leader(&self, at: usize) -> i32 {
        ((at + usize::from(self.moved)) % 2) as i32
    }

    /// `None` for a request whose answer waits for others.
    fn answer(
        &mut self,
        broker: i32,
        key: i16,
        version: i16,
        body: &mut Bytes,
    ) -> Option<BytesMut> {
        let mut out = BytesMut::new();
        let odd = self.odd.get(&key).copied().unwrap_or_default();
        match key {
            18 => {
                let range = |key: i16, min: i16, max: i16| {
                    m::api_versions_response::ApiVersion::default()
                        .with_api_key(key)
                        .with_min_version(min)
                        .with_max_version(max)
                };
                let keys = vec![range(1, 4, 17), range(2, 1, 8), range(3, 0, 12)];
                let of_groups = [(8, 2, 10), (9, 1, 10), (10, 0, 6)];
                let by_way: &[(i16, i16, i16)] = match self.classic {
                    Some(_) => &[(11, 0, 9), (12, 0, 4), (13, 0, 5), (14, 0, 5)],
                    None => &[(68, 0, 1)],
                };
                let of_groups = of_groups.iter().chain(by_way);
                let of_groups = of_groups.map(|(key, min, max)| range(*key, *min, *max));
                let keys = [keys, of_groups.collect()].concat();
                let answer = m::ApiVersionsResponse::default().with_api_keys(keys);
                answer.encode(&mut out, version).unwrap();
            }
            3 => {
                MetadataRequest::decode(body, version).unwrap();
                self.metadata().encode(&mut out, version).unwrap();
            }
            2 => {
                let asked = ListOffsetsRequest::decode(body, version).unwrap();
                self.offsets(asked).encode(&mut out, version).unwrap();
            }
            8 if self.classic.is_some() => {
                let asked = m::OffsetCommitRequest::decode(body, version).unwrap();
                let classic = self.classic.as_mut().unwrap();
                let error = if odd == 0 { classic.may_commit(&asked) } else { odd };
                let answer = self.coordinator.commit_unless(&asked, error);
                answer.encode(&mut out, version).unwrap();
            }
            11..=14 => {
                let classic = self.classic.as_mut().unwrap();
                return classic.answer((key, odd), version, body);
            }
            8 | 9 | 10 | 68 => {
                self.coordinator.answer((key, odd), version, body, &mut out);
            }
            _ => {
                let asked = FetchRequest::decode(body, version).unwrap();
                self.fetch(broker, &asked).encode(&mut out, version).unwrap();
            }
        }
        Some(out)
    }

    fn metadata(&self) -> m::MetadataResponse {
        use m::metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        };
        let broker = |id: i32| {
            MetadataResponseBroker::default()
                .with_node_id(id.into())
                .with_host(StrBytes::from_static_str("k"))
                .with_port(9092)
        };
        let parts = (0..self.logs.len()).map(|at| {
            MetadataResponsePartition::default()
                .with_partition_index(at as i32)
                .with_leader_id(self.leader(at).into())
                .with_leader_epoch(1 + i32::from(self.moved))
        });
        let topic = MetadataResponseTopic::default()
            .with_name(Some(m::TopicName(StrBytes::from_static_str("t"))))
            .with_topic_id(format!("{:032x}", self.id).parse().unwrap());
        let topic = match self.odd.get(&3) {
            Some(error) => topic.with_error_code(*error),
            None => topic.with_partitions(parts.collect()),
        };
        m::MetadataResponse::default()
            .with_brokers(vec![broker(0), broker(1)])
            .with_cluster_id(Some(StrBytes::from_static_str(self.cluster)))
            .with_topics(vec![topic])
    }

    fn offsets(&self, asked: ListOffsetsRequest) -> m::ListOffsetsResponse {
        use m::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
        let part = &asked.topics[0].partitions[0];
        let log = &self.logs[part.partition_index as usize];
        let offset = match part.timestamp {
            -2 => log.start,
            -1 => log.end(),
            _ => -1,
        };
        let part = ListOffsetsPartitionResponse::default()
            .with_partition_index(part.partition_index)
            .with_error_code(self.odd.get(&2).copied().unwrap_or_default())
            .with_offset(offset);
        let topic = ListOffsetsTopicResponse::default()
            .with_name(asked.topics[0].name.clone())
            .with_partitions(vec![part]);
        m::ListOffsetsResponse::default().with_topics(vec![topic])
    }

    fn fetch(&mut self, broker: i32, asked: &FetchRequest) -> FetchResponse {
        use m::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
        let topic = &asked.topics[0];
        // By its name, or by the identity of a former one.
        let is_former = !topic.topic_id.is_nil() && topic.topic_id.as_u128() != self.id;
        let mut parts = Vec::new();
        for wanted in &topic.partitions {
            let at = wanted.partition as usize;
            self.asked[at] += 1;
            let mut part = PartitionData::default().with_partition_index(wanted.partition);
            let log = &self.logs[at];
            part = part.with_high_watermark(log.end()).with_last_stable_offset(log.end());
            let range = log.start..=log.end();
            let refused = std::mem::take(&mut self.refuse.1);
            part.error_code = if let Some(odd) = self.odd.get(&1) {
                *odd
            } else if refused > 0 {
                self.refuse.1 = refused - 1;
                self.refuse.0
            } else if is_former {
                100
            } else if self.leader(at) != broker {
                6
            } else if !range.contains(&wanted.fetch_offset) {
                1
            } else {
                0
            };
            if part.error_code == 0 {
                let mut records = BytesMut::new();
                let mut aborted = Vec::new();
                for batch in log.batches.iter().filter(|b| b.last >= wanted.fetch_offset).take(3) {
                    records.extend_from_slice(&batch.bytes);
                    aborted.extend(batch.aborted.map(|producer| {
                        AbortedTransaction::default()
                            .with_producer_id(producer.into())
                            .with_first_offset(batch.base)
                    }));
                }
                // Half a batch may stand at the end.
                let half = records.len() / 3;
                let more = records.clone().freeze().slice(..half.min(50));
                records.extend_from_slice(&more);
                if self.damage > 0 && records.len() > 70 {
                    self.damage -= 1;
                    records[65] ^= 1;
                }
                part = part.with_records(Some(records.freeze()));
                part.aborted_transactions = Some(aborted);
            }
            parts.push(part);
        }
        let mut answered = FetchableTopicResponse::default().with_partitions(parts);
        answered.topic = topic.topic.clone();
        answered.topic_id = topic.topic_id;
        FetchResponse::default().with_responses(vec![answered])
    }

    /// Does what the consumer wants, and answers its requests.
    fn serve(&mut self, consumer: &mut Consumer, now: Mono) {
        let mut seat = std::mem::take(&mut self.seat);
        self.serve_at(&mut seat, consumer, now);
        self.seat = seat;
    }

    fn serve_at(&mut self, seat: &mut Seat, consumer: &mut Consumer, now: Mono) {
        while let Some(command) = consumer.cluster.poll_command() {
            match command {
                Command::Connect { broker, .. } => {
                    seat.connected.push(broker);
                    seat.unread.insert(broker, BytesMut::new());
                    consumer.cluster.connected(broker, None, now);
                }
                Command::Disconnect(broker) => seat.connected.retain(|one| *one != broker),
            }
        }
        for broker in seat.connected.clone() {
            let Some(out) = consumer.cluster.out(broker) else { continue };
            let bytes: Vec<u8> = out.pieces().iter().flat_map(|piece| piece.to_vec()).collect();
            consumer.cluster.wrote(broker, bytes.len());
            let mut unread = seat.unread.remove(&broker).unwrap();
            unread.extend_from_slice(&bytes);
            self.requests(broker, &mut unread, consumer, now);
            seat.unread.insert(broker, unread);
        }
    }

    fn requests(&mut self, broker: i32, unread: &mut BytesMut, consumer: &mut Consumer, now: Mono) {
        while unread.len() >= 4 {
            let len = u32::from_be_bytes(unread[..4].try_into().unwrap()) as usize;
            let frame = unread.clone().freeze().slice(4..4 + len);
            let key = i16::from_be_bytes(frame[..2].try_into().unwrap());
            let version = i16::from_be_bytes(frame[2..4].try_into().unwrap());
            let flexible = match key {
                18 => version >= 3,
                3 => version >= 9,
                2 | 9 => version >= 6,
                8 => version >= 8,
                10 => version >= 3,
                11 => version >= 6,
                12..=14 => version >= 4,
                68 => true,
                _ => version >= 12,
            };
            let mut body = frame.clone();
            let header = m::RequestHeader::decode(&mut body, if flexible { 2 } else { 1 }).unwrap();
            let id = broker.max(0);
            let Some(answer) = self.answer(id, key, version, &mut body) else { return };
            let _ = unread.split_to(4 + len);
            let tags: &[u8] = if flexible && key != 18 { b"\0" } else { b"" };
            let length = (4 + tags.len() + answer.len()) as u32;
            let correlation = header.correlation_id.to_be_bytes();
            let frame = [&length.to_be_bytes()[..], &correlation, tags, &answer].concat();
            for piece in frame.chunks(self.piece.min(frame.len())) {
                consumer.cluster.received(broker, piece, now);
            }
        }
    }
}

fn setup(begin: Begin) -> Setup {
    Setup {
        name: "input.in".into(),
        topics: vec!["t".into()],
        partitions: None,
        begin,
        group: None,
        note: String::new(),
        max_line: 1000,
        form: As::Line,
    }
}

fn consumer(begin: Begin) -> Consumer {
    let cluster = Cluster::new(vec![("k".into(), 9092)], Duration::from_secs(30), false, START);
    Consumer::new(setup(begin), cluster, None)
}

/// What was handed over: partition, first and last offset, whether numbered, the lines.
type Handed = (i32, i64, i64, bool, String);

/// Lets time pass until nothing more happens for a while; `stored` says how far partitions are
/// stored.
fn work(
    consumer: &mut Consumer,
    brokers: &mut Brokers,
    now: &mut Mono,
    stored: &dyn Fn(i32) -> (Option<u64>, Vec<u64>),
) -> Vec<Handed> {
    let mut handed = Vec::new();
    let mut idle = 0;
    while idle < 400 {
        idle += 1;
        *now = *now + Duration::from_millis(250);
        consumer.advance(*now);
        brokers.serve(consumer, *now);
        consumer.advance(*now);
        for (place, _) in consumer.take_unknown() {
            consumer.resume(&place, stored(place.1), false);
        }
        while consumer.has_lines() {
            let Some(run) = consumer.run(*now, WALL) else { continue };
            let span = run.span;
            let text = String::from_utf8(run.piece.bytes.to_vec()).unwrap();
            assert_eq!(u64::from(run.piece.lines), (span.last - span.first + 1) as u64, "{text}");
            assert!(run.span.time <= WALL);
            handed.push((run.place.1, span.first, span.last, span.numbered, text));
            idle = 0;
        }
    }
    handed
}

fn nothing(_: i32) -> (Option<u64>, Vec<u64>) {
    (None, Vec::new())
}

fn all(handed: &[Handed], part: i32) -> String {
    handed.iter().filter(|one| one.0 == part).map(|one| one.4.as_str()).collect()
}

#[test]
fn every_record_comes_once_in_every_compression_at_every_cut_of_the_stream() {
    for piece in [1, 2, 3, 7, 64, usize::MAX] {
        let mut brokers = Brokers::new(3);
        brokers.piece = piece;
        let mut expected = vec![String::new(); 3];
        for at in 0..15 {
            let lines: Vec<_> = (0..5).map(|n| format!("line {at} {n}")).collect();
            let codec = (at / 3) as u8;
            brokers.append(at % 3, &lines.iter().map(String::as_str).collect::<Vec<_>>(), codec);
            lines.iter().for_each(|line| expected[at % 3] += &format!("{line}\n"));
        }
        let (mut consumer, mut now) = (consumer(Begin::Beginning), START);
        let handed = work(&mut consumer, &mut brokers, &mut now, &nothing);
        for (at, expected) in expected.iter().enumerate() {
            assert_eq!(all(&handed, at as i32), *expected, "{piece}");
        }
        assert_eq!(consumer.lags().map(|(_, lag)| lag).collect::<Vec<_>>(), [0, 0, 0]);
        assert_eq!(consumer.error(), None);
    }
}

#[test]
fn aborted_transactions_and_marks_are_passed_over_and_no_run_goes_across_them() {
    let mut brokers = Brokers::new(1);
    brokers.append(0, &["a", "b"], 0);
    brokers.transaction(0, "aborted", false);
    brokers.append(0, &["c"], 4);
    brokers.transaction(0, "committed", true);
    brokers.transaction(0, "aborted too", false);
    brokers.append(0, &["d"], 0);
    let (mut consumer, mut now) = (consumer(Begin::Beginning), START);
    let handed = work(&mut consumer, &mut brokers, &mut now, &nothing);
    let spans: Vec<_> = handed.iter().map(|one| (one.1, one.2, one.4.as_str())).collect();
    assert_eq!(spans, [(0, 1, "a\nb\n"), (4, 5, "c\ncommitted\n"), (9, 9, "d\n")]);
}

#[test]
fn reading_goes_on_behind_what_is_stored_and_runs_end_where_spools_do() {
    let mut brokers = Brokers::new(1);
    brokers.append(0, &["0", "1", "2", "3", "4", "5", "6"], 0);
    let (mut consumer, mut now) = (consumer(Begin::End), START);
    let stored = |_| (Some(2), vec![1, 4]);
    let handed = work(&mut consumer, &mut brokers, &mut now, &stored);
    let spans: Vec<_> = handed.iter().map(|one| (one.1, one.2, one.4.as_str())).collect();
    assert_eq!(spans, [(2, 4, "2\n3\n4\n"), (5, 6, "5\n6\n")]);
}

#[test]
fn records_of_another_minute_are_another_run() {
    let mut brokers = Brokers::new(1);
    let at = |offset: i64, time: i64| theirs(offset, &offset.to_string(), time, (-1, false));
    let minute = WALL - WALL % 60_000;
    let records =
        [at(0, minute - 1), at(1, minute), at(2, minute + 1), at(3, -1), at(4, WALL + 99_999_999)];
    brokers.logs[0].batches.push(batch(&records, 0, None));
    let (mut consumer, mut now) = (consumer(Begin::Beginning), START);
    let handed = work(&mut consumer, &mut brokers, &mut now, &nothing);
    let spans: Vec<_> = handed.iter().map(|one| (one.1, one.2)).collect();
    // One without a time, and one from ahead, are of now.
    assert_eq!(spans, [(0, 0), (1, 4)]);
}

#[test]
fn where_nothing_is_stored_reading_begins_where_it_was_told_to() {
    for (begin, expected, began) in
        [(Begin::Beginning, "1\n2\n", 1), (Begin::End, "2\n", 2), (Begin::Time(WALL), "2\n", 2)]
    {
        let mut brokers = Brokers::new(1);
        brokers.append(0, &["0"], 0);
        brokers.append(0, &["1"], 0);
        brokers.logs[0].start = 1;
        brokers.logs[0].batches.remove(0);
        let (mut consumer, mut now) = (consumer(begin), START);
        let mut handed = work(&mut consumer, &mut brokers, &mut now, &nothing);
        let begun = consumer.take_begun();
        assert_eq!(begun.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [began], "{begin:?}");
        brokers.append(0, &["2"], 0);
        handed.extend(work(&mut consumer, &mut brokers, &mut now, &nothing));
        assert_eq!(all(&handed, 0), expected, "{begin:?}");
    }
}

#[test]
fn a_leader_that_moves_and_errors_that_pass_cost_nothing() {
    let mut brokers = Brokers::new(4);
    let (mut consumer, mut now) = (consumer(Begin::Beginning), START);
    let mut expected = String::new();
    let mut handed = Vec::new();
    for round in 0..12 {
        let line = format!("round {round}");
        (0..4).for_each(|at| brokers.append(at, &[&line], 0));
        expected += &format!("{line}\n");
        brokers.moved = round % 2 == 1;
        brokers.refuse = ([6, 5, 76, 3, 100, -1, 29][round % 7], round);
        brokers.damage = round % 3;
        handed.extend(work(&mut consumer, &mut brokers, &mut now, &nothing));
    }
    (0..4).for_each(|part| assert_eq!(all(&handed, part), expected));
    assert_eq!(consumer.error(), None);
}

#[test]
fn what_cannot_be_read_is_named_with_its_place_and_holds_no_other_partition_up() {
    let mut brokers = Brokers::new(2);
    brokers.append(0, &["good"], 0);
    brokers.append(0, &["bad"], 0);
    brokers.append(1, &["other"], 0);
    let mut bytes = brokers.logs[0].batches[1].bytes.to_vec();
    bytes[16] = 1;
    brokers.logs[0].batches[1].bytes = bytes.into();
    let (mut consumer, mut now) = (consumer(Begin::Beginning), START);
    let handed = work(&mut consumer, &mut brokers, &mut now, &nothing);
    assert_eq!((all(&handed, 0), all(&handed, 1)), ("good\n".into(), "other\n".into()));
    let error = consumer.error().unwrap();
    assert!(
        error.starts_with("topic t, partition 0, offset 1: the records are in message format 1")
    );
    assert!((5..30).contains(&brokers.asked[0]), "{:?}", brokers.asked);
}

#[test]
fn records_that_retention_removed_are_counted() {
    let mut brokers = Brokers::new(1);
    brokers.append(0, &["0", "1", "2"], 0);
    brokers.logs[0].start = 10;
    brokers.logs[0].batches.clear();
    brokers.append(0, &["10"], 0);
    let (mut consumer, mut now) = (consumer(Begin::Beginning), START);
    let handed = work(&mut consumer, &mut brokers, &mut now, &|_| (Some(3), vec![2]));
    assert_eq!(all(&handed, 0), "10\n");
    assert_eq!(consumer.take_counts().sequence_lost, 7);
}

#[test]
fn records_in_the_place_of_lost_ones_come_without_a_number() {
    let mut brokers = Brokers::new(1);
    brokers.append(0, &["0", "new 1", "new 2", "new 3", "new 4"], 0);
    let (mut consumer, mut now) = (consumer(Begin::Beginning), START);
    // So many were read before the brokers lost all but the first.
    brokers.logs[0].batches.clear();
    brokers.append(0, &["0"], 0);
    let stored = |_| (Some(3), vec![2]);
    let mut handed = work(&mut consumer, &mut brokers, &mut now, &stored);
    assert_eq!(handed, []);
    brokers.append(0, &["new 1", "new 2", "new 3", "new 4"], 0);
    handed.extend(work(&mut consumer, &mut brokers, &mut now, &stored));
    let spans: Vec<_> = handed.iter().map(|one| (one.1, one.2, one.3, one.4.as_str())).collect();
    assert_eq!(spans, [(1, 2, false, "new 1\nnew 2\n"), (3, 4, true, "new 3\nnew 4\n")]);
}

#[test]
fn a_topic_made_anew_is_read_from_its_beginning_and_is_another_origin() {
    let mut brokers = Brokers::new(1);
    brokers.append(0, &["old 0", "old 1"], 0);
    let (mut consumer, mut now) = (consumer(Begin::End), START);
    let stored = |_| (Some(2), vec![1]);
    assert_eq!(work(&mut consumer, &mut brokers, &mut now, &stored), []);
    let before = consumer.origin(&("t".into(), 0));
    brokers.logs[0].batches.clear();
    brokers.id = 43;
    brokers.append(0, &["new 0", "new 1", "new 2"], 0);
    brokers.refuse = (100, 1);
    let handed = work(&mut consumer, &mut brokers, &mut now, &stored);
    assert_eq!(all(&handed, 0), "new 0\nnew 1\nnew 2\n");
    assert_ne!(consumer.origin(&("t".into(), 0)), before);
}

#[test]
fn another_cluster_is_said_and_its_topics_are_read_as_for_the_first_time() {
    let mut brokers = Brokers::new(1);
    brokers.append(0, &["old 0", "old 1"], 0);
    let (mut consumer, mut now) = (consumer(Begin::Beginning), START);
    assert_eq!(all(&work(&mut consumer, &mut brokers, &mut now, &nothing), 0), "old 0\nold 1\n");
    assert_eq!(consumer.cluster_to_save(), Some("c"));
    assert_eq!(consumer.cluster_to_save(), None);
    let before = consumer.origin(&("t".into(), 0));
    // It has the same topic, even under the same identity.
    brokers.cluster = "d";
    brokers.logs[0].batches.clear();
    brokers.append(0, &["new 0", "new 1", "new 2"], 0);
    now = now + crate::limits::METADATA_AGE;
    let handed = work(&mut consumer, &mut brokers, &mut now, &nothing);
    assert_eq!(all(&handed, 0), "new 0\nnew 1\nnew 2\n");
    assert_ne!(consumer.origin(&("t".into(), 0)), before);
    assert_eq!(consumer.cluster_to_save(), Some("d"));
}

proptest::proptest! {
    /// Whatever a broker sends: the connection ends, and no record is lost or doubled.
    #[test]
    fn garbage_from_a_broker_costs_no_record(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
        turns in 1..6,
    ) {
        let mut brokers = Brokers::new(2);
        (0..2).for_each(|at| brokers.append(at, &["one", "two"], 0));
        let (mut consumer, mut now) = (consumer(Begin::Beginning), START);
        for _ in 0..turns {
            consumer.advance(now);
            brokers.serve(&mut consumer, now);
        }
        for id in brokers.seat.connected.clone() {
            consumer.cluster.received(id, &bytes, now);
            consumer.cluster.failed(id, "cut".into(), now);
        }
        let handed = work(&mut consumer, &mut brokers, &mut now, &nothing);
        for part in [0, 1] {
            proptest::prop_assert_eq!(all(&handed, part), "one\ntwo\n");
        }
    }
}
