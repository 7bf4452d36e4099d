//! What is not as it should be in the folders of followed files: each is refused or counted, said
//! with what to do, and keeps nothing else from being read.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::util::{Daemon, LOGWEIR, skip_here, wait_for};

use super::{PLAIN, append, start};

#[test]
fn a_pattern_that_matches_nothing_waits_for_its_folder_and_its_files() {
    let daemon = Daemon::start(&PLAIN.replace("logs/*.log", "logs/deep/er/*.log"));
    let folder = daemon.path("logs/deep/er");
    fs::create_dir_all(&folder).unwrap();
    append(&folder.join("a.log"), "1\n");
    daemon.wait_lines("out", 1);
    // And again, once all of it is gone.
    fs::remove_dir_all(daemon.path("logs")).unwrap();
    fs::create_dir_all(&folder).unwrap();
    append(&folder.join("a.log"), "2\n");
    assert_eq!(daemon.wait_lines("out", 2), ["1", "2"]);
}

#[test]
fn a_file_may_become_a_folder_and_a_folder_a_file() {
    let daemon = start(PLAIN);
    let (log, next) = (daemon.path("logs/a.log"), daemon.path("logs/b.log"));
    append(&log, "1\n");
    daemon.wait_lines("out", 1);
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    append(&log.join("inner.log"), "not meant\n");
    append(&next, "2\n");
    daemon.wait_lines("out", 2);
    fs::remove_dir_all(&log).unwrap();
    append(&log, "3\n");
    assert_eq!(daemon.wait_lines("out", 3), ["1", "2", "3"]);
}

#[test]
fn devices_and_sockets_in_a_pattern_are_said_and_never_opened() {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let daemon = start(PLAIN);
    let _socket = std::os::unix::net::UnixListener::bind(daemon.path("logs/s.log")).unwrap();
    daemon.wait_log("s.log\" is a socket, and not followed");
    // Where a device cannot be made, a link to one is as good.
    let device = daemon.path("logs/d.log");
    if mknod(&device, SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 5)).is_err() {
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
    }
    daemon.wait_log("d.log\" is a device, and not followed");
    append(&daemon.path("logs/a.log"), "1\n");
    assert_eq!(daemon.wait_lines("out", 1), ["1"]);
}

#[test]
fn a_line_far_longer_than_any_memory_is_cut_and_counted() {
    const LENGTH: u64 = 1 << 30;
    let daemon = start(PLAIN);
    // Somewhere else first, so that it is there as a whole.
    let path = daemon.path("line");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"begins").unwrap();
    file.seek(SeekFrom::Start(LENGTH)).unwrap();
    file.write_all(b"\nnext\n").unwrap();
    fs::rename(&path, daemon.path("logs/a.log")).unwrap();
    let lines = daemon.wait_lines("out", 2);
    assert_eq!((lines[0].len(), &lines[0][..6], &lines[1][..]), (64 * 1024, "begins", "next"));
    assert_eq!(daemon.node("t").input.unwrap().oversize, 1);
    let most = peak_mib(&daemon);
    assert!(most < 64, "{most} MiB");
}

/// The most memory a daemon ever had.
fn peak_mib(daemon: &Daemon) -> u64 {
    super::memory_kib(daemon, "VmHWM:") / 1024
}

#[test]
fn positions_of_another_host_are_used_and_said() {
    let mut daemon = start(PLAIN);
    append(&daemon.path("logs/a.log"), "1\n2\n");
    daemon.wait_lines("out", 2);
    daemon.stop();
    let positions = daemon.path("positions");
    let text = fs::read_to_string(&positions).unwrap();
    let (body, _) = text.trim_end().rsplit_once('\n').unwrap();
    let host = body.lines().next().unwrap().rsplit(' ').next().unwrap();
    let body = body.replacen(host, "0123456789abcdef", 1) + "\n";
    fs::write(&positions, format!("{body}{:08x}\n", crc32c::crc32c(body.as_bytes()))).unwrap();
    append(&daemon.path("logs/a.log"), "3\n");
    append(&daemon.path("logs/b.log"), "4\n");
    daemon.run();
    daemon.wait_log("was written on another host");
    // What is known of a file that is here holds; the other is read from its beginning.
    let mut lines = daemon.wait_lines("out", 4);
    lines.sort();
    assert_eq!(lines, ["1", "2", "3", "4"]);
}

#[test]
fn positions_that_cannot_be_written_are_said_and_lines_flow() {
    let config = PLAIN.replace("{dir}/positions", "{dir}/absent/positions");
    let daemon = start(&config);
    append(&daemon.path("logs/a.log"), "1\n");
    daemon.wait_log("No such file or directory");
    daemon.wait_log("after a restart lines may come twice (`positions` names another file)");
    append(&daemon.path("logs/a.log"), "2\n");
    daemon.wait_lines("out", 2);
    // Once it can be written, it is.
    fs::create_dir(daemon.path("absent")).unwrap();
    append(&daemon.path("logs/a.log"), "3\n");
    daemon.wait_log("is written again");
    assert!(daemon.path("absent/positions").exists());
}

/// Runs the daemon with a sysctl of a user namespace of its own set to zero; `None` where there
/// are none.
fn run_without(sysctl: &str, daemon: &mut Daemon) -> Option<()> {
    let script = format!("echo 0 > /proc/sys/user/{sysctl} && exec \"$@\"");
    let unshare = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["-U", "-r", "sh", "-c", &script, "sh", program]);
        command
    };
    if !unshare("true").output().is_ok_and(|output| output.status.success()) {
        skip_here("needs user namespaces");
        return None;
    }
    daemon.run_by(unshare(LOGWEIR));
    Some(())
}

