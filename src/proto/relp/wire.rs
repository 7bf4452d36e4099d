//! RELP frames and offers (librelp, doc/relp.md; where it differs, librelp's code).
//!
//! A frame is `TXNR SP COMMAND SP DATALEN [SP DATA] LF`; the numbers have one to nine digits, the
//! command 1 to 32 letters. DATALEN counts only DATA; if it is 0 there is no SP.

use std::fmt::{self, Write as _};

use bytes::{Buf, Bytes, BytesMut};

use crate::batch::take_front;
use crate::format::decimal::decimal;
use crate::ids::Identity;
use crate::minute::Minute;

/// The maximum number of digits of a transaction number or a length.
const DIGITS_MAX: usize = 9;
/// The longest command.
const COMMAND_MAX: usize = 32;
/// The longest head of a frame: two numbers, the command, three spaces.
pub const HEAD_MAX: usize = 2 * DIGITS_MAX + COMMAND_MAX + 3;
/// The highest transaction number; a client reconnects before it is reached.
pub const TXNR_MAX: u32 = 999_999_999;
/// The largest length that a frame can state.
pub const DATA_MAX: usize = 999_999_999;
/// Our name in offers.
const SOFTWARE: &str = concat!("logweir,", env!("CARGO_PKG_VERSION"));
/// The version of RELP that librelp speaks.
const RELP_VERSION: u32 = 0;
/// The maximum number of offers accepted, as in librelp.
const OFFERS_MAX: usize = 64;

/// An error in a stream of frames; nothing after it can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The named number is missing.
    NoNumber(&'static str),
    /// The named number has too many digits.
    LongNumber(&'static str),
    /// No space follows the transaction number.
    NoSpace,
    /// No command follows the transaction number.
    NoCommand,
    /// The command is too long.
    LongCommand,
    /// The length is followed by neither a space nor the end.
    NoData,
    /// The data does not end where the length says.
    WrongLength,
    /// There are too many offers.
    ManyOffers,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNumber(what) => write!(f, "there is no {what} where one is required"),
            Self::LongNumber(what) => write!(f, "a {what} has more than {DIGITS_MAX} digits"),
            Self::NoSpace => f.write_str("a space must follow the transaction number"),
            Self::NoCommand => f.write_str("there is no command after the transaction number"),
            Self::LongCommand => write!(f, "a command has more than {COMMAND_MAX} letters"),
            Self::NoData => f.write_str("the length is followed by neither a space nor the end"),
            Self::WrongLength => f.write_str("the data is not as long as the frame says"),
            Self::ManyOffers => write!(f, "there are more than {OFFERS_MAX} offers"),
        }
    }
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Begins a session.
    Open,
    /// Ends it.
    Close,
    /// A message.
    Syslog,
    /// An answer.
    Answer,
    /// The server closes the session.
    ServerClose,
    /// Lines of a spool, between two logweirs: the data is `FIRST LAST COUNT LF` followed by COUNT
    /// lines, each with its newline.
    Lines,
    /// A hint, between two logweirs: the minute in which the lines of the frames that follow were
    /// first received, as a decimal number of minutes since 1970; 0 if it is not known.
    Minute,
    /// Any other command.
    Other,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its transaction number; 0 for a hint, which is not answered.
    pub txnr: u32,
    /// Its command.
    pub command: Command,
    /// Its data, or the beginning of it.
    pub data: Bytes,
    /// How many bytes of data were cut off because they exceed the maximum.
    pub cut: usize,
}

/// Extracts frames from a byte stream, however it is split.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// A frame that is too long, and how many bytes of its data remain to be discarded.
    cutting: Option<(Frame, usize)>,
}

struct Head {
    txnr: u32,
    command: Command,
    len: usize,
    /// The offset of the data.
    size: usize,
}

