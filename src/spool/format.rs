//! The byte layout of a segment. man/logweir-spool.5 describes the same for users.
//!
//! A segment consists of rows and payloads. A row is [`ROW`] bytes of ASCII: it begins with 0x1E,
//! the version `1` and a letter for its kind, and ends with the CRC-32C (RFC 3720, appendix B.4) of
//! all bytes before it, in eight hexadecimal digits, and a newline.
//!
//! | bytes | batch row `B` |
//! | --- | --- |
//! | 0..3 | 0x1E, `1`, `B` |
//! | 4..24 | number of the first line, decimal |
//! | 25..35 | lines, decimal |
//! | 36..46 | bytes of payload that follow the row, decimal |
//! | 47..67 | receive time, seconds and nanoseconds since 1970, `1763883000.123456789` |
//! | 68..72 | the input's number in this segment, decimal |
//! | 73..105 | identity of the spool that the lines came from, or 32 `-` |
//! | 106..126 | number of the last line there, or 20 `-` |
//! | 127..135 | CRC-32C of the payload |
//! | 136..144 | CRC-32C of bytes 0 to 135 |
//! | 144 | newline |
//!
//! All other bytes are spaces. The other kinds are `S`, the first row of a segment (4..36 the
//! spool's identity, 37..57 the number of the segment's first line, 58..68 the number of origin
//! rows that follow, 69..89 the first line not known to be durable when the segment was begun;
//! spaces mean that all earlier lines were), `O`, an origin (4..36 its identity, 37..57 the last
//! line received from it), and `I`, an input (4..8 its number in this segment, 9..73 its name,
//! 74..84 the minute in which another logweir first received the lines of batches with this number,
//! in seconds since 1970; spaces: they were first received here, at the time that the batch tells).
//! An input has a row for each such minute. Older versions read only the name.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::ids::Identity;
use crate::limits::{LINE_NUMBER_MAX, NAME_MAX, RECORD_MAX};
use crate::minute::Minute;

/// The size of a row in bytes.
pub const ROW: usize = 145;
/// The first byte of a row.
pub const MARK: u8 = 0x1e;
/// The version of this format.
pub const VERSION: u8 = b'1';
/// The offset of a row's own checksum.
const SUM: usize = 136;
/// The offset of an input's minute.
const MINUTE: usize = 74;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// The first row of a segment.
    Segment {
        /// The spool's identity.
        spool: Identity,
        /// The number of the segment's first line.
        first: u64,
        /// How many origin rows follow; with fewer, the segment's head is incomplete.
        origins: u32,
        /// The first line not known to be durable when the segment was begun.
        durable: u64,
    },
    /// A spool that lines came from.
    Origin {
        /// Its identity.
        spool: Identity,
        /// The number of the last line received from it.
        last: u64,
    },
    /// An input of this segment.
    Input {
        /// Its number in this segment.
        number: u16,
        /// Its name.
        name: String,
        /// The minute in which another logweir first received its lines; `None` if none had them
        /// before.
        minute: Option<Minute>,
    },
    /// Lines.
    Batch(Header),
}

/// The fields of a batch row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The number of the first line.
    pub first: u64,
    /// The number of lines.
    pub lines: u32,
    /// The size of the payload in bytes, newlines included.
    pub bytes: u32,
    /// When they were received.
    pub received: SystemTime,
    /// The input's number in this segment.
    pub input: u16,
    /// The spool they came from, and the number of the last line in that spool.
    pub origin: Option<(Identity, u64)>,
    /// CRC-32C of the payload.
    pub sum: u32,
}

impl Header {
    /// The number of the line after the last one.
    pub fn end(&self) -> u64 {
        self.first + u64::from(self.lines)
    }
}

impl Row {
    /// Encodes the row as it appears in a segment.
    pub fn encode(&self) -> [u8; ROW] {
        let mut row = [b' '; ROW];
        row[0] = MARK;
        row[1] = VERSION;
        let mut put =
            |at: usize, text: String| row[at..at + text.len()].copy_from_slice(text.as_bytes());
        match self {
            Self::Segment { spool, first, origins, durable } => {
                put(2, "S".into());
                put(4, format!("{spool} {first:020} {origins:010} {durable:020}"));
            }
            Self::Origin { spool, last } => {
                put(2, "O".into());
                put(4, format!("{spool} {last:020}"));
            }
            Self::Input { number, name, minute } => {
                put(2, "I".into());
                put(4, format!("{number:04} {name}"));
                if let Some(minute) = minute {
                    put(MINUTE, format!("{:010}", minute.seconds()));
                }
            }
            Self::Batch(header) => {
                put(2, "B".into());
                put(4, header.encode());
            }
        }
        let sum = format!("{:08x}\n", crc32c::crc32c(&row[..SUM]));
        row[SUM..].copy_from_slice(sum.as_bytes());
        row
    }

