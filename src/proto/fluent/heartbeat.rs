//! The heartbeat of clients that ask by UDP whether this host is there (fluentd before 1.0, and
//! later ones with `heartbeat_type udp`): one byte is answered to each datagram.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::ingress::datagrams::DatagramSocket;
use crate::ingress::inbox::Inlet;
use crate::ingress::wait::{Waited, wait};
use crate::ingress::{Socket as Kept, Source};

/// The answer.
const ANSWER: [u8; 1] = [0];

/// A bound socket that answers.
pub(super) struct Heartbeat {
    socket: DatagramSocket,
}

impl Heartbeat {
    /// Binds the address, or goes on with a socket that has it.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(address: SocketAddr, socket: Option<DatagramSocket>) -> io::Result<Self> {
        let socket = match socket {
            Some(socket) => socket,
            None => DatagramSocket::new(bind(address)?),
        };
        Ok(Self { socket })
    }

    /// Answers what has come.
    fn answer_all(&self) {
        // Nothing of it is looked at: one byte that is there is as good as all.
        let mut buffer = [MaybeUninit::uninit(); 16];
        loop {
            match self.socket.socket.recv_from(&mut buffer) {
                Ok((_, peer)) => self.answer(&peer),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn answer(&self, peer: &SockAddr) {
        // One that is lost is asked for again.
        let _ = self.socket.socket.send_to(&ANSWER, peer);
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

impl Source for Heartbeat {
    fn run(self: Box<Self>, inlet: Inlet) {
        use std::os::fd::AsFd;
        loop {
            match wait(self.socket.socket.as_fd(), inlet.bell(), None) {
                Waited::Stopped if inlet.rang_for_end() => return,
                _ => self.answer_all(),
            }
        }
    }

    fn socket(&self) -> io::Result<Option<Kept>> {
        self.socket.try_clone().map(|socket| Some(Kept::Datagrams(socket)))
    }
}
