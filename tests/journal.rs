//! The system's journal is read from the entry that was stored last. A journald of the test's own
//! runs in a namespace, or systemd-journal-remote writes journals from text.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::util::{Daemon, run, skip_here, skip_missing, wait_for};

const CONFIG: &str = "[input.j]\njournal = { directory = \"{dir}/run/log/journal\" }\n\
                      [spool.s]\nfrom = \"j\"\ndir = \"{dir}/spool\"\n\
                      [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n";

/// A journald whose /run is a folder of the test.
struct Journald {
    child: Child,
    run: PathBuf,
}

impl Journald {
    /// `None` where there is none, or no namespaces.
    fn start(run: &Path) -> Option<Self> {
        Self::start_in_boot(run, None)
    }

    /// The same in another boot, where there is one.
    fn start_in_boot(run: &Path, boot: Option<&str>) -> Option<Self> {
        let program = ["/lib/systemd/systemd-journald", "/usr/lib/systemd/systemd-journald"];
        let Some(program) = program.into_iter().find(|path| Path::new(path).exists()) else {
            skip_missing("systemd-journald");
            return None;
        };
        if Command::new("journalctl").arg("--version").output().is_err() {
            skip_missing("journalctl");
            return None;
        }
        if !nix::unistd::geteuid().is_root() {
            skip_here("needs root");
            return None;
        }
        for folder in ["systemd/journal", "log/journal"] {
            fs::create_dir_all(run.join(folder)).unwrap();
        }
        let conf = run.join("journald.conf");
        // However full the disk is.
        let text = "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n\
                    RuntimeMaxUse=256M\nRuntimeKeepFree=1\n";
        fs::write(&conf, text).unwrap();
        fs::write(run.join("boot_id"), boot.unwrap_or_default()).unwrap();
        let script = "mount --bind \"$1\" /run && \
                      { mkdir -p /etc/systemd; touch /etc/systemd/journald.conf; \
                      mount --bind /run/journald.conf /etc/systemd/journald.conf; } && \
                      { test ! -s /run/boot_id || \
                      mount --bind /run/boot_id /proc/sys/kernel/random/boot_id; } && exec \"$2\"";
        let child = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", script, "sh"])
            .arg(run)
            .arg(program)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let journald = Self { child, run: run.to_path_buf() };
        wait_for("journald", || journald.socket().exists().then_some(()));
        Some(journald)
    }

    fn socket(&self) -> PathBuf {
        self.run.join("systemd/journal/socket")
    }

    fn send(&self, fields: &[(&str, &[u8])]) {
        let mut message = Vec::new();
        for (name, value) in fields {
            message.write_all(name.as_bytes()).unwrap();
            message.push(b'\n');
            message.extend_from_slice(&(value.len() as u64).to_le_bytes());
            message.extend_from_slice(value);
            message.push(b'\n');
        }
        let socket = UnixDatagram::unbound().unwrap();
        wait_for("journald to take it", || socket.send_to(&message, self.socket()).ok());
    }

