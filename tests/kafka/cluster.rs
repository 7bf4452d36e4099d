//! A cluster of Apache Kafka in KRaft mode, without anything beside it, for tests and benchmarks:
//! each broker in a folder and on ports of its own.
//!
//! Brokers end with the process that started them, however that ends, and their folder goes with
//! them: each has a guard, a shell that waits for its input to end.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// How long a broker may take to open its port.
const START: Duration = Duration::from_secs(60);
/// Between two looks at its port.
const PAUSE: Duration = Duration::from_millis(20);
/// Any 22 characters of base64url are a cluster's identity.
pub(crate) const IDENTITY: &str = "AAAAAAAAAAAAAAAAAAAAAQ";

/// The guard of a broker. Told a word, it kills it; told nothing more, it also removes the folder.
const GUARD: &str = r#"
dir=$1
shift
"$@" </dev/null &
broker=$!
read -r word
kill -9 $broker
wait $broker
[ -n "$word" ] || rm -rf "$dir"
"#;

/// What a cluster is to be.
pub(crate) struct Plan<'p> {
    pub(crate) jars: PathBuf,
    /// Made where it is missing, and removed with the cluster.
    pub(crate) dir: PathBuf,
    /// How many brokers there are: one, or three that replicate everything.
    pub(crate) count: usize,
    pub(crate) identity: &'p str,
    /// More lines of a broker's configuration. `{dir}` is the folder; `{plain}`, `{controller}`,
    /// `{tls}` and `{sasl}` are the addresses of its listeners.
    pub(crate) more: &'p str,
    /// More arguments of the program that formats its folder.
    pub(crate) format: &'p [&'p str],
    /// Options of each virtual machine of Java.
    pub(crate) machine: &'p [&'p str],
    /// Gives a port that is free, below those that the kernel gives to outgoing connections: a
    /// broker that is killed must find its port free again.
    pub(crate) port: fn() -> Result<u16>,
}

/// A cluster. Dropped, its brokers are killed.
pub(crate) struct Cluster {
    jars: PathBuf,
    dir: PathBuf,
    machine: Vec<String>,
    nodes: Vec<Node>,
}

struct Node {
    /// Plain, controller, TLS, SASL.
    ports: [u16; 4],
    guard: Mutex<Option<Child>>,
}

