//! What is not as it should be in the folders of followed files: each is refused or counted, said
//! with what to do, and keeps nothing else from being read.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::process::Command;

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
    const LENGTH: u64 = 256 << 20;
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
