//! The destination of lines: `relp://host:port` and the like.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use crate::limits::ADDRESSES_MAX;

/// The protocol that carries the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// In datagrams.
    Udp,
    /// In a stream: each terminated by a newline (`logweir send`) or preceded by its length
    /// (`forward`).
    Tcp,
    /// The same through TLS.
    Tls,
    /// As RELP messages, which are acknowledged.
    Relp,
    /// The same through TLS.
    RelpTls,
    /// As calls of Scribe, which are answered.
    Scribe,
    /// As chunks of Fluent forward, which are answered.
    Fluent,
    /// The same through TLS.
    FluentTls,
}

/// Every protocol, with the word before `://`.
const PROTOCOLS: [(Protocol, &str); 8] = [
    (Protocol::Udp, "udp"),
    (Protocol::Tcp, "tcp"),
    (Protocol::Tls, "tls"),
    (Protocol::Relp, "relp"),
    (Protocol::RelpTls, "relp+tls"),
    (Protocol::Fluent, "fluent"),
    (Protocol::FluentTls, "fluent+tls"),
    (Protocol::Scribe, "scribe"),
];

impl Protocol {
    /// The word before `://`.
    pub fn word(self) -> &'static str {
        PROTOCOLS.iter().find(|(protocol, _)| *protocol == self).map_or("", |(_, word)| word)
    }

    /// Returns whether it uses TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::RelpTls | Self::FluentTls)
    }
}

/// The destination of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// The protocol.
    pub protocol: Protocol,
    /// A name or an address; an IPv6 address is without its brackets.
    pub host: String,
    /// The port; 0 where the host is the name of a service, whose hosts and ports DNS knows.
    pub port: u16,
}

impl Url {
    /// Parses a URL with one of these protocols.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn parse(text: &str, allowed: &[Protocol]) -> Result<Self, String> {
        let forms = format!("write {}", forms(allowed));
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("the protocol is missing: {forms}"));
        };
        let protocol = allowed.iter().copied().find(|protocol| protocol.word() == scheme);
        let Some(protocol) = protocol else {
            return Err(format!("`{scheme}` is not a protocol known here: {forms}"));
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split_port(scheme, rest)?;
        if host.is_empty() || host.contains(is_no_host) {
            return Err(format!("`{host}` is not a host: {forms}"));
        }
        let port = match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(format!("`{port}` is not a port: write a number from 1 to 65535")),
        };
        Ok(Self { protocol, host: host.to_string(), port })
    }

    /// Parses the URL of a peer or of a service: a host that begins with `_` and has no port.
    /// Whether DNS can have such a service is for the caller to check.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn parse_peer(text: &str, allowed: &[Protocol]) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let name = rest.strip_suffix('/').unwrap_or(rest);
        let protocol = allowed.iter().copied().find(|protocol| protocol.word() == scheme);
        let is_service = name.starts_with('_') && !name.contains(|c| is_no_host(c) || c == ':');
        match protocol.filter(|_| is_service) {
            Some(protocol) => Ok(Self { protocol, host: name.to_string(), port: 0 }),
            None => Self::parse(text, allowed),
        }
    }

    /// Returns whether it names a service, whose hosts and ports DNS knows.
    pub fn is_service(&self) -> bool {
        self.port == 0
    }
}

/// Returns whether no host has this character.
fn is_no_host(c: char) -> bool {
    "/@[]".contains(c) || c.is_whitespace()
}

/// The protocols without acknowledgements and TLS, by which a load can be sent.
const UNANSWERED: [Protocol; 2] = [Protocol::Udp, Protocol::Tcp];
/// The protocols by which a tool can send lines.
const SENDABLE: [Protocol; 5] =
    [Protocol::Udp, Protocol::Tcp, Protocol::Tls, Protocol::Relp, Protocol::RelpTls];

/// The forms of URLs with these protocols.
fn forms(protocols: &[Protocol]) -> String {
    let forms = protocols.iter().map(|protocol| format!("{}://host:port", protocol.word()));
    forms.collect::<Vec<_>>().join(" or ")
}

