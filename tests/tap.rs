//! `logweir tap`: whoever looks sees what leaves a node, and holds nothing up.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::util::{Daemon, LOGWEIR, numbered, wait_for};

fn tap(daemon: &Daemon, args: &[&str]) -> Child {
    Command::new(LOGWEIR)
        .arg("tap")
        .arg("--control")
        .arg(daemon.path("control.sock"))
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a tap printed when it has ended: its lines, what it said, its exit code.
fn end(tap: Child) -> (Vec<String>, String, Option<i32>) {
    let output = tap.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap().lines().map(str::to_string).collect();
    (lines, String::from_utf8(output.stderr).unwrap(), output.status.code())
}

/// Sends lines, again and again, until the tap has ended: it opens when it likes.
fn send_until_end(daemon: &Daemon, tap: &mut Child) {
    let mut number = 0;
    wait_for("the tap to end", || {
        daemon.send_numbered(number, number + 50);
        number += 50;
        tap.try_wait().unwrap()
    });
}

const FLOW: &str = "[filter.odd]\nfrom = \"in\"\nmatch = '[13579]$'\n\
                    [output.all]\nfrom = \"in\"\nfile = \"{dir}/all\"\n\
                    [output.json]\nfrom = \"odd\"\npipe = \"cat > /dev/null\"\nformat = \"json\"\n";

#[test]
fn a_tap_shows_what_leaves_an_input_a_filter_and_what_an_output_is_given() {
    let daemon = Daemon::start(FLOW);
    for (args, good) in [
        (&["in", "-n", "20"][..], (|_| true) as fn(&str) -> bool),
        (&["odd", "-n", "20"], |line| line.ends_with(['1', '3', '5', '7', '9'])),
        (&["in", "-n", "20", "--match", "7$"], |line| line.ends_with('7')),
        (&["json", "-n", "20"], |line| line.starts_with('{') && line.ends_with('}')),
    ] {
        let mut child = tap(&daemon, args);
        send_until_end(&daemon, &mut child);
        let (lines, said, code) = end(child);
        assert_eq!((lines.len(), code), (20, Some(0)), "{args:?}: {said}");
        assert!(lines.iter().all(|line| good(line)), "{args:?}: {lines:?}");
        assert_eq!(said, "logweir tap: 20 lines, 0 lost on the way\n");
    }
}

/// A tap that has printed its first line, and the rest of what it prints.
fn opened(daemon: &Daemon, node: &str) -> (Child, BufReader<ChildStdout>, u64, u64) {
    let mut child = tap(daemon, &[node]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let (say, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        say.send((line, stdout)).unwrap();
    });
    let mut number = 0;
    let (line, stdout) = wait_for("the first line", || {
        daemon.send_numbered(number, number + 1);
        number += 1;
        said.try_recv().ok()
    });
    let digits = line.split_once("line ").unwrap().1.split(|c: char| !c.is_ascii_digit()).next();
    let first = digits.unwrap().parse().unwrap();
    (child, stdout, first, number)
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
}

/// What it said at its end: lines and lines lost.
fn counts(said: &str) -> (u64, u64) {
    let rest = said.strip_prefix("logweir tap: ").unwrap();
    let words: Vec<_> = rest.split(' ').collect();
    (words[0].parse().unwrap(), words[2].parse().unwrap())
}

#[test]
fn a_tap_that_is_not_read_loses_lines_counts_each_and_the_flow_loses_none() {
    let daemon = Daemon::start(FLOW);
    let (child, mut stdout, first, sent) = opened(&daemon, "in");
    // More than its pipe, its socket and the daemon hold for it.
    let long = "x".repeat(8000);
    let all = 2000;
    for number in sent..all {
        daemon.send(format!("{number} {long}\n").as_bytes());
        if number % 50 == 49 {
            daemon.wait_node("all", |node| node.lines_out + 200 > number);
        }
    }
    daemon.wait_lines("all", all as usize);
    interrupt(&child);
    // Only now it is read: what was held for it comes yet.
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).unwrap();
        memchr::memchr_iter(b'\n', &rest).count() as u64
    });
    let (_, said, code) = end(child);
    let (lines, lost) = counts(&said);
    assert_eq!((code, reader.join().unwrap() + 1), (Some(0), lines), "{said}");
    assert!(lost > 100 && lines > 100, "{said}");
    assert_eq!(lines + lost, all - first, "{said}");
}

