//! What Docker sends, as docs/senders/docker.md has it.

use std::io::{Read, Write};
use std::net::TcpStream;

use jiff::Timestamp;

use super::Receiver;
use super::page::Page;
use crate::util::Daemon;

/// Docker's own id of a container, which can be its tag in full.
const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What Docker's syslog driver sends with `syslog-format=rfc5424` and `rfc5424micro`, and what is
/// in it: its tag stands for APP-NAME and for MSGID, and may be longer than either may be; the app
/// is taken whole, though it is longer than RFC 5424 allows.
fn docker() -> Vec<(String, String, &'static str)> {
    let short = &CONTAINER[..12];
    let seconds = "2017-04-01T17:41:05+08:00";
    let micros = "2017-04-01T17:41:05.616647+08:00";
    [
        (30, seconds, short, "daemon.info", "GET /index.html 200"),
        (27, seconds, short, "daemon.err", "panic: runtime error"),
        (30, micros, "{taskid:aa,version:}", "daemon.info", "{\"level\":\"info\",\"n\":1}"),
        (30, micros, "web.1/0123456789ab", "daemon.info", "[notice] 7#7: ready"),
        (134, micros, CONTAINER, "local0.info", "  at indented (x.js:1)"),
        (30, "2017-04-01T09:41:05.000000Z", short, "daemon.info", "größe € \u{1b}[31mred\u{1b}[0m"),
    ]
    .into_iter()
    .map(|(pri, time, tag, is, text)| {
        let line = format!("<{pri}>1 {time} a.vm {tag} 1787791 {tag} - {text}");
        (line, format!("{is} a.vm {tag} 1787791 {tag} {text}"), time)
    })
    .collect()
}

#[test]
fn what_docker_sends_is_told_apart_frame_by_frame() {
    let receiver = Receiver::start("tcp", "");
    // A connection of each container; the last one sends as it would through TLS, with octet
    // counts that count a newline too, and one sends both ways.
    let counted = |line: &str| format!("{} {line}\n", line.len() + 1);
    let mut want = 0;
    for round in 0..3 {
        let mut stream = TcpStream::connect(receiver.address("tcp")).unwrap();
        let frames = docker().into_iter().enumerate().map(|(at, (line, ..))| match round {
            0 => line + "\n",
            1 if at % 2 == 0 => line + "\n",
            _ => counted(&line),
        });
        let bytes: String = frames.collect();
        for piece in bytes.as_bytes().chunks(37) {
            stream.write_all(piece).unwrap();
            stream.flush().unwrap();
        }
        drop(stream);
        want += docker().len();
        receiver.wait_in(want);
    }
    let messages = receiver.messages(want);
    for (message, (line, parts, time)) in messages.iter().zip((0..3).flat_map(|_| docker())) {
        assert_eq!((&message.line, message.parts()), (&line, parts));
        assert_eq!(message.time("time"), time.parse::<Timestamp>().unwrap());
        assert_eq!(message.field("source"), "127.0.0.1");
        assert!(message.json.get("sd").is_none(), "{}", message.json);
    }
}

#[test]
fn each_container_of_docker_has_its_file_as_its_page_says() {
    let page = Page::read("docker");
    let daemon = Daemon::start(&page.block("toml"));
    let driver: serde_json::Value = serde_json::from_str(&page.block("json")).unwrap();
    let options = &driver["log-opts"];
    let address = options["syslog-address"].as_str().unwrap().strip_prefix("tcp://").unwrap();
    assert_eq!(
        (&driver["log-driver"], &options["syslog-format"]),
        (&"syslog".into(), &"rfc5424micro".into())
    );
    let mut stream = TcpStream::connect(address).unwrap();
    for (line, ..) in docker() {
        stream.write_all((line + "\n").as_bytes()).unwrap();
    }
    let short = &CONTAINER[..12];
    let files =
        [(short, 3), ("{taskid:aa,version:}", 1), ("web.1_0123456789ab", 1), (CONTAINER, 1)];
    for (app, count) in files {
        daemon.wait_lines(&format!("{app}.log"), count);
    }
    let errors = daemon.wait_lines("containers-stderr.log", 1);
    assert!(errors[0].ends_with(" panic: runtime error"), "{errors:?}");
}

/// What Docker's fluentd driver sends of a line, or of a piece of one: four elements, the time as
/// 32 bits, strings alone, and a chunk's id where it is to be answered.
fn fluentd_driver(
    (tag, stream): (&str, &str),
    log: &str,
    piece: Option<&str>,
    chunk: &str,
) -> Vec<u8> {
    let mut out = vec![0x94];
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(0xda);
        out.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    };
    text(&mut out, tag);
    out.extend_from_slice(&[0xd2, 0x69, 0x55, 0xb9, 0x00]);
    let name = format!("/{tag}");
    let mut fields = vec![
        ("container_id", CONTAINER),
        ("container_name", name.as_str()),
        ("source", stream),
        ("log", log),
    ];
    if let Some(last) = piece {
        fields.extend([
            ("partial_message", "true"),
            ("partial_id", "a1b2"),
            ("partial_ordinal", "1"),
            ("partial_last", last),
        ]);
    }
    out.push(0x80 | u8::try_from(fields.len()).unwrap());
    for (name, value) in fields {
        text(&mut out, name);
        text(&mut out, value);
    }
    out.push(0x81);
    text(&mut out, "chunk");
    text(&mut out, chunk);
    out
}

#[test]
fn docker_s_fluentd_driver_is_answered_as_its_page_says_and_its_pieces_are_one_line() {
    let page = Page::read("fluent");
    let daemon = Daemon::start(&format!(
        "{}[output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n",
        page.block("toml")
    ));
    let driver: serde_json::Value = serde_json::from_str(&page.block("json")).unwrap();
    let options = &driver["log-opts"];
    assert_eq!(
        (&driver["log-driver"], &options["fluentd-request-ack"], &options["fluentd-async"]),
        (&"fluentd".into(), &"true".into(), &"false".into())
    );
    let address = options["fluentd-address"].as_str().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let long = "x".repeat(16 * 1024);
    let sent = [
        ("stdout", "GET /index.html 200", None),
        ("stdout", &long, Some("false")),
        ("stdout", &long, Some("false")),
        ("stdout", "end", Some("true")),
        ("stderr", "panic", None),
    ];
    for (number, (output, log, piece)) in sent.into_iter().enumerate() {
        let chunk = format!("MTI{number}");
        let message = fluentd_driver(("web", output), log, piece, &chunk);
        stream.write_all(&message).unwrap();
        // As its client does: the next one after the answer, which is a string.
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).unwrap();
        let wanted = [&b"\x81\xa3ack\xa4"[..], chunk.as_bytes()].concat();
        assert_eq!(answer.as_slice(), wanted);
    }
    let lines = daemon.wait_lines("web.log", 3);
    let head = "2026-01-01T00:00:00.000000Z 127.0.0.1 web: ";
    assert_eq!(lines[0], format!("{head}GET /index.html 200"));
    assert_eq!(
        lines[1].len(),
        head.len() + 2 * long.len() + 3,
        "{}",
        &lines[1][lines[1].len() - 9..]
    );
    assert!(lines[1].starts_with(head) && lines[1].ends_with("xxend"));
    assert_eq!(lines[2], format!("{head}panic"));
}
