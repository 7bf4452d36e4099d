//! A daemon in a folder of its own, and what a test asks of it.

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use logweir::driver::control::{Request, ask};
use logweir::engine::status::{NodeStatus, Status};

/// The binary under test.
pub const LOGWEIR: &str = env!("CARGO_BIN_EXE_logweir");

/// Reports that the test at hand, or a part of it, is skipped because a program is missing. With
/// LOGWEIR_TEST_NO_SKIP=1 the test fails instead.
pub fn skip_missing(program: &str) {
    let failing = std::env::var_os("LOGWEIR_TEST_NO_SKIP").is_some_and(|value| value == "1");
    assert!(!failing, "needs {program}, and LOGWEIR_TEST_NO_SKIP=1 allows no skips");
    skip_here(&format!("needs {program}"));
}

/// Reports that the test at hand, or a part of it, is skipped because of where it runs: without
/// root, without containers, without an option that asks for it.
pub fn skip_here(reason: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {}\n", thread.name().unwrap_or("a test"), reason.trim());
    // The harness keeps what print macros say of a test that passes, but not this.
    let _ = std::io::stderr().write_all(format!("skipped: {line}").as_bytes());
    // One write a line, so that the lines of tests that run side by side stay whole.
    if let Some(path) = std::env::var_os("LOGWEIR_TEST_SKIPPED") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap();
    }
}

/// A Python that has this module, of this Debian package; LOGWEIR_TEST_PYTHON names another than
/// the system's. `None`, and said, where there is none.
pub fn python_with(module: &str, package: &str) -> Option<PathBuf> {
    let python = std::env::var_os("LOGWEIR_TEST_PYTHON")
        .map_or_else(|| "/usr/bin/python3".into(), PathBuf::from);
    let mut import = Command::new(&python);
    import.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
    if import.status().is_ok_and(|status| status.success()) {
        return Some(python);
    }
    skip_missing(&format!("Python's {module} (Debian's {package})"));
    None
}

/// How long a test waits for what must come, or for the next of many; far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `done` gives something.
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that was free just now, for UDP and TCP, and that no other test is given. It is below
/// those that the kernel gives to outgoing connections.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next =
            std::process::id().wrapping_mul(101).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + next % COUNT).unwrap();
        let free = UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if free && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Option<Child>,
    sender: UdpSocket,
}

impl Daemon {
    /// Starts a daemon. In `config`, `{dir}` is its folder and `{port}` a free port; a
    /// control socket and the input `in` (UDP) are added.
    pub fn start(config: &str) -> Self {
        Self::start_with(config, |_| {})
    }

    /// The same, with something done to the folder before.
    pub fn start_with(config: &str, prepare: impl FnOnce(&Path)) -> Self {
        let mut daemon = Self::prepare(config);
        prepare(daemon.dir.path());
        daemon.run();
        daemon
    }

