//! Output files: full disks, rotation, compression.

use std::path::PathBuf;
use std::process::Command;

use crate::flow::flood;
use crate::util::{Daemon, LOGWEIR, free_port, numbered, skip_here, wait_for};

#[test]
fn a_full_disk_is_counted_retried_and_harms_nobody() {
    // /dev/full takes nothing, with ENOSPC, for ever.
    let mut daemon = Daemon::start(
        "[output.full]\nfrom = \"in\"\nfile = \"/dev/full\"\nqueue = \"4KiB\"\n\
         [output.fine]\nfrom = \"in\"\nfile = \"{dir}/fine\"\n",
    );
    daemon.send_numbered(0, 3000);
    assert_eq!(daemon.wait_lines("fine", 3000), numbered(0, 3000));
    let full = daemon.wait_node("full", |node| node.lines_in == 3000);
    assert!(full.dropped["disk_error"] > 0, "{full:?}");
    assert!(full.error.unwrap().contains("No space left"));
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("/dev/full: No space left on device"), "{log}");
    assert!(!log.contains("BALANCE"), "{log}");
}

#[test]
fn lines_wait_until_a_folder_can_be_written_again() {
    let daemon = Daemon::start_with(
        "[output.late]\nfrom = \"in\"\nfile = \"{dir}/blocked/late\"\n",
        |dir| std::fs::write(dir.join("blocked"), "a file where a folder must be").unwrap(),
    );
    daemon.send_numbered(0, 100);
    daemon.wait_node("late", |node| node.error.is_some());
    std::fs::remove_file(daemon.path("blocked")).unwrap();
    assert_eq!(daemon.wait_lines("blocked/late", 100), numbered(0, 100));
    daemon.wait_log("late: writing again");
}

#[test]
fn a_file_that_is_removed_from_a_full_disk_makes_room() {
    let mut daemon = Daemon::prepare(
        "[output.plain]\nfrom = \"in\"\nfile = \"{dir}/plain/log\"\n\
         [output.exact]\nfrom = \"in\"\nfile = \"{dir}/exact/log\"\n\
         spool = { dir = \"{dir}/spool\" }\n",
    );
    for name in ["plain", "exact"] {
        std::fs::create_dir(daemon.path(name)).unwrap();
    }
    let small = "for disk in plain exact; do mount -t tmpfs -o size=128k none $disk || exit; done";
    if !daemon.run_mounted(small) {
        return;
    }
    daemon.send_numbered(0, 20_000);
    // As whoever is called at night sees and does it: the mount is the daemon's alone.
    let inside = |name: &str| {
        let there = PathBuf::from(format!("/proc/{}/root", daemon.pid()));
        there.join(daemon.path(name).join("log").strip_prefix("/").unwrap())
    };
    let lines = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(inside(name)).unwrap_or_default();
        text.lines().map(str::to_string).collect()
    };
    let mut taken = Vec::new();
    for name in ["plain", "exact"] {
        daemon.wait_node(name, |node| node.error.is_some());
        taken.push((name, lines(name)));
    }
    for name in ["plain", "exact"] {
        std::fs::remove_file(inside(name)).unwrap();
    }
    for (name, mut all) in taken {
        wait_for(&format!("the rest of {name}"), || {
            (all.len() + lines(name).len() >= 20_000).then_some(())
        });
        all.extend(lines(name));
        assert_eq!(all, numbered(0, 20_000), "{name}");
    }
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(!log.contains("BALANCE"), "{log}");
}

