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

/// How often it is looked whether a signal came.
const LOOK: Duration = Duration::from_millis(200);
/// How long the daemon may take for the rest, after a signal.
const REST: Duration = Duration::from_secs(5);

/// Copy the lines that leave a node to standard output, while the daemon runs
///
/// Of an input, a filter or a spool the lines it passes on; of an output those it is given. When
/// standard output is not read fast enough lines are lost here, never in the daemon; how many is
/// said at the end. Ends with 1 where the node or the daemon is gone before.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    daemon: Daemon,
    /// The node's name
    node: String,
    /// Only lines that this regex finds something in
    #[arg(long = "match", value_name = "RE")]
    matches: Option<String>,
    /// Ends after so many lines
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u64>,
}

/// What came.
#[derive(Debug, Default)]
struct Count {
    lines: u64,
    lost: u64,
}

/// Why it is over.
#[derive(Debug)]
enum End {
    /// It was asked to end, or has all it wanted.
    Asked,
    /// The daemon gives no more.
    Daemon(String),
}

/// Copies until it is told to end.
///
/// # Errors
/// That the daemon is not found or refuses.
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
        // Whoever read us has seen enough.
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
    /// Set once a signal came and the daemon was asked for the rest: when it is waited for no
    /// more.
    rest: Option<Instant>,
}

impl Tap {
    fn copy(&mut self, most: Option<u64>, count: &mut Count) -> io::Result<End> {
        let mut out = io::stdout().lock();
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        while most.is_none_or(|most| count.lines < most) {
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
            let left = most.map_or(u64::MAX, |most| most - count.lines).min(head.lines);
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

    /// Reads on whenever nothing comes for a while; false where nothing came after a signal.
    fn patiently(
        &mut self,
        mut read: impl FnMut(&mut BufReader<UnixStream>) -> io::Result<usize>,
    ) -> io::Result<bool> {
        loop {
            if self.stop.asked() && self.rest.is_none() {
                // The daemon gives what the tap holds yet, and the end.
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
