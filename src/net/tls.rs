//! What TLS needs, from PEM files (RFC 7468).

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls::{ServerConfig, ServerConnection};

use crate::config::plan::{ClientTlsPlan, ServerTlsPlan};

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
                let roots = Arc::new(authorities(path)?);
                let any = WebPkiClientVerifier::builder_with_provider(roots, provider())
                    .build()
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                builder.with_client_cert_verifier(named(any, &plan.names)?)
            }
        };
        let config = builder
            .with_single_cert(certificates(&plan.cert)?, key(&plan.key)?)
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

/// Takes only clients whose certificate has one of some names.
#[derive(Debug)]
struct Named {
    any: Arc<dyn ClientCertVerifier>,
    names: Vec<ServerName<'static>>,
}

fn named(
    any: Arc<dyn ClientCertVerifier>,
    names: &[String],
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    if names.is_empty() {
        return Ok(any);
    }
    let name = |name: &String| {
        ServerName::try_from(name.clone())
            .map_err(|_| format!("`{name}` is no name that a certificate could have"))
    };
    let names = names.iter().map(name).collect::<Result<_, _>>()?;
    Ok(Arc::new(Named { any, names }))
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.any.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.any.verify_client_cert(end_entity, intermediates, now)?;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let has = |name: &ServerName<'_>| verify_server_name(&certificate, name).is_ok();
        match self.names.iter().any(has) {
            true => Ok(verified),
            false => Err(rustls::CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.any.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.any.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.any.supported_verify_schemes()
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
            .map_err(|error| error.to_string())?
            .with_root_certificates(authorities(&ca)?);
        let config = match &plan.own {
            None => builder.with_no_client_auth(),
            Some((cert, own)) => builder
                .with_client_auth_cert(certificates(cert)?, key(own)?)
                .map_err(|error| format!("{}: {error}", cert.display()))?,
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

/// What went wrong with TLS, and what to do where that is known.
pub fn explain(error: &rustls::Error) -> String {
    error.to_string()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let said = |error: rustls::pki_types::pem::Error| format!("{}: {error}", path.display());
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(said)?.collect();
    let found = found.map_err(said)?;
    if found.is_empty() {
        return Err(format!("{}: there is no certificate in it", path.display()));
    }
    Ok(found)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(path)?);
    if added == 0 {
        return Err(format!("{}: there is no certificate in it that can be used", path.display()));
    }
    Ok(roots)
}
