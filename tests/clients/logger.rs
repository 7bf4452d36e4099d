//! `logger` of util-linux, in every way that it knows.

use std::path::Path;

use super::{Receiver, Sender, find, host, parts};

/// How `logger` can be told to send to a port.
const LOGGER_WAYS: [(&str, &[&str]); 3] =
    [("udp", &["--udp"]), ("tcp", &["--tcp"]), ("tcp", &["--tcp", "--octet-count"])];

/// Runs `logger`; its process id.
fn logger(program: &Path, receiver: &Receiver, way: &[&str], args: &[&str]) -> u32 {
    let to = ["-t", "app", "-n", "127.0.0.1", "-P", &receiver.port];
    Sender::run(program, to.iter().chain(way).chain(args))
}

#[test]
fn logger_sends_rfc_5424_by_udp_and_tcp_and_with_octet_counts() {
    let Some(program) = find("logger", "bsdutils") else { return };
    let host = host();
    for (scheme, way) in LOGGER_WAYS {
        let receiver = Receiver::start(scheme, "");
        let send = |args: &[&str]| logger(&program, &receiver, way, args);
        send(&["-p", "local3.err", "plain"]);
        let pid = send(&["--rfc5424", "-i", "with its id"]);
        send(&[
            "--rfc5424",
            "--id=42",
            "--msgid=ID7",
            "--sd-id=zoo@123",
            "--sd-param=tiger=\"hungry\"",
            "--sd-param=z=\"a \\\"b\\\" \\]\\\\\"",
            "--sd-id=manager@123",
            "--sd-param=x=\"1\"",
            "all of it",
        ]);
        send(&["--rfc5424=notime,notq,nohost", "größe € <13>x"]);
        let messages = receiver.messages(4);
        let want = [
            format!("local3.err {host} app - - plain"),
            format!("user.notice {host} app {pid} - with its id"),
            format!("user.notice {host} app 42 ID7 all of it"),
            // Without a name, its address stands for the host.
            "user.notice 127.0.0.1 app - - größe € <13>x".to_string(),
        ];
        assert_eq!(parts(&messages), want);
        for message in &messages[..3] {
            assert!(receiver.is_recent(message), "{}", message.json);
            assert_eq!(message.sd("timeQuality", "tzKnown"), Some("1"));
        }
        let sd = |id, name| messages[2].sd(id, name);
        assert_eq!(sd("zoo@123", "tiger"), Some("hungry"));
        assert_eq!(sd("zoo@123", "z"), Some("a \"b\" ]\\"));
        assert_eq!(sd("manager@123", "x"), Some("1"));
        assert_eq!(messages[3].line, "<13>1 - - app - - - größe € <13>x");
        assert_eq!((messages[3].json.get("time"), messages[3].json.get("sd")), (None, None));
    }
}

#[test]
fn every_line_of_a_file_that_logger_sends_is_a_message() {
    let Some(program) = find("logger", "bsdutils") else { return };
    let host = host();
    for (scheme, way) in LOGGER_WAYS {
        let receiver = Receiver::start(scheme, "");
        let file = receiver.daemon.path("lines");
        let text: String = (0..100).map(|number| format!("line {number}\n")).collect();
        std::fs::write(&file, text).unwrap();
        logger(&program, &receiver, way, &[&format!("--file={}", file.display())]);
        let want = (0..100).map(|number| format!("user.notice {host} app - - line {number}"));
        assert_eq!(parts(&receiver.messages(100)), want.collect::<Vec<_>>());
    }
}

#[test]
fn a_newline_in_a_message_of_logger_is_kept_where_the_frame_tells() {
    let Some(program) = find("logger", "bsdutils") else { return };
    let host = host();
    for (scheme, way) in LOGGER_WAYS {
        let receiver = Receiver::start(scheme, "");
        logger(&program, &receiver, way, &["a\nb"]);
        // Where newlines end messages, no one can tell that this one does not.
        let want = match way == ["--tcp"] {
            false => vec![format!("user.notice {host} app - - a#012b")],
            true => vec![
                format!("user.notice {host} app - - a"),
                "user.notice 127.0.0.1 sys - - b".to_string(),
            ],
        };
        let messages = receiver.messages(want.len());
        assert_eq!(parts(&messages), want);
        let end = want[0].rsplit_once(' ').unwrap().1;
        assert!(messages[0].line.ends_with(&format!("] {end}")), "{}", messages[0].line);
    }
}

#[test]
fn logger_sends_as_of_old_by_udp_and_to_a_socket() {
    let Some(program) = find("logger", "bsdutils") else { return };
    let receiver = Receiver::start("udp", "");
    logger(&program, &receiver, &["--udp"], &["--rfc3164", "--id=7", "-p", "mail.debug", "old"]);
    let messages = receiver.messages(1);
    let host = host();
    let host = host.split('.').next().unwrap();
    assert_eq!(parts(&messages), [format!("mail.debug {host} app 7 - old")]);
    assert!(receiver.is_recent(&messages[0]), "{}", messages[0].json);

    let receiver = Receiver::start("unix", "");
    let socket = receiver.address("unix");
    let send =
        |args: &[&str]| Sender::run(&program, ["-t", "app", "-u", &socket].iter().chain(args));
    let pids = [
        send(&["local"]),
        send(&["--id=7", "-p", "daemon.crit", "a\nb"]),
        send(&["--rfc5424", "--msgid=X", "-p", "daemon.debug", "new"]),
    ];
    let messages = receiver.messages(3);
    // It names no host where it writes as of old: it is on this one.
    let host = self::host();
    let want = [
        format!("user.notice {host} app - - local"),
        format!("daemon.crit {host} app 7 - a#012b"),
        format!("daemon.debug {host} app - X new"),
    ];
    assert_eq!(parts(&messages), want);
    let uid = nix::unistd::getuid().to_string();
    for (message, pid) in messages.iter().zip(pids) {
        assert!(receiver.is_recent(message), "{}", message.json);
        // As root it gives itself out for the process that it is told to name.
        if message.field("procid") != "7" {
            assert_eq!(message.fields(["pid", "uid"]), [pid.to_string().as_str(), uid.as_str()]);
        }
    }
}
