//! Services found by DNS: dnsmasq answers, in a network namespace of the test's own, and hosts come
//! and go while lines flow.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use logweir::engine::status::ServiceStatus;
use nix::unistd::Uid;

use crate::rsyslog::Certificates;
use crate::util::{Daemon, LOGWEIR, free_port, skip_here, wait_for};

/// Where Debian has it, which is not in everybody's path.
pub fn dnsmasq() -> Option<PathBuf> {
    if !Uid::effective().is_root() {
        skip_here("needs root");
        return None;
    }
    let found = ["/usr/sbin/dnsmasq", "/usr/bin/dnsmasq"].map(PathBuf::from);
    let found = found.into_iter().find(|path| path.exists());
    if found.is_none() {
        skip_here("needs dnsmasq (Debian: dnsmasq-base)");
    }
    found
}

/// A server of names. What it says is changed by starting another in its place.
pub struct Names {
    program: PathBuf,
    /// Whose network it is in; this one's without.
    network: Option<i32>,
    address: &'static str,
    child: Option<Child>,
}

impl Names {
    pub fn new(program: PathBuf, network: Option<i32>, address: &'static str) -> Self {
        Self { program, network, address, child: None }
    }

    /// From now on it says this; the look-ups of a moment find nobody.
    pub fn say(&mut self, options: &[&str]) {
        self.end();
        let mut command = match self.network {
            Some(pid) => {
                let mut command = Command::new("nsenter");
                command.args(["-t", &pid.to_string(), "-n"]).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
        ]);
        command.args(["--pid-file=", "--user=root", "--bind-interfaces", "--local-ttl=1"]);
        command.arg(format!("--listen-address={}", self.address)).arg("--local=/test/");
        let child = command.args(options).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.unwrap());
    }

    pub fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.end();
    }
}

/// A command that runs a daemon with a resolv.conf of its own, and in a network of its own if asked
/// for.
pub fn with_names(daemon: &Daemon, server: &str, network: bool) -> Command {
    let file = daemon.path("resolv.conf");
    let text = format!("nameserver {server}\noptions timeout:1 attempts:2\n");
    std::fs::write(&file, text).unwrap();
    let up = if network { "ip link set lo up && " } else { "" };
    let script = format!("{up}mount --bind {} /etc/resolv.conf && exec \"$@\"", file.display());
    let mut command = Command::new("unshare");
    command.arg("-m");
    if network {
        command.arg("-n");
    }
    command.args(["sh", "-c", &script, "sh", LOGWEIR]);
    command
}

