//! `relp = "ADDRESS"`, and the URL schemes of its client.

use std::net::SocketAddr;

use crate::ingress::{OpenError, Source};
use crate::proto::shared::tls::{self, ServerTlsPlan};
use crate::proto::shared::{connections, datagrams, lines};
use crate::proto::traits::{Claim, Input, Nature, Opening};
use crate::settings::key::{ADDRESS, Choice, Form, Key, Value};
use crate::settings::{Entry, Report, Section};
use crate::url::Protocol;

use super::origins::{Origins, Permitted};

/// The URL schemes of the client.
pub const SCHEMES: &[Protocol] = &[Protocol::Relp, Protocol::RelpTls];

/// A RELP input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelpInPlan {
    /// The address to bind.
    pub address: SocketAddr,
    /// Set if clients use TLS.
    pub tls: Option<ServerTlsPlan>,
    /// The maximum number of connections.
    pub max_connections: usize,
    /// Whose offers of an identity are trusted.
    pub origins: Origins,
}

const ORIGIN_WORDS: [(&str, Origins); 3] =
    [("first", Origins::First), ("any", Origins::Any), ("none", Origins::None)];

const ORIGINS: Key = Key::or(
    "origins",
    Value::Either(&[
        Value::Words(&["first", "any", "none"]),
        Value::Texts("Address, network or name in a client's certificate", r"\S"),
    ]),
    "\"first\"",
    "Which logweirs are told their last line stored here, so that each line arrives exactly once.",
);

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
            keys: &[lines::MESSAGES, connections::KEYS, tls::SERVER, &[ORIGINS]],
        }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let address = datagrams::address(entry, report);
        let tls = match tls::server_entry(section) {
            Some(entry) => Some(tls::server(entry, report)?),
            None => None,
        };
        let max_connections = connections::read(section, report);
        let origins = match section.entry(&ORIGINS) {
            Some(entry) => origins(entry, tls.as_ref(), report)?,
            None => Origins::First,
        };
        Some(Self { address: address?, tls, max_connections, origins })
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

fn origins(
    entry: &Entry<'_>,
    tls: Option<&ServerTlsPlan>,
    report: &mut Report<'_>,
) -> Option<Origins> {
    let texts = entry.names(report)?;
    if let [only] = texts.as_slice() {
        let word = ORIGIN_WORDS.into_iter().find(|(word, _)| word == only.get_ref());
        if let Some((_, origins)) = word {
            return Some(origins);
        }
    }
    let mut permitted = Vec::new();
    for text in texts {
        let Some(one) = Permitted::read(text.get_ref()) else {
            let help = "as in \"192.0.2.7\", \"192.0.2.0/24\" or \"web1.example.org\"";
            let message = format!("`{}` is no address, network or name", text.get_ref());
            entry.wrong_help(report, message, help);
            return None;
        };
        let shows = tls.is_some_and(|tls| tls.client_ca.is_some());
        if matches!(one, Permitted::Name(_)) && !shows {
            let message = format!("`{}` is the name of a certificate", text.get_ref());
            let help = "clients show one where `tls` has a `client_ca`; otherwise list addresses";
            entry.wrong_help(report, message, help);
            return None;
        }
        permitted.push(one);
    }
    Some(Origins::Listed(permitted))
}
