//! The plan: the whole configuration, checked, with every default filled in.
//!
//! Only what the checks accepted can be written down here, so that the engine and the
//! driver need no error path for a wrong configuration. Plans compare by value: a
//! reload keeps whatever is equal in the old and the new one.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use crate::input::messages::Escape;
use crate::ledger::Count;
use crate::output::name::NameTemplate;
use crate::parse::field::Field;
use crate::url::Url;

/// Everything a daemon is told to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The `[daemon]` table.
    pub daemon: DaemonPlan,
    /// Every node; a node comes after all that its `from` names.
    pub nodes: Vec<NodePlan>,
}

/// The `[daemon]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonPlan {
    /// Path of the control socket; `None` for no control (udp2log's drop-in).
    pub control: Option<PathBuf>,
    /// Where metrics can be asked for; `None` for nowhere.
    pub metrics: Option<SocketAddr>,
    /// An output that has let nothing go for so long is stuck.
    pub stuck_after: Duration,
    /// The budget of all queues together, in bytes.
    pub memory: u64,
    /// The time to drain at SIGTERM.
    pub grace: Duration,
}

/// One node of the flow.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePlan {
    /// The name the user chose, unique among all nodes.
    pub name: String,
    /// The nodes whose streams it takes; empty for an input, never empty otherwise.
    pub from: Vec<String>,
    /// What of those streams it takes.
    pub select: SelectPlan,
    /// What it is.
    pub body: BodyPlan,
}

/// What a node is and does.
#[derive(Debug, Clone, PartialEq)]
pub enum BodyPlan {
    /// Takes lines in.
    Input(InputPlan),
    /// A filter without a process: what it selects is its stream.
    Pass,
    /// A filter process: what it prints is its stream.
    Run(ProcessPlan),
    /// An output process.
    Pipe(ProcessPlan),
    /// An output file.
    File(FilePlan),
    /// An output to a UDP address, one line a datagram.
    Udp(UdpOutPlan),
    /// The daemon's standard output.
    Stdout(StdoutPlan),
    /// Other hosts, over TCP.
    Forward(ForwardPlan),
    /// A spool: what enters it is its stream once it is on disk.
    Spool(SpoolPlan),
}

/// The kinds of node, as the configuration's tables are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `[input.NAME]`
    Input,
    /// `[filter.NAME]`
    Filter,
    /// `[spool.NAME]`, or `spool = {…}` on an output.
    Spool,
    /// `[output.NAME]`
    Output,
}

impl Kind {
    /// The word the user writes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Filter => "filter",
            Self::Spool => "spool",
            Self::Output => "output",
        }
    }
}

impl BodyPlan {
    /// The kind of table this body is written in.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Input(_) => Kind::Input,
            Self::Pass | Self::Run(_) => Kind::Filter,
            Self::Spool(_) => Kind::Spool,
            Self::Pipe(_) | Self::File(_) | Self::Udp(_) | Self::Stdout(_) | Self::Forward(_) => {
                Kind::Output
            }
        }
    }

    /// The command of a process.
    pub fn command(&self) -> Option<&str> {
        match self {
            Self::Run(plan) | Self::Pipe(plan) => Some(&plan.command),
            _ => None,
        }
    }
}

/// An input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPlan {
    /// Where lines come from.
    pub source: SourcePlan,
    /// Longer lines are cut to this many bytes and counted.
    pub max_line: usize,
    /// Whether each line begins with a sender name and a sequence number (as squid's,
    /// varnishncsa's and `logweir gen`'s do), whose gaps are to be counted.
    pub sequence: bool,
}

/// Where an input's lines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourcePlan {
    /// Raw lines, any number of them in a datagram.
    Udp(UdpInPlan),
    /// The daemon's standard input; ends the daemon's work at end of file.
    Stdin,
    /// A named pipe, created where missing, reopened at end of file.
    Fifo(PathBuf),
    /// Messages of RELP, each answered once it is on disk.
    Relp(RelpInPlan),
    /// Syslog messages, each a line.
    Syslog(SyslogInPlan),
}

impl SourcePlan {
    /// The UDP socket it has, if it has one.
    pub fn udp(&self) -> Option<&UdpInPlan> {
        match self {
            Self::Udp(udp) => Some(udp),
            Self::Syslog(SyslogInPlan { transport: TransportPlan::Udp(udp), .. }) => Some(udp),
            _ => None,
        }
    }

    /// The address it listens on for connections, if it does.
    pub fn listens_on(&self) -> Option<SocketAddr> {
        match self {
            Self::Relp(relp) => Some(relp.address),
            Self::Syslog(SyslogInPlan { transport: TransportPlan::Tcp(tcp), .. }) => {
                Some(tcp.address)
            }
            _ => None,
        }
    }

    /// What clients come through, where that is TLS.
    pub fn tls(&self) -> Option<&ServerTlsPlan> {
        match self {
            Self::Relp(relp) => relp.tls.as_ref(),
            Self::Syslog(SyslogInPlan { transport: TransportPlan::Tcp(tcp), .. }) => {
                tcp.tls.as_ref()
            }
            _ => None,
        }
    }
}

