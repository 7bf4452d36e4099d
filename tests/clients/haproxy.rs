//! haproxy, as docs/senders/haproxy.md has it send.

use std::process::Command;

use super::origin::Origin;
use super::page::Page;
use super::{Message, Receiver, Sender, find};
use crate::util::{Daemon, free_port, wait_for};

#[test]
fn haproxy_logs_every_request() {
    let Some(program) = find("haproxy", "haproxy") else { return };
    for scheme in ["udp", "unix", "tcp"] {
        let receiver = Receiver::start(scheme, "");
        let address = receiver.address(scheme);
        let port = free_port();
        // A stream it can send only by way of a ring.
        let logs = match scheme {
            "tcp" => format!(
                "log ring@r local0\nlog ring@s format rfc5424 local1\n\
                 ring r\nformat rfc3164\nserver r {address} log-proto octet-count\n\
                 ring s\nformat rfc5424\nserver s {address} log-proto octet-count\n"
            ),
            _ => format!("log {address} local0\nlog {address} format rfc5424 local1\n"),
        };
        let config = format!(
            "global\n{logs}\
             defaults\nmode http\nlog global\noption httplog\nretries 0\n\
             timeout connect 5s\ntimeout client 20s\ntimeout server 20s\n\
             frontend front\nbind 127.0.0.1:{port}\ndefault_backend back\n\
             backend back\nserver dead 127.0.0.1:{}\n",
            free_port()
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let mut haproxy = Sender::start(Command::new(&program).arg("-db").arg("-f").arg(file));
        for number in 0..20 {
            assert_eq!(haproxy.ask(port, number), "HTTP/1.1 503 Service Unavailable");
            // It drops what a socket does not take at once, and a Unix one holds ten messages.
            receiver.wait_in(2 * (number + 1));
        }
        let pid = haproxy.child.id().to_string();
        let messages = receiver.messages(40);
        for facility in ["local0", "local1"] {
            let is_of = |message: &&Message| message.field("facility") == facility;
            let messages: Vec<_> = messages.iter().filter(is_of).collect();
            assert_eq!(messages.len(), 20);
            for (number, message) in messages.into_iter().enumerate() {
                let fields = ["severity", "app", "procid", "msgid"];
                let want = ["info", "haproxy", pid.as_str(), "-"];
                assert_eq!(message.fields(fields), want, "{}", message.json);
                let text = message.field("message");
                let tail = format!(" \"GET /a?n={number} HTTP/1.1\"");
                assert!(text.starts_with("127.0.0.1:") && text.ends_with(&tail), "{text}");
                assert!(text.contains(" front back/dead ") && text.contains(" 503 "), "{text}");
                assert!(message.line.ends_with(&tail), "{}", message.line);
                assert!(receiver.is_recent(message), "{}", message.json);
            }
        }
    }
}

#[test]
fn haproxy_sends_long_lines_whole_as_its_page_says() {
    let Some(program) = find("haproxy", "haproxy") else { return };
    for (config, flow, prefix) in [("haproxy", "toml", "<134>"), ("haproxy tcp", "toml tcp", "<")] {
        let page = Page::read("haproxy");
        let origin = Origin::at(page.port("8000"));
        let daemon = Daemon::start(&page.block(flow));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("haproxy.cfg");
        std::fs::write(&file, page.block(config)).unwrap();
        let mut haproxy = Sender::start(Command::new(&program).arg("-db").arg("-f").arg(file));
        let port = page.port("8080");
        let requests = |count: usize| {
            wait_for(&format!("{count} requests"), || {
                let mut lines = daemon.lines("haproxy.log");
                lines.retain(|line| line.contains(" \"GET "));
                assert!(lines.len() <= count, "{lines:?}");
                (lines.len() == count).then_some(lines)
            })
        };
        for number in 0..20 {
            assert_eq!(haproxy.ask(port, number), "HTTP/1.1 200 OK");
            // Its threads do not wait for each other.
            requests(number + 1);
        }
        drop(origin);
        let long = format!("/{}", "x".repeat(3000));
        let answer = haproxy.get(port, &long, "agent");
        assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
        let lines = requests(21);
        for (number, line) in lines[..20].iter().enumerate() {
            assert!(line.starts_with(prefix), "{line}");
            assert!(line.ends_with(&format!(" \"GET /a?n={number} HTTP/1.1\"")), "{line}");
        }
        assert!(
            lines[20].ends_with(&format!(" \"GET {long} HTTP/1.1\"")),
            "{} bytes",
            lines[20].len()
        );
        if flow == "toml" {
            assert_eq!(daemon.wait_lines("haproxy-5xx.log", 1)[0], lines[20]);
        }
    }
}
