//! `kafka = {…}` on an output.

use std::time::Duration;

use super::compress::Compression;
use super::output::KafkaWorker;
use super::producer::assign::Partitioning;
use super::sasl::Mechanism;
use super::secrets::{SaslPlan, SecretPlan};
use super::sockets::Access;
use super::topic_name::TopicName;
use crate::format::plan::FormatPlan;
use crate::fs::Fs;
use crate::limits;
use crate::net::dns;
use crate::output::worker::{Worker, Workplace};
use crate::proto::shared::tls::{self, ClientTlsPlan};
use crate::proto::shared::{format, keyed, queue};
use crate::proto::traits::{Need, Output, SinkPlan};
use crate::settings::key::{COMMAND, PATH, words};
use crate::settings::{Choice, Entry, Form, Key, Report, Section, Value};

/// An output to topics of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaOutPlan {
    /// Brokers by which the cluster is entered; port 0 with the name of a service.
    pub brokers: Vec<(String, u16)>,
    /// The topic, or how its name is made.
    pub topic: TopicName,
    /// How brokers are reached.
    pub access: Access,
    /// Which partition a line goes to.
    pub partitioning: Partitioning,
    /// How batches are compressed.
    pub compression: Compression,
    /// Whether records have headers that tell the host and the input.
    pub headers: bool,
    /// How long the brokers may take to have a batch in all replicas.
    pub timeout: Duration,
    /// How lines are written.
    pub format: FormatPlan,
    /// The bound of the queue before it, in bytes.
    pub queue: u64,
}

pub(super) const BROKERS: Key = Key::required(
    "brokers",
    Value::Texts("Host and port, or service", r"^(\S+:[0-9]+|_\S+)$"),
    "Brokers by which the cluster is entered; it names the others itself.",
);
const TOPIC: Key = Key::required(
    "topic",
    Value::Text("Topic, with fields as in {app}", r"^[A-Za-z0-9._{}-]+$"),
    "The topic; {input}, {host}, {app} and other fields of the line stand for what they are.",
);
pub(super) const SASL: Key =
    Key::new("sasl", Value::Table(SASL_KEYS), "Who we are to the brokers.");
const SASL_KEYS: &[Key] = &[MECHANISM, USER, PASSWORD_FILE, TOKEN];
const MECHANISMS: [(&str, Mechanism); 4] = [
    ("PLAIN", Mechanism::Plain),
    ("SCRAM-SHA-256", Mechanism::ScramSha256),
    ("SCRAM-SHA-512", Mechanism::ScramSha512),
    ("OAUTHBEARER", Mechanism::OAuthBearer),
];
const MECHANISM_WORDS: [&str; 4] = words(&MECHANISMS);
const MECHANISM: Key =
    Key::required("mechanism", Value::Words(&MECHANISM_WORDS), "How we say who we are.");
const USER: Key = Key::new("user", Value::Text("User", r"\S"), "The user.");
const PASSWORD_FILE: Key =
    Key::new("password_file", PATH, "The file whose first line is the password.");
const TOKEN: Key = Key::new(
    "token",
    Value::Table(TOKEN_KEYS),
    "Where the token of OAUTHBEARER comes from, asked anew for each connection.",
);
const TOKEN_KEYS: &[Key] = &[TOKEN_COMMAND];
const TOKEN_COMMAND: Key =
    Key::required("command", COMMAND, "A command that prints the token on its first line.");
const KAFKA_KEYS: &[Key] = &[BROKERS, TOPIC, tls::CLIENT_TLS, SASL];

const PARTITIONINGS: [(&str, u8); 3] = [("runs", 0), ("hash", 1), ("sticky", 2)];
const PARTITIONING_WORDS: [&str; 3] = words(&PARTITIONINGS);
const PARTITION: Key = Key::or(
    "partition",
    Value::Words(&PARTITIONING_WORDS),
    "\"runs\"",
    "Which partition a line goes to: runs of lines take turns, the same key goes to the same \
     one, or all lines of this output go to one.",
);
const KEY: Key = Key::new(
    "key",
    Value::Text("Regex with one group, or field in braces", ""),
    "The key for partition = \"hash\", which becomes the record's.",
);
const COMPRESSIONS: [(&str, Compression); 3] =
    [("none", Compression::None), ("lz4", Compression::Lz4), ("zstd", Compression::Zstd)];
