//! Starting the ends of a chain.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::place::{Chain, Peer, Place};
use super::{logweir, rsyslog};
use crate::daemon::Daemon;
use crate::door::Door;
use crate::measure::last_words;

/// The programs of the chains.
#[derive(Debug)]
pub(crate) struct Programs {
    logweir: PathBuf,
    rsyslog: Option<PathBuf>,
}

impl Programs {
    /// Says so where rsyslog, or its RELP, is not installed.
    pub(crate) fn look(logweir: &Path, rsyslogd: Option<&Path>, scratch: &Path) -> Self {
        let rsyslog = rsyslogd.filter(|rsyslogd| rsyslog::has_relp(rsyslogd, scratch));
        if rsyslog.is_none() {
            println!("not installed, left out: rsyslog-relp");
        }
        Self { logweir: logweir.to_owned(), rsyslog: rsyslog.map(Path::to_owned) }
    }

    /// Whether both ends are here.
    pub(crate) fn have(&self, chain: Chain) -> bool {
        let both = [chain.sender, chain.receiver];
        self.rsyslog.is_some() || both.iter().all(|peer| *peer == Peer::Logweir)
    }

    fn rsyslog(&self) -> Result<&Path> {
        self.rsyslog.as_deref().context("rsyslog-relp is not installed")
    }

    /// Starts the sender, and waits until it takes lines.
    pub(crate) fn sender(&self, chain: Chain, place: &Place) -> Result<Daemon> {
        let mut command = match chain.sender {
            Peer::Logweir => logweir::sender(&self.logweir, chain.receiver, place)?,
            Peer::Rsyslog => rsyslog::sender(self.rsyslog()?, place)?,
        };
        start(&mut command, &place.sender_dir, &place.door(chain.sender))
    }

    /// Starts the receiver, and waits until it takes connections.
    pub(crate) fn receiver(&self, chain: Chain, place: &Place) -> Result<Daemon> {
        let mut command = match chain.receiver {
            Peer::Logweir => logweir::receiver(&self.logweir, place)?,
            Peer::Rsyslog => rsyslog::receiver(self.rsyslog()?, place)?,
        };
        start(&mut command, &place.receiver_dir, &Door::Tcp(place.relp_port))
    }
}

fn start(command: &mut Command, dir: &Path, door: &Door<'_>) -> Result<Daemon> {
    let mut daemon = Daemon::start(command, dir)?;
    daemon.wait_for(door).with_context(|| last_words(dir))?;
    Ok(daemon)
}
