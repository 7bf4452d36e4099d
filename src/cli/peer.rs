//! What `gen` and `send` share: the peer that lines are handed to, and the signal that ends
//! the handing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::batch::Batch;
use crate::config::plan::FormatPlan;
use crate::format::Formatter;
use crate::forward::client::Client as _;
use crate::proto::relp::client::RelpClient as Client;
use crate::ledger::Count;
use crate::limits::{ANSWER_DEFAULT, FORWARD_OUT, SEND_SLOTS};
use crate::sys::send::DatagramWriter;
use crate::url::Url;

/// How long to wait when the kernel has no memory for a datagram.
const NO_ROOM_PAUSE: Duration = Duration::from_micros(200);
/// How long a write to a stream may take before it is looked whether the user has had enough.
const WRITE_TURN: Duration = Duration::from_millis(200);
/// First and longest wait between attempts to reach a TCP peer, and their number.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Set by SIGINT and SIGTERM.
#[derive(Debug)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    /// Readable once a signal came.
    pub wake: UnixStream,
}

impl Stop {
    /// From now on these signals end the program in good order.
    ///
    /// # Errors
    /// The system's.
    pub fn on_signals() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let (wake, sender) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            // A second signal ends the program at once; the order of these two makes it so.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&flag))?;
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
            signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        Ok(Self { flag, wake })
    }

    /// Whether one came.
    pub fn asked(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }
}

/// A UDP socket that sends to one peer.
#[derive(Debug)]
pub struct UdpPeer {
    /// The socket, connected.
    pub socket: UdpSocket,
    writer: DatagramWriter,
    /// Datagrams refused so far: each refused one was tried again.
    pub errors: u64,
}

impl UdpPeer {
    /// A socket that sends to the first address of `to`.
    ///
    /// # Errors
    /// The system's or the resolver's.
    pub fn connect(to: &Url) -> io::Result<Self> {
        let address = to.resolve()?[0];
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        Ok(Self { socket, writer: DatagramWriter::new(), errors: 0 })
    }

    /// Sends messages until all are gone or the user has had enough; how many went. What the
    /// network refuses for the moment is counted and tried again.
    ///
    /// # Errors
    /// How many went, and what the kernel says of the next.
    pub fn send(&mut self, messages: &[&[u8]], stop: &Stop) -> Result<usize, (usize, io::Error)> {
        let mut sent = 0;
        while sent < messages.len() && !stop.asked() {
            let rest = &messages[sent..];
            match self.writer.write(self.socket.as_fd(), rest) {
                Ok(count) => {
                    sent += count;
                    self.errors += u64::from(count < rest.len().min(SEND_SLOTS));
                }
                // It is told of an earlier datagram; this one was not tried yet.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.errors += 1,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.errors += 1;
                    thread::sleep(NO_ROOM_PAUSE);
                }
                Err(error) => return Err((sent, error)),
            }
        }
        Ok(sent)
    }
}

/// A connection that lines go through.
#[derive(Debug)]
pub struct TcpPeer {
    /// The connection; a write to it returns after a turn.
    pub stream: TcpStream,
}

impl TcpPeer {
    /// Connects, with `attempts` at it.
    ///
    /// # Errors
    /// The system's at the last attempt.
    pub fn connect(to: &Url, attempts: u32, stop: &Stop) -> io::Result<Self> {
        let (mut wait, longest) = BACK_OFF;
        let mut left = attempts;
        let stream = loop {
            left = left.saturating_sub(1);
            match to.resolve().and_then(|found| TcpStream::connect(&found[..])) {
                Ok(stream) => break stream,
                Err(error) if left == 0 || stop.asked() => return Err(error),
                Err(_) => thread::sleep(wait),
            }
            wait = (wait * 2).min(longest);
        };
        stream.set_write_timeout(Some(WRITE_TURN))?;
        Ok(Self { stream })
    }

    /// Writes until all is gone or the user has had enough; how many bytes went.
    ///
    /// # Errors
    /// How many bytes went before the connection broke, and how it broke.
    pub fn send(&mut self, bytes: &[u8], stop: &Stop) -> Result<usize, (usize, io::Error)> {
        let mut sent = 0;
        while sent < bytes.len() && !stop.asked() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => {}
                    _ => return Err((sent, error)),
                },
            }
        }
        Ok(sent)
    }
}

/// A RELP server that lines are handed to.
pub struct RelpPeer {
    stream: TcpStream,
    client: Client,
    formatter: Formatter,
    /// Lines that were answered.
    pub answered: Count,
}

impl RelpPeer {
    /// Connects and opens a session.
    ///
    /// # Errors
    /// The system's, or the peer's refusal.
    pub fn connect(to: &Url, attempts: u32, stop: &Stop) -> io::Result<Self> {
        let TcpPeer { stream } = TcpPeer::connect(to, attempts, stop)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let formatter = Formatter::new(&FormatPlan::default());
        let mut peer =
            Self { stream, client: Client::new(None), formatter, answered: Count::default() };
        peer.wait_until(stop, |client| client.is_open())?;
        Ok(peer)
    }

    /// Sends lines; they count once they are answered.
    ///
    /// # Errors
    /// How the connection broke.
    pub fn send(&mut self, batch: &Batch, stop: &Stop) -> io::Result<()> {
        self.wait_until(stop, |client| client.has_room() && client.out().len() < FORWARD_OUT)?;
        if !stop.asked() {
            self.client.send(batch, &self.formatter);
        }
        Ok(())
    }

    /// Waits until all is answered, and ends the session.
    ///
    /// # Errors
    /// How the connection broke before.
    pub fn finish(&mut self) -> io::Result<()> {
        self.wait_until_even_stopped(|client| !client.waits())?;
        self.client.close();
        // All is answered: how the session ends matters to nobody.
        let _ = self.turn();
        Ok(())
    }

    fn wait_until(&mut self, stop: &Stop, done: impl Fn(&Client) -> bool) -> io::Result<()> {
        self.wait_until_even_stopped(|client| stop.asked() || done(client))
    }

    fn wait_until_even_stopped(&mut self, done: impl Fn(&Client) -> bool) -> io::Result<()> {
        let mut heard = Instant::now();
        loop {
            let moved = self.turn()?;
            if done(&self.client) {
                return Ok(());
            }
            if moved {
                heard = Instant::now();
            } else if heard.elapsed() > ANSWER_DEFAULT {
                return Err(io::Error::new(ErrorKind::TimedOut, "the peer does not answer"));
            } else {
                self.rest()?;
            }
        }
    }

    /// Waits for readiness, but not long: the user may have had enough.
    fn rest(&self) -> io::Result<()> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut wanted = PollFlags::POLLIN;
        wanted.set(PollFlags::POLLOUT, !self.client.out().is_empty());
        let longest = PollTimeout::try_from(WRITE_TURN).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.stream.as_fd(), wanted)], longest) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes and reads what goes; whether anything did.
    fn turn(&mut self) -> io::Result<bool> {
        let mut moved = false;
        while let Some(first) = self.client.out().pieces().front() {
            match self.stream.write(first) {
                Ok(count) => {
                    self.client.wrote(count);
                    moved = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::Error::other("the peer has closed the connection")),
                Ok(count) => {
                    moved = true;
                    let done = self.client.push(&chunk[..count], &mut Vec::new());
                    let answered = self.client.take_done();
                    self.answered.add(answered.lines, answered.bytes);
                    done.map_err(io::Error::other)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(moved),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
