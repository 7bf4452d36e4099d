//! The compression of records in a batch.

use std::io::{self, Write};

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4 frames: fast, for a third to half of the size.
    Lz4,
    /// Zstandard: the smallest.
    Zstd,
}

/// The level of Zstandard: its own default costs twice the time for a few per cent.
const LEVEL: i32 = 1;

impl Compression {
    /// The bits that stand for it in a batch's attributes.
    pub(super) fn bits(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Appends `records`, compressed, to `out`.
    ///
    /// # Errors
    /// What the compressor says; it has no reason to.
    pub(super) fn compress(self, records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::None => out.extend_from_slice(records),
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(out);
                encoder.write_all(records)?;
                encoder.finish().map_err(io::Error::other)?;
            }
            Self::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, LEVEL)?;
                encoder.write_all(records)?;
                encoder.finish()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_compressed_is_smaller_and_comes_back() {
        let records = b"GET /index.html 200\n".repeat(5000);
        for compression in [Compression::Lz4, Compression::Zstd] {
            let mut out = b"header".to_vec();
            compression.compress(&records, &mut out).unwrap();
            let packed = out.strip_prefix(b"header").unwrap();
            assert!(packed.len() * 20 < records.len(), "{compression:?}: {}", packed.len());
            let mut back = Vec::new();
            match compression {
                Compression::Lz4 => {
                    lz4_flex::frame::FrameDecoder::new(packed).read_to_end(&mut back).unwrap();
                }
                _ => back = zstd::decode_all(packed).unwrap(),
            }
            assert!(back == records, "{compression:?}");
        }
    }
}
