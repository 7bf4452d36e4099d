//! Opening a RELP input.

use crate::ingress::acceptor::Bound;
use crate::ingress::server::{Accept, Server};
use crate::ingress::{OpenError, Source};
use crate::input::Pieces;
use crate::proto::traits::Opening;
use crate::sources;

use super::config::RelpInPlan;
use super::origins::Owners;
use super::server_session::ServerSession;

/// Opens the input with the sockets it is given; reads nothing yet.
///
/// # Errors
/// Which resource cannot be opened, and why.
pub(super) fn open(
    plan: &RelpInPlan,
    opening: &mut Opening<'_>,
) -> Result<Vec<Box<dyn Source>>, OpenError> {
    let at = format!("input.{}: relp = \"{}\"", opening.name, plan.address);
    let listener = opening.listener();
    let max = plan.max_connections;
    let bound = Bound::open(&at, plan.address, plan.tls.as_ref(), max, listener)?;
    let server = Server::new(
        bound,
        Relp { max_message: opening.max_line, owners: Owners::new(plan.origins.clone()) },
    );
    Ok(vec![Box::new(server.map_err(|error| OpenError::new(&at, error))?)])
}

/// Accepts RELP clients.
struct Relp {
    max_message: usize,
    owners: Owners,
}

impl Accept for Relp {
    type Session = ServerSession;

    const ACKNOWLEDGES: bool = true;

    fn gather(&self) -> Pieces {
        Pieces::default()
    }

    fn session(&self, peer: sources::Source, _: bool) -> ServerSession {
        ServerSession::new(peer, self.max_message, self.owners.clone())
    }

    fn plain_hint(&self) -> &'static str {
        "a relp input without tls"
    }
}
