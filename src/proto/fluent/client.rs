//! A client of Fluent forward without its socket: lines in, chunks out, answers in.
//!
//! Each batch goes out as one PackedForward message for each tag in it, with a chunk's id; its
//! lines are the peer's once all of its chunks are answered. Where it can be, an id is made of the
//! spool's identity and the lines' numbers: then a chunk that is sent again has the same one, and a
//! peer that remembers them takes it once.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::fmt;

use bytes::BytesMut;

use super::auth::{self, Nonce};
use super::entry::Entries;
use super::msgpack::{self, Reader, Scanner, Value};
use super::out_config::FluentOutPlan;
use crate::batch::Batch;
use crate::format::Formatter;
use crate::forward::client::{Client, Heard, Offer};
use crate::forward::out::Out;
use crate::ids::Identity;
use crate::ledger::Count;
use crate::limits::CHUNKS_UNANSWERED_MAX;
use crate::parse::compressed::{Packing, pack};
use crate::printable::printable_bytes;

/// The longest thing that a peer has to say.
const ANSWER_MAX: usize = 64 * 1024;

/// Why a connection is of no more use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// What the peer sends is no MessagePack.
    Msgpack(msgpack::Fault),
    /// It sends something that is no answer.
    NoAnswer,
    /// It answers a chunk that is not under way.
    UnknownChunk,
    /// It asks for a shared key, and there is none.
    NoKey,
    /// It is asked for a greeting, and greets in another way.
    NoGreeting,
    /// It refuses the key or the user.
    Refused(String),
    /// It does not know the key either.
    WrongServer,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Msgpack(fault) => write!(f, "the peer sends {fault}"),
            Self::NoAnswer => f.write_str("the peer sends what is no answer of Fluent forward"),
            Self::UnknownChunk => f.write_str("the peer answers a chunk that was not sent"),
            Self::NoKey => f.write_str("the peer asks for a shared key: set `shared_key`"),
            Self::NoGreeting => f.write_str(
                "the peer does not ask for the shared key: it may have none, then leave out \
                 `shared_key`",
            ),
            Self::Refused(why) => write!(f, "the peer refuses this host: {why}"),
            Self::WrongServer => f.write_str("the peer has another shared key, or is this host"),
        }
    }
}

impl Error for Fault {}

impl From<msgpack::Fault> for Fault {
    fn from(fault: msgpack::Fault) -> Self {
        Self::Msgpack(fault)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// The peer's greeting is waited for.
    Greeting,
    /// Our answer to it was sent, made with this nonce and salt.
    Answered {
        nonce: Vec<u8>,
        salt: String,
    },
    Open,
}

/// Lines that were sent together.
#[derive(Debug)]
struct Sent {
    count: Count,
    /// How many of its chunks are not answered.
    unanswered: usize,
}

/// A client's side of one connection.
#[derive(Debug)]
pub struct FluentClient {
    plan: FluentOutPlan,
    tag: Formatter,
    entries: Entries,
    origin: Option<Identity>,
    state: State,
    buffer: BytesMut,
    scanner: Scanner,
    out: Out,
    sent: VecDeque<Sent>,
    /// The number of the first of `sent`, counted from the beginning of the connection.
    first: u64,
    /// Chunks under way, by id, with the number of what they are a part of.
    chunks: HashMap<String, u64>,
}

/// A client; `offer` names the spool that chunks are known by.
pub fn new(offer: Offer, plan: &FluentOutPlan) -> FluentClient {
    let state = if plan.shared_key.is_some() { State::Greeting } else { State::Open };
    FluentClient {
        tag: Formatter::new(&plan.tag),
        plan: plan.clone(),
        entries: Entries::default(),
        origin: offer.map(|(origin, _)| origin),
        state,
        buffer: BytesMut::new(),
        scanner: Scanner::new(ANSWER_MAX),
        out: Out::default(),
        sent: VecDeque::new(),
        first: 0,
        chunks: HashMap::new(),
    }
}

impl FluentClient {
    fn take(&mut self, value: &[u8], heard: &mut Vec<Heard>) -> Result<(), Fault> {
        match &self.state {
            State::Greeting => self.greeted(value),
            State::Answered { nonce, salt } => {
                self.judged(value, nonce, salt)?;
                self.state = State::Open;
                heard.push(Heard::Opened(None));
                Ok(())
            }
            State::Open => self.answered(value),
        }
    }

    /// Answers the greeting, which says what the digests are made with.
    fn greeted(&mut self, value: &[u8]) -> Result<(), Fault> {
        let (nonce, auth_salt) = auth::read_hello(value).ok_or(Fault::NoGreeting)?;
        let salt = format!("{:032x}", fastrand::u128(..));
        let key = self.plan.shared_key.as_deref().unwrap_or_default();
        let user = self.plan.user.as_ref().map(|(user, word)| (user.as_str(), word.as_str()));
        let ping = auth::ping((&self.plan.host, &salt), nonce, key, user, auth_salt);
        self.out.push(ping.into());
        self.state = State::Answered { nonce: nonce.to_vec(), salt };
        Ok(())
    }

    /// Looks at what the peer said to our answer.
    fn judged(&self, value: &[u8], nonce: &[u8], salt: &str) -> Result<(), Fault> {
        let key = self.plan.shared_key.as_deref().unwrap_or_default();
        match auth::read_pong(value).ok_or(Fault::NoAnswer)? {
            Err(reason) => Err(Fault::Refused(printable_bytes(reason).into_owned())),
            Ok((name, digest)) => {
                let is_right = auth::knows((name, digest), salt, nonce, key);
                let is_ours = name == self.plan.host.as_bytes();
                if is_right && !is_ours { Ok(()) } else { Err(Fault::WrongServer) }
            }
        }
    }

