//! Numbered lines into a topic of three brokers, while the daemon that writes them is killed, and
//! brokers are. What is in the topic afterwards is counted.
//!
//! The lines come from a file that grows, which the daemon follows: so nothing that is missing in
//! the topic was missing before it, and the daemon may be dead for a while.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::brokers;
use super::programs::{Found, Program, omkafka, spool_to_topic};
use super::topic::{Content, Topic};
use crate::case::Case;
use crate::chain::Feed;
use crate::daemon::Daemon;
use crate::door::Door;
use crate::measure::{Bench, last_words};

/// How often the daemon is killed, and brokers are.
const DAEMON_KILLS: usize = 30;
const BROKER_KILLS: usize = 6;
/// The topic is whole when it has not grown for so long,
const QUIET: Duration = Duration::from_secs(40);
/// or after this time in any case.
const MOST: Duration = Duration::from_secs(300);
/// With so many records as lines were sent, more of them still may come for so long.
const AFTER: Duration = Duration::from_secs(3);
/// How long a killed broker stays away, at most.
const AWAY_MS: u64 = 1500;

/// What a run was, and what came of it.
struct Outcome {
    content: Content,
    broker_kills: u64,
    /// Lines of its log that say that something may be there twice.
    warned: usize,
    took: Duration,
}

/// Does it with another seed each round; false when logweir lost a line, doubled one, or changed
/// the order of a partition.
pub(super) fn run_case(
    bench: &Bench<'_>,
    case: &Case,
    rounds: usize,
    seed: Option<u64>,
    only: &[String],
) -> Result<bool> {
    let Some(found) = Found::look(bench) else { return Ok(true) };
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let mut good = true;
    for seed in (seed..).take(rounds) {
        println!(
            "three brokers; the daemon killed {DAEMON_KILLS} times, brokers {BROKER_KILLS} times, \
             at moments that --seed {seed} gives:"
        );
        print_head();
        for program in [Program::Logweir, Program::Rsyslog] {
            if !found.wanted(program, only) {
                continue;
            }
            let outcome =
                run(bench, &found, program, case, seed).with_context(|| program.to_string())?;
            print(program, case.lines, &outcome);
            good &= program != Program::Logweir || keeps_promise(case.lines, &outcome);
        }
    }
    Ok(good)
}

fn run(
    bench: &Bench<'_>,
    found: &Found,
    program: Program,
    case: &Case,
    seed: u64,
) -> Result<Outcome> {
    let dir = bench.run_dir()?;
    let cluster = brokers::start(&found.jars, 3, dir.path())?;
    let topic = Topic::create(&cluster, "web")?;
    topic.wait_in_sync()?;
    let file = dir.path().join("lines");
    File::create(&file)?;
    let start = || start(found, program, topic, dir.path(), &file);
    let begun = Instant::now();
    let mut daemon = Some(start()?);
    let feed = Feed::start(&Door::Fifo(&file), case.lines, case.rate)?;
    let broker_kills = AtomicU64::new(0);
    thread::scope(|scope| {
        let brokers = scope.spawn(|| kill_brokers(topic, &feed, seed, case.lines, &broker_kills));
        for moment in moments(seed, DAEMON_KILLS, case.lines) {
            wait_sent(&feed, moment);
            check(daemon.as_mut(), dir.path())?;
            // Dropped, it is killed.
            daemon = None;
            daemon = Some(start()?);
        }
        brokers.join().unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked")))?;
        anyhow::Ok(())
    })?;
    feed.wait().context("the feed")?;
    topic.wait(case.lines, QUIET, MOST)?;
    let took = begun.elapsed();
    thread::sleep(AFTER);
    check(daemon.as_mut(), dir.path())?;
    daemon.map_or(Ok(()), Daemon::stop)?;
    let said = std::fs::read(dir.path().join("stderr"))?;
    let said = String::from_utf8_lossy(&said);
    let warned = said.lines().filter(|line| line.contains("may come twice")).count();
    let content = topic.content(case.lines)?;
    Ok(Outcome { content, broker_kills: broker_kills.into_inner(), warned, took })
}

fn check(daemon: Option<&mut Daemon>, dir: &Path) -> Result<()> {
    daemon.map_or(Ok(()), Daemon::check).with_context(|| last_words(dir))
}

/// Starts the daemon: a file that is followed, a store on disk, the topic.
fn start(
    found: &Found,
    program: Program,
    topic: Topic<'_>,
    dir: &Path,
    file: &Path,
) -> Result<Daemon> {
    let mut command = match program {
        Program::Rsyslog => {
            let input = format!(
                "module(load=\"imfile\")\ninput(type=\"imfile\" file=\"{}\" tag=\"in\" \
                 ruleset=\"r\" persistStateInterval=\"100\")\n",
                file.display()
            );
            found.rsyslog(&(omkafka(topic, "%msg%", dir) + &input), dir)?
        }
        _ => {
            let input = format!(
                "tail = [\"{}\"]\npositions = \"{}\"",
                file.display(),
                dir.join("in.positions").display()
            );
            found.logweir(&spool_to_topic(&input, topic, dir), dir)?
        }
    };
    Daemon::start(&mut command, dir)
}

/// Kills one broker after the other, each when so many lines are sent and the last one is back.
fn kill_brokers(
    topic: Topic<'_>,
    feed: &Feed,
    seed: u64,
    lines: u64,
    kills: &AtomicU64,
) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(!seed);
    for moment in moments(!seed, BROKER_KILLS, lines) {
        wait_sent(feed, moment);
        let victim = random.usize(..topic.cluster.len());
        topic.cluster.kill(victim)?;
        kills.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(random.u64(..AWAY_MS)));
        topic.cluster.run(victim)?;
        topic.wait_in_sync()?;
    }
    Ok(())
}

fn wait_sent(feed: &Feed, moment: u64) {
    while feed.sent() < moment && !feed.is_over() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// After how many lines the kills come: the same for every program, none near the ends.
fn moments(seed: u64, count: usize, lines: u64) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut at: Vec<u64> = (0..count).map(|_| random.u64(lines / 20..lines * 9 / 10)).collect();
    at.sort_unstable();
    at
}

fn print_head() {
    println!(
        "{:<22} {:>7} {:>9} {:>9} {:>7} {:>7} {:>13} {:>8} {:>7} {:>5}",
        "", "brokers", "sent", "arrived", "lost", "twice", "out of order", "strange", "warned", "s"
    );
}

fn print(program: Program, lines: u64, outcome: &Outcome) {
    let tally = &outcome.content.tally;
    println!(
        "{:<22} {:>7} {lines:>9} {:>9} {:>7} {:>7} {:>13} {:>8} {:>7} {:>5}",
        program.to_string(),
        outcome.broker_kills,
        tally.kept(),
        lines - tally.kept(),
        tally.twice(),
        outcome.content.disorder,
        tally.strange,
        outcome.warned,
        outcome.took.as_secs(),
    );
}

fn keeps_promise(lines: u64, outcome: &Outcome) -> bool {
    let tally = &outcome.content.tally;
    tally.kept() == lines
        && tally.twice() == 0
        && tally.strange == 0
        && outcome.content.disorder == 0
}
