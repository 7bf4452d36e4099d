//! A RELP client without its socket: lines in, frames out, answers in.
//!
//! Lines count as delivered when the peer has acknowledged them and all lines before them. The
//! owner of the client sends lines that are unacknowledged when a connection ends again on the next
//! one.
//!
//! If the peer is also a logweir, whole pieces of a spool are sent as `lines` frames, with their
//! bytes as they are in memory.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;

use bytes::Bytes;

use crate::batch::{Batch, Numbers};
use crate::format::Formatter;
use crate::forward::client::{Client, Heard, Offer};
use crate::forward::out::Out;
use crate::ledger::Count;
use crate::limits::{FRAMES_UNACKNOWLEDGED_MAX, LINE_LENGTH_MAX, LONG_LINE};
use crate::minute::Minute;
use crate::printable::printable_bytes;
use crate::proto::relp::wire::{
    self, Command, DATA_MAX, Decoder, Frame, HEAD_MAX, Offers, TXNR_MAX, encode, encode_lines_head,
    head,
};

/// The longest answer.
const ANSWER_MAX: usize = 32 * 1024;

/// A client's side of one connection.
#[derive(Debug)]
pub struct RelpClient {
    decoder: Decoder,
    state: State,
    next_txnr: u32,
    /// The last line of our spool that the peer has on disk; set if the peer is a logweir.
    last: Option<Option<u64>>,
    /// True if the peer wants to know in which minute lines were first received.
    wants_minutes: bool,
    /// What it was told last.
    minute: Option<Minute>,
    /// Frames whose lines are not yet released, oldest first, and the number of the oldest.
    sent: VecDeque<Sent>,
    first_txnr: u32,
    out: Out,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Open,
    Closing,
    Closed,
}

/// A protocol error of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Its bytes are not valid frames.
    Wire(wire::Fault),
    /// It closes the session.
    Closed,
    /// It sends a command reserved for clients.
    ClientsCommand,
    /// It answers a frame that expects no answer.
    StrayAnswer(u32),
    /// It refuses a line, with this text.
    RefusedLine(String),
    /// It refuses the session, with this text.
    RefusedSession(String),
    /// It speaks another version of RELP, or does not accept syslog; its offers.
    OtherRelp(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(fault) => fault.fmt(f),
            Self::Closed => f.write_str("the peer closes the session"),
            Self::ClientsCommand => f.write_str("the peer sends what only a client may send"),
            Self::StrayAnswer(txnr) => {
                write!(f, "the peer answers frame {txnr}, which waits for none")
            }
            Self::RefusedLine(words) => write!(f, "the peer refuses a line: {words}"),
            Self::RefusedSession(words) => write!(f, "the peer refuses the session: {words}"),
            Self::OtherRelp(offers) => write!(f, "the peer speaks another RELP: {offers}"),
        }
    }
}

impl Error for Fault {}

impl From<wire::Fault> for Fault {
    fn from(fault: wire::Fault) -> Self {
        Self::Wire(fault)
    }
}

/// A frame with lines.
#[derive(Debug, Clone, Copy)]
struct Sent {
    count: Count,
    answered: bool,
}

/// The end of a line and of a frame.
const NEWLINE: Bytes = Bytes::from_static(b"\n");
/// A line becomes at most six times as long, and a frame can state that.
const _: () = assert!(8 * LINE_LENGTH_MAX < DATA_MAX);

/// Returns whether lines are to be formatted in pieces.
fn is_long(batch: &Batch, formatter: &Formatter) -> bool {
    batch.bytes.len() >= LONG_LINE && !formatter.is_plain()
}

/// The beginning of a frame's data, for a message.
fn words(frame: &Frame) -> String {
    printable_bytes(&frame.data[..frame.data.len().min(120)]).into_owned()
}

/// Creates a client that offers its spool, if it has one.
pub fn new(offer: Offer, (): &()) -> RelpClient {
    RelpClient::new(offer)
}

impl RelpClient {
    /// Creates a client that offers its spool, if it has one, and the number of the next line.
    pub fn new(offer: Offer) -> Self {
        let mut client = Self {
            decoder: Decoder::default(),
            state: State::Opening,
            next_txnr: 2,
            last: None,
            wants_minutes: false,
            minute: None,
            sent: VecDeque::new(),
            first_txnr: 2,
            out: Out::default(),
        };
        let mut open = Vec::new();
        encode(&mut open, 1, "open", Offers::ours(offer, None).encode().as_bytes());
        client.out.push(open.into());
        client
    }

