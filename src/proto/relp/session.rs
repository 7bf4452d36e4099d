//! A session of a RELP server, without its socket: bytes in, lines and answers out.
//!
//! An answer means that the lines are on disk, so it is not given here: lines are sent on under a
//! barrier ([`Session::sent`]), and when the barrier is released ([`Session::completed`]) all their
//! answers are due, in order. They are written only as fast as the client reads them
//! ([`Session::out`]), because there may be millions.
//!
//! Another logweir that offers its spool is answered with the last of its lines that is on disk
//! here, which the owner of the session looks up ([`Session::asks`], [`Session::tell_last`]). It
//! then sends whole pieces of its spool in `lines` frames instead of one message per frame.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};

use super::wire::{self, Command, Decoder, Frame, Offers, TXNR_MAX, decode_lines_head, encode};
use crate::batch::{Span, count_lines, take_front};
use crate::ids::Identity;
use crate::input::{InputCounts, Piece};
use crate::limits::{LINES_FRAME_MAX, READ_CHUNK};
use crate::minute::Minute;

/// Space for the head of a `lines` frame.
const LINES_HEAD_MAX: usize = 64;
/// The maximum data of a command that is not a message.
const CONTROL_MAX: usize = 32 * 1024;

/// A protocol error of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its bytes are not valid frames.
    Wire(wire::Fault),
    /// A frame has the wrong transaction number.
    Number {
        /// The number received.
        is: u32,
        /// The number expected.
        must_be: u32,
    },
    /// A frame came before `open`.
    NotOpened,
    /// A frame came before `open` was answered.
    NotAnswered,
    /// `open` came again.
    OpenedTwice,
    /// The client does not offer `syslog`, the command for messages.
    NoSyslog,
    /// The command is unknown.
    UnknownCommand,
    /// A frame came after `close`.
    BehindTheLast,
    /// `lines` came from a client that offered no spool.
    NoSpool,
    /// The head of `lines` is malformed.
    LinesHead,
    /// `lines` has more or fewer lines than its head says.
    LinesCount,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wire(fault) => return fault.fmt(f),
            Self::Number { is, must_be } => {
                return write!(f, "frame {is} where {must_be} must be");
            }
            Self::NotOpened => "the session was not opened",
            Self::NotAnswered => "the session is not answered yet",
            Self::OpenedTwice => "the session was opened twice",
            Self::NoSyslog => "the client does not offer `syslog`",
            Self::UnknownCommand => "a command that is not known",
            Self::BehindTheLast => "a frame after `close`",
            Self::NoSpool => "`lines` from a client that offered no spool",
            Self::LinesHead => "the head of `lines` is malformed",
            Self::LinesCount => "`lines` does not have as many lines as it says",
        })
    }
}

impl From<wire::Fault> for Fault {
    fn from(fault: wire::Fault) -> Self {
        Self::Wire(fault)
    }
}

/// A client's session.
#[derive(Debug)]
pub struct Session {
    decoder: Decoder,
    max_message: usize,
    expected: u32,
    pub(super) state: State,
    /// The sending logweir, and the number of the line expected next.
    sender: Option<(Identity, u64)>,
    /// True if its offer is not trusted: its pieces are stored without their numbers.
    disbelieved: bool,
    /// True if it tells in which minute its lines were first received.
    tells_minutes: bool,
    /// What it told last.
    minute: Option<Minute>,
    /// The last lines of the sender's spool in each of ours: pieces are cut there.
    borders: Vec<u64>,
    pieces: Vec<Piece>,
    /// Messages that are not part of a piece yet.
    lines: BytesMut,
    line_count: u32,
    /// The number of the next frame to answer. Frames are answered in order, without gaps.
    answers: u32,
    /// How many frames with lines were not sent on yet, and how many were, by barrier.
    pub(super) fresh: u64,
    waiting: VecDeque<(u64, u64)>,
    /// How many frames are on disk whose answers are not in `out` yet.
    due: u64,
    out: Vec<u8>,
    counts: InputCounts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing has been received.
    New,
    /// Opened by a logweir, which waits for the number of its last line here.
    Asking(u32),
    Open,
    /// `close` came under this number; it is answered after everything else.
    Closing(u32),
    /// The server is closing, and tells the client after the answers that are due.
    Parting,
    /// The output buffer holds the last bytes to write.
    Over,
}

