//! Numbered lines: how they are made, and how they are told apart again.

use std::ops::Range;

use crate::load::LINE_BYTES;

/// The length of a line with its newline.
pub(super) const SIZE: usize = 200;
const _: () = assert!(SIZE as u64 == LINE_BYTES);
const NAME: &[u8] = b"bench ";
/// Where a line's number is.
const NUMBER: Range<usize> = NAME.len()..NAME.len() + 12;

/// Lines of one size in one buffer.
pub(crate) struct Lines(Vec<u8>);

impl Lines {
    /// At most so many at a time.
    pub(crate) fn new(count: usize) -> Self {
        let mut line = [b'x'; SIZE];
        line[..NAME.len()].copy_from_slice(NAME);
        line[NUMBER.end] = b' ';
        line[SIZE - 1] = b'\n';
        Self(line.repeat(count))
    }

    /// The lines with the numbers from `first` on.
    pub(crate) fn render(&mut self, first: u64, count: usize) -> &[u8] {
        let lines = &mut self.0[..count * SIZE];
        for (line, number) in lines.chunks_exact_mut(SIZE).zip(first..) {
            let mut rest = number;
            for digit in line[NUMBER].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        lines
    }
}

/// The number of a line (without its newline); none where it is not one of ours, or not whole.
pub(crate) fn number(line: &[u8]) -> Option<u64> {
    let ours = line.len() == SIZE - 1
        && line.starts_with(NAME)
        && line[NUMBER.end + 1..].iter().all(|&byte| byte == b'x');
    std::str::from_utf8(line.get(NUMBER)?).ok()?.parse().ok().filter(|_| ours)
}
