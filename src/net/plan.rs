//! The TLS settings of inputs and clients, as configured.

use std::path::PathBuf;

use super::peers::{Fingerprint, PeerName};

/// The TLS of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTlsPlan {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The authority that must have signed clients' certificates, PEM; `None` requests no
    /// certificate.
    pub client_ca: Option<PathBuf>,
    /// A client's certificate must have one of these names; empty accepts any.
    pub names: Vec<PeerName>,
    /// A client's certificate must have one of these fingerprints, and needs no authority; empty
    /// for none of that.
    pub fingerprints: Vec<Fingerprint>,
}

/// The TLS settings of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTlsPlan {
    /// The authorities trusted to sign the peer's certificate, PEM; `None` for the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its private key, PEM.
    pub own: Option<(PathBuf, PathBuf)>,
    /// The peer's certificate must have one of these names; empty for the host's name.
    pub names: Vec<PeerName>,
    /// The peer's certificate must have one of these fingerprints, and needs no authority and no
    /// name; empty for none of that.
    pub fingerprints: Vec<Fingerprint>,
}
