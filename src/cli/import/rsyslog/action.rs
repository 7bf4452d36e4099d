//! rsyslog's actions as logweir's outputs.

use std::collections::{BTreeMap, HashMap};

use super::source::{by_fingerprint, bytes, list, size, words};
use super::syntax::Object;
use super::template::{self, Piece};
use crate::cli::import::document::{Document, Table, quoted};
use crate::cli::import::takes;

/// Action parameters with no equivalent here: queues and retries are logweir's own.
const NEEDLESS: [&str; 28] = [
    "queue.",
    "action.",
    "asyncwriting",
    "closetimeout",
    "config.enabled",
    "conn.timeout",
    "connecttimeout",
    "dynafilecachesize",
    "failonchownfailure",
    "flush",
    "iobuffersize",
    "sync",
    "name",
    "rebindinterval",
    "resendlastmsg",
    "keepalive",
    "signalonclose",
    "closetimeout",
    "killunresponsive",
    "forcesingleinstance",
    "hup.",
    "streamdriver.",
    "timeout",
    "udp.senddelay",
    "udp.sendtoall",
    "windowsize",
    "ziplevel",
    "partitions.auto",
];

/// Earlier settings for the actions that follow.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    /// The templates by name, in lower case.
    pub(super) templates: HashMap<String, Vec<Piece>>,
    /// The default parameters of files: from the module, and from legacy directives.
    pub(super) file: BTreeMap<String, String>,
    /// The same for forwarding.
    pub(super) forward: BTreeMap<String, String>,
    /// Authorities for TLS, our certificate and key.
    pub(super) tls: [String; 3],
}

