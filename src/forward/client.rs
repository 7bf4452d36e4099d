//! The interface of a protocol to a link: the client's side of one connection, without its socket.
//!
//! A protocol that forwards lines implements this in its folder; `proto` lists them.

use std::any::Any;
use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use super::out::Out;
use crate::batch::Batch;
use crate::format::Formatter;
use crate::ids::Identity;
use crate::ledger::Count;
use crate::url::Protocol;

/// A client's offer to a peer that may be a logweir: the identity of the spool it sends from, and
/// the number of the next line.
pub type Offer = Option<(Identity, u64)>;

/// Creates the clients of an output, from its configuration of each protocol.
pub trait OpenClients: Any + Debug + Send + Sync {
    /// Creates a client for a connection to a peer with this scheme; `None` if no protocol
    /// forwards by it.
    fn client(&self, scheme: Protocol, offer: Offer) -> Option<Box<dyn Client>>;

    /// Returns whether `other` is equal by value.
    fn equals(&self, other: &dyn Any) -> bool;
}

/// The factory of an output's clients; compared by value.
#[derive(Debug, Clone)]
pub struct Clients(pub Arc<dyn OpenClients>);

impl PartialEq for Clients {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(&*other.0)
    }
}

impl Eq for Clients {}

impl<C: OpenClients> From<C> for Clients {
    fn from(clients: C) -> Self {
        Self(Arc::new(clients))
    }
}

/// An event that a client received from its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The session is open; lines may be sent. From a logweir: the last line of our spool that it
    /// has on disk.
    Opened(Option<Option<u64>>),
    /// The peer refused the oldest unacknowledged line.
    Refused,
    /// The session was closed in an orderly way.
    Closed,
}

/// The client's side of one connection.
pub trait Client: Debug + Send {
    /// Processes bytes from the peer.
    ///
    /// # Errors
    /// Why this connection can no longer be used.
    fn push(
        &mut self,
        bytes: &[u8],
        heard: &mut Vec<Heard>,
    ) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Returns whether lines may be sent. A protocol without an opening is open from the start.
    fn is_open(&self) -> bool;

    /// Returns whether another batch may be sent now.
    fn has_room(&self) -> bool;

    /// Sends lines.
    fn send(&mut self, batch: &Batch, formatter: &Formatter);

    /// The bytes to write, oldest first.
    fn out(&self) -> &Out;

    /// Records that `bytes` of them were written.
    fn wrote(&mut self, bytes: usize);

    /// Returns whether lines count as delivered once the peer's TCP has acknowledged them, because
    /// the protocol has no acknowledgements.
    fn counts_acknowledged_bytes(&self) -> bool {
        false
    }

    /// Records that the peer's TCP has acknowledged the first `bytes` bytes of this connection.
    fn acknowledged(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// Takes the lines delivered since the last call; all lines before them are delivered too.
    fn take_done(&mut self) -> Count;

    /// Returns whether anything awaits an acknowledgement.
    fn waits(&self) -> bool;

    /// Returns whether this connection has run out of line numbers and must be replaced.
    fn is_exhausted(&self) -> bool {
        false
    }

    /// Ends the session; nothing may be sent afterwards. A protocol without a closing handshake
    /// closes at once and returns true; others report [`Heard::Closed`] later.
    fn close(&mut self) -> bool;
}