const COMPRESSION_WORDS: [&str; 3] = words(&COMPRESSIONS);
const COMPRESS: Key = Key::or(
    "compress",
    Value::Words(&COMPRESSION_WORDS),
    "\"none\"",
    "How batches of records are compressed.",
);
const HEADERS: Key =
    Key::or("headers", Value::Bool, "false", "Records have the headers `host` and `input`.");
const TIMEOUT: Key = Key::or(
    "timeout",
    Value::Time(Duration::from_secs(1)),
    "\"30s\"",
    "How long the brokers may take to have a batch in all replicas, and to answer.",
);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

impl Output for KafkaOutPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "kafka",
            Value::Table(KAFKA_KEYS),
            "A line leaves the output when all replicas in sync have it.",
        )),
        name: "Kafka output",
        forms: &[Form {
            name: "Kafka output",
            scheme: None,
            keys: &[&[PARTITION, KEY, COMPRESS, HEADERS, TIMEOUT], format::KEYS, queue::KEYS],
        }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let queue = queue::read(section, report);
        let partitioning = partitioning(section, report);
        let compression = section.word(&COMPRESS, &COMPRESSIONS, report);
        let headers = section.boolean(&HEADERS, report);
        let timeout = section.time(&TIMEOUT, report);
        let format = format::read(section, report);
        let expected = ", as in kafka = { brokers = [\"k1:9092\"], topic = \"web\" }";
        let table = entry.section(KAFKA_KEYS, expected, report)?;
        let brokers = brokers(&table, report);
        let topic = topic(&table, report);
        let access = access(&table, report);
        Some(Self {
            brokers: brokers?,
            topic: topic?,
            access: access?,
            partitioning: partitioning?,
            compression: compression.unwrap_or(Compression::None),
            headers: headers.unwrap_or(false),
            timeout: timeout.unwrap_or(TIMEOUT_DEFAULT),
            format: format?,
            queue,
        })
    }

    fn format(&self) -> &FormatPlan {
        &self.format
    }

    fn queue(&self) -> u64 {
        self.queue
    }

    fn describe(&self) -> String {
        format!("kafka {} on {}", self.topic.as_str(), listed(&self.brokers))
    }

    fn needs(&self) -> Vec<Need> {
        needs(&self.brokers, &self.access)
    }

    fn sink(&self) -> SinkPlan<'_> {
        SinkPlan::Jobs { has_position: true }
    }

    fn formats_when_written(&self) -> bool {
        true
    }

    fn resumes_by_count(&self) -> bool {
        true
    }

    fn worker<F: Fs + 'static>(&self, workplace: Workplace<'_, F>) -> Option<Box<dyn Worker>> {
        Some(Box::new(KafkaWorker::new(self, workplace.name, workplace.exact)))
    }
}

pub(super) fn missing(table: &Section<'_>, key: &Key, example: &str, report: &mut Report<'_>) {
    let message = format!("needs `{}`, as in {example}", key.name);
    report.error(&table.span, &table.path, message);
}

pub(super) fn brokers(table: &Section<'_>, report: &mut Report<'_>) -> Option<Vec<(String, u16)>> {
    let Some(entry) = table.entry(&BROKERS) else {
        missing(table, &BROKERS, "brokers = [\"k1:9092\", \"k2:9092\"]", report);
        return None;
    };
    let names = entry.names(report)?;
    if names.is_empty() || names.len() > limits::PEERS_MAX {
        entry.wrong(report, format!("must name from 1 to {} brokers", limits::PEERS_MAX));
        return None;
    }
    let mut brokers = Vec::new();
    for name in &names {
        let text = name.get_ref();
        if dns::is_service(text) && !text.contains(':') {
            match dns::check(text) {
                Ok(()) => brokers.push(((*text).to_string(), 0)),
                Err(message) => {
                    report.error(&name.span(), entry.path(), message);
                }
            }
            continue;
        }
        match broker(text) {
            Some(broker) => brokers.push(broker),
            None => {
                let message = "is not a host and a port, as in \"k1:9092\" or \"[::1]:9092\"";
                report.error(&name.span(), entry.path(), message);
            }
        }
    }
    (brokers.len() == names.len()).then_some(brokers)
}

