//! The holder of a certificate: the part that survives a renewal (RFC 5280, DER).

/// The object identifier of the subject alternative names (2.5.29.17).
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// The issuer, the subject and the alternative names of a certificate, as encoded; `None` if it is
/// not a certificate or names no holder.
pub(super) fn holder(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate, _) = take(certificate, SEQUENCE)?;
    let (_, mut rest, _) = take(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = next(rest)?.2;
    }
    // Skips the serial number and the signature's algorithm.
    rest = next(next(rest)?.2)?.2;
    let (issuer, _, rest) = take(rest, SEQUENCE)?;
    // Skips the validity.
    let (subject, name, mut rest) = take(next(rest)?.2, SEQUENCE)?;
    let mut names: &[u8] = &[];
    while !rest.is_empty() {
        let (_, value, after) = next(rest)?;
        if rest[0] == EXTENSIONS {
            names = alt_names(value).unwrap_or_default();
        }
        rest = after;
    }
    (!name.is_empty() || !names.is_empty()).then(|| [issuer, subject, names].concat())
}

/// The alternative names among a certificate's extensions.
fn alt_names(extensions: &[u8]) -> Option<&[u8]> {
    let (_, mut rest, _) = take(extensions, SEQUENCE)?;
    while !rest.is_empty() {
        let (_, extension, after) = take(rest, SEQUENCE)?;
        let (_, identifier, mut value) = take(extension, OBJECT_IDENTIFIER)?;
        if identifier == SUBJECT_ALT_NAME {
            if value.first() != Some(&OCTET_STRING) {
                // The `critical` flag.
                value = next(value)?.2;
            }
            return take(value, OCTET_STRING).map(|(whole, _, _)| whole);
        }
        rest = after;
    }
    None
}

/// Takes the next element, which must have this tag.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8], &[u8])> {
    (bytes.first() == Some(&tag)).then(|| next(bytes))?
}

/// Splits off the next element: the element, its value, and the rest.
fn next(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = usize::from(*bytes.get(1)?);
    let (head, len) = match first {
        0..=0x7f => (2, first),
        0x81..=0x83 => {
            let digits = bytes.get(2..2 + (first - 0x80))?;
            let len = digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit));
            (2 + digits.len(), len)
        }
        _ => return None,
    };
    let end = head.checked_add(len)?;
    Some((bytes.get(..end)?, bytes.get(head..end)?, bytes.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, value: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(value.len()).unwrap().to_be_bytes();
        let head = match (high, low) {
            (0, 0..=0x7f) => vec![tag, low],
            _ => vec![tag, 0x82, high, low],
        };
        [head, value.to_vec()].concat()
    }

    fn certificate(serial: u8, subject: &[u8], names: Option<&[u8]>) -> Vec<u8> {
        let extension = |identifier: &[u8], value: &[u8]| {
            let critical = element(0x01, &[0xff]);
            let inner =
                [element(OBJECT_IDENTIFIER, identifier), critical, element(OCTET_STRING, value)];
            element(SEQUENCE, &inner.concat())
        };
        let other = extension(&[0x55, 0x1d, 0x0f], &[0; 300]);
        let names = names.map_or_else(Vec::new, |names| extension(SUBJECT_ALT_NAME, names));
        let extensions = element(SEQUENCE, &[other, names].concat());
        let parts = [
            element(VERSION, &element(0x02, &[2])),
            element(0x02, &[serial]),
            element(SEQUENCE, b"algorithm"),
            element(SEQUENCE, b"issuer"),
            element(SEQUENCE, &[b"validity", &[serial][..]].concat()),
            element(SEQUENCE, subject),
            element(SEQUENCE, &[serial; 200]),
            element(EXTENSIONS, &extensions),
        ];
        let signed = element(SEQUENCE, &parts.concat());
        element(SEQUENCE, &[signed, element(SEQUENCE, b"algorithm")].concat())
    }

    #[test]
    fn a_renewed_certificate_has_the_same_holder_and_another_name_another() {
        let holder_of =
            |serial, subject: &[u8], names| holder(&certificate(serial, subject, names));
        let web1 = holder_of(1, b"web1", Some(b"web1.example.org")).unwrap();
        assert_eq!(holder_of(2, b"web1", Some(b"web1.example.org")), Some(web1.clone()));
        assert_ne!(holder_of(1, b"web2", Some(b"web1.example.org")), Some(web1.clone()));
        assert_ne!(holder_of(1, b"web1", Some(b"web2.example.org")), Some(web1));
        assert!(holder_of(1, b"", Some(b"web1")).is_some());
        assert_eq!(holder_of(1, b"", None), None);
    }

    #[test]
    fn what_is_no_certificate_has_no_holder() {
        let whole = certificate(1, b"web1", Some(b"web1"));
        for end in 0..whole.len() {
            assert_eq!(holder(&whole[..end]), None);
        }
        assert_eq!(holder(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
