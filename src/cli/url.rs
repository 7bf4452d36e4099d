//! Where lines are sent to: `udp://host:port` or `tcp://host:port`.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// How the lines travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// In datagrams.
    Udp,
    /// In a stream, each ended by a newline.
    Tcp,
}

/// Where lines are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// How.
    pub protocol: Protocol,
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

const FORMS: &str = "write udp://host:port or tcp://host:port";

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("the protocol is missing: {FORMS}"));
        };
        let protocol = match scheme {
            "udp" => Protocol::Udp,
            "tcp" => Protocol::Tcp,
            _ => return Err(format!("`{scheme}` is not a protocol known here: {FORMS}")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split_port(scheme, rest)?;
        if host.is_empty() || host.contains(|c: char| c == '/' || c == '@' || c.is_whitespace()) {
            return Err(format!("`{host}` is not a host: {FORMS}"));
        }
        let port = match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(format!("`{port}` is not a port: write a number from 1 to 65535")),
        };
        Ok(Self { protocol, host: host.to_string(), port })
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
        let scheme = match self.protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl Url {
    /// The addresses of the host, at least one.
    ///
    /// # Errors
    /// The resolver's.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let found: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        if found.is_empty() {
            return Err(io::Error::other("the name has no address"));
        }
        Ok(found)
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
    fn an_error_says_what_to_write() {
        for (text, said) in [
            ("localhost:8420", "the protocol is missing: write udp://host:port"),
            ("http://localhost:80", "`http` is not a protocol known here: write udp://"),
            ("udp://localhost", "the port is missing: write udp://localhost:8420"),
            ("udp://[::1]", "the port is missing: write udp://[::1]:8420"),
            ("udp://::1:8420", "in brackets: write udp://[::1]:8420"),
            ("udp://[::1:8420", "the closing bracket is missing"),
            ("udp://:8420", "`` is not a host"),
            ("udp://a/b:8420", "`a/b` is not a host"),
            ("udp://localhost:0", "`0` is not a port: write a number from 1"),
            ("udp://localhost:70000", "`70000` is not a port"),
            ("udp://localhost:", "`` is not a port"),
        ] {
            let error = text.parse::<Url>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