    fn take(&mut self, bytes: &[u8], heard: &mut Vec<Heard>) -> Result<(), Fault> {
        self.decoder.push(bytes);
        while let Some(frame) = self.decoder.next(|_| ANSWER_MAX)? {
            match frame.command {
                Command::Answer => self.answer(&frame, heard)?,
                Command::ServerClose if matches!(self.state, State::Closing | State::Closed) => {}
                Command::ServerClose => return Err(Fault::Closed),
                _ => return Err(Fault::ClientsCommand),
            }
        }
        Ok(())
    }

    fn answer(&mut self, frame: &Frame, heard: &mut Vec<Heard>) -> Result<(), Fault> {
        let code = frame.data.get(..3).unwrap_or_default();
        if self.state == State::Opening && frame.txnr == 1 {
            return self.opened(frame, code, heard);
        }
        if self.state == State::Closing && frame.txnr == self.next_txnr - 1 {
            self.state = State::Closed;
            heard.push(Heard::Closed);
            return Ok(());
        }
        let index = frame.txnr.checked_sub(self.first_txnr);
        let index = index.and_then(|index| usize::try_from(index).ok());
        let sent = index.and_then(|index| self.sent.get_mut(index));
        let Some(sent) = sent.filter(|sent| !sent.answered) else {
            return Err(Fault::StrayAnswer(frame.txnr));
        };
        if code == b"200" {
            sent.answered = true;
            return Ok(());
        }
        let first = self.sent.iter().position(|sent| !sent.answered);
        if first == index {
            heard.push(Heard::Refused);
        }
        Err(Fault::RefusedLine(words(frame)))
    }

    fn opened(&mut self, frame: &Frame, code: &[u8], heard: &mut Vec<Heard>) -> Result<(), Fault> {
        if code != b"200" {
            return Err(Fault::RefusedSession(words(frame)));
        }
        let body = memchr::memchr(b'\n', &frame.data).map_or(frame.data.len(), |at| at + 1);
        let offers = Offers::decode(&frame.data[body..])?;
        if offers.version.is_none_or(|version| version > 1) || !offers.syslog {
            return Err(Fault::OtherRelp(words(frame)));
        }
        self.last = offers.last;
        self.wants_minutes = offers.minutes;
        self.state = State::Open;
        heard.push(Heard::Opened(offers.last));
        Ok(())
    }

    /// Tells a logweir the minute of the lines that follow, if it is another one than before.
    fn tell_minute(&mut self, minute: Minute) {
        if self.wants_minutes && self.minute != Some(minute) {
            self.minute = Some(minute);
            let mut out = Vec::with_capacity(32);
            encode(&mut out, 0, "minute", &wire::encode_minute(minute));
            self.out.push(out.into());
        }
    }

    /// Sends a piece of a spool to a logweir, formatted if required.
    fn send_piece(&mut self, batch: &Batch, numbers: Numbers, formatter: &Formatter) {
        let before = encode_lines_head(numbers.first, numbers.last, batch.lines);
        let mut out = Vec::with_capacity(128);
        if is_long(batch, formatter) {
            let mut lines = Vec::with_capacity(batch.lines as usize);
            formatter.each_long(batch, |_, long| lines.push(long));
            let len = lines.iter().map(|long| long.len + 1).sum::<usize>();
            head(&mut out, self.next_txnr, "lines", before.len() + len);
            out.extend_from_slice(&before);
            self.out.push(out.into());
            for long in lines {
                self.out.push_long(long);
                self.out.push(NEWLINE);
            }
        } else {
            let (lines, _) = formatter.batch(batch);
            head(&mut out, self.next_txnr, "lines", before.len() + lines.len());
            out.extend_from_slice(&before);
            self.out.push(out.into());
            self.out.push(lines);
        }
        self.out.push(NEWLINE);
        self.enter(batch.count());
    }

    /// Sends lines as messages, one per frame.
    fn send_lines(&mut self, batch: &Batch, formatter: &Formatter) {
        if batch.bytes.len() >= LONG_LINE {
            return self.send_long(batch, formatter);
        }
        let (bytes, _) = formatter.batch(batch);
        let formatted = batch.with(bytes, batch.lines);
        let mut out = Vec::with_capacity(formatted.bytes.len() + batch.lines as usize * 32);
        for (line, written) in batch.iter().zip(formatted.iter()) {
            let len = written.len().min(DATA_MAX);
            head(&mut out, self.next_txnr, "syslog", len);
            out.extend_from_slice(&written[..len]);
            out.push(b'\n');
            self.enter(Count { lines: 1, bytes: line.len() as u64 + 1 });
        }
        self.out.push(out.into());
    }

