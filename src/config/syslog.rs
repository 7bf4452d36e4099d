//! `syslog` inputs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::keys::{SYSLOG, SYSLOG_TCP, SYSLOG_TLS, SYSLOG_UDP, SYSLOG_UNIX};
use super::plan::{SyslogInPlan, TcpInPlan, TransportPlan, UnixInPlan};
use super::report::{Report, nearest};
use super::section::{Entry, Section};
use super::{forward, input, units};
use crate::input::messages::Escape;
use crate::limits;

/// The protocols, with what a table of each is called.
const SCHEMES: [(&str, &str); 4] =
    [("udp", SYSLOG_UDP), ("tcp", SYSLOG_TCP), ("tls", SYSLOG_TLS), ("unix", SYSLOG_UNIX)];

/// What kind of syslog input this is, for the check of its keys.
pub(super) fn sort(entry: &Entry<'_>) -> &'static str {
    let scheme = entry.as_str().and_then(|text| text.split_once("://")).map(|(scheme, _)| scheme);
    let known = SCHEMES.iter().find(|(word, _)| Some(*word) == scheme);
    known.map_or(SYSLOG, |(_, sort)| sort)
}

/// Reads a syslog input.
pub(super) fn read(
    section: &Section<'_>,
    entry: &Entry<'_>,
    report: &mut Report<'_>,
) -> Option<SyslogInPlan> {
    let words =
        [("newline", Escape::Newline), ("control", Escape::Control), ("split", Escape::Split)];
    let escape = section.get("escape").map(|entry| entry.word(report, &words));
    let text = entry.text(report)?;
    let Some((scheme, rest)) = text.split_once("://") else {
        let help = "write udp://0.0.0.0:514, tcp://0.0.0.0:514, tls://0.0.0.0:6514 or \
                    unix:///dev/log";
        entry.wrong_help(report, "the protocol is missing", help);
        return None;
    };
    let transport = match scheme {
        "udp" => {
            let address = address(entry, rest, report);
            input::udp_socket(section, "syslog", address, report).map(TransportPlan::Udp)
        }
        "tcp" | "tls" => tcp(section, entry, (scheme, rest), report).map(TransportPlan::Tcp),
        "unix" => unix(section, entry, rest, report).map(TransportPlan::Unix),
        _ => {
            let help = nearest(scheme, SCHEMES.iter().map(|(word, _)| *word))
                .unwrap_or_else(|| "there are udp://, tcp://, tls:// and unix://".into());
            entry.wrong_help(report, format!("`{scheme}` is not a protocol known here"), help);
            None
        }
    };
    let escape = escape.unwrap_or(Some(Escape::Newline))?;
    Some(SyslogInPlan { transport: transport?, escape })
}

fn address(entry: &Entry<'_>, text: &str, report: &mut Report<'_>) -> Option<SocketAddr> {
    let address = text.strip_suffix('/').unwrap_or(text).parse().ok();
    if address.is_none() {
        let help = "the address is a number, as in udp://0.0.0.0:514 or tcp://[::]:601";
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
    let tls = match (scheme, section.get("tls")) {
        ("tls", Some(entry)) => Some(forward::server_tls(entry, report)?),
        ("tls", None) => {
            let help = "as in tls = { cert = \"/etc/logweir/host.pem\", key = \
                        \"/etc/logweir/host.key\" }";
            entry.wrong_help(report, "tls:// needs `tls`", help);
            return None;
        }
        _ => None,
    };
    let idle = section.get("idle_timeout").and_then(|entry| entry.time(report));
    if let (Some(time), Some(entry)) = (idle, section.get("idle_timeout"))
        && time < limits::IDLE_LEAST
    {
        let least = units::show_time(limits::IDLE_LEAST);
        entry.wrong(report, format!("must be at least {least}"));
    }
    let nul = section
        .get("delimiter")
        .and_then(|entry| entry.word(report, &[("newline", false), ("nul", true)]));
    Some(TcpInPlan {
        address: address?,
        tls,
        max_connections: input::max_connections(section, report),
        idle_timeout: idle.filter(|time| *time > Duration::ZERO),
        nul: nul.unwrap_or(false),
    })
}

fn unix(
    section: &Section<'_>,
    entry: &Entry<'_>,
    path: &str,
    report: &mut Report<'_>,
) -> Option<UnixInPlan> {
    let most = limits::SOCKET_PATH_MOST;
    if !path.starts_with('/') {
        entry.wrong_help(report, "is not a whole path", "as in unix:///dev/log");
        return None;
    }
    if path.len() > most || path.contains('\0') {
        let message = format!("a socket's path has {most} bytes at most, this has {}", path.len());
        entry.wrong_help(report, message, "choose a folder nearer to /, as in unix:///run/x.sock");
        return None;
    }
    let mode = section.get("mode").and_then(|entry| {
        let text = entry.text(report)?;
        units::mode(text).map_err(|message| entry.wrong(report, message)).ok()
    });
    let owner = section.get("owner").and_then(|entry| entry.system_text(report));
    Some(UnixInPlan {
        path: PathBuf::from(path),
        mode: mode.unwrap_or(limits::UNIX_MODE_DEFAULT),
        owner: owner.map(str::to_string),
    })
}
