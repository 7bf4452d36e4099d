//! Real senders into inputs: those of docs/senders/ as their pages configure them ([`page`]), and
//! others in every way that they know. Where a program is not installed, a test says so and passes.

mod docker;
mod engine;
mod haproxy;
mod kubernetes;
mod logger;
mod nginx;
mod origin;
mod page;
mod python;
mod relays;
mod squid;
mod varnish;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::util::{Daemon, free_port, wait_for};

/// A daemon that takes syslog at one place, and writes each line as it came and as JSON.
struct Receiver {
    daemon: Daemon,
    /// Where it listens, if not at `socket`.
    port: String,
    /// Where it listens, if that is a file.
    socket: PathBuf,
    started: Timestamp,
}

/// A message that was received: the line, and what was found in it.
struct Message {
    line: String,
    json: Value,
}

impl Receiver {
    /// Starts one that listens by `udp`, `tcp`, `tls` or `unix`; `more` goes into its input.
    fn start(scheme: &str, more: &str) -> Self {
        let port = free_port().to_string();
        let address = match scheme {
            "unix" => "unix://{dir}/syslog".to_string(),
            _ => format!("{scheme}://127.0.0.1:{port}"),
        };
        // To the second, as that is all that some senders say.
        let started = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
        let daemon = Daemon::start(&format!(
            "[input.sys]\nsyslog = \"{address}\"\n{more}\n\
             [output.all]\nfrom = \"sys\"\nfile = \"{{dir}}/out\"\n\
             [output.json]\nfrom = \"sys\"\nfile = \"{{dir}}/json\"\nformat = \"json\"\n\
             [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
        ));
        let socket = daemon.path("syslog");
        Self { daemon, port, socket, started }
    }

    /// Where it listens, as most programs want it: an address with a port, or a path.
    fn address(&self, scheme: &str) -> String {
        match scheme {
            "unix" => self.socket.display().to_string(),
            _ => format!("127.0.0.1:{}", self.port),
        }
    }

    /// Waits until so many messages have come in all: fewer at a time than a receive buffer holds.
    fn wait_in(&self, count: usize) {
        self.daemon.wait_node("sys", |node| node.lines_in == count as u64);
    }

    /// What was received: so many messages, and no more.
    fn messages(&self, count: usize) -> Vec<Message> {
        let lines = self.daemon.wait_lines("out", count);
        let objects = self.daemon.wait_lines("json", count);
        self.wait_in(count);
        let messages: Vec<_> = lines
            .into_iter()
            .zip(objects)
            .map(|(line, object)| Message { line, json: serde_json::from_str(&object).unwrap() })
            .collect();
        for message in &messages {
            assert_eq!(message.field("input"), "sys", "{}", message.json);
            let received = message.time("received");
            let now = Timestamp::now();
            assert!(self.started <= received && received <= now, "{}", message.json);
        }
        messages
    }

    /// Whether a message was sent while this was there, as senders here share its clock.
    fn is_recent(&self, message: &Message) -> bool {
        let time = message.time("time");
        self.started <= time && time <= Timestamp::now() + SignedDuration::from_secs(1)
    }
}

impl Message {
    /// A field of text; `-` where it is not there.
    fn field(&self, name: &str) -> &str {
        self.json.get(name).map_or("-", |value| value.as_str().unwrap())
    }

    fn fields<const N: usize>(&self, names: [&str; N]) -> [&str; N] {
        names.map(|name| self.field(name))
    }

    fn time(&self, name: &str) -> Timestamp {
        self.field(name).parse().unwrap()
    }

    /// FACILITY.SEVERITY HOST APP PROCID MSGID MESSAGE
    fn parts(&self) -> String {
        let fields = self.fields(["host", "app", "procid", "msgid", "message"]);
        format!("{}.{} {}", self.field("facility"), self.field("severity"), fields.join(" "))
    }

    /// The value of a parameter in its structured data.
    fn sd(&self, id: &str, name: &str) -> Option<&str> {
        self.json.get("sd")?.get(id)?.get(name)?.as_str()
    }
}

/// The parts of each message.
fn parts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(Message::parts).collect()
}

/// This host's name, as the senders ask for it.
fn host() -> String {
    nix::unistd::gethostname().unwrap().into_string().unwrap()
}

/// Where a program is, also where only root's path has it.
fn find(name: &str, packages: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        crate::util::skip_missing(&format!("{name} (Debian's {packages})"));
    }
    found
}

/// A program that sends, ended when dropped with all that it has started.
struct Sender {
    child: Child,
    errors: tempfile::NamedTempFile,
}

impl Sender {
    fn start(command: &mut Command) -> Self {
        let errors = tempfile::NamedTempFile::new().unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors.reopen().unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { child, errors }
    }

    /// Runs one that ends by itself; its process id.
    fn run(program: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> u32 {
        let mut sender = Self::start(Command::new(program).args(args));
        let status = wait_for("the sender to end", || sender.child.try_wait().unwrap());
        assert!(status.success(), "{}: {status}", program.display());
        sender.child.id()
    }

    /// Asks it, an HTTP server, for something, once it is there; the first line of the answer.
    fn get(&mut self, port: u16, target: &str, agent: &str) -> String {
        let mut stream = wait_for("an HTTP server", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {ended:?}");
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: h\r\nUser-Agent: {agent}\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_string()
    }

    /// Asks for `/a?n=NUMBER`.
    fn ask(&mut self, port: u16, number: usize) -> String {
        self.get(port, &format!("/a?n={number}"), &format!("agent {number}"))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Ends it by SIGTERM, and waits until it has sent what it held.
    fn stop(mut self) {
        kill(self.pid(), Signal::SIGTERM).unwrap();
        wait_for("the sender to end", || self.child.try_wait().unwrap());
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // It may have ended by itself, and then its number may be another's.
        if let Ok(None) = self.child.try_wait() {
            let _ = killpg(self.pid(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let errors = std::fs::read_to_string(self.errors.path()).unwrap_or_default();
            eprintln!("the sender said:\n{errors}");
        }
    }
}
