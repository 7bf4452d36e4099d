//! The TLS of inputs and of clients, as the configuration has it.

use std::path::PathBuf;

/// The TLS of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTlsPlan {
    /// The certificate and those up to its authority, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The authority that clients' certificates must be of, PEM; `None` asks for none.
    pub client_ca: Option<PathBuf>,
    /// Names of which a client's certificate must have one; empty for any.
    pub names: Vec<String>,
}

/// What a client needs for TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTlsPlan {
    /// The authorities that the peer's certificate may be of, PEM; `None` for the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its private key, PEM.
    pub own: Option<(PathBuf, PathBuf)>,
    /// The name that the peer's certificate must have; `None` for the host's.
    pub name: Option<String>,
}
