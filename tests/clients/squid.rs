//! squid, as docs/senders/squid.md has it send.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::origin::Origin;
use super::page::Page;
use super::{Sender, find};
use crate::util::{Daemon, free_port, run, wait_for};

/// A squid before an origin.
struct Squid {
    sender: Sender,
    port: u16,
    _origin: Origin,
    // Where its own log is; writable for whom it becomes when root starts it.
    _dir: tempfile::TempDir,
}

impl Squid {
    /// Starts one that logs as a page says.
    fn start(program: &Path, logs: &str) -> Self {
        let origin = Origin::start();
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let port = free_port();
        let config = format!(
            "http_port 127.0.0.1:{port} accel defaultsite=h no-vhost\n\
             cache_peer 127.0.0.1 parent {} 0 no-query no-digest originserver\n\
             http_access allow all\ncache deny all\nvisible_hostname test\n\
             pid_filename none\ncoredump_dir none\ncache_log {}/cache.log\n\
             netdb_filename none\npinger_enable off\ndns_nameservers 127.0.0.1\n\
             shutdown_lifetime 0 seconds\n{logs}",
            origin.port,
            dir.path().display()
        );
        let file = dir.path().join("squid.conf");
        std::fs::write(&file, config).unwrap();
        let sender = Sender::start(Command::new(program).args(["-N", "-f"]).arg(file));
        Self { sender, port, _origin: origin, _dir: dir }
    }

    /// Asks it so many times, every fourth time for something of the API.
    fn ask(&mut self, from: usize, to: usize) {
        for number in from..to {
            let target = target(number);
            let answer = self.sender.get(self.port, &target, &format!("agent {number}"));
            assert_eq!(answer, "HTTP/1.1 200 OK");
        }
    }
}

fn target(number: usize) -> String {
    format!("/{}/x?n={number}", if number.is_multiple_of(4) { "api" } else { "wiki" })
}

/// Checks that it is the line of a request.
fn check(line: &str, number: usize) {
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[..2], ["cp1-0", &number.to_string()], "{line}");
    let want = format!("http://h{}", target(number));
    assert_eq!(words[4..9], ["127.0.0.1", "TCP_MISS/200", words[6], "GET", &want], "{line}");
    assert!(line.ends_with(&format!(" \"agent {number}\"")), "{line}");
}

/// Received and lost of the sender, as `logweir loss` finds them.
fn loss(lines: &[String]) -> (u64, u64) {
    let output = run(&["loss"], (lines.join("\n") + "\n").as_bytes());
    let said = String::from_utf8(output.stdout).unwrap();
    let row: Vec<_> = said.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[0], "cp1-0", "{said}");
    (row[1].parse().unwrap(), row[2].parse().unwrap())
}

#[test]
fn squid_sends_every_request_over_udp() {
    let Some(program) = find("squid", "squid") else { return };
    let page = Page::read("squid");
    let daemon = Daemon::start(&page.block("toml"));
    let mut squid = Squid::start(&program, &page.block("squid"));
    squid.ask(0, 200);
    squid.sender.stop();
    let lines = daemon.wait_lines("squid.log", 200);
    for (number, line) in lines.iter().enumerate() {
        check(line, number);
    }
    let api = daemon.wait_lines("api.log", 50);
    for (number, line) in api.iter().enumerate() {
        check(line, number * 4);
    }
    let node = daemon.node("squid");
    let counts = node.input.unwrap();
    assert_eq!((node.lines_in, counts.sequence_lost, counts.oversize), (200, 0, 0));
    assert!((10..60).contains(&counts.datagrams), "{counts:?}");
    assert_eq!(loss(&lines), (200, 0));
    let report = run(&["packet-loss", "1"], (lines.join("\n") + "\n").as_bytes()).stdout;
    let report = String::from_utf8(report).unwrap();
    // Its estimate takes the first line of an interval for one received once more.
    let report: Vec<_> = report.lines().filter_map(|line| line.split_once("] ")).collect();
    let [.., (_, invalid), _, _, (_, lost)] = report[..] else { panic!("{report:?}") };
    assert_eq!(invalid, "invalid: (0.00000 +/- 7.08881)%");
    assert_eq!(lost, "cp1-0 lost: (-0.50251 +/- 7.10660)%");
}

#[test]
fn what_squid_sends_while_nobody_listens_is_missing_by_its_number() {
    let Some(program) = find("squid", "squid") else { return };
    let page = Page::read("squid");
    let mut daemon = Daemon::start(&page.block("toml"));
    let mut squid = Squid::start(&program, &page.block("squid"));
    squid.ask(0, 50);
    daemon.wait_node("squid", |node| node.lines_in > 20);
    daemon.stop();
    squid.ask(50, 150);
    daemon.run();
    squid.ask(150, 200);
    squid.sender.stop();
    // The last line tells that all are there.
    let lines = wait_for("the last line", || {
        let lines = daemon.lines("squid.log");
        lines.last().is_some_and(|line| line.starts_with("cp1-0 199 ")).then_some(lines)
    });
    let (received, lost) = loss(&lines);
    assert_eq!((received, received + lost), (lines.len() as u64, 200));
    assert!((50..=140).contains(&lost), "{lost}");
}

#[test]
fn squid_writes_every_request_over_tcp_and_connects_again() {
    let Some(program) = find("squid", "squid") else { return };
    let page = Page::read("squid");
    let mut daemon = Daemon::start(&page.block("toml tcp"));
    let mut squid = Squid::start(&program, &page.block("squid tcp"));
    // Each comes at once.
    for number in 0..20 {
        squid.ask(number, number + 1);
        daemon.wait_lines("squid.log", number + 1);
    }
    daemon.stop();
    squid.ask(20, 60);
    daemon.run();
    daemon.wait_node("squid", |node| node.lines_in > 0);
    squid.ask(60, 100);
    squid.sender.stop();
    let lines = wait_for("the last line", || {
        let lines = daemon.lines("squid.log");
        lines.last().is_some_and(|line| line.starts_with("cp1-0 99 ")).then_some(lines)
    });
    let (received, lost) = loss(&lines);
    assert_eq!((received, received + lost), (lines.len() as u64, 100));
    // What it wrote before it noticed; without squid's own buffer it would be all of forty.
    assert!((1..20).contains(&lost), "{lost}");
}
