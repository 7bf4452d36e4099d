//! The connections of forward outputs.
//!
//! Names are looked up beside the loop, afresh for each attempt, and each of a name's addresses is
//! tried. Whether an earlier peer takes connections is seen in a thread of its own. Everything else
//! is the loop's.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::tls::{ClientTls, explain};
use super::transport::Transport;
use super::wake::Wake;
use crate::clock::Mono;
use crate::config::plan::ForwardPlan;
use crate::engine::{Engine, Event, LinkEvent};
use crate::forward::link::Command;
use crate::ids::{LaneId, NodeId};
use crate::limits::{CONNECT_MAX, READ_CHUNK, SLICES_MAX, TURN, UNACKED_EVERY};
use crate::net::dns::{self, Answer};
use crate::net::names::Lookups;
use crate::url::Url;

/// The connections.
#[derive(Debug)]
pub struct Links {
    first_token: usize,
    connections: HashMap<LaneId, Attempt>,
    tls: HashMap<NodeId, ClientTls>,
    /// The peers' names, each of an attempt.
    lookups: Lookups<(LaneId, u64)>,
    /// The services among the peers.
    services: Lookups<(LaneId, String), Answer>,
    /// What probes came to.
    probed: Receiver<(LaneId, bool)>,
    prober: Sender<(LaneId, bool)>,
    wake: Wake,
    /// Lanes whose peer's address does not answer.
    unanswered: Vec<LaneId>,
    /// Connections with more to read than one turn took.
    again: Vec<LaneId>,
    asked_at: Mono,
    chunk: Vec<u8>,
}

/// An attempt to reach a peer, and the connection that it has become.
#[derive(Debug)]
struct Attempt {
    attempt: u64,
    url: Url,
    /// The name that the peer's certificate must have.
    name: String,
    /// Addresses of the peer that were not tried yet, once they are known.
    addresses: VecDeque<SocketAddr>,
    /// The address that is or was tried; shown where the peer has several.
    address: Option<SocketAddr>,
    has_several: bool,
    transport: Option<Transport>,
    connected: bool,
    /// True while the peer may still refuse us.
    doubtful: bool,
}

impl Attempt {
    fn new(url: Url, name: String, attempt: u64) -> Self {
        Self {
            attempt,
            url,
            name,
            addresses: VecDeque::new(),
            address: None,
            has_several: false,
            transport: None,
            connected: false,
            doubtful: false,
        }
    }

    /// An error with the address that it is of.
    fn error_of(&self, error: &dyn std::fmt::Display) -> String {
        match self.address.filter(|_| self.has_several) {
            Some(address) => format!("{address}: {error}"),
            None => error.to_string(),
        }
    }

    /// Begins to connect to the next address.
    fn begin(
        &mut self,
        address: SocketAddr,
        tls: Option<&ClientTls>,
        registry: &Registry,
        token: Token,
    ) -> Result<(), String> {
        self.address = Some(address);
        let tls = match (self.url.protocol.is_tls(), tls) {
            (true, Some(tls)) => Some(tls.connection(&self.name)?),
            (true, None) => return Err("TLS is not set up".into()),
            _ => None,
        };
        let stream = TcpStream::connect(address).map_err(|error| self.error_of(&error))?;
        let mut transport = Transport::new(stream, tls);
        registry
            .register(&mut transport, token, Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| format!("epoll: {error}"))?;
        self.transport = Some(transport);
        Ok(())
    }

    /// Whether the connection is established, through TLS where that is asked for.
    fn is_established(&mut self) -> io::Result<bool> {
        match &mut self.transport {
            Some(transport) => Ok(transport.stream().is_connected()? && transport.shake_hands()?),
            None => Ok(false),
        }
    }
}

impl Links {
    /// None yet. Their tokens are counted from `first_token`.
    pub fn new(first_token: usize, wake: Wake) -> Self {
        let (prober, probed) = channel();
        Self {
            first_token,
            connections: HashMap::new(),
            tls: HashMap::new(),
            lookups: Lookups::new(wake.clone()),
            services: Lookups::new(wake.clone()),
            probed,
            prober,
            wake,
            unanswered: Vec::new(),
            again: Vec::new(),
            asked_at: Mono::default(),
            chunk: vec![0; READ_CHUNK],
        }
    }

    /// What an output needs for TLS from now on; connections that are there stay as they are.
    pub fn enter_tls(&mut self, node: NodeId, tls: ClientTls) {
        self.tls.insert(node, tls);
    }

    /// An output has ended.
    pub fn forget(&mut self, node: NodeId) {
        self.tls.remove(&node);
    }

    fn token(&self, id: LaneId) -> Token {
        Token(self.first_token + ((id.node.0 as usize) << 16) + usize::from(id.lane))
    }

    fn lane_of(&self, token: Token) -> LaneId {
        let number = token.0 - self.first_token;
        let lane = u16::try_from(number & 0xffff).unwrap_or(0);
        LaneId { node: NodeId(u32::try_from(number >> 16).unwrap_or(u32::MAX)), lane }
    }

