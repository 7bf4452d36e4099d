//! Outputs that are slow or stuck, and a reader that is behind because of that.

use std::fs;

use nix::sys::signal::Signal;

use crate::util::{Daemon, wait_for};

use super::{append, open_names, start};

/// Follows `logs/*.log` into a process that reads nothing, and into a file.
const STUCK: &str = "[input.t]\ntail = \"{dir}/logs/*.log\"\npositions = \"{dir}/positions\"\n\
                     [output.stuck]\nfrom = \"t\"\nqueue = \"64KiB\"\nstop_grace = \"100ms\"\n\
                     pipe = \"exec sleep 600\"\n\
                     [output.f]\nfrom = \"t\"\nfile = \"{dir}/out\"\n\
                     [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n";

fn lines(from: usize, to: usize) -> String {
    (from..to).map(|number| format!("line {number:06} {}\n", "x".repeat(88))).collect()
}

#[test]
fn an_output_that_is_stuck_costs_the_others_no_line_and_its_own_are_counted() {
    let mut daemon = start(STUCK);
    let log = daemon.path("logs/a.log");
    // More than its queue and its pipe hold.
    append(&log, &lines(0, 50_000));
    daemon.wait_lines("out", 50_000);
    daemon.wait_log("stuck: has taken nothing for 5s: they no longer wait for it");
    // From now on nobody waits, nor does a new file.
    append(&log, &lines(50_000, 200_000));
    fs::rename(&log, daemon.path("logs/a.log.1")).unwrap();
    append(&log, &lines(200_000, 200_010));
    daemon.wait_lines("out", 200_010);
    let stuck = daemon.wait_node("stuck", |node| node.lines_in == 200_010);
    assert_eq!(stuck.dropped["queue_full"], 200_010 - stuck.queued);
    assert!(stuck.queued > 500, "{}", stuck.queued);
    // Its lines are not delivered: after a crash they come again, and with them all others.
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    daemon.write_config(&STUCK.replace("exec sleep 600", "exec cat >> {dir}/got"));
    daemon.run();
    wait_for("its first line", || {
        daemon
            .lines("got")
            .first()
            .is_some_and(|line| line.starts_with("line 000000 "))
            .then_some(())
    });
}

#[test]
fn a_reader_that_is_behind_lets_a_deleted_file_go_after_keep_open_and_counts_it() {
    let config = STUCK
        .replace("positions =", "keep_open = \"5s\"\npositions =")
        .replace("queue = \"64KiB\"", "when_full = \"block\"")
        .replace(
            "exec sleep 600",
            "while test ! -e {dir}/go; do sleep 0.1; done; exec cat > {dir}/got",
        );
    let daemon = start(&config);
    let log = daemon.path("logs/a.log");
    let text = lines(0, 200_000);
    append(&log, &text);
    daemon.wait_node("t", |node| node.paused);
    fs::remove_file(&log).unwrap();
    append(&daemon.path("logs/b.log"), "another\n");
    // Though nothing can be handed over, it is not kept for longer.
    daemon.wait_log("a.log\" is gone, and is let go after `keep_open` though ");
    wait_for("it to be closed", || (open_names(&daemon, "a.log") == 0).then_some(()));
    fs::write(daemon.path("go"), "").unwrap();
    wait_for("the other file", || {
        daemon.lines("got").last().is_some_and(|line| line == "another").then_some(())
    });
    let node = daemon.wait_node("t", |node| node.input.as_ref().unwrap().unread == 1);
    // What was said to be unread is what is missing, to the byte.
    let said = daemon.log();
    let unread = said.split("`keep_open` though ").nth(1).unwrap().split(' ').next().unwrap();
    let unread: usize = unread.parse().unwrap();
    let got: usize = daemon.lines("got").iter().map(|line| line.len() + 1).sum();
    assert_eq!(got - "another\n".len() + unread, text.len());
    assert_eq!(node.lines_in, daemon.lines("got").len() as u64);
}

#[test]
fn a_deleted_file_is_kept_within_keep_open_while_its_reader_is_behind() {
    let config = STUCK.replace("queue = \"64KiB\"", "when_full = \"block\"").replace(
        "exec sleep 600",
        "while test ! -e {dir}/go; do sleep 0.1; done; exec cat > {dir}/got",
    );
    let daemon: Daemon = start(&config);
    let log = daemon.path("logs/a.log");
    append(&log, &lines(0, 200_000));
    daemon.wait_node("t", |node| node.paused);
    fs::rename(&log, daemon.path("logs/a.log.1")).unwrap();
    append(&log, &lines(200_000, 200_010));
    wait_for("both to be open", || (open_names(&daemon, "a.log") == 2).then_some(()));
    fs::remove_file(daemon.path("logs/a.log.1")).unwrap();
    fs::remove_file(&log).unwrap();
    fs::write(daemon.path("go"), "").unwrap();
    let got = daemon.wait_lines("got", 200_010);
    assert!(got.is_sorted(), "in order, across the rotation");
    assert_eq!(daemon.node("t").input.unwrap().unread, 0);
}
