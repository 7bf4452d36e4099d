//! Converting rsyslog's inputs to logweir's.

use super::syntax::Object;
use crate::cli::import::document::{Document, Table, quoted};
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
    /// The maximum number of TCP connections; empty for the default.
    pub(super) sessions: String,
    /// The size that messages may have, where it is more than the default.
    max_message: Option<u64>,
    /// True if programs' own messages come by another way than the socket.
    pub(super) omits_local: bool,
    /// The socket of programs on this host; empty for the usual one.
    pub(super) socket: String,
    /// The senders that are allowed, by protocol.
    pub(super) allowed: Vec<(String, Vec<String>)>,
    /// Such senders that are no addresses.
    pub(super) refused: Vec<String>,
}

impl Settings {
    /// Takes rsyslog's longest message; shorter ones than the default are not cut.
    pub(super) fn longest(&mut self, value: &str) {
        self.max_message = bytes(value).filter(|bytes| *bytes > MESSAGE).or(self.max_message);
    }

    /// Takes `UDP, 127.0.0.1, 192.0.2.0/24`.
    pub(super) fn allow(&mut self, value: &str) {
        let mut words = words(value).map(|word| word.replace(['[', ']'], ""));
        let kind = words.next().unwrap_or_default().to_ascii_lowercase();
        let is_address = |word: &String| {
            word.split('/').next().is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok())
        };
        let (good, bad): (Vec<_>, Vec<_>) = words.partition(is_address);
        self.refused.extend(bad);
        match self.allowed.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, all)) => all.extend(good),
            None if good.is_empty() => {}
            None => self.allowed.push((kind, good)),
        }
    }
}

/// The default of `max_message`.
const MESSAGE: u64 = 64 << 10;

