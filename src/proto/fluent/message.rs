//! The messages of the protocol: what a value of the stream is, and the records in it.
//!
//! | mode | value |
//! | --- | --- |
//! | Message | `[tag, time, record, option?]` |
//! | Forward | `[tag, [[time, record], …], option?]` |
//! | PackedForward | `[tag, entries as one string, option?]` |
//! | CompressedPackedForward | the same, compressed |
//!
//! A time may be `[time, metadata]` (version 1.5).

use std::fmt;

use super::msgpack::{self, Reader, Value};
use crate::limits::{CHUNK_ID_MAX, RECORDS_UNPACKED_MAX};
use crate::parse::compressed::{self, Packing, unpack};
use crate::proto::shared::record::Time;

/// Why a message is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Its bytes are no MessagePack.
    Msgpack(msgpack::Fault),
    /// It is compressed in a way that is not known.
    Packing(String),
    /// It cannot be decompressed.
    Unpack(compressed::Fault),
    /// The id of its chunk has so many bytes.
    LongId(usize),
    /// It is not what a message must be.
    Shape(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Msgpack(msgpack::Fault::TooLarge) => f.write_str(
                "sends a message larger than is taken: have it send smaller chunks (fluentd: \
                 chunk_limit_size 8m in its <buffer>)",
            ),
            Self::Msgpack(fault) => write!(f, "sends {fault}"),
            Self::Packing(name) => {
                write!(f, "compresses with `{name}`, which is not known here: use gzip or zstd")
            }
            Self::Unpack(fault) => write!(f, "sends a compressed message; {fault}"),
            Self::LongId(len) => write!(
                f,
                "sends the id of a chunk with {len} bytes; {CHUNK_ID_MAX} are the most that is \
                 answered"
            ),
            Self::Shape(what) => write!(f, "sends {what}"),
        }
    }
}

impl From<msgpack::Fault> for Fault {
    fn from(fault: msgpack::Fault) -> Self {
        Self::Msgpack(fault)
    }
}

/// One record with its time.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'e> {
    /// When it was made; `None` where that is not said.
    pub time: Option<Time>,
    /// A map.
    pub record: &'e [u8],
    /// What a client of version 1.5 knows beside it: a map, or nothing.
    pub metadata: Option<&'e [u8]>,
}

/// What became of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Entries that made no sense and were passed over, and what the first of them was.
    pub bad: u64,
    /// See `bad`.
    pub bad_is: Option<&'static str>,
}

impl Taken {
    fn note(&mut self, what: &'static str) {
        self.bad += 1;
        self.bad_is.get_or_insert(what);
    }
}

/// The parts of a message.
#[derive(Debug)]
pub struct Message<'m> {
    /// The tag of all its records.
    pub tag: &'m [u8],
    body: Body<'m>,
    option: Options<'m>,
}

#[derive(Debug)]
enum Body<'m> {
    /// A time or `[time, metadata]`, and a record.
    One { time: &'m [u8], record: &'m [u8] },
    /// An array of entries.
    Many(&'m [u8]),
    /// Entries, one behind the other.
    Packed(&'m [u8]),
}

/// The options of a message.
#[derive(Debug, Default)]
struct Options<'m> {
    chunk: Option<&'m [u8]>,
    compressed: Option<&'m [u8]>,
    /// 0 for logs, 1 for metrics, 2 for traces.
    signal: u64,
}

const LOGS: u64 = 0;

impl<'m> Message<'m> {
    /// Reads the parts of a value; `None` where it is `nil`, which keeps a connection alive.
    ///
    /// # Errors
    /// Why it is no message.
    pub fn read(value: &'m [u8]) -> Result<Option<Self>, Fault> {
        let mut reader = Reader::new(value);
        let count = match reader.value()? {
            Value::Nil => return Ok(None),
            Value::Array(count @ 2..=4) => count,
            Value::Array(_) => return Err(Fault::Shape("an array of other than 2 to 4 values")),
            _ => return Err(Fault::Shape(NO_ARRAY)),
        };
        let tag = reader.value()?.text().ok_or(Fault::Shape("a message whose tag is no string"))?;
        let (body, left) = match reader.peek()? {
            Value::Str(packed) | Value::Bin(packed) => {
                reader.skip()?;
                (Body::Packed(packed), count - 2)
            }
            Value::Array(_) if !is_time_with_metadata(reader)? => {
                (Body::Many(reader.skip()?), count - 2)
            }
            _ if count < 3 => return Err(Fault::Shape("a time without a record")),
            _ => (Body::One { time: reader.skip()?, record: reader.skip()? }, count - 3),
        };
        let option = match left {
            0 => Options::default(),
            1 => Options::read(&mut reader)?,
            _ => return Err(Fault::Shape("a message with more behind its options")),
        };
        Ok(Some(Self { tag, body, option }))
    }