impl Node {
    fn guard(&self) -> MutexGuard<'_, Option<Child>> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Starts it.
    pub(crate) fn start(plan: Plan<'_>) -> Result<Self> {
        let mut nodes = Vec::new();
        for _ in 0..plan.count {
            let mut ports = [0; 4];
            for port in &mut ports {
                *port = (plan.port)()?;
            }
            nodes.push(Node { ports, guard: Mutex::new(None) });
        }
        let machine = plan.machine.iter().map(ToString::to_string).collect();
        let cluster = Self { jars: plan.jars, dir: plan.dir, machine, nodes };
        let mut formatting = Vec::new();
        for at in 0..plan.count {
            let folder = cluster.folder(at);
            fs::create_dir_all(&folder)?;
            let properties = folder.join("server.properties");
            fs::write(&properties, cluster.properties(at, plan.more))?;
            let mut format = cluster.java("kafka.tools.StorageTool");
            format.args(["format", "-t", plan.identity, "-c"]).arg(properties).args(plan.format);
            formatting.push(format.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
        }
        for child in formatting {
            succeeded("kafka.tools.StorageTool", &child.wait_with_output()?)?;
        }
        for at in 0..plan.count {
            cluster.launch(at)?;
        }
        for at in 0..plan.count {
            cluster.wait_open(at)?;
        }
        Ok(cluster)
    }

    /// How many brokers there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The ports of a broker: plain, of the controller, TLS, SASL.
    pub(crate) fn ports(&self, at: usize) -> [u16; 4] {
        self.nodes[at].ports
    }

    fn addresses(&self) -> impl Iterator<Item = String> {
        (0..self.len()).map(|at| format!("127.0.0.1:{}", self.ports(at)[0]))
    }

    /// The addresses of all, with commas between.
    pub(crate) fn list(&self) -> String {
        self.addresses().collect::<Vec<_>>().join(",")
    }

    /// The same as a list in TOML or in a configuration of rsyslog.
    pub(crate) fn quoted(&self) -> String {
        let each: Vec<_> = self.addresses().map(|address| format!("\"{address}\"")).collect();
        format!("[{}]", each.join(", "))
    }

    /// Kills a broker.
    pub(crate) fn kill(&self, at: usize) -> Result<()> {
        if let Some(mut guard) = self.nodes[at].guard().take() {
            guard.stdin.take().context("a guard has an input")?.write_all(b"kill\n")?;
            guard.wait()?;
        }
        Ok(())
    }

    /// Starts it again, where it was killed.
    pub(crate) fn run(&self, at: usize) -> Result<()> {
        if self.nodes[at].guard().is_none() {
            self.launch(at)?;
        }
        self.wait_open(at)
    }

    /// The folder of a broker, in which its `log` is.
    pub(crate) fn folder(&self, at: usize) -> PathBuf {
        self.dir.join(format!("node{}", at + 1))
    }

    /// A program of Kafka's.
    pub(crate) fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command
            .args(&self.machine)
            .args(["-Xms64m", "-XX:+UseSerialGC"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .args(["-cp", &format!("{}/*", self.jars.display()), class])
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        command
    }

    /// What brokers that are killed, and clients that wait for them, need is short here: the time
    /// after which a dead broker may come back above all.
    fn properties(&self, at: usize, more: &str) -> String {
        let voter = |(at, node): (usize, &Node)| format!("{}@127.0.0.1:{}", at + 1, node.ports[1]);
        let voters: Vec<_> = self.nodes.iter().enumerate().map(voter).collect();
        let (replicas, insync) = if self.len() > 1 { (3, 2) } else { (1, 1) };
        let text = format!(
            "process.roles=broker,controller\nnode.id={}\ncontroller.quorum.voters={}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://{{plain}},CONTROLLER://{{controller}}\n\
             advertised.listeners=PLAINTEXT://{{plain}}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\nauto.create.topics.enable=false\nlog.retention.ms=-1\n\
             default.replication.factor={replicas}\nmin.insync.replicas={insync}\n\
             offsets.topic.replication.factor={replicas}\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor={replicas}\n\
             transaction.state.log.min.isr={insync}\ntransaction.state.log.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\nnum.network.threads=1\nnum.io.threads=2\n\
             background.threads=2\nlog.cleaner.dedupe.buffer.size=4194304\n\
             broker.session.timeout.ms=2000\nbroker.heartbeat.interval.ms=300\n{more}",
            at + 1,
            voters.join(","),
            self.folder(at).join("data").display(),
        );
        let names = ["{plain}", "{controller}", "{tls}", "{sasl}"];
        let text = text.replace("{dir}", &self.dir.display().to_string());
        names
            .iter()
            .zip(self.ports(at))
            .fold(text, |text, (name, port)| text.replace(name, &format!("127.0.0.1:{port}")))
    }

    fn launch(&self, at: usize) -> Result<()> {
        let folder = self.folder(at);
        let log = File::options().create(true).append(true).open(folder.join("log"))?;
        let broker = self.java("kafka.Kafka");
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh"]).arg(&self.dir).arg(broker.get_program());
        guard.args(broker.get_args()).arg(folder.join("server.properties"));
        guard.current_dir(&self.dir).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        *self.nodes[at].guard() = Some(guard.spawn().context("cannot start sh")?);
        Ok(())
    }

    fn wait_open(&self, at: usize) -> Result<()> {
        let (port, start) = (self.ports(at)[0], Instant::now());
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || fs::read_to_string(self.folder(at).join("log")).unwrap_or_default();
            ensure!(start.elapsed() < START, "a broker did not start: {}", log());
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &self.nodes {
            if let Some(mut guard) = node.guard().take() {
                drop(guard.stdin.take());
                // It ends by itself.
                let _ = guard.wait();
            }
        }
    }
}

fn succeeded(class: &str, output: &Output) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{class}: {}", said.trim());
    Ok(())
}

/// Whether there is a java.
pub(crate) fn has_java() -> bool {
    let java = Command::new("java").arg("-version").stderr(Stdio::null()).status();
    java.is_ok_and(|status| status.success())
}