/// A size as rsyslog writes it, as in `64k`.
pub(super) fn bytes(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &value[digits.len()..] {
        "" => 1,
        "k" => 1 << 10,
        "K" => 1000,
        "m" => 1 << 20,
        "M" => 1_000_000,
        "g" => 1 << 30,
        "G" => 1_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// The same in our words.
pub(super) fn size(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// What messages become: control characters are `#ooo`, as rsyslog has it by default.
fn messages(table: &mut Table, settings: &Settings) {
    if !settings.is_raw {
        table.text("escape", "control");
    }
    if let Some(bytes) = settings.max_message {
        table.text("max_message", &size(bytes));
    }
}

/// Parameters of inputs that are carried over, or reported where they are not; with a dot at the
/// end, all that begin so.
const CARRIED: [&str; 23] = [
    "type",
    "name",
    "port",
    "address",
    "ruleset",
    "path",
    "socket",
    "rcvbufsize",
    "maxsessions",
    "streamdriver.",
    "permittedpeer",
    "tls",
    "tls.",
    "file",
    "tag",
    "facility",
    "severity",
    "readmode",
    "freshstarttail",
    "startmsg.regex",
    "endmsg.regex",
    "addmetadata",
    "trimlineoverbytes",
];

/// Parameters of inputs with no equivalent here: most are about how rsyslog does its work. What a
/// limit of rates held back is not held back.
const NEEDLESS: [&str; 29] = [
    "config.enabled",
    "createpath",
    "deletestateonfiledelete",
    "discardtruncatedmsg",
    "escapelf",
    "flowcontrol",
    "ipfreebind",
    "keepalive",
    "keepalive.",
    "listenportfilename",
    "maxdatasize",
    "maxlinesatonce",
    "maxlisteners",
    "maxsubmitatonce",
    "monitor",
    "notifyonconnectionclose",
    "notifyonconnectionopen",
    "oversizemode",
    "persiststateafterrotation",
    "persiststateinterval",
    "ratelimit.",
    "readtimeout",
    "reopenontruncate",
    "schedulingpolicy",
    "socketbacklog",
    "statefile",
    "threads",
    "timerequery",
    "unlink",
];

/// Converts an `input(…)` to inputs, one for each of its ports; returns their names.
pub(super) fn inputs(
    object: &Object,
    settings: &Settings,
    at: &str,
    document: &mut Document,
) -> Vec<String> {
    let mut names = Vec::new();
    let is_known = |key: &str| {
        CARRIED.iter().chain(&NEEDLESS).any(|known| match known.strip_suffix('.') {
            Some(group) => key.starts_with(group),
            None => key == *known,
        })
    };
    let unknown: Vec<_> = object.keys.keys().filter(|key| !is_known(key)).cloned().collect();
    if !unknown.is_empty() {
        let what = format!("input {} {}", object.get("type"), unknown.join(", "));
        document.leave(at, &what, "see logweir.toml(5) for what takes its place");
    }
    for port in object.get("port").split('\n') {
        let mut one = object.clone();
        one.keys.insert("port".into(), port.into());
        names.extend(input(&one, settings, at, document));
    }
    names
}

fn input(
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
            messages(&mut table, settings);
            if let Some(buffer) = bytes(object.get("rcvbufsize")) {
                table.text("receive_buffer", &size(buffer));
            }
            table
        }
        "imptcp" if !object.get("path").is_empty() => {
            let what = format!("input imptcp path = {}", object.get("path"));
            document.leave(
                at,
                &what,
                "a Unix socket is one of datagrams here: syslog = \"unix://…\"",
            );
            return None;
        }
        "imtcp" | "imptcp" => {
            let tls = kind == "imtcp" && (settings.tls || object.get("streamdriver.mode") == "1");
            let scheme = if tls { "tls" } else { "tcp" };
            let mut table = Table::new("input", document.name(scheme));
            table.text("syslog", &format!("{scheme}://{}:{}", address(object), port("514")));
            if tls {
                secured(&mut table, settings, object);
            }
            messages(&mut table, settings);
            let own = object.get("maxsessions");
            let sessions = if own.is_empty() { &settings.sessions } else { own };
            if sessions.parse::<u32>().is_ok_and(|sessions| sessions > 1000) {
                table.raw("max_connections", sessions.to_string());
            }
            table
        }
        "imrelp" => {
            let mut table = Table::new("input", document.name("relp"));
            table.text("relp", &format!("{}:{}", address(object), port("2514")));
            if object.get("tls") == "on" {
                secured(&mut table, settings, object);
            }
            if let Some(bytes) = settings.max_message {
                table.text("max_message", &size(bytes));
            }
            table
        }
        "imuxsock" => {
            let mut table = Table::new("input", document.name("socket"));
            table.text("syslog", &format!("unix://{}", object.get("socket")));
            messages(&mut table, settings);
            table
        }
        "imfile" => followed(object, at, document),
        _ => {
            let instead = "logweir has no such input; send its lines by syslog or through a FIFO";
            document.leave(at, &format!("input {kind}"), instead);
            return None;
        }
    };
    table.comment(at);
    push(table, &kind, at, document)
}

/// A followed file, whose lines become messages with rsyslog's tag, facility and severity.
fn followed(object: &Object, at: &str, document: &mut Document) -> Table {
    let tag = object.get("tag").trim().trim_end_matches(':');
    let or = |key: &str, default: &str| match object.get(key) {
        "" => default.to_string(),
        own => own.to_ascii_lowercase(),
    };
    let mut table = Table::new("input", document.name(if tag.is_empty() { "files" } else { tag }));
    table.texts("tail", &[object.get("file").to_string()]);
    table.text("as", "message");
    table.text("app", if tag.is_empty() { "-" } else { tag });
    table.text("facility", &or("facility", "local0"));
    table.text("severity", &or("severity", "notice"));
    if object.get("freshstarttail") == "on" {
        table.text("start", "end");
    }
    let start = match (object.get("startmsg.regex"), object.get("readmode")) {
        ("", "2") => "^[^ \\t]",
        (regex, _) => regex,
    };
    if !start.is_empty() {
        table.raw("multiline", format!("{{ start = {} }}", quoted(start)));
    } else if object.get("readmode") == "1" {
        let what = format!("readMode 1 of {}", object.get("file"));
        document.leave(at, &what, "multiline = { start = '…' }, by a record's first line");
    }
    for key in ["endmsg.regex", "addmetadata", "trimlineoverbytes"] {
        if !["", "off", "0"].contains(&object.get(key)) {
            let what = format!("imfile {key} = {}", object.get(key));
            document.leave(at, &what, "see FOLLOWED FILES in logweir.toml(5)");
        }
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
                table.comment(super::action::COMMON_NAME);
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
    let quoted: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
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
        "imuxsock" if object.get("syssock.use") == "off" || settings.omits_local => return None,
        "imuxsock" => {
            let mut table = Table::new("input", document.name("local"));
            let named = [object.get("syssock.name"), &settings.socket];
            let named = named.into_iter().find(|name| !name.is_empty());
            if named.is_none() {
                table.comment("Under systemd /dev/log is journald's: see docs/from-rsyslog.md.");
            }
            table.text("syslog", &format!("unix://{}", named.unwrap_or("/dev/log")));
            messages(&mut table, settings);
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
