//! Files are followed: found, rotated, truncated, deleted, and never read twice into a spool.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::util::{Daemon, LOGWEIR, run, skip_here, wait_for};

mod bad;
mod chosen;
mod many;
mod stuck;

/// Follows `logs/*.log` into a file.
const PLAIN: &str = "[input.t]\ntail = \"{dir}/logs/*.log\"\npositions = \"{dir}/positions\"\n\
                     [output.f]\nfrom = \"t\"\nfile = \"{dir}/out\"\n\
                     [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n";
/// Follows `logs/app.log` into a spool.
const SPOOLED: &str = "[input.t]\ntail = \"{dir}/logs/app.log\"\n\
                       [spool.s]\nfrom = \"t\"\ndir = \"{dir}/spool\"\nsegment = \"64KiB\"\n\
                       [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n";

fn start(config: &str) -> Daemon {
    Daemon::start_with(config, |dir| fs::create_dir(dir.join("logs")).unwrap())
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// How often each of the input's threads was woken.
fn wakes(daemon: &Daemon) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let of = |task: PathBuf| {
        let name = fs::read_to_string(task.join("comm")).ok()?;
        let status = fs::read_to_string(task.join("status")).ok()?;
        let wakes = status.lines().find(|line| line.starts_with("voluntary"))?.to_string();
        let mine = name.trim() == "in:t" || name.trim() == "find:t";
        mine.then_some((name, wakes))
    };
    let mut found: Vec<_> = tasks.filter_map(|task| of(task.ok()?.path())).collect();
    found.sort();
    found
}

/// A figure of a daemon's memory, in KiB (proc_pid_status(5)).
fn memory_kib(daemon: &Daemon, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// How many files whose names contain this a daemon has open.
fn open_names(daemon: &Daemon, name: &str) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().contains(name)).count()
}

fn spooled(daemon: &Daemon) -> Vec<String> {
    let dir = daemon.path("spool");
    let output = run(&["spool", "cat", dir.to_str().unwrap()], b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_string).collect()
}

#[test]
fn files_come_and_are_rotated_by_rename_and_by_copying_without_a_line_lost() {
    let daemon = start(PLAIN);
    let log = daemon.path("logs/a.log");
    append(&log, "1\n2\n");
    daemon.wait_lines("out", 2);
    // A line without its end waits for it.
    append(&log, "3");
    append(&daemon.path("logs/b.log"), "b\n");
    daemon.wait_lines("out", 3);
    append(&log, "\n");
    daemon.wait_lines("out", 4);
    let writer = OpenOptions::new().append(true).open(&log).unwrap();
    fs::rename(&log, daemon.path("logs/a.log.1")).unwrap();
    append(&log, "new\n");
    daemon.wait_lines("out", 5);
    // Whoever wrote to it goes on until it opens the new one.
    (&writer).write_all(b"late\n").unwrap();
    daemon.wait_lines("out", 6);
    drop(writer);
    append(&log, "x\n");
    daemon.wait_lines("out", 7);
    fs::copy(&log, daemon.path("logs/a.log.2")).unwrap();
    OpenOptions::new().write(true).open(&log).unwrap().set_len(0).unwrap();
    append(&log, "after\n");
    let lines = daemon.wait_lines("out", 8);
    assert_eq!(lines, ["1", "2", "b", "3", "new", "late", "x", "after"]);
    daemon.wait_node("t", |node| node.input.unwrap().truncated == 1);
}

#[test]
fn a_deleted_file_is_read_to_its_end_and_a_last_line_without_a_newline_is_delivered() {
    let daemon = start(PLAIN);
    let log = daemon.path("logs/a.log");
    let writer = File::create(&log).unwrap();
    (&writer).write_all(b"1\n").unwrap();
    daemon.wait_lines("out", 1);
    fs::remove_file(&log).unwrap();
    (&writer).write_all(b"2\nend").unwrap();
    daemon.wait_lines("out", 2);
    drop(writer);
    assert_eq!(daemon.wait_lines("out", 3), ["1", "2", "end"]);
    let open = || open_names(&daemon, "a.log");
    wait_for("the file to be let go", || (open() == 0).then_some(()));
}

