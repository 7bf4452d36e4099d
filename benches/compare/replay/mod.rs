//! `logweir spool replay` into a TCP sink, beside what `cat | socat` moves.

mod fill;
mod mover;
mod sink;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};

use self::mover::Mover;
use self::sink::Sink;
use crate::case::Case;
use crate::chain;
use crate::load::LINE_BYTES;
use crate::measure::Bench;
use crate::program::in_path;
use crate::strace::{self, Strace};
use crate::table::{median, show};

/// The figures of one run.
struct Moved {
    bytes: u64,
    mib_per_s: f64,
    cpu_ns_per_line: f64,
}

/// One mover's figures.
struct Row {
    mover: Mover,
    runs: Vec<Moved>,
    /// System calls a thousand lines.
    calls: Option<f64>,
}

/// Fills a spool, runs both in turn, round by round, and prints the table; false when one failed.
pub(crate) fn run_case(bench: &Bench<'_>, case: &Case, rounds: usize) -> Result<bool> {
    let mut movers = vec![Mover::Logweir];
    match in_path("socat") {
        Some(_) => movers.push(Mover::Socat),
        None => println!("not installed, left out: socat"),
    }
    let dir = bench.run_dir()?;
    let spool = fill::fill(&chain::programs(bench), case.lines, dir.path())?;
    let run = Run { logweir: &bench.found.logweir, spool: &spool, lines: case.lines };
    let mut rows: Vec<Row> =
        movers.into_iter().map(|mover| Row { mover, runs: Vec::new(), calls: None }).collect();
    let mut good = true;
    for round in 0..rounds {
        for row in &mut rows {
            let outcome = run.round(bench, row, round == 0 && Strace::is_here());
            if let Err(error) = outcome {
                eprintln!("{}: {error:#}", row.mover);
                good = false;
            }
        }
    }
    print(&rows);
    Ok(good)
}

/// What all runs have in common.
struct Run<'a> {
    logweir: &'a Path,
    spool: &'a Path,
    lines: u64,
}

impl Run<'_> {
    /// One timed run and, where it is wanted, one under strace.
    fn round(&self, bench: &Bench<'_>, row: &mut Row, strace: bool) -> Result<()> {
        row.runs.push(self.once(bench, row.mover, false)?.0);
        if strace {
            row.calls = self.once(bench, row.mover, true)?.1;
        }
        Ok(())
    }

    /// Moves the spool once; with strace, the system calls a thousand lines too.
    fn once(&self, bench: &Bench<'_>, mover: Mover, strace: bool) -> Result<(Moved, Option<f64>)> {
        let dir = bench.run_dir()?;
        let spool = dir.path().join("spool");
        fill::copy(self.spool, &spool)?;
        let sink = Sink::open()?;
        let table = strace.then(|| dir.path().join("strace.table"));
        let mut command = mover.command(self.logweir, &spool, sink.port, table.as_deref());
        let (before, start) = (children_cpu()?, Instant::now());
        let output = command.stdin(Stdio::null()).output().context("cannot start it")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}", output.status, said.trim());
        let cpu = children_cpu()?.saturating_sub(before);
        let taken = sink.taken()?;
        ensure!(taken.bytes >= self.lines * LINE_BYTES, "{} bytes only", taken.bytes);
        let moved = Moved {
            bytes: taken.bytes,
            mib_per_s: taken.bytes as f64 / (taken.end - start).as_secs_f64() / 1048576.0,
            cpu_ns_per_line: cpu.as_secs_f64() * 1e9 / self.lines as f64,
        };
        let calls = table.map(|table| strace::total(&table)).transpose()?;
        Ok((moved, calls.map(|calls| calls as f64 * 1000.0 / self.lines as f64)))
    }
}

/// User and system time of all children that have ended and were waited for.
fn children_cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec().unsigned_abs(), 0)
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    Ok(micros(usage.user_time()) + micros(usage.system_time()))
}

fn print(rows: &[Row]) {
    println!(
        "{:<22} {:>9} {:>12} {:>12} {:>11}",
        "", "MiB/s", "bytes", "CPU ns/line", "calls/1000"
    );
    for row in rows {
        println!(
            "{:<22} {:>9} {:>12} {:>12} {:>11}",
            row.mover.to_string(),
            show(median(&row.runs, |run| run.mib_per_s), 0),
            show(median(&row.runs, |run| run.bytes as f64), 0),
            show(median(&row.runs, |run| run.cpu_ns_per_line), 0),
            show(row.calls, 1),
        );
    }
    let speed = |row: &Row| median(&row.runs, |run| run.mib_per_s);
    if let [ours, theirs] = rows {
        let ratio = speed(ours).zip(speed(theirs)).map(|(ours, theirs)| ours / theirs);
        println!("logweir over socat: bytes a second x {} (wanted: at least 0.8)", show(ratio, 2));
    }
}
