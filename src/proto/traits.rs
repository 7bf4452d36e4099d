//! What a protocol is to the rest of the program.
//!
//! An input says by itself what it claims, whether it acknowledges, whether its senders can wait
//! and how long its lines are; an output, what it claims, how large its queue is and how it
//! writes. Nothing else of the configuration knows a protocol.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::shared::process::ProcessPlan;
use super::shared::tls::ServerTlsPlan;
use crate::format::plan::FormatPlan;
use crate::forward::plan::ForwardPlan;
use crate::fs::Fs;
use crate::ingress::datagrams::DatagramSocket;
use crate::ingress::files::watch::Meant;
use crate::ingress::listener::Listener;
use crate::ingress::{OpenError, Socket, Source};
use crate::output::worker::{Worker, Workplace};
use crate::settings::{Choice, Entry, Key, Report, Section};

/// The configuration of an input.
pub trait Input: Sized {
    /// Its key, what it is called, and the keys it has.
    const CHOICE: Choice;

    /// Reads it; `entry` is that of its key.
    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self>;

    /// What no other node can have at the same time.
    fn claims(&self) -> Vec<Claim>;

    /// What it promises and what it cannot do.
    fn nature(&self) -> Nature;

    /// What it is, on one line.
    fn describe(&self) -> String;

    /// Its TLS, where clients come through it.
    fn tls(&self) -> Option<&ServerTlsPlan> {
        None
    }

    /// Opens it, with the sockets it is given; nothing is read yet.
    ///
    /// # Errors
    /// What cannot be opened, and why.
    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError>;
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
    /// Sockets that were opened beside those and share their port.
    pub added: Vec<DatagramSocket>,
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
    pub fn listener(&mut self) -> Option<Listener> {
        let is_listener = |socket: &Socket| matches!(socket, Socket::Listener(_));
        let at = self.sockets.iter().position(is_listener)?;
        match self.sockets.swap_remove(at) {
            Socket::Listener(listener) => Some(listener),
            Socket::Datagrams(_) => None,
        }
    }
}

/// The configuration of an output.
pub trait Output: Sized {
    /// Its key, what it is called, and the keys it has.
    const CHOICE: Choice;

    /// Reads it; `entry` is that of its key.
    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self>;

    /// How its lines are written.
    fn format(&self) -> &FormatPlan;

    /// The bound of the queue before it, in bytes.
    fn queue(&self) -> u64;

    /// What it is, on one line.
    fn describe(&self) -> String;

    /// What no other node can have at the same time; `inputs` names the inputs whose lines come
    /// to it, for one whose claims depend on that.
    fn claims(&self, inputs: &mut dyn FnMut() -> Vec<String>) -> Vec<Claim> {
        let _ = inputs;
        Vec::new()
    }

    /// Where its lines go.
    fn sink(&self) -> SinkPlan<'_>;

    /// Returns whether its lines are formatted when they are written and are raw in the queue: a
    /// file can then be chosen by the content of a line, and lines in doubt can be written again.
    fn formats_when_written(&self) -> bool {
        false
    }

    /// Returns whether it knows by a count of lines what its peer has, so that after a restart the
    /// same lines must come again.
    fn counts_lines(&self) -> bool {
        false
    }

    /// Opens the worker of an output with jobs; `None` for any other.
    fn worker<F: Fs + 'static>(&self, workplace: Workplace<'_, F>) -> Option<Box<dyn Worker>> {
        let _ = workplace;
        None
    }
}

/// The four ways out.
#[derive(Debug, Clone, Copy)]
pub enum SinkPlan<'p> {
    /// The stdin of child processes.
    Children(&'p ProcessPlan),
    /// A socket, one line a datagram.
    Datagrams {
        /// `host:port`, the host a name or an address.
        to: &'p str,
    },
    /// A thread that runs jobs in a [`Worker`].
    Jobs {
        /// True if a cursor can record the worker's position.
        has_position: bool,
    },
    /// Connections to peers.
    Connections(&'p ForwardPlan),
}

/// What an output says of one protocol that it forwards by.
pub trait ClientPlan: Default + Sized {
    /// The keys that the protocol has of its own.
    const KEYS: &'static [Key];

    /// Reads it.
    fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<Self>;
}

/// The plan of a protocol without keys.
impl ClientPlan for () {
    const KEYS: &'static [Key] = &[];

    fn read(_: &Section<'_>, _: &mut Report<'_>) -> Option<Self> {
        Some(())
    }
}

/// Something that only one node can have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Claim {
    /// An address for datagrams, with the multicast group that is joined there.
    Udp {
        /// The address.
        address: SocketAddr,
        /// The group.
        multicast: Option<IpAddr>,
        /// The interface it is joined on.
        interface: Option<String>,
    },
    /// An address for connections.
    Tcp(SocketAddr),
    /// The path of a Unix socket for datagrams.
    UnixPath(PathBuf),
    /// The path of a Unix socket for connections.
    UnixListener(PathBuf),
    /// Another path that is read: that of a FIFO.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// Files that are followed.
    Followed(Meant),
    /// A file that is written.
    File(PathBuf),
    /// A spool's folder.
    Folder(PathBuf),
    /// Standard output, which several may write to, though that is hardly meant.
    Stdout,
}