#[test]
fn links_to_one_file_are_one_file_and_what_is_no_file_is_named() {
    let daemon = Daemon::start_with(PLAIN, |dir| {
        let log = dir.join("logs");
        fs::create_dir_all(log.join("folder.log")).unwrap();
        fs::create_dir(dir.join("other")).unwrap();
        append(&log.join("a.log"), "a1\n");
        fs::hard_link(log.join("a.log"), log.join("hard.log")).unwrap();
        symlink(log.join("a.log"), log.join("soft.log")).unwrap();
        append(&dir.join("other/far"), "far1\n");
        symlink(dir.join("other/far"), log.join("far.log")).unwrap();
        symlink(&log, log.join("loop.log")).unwrap();
        nix::unistd::mkfifo(&log.join("fifo.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        append(&log.join("old.log.gz"), "x");
    });
    daemon.wait_lines("out", 2);
    append(&daemon.path("logs/hard.log"), "a2\n");
    // The folder of a file behind a link is watched too.
    append(&daemon.path("other/far"), "far2\n");
    let mut lines = daemon.wait_lines("out", 4);
    lines.sort();
    assert_eq!(lines, ["a1", "a2", "far1", "far2"]);
    daemon.wait_log("fifo.log\" is a FIFO");
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"odd\n\xff.log");
    append(&daemon.path("logs").join(odd), "odd\n");
    daemon.wait_lines("out", 5);
}

#[test]
fn positions_outlive_a_restart_and_files_rotated_meanwhile_are_found_again() {
    let mut daemon = start(PLAIN);
    let log = daemon.path("logs/a.log");
    append(&log, "1\n2\n");
    daemon.wait_lines("out", 2);
    daemon.stop();
    append(&log, "3\n");
    fs::rename(&log, daemon.path("logs/a.log.2")).unwrap();
    append(&log, "4\n");
    fs::rename(&log, daemon.path("logs/a.log.1")).unwrap();
    append(&log, "5\n");
    daemon.run();
    let mut lines = daemon.wait_lines("out", 5);
    lines.sort();
    assert_eq!(lines, ["1", "2", "3", "4", "5"]);
    daemon.stop();
    fs::write(daemon.path("positions"), "nonsense").unwrap();
    daemon.run();
    // At least once: what is not known is read again.
    daemon.wait_lines("out", 6);
    daemon.wait_log("is damaged");
    assert!(daemon.path("positions.damaged").exists());
}

#[test]
fn start_at_the_end_is_for_files_that_are_there_at_the_very_first_start() {
    let config = PLAIN.replace("positions =", "start = \"end\"\npositions =");
    let mut daemon = Daemon::start_with(&config, |dir| {
        fs::create_dir(dir.join("logs")).unwrap();
        append(&dir.join("logs/a.log"), "old\nold");
    });
    wait_for("the end to be written down", || daemon.path("positions").exists().then_some(()));
    append(&daemon.path("logs/a.log"), "er\n1\n");
    append(&daemon.path("logs/b.log"), "2\n");
    let mut lines = daemon.wait_lines("out", 3);
    lines.sort();
    assert_eq!(lines, ["1", "2", "older"]);
    daemon.stop();
    append(&daemon.path("logs/a.log"), "3\n");
    append(&daemon.path("logs/c.log"), "4\n");
    daemon.run();
    daemon.wait_lines("out", 5);
}

#[test]
fn records_of_several_lines_are_joined_and_the_last_one_comes_after_its_time() {
    let config = PLAIN.replace(
        "positions =",
        "multiline = { start = '^\\d', timeout = \"50ms\" }\nmax_line = \"64B\"\npositions =",
    );
    let daemon = start(&config);
    let long = "x".repeat(100);
    append(&daemon.path("logs/a.log"), &format!("1 a\n b\n c\n2 {long}\n3 d\n e\n"));
    let lines = daemon.wait_lines("out", 3);
    assert_eq!(lines, ["1 a#012 b#012 c".into(), format!("2 {}", &long[..62]), "3 d#012 e".into()]);
    assert_eq!(daemon.wait_node("t", |node| node.lines_in == 3).input.unwrap().oversize, 1);
}

#[test]
fn lines_become_messages_that_selectors_know_once_each_in_a_spool_through_kill() {
    let config = "[input.t]\ntail = \"{dir}/logs/*.log\"\nas = \"message\"\napp = \"shop\"\n\
                  facility = \"local3\"\nseverity = \"warning\"\n\
                  [spool.s]\nfrom = \"t\"\nfacility = \"local3\"\nseverity = \"=warning\"\n\
                  program = \"shop\"\ndir = \"{dir}/spool\"\n\
                  [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n";
    let mut daemon = start(config);
    let log = daemon.path("logs/a.log");
    append(&log, "one\n<13>two\n\n");
    let counted = |daemon: &Daemon, count: u64| {
        daemon.wait_node("s", |node| node.lines_in - node.not_selected == count);
    };
    counted(&daemon, 3);
    wait_for("the lines in the spool", || (spooled(&daemon).len() == 3).then_some(()));
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    append(&log, "four\n");
    daemon.run();
    wait_for("the fourth", || (spooled(&daemon).len() == 4).then_some(()));
    let lines = spooled(&daemon);
    let heads: Vec<_> =
        lines.iter().map(|line| line.split(" shop - - - ").next().unwrap()).collect();
    assert!(
        heads.iter().all(|head| head.starts_with("<156>1 - ") && *head == heads[0]),
        "{lines:?}"
    );
    let texts: Vec<_> =
        lines.iter().map(|line| line.split(" shop - - - ").nth(1).unwrap()).collect();
    assert_eq!(texts, ["one", "<13>two", "", "four"]);
    // The header is a part of the line.
    let short = config.replace("as =", "max_line = \"64B\"\nas =");
    let daemon = start(&short);
    append(&daemon.path("logs/a.log"), &format!("{}\n", "x".repeat(100)));
    wait_for("the line", || spooled(&daemon).first().map(|line| assert_eq!(line.len(), 64)));
}

#[test]
fn a_line_longer_than_memory_is_cut_and_the_next_one_comes() {
    let daemon = start(PLAIN);
    let log = daemon.path("logs/a.log");
    let mut file = File::create(&log).unwrap();
    file.write_all(b"first").unwrap();
    let piece = vec![b'y'; 1 << 20];
    (0..64).for_each(|_| file.write_all(&piece).unwrap());
    file.write_all(b"\nnext\n").unwrap();
    let lines = daemon.wait_lines("out", 2);
    assert_eq!((lines[0].len(), &lines[0][..6], &lines[1][..]), (64 * 1024, "firsty", "next"));
    let node = daemon.node("t");
    assert_eq!(node.input.unwrap().oversize, 1);
    // A hole before a line is no part of it.
    file.set_len(file.metadata().unwrap().len() + (4 << 20)).unwrap();
    append(&log, "behind\n");
    assert_eq!(daemon.wait_lines("out", 3)[2], "behind");
}

#[test]
fn files_that_live_for_a_moment_are_read() {
    let config = PLAIN.replace("*.log", "**/*.log");
    let daemon = start(&config);
    const PODS: usize = 100;
    for pod in 0..PODS {
        let folder = daemon.path("logs").join(format!("pod{pod}/c"));
        fs::create_dir_all(&folder).unwrap();
        append(&folder.join("0.log"), &format!("{pod} 1\n{pod} 2\n"));
        if pod % 10 == 9 {
            std::thread::sleep(Duration::from_millis(100));
            for gone in pod - 9..=pod {
                fs::remove_dir_all(daemon.path("logs").join(format!("pod{gone}"))).unwrap();
            }
        }
    }
    daemon.wait_lines("out", 2 * PODS);
}

#[test]
fn where_nothing_can_be_watched_it_is_said_and_folders_are_listed() {
    let (mut daemon, mut unshare) = (Daemon::prepare(PLAIN), std::process::Command::new("unshare"));
    fs::create_dir(daemon.path("logs")).unwrap();
    let script = "echo 0 > /proc/sys/user/max_inotify_watches && exec \"$@\"";
    let probe = std::process::Command::new("unshare")
        .args(["-U", "-r", "sh", "-c", script, "sh", "true"])
        .output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return skip_here("needs user namespaces");
    }
    unshare.args(["-U", "-r", "sh", "-c", script, "sh", LOGWEIR]);
    daemon.run_by(unshare);
    append(&daemon.path("logs/a.log"), "1\n");
    daemon.wait_lines("out", 1);
    append(&daemon.path("logs/a.log"), "2\n");
    fs::rename(daemon.path("logs/a.log"), daemon.path("logs/a.log.1")).unwrap();
    append(&daemon.path("logs/a.log"), "3\n");
    daemon.wait_lines("out", 3);
    daemon.wait_log("fs.inotify.max_user_watches");
}

