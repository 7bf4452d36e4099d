//! What a protocol is to a link: a client's side of one connection, without its socket.
//!
//! A protocol that forwards lines implements this in its folder; `proto` has the list of them.

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

/// What a client offers to a peer that may be a logweir: the identity of the spool it sends from,
/// and the number of the next line.
pub type Offer = Option<(Identity, u64)>;

/// Makes the clients of an output, from what its configuration says of each protocol.
pub trait OpenClients: Any + Debug + Send + Sync {
    /// A client for a connection to a peer that is reached by this scheme; `None` if no protocol
    /// forwards by it.
    fn client(&self, scheme: Protocol, offer: Offer) -> Option<Box<dyn Client>>;

    /// Returns whether `other` is the same, by value.
    fn equals(&self, other: &dyn Any) -> bool;
}

/// What makes an output's clients; compared by value.
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

/// What a client heard from its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The session is open; lines may be sent. From a logweir: the last line of our spool that it
    /// has on disk.
    Opened(Option<Option<u64>>),
    /// The oldest line that was not answered yet was refused.
    Refused,
    /// The session was closed in good order.
    Closed,
}

/// One connection's worth of a protocol.
pub trait Client: Debug + Send {
    /// Takes in what the peer sent.
    ///
    /// # Errors
    /// Why this connection is of no more use.
    fn push(
        &mut self,
        bytes: &[u8],
        heard: &mut Vec<Heard>,
    ) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Whether lines may be sent. A protocol without an opening is open from the start.
    fn is_open(&self) -> bool;

    /// Whether another batch may be sent now.
    fn has_room(&self) -> bool;

    /// Sends lines.
    fn send(&mut self, batch: &Batch, formatter: &Formatter);

    /// What is to be written, oldest first.
    fn out(&self) -> &Out;

    /// So many bytes of it were written.
    fn wrote(&mut self, bytes: usize);

    /// Whether lines count as the peer's when its TCP has acknowledged them, for want of answers.
    fn counts_acknowledged_bytes(&self) -> bool {
        false
    }

    /// The peer's TCP has acknowledged the first `bytes` bytes of this connection.
    fn acknowledged(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// The lines that the peer has, with all before them, since the last time.
    fn take_done(&mut self) -> Count;

    /// Whether something waits for an answer.
    fn waits(&self) -> bool;

    /// Whether this connection can number no more lines and has to be replaced.
    fn is_exhausted(&self) -> bool {
        false
    }

    /// Ends the session; nothing may be sent after this. A protocol without a farewell is closed
    /// at once and returns true, another says [`Heard::Closed`] later.
    fn close(&mut self) -> bool;
}