    /// Does what a link asks for.
    pub fn command(&mut self, id: LaneId, command: Command) {
        match command {
            Command::Disconnect => {
                let connection = self.connections.remove(&id);
                if let Some(mut transport) = connection.and_then(|one| one.transport) {
                    // What the peer has not acknowledged is sent again, or was given up.
                    match transport.is_acknowledged() {
                        true => transport.close(),
                        false => transport.reset(),
                    }
                }
            }
            Command::Connect { url, name, attempt } => {
                self.lookups.ask((id, attempt), &url.host, url.port);
                self.connections.insert(id, Attempt::new(url, name, attempt));
            }
            Command::Find(service) => {
                let name = service.clone();
                self.services.ask_by((id, service), move || dns::ask::look_up(&name));
            }
            Command::NextAddress => {
                self.unanswered.push(id);
                self.wake.wake();
            }
            Command::Probe(url) => self.probe(id, url),
        }
    }

    /// The connection of a lane, unless the link has given it up already: then nothing that
    /// happens to it is the link's affair.
    fn current(&mut self, id: LaneId, engine: &Engine) -> Option<&mut Attempt> {
        let connection = self.connections.get_mut(&id)?;
        engine.has_attempt(id, connection.attempt).then_some(connection)
    }

    fn probe(&self, id: LaneId, url: Url) {
        let (prober, wake) = (self.prober.clone(), self.wake.clone());
        let look = move || {
            let takes = |address: &SocketAddr| {
                std::net::TcpStream::connect_timeout(address, CONNECT_MAX).is_ok()
            };
            let takes = url.resolve().is_ok_and(|addresses| addresses.iter().any(takes));
            // The loop may have ended meanwhile.
            let _ = prober.send((id, takes));
            wake.wake();
        };
        if std::thread::Builder::new().name("probe".into()).spawn(look).is_err() {
            // The receiver is ours.
            let _ = self.prober.send((id, false));
            self.wake.wake();
        }
    }

    /// Goes on with what was found, and with what is to be tried next.
    pub fn look(&mut self, engine: &mut Engine, registry: &Registry, now: Mono) {
        while let Ok((id, takes)) = self.probed.try_recv() {
            engine.handle(Event::Link { lane: id, event: LinkEvent::Probed(takes) }, now);
        }
        while let Some(((id, service), found)) = self.services.poll() {
            let event = LinkEvent::Found(service, found);
            engine.handle(Event::Link { lane: id, event }, now);
        }
        while let Some(((id, attempt), found)) = self.lookups.poll() {
            let Some(connection) = self.current(id, engine) else { continue };
            if connection.attempt != attempt {
                continue;
            }
            match found {
                Ok(addresses) => {
                    connection.has_several = addresses.len() > 1;
                    connection.addresses = addresses.into();
                    self.try_next(id, "no address is left".into(), engine, registry, now);
                }
                Err(error) => {
                    let event = LinkEvent::NotFound(error);
                    engine.handle(Event::Link { lane: id, event }, now);
                }
            }
        }
        for id in std::mem::take(&mut self.unanswered) {
            let Some(connection) = self.current(id, engine).filter(|one| !one.connected) else {
                continue;
            };
            let error = connection.error_of(&"no answer to the connection");
            self.try_next(id, error, engine, registry, now);
        }
        for id in std::mem::take(&mut self.again) {
            self.read(id, engine, now);
        }
    }

    /// Tries the next address of a lane's peer; where there is none, the attempt has failed, for
    /// the reason that the last address gave.
    fn try_next(
        &mut self,
        id: LaneId,
        mut error: String,
        engine: &mut Engine,
        registry: &Registry,
        now: Mono,
    ) {
        let token = self.token(id);
        let tls = self.tls.get(&id.node).cloned();
        let Some(connection) = self.current(id, engine) else { return };
        // The socket of the address before goes, with its place in epoll.
        connection.transport = None;
        while let Some(address) = connection.addresses.pop_front() {
            match connection.begin(address, tls.as_ref(), registry, token) {
                Ok(()) => {
                    let event = Event::Link { lane: id, event: LinkEvent::Trying };
                    return engine.handle(event, now);
                }
                Err(said) => error = said,
            }
        }
        self.fail(id, LinkEvent::Failed(error), engine, now);
    }

    /// Whether there is more to read than one turn took.
    pub fn has_more(&self) -> bool {
        !self.again.is_empty()
    }

    fn fail(&mut self, id: LaneId, event: LinkEvent, engine: &mut Engine, now: Mono) {
        self.acknowledge(id, engine, now);
        engine.handle(Event::Link { lane: id, event }, now);
    }

