//! A client's connection: calls in, lines and answers out, in the order of the calls.

use std::fmt;

use super::call::{self, CallFault, Method};
use super::record::Records;
use super::wire::{Fault as WireFault, Frames, Head, Reader, message};
use crate::ingress::server::{self, State};
use crate::input::{Gather, Pieces};
use crate::parse::is_tls_hello;
use crate::proto::shared::answers::Answers;
use crate::proto::shared::record::As;
use crate::sources::Source;

/// What a client can do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It speaks TLS.
    Tls,
    /// What it sends is no call.
    Call(CallFault),
    /// It sends something that only a server may send.
    NoCall,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls => f.write_str("speaks TLS, which this input does not"),
            Self::Call(fault) => write!(f, "sends {fault}"),
            Self::NoCall => f.write_str("sends an answer, and is a client"),
        }
    }
}

impl From<CallFault> for Fault {
    fn from(fault: CallFault) -> Self {
        Self::Call(fault)
    }
}

impl From<WireFault> for Fault {
    fn from(fault: WireFault) -> Self {
        Self::Call(fault.into())
    }
}

/// One client.
#[derive(Debug)]
pub struct Session {
    frames: Frames,
    records: Records,
    /// When the input was opened, in seconds since 1970.
    since: u64,
    is_new: bool,
    is_over: bool,
    /// Whether lines have to wait, so that calls are answered that they should come again.
    is_held_back: bool,
    slip: Option<String>,
    answers: Answers,
}

impl Session {
    /// A session with this client, whose entries become lines of `max_line` bytes at most.
    pub fn new(source: Source, form: As, max_line: usize, since: u64) -> Self {
        Self {
            frames: Frames::default(),
            records: Records::new(form, max_line, source),
            since,
            is_new: true,
            is_over: false,
            is_held_back: false,
            slip: None,
            answers: Answers::default(),
        }
    }

    fn take_all(&mut self) -> Result<(), Fault> {
        while let Some(frame) = self.frames.take()? {
            let mut reader = Reader::new(&frame);
            let head = Head::read(&mut reader)?;
            if !matches!(head.kind, message::CALL | message::ONEWAY) {
                return Err(Fault::NoCall);
            }
            self.call(&head, reader)?;
        }
        Ok(())
    }

    fn call(&mut self, head: &Head<'_>, arguments: Reader<'_>) -> Result<(), Fault> {
        let is_answered = head.kind == message::CALL;
        let method = Method::of(head);
        match method {
            Method::Log | Method::Append | Method::AppendBatch => {
                let is_held_back = self.is_held_back && is_answered;
                let records = &mut self.records;
                let count = call::items(method, arguments, &mut |item| {
                    if !is_held_back {
                        records.take(item);
                    }
                })?;
                if is_held_back && count > 0 {
                    self.records.lines.counts.deferred += u64::from(count);
                    self.slip = Some("is asked to come back later: a queue is full".into());
                    self.answers.write(|out| call::write_result(out, head, false));
                } else if is_answered && count > 0 {
                    call::write_result(self.answers.fresh(), head, true);
                } else if is_answered {
                    self.answers.write(|out| call::write_result(out, head, true));
                }
            }
            Method::Status(name) if is_answered => {
                let since = self.since;
                self.answers.write(|out| call::write_status(out, head, name, since));
            }
            Method::Unknown => self.answers.write(|out| call::write_unknown(out, head)),
            Method::Status(_) | Method::Ignored => {}
        }
        Ok(())
    }
}

impl server::Session for Session {
    type Gather = Pieces;
    type Fault = Fault;

    fn set_held_back(&mut self, is: bool) {
        self.is_held_back = is;
    }

    fn push(&mut self, bytes: &[u8], pieces: &mut Pieces) -> Result<(), Fault> {
        if self.is_over {
            return Ok(());
        }
        let done = match std::mem::take(&mut self.is_new) && is_tls_hello(bytes) {
            true => Err(Fault::Tls),
            false => {
                self.frames.push(bytes);
                self.take_all()
            }
        };
        if done.is_err() {
            self.records.lines.counts.malformed += 1;
            self.is_over = true;
            self.frames.clear();
        }
        self.records.hand_over(pieces);
        pieces.counts().add(&std::mem::take(&mut self.records.lines.counts));
        done
    }

    fn take_slip(&mut self) -> Option<String> {
        self.slip.take()
    }

    fn state(&self) -> State {
        if self.is_over { State::Over } else { State::Open }
    }

    fn held(&self) -> usize {
        self.frames.held() + self.answers.held()
    }

    fn out(&mut self) -> &mut Vec<u8> {
        self.answers.out()
    }

    fn wants_barrier(&self) -> bool {
        self.answers.wants_barrier()
    }

    fn sent(&mut self, barrier: u64) {
        self.answers.sent(barrier);
    }

    fn completed(&mut self, barrier: u64) {
        self.answers.completed(barrier);
    }

    fn waits(&self) -> bool {
        self.answers.waits()
    }
}

#[cfg(test)]
mod tests;
