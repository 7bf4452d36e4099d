//! The methods that are served: what is called, and what is answered.

use super::wire::{self, Fault, Head, Reader, kind, message};

/// The answer that all was taken: `ResultCode.OK` of Scribe, `Status.OK` of Flume.
const OK: u32 = 0;
/// Scribe's `TRY_LATER`, and Flume's `FAILED`: the client keeps what it sent and sends it again.
const LATER: u32 = 1;
/// fb303's `ALIVE`.
const ALIVE: u32 = 2;
/// `TApplicationException`'s `UNKNOWN_METHOD`.
const UNKNOWN_METHOD: u32 = 1;

/// A method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Scribe's `Log`: a list of entries with a category and a message.
    Log,
    /// Flume's `append`: one event.
    Append,
    /// Flume's `appendBatch`: a list of events.
    AppendBatch,
    /// One of fb303's, which say how the server is.
    Status(&'static str),
    /// One that is called and not answered.
    Ignored,
    /// Any other.
    Unknown,
}

/// fb303's methods that are answered.
const STATUS: [&str; 6] =
    ["getName", "getVersion", "getStatus", "getStatusDetails", "getCounters", "aliveSince"];

impl Method {
    /// The method of a call.
    pub fn of(head: &Head<'_>) -> Self {
        match head.name {
            b"Log" => Self::Log,
            b"append" => Self::Append,
            b"appendBatch" => Self::AppendBatch,
            _ if head.kind == message::ONEWAY => Self::Ignored,
            name => match STATUS.iter().find(|known| known.as_bytes() == name) {
                Some(known) => Self::Status(known),
                None => Self::Unknown,
            },
        }
    }
}

/// One of the lines that a call brings, or of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'f> {
    /// Scribe's.
    Entry {
        /// What it is about.
        category: &'f [u8],
        /// The text.
        message: &'f [u8],
    },
    /// Flume's.
    Event {
        /// A map of texts, from its first pair on.
        headers: Headers<'f>,
        /// The text.
        body: &'f [u8],
    },
}

/// The headers of an event.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'f> {
    reader: Reader<'f>,
    count: u32,
}

impl PartialEq for Headers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.pairs().eq(other.pairs())
    }
}

impl Eq for Headers<'_> {}

impl<'f> Headers<'f> {
    const NONE: Self = Self { reader: Reader::EMPTY, count: 0 };

    /// The names and values.
    pub fn pairs(&self) -> impl Iterator<Item = (&'f [u8], &'f [u8])> + use<'f> {
        let mut reader = self.reader;
        (0..self.count).map_while(move |_| Some((reader.string().ok()?, reader.string().ok()?)))
    }
}

/// Why a call is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFault {
    /// Its bytes make no sense.
    Wire(Fault),
    /// It has not the argument that the method has.
    NoArgument,
    /// An entry or event has no text.
    NoText,
}

impl std::fmt::Display for CallFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wire(fault) => fault.fmt(f),
            Self::NoArgument => f.write_str("a call without the argument of its method"),
            Self::NoText => f.write_str("an entry without a message"),
        }
    }
}

impl From<Fault> for CallFault {
    fn from(fault: Fault) -> Self {
        Self::Wire(fault)
    }
}

