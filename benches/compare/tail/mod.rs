//! Files that are followed: at a rate and from a backlog beside rsyslog's imfile, a large backlog
//! beside a bare read loop, and ten thousand files that nobody writes to.

mod follower;
mod logs;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use logweir::driver::control::{Request, ask};
use logweir::engine::status::Status;

use self::follower::Follower;
use crate::bareloop;
use crate::case::Case;
use crate::daemon::Daemon;
use crate::load::LINE_BYTES;
use crate::measure::{Bench, last_words};
use crate::strace::Strace;
use crate::table::{median, show};

const READ_LOOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/tail/readloop.c");
/// Lines a second of a file that is written to at a rate.
const RATE: u64 = 50_000;
/// Files that nobody writes to.
const FILES: usize = 10_000;
/// How long they are watched.
const WATCHED: Duration = Duration::from_secs(10);
/// What that many files may take, in MiB.
const FILES_MAX: f64 = 64.0;
/// What has not come after so long does not come.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at what has come.
const LOOK: Duration = Duration::from_millis(5);

/// The figures of one run.
struct Followed {
    lines_per_s: f64,
    cpu_ns_per_line: f64,
    memory_mib: f64,
}

/// How the lines come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// They are written while the file is followed.
    AtARate,
    /// They are there.
    Backlog,
}

/// Runs all of it; false where a figure that does not depend on the machine is missed.
pub(crate) fn run_case(bench: &Bench<'_>, case: &Case, rounds: usize) -> Result<bool> {
    let mut followers = vec![Follower::Logweir];
    if bench.found.rsyslog().is_some() {
        followers.push(Follower::Rsyslog);
    }
    let few = case.lines / 10;
    for (load, lines) in [(Load::AtARate, few), (Load::Backlog, few)] {
        let mut rows: Vec<(Follower, Vec<Followed>)> =
            followers.iter().map(|follower| (*follower, Vec::new())).collect();
        for _ in 0..rounds {
            for (follower, runs) in &mut rows {
                runs.push(follow(bench, *follower, load, lines)?);
            }
        }
        print(load, lines, &rows);
    }
    backlog(bench, case.lines, rounds)?;
    idle(bench)
}

/// Follows one file; the time runs until its last line has come.
fn follow(bench: &Bench<'_>, follower: Follower, load: Load, lines: u64) -> Result<Followed> {
    let dir = bench.run_dir()?;
    let (log, output) = (dir.path().join("followed.log"), dir.path().join("out"));
    if load == Load::Backlog {
        logs::fill(&log, lines)?;
    }
    let mut command = follower.command(bench, dir.path(), &log.display().to_string(), &output)?;
    let start = Instant::now();
    let mut daemon = Daemon::start(&mut command, dir.path())?;
    if load == Load::AtARate {
        logs::append(&log, lines, RATE)?;
    }
    wait(&mut daemon, dir.path(), || {
        fs::metadata(&output).map_or(0, |found| found.len()) >= lines * LINE_BYTES
    })?;
    let took = start.elapsed();
    let (cpu, memory_kib) = (daemon.cpu()?, daemon.peak_memory_kib()?);
    daemon.stop()?;
    let written = fs::metadata(&output)?.len();
    ensure!(written == lines * LINE_BYTES, "{follower}: {written} bytes for {lines} lines");
    Ok(Followed {
        lines_per_s: lines as f64 / took.as_secs_f64(),
        cpu_ns_per_line: cpu.as_secs_f64() * 1e9 / lines as f64,
        memory_mib: memory_kib as f64 / 1024.0,
    })
}

fn wait(daemon: &mut Daemon, dir: &Path, done: impl Fn() -> bool) -> Result<()> {
    let start = Instant::now();
    while !done() {
        daemon.check().with_context(|| last_words(dir))?;
        ensure!(start.elapsed() < PATIENCE, "not all had come after {PATIENCE:?}");
        thread::sleep(LOOK);
    }
    Ok(())
}

