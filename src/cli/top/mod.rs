//! `logweir top`: every node's counts, live, once, or as data.

mod app;
mod detail;
mod draw;
#[cfg(test)]
mod draw_tests;
mod live;
mod model;
mod notes;
mod past;
mod rows;
#[cfg(test)]
mod samples;
mod table;
mod text;
mod tree;
mod window;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use super::control::Daemon;
use super::losses::{must_have_come, point, seconds};
use crate::engine::status::Status;
use text::Glyphs;
use window::Window;

/// Show every node of the running daemon: lines, drops by reason, queues, children
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    daemon: Daemon,
    /// Print one table and exit
    #[arg(long)]
    once: bool,
    /// Print the counts as JSON: a single value with --once, else one per line
    #[arg(long)]
    json: bool,
    /// Seconds between two snapshots
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = interval)]
    every: f64,
    /// Print what became of the lines first received from this time on: 10:04 (today),
    /// "2026-11-23 08:00" (local), or 2h
    #[arg(long, value_name = "T", value_parser = point, conflicts_with_all = ["once", "every"])]
    since: Option<SystemTime>,
    /// The end of that time; now, if not given
    #[arg(long, value_name = "T", value_parser = point, requires = "since")]
    until: Option<SystemTime>,
}

fn interval(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("seconds from 0.1 to 3600".into()),
    }
}

/// Shows the nodes until interrupted, or once.
///
/// # Errors
/// The daemon is not reachable or went away, there is no terminal to draw on, or `--since` is yet
/// to come.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let every = Duration::from_secs_f64(args.every);
    if let Some(since) = args.since {
        let now = SystemTime::now();
        must_have_come(args.since, now)?;
        let until = args.until.unwrap_or(now);
        let Some(window) = Window::new(seconds(since), seconds(until)) else {
            anyhow::bail!("--until is not after --since");
        };
        let text = window::show(&args.daemon, window, seconds(now), args.json)?;
        super::print(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    match (args.once, args.json) {
        (false, false) => live::run(&args.daemon, every)?,
        (false, true) => loop {
            let line = serde_json::to_string(&args.daemon.status()?)? + "\n";
            match std::io::stdout().write_all(line.as_bytes()) {
                // The reader of our output has gone away.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                done => done?,
            }
            std::thread::sleep(every);
        },
        (true, false) => print!("{}", table(args.daemon.status()?)),
        (true, true) => println!("{}", serde_json::to_string(&args.daemon.status()?)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// The nodes as a table.
pub fn table(status: Status) -> String {
    table::table(status, &Glyphs::of(|name| std::env::var(name).ok()))
}
