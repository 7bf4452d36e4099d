//! `logweir loss`: counts missing lines by sender.

mod runs;
mod table;

use std::fmt::Write as _;
use std::io;
use std::num::NonZeroU64;
use std::process::ExitCode;

use self::runs::Runs;
use super::stdin::next_line;
use crate::limits;
use crate::parse::sequence::GapTracker;

/// Count missing lines, by the sequence numbers of the lines on standard input
///
/// Each line's first two words are its sender's name and a number that increases by one with each
/// line the sender wrote. A third word that is a time (seconds since 1970, or 2026-11-27T13:00:00)
/// is when.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Assume that senders sent one line in N
    #[arg(long, value_name = "N", default_value = "1")]
    sample: NonZeroU64,
    /// The byte between words, \t for a tab [default: a space or a tab]
    #[arg(long, value_name = "D", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// Also print, for each sender and hour, the lines expected and received
    #[arg(long)]
    hourly: bool,
    /// Also print which numbers are missing, and between which times
    #[arg(long)]
    gaps: bool,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [byte] if *byte != b'\n' => Ok(*byte),
        _ => Err("a single byte, or \\t".into()),
    }
}

/// Reads all lines, then prints a table.
///
/// # Errors
/// The system's, when reading or writing.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.gaps && args.sample.get() > 1 {
        eprintln!("logweir: --gaps: where lines are sampled no number is surely missing");
        return Ok(ExitCode::from(2));
    }
    let mut tracker = GapTracker::with_step(args.sample.get());
    let mut runs = (args.hourly || args.gaps).then(Runs::default);
    if let Some(delimiter) = args.delimiter {
        tracker = tracker.delimiter(delimiter);
    }
    let mut stdin = io::BufReader::with_capacity(limits::READ_CHUNK, io::stdin().lock());
    let mut line = Vec::new();
    // Only the first three words of a line matter.
    while next_line(&mut stdin, limits::LINE_LENGTH_DEFAULT, &mut line)?.is_some() {
        let words = tracker.line(&line);
        if let Some(runs) = &mut runs
            && let Some((name, number, third)) = words
        {
            runs.line(name, number, table::seconds(third));
        }
    }
    let mut text = table(&tracker);
    if let Some(runs) = runs.as_ref().filter(|_| args.hourly) {
        text += &format!("\n{}", table::hourly(runs, args.sample.get()));
    }
    if let Some(runs) = runs.as_ref().filter(|_| args.gaps) {
        text += &format!("\n{}", table::gaps(runs));
    }
    super::print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn table(tracker: &GapTracker) -> String {
    let mut senders: Vec<_> = tracker.senders().collect();
    senders.sort_unstable_by_key(|(name, _)| *name);
    let mut total = [0_u64; 5];
    let mut text = format!(
        "{:<24} {:>14} {:>14} {:>9} {:>9} {:>9} {:>10}\n",
        "SENDER", "RECEIVED", "LOST", "LOST %", "LATE", "RESTARTS", "DUPLICATES"
    );
    for (name, sender) in senders {
        let counts =
            [sender.received, sender.lost, sender.late, sender.restarts, sender.duplicates];
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum = sum.saturating_add(count);
        }
        row(&mut text, &name.escape_ascii().to_string(), counts);
    }
    row(&mut text, "total", total);
    let others = [
        (tracker.unnumbered(), "lines without a sender and a number"),
        (tracker.forgotten(), "least recently seen senders, forgotten for others"),
    ];
    for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{count} {what}");
    }
    text
}

fn row(text: &mut String, name: &str, [received, lost, late, restarts, duplicates]: [u64; 5]) {
    let sent = received as f64 + lost as f64;
    let percent = if sent > 0.0 { lost as f64 / sent * 100.0 } else { 0.0 };
    let _ = writeln!(
        text,
        "{name:<24} {received:>14} {lost:>14} {percent:>9.3} {late:>9} {restarts:>9} \
         {duplicates:>10}"
    );
}
