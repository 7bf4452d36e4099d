//! `[input.NAME]`

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::plan::{InputPlan, Kind, RelpInPlan, SourcePlan, UdpInPlan};
use super::report::Report;
use super::section::{Entry, Section};
use super::{forward, keys, process, syslog};
use crate::limits;

/// The longest name of a network interface (`IFNAMSIZ` without its final NUL).
const INTERFACE_MOST: usize = 15;

/// Reads an input.
pub(super) fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<InputPlan> {
    let sort = keys::choose(section, &["udp", "syslog", "relp", "stdin", "fifo"], report);
    let transport = section.get("syslog").filter(|_| sort == Some("syslog")).map(syslog::sort);
    keys::check(section, Kind::Input, transport.or(sort), report);
    let max_line = match section.get("max_message") {
        Some(entry) => max_message(entry, report),
        None => process::max_line(section, report),
    };
    let sequence = section.get("sequence").and_then(|entry| entry.boolean(report));
    let entry = section.get(sort?)?;
    let source = match sort? {
        "udp" => SourcePlan::Udp(udp(section, entry, report)?),
        "relp" => SourcePlan::Relp(relp(section, entry, report)?),
        "syslog" => SourcePlan::Syslog(syslog::read(section, entry, report)?),
        "stdin" => stdin(entry, report)?,
        _ => SourcePlan::Fifo(PathBuf::from(entry.system_text(report)?)),
    };
    Some(InputPlan { source, max_line, sequence: sequence.unwrap_or(false) })
}

fn max_message(entry: &Entry<'_>, report: &mut Report<'_>) -> usize {
    let bounds = limits::LINE_MAX_LEAST as u64..=limits::LINE_MAX_MOST as u64;
    let size = entry.size(report, bounds).and_then(|size| usize::try_from(size).ok());
    size.unwrap_or(limits::MESSAGE_DEFAULT)
}

fn relp(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<RelpInPlan> {
    let address = address(entry, report);
    let tls = match section.get("tls") {
        Some(entry) => Some(forward::server_tls(entry, report)?),
        None => None,
    };
    let max_connections = max_connections(section, report);
    Some(RelpInPlan { address: address?, tls, max_connections })
}

/// The `max_connections` key.
pub(super) fn max_connections(section: &Section<'_>, report: &mut Report<'_>) -> usize {
    let most = section
        .get("max_connections")
        .and_then(|entry| entry.integer(report, 1..=limits::CONNECTIONS_MOST))
        .unwrap_or(limits::CONNECTIONS_DEFAULT);
    usize::try_from(most).unwrap_or(usize::MAX)
}

fn stdin(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<SourcePlan> {
    if entry.boolean(report)? {
        return Some(SourcePlan::Stdin);
    }
    entry.wrong(report, "an input with `stdin = false` has no source: remove the input");
    None
}

fn udp(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<UdpInPlan> {
    let address = address(entry, report);
    udp_socket(section, "udp", address, report)
}

/// Reads what is said about the socket of an input over UDP, whose address stands under `key`.
pub(super) fn udp_socket(
    section: &Section<'_>,
    key: &str,
    address: Option<SocketAddr>,
    report: &mut Report<'_>,
) -> Option<UdpInPlan> {
    let buffer = limits::RECEIVE_BUFFER_LEAST..=limits::RECEIVE_BUFFER_MOST;
    let buffer = section.get("receive_buffer").and_then(|entry| entry.size(report, buffer));
    let sockets = section
        .get("sockets")
        .and_then(|entry| entry.integer(report, 1..=limits::SOCKETS_MOST.into()))
        .and_then(|n| u16::try_from(n).ok());
    let multicast = section.get("multicast").and_then(|e| multicast(e, key, address, report));
    let interface = section.get("interface").and_then(|e| interface(e, section, address, report));
    if let Some(entry) = section.get("sockets")
        && section.get("multicast").is_some()
        && sockets.is_some_and(|n| n > 1)
    {
        let message = "must be 1 with `multicast`: the kernel gives a multicast datagram to every \
                       socket, so each line would come several times";
        entry.wrong(report, message);
    }
    Some(UdpInPlan {
        address: address?,
        receive_buffer: buffer.unwrap_or(limits::RECEIVE_BUFFER_DEFAULT),
        sockets: sockets.unwrap_or(1),
        multicast,
        interface,
    })
}

/// An address and a port.
pub(super) fn address(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<SocketAddr> {
    let text = entry.text(report)?;
    let address = text.parse().ok();
    if address.is_none() {
        let help = "the address is a number, as in \"0.0.0.0:8420\" or \"[::]:8420\"";
        entry.wrong_help(report, "is not an address and a port", help);
    }
    address
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
    if section.get("multicast").is_none() {
        entry.misplaced(report, "needs `multicast`: it is where the group is joined", None);
        return None;
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        if address.is_some_and(|address| address.is_ipv6()) {
            entry.wrong(report, "an IPv6 group is joined on an interface given by its name");
            return None;
        }
    } else if text.len() > INTERFACE_MOST || text.contains(['/', ' ']) {
        entry.wrong(report, "is neither an interface's name nor an IPv4 address");
        return None;
    }
    Some(text.into())
}
