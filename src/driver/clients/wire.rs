//! A connection to one peer, plain or through TLS, for a client that may wait.

use std::io::{self, ErrorKind, IoSlice};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Options, Stop};
use crate::driver::tls::ClientTls;
use crate::driver::transport::Transport;
use crate::limits::CONNECT_MAX;
use crate::url::Url;

/// How long to wait for readiness before it is looked whether the user has had enough.
const TURN: Duration = Duration::from_millis(200);
/// First and longest wait between attempts to reach a peer.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The connection.
pub(super) struct Wire {
    transport: Transport,
}

impl Wire {
    /// Connects to one of the addresses of `to`.
    ///
    /// # Errors
    /// The system's at the last attempt; what is wrong with the files that TLS needs.
    pub(super) fn connect(to: &Url, options: &Options, stop: &Stop) -> io::Result<Self> {
        let tls = match to.protocol.is_tls() {
            true => Some(ClientTls::new(&options.tls).map_err(io::Error::other)?),
            false => None,
        };
        let connection = tls.map(|tls| tls.connection(&to.host)).transpose();
        let connection = connection.map_err(io::Error::other)?;
        let stream = attempts(to, options.attempts, stop)?;
        stream.set_nonblocking(true)?;
        let stream = mio::net::TcpStream::from_std(stream);
        Ok(Self { transport: Transport::new(stream, connection) })
    }

    /// Writes what goes at once; `None` where nothing does.
    ///
    /// # Errors
    /// How the connection broke.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        tried(self.transport.write(&[IoSlice::new(bytes)]))
    }

    /// Reads what is there; `None` where there is nothing yet.
    ///
    /// # Errors
    /// How the connection broke.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match tried(self.transport.read(buffer))? {
            Some(0) => Err(io::Error::other("the peer has closed the connection")),
            count => Ok(count),
        }
    }

    /// Writes what TLS holds back, as far as it goes at once.
    ///
    /// # Errors
    /// How the connection broke.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        tried(self.transport.flush()).map(|_| ())
    }

    /// Waits until it can be written to or there is something to read, but not long: the user
    /// may have had enough.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn rest(&self, reads: bool, writes: bool) -> io::Result<()> {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::POLLIN, reads);
        wanted.set(PollFlags::POLLOUT, writes);
        let longest = PollTimeout::try_from(TURN).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.transport.stream().as_fd(), wanted)], longest) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it goes through TLS, which has to read even where nobody else does.
    pub(super) fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }

    /// Whether the peer may still refuse us for our certificate, or for having none.
    pub(super) fn may_be_refused(&self) -> bool {
        self.transport.is_unheard()
    }

    /// How many of the bytes written the peer's TCP has acknowledged.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn acknowledged(&mut self) -> io::Result<u64> {
        self.transport.acknowledged()
    }

    /// An error that the connection has met.
    ///
    /// # Errors
    /// That one, or the system's.
    pub(super) fn check(&self) -> io::Result<()> {
        self.transport.stream().take_error()?.map_or(Ok(()), Err)
    }

    /// Ends it.
    pub(super) fn close(&mut self) {
        self.transport.close();
    }
}

fn attempts(to: &Url, mut left: u32, stop: &Stop) -> io::Result<TcpStream> {
    let (mut wait, longest) = BACK_OFF;
    loop {
        left = left.saturating_sub(1);
        match once(to) {
            Ok(stream) => return Ok(stream),
            Err(error) if left == 0 || stop.asked() => return Err(error),
            Err(_) => thread::sleep(wait),
        }
        wait = (wait * 2).min(longest);
    }
}

/// Tries every address; the last one's error.
fn once(to: &Url) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in to.resolve()? {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn tried<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
