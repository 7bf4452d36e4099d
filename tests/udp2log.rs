//! The drop-in: udp2log's command line, configuration, log and signals.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::util::{LOGWEIR, free_port, wait_for};

struct Udp2log {
    dir: tempfile::TempDir,
    child: Child,
    port: u16,
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

impl Udp2log {
    fn start(config: &str, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config.replace("{dir}", dir.path().to_str().unwrap());
        std::fs::write(dir.path().join("udp2log.conf"), config).unwrap();
        let link = dir.path().join("udp2log");
        std::os::unix::fs::symlink(LOGWEIR, &link).unwrap();
        let port = free_port();
        let child = Command::new(&link)
            .arg("-p")
            .arg(port.to_string())
            .arg("-f")
            .arg(dir.path().join("udp2log.conf"))
            .arg("--log-file")
            .arg(dir.path().join("log"))
            .args(options)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self { dir, child, port };
        wait_for("udp2log to run", || daemon.log().contains("running").then_some(()));
        daemon
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn send(&self, from: u64, to: u64) {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in from..to {
            let line = format!("{number}\n");
            sender.send_to(line.as_bytes(), ("127.0.0.1", self.port)).unwrap();
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn wait_lines(&self, name: &str, count: usize) -> Vec<String> {
        wait_for(&format!("{count} lines in {name}"), || {
            let lines = lines(&self.dir.path().join(name));
            (lines.len() >= count).then_some(lines)
        })
    }
}

impl Drop for Udp2log {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn its_configuration_runs_unchanged_with_one_counter_for_the_stream() {
    let mut daemon = Udp2log::start(
        "# a comment\n\nfile 1 {dir}/all.log\nflush file 10 {dir}/tenth.log\n\
         pipe 100 cat >> {dir}/hundredth.log\nnonblocking pipe 1000 cat >> {dir}/thousandth.log\n\
         pipe 1 sleep 1000\n",
        &["--report-interval", "1", "--user", "root"],
    );
    daemon.send(0, 2000);
    assert_eq!(daemon.wait_lines("all.log", 2000).len(), 2000);
    let tenth = daemon.wait_lines("tenth.log", 200);
    assert!(tenth.iter().all(|line| line.ends_with('0')) && tenth.len() == 200, "{tenth:?}");
    let hundredth = daemon.wait_lines("hundredth.log", 20);
    assert!(hundredth.iter().all(|line| line == "0" || line.ends_with("00")), "{hundredth:?}");
    assert_eq!(daemon.wait_lines("thousandth.log", 2), ["0", "1000"]);
    wait_for("a report", || daemon.log().contains("Packet rate: ").then_some(()));
    let report = daemon.log();
    let line = report.lines().find(|line| line.contains("Packet rate")).unwrap().to_string();
    assert!(line.starts_with("[20") && line.contains(" UTC+0000] Packet rate: "), "{line}");
    assert!(line.ends_with(" k/s"), "{line}");
    daemon.signal(Signal::SIGTERM);
    let status = wait_for("udp2log to end", || daemon.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn lost_bytes_are_reported_with_the_users_own_words() {
    let daemon =
        Udp2log::start("pipe 1 sleep 1001\n", &["--report-interval", "1", "--user", "root"]);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let line = vec![b'x'; 60_000];
    wait_for("a report of lost bytes", || {
        for _ in 0..20 {
            sender.send_to(&line, ("127.0.0.1", daemon.port)).unwrap();
        }
        let log = daemon.log();
        let lost = log.lines().find(|line| line.contains("Lost output bytes: "))?;
        assert!(lost.ends_with(": sleep 1001"), "{lost}");
        Some(())
    });
}

#[test]
fn a_bad_configuration_on_sighup_keeps_the_old_one() {
    let daemon = Udp2log::start("file 1 {dir}/all.log\n", &["--user", "root"]);
    let config = daemon.dir.path().join("udp2log.conf");
    std::fs::write(&config, "file 0 /x\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    wait_for("the refusal", || daemon.log().contains("reload refused").then_some(()));
    daemon.send(0, 10);
    daemon.wait_lines("all.log", 10);
    let dir = daemon.dir.path().display().to_string();
    std::fs::write(&config, format!("file 1 {dir}/all.log\nfile 5 {dir}/fifth.log\n")).unwrap();
    daemon.signal(Signal::SIGHUP);
    wait_for("the reload", || daemon.log().contains("reloaded").then_some(()));
    // The stream's counter stands at 10 and goes on.
    daemon.send(10, 21);
    assert_eq!(daemon.wait_lines("fifth.log", 3), ["10", "15", "20"]);
    assert_eq!(daemon.wait_lines("all.log", 21).len(), 21);
}

#[test]
fn in_the_background_it_writes_its_pid_and_becomes_the_user() {
    if !nix::unistd::geteuid().is_root() {
        crate::util::skip_here("only root can become another user");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::os::unix::fs::chown(dir.path(), Some(65_534), Some(65_534)).unwrap();
    let config = format!("pipe 1 id -un > {}\n", path("who").display());
    std::fs::write(path("conf"), config).unwrap();
    let port = free_port();
    let output = Command::new(LOGWEIR)
        .args(["udp2log", "--daemon", "--user", "nobody", "-p", &port.to_string(), "-f"])
        .arg(path("conf"))
        .arg("--pid-file")
        .arg(path("pid"))
        .arg("--log-file")
        .arg(path("log"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).to_string();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let pid: i32 = std::fs::read_to_string(path("pid")).unwrap().trim().parse().unwrap();
    let who = wait_for("the child to say who it is", || lines(&path("who")).first().cloned());
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    assert_eq!(who, "nobody");
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap().to_string();
    assert_eq!(session, pid.to_string(), "a session of its own");
    wait_for("the daemon to end", || kill(Pid::from_raw(pid), None).err());
}

#[test]
fn a_start_in_the_background_that_fails_is_seen_to_fail() {
    let taken = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("conf");
    std::fs::write(&config, "file 1 /dev/null\n").unwrap();
    let run = |config: &Path| {
        let output = Command::new(LOGWEIR)
            .args(["udp2log", "--daemon", "-p", &port, "-f"])
            .arg(config)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).to_string())
    };
    let (code, said) = run(&config);
    assert_eq!(code, Some(1));
    assert!(said.contains("the port is in use"), "{said}");
    let (code, said) = run(&dir.path().join("none"));
    assert_eq!(code, Some(2));
    assert!(said.contains("there is no such file"), "{said}");
}
