//! Brokers of their own for a test: KRaft, without anything beside them, each in a folder and on
//! ports of its own; killed when dropped.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::util::{free_port, skip_here, skip_missing, wait_for};

/// What a cluster has beside plain listeners.
#[derive(Default, Clone, Copy)]
pub struct Options {
    /// Listeners with TLS and SASL, and rights.
    pub secured: bool,
    pub groups: Groups,
    /// Another identity of the cluster than that of other tests.
    pub other: bool,
    /// How long a member may be silent, in milliseconds; six seconds where it is 0.
    pub session: u32,
}

/// Who shares the partitions of a group out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Groups {
    #[default]
    Brokers,
    /// The members alone, whose sessions are of ten seconds.
    Members,
    /// The same, as the broker is from before 4.0, of the jars that LOGWEIR_KAFKA_OLD_JARS names.
    OldBroker,
}

/// A record as the console consumer prints it.
#[derive(Debug)]
pub struct Record {
    pub partition: u32,
    pub headers: String,
    pub key: String,
    pub value: String,
}

/// A cluster.
pub struct Brokers {
    /// One cluster at a time: each broker is a virtual machine of Java.
    _turn: MutexGuard<'static, ()>,
    jars: PathBuf,
    dir: tempfile::TempDir,
    nodes: Vec<Node>,
    /// The class of Java's console producer.
    producer: &'static str,
}

struct Node {
    id: usize,
    /// Plain, controller, TLS, SASL.
    ports: [u16; 4],
    child: Option<Child>,
}

static TURN: Mutex<()> = Mutex::new(());

/// Any 22 characters of base64url are a cluster's identity.
const CLUSTER: &str = "AAAAAAAAAAAAAAAAAAAAAQ";
const OTHER_CLUSTER: &str = "AAAAAAAAAAAAAAAAAAAAAg";

