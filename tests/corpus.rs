//! Syslog messages and streams from other projects' tests and from real programs, and what is
//! found in them: the tables in `tests/corpus/`. A real rsyslog is asked about the same messages;
//! what it sees otherwise is listed in `tests/corpus/rsyslog-sees.txt`.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logweir::batch::Batch;
use logweir::config::plan::{FormatPlan, Shape};
use logweir::format::Formatter;
use logweir::input::Gather;
use logweir::input::messages::{Escape, Messages};
use logweir::parse::framing::{Frame, Framer};
use logweir::parse::syslog::names::{facility_of, severity_of};
use logweir::parse::syslog::{Message, Span};
use logweir::sources::Source;
use serde::Deserialize;

use crate::rsyslog::{Rsyslog, rsyslogd};
use crate::util::{free_port, wait_for};

/// One table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    message: Vec<MessageCase>,
    #[serde(default)]
    stream: Vec<StreamCase>,
}

/// A message and its fields; one that is left out is not in the message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageCase {
    name: String,
    #[serde(rename = "from")]
    _from: String,
    bytes: Option<String>,
    hex: Option<String>,
    facility: String,
    severity: String,
    time: Option<String>,
    host: Option<String>,
    app: Option<String>,
    procid: Option<String>,
    msgid: Option<String>,
    sd: Option<String>,
    text: Option<String>,
    text_hex: Option<String>,
    #[serde(rename = "note")]
    _note: Option<String>,
}

/// A stream and the lines that come out of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamCase {
    name: String,
    #[serde(rename = "from")]
    _from: String,
    bytes: Option<String>,
    hex: Option<String>,
    lines: Option<Vec<String>>,
    lines_hex: Option<Vec<String>>,
    delimiter: Option<String>,
    max_message: Option<usize>,
    #[serde(rename = "note")]
    _note: Option<String>,
}

fn tables() -> Vec<(String, Table)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let table = toml::from_str(&fs::read_to_string(&path).unwrap());
        (name.clone(), table.unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    paths.into_iter().map(read).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn bytes_of(text: Option<&String>, hex: Option<&String>) -> Vec<u8> {
    match (text, hex) {
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(hex)) => from_hex(hex),
        _ => panic!("one of the text and its hex"),
    }
}

/// When the messages of the tables were received: in the middle of 2026, so that any time without
/// a year is of that one.
fn received() -> Timestamp {
    "2026-07-01T12:00:00Z".parse().unwrap()
}

/// The line that an input makes of a message, and each field, as text.
fn fields(message: &[u8]) -> Vec<(&'static str, Option<String>)> {
    let mut intake = Messages::new(64 * 1024, Escape::Newline);
    intake.message(message, 0, None);
    intake.seal();
    let line = intake.full().next().map_or_else(Vec::new, |piece| piece.bytes.to_vec());
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    let message = Message::parse(line);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let part = |span: Span| span.of(line).map(text);
    let received = received();
    vec![
        ("facility", Some(facility_of(message.pri).to_string())),
        ("severity", Some(severity_of(message.pri).to_string())),
        ("time", message.sent(line, &TimeZone::UTC, received).map(|time| time.to_string())),
        ("host", part(message.host)),
        ("app", part(message.app)),
        ("procid", part(message.procid)),
        ("msgid", part(message.msgid)),
        ("sd", part(message.data)),
        ("text", Some(text(message.text(line)))),
    ]
}

