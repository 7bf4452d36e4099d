//! A RELP client without its socket: lines in, frames out, answers in.
//!
//! Lines count as the peer's when it has answered them and all before them. What is not
//! answered when a connection ends is sent again on the next one, by whoever owns the client.
//!
//! Where the peer is a logweir too, whole pieces of a spool go out as `lines` frames, their
//! bytes as they are in memory.

use std::collections::VecDeque;

use bytes::Bytes;

use super::out::Out;
use crate::batch::Batch;
use crate::format::Formatter;
use crate::ids::Identity;
use crate::ledger::Count;
use crate::limits::RELP_WINDOW;
use crate::parse::relp::{
    Command, DATA_MOST, Decoder, Frame, Offers, TXNR_MOST, encode, encode_lines_head, head,
};
use crate::printable::printable_bytes;

/// The longest answer.
const ANSWER_MOST: usize = 32 * 1024;

/// A client's side of one connection.
#[derive(Debug)]
pub struct Client {
    decoder: Decoder,
    state: State,
    next_txnr: u32,
    /// The last line of our spool that a logweir has on disk; set where the peer is one.
    last: Option<Option<u64>>,
    /// What was sent and not let go of yet, oldest first, and the number of the oldest.
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

/// A frame with lines.
#[derive(Debug, Clone, Copy)]
struct Sent {
    count: Count,
    answered: bool,
}

/// What an answer brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The session is open; lines may be sent.
    Opened,
    /// The oldest line not answered yet was refused.
    Refused,
    /// The session is closed as it should be.
    Closed,
}

impl Client {
    /// A client that offers its spool, where it has one, and the number of the next line.
    pub fn new(spool: Option<(Identity, u64)>) -> Self {
        let mut client = Self {
            decoder: Decoder::default(),
            state: State::Opening,
            next_txnr: 2,
            last: None,
            sent: VecDeque::new(),
            first_txnr: 2,
            out: Out::default(),
        };
        let mut open = Vec::new();
        encode(&mut open, 1, "open", Offers::ours(spool, None).encode().as_bytes());
        client.out.push(open.into());
        client
    }