impl Brokers {
    /// Starts so many brokers; `None`, said, where there are none to start.
    pub fn start(count: usize, options: Options) -> Option<Self> {
        let name = match options.groups {
            Groups::OldBroker => "LOGWEIR_KAFKA_OLD_JARS",
            _ => "LOGWEIR_KAFKA_JARS",
        };
        let Some(jars) = std::env::var_os(name).map(PathBuf::from) else {
            skip_here(&format!("{name} names no folder with the jars of Apache Kafka"));
            return None;
        };
        if Command::new("java").arg("-version").output().is_err() {
            skip_missing("java");
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let ports = || [free_port(), free_port(), free_port(), free_port()];
        let nodes = (1..=count).map(|id| Node { id, ports: ports(), child: None }).collect();
        let producer = match options.groups {
            Groups::OldBroker => "kafka.tools.ConsoleProducer",
            _ => "org.apache.kafka.tools.ConsoleProducer",
        };
        let mut brokers = Self { _turn: turn, jars, dir, nodes, producer };
        if options.secured {
            brokers.certify();
        }
        for at in 0..count {
            brokers.format(at, options);
        }
        (0..count).for_each(|at| brokers.launch(at));
        (0..count).for_each(|at| brokers.wait_open(at));
        Some(brokers)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command
            .args(["-Xmx256m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .args(["-cp", &format!("{}/*", self.jars.display()), class])
            .current_dir(self.dir.path());
        command
    }

    fn tool(&self, class: &str, args: &[&str]) -> Output {
        let output = self.java(class).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{class} {args:?}: {said}");
        output
    }

    fn folder(&self, at: usize) -> PathBuf {
        self.path(&format!("node{}", self.nodes[at].id))
    }

    fn properties(&self, at: usize, options: Options) -> String {
        let Node { id, ports: [plain, controller, tls, sasl], .. } = &self.nodes[at];
        let voters: Vec<_> = self
            .nodes
            .iter()
            .map(|node| format!("{}@127.0.0.1:{}", node.id, node.ports[1]))
            .collect();
        let many = self.nodes.len() > 1;
        let (replicas, insync) = if many { (3, 2) } else { (1, 1) };
        let mut text = format!(
            "process.roles=broker,controller\nnode.id={id}\n\
             controller.quorum.voters={}\ncontroller.listener.names=CONTROLLER\n\
             log.dirs={}\nauto.create.topics.enable=false\n\
             default.replication.factor={replicas}\nmin.insync.replicas={insync}\n\
             offsets.topic.replication.factor={replicas}\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor={replicas}\n\
             transaction.state.log.min.isr={insync}\ntransaction.state.log.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\nnum.network.threads=1\nnum.io.threads=2\n\
             background.threads=2\nlog.cleaner.dedupe.buffer.size=4194304\n\
             broker.session.timeout.ms=2000\nbroker.heartbeat.interval.ms=300\n\
             group.consumer.session.timeout.ms={}\ngroup.consumer.min.session.timeout.ms=3000\n\
             group.consumer.heartbeat.interval.ms=1000\n\
             group.consumer.min.heartbeat.interval.ms=500\n",
            voters.join(","),
            self.folder(at).join("data").display(),
            if options.session == 0 { 6000 } else { options.session },
        );
        if options.groups == Groups::Members {
            text += "group.coordinator.rebalance.protocols=classic\n";
        }
        if options.groups != Groups::Brokers {
            text += "group.max.session.timeout.ms=10000\n";
        }
        let plain = format!("127.0.0.1:{plain}");
        let controller = format!("CONTROLLER://127.0.0.1:{controller}");
        if options.secured {
            let more = format!("PLAIN://{plain},TLS://127.0.0.1:{tls},SASL://127.0.0.1:{sasl}");
            let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
            let login = "org.apache.kafka.common.security.plain.PlainLoginModule required";
            let bearer = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
            write!(
                text,
                "listeners={more},{controller}\nadvertised.listeners={more}\n\
                 inter.broker.listener.name=PLAIN\nlistener.security.protocol.map=\
                 PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,SASL:SASL_SSL\n\
                 ssl.keystore.type=PEM\nssl.keystore.location={}\n\
                 ssl.truststore.type=PEM\nssl.truststore.location={}\n\
                 listener.name.tls.ssl.client.auth=required\n\
                 sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN,OAUTHBEARER\n\
                 listener.name.sasl.scram-sha-256.sasl.jaas.config={scram}\n\
                 listener.name.sasl.scram-sha-512.sasl.jaas.config={scram}\n\
                 listener.name.sasl.plain.sasl.jaas.config={login} user_logweir=\"secret\" \
                 user_writer=\"secret\";\n\
                 listener.name.sasl.oauthbearer.sasl.jaas.config={bearer} required \
                 unsecuredLoginStringClaim_sub=\"broker\";\n\
                 authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                 super.users=User:ANONYMOUS;User:CN=client;User:logweir\n",
                self.path("broker.pem").display(),
                self.path("ca.pem").display(),
            )
            .unwrap();
        } else {
            write!(
                text,
                "listeners=PLAINTEXT://{plain},{controller}\n\
                 advertised.listeners=PLAINTEXT://{plain}\n\
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
            )
            .unwrap();
        }
        text
    }

    fn format(&self, at: usize, options: Options) {
        let folder = self.folder(at);
        std::fs::create_dir(&folder).unwrap();
        let properties = folder.join("server.properties");
        std::fs::write(&properties, self.properties(at, options)).unwrap();
        let cluster = if options.other { OTHER_CLUSTER } else { CLUSTER };
        let mut args = vec!["format", "-t", cluster, "-c", properties.to_str().unwrap()];
        if options.secured {
            for scram in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                args.push("--add-scram");
                args.push(match scram {
                    "SCRAM-SHA-256" => "SCRAM-SHA-256=[name=logweir,password=secret]",
                    _ => "SCRAM-SHA-512=[name=logweir,password=secret]",
                });
            }
        }
        self.tool("kafka.tools.StorageTool", &args);
    }

    /// A certificate authority, and certificates of the brokers and of a client.
    fn certify(&self) {
        let script = "
            set -e
            new='openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
            $new -x509 -keyout ca.key -out ca.pem -subj /CN=ca -days 30
            for who in broker client; do
                $new -keyout $who.key -out $who.csr -subj /CN=$who
                printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\\n' > ext
                openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
                    -days 30 -extfile ext -out $who.crt
            done
            cat broker.key broker.crt > broker.pem
            cp client.crt client.pem";
        let output = Command::new("sh").args(["-c", script]).current_dir(self.dir.path()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn launch(&mut self, at: usize) {
        let folder = self.folder(at);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log"));
        let child = self
            .java("kafka.Kafka")
            .arg(folder.join("server.properties"))
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn();
        self.nodes[at].child = Some(child.unwrap());
    }

    fn wait_open(&self, at: usize) {
        let port = self.nodes[at].ports[0];
        wait_for("a broker to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
    }

    /// Kills a broker.
    pub fn kill(&mut self, at: usize) {
        if let Some(mut child) = self.nodes[at].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again.
    pub fn run(&mut self, at: usize) {
        self.launch(at);
        self.wait_open(at);
    }

    /// The first broker's address.
    pub fn first(&self) -> String {
        format!("127.0.0.1:{}", self.nodes[0].ports[0])
    }

    /// All of them, as a list in TOML.
    pub fn list(&self) -> String {
        let all: Vec<_> =
            self.nodes.iter().map(|n| format!("\"127.0.0.1:{}\"", n.ports[0])).collect();
        format!("[{}]", all.join(", "))
    }

    pub fn tls_port(&self) -> u16 {
        self.nodes[0].ports[2]
    }

    pub fn sasl_port(&self) -> u16 {
        self.nodes[0].ports[3]
    }

    /// Makes a topic.
    pub fn create(&self, topic: &str, partitions: u32) {
        self.create_with(topic, partitions, "retention.ms=-1");
    }

    /// The same, with an option of its own.
    pub fn create_with(&self, topic: &str, partitions: u32, option: &str) {
        let (first, partitions) = (self.first(), partitions.to_string());
        let args = ["--bootstrap-server", &first, "--create", "--topic", topic, "--partitions"];
        let args = [&args[..], &[&partitions, "--config", option]].concat();
        self.tool("org.apache.kafka.tools.TopicCommand", &args);
    }

    /// Deletes a topic, and waits until it is gone.
    pub fn delete(&self, topic: &str) {
        let first = self.first();
        let of = |what: &str| {
            let args = ["--bootstrap-server", &first, what];
            let named: &[&str] = if what == "--list" { &[] } else { &["--topic", topic] };
            self.tool("org.apache.kafka.tools.TopicCommand", &[&args[..], named].concat())
        };
        of("--delete");
        wait_for("the topic to be gone", || {
            let topics = String::from_utf8(of("--list").stdout).unwrap();
            (!topics.lines().any(|one| one == topic)).then_some(())
        });
    }

    /// Waits until every replica of a topic is in sync.
    pub fn wait_in_sync(&self, topic: &str) {
        wait_for("all replicas to be in sync", || {
            let first = self.first();
            let args = ["--bootstrap-server", &first, "--describe", "--topic", topic];
            let args = [&args[..], &["--under-replicated-partitions"]].concat();
            let output = self.tool("org.apache.kafka.tools.TopicCommand", &args);
            output.stdout.trim_ascii().is_empty().then_some(())
        });
    }

    /// Allows a user something on a topic.
    pub fn allow(&self, user: &str, topic: &str, operations: &[&str]) {
        let (first, user) = (self.first(), format!("User:{user}"));
        let mut args = vec![
            "--bootstrap-server",
            &first,
            "--add",
            "--allow-principal",
            &user,
            "--topic",
            topic,
        ];
        operations.iter().for_each(|operation| args.extend(["--operation", operation]));
        self.tool("org.apache.kafka.tools.AclCommand", &args);
    }

    /// How many records a topic has.
    pub fn end_offsets(&self, topic: &str) -> usize {
        let args = ["--bootstrap-server", &self.first(), "--topic", topic];
        let output = self.tool("org.apache.kafka.tools.GetOffsetShell", &args);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter_map(|line| line.rsplit(':').next()?.parse::<usize>().ok()).sum()
    }

    /// The sum of the offsets that a group has committed, and of those that it has still to read.
    pub fn committed(&self, group: &str) -> (usize, usize) {
        let args = ["--bootstrap-server", &self.first(), "--describe", "--group", group];
        let output = self.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &args);
        let text = String::from_utf8(output.stdout).unwrap();
        let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let rows: Vec<_> = rows.filter(|row| row.first() == Some(&group)).collect();
        // Group, topic, partition, current offset, end, lag.
        let sum = |at: usize| rows.iter().filter_map(|row| row[at].parse::<usize>().ok()).sum();
        (sum(3), sum(5))
    }

    /// Records by Java's own producer: a key, a colon, a value on each line.
    pub fn produce(&self, topic: &str, text: &str) {
        self.produce_packed(topic, text, "none");
    }

    /// The same, compressed.
    pub fn produce_packed(&self, topic: &str, text: &str, codec: &str) {
        let mut producer = self
            .java(self.producer)
            .args(["--bootstrap-server", &self.first(), "--topic", topic])
            .args(["--property", "parse.key=true", "--property", "key.separator=:"])
            .args(["--compression-codec", codec])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        producer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(producer.wait().unwrap().success());
    }

    /// All records of a topic, and a second for more than `count` to come.
    pub fn consume(&self, topic: &str, count: usize) -> Vec<Record> {
        assert_eq!(self.end_offsets(topic), count);
        let count = count.to_string();
        let output = self
            .java("org.apache.kafka.tools.consumer.ConsoleConsumer")
            .args(["--bootstrap-server", &self.first(), "--topic", topic, "--from-beginning"])
            .args(["--max-messages", &count, "--timeout-ms", "30000"])
            .args(["--property", "print.partition=true", "--property", "print.headers=true"])
            .args(["--property", "print.key=true"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let record = |line: &str| {
            let mut parts = line.splitn(4, '\t');
            let partition = parts.next()?.strip_prefix("Partition:")?.parse().ok()?;
            let mut text = || parts.next().map(str::to_string);
            Some(Record { partition, headers: text()?, key: text()?, value: text()? })
        };
        text.lines().filter_map(record).collect()
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        (0..self.nodes.len()).for_each(|at| self.kill(at));
        if std::thread::panicking() {
            for at in 0..self.nodes.len() {
                eprintln!("{}", said(&self.folder(at)));
            }
        }
    }
}

/// The last of what a broker said.
fn said(folder: &Path) -> String {
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    log.lines().rev().take(20).collect::<Vec<_>>().join("\n")
}
