//! The connections to the brokers of a cluster, for a thread of their own: names, sockets, TLS.
//!
//! Names are looked up beside the thread, afresh for each attempt, and each of a name's addresses
//! is tried. Certificates and passwords are read for each connection, so that renewed ones count.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use super::cluster::{BrokerId, Cluster, Command};
use super::secrets::{self, SaslPlan};
use crate::clock::{Clock, SystemClock};
use crate::limits::{READ_CHUNK, SLICES_MAX, TURN};
use crate::net::dns;
use crate::net::names::{Found, Lookups};
use crate::net::tls::{ClientTls, explain};
use crate::net::transport::Transport;
use crate::proto::shared::tls::ClientTlsPlan;
use crate::wake::{Bell, Wake};

/// How brokers are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// What TLS needs; `None` for plain connections.
    pub tls: Option<ClientTlsPlan>,
    /// Who we are; `None` where nobody asks.
    pub sasl: Option<SaslPlan>,
}

/// The connections.
#[derive(Debug)]
pub(super) struct Sockets {
    poll: Poll,
    events: Events,
    wake: Wake,
    lookups: Lookups<(BrokerId, usize)>,
    access: Access,
    connections: HashMap<BrokerId, Connection>,
    /// The last addresses that were found of each service.
    services: HashMap<String, Vec<SocketAddr>>,
    /// The number of the last attempt, which is its token too.
    attempt: usize,
    chunk: Vec<u8>,
    /// What ends a turn too, kept so that its descriptor stays.
    bell: Option<Bell>,
}

#[derive(Debug)]
struct Connection {
    attempt: usize,
    /// The name that the broker's certificate must have.
    host: String,
    /// The name of the service that it is a host of.
    service: Option<String>,
    addresses: VecDeque<SocketAddr>,
    transport: Option<Transport>,
    established: bool,
    /// Whether there may be more to read than one turn took.
    more: bool,
}

const WAKE: Token = Token(0);
const BELL: Token = Token(usize::MAX);

/// The addresses of a service; the last ones where it is not found.
fn kept(
    services: &mut HashMap<String, Vec<SocketAddr>>,
    service: &str,
    found: Found,
) -> Result<Vec<SocketAddr>, String> {
    match (found, services.get(service)) {
        (Ok(found), _) => {
            services.insert(service.to_string(), found.clone());
            Ok(found)
        }
        (Err(error), Some(last)) => {
            log::warn!("{service}: {error}; its last {} addresses are tried", last.len());
            Ok(last.clone())
        }
        (Err(error), None) => Err(format!("{service}: {error}")),
    }
}

/// What became of a connection.
type Done = Result<(), String>;

impl Sockets {
    /// None yet.
    ///
    /// # Errors
    /// The system's: no descriptor is left.
    pub(super) fn new(access: Access) -> io::Result<Self> {
        let poll = Poll::new()?;
        let wake = Wake::new(Waker::new(poll.registry(), WAKE)?);
        Ok(Self {
            events: Events::with_capacity(64),
            lookups: Lookups::new(wake.clone()),
            poll,
            wake,
            access,
            connections: HashMap::new(),
            services: HashMap::new(),
            attempt: 0,
            chunk: vec![0; READ_CHUNK],
            bell: None,
        })
    }

