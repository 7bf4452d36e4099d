//! What an input with connections tells its server: which sessions there are, and what is spoken on
//! one connection, without its socket.

use std::fmt::Display;
use std::time::Duration;

use super::inbox::LastLines;
use crate::ids::Identity;
use crate::input::Gather;
use crate::sources::Source as Peer;

/// What an input with connections is.
pub trait Accept: Send + 'static {
    /// What is spoken on a connection.
    type Session: Session;

    /// Whether clients wait for acknowledgements.
    const ACKNOWLEDGES: bool;

    /// What the lines of all clients are gathered in.
    fn gather(&self) -> <Self::Session as Session>::Gather;

    /// The session of a new client; `tls` says whether it comes through TLS.
    fn session(&self, peer: Peer, tls: bool) -> Self::Session;

    /// Clients that have sent nothing for this long are disconnected.
    fn idle_timeout(&self) -> Option<Duration> {
        None
    }

    /// What the sender of plain text needs that came to an input with TLS.
    fn plain_hint(&self) -> &'static str;
}

/// How far a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The client has to open it first, within a bounded time.
    New,
    /// The client waits for the last lines of these origins, and is not read from until
    /// [`Session::resume`].
    Querying(Vec<Identity>),
    /// Lines may come.
    Open,
    /// The connection is to be closed when all is written.
    Over,
}

/// One client's conversation, without its socket: bytes in, lines and acknowledgements out.
pub trait Session {
    /// What its lines are gathered in.
    type Gather: Gather + Send;
    /// What a client can do wrong.
    type Fault: Display;

    /// Takes in what the client sent.
    ///
    /// # Errors
    /// What the client did wrong, which is counted; it is disconnected once [`Self::out`] is
    /// written. What came before is gathered.
    fn push(&mut self, bytes: &[u8], gather: &mut Self::Gather) -> Result<(), Self::Fault>;

    /// The client has shown this certificate (DER), which was verified. Before anything else.
    fn authenticated(&mut self, _certificate: &[u8]) {}

    /// Whether the loop takes nothing more now, so that what is sent to it waits. Told before each
    /// [`Self::push`], for a protocol that can have its client come back later.
    fn set_held_back(&mut self, _is: bool) {}

    /// What the client did wrong since the last time that costs it a message and not its
    /// connection; it is counted already.
    fn take_slip(&mut self) -> Option<String> {
        None
    }

    /// The connection has ended: gathers what is left of a last message.
    fn finish(&mut self, _gather: &mut Self::Gather) {}

    /// How far it is.
    fn state(&self) -> State {
        State::Open
    }

    /// Bytes held of messages that are not whole.
    fn held(&self) -> usize;

    /// What is to be written to the client next; what was written is to be drained. Empty once
    /// nothing is left to be written.
    fn out(&mut self) -> &mut Vec<u8>;

    /// About how many bytes are to be written to the client altogether; not all of them need to
    /// be in memory.
    fn owed(&mut self) -> usize {
        self.out().len()
    }

    /// Whether a barrier is wanted behind what was gathered.
    fn wants_barrier(&self) -> bool {
        false
    }

    /// All that was gathered so far was sent, and then this barrier.
    fn sent(&mut self, _barrier: u64) {}

    /// All that was sent before this barrier is on disk.
    fn completed(&mut self, _barrier: u64) {}

    /// Whether lines were sent that are not acknowledged.
    fn waits(&self) -> bool {
        false
    }

    /// The origins that the client sends the lines of. A new connection that queries one of them
    /// ends the older ones.
    fn origins(&self) -> Vec<Identity> {
        Vec::new()
    }

    /// Answers the query of [`State::Querying`].
    fn resume(&mut self, _lasts: &LastLines) {}

    /// Says that the server goes.
    fn part(&mut self) {}
}
