//! Opening a RELP input.

use std::net::SocketAddr;

use crate::config::plan::{RelpInPlan, ServerTlsPlan};
use crate::ingress::Source;
use crate::ingress::acceptor::Bound;
use crate::ingress::server::{Accept, Server};
use crate::input::Pieces;
use crate::proto::traits::{Claim, Nature, OpenError, OpenInput, Opening};

use super::session::ClientSession;

impl OpenInput for RelpInPlan {
    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Tcp(self.address)]
    }

    fn nature(&self) -> Nature {
        let label = format!("relp {}", self.address);
        Nature { acknowledged: true, can_wait: true, longest_line: None, label }
    }

    fn tls(&self) -> Option<&ServerTlsPlan> {
        self.tls.as_ref()
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        let at = format!("input.{}: relp = \"{}\"", opening.name, self.address);
        let listener = opening.listener();
        let most = self.max_connections;
        let bound = Bound::open(&at, self.address, self.tls.as_ref(), most, listener)?;
        let server = Server::new(bound, Relp { max_message: opening.max_line });
        Ok(vec![Box::new(server.map_err(|error| OpenError::new(&at, error))?)])
    }
}

/// Takes RELP clients.
struct Relp {
    max_message: usize,
}

impl Accept for Relp {
    type Session = ClientSession;

    const ACKNOWLEDGES: bool = true;

    fn gather(&self) -> Pieces {
        Pieces::default()
    }

    fn session(&self, peer: SocketAddr, _: bool) -> ClientSession {
        ClientSession::new(peer, self.max_message)
    }

    fn plain_hint(&self) -> &'static str {
        "a relp input without tls"
    }
}
