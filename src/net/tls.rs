//! TLS for inputs and outputs: its files, whom it accepts, and the messages when it fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{AlertDescription, CertificateError};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls::{ServerConfig, ServerConnection};

use super::peers::{Fingerprint, PeerName, check_fingerprint, check_names};
use super::pem::{self, is_of_old_version};
use super::plan::{ClientTlsPlan, ServerTlsPlan};

/// Where Debian, Red Hat and SUSE keep the system's trusted authorities.
const SYSTEM_AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",
];

/// Creates the connections of an input. Clones share one certificate, even after a renewal.
#[derive(Debug, Clone)]
pub struct ServerTls(Arc<RwLock<Arc<ServerConfig>>>);

/// Creates the connections of a forward output.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    /// The name that a peer is told we look for, if it is not the host's.
    name: Option<ServerName<'static>>,
}

impl ServerTls {
    /// Reads the files that `plan` names.
    ///
    /// # Errors
    /// Which file is invalid, and why.
    pub fn new(plan: &ServerTlsPlan) -> Result<Self, String> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match &plan.client_ca {
            _ if !plan.fingerprints.is_empty() => {
                let wanted = plan.fingerprints.clone();
                builder.with_client_cert_verifier(Arc::new(Known::new(wanted)))
            }
            None => builder.with_no_client_auth(),
            Some(path) => {
                let (roots, pinned) = authorities(path)?;
                let any = WebPkiClientVerifier::builder_with_provider(roots, provider())
                    .build()
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                let names = plan.names.clone();
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

    /// Switches to the files that another one has read; existing connections are unaffected.
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
    /// The error from TLS.
    pub fn connection(&self) -> Result<Connection, String> {
        let connection = ServerConnection::new(self.config());
        connection.map(Connection::Server).map_err(|error| error.to_string())
    }
}

/// The methods of a verifier that check whether the peer has the key of its certificate: those of
/// one of its fields.
macro_rules! signatures_by {
    ($($field:ident).+) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.$($field).+.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.$($field).+.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.$($field).+.supported_verify_schemes()
        }
    };
}

/// Accepts only clients whose certificate has one of these names, if there are any.
#[derive(Debug)]
struct Named {
    any: Pinned<dyn ClientCertVerifier>,
    names: Vec<PeerName>,
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
        check_names(end_entity, &self.names).map(|()| verified)
    }

    signatures_by!(any.verifier);
}

impl ClientTls {
    /// Reads the files that `plan` names.
    ///
    /// # Errors
    /// Which file is invalid, and why.
    pub fn new(plan: &ClientTlsPlan) -> Result<Self, String> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous();
        // Not dangerous: it rejects everything that the usual verifier rejects, except certificates
        // that the configuration names.
        let builder = match plan.fingerprints.is_empty() {
            true => builder.with_custom_certificate_verifier(Arc::new(Self::verifier(plan)?)),
            false => {
                let known = Known::new(plan.fingerprints.clone());
                builder.with_custom_certificate_verifier(Arc::new(known))
            }
        };
        let config = match &plan.own {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let (chain, key) = pem::own(cert, key, &provider())?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("{}: {error}", cert.display()))?
            }
        };
        let name = match &plan.names[..] {
            [PeerName::Exact(name), ..] => Some(name.clone()),
            _ => None,
        };
        Ok(Self { config: Arc::new(config), name })
    }

    /// Accepts what the authorities of `plan` signed for one of its names.
    fn verifier(plan: &ClientTlsPlan) -> Result<Peers, String> {
        let system = SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists());
        let ca = plan.ca.clone().or(system);
        let ca =
            ca.ok_or("the system has no list of authorities: name one with tls = { ca = … }")?;
        let (roots, pinned) = authorities(&ca)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .build()
            .map_err(|error| format!("{}: {error}", ca.display()))?;
        Ok(Peers { any: Pinned { pinned, verifier }, roots, names: plan.names.clone() })
    }

    /// The client's side of a new connection to `host`.
    ///
    /// # Errors
    /// That the host's name cannot be the name in a certificate.
    pub fn connection(&self, host: &str) -> Result<Connection, String> {
        let of_host = || {
            ServerName::try_from(host.to_string())
                .map_err(|_| format!("`{host}` cannot be the name in a certificate"))
        };
        let server = self.name.clone().map_or_else(of_host, Ok)?;
        ClientConnection::new(Arc::clone(&self.config), server)
            .map(Connection::Client)
            .map_err(|error| error.to_string())
    }
}

