//! The thread of an output: it gives lines to the producer, moves bytes, and tells the time.

use std::time::{Duration, UNIX_EPOCH};

use super::cluster::Cluster;
use super::config::KafkaOutPlan;
use super::murmur2::murmur2;
use super::producer::assign::Assigner;
use super::producer::{Producer, Setup};
use super::sockets::Sockets;
use crate::batch::Batch;
use crate::clock::{Clock, SystemClock};
use crate::format::Formatter;
use crate::ledger::Reason;
use crate::limits::CLUSTER_JOB;
use crate::output::worker::{StartWorker, Worker, Written};

#[derive(Debug)]
struct KafkaOutput {
    producer: Producer,
    sockets: Sockets,
    clock: SystemClock,
}

impl StartWorker for KafkaOutPlan {
    fn start(&self, name: &str, keeps: bool) -> Result<Box<dyn Worker>, String> {
        let clock = SystemClock::new();
        let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
        let setup = Setup {
            name: name.into(),
            compression: self.compression,
            timeout: self.timeout,
            keeps_state: keeps,
            sticky: u64::from(murmur2(format!("{host}/{name}").as_bytes()) & 0x7fff_ffff),
        };
        let formatter = Formatter::new(&self.format);
        let assigner =
            Assigner::new(self.topic.clone(), &self.partitioning, self.headers, formatter, host)?;
        // A broker answers a request of ours within its time-out, and a little later.
        let timeout = self.timeout + Duration::from_secs(5);
        let cluster = Cluster::new(self.brokers.clone(), timeout, true, clock.mono());
        let sockets = Sockets::new(self.access.clone()).map_err(|error| error.to_string())?;
        let producer = Producer::new(setup, cluster, assigner);
        Ok(Box::new(KafkaOutput { producer, sockets, clock }))
    }
}

impl KafkaOutput {
    fn advance(&mut self) {
        let wall = self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
        self.producer.advance(self.clock.mono(), wall);
    }
}

impl Worker for KafkaOutput {
    fn append(&mut self, batches: &[Batch]) -> Written {
        let until = self.clock.mono() + CLUSTER_JOB;
        loop {
            // Lines whose topic was not known before may be taken now.
            self.producer.give(batches);
            self.advance();
            let done = self.producer.take_done();
            let now = self.clock.mono();
            let pause = self.producer.needs_saving();
            if done.bytes > 0 || pause || now >= until {
                let stuck = done.bytes == 0 && !pause;
                return Written {
                    bytes: done.bytes,
                    refused: done.refused,
                    reason: Reason::Oversize,
                    pause,
                    error: self.producer.error().filter(|_| stuck),
                    ..Written::default()
                };
            }
            let wake = self.producer.deadline(now).map_or(until, |at| at.min(until));
            let wait = wake.since(now).max(Duration::from_millis(1));
            let turned = self.sockets.turn(&mut self.producer.cluster, wait, &self.clock);
            if let Err(error) = turned {
                return Written { error: Some(error.to_string()), ..Written::default() };
            }
        }
    }

    fn restore(&mut self, notes: &[String]) {
        self.producer.restore(notes);
    }

    fn missing(&mut self) {
        self.producer.missing();
    }

    fn keep(&mut self) -> Vec<String> {
        self.producer.state()
    }

    fn saved(&mut self) {
        self.producer.saved();
    }
}
