//! How fast lines go into a topic and come out of it, and what that takes.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::brokers;
use super::cluster::Cluster;
use super::programs::{self, Found, Program, omkafka};
use super::table;
use super::topic::Topic;
use crate::case::{Case, CaseName};
use crate::chain::{Feed, Lines, Tally};
use crate::daemon::Daemon;
use crate::door::{Door, free_tcp_port};
use crate::load::LINE_BYTES;
use crate::measure::{Bench, last_words};

/// What stands still for so long has come to its end.
const QUIET: Duration = Duration::from_secs(15);
/// What has not come to its end after so long is not waited for any more.
const MOST: Duration = Duration::from_secs(300);
/// Between two looks at a file.
const LOOK: Duration = Duration::from_millis(10);
/// Lines rendered together.
const BATCH: usize = 1000;

/// The figures of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// Lines that are there, each counted once,
    pub(super) kept: u64,
    /// and how many came once too often.
    pub(super) twice: u64,
    pub(super) lines_per_s: f64,
    pub(super) cpu_ns_per_line: f64,
    pub(super) memory_mib: f64,
}

/// What a run took.
struct Cost {
    time: Duration,
    cpu: Duration,
    memory_kib: u64,
}

/// What all runs have in common.
struct Runs<'a> {
    bench: &'a Bench<'a>,
    found: &'a Found,
    cluster: &'a Cluster,
    /// The lines in a file.
    file: &'a Path,
    lines: u64,
}

/// Runs the programs in turn, round by round, and prints the table; false when one failed, or
/// logweir lost or doubled a line.
pub(super) fn run_case(
    bench: &Bench<'_>,
    case: &Case,
    rounds: usize,
    only: &[String],
) -> Result<bool> {
    let Some(found) = Found::look(bench) else { return Ok(true) };
    let dir = bench.run_dir()?;
    let cluster = brokers::start(&found.jars, 1, dir.path())?;
    let file = dir.path().join("lines");
    write_lines(&file, case.lines)?;
    let runs = Runs { bench, found: &found, cluster: &cluster, file: &file, lines: case.lines };
    let mut programs = vec![Program::Logweir, Program::Kcat, Program::Rsyslog];
    if case.name == CaseName::KafkaOut {
        programs.insert(1, Program::LogweirPiped);
    }
    programs.retain(|program| found.wanted(*program, only));
    let mut rows: Vec<(Program, Vec<Measured>)> =
        programs.into_iter().map(|program| (program, Vec::new())).collect();
    if case.name == CaseName::KafkaIn {
        runs.fill(Topic::create(&cluster, "in")?)?;
    }
    let mut good = true;
    for round in 0..rounds {
        for (program, measured) in &mut rows {
            let outcome = match case.name {
                CaseName::KafkaIn => runs.input(*program, round),
                _ => runs.output(*program, round),
            };
            match outcome {
                Ok(figures) => measured.push(figures),
                Err(error) => {
                    eprintln!("{program}: {error:#}");
                    good = false;
                }
            }
        }
    }
    table::print(&rows);
    table::print_ratios(case.name, &rows);
    Ok(good && table::is_exact(&rows, case.lines) && table::is_small(&rows))
}

