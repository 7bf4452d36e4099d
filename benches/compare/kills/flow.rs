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
    /// Both at once.
    Both,
}

impl Victim {
    fn is_receiver(self) -> bool {
        matches!(self, Self::Receiver | Self::Both)
    }

    fn is_sender(self) -> bool {
        matches!(self, Self::Sender | Self::Both)
    }
}

/// The programs that run. Dropped, they are killed.
#[derive(Default)]
struct Ends {
    sender: Option<Daemon>,
    receiver: Option<Daemon>,
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
        let mut ends = Ends::default();
        self.start_missing(&mut ends)?;
        let mut spooled = Tally::new(self.lines);
        let feed = Feed::start(&self.place.door(self.chain.sender), self.lines, rate)?;
        for &moment in at {
            while feed.sent() < moment && !feed.is_over() {
                thread::sleep(Duration::from_micros(200));
            }
            if victim.is_sender() {
                // What is sent to a daemon that is not there says nothing about it.
                feed.hold(true);
                ends.sender = None;
                self.look_into_spool(&mut spooled)?;
            }
            if victim.is_receiver() {
                ends.receiver = None;
            }
            self.start_missing(&mut ends)?;
            feed.hold(false);
        }
        feed.wait().context("the feed")?;
        self.finish(ends, spooled)
    }

    fn start_missing(&self, ends: &mut Ends) -> Result<()> {
        if ends.receiver.is_none() {
            ends.receiver = Some(self.programs.receiver(self.chain, &self.place)?);
        }
        if ends.sender.is_none() {
            ends.sender = Some(self.programs.sender(self.chain, &self.place)?);
        }
        Ok(())
    }

    /// Waits until nothing more arrives, ends both and counts.
    fn finish(&self, ends: Ends, mut spooled: Tally) -> Result<Outcome> {
        wait_until_quiet(&self.place.output(), self.lines * LINE_BYTES);
        self.look_into_spool(&mut spooled)?;
        for mut daemon in ends.sender.into_iter().chain(ends.receiver) {
            daemon.check()?;
            daemon.stop()?;
        }
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
