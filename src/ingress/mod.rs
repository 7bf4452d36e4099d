//! The ways in, none of which knows a protocol: a datagram socket, a descriptor, a connection
//! server, and a source with a loop of its own.
//!
//! Each source has a thread, in which [`Source::run`] reads until the loop stops it or its input
//! ends. What it reads goes to the loop through its [`inbox::Inlet`].

pub mod acceptor;
pub mod datagrams;
pub mod descriptor;
pub mod files;
pub mod holding;
pub mod inbox;
pub mod listener;
pub mod numbered;
mod pace;
mod parting;
pub mod pending;
pub mod program;
pub mod server;
mod session;
pub mod socket_path;
pub mod told;
pub mod wait;

use std::io::ErrorKind;
use std::{fmt, io};

use crate::net::tls::ServerTls;

use datagrams::DatagramSocket;
use inbox::Inlet;
use listener::Listener;

/// A source of lines, opened and not read yet.
pub trait Source: Send {
    /// Reads until the inlet is stopped or the input ends. Runs in a thread of its own.
    fn run(self: Box<Self>, inlet: Inlet);

    /// A clone of its socket, for a successor at the same address and for the service manager.
    ///
    /// # Errors
    /// The system's.
    fn socket(&self) -> io::Result<Option<Socket>> {
        Ok(None)
    }

    /// Returns whether it sends barriers, and must be told of completed ones.
    fn sends_barriers(&self) -> bool {
        false
    }

    /// The TLS of its clients, renewed when certificates are read again.
    fn tls(&self) -> Option<ServerTls> {
        None
    }
}

impl fmt::Debug for dyn Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// Reports whether a receiver receives, each change once.
#[derive(Debug, Default)]
struct Hearing {
    problem: Option<String>,
}

impl Hearing {
    /// Reports whether data sent to the receiver arrives.
    fn hears(&mut self, state: Result<(), String>, inlet: &Inlet) {
        let describe = |why| format!("nothing sent to it arrives: {why}; retrying");
        self.set(state.map_err(describe), inlet);
    }

    /// Returns whether there is a problem.
    fn is_bad(&self) -> bool {
        self.problem.is_some()
    }

    /// Reports a problem, or that there is none.
    fn set(&mut self, state: Result<(), String>, inlet: &Inlet) {
        let problem = state.clone().err();
        if self.problem != problem {
            self.problem = problem;
            inlet.tell(inbox::Change::State(state));
        }
    }
}

/// Why an input cannot be opened: one sentence for the user that names the setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenError {
    at: String,
    what: String,
    may_pass: bool,
}

impl OpenError {
    /// Creates an error for the setting `at`, as in `input.squid: udp = "0.0.0.0:8420"`.
    pub fn new(at: &str, what: impl fmt::Display) -> Self {
        Self { at: at.to_string(), what: what.to_string(), may_pass: false }
    }

    /// Adds a system error, which may be temporary, because an address, an interface or a folder
    /// does not exist yet or another program still has the port.
    #[must_use]
    pub fn by(mut self, error: &io::Error) -> Self {
        let kind = error.kind();
        let lacks = matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO));
        let may_pass = [ErrorKind::AddrInUse, ErrorKind::AddrNotAvailable, ErrorKind::NotFound];
        self.may_pass = lacks || may_pass.contains(&kind);
        self
    }

    /// Returns whether the error may be temporary.
    pub fn may_pass(&self) -> bool {
        self.may_pass
    }

    /// The error without the setting.
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
    /// Duplicates the socket.
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
