//! `forward` outputs.

use std::path::PathBuf;

use super::format;
use super::plan::{BalancePlan, ClientTlsPlan, ForwardPlan, ServerTlsPlan};
use super::report::{Report, nearest};
use super::section::{Entry, Section};
use super::select::one_group;
use crate::limits;
use crate::url::{Protocol, Url};

const PROTOCOLS: [Protocol; 4] = [Protocol::Relp, Protocol::RelpTls, Protocol::Tcp, Protocol::Tls];

/// Reads a forward output, whose queue is read already.
pub(super) fn read(
    section: &Section<'_>,
    entry: &Entry<'_>,
    queue: u64,
    report: &mut Report<'_>,
) -> Option<ForwardPlan> {
    let peers = peers(entry, report);
    let balance = balance(section, report);
    let format = format::read(section, report);
    let timeout = section.get("timeout").and_then(|entry| entry.time(report));
    let tls = match section.get("tls") {
        Some(entry) => client_tls(entry, report),
        None => Some(ClientTlsPlan::default()),
    };
    let peers = peers?;
    if let Some(entry) = section.get("tls")
        && !peers.iter().any(|peer| peer.protocol.is_tls())
    {
        let message = "no peer is reached through TLS: write relp+tls:// or tls://";
        entry.misplaced(report, message, None);
    }
    Some(ForwardPlan {
        peers,
        balance: balance?,
        format: format?,
        timeout: timeout.unwrap_or(limits::ANSWER_DEFAULT),
        tls: tls?,
        queue,
    })
}

fn peers(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Vec<Url>> {
    let names = entry.names(report)?;
    if names.is_empty() || names.len() > limits::PEERS_MOST {
        let most = limits::PEERS_MOST;
        entry.wrong(report, format!("must name from 1 to {most} peers"));
        return None;
    }
    let mut peers = Vec::new();
    let mut whole = true;
    for name in names {
        match Url::parse(name.get_ref(), &PROTOCOLS) {
            Ok(url) if peers.contains(&url) => {
                report.error(&name.span(), entry.path(), format!("names {url} twice"));
                whole = false;
            }
            Ok(url) => peers.push(url),
            Err(message) => {
                report.error(&name.span(), entry.path(), message);
                whole = false;
            }
        }
    }
    whole.then_some(peers)
}

fn balance(section: &Section<'_>, report: &mut Report<'_>) -> Option<BalancePlan> {
    let key = section.get("key");
    let words = [("failover", 0), ("round-robin", 1), ("hash", 2)];
    let word = match section.get("balance") {
        Some(entry) => entry.word(report, &words)?,
        None => 0,
    };
    if word != 2 {
        if let Some(key) = key {
            key.misplaced(report, "needs `balance = \"hash\"`", None);
        }
        return Some(if word == 0 { BalancePlan::Failover } else { BalancePlan::RoundRobin });
    }
    let Some(entry) = key else {
        let help = "give the key as a regex with one group, as in key = '^(\\S+)'";
        let path = format!("{}.balance", section.path);
        report.error_help(section.place("balance"), &path, "\"hash\" needs `key`", help);
        return None;
    };
    one_group(entry, report).map(|key| BalancePlan::Hash { key })
}

/// The paths in a table, by its keys; reports every key that is not one of `names`.
fn paths<'t>(
    entry: &Entry<'t>,
    names: &[&'static str],
    report: &mut Report<'_>,
) -> Option<Section<'t>> {
    let Some(table) = entry.table() else {
        entry.wrong(report, format!("expected a table with {}", names.join(", ")));
        return None;
    };
    let section = Section::new(entry.path().into(), entry.span.clone(), table);
    for entry in &section.entries {
        if !names.contains(&entry.key) {
            let help = nearest(entry.key, names.iter().copied());
            let help = help.unwrap_or_else(|| format!("there are: {}", names.join(", ")));
            entry.misplaced(report, "unknown key", Some(help));
        }
    }
    Some(section)
}

fn path(section: &Section<'_>, key: &str, report: &mut Report<'_>) -> Option<PathBuf> {
    section.get(key).and_then(|entry| entry.system_text(report)).map(PathBuf::from)
}

fn client_tls(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<ClientTlsPlan> {
    let section = paths(entry, &["ca", "cert", "key", "name"], report)?;
    let (cert, key) = (path(&section, "cert", report), path(&section, "key", report));
    if cert.is_some() != key.is_some() {
        entry.wrong(report, "`cert` and `key` go together");
    }
    let name = section.get("name").and_then(|entry| entry.system_text(report));
    Some(ClientTlsPlan {
        ca: path(&section, "ca", report),
        own: cert.zip(key),
        name: name.map(str::to_string),
    })
}

/// Reads the `tls` of an input.
pub(super) fn server_tls(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<ServerTlsPlan> {
    let section = paths(entry, &["cert", "key", "client_ca", "names"], report)?;
    let (cert, key) = (path(&section, "cert", report), path(&section, "key", report));
    if section.get("cert").is_none() || section.get("key").is_none() {
        entry.wrong(report, "needs `cert` and `key`, the paths of PEM files");
    }
    let client_ca = path(&section, "client_ca", report);
    let names = section.get("names").and_then(|entry| entry.names(report)).unwrap_or_default();
    if let (Some(names), None) = (section.get("names"), section.get("client_ca")) {
        names.misplaced(report, "needs `client_ca`: without it clients show no certificate", None);
    }
    let names: Vec<_> = names.into_iter().map(|name| (*name.get_ref()).to_string()).collect();
    for name in &names {
        if rustls::pki_types::ServerName::try_from(name.as_str()).is_err() {
            let message = format!("`{name}` is neither a host's name nor an address");
            entry.wrong(report, message);
        }
    }
    Some(ServerTlsPlan { cert: cert?, key: key?, client_ca, names })
}
