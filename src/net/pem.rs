//! Certificates and private keys in their usual forms: PEM (RFC 7468) or DER, in any order.
//! Unusable files are refused with advice.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys};

use crate::limits::PEM_MAX;

/// Our certificate chain, our own certificate first, and its private key.
pub(super) type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Forms of certificate files that are not supported: the label in their first line, and advice.
const OTHER_FORMS: [(&str, &str); 5] = [
    ("TRUSTED CERTIFICATE", "is in a form of OpenSSL's own; `openssl x509` writes the usual one"),
    ("PKCS7", "is PKCS #7; `openssl pkcs7 -print_certs` writes its certificates"),
    ("CMS", "is CMS; `openssl pkcs7 -print_certs` writes its certificates"),
    ("CERTIFICATE REQUEST", "is a request, of which an authority makes the certificate"),
    ("PRIVATE KEY", "is a private key, and no certificate is with it"),
];

/// The message for an unusable private key.
const KINDS: &str = "is not supported: use RSA with 2048 to 8192 bits, ECDSA on P-256 or P-384, or \
                     Ed25519. `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` \
                     makes a new one, for which a new certificate is needed";

/// The message for a certificate that is not of version 3.
pub(super) const VERSION: &str = "a certificate of X.509 version 1, which can name no host: make \
                                  one of version 3 with a subjectAltName, as `openssl req -x509 \
                                  -addext subjectAltName=DNS:HOST` does";

/// What is said of a file that begins as it should.
const DAMAGED: &str = "is damaged, or was not copied whole: from `-----BEGIN` to `-----END` it \
                       must be as it was made";

/// The object identifier of the curve P-521 in DER (RFC 5480, section 2.1.1.1).
const P521: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];

/// Reads a file, without the byte order mark that some editors put at its start.
fn contents(path: &Path) -> Result<Vec<u8>, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(PEM_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| format!("{}: {error}", path.display()))?;
    if bytes.len() as u64 > PEM_MAX {
        return Err(format!("{}: is larger than {PEM_MAX} bytes", path.display()));
    }
    Ok(bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes))
}