fn print(load: Load, lines: u64, rows: &[(Follower, Vec<Followed>)]) {
    let what = match load {
        Load::AtARate => format!("{lines} lines at {RATE}/s"),
        Load::Backlog => format!("{lines} lines that are there"),
    };
    println!("{what:<34} {:>10} {:>12} {:>9}", "lines/s", "CPU ns/line", "peak MiB");
    for (follower, runs) in rows {
        println!(
            "{:<34} {:>10} {:>12} {:>9}",
            follower.to_string(),
            show(median(runs, |run| run.lines_per_s), 0),
            show(median(runs, |run| run.cpu_ns_per_line), 0),
            show(median(runs, |run| run.memory_mib), 1),
        );
    }
    let cpu = |(_, runs): &(Follower, Vec<Followed>)| median(runs, |run| run.cpu_ns_per_line);
    if let [ours, theirs] = rows {
        let ratio = cpu(ours).zip(cpu(theirs)).map(|(ours, theirs)| ours / theirs);
        println!("logweir over rsyslog: CPU a line x {} (wanted: at most 0.25)", show(ratio, 3));
    }
}

/// A large file into /dev/null, beside the read loop.
fn backlog(bench: &Bench<'_>, lines: u64, rounds: usize) -> Result<()> {
    let program = bareloop::compile_from(READ_LOOP, &bench.scratch.join("readloop"))?;
    let dir = bench.run_dir()?;
    let log = dir.path().join("backlog.log");
    logs::fill(&log, lines)?;
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let start = Instant::now();
        let mut command = Command::new(&program);
        command.arg(&log).arg("/dev/null").stdin(Stdio::null());
        let output = command.output().context("the read loop")?;
        ensure!(output.status.success(), "the read loop: {}", output.status);
        bare.push(lines as f64 / start.elapsed().as_secs_f64());
        ours.push(read_backlog(bench, &log, lines)?);
    }
    let (bare, ours) = (median(&bare, |rate| *rate), median(&ours, |rate| *rate));
    println!(
        "backlog of {lines} lines, {:.1} GiB, into /dev/null: read loop {} lines/s, \
         logweir {} lines/s",
        (lines * LINE_BYTES) as f64 / f64::from(1 << 30),
        show(bare, 0),
        show(ours, 0)
    );
    let ratio = ours.zip(bare).map(|(ours, bare)| ours / bare);
    println!("logweir over the read loop: lines/s x {} (wanted: at least 0.5)", show(ratio, 2));
    Ok(())
}

/// How many lines of the file a second logweir reads, its start included.
fn read_backlog(bench: &Bench<'_>, log: &Path, lines: u64) -> Result<f64> {
    let dir = bench.run_dir()?;
    let pattern = log.display().to_string();
    let null = Path::new("/dev/null");
    let mut command = Follower::Logweir.command(bench, dir.path(), &pattern, null)?;
    let control = dir.path().join("control.sock");
    let start = Instant::now();
    let mut daemon = Daemon::start(&mut command, dir.path())?;
    wait(&mut daemon, dir.path(), || written(&control).is_some_and(|written| written >= lines))?;
    let took = start.elapsed();
    daemon.stop()?;
    Ok(lines as f64 / took.as_secs_f64())
}

/// How many lines the output has written.
fn written(control: &Path) -> Option<u64> {
    let status: Status = serde_json::from_value(ask(control, Request::Status).ok()?).ok()?;
    Some(status.nodes.iter().find(|node| node.name == "out")?.lines_out)
}

/// Ten thousand files that nobody writes to: what they take, and how often they wake somebody.
fn idle(bench: &Bench<'_>) -> Result<bool> {
    let dir = bench.run_dir()?;
    let (logs, output) = (dir.path().join("logs"), dir.path().join("out"));
    logs::many(&logs, FILES)?;
    let pattern = format!("{}/*.log", logs.display());
    let mut command = Follower::Logweir.command(bench, dir.path(), &pattern, &output)?;
    let mut daemon = Daemon::start(&mut command, dir.path())?;
    wait(&mut daemon, dir.path(), || {
        fs::metadata(&output).map_or(0, |found| found.len()) >= FILES as u64 * LINE_BYTES
    })?;
    // What is left to do after the last line: positions are written once a second.
    thread::sleep(Duration::from_secs(3));
    let calls = match Strace::is_here() {
        false => None,
        true => {
            let strace = Strace::attach(daemon.id(), dir.path())?;
            thread::sleep(WATCHED);
            Some(strace.finish()? as f64)
        }
    };
    let mib = daemon.resident_kib()? as f64 / 1024.0;
    daemon.stop()?;
    println!(
        "{FILES} idle files: {mib:.1} MiB (at most {FILES_MAX}), {} system calls in {WATCHED:?}",
        show(calls, 0)
    );
    if mib > FILES_MAX {
        eprintln!("{mib:.1} MiB are more than {FILES_MAX} MiB");
    }
    Ok(mib <= FILES_MAX)
}
