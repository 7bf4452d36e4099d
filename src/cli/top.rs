//! `logweir top`: every node's counts, live, once, or as data.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::control::Daemon;
use crate::engine::status::{NodeStatus, Status};

/// Show every node of the running daemon: lines, drops by reason, queues, children
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    daemon: Daemon,
    /// Print one table and end
    #[arg(long)]
    once: bool,
    /// Print the counts as JSON; with --once a single value, else one a line
    #[arg(long)]
    json: bool,
    /// Seconds between two tables
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = interval)]
    every: f64,
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
/// That the daemon is not found, or went away.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut before: Option<Status> = None;
    loop {
        let status = args.daemon.status()?;
        if args.json {
            println!("{}", serde_json::to_string(&status)?);
        } else if args.once {
            print!("{}", table(&status, None));
        } else {
            // Clears the screen and begins at its top (ECMA-48, ED and CUP).
            print!("\x1b[2J\x1b[H{}", table(&status, before.as_ref()));
        }
        if args.once {
            return Ok(ExitCode::SUCCESS);
        }
        before = Some(status);
        std::thread::sleep(Duration::from_secs_f64(args.every));
    }
}

/// The nodes as a table. Rates are those since `before`, else since the daemon's start.
pub fn table(status: &Status, before: Option<&Status>) -> String {
    let mut text = format!(
        "logweir {}  pid {}  up {}\n\n{:<20} {:<7} {:>12} {:>12} {:>12} {:>10} {:>9} {:>6}  {}\n",
        status.version,
        status.pid,
        duration(status.uptime),
        "NODE",
        "KIND",
        "LINES IN",
        "LINES OUT",
        "DROPPED",
        "LINES/S",
        "QUEUED",
        "QUEUE",
        "NOTES",
    );
    let seconds = status.uptime - before.map_or(0.0, |before| before.uptime);
    for node in &status.nodes {
        let earlier = before.and_then(|before| {
            before.nodes.iter().find(|other| other.name == node.name && other.kind == node.kind)
        });
        let new = node.lines_in.saturating_sub(earlier.map_or(0, |earlier| earlier.lines_in));
        let fill = node.queue.map_or_else(
            || "-".into(),
            |queue| format!("{}%", (queue.used * 100).checked_div(queue.limit).unwrap_or(0)),
        );
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<20} {:<7} {:>12} {:>12} {:>12} {:>10.0} {:>9} {:>6}  {}",
            node.name,
            node.kind,
            node.lines_in,
            node.lines_out,
            node.dropped.values().sum::<u64>(),
            new as f64 / seconds.max(0.001),
            node.queued,
            fill,
            notes(node),
        );
    }
    text
}

/// What is unusual about a node, and its children.
fn notes(node: &NodeStatus) -> String {
    let mut notes = Vec::new();
    for (reason, lines) in node.dropped.iter().filter(|(_, lines)| **lines > 0) {
        notes.push(format!("{reason} {lines}"));
    }
    if let Some(input) = &node.input {
        let counts = [
            ("kernel_drops", input.kernel_drops),
            ("oversize", input.oversize),
            ("sequence_lost", input.sequence_lost),
        ];
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            notes.push(format!("{what} {count}"));
        }
    }
    if let Some(faults) = &node.faults {
        notes.push(format!("not understood {}", faults.sum()));
    }
    for child in &node.children {
        let pid = child.pid.map_or_else(|| "-".into(), |pid| pid.to_string());
        let mut note = format!("{} {pid}", child.state);
        if child.restarts > 0 {
            let _ = write!(note, " restarts {}", child.restarts);
        }
        notes.push(note);
    }
    notes.extend(node.error.clone());
    for lane in &node.lanes {
        notes.push(match (&lane.peer, &lane.error) {
            (Some(peer), _) => format!("to {peer}"),
            (None, Some(error)) => error.clone(),
            (None, None) => "no connection yet".into(),
        });
    }
    if let Some(spool) = &node.spool {
        let mib = spool.bytes as f64 / (1 << 20) as f64;
        notes.push(format!("holds {} lines, {mib:.1} MiB", spool.next - spool.oldest));
        for reader in &spool.readers {
            notes.push(format!(
                "{} lags {} lines, {} bytes, {:.1} s",
                reader.name, reader.lag_lines, reader.lag_bytes, reader.lag_seconds
            ));
        }
    }
    for (flag, word) in
        [(node.paused, "waits"), (node.retired, "retired"), (!node.balanced, "DOES NOT BALANCE")]
    {
        if flag {
            notes.push(word.into());
        }
    }
    notes.join(", ")
}

fn duration(seconds: f64) -> String {
    let span = Duration::from_secs_f64(seconds.max(0.0)).as_secs();
    match span {
        0..60 => format!("{span} s"),
        60..3600 => format!("{} min", span / 60),
        3600..86_400 => format!("{} h {} min", span / 3600, span / 60 % 60),
        _ => format!("{} d {} h", span / 86_400, span / 3600 % 24),
    }
}
