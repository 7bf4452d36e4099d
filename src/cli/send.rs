//! `logweir send`: the lines of a file, a named pipe or standard input to the network.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::peer::{RelpPeer, Stop, TcpPeer, UdpPeer};
use crate::batch::Batch;
use crate::input::lines::LineBuffer;
use crate::limits::{DATAGRAM_SENT_MOST, LINE_MAX_MOST, READ_CHUNK, SENDER_NAME_MOST};
use crate::url::{Protocol, Url};

/// Attempts to reach a TCP peer at the start; with the waits between them some seven seconds.
const ATTEMPTS: u32 = 8;
/// The longest number before a line, and its space.
const NUMBER_MOST: usize = 21;

/// Send lines of a file, a named pipe or standard input over UDP, TCP or RELP
///
/// Over UDP each line is a datagram; over TCP each ends with a newline; over RELP each is
/// answered by the peer, and counts as sent only then. A named pipe is read on after its writer
/// has closed it, until SIGINT or SIGTERM.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to: udp://host:port, tcp://host:port or relp://host:port
    #[arg(long, value_name = "URL")]
    to: Url,
    /// Send every N-th line only
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..))]
    sample: u64,
    /// Put the number of the line and a space before it; every line counts
    #[arg(long)]
    sequence: bool,
    /// Put this name and a space before the number, so that `loss` and `sequence = true` can count
    #[arg(long, value_name = "NAME", requires = "sequence", value_parser = sender_name)]
    sender: Option<String>,
    /// What to read; - is standard input
    #[arg(value_name = "FILE|FIFO|-", default_value = "-")]
    from: PathBuf,
}

impl Args {
    /// The most bytes that are put before a line.
    fn prefix_most(&self) -> usize {
        let name = self.sender.as_ref().map_or(0, |name| name.len() + 1);
        if self.sequence { name + NUMBER_MOST } else { 0 }
    }
}

/// A name that is one word.
fn sender_name(name: &str) -> Result<String, String> {
    let word = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
    match word && name.len() <= SENDER_NAME_MOST {
        true => Ok(name.to_string()),
        false => Err(format!("must be one word of at most {SENDER_NAME_MOST} bytes")),
    }
}

/// Sends the lines.
///
/// # Errors
/// What cannot be read or sent, and how many lines were handed over before.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let stop = Stop::on_signals()?;
    let mut source = Source::open(&args.from).with_context(|| args.from.display().to_string())?;
    let peer = Peer::connect(&args.to, &stop).with_context(|| args.to.to_string())?;
    let longest = match peer {
        Peer::Udp(_) => DATAGRAM_SENT_MOST - 1 - args.prefix_most(),
        Peer::Tcp(_) | Peer::Relp(_) => LINE_MAX_MOST,
    };
    let mut sender = Sender { args, peer, seen: 0, sent: 0, ready: Vec::new(), ends: Vec::new() };
    let mut buffer = LineBuffer::new(longest);
    let done = copy(&mut source, &mut buffer, &mut sender, &stop).and_then(|()| sender.finish());
    eprint!("sent {} of {} lines", sender.sent, sender.seen);
    if buffer.counts.oversize > 0 {
        eprint!(", {} cut to {longest} bytes", buffer.counts.oversize);
    }
    if sender.errors() > 0 {
        eprint!(", {} refused by the network and sent again", sender.errors());
    }
    eprintln!();
    done?;
    Ok(ExitCode::SUCCESS)
}

fn copy(
    source: &mut Source,
    buffer: &mut LineBuffer,
    sender: &mut Sender<'_>,
    stop: &Stop,
) -> anyhow::Result<()> {
    let mut chunk = vec![0; READ_CHUNK];
    while source.wait(stop).context("poll")? {
        let count = match source.file.read(&mut chunk) {
            Ok(count) => count,
            Err(error) => match error.kind() {
                ErrorKind::Interrupted | ErrorKind::WouldBlock => continue,
                _ => bail!("{}: {error}", sender.args.from.display()),
            },
        };
        let lines = if count == 0 { buffer.end() } else { buffer.push(&chunk[..count]) };
        if let Some((bytes, _)) = lines {
            sender.send(&bytes, stop)?;
        }
        if count == 0 && !source.reopen(&sender.args.from)? {
            break;
        }
    }
    Ok(())
}

/// Where the lines come from.
struct Source {
    file: File,
    fifo: bool,
}