#[test]
fn a_tap_that_is_read_loses_none_and_is_told_of_all_at_its_end() {
    let daemon = Daemon::start(FLOW);
    let (child, mut stdout, first, sent) = opened(&daemon, "in");
    let reader = std::thread::spawn(move || {
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        rest.lines().map(str::to_string).collect::<Vec<_>>()
    });
    daemon.send_numbered(sent, sent + 5000);
    daemon.wait_lines("all", sent as usize + 5000);
    interrupt(&child);
    let (_, said, code) = end(child);
    assert_eq!(reader.join().unwrap(), numbered(first + 1, sent + 5000));
    assert_eq!((code, counts(&said)), (Some(0), (sent + 5000 - first, 0)), "{said}");
}

#[test]
fn a_tap_stays_with_the_name_over_reloads_and_ends_with_the_node() {
    let daemon = Daemon::start(FLOW);
    let (child, mut stdout, _, sent) = opened(&daemon, "json");
    daemon.write_config(&FLOW.replace("cat >", "exec cat >"));
    assert!(daemon.ctl("reload").status.success());
    daemon.send_numbered(sent, sent + 10);
    // The count goes on with the name, too.
    let odd = (0..sent + 10).filter(|number| number % 2 == 1).count() as u64;
    daemon.wait_node("json", |node| node.lines_out == odd);
    daemon.write_config("[output.all]\nfrom = \"in\"\nfile = \"{dir}/all\"\n");
    assert!(daemon.ctl("reload").status.success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let (_, said, code) = end(child);
    let numbers = (sent..sent + 10).filter(|number| number % 2 == 1);
    for number in numbers {
        assert!(rest.contains(&format!("line {number}\"")), "{number}: {rest}");
    }
    assert!(said.contains("json: the node is gone: a reload has removed it\n"), "{said}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_tap_ends_with_the_daemon_and_has_the_last_lines() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut daemon = Daemon::start(FLOW);
        let (child, mut stdout, first, sent) = opened(&daemon, "in");
        daemon.send_numbered(sent, sent + 100);
        daemon.wait_lines("all", sent as usize + 100);
        daemon.signal(signal);
        daemon.wait();
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        let (_, said, code) = end(child);
        let why = match signal {
            Signal::SIGTERM => "in: the daemon has ended\n",
            _ => "the daemon has ended the connection\n",
        };
        assert!(said.ends_with(why) && code == Some(1), "{said}");
        if signal == Signal::SIGTERM {
            let lines: Vec<_> = rest.lines().map(str::to_string).collect();
            assert_eq!(lines, numbered(first + 1, sent + 100));
        }
    }
}

#[test]
fn there_are_sixteen_taps_at_most() {
    let daemon = Daemon::start(FLOW);
    let taps: Vec<_> = (0..16).map(|_| opened(&daemon, "in")).collect();
    let (_, said, code) = end(tap(&daemon, &["in"]));
    assert!(said.contains("there are 16 taps already") && code == Some(1), "{said}");
    for (child, ..) in &taps {
        interrupt(child);
    }
    for (child, mut stdout, ..) in taps {
        stdout.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(end(child).2, Some(0));
    }
    let mut child = tap(&daemon, &["in", "-n", "1"]);
    send_until_end(&daemon, &mut child);
    assert_eq!(end(child).2, Some(0));
}

#[test]
fn a_tap_on_nothing_is_refused() {
    let daemon = Daemon::start(FLOW);
    let (_, said, code) = end(tap(&daemon, &["nobody"]));
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no node `nobody`; there are: in, odd, all, json"), "{said}");
    let (_, said, code) = end(tap(&daemon, &["in", "--match", "("]));
    assert!(said.contains("unclosed group") && code == Some(1), "{said}");
}