    /// The same, not started yet.
    pub fn prepare(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(("127.0.0.1", port)).unwrap();
        let daemon = Self { dir, port, child: None, sender };
        daemon.write_config(config);
        daemon
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn control(&self) -> PathBuf {
        self.path("control.sock")
    }

    pub fn write_config(&self, config: &str) {
        let dir = self.dir.path().display().to_string();
        let (daemon, rest) = match config.split_once("#daemon\n") {
            Some((daemon, rest)) => (daemon, rest),
            None => ("", config),
        };
        let text = format!(
            "[daemon]\ncontrol = \"{{dir}}/control.sock\"\n{daemon}\n\
             [input.in]\nudp = \"127.0.0.1:{{port}}\"\n{rest}"
        );
        let text = text.replace("{dir}", &dir).replace("{port}", &self.port.to_string());
        // By rename, so that a reload never meets half a file.
        std::fs::write(self.path("next.toml"), text).unwrap();
        std::fs::rename(self.path("next.toml"), self.path("logweir.toml")).unwrap();
    }

    /// Starts the process (again).
    pub fn run(&mut self) {
        self.run_by(Command::new(LOGWEIR));
    }

    /// The same by a shell that first does something.
    pub fn run_behind(&mut self, first: &str) {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(format!("{first}; exec \"$0\" \"$@\"")).arg(LOGWEIR);
        self.run_by(shell);
    }

    /// The same in a mount namespace of its own, by a shell that first does something in the
    /// daemon's folder; false, with the test skipped, where there are no user namespaces.
    pub fn run_mounted(&mut self, first: &str) -> bool {
        let script = format!("cd \"$0\" && {first} && exec \"$@\"");
        let dir = self.dir.path().to_path_buf();
        let unshare = |program: &str| {
            let mut command = Command::new("unshare");
            command.args(["-m", "-U", "-r", "sh", "-c", &script]).arg(&dir).arg(program);
            command
        };
        let can = unshare("true").output().is_ok_and(|output| output.status.success());
        match can {
            true => self.run_by(unshare(LOGWEIR)),
            false => skip_here("needs user namespaces"),
        }
        can
    }

    /// The same by a command of which logweir's arguments are the last.
    pub fn run_by(&mut self, mut command: Command) {
        let errors =
            std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let child = command
            .arg("run")
            .arg("-c")
            .arg(self.path("logweir.toml"))
            .env_remove("JOURNAL_STREAM")
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let control = self.control();
        wait_for("the daemon to answer", || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the daemon ended: {}", self.log());
            ask(&control, Request::Status).ok()
        });
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits until the log says something: its lines are written by a thread of their own, so
    /// that an answer may come before them.
    pub fn wait_log(&self, text: &str) {
        wait_for(text, || self.log().contains(text).then_some(()));
    }

    /// Sends one datagram.
    pub fn send(&self, datagram: &[u8]) {
        self.sender.send(datagram).unwrap();
    }

    /// Sends lines `prefix FROM` to `prefix TO-1`, a datagram each, slowly enough for any
    /// receive buffer.
    pub fn send_numbered(&self, from: u64, to: u64) {
        let before = self.node("in").lines_in;
        for number in from..to {
            self.send(format!("line {number}\n").as_bytes());
            if number % 100 == 99 {
                self.wait_node("in", |node| node.lines_in - before + 2000 > number - from);
            }
        }
    }

    pub fn status(&self) -> Status {
        let value = ask(&self.control(), Request::Status).unwrap();
        let status: Status = serde_json::from_value(value).unwrap();
        for node in &status.nodes {
            let dropped: u64 = node.dropped.values().sum();
            let fates = node.lines_out + node.not_selected + dropped + node.queued;
            assert_eq!(node.lines_in, fates, "the ledger of {} does not balance", node.name);
            assert!(node.balanced, "{} says it does not balance", node.name);
        }
        status
    }

    pub fn node(&self, name: &str) -> NodeStatus {
        let status = self.status();
        let found = status.nodes.into_iter().find(|node| node.name == name && !node.retired);
        found.unwrap_or_else(|| panic!("no node {name}"))
    }

    /// Waits until a node has come so far. While its lines move it is waited for.
    pub fn wait_node(&self, name: &str, done: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
        let mut moved = (0, Instant::now());
        loop {
            let node = self.node(name);
            if done(&node) {
                return node;
            }
            let lines = node.lines_in + node.lines_out;
            if moved.0 != lines {
                moved = (lines, Instant::now());
            }
            assert!(moved.1.elapsed() < PATIENCE, "{name} never came so far: {node:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().unwrap().id()).unwrap()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Ends the daemon by SIGTERM; its exit code and its log.
    pub fn stop(&mut self) -> (Option<i32>, String) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        let code = self.wait();
        (code, self.log())
    }

    pub fn wait(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let status = wait_for("the daemon to end", || child.try_wait().unwrap());
        status.code()
    }

    /// Runs `logweir ctl ORDER`.
    pub fn ctl(&self, order: &str) -> Output {
        self.ctl_words(&[order])
    }

    /// The same with an order of several words.
    pub fn ctl_words(&self, order: &[&str]) -> Output {
        Command::new(LOGWEIR)
            .args(["ctl", "--control"])
            .arg(self.control())
            .args(order)
            .output()
            .unwrap()
    }

    /// The lines of a file in the daemon's folder.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let bytes = std::fs::read(self.path(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).lines().map(str::to_string).collect()
    }

    /// Waits until a file has so many lines.
    pub fn wait_lines(&self, name: &str, count: usize) -> Vec<String> {
        wait_for(&format!("{count} lines in {name}"), || {
            let lines = self.lines(name);
            assert!(lines.len() <= count, "{} lines in {name}", lines.len());
            (lines.len() == count).then_some(lines)
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            if std::thread::panicking() {
                eprintln!("the daemon's log:\n{}", self.log());
            }
        }
    }
}

/// Runs the binary with standard input.
pub fn run(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(LOGWEIR)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program that ends before it has read all is no fault here.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// `line FROM` to `line TO-1`.
pub fn numbered(from: u64, to: u64) -> Vec<String> {
    (from..to).map(|number| format!("line {number}")).collect()
}

/// Runs one test of this binary without any program in the path: whether it passed, and the list
/// of what was skipped.
fn run_without_programs(test: &str, no_skip: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("skipped");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=2"])
        .env("PATH", folder.path())
        .env("LOGWEIR_TEST_SKIPPED", &list)
        .env("LOGWEIR_TEST_NO_SKIP", no_skip)
        .output()
        .unwrap();
    (output.status.success(), std::fs::read_to_string(list).unwrap_or_default())
}

#[test]
fn a_test_without_its_program_is_listed_or_fails_where_no_skip_is_allowed() {
    let test = "graph::graphviz_draws_the_nodes_and_edges_there_are";
    let (passed, skipped) = run_without_programs(test, "0");
    assert!(passed);
    assert_eq!(skipped, format!("{test}: needs dot (Debian's graphviz)\n"));
    let (passed, skipped) = run_without_programs(test, "1");
    assert_eq!((passed, skipped.as_str()), (false, ""));
}
