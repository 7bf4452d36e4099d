//! As many files as an input follows.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use logweir::engine::status::NodeStatus;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;

use crate::util::{Daemon, skip_here, wait_for};

use super::{PLAIN, SPOOLED, append, memory_kib, spooled, start, wakes};

/// The most files that one input follows.
const FILES: usize = 10_000;
/// Files of one folder.
const FOLDER: usize = 100;

/// Whether the system allows so many open files; they are half of what an input may have.
fn may_open() -> bool {
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(_, hard)| hard >= 2 * 10_000);
    if !allowed {
        skip_here("needs a hard limit of 20,000 open files (ulimit -Hn)");
    }
    allowed
}

/// The path of a file.
fn log(daemon: &Daemon, number: usize) -> PathBuf {
    let folder = daemon.path("logs").join(format!("{}", number / FOLDER));
    if number.is_multiple_of(FOLDER) {
        fs::create_dir_all(&folder).unwrap();
    }
    folder.join(format!("{number}.log"))
}

#[test]
fn ten_thousand_idle_files_wake_nobody_and_take_little_memory() {
    if !may_open() {
        return;
    }
    let daemon = start(&PLAIN.replace("*.log", "**/*.log"));
    for number in 0..FILES {
        append(&log(&daemon, number), &format!("{number}\n"));
    }
    daemon.wait_lines("out", FILES);
    let mut before = wakes(&daemon);
    assert_eq!(before.len(), 2);
    // Once all is done nothing happens for as long as one cares to look.
    wait_for("two seconds without a wake-up", || {
        std::thread::sleep(std::time::Duration::from_secs(2));
        let now = wakes(&daemon);
        let rests = now == before;
        before = now;
        rests.then_some(())
    });
    let memory = memory_kib(&daemon, "VmRSS:") / 1024;
    assert!(memory <= 64, "{memory} MiB");
    assert_eq!(daemon.node("t").lines_in, FILES as u64);
}

#[test]
fn ten_thousand_files_written_to_and_rotated_have_every_line_once_in_a_spool() {
    if !may_open() {
        return;
    }
    let config = SPOOLED.replace("logs/app.log", "logs/**/*.log").replace("64KiB", "64MiB");
    let mut daemon = start(&config);
    for number in 0..FILES {
        append(&log(&daemon, number), &format!("{number} 0\n"));
    }
    daemon_has(&daemon, FILES);
    for number in 0..FILES {
        let path = log(&daemon, number);
        append(&path, &format!("{number} 1\n{number} 2\n"));
        fs::rename(&path, path.with_extension("log.1")).unwrap();
        append(&path, &format!("{number} 3\n"));
    }
    daemon_has(&daemon, 4 * FILES);
    // Each is known again after a kill.
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    for number in 0..FILES {
        append(&log(&daemon, number), &format!("{number} 4\n"));
    }
    daemon.run();
    // Each has been read from where it stood, so what comes twice has come.
    daemon.wait_node("s", |node| node.lines_out >= FILES as u64);
    daemon.stop();
    let lines = spooled(&daemon);
    let mut counts: HashMap<String, u32> = HashMap::new();
    lines.into_iter().for_each(|line| *counts.entry(line).or_default() += 1);
    assert_eq!(counts.len(), 5 * FILES);
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).take(5).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn rotated_files_that_take_all_descriptors_keep_others_waiting_and_what_goes_meanwhile_is_counted()
{
    let config = PLAIN.replace("*.log", "**/*.log");
    let mut daemon = Daemon::prepare(&config);
    fs::create_dir(daemon.path("logs")).unwrap();
    daemon.run_behind("ulimit -n 200");
    let paths: Vec<_> = (0..80).map(|number| log(&daemon, number)).collect();
    paths.iter().for_each(|path| append(path, "old\n"));
    daemon.wait_lines("out", 80);
    // Somebody writes to them yet, so that they are kept open: 20 of the new ones are opened.
    let open = |path| OpenOptions::new().append(true).open(path).unwrap();
    let mut writers: Vec<_> = paths.iter().map(open).collect();
    for path in &paths {
        fs::rename(path, path.with_extension("1")).unwrap();
        append(path, "new\n");
    }
    daemon.wait_log("100 followed files are open, rotated ones among them");
    let waits = |node: &NodeStatus| {
        let why = node.error.as_deref().unwrap_or_default();
        why.starts_with("60 paths cannot be read, as ") && node.lines_out == 100
    };
    daemon.wait_node("t", waits);
    assert_eq!(daemon.lines("out").len(), 100);
    // The newest of them wait: names are taken in the order in which they came.
    paths[70..].iter().for_each(|path| fs::remove_file(path).unwrap());
    writers.iter_mut().for_each(|writer| writer.write_all(b"last\n").unwrap());
    drop(writers);
    daemon.wait_node("t", |node| node.input.unwrap().unread == 10 && node.error.is_none());
    let mut lines = daemon.wait_lines("out", 80 + 80 + 70);
    lines.sort_unstable();
    let count = |text: &str| lines.iter().filter(|line| *line == text).count();
    assert_eq!((count("old"), count("last"), count("new")), (80, 80, 70));
    daemon.wait_log("files that could not be read are gone: 10, as ");
}

/// Waits until the spool has taken so many lines, and no more.
fn daemon_has(daemon: &Daemon, count: usize) {
    let node = daemon.wait_node("s", |node| node.lines_out >= count as u64);
    assert_eq!(node.lines_in, count as u64);
}
