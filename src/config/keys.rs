//! Every key there is, and whose it is.

use super::diagnostic::shown;
use super::plan::Kind;
use super::report::{Report, nearest};
use super::section::Section;

/// A key of a node.
pub(super) struct Key {
    /// As it is written.
    pub(super) name: &'static str,
    /// The tables it stands in.
    kind: Kind,
    /// The sorts of node it belongs to; empty for all of its kind.
    sorts: &'static [&'static str],
}

const fn key(kind: Kind, name: &'static str, sorts: &'static [&'static str]) -> Key {
    Key { name, kind, sorts }
}

/// What a syslog input is, by its transport: unknown, …
pub(super) const SYSLOG: &str = "syslog";
/// … one over UDP, …
pub(super) const SYSLOG_UDP: &str = "syslog udp";
/// … over TCP, …
pub(super) const SYSLOG_TCP: &str = "syslog tcp";
/// … through TLS, …
pub(super) const SYSLOG_TLS: &str = "syslog tls";
/// … on a Unix socket.
pub(super) const SYSLOG_UNIX: &str = "syslog unix";

/// The keys of `[daemon]`.
pub(super) const DAEMON: [&str; 5] = ["control", "metrics", "stuck_after", "memory", "grace"];

/// The keys of all nodes.
pub(super) const KEYS: &[Key] = &[
    key(Kind::Input, "udp", &[]),
    key(Kind::Input, "stdin", &[]),
    key(Kind::Input, "fifo", &[]),
    key(Kind::Input, "relp", &[]),
    key(Kind::Input, "syslog", &[]),
    key(Kind::Input, "tls", &["relp", SYSLOG_TLS]),
    key(
        Kind::Input,
        "max_message",
        &["relp", SYSLOG, SYSLOG_UDP, SYSLOG_TCP, SYSLOG_TLS, SYSLOG_UNIX],
    ),
    key(Kind::Input, "max_connections", &["relp", SYSLOG_TCP, SYSLOG_TLS]),
    key(Kind::Input, "idle_timeout", &[SYSLOG_TCP, SYSLOG_TLS]),
    key(Kind::Input, "delimiter", &[SYSLOG_TCP, SYSLOG_TLS]),
    key(Kind::Input, "escape", &[SYSLOG, SYSLOG_UDP, SYSLOG_TCP, SYSLOG_TLS, SYSLOG_UNIX]),
    key(Kind::Input, "mode", &[SYSLOG_UNIX]),
    key(Kind::Input, "owner", &[SYSLOG_UNIX]),
    key(Kind::Input, "receive_buffer", &["udp", SYSLOG_UDP, SYSLOG_UNIX]),
    key(Kind::Input, "sockets", &["udp", SYSLOG_UDP]),
    key(Kind::Input, "multicast", &["udp", SYSLOG_UDP]),
    key(Kind::Input, "interface", &["udp", SYSLOG_UDP]),
    key(Kind::Input, "max_line", &["udp", "stdin", "fifo"]),
    key(Kind::Input, "sequence", &["udp", "stdin", "fifo"]),
    key(Kind::Filter, "from", &[]),
    key(Kind::Filter, "facility", &[]),
    key(Kind::Filter, "severity", &[]),
    key(Kind::Filter, "host", &[]),
    key(Kind::Filter, "app", &[]),
    key(Kind::Filter, "procid", &[]),
    key(Kind::Filter, "msgid", &[]),
    key(Kind::Filter, "source", &[]),
    key(Kind::Filter, "pid", &[]),
    key(Kind::Filter, "uid", &[]),
    key(Kind::Filter, "sd", &[]),
    key(Kind::Filter, "match", &[]),
    key(Kind::Filter, "reject", &[]),
    key(Kind::Filter, "rate", &[]),
    key(Kind::Filter, "sample", &[]),
    key(Kind::Filter, "sample_mode", &[]),
    key(Kind::Filter, "sample_key", &[]),
    key(Kind::Filter, "run", &[]),
    key(Kind::Filter, "workers", &["run"]),
    key(Kind::Filter, "queue", &["run"]),
    key(Kind::Filter, "when_full", &["run"]),
    key(Kind::Filter, "restart", &["run"]),
    key(Kind::Filter, "stop_grace", &["run"]),
    key(Kind::Filter, "user", &["run"]),
    key(Kind::Filter, "nice", &["run"]),
    key(Kind::Filter, "limits", &["run"]),
    key(Kind::Filter, "max_line", &["run"]),
    key(Kind::Spool, "from", &[]),
    key(Kind::Spool, "facility", &[]),
    key(Kind::Spool, "severity", &[]),
    key(Kind::Spool, "host", &[]),
    key(Kind::Spool, "app", &[]),
    key(Kind::Spool, "procid", &[]),
    key(Kind::Spool, "msgid", &[]),
    key(Kind::Spool, "source", &[]),
    key(Kind::Spool, "pid", &[]),
    key(Kind::Spool, "uid", &[]),
    key(Kind::Spool, "sd", &[]),
    key(Kind::Spool, "match", &[]),
    key(Kind::Spool, "reject", &[]),
    key(Kind::Spool, "rate", &[]),
    key(Kind::Spool, "sample", &[]),
    key(Kind::Spool, "sample_mode", &[]),
    key(Kind::Spool, "sample_key", &[]),
    key(Kind::Spool, "dir", &[]),
    key(Kind::Spool, "max_size", &[]),
    key(Kind::Spool, "max_age", &[]),
    key(Kind::Spool, "keep", &[]),
    key(Kind::Spool, "segment", &[]),
    key(Kind::Spool, "sync", &[]),
    key(Kind::Spool, "when_full", &[]),
    key(Kind::Spool, "compress", &[]),
    key(Kind::Spool, "reserve", &[]),
    key(Kind::Spool, "queue", &[]),
    key(Kind::Output, "from", &[]),
    key(Kind::Output, "facility", &[]),
    key(Kind::Output, "severity", &[]),
    key(Kind::Output, "host", &[]),
    key(Kind::Output, "app", &[]),
    key(Kind::Output, "procid", &[]),
    key(Kind::Output, "msgid", &[]),
    key(Kind::Output, "source", &[]),
    key(Kind::Output, "pid", &[]),
    key(Kind::Output, "uid", &[]),
    key(Kind::Output, "sd", &[]),
    key(Kind::Output, "match", &[]),
    key(Kind::Output, "reject", &[]),
    key(Kind::Output, "rate", &[]),
    key(Kind::Output, "sample", &[]),
    key(Kind::Output, "sample_mode", &[]),
    key(Kind::Output, "sample_key", &[]),
    key(Kind::Output, "pipe", &[]),
    key(Kind::Output, "file", &[]),
    key(Kind::Output, "udp", &[]),
    key(Kind::Output, "stdout", &[]),
    key(Kind::Output, "forward", &[]),
    key(Kind::Output, "spool", &[]),
    key(Kind::Output, "balance", &["forward"]),
    key(Kind::Output, "key", &["forward"]),
    key(Kind::Output, "format", &[]),
    key(Kind::Output, "tag", &[]),
    key(Kind::Output, "timeout", &["forward"]),
    key(Kind::Output, "tls", &["forward"]),
    key(Kind::Output, "queue", &[]),
    key(Kind::Output, "workers", &["pipe"]),
    key(Kind::Output, "when_full", &["pipe"]),
    key(Kind::Output, "restart", &["pipe"]),
    key(Kind::Output, "stop_grace", &["pipe"]),
    key(Kind::Output, "user", &["pipe"]),
    key(Kind::Output, "nice", &["pipe"]),
    key(Kind::Output, "limits", &["pipe"]),
    key(Kind::Output, "rotate", &["file"]),
    key(Kind::Output, "keep", &["file"]),
    key(Kind::Output, "compress", &["file"]),
    key(Kind::Output, "mode", &["file"]),
];

/// What a node without a choice made is called in messages.
fn sort_words(kind: Kind, sort: &str) -> &'static str {
    match (kind, sort) {
        (Kind::Input, "udp") => "UDP input",
        (Kind::Input, "stdin") => "standard input",
        (Kind::Input, "relp") => "RELP input",
        (Kind::Input, SYSLOG) => "syslog input",
        (Kind::Input, SYSLOG_UDP) => "syslog input over UDP",
        (Kind::Input, SYSLOG_TCP) => "syslog input over TCP",
        (Kind::Input, SYSLOG_TLS) => "syslog input through TLS",
        (Kind::Input, SYSLOG_UNIX) => "syslog input on a Unix socket",
        (Kind::Input, _) => "FIFO input",
        (Kind::Filter, "run") => "filter process",
        (Kind::Filter, _) => "filter without `run`",
        (Kind::Output, "pipe") => "pipe output",
        (Kind::Output, "file") => "file output",
        (Kind::Output, "udp") => "UDP output",
        (Kind::Output, "forward") => "forward output",
        (Kind::Spool, _) => "spool",
        (Kind::Output, _) => "standard output",
    }
}

