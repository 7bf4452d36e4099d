//! The connections of forward outputs.
//!
//! Names are looked up, and certificates' files read, where it harms nobody: in a thread of its
//! own for each attempt, of which a lane has one at a time. Everything else is the loop's.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::tls::ClientTls;
use super::transport::Transport;
use super::wake::Wake;
use crate::clock::Mono;
use crate::config::plan::ForwardPlan;
use crate::engine::{Engine, Event, LinkEvent};
use crate::forward::link::Command;
use crate::ids::{LaneId, NodeId};
use crate::limits::{CONNECT_MOST, READ_CHUNK, SLICES_MOST, TURN, UNACKED_EVERY};
use crate::url::Url;

/// The connections.
#[derive(Debug)]
pub struct Links {
    first_token: usize,
    connections: HashMap<LaneId, Connection>,
    tls: HashMap<NodeId, ClientTls>,
    /// What attempts came to.
    found: Receiver<(LaneId, u64, Found)>,
    finder: Sender<(LaneId, u64, Found)>,
    wake: Wake,
    /// Connections with more to read than one turn took.
    again: Vec<LaneId>,
    asked_at: Mono,
    chunk: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    attempt: u64,
    url: Url,
    transport: Option<Transport>,
    connected: bool,
}

#[derive(Debug)]
enum Found {
    Addresses(Vec<SocketAddr>),
    Failed(String),
    Probed(bool),
}

impl Links {
    /// None yet. Their tokens are counted from `first_token`.
    pub fn new(first_token: usize, wake: Wake) -> Self {
        let (finder, found) = channel();
        Self {
            first_token,
            connections: HashMap::new(),
            tls: HashMap::new(),
            found,
            finder,
            wake,
            again: Vec::new(),
            asked_at: Mono::default(),
            chunk: vec![0; READ_CHUNK],
        }
    }

