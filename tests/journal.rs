//! The system's journal is read from the entry that was stored last. A journald of the test's own
//! runs in a namespace.

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
        fs::write(&conf, "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n").unwrap();
        let script = "mount --bind \"$1\" /run && \
                      { mkdir -p /etc/systemd; touch /etc/systemd/journald.conf; \
                      mount --bind /run/journald.conf /etc/systemd/journald.conf; } && exec \"$2\"";
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

    fn rotate(&self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGUSR2).unwrap();
    }
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
