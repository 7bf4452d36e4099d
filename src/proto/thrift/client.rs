//! A client of Scribe without its socket: lines in, calls of `Log` out, answers in.
//!
//! A call's lines are the peer's once it is answered with OK. A peer that says TRY_LATER took
//! nothing of it: the connection is given up, and the lines are sent again after a wait.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;

use super::config::ScribeOutPlan;
use super::wire::{self, Frames, Head, Reader, kind, message};
use crate::batch::Batch;
use crate::format::{Formatter, Moment};
use crate::forward::client::{Client, Heard, Offer};
use crate::forward::out::Out;
use crate::ledger::Count;
use crate::limits::CALLS_UNANSWERED_MAX;
use crate::parse::syslog::Message;
use crate::printable::printable_bytes;

/// Why a connection is of no more use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// What the peer sends is no Thrift.
    Wire(wire::Fault),
    /// It answers something else than what it was asked.
    NoAnswer,
    /// It takes nothing now.
    TryLater,
    /// It says what is wrong.
    Exception(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(fault) => write!(f, "the peer sends {fault}"),
            Self::NoAnswer => f.write_str("the peer's answer is not one to the oldest call"),
            Self::TryLater => f.write_str("the peer asks to come back later (TRY_LATER)"),
            Self::Exception(what) => write!(f, "the peer says: {what}"),
        }
    }
}

impl Error for Fault {}

impl From<wire::Fault> for Fault {
    fn from(fault: wire::Fault) -> Self {
        Self::Wire(fault)
    }
}

/// A client's side of one connection.
#[derive(Debug)]
pub struct ScribeClient {
    category: Formatter,
    frames: Frames,
    out: Out,
    /// The calls under way, by number, the oldest first.
    sent: VecDeque<(u32, Count)>,
    next: u32,
    done: Count,
}

/// A client; what it would offer Scribe cannot hear.
pub fn new(_: Offer, plan: &ScribeOutPlan) -> ScribeClient {
    ScribeClient {
        category: Formatter::new(&plan.category),
        frames: Frames::default(),
        out: Out::default(),
        sent: VecDeque::new(),
        next: 1,
        done: Count::default(),
    }
}

impl ScribeClient {
    /// Takes an answer, which may be strict or not whatever the call was.
    fn answered(&mut self, frame: &[u8]) -> Result<(), Fault> {
        let mut reader = Reader::new(frame);
        let head = Head::read(&mut reader)?;
        match (head.kind, self.sent.front()) {
            (message::EXCEPTION, _) => Err(Fault::Exception(exception(reader))),
            (message::REPLY, Some((number, count))) if *number == head.sequence => {
                match result(reader)? {
                    Some(0) => {
                        self.done.add(count.lines, count.bytes);
                        self.sent.pop_front();
                        Ok(())
                    }
                    Some(1) => Err(Fault::TryLater),
                    _ => Err(Fault::NoAnswer),
                }
            }
            _ => Err(Fault::NoAnswer),
        }
    }
}

/// The result of a call.
fn result(mut reader: Reader<'_>) -> Result<Option<u32>, Fault> {
    let mut result = None;
    while let Some((kind, number)) = reader.field()? {
        match (kind, number) {
            (kind::I32, 0) => result = Some(reader.u32()?),
            _ => reader.skip(kind)?,
        }
    }
    Ok(result)
}

/// What an exception says.
fn exception(mut reader: Reader<'_>) -> String {
    let mut said = "an exception".to_string();
    while let Ok(Some((kind, number))) = reader.field() {
        match (kind, number) {
            (kind::STRING, 1) => match reader.string() {
                Ok(text) => said = printable_bytes(text).into_owned(),
                Err(_) => break,
            },
            _ => {
                if reader.skip(kind).is_err() {
                    break;
                }
            }
        }
    }
    said
}

impl Client for ScribeClient {
    fn push(
        &mut self,
        bytes: &[u8],
        _: &mut Vec<Heard>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.frames.push(bytes);
        while let Some(frame) = self.frames.take().map_err(Fault::from)? {
            self.answered(&frame)?;
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        self.sent.len() < CALLS_UNANSWERED_MAX
    }

    fn send(&mut self, batch: &Batch, formatter: &Formatter) {
        let (formatted, _) = formatter.batch(batch);
        let formatted = batch.with(formatted, batch.lines);
        let received = Moment::of(batch.received);
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        let head = Head { name: b"Log", kind: message::CALL, sequence, is_strict: false };
        let mut out = Vec::with_capacity(formatted.bytes.len() + batch.lines as usize * 40 + 40);
        head.write(&mut out, |out| {
            wire::field(out, kind::LIST, 1);
            out.push(kind::STRUCT);
            wire::u32(out, batch.lines);
            let (mut start, mut category) = (0, Vec::new());
            for (line, written) in batch.iter().zip(formatted.iter()) {
                let source = batch.sources.as_ref().and_then(|sources| sources.of(start));
                category.clear();
                let (of, message) = ((&*batch.input, source), Message::parse(line));
                self.category.line(line, &message, of, &received, &mut category);
                // A format ends a line, and so does an entry's message.
                category.pop();
                wire::field(out, kind::STRING, 1);
                wire::string(out, &category);
                wire::field(out, kind::STRING, 2);
                wire::u32(out, u32::try_from(written.len() + 1).unwrap_or(u32::MAX));
                out.extend_from_slice(written);
                out.extend_from_slice(&[b'\n', kind::STOP]);
                start += line.len() + 1;
            }
            out.push(kind::STOP);
        });
        self.out.push(out.into());
        self.sent.push_back((sequence, batch.count()));
    }

    fn out(&self) -> &Out {
        &self.out
    }

    fn wrote(&mut self, bytes: usize) {
        self.out.wrote(bytes);
    }

    fn take_done(&mut self) -> Count {
        std::mem::take(&mut self.done)
    }

    fn waits(&self) -> bool {
        !self.sent.is_empty()
    }

    fn close(&mut self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
