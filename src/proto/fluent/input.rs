//! Opening an input of the Fluent forward protocol.

use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};

use crate::ingress::acceptor::Bound;
use crate::ingress::listener::Keeper;
use crate::ingress::server::{Accept, Server};
use crate::ingress::{OpenError, Source};
use crate::input::Pieces;
use crate::proto::shared::record::As;
use crate::proto::shared::unix_socket;
use crate::proto::traits::Opening;
use crate::sources;

use super::auth::{Nonce, Secrets};
use super::config::{FluentInPlan, Place};
use super::heartbeat::Heartbeat;
use super::session::{Chunks, Session};

/// Opens it, with the sockets it is given; nothing is read yet.
///
/// # Errors
/// What cannot be opened, and why.
pub(super) fn open(
    plan: &FluentInPlan,
    opening: &mut Opening<'_>,
) -> Result<Vec<Box<dyn Source>>, OpenError> {
    let at = format!("input.{}: fluent = \"{}\"", opening.name, plan.place);
    let (listener, most) = (opening.listener(), plan.max_connections);
    let bound = match &plan.place {
        Place::Address(address) => Bound::open(&at, *address, plan.tls.as_ref(), most, listener)?,
        Place::Unix(unix) => {
            let listener = unix_socket::listen(opening.name, "fluent", unix, listener)?;
            let keeper = unix_socket::ListenerKeeper::new(opening.name, "fluent", unix);
            let keeper: Option<Box<dyn Keeper>> = Some(Box::new(keeper));
            Bound { listener, tls: None, max_connections: most, keeper }
        }
    };
    let accept = Fluent {
        form: plan.form,
        max_message: opening.max_line,
        secrets: plan.secrets.clone().map(Arc::new),
        chunks: Chunks::default(),
        random: SystemRandom::new(),
    };
    let server = Server::new(bound, accept).map_err(|error| OpenError::new(&at, error))?;
    let mut sources: Vec<Box<dyn Source>> = vec![Box::new(server)];
    if let Place::Address(address) = plan.place {
        let socket = opening.datagrams().pop();
        match Heartbeat::open(address, socket) {
            Ok(heartbeat) => sources.push(Box::new(heartbeat)),
            Err(error) => log::warn!(
                "{at}: UDP: {error}; clients that send heartbeats by UDP think that this host is \
                 gone (fluentd: heartbeat_type transport)"
            ),
        }
    }
    Ok(sources)
}

/// Takes clients.
struct Fluent {
    form: As,
    max_message: usize,
    secrets: Option<Arc<Secrets>>,
    chunks: Chunks,
    random: SystemRandom,
}

impl Fluent {
    /// What is made up for one client. Without the system's random bytes none can be known by its
    /// key, and there is no system without.
    fn nonce(&self) -> Nonce {
        let mut nonce = Nonce::default();
        if self.random.fill(&mut nonce).is_err() {
            nonce = fastrand::u128(..).to_be_bytes();
        }
        nonce
    }
}

impl Accept for Fluent {
    type Session = Session;

    const ACKNOWLEDGES: bool = true;

    fn gather(&self) -> Pieces {
        Pieces::default()
    }

    fn session(&self, peer: sources::Source, tls: bool) -> Session {
        let chunks = self.chunks.clone();
        let session = Session::new((peer, tls), self.form, self.max_message, chunks);
        match &self.secrets {
            Some(secrets) => session.with_secrets(Arc::clone(secrets), self.nonce(), self.nonce()),
            None => session,
        }
    }

    fn plain_hint(&self) -> &'static str {
        "a fluent input without tls"
    }
}
