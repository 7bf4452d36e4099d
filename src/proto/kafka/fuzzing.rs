//! The entry points for fuzz/: a broker that says anything, and batches that do. Built with the
//! feature `fuzzing` only.

use std::collections::VecDeque;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::cluster::{Cluster, Command};
use super::compress::Compression;
use super::consumer::batch;
use super::producer::assign::{Assigner, Partitioning};
use super::producer::{Producer, Setup};
use crate::batch::Batch;
use crate::clock::Mono;
use crate::format::Formatter;
use crate::format::plan::FormatPlan;
use crate::forward::out::Out;

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

/// Answers one request after the other with these bodies. Returns how many bytes of lines were
/// completed, of the four that there are.
pub fn dialogue(bodies: &[&[u8]]) -> usize {
    let (mut now, mut done) = (NOW, 0);
    let Some(mut producer) = producer(now) else { return 0 };
    let mut bodies = bodies.iter();
    // Brokers that are connected, and requests that wait for an answer.
    let (mut brokers, mut waiting) = (Vec::new(), VecDeque::new());
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
        while let Some(command) = producer.cluster.poll_command() {
            match command {
                Command::Connect { broker, .. } if brokers.len() < 8 => {
                    brokers.push(broker);
                    producer.cluster.connected(broker, None, now);
                }
                Command::Connect { .. } => {}
                Command::Disconnect(gone) => {
                    brokers.retain(|broker| *broker != gone);
                    waiting.retain(|(broker, _)| *broker != gone);
                }
            }
        }
        for broker in &brokers {
            let Some(out) = producer.cluster.out(*broker) else { continue };
            let bytes: Vec<u8> = out.pieces().iter().flat_map(|piece| piece.to_vec()).collect();
            producer.cluster.wrote(*broker, bytes.len());
            waiting.extend(correlations(&bytes).map(|correlation| (*broker, correlation)));
        }
        let Some((broker, correlation)) = waiting.pop_front() else { continue };
        let Some(body) = bodies.next() else { return done };
        let len = u32::try_from(body.len() + 4).unwrap_or(0);
        let frame = [&len.to_be_bytes()[..], &correlation, body].concat();
        producer.cluster.received(broker, &frame, now);
    }
    done
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