    fn send_numbered(&self, from: usize, to: usize) {
        for number in from..to {
            let text = format!("entry {number}");
            self.send(&[
                ("MESSAGE", text.as_bytes()),
                ("PRIORITY", b"4"),
                ("SYSLOG_IDENTIFIER", b"test"),
            ]);
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn rotate(&self) {
        self.signal(Signal::SIGUSR2);
    }

    /// The journal's folder.
    fn folder(&self) -> PathBuf {
        self.run.join("log/journal")
    }

    /// The files of rotated journals.
    fn rotated(&self) -> Vec<PathBuf> {
        let mut files = self.files();
        files.retain(|path| path.to_string_lossy().contains('@'));
        files
    }

    /// The files of the journal.
    fn files(&self) -> Vec<PathBuf> {
        let machines = fs::read_dir(self.folder()).unwrap();
        let files = machines.flat_map(|machine| fs::read_dir(machine.unwrap().path()).unwrap());
        files.map(|file| file.unwrap().path()).collect()
    }

    /// Waits until so many of the test's own entries are in the journal.
    fn wait_has(&self, count: usize) {
        wait_for("the journal to have them", || {
            let text = entries(&self.folder(), &["SYSLOG_IDENTIFIER=test"]);
            (text.matches("\n\n").count() >= count).then_some(())
        });
    }

    /// Ends it, once it has written what it was sent.
    fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap();
        let _ = fs::remove_file(self.socket());
    }
}

/// The entries of the journals in a folder, in the export format, without their data.
fn entries(folder: &Path, matches: &[&str]) -> String {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--output=export", "--output-fields=_BOOT_ID"]);
    let output = command.arg("--directory").arg(folder).args(matches).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The numbers of the entries.
fn numbers(text: &str) -> Vec<u64> {
    let number = |cursor: &str| {
        let number = cursor.split(';').find_map(|part| part.strip_prefix("i=")).unwrap();
        u64::from_str_radix(number, 16).unwrap()
    };
    text.lines().filter_map(|line| line.strip_prefix("__CURSOR=")).map(number).collect()
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The texts of the test's own entries in the spool.
fn texts(daemon: &Daemon) -> Vec<String> {
    let dir = daemon.path("spool");
    let output = run(&["spool", "cat", dir.to_str().unwrap()], b"");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let own = lines.lines().filter(|line| line.contains(" test "));
    own.map(|line| line.split_once("] ").unwrap().1.to_string()).collect()
}

fn wait_texts(daemon: &Daemon, count: usize) -> Vec<String> {
    wait_for(&format!("{count} entries"), || {
        let texts = texts(daemon);
        (texts.len() >= count).then_some(texts)
    })
}

#[test]
fn entries_go_into_a_spool_once_through_rotation_and_kills() {
    let mut daemon = Daemon::prepare(CONFIG);
    let Some(journald) = Journald::start(&daemon.path("run")) else { return };
    journald.send_numbered(0, 100);
    daemon.run();
    wait_texts(&daemon, 100);
    for round in 1..4 {
        journald.send_numbered(100 * round, 100 * round + 50);
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        journald.rotate();
        journald.send_numbered(100 * round + 50, 100 * (round + 1));
        daemon.run();
        wait_texts(&daemon, 100 * (round + 1));
    }
    journald.send(&[
        ("MESSAGE", b"two\nlines \xff"),
        ("PRIORITY", b"3"),
        ("SYSLOG_FACILITY", b"10"),
        ("SYSLOG_IDENTIFIER", b"test"),
    ]);
    let got = wait_texts(&daemon, 401);
    let want: Vec<_> = (0..400).map(|number| format!("entry {number}")).collect();
    assert_eq!(got[..400], want);
    assert_eq!(got[400], "two#012lines \u{fffd}");
    assert_eq!(got.len(), 401);
    assert_eq!(daemon.node("j").input.unwrap().sequence_lost, 0);
}

#[test]
fn without_journalctl_it_is_said_and_tried_again() {
    let mut daemon = Daemon::prepare(CONFIG);
    let mut command = Command::new(crate::util::LOGWEIR);
    command.env("PATH", "/nowhere");
    daemon.run_by(command);
    daemon.wait_log("journalctl: No such file or directory");
}

/// All lines of the spool, the test's own and those of journald.
fn all_lines(daemon: &Daemon) -> String {
    let dir = daemon.path("spool");
    let output = run(&["spool", "cat", dir.to_str().unwrap()], b"");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn entries_that_were_removed_before_they_were_read_are_counted_and_no_others_are_missing() {
    let mut daemon = Daemon::prepare(CONFIG);
    let Some(journald) = Journald::start(&daemon.path("run")) else { return };
    journald.send_numbered(0, 100);
    daemon.run();
    wait_texts(&daemon, 100);
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    let before = all_lines(&daemon).lines().count() as u64;
    let first = numbers(&entries(&journald.folder(), &[]))[0];
    journald.send_numbered(100, 150);
    journald.wait_has(150);
    journald.rotate();
    let rotated = wait_for("the rotation", || Some(journald.rotated()).filter(|r| !r.is_empty()));
    journald.send_numbered(150, 200);
    journald.wait_has(200);
    rotated.iter().for_each(|path| fs::remove_file(path).unwrap());
    let left = numbers(&entries(&journald.folder(), &[]));
    daemon.run();
    let got = wait_texts(&daemon, 150);
    let want: Vec<_> = (0..100).chain(150..200).map(|number| format!("entry {number}")).collect();
    assert_eq!(got, want);
    // To the entry, and those of journald itself with them.
    let lost = left[0] - first - before;
    assert!(lost >= 50, "{lost}");
    daemon.wait_node("j", |node| node.input.as_ref().unwrap().sequence_lost == lost);
    let all = wait_for("all of it", || {
        let all = all_lines(&daemon).lines().count() as u64;
        (all >= before + left.len() as u64).then_some(all)
    });
    assert_eq!(all, before + left.len() as u64);
}

#[test]
fn another_boot_goes_on_in_the_journal_that_is_there_or_in_a_new_one() {
    let mut daemon = Daemon::prepare(CONFIG);
    let run = daemon.path("run");
    let Some(journald) = Journald::start_in_boot(&run, Some(BOOTS[0])) else { return };
    journald.send_numbered(0, 50);
    daemon.run();
    wait_texts(&daemon, 50);
    // It is away while the host starts anew, and its journal outlives that.
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    journald.send_numbered(50, 100);
    journald.wait_has(100);
    journald.stop();
    let journald = Journald::start_in_boot(&run, Some(BOOTS[1])).unwrap();
    journald.send_numbered(100, 150);
    daemon.run();
    wait_texts(&daemon, 150);
    // It reads on while the journal is gone and a new one begins, with other numbers.
    let files = journald.files();
    journald.stop();
    files.iter().for_each(|file| drop(fs::remove_file(file)));
    let _ = fs::remove_file(run.join("systemd/journal/seqnum"));
    let journald = Journald::start_in_boot(&run, Some(BOOTS[2])).unwrap();
    journald.send_numbered(150, 200);
    wait_texts(&daemon, 200);
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    journald.send_numbered(200, 250);
    daemon.run();
    let got = wait_texts(&daemon, 250);
    let want: Vec<_> = (0..250).map(|number| format!("entry {number}")).collect();
    assert_eq!(got, want);
    let all = all_lines(&daemon);
    for (boot, count) in BOOTS.iter().zip([100, 50, 100]) {
        let boot = format!("_BOOT_ID=\"{}\"", boot.trim().replace('-', ""));
        let own = all.lines().filter(|line| line.contains(&boot) && line.contains(" test "));
        assert_eq!(own.count(), count, "{boot}");
    }
    assert_eq!(daemon.node("j").input.unwrap().sequence_lost, 0);
}

/// Boots of the tests.
const BOOTS: [&str; 3] = [
    "0b000000-0000-4000-8000-00000000000a\n",
    "0b000000-0000-4000-8000-00000000000b\n",
    "0b000000-0000-4000-8000-00000000000c\n",
];

/// Writes a journal of numbered entries of one boot from text; whether that can be done here.
fn write_journal(folder: &Path, boot: usize, from: u64, to: u64) -> bool {
    let programs = ["/lib/systemd", "/usr/lib/systemd"];
    let programs = programs.map(|folder| Path::new(folder).join("systemd-journal-remote"));
    let Some(program) = programs.iter().find(|program| program.exists()) else {
        skip_missing("systemd-journal-remote");
        return false;
    };
    let mut text = String::new();
    for number in from..to {
        text += &format!(
            "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={}\n\
             SYSLOG_IDENTIFIER=test\nPRIORITY=4\nMESSAGE=entry {number}\n\n",
            1_767_225_600_000_000 + number * 1000,
            number * 1000,
            BOOTS[boot].trim().replace('-', ""),
        );
    }
    fs::create_dir_all(folder).unwrap();
    let (input, output) = (folder.join("text"), folder.join(format!("boot{boot}.journal")));
    fs::write(&input, text).unwrap();
    let mut command = Command::new(program);
    command.arg(format!("--output={}", output.display())).arg("--split-mode=none").arg(&input);
    let done = command.output().unwrap();
    assert!(output.exists(), "{}", String::from_utf8_lossy(&done.stderr));
    fs::remove_file(input).unwrap();
    true
}

#[test]
fn journals_of_other_boots_that_were_written_elsewhere_come_once_each() {
    let mut daemon = Daemon::prepare(CONFIG);
    let folder = daemon.path("run/log/journal");
    if !write_journal(&folder, 0, 0, 100) || !write_journal(&folder, 1, 100, 200) {
        return;
    }
    daemon.run();
    wait_texts(&daemon, 200);
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    assert!(write_journal(&folder, 2, 200, 300));
    daemon.run();
    let got = wait_texts(&daemon, 300);
    let want: Vec<_> = (0..300).map(|number| format!("entry {number}")).collect();
    assert_eq!(got, want);
    assert_eq!(daemon.node("j").input.unwrap().sequence_lost, 0);
}
