//! The ways in, of which none knows a protocol: a socket for datagrams, a descriptor, a server of
//! connections, and a source with a loop of its own.
//!
//! Each source has a thread, in which [`Source::run`] reads until the loop stops it or its end
//! has come. What it reads goes to the loop through its [`inbox::Inlet`].

pub mod acceptor;
pub mod datagrams;
pub mod descriptor;
pub mod inbox;
pub mod server;
mod wait;

use std::net::TcpListener;
use std::{fmt, io};

use crate::net::tls::ServerTls;

use datagrams::DatagramSocket;
use inbox::Inlet;

/// Something that lines come from, opened and not read yet.
pub trait Source: Send {
    /// Reads until the inlet is stopped or there is nothing more to come. In a thread of its own.
    fn run(self: Box<Self>, inlet: Inlet);

    /// A clone of its socket, for a successor at the same address and for the service manager.
    ///
    /// # Errors
    /// The system's.
    fn socket(&self) -> io::Result<Option<Socket>> {
        Ok(None)
    }

    /// What its clients come through, to be renewed when certificates are read again.
    fn tls(&self) -> Option<ServerTls> {
        None
    }
}

/// Why an input cannot be opened: one sentence for the user, with the setting in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenError(String);

impl OpenError {
    /// `at` is the setting, as in `input.squid: udp = "0.0.0.0:8420"`.
    pub fn new(at: &str, what: impl fmt::Display) -> Self {
        Self(format!("{at}: {what}"))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A socket that may outlive its input.
#[derive(Debug)]
pub enum Socket {
    /// For datagrams.
    Datagrams(DatagramSocket),
    /// For connections.
    Listener(TcpListener),
}

impl Socket {
    /// The same socket once more.
    ///
    /// # Errors
    /// The system's.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Datagrams(socket) => Self::Datagrams(socket.try_clone()?),
            Self::Listener(listener) => Self::Listener(listener.try_clone()?),
        })
    }
}