impl Url {
    /// Parses the URL of a peer without acknowledgements and TLS.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn unanswered(text: &str) -> Result<Self, String> {
        Self::parse(text, &UNANSWERED)
    }

    /// The forms of such URLs.
    pub fn unanswered_forms() -> String {
        forms(&UNANSWERED)
    }

    /// Parses the URL of a peer to which a spool can be forwarded.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn to_forward(text: &str) -> Result<Self, String> {
        let forwards = |protocol: &Protocol| *protocol != Protocol::Udp;
        let allowed: Vec<_> = SENDABLE.into_iter().filter(forwards).collect();
        Self::parse(text, &allowed)
    }

    /// The forms of the URLs that [`Self::from_str`] accepts.
    pub fn forms() -> String {
        forms(&SENDABLE)
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text, &SENDABLE)
    }
}

fn split_port<'a>(scheme: &str, rest: &'a str) -> Result<(&'a str, &'a str), String> {
    let missing = || format!("the port is missing: write {scheme}://{rest}:8420, for instance");
    if let Some(inside) = rest.strip_prefix('[') {
        let Some((host, port)) = inside.split_once(']') else {
            return Err("the closing bracket is missing: write [::1]:port".to_string());
        };
        let port = port.strip_prefix(':').ok_or_else(missing)?;
        return Ok((host, port));
    }
    let (host, port) = rest.rsplit_once(':').ok_or_else(missing)?;
    if host.contains(':') {
        return Err(format!("an IPv6 address goes in brackets: write {scheme}://[{host}]:{port}"));
    }
    Ok((host, port))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.protocol.word();
        if self.is_service() {
            write!(f, "{scheme}://{}", self.host)
        } else if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl Url {
    /// Resolves the host to its addresses, at least one.
    ///
    /// # Errors
    /// The resolver's.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        resolve(&self.host, self.port).map_err(io::Error::other)
    }
}

/// Resolves a host to its addresses, in the order in which to try them (RFC 6724), at least one and
/// at most [`ADDRESSES_MAX`]. Takes as long as the resolver takes.
///
/// # Errors
/// The resolver's.
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) && addresses.len() < ADDRESSES_MAX {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Err("the name has no address".into()),
        false => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_understood_is_shown_the_same() {
        for text in ["udp://localhost:8420", "tcp://[::1]:514", "udp://192.0.2.1:65535"] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), text);
        }
        assert_eq!("udp://[::1]:1/".parse::<Url>().unwrap().host, "::1");
    }

    #[test]
    fn a_service_has_no_port() {
        let allowed = [Protocol::Relp, Protocol::RelpTls];
        for text in ["relp://_relp._tcp.example.org", "relp+tls://_relp.example.org."] {
            let url = Url::parse_peer(text, &allowed).unwrap();
            assert!(url.is_service());
            assert_eq!(url.to_string(), text);
        }
        // With a port it is a host like any other.
        let url = Url::parse_peer("relp://_relp:2514", &allowed).unwrap();
        assert_eq!((url.host.as_str(), url.port, url.is_service()), ("_relp", 2514, false));
        for (text, message) in [
            ("relp://relp.example.org", "the port is missing"),
            ("relp://_relp.example.org//", "the port is missing"),
            ("tcp://_relp._tcp.example.org", "`tcp` is not a protocol known here"),
        ] {
            let error = Url::parse_peer(text, &allowed).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
        // A tool sends to one host.
        let error = "relp://_relp._tcp.example.org".parse::<Url>().unwrap_err();
        assert!(error.contains("the port is missing"), "{error}");
    }

    #[test]
    fn an_error_says_what_to_write() {
        for (text, message) in [
            ("localhost:8420", "the protocol is missing: write udp://host:port or tcp://"),
            ("http://localhost:80", "`http` is not a protocol known here: write udp://"),
            ("udp://localhost", "the port is missing: write udp://localhost:8420"),
            ("udp://[::1]", "the port is missing: write udp://[::1]:8420"),
            ("udp://::1:8420", "in brackets: write udp://[::1]:8420"),
            ("udp://[::1:8420", "the closing bracket is missing"),
            ("udp://:8420", "`` is not a host"),
            ("udp://a/b:8420", "`a/b` is not a host"),
            ("udp://[[::1]:8420", "`[::1` is not a host"),
            ("udp://a]:8420", "`a]` is not a host"),
            ("udp://localhost:0", "`0` is not a port: write a number from 1"),
            ("udp://localhost:70000", "`70000` is not a port"),
            ("udp://localhost:", "`` is not a port"),
        ] {
            let error = text.parse::<Url>().unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