/// What an input promises, and what it cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nature {
    /// What its senders are called in messages, as in "UDP".
    pub label: &'static str,
    /// Whether a sender is told that its lines are on disk.
    pub acknowledged: bool,
    /// Whether it numbers its lines and keeps positions: a spool takes all of them, and a position
    /// moves over what every output is done with.
    pub numbered: bool,
    /// Whether its senders wait when nothing is read from them.
    pub can_wait: bool,
    /// The longest line that can come, in bytes, whatever the configuration allows.
    pub longest_line: Option<usize>,
}

impl Nature {
    /// An input whose senders wait, without acknowledgements and with lines of any length.
    pub const fn new(label: &'static str) -> Self {
        Self { label, acknowledged: false, numbered: false, can_wait: true, longest_line: None }
    }
}

impl Claim {
    /// Whether both cannot be had at the same time.
    pub fn clashes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Udp { address: one, .. }, Self::Udp { address: other, .. })
            | (Self::Tcp(one), Self::Tcp(other)) => addresses_clash(*one, *other),
            (Self::UnixPath(one), Self::UnixListener(other))
            | (Self::UnixListener(one), Self::UnixPath(other)) => one == other,
            _ => self == other,
        }
    }

    /// Claims that may clash are equal in this.
    pub fn group(&self) -> Self {
        let any = |address: SocketAddr| match address.is_ipv4() {
            true => SocketAddr::from(([0, 0, 0, 0], address.port())),
            false => SocketAddr::from(([0; 16], address.port())),
        };
        match self {
            Self::Udp { address, .. } => {
                Self::Udp { address: any(*address), multicast: None, interface: None }
            }
            Self::Tcp(address) => Self::Tcp(any(*address)),
            Self::UnixListener(path) => Self::UnixPath(path.clone()),
            other => other.clone(),
        }
    }

    /// Whether a socket may be what is claimed, by its kind.
    pub fn fits(&self, socket: &Socket) -> bool {
        match self {
            Self::Udp { .. } | Self::UnixPath(_) => matches!(socket, Socket::Datagrams(_)),
            Self::Tcp(_) => matches!(socket, Socket::Listener(Listener::Tcp(_))),
            Self::UnixListener(_) => matches!(socket, Socket::Listener(Listener::Unix(..))),
            _ => false,
        }
    }

    /// Whether a clash is only warned of.
    pub fn can_be_shared(&self) -> bool {
        *self == Self::Stdout
    }

    /// What a clash is reported as: the node whose table is `table` has the claim already, in
    /// this line of the file.
    pub fn taken(&self, table: &str, line: &str) -> String {
        let owner = format!("[{table}] on {line}");
        match self {
            Self::Udp { address, .. } | Self::Tcp(address) => {
                format!("{address} is bound by {owner}")
            }
            Self::UnixPath(_) | Self::UnixListener(_) => format!("this socket is bound by {owner}"),
            Self::Path(_) => format!("this FIFO is read by {owner}"),
            Self::Followed(_) => format!("these files are followed by {owner}"),
            Self::Stdin => format!("standard input is read by {owner}"),
            Self::File(_) => format!("this file is written by {owner}"),
            Self::Folder(_) => format!("[{table}] has its spool in this folder"),
            Self::Stdout => format!("[{table}] writes to standard output too"),
        }
    }

    /// What is said of the place where it was claimed first.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Udp { .. } | Self::Tcp(_) | Self::UnixPath(_) | Self::UnixListener(_) => {
                "bound here"
            }
            Self::Path(_) | Self::Stdin | Self::Followed(_) => "read here",
            Self::File(_) | Self::Stdout => "written here",
            Self::Folder(_) => "used here",
        }
    }
}

/// Port 0 asks for any free port, which is another one each time.
fn addresses_clash(one: SocketAddr, other: SocketAddr) -> bool {
    let all = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0
        && (one == other || one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && all)
}