    /// Enters what an output needs for TLS, unless it is there.
    pub fn enter_tls(&mut self, node: NodeId, tls: Option<ClientTls>) {
        if let Some(tls) = tls {
            self.tls.entry(node).or_insert(tls);
        }
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
                if let Some(transport) =
                    self.connections.remove(&id).and_then(|connection| connection.transport)
                {
                    let mut transport = transport;
                    transport.close();
                }
            }
            Command::Connect(url, attempt) => {
                self.find(id, attempt, url.clone());
                let connection = Connection { attempt, url, transport: None, connected: false };
                self.connections.insert(id, connection);
            }
            Command::Probe(url) => self.probe(id, url),
        }
    }

    /// The connection of a lane, unless the link has given it up already: then nothing that
    /// happens to it is the link's affair.
    fn current(&mut self, id: LaneId, engine: &Engine) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(&id)?;
        engine.has_attempt(id, connection.attempt).then_some(connection)
    }

    fn find(&self, id: LaneId, attempt: u64, url: Url) {
        let (finder, wake) = (self.finder.clone(), self.wake.clone());
        let look = move || {
            let found = match url.resolve() {
                Ok(addresses) => Found::Addresses(addresses),
                Err(error) => Found::Failed(error.to_string()),
            };
            // The loop may have ended meanwhile.
            let _ = finder.send((id, attempt, found));
            wake.wake();
        };
        self.spawn(id, attempt, look);
    }

    fn probe(&self, id: LaneId, url: Url) {
        let (finder, wake) = (self.finder.clone(), self.wake.clone());
        let look = move || {
            let takes = |address: &SocketAddr| {
                std::net::TcpStream::connect_timeout(address, CONNECT_MOST).is_ok()
            };
            let takes = url.resolve().is_ok_and(|addresses| addresses.iter().any(takes));
            // The loop may have ended meanwhile.
            let _ = finder.send((id, 0, Found::Probed(takes)));
            wake.wake();
        };
        self.spawn(id, 0, look);
    }

    fn spawn(&self, id: LaneId, attempt: u64, look: impl FnOnce() + Send + 'static) {
        let thread = std::thread::Builder::new().name("find".into()).spawn(look);
        if let Err(error) = thread {
            let found = Found::Failed(format!("no thread to look the name up: {error}"));
            // The receiver is ours.
            let _ = self.finder.send((id, attempt, found));
        }
    }

    /// Goes on with the attempts whose names were found.
    pub fn look(&mut self, engine: &mut Engine, registry: &Registry, now: Mono) {
        while let Ok((id, attempt, found)) = self.found.try_recv() {
            if let Found::Probed(takes) = found {
                engine.handle(Event::Link { lane: id, event: LinkEvent::Probed(takes) }, now);
                continue;
            }
            let token = self.token(id);
            let tls = self.tls.get(&id.node).cloned();
            let Some(connection) = self.current(id, engine) else { continue };
            if connection.attempt != attempt {
                continue;
            }
            let done = match found {
                Found::Addresses(addresses) => {
                    connect(&connection.url, &addresses, tls.as_ref(), registry, token)
                }
                Found::Failed(error) => Err(error),
                Found::Probed(_) => continue,
            };
            match done {
                Ok(transport) => connection.transport = Some(transport),
                Err(error) => self.fail(id, error, engine, now),
            }
        }
        for id in std::mem::take(&mut self.again) {
            self.read(id, engine, now);
        }
    }

    /// Whether there is more to read than one turn took.
    pub fn has_more(&self) -> bool {
        !self.again.is_empty()
    }

    fn fail(&mut self, id: LaneId, error: String, engine: &mut Engine, now: Mono) {
        self.acknowledge(id, engine, now);
        engine.handle(Event::Link { lane: id, event: LinkEvent::Failed(error) }, now);
    }

    /// A connection is ready for something.
    pub fn ready(&mut self, event: &mio::event::Event, engine: &mut Engine, now: Mono) {
        let id = self.lane_of(event.token());
        let Some(connection) = self.current(id, engine) else { return };
        let Some(transport) = &connection.transport else { return };
        if !connection.connected {
            match is_connected(transport.stream()) {
                Ok(false) => return,
                Ok(true) => {
                    connection.connected = true;
                    engine.handle(Event::Link { lane: id, event: LinkEvent::Connected }, now);
                }
                Err(error) => return self.fail(id, error.to_string(), engine, now),
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
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
                    return self.fail(id, "the peer has closed the connection".into(), engine, now);
                }
                Ok(count) => {
                    let event = LinkEvent::Received(self.chunk[..count].to_vec());
                    engine.handle(Event::Link { lane: id, event }, now);
                }
                // TLS may have something to say of its own.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.flush(id, engine, now);
                }
                Err(error) if error.kind() == ErrorKind::NotConnected => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.fail(id, error.to_string(), engine, now),
            }
        }
        self.again.push(id);
    }

    fn flush(&mut self, id: LaneId, engine: &mut Engine, now: Mono) {
        let transport = self.current(id, engine).and_then(|c| c.transport.as_mut());
        if let Some(Err(error)) = transport.map(Transport::flush)
            && error.kind() != ErrorKind::WouldBlock
        {
            self.fail(id, error.to_string(), engine, now);
        }
    }

    /// Writes what waits for a lane, until it is all gone or the socket is full.
    pub fn write(&mut self, id: LaneId, engine: &mut Engine, now: Mono) {
        loop {
            engine.fill(id);
            let Some(out) = engine.out(id).filter(|out| !out.is_empty()) else { return };
            let Some(connection) = self.connections.get_mut(&id) else { return };
            if !engine.has_attempt(id, connection.attempt) {
                return;
            }
            let Some(transport) = &mut connection.transport else { return };
            let slices: Vec<_> =
                out.pieces().iter().take(SLICES_MOST).map(|bytes| IoSlice::new(bytes)).collect();
            match transport.write(&slices) {
                Ok(count) => engine.wrote(id, count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return engine.write_blocked(id);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.fail(id, error.to_string(), engine, now),
            }
        }
    }

    /// Asks now and then how much the peers of plain connections have acknowledged; when to ask
    /// again.
    pub fn acknowledge_all(&mut self, engine: &mut Engine, now: Mono) -> Option<Mono> {
        let plain = self
            .connections
            .iter()
            .filter(|(id, connection)| connection.connected && engine.wants_acknowledged(**id));
        let plain: Vec<_> = plain.map(|(id, _)| *id).collect();
        if plain.is_empty() {
            return None;
        }
        if now.since(self.asked_at) >= UNACKED_EVERY {
            self.asked_at = now;
            for id in plain {
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
        if let Ok(bytes) = transport.acknowledged() {
            let event = LinkEvent::Acknowledged(bytes);
            engine.handle(Event::Link { lane: id, event }, now);
        }
    }
}

/// Begins to connect to the first address that lets us.
fn connect(
    url: &Url,
    addresses: &[SocketAddr],
    tls: Option<&ClientTls>,
    registry: &Registry,
    token: Token,
) -> Result<Transport, String> {
    let mut last = "the name has no address".to_string();
    let tls = match (url.protocol.is_tls(), tls) {
        (true, Some(tls)) => Some(tls.connection(&url.host)?),
        (true, None) => return Err("TLS is not set up".into()),
        _ => None,
    };
    let mut tls = Some(tls);
    for address in addresses {
        match TcpStream::connect(*address) {
            Ok(stream) => {
                let mut transport = Transport::new(stream, tls.take().flatten());
                registry
                    .register(&mut transport, token, Interest::READABLE | Interest::WRITABLE)
                    .map_err(|error| format!("epoll: {error}"))?;
                return Ok(transport);
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// Whether an attempt has come to a connection.
fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
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