    /// The id of its chunk, which is to be answered.
    pub fn chunk(&self) -> Option<&'m [u8]> {
        self.option.chunk
    }

    /// Hands over its records.
    ///
    /// # Errors
    /// Why it cannot be unpacked; then nothing of it was handed over.
    pub fn take(&self, take: &mut impl FnMut(Entry<'_>)) -> Result<Taken, Fault> {
        let mut taken = Taken::default();
        if self.option.signal != LOGS {
            taken.note("metrics or traces, which are no logs");
            return Ok(taken);
        }
        match self.body {
            Body::One { time, record } => one(time, record, take, &mut taken),
            Body::Many(entries) => {
                let mut reader = Reader::new(entries);
                // The head of the array, which was seen before.
                reader.value()?;
                all(reader, take, &mut taken);
            }
            Body::Packed(packed) => match self.packing(packed)? {
                None => all(Reader::new(packed), take, &mut taken),
                Some(packing) => {
                    let entries = unpack(packing, packed, RECORDS_UNPACKED_MAX);
                    let entries = entries.map_err(Fault::Unpack)?;
                    all(Reader::new(&entries), take, &mut taken);
                }
            },
        }
        Ok(taken)
    }

    /// How the entries are compressed. fluentd says `text` where they are not.
    fn packing(&self, packed: &[u8]) -> Result<Option<Packing>, Fault> {
        match self.option.compressed {
            _ if packed.is_empty() => Ok(None),
            None | Some(b"" | b"text") => Ok(None),
            Some(b"gzip") => Ok(Some(Packing::Gzip)),
            Some(b"zstd") => Ok(Some(Packing::Zstd)),
            Some(other) => Err(Fault::Packing(
                String::from_utf8_lossy(&other[..other.len().min(40)]).into_owned(),
            )),
        }
    }
}

/// What is said of a value that is no message.
pub const NO_ARRAY: &str = "what is not the forward protocol: a message is an array";

impl<'m> Options<'m> {
    fn read(reader: &mut Reader<'m>) -> Result<Self, Fault> {
        let mut options = Self::default();
        let count = match reader.value()? {
            Value::Map(count) => count,
            Value::Nil => 0,
            _ => return Err(Fault::Shape("options that are no map")),
        };
        for _ in 0..count {
            let name = reader.peek()?.text();
            reader.skip()?;
            let value = reader.peek()?;
            reader.skip()?;
            match (name, value) {
                (Some(b"chunk"), Value::Str(id) | Value::Bin(id)) => {
                    if id.len() > CHUNK_ID_MAX {
                        return Err(Fault::LongId(id.len()));
                    }
                    options.chunk = Some(id);
                }
                (Some(b"chunk"), Value::Nil) => {}
                (Some(b"chunk"), _) => {
                    return Err(Fault::Shape("the id of a chunk that is no string"));
                }
                (Some(b"compressed"), value) => options.compressed = value.text(),
                (Some(b"fluent_signal"), Value::Uint(signal)) => options.signal = signal,
                _ => {}
            }
        }
        Ok(options)
    }
}

/// Whether the value that comes next is `[time, metadata]` and not a list of entries.
fn is_time_with_metadata(mut reader: Reader<'_>) -> Result<bool, Fault> {
    let Value::Array(2) = reader.value()? else { return Ok(false) };
    Ok(!matches!(reader.peek()?, Value::Array(_)))
}

/// Hands over entries that stand one behind the other.
fn all(mut reader: Reader<'_>, take: &mut impl FnMut(Entry<'_>), taken: &mut Taken) {
    while !reader.is_at_end() {
        // Behind what is no value, nothing can be found.
        let Ok(entry) = reader.skip() else { return taken.note("entries that are cut off") };
        let mut parts = Reader::new(entry);
        match (parts.value(), parts.skip(), parts.skip()) {
            (Ok(Value::Array(2..)), Ok(time), Ok(record)) => one(time, record, take, taken),
            _ => taken.note("an entry that is not a time and a record"),
        }
    }
}

/// Hands over one entry.
fn one(time: &[u8], record: &[u8], take: &mut impl FnMut(Entry<'_>), taken: &mut Taken) {
    let mut reader = Reader::new(time);
    let metadata = match reader.peek() {
        Ok(Value::Array(2)) => {
            let parts = (reader.value(), reader.skip(), reader.skip());
            let (_, Ok(inner), Ok(metadata)) = parts else {
                return taken.note("an entry whose time is cut off");
            };
            reader = Reader::new(inner);
            matches!(Reader::new(metadata).value(), Ok(Value::Map(1..))).then_some(metadata)
        }
        _ => None,
    };
    let Ok(time) = reader.value().map_err(|_| ()).and_then(time_of) else {
        return taken.note("an entry whose time is no time");
    };
    if !matches!(Reader::new(record).value(), Ok(Value::Map(_))) {
        return taken.note("a record that is no map");
    }
    take(Entry { time, record, metadata });
}

/// What stands for a time; `Ok(None)` where it is not said (`nil` or 0).
pub(super) fn time_of(value: Value<'_>) -> Result<Option<Time>, ()> {
    let time = match value {
        Value::Nil => return Ok(None),
        Value::Uint(seconds) => (i64::try_from(seconds).map_err(drop)?, 0),
        Value::Int(seconds) => (seconds, 0),
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
        Value::Float(seconds) if seconds.is_finite() => {
            let whole = seconds.floor();
            (whole as i64, ((seconds - whole) * 1e9) as u32)
        }
        // EventTime: seconds and nanoseconds, 32 bits each.
        Value::Ext(0, data) => {
            let data: [u8; 8] = data.try_into().map_err(drop)?;
            let both = u64::from_be_bytes(data);
            let nanos = u32::try_from(both & 0xffff_ffff).map_err(drop)?;
            (i64::from(u32::try_from(both >> 32).map_err(drop)?), nanos.min(999_999_999))
        }
        _ => return Err(()),
    };
    Ok((time.0 != 0).then_some(time))
}

/// Writes the answer to a chunk. Its id is a string, whatever it came as: Docker's client takes
/// nothing else for an answer, and sends again.
pub fn write_ack(out: &mut Vec<u8>, chunk: &[u8]) {
    msgpack::map(out, 1);
    msgpack::str(out, b"ack");
    msgpack::str(out, chunk);
}
