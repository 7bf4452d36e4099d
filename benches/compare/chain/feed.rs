//! The feed: numbered lines into a chain's way in, from a thread of this process.

use std::fs::File;
use std::io::{self, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::line::{Lines, SIZE};
use crate::door::Door;

/// Lines rendered and written together.
const BATCH: usize = 500;
/// At a rate, the pause between two batches.
const TICK: Duration = Duration::from_millis(1);

/// A feed under way. Left alone it ends by itself, when its lines are sent or its reader is gone.
pub(crate) struct Feed {
    sent: Arc<AtomicU64>,
    held: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Feed {
    /// Starts to send lines 1 to `lines`, so many a second or as fast as they are taken.
    pub(crate) fn start(door: &Door<'_>, lines: u64, rate: Option<u64>) -> io::Result<Self> {
        let mut to = To::open(door)?;
        let (sent, held) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, hold) = (Arc::clone(&sent), Arc::clone(&held));
        let thread = thread::spawn(move || send(&mut to, lines, rate, &counter, &hold));
        Ok(Self { sent, held, thread })
    }

    /// How many lines it has sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops it for a while, or lets it go on.
    pub(crate) fn hold(&self, hold: bool) {
        self.held.store(hold, Ordering::Relaxed);
    }

    /// Whether it has come to its end.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    pub(crate) fn wait(self) -> io::Result<()> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the feed panicked")))
    }
}

/// Where the lines go.
enum To {
    Stream(Box<dyn Write + Send>),
    Datagrams(UdpSocket),
}

impl To {
    fn open(door: &Door<'_>) -> io::Result<Self> {
        Ok(match door {
            Door::Fifo(path) => Self::Stream(Box::new(File::options().write(true).open(path)?)),
            Door::Tcp(port) => Self::Stream(Box::new(TcpStream::connect(("127.0.0.1", *port))?)),
            Door::Udp(port) => {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.connect(("127.0.0.1", *port))?;
                Self::Datagrams(socket)
            }
        })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.write_all(lines),
            Self::Datagrams(socket) => {
                for line in lines.chunks(SIZE) {
                    // What arrives while nobody listens is lost; the tally shows it.
                    let _ = socket.send(line);
                }
                Ok(())
            }
        }
    }
}

fn send(
    to: &mut To,
    lines: u64,
    rate: Option<u64>,
    sent: &AtomicU64,
    held: &AtomicBool,
) -> io::Result<()> {
    let mut source = Lines::new(BATCH);
    let (mut number, mut last, mut open) = (0, Instant::now(), Duration::ZERO);
    while number < lines {
        let now = Instant::now();
        let passed = now - std::mem::replace(&mut last, now);
        if held.load(Ordering::Relaxed) {
            thread::sleep(TICK);
            continue;
        }
        open += passed;
        let due = rate.map_or(lines, |rate| due(rate, open).min(lines));
        let batch = usize::try_from(due.saturating_sub(number)).map_or(BATCH, |due| due.min(BATCH));
        if batch < BATCH && due < lines {
            thread::sleep(TICK);
        }
        to.write(source.render(number + 1, batch))?;
        number += batch as u64;
        sent.store(number, Ordering::Relaxed);
    }
    Ok(())
}

/// How many lines a rate allows for so long.
fn due(rate: u64, time: Duration) -> u64 {
    let lines = time.as_nanos() * u128::from(rate) / Duration::from_secs(1).as_nanos();
    u64::try_from(lines).unwrap_or(u64::MAX)
}
