//! Compressed bytes from outside, and for others: never more than was asked for comes out, however
//! little goes in.

use std::fmt;
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// The largest window of zstd that is decompressed, as the logarithm of its bytes: 8 MiB, which
/// every decoder must support (RFC 8878, section 3.1.1.1.2).
const WINDOW_LOG_MAX: u32 = 23;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
}

/// Why bytes are not decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// They become more than so many bytes.
    TooLarge(usize),
    /// They are damaged, cut off, or something else.
    Damaged(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(most) => write!(f, "decompressed, it has more than {most} bytes"),
            Self::Damaged(why) => write!(f, "it cannot be decompressed: {why}"),
        }
    }
}

/// Decompresses bytes that become `most` bytes at most.
///
/// # Errors
/// Why they are not decompressed; nothing of them is.
pub fn unpack(packing: Packing, bytes: &[u8], most: usize) -> Result<Vec<u8>, Fault> {
    let read = match packing {
        Packing::Gzip => bounded(MultiGzDecoder::new(bytes), most),
        Packing::Zstd => zstd::Decoder::with_buffer(bytes).and_then(|mut decoder| {
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            bounded(decoder, most)
        }),
    };
    let unpacked = read.map_err(|error| Fault::Damaged(error.to_string()))?;
    if unpacked.len() > most { Err(Fault::TooLarge(most)) } else { Ok(unpacked) }
}

/// Reads to the end, one byte beyond `most` at most.
fn bounded(decoder: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    decoder.take(most as u64 + 1).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

/// Compresses bytes.
pub fn pack(packing: Packing, bytes: &[u8]) -> Vec<u8> {
    let packed = match packing {
        Packing::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        Packing::Zstd => zstd::encode_all(bytes, zstd::DEFAULT_COMPRESSION_LEVEL),
    };
    // Writing to memory cannot fail.
    packed.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Packing; 2] = [Packing::Gzip, Packing::Zstd];

    #[test]
    fn several_members_are_one_text() {
        for packing in BOTH {
            let both = [pack(packing, b"one "), pack(packing, b"two")].concat();
            assert_eq!(unpack(packing, &both, 7), Ok(b"one two".to_vec()));
            assert_eq!(unpack(packing, &both, 6), Err(Fault::TooLarge(6)));
        }
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        for packing in BOTH {
            let bomb = pack(packing, &vec![0; 64 << 20]);
            assert!(bomb.len() < 1 << 20, "{}", bomb.len());
            assert_eq!(unpack(packing, &bomb, 1000), Err(Fault::TooLarge(1000)));
        }
    }

    #[test]
    fn what_is_cut_off_or_damaged_gives_nothing() {
        for packing in BOTH {
            let packed = pack(packing, b"some text that is long enough");
            for len in 1..packed.len() {
                let cut = unpack(packing, &packed[..len], 100);
                assert!(matches!(cut, Err(Fault::Damaged(_))), "{packing:?} {len}: {cut:?}");
            }
            let garbage = unpack(packing, b"garbage that is neither", 100).unwrap_err();
            assert!(garbage.to_string().contains("cannot be decompressed"), "{garbage}");
        }
    }
}
