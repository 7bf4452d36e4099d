//! `logweir spool replay`: sends lines of a spool again, as fast as they can be read.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::destination::Destination;
use super::feed::{Chunk, Feed, Pick, Piece};
use super::folder::Folder;
use super::losses::Losses;
use super::target::{Sent, Target};
use super::{count, time};
use crate::cli::send::Tls;
use crate::config::plan::{FormatPlan, RatePlan, Shape};
use crate::config::shape_of;
use crate::driver::clients::{Options, Stop};
use crate::ids::Identity;

/// The longest time to sleep before it is looked whether the user has had enough.
const TURN: Duration = Duration::from_millis(100);
/// Lines that come due sooner than this are sent together.
const BURST: Duration = Duration::from_millis(1);
/// The exit code of a program that SIGINT ended, as the shell says it.
const INTERRUPTED: u8 = 130;

/// Send the lines of a spool again
///
/// A line is a datagram, or ends with a newline in a stream or a file, or is a message that the
/// peer answers and counts as sent only then. What had come when it began is sent. Another
/// logweir is told an origin that is this replay's own, and the numbers of the lines.
/// Stopped by Ctrl-C or an error, it says which --from goes on where it ended.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The spool's folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[arg(long, value_name = "URL", required_unless_present = "dry_run",
        help = format!("Where to: {}", Destination::forms()))]
    to: Option<Destination>,
    #[command(flatten)]
    tls: Tls,
    #[command(flatten)]
    pick: Pick,
    /// End with the line of this number
    #[arg(long, value_name = "N")]
    to_line: Option<u64>,
    /// Send no more lines than this in a time, as in 1000/s
    #[arg(long, value_name = "R")]
    rate: Option<RatePlan>,
    /// How lines are written: line, rfc5424, rfc3164, json, text, traditional, or a template with
    /// fields in braces, as an output's `format`
    #[arg(long, value_name = "F", value_parser = shape_of)]
    format: Option<Shape>,
    /// The app of lines that have none; the name of their input where it is left out
    #[arg(long, value_name = "NAME", requires = "format")]
    tag: Option<String>,
    /// Send nothing; say what would be sent
    #[arg(long)]
    dry_run: bool,
}

/// Sends the lines; 1 where some are damaged or missing, 130 where the user had enough.
///
/// # Errors
/// The system's, and how far it came.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = Folder::open(&args.dir)?;
    let mut end = folder.end()?;
    if let Some(to_line) = args.to_line {
        end = end.min(to_line.saturating_add(1));
    }
    let mut feed = Feed::new(&folder, &args.pick, end)?;
    if let Some(shape) = &args.format {
        feed.format(&FormatPlan { shape: shape.clone(), tag: args.tag.clone() });
    }
    let Some(to) = args.to.as_ref().filter(|_| !args.dry_run) else {
        return dry_run(args, &mut feed);
    };
    let stop = Stop::on_signals(Duration::ZERO)?;
    // A replay never passes for the spool's own flow: it has an origin of its own.
    let options = Options { origin: Some(Identity::new()), ..args.tls.options() };
    let client = to.open(&options, &stop)?;
    let target = Target::new(client);
    let mut replay = Replay {
        pace: args.rate.map(Pace::new),
        bar: bar(feed.first, feed.end),
        sent: Sent::new(feed.first),
        losses: Losses::default(),
        stop,
        target,
    };
    let done = replay.all(args, &mut feed);
    replay.bar.finish_and_clear();
    let Replay { sent, mut losses, stop, target, .. } = replay;
    let mut said =
        format!("{}, {}{}", count(sent.lines, "line"), count(sent.bytes, "byte"), target.notes());
    if sent.doubtful > 0 {
        said +=
            &format!(" ({} more were handed over and may arrive)", count(sent.doubtful, "byte"));
    }
    let go_on = || format!("go on with {}", go_on(&args.pick, sent.next));
    let code = losses.finish();
    if let Err(error) = done {
        return Err(anyhow!("{error:#}; sent {said}; {}", go_on()));
    }
    if stop.asked() && sent.next < feed.end {
        eprintln!("logweir: stopped; sent {said}; {}", go_on());
        return Ok(ExitCode::from(INTERRUPTED));
    }
    println!("sent {said}{}", between(&sent));
    Ok(code)
}

/// Between which numbers the lines are.
fn between(sent: &Sent) -> String {
    match sent.lines {
        0 => String::new(),
        _ => format!(", between {} and {}", sent.first, sent.next - 1),
    }
}

/// The options that go on at line `next`. A span such as `2h` means another time by then.
fn go_on(pick: &Pick, next: u64) -> String {
    let mut options = format!("--from {next}");
    for (option, time) in [("--since", pick.since), ("--until", pick.until)] {
        if let Some(time) = time {
            options += &format!(" {option} {}", time::exact(time));
        }
    }
    options
}

