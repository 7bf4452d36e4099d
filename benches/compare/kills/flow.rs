//! A flow of numbered lines through a chain, of which one end is killed now and then.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::spooled;
use crate::chain::{Chain, Feed, Peer, Place, Programs, Tally, Way};
use crate::daemon::Daemon;
use crate::load::LINE_BYTES;

/// The flow is over when the receiver's file has not grown for so long,
const QUIET: Duration = Duration::from_secs(20);
/// or only for so long, where as much is there as was sent.
const QUIET_COMPLETE: Duration = Duration::from_secs(3);

/// Which end is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    Nobody,
    Receiver,
    Sender,
}

/// What became of the lines.
pub(super) struct Outcome {
    /// What arrived.
    pub(super) arrived: Tally,
    /// What was ever in the sender's spool, where it has one that can be read.
    pub(super) spooled: Option<Tally>,
}

/// A chain under way.
pub(super) struct Flow<'a> {
    pub(super) programs: &'a Programs,
    pub(super) chain: Chain,
    pub(super) place: Place,
    pub(super) lines: u64,
}

impl<'a> Flow<'a> {
    /// One in a folder, its spool kept in one segment a start, so that nothing leaves it unseen.
    pub(super) fn new(programs: &'a Programs, peer: Peer, dir: &Path, lines: u64) -> Result<Self> {
        let place = Place::new(dir, Way::Datagrams, "1GiB")?;
        let chain = Chain { sender: peer, receiver: peer };
        Ok(Self { programs, chain, place, lines })
    }

    /// Sends the lines, kills the victim each time so many are sent, and counts.
    pub(super) fn run(&self, rate: Option<u64>, victim: Victim, at: &[u64]) -> Result<Outcome> {
        let mut receiver = self.programs.receiver(self.chain, &self.place)?;
        let mut sender = self.programs.sender(self.chain, &self.place)?;
        let mut spooled = Tally::new(self.lines);
        let feed = Feed::start(&self.place.door(self.chain.sender), self.lines, rate)?;
        for &moment in at {
            while feed.sent() < moment && !feed.is_over() {
                thread::sleep(Duration::from_micros(200));
            }
            match victim {
                Victim::Nobody => {}
                Victim::Receiver => {
                    drop(receiver);
                    receiver = self.programs.receiver(self.chain, &self.place)?;
                }
                Victim::Sender => {
                    // What is sent to a daemon that is not there says nothing about it.
                    feed.hold(true);
                    drop(sender);
                    self.look_into_spool(&mut spooled)?;
                    sender = self.programs.sender(self.chain, &self.place)?;
                    feed.hold(false);
                }
            }
        }
        feed.wait().context("the feed")?;
        self.finish(sender, receiver, spooled)
    }

    /// Waits until nothing more arrives, ends both and counts.
    fn finish(&self, mut sender: Daemon, receiver: Daemon, mut spooled: Tally) -> Result<Outcome> {
        wait_until_quiet(&self.place.output(), self.lines * LINE_BYTES);
        sender.check()?;
        self.look_into_spool(&mut spooled)?;
        sender.stop()?;
        receiver.stop()?;
        let arrived = Tally::file(&self.place.output(), self.lines)?;
        let ours = self.chain.sender == Peer::Logweir;
        Ok(Outcome { arrived, spooled: ours.then_some(spooled) })
    }

    fn look_into_spool(&self, spooled: &mut Tally) -> Result<()> {
        if self.chain.sender == Peer::Logweir {
            spooled.merge(&spooled::tally(&self.place.spool(), self.lines)?);
        }
        Ok(())
    }
}

fn wait_until_quiet(file: &Path, complete: u64) {
    let mut grown = (Instant::now(), 0);
    while grown.0.elapsed() < if grown.1 < complete { QUIET } else { QUIET_COMPLETE } {
        thread::sleep(Duration::from_millis(50));
        let now = fs::metadata(file).map_or(0, |data| data.len());
        if now != grown.1 {
            grown = (Instant::now(), now);
        }
    }
}
