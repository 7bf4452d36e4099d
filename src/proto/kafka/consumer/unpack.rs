//! Decompression of records, up to a bound.

use std::io::Read;

use super::batch::Fault;
use crate::limits::RECORDS_UNPACKED_MAX;
use crate::parse::compressed::{self, Packing};

/// How records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    /// In blocks as Java's library (Xerial's) writes them, or one raw block, as librdkafka does.
    Snappy,
    /// Frames.
    Lz4,
    Zstd,
}

/// The first bytes of what Java's library writes.
const XERIAL: &[u8] = b"\x82SNAPPY\0";
/// Behind them: two versions.
const XERIAL_HEAD: usize = 16;

impl Codec {
    /// The codec by the attributes of a batch; `None` for none.
    pub(super) fn of(attributes: i16) -> Result<Option<Self>, Fault> {
        Ok(Some(match attributes & 7 {
            0 => return Ok(None),
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            _ => return Err(Fault::Malformed("an unknown compression")),
        }))
    }
}

/// Decompresses records.
pub(super) fn unpack(codec: Codec, bytes: &[u8]) -> Result<Vec<u8>, String> {
    unpack_to(codec, bytes, RECORDS_UNPACKED_MAX)
}

fn unpack_to(codec: Codec, bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let of = |packing| compressed::unpack(packing, bytes, most).map_err(|fault| fault.to_string());
    match codec {
        Codec::Gzip => of(Packing::Gzip),
        Codec::Zstd => of(Packing::Zstd),
        Codec::Lz4 => lz4(bytes, most),
        Codec::Snappy => snappy(bytes, most),
    }
}

fn too_large(most: usize) -> String {
    compressed::Fault::TooLarge(most).to_string()
}

fn lz4(bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let decoder = lz4_flex::frame::FrameDecoder::new(bytes);
    let read = decoder.take(most as u64 + 1).read_to_end(&mut unpacked);
    read.map_err(|error| compressed::Fault::Damaged(error.to_string()).to_string())?;
    if unpacked.len() > most { Err(too_large(most)) } else { Ok(unpacked) }
}

fn snappy(bytes: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    if !bytes.starts_with(XERIAL) {
        block(bytes, most, &mut unpacked)?;
        return Ok(unpacked);
    }
    let mut rest = bytes.get(XERIAL_HEAD..).unwrap_or_default();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (Some(packed), Some(next)) = (behind.get(..length), behind.get(length..)) else {
            return Err(compressed::Fault::Damaged("a block is cut off".into()).to_string());
        };
        block(packed, most, &mut unpacked)?;
        rest = next;
    }
    match rest.is_empty() {
        true => Ok(unpacked),
        false => Err(compressed::Fault::Damaged("a block is cut off".into()).to_string()),
    }
}

/// Decompresses a block behind what is there; its length is known before it is.
fn block(packed: &[u8], most: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let damaged = |error: snap::Error| compressed::Fault::Damaged(error.to_string()).to_string();
    let length = snap::raw::decompress_len(packed).map_err(damaged)?;
    let start = out.len();
    if length > most - start {
        return Err(too_large(most));
    }
    out.resize(start + length, 0);
    let got = snap::raw::Decoder::new().decompress(packed, &mut out[start..]).map_err(damaged)?;
    out.truncate(start + got);
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    pub(in super::super) fn pack(codec: Codec, text: &[u8]) -> Vec<u8> {
        match codec {
            Codec::Gzip => compressed::pack(Packing::Gzip, text),
            Codec::Zstd => compressed::pack(Packing::Zstd, text),
            Codec::Snappy => snap::raw::Encoder::new().compress_vec(text).unwrap(),
            Codec::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    const ALL: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn a_bomb_stops_at_the_bound_and_what_is_cut_or_garbage_gives_nothing() {
        for codec in ALL {
            let text = vec![b'x'; 100_000];
            let packed = pack(codec, &text);
            assert!(packed.len() < 6000, "{codec:?}: {}", packed.len());
            assert_eq!(unpack_to(codec, &packed, 100_000).as_deref(), Ok(&text[..]), "{codec:?}");
            let error = unpack_to(codec, &packed, 99_999).unwrap_err();
            assert_eq!(error, "decompressed, it has more than 99999 bytes", "{codec:?}");
            for len in 1..packed.len() {
                let cut = unpack_to(codec, &packed[..len], 100_000);
                // Of frames, whole blocks may be there.
                assert!(cut.is_err() || text.starts_with(&cut.unwrap()), "{codec:?} {len}");
            }
            assert!(unpack_to(codec, b"garbage that is none of them", 1 << 20).is_err());
        }
    }

    #[test]
    fn javas_blocks_are_one_text_and_their_sum_is_bounded() {
        let mut bytes = [XERIAL, &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        for text in [&b"one "[..], b"two ", b"three"] {
            let packed = pack(Codec::Snappy, text);
            bytes.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(&packed);
        }
        assert_eq!(unpack_to(Codec::Snappy, &bytes, 13).as_deref(), Ok(&b"one two three"[..]));
        assert!(unpack_to(Codec::Snappy, &bytes, 12).unwrap_err().contains("more than 12 bytes"));
        for len in XERIAL_HEAD + 1..bytes.len() {
            let cut = unpack_to(Codec::Snappy, &bytes[..len], 100);
            assert!(cut.is_err() || cut.unwrap().len() < 13, "{len}");
        }
    }
}
