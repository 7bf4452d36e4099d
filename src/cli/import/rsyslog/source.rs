//! Converting rsyslog's inputs to logweir's.

use super::syntax::Object;
use crate::cli::import::document::{Document, Table};
use crate::cli::import::takes;

/// Settings shared by several inputs: `module(load="imtcp" …)` and `global(…)`.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) ca: String,
    pub(super) cert: String,
    pub(super) key: String,
    /// True if imtcp's driver is a TLS driver and its mode is on.
    pub(super) tls: bool,
    /// How clients are known, and by what.
    pub(super) auth: String,
    pub(super) peers: Vec<String>,
    /// The seconds between marks; empty for the default.
    pub(super) mark: String,
    /// True if control characters in messages stay as they are.
    pub(super) is_raw: bool,
}

/// Control characters become `#ooo`, as rsyslog has it by default.
fn escape(table: &mut Table, settings: &Settings) {
    if !settings.is_raw {
        table.text("escape", "control");
    }
}

/// Converts an `input(…)` to an input; returns the node's name, if that is possible.
pub(super) fn input(
    object: &Object,
    settings: &Settings,
    at: &str,
    document: &mut Document,
) -> Option<String> {
    let address = |object: &Object| match object.get("address") {
        "" | "*" => "0.0.0.0".to_string(),
        address if address.contains(':') => format!("[{address}]"),
        address => address.to_string(),
    };
    let port = |default: &str| match object.get("port") {
        "" => default.to_string(),
        port => port.to_string(),
    };
    let kind = object.get("type").to_ascii_lowercase();
    let mut table = match kind.as_str() {
        "imudp" => {
            let mut table = Table::new("input", document.name("udp"));
            let group =
                if object.get("address").is_empty() { "0.0.0.0".into() } else { address(object) };
            table.text("syslog", &format!("udp://{group}:{}", port("514")));
            escape(&mut table, settings);
            table
        }
        "imtcp" | "imptcp" => {
            let tls = kind == "imtcp" && (settings.tls || object.get("streamdriver.mode") == "1");
            let scheme = if tls { "tls" } else { "tcp" };
            let mut table = Table::new("input", document.name(scheme));
            table.text("syslog", &format!("{scheme}://{}:{}", address(object), port("514")));
            if tls {
                secured(&mut table, settings, object);
            }
            escape(&mut table, settings);
            table
        }
        "imrelp" => {
            let mut table = Table::new("input", document.name("relp"));
            table.text("relp", &format!("{}:{}", address(object), port("2514")));
            if object.get("tls") == "on" {
                secured(&mut table, settings, object);
            }
            table
        }
        "imuxsock" => {
            let mut table = Table::new("input", document.name("socket"));
            table.text("syslog", &format!("unix://{}", object.get("socket")));
            escape(&mut table, settings);
            table
        }
        "imfile" => followed(object, document),
        _ => {
            let instead = "logweir has no such input; send its lines by syslog or through a FIFO";
            document.leave(at, &format!("input {kind}"), instead);
            return None;
        }
    };
    table.comment(at);
    push(table, &kind, at, document)
}

/// A followed file. Formats take the input's name for the tag of its lines, so it is called by
/// rsyslog's tag.
fn followed(object: &Object, document: &mut Document) -> Table {
    let tag = object.get("tag").trim_end_matches(':');
    let name = document.name(if tag.is_empty() { "files" } else { tag });
    let mut table = Table::new("input", name);
    table.texts("tail", &[object.get("file").to_string()]);
    if !tag.is_empty() && table.name() != tag {
        table.comment(&format!("rsyslog calls its lines {tag}."));
    }
    let pri = (object.get("facility"), object.get("severity"));
    if pri != ("", "") {
        table.comment(&format!(
            "rsyslog gives its lines facility {} and severity {}; here they are user.notice.",
            if pri.0.is_empty() { "local0" } else { pri.0 },
            if pri.1.is_empty() { "notice" } else { pri.1 },
        ));
    }
    table
}

