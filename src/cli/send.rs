//! `logweir send`: sends the lines of a file, a named pipe or standard input to the network.

mod source;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use self::source::{Left, Read, Source};
use crate::config::plan::{ClientTlsPlan, PeerName};
use crate::driver::clients::{Client, Options, Stop, connect};
use crate::input::lines::LineBuffer;
use crate::limits::{LINE_LENGTH_MAX, READ_CHUNK, SENDER_NAME_MAX};
use crate::url::Url;

/// The maximum length of a number before a line, with its space.
const NUMBER_MAX: usize = 21;
/// How long sending may take after a signal: for the rest of a pipe, and for acknowledgements.
const GRACE: Duration = Duration::from_secs(5);

/// Send lines of a file, a named pipe or standard input to another host
///
/// A line is a datagram, or ends with a newline in a stream, or is a message that the peer
/// acknowledges; it counts as sent once the network has accepted it, once the peer's TCP has it, or
/// once it is acknowledged. A named pipe is reopened after its writer has closed it, until SIGINT
/// or SIGTERM: lines then in the pipe are still sent. Exits with 1 if available input was not sent.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, value_name = "URL", help = format!("Where to: {}", Url::forms()))]
    to: Url,
    /// Send only every Nth line
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..))]
    sample: u64,
    /// Put the number of the line and a space before it; every line counts
    #[arg(long)]
    sequence: bool,
    /// Put this name and a space before the number, for `loss` and `sequence = true`
    #[arg(long, value_name = "NAME", requires = "sequence", value_parser = sender_name)]
    sender: Option<String>,
    #[command(flatten)]
    tls: Tls,
    /// The input; - is standard input
    #[arg(value_name = "FILE|FIFO|-", default_value = "-")]
    from: PathBuf,
}

/// The TLS options; the system's authorities by default.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Tls {
    /// With TLS: the authorities trusted to sign the peer's certificate (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// With TLS: our own certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// With TLS: the private key of our own certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// With TLS: the name required in the peer's certificate, if it is not the host's
    #[arg(long, value_name = "NAME", value_parser = peer_name)]
    tls_name: Option<Box<PeerName>>,
}

fn peer_name(text: &str) -> Result<Box<PeerName>, String> {
    text.parse().map(Box::new)
}

impl Tls {
    /// Converts them to connection options.
    pub(super) fn options(&self) -> Options {
        let own = self.cert.clone().zip(self.key.clone());
        let names = self.tls_name.as_deref().into_iter().cloned().collect();
        let tls = ClientTlsPlan { ca: self.ca.clone(), own, names, ..ClientTlsPlan::default() };
        Options { tls, ..Options::default() }
    }
}

impl Args {
    /// The maximum number of bytes put before a line.
    fn prefix_most(&self) -> usize {
        let name = self.sender.as_ref().map_or(0, |name| name.len() + 1);
        if self.sequence { name + NUMBER_MAX } else { 0 }
    }
}

/// Parses a name that is one word.
fn sender_name(name: &str) -> Result<String, String> {
    let word = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
    match word && name.len() <= SENDER_NAME_MAX {
        true => Ok(name.to_string()),
        false => Err(format!("must be one word of at most {SENDER_NAME_MAX} bytes")),
    }
}

/// Sends the lines; returns 1 if a signal ended it before all available lines were sent.
///
/// # Errors
/// What cannot be read or sent, and how many lines were handed over before.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let stop = Stop::on_signals(GRACE)?;
    let mut source = Source::open(&args.from).with_context(|| args.from.display().to_string())?;
    let client = connect(&args.to, &args.tls.options(), &stop);
    let client = client.with_context(|| args.to.to_string())?;
    let room = |max: usize| max - 1 - args.prefix_most();
    let longest = client.longest().map_or(LINE_LENGTH_MAX, room);
    let mut sender = Sender::new(args, client);
    let mut buffer = LineBuffer::new(longest);
    let done = copy(&mut source, &mut buffer, &mut sender, &stop);
    let done = done.and_then(|left| sender.finish(&stop).map(|()| left));
    eprint!("sent {} of {} lines", sender.sent, sender.seen);
    if buffer.counts.oversize > 0 {
        eprint!(", {} cut to {longest} bytes", buffer.counts.oversize);
    }
    eprintln!("{}", sender.client.notes());
    let left = done?;
    let unsent = sender.chosen - sender.sent;
    if unsent > 0 {
        eprintln!("logweir: stopped by a signal; {unsent} lines that were read were not sent");
    }
    if left == Left::Some {
        let from = args.from.display();
        eprintln!("logweir: stopped by a signal; there is more to read in {from}");
    }
    Ok(ExitCode::from(u8::from(unsent > 0 || left == Left::Some)))
}