#[test]
fn a_circle_and_files_followed_twice_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let check = |config: &str| {
        let path = dir.path().join("c.toml");
        fs::write(&path, config).unwrap();
        let output = run(&["check", "-c", path.to_str().unwrap()], b"");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let circle = "[input.t]\ntail = \"/l/*.log\"\n[output.o]\nfile = \"/l/out.log\"\n";
    let (code, said) = check(circle);
    assert_eq!(code, Some(2));
    assert!(said.contains("they would go round in a circle"), "{said}");
    let (code, said) = check(&circle.replace("[output", "exclude = \"/l/out.log\"\n[output"));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check(
        "[input.t]\ntail = \"/l/*.log\"\n[input.u]\ntail = [\"/m\", \"/l/*.log\"]\n\
         [output.o]\nfile = \"/o\"\n",
    );
    assert_eq!(code, Some(2));
    assert!(said.contains("these files are followed by [input.t]"), "{said}");
    for (pattern, why) in [("l/*.log", "whole path"), ("/l/[a", "without a ]"), ("/l/", "folder")] {
        let (code, said) =
            check(&format!("[input.t]\ntail = \"{pattern}\"\n[output.o]\nfile = \"/o\"\n"));
        assert!(code == Some(2) && said.contains(why), "{said}");
    }
}