    /// Takes in what the peer sent.
    ///
    /// # Errors
    /// Why this connection is of no more use.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), String> {
        self.decoder.push(bytes);
        while let Some(frame) = self.decoder.next(|_| ANSWER_MOST)? {
            match frame.command {
                Command::Answer => self.answer(&frame, events)?,
                Command::ServerClose if matches!(self.state, State::Closing | State::Closed) => {}
                Command::ServerClose => return Err("the peer closes the session".into()),
                _ => return Err("the peer sends what only a client may send".into()),
            }
        }
        Ok(())
    }

    fn answer(&mut self, frame: &Frame, events: &mut Vec<Event>) -> Result<(), String> {
        let code = frame.data.get(..3).unwrap_or_default();
        if self.state == State::Opening && frame.txnr == 1 {
            return self.opened(frame, code, events);
        }
        if self.state == State::Closing && frame.txnr == self.next_txnr - 1 {
            self.state = State::Closed;
            events.push(Event::Closed);
            return Ok(());
        }
        let index = frame.txnr.checked_sub(self.first_txnr);
        let index = index.and_then(|index| usize::try_from(index).ok());
        let Some(sent) = index.and_then(|index| self.sent.get_mut(index)) else {
            return Err(format!("the peer answers frame {}, which waits for none", frame.txnr));
        };
        if code == b"200" {
            sent.answered = true;
            return Ok(());
        }
        let first = self.sent.iter().position(|sent| !sent.answered);
        if first == index {
            events.push(Event::Refused);
        }
        let said = printable_bytes(&frame.data[..frame.data.len().min(120)]);
        Err(format!("the peer refuses a line: {said}"))
    }

    fn opened(
        &mut self,
        frame: &Frame,
        code: &[u8],
        events: &mut Vec<Event>,
    ) -> Result<(), String> {
        let said = || printable_bytes(&frame.data[..frame.data.len().min(120)]).into_owned();
        if code != b"200" {
            return Err(format!("the peer refuses the session: {}", said()));
        }
        let body = memchr::memchr(b'\n', &frame.data).map_or(frame.data.len(), |at| at + 1);
        let offers = Offers::decode(&frame.data[body..])?;
        if offers.version.is_none_or(|version| version > 1) || !offers.syslog {
            return Err(format!("the peer speaks another RELP: {}", said()));
        }
        self.last = offers.last;
        self.state = State::Open;
        events.push(Event::Opened);
        Ok(())
    }

    /// Whether the session is open.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// The last line of our spool that the peer has; `None` where the peer is no logweir or was
    /// not offered one.
    pub fn last(&self) -> Option<Option<u64>> {
        self.last
    }

    /// Whether another batch may be sent now.
    pub fn has_room(&self) -> bool {
        self.is_open() && self.sent.len() < RELP_WINDOW && !self.is_worn()
    }

    /// Whether the transaction numbers are nearly used up: when all is answered, the connection
    /// is to be made anew.
    pub fn is_worn(&self) -> bool {
        self.next_txnr >= TXNR_MOST - 2 * u32::try_from(RELP_WINDOW).unwrap_or(u32::MAX)
    }

    /// Sends a piece of a spool to a logweir: the bytes as they are, or dressed.
    pub fn send_piece(&mut self, batch: &Batch, formatter: &Formatter) {
        let Some(place) = batch.place else { return };
        let (lines, _) = formatter.batch(batch);
        let before = encode_lines_head(place.first, place.last, batch.lines);
        let mut out = Vec::with_capacity(128);
        head(&mut out, self.next_txnr, "lines", before.len() + lines.len());
        out.extend_from_slice(&before);
        self.out.push(out.into());
        self.out.push(lines);
        self.out.push(Bytes::from_static(b"\n"));
        self.enter(batch.count());
    }

    /// Sends lines as messages, one a frame.
    pub fn send_lines(&mut self, batch: &Batch, formatter: &Formatter) {
        let (bytes, _) = formatter.batch(batch);
        let formatted = batch.with(bytes, batch.lines);
        let mut out = Vec::with_capacity(formatted.bytes.len() + batch.lines as usize * 32);
        for (line, written) in batch.iter().zip(formatted.iter()) {
            let len = written.len().min(DATA_MOST);
            head(&mut out, self.next_txnr, "syslog", len);
            out.extend_from_slice(&written[..len]);
            out.push(b'\n');
            self.enter(Count { lines: 1, bytes: line.len() as u64 + 1 });
        }
        self.out.push(out.into());
    }

    fn enter(&mut self, count: Count) {
        self.sent.push_back(Sent { count, answered: false });
        self.next_txnr += 1;
    }

    /// The lines that the peer has answered, with all before them, since the last time.
    pub fn take_done(&mut self) -> Count {
        let mut done = Count::default();
        while self.sent.front().is_some_and(|sent| sent.answered) {
            let Some(sent) = self.sent.pop_front() else { break };
            done.add(sent.count.lines, sent.count.bytes);
            self.first_txnr += 1;
        }
        done
    }

    /// Whether something waits for an answer.
    pub fn waits(&self) -> bool {
        self.state != State::Open || !self.sent.is_empty()
    }

    /// Ends the session; nothing may be sent behind this.
    pub fn close(&mut self) {
        if self.state == State::Open {
            let mut out = Vec::new();
            encode(&mut out, self.next_txnr, "close", b"");
            self.next_txnr += 1;
            self.out.push(out.into());
            self.state = State::Closing;
        }
    }

    /// What is to be written.
    pub fn out(&self) -> &Out {
        &self.out
    }

    /// So many bytes were written.
    pub fn wrote(&mut self, bytes: usize) {
        self.out.wrote(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::Place;
    use crate::config::plan::FormatPlan;
    use crate::filter::batch_of;
    use crate::input::relp::Session;

    fn formatter() -> Formatter {
        Formatter::new(&FormatPlan::default())
    }

    fn written(client: &mut Client) -> String {
        let text: Vec<u8> = client.out.pieces().iter().flat_map(|bytes| bytes.to_vec()).collect();
        client.wrote(text.len());
        String::from_utf8(text).unwrap()
    }

    const OPENED: &str = "1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n";

    fn opened() -> Client {
        let mut client = Client::new(None);
        assert!(written(&mut client).starts_with("1 open "));
        let mut events = Vec::new();
        client.push(OPENED.as_bytes(), &mut events).unwrap();
        assert_eq!(events, [Event::Opened]);
        client
    }

    fn push(client: &mut Client, text: &str) -> Result<Vec<Event>, String> {
        let mut events = Vec::new();
        client.push(text.as_bytes(), &mut events).map(|()| events)
    }

    #[test]
    fn lines_go_out_one_a_frame_and_are_let_go_in_order() {
        let mut client = opened();
        client.send_lines(&batch_of("one\ntwo\n\n"), &formatter());
        assert_eq!(written(&mut client), "2 syslog 3 one\n3 syslog 3 two\n4 syslog 0\n");
        push(&mut client, "3 rsp 6 200 OK\n").unwrap();
        assert_eq!(client.take_done(), Count::default());
        push(&mut client, "2 rsp 6 200 OK\n").unwrap();
        assert_eq!(client.take_done(), Count { lines: 2, bytes: 8 });
        assert!(client.waits());
        client.close();
        assert_eq!(written(&mut client), "5 close 0\n");
        let events = push(&mut client, "4 rsp 6 200 OK\n5 rsp 0\n0 serverclose 0\n").unwrap();
        assert_eq!((events, client.take_done().lines), (vec![Event::Closed], 1));
    }

    #[test]
    fn answers_that_make_no_sense_end_the_connection() {
        for (answer, said) in [
            ("9 rsp 6 200 OK\n", "which waits for none"),
            ("2 syslog 1 x\n", "only a client may send"),
            ("0 serverclose 0\n", "closes the session"),
            ("garbage\n", "transaction number"),
            ("2 rsp 8 500 full\n", "refuses a line: 500 full"),
        ] {
            let mut client = opened();
            client.send_lines(&batch_of("one\n"), &formatter());
            let error = push(&mut client, answer).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        for (answer, said) in [
            ("1 rsp 8 500 no!!\n", "refuses the session: 500 no!!"),
            ("1 rsp 6 200 OK\n", "another RELP"),
            ("1 rsp 37 200 OK\nrelp_version=7\ncommands=syslog\n", "another RELP"),
        ] {
            let error = push(&mut Client::new(None), answer).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    proptest! {
        /// A client and a server, every byte stream between them split anywhere.
        #[test]
        fn every_line_arrives_once_and_is_answered(
            texts in proptest::collection::vec("[a-z ]{0,9}", 1..40),
            spool in any::<bool>(),
            step in 1_usize..60,
        ) {
            let identity = Identity::of(3);
            let mut client = Client::new(spool.then_some((identity, 0)));
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
                    prop_assert_eq!(piece.place.is_some(), spool);
                    received.push_str(std::str::from_utf8(&piece.bytes).unwrap());
                }
                server.handed(round);
                server.settled(round);
                let count = server.out().len().min(step);
                let answer: Vec<u8> = server.out().drain(..count).collect();
                client.push(&answer, &mut Vec::new()).unwrap();
                if client.is_open() && !sent {
                    sent = true;
                    for (number, text) in (0..).zip(&texts) {
                        let place = Place { spool: identity, first: number, last: number };
                        let place = spool.then_some(place);
                        let batch = Batch { place, ..batch_of(&format!("{text}\n")) };
                        match spool {
                            true => client.send_piece(&batch, &formatter()),
                            false => client.send_lines(&batch, &formatter()),
                        }
                    }
                }
                done += client.take_done().lines;
                if done == texts.len() as u64 {
                    break;
                }
            }
            prop_assert_eq!(done, texts.len() as u64);
            prop_assert_eq!(received, texts.join("\n") + "\n");
            prop_assert_eq!(client.last(), spool.then_some(None));
        }
    }
}