/// Reports every key that is unknown or of another sort of node.
///
/// `sort` is the key that says what the node is (`udp`, `run`, …), empty for a filter
/// without a process and `None` where the table does not say.
pub(super) fn check(
    section: &Section<'_>,
    kind: Kind,
    sort: Option<&str>,
    report: &mut Report<'_>,
) {
    for entry in &section.entries {
        let mut homes = KEYS.iter().filter(|key| key.name == entry.key).peekable();
        if homes.peek().is_none() {
            let names = KEYS.iter().filter(|key| key.kind == kind).map(|key| key.name);
            let help = nearest(entry.key, names.clone()).unwrap_or_else(|| {
                let mut names: Vec<_> = names.collect();
                names.sort_unstable();
                format!("an {} has: {}", kind.word(), names.join(", "))
                    .replace("an filter", "a filter")
            });
            entry.misplaced(report, format!("unknown key `{}`", shown(entry.key)), Some(help));
            continue;
        }
        let Some(home) = homes.clone().find(|key| key.kind == kind) else {
            let owners: Vec<_> = homes.map(owners).collect();
            let article = if kind == Kind::Filter { "a" } else { "an" };
            let message = format!(
                "`{}` is a key of {}; this is {article} {}",
                entry.key,
                spoken(&owners),
                kind.word()
            );
            entry.misplaced(report, message, None);
            continue;
        };
        let Some(sort) = sort else { continue };
        if !home.sorts.is_empty() && !home.sorts.contains(&sort) {
            let message = format!(
                "`{}` is a key of {}; this is a {}",
                entry.key,
                owners(home),
                sort_words(kind, sort)
            );
            entry.misplaced(report, message, None);
        }
    }
}

