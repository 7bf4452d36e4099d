//! Lines in datagrams: one each, or many of one size that the kernel cuts up.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use super::{Client, Packing, Stop};
use crate::limits::{DATAGRAM_SENT_MAX, SEND_SLOTS};
use crate::sys::send::{DatagramWriter, set_segment};
use crate::url::Url;

/// How long to wait when the kernel has no memory for a datagram.
const NO_ROOM_PAUSE: Duration = Duration::from_micros(200);

/// A socket that sends to one peer.
pub(super) struct Datagrams {
    socket: UdpSocket,
    writer: DatagramWriter,
    packing: Packing,
    /// Datagrams refused so far: each refused one was tried again.
    errors: u64,
    /// Lines that were too long for a datagram.
    cut: u64,
    /// Why the kernel does not cut messages up, where it was to.
    whole: Option<String>,
}

impl Datagrams {
    /// A socket that sends to the first address of `to`.
    ///
    /// # Errors
    /// The system's or the resolver's.
    pub(super) fn connect(to: &Url, packing: Packing) -> io::Result<Self> {
        let address = to.resolve()?[0];
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        let (writer, mut packing) = (DatagramWriter::new(), packing);
        if let Packing::Fixed { datagram, message } = &mut packing
            && *message != *datagram
        {
            let segment = u16::try_from(*datagram).unwrap_or(0);
            // A kernel that cannot gets each datagram on its own.
            if set_segment(&socket, segment).is_err() {
                *message = *datagram;
            }
        }
        Ok(Self { socket, writer, packing, errors: 0, cut: 0, whole: None })
    }

    /// Sends messages until all are gone or the time is over; how many went. What the network
    /// refuses for the moment is counted and tried again.
    fn write(&mut self, messages: &[&[u8]], stop: &Stop) -> (usize, io::Result<()>) {
        let mut sent = 0;
        while sent < messages.len() && !stop.over() {
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
                Err(error) => return (sent, Err(error)),
            }
        }
        (sent, Ok(()))
    }

    fn lines(&mut self, lines: &[u8], stop: &Stop) -> (usize, io::Result<()>) {
        let lines: Vec<&[u8]> = lines.split_inclusive(|&byte| byte == b'\n').collect();
        let most = DATAGRAM_SENT_MAX;
        let messages: Vec<&[u8]> = lines.iter().map(|line| &line[..line.len().min(most)]).collect();
        let (count, done) = self.write(&messages, stop);
        let sent = &lines[..count];
        self.cut += sent.iter().filter(|line| line.len() > most).count() as u64;
        (sent.iter().map(|line| line.len()).sum(), done)
    }

    fn fixed(
        &mut self,
        bytes: &[u8],
        (datagram, message): (usize, usize),
        stop: &Stop,
    ) -> (usize, io::Result<()>) {
        let messages: Vec<&[u8]> = bytes.chunks(message).collect();
        let (count, done) = self.write(&messages, stop);
        let sent = (count * message).min(bytes.len());
        match done {
            Err(error) if message != datagram && refuses_segments(&error) => {
                self.whole = Some(error.to_string());
                self.packing = Packing::Fixed { datagram, message: datagram };
                if let Err(error) = set_segment(&self.socket, 0) {
                    return (sent, Err(error));
                }
                let (more, done) = self.fixed(&bytes[sent..], (datagram, datagram), stop);
                (sent + more, done)
            }
            done => (sent, done),
        }
    }
}

impl Client for Datagrams {
    fn longest(&self) -> Option<usize> {
        Some(DATAGRAM_SENT_MAX)
    }

    fn send(&mut self, lines: &[u8], stop: &Stop) -> (usize, io::Result<()>) {
        match self.packing {
            Packing::Line => self.lines(lines, stop),
            Packing::Fixed { datagram, message } => self.fixed(lines, (datagram, message), stop),
        }
    }

    fn unacknowledged(&mut self) -> u64 {
        0
    }

    fn settle(&mut self, _stop: &Stop) -> io::Result<()> {
        Ok(())
    }

    fn errors(&self) -> u64 {
        self.errors
    }

    fn notes(&self) -> String {
        let mut notes = String::new();
        if self.cut > 0 {
            notes += &format!(", {} cut to {DATAGRAM_SENT_MAX} bytes", self.cut);
        }
        if self.errors > 0 {
            notes += &format!(", {} refused by the network and sent again", self.errors);
        }
        if let Some(why) = &self.whole {
            notes += &format!(", the network takes no segments ({why}): as with --no-gso");
        }
        notes
    }
}

/// A datagram larger than the interface takes, or an interface without checksum offload.
fn refuses_segments(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO))
}
