//! `syslog = "URL"`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::ingress::{OpenError, Source};
use crate::input::messages::Escape;
use crate::limits;
use crate::proto::shared::datagrams::{self, UdpInPlan};
use crate::proto::shared::tls::{self, ServerTlsPlan};
use crate::proto::shared::unix_socket::{self, UnixInPlan};
use crate::proto::shared::{connections, lines};
use crate::proto::traits::{Claim, Input, Nature, Opening};
use crate::settings::key::{Choice, Form, Key, Value, words};
use crate::settings::{Entry, Report, Section, nearest};

/// A syslog input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogInPlan {
    /// How messages come.
    pub transport: TransportPlan,
    /// What becomes of control characters in them.
    pub escape: Escape,
}

/// How syslog messages come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportPlan {
    /// One in a datagram (RFC 5426).
    Udp(UdpInPlan),
    /// In connections (RFC 6587; RFC 5425 through TLS).
    Tcp(TcpInPlan),
    /// One in a datagram from a process of this host.
    Unix(UnixInPlan),
}

/// A syslog input with connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpInPlan {
    /// The address to bind.
    pub address: SocketAddr,
    /// Set where clients come through TLS.
    pub tls: Option<ServerTlsPlan>,
    /// The most connections at a time.
    pub max_connections: usize,
    /// A client that has sent nothing for so long is let go.
    pub idle_timeout: Option<Duration>,
    /// Whether NUL ends a message as a newline does.
    pub nul: bool,
}

const ESCAPES: [(&str, Escape); 3] =
    [("newline", Escape::Newline), ("control", Escape::Control), ("split", Escape::Split)];
const ESCAPE_WORDS: [&str; 3] = words(&ESCAPES);
const ESCAPE: Key = Key::or(
    "escape",
    Value::Words(&ESCAPE_WORDS),
    "\"newline\"",
    "What becomes of control characters in a message, so that it can never forge a second line.",
);

const IDLE_TIMEOUT: Key = Key::or_else(
    "idle_timeout",
    Value::Time(limits::IDLE_MIN),
    "never",
    "Clients idle for this long are disconnected.",
);

/// Whether NUL ends a message.
const DELIMITERS: [(&str, bool); 2] = [("newline", false), ("nul", true)];
const DELIMITER_WORDS: [&str; 2] = words(&DELIMITERS);
const DELIMITER: Key = Key::or(
    "delimiter",
    Value::Words(&DELIMITER_WORDS),
    "\"newline\"",
    "What ends a message without a count.",
);

impl Input for SyslogInPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "syslog",
            Value::Text("URL", "^(udp|tcp|tls|unix)://"),
            "Syslog messages, each of which is one line.",
        )),
        name: "syslog input",
        forms: &[
            Form {
                name: "syslog input over UDP",
                scheme: Some("udp"),
                keys: &[lines::MESSAGES, &[ESCAPE], datagrams::BUFFER, datagrams::KEYS],
            },
            Form {
                name: "syslog input over TCP",
                scheme: Some("tcp"),
                keys: &[lines::MESSAGES, &[ESCAPE, IDLE_TIMEOUT, DELIMITER], connections::KEYS],
            },
            Form {
                name: "syslog input through TLS",
                scheme: Some("tls"),
                keys: &[
                    lines::MESSAGES,
                    &[ESCAPE, IDLE_TIMEOUT, DELIMITER],
                    connections::KEYS,
                    tls::SERVER,
                ],
            },
            Form {
                name: "syslog input on a Unix socket",
                scheme: Some("unix"),
                keys: &[lines::MESSAGES, &[ESCAPE], unix_socket::KEYS, datagrams::BUFFER],
            },
        ],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let escape = match section.entry(&ESCAPE) {
            Some(entry) => entry.word(report, &ESCAPES),
            None => Some(Escape::Newline),
        };
        let transport = transport(section, entry, report);
        Some(Self { transport: transport?, escape: escape? })
    }

    fn claims(&self) -> Vec<Claim> {
        vec![match &self.transport {
            TransportPlan::Udp(udp) => udp.claim(),
            TransportPlan::Tcp(tcp) => Claim::Tcp(tcp.address),
            TransportPlan::Unix(unix) => Claim::UnixPath(unix.path.clone()),
        }]
    }

    fn nature(&self) -> Nature {
        match &self.transport {
            TransportPlan::Udp(_) => datagrams::NATURE,
            _ => Nature::new("syslog"),
        }
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        super::input::open(self, opening)
    }

    fn describe(&self) -> String {
        match &self.transport {
            TransportPlan::Udp(udp) => format!("syslog udp {}", udp.address),
            TransportPlan::Tcp(tcp) => {
                format!("syslog {} {}", if tcp.tls.is_some() { "tls" } else { "tcp" }, tcp.address)
            }
            TransportPlan::Unix(unix) => format!("syslog unix {}", unix.path.display()),
        }
    }

    fn tls(&self) -> Option<&ServerTlsPlan> {
        match &self.transport {
            TransportPlan::Tcp(tcp) => tcp.tls.as_ref(),
            _ => None,
        }
    }
}

