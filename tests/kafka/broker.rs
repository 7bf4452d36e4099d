//! Brokers that tests share: a virtual machine of Java takes seconds to start, and each test has
//! topics and groups of its own.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::admin;
use super::cluster::{Cluster, IDENTITY, Plan, has_java};
use crate::util::{free_port, skip_here, skip_missing, wait_for};

/// Which brokers a test needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One, which shares the partitions of groups out, and has listeners with TLS and SASL, and
    /// rights. Who comes without a name may do everything.
    One,
    /// One whose groups leave that to their members, with sessions of ten seconds at most. It is
    /// another cluster than [`Self::One`].
    Classic,
    /// The same, from before 4.0, of the jars that LOGWEIR_KAFKA_OLD_JARS names.
    Old,
    /// Three, for one test at a time, which may kill them.
    Three,
}

/// A record as a console consumer prints it.
#[derive(Debug)]
pub struct Record {
    pub partition: u32,
    pub headers: String,
    pub key: String,
    pub value: String,
}

/// Brokers for a test.
pub(crate) struct Brokers {
    cluster: &'static Cluster,
    kind: Kind,
    _turn: Option<MutexGuard<'static, ()>>,
}

/// Whose turn it is with the three.
static TURN: Mutex<()> = Mutex::new(());

const OTHER_IDENTITY: &str = "AAAAAAAAAAAAAAAAAAAAAg";

/// Beats come so often that groups settle within a second or two.
const GROUPS: &str = "group.consumer.min.session.timeout.ms=3000\n\
                      group.consumer.heartbeat.interval.ms=300\n\
                      group.consumer.min.heartbeat.interval.ms=300\n";

/// Of [`Kind::One`].
const SECURED: &str = r#"
group.consumer.session.timeout.ms=6000
listeners=PLAIN://{plain},CONTROLLER://{controller},TLS://{tls},SASL://{sasl}
advertised.listeners=PLAIN://{plain},TLS://{tls},SASL://{sasl}
inter.broker.listener.name=PLAIN
listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,SASL:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={dir}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={dir}/ca.pem
listener.name.tls.ssl.client.auth=required
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN,OAUTHBEARER
listener.name.sasl.scram-sha-256.sasl.jaas.config=\
    org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config=\
    org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.plain.sasl.jaas.config=\
    org.apache.kafka.common.security.plain.PlainLoginModule required \
    user_logweir="secret" user_writer="secret";
listener.name.sasl.oauthbearer.sasl.jaas.config=\
    org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
    unsecuredLoginStringClaim_sub="broker";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:CN=client;User:logweir
"#;

const SCRAM: &[&str] = &[
    "--add-scram",
    "SCRAM-SHA-256=[name=logweir,password=secret]",
    "--add-scram",
    "SCRAM-SHA-512=[name=logweir,password=secret]",
];

impl Kind {
    fn cell(self) -> &'static OnceLock<Cluster> {
        static CELLS: [OnceLock<Cluster>; 4] = [const { OnceLock::new() }; 4];
        &CELLS[self as usize]
    }

    /// Of the brokers' configuration.
    fn more(self) -> String {
        let own = match self {
            Self::One => SECURED,
            Self::Classic => {
                "group.coordinator.rebalance.protocols=classic\n\
                 group.max.session.timeout.ms=10000\n"
            }
            Self::Old => "group.max.session.timeout.ms=10000\n",
            // Brokers on a busy machine may be away for longer than six seconds.
            Self::Three => "group.consumer.session.timeout.ms=45000\n",
        };
        GROUPS.to_string() + own
    }

    fn start(self, jars: PathBuf) -> Cluster {
        let dir = tempfile::tempdir().unwrap().keep();
        if self == Self::One {
            certify(&dir);
        }
        Cluster::start(Plan {
            jars,
            dir,
            count: if self == Self::Three { 3 } else { 1 },
            identity: if self == Self::Classic { OTHER_IDENTITY } else { IDENTITY },
            more: &self.more(),
            format: if self == Self::One { SCRAM } else { &[] },
            machine: &["-Xmx384m", "-XX:TieredStopAtLevel=1"],
            port: || Ok(free_port()),
        })
        .unwrap()
    }
}