/// Parses an action in the legacy form, as in `-/var/log/mail.log;Template`; `None` if it is not
/// one.
pub(super) fn legacy(text: &str) -> Option<Object> {
    // A dash says that the file need not be synced; it may be before a template's name, too.
    let text = text.trim().trim_start_matches('-').trim_start();
    let (text, template) = match text.rsplit_once(';') {
        Some((text, template)) => (text.trim(), first_word(template)),
        None => (text, ""),
    };
    let mut keys: Vec<(&str, String)> = Vec::new();
    if !template.is_empty() {
        keys.push(("template", template.into()));
    }
    let first = text.chars().next()?;
    match first {
        '/' => {
            keys.push(("type", "omfile".into()));
            keys.push(("file", first_word(text).into()));
        }
        '?' | '|' | '^' => {
            let (kind, key) = match first {
                '?' => ("omfile", "dynafile"),
                '|' => ("ompipe", "pipe"),
                _ => ("omshell", "binary"),
            };
            keys.push(("type", kind.into()));
            keys.push((key, first_word(&text[1..]).into()));
        }
        '@' => {
            let protocol = if text.starts_with("@@") { "tcp" } else { "udp" };
            let rest = text.trim_start_matches('@');
            let (options, peer) = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')'))
            {
                Some((options, peer)) => (options, peer),
                None => ("", rest),
            };
            let peer = first_word(peer);
            let (host, port) = match peer.strip_prefix('[').and_then(|peer| peer.split_once(']')) {
                Some((host, port)) => (host, port.trim_start_matches(':')),
                None => peer.rsplit_once(':').unwrap_or((peer, "514")),
            };
            keys.push(("type", "omfwd".into()));
            keys.push(("protocol", protocol.into()));
            keys.push(("target", host.into()));
            keys.push(("port", if port.is_empty() { "514" } else { port }.into()));
            if options.contains('o') {
                keys.push(("tcp_framing", "octet-counted".into()));
            }
        }
        ':' => {
            let (module, rest) = text[1..].split_once(':')?;
            let module = module.to_ascii_lowercase();
            if module == "omrelp" {
                let (host, port) = rest.rsplit_once(':').unwrap_or((rest, "2514"));
                keys.push(("target", host.into()));
                keys.push(("port", port.into()));
            } else if module == "omusrmsg" {
                keys.push(("users", first_word(rest).into()));
            }
            keys.push(("type", module));
        }
        '*' => keys.extend([("type", "omusrmsg".to_string()), ("users", "*".into())]),
        c if c.is_ascii_alphabetic() && text.chars().all(|c| !c.is_whitespace() && c != '(') => {
            keys.extend([("type", "omusrmsg".to_string()), ("users", text.into())]);
        }
        _ => return None,
    }
    let keys = keys.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
    Some(Object { kind: "action".into(), keys, ..Object::default() })
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// Converts an action to an output; `None` if that is impossible, which is reported.
pub(super) fn output(
    object: &Object,
    defaults: &Defaults,
    at: &str,
    document: &mut Document,
) -> Option<Table> {
    let kind = object.get("type").to_ascii_lowercase();
    let kind = kind.trim_start_matches("builtin:").to_string();
    document.place = at.to_string();
    let made = match kind.as_str() {
        "omfile" if object.get("file") == "/dev/null" => return None,
        "omfile" if STDOUT.contains(&object.get("file")) => stdout(object, defaults, document),
        "omfile" if object.get("file").starts_with("/dev/") => {
            device(object.get("file"), (object, defaults), document)
        }
        "omfile" => file(object, defaults, document),
        "omstdout" => stdout(object, defaults, document),
        "omfwd" => forward(object, defaults, document),
        "omrelp" => relp(object, defaults, document),
        "omprog" => program(object, defaults, document),
        "omusrmsg" => users(object, document),
        "ompipe" if object.get("pipe") == "/dev/xconsole" => {
            Err("nobody reads it today; else pipe = \"exec cat >/dev/xconsole\"".into())
        }
        "ompipe" => device(object.get("pipe"), (object, defaults), document),
        "omshell" => {
            Err("a program for each message: a pipe output has one that reads them all".into())
        }
        "omkafka" => broker(object, defaults, document),
        "omelasticsearch" | "omhttp" | "mmjsonparse" | "mmnormalize" => {
            Err("pipe the lines, format = \"json\", through a program that sends them".into())
        }
        "ommysql" | "ompgsql" | "omlibdbi" | "ommongodb" => {
            Err("pipe the lines, format = \"json\", through a program that inserts them".into())
        }
        "ommail" => Err("pipe the lines through a program that sends mail, with a `rate`".into()),
        "omjournal" | "omuxsock" => Err("pipe the lines through `logger`".into()),
        "omhiredis" | "omrabbitmq" | "omczmq" | "omclickhouse" | "omhdfs" | "omsnmp" => {
            Err("pipe the lines, format = \"json\", through a program that sends them".into())
        }
        "omgssapi" => Err("forward through TLS: tls:// or relp+tls://".into()),
        "omdiscard" => return None,
        other => Err(format!("logweir has nothing like {other}")),
    };
    let mut table = match made {
        Ok(table) => table,
        Err(instead) => {
            document.leave(at, &format!("action {kind}"), &instead);
            return None;
        }
    };
    table.comment(at);
    every_nth(&mut table, object, at, document);
    let known = ["type", "template", "file", "dynafile", "target", "port", "protocol", "users"];
    let known =
        |key: &str| known.contains(&key) || NEEDLESS.iter().any(|word| key.starts_with(word));
    let known = |key: &str| known(key) || CARRIED.contains(&key) || key.starts_with("tls");
    let unknown: Vec<_> = object.keys.keys().filter(|key| !known(key)).cloned().collect();
    if !unknown.is_empty() {
        let instead = "see logweir.toml(5) for what takes its place";
        document.leave(at, &format!("parameters {}", unknown.join(", ")), instead);
    }
    Some(table)
}

/// Names of standard output.
const STDOUT: [&str; 4] = ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1", "/proc/1/fd/1"];

/// An action for some of its messages alone.
fn every_nth(table: &mut Table, object: &Object, at: &str, document: &mut Document) {
    let nth = object.get("action.execonlyeverynthtime");
    if nth.parse::<u64>().is_ok_and(|nth| nth > 1) {
        table.raw("sample", nth.to_string());
    }
    let seconds = object.get("action.execonlyonceeveryinterval");
    if !["", "0"].contains(&seconds) {
        let what = format!("an action once in {seconds} seconds");
        document.leave(at, &what, "a `rate` on the output, as in \"1/m\"");
    }
}

