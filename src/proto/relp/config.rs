//! `relp = "ADDRESS"`, and the schemes of its client.

use std::net::SocketAddr;

use crate::ingress::{OpenError, Source};
use crate::proto::shared::tls::{self, ServerTlsPlan};
use crate::proto::shared::{connections, datagrams, lines};
use crate::proto::traits::{Claim, Input, Nature, Opening};
use crate::settings::key::{ADDRESS, Choice, Form, Key};
use crate::settings::{Entry, Report, Section};
use crate::url::Protocol;

/// What a client is reached by.
pub const SCHEMES: &[Protocol] = &[Protocol::Relp, Protocol::RelpTls];

/// A RELP input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelpInPlan {
    /// The address to bind.
    pub address: SocketAddr,
    /// Set where clients come through TLS.
    pub tls: Option<ServerTlsPlan>,
    /// The most connections at a time.
    pub max_connections: usize,
}

impl Input for RelpInPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "relp",
            ADDRESS,
            "Where RELP clients connect; a client is answered when its lines are on disk in \
             every spool that they come to.",
        )),
        name: "RELP input",
        forms: &[Form {
            name: "RELP input",
            scheme: None,
            keys: &[lines::MESSAGES, connections::KEYS, tls::SERVER],
        }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let address = datagrams::address(entry, report);
        let tls = match tls::server_entry(section) {
            Some(entry) => Some(tls::server(entry, report)?),
            None => None,
        };
        let max_connections = connections::read(section, report);
        Some(Self { address: address?, tls, max_connections })
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Tcp(self.address)]
    }

    fn nature(&self) -> Nature {
        Nature { acknowledged: true, ..Nature::new("RELP") }
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        super::input::open(self, opening)
    }

    fn describe(&self) -> String {
        format!("relp{} {}", if self.tls.is_some() { "+tls" } else { "" }, self.address)
    }

    fn tls(&self) -> Option<&ServerTlsPlan> {
        self.tls.as_ref()
    }
}
