//! Which files are followed, and which of their lines are taken.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::{PLAIN, SPOOLED, append, spooled, start};
use crate::util::{Daemon, wait_for};

#[test]
fn what_a_file_has_that_is_old_when_it_is_found_is_left_out_and_what_it_gets_is_not() {
    let config = PLAIN.replace("positions =", "ignore_older = \"1d\"\npositions =");
    let daemon = Daemon::start_with(&config, |dir| {
        let logs = dir.join("logs");
        fs::create_dir(&logs).unwrap();
        append(&logs.join("old.log"), "old 1\nold 2\n");
        let two_days_ago = SystemTime::now() - Duration::from_secs(2 * 86_400);
        let old = OpenOptions::new().append(true).open(logs.join("old.log")).unwrap();
        old.set_modified(two_days_ago).unwrap();
        append(&logs.join("new.log"), "new 1\n");
    });
    daemon.wait_lines("out", 1);
    append(&daemon.path("logs/old.log"), "old 3\n");
    assert_eq!(daemon.wait_lines("out", 2), ["new 1", "old 3"]);
    assert_eq!(daemon.node("t").lines_in, 2);
}

#[test]
fn a_file_that_is_excluded_is_never_opened() {
    let config = PLAIN
        .replace("*.log", "**/*.log")
        .replace("positions =", "exclude = [\"{dir}/logs/**/secret*\"]\npositions =");
    let daemon = start(&config);
    fs::create_dir(daemon.path("logs/deep")).unwrap();
    append(&daemon.path("logs/secret.log"), "no\n");
    append(&daemon.path("logs/deep/secret-2.log"), "no\n");
    append(&daemon.path("logs/deep/a.log"), "1\n");
    daemon.wait_lines("out", 1);
    append(&daemon.path("logs/secret.log"), "no\n");
    // Also when another file takes such a name, or gives it up.
    fs::rename(daemon.path("logs/secret.log"), daemon.path("logs/b.log")).unwrap();
    assert_eq!(daemon.wait_lines("out", 3), ["1", "no", "no"]);
    fs::rename(daemon.path("logs/deep/a.log"), daemon.path("logs/deep/secret.log")).unwrap();
    append(&daemon.path("logs/deep/a.log"), "2\n");
    assert_eq!(daemon.wait_lines("out", 4)[3], "2");
    assert_eq!(super::open_names(&daemon, "secret-2.log"), 0);
    assert_eq!(daemon.node("t").lines_in, 4);
}

#[test]
fn a_rotated_file_that_is_compressed_once_it_was_read_is_no_loss() {
    let daemon = start(&PLAIN.replace("*.log", "*.log*"));
    let logs = daemon.path("logs");
    append(&logs.join("a.log"), "1\n2\n");
    daemon.wait_lines("out", 2);
    for (number, ending) in ["gz", "zst"].into_iter().enumerate() {
        let rotated = logs.join(format!("a.log.{number}"));
        fs::rename(logs.join("a.log"), &rotated).unwrap();
        append(&logs.join("a.log"), "more\n");
        daemon.wait_lines("out", 3 + number);
        // As gzip does it: the other file first.
        File::create(rotated.with_extension(format!("{number}.{ending}"))).unwrap();
        fs::remove_file(&rotated).unwrap();
    }
    // What is counted shows with the next one, whose plain form was never there.
    append(&logs.join("b.log.1.gz"), "x");
    daemon.wait_node("t", |node| node.input.as_ref().unwrap().unread > 0);
    daemon.wait_log("b.log.1.gz\" is compressed, and not read");
    assert_eq!(daemon.node("t").input.unwrap().unread, 1);
    assert_eq!(daemon.lines("out"), ["1", "2", "more", "more"]);
}

/// Runs a program on a file.
fn by(program: &str, arguments: &[&str], path: &Path) {
    let status = Command::new(program).args(arguments).arg(path).status().unwrap();
    assert!(status.success(), "{program}");
}

/// A log that was read to its second line is written to, or not, rotated and compressed while the
/// daemon is away; `lines` tells what has come.
fn compressed_meanwhile(config: &str, lines: impl Fn(&Daemon) -> Vec<String>) {
    let mut daemon = start(config);
    let log = daemon.path("logs/app.log");
    let wait = |daemon: &Daemon, want: &[&str]| {
        wait_for(&format!("{want:?}"), || (lines(daemon).len() >= want.len()).then_some(()));
        assert_eq!(lines(daemon), want);
    };
    append(&log, "1 first\n2\n");
    wait(&daemon, &["1 first", "2"]);
    // Read to its end, it is no loss.
    daemon.stop();
    let rotated = daemon.path("logs/app.log.2");
    fs::rename(&log, &rotated).unwrap();
    by("zstd", &["-q", "--rm"], &rotated);
    append(&log, "3 begins\n");
    daemon.run();
    wait(&daemon, &["1 first", "2", "3 begins"]);
    daemon.stop();
    assert!(!daemon.log().contains("was compressed"), "{}", daemon.log());
    // Not read to its end, it is one.
    append(&log, "4\n5\n");
    let rotated = daemon.path("logs/app.log.1");
    fs::rename(&log, &rotated).unwrap();
    by("gzip", &[], &rotated);
    append(&log, "6 begins\n");
    daemon.run();
    wait(&daemon, &["1 first", "2", "3 begins", "6 begins"]);
    daemon.wait_node("t", |node| node.input.as_ref().unwrap().unread == 1);
    daemon.wait_log("app.log.1.gz\" was compressed before its last 4 bytes were read");
    // The remedy that is said.
    daemon.stop();
    by("gzip", &["-d"], &daemon.path("logs/app.log.1.gz"));
    daemon.run();
    wait(&daemon, &["1 first", "2", "3 begins", "6 begins", "4", "5"]);
    assert_eq!(daemon.node("t").input.unwrap().unread, 0);
}

#[test]
fn what_was_compressed_while_nobody_looked_is_a_loss_unless_it_was_read() {
    compressed_meanwhile(PLAIN, |daemon| daemon.lines("out"));
}

#[test]
fn what_was_compressed_while_nobody_looked_is_known_by_a_spool_as_well() {
    compressed_meanwhile(SPOOLED, spooled);
}