/// A syslog input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogInPlan {
    /// How messages come.
    pub transport: TransportPlan,
    /// What becomes of control characters in them.
    pub escape: Escape,
}

/// How syslog messages come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportPlan {
    /// One in a datagram (RFC 5426).
    Udp(UdpInPlan),
    /// In connections (RFC 6587; RFC 5425 through TLS).
    Tcp(TcpInPlan),
    /// One in a datagram from a process of this host.
    Unix(UnixInPlan),
}

/// A syslog input with connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpInPlan {
    /// The address to bind.
    pub address: SocketAddr,
    /// Set where clients come through TLS.
    pub tls: Option<ServerTlsPlan>,
    /// The most connections at a time.
    pub max_connections: usize,
    /// A client that has sent nothing for so long is let go.
    pub idle_timeout: Option<Duration>,
    /// Whether NUL ends a message as a newline does.
    pub nul: bool,
}

/// A syslog input on a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixInPlan {
    /// The path to bind.
    pub path: PathBuf,
    /// The mode of the socket.
    pub mode: u32,
    /// Its owner, `user` or `user:group`.
    pub owner: Option<String>,
}

/// A RELP input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelpInPlan {
    /// The address to bind.
    pub address: SocketAddr,
    /// Set where clients come through TLS.
    pub tls: Option<ServerTlsPlan>,
    /// The most connections at a time.
    pub max_connections: usize,
}

/// The TLS of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTlsPlan {
    /// The certificate and those up to its authority, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The authority that clients' certificates must be of, PEM; `None` asks for none.
    pub client_ca: Option<PathBuf>,
    /// Names of which a client's certificate must have one; empty for any.
    pub names: Vec<String>,
}

/// A UDP input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpInPlan {
    /// The address to bind.
    pub address: SocketAddr,
    /// The receive buffer asked of the kernel, in bytes.
    pub receive_buffer: u64,
    /// How many SO_REUSEPORT sockets, with a thread each; at least 1.
    pub sockets: u16,
    /// The group to join.
    pub multicast: Option<IpAddr>,
    /// The interface to join it on, by name or (IPv4) address.
    pub interface: Option<String>,
}

/// What a node takes of the streams it is given, in the order of the fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SelectPlan {
    /// Only lines in which all of these fields are as wanted.
    pub fields: Vec<FieldPlan>,
    /// Only lines this regex finds something in.
    pub matches: Option<String>,
    /// Only lines this regex finds nothing in.
    pub reject: Option<String>,
    /// At most so many lines.
    pub rate: Option<RatePlan>,
    /// One line of so many.
    pub sample: Option<SamplePlan>,
}

/// What a field must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPlan {
    /// Which.
    pub field: Field,
    /// What it must be.
    pub wanted: Wanted,
}

/// What a field may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A facility or a severity whose bit is set, the lowest for number 0.
    Numbers(u32),
    /// One of these names, or something that one of these regexes finds something in.
    Text {
        /// The names.
        names: Vec<String>,
        /// The regexes.
        patterns: Vec<String>,
    },
}

/// `rate = "1000/s"`: a token bucket that holds one period's worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatePlan {
    /// Lines a period.
    pub lines: NonZeroU64,
    /// The period.
    pub per: Duration,
}

/// `sample = N`, N greater than 1 (1 selects all and is no plan).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplePlan {
    /// One line of so many.
    pub n: NonZeroU64,
    /// Which.
    pub mode: SampleMode,
}

/// Which lines a sample takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SampleMode {
    /// Each N-th, with a phase of the node's own.
    Every,
    /// Each N-th line of the stream from its first on, as udp2log counts: one counter for
    /// all that take from it.
    EveryFromStart,
    /// Each with a chance of 1/N.
    Random,
    /// Those whose key, the first group of this regex, hashes to 0 modulo N.
    Hash {
        /// A regex with one group.
        key: String,
    },
}

/// What happens when a queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// New lines are dropped and counted.
    Drop,
    /// The inputs behind it wait.
    Block,
}

/// A child process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessPlan {
    /// Run by `/bin/sh -c`.
    pub command: String,
    /// How many copies the lines are dealt out to; at least 1.
    pub workers: u16,
    /// The bound of the queue before it, in bytes (of all workers together).
    pub queue: u64,
    /// What happens when that queue is full.
    pub when_full: WhenFull,
    /// The first and the longest wait before it is started again.
    pub restart: (Duration, Duration),
    /// How long each step of the stop sequence waits.
    pub stop_grace: Duration,
    /// The longest line it may print (`run` only).
    pub max_line: usize,
    /// How its lines are written (`pipe` only).
    pub format: FormatPlan,
    /// What it may not do.
    pub confine: ConfinePlan,
}