impl Decoder {
    /// Buffers bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes buffered of an incomplete frame.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the next frame. Data beyond `max` bytes for its command is cut off.
    ///
    /// # Errors
    /// An error in the stream; nothing after it can be decoded.
    pub fn next(&mut self, max: impl Fn(&Command) -> usize) -> Result<Option<Frame>, Fault> {
        if let Some((_, left)) = &mut self.cutting {
            let here = (*left).min(self.buffer.len());
            self.buffer.advance(here);
            *left -= here;
            if *left > 0 || self.buffer.is_empty() {
                return Ok(None);
            }
            self.end_of_frame()?;
            return Ok(self.cutting.take().map(|(frame, _)| frame));
        }
        let Some(head) = self.head()? else { return Ok(None) };
        let keep = max(&head.command);
        if head.len > keep {
            if self.buffer.len() < head.size + keep {
                return Ok(None);
            }
            self.buffer.advance(head.size);
            let data = take_front(&mut self.buffer, keep);
            let cut = head.len - keep;
            let frame = Frame { txnr: head.txnr, command: head.command, data, cut };
            self.cutting = Some((frame, cut));
            return self.next(max);
        }
        if self.buffer.len() <= head.size + head.len {
            return Ok(None);
        }
        self.buffer.advance(head.size);
        let data = take_front(&mut self.buffer, head.len);
        self.end_of_frame()?;
        Ok(Some(Frame { txnr: head.txnr, command: head.command, data, cut: 0 }))
    }

    fn end_of_frame(&mut self) -> Result<(), Fault> {
        if self.buffer.first() != Some(&b'\n') {
            return Err(Fault::WrongLength);
        }
        self.buffer.advance(1);
        Ok(())
    }

    fn head(&self) -> Result<Option<Head>, Fault> {
        let bytes = &self.buffer[..self.buffer.len().min(HEAD_MAX + 1)];
        let mut at = 0;
        let Some(txnr) = number(bytes, &mut at, "transaction number")? else { return Ok(None) };
        if bytes.get(at).is_some_and(|&byte| byte != b' ') {
            return Err(Fault::NoSpace);
        }
        at += 1;
        let rest = bytes.get(at..).unwrap_or_default();
        let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        if letters > COMMAND_MAX {
            return Err(Fault::LongCommand);
        }
        let Some(&after) = rest.get(letters) else { return Ok(None) };
        if letters == 0 || after != b' ' {
            return Err(Fault::NoCommand);
        }
        let command = command(&rest[..letters]);
        at += letters + 1;
        let Some(len) = number(bytes, &mut at, "length")? else { return Ok(None) };
        let len = len as usize;
        let Some(&after) = bytes.get(at) else { return Ok(None) };
        match after {
            b'\n' if len == 0 => {}
            b' ' => at += 1,
            _ => return Err(Fault::NoData),
        }
        Ok(Some(Head { txnr, command, len, size: at }))
    }
}

/// Parses the decimal number at `at` and advances `at` past it; `None` if more digits may follow.
fn number(bytes: &[u8], at: &mut usize, what: &'static str) -> Result<Option<u32>, Fault> {
    let digits = bytes[(*at).min(bytes.len())..].iter().take_while(|byte| byte.is_ascii_digit());
    let mut value: u64 = 0;
    let mut count = 0;
    for digit in digits {
        count += 1;
        if count > DIGITS_MAX {
            return Err(Fault::LongNumber(what));
        }
        value = value * 10 + u64::from(digit - b'0');
    }
    if *at + count >= bytes.len() {
        return Ok(None);
    }
    if count == 0 {
        return Err(Fault::NoNumber(what));
    }
    *at += count;
    Ok(u32::try_from(value).ok())
}

fn command(word: &[u8]) -> Command {
    match word {
        b"open" => Command::Open,
        b"close" => Command::Close,
        b"syslog" => Command::Syslog,
        b"rsp" => Command::Answer,
        b"serverclose" => Command::ServerClose,
        b"lines" => Command::Lines,
        b"minute" => Command::Minute,
        _ => Command::Other,
    }
}

/// Appends a frame.
pub fn encode(out: &mut Vec<u8>, txnr: u32, command: &str, data: &[u8]) {
    head(out, txnr, command, data.len());
    out.extend_from_slice(data);
    out.push(b'\n');
}

/// Appends a frame's head: everything before its data.
pub fn head(out: &mut Vec<u8>, txnr: u32, command: &str, len: usize) {
    decimal(out, u64::from(txnr));
    out.push(b' ');
    out.extend_from_slice(command.as_bytes());
    out.push(b' ');
    decimal(out, len as u64);
    if len > 0 {
        out.push(b' ');
    }
}

/// What one side of a session announces about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offers {
    /// The version of RELP it speaks.
    pub version: Option<u32>,
    /// True if it supports `syslog`.
    pub syslog: bool,
    /// From a sending logweir: its spool, and the number of the next line it would send.
    pub spool: Option<(Identity, u64)>,
    /// From a receiving logweir: the last line it has on disk from that spool, if any.
    pub last: Option<Option<u64>>,
    /// True if it understands `minute`.
    pub minutes: bool,
}