#[test]
fn rotation_by_size_keeps_every_line_and_compresses_the_rotated_files() {
    let mut daemon = Daemon::start(
        "[output.all]\nfrom = \"in\"\nfile = \"{dir}/logs/all\"\nrotate = \"4KiB\"\n\
         compress = \"zstd\"\n",
    );
    daemon.send_numbered(0, 3000);
    daemon.wait_node("all", |node| node.lines_out == 3000);
    daemon.stop();
    let mut names: Vec<_> = std::fs::read_dir(daemon.path("logs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_by_key(|name| name.strip_suffix(".zst").unwrap_or(name).to_string());
    assert_eq!(names[0], "all");
    assert!(names.len() > 5 && names[1..].iter().all(|name| name.ends_with(".zst")), "{names:?}");
    let mut all = String::new();
    for name in names[1..].iter().chain(&names[..1]) {
        let bytes = std::fs::read(daemon.path("logs").join(name)).unwrap();
        let plain =
            if name.ends_with(".zst") { zstd::decode_all(&bytes[..]).unwrap() } else { bytes };
        assert!(plain.len() <= 4096);
        all.push_str(std::str::from_utf8(&plain).unwrap());
    }
    assert_eq!(all.lines().collect::<Vec<_>>(), numbered(0, 3000));
}

#[test]
fn mode_and_append_are_as_the_user_says() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start_with(
        "[output.new]\nfrom = \"in\"\nfile = \"{dir}/new\"\nmode = \"0600\"\n\
         [output.old]\nfrom = \"in\"\nfile = \"{dir}/old\"\n",
        |dir| std::fs::write(dir.join("old"), "from before\n").unwrap(),
    );
    daemon.send(b"a line\n");
    assert_eq!(daemon.wait_lines("old", 2), ["from before", "a line"]);
    daemon.wait_lines("new", 1);
    let mode = daemon.path("new").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_stalled_standard_output_costs_no_file_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let text = format!(
        "[daemon]\ncontrol = {:?}\ngrace = \"100ms\"\n[input.in]\nstdin = true\n\
         [output.out]\nstdout = true\nqueue = \"4KiB\"\n[output.file]\nfile = \"{}\"\n",
        path("control.sock"),
        path("file").display(),
    );
    std::fs::write(path("c.toml"), text).unwrap();
    let mut child = Command::new(LOGWEIR)
        .args(["run", "-c"])
        .arg(path("c.toml"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let input: String = numbered(0, 50_000).iter().map(|line| format!("{line}\n")).collect();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    // Nobody reads the standard output: its 64 KiB pipe fills up and stays so.
    let status = wait_for("the daemon to end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(path("file")).unwrap(), input);
}

#[test]
fn a_stalled_file_costs_no_other_file_a_line() {
    // A terminal whose other end nobody reads takes a few kilobytes and then stalls for good.
    let terminal = nix::pty::openpty(None, None).unwrap();
    let name = nix::unistd::ttyname(&terminal.slave).unwrap();
    let mut daemon = Daemon::start(&format!(
        "grace = \"200ms\"\n#daemon\n[output.stalled]\nfrom = \"in\"\nfile = {name:?}\n\
         queue = \"4KiB\"\n\
         [output.fine]\nfrom = \"in\"\nfile = \"{{dir}}/fine\"\n"
    ));
    daemon.send_numbered(0, 20_000);
    assert_eq!(daemon.wait_lines("fine", 20_000), numbered(0, 20_000));
    let stalled = daemon.wait_node("stalled", |node| node.lines_in == 20_000);
    assert!(stalled.dropped["queue_full"] > 10_000, "{stalled:?}");
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0), "{log}");
}

fn message(app: &str, text: &str) -> Vec<u8> {
    format!("<13>1 - h {app} - - - {text}\n").into_bytes()
}

#[test]
fn files_of_more_hosts_than_there_are_descriptors_get_all_their_lines() {
    let outputs: String = (0..5)
        .map(|n| format!("[output.o{n}]\nfrom = \"in\"\nfile = \"{{dir}}/o{n}/{{app}}\"\n"))
        .collect();
    let pipe = "[output.p]\nfrom = \"in\"\npipe = \"ulimit -Sn >{dir}/limit; cat >/dev/null\"\n";
    let mut daemon = Daemon::prepare(&(outputs + pipe));
    daemon.run_behind("ulimit -Sn 64; ulimit -Hn 128");
    for number in 0..400 {
        daemon.send(&message(&format!("app{}", number % 200), &number.to_string()));
        if number % 100 == 99 {
            daemon.wait_node("o0", |node| node.lines_out > number);
        }
    }
    for n in 0..5 {
        daemon.wait_node(&format!("o{n}"), |node| node.lines_out == 400 && node.error.is_none());
        let files = std::fs::read_dir(daemon.path(&format!("o{n}"))).unwrap();
        assert_eq!(files.count(), 200);
        assert_eq!(daemon.lines(&format!("o{n}/app7")).len(), 2);
    }
    // Children have the limit that the daemon was started with.
    assert_eq!(daemon.wait_lines("limit", 1), ["64"]);
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn a_file_that_reaches_the_largest_size_costs_no_other_a_line() {
    let mut daemon = Daemon::prepare(
        "[output.one]\nfrom = \"in\"\nfile = \"{dir}/one\"\n\
         [output.by]\nfrom = \"in\"\nfile = \"{dir}/by/{app}\"\n\
         [output.few]\nfrom = \"in\"\napp = \"small\"\nfile = \"{dir}/few\"\n",
    );
    // 32 KiB, and no signal for whoever writes more.
    daemon.run_behind("trap '' XFSZ; ulimit -f 64");
    let text = "x".repeat(1000);
    for number in 0..100 {
        daemon.send(&message("large", &text));
        daemon.send(&message("small", &number.to_string()));
        daemon.wait_node("by", |node| node.lines_in == 2 * number + 2);
    }
    let by = daemon.wait_node("by", |node| node.queued == 0);
    assert_eq!(by.dropped["disk_error"] + by.lines_out, 200);
    assert!(by.dropped["disk_error"] >= 60 && by.error.is_none(), "{by:?}");
    assert_eq!(daemon.wait_lines("by/small", 100).len(), 100);
    assert_eq!(daemon.wait_lines("few", 100).len(), 100);
    let one = daemon.wait_node("one", |node| node.error.is_some());
    assert!(one.error.unwrap().contains("File too large"));
    for name in ["one", "by/large"] {
        let text = std::fs::read_to_string(daemon.path(name)).unwrap();
        assert!(text.ends_with('\n') && text.len() > 30_000, "{name}");
    }
}

#[test]
fn names_tell_the_time_of_the_zone_and_folders_have_their_mode() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start(
        "[output.o]\nfrom = \"in\"\nfile = \"{dir}/logs/%z/{app}\"\ntime_zone = \"Etc/GMT-5\"\n\
         dir_mode = \"2751\"\nmode = \"0606\"\n",
    );
    daemon.send(&message("a", "x"));
    daemon.wait_lines("logs/+0500/a", 1);
    let mode = |name: &str| daemon.path(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("logs"), mode("logs/+0500")), (0o2751, 0o2751));
    assert_eq!(mode("logs/+0500/a"), 0o606);
}

/// A small disk of its own in a file, which can be frozen: what is written then waits.
pub struct Disk {
    folder: tempfile::TempDir,
}

/// Thaws it when dropped, before the daemon is waited for.
struct Frozen<'d>(&'d Disk);

