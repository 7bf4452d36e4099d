//! One measured run of one chain.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::ends::Programs;
use super::feed::Feed;
use super::place::{Chain, Place, Way};
use super::tally::Tally;
use crate::daemon::Daemon;
use crate::load::LINE_BYTES;
use crate::measure::last_words;
use crate::strace::Strace;

/// The receiver's file counts as complete when it has not grown for so long.
const QUIET: Duration = Duration::from_secs(10);
/// A chain that has not come to its end after so long is not waited for any more.
const DRAIN: Duration = Duration::from_secs(300);
/// Between two looks at the file.
const LOOK: Duration = Duration::from_millis(5);

/// The figures of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) sent: u64,
    pub(crate) kept: u64,
    pub(crate) twice: u64,
    pub(crate) strange: u64,
    /// Lines over the time from the first one sent to the last one in the receiver's file.
    pub(crate) lines_per_s: f64,
    pub(crate) sender: Cost,
    pub(crate) receiver: Cost,
    /// System calls of the sender a thousand lines, where that was counted.
    pub(crate) calls: Option<f64>,
}

/// What one end took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) cpu_ns_per_line: f64,
    pub(crate) memory_mib: f64,
}

/// What to send through a chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) lines: u64,
    pub(crate) rate: Option<u64>,
    /// Whether the sender's system calls are counted, which makes it slow.
    pub(crate) strace: bool,
}

/// Starts the chain in a folder, sends the lines, waits for the last one, ends it and counts.
pub(crate) fn run(programs: &Programs, chain: Chain, flow: Flow, dir: &Path) -> Result<Measured> {
    let place = Place::new(dir, Way::Stream, "64MiB")?;
    run_at(programs, chain, flow, &place)
}

fn run_at(programs: &Programs, chain: Chain, flow: Flow, place: &Place) -> Result<Measured> {
    let mut receiver = programs.receiver(chain, place)?;
    let mut sender = programs.sender(chain, place)?;
    let strace = flow.strace.then(|| Strace::attach(sender.id(), &place.sender_dir)).transpose()?;
    let before = (sender.cpu()?, receiver.cpu()?);
    let start = Instant::now();
    let feed = Feed::start(&place.door(chain.sender), flow.lines, flow.rate)?;
    let last = wait_for_size(&place.output(), flow.lines * LINE_BYTES);
    let sender_cost = cost(&mut sender, before.0, flow.lines, &place.sender_dir)?;
    let receiver_cost = cost(&mut receiver, before.1, flow.lines, &place.receiver_dir)?;
    let calls = strace.map(Strace::finish).transpose()?;
    if feed.is_over() {
        feed.wait().context("the feed")?;
    }
    sender.stop().context("sender")?;
    receiver.stop().context("receiver")?;
    let tally = Tally::file(&place.output(), flow.lines)?;
    Ok(Measured {
        sent: flow.lines,
        kept: tally.kept(),
        twice: tally.twice(),
        strange: tally.strange,
        lines_per_s: tally.kept() as f64 / (last - start).as_secs_f64(),
        sender: sender_cost,
        receiver: receiver_cost,
        calls: calls.map(|calls| calls as f64 * 1000.0 / flow.lines as f64),
    })
}

fn cost(daemon: &mut Daemon, before: Duration, lines: u64, dir: &Path) -> Result<Cost> {
    daemon.check().with_context(|| last_words(dir))?;
    let cpu = daemon.cpu()?.saturating_sub(before);
    Ok(Cost {
        cpu_ns_per_line: cpu.as_secs_f64() * 1e9 / lines as f64,
        memory_mib: daemon.peak_memory_kib()? as f64 / 1024.0,
    })
}

/// Waits until a file is that large, or grows no more; tells when it last grew.
fn wait_for_size(file: &Path, size: u64) -> Instant {
    let start = Instant::now();
    let mut grown = (start, 0);
    while grown.1 < size && grown.0.elapsed() < QUIET && start.elapsed() < DRAIN {
        thread::sleep(LOOK);
        let now = fs::metadata(file).map_or(0, |data| data.len());
        if now != grown.1 {
            grown = (Instant::now(), now);
        }
    }
    grown.0
}
