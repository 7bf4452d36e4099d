//! The two programs of a chain, and where one run of them happens.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::door::{Door, free_tcp_port, free_udp_port};

/// What stands at an end of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Logweir,
    Rsyslog,
}

/// A sender that spools, and the receiver it forwards to over RELP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) sender: Peer,
    pub(crate) receiver: Peer,
}

impl Chain {
    /// Whether its name has one of the words, where there are any.
    pub(crate) fn wanted(self, only: &[String]) -> bool {
        only.is_empty() || only.iter().any(|part| self.to_string().contains(part.as_str()))
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.sender, self.receiver)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logweir => "logweir",
            Self::Rsyslog => "rsyslog",
        })
    }
}

/// How lines come to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// In a stream that can be made to wait: a named pipe for logweir, TCP for rsyslog.
    Stream,
    /// One a UDP datagram.
    Datagrams,
}

/// Where one run happens.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) sender_dir: PathBuf,
    pub(crate) receiver_dir: PathBuf,
    fifo: PathBuf,
    pub(crate) way: Way,
    feed_port: u16,
    pub(crate) relp_port: u16,
    /// Large enough to keep a whole run in one segment, or the usual size.
    pub(crate) segment: &'static str,
}

impl Place {
    /// Two folders below `dir`, and free ports.
    pub(crate) fn new(dir: &Path, way: Way, segment: &'static str) -> Result<Self> {
        let (sender_dir, receiver_dir) = (dir.join("sender"), dir.join("receiver"));
        fs::create_dir(&sender_dir)?;
        fs::create_dir(&receiver_dir)?;
        let feed_port = match way {
            Way::Stream => free_tcp_port()?,
            Way::Datagrams => free_udp_port()?,
        };
        let fifo = sender_dir.join("fifo");
        let relp_port = free_tcp_port()?;
        Ok(Self { sender_dir, receiver_dir, fifo, way, feed_port, relp_port, segment })
    }

    /// The sender's way in.
    pub(crate) fn door(&self, sender: Peer) -> Door<'_> {
        match (self.way, sender) {
            (Way::Stream, Peer::Logweir) => Door::Fifo(&self.fifo),
            (Way::Stream, Peer::Rsyslog) => Door::Tcp(self.feed_port),
            (Way::Datagrams, _) => Door::Udp(self.feed_port),
        }
    }

    /// logweir's spool at the sender.
    pub(crate) fn spool(&self) -> PathBuf {
        self.sender_dir.join("spool")
    }

    /// The file whose lines are counted.
    pub(crate) fn output(&self) -> PathBuf {
        self.receiver_dir.join("out.log")
    }
}
