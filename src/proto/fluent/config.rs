//! `fluent = "ADDRESS"` or `"unix://PATH"`.

use std::fmt;
use std::net::SocketAddr;

use super::auth::Secrets;
use crate::host;
use crate::ingress::{OpenError, Source};
use crate::proto::shared::record::{self, As};
use crate::proto::shared::tls::{self, ServerTlsPlan};
use crate::proto::shared::unix_socket::{self, UnixInPlan};
use crate::proto::shared::{connections, datagrams, lines};
use crate::proto::traits::{Claim, Input, Nature, Opening};
use crate::settings::key::{Choice, Form, Key, Value};
use crate::settings::{Entry, Report, Section};
use crate::url::Protocol;

/// What a peer is reached by.
pub const SCHEMES: &[Protocol] = &[Protocol::Fluent, Protocol::FluentTls];

/// An input of the Fluent forward protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FluentInPlan {
    /// Where clients connect.
    pub place: Place,
    /// Set where clients come through TLS.
    pub tls: Option<ServerTlsPlan>,
    /// What clients must know.
    pub secrets: Option<Secrets>,
    /// How records are written.
    pub form: As,
    /// The most connections at a time.
    pub max_connections: usize,
}

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An address; heartbeats by UDP are answered there too.
    Address(SocketAddr),
    /// A Unix socket.
    Unix(UnixInPlan),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Unix(unix) => write!(f, "unix://{}", unix.path.display()),
        }
    }
}

const SHARED_KEY: Key = Key::new(
    "shared_key",
    Value::Text("Text", r"\S"),
    "Clients must show this key (fluentd: shared_key in <security>).",
);

const USERS: Key = Key::new(
    "users",
    Value::Texts("NAME:PASSWORD", r"^[^:]+:.+$"),
    "Clients must also show one of these names, with its password.",
);

const SERVER_NAME: Key = Key::or_else(
    "server_name",
    Value::Text("Host name", r"\S"),
    "this host's name",
    "The name shown to clients that have shown the key; a client refuses its own.",
);

const SECURITY: &[Key] = &[SHARED_KEY, USERS, SERVER_NAME];

impl Input for FluentInPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "fluent",
            Value::Text(
                "IP address and port, or unix:// and a path",
                r"^(unix:///\S+|\S+:[0-9]+)$",
            ),
            "Where clients of the Fluent forward protocol connect: fluentd, Fluent Bit, Docker. A \
             chunk is answered when its lines are on disk in every spool that they come to.",
        )),
        name: "Fluent forward input",
        forms: &[
            Form {
                name: "Fluent forward input on a Unix socket",
                scheme: Some("unix"),
                keys: &[
                    lines::MESSAGES,
                    record::KEYS,
                    unix_socket::KEYS,
                    connections::KEYS,
                    SECURITY,
                ],
            },
            Form {
                name: "Fluent forward input",
                scheme: None,
                keys: &[lines::MESSAGES, record::KEYS, connections::KEYS, tls::SERVER, SECURITY],
            },
        ],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let path = entry.as_str().and_then(|text| text.strip_prefix("unix://"));
        let place = match path {
            Some(path) => unix_socket::read(section, entry, path, report).map(Place::Unix),
            None => datagrams::address(entry, report).map(Place::Address),
        };
        let tls = match tls::server_entry(section) {
            Some(entry) if path.is_none() => Some(tls::server(entry, report)?),
            _ => None,
        };
        let max_connections = connections::read(section, report);
        let form = record::read(section, report);
        let secrets = secrets(section, report)?;
        Some(Self { place: place?, tls, secrets, form, max_connections })
    }

    fn claims(&self) -> Vec<Claim> {
        match &self.place {
            Place::Address(address) => vec![
                Claim::Tcp(*address),
                Claim::Udp { address: *address, multicast: None, interface: None },
            ],
            Place::Unix(unix) => vec![Claim::UnixListener(unix.path.clone())],
        }
    }

    fn nature(&self) -> Nature {
        Nature { acknowledged: true, ..Nature::new("Fluent forward") }
    }

    fn describe(&self) -> String {
        format!("fluent{} {}", if self.tls.is_some() { "+tls" } else { "" }, self.place)
    }

    fn tls(&self) -> Option<&ServerTlsPlan> {
        self.tls.as_ref()
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        super::input::open(self, opening)
    }
}

/// What clients must know; `None` where it is wrong.
fn secrets(section: &Section<'_>, report: &mut Report<'_>) -> Option<Option<Secrets>> {
    let Some(entry) = section.entry(&SHARED_KEY) else {
        for key in [&USERS, &SERVER_NAME] {
            if let Some(entry) = section.entry(key) {
                entry.misplaced(report, "needs `shared_key`: users are shown only with it");
                return None;
            }
        }
        return Some(None);
    };
    let shared_key = entry.text(report)?.to_string();
    let mut users = Vec::new();
    if let Some(entry) = section.entry(&USERS) {
        for user in entry.names(report)? {
            let Some((name, password)) = user.get_ref().split_once(':') else {
                entry.wrong_help(report, "is no user", "as in \"web:secret\"");
                return None;
            };
            users.push((name.to_string(), password.to_string()));
        }
    }
    let name = match section.entry(&SERVER_NAME) {
        Some(entry) => entry.text(report)?.to_string(),
        None => host::name().to_string(),
    };
    Some(Some(Secrets { shared_key, users, name }))
}