/// Explains a failed connection to a peer, with advice for TLS errors.
pub fn explain(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    tls.map_or_else(|| error.to_string(), explain_tls)
}

fn explain_tls(error: &rustls::Error) -> String {
    let what = match error {
        rustls::Error::General(text) => return text.clone(),
        _ if is_of_old_version(error) => {
            return format!("invalid peer certificate: the peer shows {}", pem::VERSION);
        }
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its authority is not one of those that tls = { ca = … } names"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "it is for other names: name the peer by one of them, or say which is meant by \
             tls = { name = … }"
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

/// Returns whether an error means that a peer presents a certificate of an authority
/// (basicConstraints with CA:TRUE). This is detected after the validity period is checked, and
/// before the signature.
fn is_ca_as_peer(error: &rustls::Error) -> bool {
    // The error is from a crate that rustls does not expose.
    format!("{error:?}").contains("CaUsedAsEndEntity")
}

/// Accepts a peer that presents one of the certificates configured as authorities, even though it
/// is an authority's: `openssl req -x509` creates such certificates by default.
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

/// Accepts peers with a certificate for the host that was meant, or for one of these names.
#[derive(Debug)]
struct Peers {
    any: Pinned<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    names: Vec<PeerName>,
}

impl ServerCertVerifier for Peers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let done = match self.names.is_empty() {
            true => self.any.verifier.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            false => {
                let algorithms = provider().signature_verification_algorithms.all;
                let (roots, others) = (&self.roots, intermediates);
                verify_server_cert_signed_by_trust_anchor(
                    &certificate,
                    roots,
                    others,
                    now,
                    algorithms,
                )
                .map(|()| ServerCertVerified::assertion())
            }
        };
        if let Err(error) = done
            && !self.any.takes(&error, end_entity)
        {
            return Err(error);
        }
        match self.names.is_empty() {
            true => verify_server_name(&certificate, server_name)?,
            false => check_names(end_entity, &self.names)?,
        }
        Ok(ServerCertVerified::assertion())
    }

    signatures_by!(any.verifier);
}

/// Accepts peers whose certificate has one of these fingerprints, whoever signed it and for however
/// long it is valid. That the peer has its key is checked as usual.
#[derive(Debug)]
struct Known {
    wanted: Vec<Fingerprint>,
    signatures: Signatures,
}

impl Known {
    fn new(wanted: Vec<Fingerprint>) -> Self {
        Self { wanted, signatures: Signatures(provider().signature_verification_algorithms) }
    }
}

/// Checks signatures by any key, whoever vouches for it.
#[derive(Debug)]
struct Signatures(WebPkiSupportedAlgorithms);

impl Signatures {
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        check_fingerprint(end_entity, &self.wanted).map(|()| ServerCertVerified::assertion())
    }

    signatures_by!(signatures);
}

impl ClientCertVerifier for Known {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        check_fingerprint(end_entity, &self.wanted).map(|()| ClientCertVerified::assertion())
    }

    signatures_by!(signatures);
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The authorities in a file: as roots, and as certificates.
fn authorities(path: &Path) -> Result<(Arc<RootCertStore>, Vec<CertificateDer<'static>>), String> {
    let mut roots = RootCertStore::empty();
    let found = pem::certificates(path)?;
    let (added, _) = roots.add_parsable_certificates(found.iter().cloned());
    if added == 0 {
        return Err(format!("{}: there is no certificate in it that can be used", path.display()));
    }
    Ok((Arc::new(roots), found))
}
