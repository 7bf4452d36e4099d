//! `logweir gen`: sends numbered lines at a rate, to size a host before it gets a real flow.

mod lines;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;

use self::lines::{Form, Lines};
use crate::driver::clients::{Client, Options, Packing, Stop, connect};
use crate::limits::DATAGRAM_SENT_MAX;
use crate::url::Url;

/// The maximum number of datagrams into which the kernel splits one message (UDP_MAX_SEGMENTS).
const SEGMENTS_MAX: usize = 64;
/// How many such messages are rendered at a time, and sent by one call.
const MESSAGES: usize = 16;
/// Lines that come due sooner than this are sent together.
const BURST: Duration = Duration::from_millis(1);

/// Generate numbered log lines at a rate, to size a host before a real flow is pointed at it
///
/// Each line carries the name of its sender and a sequence number that starts at 1, so that the
/// receiver can tell what is missing; each has the time at which it was sent.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, value_name = "URL", value_parser = Url::unanswered,
        help = format!("Where to: {}", Url::unanswered_forms()))]
    to: Url,
    /// How many lines; 0: until interrupted
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    lines: u64,
    /// Lines a second; 0: as fast as possible
    #[arg(long, value_name = "R", default_value_t = 0)]
    rate: u64,
    /// Bytes of each line, including its newline
    #[arg(long, value_name = "B", default_value_t = 200)]
    size: usize,
    /// The format of the lines
    #[arg(long, value_enum, default_value_t = Form::Squid)]
    format: Form,
    /// Lines in each datagram
    #[arg(long, value_name = "K", default_value_t = 1)]
    per_datagram: usize,
    /// The sender named in the lines [default: the name of this host]
    #[arg(long, value_name = "NAME")]
    sender: Option<String>,
    /// Pass every datagram to the kernel on its own, instead of many to split (GSO)
    #[arg(long)]
    no_gso: bool,
}

/// What was sent.
#[derive(Debug, Default)]
struct Sent {
    lines: u64,
    errors: u64,
}

/// Sends the lines; returns 2 if the command line requests impossible lines.
///
/// # Errors
/// If the network refuses permanently.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let lines = match prepare(args) {
        Ok(lines) => lines,
        Err(refusal) => {
            eprintln!("logweir: {refusal}");
            return Ok(ExitCode::from(2));
        }
    };
    let stop = Stop::on_signals(Duration::ZERO)?;
    let packing = args.packing(lines.capacity());
    let options = Options { attempts: 1, packing, ..Options::default() };
    let mut peer = connect(&args.to, &options, &stop).with_context(to(args))?;
    let start = Instant::now();
    let mut sent = Sent::default();
    let done = send(args, lines, &mut *peer, &stop, start, &mut sent);
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} lines, {} bytes, {seconds:.3} s, {:.0} lines/s, {} errors",
        sent.lines,
        sent.lines * args.size as u64,
        sent.lines as f64 / seconds.max(1e-9),
        sent.errors,
    );
    let notes = peer.notes();
    if !notes.is_empty() {
        eprintln!("logweir{}", notes.replacen(',', ":", 1));
    }
    done.with_context(to(args))?;
    Ok(ExitCode::SUCCESS)
}

fn to(args: &Args) -> impl FnOnce() -> String {
    let to = args.to.to_string();
    move || to
}

fn prepare(args: &Args) -> Result<Lines, String> {
    let sender = match &args.sender {
        Some(name) => name.clone(),
        None => std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(),
    };
    if args.per_datagram == 0 {
        return Err("--per-datagram 0: a datagram has at least 1 line".to_string());
    }
    let datagram = args.size.max(1).saturating_mul(args.per_datagram);
    let largest = DATAGRAM_SENT_MAX / args.per_datagram;
    if datagram > DATAGRAM_SENT_MAX {
        return Err(format!(
            "--size {} with {} lines in a datagram: at most {largest} fit into one",
            args.size, args.per_datagram
        ));
    }
    let segments = (DATAGRAM_SENT_MAX / datagram).clamp(1, SEGMENTS_MAX);
    Lines::new(args.format, sender.trim_end(), args.size, MESSAGES * segments * args.per_datagram)
}

impl Args {
    /// How lines are packed into datagrams, of which `lines` lines are sent by one call.
    fn packing(&self, lines: usize) -> Packing {
        let datagram = self.size * self.per_datagram;
        let whole = lines * self.size / MESSAGES;
        let message = if self.no_gso { datagram } else { whole };
        Packing::Fixed { datagram, message }
    }
}

fn send(
    args: &Args,
    mut lines: Lines,
    peer: &mut dyn Client,
    stop: &Stop,
    start: Instant,
    sent: &mut Sent,
) -> anyhow::Result<()> {
    while !stop.asked() {
        let left = if args.lines == 0 { u64::MAX } else { args.lines - sent.lines };
        if left == 0 {
            break;
        }
        let count = due(args, left, sent.lines, start.elapsed()).min(lines.capacity() as u64);
        if count == 0 {
            thread::sleep(wait(args, left, sent.lines, start.elapsed()));
            continue;
        }
        let bytes = lines.next(usize::try_from(count)?, Timestamp::now());
        let (went, done) = peer.send(bytes, stop);
        sent.lines += (went / args.size) as u64;
        sent.errors = peer.errors();
        done?;
    }
    Ok(())
}

/// How many lines are due: whole datagrams, except for the last.
fn due(args: &Args, left: u64, done: u64, elapsed: Duration) -> u64 {
    if args.rate == 0 {
        return left;
    }
    let all = u128::from(args.rate) * elapsed.as_micros() / 1_000_000;
    let count = u64::try_from(all).unwrap_or(u64::MAX).saturating_sub(done);
    if count >= left { left } else { count - count % args.per_datagram as u64 }
}

/// The time until the next datagram is due, but at least a burst.
fn wait(args: &Args, left: u64, done: u64, elapsed: Duration) -> Duration {
    let next = done.saturating_add(left.min(args.per_datagram as u64));
    let at = Duration::from_secs_f64((next as f64 / args.rate as f64).min(1e9));
    // Not longer than a turn: the user may interrupt meanwhile.
    at.saturating_sub(elapsed).clamp(BURST, Duration::from_millis(200))
}
