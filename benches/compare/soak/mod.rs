//! A whole site in namespaces of its own: three edge hosts, a hub, and trouble at random.
//!
//! Each edge host takes raw lines and syslog over UDP, sends the raw ones through a process that
//! ends again and again, and forwards everything over RELP from a spool; the hub stores it in a
//! spool and a file. Every line has a number. Daemons are killed, stopped, restarted and reloaded,
//! disks fill up, the hub vanishes, clocks step. At the end every line is accounted for: what a
//! spool had is at the hub exactly once, what is missing was sent at a time of trouble. Meanwhile
//! every ledger balances, and no daemon grows. A seed gives the same troubles again.

mod check;
mod feed;
mod host;
mod trouble;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use nix::sys::signal::Signal;

use self::check::Edge;
use self::feed::Feed;
use self::host::{Host, Sample, run};
use self::trouble::{HUB, Trouble};
use crate::bareloop;
use crate::measure::Bench;

/// Set in the namespaces.
const INSIDE: &str = "LOGWEIR_SOAK_INSIDE";
/// How long the site may take to come to rest.
const SETTLE: Duration = Duration::from_secs(120);

/// Runs the site for so long; false when a line, a ledger or a figure is wrong.
pub(crate) fn run_case(bench: &Bench<'_>, minutes: f64, seed: Option<u64>) -> Result<bool> {
    if std::env::var_os(INSIDE).is_none() {
        return in_namespaces();
    }
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("\nsoak: {minutes} minutes of trouble; the same again: --seed {seed}");
    let mut site = Site::new(bench, minutes)?;
    site.live(Duration::from_secs_f64(60.0 * minutes), seed)?;
    site.settle()?;
    site.reckon()?;
    Ok(true)
}

/// Runs this program once more, with namespaces of its own for its network, mounts and processes,
/// which end with it.
fn in_namespaces() -> Result<bool> {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]);
    if !nix::unistd::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    Ok(command.status().context("cannot start unshare")?.success())
}

/// All hosts; the last one is the hub.
struct Site {
    hosts: Vec<Host>,
    feeds: Vec<Feed>,
    troubles: Vec<Vec<(Instant, Instant)>>,
    samples: Vec<Vec<Sample>>,
    sampled: Instant,
}

impl Site {
    fn new(bench: &Bench<'_>, minutes: f64) -> Result<Self> {
        run("ip", &["link", "set", "lo", "up"])?;
        run("ip", &["address", "add", &format!("{HUB}/32"), "dev", "lo"])?;
        let dir = bench.scratch.join("site");
        fs::create_dir(&dir)?;
        let clock = compile_clock(bench.scratch)?;
        let logweir = fs::canonicalize(&bench.found.logweir)?;
        // Half of the lines' bytes at the rate of the feed, and room to breathe.
        let disk = format!("size={:.0}m", 128.0 + 40.0 * minutes);
        let host = |name: &str, config: &str| {
            Host::new(&dir, name, &logweir, &clock, &disk, config).context(name.to_string())
        };
        let mut hosts = Vec::new();
        for number in 1..4_u16 {
            hosts.push(host(&format!("edge{number}"), &edge_config(number))?);
        }
        hosts.push(host("hub", &hub_config())?);
        for host in hosts.iter_mut().rev() {
            host.start()?;
        }
        let feeds = (1..4).map(|number| Feed::start(&format!("edge{number}"), ports(number)));
        let feeds = feeds.collect::<Result<_>>()?;
        let (troubles, samples) = (vec![Vec::new(); 3], vec![Vec::new(); 4]);
        Ok(Self { hosts, feeds, troubles, samples, sampled: Instant::now() })
    }

    /// Has one trouble after the other.
    fn live(&mut self, time: Duration, seed: u64) -> Result<()> {
        let mut random = Rng::with_seed(seed);
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < time {
            let trouble = Trouble::next(&mut random, self.hosts.len());
            let host = &mut self.hosts[trouble.host];
            println!("{:>7.1} s  {:<6} {trouble}", start.elapsed().as_secs_f64(), host.name);
            let window = trouble
                .happen(host)
                .with_context(|| format!("{trouble} of {}: {}", host.name, host.last_words()))?;
            if let Some(of_host) = self.troubles.get_mut(trouble.host) {
                of_host.extend(window);
            }
            count += 1;
            thread::sleep(trouble.rest);
            self.look()?;
        }
        println!("{count} troubles");
        Ok(())
    }

    /// Checks all ledgers and takes samples, once a second at most.
    fn look(&mut self) -> Result<()> {
        if self.sampled.elapsed() < Duration::from_secs(1) {
            return Ok(());
        }
        self.sampled = Instant::now();
        for (host, samples) in self.hosts.iter().zip(&mut self.samples) {
            host.check_ledgers()?;
            samples.push(host.sample()?);
        }
        Ok(())
    }

