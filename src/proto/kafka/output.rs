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
use crate::output::worker::{Kept, Worker, Written};

/// The worker of an output. It is started with the first lines.
#[derive(Debug)]
pub(super) struct KafkaWorker {
    plan: KafkaOutPlan,
    name: String,
    exact: bool,
    output: Option<KafkaOutput>,
    /// What an earlier process kept, until the output is started.
    kept: Vec<String>,
    /// True if lines after that are missing, the same.
    missing: bool,
}

#[derive(Debug)]
struct KafkaOutput {
    producer: Producer,
    sockets: Sockets,
    clock: SystemClock,
}

impl KafkaWorker {
    /// The worker of the output of this name; with `exact` what it keeps is written.
    pub(super) fn new(plan: KafkaOutPlan, name: &str, exact: bool) -> Self {
        Self { plan, name: name.into(), exact, output: None, kept: Vec::new(), missing: false }
    }

    /// The output, started if it is not yet.
    fn started(&mut self) -> Result<&mut KafkaOutput, String> {
        if self.output.is_none() {
            let mut output = KafkaOutput::start(&self.plan, &self.name, self.exact)?;
            output.producer.restore(&self.kept);
            if self.missing {
                output.producer.missing();
            }
            self.output = Some(output);
        }
        self.output.as_mut().ok_or_else(|| "not started".into())
    }
}

impl Worker for KafkaWorker {
    fn append(&mut self, batches: &[Batch]) -> Written {
        match self.started() {
            Ok(output) => output.append(batches),
            Err(error) => Written { error: Some(error), ..Written::default() },
        }
    }

    fn restore(&mut self, kept: &Kept) -> Result<(), String> {
        self.kept.clone_from(&kept.notes);
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
    /// An output that has no connection yet.
    ///
    /// # Errors
    /// Why it cannot work; it is tried again.
    fn start(plan: &KafkaOutPlan, name: &str, keeps_state: bool) -> Result<Self, String> {
        let clock = SystemClock::new();
        let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
        let setup = Setup {
            name: name.into(),
            compression: plan.compression,
            timeout: plan.timeout,
            keeps_state,
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
}

impl KafkaOutput {
    fn advance(&mut self) {
        let wall = self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
        self.producer.advance(self.clock.mono(), wall);
    }

    /// Delivers lines as far as it goes in one job.
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