/// What a child process may not do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfinePlan {
    /// Whom it runs as; `None` for the daemon's user.
    pub user: Option<String>,
    /// How far it steps back behind others, from 0 to 19 (nice(2)).
    pub nice: u8,
    /// The bytes of memory it may map.
    pub memory: Option<u64>,
    /// The seconds of processor time after which it is ended.
    pub cpu: Option<u64>,
    /// The files it may have open.
    pub files: Option<u64>,
    /// Whether it may gain privileges by what it runs (setuid programs).
    pub may_gain_privileges: bool,
}

/// An output file.
#[derive(Debug, Clone, PartialEq)]
pub struct FilePlan {
    /// The name, with strftime and `{input}`.
    pub path: NameTemplate,
    /// When a file is set aside and a new one begun.
    pub rotate: Option<Rotate>,
    /// How many files set aside are kept.
    pub keep: Option<u32>,
    /// Whether files set aside are compressed with zstd.
    pub compress: bool,
    /// The mode of a new file.
    pub mode: u32,
    /// How lines are written.
    pub format: FormatPlan,
    /// The bound of the queue before it, in bytes.
    pub queue: u64,
}

/// `rotate`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotate {
    /// At each whole multiple of this time, counted in UTC.
    Every(Duration),
    /// Before the file grows beyond so many bytes.
    Size(u64),
}

/// An output to a UDP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpOutPlan {
    /// `host:port`, the host a name or an address.
    pub to: String,
    /// How lines are written.
    pub format: FormatPlan,
    /// The bound of the queue before it, in bytes.
    pub queue: u64,
}

/// An output to other hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardPlan {
    /// The peers, in the order of the configuration; RELP and TCP, with or without TLS.
    pub peers: Vec<Url>,
    /// Which of them gets which lines.
    pub balance: BalancePlan,
    /// How lines are written.
    pub format: FormatPlan,
    /// How long a peer may leave everything unanswered.
    pub timeout: Duration,
    /// What TLS needs, where a peer is reached through it.
    pub tls: ClientTlsPlan,
    /// The bound of the queue before it, in bytes.
    pub queue: u64,
}

/// Which of several peers gets which lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BalancePlan {
    /// The first that answers gets all.
    Failover,
    /// They take turns.
    RoundRobin,
    /// The same key goes to the same peer.
    Hash {
        /// A regex with one group, which is the key.
        key: String,
    },
}

/// How lines are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FormatPlan {
    /// In which shape.
    pub shape: Shape,
    /// The app-name of a line that has none; the input's name where it is left out.
    pub tag: Option<String>,
}

impl FormatPlan {
    /// The most bytes that lines can take as they are written.
    pub fn most(&self, lines: Count) -> usize {
        // More than the longest head.
        let heads = 1024 * lines.lines;
        let most = match self.shape {
            Shape::Line => lines.bytes,
            Shape::Rfc5424 | Shape::Rfc3164 | Shape::Text => lines.bytes + heads,
            // A byte is escaped in six at most.
            Shape::Json => 6 * lines.bytes + heads,
        };
        usize::try_from(most).unwrap_or(usize::MAX)
    }
}

/// The shapes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// As it is.
    #[default]
    Line,
    /// As RFC 5424 has it.
    Rfc5424,
    /// As RFC 3164 has it.
    Rfc3164,
    /// A JSON object.
    Json,
    /// `time host app: message`.
    Text,
}

/// What a client needs for TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTlsPlan {
    /// The authorities that the peer's certificate may be of, PEM; `None` for the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its private key, PEM.
    pub own: Option<(PathBuf, PathBuf)>,
    /// The name that the peer's certificate must have; `None` for the host's.
    pub name: Option<String>,
}

/// A spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolPlan {
    /// Its folder.
    pub dir: PathBuf,
    /// The bytes it may hold on disk.
    pub max_size: u64,
    /// How old its lines may become.
    pub max_age: Option<Duration>,
    /// How long, or how much of, what every reader has passed is kept.
    pub keep: Option<SpoolKeep>,
    /// The bytes of a segment.
    pub segment: u64,
    /// When what was written is made durable.
    pub sync: Sync,
    /// What happens when it is full.
    pub when_full: SpoolFull,
    /// Whether closed segments are compressed with zstd.
    pub compress: bool,
    /// So many bytes of the disk are left free.
    pub reserve: u64,
    /// The bound of the queue before it, in bytes.
    pub queue: u64,
}

/// What a spool keeps of the segments that every reader has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolKeep {
    /// Those that were written within this time.
    Time(Duration),
    /// So many bytes of them.
    Size(u64),
}

/// When what was written to a spool is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// After so much time at most, and as soon as somebody waits for it.
    Every(Duration),
    /// As soon as the disk has done with what was before.
    Batch,
    /// When the system likes.
    Never,
}

/// What happens when a spool is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolFull {
    /// The oldest segment is dropped.
    DropOldest,
    /// New lines are dropped.
    DropNewest,
    /// The inputs behind it wait.
    Block,
}

/// An output to standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StdoutPlan {
    /// How lines are written.
    pub format: FormatPlan,
    /// The bound of the queue before it, in bytes.
    pub queue: u64,
}
