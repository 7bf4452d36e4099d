//! Which peers TLS accepts, beyond the authority of their certificate: those with one of some
//! names, which may have wildcards, or those whose certificate has one of some fingerprints.

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error};

/// The name of a host, its address, or a pattern for the names of hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerName {
    /// A name or an address.
    Exact(ServerName<'static>),
    /// Labels in which `*` stands for any text without a dot, in lower case.
    Pattern(Vec<String>),
}

impl FromStr for PeerName {
    type Err = String;

    /// Reads `web1.example.org`, `192.0.2.7` or `*.example.org`.
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |text: &str| ServerName::try_from(text.to_string());
        if !text.contains('*') {
            let name = plain(text);
            return name
                .map(Self::Exact)
                .map_err(|_| format!("`{text}` is neither a host's name nor an address"));
        }
        if plain(&text.replace('*', "x")).is_err() {
            return Err(format!("`{text}` is no pattern for names, such as `*.example.org`"));
        }
        Ok(Self::Pattern(text.to_ascii_lowercase().split('.').map(str::to_string).collect()))
    }
}

impl PeerName {
    /// Returns whether a certificate is for such a host.
    fn is_in(&self, shown: &CertificateDer<'_>) -> Result<bool, Error> {
        let labels = match self {
            Self::Exact(name) => {
                let certificate = ParsedCertificate::try_from(shown)?;
                return Ok(verify_server_name(&certificate, name).is_ok());
            }
            Self::Pattern(labels) => labels,
        };
        let certificate = webpki::EndEntityCert::try_from(shown)
            .map_err(|_| Error::from(CertificateError::BadEncoding))?;
        Ok(certificate.valid_dns_names().any(|name| fits(labels, name)))
    }
}

fn fits(labels: &[String], name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let parts: Vec<_> = name.split('.').collect();
    parts.len() == labels.len()
        && labels.iter().zip(parts).all(|(label, part)| label_fits(label, part))
}

/// Returns whether a label fits, in which each `*` stands for any text.
fn label_fits(label: &str, part: &str) -> bool {
    let Some((before, rest)) = label.split_once('*') else { return label == part };
    let Some(mut part) = part.strip_prefix(before) else { return false };
    let mut pieces: Vec<_> = rest.split('*').collect();
    // What is behind the last star is at the end.
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = part.find(piece) else { return false };
        part = &part[at + piece.len()..];
    }
    part.ends_with(last)
}

/// The fingerprint of a certificate: the hash of its DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fingerprint {
    /// SHA-1, which rsyslog and syslog-ng had first.
    Sha1(Vec<u8>),
    /// SHA-256.
    Sha256(Vec<u8>),
}

impl FromStr for Fingerprint {
    type Err = String;

    /// Reads the notation of rsyslog and syslog-ng, `SHA256:AB:CD:…`, and that of `openssl x509
    /// -fingerprint`, `SHA256 Fingerprint=AB:CD:…`; also without the colons.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits: String = match text.rsplit_once('=') {
            Some((_, digits)) => digits.into(),
            None => {
                let lower = text.to_ascii_lowercase();
                let known = ["sha256:", "sha-256:", "sha1:", "sha-1:"];
                let head = known.iter().find(|head| lower.starts_with(*head));
                text[head.map_or(0, |head| head.len())..].into()
            }
        };
        let digits = digits.trim().replace(':', "");
        let bytes = bytes(&digits);
        let lower = text.to_ascii_lowercase().replace('-', "");
        match bytes {
            Some(bytes) if bytes.len() == 20 && !lower.starts_with("sha256") => {
                Ok(Self::Sha1(bytes))
            }
            Some(bytes) if bytes.len() == 32 && !lower.starts_with("sha1") => {
                Ok(Self::Sha256(bytes))
            }
            _ => Err(format!(
                "`{text}` is no fingerprint: write SHA256: and 32 bytes in hexadecimal, as \
                 `openssl x509 -noout -fingerprint -sha256 -in CERT` shows them"
            )),
        }
    }
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
    pairs
        .map(|pair| {
            let is_hex = pair.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex.then(|| u8::from_str_radix(pair, 16).ok())?
        })
        .collect()
}

impl Fingerprint {
    /// That of a certificate, by SHA-256.
    fn of(shown: &CertificateDer<'_>) -> Self {
        Self::Sha256(digest(&SHA256, shown).as_ref().to_vec())
    }

    fn is_of(&self, shown: &CertificateDer<'_>) -> bool {
        match self {
            Self::Sha1(hash) => digest(&SHA1_FOR_LEGACY_USE_ONLY, shown).as_ref() == hash,
            Self::Sha256(hash) => digest(&SHA256, shown).as_ref() == hash,
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, hash) = match self {
            Self::Sha1(hash) => ("SHA1", hash),
            Self::Sha256(hash) => ("SHA256", hash),
        };
        f.write_str(name)?;
        hash.iter().try_for_each(|byte| write!(f, ":{byte:02X}"))
    }
}

