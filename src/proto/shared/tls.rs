//! The TLS of inputs and of clients.

use std::path::PathBuf;

pub use crate::net::plan::{ClientTlsPlan, ServerTlsPlan};
use crate::settings::key::{Key, PATH, Value};
use crate::settings::{Entry, Report, Section};

const CERT: Key =
    Key::required("cert", PATH, "The certificate and those up to its authority, PEM.");
const KEY: Key = Key::required("key", PATH, "The private key of the certificate, PEM.");
const CLIENT_CA: Key =
    Key::new("client_ca", PATH, "Clients must have a certificate of this authority, PEM.");
const NAMES: Key = Key::or_else(
    "names",
    Value::Texts("Host name or address", r"\S"),
    "any",
    "A client's certificate must be for one of these hosts or addresses.",
);
const CA: Key = Key::or_else(
    "ca",
    PATH,
    "the system's",
    "The authorities that a peer's certificate may be of, PEM.",
);
const NAME: Key = Key::or_else(
    "name",
    Value::Text("Host name or address", r"\S"),
    "the host's",
    "The name that a peer's certificate must have.",
);

const OUR_CERT: Key =
    Key::new("cert", PATH, "Our own certificate, where the peer asks for one, PEM.");
const OUR_KEY: Key = Key::new("key", PATH, "The private key of our certificate, PEM.");

const SERVER_KEYS: &[Key] = &[CERT, KEY, CLIENT_CA, NAMES];
const CLIENT_KEYS: &[Key] = &[CA, OUR_CERT, OUR_KEY, NAME];

/// The keys of an input with TLS.
pub const SERVER: &[Key] = &[SERVER_TLS];
/// The keys of an output with TLS.
pub const CLIENT: &[Key] = &[CLIENT_TLS];

const SERVER_TLS: Key = Key::new("tls", Value::Table(SERVER_KEYS), "Clients come through TLS.");
/// `tls = {…}` of a client.
pub const CLIENT_TLS: Key =
    Key::new("tls", Value::Table(CLIENT_KEYS), "What peers are reached with through TLS.");

fn path(section: &Section<'_>, key: &Key, report: &mut Report<'_>) -> Option<PathBuf> {
    section.system_text(key, report).map(PathBuf::from)
}

fn table<'t>(entry: &Entry<'t>, keys: &[Key], report: &mut Report<'_>) -> Option<Section<'t>> {
    let names: Vec<_> = keys.iter().map(|key| key.name).collect();
    entry.section(keys, &format!(" with {}", names.join(", ")), report)
}

/// The `tls` of an input, where it has one.
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
    let names = section.entry(&NAMES).and_then(|entry| entry.names(report)).unwrap_or_default();
    if let (Some(names), None) = (section.entry(&NAMES), section.entry(&CLIENT_CA)) {
        names.misplaced(report, "needs `client_ca`: without it clients show no certificate");
    }
    let names: Vec<_> = names.into_iter().map(|name| (*name.get_ref()).to_string()).collect();
    for name in &names {
        if rustls::pki_types::ServerName::try_from(name.as_str()).is_err() {
            entry.wrong(report, format!("`{name}` is neither a host's name nor an address"));
        }
    }
    Some(ServerTlsPlan { cert: cert?, key: key?, client_ca, names })
}

/// The `tls` of an output, where it has one.
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
    let name = section.system_text(&NAME, report).map(str::to_string);
    Some(ClientTlsPlan { ca: path(&section, &CA, report), own: cert.zip(key), name })
}
