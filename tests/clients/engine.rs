//! Docker's engine itself with `--log-driver=fluentd`, as docs/senders/fluent.md has it. It runs in
//! a folder of its own beside whatever engine the machine has; `.ci/peers/fetch` unpacks it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::page::Page;
use crate::util::{Daemon, skip_here, wait_for};

/// An engine, ended when dropped.
struct Engine {
    dockerd: Child,
    folder: tempfile::TempDir,
    path: String,
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It ends its containers, and containerd, before itself.
        let _ = kill(Pid::from_raw(self.dockerd.id().cast_signed()), Signal::SIGTERM);
        let _ = self.dockerd.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log"));
            eprintln!("the engine's log:\n{}", log.unwrap_or_default());
        }
    }
}

impl Engine {
    /// Starts one out of a folder of unpacked packages; `None`, and said, where none can run.
    fn start() -> Option<Self> {
        let Some(root) = std::env::var_os("LOGWEIR_TEST_DOCKER").map(PathBuf::from) else {
            skip_here("needs Docker's engine, unpacked in LOGWEIR_TEST_DOCKER (.ci/peers/fetch)");
            return None;
        };
        if !nix::unistd::geteuid().is_root() {
            skip_here("needs root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().display();
        let unpacked = root.display();
        let path = format!("{unpacked}/usr/sbin:{unpacked}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let dockerd = Command::new(root.join("usr/sbin/dockerd"))
            .arg(format!("--host=unix://{dir}/s"))
            .arg(format!("--data-root={dir}/data"))
            .arg(format!("--exec-root={dir}/run"))
            .arg(format!("--pidfile={dir}/pid"))
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .args(["--storage-driver=vfs", "--default-ulimit=nofile=1024:1024"])
            .env("PATH", &path)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut engine = Self { dockerd, folder, path };
        let is_up = wait_for("Docker's engine", || {
            let ended = engine.dockerd.try_wait().unwrap().is_some();
            let answers = engine.docker(&["version"]).status.success();
            (ended || answers).then_some(answers)
        });
        if !is_up {
            let log = std::fs::read_to_string(engine.folder.path().join("log")).unwrap();
            skip_here(&format!("the engine does not run: {}", log.lines().last().unwrap_or("")));
            return None;
        }
        engine.import_image();
        Some(engine)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        let host = format!("unix://{}/s", self.folder.path().display());
        command.env("PATH", &self.path).env("DOCKER_HOST", host).args(words);
        command
    }

    fn docker(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// An image with nothing but busybox.
    fn import_image(&self) {
        let image = self.folder.path().join("image");
        std::fs::create_dir_all(image.join("bin")).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new);
        let busybox = busybox.into_iter().find(|path| path.exists()).expect("busybox");
        std::fs::copy(busybox, image.join("bin/busybox")).unwrap();
        for name in ["sh", "echo", "head", "tr", "sleep"] {
            std::os::unix::fs::symlink("busybox", image.join("bin").join(name)).unwrap();
        }
        let tar = self.folder.path().join("image.tar");
        let made = Command::new("tar").arg("-C").arg(&image).arg("-cf").arg(&tar).arg(".").status();
        assert!(made.unwrap().success());
        let imported = self.docker(&["import", tar.to_str().unwrap(), "lw:1"]);
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    }
}

/// Three pieces of a line, and many numbers. Then it stays, because the engine drops what it still
/// has of a container that has ended. Standard error is left alone: the engine's client mixes up
/// the answers if both streams write at once (docs/senders/fluent.md).
const SCRIPT: &str = "head -c 40000 /dev/zero | tr '\\0' x; echo; \
                      i=0; while [ $i -lt 1200 ]; do echo line $i; i=$((i+1)); done; \
                      exec sleep 1000";

#[test]
fn docker_s_engine_loses_no_line_of_a_container_though_the_daemon_is_killed() {
    let Some(engine) = Engine::start() else { return };
    let page = Page::read("fluent");
    let mut daemon = Daemon::start(&format!(
        "{}[output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n",
        page.block("toml")
    ));
    let driver: serde_json::Value = serde_json::from_str(&page.block("json")).unwrap();
    let mut words = vec![format!("--log-driver={}", driver["log-driver"].as_str().unwrap())];
    for (name, value) in driver["log-opts"].as_object().unwrap() {
        words.push(format!("--log-opt={name}={}", value.as_str().unwrap()));
    }
    let mut container = engine.command(&["run", "--detach", "--network=none", "--name=web"]);
    let started = container.args(&words).args(["lw:1", "/bin/sh", "-c", SCRIPT]).output().unwrap();
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    // A line of several pieces is in memory until it is whole; so it has come before the kills.
    for _ in 0..3 {
        daemon.wait_node("fluent", |node| node.lines_in >= 200);
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        daemon.run();
    }
    let texts = wait_for("the last line", || {
        let lines = daemon.lines("web.log");
        let texts = lines.iter().filter_map(|line| line.split_once(" web: "));
        let texts: Vec<_> = texts.map(|(_, text)| text.to_string()).collect();
        texts.iter().any(|text| text == "line 1199").then_some(texts)
    });
    assert!(engine.docker(&["rm", "--force", "web"]).status.success());
    let found: BTreeSet<_> = texts.iter().cloned().collect();
    let long = "x".repeat(40_000);
    let numbers = (0..1200).map(|number| format!("line {number}"));
    let wanted: BTreeSet<_> = numbers.chain([long]).collect();
    assert_eq!(wanted.difference(&found).next(), None);
    assert_eq!(found.len(), wanted.len(), "lines that nobody wrote");
    // It waits for each answer: a kill can have one line come again.
    assert!(texts.len() - found.len() <= 3, "{} lines twice", texts.len() - found.len());
}
