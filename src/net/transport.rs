//! A connection over TCP or a Unix socket, plain or through TLS, for the loop and the receivers:
//! nothing here ever waits.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustls::{Connection, ProtocolVersion};
use socket2::{SockRef, TcpKeepalive};

use super::stream::Stream;
use crate::sys::socket;

/// A peer that vanishes silently is detected after about two minutes.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15));

/// A connection.
#[derive(Debug)]
pub struct Transport {
    stream: Stream,
    tls: Option<Box<Tls>>,
    /// Bytes written to the socket since it was created.
    written: u64,
}

#[derive(Debug)]
struct Tls {
    connection: Connection,
    /// Bytes accepted for encryption.
    taken: u64,
    /// Pairs of byte counts: those accepted, and those written to the socket that carry them.
    marks: VecDeque<(u64, u64)>,
    /// How many of the accepted bytes the peer's TCP has acknowledged.
    acknowledged: u64,
}

impl Tls {
    /// Processes what was read from the socket.
    fn take_in(&mut self, stream: &mut Stream) -> io::Result<()> {
        self.connection.process_new_packets().map(drop).map_err(|error| {
            // The alert that explains the failure; the connection ends either way.
            let _ = self.connection.write_tls(stream);
            io::Error::new(ErrorKind::InvalidData, error)
        })
    }
}

impl Transport {
    /// Creates a connection; with `tls` it uses TLS.
    pub fn new(stream: impl Into<Stream>, tls: Option<Connection>) -> Self {
        let stream = stream.into();
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE.0).with_interval(KEEPALIVE.1);
        // Without these options a connection works less well; a Unix socket needs none of them.
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_keepalive(&keepalive);
        let tls = tls.map(|connection| {
            Box::new(Tls { connection, taken: 0, marks: VecDeque::new(), acknowledged: 0 })
        });
        Self { stream, tls, written: 0 }
    }

    /// Returns whether it uses TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns whether the server has said nothing yet since our TLS handshake ended. In TLS 1.3
    /// that is before it has looked at our certificate, or seen that there is none (RFC 8446,
    /// section 2, figure 1). Session tickets come only from one that has (section 4.6.1); some
    /// servers send none.
    pub fn is_unheard(&self) -> bool {
        let Some(Connection::Client(client)) = self.tls.as_ref().map(|tls| &tls.connection) else {
            return false;
        };
        client.protocol_version() == Some(ProtocolVersion::TLSv1_3)
            && client.tls13_tickets_received() == 0
    }

    /// The peer's certificate, if it presented one and it was verified (DER).
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        let certificates = self.tls.as_ref()?.connection.peer_certificates()?;
        certificates.first().map(AsRef::as_ref)
    }

    /// The socket.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Reads available bytes; returns `Ok(0)` at the end.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is available; the system's; a TLS failure.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.read(buffer) };
        loop {
            match tls.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The peer hung up without TLS' closing alert: with framed messages, any loss is
                // detected otherwise.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            if tls.connection.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            tls.take_in(&mut self.stream)?;
        }
    }

    /// Writes as much as possible; returns the number of bytes accepted.
    ///
    /// # Errors
    /// `WouldBlock` if nothing can be written; the system's; a TLS failure.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            let count = self.stream.write_vectored(slices)?;
            self.written += count as u64;
            return Ok(count);
        };
        let count = match tls.connection.is_handshaking() {
            true => 0,
            false => tls.connection.writer().write_vectored(slices)?,
        };
        tls.taken += count as u64;
        match self.flush() {
            Ok(()) if count == 0 => Err(ErrorKind::WouldBlock.into()),
            Err(error) if count == 0 || error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }

    /// Writes what TLS has buffered.
    ///
    /// # Errors
    /// `WouldBlock` if the socket is full; the system's.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.connection.wants_write() {
            self.written += tls.connection.write_tls(&mut self.stream)? as u64;
        }
        if tls.marks.back().is_none_or(|(taken, _)| *taken < tls.taken) {
            tls.marks.push_back((tls.taken, self.written));
        }
        Ok(())
    }

    /// How many of the bytes accepted by [`Self::write`] the peer's TCP has acknowledged.
    ///
    /// # Errors
    /// The system's.
    pub fn acknowledged(&mut self) -> io::Result<u64> {
        let missing = u64::from(socket::unacknowledged(self.stream.as_fd())?);
        let there = self.written.saturating_sub(missing);
        let Some(tls) = &mut self.tls else { return Ok(there) };
        while let Some((taken, written)) = tls.marks.front()
            && *written <= there
        {
            tls.acknowledged = *taken;
            tls.marks.pop_front();
        }
        Ok(tls.acknowledged)
    }

    /// How long ago the peer's TCP was last heard from.
    ///
    /// # Errors
    /// The system's.
    pub fn silence(&self) -> io::Result<Duration> {
        socket::silence(self.stream.as_fd())
    }

    /// Continues the TLS handshake; returns whether it is complete.
    ///
    /// # Errors
    /// The system's; why the handshake failed.
    pub fn shake_hands(&mut self) -> io::Result<bool> {
        loop {
            match self.flush() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                done => done?,
            }
            let Some(tls) = &mut self.tls else { return Ok(true) };
            if !tls.connection.is_handshaking() {
                return Ok(true);
            }
            match tls.connection.read_tls(&mut self.stream) {
                Ok(0) => {
                    let error = "the peer has closed the connection during TLS' handshake";
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, error));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            tls.take_in(&mut self.stream)?;
        }
    }

    /// Aborts the connection, so that the kernel sends nothing more of what was written. Call it
    /// only if those bytes will be sent again.
    pub fn reset(self) {
        // Without this the peer may get some lines twice.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Returns whether the peer's TCP has acknowledged everything written.
    pub fn is_acknowledged(&self) -> bool {
        socket::unacknowledged(self.stream.as_fd()).is_ok_and(|bytes| bytes == 0)
    }

    /// Sends the closing alert, as far as possible without waiting.
    pub fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.connection.send_close_notify();
            // The connection ends either way.
            let _ = self.flush();
        }
    }
}

impl Source for Transport {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.stream.register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.stream.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.stream.deregister(registry)
    }
}
