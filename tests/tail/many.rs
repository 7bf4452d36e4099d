//! As many files as an input follows.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

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
    let all = |count: usize| {
        daemon_has(&daemon, count);
    };
    for number in 0..FILES {
        append(&log(&daemon, number), &format!("{number} 0\n"));
    }
    all(FILES);
    for number in 0..FILES {
        let path = log(&daemon, number);
        append(&path, &format!("{number} 1\n{number} 2\n"));
        fs::rename(&path, path.with_extension("log.1")).unwrap();
        append(&path, &format!("{number} 3\n"));
    }
    all(4 * FILES);
    // Each is known again after a kill.
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    for number in (0..FILES).step_by(10) {
        append(&log(&daemon, number), &format!("{number} 4\n"));
    }
    daemon.run();
    let most = FILES / 10;
    let lines = wait_for("all lines", || {
        let lines = spooled(&daemon);
        (lines.len() >= 4 * FILES + most).then_some(lines)
    });
    // What comes twice would come now.
    daemon.stop();
    assert_eq!(spooled(&daemon).len(), lines.len());
    let mut counts: HashMap<String, u32> = HashMap::new();
    lines.into_iter().for_each(|line| *counts.entry(line).or_default() += 1);
    assert_eq!(counts.len(), 4 * FILES + most);
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).take(5).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// Waits until the spool has taken so many lines, and no more.
fn daemon_has(daemon: &Daemon, count: usize) {
    let node = daemon.wait_node("s", |node| node.lines_out >= count as u64);
    assert_eq!(node.lines_in, count as u64);
}
