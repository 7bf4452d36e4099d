//! The socket that clients of the metrics connect to, TCP or Unix.

use std::io;

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};

use crate::config::plan::MetricsAt;
use crate::driver::control::Listening;
use crate::ingress::acceptor;
use crate::net::stream::Stream;

/// A listening socket. The path of a Unix socket is removed on drop.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(Listening),
}

impl Listener {
    /// Listens, and has `token` tell of clients.
    ///
    /// # Errors
    /// The address cannot be bound, or the socket cannot be created.
    pub(super) fn open(at: &MetricsAt, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut listener = match at {
            MetricsAt::Tcp(address) => Self::Tcp(TcpListener::from_std(acceptor::bind(*address)?)),
            MetricsAt::Unix(path) => Self::Unix(Listening::open(path)?),
        };
        match &mut listener {
            Self::Tcp(tcp) => registry.register(tcp, token, Interest::READABLE)?,
            Self::Unix(unix) => registry.register(unix.socket(), token, Interest::READABLE)?,
        }
        Ok(listener)
    }

    /// Has `token` tell again of clients that wait.
    pub(super) fn again(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => registry.reregister(tcp, token, Interest::READABLE),
            Self::Unix(unix) => registry.reregister(unix.socket(), token, Interest::READABLE),
        }
    }

    /// The next client.
    pub(super) fn accept(&mut self) -> io::Result<Stream> {
        match self {
            Self::Tcp(tcp) => tcp.accept().map(|(stream, _)| stream.into()),
            Self::Unix(unix) => unix.socket().accept().map(|(stream, _)| stream.into()),
        }
    }
}
