//! `udp = "…"` of inputs and outputs.

use std::fmt::Write;

use crate::format::plan::FormatPlan;
use crate::ingress::{OpenError, Source};
use crate::proto::shared::datagrams::{self, UdpInPlan};
use crate::proto::shared::{format, lines, queue};
use crate::proto::traits::{Claim, Input, Nature, Need, Opening, Output, SinkPlan};
use crate::settings::key::{ADDRESS, Choice, Form, Key, Value};
use crate::settings::units::show_size;
use crate::settings::{Entry, Report, Section};

/// An output to a UDP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpOutPlan {
    /// `host:port`; the host is a name or an address.
    pub to: String,
    /// How lines are written.
    pub format: FormatPlan,
    /// The bound of the queue before it, in bytes.
    pub queue: u64,
}

impl Input for UdpInPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "udp",
            ADDRESS,
            "Raw lines over UDP: a datagram holds any number of lines, and its end is the end of \
             a line.",
        )),
        name: "UDP input",
        forms: &[Form {
            name: "UDP input",
            scheme: None,
            keys: &[datagrams::BUFFER, datagrams::KEYS, lines::LINES],
        }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let address = datagrams::address(entry, report);
        datagrams::read(section, entry.key, address, report)
    }

    fn claims(&self) -> Vec<Claim> {
        vec![self.claim()]
    }

    fn nature(&self) -> Nature {
        datagrams::NATURE
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        super::input::open(self, opening)
    }

    fn describe(&self) -> String {
        let mut label = format!("udp {}", self.address);
        if let Some(group) = self.multicast {
            let _ = write!(label, ", multicast {group}");
        }
        if self.sockets > 1 {
            let _ = write!(label, ", {} sockets", self.sockets);
        }
        let _ = write!(label, ", buffer {}", show_size(self.receive_buffer));
        label
    }
}

impl Output for UdpOutPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "udp",
            Value::Text("Host and port", r"^\S+:[0-9]+$"),
            "Lines are sent to this address, one a datagram.",
        )),
        name: "UDP output",
        forms: &[Form { name: "UDP output", scheme: None, keys: &[format::KEYS, queue::KEYS] }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let queue = queue::read(section, report);
        let format = format::read(section, report);
        Some(Self { to: to(entry, report)?, format: format?, queue })
    }

    fn format(&self) -> &FormatPlan {
        &self.format
    }

    fn queue(&self) -> u64 {
        self.queue
    }

    fn describe(&self) -> String {
        format!("udp {}", self.to)
    }

    fn needs(&self) -> Vec<Need> {
        let (host, port) = self.to.rsplit_once(':').unwrap_or((&self.to, ""));
        let host = host.trim_matches(['[', ']']).to_string();
        port.parse().map_or_else(|_| Vec::new(), |port| vec![Need::Peer { host, port }])
    }

    fn sink(&self) -> SinkPlan<'_> {
        SinkPlan::Datagrams { to: &self.to }
    }
}

fn to(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = entry.system_text(report)?;
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse::<u16>().is_ok_and(|port| port > 0);
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '/', ' ', '[', ']']),
        };
        digits && port && host
    });
    if !good {
        let help = "as in \"hub1:8420\", \"192.0.2.1:8420\" or \"[2001:db8::1]:8420\"";
        entry.wrong_help(report, "is not a host and a port", help);
        return None;
    }
    Some(text.into())
}
