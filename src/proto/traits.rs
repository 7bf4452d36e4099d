//! The interface between a protocol and the rest of the program.
//!
//! An input states what it claims, whether it acknowledges, whether its senders can wait and how
//! long its lines are; an output, what it claims, how large its queue is and how it writes. Nothing
//! else in the configuration knows a protocol.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::shared::process::ProcessPlan;
use super::shared::tls::{ClientTlsPlan, ServerTlsPlan};
use crate::format::plan::FormatPlan;
use crate::forward::plan::ForwardPlan;
use crate::fs::Fs;
use crate::ingress::datagrams::DatagramSocket;
use crate::ingress::files::watch::Meant;
use crate::ingress::listener::Listener;
use crate::ingress::told::Teller;
use crate::ingress::{OpenError, Socket, Source};
use crate::output::worker::{Worker, Workplace};
use crate::settings::{Choice, Entry, Key, Report, Section};

/// The configuration of an input.
pub trait Input: Sized {
    /// Its key, its name, and its keys.
    const CHOICE: Choice;

    /// Reads it; `entry` is the entry of its key.
    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self>;

    /// What no other node can have at the same time.
    fn claims(&self) -> Vec<Claim>;

    /// Its promises and limitations.
    fn nature(&self) -> Nature;

    /// Describes it on one line.
    fn describe(&self) -> String;

    /// Its TLS settings, if clients use TLS.
    fn tls(&self) -> Option<&ServerTlsPlan> {
        None
    }

    /// What it needs beside its claims and its TLS settings.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// Opens it with the sockets it is given; reads nothing yet.
    ///
    /// # Errors
    /// Which resource cannot be opened, and why.
    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError>;
}

/// The resources that an input is opened with.
#[derive(Debug)]
pub struct Opening<'o> {
    /// The input's name.
    pub name: &'o str,
    /// Longer lines are truncated to this many bytes.
    pub max_line: usize,
    /// True if gaps in the lines' sequence numbers are counted.
    pub sequence: bool,
    /// The folder for what outlives a restart, if there is one.
    pub state: Option<&'o Path>,
    /// Sockets that already have its claims, from an earlier input or the service manager.
    pub sockets: Vec<Socket>,
    /// Those of them that it cannot use: their receivers must empty and close them.
    pub surplus: Vec<DatagramSocket>,
    /// Where an input learns what the daemon counts.
    pub teller: Teller,
    /// Additional sockets that share the port of the others.
    pub added: Vec<DatagramSocket>,
}

