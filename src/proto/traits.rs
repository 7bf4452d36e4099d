//! What an input says of itself, and how it is opened.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;

use crate::config::plan::ServerTlsPlan;
use crate::ingress::datagrams::DatagramSocket;
use crate::ingress::{Socket, Source};

pub use crate::ingress::OpenError;

/// Something that an input has for itself. Two inputs with one claim cannot both be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Claim {
    /// A UDP address, with the multicast group that is joined there.
    Udp {
        /// The address.
        address: SocketAddr,
        /// The group.
        multicast: Option<IpAddr>,
        /// The interface it is joined on.
        interface: Option<String>,
    },
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket for datagrams.
    UnixPath(PathBuf),
    /// Another path.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl Claim {
    /// Whether a socket may be what is claimed, by its kind.
    pub fn fits(&self, socket: &Socket) -> bool {
        match self {
            Self::Udp { .. } | Self::UnixPath(_) => matches!(socket, Socket::Datagrams(_)),
            Self::Tcp(_) => matches!(socket, Socket::Listener(_)),
            Self::Path(_) | Self::Stdin => false,
        }
    }
}

/// How an input behaves towards its senders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nature {
    /// Whether its senders are told what is on disk.
    pub acknowledged: bool,
    /// Whether its senders wait, and lose nothing, while it does not read.
    pub can_wait: bool,
    /// The longest line that can come, in bytes; `None` where only `max_line` bounds it.
    pub longest_line: Option<usize>,
    /// What it is, for people: `relp 0.0.0.0:20514`.
    pub label: String,
}

/// What an input is opened with.
#[derive(Debug)]
pub struct Opening<'o> {
    /// The input's name.
    pub name: &'o str,
    /// Longer lines are cut to this many bytes.
    pub max_line: usize,
    /// Whether gaps in the lines' sequence numbers are counted.
    pub sequence: bool,
    /// Sockets that have its claims already, from an earlier input or the service manager.
    pub sockets: Vec<Socket>,
    /// Sockets that were among those and that it has no use for: they are to be emptied by their
    /// receivers and closed.
    pub surplus: Vec<DatagramSocket>,
}

impl Opening<'_> {
    /// Takes the sockets for datagrams.
    pub fn datagrams(&mut self) -> Vec<DatagramSocket> {
        let is_datagrams = |socket: &mut Socket| matches!(socket, Socket::Datagrams(_));
        let found = self.sockets.extract_if(.., is_datagrams);
        found
            .filter_map(|socket| match socket {
                Socket::Datagrams(socket) => Some(socket),
                Socket::Listener(_) => None,
            })
            .collect()
    }

    /// Takes a listening socket.
    pub fn listener(&mut self) -> Option<TcpListener> {
        let is_listener = |socket: &Socket| matches!(socket, Socket::Listener(_));
        let at = self.sockets.iter().position(is_listener)?;
        match self.sockets.swap_remove(at) {
            Socket::Listener(listener) => Some(listener),
            Socket::Datagrams(_) => None,
        }
    }
}

/// An input that can be opened.
pub trait OpenInput {
    /// What it has for itself.
    fn claims(&self) -> Vec<Claim>;

    /// How it behaves towards its senders.
    fn nature(&self) -> Nature;

    /// What its clients come through, where that is TLS.
    fn tls(&self) -> Option<&ServerTlsPlan> {
        None
    }

    /// Opens it; nothing is read yet. It goes on with the sockets that it is given.
    ///
    /// # Errors
    /// What cannot be opened, and why.
    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError>;
}

impl<I: OpenInput> OpenInput for &I {
    fn claims(&self) -> Vec<Claim> {
        (**self).claims()
    }

    fn nature(&self) -> Nature {
        (**self).nature()
    }

    fn tls(&self) -> Option<&ServerTlsPlan> {
        (**self).tls()
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        (**self).open(opening)
    }
}
