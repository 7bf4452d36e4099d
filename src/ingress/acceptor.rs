//! Accepting the connections of an input: which clients are accepted, which exceed the limit, and
//! what is logged about misbehaving ones.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

use super::inbox::{Change, Inlet};
use super::listener::{Keeper, Listener, Look, Polled};
use super::{Hearing, OpenError, Socket};
use crate::limits::LOOK_EVERY;
use crate::net::plan::ServerTlsPlan;
use crate::net::stream::Stream;
use crate::net::tls::ServerTls;
use crate::net::transport::Transport;
use crate::sources::Source as Peer;
use crate::sys::process::{descriptors_are_scarce, is_one_of_the_last};

/// How long to wait after the system had no descriptor for a connection.
const NO_DESCRIPTOR: Duration = Duration::from_millis(100);
/// How long the input is reported as refusing clients after the last refusal.
const REFUSING: Duration = Duration::from_secs(10);
/// The number of complaints logged per period; more are counted.
const COMPLAINTS: (u32, Duration) = (10, Duration::from_secs(10));

/// A bound input with connections, not read yet.
#[derive(Debug)]
pub struct Bound {
    /// The socket.
    pub listener: Listener,
    /// Set if clients use TLS.
    pub tls: Option<ServerTls>,
    /// The maximum number of connections.
    pub max_connections: usize,
    /// Watches over the socket, if clients may lose it.
    pub keeper: Option<Box<dyn Keeper>>,
}

impl Bound {
    /// Listens on an address, or takes over a listening socket. `at` is the setting, for errors.
    ///
    /// # Errors
    /// What is wrong with the certificates, or why the address cannot be bound.
    pub fn open(
        at: &str,
        address: SocketAddr,
        tls: Option<&ServerTlsPlan>,
        max_connections: usize,
        listener: Option<Listener>,
    ) -> Result<Self, OpenError> {
        let tls = tls.map(ServerTls::new).transpose();
        let tls = tls.map_err(|error| OpenError::new(at, format!("tls: {error}")))?;
        let listener = match listener {
            Some(listener) => listener,
            None => {
                let bound = bind(address);
                let said = |error| OpenError::new(at, hint(&error)).by(&error);
                Listener::Tcp(bound.map_err(said)?)
            }
        };
        Ok(Self { listener, tls, max_connections, keeper: None })
    }
}

fn hint(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            format!("the port is in use (see who has it with: ss -tlnp): {error}")
        }
        ErrorKind::PermissionDenied => {
            format!("ports below 1024 need CAP_NET_BIND_SERVICE: {error}")
        }
        ErrorKind::AddrNotAvailable => format!("no interface has this address: {error}"),
        _ => error.to_string(),
    }
}

/// Binds an address.
///
/// # Errors
/// The system's.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let kind = socket2::Type::STREAM;
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), kind, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// An accepted connection.
pub(super) enum Arrival {
    /// A client.
    Client(Transport, Peer),
    /// A client beyond the limit: it is passed to [`Acceptor::welcome`] or refused.
    TooMany(Stream, Peer),
}

/// Accepts connections.
pub(super) struct Acceptor {
    name: Arc<str>,
    listener: Option<Polled>,
    tls: Option<ServerTls>,
    max_connections: usize,
    /// There was no descriptor for the next client; this was said.
    stuck: bool,
    /// The last client took one of the last descriptors that clients may take.
    scarce: bool,
    complaints: Complaints,
    refusals: Complaints,
    /// When a client was last refused.
    refused: Option<Instant>,
    keeper: Option<Box<dyn Keeper>>,
    /// Why no client finds the socket.
    lost: Option<String>,
    hearing: Hearing,
}