impl Disk {
    pub fn new() -> Option<Self> {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        let image = disk.path("image");
        std::fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
        std::fs::create_dir(disk.path("mounted")).unwrap();
        let mounted = run_as_root("mkfs.ext4", &["-q", &image])
            && run_as_root("mount", &["-o", "loop", &image, &disk.path("mounted")]);
        if !mounted {
            skip_here("only root can mount a file (mkfs.ext4, mount -o loop)");
        }
        mounted.then_some(disk)
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn freeze(&self) -> Frozen<'_> {
        assert!(run_as_root("fsfreeze", &["-f", &self.path("mounted")]));
        Frozen(self)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        run_as_root("fsfreeze", &["-u", &self.0.path("mounted")]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run_as_root("umount", &["-l", &self.path("mounted")]);
    }
}

fn run_as_root(command: &str, args: &[&str]) -> bool {
    let output = Command::new(command).args(args).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn a_disk_that_hangs_costs_no_other_input_a_line_and_what_waited_is_written() {
    let Some(disk) = Disk::new() else { return };
    let other = free_port();
    let mut daemon = Daemon::start(&format!(
        "[output.all]\nfrom = \"in\"\nfile = {:?}\n\
         [input.other]\nudp = \"127.0.0.1:{other}\"\n\
         [output.fine]\nfrom = \"other\"\nfile = \"{{dir}}/fine\"\n",
        disk.path("mounted/all")
    ));
    // Now its receiver writes as well.
    flood(&daemon, 0..500);
    daemon.wait_node("all", |node| node.lines_out > 0 && node.queued == 0);
    let frozen = disk.freeze();
    flood(&daemon, 500..1500);
    daemon.wait_node("all", |node| node.queued > 0);
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(("127.0.0.1", other)).unwrap();
    for number in 0..1000 {
        sender.send(format!("line {number}\n").as_bytes()).unwrap();
        if number % 100 == 99 {
            daemon.wait_node("fine", |node| node.lines_out + 100 > number);
        }
    }
    assert_eq!(daemon.wait_lines("fine", 1000), numbered(0, 1000));
    drop(frozen);
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    let all = std::fs::read_to_string(disk.path("mounted/all")).unwrap();
    let lines: Vec<u64> = all.lines().map(|line| line.parse().unwrap()).collect();
    assert!(lines.is_sorted_by(|one, next| one < next), "out of order or twice");
    let said = format!("ledger: output all: in {0} out {0} not_selected 0 queued 0", lines.len());
    assert!(log.contains(&said), "{said}: {log}");
}
