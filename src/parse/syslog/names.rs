//! The names of facilities and severities (RFC 5424, section 6.2.1, tables 1 and 2).

/// The facilities, in the order of their numbers.
pub const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// The severities, in the order of their numbers: the most severe first.
pub const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Other names in use, and their standard names.
const ALIASES: [(&str, &str); 5] = [
    ("security", "auth"),
    ("panic", "emerg"),
    ("error", "err"),
    ("warn", "warning"),
    ("critical", "crit"),
];

/// The number of a facility, by its name or number.
pub fn facility(name: &str) -> Option<u8> {
    number(name, &FACILITIES)
}

/// The number of a severity, by its name or number.
pub fn severity(name: &str) -> Option<u8> {
    number(name, &SEVERITIES)
}

fn number(name: &str, names: &[&str]) -> Option<u8> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    let by_name = names.iter().position(|other| *other == alias);
    let at = by_name.or_else(|| name.parse().ok().filter(|at| *at < names.len()))?;
    u8::try_from(at).ok()
}

/// The facility of a PRI.
pub fn facility_of(pri: u8) -> &'static str {
    FACILITIES[usize::from(pri / 8).min(FACILITIES.len() - 1)]
}

/// The severity of a PRI.
pub fn severity_of(pri: u8) -> &'static str {
    SEVERITIES[usize::from(pri % 8)]
}
