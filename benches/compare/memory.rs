//! How much memory logweir takes, and how large it is: figures that do not depend on the machine,
//! so that a bound that is broken fails the case.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::case::{Case, CaseName};
use crate::daemon::Daemon;
use crate::door::{Door, free_tcp_port, free_udp_port};
use crate::load;
use crate::measure::Bench;

/// The configuration of the packages.
const DEFAULT: &str = include_str!("../../packaging/logweir.toml");
/// `daemon.memory` there.
const MEMORY: f64 = 64.0;
/// The bounds, in MiB: idle, beside `memory` under any load, and of the binary.
const IDLE_MAX: f64 = 8.0;
const LOAD_MAX: f64 = 32.0 + MEMORY;
const BINARY_MAX: f64 = 8.0;
/// Outputs that never read.
const STALLED: usize = 12;
/// How long what a daemon takes may settle.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures all, prints a table; false where a bound is broken.
pub(crate) fn run_case(bench: &Bench<'_>, case: &Case) -> Result<bool> {
    ensure!(DEFAULT.contains("memory = \"64MiB\""), "the default configuration has other memory");
    let binary = fs::metadata(&bench.found.logweir)?.len() as f64 / (1024.0 * 1024.0);
    let rows = [
        ("idle, default configuration", idle(bench)?, IDLE_MAX),
        ("flood, default configuration", flood(bench, case)?, LOAD_MAX),
        ("flood, everything stalled", stalled(bench, case)?, LOAD_MAX),
        ("the binary", binary, BINARY_MAX),
    ];
    println!("{:<32} {:>8} {:>8}", "", "MiB", "at most");
    for (what, mib, most) in &rows {
        println!("{what:<32} {mib:>8.1} {most:>8.1}");
    }
    let broken: Vec<_> = rows.iter().filter(|(_, mib, most)| mib > most).collect();
    for (what, mib, most) in &broken {
        eprintln!("{what}: {mib:.2} MiB are more than {most} MiB");
    }
    Ok(broken.is_empty())
}

/// What a daemon takes that has nothing to do.
fn idle(bench: &Bench<'_>) -> Result<f64> {
    let dir = bench.run_dir()?;
    let (mut daemon, _) = start(bench, dir.path(), "")?;
    thread::sleep(SETTLE);
    daemon.check()?;
    let resident = daemon.resident_kib()?;
    daemon.stop()?;
    Ok(resident as f64 / 1024.0)
}

/// The most it ever takes in a flood.
fn flood(bench: &Bench<'_>, case: &Case) -> Result<f64> {
    let dir = bench.run_dir()?;
    let (daemon, port) = start(bench, dir.path(), "")?;
    peak(bench, case, daemon, port)
}

/// The same with pipes that never read, a filter that never reads, a peer that never reads behind a
/// spool, and one that is not there.
fn stalled(bench: &Bench<'_>, case: &Case) -> Result<f64> {
    let dir = bench.run_dir()?;
    // It takes connections, as far as its backlog goes, and nothing from them.
    let deaf = TcpListener::bind("127.0.0.1:0")?;
    let (deaf_port, nobody) = (deaf.local_addr()?.port(), free_tcp_port()?);
    let sleep = "stop_grace = \"500ms\"\n";
    let mut more = String::new();
    for n in 0..STALLED {
        // Each with lines of its own: those that all take are in memory once.
        more.push_str(&format!(
            "[output.p{n}]\nfrom = \"udp\"\nsample = 2\nsample_mode = \"random\"\n\
             pipe = \"exec sleep 600\"\n{sleep}"
        ));
    }
    more.push_str(&format!("[filter.f]\nfrom = \"udp\"\nrun = \"exec sleep 600\"\n{sleep}"));
    more.push_str("[output.f-out]\nfrom = \"f\"\nudp = \"127.0.0.1:9\"\n");
    let spool = dir.path().display();
    for (name, port) in [("deaf", deaf_port), ("nobody", nobody)] {
        more.push_str(&format!(
            "[output.{name}]\nfrom = \"udp\"\nforward = \"tcp://127.0.0.1:{port}\"\n\
             spool = {{ dir = \"{spool}/{name}\", max_size = \"256MiB\" }}\n"
        ));
    }
    more.push_str(&format!(
        "[output.bare]\nfrom = \"udp\"\nforward = \"tcp://127.0.0.1:{nobody}\"\n"
    ));
    let (daemon, port) = start(bench, dir.path(), &more)?;
    peak(bench, case, daemon, port)
}

/// Starts logweir with the default configuration, its paths and its port made this run's own.
fn start(bench: &Bench<'_>, dir: &Path, more: &str) -> Result<(Daemon, u16)> {
    let port = free_udp_port()?;
    let here = dir.display().to_string();
    let text = DEFAULT
        .replace("memory = ", "grace = \"1s\"\nmemory = ")
        .replace("/run/logweir", &here)
        .replace("/var/log/logweir", &here)
        .replace("127.0.0.1:8420", &format!("127.0.0.1:{port}"));
    let config = dir.join("logweir.toml");
    fs::write(&config, format!("{text}\n{more}"))?;
    let mut command = Command::new(&bench.found.logweir);
    command.args(["run", "-c"]).arg(config);
    let mut daemon = Daemon::start(&mut command, dir)?;
    daemon.wait_for(&Door::Udp(port))?;
    Ok((daemon, port))
}

/// Floods it; the most it ever took.
fn peak(bench: &Bench<'_>, case: &Case, mut daemon: Daemon, port: u16) -> Result<f64> {
    let flood = Case { name: CaseName::Flood, gso: true, rate: None, ..*case };
    load::send(&bench.found.logweir, &flood, port).context("the flood")?;
    thread::sleep(SETTLE);
    daemon.check()?;
    let peak = daemon.peak_memory_kib()?;
    daemon.stop()?;
    Ok(peak as f64 / 1024.0)
}
