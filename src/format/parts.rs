//! Parts of a header of RFC 5424, section 6.

/// The longest HOSTNAME, APP-NAME, PROCID and MSGID.
pub(super) const HOST_MAX: usize = 255;
pub(super) const APP_MAX: usize = 48;
pub(super) const PROCID_MAX: usize = 128;
pub(super) const MSGID_MAX: usize = 32;

/// A part of a header: nothing in it but printable ASCII, `-` where nothing is left.
pub(super) fn header_part(part: &[u8], most: usize) -> String {
    let good = part.iter().filter(|byte| byte.is_ascii_graphic()).take(most);
    let good: String = good.map(|&byte| char::from(byte)).collect();
    if good.is_empty() { "-".into() } else { good }
}

/// The same, put behind what is there.
pub(super) fn push_header_part(part: &[u8], most: usize, out: &mut Vec<u8>) {
    if part.len() <= most && !part.is_empty() && part.iter().all(u8::is_ascii_graphic) {
        out.extend_from_slice(part);
    } else {
        out.extend_from_slice(header_part(part, most).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_put_nothing_into_the_header_that_is_not_printable() {
        assert_eq!(header_part("a b\nc\u{e9}".as_bytes(), 48), "abc");
        assert_eq!(header_part(b" ", 48), "-");
        assert_eq!(header_part(&[b'x'; 99], 48).len(), 48);
    }
}