/// Words with commas and an `and`.
fn spoken(words: &[String]) -> String {
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// The nodes that have a key, in the plural.
fn owners(key: &Key) -> String {
    if key.sorts.is_empty() {
        return plural(key.kind.word());
    }
    // Where all transports of syslog have it, `syslog` alone stands for them.
    let all = key.sorts.contains(&SYSLOG);
    let part = |sort: &&&str| !all || !sort.starts_with("syslog ");
    let words = key.sorts.iter().filter(part).map(|sort| plural(sort_words(key.kind, sort)));
    spoken(&words.collect::<Vec<_>>())
}

fn plural(word: &str) -> String {
    match word.split_once(" input ") {
        Some((before, behind)) => format!("{before} inputs {behind}"),
        None => format!("{word}{}", if word.ends_with('s') { "es" } else { "s" }),
    }
}

/// Which one of `choices` the table has; reports it when there are none or several.
pub(super) fn choose<'c>(
    section: &Section<'_>,
    choices: &[&'c str],
    report: &mut Report<'_>,
) -> Option<&'c str> {
    let mut made = choices.iter().filter(|choice| section.get(choice).is_some());
    let first = made.next();
    let words: Vec<_> = choices.iter().map(|choice| format!("`{choice}`")).collect();
    let Some(first) = first else {
        let message = format!("needs one of {}", words.join(", "));
        report.error(&section.span, &section.path, message);
        return None;
    };
    let more: Vec<_> = made.collect();
    for choice in &more {
        if let Some(entry) = section.get(choice) {
            let message = format!("has `{first}` already: only one of {} goes", words.join(", "));
            entry.misplaced(report, message, None);
        }
    }
    more.is_empty().then_some(*first)
}
