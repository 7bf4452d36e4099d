//! The TLS settings of inputs and clients.

use std::path::PathBuf;
use std::str::FromStr;

use crate::net::peers::Fingerprint;
pub use crate::net::plan::{ClientTlsPlan, ServerTlsPlan};
use crate::settings::key::{Key, PATH, Value, words};
use crate::settings::{Entry, Report, Section};

const CERT: Key = Key::required("cert", PATH, "The certificate chain, PEM.");
const KEY: Key = Key::required("key", PATH, "The private key of the certificate, PEM.");
const CLIENT_CA: Key =
    Key::new("client_ca", PATH, "Clients must have a certificate signed by this authority, PEM.");
const NAMES: Key = Key::or_else(
    "names",
    Value::Texts("Host name, address, or pattern for names", r"\S"),
    "any",
    "A client's certificate must be for one of these hosts or addresses.",
);
const VERIFY: Key = Key::or(
    "verify",
    Value::Words(&VERIFY_WORDS),
    "\"authority\"",
    "What makes a peer's certificate good: its authority, or its fingerprint alone.",
);
const FINGERPRINTS: Key = Key::new(
    "fingerprints",
    Value::Texts("Fingerprint", r"\S"),
    "The fingerprints of certificates that are good with verify = \"fingerprint\".",
);
const VERIFIES: [(&str, bool); 2] = [("authority", false), ("fingerprint", true)];
const VERIFY_WORDS: [&str; 2] = words(&VERIFIES);

const CA: Key = Key::or_else(
    "ca",
    PATH,
    "the system's",
    "The authorities trusted to sign a peer's certificate, PEM.",
);
const NAME: Key = Key::or_else(
    "name",
    Value::Texts("Host name, address, or pattern for names", r"\S"),
    "the host's",
    "The name, or one of the names, that a peer's certificate must have.",
);

const OUR_CERT: Key = Key::new("cert", PATH, "Our own certificate, if the peer asks for one, PEM.");
const OUR_KEY: Key = Key::new("key", PATH, "The private key of our certificate, PEM.");

const SERVER_KEYS: &[Key] = &[CERT, KEY, CLIENT_CA, NAMES, VERIFY, FINGERPRINTS];
const CLIENT_KEYS: &[Key] = &[CA, OUR_CERT, OUR_KEY, NAME, VERIFY, FINGERPRINTS];

/// The keys of an input with TLS.
pub const SERVER: &[Key] = &[SERVER_TLS];
/// The keys of an output with TLS.
pub const CLIENT: &[Key] = &[CLIENT_TLS];

const SERVER_TLS: Key = Key::new("tls", Value::Table(SERVER_KEYS), "Clients connect through TLS.");
/// `tls = {…}` of a client.
pub const CLIENT_TLS: Key =
    Key::new("tls", Value::Table(CLIENT_KEYS), "TLS settings for the connections to peers.");

fn path(section: &Section<'_>, key: &Key, report: &mut Report<'_>) -> Option<PathBuf> {
    section.system_text(key, report).map(PathBuf::from)
}

fn table<'t>(entry: &Entry<'t>, keys: &[Key], report: &mut Report<'_>) -> Option<Section<'t>> {
    let names: Vec<_> = keys.iter().map(|key| key.name).collect();
    entry.section(keys, &format!(" with {}", names.join(", ")), report)
}

/// The `tls` entry of an input, if it has one.
pub fn server_entry<'s, 't>(section: &'s Section<'t>) -> Option<&'s Entry<'t>> {
    section.entry(&SERVER_TLS)
}

/// Reads the `tls` of an input.
pub fn server(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<ServerTlsPlan> {
    let section = table(entry, SERVER_KEYS, report)?;
    let (cert, key) = (path(&section, &CERT, report), path(&section, &KEY, report));
    if section.entry(&CERT).is_none() || section.entry(&KEY).is_none() {
        entry.wrong(report, "needs `cert` and `key`, the paths of PEM files");
    }
    let client_ca = path(&section, &CLIENT_CA, report);
    if let (Some(names), None) = (section.entry(&NAMES), section.entry(&CLIENT_CA)) {
        names.misplaced(report, "needs `client_ca`: without it clients show no certificate");
    }
    let names = texts(&section, &NAMES, report);
    let fingerprints = fingerprints(&section, &[CLIENT_CA, NAMES], report);
    Some(ServerTlsPlan { cert: cert?, key: key?, client_ca, names, fingerprints })
}

/// Reads a text or a list of them.
fn texts<T: FromStr<Err = String>>(
    section: &Section<'_>,
    key: &Key,
    report: &mut Report<'_>,
) -> Vec<T> {
    let Some(entry) = section.entry(key) else { return Vec::new() };
    let texts = entry.names(report).unwrap_or_default();
    texts.iter().filter_map(|text| entry.accept(report, text.get_ref().parse())).collect()
}

/// Reads which certificates are good by themselves; the keys `not` have no meaning then.
fn fingerprints(section: &Section<'_>, not: &[Key], report: &mut Report<'_>) -> Vec<Fingerprint> {
    let wanted = section.word(&VERIFY, &VERIFIES, report).unwrap_or(false);
    let entry = section.entry(&FINGERPRINTS);
    match (wanted, section.entry(&VERIFY), entry) {
        (true, Some(verify), None) => {
            let help = "as in fingerprints = [\"SHA256:AB:CD:…\"]";
            verify.wrong_help(report, "needs `fingerprints`", help);
        }
        (false, _, Some(entry)) => {
            entry.misplaced(report, "needs `verify = \"fingerprint\"`");
        }
        _ => {}
    }
    for entry in not.iter().filter_map(|key| section.entry(key)).filter(|_| wanted) {
        entry.misplaced(report, "has no meaning with `verify = \"fingerprint\"`");
    }
    texts(section, &FINGERPRINTS, report)
}

/// The `tls` entry of an output, if it has one.
pub fn client_entry<'s, 't>(section: &'s Section<'t>) -> Option<&'s Entry<'t>> {
    section.entry(&CLIENT_TLS)
}

/// Reads the `tls` of an output.
pub fn client(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<ClientTlsPlan> {
    let section = table(entry, CLIENT_KEYS, report)?;
    let (cert, key) = (path(&section, &OUR_CERT, report), path(&section, &OUR_KEY, report));
    if cert.is_some() != key.is_some() {
        entry.wrong(report, "`cert` and `key` go together");
    }
    let names = texts(&section, &NAME, report);
    let fingerprints = fingerprints(&section, &[CA, NAME], report);
    let ca = path(&section, &CA, report);
    Some(ClientTlsPlan { ca, own: cert.zip(key), names, fingerprints })
}
