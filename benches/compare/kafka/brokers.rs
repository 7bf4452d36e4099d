//! A cluster of its own, from the folder of jars that `LOGWEIR_KAFKA_JARS` names.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::cluster::{Cluster, IDENTITY, Plan, has_java};

/// The folder of jars, where there are jars and a java.
pub(super) fn jars() -> Option<PathBuf> {
    has_java().then(|| std::env::var_os("LOGWEIR_KAFKA_JARS").map(PathBuf::from))?
}

/// Starts so many brokers, their folders below `dir`.
pub(super) fn start(jars: &Path, count: usize, dir: &Path) -> Result<Cluster> {
    // Three virtual machines beside each other start sooner with the second option.
    let machine = ["-Xmx384m", "-XX:TieredStopAtLevel=1"];
    Cluster::start(Plan {
        jars: jars.to_owned(),
        dir: dir.join("brokers"),
        count,
        identity: IDENTITY,
        more: "",
        format: &[],
        machine: if count > 1 { &machine } else { &machine[..1] },
        port: free_port,
    })
}

/// Makes a topic.
pub(super) fn create(cluster: &Cluster, topic: &str, partitions: u32) -> Result<()> {
    let (list, partitions) = (cluster.list(), partitions.to_string());
    let args = ["--bootstrap-server", &list, "--create", "--topic", topic, "--partitions"];
    let mut tool = cluster.java("org.apache.kafka.tools.TopicCommand");
    let output = tool.args(args).arg(partitions).output().context("cannot start java")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "no topic {topic}: {}", said.trim());
    Ok(())
}

fn free_port() -> Result<u16> {
    for _ in 0..1000 {
        let port = fastrand::u16(20_001..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no port from 20001 to 31999 is free")
}
