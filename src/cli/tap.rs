//! `logweir tap`: copies the lines that leave a node to standard output.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use super::control::Daemon;
use super::peer::Stop;
use crate::driver::control::{Request, TapHead, open};

/// How often it is looked whether a signal came.
const LOOK: Duration = Duration::from_millis(200);

/// Copy the lines that leave a node to standard output, while the daemon runs
///
/// Of an input, a filter or a spool the lines it passes on; of an output those it is given. When
/// standard output is not read fast enough lines are lost here, never in the daemon; how many is
/// said at the end.
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

/// Copies until it is told to end.
///
/// # Errors
/// That the daemon is not found or refuses.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let stop = Stop::on_signals()?;
    let request = Request::Tap { node: args.node.clone(), matches: args.matches.clone() };
    let path = args.daemon.path()?;
    let stream = open(&path, &request).map_err(anyhow::Error::msg)?;
    stream.get_ref().set_read_timeout(Some(LOOK))?;
    let mut count = Count::default();
    let done = copy(stream, args.lines, &stop, &mut count);
    eprintln!("logweir tap: {} lines, {} lost on the way", count.lines, count.lost);
    match done {
        // Whoever read us has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            anyhow::bail!("the daemon has ended the connection")
        }
        done => Ok(done.map(|()| ExitCode::SUCCESS)?),
    }
}

fn copy(
    mut stream: BufReader<UnixStream>,
    most: Option<u64>,
    stop: &Stop,
    count: &mut Count,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let (mut line, mut lines) = (Vec::new(), Vec::new());
    while most.is_none_or(|most| count.lines < most) {
        line.clear();
        if !patiently(stop, || stream.read_until(b'\n', &mut line))? {
            break;
        }
        let head: TapHead = serde_json::from_slice(&line)?;
        lines.resize(head.bytes, 0);
        let mut at = 0;
        while at < lines.len() {
            let more = patiently(stop, || {
                let read = stream.read(&mut lines[at..])?;
                at += read;
                Ok(read)
            })?;
            if !more {
                return Ok(());
            }
        }
        count.lost = head.lost;
        let left = most.map_or(u64::MAX, |most| most - count.lines);
        let end = match left < head.lines {
            true => {
                let nth = usize::try_from(left - 1).unwrap_or(usize::MAX);
                memchr::memchr_iter(b'\n', &lines).nth(nth).map_or(lines.len(), |at| at + 1)
            }
            false => lines.len(),
        };
        out.write_all(&lines[..end])?;
        out.flush()?;
        count.lines += left.min(head.lines);
    }
    Ok(())
}

/// Reads on whenever nothing comes for a while; false once a signal came.
fn patiently(stop: &Stop, mut read: impl FnMut() -> io::Result<usize>) -> io::Result<bool> {
    loop {
        match read() {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if stop.asked() {
                    return Ok(false);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