/// Hands over the items of a call's arguments; all of them must be whole first.
///
/// # Errors
/// Why they are not, when nothing was handed over.
pub fn items(
    method: Method,
    arguments: Reader<'_>,
    take: &mut impl FnMut(Item<'_>),
) -> Result<u32, CallFault> {
    walk(method, arguments, &mut |_| {})?;
    walk(method, arguments, take)
}

fn walk(
    method: Method,
    mut reader: Reader<'_>,
    take: &mut impl FnMut(Item<'_>),
) -> Result<u32, CallFault> {
    let is_scribe = method == Method::Log;
    let mut count = None;
    while let Some((kind, number)) = reader.field()? {
        match (kind, number, method) {
            (kind::STRUCT, 1, Method::Append) => {
                take(event(&mut reader)?);
                count = Some(1);
            }
            (kind::LIST, 1, Method::Log | Method::AppendBatch) => {
                if reader.byte()? != kind::STRUCT {
                    return Err(CallFault::NoArgument);
                }
                let items = reader.count()?;
                for _ in 0..items {
                    take(if is_scribe { entry(&mut reader)? } else { event(&mut reader)? });
                }
                count = Some(items);
            }
            _ => reader.skip(kind)?,
        }
    }
    count.ok_or(CallFault::NoArgument)
}

fn entry<'f>(reader: &mut Reader<'f>) -> Result<Item<'f>, CallFault> {
    let (mut category, mut text): (&[u8], _) = (b"", None);
    while let Some((kind, number)) = reader.field()? {
        match (kind, number) {
            (kind::STRING, 1) => category = reader.string()?,
            (kind::STRING, 2) => text = Some(reader.string()?),
            _ => reader.skip(kind)?,
        }
    }
    Ok(Item::Entry { category, message: text.ok_or(CallFault::NoText)? })
}

fn event<'f>(reader: &mut Reader<'f>) -> Result<Item<'f>, CallFault> {
    let (mut headers, mut body) = (Headers::NONE, None);
    while let Some((kind, number)) = reader.field()? {
        match (kind, number) {
            (kind::MAP, 1) => {
                let kinds = (reader.byte()?, reader.byte()?);
                let count = reader.count()?;
                if count > 0 && kinds != (kind::STRING, kind::STRING) {
                    return Err(CallFault::NoArgument);
                }
                headers = Headers { reader: *reader, count };
                for _ in 0..count {
                    reader.string()?;
                    reader.string()?;
                }
            }
            (kind::STRING, 2) => body = Some(reader.string()?),
            _ => reader.skip(kind)?,
        }
    }
    Ok(Item::Event { headers, body: body.ok_or(CallFault::NoText)? })
}

/// Whether a call's lines were taken.
pub fn write_result(out: &mut Vec<u8>, head: &Head<'_>, is_taken: bool) {
    let code = if is_taken { OK } else { LATER };
    reply(out, head, |out| {
        wire::field(out, kind::I32, 0);
        wire::u32(out, code);
    });
}

/// Answers a call of fb303.
pub fn write_status(out: &mut Vec<u8>, head: &Head<'_>, method: &str, since: u64) {
    reply(out, head, |out| match method {
        "getStatus" => {
            wire::field(out, kind::I32, 0);
            wire::u32(out, ALIVE);
        }
        "aliveSince" => {
            wire::field(out, kind::I64, 0);
            out.extend_from_slice(&since.to_be_bytes());
        }
        "getCounters" => {
            wire::field(out, kind::MAP, 0);
            out.extend_from_slice(&[kind::STRING, kind::I64]);
            wire::u32(out, 0);
        }
        text => {
            wire::field(out, kind::STRING, 0);
            wire::string(
                out,
                match text {
                    "getName" => b"logweir",
                    "getVersion" => env!("CARGO_PKG_VERSION").as_bytes(),
                    _ => b"",
                },
            );
        }
    });
}

fn reply(out: &mut Vec<u8>, head: &Head<'_>, value: impl FnOnce(&mut Vec<u8>)) {
    Head { kind: message::REPLY, ..*head }.write(out, |out| {
        value(out);
        out.push(kind::STOP);
    });
}

/// Answers a method that there is not.
pub fn write_unknown(out: &mut Vec<u8>, head: &Head<'_>) {
    Head { kind: message::EXCEPTION, ..*head }.write(out, |out| {
        wire::field(out, kind::STRING, 1);
        wire::string(out, b"unknown method: there are Log, append and appendBatch");
        wire::field(out, kind::I32, 2);
        wire::u32(out, UNKNOWN_METHOD);
        out.push(kind::STOP);
    });
}