impl Opening<'_> {
    /// Takes the datagram sockets.
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
    /// Its key, its name, and its keys.
    const CHOICE: Choice;

    /// Reads it; `entry` is the entry of its key.
    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self>;

    /// How its lines are written.
    fn format(&self) -> &FormatPlan;

    /// The bound of the queue before it, in bytes.
    fn queue(&self) -> u64;

    /// Describes it on one line.
    fn describe(&self) -> String;

    /// What no other node can have at the same time; `inputs` names the inputs whose lines reach
    /// it, for an output whose claims depend on them.
    fn claims(&self, inputs: &mut dyn FnMut() -> Vec<String>) -> Vec<Claim> {
        let _ = inputs;
        Vec::new()
    }

    /// The destination of its lines.
    fn sink(&self) -> SinkPlan<'_>;

    /// Returns whether its lines are raw in the queue and formatted when written: a file can then
    /// be chosen by the content of a line, and lines in doubt can be written again.
    fn formats_when_written(&self) -> bool {
        false
    }

    /// What it needs beside its claims.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// Returns whether it knows by a count which lines its peer has, so that they must be the same
    /// ones after a restart.
    fn resumes_by_count(&self) -> bool {
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
    /// A socket, one line per datagram.
    Datagrams {
        /// `host:port`; the host is a name or an address.
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

/// Something that a node needs and others may have as well; `logweir check --access` tries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// A file or a device that is read.
    Read(PathBuf),
    /// The address of a peer.
    Peer {
        /// A name or an address, or the name of a service.
        host: String,
        /// The port; 0 for a service.
        port: u16,
    },
    /// The files of TLS settings.
    Tls(ClientTlsPlan),
    /// That files can be given to a user and a group.
    Owner {
        /// The user's name or number.
        user: Option<String>,
        /// The group's name or number.
        group: Option<String>,
    },
    /// A program.
    Program(&'static str),
}

/// Something that only one node can have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Claim {
    /// A datagram address, with the multicast group joined on it.
    Udp {
        /// The address.
        address: SocketAddr,
        /// The group.
        multicast: Option<IpAddr>,
        /// The interface on which the group is joined.
        interface: Option<String>,
    },
    /// An address for connections.
    Tcp(SocketAddr),
    /// The path of a Unix datagram socket.
    UnixPath(PathBuf),
    /// The path of a Unix socket for connections.
    UnixListener(PathBuf),
    /// Another path that is read: that of a FIFO.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// Followed files.
    Followed(Meant),
    /// A file that is written.
    File(PathBuf),
    /// A spool's folder.
    Folder(PathBuf),
    /// What the daemon counts.
    Counts,
    /// Standard output, which several nodes may write to, though probably by mistake.
    Stdout,
}

/// The promises and limitations of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nature {
    /// The name of its senders in messages, as in "UDP".
    pub label: &'static str,
    /// True if senders are told that their lines are on disk.
    pub acknowledged: bool,
    /// True if it numbers its lines and keeps positions: a spool stores all of them, and a position
    /// advances over what every output has completed.
    pub numbered: bool,
    /// True if its senders wait when nothing is read from them.
    pub can_wait: bool,
    /// The maximum length of a line in bytes, whatever the configuration allows.
    pub longest_line: Option<usize>,
}

impl Nature {
    /// An input whose senders can wait, without acknowledgements and with lines of any length.
    pub const fn new(label: &'static str) -> Self {
        Self { label, acknowledged: false, numbered: false, can_wait: true, longest_line: None }
    }
}

impl Claim {
    /// Returns whether the two cannot be had at the same time.
    pub fn clashes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Udp { address: one, .. }, Self::Udp { address: other, .. })
            | (Self::Tcp(one), Self::Tcp(other)) => addresses_clash(*one, *other),
            (Self::UnixPath(one), Self::UnixListener(other))
            | (Self::UnixListener(one), Self::UnixPath(other)) => one == other,
            _ => self == other,
        }
    }

    /// The part in which claims that may clash are equal.
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

    /// Returns whether a socket is of the claimed kind.
    pub fn fits(&self, socket: &Socket) -> bool {
        match self {
            Self::Udp { .. } | Self::UnixPath(_) => matches!(socket, Socket::Datagrams(_)),
            Self::Tcp(_) => matches!(socket, Socket::Listener(Listener::Tcp(_))),
            Self::UnixListener(_) => matches!(socket, Socket::Listener(Listener::Unix(..))),
            _ => false,
        }
    }

    /// Returns whether a clash is only a warning.
    pub fn can_be_shared(&self) -> bool {
        *self == Self::Stdout
    }

    /// The message for a clash: the node with the table `table` already has the claim, on this line
    /// of the file.
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
            Self::Counts => format!("[{table}] tells what this daemon counts"),
            Self::Stdout => format!("[{table}] writes to standard output too"),
        }
    }

    /// The label for the place where it was claimed first.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Udp { .. } | Self::Tcp(_) | Self::UnixPath(_) | Self::UnixListener(_) => {
                "bound here"
            }
            Self::Path(_) | Self::Stdin | Self::Followed(_) => "read here",
            Self::File(_) | Self::Stdout => "written here",
            Self::Folder(_) => "used here",
            Self::Counts => "told here",
        }
    }
}

/// Port 0 requests any free port, a different one each time.
fn addresses_clash(one: SocketAddr, other: SocketAddr) -> bool {
    let all = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0
        && (one == other || one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && all)
}
