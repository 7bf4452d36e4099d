//! What the tools send lines through: one client, however the lines travel.
//!
//! A client blocks, which a tool may and the loop must not. It is handed whole lines, and tells
//! how many of their bytes may not have arrived yet. [`connect`] has the one list of which client
//! a URL stands for.

mod answered;
mod datagrams;
pub mod file;
mod stop;
mod stream;
mod wire;

use std::io;

use crate::config::plan::ClientTlsPlan;
use crate::ids::Identity;
use crate::url::{Protocol, Url};

pub use stop::Stop;

/// Attempts to reach a peer at the start; with the waits between them some seven seconds.
pub const ATTEMPTS: u32 = 8;

/// The other end, as a tool sees it.
pub trait Client {
    /// The longest line it takes, with its newline; `None` where any goes.
    fn longest(&self) -> Option<usize> {
        None
    }

    /// Hands over lines, each ended by a newline, until all are gone or the time to stop is over;
    /// how many of their bytes went, all of whole lines where the connection lasts.
    fn send(&mut self, lines: &[u8], stop: &Stop) -> (usize, io::Result<()>);

    /// The same with the numbers that the lines have in their spool, from `first` on. A peer that
    /// knows origins is told them.
    fn send_numbered(&mut self, first: u64, lines: &[u8], stop: &Stop) -> (usize, io::Result<()>) {
        let _ = first;
        self.send(lines, stop)
    }

    /// Whether the peer is told the numbers of lines.
    fn tells_numbers(&self) -> bool {
        false
    }

    /// How many of the last bytes handed over may not have arrived. Where nobody can tell, 0.
    fn unacknowledged(&mut self) -> u64;

    /// Waits until all has arrived, and ends the connection.
    ///
    /// # Errors
    /// How the connection broke.
    fn settle(&mut self, stop: &Stop) -> io::Result<()>;

    /// How often the network refused something for the moment, which was then sent again.
    fn errors(&self) -> u64 {
        0
    }

    /// What else there is to say: empty, or phrases that each begin with a comma.
    fn notes(&self) -> String {
        String::new()
    }
}

/// How lines are put into datagrams, where they travel in such.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Packing {
    /// A line each.
    #[default]
    Line,
    /// Lines of one size, several in each.
    Fixed {
        /// Bytes of a full datagram.
        datagram: usize,
        /// Bytes that are handed to the kernel at a time for it to cut up (GSO); as many as a
        /// datagram has where it is not to.
        message: usize,
    },
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often it is tried.
    pub attempts: u32,
    /// How lines are put into datagrams.
    pub packing: Packing,
    /// Whom to believe, and who we are.
    pub tls: ClientTlsPlan,
    /// The origin that lines are said to be of, if they have numbers.
    pub origin: Option<Identity>,
}

impl Default for Options {
    fn default() -> Self {
        let tls = ClientTlsPlan::default();
        Self { attempts: ATTEMPTS, packing: Packing::Line, tls, origin: None }
    }
}

/// Connects to a peer.
///
/// # Errors
/// The resolver's, the system's, TLS', or the peer's refusal.
pub fn connect(to: &Url, options: &Options, stop: &Stop) -> io::Result<Box<dyn Client>> {
    Ok(match to.protocol {
        Protocol::Udp => Box::new(datagrams::Datagrams::connect(to, options.packing)?),
        Protocol::Tcp | Protocol::Tls => Box::new(stream::Stream::connect(to, options, stop)?),
        // All others acknowledge lines.
        _ => Box::new(answered::Answered::connect(to, options, stop)?),
    })
}
