//! A program under measurement: started, watched through /proc, ended by its own pid.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use crate::door::Door;

/// How long a program may take to open its port.
const START: Duration = Duration::from_secs(10);
/// How long it may take to end after SIGTERM; then it is killed.
const STOP: Duration = Duration::from_secs(20);
/// Between two looks at something that changes soon.
const PAUSE: Duration = Duration::from_millis(20);

/// A running program. Dropped, it is killed.
pub(crate) struct Daemon {
    child: Child,
    clock: ClockId,
}

impl Daemon {
    /// Starts it, with what it prints in the folder's `stdout` and `stderr`.
    pub(crate) fn start(command: &mut Command, dir: &Path) -> Result<Self> {
        let append = |name| File::options().create(true).append(true).open(dir.join(name));
        let (out, err) = (append("stdout")?, append("stderr")?);
        let program = command.get_program().display().to_string();
        let child = command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let clock = clock_getcpuclockid(pid(&child))?;
        Ok(Self { child, clock })
    }

    /// Waits until its way in is open and the start-up behind it is over.
    pub(crate) fn wait_for(&mut self, door: &Door<'_>) -> Result<()> {
        let start = Instant::now();
        while !door.is_open()? {
            self.check()?;
            if start.elapsed() > START {
                bail!("{door:?} did not open in {START:?}");
            }
            thread::sleep(PAUSE);
        }
        thread::sleep(Duration::from_millis(300));
        self.check()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error when it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("it ended early: {status}"),
            None => Ok(()),
        }
    }

    /// User and system time so far, of all its threads, ended ones too, without its children.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        Ok(self.clock.now()?.into())
    }

    /// The most resident memory it ever had, in KiB.
    pub(crate) fn peak_memory_kib(&self) -> Result<u64> {
        self.figure("VmHWM:")
    }

    /// Its resident memory now, in KiB.
    pub(crate) fn resident_kib(&self) -> Result<u64> {
        self.figure("VmRSS:")
    }

    fn figure(&self, name: &'static str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()).context(name)?;
        Ok(number.parse()?)
    }

    /// Waits until it has ended well by itself; the CPU time it took, and the most resident memory
    /// that was seen, in KiB.
    pub(crate) fn wait_for_end(mut self) -> Result<(Duration, u64)> {
        let (id, mut peak) = (pid(&self.child), 0);
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(id), flags)? == WaitStatus::StillAlive {
            // One that has just ended has no memory left.
            peak = self.peak_memory_kib().unwrap_or(peak);
            thread::sleep(PAUSE);
        }
        // The clock runs no more, and is there until the child is waited for.
        let cpu = self.cpu()?;
        let status = self.child.wait()?;
        ensure!(status.success(), "it ended badly: {status}");
        Ok((cpu, peak))
    }

    /// Ends it in good order, or at least ends it.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill(pid(&self.child), Signal::SIGTERM)?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > STOP {
                bail!("SIGTERM did not end it in {STOP:?}");
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both do nothing for a child that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}
