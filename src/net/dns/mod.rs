//! Services found by DNS: SRV records (RFC 2782), asked of the servers in `/etc/resolv.conf`.
//!
//! The C library looks up addresses only, so this is a client of our own. `message.rs` has the
//! bytes and makes no system calls, `servers.rs` reads the file, `ask.rs` has the sockets, and
//! `order.rs` draws the order of the hosts that are found.

pub mod ask;
pub mod message;
mod name;
pub mod order;
pub mod servers;
#[cfg(test)]
mod tests;

pub use name::Name;

use std::time::Duration;

/// One host that offers a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The lowest is tried first.
    pub priority: u16,
    /// The share among those of one priority.
    pub weight: u16,
    /// The host's name.
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

/// What DNS says of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The hosts that offer it; none where DNS says that nobody does (target `.`).
    pub targets: Vec<Target>,
    /// How long that holds, as the server says.
    pub ttl: Duration,
}

/// Returns whether a host without a port is the name of a service.
pub fn is_service(host: &str) -> bool {
    host.starts_with('_')
}

/// The domain that offers a service: its name without the labels that begin with `_`. A server's
/// certificate is for this name, because names that DNS brings may be anybody's.
pub fn domain(service: &str) -> &str {
    let mut rest = service.trim_end_matches('.');
    while rest.starts_with('_') {
        rest = rest.split_once('.').map_or("", |(_, rest)| rest);
    }
    rest
}

/// Checks the name of a service.
///
/// # Errors
/// What is wrong, and what to write.
pub fn check(service: &str) -> Result<(), String> {
    let write = "write it as in _syslog._tcp.example.org";
    if Name::new(service).is_none() {
        return Err(format!("`{service}` is not a name that DNS can have: {write}"));
    }
    match domain(service) {
        "" => Err(format!("`{service}` is a service without a domain: {write}")),
        _ => Ok(()),
    }
}