    /// A connection is ready for something.
    pub fn ready(
        &mut self,
        event: &mio::event::Event,
        engine: &mut Engine,
        registry: &Registry,
        now: Mono,
    ) {
        let id = self.lane_of(event.token());
        let Some(connection) = self.current(id, engine) else { return };
        let is_new = !connection.connected;
        if is_new {
            match connection.is_established() {
                Ok(false) => return,
                Ok(true) => {
                    connection.connected = true;
                    engine.handle(Event::Link { lane: id, event: LinkEvent::Connected }, now);
                    self.note_doubt(id, engine, now);
                }
                Err(error) => {
                    let error = connection.error_of(&explain(&error));
                    return self.try_next(id, error, engine, registry, now);
                }
            }
        }
        // TLS may have brought more than its handshake.
        if is_new || event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(id, engine, now);
        }
        if event.is_writable() {
            engine.handle(Event::Link { lane: id, event: LinkEvent::Writable }, now);
        }
    }

    fn read(&mut self, id: LaneId, engine: &mut Engine, now: Mono) {
        for _ in 0..TURN {
            let mut chunk = std::mem::take(&mut self.chunk);
            let done = match self.current(id, engine).and_then(|c| c.transport.as_mut()) {
                Some(transport) => transport.read(&mut chunk),
                None => Err(ErrorKind::NotConnected.into()),
            };
            self.chunk = chunk;
            match done {
                Ok(0) => {
                    let event = LinkEvent::Closed("the peer has closed the connection".into());
                    return self.fail(id, event, engine, now);
                }
                Ok(count) => {
                    let event = LinkEvent::Received(self.chunk[..count].to_vec());
                    engine.handle(Event::Link { lane: id, event }, now);
                }
                // TLS may have something to say of its own.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.note_doubt(id, engine, now);
                    return self.flush(id, engine, now);
                }
                Err(error) if error.kind() == ErrorKind::NotConnected => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.fail(id, ended(&error), engine, now),
            }
        }
        self.again.push(id);
    }

    /// Tells the engine where it became uncertain, or certain, that the peer takes lines from us.
    fn note_doubt(&mut self, id: LaneId, engine: &mut Engine, now: Mono) {
        let Some(connection) = self.current(id, engine) else { return };
        let doubtful = connection.transport.as_ref().is_some_and(Transport::is_unheard);
        if std::mem::replace(&mut connection.doubtful, doubtful) != doubtful {
            engine.handle(Event::Link { lane: id, event: LinkEvent::Proven(!doubtful) }, now);
        }
    }

    fn flush(&mut self, id: LaneId, engine: &mut Engine, now: Mono) {
        let transport = self.current(id, engine).and_then(|c| c.transport.as_mut());
        if let Some(Err(error)) = transport.map(Transport::flush)
            && error.kind() != ErrorKind::WouldBlock
        {
            self.fail(id, ended(&error), engine, now);
        }
    }

    /// Writes what waits for a lane, until it is all gone or the socket is full.
    pub fn write(&mut self, id: LaneId, engine: &mut Engine, now: Mono) {
        loop {
            engine.fill(id);
            let Some(out) = engine.out(id).filter(|out| !out.is_empty()) else { return };
            let current = self.current(id, engine);
            let Some(transport) = current.and_then(|one| one.transport.as_mut()) else { return };
            let slices: Vec<_> =
                out.pieces().iter().take(SLICES_MAX).map(|bytes| IoSlice::new(bytes)).collect();
            match transport.write(&slices) {
                Ok(count) => engine.wrote(id, count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return engine.write_blocked(id);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.fail(id, ended(&error), engine, now),
            }
        }
    }

    /// Asks now and then how much the TCP of the peers that give no answers has acknowledged; when
    /// to ask again.
    pub fn acknowledge_all(&mut self, engine: &mut Engine, now: Mono) -> Option<Mono> {
        let silent = self
            .connections
            .iter()
            .filter(|(id, connection)| connection.connected && engine.wants_acknowledged(**id));
        let silent: Vec<_> = silent.map(|(id, _)| *id).collect();
        if silent.is_empty() {
            return None;
        }
        if now.since(self.asked_at) >= UNACKED_EVERY {
            self.asked_at = now;
            for id in silent {
                self.acknowledge(id, engine, now);
            }
        }
        Some(self.asked_at + UNACKED_EVERY)
    }

    fn acknowledge(&mut self, id: LaneId, engine: &mut Engine, now: Mono) {
        if !engine.wants_acknowledged(id) {
            return;
        }
        let Some(connection) = self.current(id, engine) else { return };
        if !connection.connected {
            return;
        }
        let Some(transport) = &mut connection.transport else { return };
        if let (Ok(bytes), Ok(silence)) = (transport.acknowledged(), transport.silence()) {
            let event = LinkEvent::Acknowledged(bytes, silence);
            engine.handle(Event::Link { lane: id, event }, now);
        }
    }
}

/// What an error of a connection means.
fn ended(error: &io::Error) -> LinkEvent {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => LinkEvent::Reset(error.to_string()),
        _ => LinkEvent::Failed(explain(error)),
    }
}

/// What an output needs for TLS, where it does.
///
/// # Errors
/// One sentence for the user.
pub fn tls_of(name: &str, plan: &ForwardPlan) -> Result<Option<ClientTls>, String> {
    if !plan.peers.iter().any(|peer| peer.protocol.is_tls()) {
        return Ok(None);
    }
    ClientTls::new(&plan.tls).map(Some).map_err(|error| format!("output.{name}: tls: {error}"))
}