impl Offers {
    /// Our own offers.
    pub fn ours(spool: Option<(Identity, u64)>, last: Option<Option<u64>>) -> Self {
        Self { version: Some(RELP_VERSION), syslog: true, spool, last, minutes: true }
    }

    /// Encodes the offers as data. librelp separates them by newlines, with none before the first.
    pub fn encode(&self) -> String {
        let mut text = format!(
            "relp_version={RELP_VERSION}\nrelp_software={SOFTWARE},https://example.org/logweir\n\
             commands=syslog\n"
        );
        // Writing to a string cannot fail.
        if let Some((spool, next)) = self.spool {
            let _ = writeln!(text, "logweir_spool={spool},{next}");
        }
        match self.last {
            Some(Some(last)) => drop(writeln!(text, "logweir_last={last}")),
            Some(None) => text.push_str("logweir_last=none\n"),
            None => {}
        }
        if self.minutes {
            text.push_str("logweir_minute=1\n");
        }
        text
    }

    /// Parses offers; unknown ones are ignored.
    ///
    /// # Errors
    /// If there are too many.
    pub fn decode(data: &[u8]) -> Result<Self, Fault> {
        let mut offers = Self::default();
        let lines = data.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        for (count, line) in lines.enumerate() {
            if count == OFFERS_MAX {
                return Err(Fault::ManyOffers);
            }
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            match name {
                "relp_version" => offers.version = value.trim().parse().ok(),
                "commands" => {
                    offers.syslog = value.split(',').any(|command| command.trim() == "syslog");
                }
                "logweir_spool" => {
                    let parts = value.split_once(',');
                    let parts = parts.and_then(|(s, n)| Some((s.parse().ok()?, n.parse().ok()?)));
                    offers.spool = parts;
                }
                "logweir_last" => {
                    offers.last = match value {
                        "none" => Some(None),
                        number => number.parse().ok().map(Some),
                    }
                }
                "logweir_minute" => offers.minutes = value == "1",
                _ => {}
            }
        }
        Ok(offers)
    }
}

/// Encodes the data of a `minute` frame.
pub fn encode_minute(minute: Minute) -> Vec<u8> {
    let mut data = Vec::with_capacity(10);
    decimal(&mut data, u64::from(minute.number()));
    data
}

/// Parses it; [`Minute::UNKNOWN`] if it is no number.
pub fn decode_minute(data: &[u8]) -> Minute {
    let number = std::str::from_utf8(data).ok().and_then(|text| text.parse().ok());
    number.map_or(Minute::UNKNOWN, Minute::from_number)
}

/// Encodes the head of a `lines` frame's data: the numbers of its first and last line in the spool,
/// and how many lines follow.
pub fn encode_lines_head(first: u64, last: u64, count: u32) -> Vec<u8> {
    let mut head = Vec::with_capacity(64);
    for (number, end) in [(first, b' '), (last, b' '), (u64::from(count), b'\n')] {
        decimal(&mut head, number);
        head.push(end);
    }
    head
}

/// Parses it: first, last, count, and the offset of the lines.
pub fn decode_lines_head(data: &[u8]) -> Option<(u64, u64, u32, usize)> {
    let end = memchr::memchr(b'\n', &data[..data.len().min(64)])?;
    let text = std::str::from_utf8(&data[..end]).ok()?;
    let mut numbers = text.split(' ');
    let first: u64 = numbers.next()?.parse().ok()?;
    let last: u64 = numbers.next()?.parse().ok()?;
    let count: u32 = numbers.next()?.parse().ok()?;
    let sound = numbers.next().is_none()
        && first <= last
        && last < u64::MAX
        && count > 0
        && u64::from(count) <= last - first + 1;
    sound.then_some((first, last, count, end + 1))
}