fn transport(
    section: &Section<'_>,
    entry: &Entry<'_>,
    report: &mut Report<'_>,
) -> Option<TransportPlan> {
    let Some((scheme, rest)) = entry.text(report)?.split_once("://") else {
        let help = "write udp://0.0.0.0:514, tcp://0.0.0.0:514, tls://0.0.0.0:6514 or \
                    unix:///dev/log";
        entry.wrong_help(report, "the protocol is missing", help);
        return None;
    };
    match scheme {
        "udp" => {
            let address = address(entry, rest, report);
            datagrams::read(section, entry.key, address, report).map(TransportPlan::Udp)
        }
        "tcp" | "tls" => tcp(section, entry, (scheme, rest), report).map(TransportPlan::Tcp),
        "unix" => unix_socket::read(section, entry, rest, report).map(TransportPlan::Unix),
        _ => {
            let help = nearest(scheme, ["udp", "tcp", "tls", "unix"])
                .unwrap_or_else(|| "there are udp://, tcp://, tls:// and unix://".into());
            entry.wrong_help(report, format!("`{scheme}` is not a protocol known here"), help);
            None
        }
    }
}

fn address(entry: &Entry<'_>, text: &str, report: &mut Report<'_>) -> Option<SocketAddr> {
    let address = datagrams::parse_address(text.strip_suffix('/').unwrap_or(text));
    if address.is_none() {
        let help = match datagrams::zone(text) {
            Some(zone) => &*format!("there is no interface `{zone}` on this host"),
            None => "the address is a number, as in udp://0.0.0.0:514 or tcp://[::]:601",
        };
        entry.wrong_help(report, format!("`{text}` is not an address and a port"), help);
    }
    address
}

fn tcp(
    section: &Section<'_>,
    entry: &Entry<'_>,
    (scheme, rest): (&str, &str),
    report: &mut Report<'_>,
) -> Option<TcpInPlan> {
    let address = address(entry, rest, report);
    let tls = match (scheme, tls::server_entry(section)) {
        ("tls", Some(entry)) => Some(tls::server(entry, report)?),
        ("tls", None) => {
            let help = "as in tls = { cert = \"/etc/logweir/host.pem\", key = \
                        \"/etc/logweir/host.key\" }";
            entry.wrong_help(report, "tls:// needs `tls`", help);
            return None;
        }
        _ => None,
    };
    let idle_timeout = section.time(&IDLE_TIMEOUT, report);
    let nul = section.word(&DELIMITER, &DELIMITERS, report).unwrap_or(false);
    let max_connections = connections::read(section, report);
    Some(TcpInPlan { address: address?, tls, max_connections, idle_timeout, nul })
}
