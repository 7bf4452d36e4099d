//! The reckoning: what became of every line, and whether the daemons have grown.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::feed::{Feed, KINDS, line};
use super::host::{Host, Sample};

/// Lines that were sent so long before or after a trouble may be lost by it: what waits in a
/// daemon's queues, and what comes while it starts on a machine that is busy.
const AROUND: Duration = Duration::from_secs(5);
/// What a daemon may have more of in the second half of a run than it had in the first.
const DESCRIPTORS: u64 = 16;
const THREADS: u64 = 8;
/// `memory` of the hosts and 32 MiB.
const RESIDENT_KIB: u64 = (16 + 32) * 1024;

/// An edge host with its feed and its times of trouble.
pub(super) struct Edge<'a> {
    pub(super) host: &'a Host,
    pub(super) feed: &'a Feed,
    pub(super) troubles: &'a [(Instant, Instant)],
}

/// The counts of an edge host's lines.
#[derive(Debug, Default)]
pub(super) struct Reckoned {
    pub(super) sent: usize,
    pub(super) arrived: usize,
    pub(super) filtered: usize,
}

/// All lines of the hub, by what they say; none is there twice.
pub(super) fn of_hub(hub: &Host) -> Result<HashSet<String>> {
    let lines = hub.lines("all")?;
    let count = lines.len();
    let all: HashSet<_> = lines.into_iter().collect();
    ensure!(all.len() == count, "{} lines are at the hub twice", count - all.len());
    Ok(all)
}

impl Edge<'_> {
    /// Reckons up the lines of a host with those that the hub has.
    pub(super) fn reckon(&self, hub: &HashSet<String>) -> Result<Reckoned> {
        let name = &self.host.name;
        let stored: HashSet<_> = self.host.lines("spool")?.into_iter().collect();
        let missing = stored.iter().filter(|line| !hub.contains(*line)).count();
        ensure!(missing == 0, "{name}: {missing} lines of its spool never reached the hub");
        let mut reckoned = Reckoned::default();
        let mut raw = HashMap::new();
        for (kind, sent) in KINDS.iter().zip(&self.feed.sent) {
            let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            let lines: Vec<_> = (0..sent.len()).map(|number| line(name, kind, number)).collect();
            let oldest = lines.iter().position(|line| stored.contains(line)).unwrap_or(lines.len());
            for (number, (line, at)) in lines.iter().zip(sent.iter()).enumerate() {
                let (here, there) = (stored.contains(line), hub.contains(line));
                // Kept lines go first when the disk is full.
                ensure!(here || !there || number < oldest, "{name}: the hub made up {line:?}");
                ensure!(there || self.in_trouble(*at), "{name}: {line:?} was lost for no reason");
                reckoned.arrived += usize::from(there);
            }
            reckoned.sent += sent.len();
            if *kind == "raw" {
                raw = lines.into_iter().zip(sent.iter().copied()).collect();
            }
        }
        reckoned.filtered = self.filtered(&mut raw)?;
        Ok(reckoned)
    }

    /// The lines that came through the filter: each once, all but those of times of trouble.
    fn filtered(&self, raw: &mut HashMap<String, Instant>) -> Result<usize> {
        let name = &self.host.name;
        let lines = self.host.lines("filtered")?;
        for line in &lines {
            let sent = raw.remove(line);
            sent.with_context(|| format!("{name}: {line:?} came twice, or was never sent"))?;
        }
        match raw.iter().find(|(_, at)| !self.in_trouble(**at)) {
            Some((line, _)) => bail!("{name}: the filter lost {line:?} for no reason"),
            None => Ok(lines.len()),
        }
    }

    fn in_trouble(&self, at: Instant) -> bool {
        self.troubles.iter().any(|(start, end)| at + AROUND > *start && at < *end + AROUND)
    }
}

/// The most of a host; an error if it has grown.
pub(super) fn flat(name: &str, samples: &[Sample]) -> Result<Sample> {
    let most = |samples: &[Sample]| {
        samples.iter().fold(Sample::default(), |most, sample| Sample {
            descriptors: most.descriptors.max(sample.descriptors),
            threads: most.threads.max(sample.threads),
            resident_kib: most.resident_kib.max(sample.resident_kib),
        })
    };
    let (first, second) = samples.split_at(samples.len() / 2);
    let (first, second) = (most(first), most(second));
    for (what, before, after, more) in [
        ("descriptors", first.descriptors, second.descriptors, DESCRIPTORS),
        ("threads", first.threads, second.threads, THREADS),
    ] {
        ensure!(after <= before + more, "{name}: {before} {what}, and later {after}");
    }
    let most = most(samples);
    ensure!(most.resident_kib <= RESIDENT_KIB, "{name}: {} KiB of memory", most.resident_kib);
    Ok(most)
}
