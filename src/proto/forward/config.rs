//! `forward = "URL"`, or a list of them.

use std::time::Duration;

use crate::format::plan::FormatPlan;
pub use crate::forward::plan::{BalancePlan, ForwardPlan};
use crate::limits;
use crate::net::dns;
use crate::proto::shared::tls::{self, ClientTlsPlan};
use crate::proto::shared::{format, keyed, queue};
use crate::proto::traits::{Need, Output, SinkPlan};
use crate::proto::{CLIENT_KEYS, CLIENTS, ClientPlans};
use crate::settings::{Choice, Entry, Form, Key, Report, Section, Span, Value};
use crate::url::{Protocol, Url};

const BALANCE: Key = Key::or(
    "balance",
    Value::Words(&["failover", "round-robin", "hash"]),
    "\"failover\"",
    "How lines are distributed over several peers.",
);
const KEY: Key = Key::new(
    "key",
    Value::Text("Regex with one group, or field in braces", ""),
    "The key for balance = \"hash\".",
);
const TIMEOUT: Key = Key::or(
    "timeout",
    Value::Time(Duration::ZERO),
    "\"60s\"",
    "A peer that leaves everything unanswered for this long is disconnected and tried again.",
);

/// The keys of every such output.
const OWN_KEYS: [&[Key]; 4] = [&[BALANCE, KEY, TIMEOUT], tls::CLIENT, format::KEYS, queue::KEYS];
/// Those, and the keys of each protocol.
const KEYS: [&[Key]; OWN_KEYS.len() + CLIENT_KEYS.len()] = {
    let mut keys: [&[Key]; OWN_KEYS.len() + CLIENT_KEYS.len()] =
        [&[]; OWN_KEYS.len() + CLIENT_KEYS.len()];
    let mut at = 0;
    while at < keys.len() {
        keys[at] = match at < OWN_KEYS.len() {
            true => OWN_KEYS[at],
            false => CLIENT_KEYS[at - OWN_KEYS.len()],
        };
        at += 1;
    }
    keys
};

impl Output for ForwardPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "forward",
            Value::Texts("URL", r"^[a-z+]+://\S+$"),
            "A line leaves the output when the peer has acknowledged it.",
        )),
        name: "forward output",
        forms: &[Form { name: "forward output", scheme: None, keys: &KEYS }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let queue = queue::read(section, report);
        let peers = peers(entry, report);
        let balance = balance(section, report);
        let format = format::read(section, report);
        let timeout = section.time(&TIMEOUT, report);
        let tls_entry = tls::client_entry(section);
        let tls = match tls_entry {
            Some(entry) => tls::client(entry, report),
            None => Some(ClientTlsPlan::default()),
        };
        let peers = peers?;
        if let Some(BalancePlan::Hash { .. }) = balance
            && let Some(service) = peers.iter().find(|peer| peer.is_service())
        {
            let message = format!(
                "{service} is a service, whose hosts may change: `balance = \"hash\"` would send \
                 keys elsewhere each time"
            );
            let help = "name the hosts, or leave `balance` out";
            entry.wrong_help(report, message, help);
            return None;
        }
        let clients = ClientPlans::read(section, &peers, report);
        if let Some(entry) = tls_entry
            && !peers.iter().any(|peer| peer.protocol.is_tls())
        {
            let schemes = schemes().into_iter().filter(|protocol| protocol.is_tls());
            let schemes: Vec<_> = schemes.map(|one| format!("{}://", one.word())).collect();
            let message = "no peer uses TLS: write ";
            entry.misplaced(report, format!("{message}{}", schemes.join(" or ")));
        }
        Some(Self {
            peers,
            balance: balance?,
            format: format?,
            timeout: timeout.unwrap_or(limits::ANSWER_DEFAULT),
            tls: tls?,
            clients: clients?.into(),
            queue,
        })
    }

    fn sink(&self) -> SinkPlan<'_> {
        SinkPlan::Connections(self)
    }

    fn needs(&self) -> Vec<Need> {
        let peer = |url: &Url| Need::Peer { host: url.host.clone(), port: url.port };
        let mut needs: Vec<_> = self.peers.iter().map(peer).collect();
        if self.peers.iter().any(|peer| peer.protocol.is_tls()) {
            needs.push(Need::Tls(self.tls.clone()));
        }
        needs
    }

    fn formats_when_written(&self) -> bool {
        true
    }

    fn format(&self) -> &FormatPlan {
        &self.format
    }

    fn queue(&self) -> u64 {
        self.queue
    }

    fn describe(&self) -> String {
        let peers: Vec<_> = self.peers.iter().map(ToString::to_string).collect();
        let balance = match &self.balance {
            _ if peers.len() == 1 => String::new(),
            BalancePlan::Failover => " failover".into(),
            BalancePlan::RoundRobin => " round-robin".into(),
            BalancePlan::Hash { key } => format!(" by '{key}'"),
        };
        format!("forward{balance} {}", peers.join(" "))
    }
}

/// The URL schemes by which peers can be reached.
fn schemes() -> Vec<Protocol> {
    CLIENTS.iter().flat_map(|schemes| schemes.iter().copied()).collect()
}

fn peers(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Vec<Url>> {
    let names = entry.names(report)?;
    if names.is_empty() || names.len() > limits::PEERS_MAX {
        let max = limits::PEERS_MAX;
        entry.wrong(report, format!("must name from 1 to {max} peers"));
        return None;
    }
    let schemes = schemes();
    // Each with the place that names it.
    let mut peers: Vec<(Url, Span)> = Vec::new();
    let mut all_good = true;
    for name in names {
        let span = name.span();
        match peer(name.get_ref(), &schemes) {
            Ok(url) => {
                if let Some((_, first)) = peers.iter().find(|(peer, _)| *peer == url) {
                    let finding = report.error(&span, entry.path(), format!("names {url} twice"));
                    finding.label(first, "named here first");
                    all_good = false;
                }
                peers.push((url, span));
            }
            Err(message) => {
                report.error(&span, entry.path(), message);
                all_good = false;
            }
        }
    }
    all_good.then(|| peers.into_iter().map(|(url, _)| url).collect())
}

fn peer(text: &str, schemes: &[Protocol]) -> Result<Url, String> {
    let url = Url::parse_peer(text, schemes)?;
    if url.is_service() {
        dns::check(&url.host)?;
    }
    Ok(url)
}

fn balance(section: &Section<'_>, report: &mut Report<'_>) -> Option<BalancePlan> {
    let key = section.entry(&KEY);
    let words = [("failover", 0), ("round-robin", 1), ("hash", 2)];
    let word = match section.entry(&BALANCE) {
        Some(entry) => entry.word(report, &words)?,
        None => 0,
    };
    if word != 2 {
        if let Some(key) = key {
            key.misplaced(report, "needs `balance = \"hash\"`");
        }
        return Some(if word == 0 { BalancePlan::Failover } else { BalancePlan::RoundRobin });
    }
    let Some(entry) = key else {
        let help = "give the key as a regex with one group, as in key = '^(\\S+)'";
        let path = format!("{}.{}", section.path, BALANCE.name);
        let place = section.place(BALANCE.name);
        report.error_help(place, &path, "\"hash\" needs `key`", help);
        return None;
    };
    keyed::key(entry, report).map(|key| BalancePlan::Hash { key })
}