/// Parameters that an output's keys represent, or that match its defaults.
const CARRIED: [&str; 19] = [
    "pipe",
    "broker",
    "topic",
    "confparam",
    "tcp_framedelimiter",
    "fileowner",
    "filegroup",
    "dirowner",
    "dirgroup",
    "filecreatemode",
    "dircreatemode",
    "createdirs",
    "tcp_framing",
    "streamdriver",
    "streamdrivermode",
    "streamdriverauthmode",
    "streamdriverpermittedpeers",
    "binary",
    "maxmessagesize",
];

/// A word for the name of an output: the last part of a path that has one of its own.
fn word_of(path: &str) -> String {
    let own = |part: &str| {
        let mut rest = part;
        let mut literal = String::new();
        // Without fields and parts of the time.
        while let Some(at) = rest.find(['{', '%']) {
            literal += &rest[..at];
            rest = match rest[at..].starts_with('{') {
                true => rest[at..].split_once('}').map_or("", |(_, rest)| rest),
                false => rest.get(at + 2..).unwrap_or(""),
            };
        }
        literal += rest;
        let name = literal.split('.').next().unwrap_or("").trim_matches(['-', '_']).to_string();
        name.contains(|c: char| c.is_alphanumeric()).then_some(name)
    };
    path.rsplit('/').find_map(own).unwrap_or_else(|| "file".into())
}

/// Sets the format that an action names, or `default` if it names none. What cannot be expressed is
/// reported, and the lines are written in the default format.
fn format(
    table: &mut Table,
    (object, defaults): (&Object, &Defaults),
    default: &str,
    document: &mut Document,
) {
    let name = match object.get("template") {
        "" => default,
        name => name,
    };
    let own = defaults.templates.get(&name.to_ascii_lowercase());
    let made = match (template::built_in(name), own) {
        (Some(format), _) => Ok(format.to_string()),
        (None, Some(pieces)) => template::format(pieces).map_err(|what| format!("it has {what}")),
        (None, None) => Err("there is none".into()),
    };
    let made = made.and_then(|format| {
        let probe = format!("[output.o]\nfile = \"/o\"\nformat = {}", quoted(&format));
        match format == "line" || takes(&probe) {
            true => Ok(format),
            false => Err(format!("format = {} is not taken", quoted(&format))),
        }
    });
    let format = made.unwrap_or_else(|why| {
        let (at, what) = (document.place.clone(), format!("the template {name}"));
        document.leave(&at, &what, &format!("{why}: choose another `format`"));
        template::built_in(default).unwrap_or("text").to_string()
    });
    if format != "line" {
        table.text("format", &format);
    }
}

fn file(object: &Object, defaults: &Defaults, document: &mut Document) -> Result<Table, String> {
    let path = match (object.get("file"), object.get("dynafile")) {
        ("", "") => return Err("it names no file".into()),
        ("", dynamic) => {
            let pieces = defaults.templates.get(&dynamic.to_ascii_lowercase());
            let pieces = pieces.ok_or_else(|| format!("there is no template {dynamic}"))?;
            let explain = |what| format!("the file's name has {what}: write file = \"…\"");
            template::file_name(pieces).map_err(explain)?
        }
        (path, _) => path.replace('%', "%%"),
    };
    if path.contains("{{") || object.get("file").contains(['{', '}']) {
        return Err("braces name fields in logweir: name another file".into());
    }
    let mut table = Table::new("output", document.name(&word_of(&path)));
    table.text("file", &path);
    if template::has_time(&path) {
        table.text("time_zone", "local");
    }
    format(&mut table, (object, defaults), of_files(defaults), document);
    for (key, ours) in [
        ("fileowner", "owner"),
        ("filegroup", "group"),
        ("filecreatemode", "mode"),
        ("dircreatemode", "dir_mode"),
    ] {
        let set = Some(object.get(key)).filter(|value| !value.is_empty());
        let Some(value) = set.or_else(|| defaults.file.get(key).map(String::as_str)) else {
            continue;
        };
        let value = if ours.contains("mode") { octal(value) } else { value.to_string() };
        let probe = format!("[output.o]\nfile = \"/o\"\n{ours} = {}", quoted(&value));
        match takes(&probe) {
            true => table.text(ours, &value),
            false => {
                let what = format!("{ours} = {}", quoted(&value));
                document.leave(&path, &what, "not taken by this version: see logrotate's `create`");
            }
        }
    }
    Ok(table)
}

