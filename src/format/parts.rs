//! Parts of an RFC 5424 header, section 6.

use std::borrow::Cow;

/// The maximum lengths of HOSTNAME, APP-NAME, PROCID and MSGID.
pub(super) const HOST_MAX: usize = 255;
pub(super) const APP_MAX: usize = 48;
pub(super) const PROCID_MAX: usize = 128;
pub(super) const MSGID_MAX: usize = 32;

/// A part of a header: only its printable ASCII, `-` if nothing is left.
pub(super) fn header_part(part: &[u8], max: usize) -> Cow<'_, str> {
    let is_good = part.len() <= max && !part.is_empty() && part.iter().all(u8::is_ascii_graphic);
    if is_good && let Ok(part) = std::str::from_utf8(part) {
        return Cow::Borrowed(part);
    }
    let good = part.iter().filter(|byte| byte.is_ascii_graphic()).take(max);
    let good: String = good.map(|&byte| char::from(byte)).collect();
    if good.is_empty() { Cow::Borrowed("-") } else { Cow::Owned(good) }
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