    /// A ring of this bell ends a turn from now on.
    ///
    /// # Errors
    /// The system's: there is no memory.
    pub(super) fn listen(&mut self, bell: &Bell) -> io::Result<()> {
        let fd = bell.as_fd().as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&fd), BELL, Interest::READABLE)?;
        self.bell = Some(bell.clone());
        Ok(())
    }

    /// Does what the cluster asks for, writes, waits for at most `wait`, and reads.
    ///
    /// # Errors
    /// The system's, of the wait.
    pub(super) fn turn<K>(
        &mut self,
        cluster: &mut Cluster<K>,
        wait: Duration,
        clock: &SystemClock,
    ) -> io::Result<()> {
        while let Some(command) = cluster.poll_command() {
            match command {
                Command::Connect { broker, host, port } => self.connect(broker, host, port),
                Command::Disconnect(broker) => self.disconnect(broker),
            }
        }
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in &ids {
            let done = self.write(*id, cluster);
            self.ended(*id, done, cluster, clock);
        }
        let more = self.connections.values().any(|connection| connection.more);
        let wait = if more { Duration::ZERO } else { wait };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.wake.looked();
        while let Some(((broker, attempt), found)) = self.lookups.poll() {
            let done = self.found(broker, attempt, found);
            self.ended(broker, done, cluster, clock);
        }
        let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        for id in ids {
            let connection = self.connections.get(&id);
            if connection.is_some_and(|c| c.more || ready.contains(&c.attempt)) {
                let done = self.proceed(id, cluster, clock);
                self.ended(id, done, cluster, clock);
            }
        }
        Ok(())
    }

    fn connect(&mut self, broker: BrokerId, host: String, port: u16) {
        self.attempt += 1;
        let key = (broker, self.attempt);
        // What brokers say of themselves is never a service, and a seed has port 0 only if it is.
        let service = (broker < 0 && port == 0).then(|| host.clone());
        let host = match service.clone() {
            Some(service) => {
                self.lookups.ask_by(key, move || dns::order::addresses(&service));
                dns::domain(&host).to_string()
            }
            None => {
                self.lookups.ask(key, &host, port);
                host
            }
        };
        let connection = Connection {
            attempt: self.attempt,
            host,
            service,
            addresses: VecDeque::new(),
            transport: None,
            established: false,
            more: false,
        };
        self.connections.insert(broker, connection);
    }

    fn disconnect(&mut self, broker: BrokerId) {
        if let Some(Connection { transport: Some(mut transport), .. }) =
            self.connections.remove(&broker)
        {
            transport.close();
        }
    }

    /// A connection that is of no more use is let go of, or another address is tried.
    fn ended<K>(
        &mut self,
        broker: BrokerId,
        done: Done,
        cluster: &mut Cluster<K>,
        clock: &SystemClock,
    ) {
        let Err(mut error) = done else { return };
        if self.connections.get(&broker).is_some_and(|connection| !connection.established) {
            loop {
                match self.next_address(broker) {
                    None => break,
                    Some(Ok(())) => return,
                    Some(Err(other)) => error = other,
                }
            }
        }
        self.connections.remove(&broker);
        cluster.failed(broker, error, clock.mono());
    }

    fn found(&mut self, broker: BrokerId, attempt: usize, found: Found) -> Done {
        let connection = self.connections.get_mut(&broker);
        let Some(connection) = connection.filter(|c| c.attempt == attempt) else { return Ok(()) };
        connection.addresses = match &connection.service {
            Some(service) => kept(&mut self.services, service, found)?.into(),
            None => found?.into(),
        };
        self.next_address(broker).unwrap_or_else(|| Err("its name has no address".into()))
    }

    /// Begins to connect to the next address; `None` where there is none.
    fn next_address(&mut self, broker: BrokerId) -> Option<Done> {
        let connection = self.connections.get_mut(&broker)?;
        let address = connection.addresses.pop_front()?;
        let tls = self
            .access
            .tls
            .as_ref()
            .map(|plan| ClientTls::new(plan).and_then(|tls| tls.connection(&connection.host)));
        let tls = match tls.transpose() {
            Ok(tls) => tls,
            Err(error) => return Some(Err(error)),
        };
        let said = |error: io::Error| format!("{address}: {error}");
        let stream = match TcpStream::connect(address) {
            Ok(stream) => stream,
            Err(error) => return Some(Err(said(error))),
        };
        let mut transport = Transport::new(stream, tls);
        let interests = Interest::READABLE | Interest::WRITABLE;
        let token = Token(connection.attempt);
        let registered = self.poll.registry().register(&mut transport, token, interests);
        connection.transport = Some(transport);
        Some(registered.map_err(said))
    }

    /// Goes on with a connection that is ready.
    fn proceed<K>(
        &mut self,
        broker: BrokerId,
        cluster: &mut Cluster<K>,
        clock: &SystemClock,
    ) -> Done {
        let Some(connection) = self.connections.get_mut(&broker) else { return Ok(()) };
        let Some(transport) = &mut connection.transport else { return Ok(()) };
        if !connection.established {
            let ready = transport.stream().is_connected().map_err(|error| error.to_string())?
                && transport.shake_hands().map_err(|error| explain(&error))?;
            if !ready {
                return Ok(());
            }
            connection.established = true;
            let credentials = self.access.sasl.as_ref().map(secrets::credentials);
            cluster.connected(broker, credentials.transpose()?, clock.mono());
        }
        self.read(broker, cluster, clock)?;
        self.write(broker, cluster)
    }

    fn read<K>(&mut self, broker: BrokerId, cluster: &mut Cluster<K>, clock: &SystemClock) -> Done {
        let Some(connection) = self.connections.get_mut(&broker) else { return Ok(()) };
        let Some(transport) = &mut connection.transport else { return Ok(()) };
        connection.more = false;
        for _ in 0..TURN {
            let room = cluster.room(broker);
            let is_direct = room.is_some();
            match transport.read(room.unwrap_or(&mut self.chunk)) {
                Ok(0) => return Err("the broker has closed the connection".into()),
                Ok(count) if is_direct => cluster.filled(broker, count, clock.mono()),
                Ok(count) => cluster.received(broker, &self.chunk[..count], clock.mono()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(explain(&error)),
            }
        }
        connection.more = true;
        Ok(())
    }

    fn write<K>(&mut self, broker: BrokerId, cluster: &mut Cluster<K>) -> Done {
        let connection = self.connections.get_mut(&broker).filter(|c| c.established);
        let Some(transport) = connection.and_then(|c| c.transport.as_mut()) else { return Ok(()) };
        while let Some(out) = cluster.out(broker).filter(|out| !out.is_empty()) {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let pieces = out.pieces().iter();
            let count = slices
                .iter_mut()
                .zip(pieces)
                .map(|(slot, piece)| *slot = IoSlice::new(piece))
                .count();
            match transport.write(&slices[..count]) {
                Ok(bytes) => cluster.wrote(broker, bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(explain(&error)),
            }
        }
        match transport.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(explain(&error)),
            _ => Ok(()),
        }
    }
}