/// Checks that a certificate has one of these names; any will do if there are none.
///
/// # Errors
/// That it has none of them.
pub fn check_names(shown: &CertificateDer<'_>, names: &[PeerName]) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    for name in names {
        if name.is_in(shown)? {
            return Ok(());
        }
    }
    let certificate = webpki::EndEntityCert::try_from(shown)
        .map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let addresses = names.iter().any(|name| matches!(name, PeerName::Exact(name) if !is_dns(name)));
    match addresses || certificate.valid_dns_names().next().is_some() {
        true => Err(CertificateError::NotValidForName.into()),
        false => Err(Error::General(format!(
            "the peer's certificate has no host's name in subjectAltName, and a common name is \
             none: have it made anew with one, or list its fingerprint, {}",
            Fingerprint::of(shown)
        ))),
    }
}

fn is_dns(name: &ServerName<'_>) -> bool {
    matches!(name, ServerName::DnsName(_))
}

/// Checks that a certificate has one of these fingerprints.
///
/// # Errors
/// Which fingerprint it has instead.
pub fn check_fingerprint(shown: &CertificateDer<'_>, wanted: &[Fingerprint]) -> Result<(), Error> {
    match wanted.iter().any(|fingerprint| fingerprint.is_of(shown)) {
        true => Ok(()),
        false => Err(Error::General(format!(
            "the peer's certificate has another fingerprint, {}",
            Fingerprint::of(shown)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is(pattern: &str, name: &str) -> bool {
        let PeerName::Pattern(labels) = pattern.parse().unwrap() else { panic!("{pattern}") };
        fits(&labels, name)
    }

    #[test]
    fn a_star_stands_for_text_within_a_label() {
        for (pattern, name, wanted) in [
            ("*.example.org", "web1.Example.ORG", true),
            ("*.example.org", "web1.example.org.", true),
            ("*.example.org", "a.web1.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.example.org", "*.example.org", true),
            ("web*.example.org", "web1.example.org", true),
            ("web*.example.org", "db1.example.org", false),
            ("*-log.example.org", "a-log.example.org", true),
            ("w*b*.example.org", "wxb1.example.org", true),
            ("w*b*1.example.org", "wb1.example.org", true),
            ("a*a.example.org", "a.example.org", false),
            ("*.*.example.org", "a.b.example.org", true),
        ] {
            assert_eq!(is(pattern, name), wanted, "{pattern} {name}");
        }
        for wrong in ["*..org", "a b.*", "", "*.exa/mple"] {
            assert!(wrong.parse::<PeerName>().is_err(), "{wrong}");
        }
        assert!(matches!("192.0.2.7".parse(), Ok(PeerName::Exact(ServerName::IpAddress(_)))));
    }

    #[test]
    fn fingerprints_are_read_as_rsyslog_syslog_ng_and_openssl_write_them() {
        let shown = CertificateDer::from(b"abc".to_vec());
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let colons = |hash: &str| {
            let pairs: Vec<_> = (0..hash.len()).step_by(2).map(|at| &hash[at..at + 2]).collect();
            pairs.join(":").to_ascii_uppercase()
        };
        let sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d";
        for text in [
            format!("SHA256:{}", colons(hash)),
            format!("sha256 Fingerprint={}", colons(hash)),
            format!("SHA256:{hash}"),
            hash.to_string(),
            format!("SHA1:{}", colons(sha1)),
            format!("SHA1 Fingerprint={}", colons(sha1)),
        ] {
            let wanted: Fingerprint = text.parse().unwrap();
            assert_eq!(check_fingerprint(&shown, &[wanted]), Ok(()), "{text}");
        }
        assert_eq!(Fingerprint::of(&shown).to_string(), format!("SHA256:{}", colons(hash)));
        let other: Fingerprint = "SHA1:00".repeat(20).replace("SHA1:", "").parse().unwrap();
        let error = check_fingerprint(&shown, &[other]).unwrap_err().to_string();
        assert!(
            error.contains(&format!("another fingerprint, SHA256:{}", colons(hash))),
            "{error}"
        );
        for wrong in ["", "SHA256:", "SHA256:AB", "MD5:00", &format!("SHA1:{hash}"), "ä"] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", label in "[a*]{0,8}", part in "[a*]{0,8}") {
            let _ = (text.parse::<Fingerprint>(), text.parse::<PeerName>());
            let _ = label_fits(&label, &part);
        }
    }
}
