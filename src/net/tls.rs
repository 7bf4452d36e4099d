//! TLS of inputs and outputs: what it needs, whom it takes, and what is said where it fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{AlertDescription, CertificateError};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls::{ServerConfig, ServerConnection};

use super::pem::{self, is_of_old_version};
use super::plan::{ClientTlsPlan, ServerTlsPlan};

/// Where Debian, Red Hat and SUSE keep the authorities that the system trusts.
const SYSTEM_AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",
];

/// Makes connections of an input. Clones have the same certificate, also when it is renewed.
#[derive(Debug, Clone)]
pub struct ServerTls(Arc<RwLock<Arc<ServerConfig>>>);

/// Makes connections of a forward output.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: Option<String>,
}

impl ServerTls {
    /// Reads the files that `plan` names.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub fn new(plan: &ServerTlsPlan) -> Result<Self, String> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match &plan.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let (roots, pinned) = authorities(path)?;
                let any = WebPkiClientVerifier::builder_with_provider(roots, provider())
                    .build()
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                let names = names(&plan.names)?;
                let any = Pinned { pinned, verifier: any };
                builder.with_client_cert_verifier(Arc::new(Named { any, names }))
            }
        };
        let (cert, key) = pem::own(&plan.cert, &plan.key, &provider())?;
        let config = builder
            .with_single_cert(cert, key)
            .map_err(|error| format!("{}: {error}", plan.cert.display()))?;
        Ok(Self(Arc::new(RwLock::new(Arc::new(config)))))
    }

    /// Goes on with what another one has read; connections that are there stay as they are.
    pub fn renew(&self, by: &Self) {
        let config = by.config();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The server's side of a new connection.
    ///
    /// # Errors
    /// What TLS says.
    pub fn connection(&self) -> Result<Connection, String> {
        let connection = ServerConnection::new(self.config());
        connection.map(Connection::Server).map_err(|error| error.to_string())
    }
}

/// Takes only clients whose certificate has one of some names, where there are any.
#[derive(Debug)]
struct Named {
    any: Pinned<dyn ClientCertVerifier>,
    names: Vec<ServerName<'static>>,
}

fn names(names: &[String]) -> Result<Vec<ServerName<'static>>, String> {
    let name = |name: &String| {
        ServerName::try_from(name.clone())
            .map_err(|_| format!("`{name}` is no name that a certificate could have"))
    };
    names.iter().map(name).collect()
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.any.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = match self.any.verifier.verify_client_cert(end_entity, intermediates, now) {
            Err(error) if self.any.takes(&error, end_entity) => ClientCertVerified::assertion(),
            done => done?,
        };
        if self.names.is_empty() {
            return Ok(verified);
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let has = |name: &ServerName<'_>| verify_server_name(&certificate, name).is_ok();
        match self.names.iter().any(has) {
            true => Ok(verified),
            false => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.any.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.any.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.any.verifier.supported_verify_schemes()
    }
}

impl ClientTls {
    /// Reads the files that `plan` names.
    ///
    /// # Errors
    /// Which file is wrong, and how.
    pub fn new(plan: &ClientTlsPlan) -> Result<Self, String> {
        let system = SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists());
        let ca = plan.ca.clone().or(system);
        let ca =
            ca.ok_or("the system has no list of authorities: name one with tls = { ca = … }")?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let (roots, pinned) = authorities(&ca)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|error| format!("{}: {error}", ca.display()))?;
        // Not dangerous: what the usual verifier refuses is refused, but for a certificate that
        // the configuration names.
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { pinned, verifier }));
        let config = match &plan.own {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let (chain, key) = pem::own(cert, key, &provider())?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("{}: {error}", cert.display()))?
            }
        };
        Ok(Self { config: Arc::new(config), name: plan.name.clone() })
    }

    /// The client's side of a new connection to `host`.
    ///
    /// # Errors
    /// That the host's name can be no name of a certificate.
    pub fn connection(&self, host: &str) -> Result<Connection, String> {
        let name = self.name.clone().unwrap_or_else(|| host.to_string());
        let server = ServerName::try_from(name.clone())
            .map_err(|_| format!("`{name}` is no name that a certificate could have"))?;
        ClientConnection::new(Arc::clone(&self.config), server)
            .map(Connection::Client)
            .map_err(|error| error.to_string())
    }
}

/// What went wrong on a connection to a peer, and what to do where TLS says it.
pub fn explain(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    tls.map_or_else(|| error.to_string(), explain_tls)
}

fn explain_tls(error: &rustls::Error) -> String {
    let what = match error {
        _ if is_of_old_version(error) => {
            return format!("invalid peer certificate: the peer shows {}", pem::VERSION);
        }
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its authority is not one of those that tls = { ca = … } names"
        }
        rustls::Error::InvalidCertificate(_) if is_ca_as_peer(error) => {
            "it is that of an authority, which is good only where tls = { ca = … } names it"
        }
        rustls::Error::InvalidCertificate(_) if format!("{error:?}").contains("Unsupported") => {
            "its key or its signature is of a kind that is not supported: RSA, ECDSA on P-256 or \
             P-384, and Ed25519 are"
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the peer asks for a certificate: name ours with tls = { cert = …, key = … }"
        }
        rustls::Error::AlertReceived(AlertDescription::UnknownCA) => {
            "the peer does not know the authority of our certificate"
        }
        _ => return error.to_string(),
    };
    format!("{error}: {what}")
}

/// Whether an error is that a peer shows a certificate of an authority (basicConstraints with
/// CA:TRUE). It is found after the times of the certificate, and before its signature.
fn is_ca_as_peer(error: &rustls::Error) -> bool {
    // The crate that says so is one that rustls does not show.
    format!("{error:?}").contains("CaUsedAsEndEntity")
}

/// Takes a peer that shows one of the very certificates that are named as authorities, though it
/// is one of an authority: `openssl req -x509` makes such ones unless it is told otherwise.
#[derive(Debug)]
struct Pinned<V: ?Sized> {
    pinned: Vec<CertificateDer<'static>>,
    verifier: Arc<V>,
}

impl<V: ?Sized> Pinned<V> {
    fn takes(&self, error: &rustls::Error, shown: &CertificateDer<'_>) -> bool {
        is_ca_as_peer(error) && self.pinned.iter().any(|pinned| pinned == shown)
    }
}

impl ServerCertVerifier for Pinned<WebPkiServerVerifier> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let done = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match done {
            Err(error) if self.takes(&error, end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            done => done,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The authorities in a file: as roots, and as the very certificates.
fn authorities(path: &Path) -> Result<(Arc<RootCertStore>, Vec<CertificateDer<'static>>), String> {
    let mut roots = RootCertStore::empty();
    let found = pem::certificates(path)?;
    let (added, _) = roots.add_parsable_certificates(found.iter().cloned());
    if added == 0 {
        return Err(format!("{}: there is no certificate in it that can be used", path.display()));
    }
    Ok((Arc::new(roots), found))
}