fn has(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

/// The first byte inside a DER sequence that fills the file; `None` if there is none.
fn first_in_sequence(bytes: &[u8]) -> Option<u8> {
    let &[0x30, len, ref rest @ ..] = bytes else { return None };
    let more = if len < 0x80 { 0 } else { usize::from(len & 0x7f) };
    rest.get(more).copied()
}

/// The certificates in a file, at least one.
///
/// # Errors
/// Why there is none, and what to do.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = contents(path)?;
    certificates_of(&bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn certificates_of(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    if has(bytes, "-----BEGIN ") {
        let text = String::from_utf8_lossy(bytes);
        // Older programs put the kind of certificate into the label.
        let text = text.replace(" X509 CERTIFICATE-----", " CERTIFICATE-----");
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let found = found.map_err(|_| DAMAGED)?;
        if !found.is_empty() {
            return Ok(found);
        }
        let form = OTHER_FORMS.iter().find(|(label, _)| has(bytes, &format!("{label}-----")));
        return Err(form.map_or("there is no certificate in it", |(_, what)| what).into());
    }
    // A certificate is a sequence of a sequence, PKCS #12 begins with a number, PKCS #7 with an
    // object identifier.
    match first_in_sequence(bytes) {
        Some(0x30) => Ok(vec![CertificateDer::from(bytes.to_vec())]),
        Some(0x02) => Err("is PKCS #12 or a private key; `openssl pkcs12 -nokeys` writes the \
                           certificates of the former"
            .into()),
        Some(0x06) => {
            Err("is PKCS #7; `openssl pkcs7 -inform DER -print_certs` writes its certificates"
                .into())
        }
        _ => Err("there is no certificate in it, neither as PEM nor as DER".into()),
    }
}

/// The private keys in a file, at least one.
fn keys(path: &Path) -> Result<Vec<PrivateKeyDer<'static>>, String> {
    let bytes = contents(path)?;
    keys_of(&bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn keys_of(bytes: &[u8]) -> Result<Vec<PrivateKeyDer<'static>>, String> {
    if has(bytes, "ENCRYPTED") && has(bytes, "-----BEGIN ") {
        return Err("is encrypted, and nobody can be asked for the passphrase: `openssl pkey` \
                    writes it without one; protect it by the mode of the file"
            .into());
    }
    if !has(bytes, "-----BEGIN ") {
        return match PrivateKeyDer::try_from(bytes.to_vec()) {
            Ok(key) => Ok(vec![key]),
            Err(_) if first_in_sequence(bytes).is_some() => Err("is no private key that can be \
                 read: it may be encrypted, or PKCS #12. `openssl pkey` and `openssl pkcs12 \
                 -nodes` write one as PEM"
                .into()),
            Err(_) => Err("there is no private key in it, neither as PEM nor as DER".into()),
        };
    }
    let found: Result<Vec<_>, _> = PrivateKeyDer::pem_slice_iter(bytes).collect();
    let found = found.map_err(|_| DAMAGED)?;
    if !found.is_empty() {
        return Ok(found);
    }
    Err(if has(bytes, "OPENSSH PRIVATE KEY-----") {
        "is in OpenSSH's form: `ssh-keygen -p -m PKCS8` writes the usual one".into()
    } else if has(bytes, "PRIVATE KEY-----") {
        format!("its kind {KINDS}")
    } else {
        "there is no private key in it".into()
    })
}

/// Reads our own certificate, its chain, and its private key. The files may have them in any
/// order.
///
/// # Errors
/// Which file is wrong, and what to do.
pub(super) fn own(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<Own, String> {
    let mut chain = certificates(cert)?;
    for key_der in keys(key)? {
        let signs = provider.key_provider.load_private_key(key_der.clone_key());
        let signs = signs.map_err(|_| {
            let is_p521 = key_der.secret_der().windows(P521.len()).any(|part| part == P521);
            let what = if is_p521 { "its curve P-521" } else { "its kind or its length" };
            format!("{}: {what} {KINDS}", key.display())
        })?;
        let belongs = |certificate: &CertificateDer<'static>| {
            let pair = CertifiedKey::new(vec![certificate.clone()], signs.clone());
            match pair.keys_match() {
                Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => true,
                done => done.is_ok(),
            }
        };
        if let Some(at) = chain.iter().position(belongs) {
            let first = chain.remove(at);
            chain.insert(0, first);
            return Ok((chain, key_der));
        }
    }
    let parsed =
        chain.iter().find_map(|one| rustls::server::ParsedCertificate::try_from(one).err());
    Err(match parsed {
        Some(error) if is_of_old_version(&error) => format!("{}: is {VERSION}", cert.display()),
        Some(Error::InvalidCertificate(CertificateError::BadEncoding)) => {
            format!("{}: {DAMAGED}", cert.display())
        }
        Some(error) => format!("{}: {error}", cert.display()),
        None => format!(
            "{}: this private key belongs to no certificate in {}: name the two that were made \
             together",
            key.display(),
            cert.display()
        ),
    })
}

/// Returns whether an error means that a certificate is not of X.509 version 3.
pub(super) fn is_of_old_version(error: &Error) -> bool {
    // The error is from a crate that rustls does not expose.
    format!("{error:?}").contains("UnsupportedCertVersion")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(label: &str) -> Vec<u8> {
        format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n").into_bytes()
    }

    #[test]
    fn what_is_no_certificate_is_named_with_what_to_do() {
        for (bytes, message) in [
            (pem("TRUSTED CERTIFICATE"), "`openssl x509`"),
            (pem("PKCS7"), "`openssl pkcs7 -print_certs`"),
            (pem("CERTIFICATE REQUEST"), "is a request"),
            (pem("NEW CERTIFICATE REQUEST"), "is a request"),
            (pem("EC PRIVATE KEY"), "is a private key"),
            (b"\x30\x82\x01\x00\x02\x01\x03".to_vec(), "PKCS #12"),
            (b"\x30\x82\x01\x00\x06\x09".to_vec(), "PKCS #7"),
            (b"-----BEGIN CERTIFICATE-----\nMAA=\n".to_vec(), "was not copied whole"),
            (b"-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n".to_vec(), "is damaged"),
            (b"no certificate".to_vec(), "neither as PEM nor as DER"),
            (Vec::new(), "neither as PEM nor as DER"),
        ] {
            let error = certificates_of(&bytes).unwrap_err();
            assert!(error.contains(message), "{message}: {error}");
        }
    }

    #[test]
    fn certificates_are_found_in_each_of_their_forms() {
        let older = pem("X509 CERTIFICATE");
        let both = [pem("CERTIFICATE"), pem("PRIVATE KEY"), pem("CERTIFICATE")].concat();
        let der = b"\x30\x02\x30\x00".to_vec();
        for (bytes, count) in [(older, 1), (both, 2), (der, 1)] {
            assert_eq!(certificates_of(&bytes).unwrap().len(), count);
        }
    }

    #[test]
    fn a_private_key_that_cannot_be_read_is_named_with_what_to_do() {
        let old = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nMAA=\n\
                    -----END RSA PRIVATE KEY-----\n";
        for (bytes, message) in [
            (pem("ENCRYPTED PRIVATE KEY"), "is encrypted"),
            (old.to_vec(), "is encrypted"),
            (pem("OPENSSH PRIVATE KEY"), "`ssh-keygen -p -m PKCS8`"),
            (pem("DSA PRIVATE KEY"), "its kind is not supported"),
            (pem("CERTIFICATE"), "there is no private key in it"),
            (b"-----BEGIN PRIVATE KEY-----\nMA\n".to_vec(), "was not copied whole"),
            (b"\x30\x02\x30\x00".to_vec(), "may be encrypted, or PKCS #12"),
            (b"no key".to_vec(), "neither as PEM nor as DER"),
        ] {
            let error = keys_of(&bytes).unwrap_err();
            assert!(error.contains(message), "{message}: {error}");
        }
    }
}
