//! A syslog client's connection: frames in, messages out. Nothing is ever answered.

use std::fmt;

use crate::ingress::server;
use crate::input::Gather;
use crate::input::messages::Messages;
use crate::parse::framing::{Frame, Framer, TooLarge};
use crate::parse::is_tls_hello;
use crate::sources::Source;

/// One client.
pub struct Session {
    framer: Framer,
    source: Option<Source>,
    /// True until the first bytes are checked for a client that speaks TLS to an input without
    /// TLS.
    may_be_tls: bool,
    /// A wrong octet count that the framer recovered from.
    slip: Option<String>,
    /// Always empty.
    out: Vec<u8>,
}

/// A protocol error of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It speaks TLS to an input without TLS.
    Tls,
    /// Its octet count is larger than any real message.
    Count(TooLarge),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls => f.write_str(
                "speaks TLS, which this input does not: write tls:// for it, or have the sender \
                 speak plain TCP",
            ),
            Self::Count(fault) => fault.fmt(f),
        }
    }
}

impl Session {
    /// Creates a session for messages of up to `max_message` bytes; with `nul`, NUL also ends a
    /// message.
    pub fn new(peer: Source, tls: bool, max_message: usize, nul: bool) -> Self {
        let (framer, source) = (Framer::new(max_message, nul), Some(peer));
        Self { framer, source, may_be_tls: !tls, slip: None, out: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8], messages: &mut Messages) -> Result<(), Fault> {
        if std::mem::take(&mut self.may_be_tls) && is_tls_hello(bytes) {
            return Err(Fault::Tls);
        }
        let source = self.source;
        let mut message = |frame: Frame<'_>| messages.whole(frame.bytes, frame.cut, source);
        self.framer.push(bytes, &mut message).map_err(Fault::Count)
    }
}

impl server::Session for Session {
    type Gather = Messages;
    type Fault = Fault;

    fn push(&mut self, bytes: &[u8], messages: &mut Messages) -> Result<(), Fault> {
        let done = self.take(bytes, messages);
        let (slips, slip) = self.framer.take_slips();
        messages.counts().malformed += u64::from(done.is_err()) + slips;
        self.slip = slip.map(|slip| slip.to_string());
        done
    }

    fn take_slip(&mut self) -> Option<String> {
        self.slip.take()
    }

    fn finish(&mut self, messages: &mut Messages) {
        let source = self.source;
        self.framer.end(&mut |frame: Frame<'_>| messages.whole(frame.bytes, frame.cut, source));
    }

    fn held(&self) -> usize {
        self.framer.held()
    }

    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }
}