fn dry_run(args: &Args, feed: &mut Feed) -> anyhow::Result<ExitCode> {
    let mut losses = Losses::default();
    let (mut lines, mut bytes) = (0, 0);
    let mut span: Option<(SystemTime, SystemTime)> = None;
    while let Some(chunk) = feed.next().with_context(|| args.dir.display().to_string())? {
        losses.take(&chunk.damage, &chunk.missing);
        for piece in chunk.pieces {
            lines += u64::from(piece.lines);
            bytes += piece.bytes.len() as u64;
            let (first, last) = span.unwrap_or((piece.received, piece.received));
            span = Some((first.min(piece.received), last.max(piece.received)));
        }
    }
    print!("would send {}, {}", count(lines, "line"), count(bytes, "byte"));
    if let Some((first, last)) = span {
        print!(", received {} to {}", time::short(first), time::short(last));
    }
    println!();
    Ok(losses.finish())
}

/// A bar on standard error, where that is a terminal.
fn bar(first: u64, end: u64) -> ProgressBar {
    let form =
        "{wide_bar} {percent}%, {human_pos} of {human_len} lines, {rate} lines/s, {eta} left";
    // The form is right, as any use of it shows.
    let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
    let rate = |state: &ProgressState, to: &mut dyn fmt::Write| {
        // Where it cannot be shown the bar is not either.
        let _ = write!(to, "{:.0}", state.per_sec());
    };
    let bar = ProgressBar::new(end - first);
    bar.set_style(style.with_key("rate", rate));
    bar
}

/// A replay under way.
struct Replay {
    target: Target,
    pace: Option<Pace>,
    bar: ProgressBar,
    sent: Sent,
    losses: Losses,
    stop: Stop,
}

impl Replay {
    fn all(&mut self, args: &Args, feed: &mut Feed) -> anyhow::Result<()> {
        let to = || args.to.as_ref().map_or_else(String::new, ToString::to_string);
        let first = feed.first;
        let mut done = Ok(());
        while !self.stop.asked() && done.is_ok() {
            let read = feed.next().with_context(|| args.dir.display().to_string());
            let Some(chunk) = read.transpose() else { break };
            done = chunk.and_then(|chunk| self.chunk(chunk).with_context(to));
            self.bar.set_position(feed.next_line() - first);
        }
        if done.is_ok() {
            done = self.target.settle(&self.stop).with_context(to);
        }
        self.sent.close(self.target.unacknowledged());
        done
    }

    fn chunk(&mut self, chunk: Chunk) -> std::io::Result<()> {
        if !chunk.damage.is_empty() || !chunk.missing.is_empty() {
            self.bar.suspend(|| self.losses.take(&chunk.damage, &chunk.missing));
        }
        let Some(mut pace) = self.pace else { return self.send(chunk.pieces) };
        let mut pieces = VecDeque::from(chunk.pieces);
        while !pieces.is_empty() && !self.stop.asked() {
            match pace.due() {
                0 => thread::sleep(pace.wait()),
                due => {
                    let due = take_lines(&mut pieces, due);
                    pace.sent += due.iter().map(|piece| u64::from(piece.lines)).sum::<u64>();
                    self.send(due)?;
                }
            }
        }
        self.pace = Some(pace);
        Ok(())
    }

    fn send(&mut self, pieces: Vec<Piece>) -> std::io::Result<()> {
        let (bytes, done) = self.target.send(&pieces, &self.stop);
        self.sent.add(pieces, bytes);
        self.sent.acknowledge(self.target.unacknowledged());
        done
    }
}

/// Takes off the first lines, `most` at most.
fn take_lines(pieces: &mut VecDeque<Piece>, most: u64) -> Vec<Piece> {
    let mut taken = Vec::new();
    let mut left = u32::try_from(most).unwrap_or(u32::MAX);
    while left > 0
        && let Some(piece) = pieces.pop_front()
    {
        if piece.lines <= left {
            left -= piece.lines;
            taken.push(piece);
            continue;
        }
        let (part, rest) = split(piece, left);
        pieces.push_front(rest);
        taken.push(part);
        break;
    }
    taken
}

/// A piece's first lines, which are not all of them, and the rest.
fn split(mut piece: Piece, lines: u32) -> (Piece, Piece) {
    let nth = lines.saturating_sub(1) as usize;
    let end = memchr::memchr_iter(b'\n', &piece.bytes).nth(nth);
    let mut rest = piece.clone();
    piece.bytes = rest.bytes.split_to(end.map_or(0, |at| at + 1));
    piece.lines = lines;
    rest.lines -= lines;
    rest.first += u64::from(lines);
    (piece, rest)
}

/// When lines are due.
#[derive(Debug, Clone, Copy)]
struct Pace {
    rate: RatePlan,
    start: Instant,
    sent: u64,
}

impl Pace {
    fn new(rate: RatePlan) -> Self {
        Self { rate, start: Instant::now(), sent: 0 }
    }

    /// How many lines are due by now.
    fn due(&self) -> u64 {
        let earned = self.start.elapsed().as_nanos() * u128::from(self.rate.lines.get())
            / self.rate.per.as_nanos();
        u64::try_from(earned).unwrap_or(u64::MAX).saturating_sub(self.sent)
    }

    /// How long to wait for the next one.
    fn wait(&self) -> Duration {
        (self.rate.per / u32::try_from(self.rate.lines.get()).unwrap_or(u32::MAX))
            .clamp(BURST, TURN)
    }
}
