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
use crate::host;
use crate::ledger::Reason;
use crate::limits::CLUSTER_JOB;
use crate::output::worker::{Kept, Worker, Written};

#[derive(Debug)]
struct KafkaOutput {
    producer: Producer,
    sockets: Sockets,
    clock: SystemClock,
}

/// The worker of an output, begun with its first lines.
#[derive(Debug)]
pub(super) struct KafkaWorker {
    plan: KafkaOutPlan,
    name: String,
    /// Whether what it keeps is written.
    keeps: bool,
    output: Option<KafkaOutput>,
    /// What was kept by an earlier process, until the output is begun, and the number behind the
    /// last line that it can have sent.
    kept: Vec<String>,
    held_to: u64,
    /// Whether lines behind that are missing, the same.
    missing: bool,
}

impl KafkaWorker {
    pub(super) fn new(plan: &KafkaOutPlan, name: &str, keeps: bool) -> Self {
        let (plan, name) = (plan.clone(), name.to_string());
        Self { plan, name, keeps, output: None, kept: Vec::new(), held_to: 0, missing: false }
    }

    fn begin(&self) -> Result<KafkaOutput, String> {
        let mut output = KafkaOutput::new(&self.plan, &self.name, self.keeps)?;
        output.producer.restore(&self.kept, self.held_to);
        if self.missing {
            output.producer.missing();
        }
        Ok(output)
    }
}

impl Worker for KafkaWorker {
    fn append(&mut self, batches: &[Batch]) -> Written {
        if self.output.is_none() {
            match self.begin() {
                Ok(output) => self.output = Some(output),
                Err(error) => return Written { error: Some(error), ..Written::default() },
            }
        }
        self.output.as_mut().map_or_else(Written::default, |output| output.append(batches))
    }

    fn restore(&mut self, kept: &Kept, held_to: u64) -> Result<(), String> {
        self.kept.clone_from(&kept.notes);
        self.held_to = held_to;
        Ok(())
    }

    fn missing(&mut self) {
        match &mut self.output {
            Some(output) => output.producer.missing(),
            None => self.missing = true,
        }
    }

    fn checkpoint(&mut self) -> Result<Kept, String> {
        let notes = match &mut self.output {
            Some(output) => output.producer.state(),
            None => self.kept.clone(),
        };
        Ok(Kept { notes, ..Kept::default() })
    }

    fn saved(&mut self) {
        if let Some(output) = &mut self.output {
            output.producer.saved();
        }
    }
}

impl KafkaOutput {
    fn new(plan: &KafkaOutPlan, name: &str, keeps: bool) -> Result<Self, String> {
        let clock = SystemClock::new();
        let host = host::name().to_string();
        let setup = Setup {
            name: name.into(),
            compression: plan.compression,
            timeout: plan.timeout,
            keeps_state: keeps,
            sticky: u64::from(murmur2(format!("{host}/{name}").as_bytes()) & 0x7fff_ffff),
        };
        let formatter = Formatter::new(&plan.format);
        let assigner =
            Assigner::new(plan.topic.clone(), &plan.partitioning, plan.headers, formatter, host)?;
        // A broker answers a request of ours within its time-out, and a little later.
        let timeout = plan.timeout + Duration::from_secs(5);
        let cluster = Cluster::new(plan.brokers.clone(), timeout, true, clock.mono());
        let sockets = Sockets::new(plan.access.clone()).map_err(|error| error.to_string())?;
        let producer = Producer::new(setup, cluster, assigner);
        Ok(Self { producer, sockets, clock })
    }

    fn advance(&mut self) {
        let wall = self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
        self.producer.advance(self.clock.mono(), wall);
    }
}

impl KafkaOutput {
    /// Delivers lines, as far as it goes within about half a second.
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
}
