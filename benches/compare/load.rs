//! The load: `logweir gen`, the same for every program.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::case::{Case, CaseName};

/// The length of a line, without its newline.
pub(crate) const LINE_BYTES: u64 = 200;

/// The one host that the syslog messages are from.
pub(crate) const HOST: &str = "web1";
/// How its errors begin: of the priorities that `logweir gen` uses, only this is one.
pub(crate) const ERROR: &[u8] = b"<11>";

/// Sends the case's lines to a port and tells how long that took.
pub(crate) fn send(logweir: &Path, case: &Case, port: u16) -> Result<Duration> {
    let mut command = Command::new(logweir);
    command.args(["gen", "--to", &format!("udp://127.0.0.1:{port}")]);
    command.args(["--lines", &case.lines.to_string(), "--size", &LINE_BYTES.to_string()]);
    match case.name {
        CaseName::SyslogUdp => command.args(["--format", "rfc5424", "--sender", HOST]),
        _ => command.args(["--format", "raw"]),
    };
    if let Some(rate) = case.rate {
        command.args(["--rate", &rate.to_string()]);
    }
    if !case.gso {
        command.arg("--no-gso");
    }
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output().context("cannot start logweir gen")?;
    let took = start.elapsed();
    if !output.status.success() {
        bail!("logweir gen: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(took)
}
