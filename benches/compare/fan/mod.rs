//! One UDP stream into many pipes that count lines, beside a tee loop in C.
//!
//! The daemon and all readers have one core, the sender another. The time of the readers is not
//! counted. A pipe of its own counts what it got, so the table shows the least of those that take
//! every line.

mod load;
mod teeloop;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::load::{Load, Takes};
use crate::case::{Case, CaseName};
use crate::daemon::Daemon;
use crate::door::{Door, free_udp_port};
use crate::measure::{Bench, last_words};
use crate::table::{median, show};
use crate::{load as sender, pin, stalled};

/// A daemon that used less than this in one look has nothing more to do.
const RESTS: Duration = Duration::from_millis(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// It is not waited for any longer than this.
const DRAIN: Duration = Duration::from_secs(60);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    TeeLoop,
    Logweir,
}

/// The figures of one run.
struct Fanned {
    lines_per_s: f64,
    /// Of the pipes that take every line and read, what the least of them got, and the most.
    least: u64,
    most: u64,
    cpu_ns_per_line: f64,
    memory_mib: f64,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::TeeLoop => "tee loop",
            Self::Logweir => "logweir",
        }
    }
}

/// Runs every load through both, round by round, and prints a table; false when one failed, or
/// when a stalled pipe cost another one lines.
pub(crate) fn run_case(
    bench: &Bench<'_>,
    case: &Case,
    rounds: usize,
    only: &[String],
) -> Result<bool> {
    let teeloop = teeloop::compile(bench.scratch)?;
    let mut good = true;
    println!(
        "{:<24} {:<10} {:>10} {:>10} {:>10} {:>7} {:>12} {:>11} {:>9}",
        "pipes",
        "program",
        "lines/s",
        "least got",
        "most got",
        "%",
        "CPU ns/line",
        "x tee loop",
        "peak MiB"
    );
    for load in Load::all() {
        let wanted = |part: &String| load.to_string().contains(part.as_str());
        if !only.is_empty() && !only.iter().any(wanted) {
            continue;
        }
        let peers = match load.suits_the_tee_loop() {
            true => vec![Peer::TeeLoop, Peer::Logweir],
            false => vec![Peer::Logweir],
        };
        let mut runs: Vec<Vec<Fanned>> = peers.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (peer, runs) in peers.iter().zip(&mut runs) {
                match run(bench, case, &load, *peer, &teeloop) {
                    Ok(fanned) => runs.push(fanned),
                    Err(error) => {
                        eprintln!("{load}, {}: {error:#}", peer.name());
                        good = false;
                    }
                }
            }
        }
        good &= print(case, &load, &peers, &runs);
    }
    Ok(good)
}

/// Prints a row each; false when a stalled pipe cost another one lines.
fn print(case: &Case, load: &Load, peers: &[Peer], runs: &[Vec<Fanned>]) -> bool {
    let base = runs.first().and_then(|runs| median(runs, |run| run.cpu_ns_per_line));
    let base = base.filter(|_| peers[0] == Peer::TeeLoop);
    for (peer, runs) in peers.iter().zip(runs) {
        let figure = |of: fn(&Fanned) -> f64| median(runs, of);
        let (least, cpu) = (figure(|run| run.least as f64), figure(|run| run.cpu_ns_per_line));
        println!(
            "{:<24} {:<10} {:>10} {:>10} {:>10} {:>7} {:>12} {:>11} {:>9}",
            load.to_string(),
            peer.name(),
            show(figure(|run| run.lines_per_s), 0),
            show(least, 0),
            show(figure(|run| run.most as f64), 0),
            show(least.map(|least| 100.0 * least / case.lines as f64), 2),
            show(cpu, 0),
            show(cpu.zip(base).map(|(cpu, base)| cpu / base), 2),
            show(figure(|run| run.memory_mib), 1),
        );
    }
    let stalls = (0..load.pipes).any(|number| load.takes(number) == Takes::Nothing);
    let whole = runs.iter().flatten().all(|run| run.least == case.lines);
    if stalls && !whole {
        eprintln!("{load}: a pipe that reads lost lines");
    }
    whole || !stalls
}

