//! New inputs out of old ones.

use fastrand::Rng;

/// No input is longer.
const MOST: usize = 4096;
/// Bytes that mean something to somebody.
const SPECIAL: &[u8] = b" \n\r\0<>[]\"\\=:-.#'019%*\x16\x03\xff\xef\xbb\xbf\x80";

/// An input made of one or two of `seeds`.
pub(crate) fn mutate(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = seeds[rng.usize(..seeds.len())].clone();
    if rng.u8(..4) == 0 {
        let other = &seeds[rng.usize(..seeds.len())];
        let cut = rng.usize(..=input.len());
        input.truncate(cut);
        input.extend_from_slice(&other[rng.usize(..=other.len())..]);
    }
    for _ in 0..rng.usize(..6) {
        change(&mut input, rng);
    }
    input.truncate(MOST);
    input
}

fn change(input: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.usize(..=input.len());
    let special = SPECIAL[rng.usize(..SPECIAL.len())];
    match rng.u8(..7) {
        0 => input.insert(at, special),
        1 => input.insert(at, rng.u8(..)),
        2 if at < input.len() => input[at] = special,
        3 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
        4 if at < input.len() => drop(input.remove(at)),
        5 => {
            let end = rng.usize(at..=input.len());
            let piece = input[at..end].to_vec();
            input.splice(at..at, piece);
        }
        _ => {
            let end = rng.usize(at..=input.len());
            input.drain(at..end);
        }
    }
}
