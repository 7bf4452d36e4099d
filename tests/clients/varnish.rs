//! varnishncsa, as docs/senders/varnishncsa.md has it send.

use std::os::unix::fs::symlink;
use std::process::Command;

use super::origin::Origin;
use super::page::Page;
use super::{Sender, find};
use crate::util::{Daemon, LOGWEIR, free_port, wait_for};

/// What is asked for only to see that varnishncsa is there.
const WARM: &str = "/warm";

/// A varnishd before an origin, with logweir's daemon.
struct Varnish {
    varnishd: Option<Sender>,
    port: u16,
    /// The folder by which varnishncsa finds it.
    dir: tempfile::TempDir,
    _origin: Origin,
}

impl Varnish {
    /// None, and a message, where it is not installed.
    fn start() -> Option<Self> {
        let program = find("varnishd", "varnish")?;
        find("varnishncsa", "varnish")?;
        // It makes a program of its configuration.
        find("cc", "gcc")?;
        let origin = Origin::start();
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["-j", "none", "-F", "-s", "malloc,8m", "-p", "vsl_space=16m"]);
        command.arg("-a").arg(format!("127.0.0.1:{port}"));
        command.arg("-b").arg(format!("127.0.0.1:{}", origin.port));
        command.arg("-n").arg(dir.path().join("n"));
        let varnishd = Some(Sender::start(&mut command));
        Some(Self { varnishd, port, dir, _origin: origin })
    }

    fn get(&mut self, target: &str) {
        let varnishd = self.varnishd.as_mut().unwrap();
        assert_eq!(varnishd.get(self.port, target, "agent"), "HTTP/1.1 200 OK");
    }

    /// Asks for `/a?n=FROM` to `/a?n=TO-1`.
    fn ask(&mut self, from: usize, to: usize) {
        for number in from..to {
            self.get(&format!("/a?n={number}"));
        }
    }

    /// Starts the commands of a page, and waits until lines come through them.
    fn through(&mut self, script: &str, daemon: &Daemon) -> Sender {
        let dir = daemon.dir.path();
        let script = script
            .replace("{dir}", &dir.display().to_string())
            .replace("varnishncsa ", &format!("varnishncsa -n {}/n ", self.dir.path().display()))
            .replace("logweir send", &format!("{LOGWEIR} send"));
        // A varnishd that is there has a log to read.
        self.get(WARM);
        let sender = Sender::start(sh(daemon).args(["-c", &script]));
        let before = daemon.lines(LOG).len();
        wait_for("varnishncsa to write", || {
            self.get(WARM);
            (daemon.lines(LOG).len() > before).then_some(())
        });
        sender
    }
}

impl Drop for Varnish {
    fn drop(&mut self) {
        // It ends its child itself.
        self.varnishd.take().unwrap().stop();
    }
}

/// A shell that finds what is in the daemon's folder first.
fn sh(daemon: &Daemon) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [daemon.dir.path().to_path_buf()].into_iter();
    let path = std::env::join_paths(folders.chain(std::env::split_paths(&path))).unwrap();
    let mut command = Command::new("sh");
    command.env("PATH", path);
    command
}

const LOG: &str = "varnish.log";

/// Waits until so many requests are in the log, and gives the lines.
fn requests(daemon: &Daemon, count: usize) -> Vec<String> {
    wait_for(&format!("{count} requests in the log"), || {
        let mut lines = daemon.lines(LOG);
        lines.retain(|line| !line.contains(WARM));
        assert!(lines.len() <= count, "{} lines", lines.len());
        (lines.len() == count).then_some(lines)
    })
}

/// Checks that these are the first requests, each once. varnishd's threads are not always done with
/// them in the order in which they were answered.
fn check(lines: &[String]) {
    let number = |line: &String| {
        let words: Vec<_> = line.split(' ').collect();
        let [.., time, client, method, target, status, bytes] = words[..] else { panic!("{line}") };
        assert_eq!((time.len(), client), ("2026-01-01T00:00:00".len(), "127.0.0.1"), "{line}");
        assert_eq!((method, status, bytes), ("GET", "200", "3"), "{line}");
        target.strip_prefix("/a?n=").and_then(|number| number.parse::<usize>().ok()).unwrap()
    };
    let mut numbers: Vec<_> = lines.iter().map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..lines.len()).collect::<Vec<_>>());
}

/// The command that a unit starts.
fn command(unit: &str) -> String {
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/bin/sh -c '")).unwrap();
    line.strip_suffix('\'').unwrap().replace("%%", "%")
}

#[test]
fn varnishncsa_writes_every_request_into_a_fifo_whatever_is_restarted() {
    let Some(mut varnish) = Varnish::start() else { return };
    let page = Page::read("varnishncsa");
    let mut daemon = Daemon::start(&page.block("toml"));
    let unit = command(&page.block("ini varnishncsa-logweir.service"));
    let held = "1<>{dir}/varnish";
    assert!(unit.contains(held), "{unit}");

    // As a plain file: its end is the end of the pipe, which is opened again for the next one.
    let plain = unit.replace(held, "-w {dir}/varnish");
    for round in 0..3 {
        let sender = varnish.through(&plain, &daemon);
        varnish.ask(round * 20, round * 20 + 20);
        check(&requests(&daemon, round * 20 + 20));
        sender.stop();
    }

    // With an end to read held open: nothing is lost while logweir is away.
    let _sender = varnish.through(&unit, &daemon);
    varnish.ask(60, 80);
    requests(&daemon, 80);
    daemon.stop();
    varnish.ask(80, 120);
    daemon.run();
    varnish.ask(120, 140);
    check(&requests(&daemon, 140));
    assert_eq!(daemon.node("varnish").input.unwrap().oversize, 0);
}

#[test]
fn varnishncsa_sends_every_request_through_send() {
    let Some(mut varnish) = Varnish::start() else { return };
    let page = Page::read("varnishncsa");
    let daemon = Daemon::start(&page.block("toml send"));
    let script = page.block("sh host pipeline");
    let _sender = varnish.through(&script, &daemon);
    varnish.ask(0, 100);
    let lines = requests(&daemon, 100);
    check(&lines);
    let numbers = daemon.lines(LOG);
    for (number, line) in (1..).zip(&numbers) {
        assert!(line.starts_with(&format!("cp1 {number} 20")), "{line}");
    }
    assert_eq!(daemon.node("varnish").input.unwrap().sequence_lost, 0);
}

#[test]
fn varnishncsa_sends_every_request_through_log2udp() {
    let Some(mut varnish) = Varnish::start() else { return };
    let page = Page::read("varnishncsa");
    let daemon = Daemon::start(&page.block("toml send"));
    symlink(LOGWEIR, daemon.path("log2udp")).unwrap();
    let writer = page.block("sh host varnishncsa");
    let reader = page
        .block("sh host log2udp")
        .replace("-p 8420", &format!("-p {}", page.port("8420")))
        .replace("{dir}", &daemon.dir.path().display().to_string());
    let start = || Sender::start(sh(&daemon).args(["-c", &format!("exec {reader}")]));
    let log2udp = start();
    wait_for("log2udp to make the pipe", || daemon.path("varnish.fifo").exists().then_some(()));
    let _sender = varnish.through(&writer, &daemon);
    varnish.ask(0, 50);
    check(&requests(&daemon, 50));
    for (number, line) in daemon.lines(LOG).iter().enumerate() {
        assert!(line.starts_with(&format!("{number} 20")), "{line}");
    }
    // What comes while it is away waits in the pipe.
    drop(log2udp);
    varnish.ask(50, 80);
    let _log2udp = start();
    check(&requests(&daemon, 80));
}
