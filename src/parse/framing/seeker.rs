//! Searches a stream that is out of step for the next octet count: digits, a space and a PRI.

use crate::limits::COUNT_MAX;

/// The number represented by these digits.
pub(super) fn value(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
}

/// The maximum number of digits of a count.
pub(super) const DIGITS_MAX: usize = 10;
/// The longest PRI is `<191>`.
const PRI_DIGITS_MAX: usize = 3;

/// A count followed by a PRI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// The count of octets.
    pub(super) count: u64,
    /// The bytes of the PRI, which are the first of the message.
    pub(super) pri: Pri,
    /// The total length of the count, the space and the PRI.
    pub(super) len: usize,
}

/// A PRI as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pri {
    bytes: [u8; PRI_DIGITS_MAX + 2],
    len: usize,
}

impl Pri {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Scans the bytes of a stream one by one.
#[derive(Debug, Clone, Default)]
pub(super) struct Seeker {
    stage: Stage,
    /// The last run of digits, at most as many as a count has.
    digits: Vec<u8>,
    pri: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// Within digits, or before any.
    #[default]
    Digits,
    /// After the space.
    Space,
    /// Within the PRI.
    Pri,
}

impl Seeker {
    /// Scans the next byte; returns the count if the byte ends a PRI after one. `usual` is an
    /// earlier count: if a number is far larger, its first digits are probably text.
    pub(super) fn next(&mut self, byte: u8, usual: u64) -> Option<Found> {
        match (self.stage, byte) {
            (Stage::Digits, b' ') if !self.digits.is_empty() => self.stage = Stage::Space,
            (Stage::Space, b'<') => {
                self.stage = Stage::Pri;
                self.pri.push(byte);
            }
            (Stage::Pri, b'0'..=b'9') if self.pri.len() <= PRI_DIGITS_MAX => self.pri.push(byte),
            (Stage::Pri, b'>') if self.pri.len() > 1 => {
                self.pri.push(byte);
                let found = self.found(usual);
                self.begin_anew(byte);
                return found;
            }
            (Stage::Digits, b'0'..=b'9') => self.digit(byte),
            _ => self.begin_anew(byte),
        }
        None
    }

    /// Discards the state.
    pub(super) fn reset(&mut self) {
        self.stage = Stage::Digits;
        self.digits.clear();
        self.pri.clear();
    }

    fn begin_anew(&mut self, byte: u8) {
        self.reset();
        if byte.is_ascii_digit() {
            self.digit(byte);
        }
    }

    fn digit(&mut self, byte: u8) {
        if self.digits.len() == DIGITS_MAX {
            self.digits.remove(0);
        }
        self.digits.push(byte);
    }

    fn found(&self, usual: u64) -> Option<Found> {
        let zeros = self.digits.iter().take_while(|digit| **digit == b'0').count();
        let mut digits = &self.digits[zeros..];
        if usual > 0 && value(digits) > 2 * usual {
            let min_digits = digits.len().min(usual.ilog10() as usize + 1);
            let last = &digits[digits.len() - min_digits..];
            // No count begins with a zero.
            digits = if last.starts_with(b"0") { digits } else { last };
        }
        let count = value(digits);
        let mut pri = Pri { bytes: [0; PRI_DIGITS_MAX + 2], len: self.pri.len() };
        pri.bytes[..pri.len].copy_from_slice(&self.pri);
        let is_count = count >= pri.len as u64 && count <= COUNT_MAX;
        is_count.then_some(Found { count, pri, len: digits.len() + 1 + pri.len })
    }
}