/// The approximate length of an answer, in bytes.
const ANSWER_LEN: usize = 24;

/// The transaction number after this one.
fn next_number(txnr: u32) -> u32 {
    if txnr >= TXNR_MAX { 1 } else { txnr + 1 }
}

impl Session {
    /// Creates a session for messages of up to `max_message` bytes; longer ones are truncated.
    pub fn new(max_message: usize) -> Self {
        Self {
            decoder: Decoder::default(),
            max_message,
            expected: 1,
            state: State::New,
            sender: None,
            disbelieved: false,
            tells_minutes: false,
            minute: None,
            borders: Vec::new(),
            pieces: Vec::new(),
            lines: BytesMut::new(),
            line_count: 0,
            // The number after `open`.
            answers: 2,
            fresh: 0,
            waiting: VecDeque::new(),
            due: 0,
            out: Vec::new(),
            counts: InputCounts::default(),
        }
    }

    /// Processes bytes that the client sent.
    ///
    /// # Errors
    /// The client's protocol error; the session is over once [`Self::out`] is written.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.decoder.push(bytes);
        let max = self.max_message;
        let keep = |command: &Command| match command {
            Command::Syslog => max,
            Command::Lines => max.max(LINES_FRAME_MAX) + LINES_HEAD_MAX,
            _ => CONTROL_MAX,
        };
        while !matches!(self.state, State::Over | State::Parting) {
            let done = match self.decoder.next(keep) {
                Ok(None) => break,
                Ok(Some(frame)) => self.take(frame),
                Err(fault) => Err(fault.into()),
            };
            if let Err(fault) = done {
                self.counts.malformed += 1;
                self.state = State::Over;
                self.seal();
                return Err(fault);
            }
        }
        self.seal();
        Ok(())
    }

    fn take(&mut self, frame: Frame) -> Result<(), Fault> {
        if frame.txnr == 0 {
            if frame.command == Command::Minute && self.state == State::Open {
                self.seal();
                self.minute = Some(wire::decode_minute(&frame.data));
            }
            // Other hints, such as `serverclose`, are not meant for servers.
            return Ok(());
        }
        if frame.txnr != self.expected {
            return Err(Fault::Number { is: frame.txnr, must_be: self.expected });
        }
        self.expected = next_number(frame.txnr);
        match (&self.state, &frame.command) {
            (State::New, Command::Open) => self.open(&frame),
            (State::New, _) => Err(Fault::NotOpened),
            (State::Asking(_), _) => Err(Fault::NotAnswered),
            (State::Open, Command::Syslog) => {
                self.message(&frame);
                Ok(())
            }
            (State::Open, Command::Lines) => self.lines_frame(frame),
            (State::Open, Command::Close) => {
                self.state = State::Closing(frame.txnr);
                Ok(())
            }
            (State::Open, Command::Open) => {
                self.refuse(frame.txnr, "protocol error: connection already open");
                Err(Fault::OpenedTwice)
            }
            (State::Open, _) => {
                self.refuse(frame.txnr, "command not known here");
                Err(Fault::UnknownCommand)
            }
            (State::Closing(_) | State::Parting | State::Over, _) => Err(Fault::BehindTheLast),
        }
    }

    fn refuse(&mut self, txnr: u32, why: &str) {
        encode(&mut self.out, txnr, "rsp", format!("500 {why}").as_bytes());
    }

    fn open(&mut self, frame: &Frame) -> Result<(), Fault> {
        let offers = Offers::decode(&frame.data)?;
        if !offers.syslog {
            self.refuse(frame.txnr, "required command not supported by client");
            return Err(Fault::NoSyslog);
        }
        self.tells_minutes = offers.minutes;
        match offers.spool {
            Some(sender) => {
                self.sender = Some(sender);
                self.state = State::Asking(frame.txnr);
            }
            None => self.answer_open(frame.txnr, None),
        }
        Ok(())
    }

    fn answer_open(&mut self, txnr: u32, last: Option<Option<u64>>) {
        let minutes = self.tells_minutes;
        let offers = Offers { minutes, ..Offers::ours(None, last) }.encode();
        encode(&mut self.out, txnr, "rsp", format!("200 OK\n{offers}").as_bytes());
        self.state = State::Open;
    }

    /// The spool whose last line here the client waits for.
    pub fn asks(&self) -> Option<Identity> {
        match self.state {
            State::Asking(_) => self.sender.map(|(spool, _)| spool),
            _ => None,
        }
    }

    /// Distrusts the client's offer: it is answered as a client without an identity, and its lines
    /// have no origin.
    pub fn disbelieve(&mut self) {
        if let State::Asking(txnr) = self.state {
            self.sender = None;
            self.disbelieved = true;
            self.answer_open(txnr, None);
        }
    }

    /// The spool that the client sends from.
    pub fn sender(&self) -> Option<Identity> {
        self.sender.map(|(spool, _)| spool)
    }

    /// Tells the client the last line of its spool, given the last one held by each spool here.
    pub fn tell_last(&mut self, lasts: &[Option<u64>]) {
        let State::Asking(txnr) = self.state else { return };
        // The lowest counts: what one spool lacks is sent again, and the others drop it as
        // duplicate.
        let last = lasts.iter().copied().min().flatten();
        self.borders = lasts.iter().copied().flatten().collect();
        self.borders.sort_unstable();
        self.answer_open(txnr, Some(last));
        if let (Some((_, next)), Some(last)) = (&mut self.sender, last) {
            *next = (*next).max(last.saturating_add(1));
        }
    }

    fn message(&mut self, frame: &Frame) {
        self.fresh += 1;
        if frame.cut > 0 {
            self.counts.cut(frame.cut);
        }
        let line = frame.data.strip_suffix(b"\n").unwrap_or(&frame.data);
        let mut from = 0;
        for at in memchr::memchr_iter(b'\n', line) {
            self.lines.extend_from_slice(&line[from..at]);
            self.lines.extend_from_slice(b"#012");
            from = at + 1;
        }
        self.lines.extend_from_slice(&line[from..]);
        self.lines.extend_from_slice(b"\n");
        self.line_count += 1;
    }

    fn lines_frame(&mut self, frame: Frame) -> Result<(), Fault> {
        if self.sender.is_none() && !self.disbelieved {
            return Err(Fault::NoSpool);
        }
        let (first, last, count, start) = decode_lines_head(&frame.data).ok_or(Fault::LinesHead)?;
        let mut bytes = frame.data.slice(start..);
        if frame.cut > 0 && count == 1 {
            bytes = Bytes::from([&bytes[..bytes.len().min(self.max_message)], b"\n"].concat());
            self.counts.cut(frame.cut);
        }
        if bytes.last() != Some(&b'\n') || count_lines(&bytes) != count {
            return Err(Fault::LinesCount);
        }
        if bytes.len() > self.max_message {
            bytes = self.cut_lines(bytes);
        }
        self.fresh += 1;
        self.seal();
        let origin = self.sender.as_mut().map(|(spool, next)| {
            self.counts.sequence_lost += first.saturating_sub(*next);
            *next = (*next).max(last.saturating_add(1));
            Span { origin: *spool, first, last }
        });
        self.push_piece(Piece { origin, minute: self.minute, ..Piece::new(bytes, count) });
        Ok(())
    }

    /// Truncates lines longer than the maximum.
    fn cut_lines(&mut self, bytes: Bytes) -> Bytes {
        let max = self.max_message;
        let lines = || bytes.split_inclusive(|&byte| byte == b'\n');
        if lines().all(|line| line.len() - 1 <= max) {
            return bytes;
        }
        let mut kept = BytesMut::with_capacity(bytes.len());
        for line in lines() {
            let line = &line[..line.len() - 1];
            if line.len() > max {
                self.counts.cut(line.len() - max);
            }
            kept.extend_from_slice(&line[..line.len().min(max)]);
            kept.extend_from_slice(b"\n");
        }
        kept.freeze()
    }

    /// Adds a piece, split at the borders.
    fn push_piece(&mut self, mut piece: Piece) {
        for &border in &self.borders {
            let Some(span) = piece.origin else { break };
            let whole = span.lines() == u64::from(piece.lines);
            if whole && span.first <= border && border < span.last {
                let lines = border - span.first + 1;
                let nth = usize::try_from(lines - 1).unwrap_or(usize::MAX);
                let Some(at) = memchr::memchr_iter(b'\n', &piece.bytes).nth(nth) else { break };
                let count = u32::try_from(lines).unwrap_or(u32::MAX);
                let bytes = piece.bytes.split_to(at + 1);
                let first = Span { last: border, ..span };
                let origin = Some(first);
                let minute = piece.minute;
                self.pieces.push(Piece { origin, minute, ..Piece::new(bytes, count) });
                piece.lines -= count;
                piece.origin = Some(Span { first: border + 1, ..span });
            }
        }
        self.pieces.push(piece);
    }

    /// Makes a piece of the messages so far.
    fn seal(&mut self) {
        if self.line_count > 0 {
            let all = self.lines.len();
            let bytes = take_front(&mut self.lines, all);
            let lines = std::mem::take(&mut self.line_count);
            self.pieces.push(Piece { minute: self.minute, ..Piece::new(bytes, lines) });
        }
    }

    /// Takes the pieces received since the last call. They must be sent on under one barrier.
    pub fn take_pieces(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.pieces)
    }

    /// Takes the counts since the last call.
    pub fn take_counts(&mut self) -> InputCounts {
        std::mem::take(&mut self.counts)
    }

    /// Records that the last pieces were sent on under this barrier.
    pub fn sent(&mut self, barrier: u64) {
        let count = std::mem::take(&mut self.fresh);
        if count > 0 {
            self.waiting.push_back((barrier, count));
        }
    }

    /// Returns whether lines were sent on and are not answered yet.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Makes answers due: everything sent on up to this barrier is on disk.
    pub fn completed(&mut self, barrier: u64) {
        while let Some((waiting, count)) = self.waiting.front()
            && *waiting <= barrier
        {
            self.due += count;
            self.waiting.pop_front();
        }
    }

    /// Writes as many of the due answers as are worth a write, and after the last one the frame
    /// that ends the session, if it is to end.
    fn answer(&mut self) {
        while self.due > 0 && self.out.len() < READ_CHUNK {
            encode(&mut self.out, self.answers, "rsp", b"200 OK");
            self.answers = next_number(self.answers);
            self.due -= 1;
        }
        if self.due > 0 {
            return;
        }
        match self.state {
            State::Closing(txnr) if self.waiting.is_empty() && self.fresh == 0 => {
                encode(&mut self.out, txnr, "rsp", b"");
                encode(&mut self.out, 0, "serverclose", b"");
                self.state = State::Over;
            }
            State::Parting => {
                encode(&mut self.out, 0, "serverclose", b"");
                self.state = State::Over;
            }
            _ => {}
        }
    }

    /// Tells the client that the server is closing.
    pub fn part(&mut self) {
        if self.state != State::Over {
            self.state = State::Parting;
        }
    }

    /// The next bytes to write to the client; the caller drains what it has written. Empty once
    /// everything due was written.
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.answer();
        &mut self.out
    }

    /// The approximate size of the answers that are due, in bytes.
    pub fn owed(&self) -> usize {
        let due = usize::try_from(self.due).unwrap_or(usize::MAX);
        self.out.len().saturating_add(due.saturating_mul(ANSWER_LEN))
    }

    /// Returns whether the connection must be closed once everything is written.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Bytes buffered of incomplete frames, and used for barriers that are not completed.
    pub fn held(&self) -> usize {
        self.decoder.held() + self.waiting.len() * size_of::<(u64, u64)>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::relp::wire::{encode as frame, encode_lines_head, stream};

    fn opened() -> Session {
        let mut session = Session::new(20);
        let offers = Offers::ours(None, None).encode();
        session.push(&stream(&[(1, "open", offers.as_bytes())])).unwrap();
        session.out().clear();
        session
    }

    fn written(session: &mut Session) -> String {
        String::from_utf8(std::mem::take(session.out())).unwrap()
    }

    fn lines(session: &mut Session) -> String {
        let pieces = session.take_pieces();
        pieces.iter().map(|piece| String::from_utf8_lossy(&piece.bytes).into_owned()).collect()
    }

    #[test]
    fn an_answer_is_given_when_the_lines_are_durable_and_not_before() {
        let mut session = opened();
        session.push(&stream(&[(2, "syslog", b"one"), (3, "syslog", b"two\n")])).unwrap();
        assert_eq!(lines(&mut session), "one\ntwo\n");
        session.sent(7);
        session.push(&stream(&[(4, "syslog", b"a\nb"), (5, "close", b"")])).unwrap();
        assert_eq!(lines(&mut session), "a#012b\n");
        session.sent(8);
        session.completed(6);
        assert_eq!(written(&mut session), "");
        session.completed(7);
        assert_eq!(written(&mut session), "2 rsp 6 200 OK\n3 rsp 6 200 OK\n");
        assert!(!session.is_over());
        session.completed(8);
        assert_eq!(written(&mut session), "4 rsp 6 200 OK\n5 rsp 0\n0 serverclose 0\n");
        assert!(session.is_over());
    }

    #[test]
    fn after_the_highest_transaction_number_the_answers_go_on_with_1() {
        let mut session = opened();
        (session.expected, session.answers) = (TXNR_MAX - 1, TXNR_MAX - 1);
        let numbers = [TXNR_MAX - 1, TXNR_MAX, 1, 2];
        session.push(&stream(&numbers.map(|txnr| (txnr, "syslog", &b"x"[..])))).unwrap();
        session.sent(1);
        session.completed(1);
        let answers = numbers.map(|txnr| format!("{txnr} rsp 6 200 OK\n")).concat();
        assert_eq!(written(&mut session), answers);
    }

    #[test]
    fn a_million_due_answers_are_written_out_a_piece_at_a_time_and_all_of_them() {
        let mut session = opened();
        let frames: Vec<_> = (2..=1_000_001).map(|txnr| (txnr, "syslog", &b""[..])).collect();
        session.push(&stream(&frames)).unwrap();
        session.push(&stream(&[(1_000_002, "close", b"")])).unwrap();
        session.sent(1);
        session.completed(1);
        assert!(session.owed() > 16 << 20, "{}", session.owed());
        let mut all = Vec::new();
        while !session.out().is_empty() {
            assert!(session.out().len() < READ_CHUNK + 100);
            assert!(session.out().capacity() < 4 * READ_CHUNK);
            all.append(session.out());
        }
        let all = String::from_utf8(all).unwrap();
        let number = |line: &str| line.split(' ').next().unwrap().parse::<u32>().unwrap();
        let numbers = all.lines().map(number);
        assert!(numbers.eq((2..=1_000_002_u32).chain([0])));
        assert!(session.is_over());
    }

    #[test]
    fn a_message_too_long_is_cut_and_counted() {
        let mut session = opened();
        let long = "x".repeat(25);
        session.push(&stream(&[(2, "syslog", long.as_bytes()), (3, "syslog", b"y")])).unwrap();
        assert_eq!(lines(&mut session), format!("{}\ny\n", "x".repeat(20)));
        assert_eq!(session.take_counts().oversize, 1);
    }

    #[test]
    fn what_a_client_does_wrong_ends_its_session_but_keeps_what_came_before() {
        let open = Offers::ours(None, None).encode();
        let open = open.as_bytes();
        type Case<'c> = (&'c [(u32, &'c str, &'c [u8])], &'c str, &'c str);
        let cases: [Case<'_>; 7] = [
            (&[(1, "syslog", b"x")], "was not opened", ""),
            (&[(2, "open", open)], "frame 2 where 1 must be", ""),
            (
                &[(1, "open", b"relp_version=0\ncommands=zip")],
                "does not offer",
                "1 rsp 44 500 required",
            ),
            (
                &[(1, "open", open), (2, "open", open)],
                "opened twice",
                "2 rsp 43 500 protocol error",
            ),
            (&[(1, "open", open), (2, "syslog", b"k"), (4, "syslog", b"x")], "frame 4 where 3", ""),
            (&[(1, "open", open), (2, "zip", b"x")], "not known", "2 rsp 26 500 command not"),
            (&[(1, "open", open), (2, "lines", b"0 0 1\nx\n")], "offered no spool", ""),
        ];
        for (frames, error, answer) in cases {
            let mut session = Session::new(20);
            let refused = session.push(&stream(frames)).unwrap_err().to_string();
            assert!(refused.contains(error), "{refused}");
            let written = written(&mut session);
            assert!(answer.is_empty() || written.contains(answer), "{written}");
            assert!(session.is_over());
            assert_eq!(session.take_counts().malformed, 1);
            let kept = if frames.iter().any(|frame| frame.2 == b"k") { "k\n" } else { "" };
            assert_eq!(lines(&mut session), kept);
            // What follows is ignored.
            session.push(&stream(&[(9, "syslog", b"late")])).unwrap();
            assert_eq!(lines(&mut session), "");
        }
    }

    #[test]
    fn a_logweir_is_told_its_last_line_and_sends_pieces_of_its_spool() {
        let spool = Identity::of(5);
        let mut session = Session::new(20);
        let offers = Offers::ours(Some((spool, 10)), None).encode();
        session.push(&stream(&[(1, "open", offers.as_bytes())])).unwrap();
        assert_eq!((session.asks(), written(&mut session).as_str()), (Some(spool), ""));
        session.tell_last(&[Some(13), Some(11)]);
        let answer = written(&mut session);
        assert!(answer.contains("logweir_last=11\n"), "{answer}");
        let data = [encode_lines_head(12, 14, 3), b"a\nb\nc\n".to_vec()].concat();
        let gap = [encode_lines_head(20, 29, 1), b"d\n".to_vec()].concat();
        session.push(&stream(&[(2, "lines", &data), (3, "lines", &gap)])).unwrap();
        assert_eq!(session.take_counts().sequence_lost, 5);
        let places: Vec<_> = session
            .take_pieces()
            .into_iter()
            .map(|piece| {
                let span = piece.origin.unwrap();
                (span.first, span.last, piece.lines, piece.bytes)
            })
            .collect();
        let piece = |first, last, text: &'static str| {
            (first, last, count_lines(text.as_bytes()), Bytes::from(text))
        };
        // Split where one of the two spools already has the first part.
        assert_eq!(places, [piece(12, 13, "a\nb\n"), piece(14, 14, "c\n"), piece(20, 29, "d\n")]);
        session.sent(1);
        session.completed(1);
        assert_eq!(written(&mut session), "2 rsp 6 200 OK\n3 rsp 6 200 OK\n");
        for wrong in [&b"1 2 3\na\nb\nc\n"[..], b"5 4 1\na\n", b"1 2 2\na\n", b"x\n", b"1 1 1\na"] {
            let mut session = Session::new(20);
            session.push(&stream(&[(1, "open", offers.as_bytes())])).unwrap();
            session.tell_last(&[None]);
            session.push(&stream(&[(2, "lines", wrong)])).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn a_session_is_the_same_however_its_bytes_are_split(
            sent in proptest::collection::vec("[a-z\n]{0,30}", 0..6),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let offers = Offers::ours(None, None).encode();
            let mut bytes = stream(&[(1, "open", offers.as_bytes())]);
            for (txnr, text) in (2..).zip(&sent) {
                frame(&mut bytes, txnr, "syslog", text.as_bytes());
            }
            let mut whole = Session::new(20);
            whole.push(&bytes).unwrap();
            let mut split = Session::new(20);
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            at.push(bytes.len());
            at.sort_unstable();
            let mut from = 0;
            for to in at {
                split.push(&bytes[from..to]).unwrap();
                from = to;
            }
            let wanted = lines(&mut whole);
            prop_assert_eq!(wanted.lines().count(), sent.len());
            prop_assert_eq!(lines(&mut split), wanted);
            prop_assert_eq!(split.take_counts(), whole.take_counts());
            whole.sent(1);
            split.sent(1);
            whole.completed(1);
            split.completed(1);
            prop_assert_eq!(split.out(), whole.out());
        }
    }
}