impl Acceptor {
    /// Starts listening; `token` marks events of the listener.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(
        name: &Arc<str>,
        bound: Bound,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let listener = Polled::register(bound.listener, registry, token)?;
        Ok(Self {
            name: Arc::clone(name),
            listener: Some(listener),
            tls: bound.tls,
            max_connections: bound.max_connections,
            stuck: false,
            scarce: false,
            complaints: Complaints::default(),
            refusals: Complaints::default(),
            refused: None,
            keeper: bound.keeper,
            lost: None,
            hearing: Hearing::default(),
        })
    }

    /// Stops accepting connections.
    pub(super) fn close(&mut self) {
        (self.listener, self.keeper) = (None, None);
    }

    /// Checks that clients still find the socket, and goes on with another one if they do not.
    pub(super) fn look(&mut self, inlet: &Inlet, registry: &Registry, token: Token) {
        let Some(keeper) = &mut self.keeper else { return };
        self.lost = match keeper.look() {
            Look::Good => None,
            Look::Deaf(why) => Some(why),
            Look::Anew(next) => self.go_on_with(next, inlet, registry, token).err(),
        };
        self.tell_state(inlet);
    }

    /// Accepts connections from another socket. Whoever waits at the old one was accepted before,
    /// and its path leads to the new one.
    fn go_on_with(
        &mut self,
        next: Listener,
        inlet: &Inlet,
        registry: &Registry,
        token: Token,
    ) -> Result<(), String> {
        let twin = next.try_clone().map_err(|error| error.to_string())?;
        let next = Polled::register(next, registry, token).map_err(|error| error.to_string())?;
        if let Some(before) = self.listener.replace(next) {
            before.set_lost();
        }
        inlet.tell(Change::Socket(Socket::Listener(twin)));
        Ok(())
    }

    /// When to check again without an event: after the system had no descriptor, and while clients
    /// are reported as refused.
    pub(super) fn look_again(&self) -> Option<Duration> {
        let refusing = self.hearing.is_bad().then_some(REFUSING);
        let kept = self.keeper.as_ref().map(|_| LOOK_EVERY);
        self.stuck.then_some(NO_DESCRIPTOR).or(kept).or(refusing)
    }

    /// The next connection, given `connected` clients; `None` if no client waits.
    pub(super) fn next(&mut self, connected: usize) -> Option<Arrival> {
        loop {
            let listener = self.listener.as_ref()?;
            if self.scarce && descriptors_are_scarce(listener.as_fd()) {
                self.cannot_take("the others are kept for files, children and control clients");
                return None;
            }
            let (stream, peer) = match listener.accept() {
                Ok(arrived) => arrived,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        self.stuck = false;
                        return None;
                    }
                    // The client left before it was accepted.
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted => continue,
                    _ => {
                        self.cannot_take(&error.to_string());
                        return None;
                    }
                },
            };
            self.stuck = false;
            self.scarce = is_one_of_the_last(stream.as_fd().as_raw_fd());
            if connected >= self.max_connections {
                return Some(Arrival::TooMany(stream, peer));
            }
            if let Some(transport) = self.welcome(stream, peer) {
                return Some(Arrival::Client(transport, peer));
            }
        }
    }

    /// There is no descriptor for the next client.
    fn cannot_take(&mut self, why: &str) {
        if !self.stuck {
            let name = &self.name;
            log::warn!(
                "input.{name}: clients cannot be taken: no file descriptor is left for them \
                 ({why}); they wait. Raise LimitNOFILE, or lower max_connections"
            );
        }
        self.stuck = true;
    }

    /// Takes a client; nothing where TLS cannot begin, which is logged.
    pub(super) fn welcome(&mut self, stream: Stream, peer: Peer) -> Option<Transport> {
        match self.tls.as_ref().map(ServerTls::connection).transpose() {
            Ok(tls) => Some(Transport::new(stream, tls)),
            Err(error) => {
                self.complain(peer, &error);
                None
            }
        }
    }

    /// Logs that a client is refused, and reports it as the input's state.
    pub(super) fn refuse(&mut self, peer: Peer, inlet: &Inlet) {
        let max = self.max_connections;
        let what = format!("refused: there are {max} connections already (max_connections)");
        self.refusals.log(&self.name, peer, &what);
        self.refused = Some(Instant::now());
        self.tell_state(inlet);
    }

    /// Reports that no client finds the socket, or that clients are refused, until none has been
    /// for a while.
    pub(super) fn tell_state(&mut self, inlet: &Inlet) {
        let max = self.max_connections;
        let refusing = self.refused.is_some_and(|refused| refused.elapsed() < REFUSING);
        let why = || {
            format!("clients are refused: there are {max} connections already (max_connections)")
        };
        match &self.lost {
            Some(why) => self.hearing.hears(Err(why.clone()), inlet),
            None => self.hearing.set(if refusing { Err(why()) } else { Ok(()) }, inlet),
        }
    }

    /// Logs a client's fault, with a bound on the rate.
    pub(super) fn complain(&mut self, peer: Peer, what: &str) {
        self.complaints.log(&self.name, peer, what);
    }
}

/// Counts complaints.
#[derive(Debug, Default)]
struct Complaints {
    since: Option<Instant>,
    logged: u32,
    unsaid: u64,
}

impl Complaints {
    fn log(&mut self, name: &str, peer: Peer, what: &str) {
        match self.take() {
            Some(0) => log::warn!("input.{name}: {peer}: {what}"),
            Some(more) => log::warn!("input.{name}: {peer}: {what} ({more} more like it)"),
            None => {}
        }
    }

    /// Returns whether another complaint may be logged, and how many were suppressed.
    fn take(&mut self) -> Option<u64> {
        let (max, time) = COMPLAINTS;
        if self.since.is_none_or(|since| since.elapsed() > time) {
            (self.since, self.logged) = (Some(Instant::now()), 0);
        }
        self.logged += 1;
        if self.logged > max {
            self.unsaid += 1;
            return None;
        }
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_bounded_and_those_unsaid_are_counted() {
        let mut complaints = Complaints::default();
        let logged = (0..100).filter(|_| complaints.take().is_some()).count();
        assert_eq!(logged, 10);
        complaints.since = None;
        assert_eq!(complaints.take(), Some(90));
        assert_eq!(complaints.take(), Some(0));
    }
}