/// A certificate authority, and certificates of the brokers and of a client.
fn certify(dir: &Path) {
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
    let output = Command::new("sh").args(["-c", script]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Brokers {
    /// Brokers of this kind, started by the first test that needs them; `None`, said, where there
    /// are none to start.
    pub fn of(kind: Kind) -> Option<Self> {
        let name = match kind {
            Kind::Old => "LOGWEIR_KAFKA_OLD_JARS",
            _ => "LOGWEIR_KAFKA_JARS",
        };
        let Some(jars) = std::env::var_os(name).map(PathBuf::from) else {
            skip_here(&format!("{name} names no folder with the jars of Apache Kafka"));
            return None;
        };
        let has_kcat = Command::new("kcat").arg("-V").output().is_ok();
        for (is_there, program) in [(has_java(), "java"), (has_kcat, "Debian's kcat")] {
            if !is_there {
                skip_missing(program);
                return None;
            }
        }
        let turn =
            (kind == Kind::Three).then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
        let cluster = kind.cell().get_or_init(|| kind.start(jars));
        // A test before this one may have failed while one was dead.
        (0..cluster.len()).for_each(|at| cluster.run(at).unwrap());
        Some(Self { cluster, kind, _turn: turn })
    }

    /// One of them.
    pub fn first(&self) -> String {
        format!("127.0.0.1:{}", self.ports(0)[0])
    }

    pub fn tls_port(&self) -> u16 {
        self.ports(0)[2]
    }

    pub fn sasl_port(&self) -> u16 {
        self.ports(0)[3]
    }

    /// A file in the folder of the brokers, which all tests share.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder(0).parent().unwrap().join(name)
    }

    /// Kills a broker.
    pub fn kill(&self, at: usize) {
        assert_eq!(self.kind, Kind::Three, "others use it too");
        self.cluster.kill(at).unwrap();
    }

    /// Starts it again.
    pub fn run(&self, at: usize) {
        self.cluster.run(at).unwrap();
    }

    /// Makes a topic.
    pub fn create(&self, topic: &str, partitions: u32) {
        self.create_with(topic, partitions, "retention.ms=-1");
    }

    /// The same, with an option of its own.
    pub fn create_with(&self, topic: &str, partitions: u32, option: &str) {
        admin::create(&self.first(), topic, partitions, option);
    }

    /// Deletes a topic, and waits until it is gone.
    pub fn delete(&self, topic: &str) {
        admin::delete(&self.first(), topic);
    }

    /// Waits until every replica of a topic is in sync.
    pub fn wait_in_sync(&self, topic: &str) {
        wait_for("all replicas to be in sync", || {
            admin::is_in_sync(&self.first(), topic).then_some(())
        });
    }

    /// Allows a user something on a topic.
    pub fn allow(&self, user: &str, topic: &str, operations: &[&str]) {
        admin::allow(&self.first(), user, topic, operations);
    }

    /// How many records a topic has.
    pub fn end_offsets(&self, topic: &str) -> usize {
        admin::ends(&self.first(), topic).values().sum::<i64>() as usize
    }

    /// The sum of the offsets that a group has committed, and of those that it has still to read.
    pub fn committed(&self, group: &str) -> (usize, usize) {
        let committed = admin::committed(&self.first(), group);
        let mut ends = BTreeMap::new();
        let mut left = 0;
        for ((topic, part), offset) in &committed {
            let ends =
                ends.entry(topic.clone()).or_insert_with(|| admin::ends(&self.first(), topic));
            left += ends[part] - offset;
        }
        (committed.values().sum::<i64>() as usize, left as usize)
    }

    /// Records by librdkafka: a key, a colon, a value on each line.
    pub fn produce(&self, topic: &str, text: &str) {
        let mut kcat = Command::new("kcat");
        kcat.args(["-P", "-K", ":", "-X", "enable.idempotence=true"]);
        kcat.args(["-t", topic, "-b", &self.list()]);
        feed(kcat, text);
    }

    /// The same by Java's own producer, compressed.
    pub fn produce_by_java(&self, topic: &str, text: &str, codec: &str) {
        let mut producer = self.java("org.apache.kafka.tools.ConsoleProducer");
        producer.args(["--bootstrap-server", &self.first(), "--topic", topic]);
        producer.args(["--property", "parse.key=true", "--property", "key.separator=:"]);
        producer.args(["--compression-codec", codec]);
        feed(producer, text);
    }

    /// All records of a topic, which are exactly `count`, as librdkafka reads them.
    pub fn consume(&self, topic: &str, count: usize) -> Vec<Record> {
        assert_eq!(self.end_offsets(topic), count);
        let mut kcat = Command::new("kcat");
        kcat.args(["-C", "-e", "-q", "-o", "beginning", "-X", "check.crcs=true"]);
        kcat.args(["-f", "Partition:%p\t%h\t%k\t%s\n", "-t", topic, "-b", &self.list()]);
        records(&kcat.output().unwrap().stdout)
    }

    /// The same as Java's consumer reads them.
    pub fn consume_by_java(&self, topic: &str, count: usize) -> Vec<Record> {
        assert_eq!(self.end_offsets(topic), count);
        let output = self
            .java("org.apache.kafka.tools.consumer.ConsoleConsumer")
            .args(["--bootstrap-server", &self.first(), "--topic", topic, "--from-beginning"])
            .args(["--max-messages", &count.to_string(), "--timeout-ms", "30000"])
            .args(["--property", "print.partition=true", "--property", "print.headers=true"])
            .args(["--property", "print.key=true"])
            .output()
            .unwrap();
        records(&output.stdout)
    }
}

fn feed(mut producer: Command, text: &str) {
    let producer = producer.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut producer = producer.spawn().unwrap();
    producer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(producer.wait().unwrap().success());
}

/// What a consumer has printed.
fn records(text: &[u8]) -> Vec<Record> {
    let record = |line: &str| {
        let mut parts = line.splitn(4, '\t');
        let partition = parts.next()?.strip_prefix("Partition:")?.parse().ok()?;
        let mut text = || parts.next().map(str::to_string);
        Some(Record { partition, headers: text()?, key: text()?, value: text()? })
    };
    std::str::from_utf8(text).unwrap().lines().filter_map(record).collect()
}

impl Deref for Brokers {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for at in 0..self.len() {
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