/// Writes numbered lines and rotates, by renaming and by copying and truncating in turns.
fn write_and_rotate(log: &Path, done: &AtomicBool) -> u64 {
    let open = || OpenOptions::new().create(true).append(true).open(log).unwrap();
    let (mut file, mut number, mut rotations) = (open(), 0, 0);
    while !done.load(Ordering::Relaxed) {
        for _ in 0..20 {
            for _ in 0..100 {
                file.write_all(format!("line {number}\n").as_bytes()).unwrap();
                number += 1;
            }
            std::thread::sleep(Duration::from_millis(15));
        }
        rotations += 1;
        let rotated = log.with_extension(format!("log-{rotations:05}"));
        if rotations % 2 == 0 {
            fs::rename(log, rotated).unwrap();
            file = open();
        } else {
            fs::copy(log, rotated).unwrap();
            file.set_len(0).unwrap();
        }
    }
    number
}

#[test]
fn a_daemon_that_is_killed_again_and_again_has_every_line_once_in_its_spool() {
    let kills = std::env::var("LOGWEIR_TEST_KILLS").ok().and_then(|kills| kills.parse().ok());
    let mut daemon = start(SPOOLED);
    let (log, done) = (daemon.path("logs/app.log"), Arc::new(AtomicBool::new(false)));
    append(&log, "first\n");
    daemon.wait_node("s", |node| node.lines_out >= 1);
    let ends = Arc::clone(&done);
    let writer = std::thread::spawn(move || write_and_rotate(&log, &ends));
    let mut random = fastrand::Rng::new();
    for _ in 0..kills.unwrap_or(10) {
        std::thread::sleep(Duration::from_millis(random.u64(50..600)));
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        std::thread::sleep(Duration::from_millis(random.u64(0..400)));
        daemon.run();
    }
    done.store(true, Ordering::Relaxed);
    let written = writer.join().unwrap();
    let mut want: Vec<_> = (0..written).map(|number| format!("line {number}")).collect();
    want.push("first".into());
    wait_for("all lines", || (spooled(&daemon).len() >= want.len()).then_some(()));
    // What comes twice would come now.
    daemon.stop();
    let mut got = spooled(&daemon);
    got.sort();
    want.sort();
    let lost: Vec<_> = want.iter().filter(|line| got.binary_search(line).is_err()).collect();
    let twice: Vec<_> = got.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(lost.is_empty() && twice.is_empty(), "lost {lost:?}, twice {twice:?}");
    assert_eq!(got.len(), want.len());
}

#[test]
fn a_rotated_file_that_gets_its_name_back_is_not_read_again() {
    let daemon = start(SPOOLED);
    let (log, rotated) = (daemon.path("logs/app.log"), daemon.path("logs/app.log.1"));
    append(&log, "1\n2\n");
    wait_for("the lines", || (spooled(&daemon).len() == 2).then_some(()));
    fs::rename(&log, &rotated).unwrap();
    append(&log, "3\n");
    wait_for("the next", || (spooled(&daemon).len() == 3).then_some(()));
    wait_for("it to be let go", || (open_names(&daemon, "app.log.1") == 0).then_some(()));
    // As kubelet does it where the runtime does not open the new one.
    fs::rename(&rotated, &log).unwrap();
    append(&log, "4\n");
    wait_for("the last", || spooled(&daemon).contains(&"4".to_string()).then_some(()));
    assert_eq!(spooled(&daemon), ["1", "2", "3", "4"]);
}

