//! What kcat tells of a topic, and what it reads from it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::brokers;
use super::cluster::Cluster;
use crate::chain::Tally;

/// Partitions of each topic.
pub(super) const PARTITIONS: u32 = 6;
/// How long replicas may take to be in sync.
const SYNC: Duration = Duration::from_secs(120);
/// Between two looks at a topic.
const LOOK: Duration = Duration::from_millis(100);

/// A topic of a cluster.
#[derive(Clone, Copy)]
pub(super) struct Topic<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) name: &'a str,
}

/// What is in a topic.
pub(super) struct Content {
    pub(super) tally: Tally,
    /// Lines behind one with a higher number in the same partition.
    pub(super) disorder: u64,
}

impl<'a> Topic<'a> {
    /// A new topic.
    pub(super) fn create(cluster: &'a Cluster, name: &'a str) -> Result<Self> {
        brokers::create(cluster, name, PARTITIONS)?;
        Ok(Self { cluster, name })
    }

    fn kcat(&self, mode: &str) -> Command {
        let mut kcat = Command::new("kcat");
        kcat.args([mode, "-b", &self.cluster.list()]).stdin(Stdio::null()).stderr(Stdio::null());
        kcat
    }

    /// How many records it has; `None` while some leader does not answer.
    pub(super) fn records(&self) -> Result<Option<u64>> {
        let mut kcat = self.kcat("-Q");
        for partition in 0..PARTITIONS {
            kcat.args(["-t", &format!("{}:{partition}:-1", self.name)]);
        }
        let output = kcat.output().context("cannot start kcat")?;
        // A line each: `t [0] offset 123`.
        let text = String::from_utf8_lossy(&output.stdout);
        let ends: Vec<u64> =
            text.lines().filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        Ok((ends.len() == PARTITIONS as usize).then(|| ends.iter().sum()))
    }

    /// Waits until it has so many records, or has not grown for `quiet`; tells when it last grew.
    pub(super) fn wait(&self, records: u64, quiet: Duration, most: Duration) -> Result<Instant> {
        let start = Instant::now();
        let mut grown = (start, 0);
        while grown.1 < records && grown.0.elapsed() < quiet && start.elapsed() < most {
            thread::sleep(LOOK);
            if let Some(now) = self.records()?.filter(|now| *now != grown.1) {
                grown = (Instant::now(), now);
            }
        }
        Ok(grown.0)
    }

    /// Waits until every replica is in sync.
    pub(super) fn wait_in_sync(&self) -> Result<()> {
        let start = Instant::now();
        while !self.is_in_sync()? {
            ensure!(start.elapsed() < SYNC, "replicas were not in sync after {SYNC:?}");
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn is_in_sync(&self) -> Result<bool> {
        let output = self.kcat("-L").args(["-J", "-t", self.name]).output()?;
        let Ok(told) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else {
            return Ok(false);
        };
        let partitions = told["topics"][0]["partitions"].as_array().map_or(&[][..], Vec::as_slice);
        let whole = |partition: &&serde_json::Value| {
            partition["isrs"].as_array().map(Vec::len) == Some(self.cluster.len())
        };
        Ok(partitions.iter().filter(whole).count() == PARTITIONS as usize)
    }

    /// Reads all of it: numbered lines, 1 to `lines`.
    pub(super) fn content(&self, lines: u64) -> Result<Content> {
        let mut kcat = self.kcat("-C");
        kcat.args(["-e", "-q", "-o", "beginning", "-X", "check.crcs=true", "-f", "%p %s\n"]);
        let mut child = kcat.args(["-t", self.name]).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("kcat has no output")?;
        let mut content = Content { tally: Tally::new(lines), disorder: 0 };
        content.take(BufReader::with_capacity(1 << 20, stdout))?;
        let status = child.wait()?;
        ensure!(status.success(), "kcat -C: {status}");
        Ok(content)
    }
}

impl Content {
    fn take(&mut self, mut from: impl BufRead) -> Result<()> {
        let (mut line, mut last) = (Vec::new(), [0; PARTITIONS as usize]);
        while from.read_until(b'\n', &mut line)? > 0 {
            let mut parts = line.trim_ascii_end().splitn(2, |byte| *byte == b' ');
            let partition = parts.next().and_then(|p| std::str::from_utf8(p).ok()?.parse().ok());
            let Some(last) = partition.and_then(|partition: usize| last.get_mut(partition)) else {
                bail!("kcat prints {}", String::from_utf8_lossy(&line));
            };
            if let Some(number) = self.tally.line(parts.next().unwrap_or_default()) {
                self.disorder += u64::from(number < *last);
                *last = number;
            }
            line.clear();
        }
        Ok(())
    }
}