    /// A chunk is answered.
    fn answered(&mut self, value: &[u8]) -> Result<(), Fault> {
        let mut reader = Reader::new(value);
        match reader.value()? {
            Value::Map(count) => {
                for _ in 0..count {
                    let name = reader.skip()?;
                    let answer = reader.skip()?;
                    if Reader::new(name).value()?.text() == Some(b"ack") {
                        let id = Reader::new(answer).value()?.text().ok_or(Fault::NoAnswer)?;
                        self.answered_chunk(id)?;
                    }
                }
                Ok(())
            }
            Value::Array(_) if auth::read_hello(value).is_some() => Err(Fault::NoKey),
            Value::Nil => Ok(()),
            _ => Err(Fault::NoAnswer),
        }
    }

    fn answered_chunk(&mut self, id: &[u8]) -> Result<(), Fault> {
        let id = std::str::from_utf8(id).map_err(|_| Fault::UnknownChunk)?;
        let number = self.chunks.remove(id).ok_or(Fault::UnknownChunk)?;
        let at = usize::try_from(number - self.first).map_err(|_| Fault::UnknownChunk)?;
        let sent = self.sent.get_mut(at).ok_or(Fault::UnknownChunk)?;
        sent.unanswered -= 1;
        Ok(())
    }

    /// The id of a batch's chunk with this tag: the same whenever the same lines are sent, and
    /// never that of others. Where only some lines of a range are there, two parts of it may have
    /// the same range: those have ids of their own each time.
    fn chunk(&self, batch: &Batch, tag: &[u8]) -> String {
        let whole = batch.numbers.filter(|numbers| numbers.lines() == u64::from(batch.lines));
        let id = match (self.origin, whole) {
            (Some(origin), Some(numbers)) => {
                let mark = format!("{origin} {} {} ", numbers.first, numbers.last);
                xxhash_rust::xxh3::xxh3_128(&[mark.as_bytes(), tag].concat())
            }
            _ => fastrand::u128(..),
        };
        base64(id.to_be_bytes())
    }

    /// Writes a message of one tag.
    fn write(&mut self, tag: &[u8], entries: &[u8], lines: u64, chunk: &str) {
        let packed = self.plan.packing.map(|packing| pack(packing, entries));
        let packed = packed.as_deref().unwrap_or(entries);
        let mut out = Vec::with_capacity(packed.len() + tag.len() + 100);
        msgpack::array(&mut out, 3);
        msgpack::str(&mut out, tag);
        msgpack::bin(&mut out, packed);
        msgpack::map(&mut out, if self.plan.packing.is_some() { 3 } else { 2 });
        msgpack::str(&mut out, b"size");
        msgpack::uint(&mut out, lines);
        msgpack::str(&mut out, b"chunk");
        msgpack::str(&mut out, chunk.as_bytes());
        if let Some(packing) = self.plan.packing {
            msgpack::str(&mut out, b"compressed");
            let name: &[u8] = match packing {
                Packing::Gzip => b"gzip",
                Packing::Zstd => b"zstd",
            };
            msgpack::str(&mut out, name);
        }
        self.out.push(out.into());
    }
}

impl Client for FluentClient {
    fn push(
        &mut self,
        bytes: &[u8],
        heard: &mut Vec<Heard>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.buffer.extend_from_slice(bytes);
        while let Some(len) = self.scanner.scan(&self.buffer).map_err(Fault::from)? {
            let value = self.buffer.split_to(len);
            self.take(&value, heard)?;
            if self.buffer.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.state == State::Open
    }

    fn has_room(&self) -> bool {
        self.is_open() && self.chunks.len() < CHUNKS_UNANSWERED_MAX
    }

    fn send(&mut self, batch: &Batch, formatter: &Formatter) {
        let mut chunks = std::mem::take(&mut self.entries);
        chunks.fill(batch, &self.tag, formatter);
        let number = self.first + self.sent.len() as u64;
        for (tag, entries, lines) in chunks.by_tag() {
            let chunk = self.chunk(batch, tag);
            self.write(tag, entries, lines, &chunk);
            self.chunks.insert(chunk, number);
        }
        let unanswered = chunks.len();
        self.entries = chunks;
        self.sent.push_back(Sent { count: batch.count(), unanswered });
    }

    fn out(&self) -> &Out {
        &self.out
    }

    fn wrote(&mut self, bytes: usize) {
        self.out.wrote(bytes);
    }

    fn take_done(&mut self) -> Count {
        let mut done = Count::default();
        while self.sent.front().is_some_and(|sent| sent.unanswered == 0) {
            let Some(sent) = self.sent.pop_front() else { break };
            done.add(sent.count.lines, sent.count.bytes);
            self.first += 1;
        }
        done
    }

    fn waits(&self) -> bool {
        !self.is_open() || !self.sent.is_empty()
    }

    fn close(&mut self) -> bool {
        true
    }
}

/// A chunk's id as other clients write theirs (RFC 4648, section 4).
fn base64(id: Nonce) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(24);
    for three in id.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4_usize {
            let letter = bits >> (18 - 6 * place) & 0x3f;
            let is_there = place <= three.len();
            text.push(if is_there { char::from(LETTERS[letter as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests;
