//! Opening an input of Scribe and Flume.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::ingress::acceptor::Bound;
use crate::ingress::server::{Accept, Server};
use crate::ingress::{OpenError, Source};
use crate::input::Pieces;
use crate::proto::shared::record::As;
use crate::proto::traits::Opening;
use crate::sources;

use super::config::ThriftInPlan;
use super::session::Session;

/// Opens it, with the sockets it is given; nothing is read yet.
///
/// # Errors
/// What cannot be opened, and why.
pub(super) fn open(
    plan: &ThriftInPlan,
    opening: &mut Opening<'_>,
) -> Result<Vec<Box<dyn Source>>, OpenError> {
    let at = format!("input.{}: thrift = \"{}\"", opening.name, plan.address);
    let listener = opening.listener();
    let bound = Bound::open(&at, plan.address, None, plan.max_connections, listener)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let accept = Thrift { form: plan.form, max_message: opening.max_line, since };
    let server = Server::new(bound, accept).map_err(|error| OpenError::new(&at, error))?;
    Ok(vec![Box::new(server)])
}

/// Takes clients.
struct Thrift {
    form: As,
    max_message: usize,
    since: u64,
}

impl Accept for Thrift {
    type Session = Session;

    const ACKNOWLEDGES: bool = true;

    fn gather(&self) -> Pieces {
        Pieces::default()
    }

    fn session(&self, peer: sources::Source, _: bool) -> Session {
        Session::new(peer, self.form, self.max_message, self.since)
    }

    fn plain_hint(&self) -> &'static str {
        "another port"
    }
}
