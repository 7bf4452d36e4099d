//! The socket of an input over UDP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::limits;
use crate::proto::traits::{Claim, Nature};
use crate::settings::{Entry, Key, Report, Section, Value};

/// What any input over UDP is.
pub const NATURE: Nature = Nature {
    label: "UDP",
    acknowledged: false,
    numbered: false,
    can_wait: false,
    longest_line: Some(limits::DATAGRAM_SENT_MAX),
};

/// The socket of an input over UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpInPlan {
    /// The address to bind.
    pub address: SocketAddr,
    /// The receive buffer asked of the kernel, in bytes.
    pub receive_buffer: u64,
    /// How many SO_REUSEPORT sockets, with a thread each; at least 1.
    pub sockets: u16,
    /// The group to join.
    pub multicast: Option<IpAddr>,
    /// The interface to join it on, by name or (IPv4) address.
    pub interface: Option<String>,
}

impl UdpInPlan {
    /// What its socket claims.
    pub fn claim(&self) -> Claim {
        let (multicast, interface) = (self.multicast, self.interface.clone());
        Claim::Udp { address: self.address, multicast, interface }
    }
}

/// The longest name of a network interface (`IFNAMSIZ` without its final NUL).
const INTERFACE_MAX: usize = 15;

/// The keys of an input over UDP.
pub const KEYS: &[Key] = &[SOCKETS, MULTICAST, INTERFACE];
/// The key of every input with datagrams.
pub const BUFFER: &[Key] = &[RECEIVE_BUFFER];

const RECEIVE_BUFFER: Key = Key::or(
    "receive_buffer",
    Value::Size(limits::RECEIVE_BUFFER_MIN..=limits::RECEIVE_BUFFER_MAX),
    "\"64MiB\"",
    "The receive buffer that is asked of the kernel.",
);

const SOCKETS: Key = Key::or(
    "sockets",
    Value::Integer(1..=limits::SOCKETS_MAX as u64),
    "1",
    "That many sockets share the address, with a thread each.",
);

const MULTICAST: Key = Key::new(
    "multicast",
    Value::Text("IP address", r"^[0-9a-fA-F.:]+$"),
    "The multicast group to join, of the same family as the address that is bound.",
);

const INTERFACE: Key = Key::or_else(
    "interface",
    Value::Text("Name or IPv4 address", r"^[^/ ]+$"),
    "the kernel's choice",
    "The interface to join the multicast group on.",
);

/// Reads an address and a port.
pub fn address(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<SocketAddr> {
    let text = entry.text(report)?;
    let address = parse_address(text);
    if address.is_none() {
        let help = match zone(text) {
            Some(zone) => &*format!("there is no interface `{zone}` on this host"),
            None => "the address is a number, as in \"0.0.0.0:8420\" or \"[::]:8420\"",
        };
        entry.wrong_help(report, "is not an address and a port", help);
    }
    address
}

/// The address and port that a text says; an IPv6 address may name its interface, as in
/// `[fe80::1%eth0]:514`.
pub fn parse_address(text: &str) -> Option<SocketAddr> {
    let Some(zone) = zone(text) else { return text.parse().ok() };
    let index = nix::net::if_::if_nametoindex(zone).ok()?;
    text.replacen(&format!("%{zone}]"), &format!("%{index}]"), 1).parse().ok()
}

/// The interface that an address names; `None` where it has none, or says its number.
pub fn zone(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('%')?;
    let (zone, _) = rest.split_once(']')?;
    (zone.parse::<u32>().is_err() && !zone.is_empty()).then_some(zone)
}

/// Reads the socket of an input over UDP, whose address stands under `key`.
pub fn read(
    section: &Section<'_>,
    key: &str,
    address: Option<SocketAddr>,
    report: &mut Report<'_>,
) -> Option<UdpInPlan> {
    let receive_buffer = section.size(&RECEIVE_BUFFER, report);
    let sockets: Option<u16> = section.integer(&SOCKETS, report);
    let multicast = section.entry(&MULTICAST).and_then(|e| multicast(e, key, address, report));
    let interface = section.entry(&INTERFACE).and_then(|e| interface(e, section, address, report));
    if let Some(entry) = section.entry(&SOCKETS)
        && let Some(group) = section.entry(&MULTICAST)
        && sockets.is_some_and(|n| n > 1)
    {
        let message = "must be 1 with `multicast`: the kernel gives a multicast datagram to every \
                       socket, so each line would come several times";
        entry.wrong(report, message).label(&group.key_span, "multicast asked for here");
    }
    Some(UdpInPlan {
        address: address?,
        receive_buffer: receive_buffer.unwrap_or(limits::RECEIVE_BUFFER_DEFAULT),
        sockets: sockets.unwrap_or(1),
        multicast,
        interface,
    })
}

fn multicast(
    entry: &Entry<'_>,
    key: &str,
    address: Option<SocketAddr>,
    report: &mut Report<'_>,
) -> Option<IpAddr> {
    let Ok(group) = entry.text(report)?.parse::<IpAddr>() else {
        entry.wrong(report, "is not an IP address");
        return None;
    };
    if !group.is_multicast() {
        let help = "IPv4 groups are 224.0.0.0 to 239.255.255.255, IPv6 groups begin with ff";
        entry.wrong_help(report, format!("{group} is not a multicast address"), help);
        return None;
    }
    let address = address?;
    if group.is_ipv4() != address.is_ipv4() {
        let family = |v4| if v4 { "IPv4" } else { "IPv6" };
        let (group, address) = (family(group.is_ipv4()), family(address.is_ipv4()));
        entry.wrong(report, format!("is an {group} group, but `{key}` is an {address} address"));
        return None;
    }
    if !address.ip().is_unspecified() && address.ip() != group {
        let ip = address.ip();
        report.warn(
            &entry.span,
            entry.path(),
            format!("`{key}` binds {ip}, so nothing sent to {group} arrives: bind all addresses"),
        );
    }
    Some(group)
}

fn interface(
    entry: &Entry<'_>,
    section: &Section<'_>,
    address: Option<SocketAddr>,
    report: &mut Report<'_>,
) -> Option<String> {
    let text = entry.system_text(report)?;
    if section.entry(&MULTICAST).is_none() {
        entry.misplaced(report, "needs `multicast`: it is where the group is joined");
        return None;
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        if address.is_some_and(|address| address.is_ipv6()) {
            entry.wrong(report, "an IPv6 group is joined on an interface given by its name");
            return None;
        }
    } else if text.len() > INTERFACE_MAX || text.contains(['/', ' ']) {
        entry.wrong(report, "is neither an interface's name nor an IPv4 address");
        return None;
    }
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_may_name_its_interface() {
        let at = |text: &str| parse_address(text).map(|address| address.to_string());
        assert_eq!(at("[fe80::1%lo]:514").unwrap(), "[fe80::1%1]:514");
        assert_eq!(at("[fe80::1%1]:514"), at("[fe80::1%lo]:514"));
        assert_eq!(at("[::1]:514").unwrap(), "[::1]:514");
        for wrong in ["[fe80::1%no-such-if]:514", "[fe80::1%]:514", "192.0.2.1%lo:514", "%lo]"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
        assert_eq!(zone("[fe80::1%no-such-if]:514"), Some("no-such-if"));
    }
}
