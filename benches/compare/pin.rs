//! One core for the daemon and another for the sender, the same for every program.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::unistd::gettid;

/// Where the daemon runs, with all its threads.
const DAEMON: &str = "1";
/// Where the sender runs.
const SENDER: &str = "0";

/// The command, kept to the daemon's core by `taskset`, which becomes the program it starts.
pub(crate) fn daemon(command: &Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", DAEMON]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => pinned.env(name, value),
            None => pinned.env_remove(name),
        };
    }
    pinned
}

/// Keeps this thread to the sender's core, and no other of the process.
pub(crate) fn sender() -> Result<()> {
    let mut command = Command::new("taskset");
    command.args(["-c", "-p", SENDER, &gettid().to_string()]);
    let output = command.stdin(Stdio::null()).output().context("cannot start taskset")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "taskset: {}: {}", output.status, said.trim());
    Ok(())
}
