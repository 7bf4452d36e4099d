//! The programs before Kafka and behind it, and their configurations.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::cluster::Cluster;
use super::topic::Topic;
use crate::measure::Bench;

/// A program, and what is before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// With lines that wait in a spool, or into a file.
    Logweir,
    /// From a named pipe, through a spool.
    LogweirPiped,
    /// From a file, or to one.
    Kcat,
    /// From TCP, or to a file.
    Rsyslog,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logweir => "logweir",
            Self::LogweirPiped => "logweir, from a pipe",
            Self::Kcat => "kcat",
            Self::Rsyslog => "rsyslog",
        })
    }
}

/// What is needed here, and what is compared with.
pub(super) struct Found {
    pub(super) logweir: PathBuf,
    pub(super) jars: PathBuf,
    rsyslog: Option<PathBuf>,
}

impl Found {
    /// `None`, and said, where there are no brokers or there is no kcat.
    pub(super) fn look(bench: &Bench<'_>) -> Option<Self> {
        let Some(jars) = super::brokers::jars() else {
            println!("left out: LOGWEIR_KAFKA_JARS names no jars of Apache Kafka, or no java");
            return None;
        };
        if Command::new("kcat").arg("-V").stdout(Stdio::null()).status().is_err() {
            println!("left out: kcat is not installed");
            return None;
        }
        let has = |rsyslogd: &&Path| has_kafka(rsyslogd, bench.scratch);
        let rsyslog = bench.found.rsyslog().filter(has).map(Path::to_owned);
        if rsyslog.is_none() {
            println!("not installed, left out: rsyslog-kafka");
        }
        Some(Self { logweir: bench.found.logweir.clone(), jars, rsyslog })
    }

    /// Whether it takes part.
    pub(super) fn wanted(&self, program: Program, only: &[String]) -> bool {
        let name = program.to_string();
        let named = only.is_empty() || only.iter().any(|part| name.contains(part.as_str()));
        named && (program != Program::Rsyslog || self.rsyslog.is_some())
    }

    /// logweir with these nodes.
    pub(super) fn logweir(&self, nodes: &str, dir: &Path) -> Result<Command> {
        let (config, control) = (dir.join("logweir.toml"), dir.join("control.sock"));
        let daemon = format!("[daemon]\ncontrol = \"{}\"\ngrace = \"2s\"\n", control.display());
        fs::write(&config, daemon + nodes)?;
        let mut command = Command::new(&self.logweir);
        command.args(["run", "-c"]).arg(config);
        Ok(command)
    }

    /// rsyslog with this configuration.
    pub(super) fn rsyslog(&self, text: &str, dir: &Path) -> Result<Command> {
        let rsyslogd = self.rsyslog.as_deref().context("rsyslog-kafka is not installed")?;
        let config = dir.join("rsyslog.conf");
        fs::write(&config, format!("global(workDirectory=\"{}\")\n{text}", dir.display()))?;
        let mut command = Command::new(rsyslogd);
        command.args(["-n", "-f"]).arg(config).arg("-i").arg(dir.join("rsyslogd.pid"));
        Ok(command)
    }

    /// kcat, which writes a file's lines to a topic.
    pub(super) fn kcat_out(topic: Topic<'_>, file: &Path) -> Command {
        let mut command = Command::new("kcat");
        command.args(["-P", "-b", &topic.cluster.list(), "-t", topic.name]);
        command.args(["-X", "enable.idempotence=true", "-X", "acks=all", "-l"]).arg(file);
        command
    }

    /// kcat, which reads a topic to its end.
    pub(super) fn kcat_in(topic: Topic<'_>) -> Command {
        let mut command = Command::new("kcat");
        command.args(["-C", "-e", "-q", "-o", "beginning", "-b", &topic.cluster.list()]);
        command.args(["-X", "check.crcs=true", "-t", topic.name]);
        command
    }
}

/// logweir's spool `hold` behind an input, and its output to a topic.
pub(super) fn spool_to_topic(input: &str, topic: Topic<'_>, dir: &Path) -> String {
    let (spool, output) = (spool(input, dir), output(topic.cluster, topic.name));
    format!("{spool}{output}")
}

/// The first part of that.
pub(super) fn spool(input: &str, dir: &Path) -> String {
    format!(
        "[input.in]\n{input}\n[spool.hold]\nfrom = \"in\"\ndir = \"{}\"\nmax_size = \"16GiB\"\n\
         when_full = \"block\"\n",
        dir.join("hold").display()
    )
}

fn output(cluster: &Cluster, topic: &str) -> String {
    format!(
        "[output.k]\nfrom = \"hold\"\nkafka = {{ brokers = {}, topic = \"{topic}\" }}\n",
        cluster.quoted()
    )
}

/// rsyslog's action that writes to a topic: the idempotent producer, every partition, messages that
/// failed tried again, a queue that goes to disk.
pub(super) fn omkafka(topic: Topic<'_>, template: &str, dir: &Path) -> String {
    format!(
        "module(load=\"omkafka\")\n\
         template(name=\"bare\" type=\"string\" string=\"{template}\")\n\
         ruleset(name=\"r\") {{ action(type=\"omkafka\" broker={} topic=\"{}\" template=\"bare\" \
         partitions.auto=\"on\" confParam=[\"enable.idempotence=true\",\"acks=all\", \
         \"queue.buffering.max.messages=1000000\"] \
         resubmitOnFailure=\"on\" keepFailedMessages=\"on\" failedMsgFile=\"{dir}/failed\" \
         closeTimeout=\"10000\" action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\" \
         queue.type=\"linkedList\" queue.filename=\"k\" queue.size=\"100000\" \
         queue.dequeueBatchSize=\"4096\" queue.maxDiskSpace=\"8g\" queue.saveOnShutdown=\"on\") \
         }}\n",
        topic.cluster.quoted(),
        topic.name,
        dir = dir.display(),
    )
}

/// Whether this rsyslog has what is needed.
fn has_kafka(rsyslogd: &Path, scratch: &Path) -> bool {
    let config = scratch.join("kafka-modules.conf");
    let modules = "module(load=\"imkafka\")\nmodule(load=\"omkafka\")\nmodule(load=\"imptcp\")\n\
                   action(type=\"omfile\" file=\"/dev/null\")\n";
    let mut check = Command::new(rsyslogd);
    check.args(["-N1", "-f"]).arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    fs::write(&config, modules).is_ok() && check.status().is_ok_and(|status| status.success())
}
