//! syslog-ng's source and destination drivers as inputs and outputs.

use super::macros::{self, Sets};
use super::syntax::Call;
use crate::cli::import::document::{Document, Table, quoted};
use crate::cli::import::rsyslog::source::by_fingerprint;
use crate::cli::import::rsyslog::template::has_time;

/// Options without an equivalent, which change nothing that arrives.
const NEEDLESS: [&str; 48] = [
    "flush-timeout",
    "flush-lines",
    "batch-lines",
    "batch-timeout",
    "inherit-environment",
    "sync-freq",
    "use-dns",
    "use-fqdn",
    "dns-cache",
    "keep-hostname",
    "optional",
    "persist-name",
    "log-msg-size",
    "chain-hostnames",
    "ip",
    "localip",
    "port",
    "localport",
    "destport",
    "transport",
    "tls",
    "ip-protocol",
    "flags",
    "max-connections",
    "so-rcvbuf",
    "so-sndbuf",
    "so-keepalive",
    "log-iw-size",
    "log-fetch-limit",
    "keep-alive",
    "tcp-keepalive",
    "log-fifo-size",
    "template",
    "perm",
    "owner",
    "group",
    "dir-perm",
    "dir-owner",
    "dir-group",
    "create-dirs",
    "disk-buffer",
    "fsync",
    "base-dir",
    "filename-pattern",
    "recursive",
    "follow-freq",
    "time-reap",
    "suppress",
];

/// The templates of messages that go to other hosts.
const RFC_3164: &str = "<$PRI>$DATE $HOST $MSGHDR$MSG\n";
const RFC_5424: &str = "<$PRI>1 $ISODATE $HOST $PROGRAM $PID $MSGID $SDATA $MSG\n";

/// What the destinations need to know of the rest.
pub(super) struct Around<'a> {
    /// The templates by name.
    pub(super) templates: &'a std::collections::BTreeMap<String, String>,
    /// The global options.
    pub(super) options: &'a Call,
    /// What rewrite rules before it have set.
    pub(super) sets: &'a Sets,
}

/// How a network driver transports messages.
fn transport(call: &Call) -> String {
    let named = call.get("transport").to_ascii_lowercase();
    match (named.as_str(), call.name.as_str()) {
        ("", "udp" | "udp6") => "udp".into(),
        ("", _) if call.option("tls").is_some() => "tls".into(),
        ("", _) => "tcp".into(),
        ("tls", _) => "tls".into(),
        ("tcp", _) if call.option("tls").is_some() => "tls".into(),
        _ => named,
    }
}

fn port(call: &Call, transport: &str, names: &[&str]) -> String {
    let own = names.iter().map(|name| call.get(name)).find(|port| !port.is_empty());
    own.unwrap_or(match (call.name.as_str(), transport) {
        ("syslog", "tcp") | ("network", "tcp") => "601",
        ("syslog" | "network", "tls") => "6514",
        _ => "514",
    })
    .to_string()
}

/// The files of `tls(…)`, and how peers are known.
fn tls(call: &Call, ca_key: &str, is_server: bool) -> Result<String, String> {
    let inside = call.option("tls").ok_or("it has no tls()")?;
    let mut keys = Vec::new();
    for (key, name) in [("cert", "cert-file"), ("key", "key-file")] {
        if !inside.get(name).is_empty() {
            keys.push(format!("{key} = {}", quoted(inside.get(name))));
        }
    }
    let verify = inside.get("peer-verify").replace('_', "-").to_ascii_lowercase();
    let checks = !is_server || !verify.contains("optional") && !["no", "none"].contains(&&*verify);
    if let Some(known) = inside.option("trusted-keys") {
        keys.push(by_fingerprint(&known.words));
    } else if !inside.get("ca-file").is_empty() && checks {
        keys.push(format!("{ca_key} = {}", quoted(inside.get("ca-file"))));
    } else if inside.option("ca-dir").is_some() && checks {
        return Err("ca-dir(): join its certificates in one file, and name that".into());
    }
    if inside.option("trusted-dn").is_some() {
        return Err("trusted-dn(): name hosts of certificates instead".into());
    }
    Ok(format!("{{ {} }}", keys.join(", ")))
}

