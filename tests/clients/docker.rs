//! What Docker sends, as docs/senders/docker.md has it.

use std::io::Write;
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
