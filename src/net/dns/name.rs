//! A name of DNS as it is sent: labels with their lengths (RFC 1035, section 3.1).

/// Maximum length of a name as it is sent.
const NAME_MAX: usize = 255;
/// Maximum length of a label.
const LABEL_MAX: usize = 63;
/// Maximum number of pointers in a name; one that has a label each has fewer.
const POINTERS_MAX: usize = 128;

/// A name; upper and lower case are the same.
#[derive(Debug, Clone)]
pub struct Name(Vec<u8>);

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        // A length is below any letter, so it stays as it is.
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

/// Returns whether a label of a host or a service may have this byte.
fn is_usual(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

impl Name {
    /// The name that a text denotes; `None` if it has characters that names of hosts and services
    /// do not have, or is too long.
    pub fn new(text: &str) -> Option<Self> {
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.strip_suffix('.').unwrap_or(text).split('.') {
            if label.is_empty() || label.len() > LABEL_MAX || !label.bytes().all(is_usual) {
                return None;
            }
            wire.push(u8::try_from(label.len()).ok()?);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        (wire.len() <= NAME_MAX).then_some(Self(wire))
    }

    /// Its bytes in a message.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Reads the name at `start` of a message; returns it and where the bytes after it begin. Every
    /// pointer must lead to a place before the bytes that it belongs to, so there is no loop.
    pub fn read(message: &[u8], start: usize) -> Option<(Self, usize)> {
        let mut wire = Vec::new();
        let (mut at, mut end, mut floor) = (start, None, start);
        let mut pointers = 0;
        while pointers <= POINTERS_MAX {
            let length = *message.get(at)?;
            match length >> 6 {
                0 if length == 0 => {
                    wire.push(0);
                    let fits = wire.len() <= NAME_MAX;
                    return fits.then_some((Self(wire), end.unwrap_or(at + 1)));
                }
                0 => {
                    let next = at + 1 + usize::from(length);
                    wire.extend_from_slice(message.get(at..next)?);
                    if wire.len() >= NAME_MAX {
                        return None;
                    }
                    at = next;
                }
                3 => {
                    let low = *message.get(at + 1)?;
                    let to = usize::from(length & 0x3f) << 8 | usize::from(low);
                    if to >= floor {
                        return None;
                    }
                    end.get_or_insert(at + 2);
                    (at, floor) = (to, to);
                    pointers += 1;
                }
                _ => return None,
            }
        }
        None
    }

    /// Returns whether it is the root, `.`.
    pub fn is_root(&self) -> bool {
        self.0 == [0]
    }

    /// It as text, if it could be the name of a host.
    pub fn host(&self) -> Option<String> {
        let mut text = String::new();
        let mut rest = self.0.as_slice();
        while let [length, after @ ..] = rest
            && *length > 0
        {
            let (label, next) = after.split_at_checked(usize::from(*length))?;
            if !label.iter().copied().all(is_usual) {
                return None;
            }
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(str::from_utf8(label).ok()?);
            rest = next;
        }
        (!text.is_empty()).then_some(text)
    }
}
