//! A load over TCP: frames with octet counts (RFC 6587) on many connections, each in its turn.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::load::LINE_BYTES;

/// How many connections.
pub(crate) const COUNT: usize = 100;
/// Frames of one write.
const FRAMES: u64 = 300;
/// How long a daemon may take none of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends so many lines; how long that took.
pub(crate) fn send(port: u16, lines: u64) -> Result<Duration> {
    let frame = frame();
    let frames = frame.repeat(usize::try_from(FRAMES)?);
    let mut streams = Vec::new();
    for _ in 0..COUNT {
        let stream = TcpStream::connect(("127.0.0.1", port)).context("cannot connect")?;
        stream.set_write_timeout(Some(PATIENCE))?;
        streams.push(stream);
    }
    let start = Instant::now();
    let mut left = lines;
    let mut turn = 0;
    while left > 0 {
        let count = left.min(FRAMES);
        let bytes = frame.len() * usize::try_from(count)?;
        streams[turn % COUNT].write_all(&frames[..bytes]).context("cannot send")?;
        left -= count;
        turn += 1;
    }
    Ok(start.elapsed())
}

/// A message of RFC 5424 that makes a line of the usual length, with its count.
fn frame() -> Vec<u8> {
    let head = "<134>1 2026-11-23T10:00:00.123456Z web1 nginx 4711 access [meta seq=\"1\"] ";
    let length = usize::try_from(LINE_BYTES).unwrap_or(200) - 1;
    let text = "x".repeat(length - head.len());
    format!("{length} {head}{text}").into_bytes()
}

/// The processors that this program ran on before; restored when dropped.
pub(crate) struct Kept(CpuSet);

impl Drop for Kept {
    fn drop(&mut self) {
        // Measuring goes on, at worst on fewer processors.
        let _ = sched_setaffinity(Pid::from_raw(0), &self.0);
    }
}

/// Keeps this thread, and what it starts from now on, to one processor.
pub(crate) fn keep_to(processor: usize) -> Result<Kept> {
    let before = sched_getaffinity(Pid::from_raw(0))?;
    let mut one = CpuSet::new();
    one.set(processor)?;
    sched_setaffinity(Pid::from_raw(0), &one).context("cannot keep to one processor")?;
    Ok(Kept(before))
}