    /// Decodes a row; `None` if it is damaged or not a row.
    pub fn decode(row: &[u8; ROW]) -> Option<Self> {
        if row[0] != MARK || row[1] != VERSION || row[ROW - 1] != b'\n' || !row.is_ascii() {
            return None;
        }
        if hexadecimal(&row[SUM..ROW - 1])? != crc32c::crc32c(&row[..SUM]) {
            return None;
        }
        let text = std::str::from_utf8(row).ok()?;
        let spool = || text[4..36].parse().ok();
        Some(match row[2] {
            b'S' => {
                let first = number(&text[37..57])?;
                let durable = match text[69..89].trim() {
                    "" => first,
                    durable => number(durable)?,
                };
                Self::Segment { spool: spool()?, first, origins: decimal(&text[58..68])?, durable }
            }
            b'O' => Self::Origin { spool: spool()?, last: number(&text[37..57])? },
            b'I' => Self::Input {
                number: decimal(&text[4..8])?,
                name: text[9..9 + NAME_MAX].trim_end().into(),
                // What no version writes there is passed over: the lines are sound.
                minute: decimal::<u32>(&text[MINUTE..MINUTE + 10])
                    .map(|seconds| Minute::from_number(seconds / 60)),
            },
            b'B' => Self::Batch(Header::decode(text)?),
            _ => return None,
        })
    }
}

impl Header {
    fn encode(&self) -> String {
        let time = self.received.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (origin, last) = match self.origin {
            Some((spool, last)) => (spool.to_string(), format!("{last:020}")),
            None => ("-".repeat(32), "-".repeat(20)),
        };
        format!(
            "{:020} {:010} {:010} {:010}.{:09} {:04} {origin} {last} {:08x}",
            self.first,
            self.lines,
            self.bytes,
            time.as_secs(),
            time.subsec_nanos(),
            self.input,
            self.sum
        )
    }

    fn decode(text: &str) -> Option<Self> {
        let time = Duration::new(decimal(&text[47..57])?, decimal(&text[58..67])?);
        let origin = match &text[73..74] {
            "-" => None,
            _ => Some((text[73..105].parse().ok()?, number(&text[106..126])?)),
        };
        let header = Self {
            first: number(&text[4..24])?,
            lines: decimal(&text[25..35])?,
            bytes: decimal(&text[36..46])?,
            received: UNIX_EPOCH.checked_add(time)?,
            input: decimal(&text[68..72])?,
            origin,
            sum: hexadecimal(&text.as_bytes()[127..135])?,
        };
        let sound = header.lines > 0
            && header.bytes >= header.lines
            && header.bytes as usize <= RECORD_MAX
            && header.end() <= LINE_NUMBER_MAX;
        sound.then_some(header)
    }
}

fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    // `parse` would accept a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Parses a line number. A number that no line can have is a forgery.
fn number(text: &str) -> Option<u64> {
    decimal(text).filter(|number| *number <= LINE_NUMBER_MAX)
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let good = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let text = std::str::from_utf8(digits).ok()?;
    digits.iter().all(good).then(|| u32::from_str_radix(text, 16).ok())?
}

/// Returns where the next row may begin in `bytes`: at a mark, the version and a kind.
pub fn find_row(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, &[MARK, VERSION])
}

/// The name of the segment that begins with line `first`.
pub fn segment_name(first: u64) -> String {
    format!("{first:020}.log")
}

/// Parses a segment's name: its first line, and whether it is compressed.
pub fn parse_segment_name(name: &str) -> Option<(u64, bool)> {
    let (stem, packed) = match name.strip_suffix(".zst") {
        Some(stem) => (stem, true),
        None => (name, false),
    };
    let digits = stem.strip_suffix(".log")?;
    if digits.len() != 20 {
        return None;
    }
    Some((number(digits)?, packed))
}

