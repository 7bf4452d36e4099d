//! What is done to the site, one trouble after the other, as the seed says.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use nix::sys::signal::Signal;

use super::host::{Host, run};

/// The hub's address; it is taken away for a while.
pub(super) const HUB: &str = "10.77.0.1";
/// The longest step of a wall clock, in seconds.
const STEP: i64 = 3600;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// SIGKILL, and a start after a while.
    Kill,
    /// SIGTERM, and a start after a while.
    Restart,
    /// SIGSTOP for a while.
    Stop,
    /// Another configuration.
    Reload,
    /// No room on its disk for a while.
    FullDisk,
    /// The hub's address is gone for a while.
    NoPeer,
    /// Its wall clock steps.
    Clock,
}

const ALL: [What; 7] = [
    What::Kill,
    What::Restart,
    What::Stop,
    What::Reload,
    What::FullDisk,
    What::NoPeer,
    What::Clock,
];

/// The lines that reloads add to a configuration.
const VARIANTS: [&str; 3] = [
    "",
    "[output.some]\nsample = 10\npipe = \"exec cat >/dev/null\"\n",
    "[output.others]\nmatch = '[02468]$'\npipe = \"exec cat >/dev/null\"\nqueue = \"1MiB\"\n",
];

/// One trouble.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    what: What,
    /// The number of the host.
    pub(super) host: usize,
    length: Duration,
    /// What else is chosen at random.
    choice: u64,
    /// How long nothing happens afterwards.
    pub(super) rest: Duration,
}

impl Trouble {
    /// The next trouble of a site with so many hosts.
    pub(super) fn next(random: &mut Rng, hosts: usize) -> Self {
        Self {
            what: ALL[random.usize(..ALL.len())],
            host: random.usize(..hosts),
            length: Duration::from_millis(random.u64(100..3000)),
            choice: random.u64(..),
            rest: Duration::from_millis(random.u64(100..2500)),
        }
    }

    /// Lets it happen. Returns the time in which lines may not have come in at the host; `None` if
    /// all of them have to.
    pub(super) fn happen(&self, host: &mut Host) -> Result<Option<(Instant, Instant)>> {
        let start = Instant::now();
        match self.what {
            What::Kill | What::Restart => {
                let kills = self.what == What::Kill;
                host.signal(if kills { Signal::SIGKILL } else { Signal::SIGTERM })?;
                host.wait()?;
                thread::sleep(self.length / 4);
                host.start()?;
            }
            What::Stop => {
                host.signal(Signal::SIGSTOP)?;
                thread::sleep(self.length);
                host.signal(Signal::SIGCONT)?;
            }
            What::Reload => {
                let which = self.choice % VARIANTS.len() as u64;
                host.reload(VARIANTS[usize::try_from(which)?])?;
            }
            What::FullDisk => {
                host.fill_disk()?;
                thread::sleep(self.length);
                host.empty_disk()?;
            }
            What::NoPeer => {
                let address = format!("{HUB}/32");
                run("ip", &["address", "del", &address, "dev", "lo"])?;
                thread::sleep(self.length);
                run("ip", &["address", "add", &address, "dev", "lo"])?;
            }
            What::Clock => {
                let step = i64::try_from(self.choice % (2 * STEP as u64))? - STEP;
                host.step_clock(step)?;
            }
        }
        let loses = matches!(self.what, What::Kill | What::Restart | What::FullDisk);
        Ok(loses.then(|| (start, Instant::now())))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.length.as_millis();
        match self.what {
            What::Kill => write!(f, "SIGKILL"),
            What::Restart => write!(f, "restart"),
            What::Stop => write!(f, "stopped for {ms} ms"),
            What::Reload => write!(f, "reload"),
            What::FullDisk => write!(f, "full disk for {ms} ms"),
            What::NoPeer => write!(f, "the hub's address is gone for {ms} ms"),
            What::Clock => write!(f, "clock step"),
        }
    }
}
