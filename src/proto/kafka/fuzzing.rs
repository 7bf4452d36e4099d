//! The entry points for fuzz/: a broker that says anything, and batches that do. Built with the
//! feature `fuzzing` only.

use std::collections::VecDeque;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::cluster::{BrokerId, Cluster, Command};
use super::compress::Compression;
use super::consumer::{self, Begin, Consumer, batch};
use super::producer::assign::{Assigner, Partitioning};
use super::producer::{Producer, Setup};
use crate::batch::Batch;
use crate::clock::Mono;
use crate::format::Formatter;
use crate::format::plan::FormatPlan;
use crate::forward::out::Out;
use crate::proto::shared::record::As;

fn producer(now: Mono) -> Option<Producer> {
    let setup = Setup {
        name: "out".into(),
        compression: Compression::None,
        timeout: Duration::from_secs(30),
        keeps_state: true,
        sticky: 0,
    };
    let formatter = Formatter::new(&FormatPlan::default());
    let topic = "t".parse().ok()?;
    let assigner = Assigner::new(topic, &Partitioning::Runs, false, formatter, "h".into()).ok()?;
    let cluster = Cluster::new(vec![("k".into(), 1)], Duration::from_secs(35), true, now);
    Some(Producer::new(setup, cluster, assigner))
}

fn lines() -> Batch {
    Batch::new(Bytes::from_static(b"x\ny\n"), 2, "in".into(), UNIX_EPOCH)
}

const NOW: Mono = Mono(Duration::from_secs(1));

/// Gives these pieces to a producer as what the first broker sends. Returns whether the connection
/// was ended for it, and how many bytes of requests there are then.
pub fn broker_says(pieces: &[&[u8]]) -> Option<usize> {
    let mut producer = producer(NOW)?;
    producer.advance(NOW, 0);
    let Some(Command::Connect { broker, .. }) = producer.cluster.poll_command() else {
        return None;
    };
    producer.cluster.connected(broker, None, NOW);
    for piece in pieces {
        producer.cluster.received(broker, piece, NOW);
    }
    producer.give(&[lines()]);
    producer.advance(NOW, 0);
    producer.cluster.out(broker).map(Out::len)
}

/// Brokers that answer each request with the next of some bodies.
#[derive(Default)]
struct Script {
    connected: Vec<BrokerId>,
    /// Requests that wait for an answer.
    waiting: VecDeque<(BrokerId, [u8; 4])>,
}

impl Script {
    /// Answers a request; `false` once there is no body for one.
    fn answer<'b, K>(
        &mut self,
        cluster: &mut Cluster<K>,
        bodies: &mut impl Iterator<Item = &'b &'b [u8]>,
        now: Mono,
    ) -> bool {
        while let Some(command) = cluster.poll_command() {
            match command {
                Command::Connect { broker, .. } if self.connected.len() < 8 => {
                    self.connected.push(broker);
                    cluster.connected(broker, None, now);
                }
                Command::Connect { .. } => {}
                Command::Disconnect(gone) => {
                    self.connected.retain(|broker| *broker != gone);
                    self.waiting.retain(|(broker, _)| *broker != gone);
                }
            }
        }
        for broker in &self.connected {
            let Some(out) = cluster.out(*broker) else { continue };
            let bytes: Vec<u8> = out.pieces().iter().flat_map(|piece| piece.to_vec()).collect();
            cluster.wrote(*broker, bytes.len());
            self.waiting.extend(correlations(&bytes).map(|correlation| (*broker, correlation)));
        }
        let Some((broker, correlation)) = self.waiting.pop_front() else { return true };
        let Some(body) = bodies.next() else { return false };
        let len = u32::try_from(body.len() + 4).unwrap_or(0);
        let frame = [&len.to_be_bytes()[..], &correlation, body].concat();
        cluster.received(broker, &frame, now);
        true
    }
}

/// Answers one request of a producer after the other with these bodies. Returns how many bytes of
/// lines were completed, of the four that there are.
pub fn dialogue(bodies: &[&[u8]]) -> usize {
    let (mut now, mut done) = (NOW, 0);
    let Some(mut producer) = producer(now) else { return 0 };
    let (mut bodies, mut script) = (bodies.iter(), Script::default());
    for _ in 0..100 {
        now = now + Duration::from_millis(300);
        if done == 0 {
            producer.give(&[lines()]);
        }
        producer.advance(now, 0);
        if producer.needs_saving() {
            drop(producer.state());
            producer.saved();
        }
        done += producer.take_done().bytes;
        if !script.answer(&mut producer.cluster, &mut bodies, now) {
            break;
        }
    }
    done
}

/// Answers one request of a member of a group after the other with these bodies; each line that is
/// handed over is durable at once. Returns how many partitions were read at a time.
pub fn membership(bodies: &[&[u8]]) -> usize {
    let setup = consumer::Setup {
        name: "in".into(),
        topics: vec!["t".into()],
        partitions: None,
        begin: Begin::Beginning,
        group: Some("g".into()),
        note: String::new(),
        max_line: 1000,
        form: As::Line,
    };
    let (mut now, mut most) = (NOW, 0);
    let cluster = Cluster::new(vec![("k".into(), 1)], Duration::from_secs(35), false, now);
    let mut consumer = Consumer::new(setup, cluster, None);
    let (mut bodies, mut script) = (bodies.iter(), Script::default());
    for turn in 0..200 {
        now = now + Duration::from_millis(700);
        consumer.advance(now);
        if consumer.member_to_save().is_some() {
            consumer.member_saved();
            consumer.advance(now);
        }
        let unknown = consumer.take_unknown();
        most = most.max(unknown.len());
        unknown.iter().for_each(|(place, _)| consumer.resume(place, (None, Vec::new()), false));
        while consumer.has_lines() {
            let Some(run) = consumer.run(now, 0) else { continue };
            consumer.stored(run.origin, run.span.last.unsigned_abs() + 1);
        }
        let places = consumer.take_drain();
        consumer.drained(&places, true);
        if turn == 150 {
            consumer.leave();
        }
        if !script.answer(&mut consumer.cluster, &mut bodies, now) {
            break;
        }
    }
    most
}

/// The offsets and lengths of the records in a batch with this content behind its checksum.
pub fn records(content: &[u8]) -> Vec<(i64, usize)> {
    let mut found = Vec::new();
    let mut batch = vec![0; 21];
    batch.extend_from_slice(content);
    let length = u32::try_from(batch.len() - 12).unwrap_or(0);
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[16] = 2;
    batch[17..21].copy_from_slice(&crc32c::crc32c(content).to_be_bytes());
    let mut bytes = Bytes::from(batch);
    let Ok(Some((head, packed))) = batch::split(&mut bytes) else { return found };
    let Ok(mut records) = batch::Records::open(head, packed) else { return found };
    let bytes = records.bytes.clone();
    while let Ok(Some((record, behind))) = records.peek(&bytes) {
        let headers: usize = record.headers.map(|(name, value)| name.len() + value.len()).sum();
        found.push((record.offset, record.value.unwrap_or_default().len() + headers));
        records.pass(record.offset, behind);
    }
    found
}

/// The correlation ids of whole requests.
fn correlations(mut bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    let mut found = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let len = u32::from_be_bytes(*len) as usize;
        let (Some(request), Some(next)) = (rest.get(..len), rest.get(len..)) else { break };
        let id = request.get(4..).and_then(|rest| rest.first_chunk::<4>());
        found.extend(id.copied());
        bytes = next;
    }
    found.into_iter()
}
