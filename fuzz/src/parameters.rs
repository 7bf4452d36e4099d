//! Parameters of a check, taken from the end of the fuzzer's input.
//!
//! The end, so that the input itself begins with the bytes that are parsed, and a seed can be
//! any real message: a parameter that the input is too short for is 0.

/// What is left of the fuzzer's input.
pub struct Parameters<'d>(pub &'d [u8]);

impl<'d> Parameters<'d> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((last, rest)) = self.0.split_last() else { return 0 };
        self.0 = rest;
        *last
    }

    /// True for an odd byte.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number from `min` to `max`, both included; `max - min` is below 65,536.
    pub fn number(&mut self, min: usize, max: usize) -> usize {
        let value = usize::from(self.byte()) << 8 | usize::from(self.byte());
        min + value % (max - min + 1)
    }

    /// Three ways to cut the rest into pieces: byte by byte, in equal pieces, and in pieces
    /// whose lengths look random.
    pub fn splits(&mut self) -> Vec<Vec<&'d [u8]>> {
        let step = self.number(2, 300);
        let seed = self.byte();
        vec![
            self.0.chunks(1).collect(),
            self.0.chunks(step).collect(),
            uneven(self.0, u32::from(seed)),
        ]
    }
}

/// Pieces of 1 to 64 bytes, the lengths from a linear congruential generator.
fn uneven(mut rest: &[u8], seed: u32) -> Vec<&[u8]> {
    let mut state = seed;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = ((state >> 24) as usize % 64 + 1).min(rest.len());
        let (piece, tail) = rest.split_at(length);
        pieces.push(piece);
        rest = tail;
    }
    pieces
}