/// Converts a source driver to inputs.
pub(super) fn source(
    call: &Call,
    word: &str,
    document: &mut Document,
) -> Result<Vec<Table>, String> {
    if call.name == "default-network-drivers" {
        // What the driver of that name opens, but for TLS, which needs a certificate.
        let addresses = ["udp://0.0.0.0:514", "tcp://0.0.0.0:514", "tcp://0.0.0.0:601"];
        let mut input = |address: &str| {
            let mut table = Table::new("input", document.name(word));
            table.text("syslog", address);
            table
        };
        return Ok(addresses.map(&mut input).into());
    }
    let mut table = Table::new("input", String::new());
    let path = call.first();
    match call.name.as_str() {
        "network" | "syslog" | "tcp" | "udp" | "tcp6" | "udp6" => {
            let transport = transport(call);
            let is_six = call.name.ends_with('6') || call.get("ip-protocol") == "6";
            let ip = [call.get("ip"), call.get("localip")].into_iter().find(|ip| !ip.is_empty());
            let ip = ip.unwrap_or(if is_six { "::" } else { "0.0.0.0" });
            let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.into() };
            if !["udp", "tcp", "tls"].contains(&&*transport) {
                return Err(format!("transport({transport})"));
            }
            let port = port(call, &transport, &["port", "localport"]);
            table.text("syslog", &format!("{transport}://{ip}:{port}"));
            if transport == "tls" {
                table.raw("tls", tls(call, "client_ca", true)?);
            }
            let most = call.get("max-connections");
            if !most.is_empty() && transport != "udp" {
                table.raw("max_connections", most.into());
            }
            let buffer = call.get("so-rcvbuf");
            if !buffer.is_empty() && transport == "udp" {
                table.text("receive_buffer", &format!("{buffer}B"));
            }
        }
        "unix-dgram" | "unix-stream" => {
            table.text("syslog", &format!("unix://{path}"));
            if call.name == "unix-stream" {
                table.comment("A datagram socket, which programs that log to it try first.");
            }
        }
        "system" | "systemd-journal" => table.raw("journal", "true".into()),
        "file" if path == "/proc/kmsg" || path == "/dev/kmsg" => table.raw("kernel", "true".into()),
        "file" => table.text("tail", path),
        "wildcard-file" => {
            let (folder, pattern) = (call.get("base-dir"), call.get("filename-pattern"));
            let between = if call.get("recursive") == "yes" { "/**/" } else { "/" };
            table.text("tail", &format!("{}{between}{pattern}", folder.trim_end_matches('/')));
        }
        "pipe" | "fifo" => table.text("fifo", path),
        "internal" => return Ok(Vec::new()),
        name => return Err(format!("logweir has no source like {name}()")),
    }
    table.rename(document.name(word));
    Ok(vec![table])
}