#[test]
fn every_message_of_the_corpus_has_the_fields_of_its_table() {
    let mut wrong = String::new();
    let mut count = 0;
    for (table, Table { message: cases, .. }) in tables() {
        for case in cases {
            count += 1;
            let bytes = bytes_of(case.bytes.as_ref(), case.hex.as_ref());
            let time = case
                .time
                .map(|time| time.parse::<Timestamp>().map_or(time, |time| time.to_string()));
            let text = bytes_of(case.text.as_ref(), case.text_hex.as_ref());
            let want = [
                Some(case.facility),
                Some(case.severity),
                time,
                case.host,
                case.app,
                case.procid,
                case.msgid,
                case.sd,
                Some(String::from_utf8_lossy(&text).into_owned()),
            ];
            for ((field, got), want) in fields(&bytes).into_iter().zip(want) {
                if got != want {
                    let message = String::from_utf8_lossy(&bytes);
                    wrong += &format!(
                        "{table}: {}: {field} is {got:?}, not {want:?}\n    {message:?}\n",
                        case.name
                    );
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(count > 400, "{count}");
}

/// The lines that come out of a stream which comes in these pieces.
fn lines(case: &StreamCase, pieces: &[&[u8]]) -> Vec<String> {
    let max_message = case.max_message.unwrap_or(64 * 1024);
    let mut framer = Framer::new(max_message, case.delimiter.as_deref() == Some("nul"));
    let mut intake = Messages::new(max_message, Escape::Newline);
    for piece in pieces {
        let mut take = |frame: Frame<'_>| intake.whole(frame.bytes, frame.cut, None);
        if framer.push(piece, &mut take).is_err() {
            break;
        }
    }
    framer.end(&mut |frame: Frame<'_>| intake.whole(frame.bytes, frame.cut, None));
    intake.seal();
    let all: Vec<u8> = intake.full().flat_map(|piece| piece.bytes.to_vec()).collect();
    let all = all.strip_suffix(b"\n").unwrap_or(&all);
    if all.is_empty() {
        return Vec::new();
    }
    all.split(|byte| *byte == b'\n').map(|line| line.escape_ascii().to_string()).collect()
}

#[test]
fn every_stream_of_the_corpus_gives_its_lines_wherever_it_is_split() {
    let mut wrong = String::new();
    let mut count = 0;
    for (table, Table { stream: cases, .. }) in tables() {
        for case in cases {
            count += 1;
            let stream = bytes_of(case.bytes.as_ref(), case.hex.as_ref());
            let want: Vec<String> = match (&case.lines, &case.lines_hex) {
                (Some(lines), None) => {
                    lines.iter().map(|line| line.as_bytes().escape_ascii().to_string()).collect()
                }
                (None, Some(lines)) => {
                    lines.iter().map(|line| from_hex(line).escape_ascii().to_string()).collect()
                }
                _ => panic!("{}: one of lines and lines_hex", case.name),
            };
            let whole = lines(&case, &[&stream]);
            if whole != want {
                wrong += &format!("{table}: {}: {whole:?}, not {want:?}\n", case.name);
            }
            // A large stream is split at some bytes only.
            let step = (stream.len() / 2000).max(1);
            for at in (0..=stream.len()).step_by(step) {
                let (first, second) = stream.split_at(at);
                assert_eq!(lines(&case, &[first, second]), whole, "{} at {at}", case.name);
            }
            let bytes: Vec<_> = stream.chunks(1).collect();
            assert_eq!(lines(&case, &bytes), whole, "{} byte by byte", case.name);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(count > 80, "{count}");
}

/// What rsyslog is asked for, under our names.
const PROPERTIES: [(&str, &str); 7] = [
    ("facility", "syslogfacility-text"),
    ("severity", "syslogseverity-text"),
    ("host", "hostname"),
    ("app", "programname"),
    ("procid", "procid"),
    ("msgid", "msgid"),
    ("text", "msg"),
];

/// What rsyslog sees in a message, as we would say it.
fn as_ours(field: &str, value: &str) -> Option<String> {
    match (field, value) {
        // It puts in the sender's name where there is no host.
        ("host", "localhost" | "127.0.0.1") => None,
        ("host" | "app" | "procid" | "msgid", "" | "-") => None,
        ("facility", "security") => Some("auth".into()),
        ("text", _) => {
            // How many spaces are before it is not told alike.
            Some(value.trim_start_matches([' ', '\u{feff}']).into())
        }
        _ => Some(value.into()),
    }
}

#[test]
fn rsyslog_sees_the_same_in_every_message_but_for_what_is_listed() {
    let Some(program) = rsyslogd(&["imudp", "imtcp"]) else { return };
    let list: Vec<_> = PROPERTIES
        .iter()
        .map(|(name, property)| {
            format!("property(name=\"{property}\" outname=\"{name}\" format=\"jsonf\")")
        })
        .collect();
    let list = list.join(" constant(value=\",\") ");
    let udp = free_port();
    let rsyslog = Rsyslog::start(
        program,
        &format!(
            "global(parser.escapeControlCharactersOnReceive=\"off\" \
             parser.permitSlashInProgramName=\"on\" net.enableDNS=\"off\")\n\
             module(load=\"imtcp\")\nmodule(load=\"imudp\")\n\
             template(name=\"fields\" type=\"list\") {{ constant(value=\"{{\") {list} \
             constant(value=\"}}\\n\") }}\n\
             ruleset(name=\"in\") {{ action(type=\"omfile\" file=\"{{dir}}/out\" \
             template=\"fields\") }}\n\
             input(type=\"imtcp\" port=\"{{port}}\" ruleset=\"in\")\n\
             input(type=\"imudp\" address=\"127.0.0.1\" port=\"{udp}\" ruleset=\"in\")\n"
        ),
    );
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sent = Vec::new();
    for (table, Table { message: cases, .. }) in tables() {
        for case in cases {
            let bytes = bytes_of(case.bytes.as_ref(), case.hex.as_ref());
            // What is no text would only show how it is written as JSON.
            if std::str::from_utf8(&bytes).is_err() || bytes.len() > 8000 || bytes.contains(&0) {
                continue;
            }
            socket.send_to(&bytes, ("127.0.0.1", udp)).unwrap();
            sent.push((format!("{table}: {}", case.name), bytes));
            let lines = || fs::read(rsyslog.path("out")).unwrap_or_default();
            wait_for(&case.name, || {
                (memchr::memchr_iter(b'\n', &lines()).count() >= sent.len()).then_some(())
            });
        }
    }
    let listed = include_str!("corpus/rsyslog-sees.txt");
    let mut new = String::new();
    let answers = fs::read_to_string(rsyslog.path("out")).unwrap();
    for ((name, bytes), answer) in sent.iter().zip(answers.lines()) {
        let answer: serde_json::Value = serde_json::from_str(answer)
            .unwrap_or_else(|error| panic!("{name}: {error}: {answer}"));
        for (field, ours) in fields(bytes) {
            let Some(theirs) = answer.get(field).and_then(|value| value.as_str()) else { continue };
            let theirs = as_ours(field, theirs);
            let ours = ours.map(|ours| ours.trim_start_matches(' ').to_string());
            let line = format!("{name}: {field}\n");
            if ours != theirs && !listed.contains(&line) {
                new += &format!("{line}    ours {ours:?}, rsyslog's {theirs:?}\n");
            }
        }
    }
    assert!(new.is_empty(), "rsyslog sees otherwise:\n{new}");
    assert!(sent.len() > 400, "{}", sent.len());
}

/// The line that `format = "traditional"` makes of a message that came from 127.0.0.1.
fn traditional(message: &[u8]) -> Vec<u8> {
    let mut intake = Messages::new(64 * 1024, Escape::Newline);
    let source = Source::Address("127.0.0.1:514".parse().unwrap());
    intake.message(message, 0, Some(source));
    intake.seal();
    let Some(piece) = intake.full().next() else { return Vec::new() };
    let mut batch = Batch::new(piece.bytes, piece.lines, "in".into(), SystemTime::now());
    batch.sources = piece.sources;
    let plan = FormatPlan { shape: Shape::Traditional, tag: None };
    Formatter::new(&plan).batch(&batch).0.to_vec()
}

#[test]
fn traditional_is_what_rsyslog_writes_to_the_byte() {
    let Some(program) = rsyslogd(&["imudp", "imtcp"]) else { return };
    let udp = free_port();
    let rsyslog = Rsyslog::start(
        program,
        &format!(
            "global(parser.escapeControlCharactersOnReceive=\"off\" net.enableDNS=\"off\")\n\
             module(load=\"imtcp\")\nmodule(load=\"imudp\")\n\
             ruleset(name=\"in\") {{ action(type=\"omfile\" file=\"{{dir}}/out\" \
             template=\"RSYSLOG_TraditionalFileFormat\") }}\n\
             input(type=\"imtcp\" port=\"{{port}}\" ruleset=\"in\")\n\
             input(type=\"imudp\" address=\"127.0.0.1\" port=\"{udp}\" ruleset=\"in\")\n"
        ),
    );
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let listed = include_str!("corpus/rsyslog-sees.txt");
    let mut sent = Vec::new();
    for (table, Table { message: cases, .. }) in tables() {
        for case in cases {
            let bytes = bytes_of(case.bytes.as_ref(), case.hex.as_ref());
            let name = format!("{table}: {}", case.name);
            // What it sees otherwise it writes otherwise; a line end in a message is ours to keep.
            let is_listed = listed.lines().any(|line| line.starts_with(&format!("{name}: ")));
            let is_text = std::str::from_utf8(&bytes).is_ok();
            // An empty host is written as one; here it is the sender's address.
            let is_empty = name == "slips: 5424, an empty HOSTNAME";
            if is_listed
                || is_empty
                || !is_text
                || bytes.len() > 8000
                || bytes.contains(&0)
                || bytes.contains(&b'\n')
            {
                continue;
            }
            socket.send_to(&bytes, ("127.0.0.1", udp)).unwrap();
            let has_time = case.time.is_some();
            sent.push((name, bytes, has_time));
            let lines = || fs::read(rsyslog.path("out")).unwrap_or_default();
            wait_for("rsyslog's line", || {
                (memchr::memchr_iter(b'\n', &lines()).count() >= sent.len()).then_some(())
            });
        }
    }
    let answers = fs::read(rsyslog.path("out")).unwrap();
    let mut wrong = String::new();
    for ((name, bytes, has_time), theirs) in sent.iter().zip(answers.split(|b| *b == b'\n')) {
        let ours = traditional(bytes);
        let ours = ours.strip_suffix(b"\n").unwrap_or(&ours);
        // The time of reception is another one.
        let skip = if *has_time { 0 } else { "Nov 27 10:00:00".len() };
        if ours.get(skip..) != theirs.get(skip..) {
            wrong += &format!(
                "{name}:\n  ours     {}\n  rsyslog's {}\n",
                ours.escape_ascii(),
                theirs.escape_ascii()
            );
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(sent.len() > 250, "{}", sent.len());
}
