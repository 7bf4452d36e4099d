//! One run of one program under one load.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::case::{Case, CaseName};
use crate::daemon::Daemon;
use crate::door::{Door, free_tcp_port, free_udp_port};
use crate::program::{Found, Place, Program};
use crate::{load, pin, stalled, stream};

/// The output counts as complete when it has not grown for so long (rsyslog writes its last buffer
/// after a second),
const QUIET: Duration = Duration::from_millis(1200);
/// or only for so long, where as much is there as was sent.
const QUIET_COMPLETE: Duration = Duration::from_millis(200);
/// A program that still writes after so long is not waited for any more.
const DRAIN: Duration = Duration::from_secs(60);

/// What all runs have in common.
pub(crate) struct Bench<'a> {
    pub(crate) found: &'a Found,
    pub(crate) scratch: &'a Path,
    pub(crate) keep: bool,
}

/// The figures of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) sent: u64,
    pub(crate) kept: u64,
    pub(crate) lines_per_s: f64,
    /// CPU time over the lines kept.
    pub(crate) cpu_ns_per_line: f64,
    pub(crate) memory_mib: f64,
    /// How many lines the file of the errors has more or less than there are errors among the
    /// lines kept, where there is such a file.
    pub(crate) misplaced: u64,
}

impl Bench<'_> {
    /// A folder for one run.
    pub(crate) fn run_dir(&self) -> Result<TempDir> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("run-").disable_cleanup(self.keep);
        Ok(builder.tempdir_in(self.scratch)?)
    }

    /// Starts the program, sends the load, lets it drain, ends it and counts.
    pub(crate) fn run(&self, program: &Program, case: &Case) -> Result<Measured> {
        let dir = self.run_dir()?;
        let place = Place { dir: dir.path(), port: free_port(case.name)? };
        let measured = self.run_at(program, case, &place).with_context(|| last_words(dir.path()));
        stalled::clean_up(dir.path());
        measured
    }

    fn run_at(&self, program: &Program, case: &Case, place: &Place<'_>) -> Result<Measured> {
        let mut command = self.found.command(program, place)?;
        let (door, output) = match case.name {
            CaseName::SyslogTcp => (Door::Tcp(place.port), place.output()),
            CaseName::SyslogUdp => (Door::Udp(place.port), place.all()),
            _ => (Door::Udp(place.port), place.output()),
        };
        if case.name == CaseName::SyslogTcp {
            command = pin::daemon(&command);
        }
        let mut daemon = Daemon::start(&mut command, place.dir)?;
        daemon.wait_for(&door)?;
        let before = daemon.cpu()?;
        let took = if case.name == CaseName::SyslogTcp {
            stream::send(place.port, case.lines, &output)?
        } else {
            let took = load::send(&self.found.logweir, case, place.port)?;
            drain(&output, case.lines * load::LINE_BYTES);
            took
        };
        daemon.check()?;
        let cpu = daemon.cpu()?.saturating_sub(before);
        let memory_kib = daemon.peak_memory_kib()?;
        daemon.stop()?;
        let kept = count_lines(&output)?;
        ensure!(kept > 0, "no line arrived");
        let misplaced = match case.name {
            CaseName::SyslogUdp => count_errors(&output)?.abs_diff(count_lines(&place.errors())?),
            _ => 0,
        };
        // Into a stream the time runs until the lines are kept, else until they are sent.
        let timed = if case.name == CaseName::SyslogTcp { kept } else { case.lines };
        Ok(Measured {
            sent: case.lines,
            kept,
            lines_per_s: timed as f64 / took.as_secs_f64(),
            cpu_ns_per_line: cpu.as_secs_f64() * 1e9 / kept as f64,
            memory_mib: memory_kib as f64 / 1024.0,
            misplaced,
        })
    }
}

/// A port that was free a moment ago, of the protocol the case has.
fn free_port(case: CaseName) -> Result<u16> {
    match case {
        CaseName::SyslogTcp => free_tcp_port(),
        _ => free_udp_port(),
    }
}

/// Waits until a file has stopped growing.
fn drain(file: &Path, complete: u64) {
    let size = || fs::metadata(file).map_or(0, |data| data.len());
    let start = Instant::now();
    let mut grown = (start, size());
    let quiet = |size| if size >= complete { QUIET_COMPLETE } else { QUIET };
    while grown.0.elapsed() < quiet(grown.1) && start.elapsed() < DRAIN {
        thread::sleep(Duration::from_millis(50));
        let now = size();
        if now != grown.1 {
            grown = (Instant::now(), now);
        }
    }
}

fn count_lines(file: &Path) -> Result<u64> {
    let mut file = File::open(file).context("no output file")?;
    let mut buffer = vec![0; 1 << 20];
    let mut lines = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(lines),
            read => lines += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64,
        }
    }
}

/// How many messages in a file are errors.
fn count_errors(file: &Path) -> Result<u64> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(file)?);
    let (mut line, mut errors) = (Vec::new(), 0);
    while file.read_until(b'\n', &mut line)? > 0 {
        errors += u64::from(line.starts_with(load::ERROR));
        line.clear();
    }
    Ok(errors)
}

/// The end of what a program that failed had to say.
pub(crate) fn last_words(dir: &Path) -> String {
    let text = fs::read(dir.join("stderr")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(5)..].join(" | ");
    if last.is_empty() { "it printed nothing".into() } else { format!("it printed: {last}") }
}