/// The template of files that name none.
fn of_files(defaults: &Defaults) -> &str {
    defaults.file.get("template").map_or("RSYSLOG_FileFormat", String::as_str)
}

/// Standard output.
fn stdout(object: &Object, defaults: &Defaults, document: &mut Document) -> Result<Table, String> {
    let mut table = Table::new("output", document.name("stdout"));
    table.raw("stdout", "true".into());
    format(&mut table, (object, defaults), of_files(defaults), document);
    Ok(table)
}

/// A device or a named pipe: a program waits for it, so nothing else does.
fn device(
    path: &str,
    (object, defaults): (&Object, &Defaults),
    document: &mut Document,
) -> Result<Table, String> {
    if !path.starts_with('/') || path.contains(['\'', '\\']) {
        return Err("a pipe output whose command writes there".into());
    }
    let mut table = Table::new("output", document.name(&word_of(path)));
    table.text("pipe", &format!("exec cat >'{path}'"));
    format(&mut table, (object, defaults), of_files(defaults), document);
    Ok(table)
}

/// A topic of Kafka.
fn broker(object: &Object, defaults: &Defaults, document: &mut Document) -> Result<Table, String> {
    let brokers: Vec<_> = words(object.get("broker")).collect();
    let topic = object.get("topic");
    if topic.is_empty() || object.get("dynatopic") == "on" {
        return Err("an output with kafka = { brokers = […], topic = \"…\" }".into());
    }
    let brokers = if brokers.is_empty() { vec!["localhost:9092".to_string()] } else { brokers };
    let mut table = Table::new("output", document.name(topic));
    let brokers = list(&brokers);
    table.raw("kafka", format!("{{ brokers = {brokers}, topic = {} }}", quoted(topic)));
    for setting in words(object.get("confparam")) {
        let instead = "see KAFKA in logweir.toml(5): tls, sasl, compress, timeout";
        let at = document.place.clone();
        document.leave(&at, &format!("confParam {setting}"), instead);
    }
    format(&mut table, (object, defaults), "RSYSLOG_FileFormat", document);
    Ok(table)
}

/// A mode with four digits.
fn octal(text: &str) -> String {
    format!("{:0>4}", text.trim_start_matches('0'))
}

fn forward(object: &Object, defaults: &Defaults, document: &mut Document) -> Result<Table, String> {
    let peers = peers(object);
    let Some(host) = words(object.get("target")).next() else {
        return Err("it names no target".into());
    };
    let mut table = Table::new("output", document.name(&format!("to-{host}")));
    let default = defaults.forward.get("template");
    let default = default.map_or("RSYSLOG_TraditionalForwardFormat", String::as_str);
    if object.get("protocol").eq_ignore_ascii_case("tcp") {
        let tls = object.get("streamdrivermode") == "1"
            || object.get("streamdrivermode").is_empty()
                && defaults.forward.get("streamdrivermode").is_some_and(|mode| mode == "1");
        let scheme = if tls { "tls" } else { "tcp" };
        let urls: Vec<_> = peers.iter().map(|peer| format!("{scheme}://{peer}")).collect();
        table.texts("forward", &urls);
        if urls.len() > 1 {
            table.text("balance", "round-robin");
        }
        if object.get("tcp_framing") != "octet-counted" {
            table.text("framing", "newline");
        }
        if !["", "10"].contains(&object.get("tcp_framedelimiter")) {
            return Err("only a newline ends messages, or their lengths stand before them".into());
        }
        if tls {
            let of = |key: &str| match object.get(key) {
                "" => defaults.forward.get(key).cloned().unwrap_or_default(),
                own => own.to_string(),
            };
            let known = (of("streamdriverauthmode"), of("streamdriverpermittedpeers"));
            let [ca, cert, key] = &defaults.tls;
            let or = |key: &str, other: &String| match object.get(key) {
                "" => other.clone(),
                own => own.to_string(),
            };
            let files = [
                or("streamdriver.cafile", ca),
                or("streamdriver.certfile", cert),
                or("streamdriver.keyfile", key),
            ];
            client_tls(&mut table, &files, (&known.0, &known.1));
        }
        format(&mut table, (object, defaults), default, document);
        spool(&mut table, object);
        return Ok(table);
    }
    let [peer] = &peers[..] else {
        return Err("an output with `udp` for each target, and a `sample` on each".into());
    };
    table.text("udp", peer);
    format(&mut table, (object, defaults), default, document);
    Ok(table)
}