    /// The same for lines of which some are long.
    fn send_long(&mut self, batch: &Batch, formatter: &Formatter) {
        formatter.each_long(batch, |len, long| {
            let mut out = Vec::with_capacity(HEAD_MAX);
            head(&mut out, self.next_txnr, "syslog", long.len);
            self.out.push(out.into());
            self.out.push_long(long);
            self.out.push(NEWLINE);
            self.enter(Count { lines: 1, bytes: len as u64 });
        });
    }

    fn enter(&mut self, count: Count) {
        self.sent.push_back(Sent { count, answered: false });
        self.next_txnr += 1;
    }
}

impl Client for RelpClient {
    fn push(
        &mut self,
        bytes: &[u8],
        heard: &mut Vec<Heard>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.take(bytes, heard)?)
    }

    fn is_open(&self) -> bool {
        self.state == State::Open
    }

    fn has_room(&self) -> bool {
        self.is_open() && self.sent.len() < FRAMES_UNACKNOWLEDGED_MAX && !self.is_exhausted()
    }

    fn send(&mut self, batch: &Batch, formatter: &Formatter) {
        self.tell_minute(batch.minute);
        match batch.numbers.filter(|_| self.last.is_some()) {
            Some(numbers) => self.send_piece(batch, numbers, formatter),
            None => self.send_lines(batch, formatter),
        }
    }

    fn out(&self) -> &Out {
        &self.out
    }

    fn wrote(&mut self, bytes: usize) {
        self.out.wrote(bytes);
    }

    fn take_done(&mut self) -> Count {
        let mut done = Count::default();
        while self.sent.front().is_some_and(|sent| sent.answered) {
            let Some(sent) = self.sent.pop_front() else { break };
            done.add(sent.count.lines, sent.count.bytes);
            self.first_txnr += 1;
        }
        done
    }

    fn waits(&self) -> bool {
        self.state != State::Open || !self.sent.is_empty()
    }

    fn is_exhausted(&self) -> bool {
        self.next_txnr
            >= TXNR_MAX - 2 * u32::try_from(FRAMES_UNACKNOWLEDGED_MAX).unwrap_or(u32::MAX)
    }

    fn close(&mut self) -> bool {
        if self.state == State::Open {
            let mut out = Vec::new();
            encode(&mut out, self.next_txnr, "close", b"");
            self.next_txnr += 1;
            self.out.push(out.into());
            self.state = State::Closing;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::plan::FormatPlan;
    use crate::filter::batch_of;
    use crate::ids::Identity;
    use crate::proto::relp::session::Session;

    fn formatter() -> Formatter {
        Formatter::new(&FormatPlan::default())
    }

    fn written(client: &mut RelpClient) -> String {
        let text: Vec<u8> = client.out.pieces().iter().flat_map(|bytes| bytes.to_vec()).collect();
        client.wrote(text.len());
        String::from_utf8(text).unwrap()
    }

    const OPENED: &str = "1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n";

    fn opened() -> RelpClient {
        let mut client = RelpClient::new(None);
        assert!(written(&mut client).starts_with("1 open "));
        let mut events = Vec::new();
        client.push(OPENED.as_bytes(), &mut events).unwrap();
        assert_eq!(events, [Heard::Opened(None)]);
        client
    }

    fn push(client: &mut RelpClient, text: &str) -> Result<Vec<Heard>, String> {
        let mut events = Vec::new();
        client
            .push(text.as_bytes(), &mut events)
            .map(|()| events)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn lines_go_out_one_a_frame_and_are_let_go_in_order() {
        let mut client = opened();
        client.send(&batch_of("one\ntwo\n\n"), &formatter());
        assert_eq!(written(&mut client), "2 syslog 3 one\n3 syslog 3 two\n4 syslog 0\n");
        push(&mut client, "3 rsp 6 200 OK\n").unwrap();
        assert_eq!(client.take_done(), Count::default());
        push(&mut client, "2 rsp 6 200 OK\n").unwrap();
        assert_eq!(client.take_done(), Count { lines: 2, bytes: 8 });
        assert!(client.waits());
        client.close();
        assert_eq!(written(&mut client), "5 close 0\n");
        let events = push(&mut client, "4 rsp 6 200 OK\n5 rsp 0\n0 serverclose 0\n").unwrap();
        assert_eq!((events, client.take_done().lines), (vec![Heard::Closed], 1));
    }

    #[test]
    fn a_logweir_is_told_the_minute_of_lines_where_it_changes_and_nobody_else_is() {
        let of_minute =
            |number, text: &str| Batch { minute: Minute::from_number(number), ..batch_of(text) };
        let mut client = RelpClient::new(None);
        assert!(written(&mut client).contains("\nlogweir_minute=1\n"));
        let answer = "200 OK\nrelp_version=0\ncommands=syslog\nlogweir_minute=1\n";
        push(&mut client, &format!("1 rsp {} {answer}\n", answer.len())).unwrap();
        for (number, text) in [(29_930_187, "a\n"), (29_930_187, "b\n"), (0, "c\n")] {
            client.send(&of_minute(number, text), &formatter());
        }
        let wanted =
            "0 minute 8 29930187\n2 syslog 1 a\n3 syslog 1 b\n0 minute 1 0\n4 syslog 1 c\n";
        assert_eq!(written(&mut client), wanted);
        let mut client = opened();
        client.send(&of_minute(7, "a\n"), &formatter());
        assert_eq!(written(&mut client), "2 syslog 1 a\n");
    }

    #[test]
    fn a_second_answer_ends_the_connection_however_the_answers_are_cut() {
        let answer = "2 rsp 6 200 OK\n";
        let mut apart = opened();
        apart.send(&batch_of("one\n"), &formatter());
        push(&mut apart, answer).unwrap();
        assert_eq!(apart.take_done().lines, 1);
        let mut together = opened();
        together.send(&batch_of("one\n"), &formatter());
        for result in [push(&mut apart, answer), push(&mut together, &answer.repeat(2))] {
            assert_eq!(result.unwrap_err(), "the peer answers frame 2, which waits for none");
        }
    }

    #[test]
    fn answers_that_make_no_sense_end_the_connection() {
        for (answer, message) in [
            ("9 rsp 6 200 OK\n", "which waits for none"),
            ("2 syslog 1 x\n", "only a client may send"),
            ("0 serverclose 0\n", "closes the session"),
            ("garbage\n", "transaction number"),
            ("2 rsp 8 500 full\n", "refuses a line: 500 full"),
        ] {
            let mut client = opened();
            client.send(&batch_of("one\n"), &formatter());
            let error = push(&mut client, answer).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        for (answer, message) in [
            ("1 rsp 8 500 no!!\n", "refuses the session: 500 no!!"),
            ("1 rsp 6 200 OK\n", "another RELP"),
            ("1 rsp 37 200 OK\nrelp_version=7\ncommands=syslog\n", "another RELP"),
        ] {
            let error = push(&mut RelpClient::new(None), answer).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    proptest! {
        /// A client and a server; the byte streams between them are split anywhere.
        #[test]
        fn every_line_arrives_once_and_is_answered(
            texts in proptest::collection::vec("[a-z ]{0,9}", 1..40),
            spool in any::<bool>(),
            step in 1_usize..60,
        ) {
            let identity = Identity::of(3);
            let mut client = RelpClient::new(spool.then_some((identity, 0)));
            let mut server = Session::new(100);
            let mut received = String::new();
            let mut done = 0;
            let mut sent = false;
            for round in 0..10_000_u64 {
                let out = client.out.pieces().front().cloned().unwrap_or_default();
                let count = out.len().min(step);
                client.wrote(count);
                server.push(&out[..count]).unwrap();
                if server.asks().is_some() {
                    server.tell_last(&[None]);
                }
                for piece in server.take_pieces() {
                    prop_assert_eq!(piece.origin.is_some(), spool);
                    received.push_str(std::str::from_utf8(&piece.bytes).unwrap());
                }
                server.sent(round);
                server.completed(round);
                let count = server.out().len().min(step);
                let answer: Vec<u8> = server.out().drain(..count).collect();
                client.push(&answer, &mut Vec::new()).unwrap();
                if client.is_open() && !sent {
                    sent = true;
                    for (number, text) in (0..).zip(&texts) {
                        let numbers = Numbers { first: number, last: number };
                        let numbers = spool.then_some(numbers);
                        let batch = Batch { numbers, ..batch_of(&format!("{text}\n")) };
                        client.send(&batch, &formatter());
                    }
                }
                done += client.take_done().lines;
                if done == texts.len() as u64 {
                    break;
                }
            }
            prop_assert_eq!(done, texts.len() as u64);
            prop_assert_eq!(received, texts.join("\n") + "\n");
            prop_assert_eq!(client.last, spool.then_some(None));
        }
    }
}