/// Numbered lines, written into a FIFO without an end.
struct Flow {
    written: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flow {
    fn new(fifo: &Path) -> Self {
        let (written, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stop) = (Arc::clone(&written), Arc::clone(&ended));
        let mut out = std::fs::OpenOptions::new().write(true).open(fifo).unwrap();
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let first = count.load(Ordering::Relaxed);
                let lines: String = (first..first + 20).map(|n| format!("{n:09}\n")).collect();
                out.write_all(lines.as_bytes()).unwrap();
                count.store(first + 20, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { written, ended, thread: Some(thread) }
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn end(&mut self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.written()
    }
}

fn service(daemon: &Daemon) -> ServiceStatus {
    daemon.node("hub").lanes[0].services[0].clone()
}

/// Waits until the sender is connected to a host.
fn sends_to(daemon: &Daemon, host: &str) {
    let url = format!("relp://{host}.logs.test:2514");
    daemon.wait_node("hub", |node| node.lanes[0].peer.as_ref() == Some(&url));
}

/// Waits until a receiver has got the newest of the lines that were written before the call.
fn gets(hub: &Daemon, flow: &Flow) {
    let newest = format!("{:09}", flow.written());
    wait_for("new lines at the hub", || {
        hub.lines("out").last().is_some_and(|last| *last >= newest).then_some(())
    });
}

const HUB: &str = "[input.edge]\nrelp = \"{address}:2514\"\n\
                   [spool.hold]\nfrom = \"edge\"\ndir = \"{dir}/hold\"\n\
                   [output.f]\nfrom = \"hold\"\nfile = \"{dir}/out\"\n";

fn hub(network: i32, address: &str) -> Daemon {
    let mut daemon = Daemon::prepare(&HUB.replace("{address}", address));
    let mut command = Command::new("nsenter");
    command.args(["-t", &network.to_string(), "-n", LOGWEIR]);
    daemon.run_by(command);
    daemon
}

/// Where the hosts are, whatever the service says.
const HOSTS: [&str; 2] =
    ["--host-record=hub1.logs.test,127.0.0.11", "--host-record=hub2.logs.test,127.0.0.12"];
const HUB1: &str = "--srv-host=_relp._tcp.logs.test,hub1.logs.test,2514,10,60";
const HUB2: &str = "--srv-host=_relp._tcp.logs.test,hub2.logs.test,2514,5,60";

#[test]
fn hosts_of_a_service_come_and_go_while_lines_flow_and_none_is_lost() {
    let Some(program) = dnsmasq() else { return };
    let mut sender = Daemon::prepare(
        "[input.lines]\nfifo = \"{dir}/fifo\"\n\
         [output.hub]\nfrom = \"lines\"\nforward = \"relp://_relp._tcp.logs.test\"\n\
         spool = { dir = \"{dir}/spool\", sync = \"batch\" }\n",
    );
    sender.run_by(with_names(&sender, "127.0.0.1", true));
    let network = sender.pid();
    let (hub1, hub2) = (hub(network, "127.0.0.11"), hub(network, "127.0.0.12"));
    let mut flow = Flow::new(&sender.path("fifo"));
    // Nobody to ask at first.
    let error = sender.wait_node("hub", |node| node.lanes[0].error.is_some());
    assert!(error.lanes[0].unresolved, "{:?}", error.lanes);
    let mut names = Names::new(program, Some(network), "127.0.0.1");
    names.say(&[&HOSTS[..], &[HUB1]].concat());
    sends_to(&sender, "hub1");
    assert_eq!(service(&sender).hosts, ["hub1.logs.test:2514"]);
    assert!(service(&sender).age_seconds.is_some_and(|age| age < 30), "{:?}", service(&sender));
    gets(&hub1, &flow);
    // One that is to be tried first is added, then taken away.
    names.say(&[&HOSTS[..], &[HUB1, HUB2]].concat());
    sends_to(&sender, "hub2");
    assert_eq!(service(&sender).hosts, ["hub2.logs.test:2514", "hub1.logs.test:2514"]);
    gets(&hub2, &flow);
    names.say(&[&HOSTS[..], &[HUB1]].concat());
    sends_to(&sender, "hub1");
    gets(&hub1, &flow);
    // The name disappears: its host stays, and that is said once.
    names.say(&HOSTS);
    let kept = "_relp._tcp.logs.test: there is no such name; its last 1 hosts are kept";
    wait_for("a look-up that fails", || service(&sender).error);
    sender.wait_log(kept);
    let asked = sender.log().matches(kept).count();
    gets(&hub1, &flow);
    assert_eq!((asked, sender.log().matches(kept).count()), (1, 1));
    assert_eq!(service(&sender).hosts, ["hub1.logs.test:2514"]);
    // Nobody offers it: lines wait in the spool.
    names.say(&[&HOSTS[..], &["--srv-host=_relp._tcp.logs.test"]].concat());
    let node = sender.wait_node("hub", |node| node.lanes[0].peer.is_none());
    let said = "relp://_relp._tcp.logs.test: DNS says that no host offers it";
    assert_eq!(node.lanes[0].error.as_deref(), Some(said));
    // So many hosts that they do not fit into a datagram, and only the last one answers.
    let away: Vec<_> = (0..30)
        .map(|n| {
            format!("--srv-host=_relp._tcp.logs.test,a-host-with-a-long-name-{n}.logs.test,9,1,1")
        })
        .collect();
    let away: Vec<_> = away.iter().map(String::as_str).collect();
    names.say(&[&HOSTS[..], &away, &[HUB1]].concat());
    sends_to(&sender, "hub1");
    assert_eq!(service(&sender).hosts.len(), 31);
    let written = flow.end();
    let expected: Vec<_> = (0..written).map(|n| format!("{n:09}")).collect();
    let all = wait_for("every line", || {
        let mut all = [hub1.lines("out"), hub2.lines("out")].concat();
        all.sort_unstable();
        (all.len() as u64 >= written).then_some(all)
    });
    assert_eq!(all, expected, "each line once");
    drop(names);
    assert_eq!(sender.stop().0, Some(0));
}

#[test]
fn a_certificate_is_for_the_domain_of_a_service_and_not_for_a_host_that_dns_named() {
    let (Some(program), Some(certificates)) = (dnsmasq(), Certificates::new()) else { return };
    let mut names = Names::new(program, None, "127.53.0.10");
    let port = free_port();
    names.say(&[&format!("--srv-host=_relp._tcp.localhost.test,localhost,{port},1,1")]);
    let hub = Daemon::start(&format!(
        "[input.edge]\nrelp = \"127.0.0.1:{port}\"\n\
         tls = {{ cert = \"{}\", key = \"{}\" }}\n\
         [output.f]\nfrom = \"edge\"\nfile = \"{{dir}}/out\"\n",
        certificates.path("server.pem"),
        certificates.path("server.key"),
    ));
    let config = |name: &str| {
        format!(
            "[output.hub]\nfrom = \"in\"\nforward = \"relp+tls://_relp._tcp.localhost.test\"\n\
             tls = {{ ca = \"{}\"{name} }}\n",
            certificates.path("ca.pem"),
        )
    };
    // Whether the service is there can be tried before.
    for (service, is_there) in [("_relp._tcp.localhost.test", true), ("_x._tcp.test", false)] {
        let daemon = Daemon::prepare(&config("").replace("_relp._tcp.localhost.test", service));
        let mut check = with_names(&daemon, "127.53.0.10", false);
        check.args(["check", "--access", "-c"]).arg(daemon.path("logweir.toml"));
        let output = check.output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let missing = format!("{service}: there is no such name");
        assert_eq!(said.contains(&missing), !is_there, "{said}");
    }
    // The certificate is for `localhost`, which is just the name that DNS brought.
    let mut sender = Daemon::prepare(&config(""));
    sender.run_by(with_names(&sender, "127.53.0.10", false));
    let node = sender.wait_node("hub", |node| node.lanes[0].error.is_some());
    let error = node.lanes[0].error.clone().unwrap();
    assert!(error.contains("certificate"), "{error}");
    // The name that is configured is the one that counts.
    let mut sender = Daemon::prepare(&config(", name = \"localhost\""));
    sender.run_by(with_names(&sender, "127.53.0.10", false));
    sender.wait_node("hub", |node| node.lanes[0].peer.is_some());
    sender.send_numbered(0, 10);
    assert_eq!(hub.wait_lines("out", 10).len(), 10);
}
