//! A cluster of its own: brokers of Apache Kafka in KRaft mode, from the folder of jars that
//! `LOGWEIR_KAFKA_JARS` names.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// How long a broker may take to open its port.
const START: Duration = Duration::from_secs(60);
/// Between two looks at its port.
const PAUSE: Duration = Duration::from_millis(50);
/// Any 22 characters of base64url are a cluster's identity.
const CLUSTER: &str = "AAAAAAAAAAAAAAAAAAAAAQ";

/// The folder of jars, where there are jars and a java.
pub(super) fn jars() -> Option<PathBuf> {
    let java = Command::new("java").arg("-version").stderr(Stdio::null()).status();
    java.ok().filter(|status| status.success())?;
    std::env::var_os("LOGWEIR_KAFKA_JARS").map(PathBuf::from)
}

/// A cluster. Dropped, its brokers are killed.
pub(super) struct Cluster {
    jars: PathBuf,
    dir: PathBuf,
    nodes: Vec<Node>,
}

struct Node {
    port: u16,
    controller: u16,
    child: Mutex<Option<Child>>,
}

impl Node {
    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Starts so many brokers, their folders below `dir`.
    pub(super) fn start(jars: &Path, count: usize, dir: &Path) -> Result<Self> {
        let mut nodes = Vec::new();
        for _ in 0..count {
            let (port, controller) = (free_port()?, free_port()?);
            nodes.push(Node { port, controller, child: Mutex::new(None) });
        }
        let cluster = Self { jars: jars.to_owned(), dir: dir.to_owned(), nodes };
        for at in 0..count {
            let folder = cluster.folder(at);
            fs::create_dir(&folder)?;
            let properties = folder.join("server.properties");
            fs::write(&properties, cluster.properties(at))?;
            let file = properties.display().to_string();
            cluster.tool("kafka.tools.StorageTool", &["format", "-t", CLUSTER, "-c", &file])?;
        }
        for at in 0..count {
            cluster.launch(at)?;
        }
        for at in 0..count {
            cluster.wait_open(at)?;
        }
        Ok(cluster)
    }

    /// How many brokers there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// All of them, as kcat takes them.
    pub(super) fn list(&self) -> String {
        self.addresses().collect::<Vec<_>>().join(",")
    }

    /// The same as a list in TOML or in a configuration of rsyslog.
    pub(super) fn quoted(&self) -> String {
        let each: Vec<_> = self.addresses().map(|address| format!("\"{address}\"")).collect();
        format!("[{}]", each.join(", "))
    }

    fn addresses(&self) -> impl Iterator<Item = String> {
        self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port))
    }

    /// Makes a topic.
    pub(super) fn create(&self, topic: &str, partitions: u32) -> Result<()> {
        let (list, partitions) = (self.list(), partitions.to_string());
        let args = ["--bootstrap-server", &list, "--create", "--topic", topic, "--partitions"];
        self.tool("org.apache.kafka.tools.TopicCommand", &[&args[..], &[&partitions]].concat())
    }

    /// Kills a broker.
    pub(super) fn kill(&self, at: usize) -> Result<()> {
        if let Some(mut child) = self.nodes[at].child().take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts it again.
    pub(super) fn run(&self, at: usize) -> Result<()> {
        self.launch(at)?;
        self.wait_open(at)
    }

    fn folder(&self, at: usize) -> PathBuf {
        self.dir.join(format!("node{}", at + 1))
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command.args(["-Xmx384m", "-Xms64m", "-XX:+UseSerialGC"]);
        if self.nodes.len() > 1 {
            // Three virtual machines beside each other start sooner so.
            command.arg("-XX:TieredStopAtLevel=1");
        }
        command
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .args(["-cp", &format!("{}/*", self.jars.display()), class])
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        command
    }

    fn tool(&self, class: &str, args: &[&str]) -> Result<()> {
        let output = self.java(class).args(args).output().context("cannot start java")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{class} {args:?}: {}", said.trim());
        Ok(())
    }

    /// What brokers that are killed, and clients that wait for them, need is short here: the time
    /// after which a dead broker may come back above all.
    fn properties(&self, at: usize) -> String {
        let node = &self.nodes[at];
        let voter =
            |(at, node): (usize, &Node)| format!("{}@127.0.0.1:{}", at + 1, node.controller);
        let voters: Vec<_> = self.nodes.iter().enumerate().map(voter).collect();
        let (replicas, insync) = if self.nodes.len() > 1 { (3, 2) } else { (1, 1) };
        format!(
            "process.roles=broker,controller\nnode.id={}\ncontroller.quorum.voters={}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\nauto.create.topics.enable=false\nlog.retention.ms=-1\n\
             default.replication.factor={replicas}\nmin.insync.replicas={insync}\n\
             offsets.topic.replication.factor={replicas}\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor={replicas}\n\
             transaction.state.log.min.isr={insync}\ntransaction.state.log.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\nnum.network.threads=1\nnum.io.threads=2\n\
             background.threads=2\nlog.cleaner.dedupe.buffer.size=4194304\n\
             broker.session.timeout.ms=2000\nbroker.heartbeat.interval.ms=300\n",
            at + 1,
            voters.join(","),
            node.controller,
            self.folder(at).join("data").display(),
            port = node.port,
        )
    }

    fn launch(&self, at: usize) -> Result<()> {
        let folder = self.folder(at);
        let log = File::options().create(true).append(true).open(folder.join("log"))?;
        let mut command = self.java("kafka.Kafka");
        command.arg(folder.join("server.properties")).stdout(Stdio::null()).stderr(log);
        *self.nodes[at].child() = Some(command.spawn().context("cannot start java")?);
        Ok(())
    }

    fn wait_open(&self, at: usize) -> Result<()> {
        let (port, start) = (self.nodes[at].port, Instant::now());
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
        for at in 0..self.nodes.len() {
            // It may have ended by itself.
            let _ = self.kill(at);
        }
    }
}

/// A port that is free, below those that the kernel gives to outgoing connections: a broker that
/// is killed must find its port free again.
fn free_port() -> Result<u16> {
    for _ in 0..1000 {
        let port = fastrand::u16(20_001..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no port from 20001 to 31999 is free")
}
