//! `/etc/resolv.conf`: whom to ask, and how patiently (resolv.conf(5)).

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::limits::RESOLV_MAX;
use crate::url::resolve;

/// The file.
pub const FILE: &str = "/etc/resolv.conf";
/// The port of DNS.
const PORT: u16 = 53;
/// Maximum number of servers, as in the C library.
const SERVERS_MAX: usize = 3;
/// Largest value of `timeout`, in seconds, and of `attempts`, as in the C library.
const TIMEOUT_MAX: u64 = 30;
const ATTEMPTS_MAX: u32 = 5;

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers {
    /// In the order in which they are asked; at least one.
    pub addresses: Vec<SocketAddr>,
    /// How long one is waited for.
    pub timeout: Duration,
    /// How often all are asked.
    pub attempts: u32,
    /// True if they are asked by TCP only.
    pub by_tcp: bool,
}

impl Servers {
    /// Reads the file. One that is not there means a server on this host.
    ///
    /// # Errors
    /// The system's, with the file's name.
    pub fn read(path: &Path) -> Result<Self, String> {
        let mut text = Vec::new();
        match File::open(path).and_then(|file| file.take(RESOLV_MAX).read_to_end(&mut text)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("{}: {error}", path.display()))
            }
            _ => Ok(Self::parse(&String::from_utf8_lossy(&text))),
        }
    }

    /// Parses the text of the file. What is not understood is passed over, as in the C library.
    pub fn parse(text: &str) -> Self {
        let timeout = Duration::from_secs(5);
        let mut servers = Self { addresses: Vec::new(), timeout, attempts: 2, by_tcp: false };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if servers.addresses.len() < SERVERS_MAX => {
                    servers.addresses.extend(words.next().and_then(address));
                }
                Some("options") => words.for_each(|word| servers.option(word)),
                _ => {}
            }
        }
        if servers.addresses.is_empty() {
            servers.addresses.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        servers
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        match (name, value.parse::<u64>()) {
            ("timeout", Ok(value)) => {
                self.timeout = Duration::from_secs(value.clamp(1, TIMEOUT_MAX));
            }
            ("attempts", Ok(value)) => {
                self.attempts = u32::try_from(value).unwrap_or(ATTEMPTS_MAX).clamp(1, ATTEMPTS_MAX);
            }
            ("use-vc", _) => self.by_tcp = true,
            _ => {}
        }
    }
}

/// A server's address, which may end in a zone (`fe80::1%eth0`).
fn address(word: &str) -> Option<SocketAddr> {
    let (ip, zone) = word.split_once('%').unwrap_or((word, ""));
    let ip: IpAddr = ip.parse().ok()?;
    match zone {
        "" => Some((ip, PORT).into()),
        // An address needs no look-up; the C library knows the interfaces by name.
        _ => resolve(word, PORT).ok()?.first().copied(),
    }
}
