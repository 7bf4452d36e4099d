//! `logweir tap`: copies the lines that leave a node to standard output.

use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::control::Daemon;
use crate::batch::end_of_lines;
use crate::driver::clients::Stop;
use crate::driver::control::{Request, TapHead, open};
use crate::printable::printable_columns;

/// How often to check for a signal.
const LOOK: Duration = Duration::from_millis(200);
/// How long the daemon may take for the remaining lines, after a signal.
const REST: Duration = Duration::from_secs(5);

/// Copy the lines that leave a node to standard output, while the daemon runs
///
/// For an input, a filter or a spool, the lines it passes on; for an output, the lines it receives.
/// If standard output is not read fast enough, lines are lost here, never in the daemon; their
/// number is reported at the end. Exits with 1 if the node or the daemon goes away first.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    daemon: Daemon,
    /// The node's name
    node: String,
    /// Only lines that this regex matches
    #[arg(long = "match", value_name = "RE")]
    matches: Option<String>,
    /// Stop after N lines
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u64>,
}

/// The lines received and lost.
#[derive(Debug, Default)]
struct Count {
    lines: u64,
    lost: u64,
}

/// Why it ended.
#[derive(Debug)]
enum End {
    /// It was told to end, or has all requested lines.
    Asked,
    /// The daemon sends no more.
    Daemon(String),
}

/// Copies lines until it is told to end.
///
/// # Errors
/// That the daemon is not found, or its refusal.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let stop = Stop::on_signals(Duration::ZERO)?;
    let request = Request::Tap { node: args.node.clone(), matches: args.matches.clone() };
    let path = args.daemon.path();
    let stream = open(&path, &request).map_err(anyhow::Error::msg)?;
    stream.get_ref().set_read_timeout(Some(LOOK))?;
    let mut tap = Tap { stream, stop, rest: None };
    let mut count = Count::default();
    let done = tap.copy(args.lines, &mut count);
    eprintln!("logweir tap: {} lines, {} lost on the way", count.lines, count.lost);
    match done {
        Ok(End::Asked) => Ok(ExitCode::SUCCESS),
        Ok(End::Daemon(why)) => anyhow::bail!("{}: {why}", args.node),
        // The reader of our output has stopped.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            anyhow::bail!("the daemon has ended the connection")
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes lines as they are, but on a terminal nothing in them that makes it do things.
fn write(lines: &[u8], out: &mut io::StdoutLock<'_>) -> io::Result<()> {
    if !out.is_terminal() {
        return out.write_all(lines);
    }
    for line in lines.strip_suffix(b"\n").unwrap_or(lines).split(|byte| *byte == b'\n') {
        writeln!(out, "{}", printable_columns(line))?;
    }
    Ok(())
}

/// The connection.
#[derive(Debug)]
struct Tap {
    stream: BufReader<UnixStream>,
    stop: Stop,
    /// Set once a signal came and the daemon was asked for the remaining lines: the deadline for
    /// them.
    rest: Option<Instant>,
}

impl Tap {
    fn copy(&mut self, max: Option<u64>, count: &mut Count) -> io::Result<End> {
        let mut out = io::stdout().lock();
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        while max.is_none_or(|max| count.lines < max) {
            line.clear();
            if !self.patiently(|stream| stream.read_until(b'\n', &mut line))? {
                return Ok(End::Asked);
            }
            let head: TapHead = serde_json::from_slice(&line)?;
            lines.resize(head.bytes, 0);
            let mut at = 0;
            while at < lines.len() {
                let more = self.patiently(|stream| {
                    let read = stream.read(&mut lines[at..])?;
                    at += read;
                    Ok(read)
                })?;
                if !more {
                    return Ok(End::Asked);
                }
            }
            count.lost = head.lost;
            let left = max.map_or(u64::MAX, |max| max - count.lines).min(head.lines);
            write(&lines[..end_of_lines(&lines, left)], &mut out)?;
            out.flush()?;
            count.lines += left;
            match head.end {
                Some(_) if self.rest.is_some() => return Ok(End::Asked),
                Some(why) => return Ok(End::Daemon(why)),
                None => {}
            }
        }
        Ok(End::Asked)
    }

    /// Keeps reading when nothing arrives for a while; returns false if nothing arrived after a
    /// signal.
    fn patiently(
        &mut self,
        mut read: impl FnMut(&mut BufReader<UnixStream>) -> io::Result<usize>,
    ) -> io::Result<bool> {
        loop {
            if self.stop.asked() && self.rest.is_none() {
                // The daemon sends what the tap still holds, and the end.
                self.rest = Some(Instant::now() + REST);
                self.stream.get_ref().shutdown(Shutdown::Write)?;
            }
            match read(&mut self.stream) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(true),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if self.rest.is_some_and(|rest| Instant::now() > rest) {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