impl Source {
    fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            let stdin: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
            return Ok(Self { file: stdin.into(), fifo: false });
        }
        // /dev/stdin and the like may be a pipe that has no name, and cannot be opened anew.
        let fifo = path.metadata()?.file_type().is_fifo() && path.canonicalize().is_ok();
        Ok(Self { file: open(path, fifo)?, fifo })
    }

    /// Waits until there is something to read; false where a signal came.
    fn wait(&self, stop: &Stop) -> nix::Result<bool> {
        while !stop.asked() {
            let mut ready = [
                PollFd::new(self.file.as_fd(), PollFlags::POLLIN),
                PollFd::new(stop.wake.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) if ready[0].any() == Some(true) => return Ok(!stop.asked()),
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// After its end: opens a named pipe anew. The old end is closed only then, so that what
    /// a next writer has written meanwhile stays.
    fn reopen(&mut self, path: &Path) -> io::Result<bool> {
        if self.fifo {
            self.file = open(path, true)?;
        }
        Ok(self.fifo)
    }
}

/// A named pipe is opened without waiting for its writer; poll(2) waits for it.
fn open(path: &Path, fifo: bool) -> io::Result<File> {
    let flags = if fifo { libc::O_NONBLOCK } else { 0 };
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Where the lines go.
enum Peer {
    Udp(UdpPeer),
    Tcp(TcpPeer),
    Relp(Box<RelpPeer>),
}

impl Peer {
    fn connect(to: &Url, stop: &Stop) -> io::Result<Self> {
        match to.protocol {
            Protocol::Udp => UdpPeer::connect(to).map(Self::Udp),
            Protocol::Relp => {
                RelpPeer::connect(to, ATTEMPTS, stop).map(|peer| Self::Relp(Box::new(peer)))
            }
            _ => TcpPeer::connect(to, ATTEMPTS, stop).map(Self::Tcp),
        }
    }
}

/// Numbers, chooses and sends.
struct Sender<'a> {
    args: &'a Args,
    peer: Peer,
    /// Lines read.
    seen: u64,
    /// Lines handed over.
    sent: u64,
    /// The lines to send next, and where each ends.
    ready: Vec<u8>,
    ends: Vec<usize>,
}

impl Sender<'_> {
    fn send(&mut self, lines: &[u8], stop: &Stop) -> anyhow::Result<()> {
        self.ready.clear();
        self.ends.clear();
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            self.seen += 1;
            if !self.seen.is_multiple_of(self.args.sample) {
                continue;
            }
            if let Some(sender) = &self.args.sender {
                self.ready.extend_from_slice(sender.as_bytes());
                self.ready.push(b' ');
            }
            if self.args.sequence {
                self.ready.extend_from_slice(format!("{} ", self.seen).as_bytes());
            }
            self.ready.extend_from_slice(line);
            self.ends.push(self.ready.len());
        }
        let batch = self.ready_batch();
        let done = match &mut self.peer {
            Peer::Udp(peer) => {
                let starts = [0].into_iter().chain(self.ends.iter().copied());
                let parts = starts.zip(&self.ends).map(|(from, &to)| &self.ready[from..to]);
                peer.send(&parts.collect::<Vec<_>>(), stop)
            }
            Peer::Tcp(peer) => {
                let whole = |bytes: usize| self.ends.partition_point(|&end| end <= bytes);
                let done = peer.send(&self.ready, stop);
                done.map(whole).map_err(|(bytes, error)| (whole(bytes), error))
            }
            Peer::Relp(peer) => {
                let done = batch.map_or(Ok(()), |batch| peer.send(&batch, stop));
                self.sent = peer.answered.lines;
                done.map(|()| 0).map_err(|error| (0, error))
            }
        };
        let (Ok(count) | Err((count, _))) = done;
        self.sent += count as u64;
        if let Err((_, error)) = done {
            bail!("{}: {error} after {} lines were handed over", self.args.to, self.sent);
        }
        Ok(())
    }

    /// The lines that are ready, where there are any.
    fn ready_batch(&self) -> Option<Batch> {
        let Peer::Relp(_) = self.peer else { return None };
        let lines = u32::try_from(self.ends.len()).ok().filter(|lines| *lines > 0)?;
        let bytes = self.ready.clone().into();
        let (input, received) = ("send".into(), SystemTime::now());
        Some(Batch::new(bytes, lines, input, received))
    }

    /// Waits for answers that are due.
    fn finish(&mut self) -> anyhow::Result<()> {
        let Peer::Relp(peer) = &mut self.peer else { return Ok(()) };
        let done = peer.finish();
        self.sent = peer.answered.lines;
        done.with_context(|| format!("{} after {} lines were answered", self.args.to, self.sent))
    }

    fn errors(&self) -> u64 {
        match &self.peer {
            Peer::Udp(peer) => peer.errors,
            Peer::Tcp(_) | Peer::Relp(_) => 0,
        }
    }
}