const _: () = assert!(9 + NAME_MAX < MINUTE && MINUTE + 10 <= SUM);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header {
            first: 42,
            lines: 2,
            bytes: 8,
            received: UNIX_EPOCH + Duration::new(1_763_883_000, 123_456_789),
            input: 3,
            origin: None,
            sum: crc32c::crc32c(b"one\ntwo\n"),
        }
    }

    #[test]
    fn a_batch_row_is_to_the_byte_what_the_manual_says() {
        let row = Row::Batch(header()).encode();
        let text = String::from_utf8(row.to_vec()).unwrap();
        let wanted = "\x1e1B 00000000000000000042 0000000002 0000000008 1763883000.123456789 0003 \
                      -------------------------------- -------------------- ";
        assert_eq!(&text[..wanted.len()], wanted);
        let sum = format!("{:08x}", crc32c::crc32c(b"one\ntwo\n"));
        assert_eq!(text[127..136], format!("{sum} "));
        assert_eq!(text[136..], format!("{:08x}\n", crc32c::crc32c(&text.as_bytes()[..136])));
        // The check value of RFC 3720's CRC-32C.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn every_row_reads_as_it_was_written() {
        let spool = Identity::of(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let minute = Minute::from_number(29_930_187);
        for row in [
            Row::Segment { spool, first: LINE_NUMBER_MAX, origins: 17, durable: 5 },
            Row::Origin { spool, last: 0 },
            Row::Input { number: 9999, name: "x".repeat(NAME_MAX), minute: None },
            Row::Input { number: 0, name: "x".into(), minute: Some(Minute::UNKNOWN) },
            Row::Input { number: 7, name: "x".repeat(NAME_MAX), minute: Some(minute) },
            Row::Batch(Header { origin: Some((spool, 7)), ..header() }),
            Row::Batch(header()),
        ] {
            assert_eq!(Row::decode(&row.encode()), Some(row));
        }
    }

    #[test]
    fn a_segment_row_of_before_says_that_all_was_durable() {
        let spool = Identity::of(7);
        let mut row = Row::Segment { spool, first: 9, origins: 0, durable: 4 }.encode();
        row[69..89].fill(b' ');
        let sum = format!("{:08x}\n", crc32c::crc32c(&row[..SUM]));
        row[SUM..].copy_from_slice(sum.as_bytes());
        let read = Row::decode(&row);
        assert_eq!(read, Some(Row::Segment { spool, first: 9, origins: 0, durable: 9 }));
    }

    #[test]
    fn the_minute_of_an_input_stands_behind_its_name_where_older_versions_read_spaces() {
        let minute = Some(Minute::from_number(29_930_187));
        let row = Row::Input { number: 3, name: "edge".into(), minute }.encode();
        let wanted = format!("\x1e1I 0003 {:64} 1795811220{:52}", "edge", "");
        assert_eq!(std::str::from_utf8(&row[..SUM]).unwrap(), wanted);
    }

    #[test]
    fn a_number_that_no_line_can_have_is_no_number() {
        let high = LINE_NUMBER_MAX + 1;
        for row in [
            Row::Segment { spool: Identity::of(7), first: high, origins: 0, durable: 0 },
            Row::Origin { spool: Identity::of(7), last: high },
            Row::Batch(Header { first: LINE_NUMBER_MAX - 1, ..header() }),
            Row::Batch(Header { origin: Some((Identity::of(7), u64::MAX)), ..header() }),
        ] {
            assert_eq!(Row::decode(&row.encode()), None, "{row:?}");
        }
        assert_eq!(parse_segment_name(&segment_name(high)), None);
    }

    #[test]
    fn no_bit_of_a_row_can_turn_unnoticed() {
        let row = Row::Batch(header()).encode();
        for bit in 0..ROW * 8 {
            let mut damaged = row;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Row::decode(&damaged), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), ROW)) {
            let mut row: [u8; ROW] = bytes.try_into().unwrap();
            prop_assert_eq!(Row::decode(&row), None);
            // With correct checksums, whatever else is wrong.
            row[0] = MARK;
            row[1] = VERSION;
            row[2] = b'B';
            let sum = format!("{:08x}\n", crc32c::crc32c(&row[..SUM]));
            row[SUM..].copy_from_slice(sum.as_bytes());
            let _ = Row::decode(&row);
        }
    }

    #[test]
    fn only_names_of_segments_are_segments() {
        assert_eq!(parse_segment_name(&segment_name(17)), Some((17, false)));
        assert_eq!(parse_segment_name("00000000000000000017.log.zst"), Some((17, true)));
        for name in ["17.log", "0000000000000000001x.log", "00000000000000000017", ".log"] {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
    }
}