    /// Waits until every line is where it goes, and ends the daemons.
    fn settle(&mut self) -> Result<()> {
        for feed in &mut self.feeds {
            feed.stop()?;
        }
        let start = Instant::now();
        for (number, host) in self.hosts.iter().enumerate() {
            let spool = if number < 3 { "hub.spool" } else { "store" };
            while !rests(host, spool)? {
                ensure!(start.elapsed() < SETTLE, "{}: it never comes to rest", host.name);
                thread::sleep(Duration::from_millis(200));
            }
        }
        self.sampled -= Duration::from_secs(1);
        self.look()?;
        for host in &mut self.hosts {
            host.signal(Signal::SIGTERM)?;
            host.wait()?;
        }
        Ok(())
    }

    fn reckon(&self) -> Result<()> {
        let hub = check::of_hub(&self.hosts[3])?;
        println!(
            "\n{:<6} {:>9} {:>9} {:>9} {:>9} {:>12} {:>8} {:>9}",
            "", "sent", "arrived", "missing", "filtered", "descriptors", "threads", "peak MiB"
        );
        let mut arrived = 0;
        for (number, (host, samples)) in self.hosts.iter().zip(&self.samples).enumerate() {
            let most = check::flat(&host.name, samples)?;
            let mut counts = [const { String::new() }; 4];
            if let (Some(feed), Some(troubles)) =
                (self.feeds.get(number), self.troubles.get(number))
            {
                let reckoned = Edge { host, feed, troubles }.reckon(&hub)?;
                arrived += reckoned.arrived;
                let missing = reckoned.sent - reckoned.arrived;
                counts = [reckoned.sent, reckoned.arrived, missing, reckoned.filtered]
                    .map(|count| count.to_string());
            }
            let [sent, arrived, missing, filtered] = counts;
            println!(
                "{:<6} {sent:>9} {arrived:>9} {missing:>9} {filtered:>9} {:>12} {:>8} {:>9.1}",
                host.name,
                most.descriptors,
                most.threads,
                most.resident_kib as f64 / 1024.0
            );
        }
        if arrived != hub.len() {
            bail!("the hub has {} lines, of which {arrived} were sent", hub.len());
        }
        println!("every line is accounted for, every ledger balanced, nothing has grown");
        Ok(())
    }
}

/// Whether nothing waits at a host.
fn rests(host: &Host, spool: &str) -> Result<bool> {
    let status = host.status()?;
    let nodes = status["nodes"].as_array().context("no nodes")?;
    let waits = nodes.iter().any(|node| node["queued"] != 0);
    let spool = nodes.iter().find(|node| node["name"] == spool).context("no spool")?;
    let readers = spool["spool"]["readers"].as_array().context("no readers")?;
    Ok(!waits && readers.iter().all(|reader| reader["lag_lines"] == 0))
}

fn ports(edge: u16) -> [u16; 2] {
    [9000 + edge, 9100 + edge]
}

fn edge_config(number: u16) -> String {
    let [raw, sys] = ports(number);
    format!(
        "[daemon]\ncontrol = \"{{dir}}/control.sock\"\nmemory = \"16MiB\"\n\
         [input.raw]\nudp = \"127.0.0.1:{raw}\"\nreceive_buffer = \"8MiB\"\n\
         [input.sys]\nsyslog = \"udp://127.0.0.1:{sys}\"\nreceive_buffer = \"8MiB\"\n\
         [filter.halt]\nfrom = \"raw\"\nrun = \"exec sed -u 2000q\"\n\
         restart = [\"10ms\", \"100ms\"]\n\
         [output.filtered]\nfrom = \"halt\"\nfile = \"{{dir}}/filtered\"\n\
         [output.hub]\nfrom = [\"raw\", \"sys\"]\nforward = \"relp://{HUB}:2514\"\n\
         spool = {{ dir = \"{{dir}}/spool\", segment = \"1MiB\", sync = \"100ms\", \
         keep = \"1d\", when_full = \"drop-newest\", reserve = \"4MiB\" }}\n"
    )
}

fn hub_config() -> String {
    format!(
        "[daemon]\ncontrol = \"{{dir}}/control.sock\"\nmemory = \"16MiB\"\n\
         [input.edge]\nrelp = \"{HUB}:2514\"\n\
         [spool.store]\nfrom = \"edge\"\ndir = \"{{dir}}/spool\"\nsegment = \"1MiB\"\n\
         when_full = \"block\"\nreserve = \"4MiB\"\n\
         [output.all]\nfrom = \"store\"\nfile = \"{{dir}}/all\"\n"
    )
}

fn compile_clock(folder: &Path) -> Result<PathBuf> {
    const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/soak/clock.c");
    bareloop::compile_library(SOURCE, &folder.join("clock.so"))
}
