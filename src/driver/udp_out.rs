//! UDP outputs: one line a datagram, its newline included.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

use crate::engine::Engine;
use crate::ids::{LaneId, NodeId};
use crate::limits::SEND_SLOTS;
use crate::sys::send::DatagramWriter;

/// The sockets of all UDP outputs.
#[derive(Debug)]
pub struct UdpOutputs {
    first_token: usize,
    sockets: HashMap<NodeId, UdpSocket>,
    writer: DatagramWriter,
}

/// A socket that sends to `to`, `host:port`.
///
/// # Errors
/// One sentence for the user.
pub fn connect(name: &str, to: &str) -> Result<UdpSocket, String> {
    let said = |error: &dyn std::fmt::Display| format!("output.{name}: udp = \"{to}\": {error}");
    let mut addresses = to.to_socket_addrs().map_err(|error| said(&error))?;
    let address = addresses.next().ok_or_else(|| said(&"the name has no address"))?;
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).map_err(|error| said(&error))?;
    socket.connect(address).map_err(|error| said(&error))?;
    Ok(socket)
}

impl UdpOutputs {
    /// None yet. Their tokens are counted from `first_token`.
    pub fn new(first_token: usize) -> Self {
        Self { first_token, sockets: HashMap::new(), writer: DatagramWriter::new() }
    }

    /// Opens the socket of an output.
    ///
    /// # Errors
    /// One sentence for the user.
    pub fn open(&mut self, node: NodeId, to: &str, registry: &Registry) -> Result<(), String> {
        let socket = connect(&node.0.to_string(), to)?;
        self.keep_or_enter(node, socket, registry)
    }

    /// Enters the socket of an output, unless it has one.
    ///
    /// # Errors
    /// One sentence for the user.
    pub fn keep_or_enter(
        &mut self,
        node: NodeId,
        mut socket: UdpSocket,
        registry: &Registry,
    ) -> Result<(), String> {
        if self.sockets.contains_key(&node) {
            return Ok(());
        }
        let token = Token(self.first_token + node.0 as usize);
        registry
            .register(&mut socket, token, Interest::WRITABLE)
            .map_err(|error| format!("epoll: {error}"))?;
        self.sockets.insert(node, socket);
        Ok(())
    }

    /// The output that a token of the loop belongs to.
    pub fn node_of(&self, token: Token) -> NodeId {
        NodeId(u32::try_from(token.0 - self.first_token).unwrap_or(u32::MAX))
    }

    /// Sends what waits for an output, until it is all gone or the socket is full.
    pub fn write(&mut self, lane: LaneId, engine: &mut Engine) {
        let Some(socket) = self.sockets.get(&lane.node) else { return };
        if !engine.take_up(lane) {
            return;
        }
        let Some(batch) = engine.datagrams(lane) else { return };
        let mut rest = &batch.bytes[..];
        let mut sent = 0;
        let mut most = SEND_SLOTS;
        while !rest.is_empty() {
            let ends = rest.split_inclusive(|&byte| byte == b'\n');
            let lines: Vec<&[u8]> = ends.take(most).collect();
            match self.writer.write(socket.as_fd(), &lines) {
                Ok(count) => {
                    let len: usize = lines[..count].iter().map(|line| line.len()).sum();
                    sent += len;
                    rest = &rest[len..];
                    // The kernel does not say why the next one was refused. One by one it does.
                    if count < lines.len() {
                        most = 1;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    engine.write_blocked(lane);
                    break;
                }
                // Nobody listens, or the line is larger than a datagram: it is given up.
                Err(_) => {
                    engine.sent(lane, sent, lines[0].len());
                    return;
                }
            }
        }
        engine.sent(lane, sent, 0);
    }
}