/// Brokers, for people to read.
pub(super) fn listed(brokers: &[(String, u16)]) -> String {
    let each: Vec<_> = brokers.iter().map(|(host, port)| shown(host, *port)).collect();
    each.join(" ")
}

/// What brokers that are reached so need.
pub(super) fn needs(brokers: &[(String, u16)], access: &Access) -> Vec<Need> {
    let peer = |(host, port): &(String, u16)| Need::Peer { host: host.clone(), port: *port };
    brokers.iter().map(peer).chain(access.tls.clone().map(Need::Tls)).collect()
}

/// A broker as it is configured.
fn shown(host: &str, port: u16) -> String {
    match port {
        0 => host.to_string(),
        _ => format!("{host}:{port}"),
    }
}

fn broker(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => host,
    };
    let bad = |c: char| "/@[]".contains(c) || c.is_whitespace();
    let colons = host.contains(':') && !text.starts_with('[');
    (!host.is_empty() && !host.contains(bad) && !colons).then(|| (host.to_string(), port))
}

fn topic(table: &Section<'_>, report: &mut Report<'_>) -> Option<TopicName> {
    let Some(entry) = table.entry(&TOPIC) else {
        missing(table, &TOPIC, "topic = \"web\"", report);
        return None;
    };
    let text = entry.text(report)?;
    entry.accept(report, text.parse())
}

/// How brokers are reached.
pub(super) fn access(table: &Section<'_>, report: &mut Report<'_>) -> Option<Access> {
    let tls = match tls::client_entry(table) {
        Some(entry) => Some(tls::client(entry, report)?),
        None => None,
    };
    let sasl = match table.entry(&SASL) {
        Some(entry) => Some(sasl(entry, tls.as_ref(), report)?),
        None => None,
    };
    Some(Access { tls, sasl })
}

fn sasl(
    entry: &Entry<'_>,
    tls: Option<&ClientTlsPlan>,
    report: &mut Report<'_>,
) -> Option<SaslPlan> {
    let expected = ", as in sasl = { mechanism = \"SCRAM-SHA-512\", user = \"logweir\", \
                    password_file = \"/etc/logweir/password\" }";
    let table = entry.section(SASL_KEYS, expected, report)?;
    if table.entry(&MECHANISM).is_none() {
        missing(&table, &MECHANISM, "mechanism = \"SCRAM-SHA-512\"", report);
    }
    let mechanism = table.word(&MECHANISM, &MECHANISMS, report)?;
    if mechanism == Mechanism::OAuthBearer {
        for key in [&USER, &PASSWORD_FILE] {
            if let Some(entry) = table.entry(key) {
                entry.misplaced(report, "OAUTHBEARER has a `token` instead");
            }
        }
        let secret = SecretPlan::Command(token(&table, report)?);
        return Some(SaslPlan { mechanism, user: String::new(), secret });
    }
    if let Some(entry) = table.entry(&TOKEN) {
        entry.misplaced(report, "needs `mechanism = \"OAUTHBEARER\"`");
    }
    for (key, example) in [
        (&USER, "user = \"logweir\""),
        (&PASSWORD_FILE, "password_file = \"/etc/logweir/password\""),
    ] {
        if table.entry(key).is_none() {
            missing(&table, key, example, report);
        }
    }
    let user = table.system_text(&USER, report);
    let file = table.system_text(&PASSWORD_FILE, report);
    if mechanism == Mechanism::Plain && tls.is_none() {
        let message = "PLAIN sends the password as it is, and without `tls` anybody on the way \
                       can read it";
        report.warn(&entry.span, entry.path(), message);
    }
    Some(SaslPlan { mechanism, user: user?.into(), secret: SecretPlan::File(file?.into()) })
}

fn token(table: &Section<'_>, report: &mut Report<'_>) -> Option<String> {
    let Some(entry) = table.entry(&TOKEN) else {
        missing(table, &TOKEN, "token = { command = \"/usr/bin/print-token\" }", report);
        return None;
    };
    let table = entry.section(TOKEN_KEYS, " with command", report)?;
    if table.entry(&TOKEN_COMMAND).is_none() {
        missing(&table, &TOKEN_COMMAND, "command = \"/usr/bin/print-token\"", report);
    }
    table.system_text(&TOKEN_COMMAND, report).map(str::to_string)
}

