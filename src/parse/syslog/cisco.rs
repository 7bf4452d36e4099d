//! The prefix that Cisco devices put before the time: a colon (EMBLEM has no space after it), or
//! sequence numbers, an origin, which another number may follow, and `*` or `.` if the clock is not
//! synchronised; some send their uptime instead of the time.

use super::Span;
use super::loose::{TAG_MAX, is_name};
use super::stamp::is_month;

/// The prefix before the time.
pub(super) struct Cisco {
    /// Where the time begins.
    pub(super) end: usize,
    /// True if there is a sequence number.
    pub(super) is_numbered: bool,
    /// The host's name between the number and the time.
    pub(super) origin: Span,
}

impl Cisco {
    /// Parses the prefix at `at`.
    pub(super) fn new(line: &[u8], at: usize) -> Self {
        let mut cisco = Self { end: at, is_numbered: false, origin: Span::default() };
        if line[at..].starts_with(b": ") {
            cisco.end += 2;
        } else if line[at..].starts_with(b":") && is_month(&line[at + 1..]) {
            cisco.end += 1;
        }
        while let Some(len) = word(&line[cisco.end..], u8::is_ascii_digit) {
            (cisco.end, cisco.is_numbered) = (cisco.end + len + 2, true);
        }
        if let Some(len) = word(&line[cisco.end..], is_name).filter(|_| cisco.is_numbered) {
            let behind = &line[cisco.end + len + 2..];
            let number = word(behind, u8::is_ascii_digit).map_or(0, |digits| digits + 2);
            let behind = &behind[number..];
            let time =
                behind.strip_prefix(b"*").or_else(|| behind.strip_prefix(b".")).unwrap_or(behind);
            if is_month(time) {
                cisco.origin = Span::new(cisco.end, cisco.end + len);
                cisco.end += len + 2 + number;
            } else if number == 0 && behind.starts_with(b"%") {
                cisco.end += len + 2;
            }
        }
        if line.get(cisco.end).is_some_and(|byte| b"*.".contains(byte))
            && is_month(&line[cisco.end + 1..])
        {
            cisco.end += 1;
        }
        cisco
    }
}

/// The length of a short word of such bytes that is followed by a colon and a space.
fn word(bytes: &[u8], is_part: impl Fn(&u8) -> bool) -> Option<usize> {
    let len = bytes.iter().take(TAG_MAX).take_while(|byte| is_part(byte)).count();
    (len > 0 && bytes[len..].starts_with(b": ")).then_some(len)
}

/// Cisco's `%FACILITY-SEVERITY-MNEMONIC:`; the length of the name, and where the text begins.
pub(super) fn mnemonic(text: &[u8]) -> Option<(usize, usize)> {
    let end = text.iter().take(TAG_MAX).position(|byte| matches!(byte, b':' | b' '))?;
    let is_one = text.first() == Some(&b'%') && text[end] == b':';
    is_one.then(|| (end, end + 1 + usize::from(text.get(end + 1) == Some(&b' '))))
}