#[test]
fn compressed_files_are_said_and_counted_at_the_very_first_start_and_not_again() {
    let config = PLAIN.replace("*.log", "*.log*");
    let mut daemon = Daemon::start_with(&config, |dir| {
        let log = dir.join("logs");
        fs::create_dir(&log).unwrap();
        append(&log.join("a.log"), "1\n");
        append(&log.join("a.log.2.gz"), "x");
        append(&log.join("a.log.3.zst"), "x");
    });
    daemon.wait_lines("out", 1);
    daemon.wait_node("t", |node| node.input.unwrap().unread == 2);
    daemon.wait_log("2 compressed files are there, as");
    // One that comes later, whose plain form was never there.
    append(&daemon.path("logs/b.log.gz"), "x");
    daemon.wait_node("t", |node| node.input.unwrap().unread == 3);
    wait_for("the position to be written down", || daemon.path("positions").exists().then_some(()));
    daemon.stop();
    daemon.run();
    append(&daemon.path("logs/a.log"), "2\n");
    daemon.wait_lines("out", 2);
    assert_eq!(daemon.node("t").input.unwrap().unread, 0, "they are no news");
    assert_eq!(daemon.log().matches("compressed files are there").count(), 1);
}

#[test]
fn positions_are_kept_in_the_state_folder_by_default() {
    let config = format!(
        "state = \"{{dir}}/state\"\n#daemon\n{}",
        PLAIN.replace("positions = \"{dir}/positions\"\n", "")
    );
    let mut daemon = Daemon::start_with(&config, |dir| {
        fs::create_dir(dir.join("logs")).unwrap();
        fs::create_dir(dir.join("state")).unwrap();
    });
    append(&daemon.path("logs/a.log"), "1\n");
    daemon.wait_lines("out", 1);
    daemon.stop();
    let kept = fs::read_to_string(daemon.path("state/t.positions")).unwrap();
    assert!(kept.lines().nth(1).unwrap().ends_with(" 2"), "{kept}");
    daemon.run();
    append(&daemon.path("logs/a.log"), "2\n");
    assert_eq!(daemon.wait_lines("out", 2), ["1", "2"]);
}

#[test]
fn a_folder_without_permission_is_said_and_read_once_there_is_one() {
    use std::os::unix::fs::PermissionsExt;
    let allow = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let config = PLAIN.replace("*.log", "**/*.log");
    let mut daemon = Daemon::prepare(&config);
    let (open, closed) = (daemon.path("logs/open"), daemon.path("logs/closed"));
    for folder in [&open, &closed] {
        fs::create_dir_all(folder).unwrap();
    }
    append(&open.join("a.log"), "1\n");
    append(&closed.join("b.log"), "2\n");
    allow(daemon.dir.path(), 0o777);
    allow(&closed, 0o000);
    // Root may read everything, so another user does.
    let mut command = match nix::unistd::Uid::effective().is_root() {
        true => {
            let mut command = std::process::Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", LOGWEIR]);
            command
        }
        false => std::process::Command::new(LOGWEIR),
    };
    command.env("HOME", "/");
    daemon.run_by(command);
    daemon.wait_lines("out", 1);
    let node = daemon.wait_node("t", |node| node.error.is_some());
    let error = node.error.unwrap();
    assert!(error.contains("logs/closed") && error.contains("Permission denied"), "{error}");
    allow(&closed, 0o755);
    assert_eq!(daemon.wait_lines("out", 2), ["1", "2"]);
    daemon.wait_node("t", |node| node.error.is_none());
}

#[test]
fn a_reload_that_changes_the_patterns_keeps_the_positions() {
    let config = |patterns: &str| {
        format!(
            "[input.t]\ntail = {patterns}\npositions = \"{{dir}}/positions\"\n\
             [spool.s]\nfrom = \"t\"\ndir = \"{{dir}}/spool\"\n\
             [output.f]\nfrom = \"t\"\nfile = \"{{dir}}/out\"\n\
             [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
        )
    };
    let both = "[\"{dir}/logs/a.log\", \"{dir}/logs/b.log\"]";
    let daemon = start(&config("\"{dir}/logs/a.log\""));
    let (a, b) = (daemon.path("logs/a.log"), daemon.path("logs/b.log"));
    append(&a, "a1\n");
    append(&b, "b1\n");
    daemon.wait_lines("out", 1);
    for (patterns, count) in [(both, 3), ("\"{dir}/logs/a.log\"", 4), (both, 6)] {
        daemon.write_config(&config(patterns));
        assert!(daemon.ctl("reload").status.success());
        append(&a, &format!("a{count}\n"));
        if count == 4 {
            append(&b, "b meanwhile\n");
        }
        daemon.wait_lines("out", count);
    }
    let mut lines = daemon.lines("out");
    lines.sort();
    assert_eq!(lines, ["a1", "a3", "a4", "a6", "b meanwhile", "b1"]);
    let mut stored = spooled(&daemon);
    stored.sort();
    assert_eq!(stored, lines, "once, also into the spool");
}
