//! Syslog over many TCP connections (RFC 5424 in octet counting), from a thread of this process.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use jiff::Timestamp;

use crate::load::LINE_BYTES;
use crate::pin;

/// How many there are; they are written to in turn.
pub(crate) const CONNECTIONS: usize = 100;
/// What a message of 199 bytes has before it. With the newline it gets in the file it is a line.
const COUNT: &str = "199 ";
const MESSAGE: usize = 199;
const _: () = assert!(MESSAGE as u64 + 1 == LINE_BYTES);
const FRAME: usize = COUNT.len() + MESSAGE;
/// Frames of one write, some 64 KiB.
const FRAMES: usize = 65_536 / FRAME;
/// The same as those of `logweir gen`: info, info, warning, error, info.
const PRIORITIES: [u8; 5] = [134, 38, 4, 11, 190];
const HOSTS: usize = 8;
/// A daemon that does not accept, or takes nothing, for so long has failed,
const STUCK: Duration = Duration::from_secs(20);
/// or one that has not taken everything after so long.
const LONGEST: Duration = Duration::from_secs(240);
/// A file that has not grown for so long will not be complete (rsyslog writes its last buffer
/// after a second).
const QUIET: Duration = Duration::from_secs(3);
/// The connections are all accepted after so long.
const ACCEPTED: Duration = Duration::from_millis(200);
/// Between two looks at the file.
const PAUSE: Duration = Duration::from_millis(1);

/// Sends so many messages to a port; how long it took from the first write until the file had
/// them all, or stopped growing.
pub(crate) fn send(port: u16, lines: u64, output: &Path) -> Result<Duration> {
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            pin::sender()?;
            let connections = connect(port)?;
            let start = Instant::now();
            write(&connections, lines, start)?;
            Ok(wait(output, lines * LINE_BYTES, start))
        });
        sender.join().unwrap_or_else(|_| Err(anyhow!("the sender panicked")))
    })
}

fn connect(port: u16) -> Result<Vec<TcpStream>> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for number in 1..=CONNECTIONS {
        let connection = TcpStream::connect_timeout(&address, STUCK)
            .with_context(|| format!("connection {number}"))?;
        connection.set_write_timeout(Some(STUCK))?;
        connections.push(connection);
    }
    thread::sleep(ACCEPTED);
    Ok(connections)
}

fn write(connections: &[TcpStream], lines: u64, start: Instant) -> Result<()> {
    let frames = frames();
    let mut left = lines;
    for mut connection in connections.iter().cycle() {
        let count = usize::try_from(left).map_or(FRAMES, |left| left.min(FRAMES));
        if count == 0 {
            break;
        }
        ensure!(start.elapsed() < LONGEST, "{left} messages were left after {LONGEST:?}");
        connection.write_all(&frames[..count * FRAME]).context("it took no more messages")?;
        left -= count as u64;
    }
    Ok(())
}

/// The frames of one write, which every write sends again.
fn frames() -> Vec<u8> {
    let now = Timestamp::now();
    let mut frames = Vec::with_capacity(FRAMES * FRAME);
    for i in 0..FRAMES {
        let (priority, host) = (PRIORITIES[i % PRIORITIES.len()], i % HOSTS);
        let message = format!(
            "<{priority}>1 {now:.3} web{host} nginx {} - [meta sequenceId=\"{i}\"] request ",
            1000 + i
        );
        frames.extend_from_slice(COUNT.as_bytes());
        frames.extend_from_slice(message.as_bytes());
        frames.resize((i + 1) * FRAME, b'x');
    }
    frames
}

/// Waits until a file has so many bytes; when it did, or when it grew the last time.
fn wait(file: &Path, complete: u64, start: Instant) -> Duration {
    let (mut size, mut grown) = (0, Instant::now());
    while size < complete && grown.elapsed() < QUIET && start.elapsed() < LONGEST {
        thread::sleep(PAUSE);
        let now = fs::metadata(file).map_or(0, |data| data.len());
        if now != size {
            (size, grown) = (now, Instant::now());
        }
    }
    grown - start
}