/// Frames in the order of a stream.
#[cfg(test)]
pub(super) fn stream(frames: &[(u32, &str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (txnr, command, data) in frames {
        encode(&mut out, *txnr, command, data);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(stream: &[u8], max: usize) -> Result<Vec<Frame>, Fault> {
        let mut decoder = Decoder::default();
        decoder.push(stream);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next(|_| max)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn frame(txnr: u32, command: Command, data: &'static str) -> Frame {
        Frame { txnr, command, data: Bytes::from_static(data.as_bytes()), cut: 0 }
    }

    #[test]
    fn the_exchange_of_the_specification_reads_as_it_says() {
        let stream =
            b"1 open 9 a=b\nc=d\n\n\n2 syslog 11 hello\nworld\n3 close 0\n0 serverclose 0\n";
        assert_eq!(
            frames(stream, 100).unwrap(),
            [
                frame(1, Command::Open, "a=b\nc=d\n\n"),
                frame(2, Command::Syslog, "hello\nworld"),
                frame(3, Command::Close, ""),
                frame(0, Command::ServerClose, ""),
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (stream, message) in [
            ("1234567890 open 1 x\n", "transaction number has more than 9 digits"),
            ("x open 1 x\n", "no transaction number"),
            ("1open 1 x\n", "a space must follow"),
            ("1 0 1 x\n", "there is no command"),
            ("1 open x\n", "there is no length"),
            ("1 open 1234567890 x\n", "length has more than 9 digits"),
            ("1 open 5\n", "neither a space nor the end"),
            ("1 syslog 3 abcd\n", "not as long as the frame says"),
            ("1 syslog 0x\n", "neither a space nor the end"),
        ] {
            let error = frames(stream.as_bytes(), 100).unwrap_err().to_string();
            assert!(error.contains(message), "{stream:?}: {error}");
        }
        let long = format!("1 {} 1 x\n", "a".repeat(33));
        let error = frames(long.as_bytes(), 100).unwrap_err().to_string();
        assert!(error.contains("more than 32 letters"));
    }

    #[test]
    fn a_frame_too_long_is_cut_and_the_next_one_is_whole() {
        let stream = b"1 syslog 10 0123456789\n2 syslog 2 ab\n";
        for split in 0..stream.len() {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for part in [&stream[..split], &stream[split..]] {
                decoder.push(part);
                while let Some(frame) = decoder.next(|_| 4).unwrap() {
                    found.push((frame.data, frame.cut));
                }
            }
            assert_eq!(found, [(Bytes::from("0123"), 6), (Bytes::from("ab"), 0)], "at {split}");
            assert_eq!(decoder.held(), 0);
        }
    }

    #[test]
    fn offers_read_as_they_were_written() {
        for offers in [
            Offers::ours(None, None),
            Offers::ours(Some((Identity::of(5), 17)), None),
            Offers::ours(None, Some(None)),
            Offers::ours(None, Some(Some(3))),
        ] {
            assert_eq!(Offers::decode(offers.encode().as_bytes()), Ok(offers));
        }
        // As the specification has it, and as others write it.
        let other = Offers::decode(b"\nrelp_version=1\nrelp_software=x\ncommands=syslog,zip\n");
        let other = other.unwrap();
        assert_eq!((other.version, other.syslog, other.spool), (Some(1), true, None));
        assert!(Offers::decode("a=b\n".repeat(65).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_split(
            sent in proptest::collection::vec(
                (1..=TXNR_MAX, proptest::collection::vec(any::<u8>(), 0..40)), 1..8),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut stream = Vec::new();
            for (txnr, data) in &sent {
                encode(&mut stream, *txnr, "syslog", data);
            }
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            at.push(stream.len());
            at.sort_unstable();
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            let mut from = 0;
            for to in at {
                decoder.push(&stream[from..to]);
                from = to;
                while let Some(frame) = decoder.next(|_| 1000).unwrap() {
                    found.push((frame.txnr, frame.data.to_vec()));
                }
            }
            prop_assert_eq!(found, sent);
        }

        #[test]
        fn nothing_makes_a_decoder_panic_or_grow(
            stream in proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(b' '), Just(b'\n'), b'0'..=b'9', Just(b'o')], 0..300),
        ) {
            let mut decoder = Decoder::default();
            for byte in stream {
                decoder.push(&[byte]);
                match decoder.next(|_| 16) {
                    Ok(_) => prop_assert!(decoder.held() <= HEAD_MAX + 20),
                    Err(_) => break,
                }
            }
        }

        #[test]
        fn heads_of_lines_read_as_they_were_written(first in 0..u64::MAX / 2, more in 0..1000_u64) {
            let count = u32::try_from(more / 2 + 1).unwrap();
            let head = encode_lines_head(first, first + more, count);
            let read = decode_lines_head(&head);
            prop_assert_eq!(read, Some((first, first + more, count, head.len())));
        }
    }
}
