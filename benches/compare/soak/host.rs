//! A host of the site: a daemon with a disk of its own, and what is done to it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long a daemon may take to start or end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host.
pub(super) struct Host {
    pub(super) name: String,
    dir: PathBuf,
    logweir: PathBuf,
    clock: PathBuf,
    /// Its configuration without what reloads change.
    config: String,
    child: Option<Child>,
}

/// What a host has and how well it counts, at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) descriptors: u64,
    pub(super) threads: u64,
    pub(super) resident_kib: u64,
}

impl Host {
    /// A host with an empty disk below `site`, whose size is a mount option, not started.
    pub(super) fn new(
        site: &Path,
        name: &str,
        logweir: &Path,
        clock: &Path,
        disk: &str,
        config: &str,
    ) -> Result<Self> {
        let dir = site.join(name);
        fs::create_dir(&dir)?;
        run("mount", &["-t", "tmpfs", "-o", disk, "tmpfs", &dir.display().to_string()])?;
        let config = config.replace("{dir}", &dir.display().to_string());
        let (logweir, clock) = (logweir.to_owned(), clock.to_owned());
        let host = Self { name: name.into(), dir, logweir, clock, config, child: None };
        host.write_config("")?;
        host.step_clock(0)?;
        Ok(host)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn write_config(&self, more: &str) -> Result<()> {
        fs::write(self.path("next.toml"), format!("{}\n{more}", self.config))?;
        Ok(fs::rename(self.path("next.toml"), self.path("logweir.toml"))?)
    }

    fn logweir(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.logweir);
        command.args(words).arg("--control").arg(self.path("control.sock"));
        command
    }

    pub(super) fn start(&mut self) -> Result<()> {
        // Not on its disk, which may be full.
        let log = self.dir.with_extension("log");
        let log = File::options().create(true).append(true).open(log)?;
        let child = Command::new(&self.logweir)
            .args(["run", "-c"])
            .arg(self.path("logweir.toml"))
            .env("LD_PRELOAD", &self.clock)
            .env("SOAK_CLOCK", self.path("clock"))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let start = Instant::now();
        while self.status().is_err() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().transpose());
            if ended.is_some() || start.elapsed() > PATIENCE {
                bail!("{} does not start: {}", self.name, self.last_words());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub(super) fn last_words(&self) -> String {
        let text = fs::read_to_string(self.dir.with_extension("log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    fn pid(&self) -> Option<Pid> {
        self.child.as_ref().map(|child| Pid::from_raw(child.id().cast_signed()))
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().context("the daemon is not there")?;
        Ok(kill(pid, signal)?)
    }

    /// Waits for its end after a signal.
    pub(super) fn wait(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the daemon is not there")?;
        let start = Instant::now();
        while child.try_wait()?.is_none() {
            if start.elapsed() > PATIENCE {
                child.kill()?;
                bail!("{} does not end: {}", self.name, self.last_words());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Has it read its configuration again, with these lines at its end.
    pub(super) fn reload(&self, more: &str) -> Result<()> {
        self.write_config(more)?;
        let done = self.logweir(&["ctl", "reload"]).output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "{}: the reload failed: {said}", self.name);
        Ok(())
    }

    /// Puts its wall clock so many seconds from the true time.
    pub(super) fn step_clock(&self, seconds: i64) -> Result<()> {
        let next = self.dir.join("clock.next");
        fs::write(&next, seconds.to_string())?;
        Ok(fs::rename(next, self.path("clock"))?)
    }

    /// Fills what is left of its disk.
    pub(super) fn fill_disk(&self) -> Result<()> {
        let mut ballast = File::create(self.path("ballast"))?;
        let zeroes = vec![0; 1 << 16];
        while ballast.write_all(&zeroes).is_ok() {}
        Ok(())
    }

    pub(super) fn empty_disk(&self) -> Result<()> {
        Ok(fs::remove_file(self.path("ballast"))?)
    }

    /// Its state as `top --once --json` shows it.
    pub(super) fn status(&self) -> Result<Value> {
        let output = self.logweir(&["top", "--once", "--json"]).output()?;
        ensure!(output.status.success(), "{} does not answer", self.name);
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Every ledger must balance.
    pub(super) fn check_ledgers(&self) -> Result<()> {
        let status = self.status()?;
        for node in status["nodes"].as_array().context("no nodes")? {
            let count = |key: &str| node[key].as_u64().unwrap_or(0);
            let dropped = node["dropped"].as_object().into_iter().flatten();
            let dropped: u64 = dropped.filter_map(|(_, lines)| lines.as_u64()).sum();
            let fates = count("lines_out") + count("not_selected") + dropped + count("queued");
            let whole = count("lines_in") == fates && node["balanced"] == true;
            ensure!(whole, "{}: a ledger does not balance: {node}", self.name);
        }
        Ok(())
    }

    pub(super) fn sample(&self) -> Result<Sample> {
        let process = format!("/proc/{}", self.pid().context("the daemon is not there")?);
        let status = fs::read_to_string(format!("{process}/status"))?;
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Ok(Sample {
            descriptors: fs::read_dir(format!("{process}/fd"))?.count() as u64,
            threads: figure("Threads:"),
            resident_kib: figure("VmRSS:"),
        })
    }

    /// The lines of a spool or of a file.
    pub(super) fn lines(&self, name: &str) -> Result<Vec<String>> {
        let path = self.path(name);
        let bytes = match path.is_dir() {
            true => {
                let output =
                    Command::new(&self.logweir).args(["spool", "cat"]).arg(path).output()?;
                let said = String::from_utf8_lossy(&output.stderr);
                ensure!(output.status.success(), "{}: spool cat: {said}", self.name);
                output.stdout
            }
            false => fs::read(path)?,
        };
        Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_string).collect())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both do nothing for one that has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a program of the system.
pub(super) fn run(program: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(program).args(args).output().with_context(|| program.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", args.join(" "), said.trim());
    Ok(())
}
