//! Opening a syslog input.

use std::time::Duration;

use crate::ingress::acceptor::Bound;
use crate::ingress::datagrams::{DatagramSocket, Datagrams};
use crate::ingress::server::{Accept, Server};
use crate::ingress::{OpenError, Source};
use crate::input::messages::{Escape, Messages};
use crate::limits::DATAGRAM_MAX;
use crate::proto::shared::udp_socket;
use crate::proto::shared::unix_socket::{self as unix, PathKeeper};
use crate::proto::traits::Opening;
use crate::sources;

use super::config::{SyslogInPlan, TcpInPlan, TransportPlan};
use super::session::Session;

/// Bytes of a datagram behind its message: a newline, NUL and what else some senders end it with.
const ENDS: usize = 16;

/// Opens it, with the sockets it is given; nothing is read yet.
///
/// # Errors
/// What cannot be opened, and why.
pub(super) fn open(
    plan: &SyslogInPlan,
    opening: &mut Opening<'_>,
) -> Result<Vec<Box<dyn Source>>, OpenError> {
    let (max_message, escape) = (opening.max_line, plan.escape);
    let sockets = match &plan.transport {
        TransportPlan::Udp(udp) => udp_socket::open("syslog = \"udp://", udp, opening)?,
        TransportPlan::Unix(unix) => match opening.datagrams().first() {
            Some(socket) => vec![unix::keep(opening.name, unix, socket)?],
            None => vec![unix::open(opening.name, unix)?],
        },
        TransportPlan::Tcp(tcp) => {
            let server = Syslog { max_message, escape, tcp: tcp.clone() };
            return Ok(vec![server.listen(opening)?]);
        }
    };
    // A datagram of a Unix socket may be larger than any of UDP.
    let room = match &plan.transport {
        TransportPlan::Unix(_) => max_message + ENDS,
        _ => DATAGRAM_MAX,
    };
    let name = opening.name;
    let receiver = |socket: DatagramSocket| -> Box<dyn Source> {
        let keeper = match &plan.transport {
            TransportPlan::Udp(udp) => udp_socket::keeper(udp, &socket.socket),
            TransportPlan::Unix(unix) => Some(Box::new(PathKeeper::new(name, unix)) as _),
            TransportPlan::Tcp(_) => None,
        };
        let intake = Messages::new(max_message, escape);
        let receiver = Datagrams::new(socket, intake).with_sources().with_room(room);
        Box::new(receiver.with_keeper(keeper))
    };
    Ok(sockets.into_iter().map(receiver).collect())
}

fn scheme(tcp: &TcpInPlan) -> &'static str {
    if tcp.tls.is_some() { "tls" } else { "tcp" }
}

/// Takes syslog clients (RFC 6587; RFC 5425 through TLS).
struct Syslog {
    max_message: usize,
    escape: Escape,
    tcp: TcpInPlan,
}

impl Syslog {
    fn listen(self, opening: &mut Opening<'_>) -> Result<Box<dyn Source>, OpenError> {
        let (scheme, address) = (scheme(&self.tcp), self.tcp.address);
        let at = format!("input.{}: syslog = \"{scheme}://{address}\"", opening.name);
        let listener = opening.listener();
        let (tls, most) = (self.tcp.tls.as_ref(), self.tcp.max_connections);
        let bound = Bound::open(&at, address, tls, most, listener)?;
        let server = Server::new(bound, self).map_err(|error| OpenError::new(&at, error))?;
        Ok(Box::new(server))
    }
}

impl Accept for Syslog {
    type Session = Session;

    const ACKNOWLEDGES: bool = false;

    fn gather(&self) -> Messages {
        Messages::new(self.max_message, self.escape)
    }

    fn session(&self, peer: sources::Source, tls: bool) -> Session {
        Session::new(peer, tls, self.max_message, self.tcp.nul)
    }

    fn idle_timeout(&self) -> Option<Duration> {
        self.tcp.idle_timeout
    }

    fn plain_hint(&self) -> &'static str {
        "a tcp:// input"
    }
}