/// One run.
fn run(bench: &Bench<'_>, case: &Case, load: &Load, peer: Peer, teeloop: &Path) -> Result<Fanned> {
    let dir = bench.run_dir()?;
    let (dir, port) = (dir.path(), free_udp_port()?);
    let readers: Vec<_> = (0..load.pipes).map(|number| reader(dir, load, number)).collect();
    let command = match peer {
        Peer::TeeLoop => teeloop::command(teeloop, port, &readers),
        Peer::Logweir => logweir(&bench.found.logweir, dir, port, load, &readers)?,
    };
    let fanned = measure(bench, case, load, dir, port, &command);
    stalled::clean_up(dir);
    fanned.with_context(|| last_words(dir))
}

fn measure(
    bench: &Bench<'_>,
    case: &Case,
    load: &Load,
    dir: &Path,
    port: u16,
    command: &Command,
) -> Result<Fanned> {
    let mut daemon = Daemon::start(&mut pin::daemon(command), dir)?;
    daemon.wait_for(&Door::Udp(port))?;
    let before = daemon.cpu()?;
    let sent = Case { name: CaseName::Fan, rate: load.rate, gso: true, ..*case };
    let took = sender::send(&bench.found.logweir, &sent, port)?;
    wait_until_it_rests(&daemon)?;
    daemon.check()?;
    let cpu = daemon.cpu()?.saturating_sub(before);
    let memory_kib = daemon.peak_memory_kib()?;
    daemon.stop()?;
    let takes_all = (0..load.pipes).filter(|number| load.takes(*number) == Takes::All);
    let counts: Vec<u64> = takes_all.map(|number| counted(dir, number)).collect::<Result<_>>()?;
    let (least, most) = (counts.iter().min(), counts.iter().max());
    let (Some(&least), Some(&most)) = (least, most) else { bail!("no pipe takes every line") };
    Ok(Fanned {
        lines_per_s: case.lines as f64 / took.as_secs_f64(),
        least,
        most,
        cpu_ns_per_line: cpu.as_secs_f64() * 1e9 / most as f64,
        memory_mib: memory_kib as f64 / 1024.0,
    })
}

/// The command of one reader.
fn reader(dir: &Path, load: &Load, number: usize) -> String {
    match load.takes(number) {
        Takes::Nothing => stalled::sleeper(dir),
        _ => format!("exec wc -l > '{}'", count_file(dir, number).display()),
    }
}

fn count_file(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("count{number}"))
}

/// What a reader counted; it says so when its pipe is closed.
fn counted(dir: &Path, number: usize) -> Result<u64> {
    let file = count_file(dir, number);
    let start = Instant::now();
    loop {
        let text = fs::read_to_string(&file)?;
        if let Ok(count) = text.trim().parse() {
            return Ok(count);
        }
        if start.elapsed() > LOOK * 10 {
            bail!("{} says {text:?}", file.display());
        }
        thread::sleep(LOOK / 10);
    }
}

fn wait_until_it_rests(daemon: &Daemon) -> Result<()> {
    let start = Instant::now();
    let mut before = daemon.cpu()?;
    loop {
        thread::sleep(LOOK);
        let now = daemon.cpu()?;
        if now.saturating_sub(before) < RESTS || start.elapsed() > DRAIN {
            return Ok(());
        }
        before = now;
    }
}

/// The command that starts logweir with these readers.
fn logweir(
    logweir: &Path,
    dir: &Path,
    port: u16,
    load: &Load,
    readers: &[String],
) -> Result<Command> {
    let mut text = format!(
        "[daemon]\ncontrol = \"{}/control.sock\"\n\n\
         [input.in]\nudp = \"127.0.0.1:{port}\"\nreceive_buffer = \"64MiB\"\n",
        dir.display()
    );
    for (number, reader) in readers.iter().enumerate() {
        let selects = match load.takes(number) {
            Takes::All | Takes::Nothing => "",
            Takes::Tenth => "sample = 10\n",
            Takes::Matching => "match = '/w/page1[a-f]'\n",
        };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n[output.p{number}]\nfrom = \"in\"\n{selects}pipe = \"{reader}\"\n\
             queue = \"48MiB\"\nstop_grace = \"1s\"\n"
        );
    }
    let config = dir.join("logweir.toml");
    fs::write(&config, text)?;
    let mut command = Command::new(logweir);
    command.args(["run", "-c"]).arg(config);
    Ok(command)
}
