//! haproxy, as docs/senders/haproxy.md has it send.

use std::process::Command;

use super::{Message, Receiver, Sender, find};
use crate::util::free_port;

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