impl Runs<'_> {
    /// From a program into a topic of its own.
    fn output(&self, program: Program, round: usize) -> Result<Measured> {
        let dir = self.bench.run_dir()?;
        let name = format!("out-{}-{round}", program.to_string().replace([' ', ','], "-"));
        let topic = Topic::create(self.cluster, &name)?;
        let cost = match program {
            Program::Logweir => self.spooled(topic, dir.path()),
            Program::Kcat => self.until_end(&mut Found::kcat_out(topic, self.file), dir.path()),
            _ => self.streamed(program, topic, dir.path()),
        };
        let cost = cost.with_context(|| last_words(dir.path()))?;
        let content = topic.content(self.lines)?;
        ensure!(content.tally.strange == 0, "{} lines are altered", content.tally.strange);
        self.measured(&cost, &content.tally)
    }

    /// Lines that wait in a spool.
    fn spooled(&self, topic: Topic<'_>, dir: &Path) -> Result<Cost> {
        let fill = programs::spool("stdin = true", dir);
        let mut command = self.found.logweir(&fill, dir)?;
        let status = command.stdin(File::open(self.file)?).stderr(Stdio::null()).status()?;
        ensure!(status.success(), "the spool was not filled: {status}");
        let nodes = programs::spool_to_topic(&fifo(dir), topic, dir);
        let start = Instant::now();
        let mut daemon = Daemon::start(&mut self.found.logweir(&nodes, dir)?, dir)?;
        let end = topic.wait(self.lines, QUIET, MOST)?;
        finish(&mut daemon, Duration::ZERO, end - start).map(|cost| (daemon, cost)).and_then(stop)
    }

    /// Lines that come in a stream.
    fn streamed(&self, program: Program, topic: Topic<'_>, dir: &Path) -> Result<Cost> {
        let (pipe, port) = (dir.join("fifo"), free_tcp_port()?);
        let (mut command, door) = match program {
            Program::Rsyslog => {
                let input = format!(
                    "module(load=\"imptcp\")\ninput(type=\"imptcp\" address=\"127.0.0.1\" \
                     port=\"{port}\" ruleset=\"r\")\n"
                );
                let text = omkafka(topic, "%rawmsg%", dir) + &input;
                (self.found.rsyslog(&text, dir)?, Door::Tcp(port))
            }
            _ => {
                let nodes = programs::spool_to_topic(&fifo(dir), topic, dir);
                (self.found.logweir(&nodes, dir)?, Door::Fifo(&pipe))
            }
        };
        let mut daemon = Daemon::start(&mut command, dir)?;
        daemon.wait_for(&door)?;
        let before = daemon.cpu()?;
        let start = Instant::now();
        let feed = Feed::start(&door, self.lines, None)?;
        let end = topic.wait(self.lines, QUIET, MOST)?;
        if feed.is_over() {
            feed.wait().context("the feed")?;
        }
        finish(&mut daemon, before, end - start).map(|cost| (daemon, cost)).and_then(stop)
    }

    /// From the topic `in` to a file.
    fn input(&self, program: Program, round: usize) -> Result<Measured> {
        let dir = self.bench.run_dir()?;
        let topic = Topic { cluster: self.cluster, name: "in" };
        let (cost, file) = self
            .to_file(program, topic, round, dir.path())
            .with_context(|| last_words(dir.path()))?;
        let tally = Tally::file(&file, self.lines)?;
        ensure!(tally.strange == 0, "{} lines are altered", tally.strange);
        self.measured(&cost, &tally)
    }

    fn to_file(
        &self,
        program: Program,
        topic: Topic<'_>,
        round: usize,
        dir: &Path,
    ) -> Result<(Cost, PathBuf)> {
        let file = dir.join("out.log");
        let mut command = match program {
            Program::Kcat => {
                let cost = self.until_end(&mut Found::kcat_in(topic), dir)?;
                return Ok((cost, dir.join("stdout")));
            }
            Program::Rsyslog => {
                let text = imkafka(topic, &format!("compare-{round}"), &file);
                self.found.rsyslog(&text, dir)?
            }
            _ => self.found.logweir(&from_topic(topic, dir, &file), dir)?,
        };
        let start = Instant::now();
        let mut daemon = Daemon::start(&mut command, dir)?;
        let end = wait_for_size(&file, self.lines * LINE_BYTES);
        let cost = finish(&mut daemon, Duration::ZERO, end - start)?;
        Ok((stop((daemon, cost))?, file))
    }

    /// A program that ends by itself.
    fn until_end(&self, command: &mut Command, dir: &Path) -> Result<Cost> {
        let start = Instant::now();
        let (cpu, memory_kib) = Daemon::start(command, dir)?.wait_for_end()?;
        Ok(Cost { time: start.elapsed(), cpu, memory_kib })
    }

    fn fill(&self, topic: Topic<'_>) -> Result<()> {
        let status = Found::kcat_out(topic, self.file).stderr(Stdio::null()).status()?;
        ensure!(status.success(), "kcat -P: {status}");
        Ok(())
    }

    fn measured(&self, cost: &Cost, tally: &Tally) -> Result<Measured> {
        let kept = tally.kept();
        ensure!(kept > 0, "no line arrived");
        Ok(Measured {
            kept,
            twice: tally.twice(),
            lines_per_s: kept as f64 / cost.time.as_secs_f64(),
            cpu_ns_per_line: cost.cpu.as_secs_f64() * 1e9 / kept as f64,
            memory_mib: cost.memory_kib as f64 / 1024.0,
        })
    }
}

fn finish(daemon: &mut Daemon, before: Duration, time: Duration) -> Result<Cost> {
    daemon.check()?;
    let cpu = daemon.cpu()?.saturating_sub(before);
    Ok(Cost { time, cpu, memory_kib: daemon.peak_memory_kib()? })
}

fn stop((daemon, cost): (Daemon, Cost)) -> Result<Cost> {
    daemon.stop()?;
    Ok(cost)
}

fn fifo(dir: &Path) -> String {
    format!("fifo = \"{}\"", dir.join("fifo").display())
}

fn from_topic(topic: Topic<'_>, dir: &Path, file: &Path) -> String {
    format!(
        "[input.k]\nkafka = {{ brokers = {}, topic = \"{}\" }}\npositions = \"{}\"\n\
         [output.f]\nfrom = \"k\"\nfile = \"{}\"\n",
        topic.cluster.quoted(),
        topic.name,
        dir.join("k.positions").display(),
        file.display()
    )
}

fn imkafka(topic: Topic<'_>, group: &str, file: &Path) -> String {
    format!(
        "module(load=\"imkafka\")\ntemplate(name=\"bare\" type=\"string\" string=\"%rawmsg%\\n\")\n\
         input(type=\"imkafka\" topic=\"{}\" broker={} consumergroup=\"{group}\" ruleset=\"r\" \
         confParam=[\"auto.offset.reset=earliest\"])\n\
         ruleset(name=\"r\" queue.type=\"fixedArray\" queue.size=\"500000\" \
         queue.dequeueBatchSize=\"4096\" queue.workerThreads=\"1\") {{ action(type=\"omfile\" \
         file=\"{}\" template=\"bare\" ioBufferSize=\"64k\" flushOnTXEnd=\"on\" \
         asyncWriting=\"on\") }}\n",
        topic.name,
        topic.cluster.quoted(),
        file.display()
    )
}

/// Writes lines 1 to `lines` to a file.
fn write_lines(file: &Path, lines: u64) -> Result<()> {
    let (mut source, mut number) = (Lines::new(BATCH), 0);
    let mut file = BufWriter::new(File::create(file)?);
    while number < lines {
        let batch = (lines - number).min(BATCH as u64);
        file.write_all(source.render(number + 1, usize::try_from(batch)?))?;
        number += batch;
    }
    Ok(file.flush()?)
}

/// Waits until a file is that large, or grows no more; tells when it last grew.
fn wait_for_size(file: &Path, size: u64) -> Instant {
    let start = Instant::now();
    let mut grown = (start, 0);
    while grown.1 < size && grown.0.elapsed() < QUIET && start.elapsed() < MOST {
        thread::sleep(LOOK);
        let now = fs::metadata(file).map_or(0, |data| data.len());
        if now != grown.1 {
            grown = (Instant::now(), now);
        }
    }
    grown.0
}
