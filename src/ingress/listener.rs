//! A socket that connections come to, TCP or Unix.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use mio::{Interest, Registry, Token};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::socket_path::SocketPath;
use crate::net::stream::Stream;
use crate::sources::Source;

/// A listening socket that does not block.
#[derive(Debug)]
pub enum Listener {
    /// At an address.
    Tcp(TcpListener),
    /// At a path, which is removed when nobody has the socket any more.
    Unix(UnixListener, Option<Arc<SocketPath>>),
}

impl Listener {
    /// The same socket once more.
    ///
    /// # Errors
    /// The system's.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener, path) => Self::Unix(listener.try_clone()?, path.clone()),
        })
    }

    /// The path of a Unix socket.
    pub fn path(&self) -> Option<&Arc<SocketPath>> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(_, path) => path.as_ref(),
        }
    }

    /// Whether both are bound to the same address or path.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => one.local_addr().ok() == other.local_addr().ok(),
            (Self::Unix(one, _), Self::Unix(other, _)) => {
                let path = |listener: &UnixListener| {
                    listener.local_addr().ok()?.as_pathname().map(std::path::Path::to_path_buf)
                };
                path(one) == path(other)
            }
            _ => false,
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        }
    }
}

/// Watches whether clients still find a listening socket.
pub trait Keeper: std::fmt::Debug + Send {
    /// Checks, and opens another socket in its place if they do not.
    fn look(&mut self) -> Look;
}

/// The result of a check.
#[derive(Debug)]
pub enum Look {
    /// Clients find the socket.
    Good,
    /// They find this one from now on.
    Anew(Listener),
    /// They find none, for this reason.
    Deaf(String),
}

/// A listening socket in the server's poll.
#[derive(Debug)]
pub(super) enum Polled {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener, Option<Arc<SocketPath>>),
}

impl AsFd for Polled {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        }
    }
}

impl Polled {
    /// Has `token` tell of connections.
    pub(super) fn register(
        listener: Listener,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(listener) => {
                let mut listener = mio::net::TcpListener::from_std(listener);
                registry.register(&mut listener, token, Interest::READABLE)?;
                Self::Tcp(listener)
            }
            Listener::Unix(listener, path) => {
                let mut listener = mio::net::UnixListener::from_std(listener);
                registry.register(&mut listener, token, Interest::READABLE)?;
                Self::Unix(listener, path)
            }
        })
    }

    /// Its path leads to another socket from now on, if it has one.
    pub(super) fn set_lost(&self) {
        if let Self::Unix(_, Some(path)) = self {
            path.set_lost();
        }
    }

    /// The next connection, and who made it.
    pub(super) fn accept(&self) -> io::Result<(Stream, Source)> {
        match self {
            Self::Tcp(listener) => {
                listener.accept().map(|(stream, peer)| (stream.into(), Source::Address(peer)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                let peer = getsockopt(&stream, PeerCredentials)?;
                let source = Source::Process { pid: peer.pid().unsigned_abs(), uid: peer.uid() };
                Ok((stream.into(), source))
            }
        }
    }
}
