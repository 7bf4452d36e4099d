//! nginx, as docs/senders/nginx.md has it send.

use std::path::Path;
use std::process::Command;

use super::page::Page;
use super::{Receiver, Sender, find, host};
use crate::util::{Daemon, free_port, wait_for};

/// An nginx with a folder of its own.
struct Nginx {
    sender: Sender,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Nginx {
    /// Starts one that logs as these lines say, of which it reads as part of `http`.
    fn start(program: &Path, logs: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        // One process, so that ending it ends all.
        let config = format!(
            "daemon off;\nmaster_process off;\npid {{dir}}/pid;\nerror_log stderr;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n{logs}\n\
             client_body_temp_path {{dir}}/body;\nproxy_temp_path {{dir}}/proxy;\n\
             fastcgi_temp_path {{dir}}/fastcgi;\nuwsgi_temp_path {{dir}}/uwsgi;\n\
             scgi_temp_path {{dir}}/scgi;\n\
             server {{ listen 127.0.0.1:{port}; location / {{ return 204; }}\n\
             location /missing/ {{ root {{dir}}; }} }}\n}}\n"
        );
        let config = config.replace("{dir}", &dir.path().display().to_string());
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let sender = Sender::start(
            Command::new(program).args(["-e", "stderr", "-p"]).arg(dir.path()).arg("-c").arg(file),
        );
        Self { sender, port, _dir: dir }
    }

    fn ask(&mut self, number: usize) {
        assert_eq!(self.sender.ask(self.port, number), "HTTP/1.1 204 No Content");
    }

    fn miss(&mut self, target: &str) {
        let answer = self.sender.get(self.port, &format!("/missing/{target}"), "agent");
        assert_eq!(answer, "HTTP/1.1 404 Not Found");
    }
}

#[test]
fn nginx_logs_every_request() {
    let Some(program) = find("nginx", "nginx-light") else { return };
    for scheme in ["udp", "unix"] {
        let receiver = Receiver::start(scheme, "");
        let address = match scheme {
            "unix" => format!("unix:{}", receiver.address("unix")),
            _ => receiver.address(scheme),
        };
        let log =
            format!("access_log syslog:server={address},facility=local7,tag=nginx,severity=info;");
        let mut nginx = Nginx::start(&program, &log);
        for number in 0..50 {
            nginx.ask(number);
            receiver.wait_in(number + 1);
        }
        // It writes its host in small letters.
        let head = format!("local7.info {} nginx - - 127.0.0.1 - - [", host().to_lowercase());
        for (number, message) in receiver.messages(50).iter().enumerate() {
            let parts = message.parts();
            let tail = format!("] \"GET /a?n={number} HTTP/1.1\" 204 0 \"-\" \"agent {number}\"");
            assert!(parts.starts_with(&head) && parts.ends_with(&tail), "{parts}");
            assert!(receiver.is_recent(message), "{}", message.json);
        }
    }
}

#[test]
fn nginx_sends_both_of_its_logs_as_its_page_says() {
    let Some(program) = find("nginx", "nginx-light") else { return };
    let page = Page::read("nginx");
    for (logs, config) in [("nginx part", "toml"), ("nginx part unix", "toml unix")] {
        let daemon = Daemon::start(&page.block(config));
        let dir = daemon.dir.path().display().to_string();
        let mut nginx = Nginx::start(&program, &page.block(logs).replace("{dir}", &dir));
        for number in 0..40 {
            nginx.ask(number);
            // A Unix socket holds ten messages, and nginx does not wait.
            daemon.wait_lines("nginx.log", number + 1);
        }
        let long = "x".repeat(4000);
        for target in ["short", &long] {
            nginx.miss(target);
        }
        let access = daemon.wait_lines("nginx.log", 42);
        let whole = format!(" \"GET /missing/{long} HTTP/1.1\" 404 ");
        assert!(access[41].contains(&whole), "{} bytes", access[41].len());
        // It cuts these itself.
        let errors = daemon.wait_lines("nginx-errors.log", 2);
        let is_error = |line: &str| line.contains(" nginx_error: ") && line.contains("[error]");
        assert!(is_error(&errors[0]) && is_error(&errors[1]), "{errors:?}");
        assert!(errors[0].contains("/missing/short\" failed (2: No such"));
        assert!(errors[0].ends_with(", host: \"h\"") && !errors[1].ends_with(", host: \"h\""));
        assert!((1900..2100).contains(&errors[1].len()), "{}", errors[1].len());
        let node = daemon.node("system");
        assert_eq!((node.lines_in, node.lines_out), (44, 44));
    }
}

#[test]
fn nginx_finds_a_socket_that_was_made_anew() {
    let Some(program) = find("nginx", "nginx-light") else { return };
    let page = Page::read("nginx");
    let mut daemon = Daemon::start(&page.block("toml unix"));
    let dir = daemon.dir.path().display().to_string();
    let mut nginx = Nginx::start(&program, &page.block("nginx part unix").replace("{dir}", &dir));
    nginx.ask(0);
    daemon.wait_lines("nginx.log", 1);
    daemon.stop();
    nginx.ask(1);
    daemon.run();
    // The first may be lost with the old socket.
    nginx.ask(2);
    for number in 3..13 {
        nginx.ask(number);
        let tail = format!("\"GET /a?n={number} HTTP/1.1\" 204 0 \"-\" \"agent {number}\"");
        wait_for("the line", || {
            daemon.lines("nginx.log").last().is_some_and(|line| line.ends_with(&tail)).then_some(())
        });
    }
    let lines = daemon.lines("nginx.log");
    assert!(!lines.iter().any(|line| line.contains("/a?n=1 ")), "{lines:?}");
    assert!((11..=12).contains(&lines.len()), "{lines:?}");
}