/// Converts a destination driver to an output.
pub(super) fn destination(call: &Call, around: &Around<'_>) -> Result<Table, String> {
    let mut table = Table::new("output", String::new());
    let first = call.first();
    match call.name.as_str() {
        "file" if first == "/dev/stdout" || first == "/proc/self/fd/1" => {
            table.raw("stdout", "true".into());
            format(&mut table, call, around, "$DATE $HOST $MSGHDR$MSG\n")?;
        }
        "pipe" if first == "/dev/xconsole" => {
            return Err("nobody reads it today; else pipe = \"exec cat >/dev/xconsole\"".into());
        }
        "file" | "pipe" if call.name == "pipe" || first.starts_with("/dev/") => {
            if !first.starts_with('/') || first.contains(['\'', '\\', '$']) {
                return Err("a pipe output whose command writes there".into());
            }
            table.text("pipe", &format!("exec cat >'{first}'"));
            format(&mut table, call, around, "$DATE $HOST $MSGHDR$MSG\n")?;
        }
        "file" => {
            let first = macros::with_sets(first, around.sets)?;
            let name = macros::file_name(&first)
                .map_err(|what| format!("the file's name has {what}: write file = \"…\""))?;
            table.text("file", &name);
            if has_time(&name) {
                table.text("time_zone", "local");
            }
            format(&mut table, call, around, "$DATE $HOST $MSGHDR$MSG\n")?;
            access(&mut table, call, around.options);
        }
        "network" | "syslog" | "tcp" | "udp" | "tcp6" | "udp6" => {
            let transport = transport(call);
            let host = if first.contains(':') { format!("[{first}]") } else { first.to_string() };
            let port = port(call, &transport, &["port", "destport"]);
            let is_new = call.name == "syslog";
            match transport.as_str() {
                "udp" => table.text("udp", &format!("{host}:{port}")),
                "tcp" | "tls" => {
                    table.text("forward", &format!("{transport}://{host}:{port}"));
                    if !is_new {
                        table.text("framing", "newline");
                    }
                }
                other => return Err(format!("transport({other})")),
            }
            if transport == "tls" {
                table.raw("tls", tls(call, "ca", false)?);
            }
            if !around.sets.is_empty() {
                format(&mut table, call, around, if is_new { RFC_5424 } else { RFC_3164 })?;
            } else if call.get("template").is_empty() {
                table.text("format", if is_new { "rfc5424" } else { "rfc3164" });
            } else {
                format(&mut table, call, around, "")?;
            }
            spool(&mut table, call, first, &transport)?;
        }
        "program" => {
            table.text("pipe", &format!("exec {first}"));
            format(&mut table, call, around, "$DATE $HOST $MSGHDR$MSG\n")?;
        }
        "usertty" => table.texts("users", &call.words),
        "elasticsearch-http" | "http" | "sql" | "mongodb" | "smtp" | "redis" => {
            return Err(
                "pipe the lines, format = \"json\", through a program that sends them".into()
            );
        }
        name => return Err(format!("logweir has no destination like {name}()")),
    }
    Ok(table)
}

/// Options of a driver that are not carried over.
pub(super) fn unknown(call: &Call) -> Vec<String> {
    let options = call.inside.iter().map(|option| option.name.clone());
    options.filter(|name| !NEEDLESS.contains(&name.as_str())).collect()
}

fn format(
    table: &mut Table,
    call: &Call,
    around: &Around<'_>,
    default: &str,
) -> Result<(), String> {
    let named = call.get("template");
    let is_iso = around.options.get("ts-format") == "iso";
    let text = match (named, around.templates.get(named)) {
        ("", _) if is_iso => default.replace("$DATE", "$ISODATE"),
        ("", _) => default.to_string(),
        (_, Some(text)) => text.clone(),
        (text, None) => text.to_string(),
    };
    let text = macros::with_sets(&text, around.sets)?;
    let made = macros::format(&text)
        .map_err(|what| format!("the template has {what}: choose a `format`"))?;
    table.text("format", &made);
    Ok(())
}

/// Owner, group and modes: those of the driver, else the global ones.
fn access(table: &mut Table, call: &Call, options: &Call) {
    for (key, name) in
        [("owner", "owner"), ("group", "group"), ("mode", "perm"), ("dir_mode", "dir-perm")]
    {
        let own = call.get(name);
        let value = if own.is_empty() { options.get(name) } else { own };
        let value = value.trim_matches('"');
        if value.is_empty() || value == "-1" {
            continue;
        }
        match key.contains("mode") {
            true => table.text(key, &format!("{:0>4}", value.trim_start_matches('0'))),
            false => table.text(key, value),
        }
    }
}

/// A buffer on disk is a spool.
fn spool(table: &mut Table, call: &Call, host: &str, transport: &str) -> Result<(), String> {
    let Some(buffer) = call.option("disk-buffer") else { return Ok(()) };
    if transport == "udp" {
        return Err("disk-buffer() before UDP, which acknowledges nothing".into());
    }
    let plain: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
    let mut keys = format!("dir = {}", quoted(&format!("/var/spool/logweir/{plain}")));
    let size = [buffer.get("disk-buf-size"), buffer.get("capacity-bytes")];
    if let Some(bytes) = size.iter().find(|size| size.parse::<u64>().is_ok()) {
        keys += &format!(", max_size = \"{bytes}B\"");
    }
    table.raw("spool", format!("{{ {keys} }}"));
    Ok(())
}
