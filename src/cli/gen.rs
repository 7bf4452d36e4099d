//! `logweir gen`: numbered lines at a rate, to size a host before a real flow is pointed at it.

mod lines;

use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use self::lines::{Form, Lines};
use super::peer::{Stop, TcpPeer, UdpPeer};
use crate::limits::DATAGRAM_SENT_MOST;
use crate::sys::send::set_segment;
use crate::url::{Protocol, Url};

/// The most datagrams of one message that the kernel cuts up (UDP_MAX_SEGMENTS).
const SEGMENTS_MOST: usize = 64;
/// Such messages rendered at a time, and sent by one call.
const MESSAGES: usize = 16;
/// Lines that come due sooner than this are sent together.
const BURST: Duration = Duration::from_millis(1);

/// Generate numbered log lines at a rate, to size a host before a real flow is pointed at it
///
/// Each line carries the name of its sender and a sequence number that starts at 1, so that
/// the other end can tell what is missing. The times in the lines are that of the start.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to: udp://host:port or tcp://host:port
    #[arg(long, value_name = "URL", value_parser = Url::unanswered)]
    to: Url,
    /// How many lines; 0: until interrupted
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    lines: u64,
    /// Lines a second; 0: as fast as possible
    #[arg(long, value_name = "R", default_value_t = 0)]
    rate: u64,
    /// Bytes of each line with its newline
    #[arg(long, value_name = "B", default_value_t = 200)]
    size: usize,
    /// What the lines look like
    #[arg(long, value_enum, default_value_t = Form::Squid)]
    format: Form,
    /// Lines in each datagram
    #[arg(long, value_name = "K", default_value_t = 1)]
    per_datagram: usize,
    /// The sender the lines name [default: the name of this host]
    #[arg(long, value_name = "NAME")]
    sender: Option<String>,
    /// Hand the kernel every datagram on its own, not many to cut up (GSO)
    #[arg(long)]
    no_gso: bool,
}

/// What was sent.
#[derive(Debug, Default)]
struct Sent {
    lines: u64,
    errors: u64,
}

/// Sends the lines; 2 where the command line asks for lines that cannot be.
///
/// # Errors
/// Where the network refuses for good.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let lines = match prepare(args) {
        Ok(lines) => lines,
        Err(refusal) => {
            eprintln!("logweir: {refusal}");
            return Ok(ExitCode::from(2));
        }
    };
    let stop = Stop::on_signals()?;
    let peer = match args.to.protocol {
        Protocol::Udp => Peer::udp(args, lines.capacity())?,
        _ => Peer::Tcp(TcpPeer::connect(&args.to, 1, &stop).with_context(to(args))?),
    };
    let start = Instant::now();
    let mut sent = Sent::default();
    let done = send(args, lines, peer, &stop, start, &mut sent);
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} lines, {} bytes, {seconds:.3} s, {:.0} lines/s, {} errors",
        sent.lines,
        sent.lines * args.size as u64,
        sent.lines as f64 / seconds.max(1e-9),
        sent.errors,
    );
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
    let largest = DATAGRAM_SENT_MOST / args.per_datagram;
    if datagram > DATAGRAM_SENT_MOST {
        return Err(format!(
            "--size {} with {} lines in a datagram: at most {largest} fit into one",
            args.size, args.per_datagram
        ));
    }
    let segments = (DATAGRAM_SENT_MOST / datagram).clamp(1, SEGMENTS_MOST);
    Lines::new(args.format, sender.trim_end(), args.size, MESSAGES * segments * args.per_datagram)
}

/// The other end.
enum Peer {
    Udp { peer: UdpPeer, datagram: usize, message: usize },
    Tcp(TcpPeer),
}

impl Peer {
    /// `lines` are sent by one call.
    fn udp(args: &Args, lines: usize) -> anyhow::Result<Self> {
        let peer = UdpPeer::connect(&args.to).with_context(to(args))?;
        let datagram = args.size * args.per_datagram;
        let mut message = lines * args.size / MESSAGES;
        let segment = u16::try_from(datagram).unwrap_or(0);
        // A kernel that cannot gets each datagram on its own.
        if args.no_gso || message == datagram || set_segment(&peer.socket, segment).is_err() {
            message = datagram;
        }
        Ok(Self::Udp { peer, datagram, message })
    }

    /// Sends whole lines; how many bytes went.
    fn send(&mut self, bytes: &[u8], stop: &Stop) -> Result<usize, (usize, io::Error)> {
        let (peer, datagram, message) = match self {
            Self::Tcp(peer) => return peer.send(bytes, stop),
            Self::Udp { peer, datagram, message } => (peer, *datagram, message),
        };
        let messages: Vec<&[u8]> = bytes.chunks(*message).collect();
        let length = |count: usize| (count * *message).min(bytes.len());
        match peer.send(&messages, stop) {
            Ok(count) => Ok(length(count)),
            Err((count, error)) if *message != datagram && refuses_segments(&error) => {
                let sent = length(count);
                eprintln!("logweir: the network takes no segments ({error}): as with --no-gso");
                *message = datagram;
                set_segment(&peer.socket, 0).map_err(|error| (sent, error))?;
                match self.send(&bytes[sent..], stop) {
                    Ok(more) => Ok(sent + more),
                    Err((more, error)) => Err((sent + more, error)),
                }
            }
            Err((count, error)) => Err((length(count), error)),
        }
    }

    fn errors(&self) -> u64 {
        match self {
            Self::Udp { peer, .. } => peer.errors,
            Self::Tcp(_) => 0,
        }
    }
}

/// A datagram larger than the interface takes, or an interface without checksum offload.
fn refuses_segments(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO))
}

fn send(
    args: &Args,
    mut lines: Lines,
    mut peer: Peer,
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
        let bytes = lines.next(usize::try_from(count)?);
        let done = peer.send(bytes, stop);
        let (Ok(went) | Err((went, _))) = done;
        sent.lines += (went / args.size) as u64;
        sent.errors = peer.errors();
        if let Err((_, error)) = done {
            bail!(error);
        }
    }
    Ok(())
}

/// How many lines are due: whole datagrams, but for the last.
fn due(args: &Args, left: u64, done: u64, elapsed: Duration) -> u64 {
    if args.rate == 0 {
        return left;
    }
    let all = u128::from(args.rate) * elapsed.as_micros() / 1_000_000;
    let count = u64::try_from(all).unwrap_or(u64::MAX).saturating_sub(done);
    if count >= left { left } else { count - count % args.per_datagram as u64 }
}

/// How long until the next datagram is due, and no less than a burst.
fn wait(args: &Args, left: u64, done: u64, elapsed: Duration) -> Duration {
    let next = done.saturating_add(left.min(args.per_datagram as u64));
    let at = Duration::from_secs_f64((next as f64 / args.rate as f64).min(1e9));
    // Not longer than a turn: the user may have had enough meanwhile.
    at.saturating_sub(elapsed).clamp(BURST, Duration::from_millis(200))
}