fn partitioning(section: &Section<'_>, report: &mut Report<'_>) -> Option<Partitioning> {
    let key = section.entry(&KEY);
    let word = match section.entry(&PARTITION) {
        Some(entry) => entry.word(report, &PARTITIONINGS)?,
        None => 0,
    };
    match (word, key) {
        (1, Some(entry)) => keyed::key(entry, report).map(|key| Partitioning::Hash { key }),
        (1, None) => {
            let help = "give the key as a regex with one group, or as a field: key = \"{host}\"";
            let path = format!("{}.{}", section.path, PARTITION.name);
            let place = section.place(PARTITION.name);
            report.error_help(place, &path, "\"hash\" needs `key`", help);
            None
        }
        (_, Some(entry)) => {
            entry.misplaced(report, "needs `partition = \"hash\"`");
            None
        }
        (0, None) => Some(Partitioning::Runs),
        _ => Some(Partitioning::Sticky),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_hosts_and_ports() {
        let is = |text: &str, host: &str| assert_eq!(broker(text), Some((host.into(), 9092)));
        is("k1.example.org:9092", "k1.example.org");
        is("127.0.0.1:9092", "127.0.0.1");
        is("[::1]:9092", "::1");
        for bad in ["k1", "k1:", ":9092", "::1:9092", "k1:0", "k1:99999", "kafka://k1:9092", ""] {
            assert_eq!(broker(bad), None, "{bad}");
        }
    }

    /// What is said of an output `k` with these lines, which reads from a spool.
    fn said(lines: &str) -> String {
        let text = format!(
            "[input.in]\nstdin = true\n[spool.hold]\nfrom = \"in\"\ndir = \"/s\"\n\
             [output.k]\nfrom = \"hold\"\n{lines}\n"
        );
        let diagnostics = match crate::config::parse(&text, "t") {
            Ok(config) => config.warnings,
            Err(refusal) => refusal.diagnostics,
        };
        diagnostics.iter().map(|one| one.to_string() + "\n").collect()
    }

    #[test]
    fn what_is_wrong_is_said_and_what_is_risky_too() {
        let to = |rest: &str| format!("kafka = {{ brokers = [\"k:9092\"], topic = \"t\"{rest} }}");
        let plain = "mechanism = \"PLAIN\", user = \"u\", password_file = \"/p\"";
        for (lines, wanted) in [
            (to(""), ""),
            (to(&format!(", tls = {{}}, sasl = {{ {plain} }}")), ""),
            (to(&format!(", sasl = {{ {plain} }}")), "without `tls` anybody"),
            (
                to(", sasl = { mechanism = \"SCRAM-SHA-512\", user = \"u\" }"),
                "needs `password_file`",
            ),
            (to(", sasl = { mechanism = \"OAUTHBEARER\" }"), "needs `token`"),
            (to(", sasl = { mechanism = \"GSSAPI\" }"), "must be \"PLAIN\" or"),
            (to(", group = \"g\""), "unknown key"),
            ("kafka = { topic = \"t\" }".into(), "needs `brokers`"),
            ("kafka = { brokers = \"k\", topic = \"t\" }".into(), "is not a host and a port"),
            ("kafka = { brokers = \"k:1\", topic = \"a b\" }".into(), "a topic's name has"),
            ("kafka = true".into(), "expected a table"),
            (to("") + "\npartition = \"hash\"", "\"hash\" needs `key`"),
            (to("") + "\nkey = \"{host}\"", "needs `partition = \"hash\"`"),
            (to("") + "\npartition = \"hash\"\nkey = \"{host}\"", ""),
            (to("") + "\nrate = \"10/s\"", "may choose other lines after a restart"),
            (to("") + "\nsample = 2", "may choose other lines after a restart"),
            (to("") + "\nsample = 2\nsample_mode = \"hash\"\nsample_key = \"(.)\"", ""),
        ] {
            let said = said(&lines);
            assert!(
                said.contains(wanted) && said.is_empty() == wanted.is_empty(),
                "{lines}: {said}"
            );
        }
    }
}
