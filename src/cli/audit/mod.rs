//! `logweir audit`: puts the audit lines of all hosts side by side, window by window.

mod draw;
mod flow;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod metrics;
mod place;
mod readers;
mod reckon;
mod store;

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use super::losses::{must_have_come, point};
use flow::{Flow, Join};
use store::Store;

/// Put the audit lines of all hosts side by side: who sent the lines of a minute, who has them
///
/// Reads the lines of `[input.audit]` of any number of daemons, in any order, also inside syslog
/// messages. For each window it prints every node in the order of the flow: lines that came in,
/// that went on, that are under way, and that were dropped, and what nothing explains. The exit
/// code is 1 where a closed window does not add up.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files of audit lines; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,
    /// Only windows from this time on: 10:00 (today), "2026-11-23 08:00" (local), or 2h
    #[arg(long, value_name = "T", value_parser = point)]
    since: Option<SystemTime>,
    /// Only windows before this time
    #[arg(long, value_name = "T", value_parser = point)]
    until: Option<SystemTime>,
    /// Only windows that do not add up, or with drops
    #[arg(long)]
    bad: bool,
    /// An output and the input that its lines go to, where the addresses do not tell
    #[arg(long, value_name = "HOST/OUTPUT=HOST/INPUT")]
    join: Vec<Join>,
    /// Print one JSON object per window
    #[arg(long)]
    json: bool,
    /// Print the sums of all closed windows as metrics, for node_exporter's textfile collector
    #[arg(long, conflicts_with_all = ["json", "bad"])]
    metrics: bool,
}

/// Prints the windows.
///
/// # Errors
/// `--since` is yet to come, or a file cannot be read or has no audit line.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    must_have_come(args.since, SystemTime::now())?;
    let seconds =
        |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut store = Store::new(args.since.map(seconds), args.until.map(seconds));
    for path in &args.files {
        let shown = path.display();
        let read = match path.as_os_str() == "-" {
            true => read(&mut store, io::stdin().lock()),
            false => File::open(path).and_then(|file| read(&mut store, BufReader::new(file))),
        };
        read.with_context(|| format!("{shown}"))?;
    }
    if store.is_empty() {
        anyhow::bail!("there is no audit line: they are made by an input with `audit = \"1m\"`");
    }
    let flow = Flow::of(&store, &args.join)?;
    let windows = reckon::windows(&store, &flow);
    let bad = windows.iter().filter(|window| window.closed && !window.adds_up()).count();
    let shown = windows.iter().filter(|window| !args.bad || window.is_bad());
    let mut text = String::new();
    if args.metrics {
        text = metrics::text(&windows);
    } else if args.json {
        for window in shown {
            text.push_str(&serde_json::to_string(window)?);
            text.push('\n');
        }
    } else {
        let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        draw::draw(&mut text, shown, colours);
        let dropping = windows.iter().filter(|window| window.has_drops()).count();
        draw::summary(&mut text, windows.len(), bad, dropping);
    }
    for note in flow.notes().iter().chain(&store.notes()) {
        eprintln!("logweir: {note}");
    }
    super::print(text.as_bytes())?;
    Ok(if bad > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Reads the audit lines of a file.
fn read(store: &mut Store, mut file: impl BufRead) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if file.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        store.take(&line);
    }
}