fn secured(table: &mut Table, settings: &Settings, object: &Object) {
    let or = |key: &str, other: &str| match object.get(key) {
        "" => other.to_string(),
        own => own.to_string(),
    };
    let cert = or("tls.mycert", &or("streamdriver.certfile", &settings.cert));
    let key = or("tls.myprivkey", &or("streamdriver.keyfile", &settings.key));
    let ca = or("tls.cacert", &or("streamdriver.cafile", &settings.ca));
    let quoted = crate::cli::import::document::quoted;
    let mut keys = vec![format!("cert = {}", quoted(&cert)), format!("key = {}", quoted(&key))];
    let auth = or("tls.authmode", &or("streamdriver.authmode", &settings.auth));
    let own = [object.get("tls.permittedpeer"), object.get("permittedpeer")];
    let own = own.into_iter().flat_map(words);
    let mut peers: Vec<_> = own.collect();
    if peers.is_empty() {
        peers.clone_from(&settings.peers);
    }
    match auth.rsplit('/').next().unwrap_or_default() {
        "fingerprint" => keys.push(by_fingerprint(&peers)),
        "" | "anon" => {}
        way => {
            if !ca.is_empty() {
                keys.push(format!("client_ca = {}", quoted(&ca)));
            }
            if way == "name" && !peers.is_empty() {
                keys.push(format!("names = {}", list(&peers)));
            }
        }
    }
    table.raw("tls", format!("{{ {} }}", keys.join(", ")));
}

/// The words of a value that may be a list.
pub(in crate::cli::import) fn words(value: &str) -> impl Iterator<Item = String> {
    value.split([',', '\n']).map(|word| word.trim().to_string()).filter(|word| !word.is_empty())
}

/// The keys that make certificates good by their fingerprints.
pub(in crate::cli::import) fn by_fingerprint(prints: &[String]) -> String {
    format!("verify = \"fingerprint\", fingerprints = {}", list(prints))
}

/// A list of texts.
pub(in crate::cli::import) fn list(texts: &[String]) -> String {
    let quoted: Vec<_> =
        texts.iter().map(|text| crate::cli::import::document::quoted(text)).collect();
    format!("[{}]", quoted.join(", "))
}

/// Converts a module that needs no `input(…)` to an input.
pub(super) fn of_module(
    module: &str,
    object: &Object,
    settings: &Settings,
    at: &str,
    document: &mut Document,
) -> Option<String> {
    let mut table = match module {
        "imuxsock" if object.get("syssock.use") == "off" => return None,
        "imuxsock" => {
            let mut table = Table::new("input", document.name("local"));
            table.comment("Under systemd /dev/log is journald's: see docs/from-rsyslog.md.");
            let socket = match object.get("syssock.name") {
                "" => "/dev/log",
                name => name,
            };
            table.text("syslog", &format!("unix://{socket}"));
            escape(&mut table, settings);
            table
        }
        "imklog" | "imkmsg" => {
            let mut table = Table::new("input", document.name("kernel"));
            table.raw("kernel", "true".into());
            table
        }
        "imjournal" => {
            let mut table = Table::new("input", document.name("journal"));
            table.raw("journal", "true".into());
            table
        }
        "immark" => {
            let mut table = Table::new("input", document.name("mark"));
            let seconds = match object.get("interval") {
                "" => "1200",
                seconds => seconds,
            };
            table.text("mark", &format!("{seconds}s"));
            table
        }
        _ => return None,
    };
    table.comment(at);
    push(table, module, at, document)
}

/// Adds an input, if the check accepts it.
fn push(table: Table, what: &str, at: &str, document: &mut Document) -> Option<String> {
    if !takes(&table.to_text()) {
        let lines: Vec<_> = table.to_text().lines().skip(1).map(str::to_string).collect();
        document.leave(at, what, &format!("not taken by this version: {}", lines.join(" ")));
        return None;
    }
    let name = table.name().to_string();
    document.push(table);
    Some(name)
}