#[test]
fn without_inotify_the_sysctl_is_named_and_folders_are_listed() {
    let mut daemon = Daemon::prepare(PLAIN);
    fs::create_dir(daemon.path("logs")).unwrap();
    if run_without("max_inotify_instances", &mut daemon).is_none() {
        return;
    }
    daemon.wait_log("fs.inotify.max_user_instances");
    let log = daemon.path("logs/a.log");
    append(&log, "1\n");
    daemon.wait_lines("out", 1);
    append(&log, "2\n");
    fs::rename(&log, daemon.path("logs/a.log.1")).unwrap();
    append(&log, "3\n");
    assert_eq!(daemon.wait_lines("out", 3), ["1", "2", "3"]);
}

#[test]
fn an_inode_that_is_used_again_is_another_file() {
    let daemon = start(PLAIN);
    let log = daemon.path("logs/a.log");
    let mut same = 0;
    let mut before = None;
    for number in 0..20 {
        // Each begins alike, so that nothing but its birth tells it from the one before.
        append(&log, &format!("begin\n{number}\n"));
        use std::os::unix::fs::MetadataExt;
        let inode = fs::metadata(&log).unwrap().ino();
        same += u32::from(before.replace(inode) == Some(inode));
        daemon.wait_lines("out", 2 * (number + 1));
        fs::remove_file(&log).unwrap();
        let open = || super::open_names(&daemon, "a.log");
        wait_for("it to be let go", || (open() == 0).then_some(()));
    }
    println!("{same} of 19 had the inode of the one before");
    let lines = daemon.lines("out");
    assert_eq!(lines.iter().filter(|line| *line == "begin").count(), 20);
}

/// Stops a process for as long as this lives.
struct Stopped(i32);

impl Stopped {
    fn new(daemon: &Daemon) -> Self {
        let pid = daemon.pid();
        kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        kill(Pid::from_raw(self.0), Signal::SIGCONT).unwrap();
    }
}

#[test]
fn more_changes_than_inotify_can_tell_of_are_counted_and_cost_no_line() {
    const QUEUE: &str = "/proc/sys/fs/inotify/max_queued_events";
    let queue: usize = fs::read_to_string(QUEUE).unwrap().trim().parse().unwrap();
    let daemon = start(&PLAIN.replace("*.log", "**/*.log"));
    let (a, b) = (daemon.path("logs/a.log"), daemon.path("logs/b.log"));
    append(&a, "a first\n");
    append(&b, "b first\n");
    daemon.wait_lines("out", 2);
    let stopped = Stopped::new(&daemon);
    // Writes to one file after the other are an event each.
    let open = |path| File::options().append(true).open(path).unwrap();
    let mut files = [open(&a), open(&b)];
    let lines = queue + 100;
    for number in 0..lines {
        files[number % 2].write_all(format!("{number}\n").as_bytes()).unwrap();
    }
    // Of this nothing is told any more: a rotation, a new file in a new folder, and one that goes.
    fs::rename(&a, daemon.path("logs/a.log.1")).unwrap();
    append(&a, "a new\n");
    fs::create_dir(daemon.path("logs/deep")).unwrap();
    append(&daemon.path("logs/deep/c.log"), "c first\n");
    fs::remove_file(&b).unwrap();
    files[1].write_all(b"b last\n").unwrap();
    drop(files);
    drop(stopped);
    let mut got = daemon.wait_lines("out", 2 + lines + 3);
    got.sort();
    let mut want: Vec<_> = (0..lines).map(|number| number.to_string()).collect();
    want.extend(["a first", "b first", "a new", "c first", "b last"].map(String::from));
    want.sort();
    assert_eq!(got, want);
    let overflows = daemon.node("t").input.unwrap().overflows;
    assert!(overflows >= 1, "{overflows}");
    daemon.wait_log("more files changed than inotify could tell of");
    // What was found by looking is followed like the others.
    append(&daemon.path("logs/deep/c.log"), "c next\n");
    assert_eq!(daemon.wait_lines("out", lines + 6).last().unwrap(), "c next");
}

#[test]
fn files_on_a_disk_that_is_full_or_read_only_are_read() {
    let mut daemon = Daemon::prepare(PLAIN);
    fs::create_dir(daemon.path("logs")).unwrap();
    // The line that the disk has no room for any more is a part of one.
    let full = "mount -t tmpfs -o size=64k none logs && \
                { seq 100000 > logs/a.log 2>/dev/null; mount -o remount,ro logs; }";
    if !daemon.run_mounted(full) {
        return;
    }
    // A tmpfs of 64 KiB holds 65,536 bytes: the numbers up to this one, and "130" of the next.
    let whole = 65_536 - 9 * 2 - 90 * 3 - 900 * 4 - 9000 * 5;
    let lines = daemon.wait_lines("out", 9999 + whole / 6);
    let want: Vec<_> = (1..=lines.len()).map(|number| number.to_string()).collect();
    assert_eq!(lines, want);
    assert_eq!(daemon.node("t").lines_in, (9999 + whole / 6) as u64);
    assert!(daemon.node("t").error.is_none());
}
