//! `logweir tap`: whoever looks sees what leaves a node, and holds nothing up.

use std::io::Read;
use std::process::{Child, Command, Stdio};

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

#[test]
fn a_tap_that_is_not_read_loses_lines_and_the_flow_none() {
    let daemon = Daemon::start(FLOW);
    let mut child = tap(&daemon, &["in"]);
    daemon.send_numbered(0, 1000);
    let long = "x".repeat(8000);
    for number in 0..2000 {
        daemon.send(format!("{number} {long}\n").as_bytes());
        if number % 100 == 99 {
            daemon.wait_node("all", |node| node.lines_out > number + 1000 - 500);
        }
    }
    let lines = daemon.wait_lines("all", 3000);
    assert_eq!(lines[..1000], numbered(0, 1000));
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()).unwrap());
    // What waited for it comes yet, and how many lines did not.
    std::thread::sleep(std::time::Duration::from_millis(500));
    daemon.send(b"one more\n");
    daemon.wait_lines("all", 3001);
    std::thread::sleep(std::time::Duration::from_millis(500));
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let (_, said, code) = end(child);
    reader.join().unwrap();
    let lost: u64 = said.split(' ').nth(4).unwrap().parse().unwrap();
    assert!(lost > 0 && code == Some(0), "{said}");
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