/// The hosts and ports of an action: of a list of ports each belongs to the target in its place.
fn peers(object: &Object) -> Vec<String> {
    let ports: Vec<_> = words(object.get("port")).collect();
    let peer = |(at, host): (usize, String)| {
        let port = ports.get(at).or_else(|| ports.last()).map_or("514", String::as_str);
        match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        }
    };
    words(object.get("target")).enumerate().map(peer).collect()
}

/// The `tls` of an output: its files, and how the peer is known and by what.
fn client_tls(table: &mut Table, [ca, cert, key]: &[String; 3], (auth, peers): (&str, &str)) {
    let mut keys = Vec::new();
    let way = auth.rsplit('/').next().unwrap_or_default();
    let ca = if way == "fingerprint" { "" } else { ca.as_str() };
    for (name, value) in [("ca", ca), ("cert", cert.as_str()), ("key", key.as_str())] {
        if !value.is_empty() {
            keys.push(format!("{name} = {}", quoted(value)));
        }
    }
    let peers: Vec<_> = words(peers).collect();
    match way {
        "fingerprint" => keys.push(by_fingerprint(&peers)),
        "name" if !peers.is_empty() => {
            table.comment(COMMON_NAME);
            keys.push(format!("name = {}", list(&peers)));
        }
        "anon" => table.comment("rsyslog takes any certificate of this peer; logweir checks it."),
        _ => {}
    }
    if !keys.is_empty() {
        table.raw("tls", format!("{{ {} }}", keys.join(", ")));
    }
}

/// What is not the same about names of certificates.
pub(super) const COMMON_NAME: &str = "Names are those in a certificate's subjectAltName; rsyslog \
                                      takes its common name, too: see docs/security.md.";

/// A queue on disk is a spool.
fn spool(table: &mut Table, object: &Object) {
    let name = object.get("queue.filename");
    if name.is_empty() {
        return;
    }
    let mut keys = format!("dir = {}", quoted(&format!("/var/spool/logweir/{name}")));
    if let Some(bytes) = bytes(object.get("queue.maxdiskspace")).filter(|bytes| *bytes > 0) {
        keys += &format!(", max_size = {}", quoted(&size(bytes)));
    }
    table.raw("spool", format!("{{ {keys} }}"));
}

fn relp(object: &Object, defaults: &Defaults, document: &mut Document) -> Result<Table, String> {
    let (host, tls) = (object.get("target"), object.get("tls") == "on");
    if host.is_empty() {
        return Err("it names no target".into());
    }
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let port = match object.get("port") {
        "" => "2514",
        port => port,
    };
    let mut table = Table::new("output", document.name(&format!("to-{host}")));
    let scheme = if tls { "relp+tls" } else { "relp" };
    table.text("forward", &format!("{scheme}://{host}:{port}"));
    if tls {
        let of = |key: &str| object.get(key).to_string();
        let files = [of("tls.cacert"), of("tls.mycert"), of("tls.myprivkey")];
        client_tls(&mut table, &files, (&of("tls.authmode"), &of("tls.permittedpeer")));
    }
    format(&mut table, (object, defaults), "RSYSLOG_ForwardFormat", document);
    spool(&mut table, object);
    Ok(table)
}

fn program(object: &Object, defaults: &Defaults, document: &mut Document) -> Result<Table, String> {
    let command = object.get("binary");
    if command.is_empty() {
        return Err("it names no binary".into());
    }
    let word = command.split_whitespace().next().map_or_else(|| "pipe".into(), word_of);
    let mut table = Table::new("output", document.name(&word));
    table.text("pipe", &format!("exec {command}"));
    format(&mut table, (object, defaults), "RSYSLOG_FileFormat", document);
    Ok(table)
}

fn users(object: &Object, document: &mut Document) -> Result<Table, String> {
    let users: Vec<_> =
        object.get("users").split([',', '\n']).map(|user| user.trim().to_string()).collect();
    let mut table = Table::new("output", document.name("terminals"));
    table.texts("users", &users);
    match takes(&table.to_text()) {
        true => Ok(table),
        false => Err("messages to terminals are not written by this version".into()),
    }
}
