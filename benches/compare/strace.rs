//! Counting the system calls of a program with strace.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program::in_path;

/// How long it may take until strace watches.
const ATTACH: Duration = Duration::from_secs(5);

/// A strace that watches a running program, all of its threads.
pub(crate) struct Strace {
    child: Child,
    table: PathBuf,
}

impl Strace {
    /// Whether there is one.
    pub(crate) fn is_here() -> bool {
        in_path("strace").is_some()
    }

    /// Begins to count.
    pub(crate) fn attach(pid: u32, dir: &Path) -> Result<Self> {
        let (table, said) = (dir.join("strace.table"), dir.join("strace.said"));
        let mut command = Command::new("strace");
        command.args(["-c", "-f", "-p", &pid.to_string(), "-o"]).arg(&table);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said)?);
        let strace = Self { child: command.spawn().context("cannot start strace")?, table };
        let start = Instant::now();
        while !fs::read_to_string(&said)?.contains("attached") {
            ensure!(start.elapsed() < ATTACH, "strace: {}", fs::read_to_string(&said)?.trim());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(strace)
    }

    /// Ends it; the number of calls it saw.
    pub(crate) fn finish(mut self) -> Result<u64> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT)?;
        self.child.wait()?;
        total(&self.table)
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // Both do nothing for a child that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number of calls in strace's table: `100.00 SECONDS USECS CALLS [ERRORS] total`. Without a
/// call there is no table.
pub(crate) fn total(table: &Path) -> Result<u64> {
    let text = fs::read_to_string(table)?;
    if text.trim().is_empty() {
        return Ok(0);
    }
    let line = text.lines().rev().find(|line| line.ends_with(" total"));
    let calls = line.and_then(|line| line.split_whitespace().nth(3));
    Ok(calls.context("strace printed no total")?.parse()?)
}