/// Sends all available lines. After a signal: the rest of a pipe, and the unfinished line.
fn copy(
    source: &mut Source,
    buffer: &mut LineBuffer,
    sender: &mut Sender<'_>,
    stop: &Stop,
) -> anyhow::Result<Left> {
    let mut chunk = vec![0; READ_CHUNK];
    loop {
        let read = source.read(&mut chunk, stop);
        let read = read.with_context(|| sender.args.from.display().to_string())?;
        let lines = match read {
            Read::Bytes(count) => buffer.push(&chunk[..count]),
            Read::End | Read::Stopped(Left::Nothing) => buffer.end(),
            // The beginning of a line whose rest is still there to read.
            Read::Stopped(Left::Some) => None,
        };
        if let Some((bytes, _)) = lines {
            sender.send(&bytes, stop)?;
        }
        match read {
            Read::Bytes(_) => {}
            Read::Stopped(left) => return Ok(left),
            Read::End => {
                let goes_on = source.reopen(&sender.args.from);
                let from = || sender.args.from.display().to_string();
                if !goes_on.with_context(from)? {
                    return Ok(Left::Nothing);
                }
            }
        }
    }
}

/// Numbers, selects and sends lines.
struct Sender<'a> {
    args: &'a Args,
    client: Box<dyn Client>,
    /// Lines read.
    seen: u64,
    /// Of those, lines to send.
    chosen: u64,
    /// Lines that have arrived, as far as is known.
    sent: u64,
    /// The lines to send next, and the end of each.
    ready: Vec<u8>,
    /// Bytes handed over so far, and where in them the lines end that may not have arrived.
    handed: u64,
    under_way: VecDeque<u64>,
}

impl<'a> Sender<'a> {
    fn new(args: &'a Args, client: Box<dyn Client>) -> Self {
        Self {
            args,
            client,
            seen: 0,
            chosen: 0,
            sent: 0,
            ready: Vec::new(),
            handed: 0,
            under_way: VecDeque::new(),
        }
    }

    fn send(&mut self, lines: &[u8], stop: &Stop) -> anyhow::Result<()> {
        self.ready.clear();
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            self.seen += 1;
            if !self.seen.is_multiple_of(self.args.sample) {
                continue;
            }
            self.chosen += 1;
            if let Some(sender) = &self.args.sender {
                self.ready.extend_from_slice(sender.as_bytes());
                self.ready.push(b' ');
            }
            if self.args.sequence {
                self.ready.extend_from_slice(format!("{} ", self.seen).as_bytes());
            }
            self.ready.extend_from_slice(line);
            self.under_way.push_back(self.handed + self.ready.len() as u64);
        }
        let (bytes, done) = self.client.send(&self.ready, stop);
        self.handed += bytes as u64;
        self.count();
        if let Err(error) = done {
            bail!("{}: {error} after {} lines were handed over", self.args.to, self.sent);
        }
        Ok(())
    }

    /// Counts the lines that have arrived since the last call.
    fn count(&mut self) {
        let there = self.handed - self.client.unacknowledged().min(self.handed);
        while self.under_way.front().is_some_and(|end| *end <= there) {
            self.under_way.pop_front();
            self.sent += 1;
        }
    }

    /// Waits until everything has arrived.
    fn finish(&mut self, stop: &Stop) -> anyhow::Result<()> {
        let done = self.client.settle(stop);
        self.count();
        done.with_context(|| format!("{} after {} lines had arrived", self.args.to, self.sent))
    }
}
