//! What is fuzzed, and what must hold whatever comes.

use std::process::Command;
use std::time::UNIX_EPOCH;

use clap::ValueEnum;
use fastrand::Rng;
use logweir::batch::{Batch, count_lines};
use logweir::config::plan::{FormatPlan, ServerTlsPlan, Shape};
use logweir::format::Formatter;
use logweir::input::messages::{Escape, Messages};
use logweir::input::{Gather, Intake};
use logweir::net::tls::ServerTls;
use logweir::parse::framing::{Frame, Framer};
use logweir::parse::syslog::{Message, Month};

/// Tries one input.
pub(crate) type Check = Box<dyn FnMut(&[u8], &mut Rng)>;

/// What is fuzzed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// Messages in a stream: the same wherever it is cut
    Framing,
    /// The parts of a message, and every format of it
    Message,
    /// Datagrams of UDP and Unix sockets: each message one line
    Datagram,
    /// The first bytes of a TLS connection
    Tls,
}

impl Target {
    /// What tries its inputs; `None` where something for it is missing.
    pub(crate) fn check(self) -> Option<Check> {
        Some(match self {
            Self::Framing => Box::new(framing),
            Self::Message => Box::new(message()),
            Self::Datagram => Box::new(datagram),
            Self::Tls => Box::new(tls()?),
        })
    }
}

fn frames(pieces: &[&[u8]], max_message: usize, nul: bool) -> Vec<(Vec<u8>, usize)> {
    let mut framer = Framer::new(max_message, nul);
    let mut found = Vec::new();
    let mut take = |frame: Frame<'_>| found.push((frame.bytes.to_vec(), frame.cut));
    for piece in pieces {
        if framer.push(piece, &mut take).is_err() {
            return found;
        }
        assert!(framer.held() <= max_message.max(11));
    }
    framer.end(&mut take);
    found
}

fn framing(input: &[u8], rng: &mut Rng) {
    let (max_message, nul) = (rng.usize(1..300), rng.bool());
    let whole = frames(&[input], max_message, nul);
    let bytes: usize = whole.iter().map(|(frame, cut)| frame.len() + cut).sum();
    assert!(bytes <= input.len());
    let (first, second) = input.split_at(rng.usize(..=input.len()));
    assert_eq!(frames(&[first, second], max_message, nul), whole);
    let single: Vec<_> = input.chunks(1).collect();
    assert_eq!(frames(&single, max_message, nul), whole);
}

fn message() -> impl FnMut(&[u8], &mut Rng) {
    let shapes = [Shape::Rfc5424, Shape::Rfc3164, Shape::Json, Shape::Text];
    let formatters = shapes.map(|shape| Formatter::new(&FormatPlan { shape, tag: None }));
    move |input, _| {
        let line: Vec<u8> = input.iter().copied().filter(|byte| *byte != b'\n').collect();
        let whole = Message::parse(&line, Month::ANY);
        let header = Message::parse_header(&line);
        let parts = |m: &Message| (m.pri, m.sent, m.host, m.app, m.procid, m.msgid);
        assert_eq!(parts(&whole), parts(&header));
        let bytes = [&line[..], b"\n"].concat();
        let batch = Batch::new(bytes.into(), 1, "in".into(), UNIX_EPOCH);
        for (formatter, shape) in formatters.iter().zip(shapes) {
            let (out, _) = formatter.batch(&batch);
            assert_eq!((count_lines(&out), out.last()), (1, Some(&b'\n')));
            let written = &out[..out.len() - 1];
            match shape {
                Shape::Json => {
                    let value: serde_json::Value =
                        serde_json::from_slice(written).expect("not JSON");
                    assert!(value["message"].is_string());
                }
                Shape::Rfc5424 => {
                    let again = Message::parse(written, Month::ANY);
                    assert!(again.is_rfc5424 && again.pri == whole.pri);
                }
                _ => {}
            }
        }
    }
}

fn datagram(input: &[u8], rng: &mut Rng) {
    let max = rng.usize(64..600);
    for escape in [Escape::Newline, Escape::Control, Escape::Split] {
        let mut intake = Messages::new(max, escape);
        intake.take(input, rng.usize(1..=input.len().max(1)), None);
        intake.seal();
        let pieces: Vec<_> = intake.full().collect();
        let counts = *intake.counts();
        let mut lines = 0;
        for piece in pieces {
            assert_eq!(count_lines(&piece.bytes), piece.lines);
            lines += u64::from(piece.lines);
            for line in piece.bytes.split(|byte| *byte == b'\n') {
                assert!(line.len() <= max);
                assert!(escape != Escape::Control || !line.iter().any(u8::is_ascii_control));
            }
        }
        if escape != Escape::Split {
            assert_eq!(lines + counts.empty_datagrams, counts.datagrams);
        }
    }
}

fn tls() -> Option<impl FnMut(&[u8], &mut Rng)> {
    let folder = tempfile::tempdir().ok()?;
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
                  -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost";
    let output = Command::new("sh").arg("-c").arg(script).current_dir(folder.path()).output();
    output.ok().filter(|output| output.status.success())?;
    let path = |name: &str| folder.path().join(name);
    let plan = ServerTlsPlan {
        cert: path("cert.pem"),
        key: path("key.pem"),
        client_ca: Some(path("cert.pem")),
        names: vec!["localhost".into()],
    };
    let server = ServerTls::new(&plan).ok()?;
    // The head of a ClientHello, behind which anything may come.
    let hello = [0x16, 0x03, 0x01, 0x00, 0x80, 0x01, 0x00, 0x00, 0x7c, 0x03, 0x03];
    Some(move |input: &[u8], rng: &mut Rng| {
        let _folder = &folder;
        let mut connection = server.connection().expect("no connection");
        let head = if rng.bool() { &hello[..rng.usize(..=hello.len())] } else { &[] };
        let bytes = [head, input].concat();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let mut piece = &rest[..rng.usize(1..=rest.len())];
            let taken = connection.read_tls(&mut piece).unwrap_or(0);
            if taken == 0 || connection.process_new_packets().is_err() {
                break;
            }
            rest = &rest[taken..];
        }
        assert!(connection.is_handshaking());
    })
}
