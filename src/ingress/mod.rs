//! The ways in, of which none knows a protocol: a socket for datagrams, a descriptor, a server of
//! connections, and a source with a loop of its own.
//!
//! Each source has a thread, in which [`Source::run`] reads until the loop stops it or its end
//! has come. What it reads goes to the loop through its [`inbox::Inlet`].

pub mod acceptor;
pub mod datagrams;
pub mod descriptor;
pub mod files;
pub mod inbox;
pub mod listener;
mod parting;
pub mod pending;
pub mod server;
pub mod socket_path;
pub mod wait;

use std::io::ErrorKind;
use std::{fmt, io};

use crate::net::tls::ServerTls;

use datagrams::DatagramSocket;
use inbox::Inlet;
use listener::Listener;

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

    /// Whether it sends barriers, and so is to be told of those that are completed.
    fn sends_barriers(&self) -> bool {
        false
    }

    /// What its clients come through, to be renewed when certificates are read again.
    fn tls(&self) -> Option<ServerTls> {
        None
    }
}

impl fmt::Debug for dyn Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// Says of a receiver whether it receives, each state once.
#[derive(Debug, Default)]
struct Hearing {
    problem: Option<String>,
}

impl Hearing {
    /// Says whether what is sent to it arrives.
    fn hears(&mut self, state: Result<(), String>, inlet: &Inlet) {
        let said = |why| format!("nothing that is sent to it arrives: {why}; tried again");
        self.set(state.map_err(said), inlet);
    }

    /// Whether something is wrong with it.
    fn is_bad(&self) -> bool {
        self.problem.is_some()
    }

    /// Says what is wrong with it, or that nothing is.
    fn set(&mut self, state: Result<(), String>, inlet: &Inlet) {
        let problem = state.clone().err();
        if self.problem != problem {
            self.problem = problem;
            inlet.tell(inbox::Change::State(state));
        }
    }
}

/// Why an input cannot be opened: one sentence for the user, with the setting in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenError {
    at: String,
    what: String,
    may_pass: bool,
}

impl OpenError {
    /// `at` is the setting, as in `input.squid: udp = "0.0.0.0:8420"`.
    pub fn new(at: &str, what: impl fmt::Display) -> Self {
        Self { at: at.to_string(), what: what.to_string(), may_pass: false }
    }

    /// The same for an error of the system: one that may pass by itself, because an address, an
    /// interface or a folder is not there yet or another program still has the port.
    #[must_use]
    pub fn by(mut self, error: &io::Error) -> Self {
        let kind = error.kind();
        let lacks = matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO));
        let may_pass = [ErrorKind::AddrInUse, ErrorKind::AddrNotAvailable, ErrorKind::NotFound];
        self.may_pass = lacks || may_pass.contains(&kind);
        self
    }

    /// Whether it may pass by itself.
    pub fn may_pass(&self) -> bool {
        self.may_pass
    }

    /// What is wrong, without the setting.
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// A socket that may outlive its input.
#[derive(Debug)]
pub enum Socket {
    /// For datagrams.
    Datagrams(DatagramSocket),
    /// For connections.
    Listener(Listener),
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
