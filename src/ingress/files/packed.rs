//! Compressed files: what a rotated file was before it was compressed.
//!
//! They are not read. But while the daemon was away a file may have been rotated and compressed
//! that was not read to its end: then the rest is lost, and that is said. Its first line tells
//! which of the known origins it was, its length whether it was read to its end.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::identity::{first_line, kind};
use crate::limits::{FIRST_LINE_MAX, PACKED_READ_MAX};

/// The largest window of zstd that is decompressed, as the logarithm of its bytes (RFC 8878).
const WINDOW_LOG_MAX: u32 = 23;
/// gzip stores a length modulo this (RFC 1952, ISIZE).
const GZIP_LENGTHS: u64 = 1 << 32;
/// A byte in gzip's format is at most so many.
const GZIP_RATIO_MAX: u64 = 1032;

/// A compressed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Where it is.
    pub path: PathBuf,
    /// The kind of its identity, by its first line.
    pub kind: u64,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Gzip,
    Zstd,
}

impl Packed {
    /// Looks into a compressed file; `None` for other formats, and for files that are damaged or
    /// have no whole first line.
    pub fn look(path: &Path) -> Option<Self> {
        let format = match path.extension()?.to_str()? {
            "gz" => Format::Gzip,
            "zst" => Format::Zstd,
            _ => return None,
        };
        let file = File::open(path).ok()?;
        let start = match format {
            Format::Gzip => start_of(MultiGzDecoder::new(BufReader::new(file))),
            Format::Zstd => zstd(file).and_then(start_of),
        };
        let kind = kind(first_line(&start.ok()?)?);
        Some(Self { path: path.to_path_buf(), kind, format })
    }

    /// How many bytes it has behind byte `end`, up to which its plain form was read; `None` if it
    /// has fewer, or more than can be counted.
    pub fn behind(&self, end: u64) -> Option<u64> {
        let file = File::open(&self.path).ok()?;
        match self.format {
            Format::Gzip => {
                let (length, is_exact) = gzip_length(file).ok()?;
                match is_exact {
                    true => length.checked_sub(end),
                    false => Some(length.wrapping_sub(end) % GZIP_LENGTHS),
                }
            }
            // Its length may stand nowhere.
            Format::Zstd => {
                let bytes = zstd(file).ok()?.take(PACKED_READ_MAX + 1);
                let length = io::copy(&mut { bytes }, &mut io::sink()).ok()?;
                length.checked_sub(end).filter(|_| length <= PACKED_READ_MAX)
            }
        }
    }
}

/// The length of the last member, which is the only one of those that gzip(1) makes, and whether
/// that is all of it.
fn gzip_length(mut file: File) -> io::Result<(u64, bool)> {
    let compressed = file.seek(SeekFrom::End(-4))? + 4;
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let is_exact = compressed.saturating_mul(GZIP_RATIO_MAX) < GZIP_LENGTHS;
    Ok((u64::from(u32::from_le_bytes(length)), is_exact))
}

fn zstd(file: File) -> io::Result<impl Read> {
    let mut decoder = zstd::Decoder::new(file)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(decoder)
}

fn start_of(decoder: impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    decoder.take(FIRST_LINE_MAX as u64).read_to_end(&mut start)?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn a_compressed_file_tells_its_first_line_and_how_much_of_it_is_unread() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"first\nsecond\nthird\n";
        let (gz, zst) = (folder.path().join("a.gz"), folder.path().join("a.zst"));
        let mut encoder = GzEncoder::new(File::create(&gz).unwrap(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap();
        std::fs::write(&zst, zstd::encode_all(&text[..], 1).unwrap()).unwrap();
        for path in [gz, zst] {
            let packed = Packed::look(&path).unwrap();
            assert_eq!(packed.kind, kind(b"first\n"));
            assert_eq!(packed.behind(19), Some(0));
            assert_eq!(packed.behind(6), Some(13));
            assert_eq!(packed.behind(20), None);
            let whole = std::fs::read(&path).unwrap();
            std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
            assert!(Packed::look(&path).is_none(), "damaged");
        }
        for name in ["a.xz", "empty.gz", "absent.gz"] {
            let path = folder.path().join(name);
            if name != "absent.gz" {
                File::create(&path).unwrap();
            }
            assert!(Packed::look(&path).is_none(), "{name}");
        }
    }
}
