//! A receiver that lends the disk a hand.
//!
//! Where all that an input takes in goes to one file, its receiver writes it as well: what it has
//! just received is in its processor's cache yet, and no other thread has to be woken for it. The
//! loop is between the two as ever. The thread of the disk does the jobs whenever the receiver
//! would not look for some within a pause: while it waits for datagrams or for the loop, and for a
//! while after a job that took long, so that a slow disk costs what waits for it and not what
//! comes.

use std::sync::Arc;
use std::time::Instant;

use super::receiver::Wishes;
use super::station::Station;
use crate::limits::{HAND_RESTS, HAND_SLOW};

/// The hand of one receiver.
#[derive(Debug)]
pub(super) struct Hand {
    wishes: Arc<Wishes>,
    station: Option<Arc<Station>>,
    /// Whether something was done that the loop was not woken for.
    untold: bool,
    rests_until: Option<Instant>,
}

impl Hand {
    /// One that is not lent.
    pub(super) fn new(wishes: Arc<Wishes>) -> Self {
        Self { wishes, station: None, untold: false, rests_until: None }
    }

    /// Lends it where the loop says so. From now on [`Self::work`] or [`Self::withdraw`] must
    /// come within a pause.
    pub(super) fn lend(&mut self) {
        self.lend_at(Instant::now());
    }

    fn lend_at(&mut self, now: Instant) {
        let wanted = self.wishes.station();
        let same = |station: &Arc<Station>| {
            wanted.as_ref().is_some_and(|wanted| Arc::ptr_eq(wanted, station))
        };
        if self.station.as_ref().is_some_and(same) {
            return;
        }
        self.withdraw();
        let Some(station) = wanted.filter(|station| station.may_be_helped()) else { return };
        if self.rests_until.is_some_and(|until| now < until) {
            return;
        }
        self.rests_until = None;
        station.set_helped(true);
        self.station = Some(station);
    }

    /// Does what is to be done; whether something was. The loop learns of it with the next
    /// hand-over, or by [`Self::tell`].
    pub(super) fn work(&mut self) -> bool {
        let Some(station) = &self.station else { return false };
        let start = Instant::now();
        if !station.help() {
            return false;
        }
        self.untold = true;
        self.did(start, Instant::now());
        true
    }

    fn did(&mut self, start: Instant, end: Instant) {
        if end - start >= HAND_SLOW {
            self.rests_until = Some(end + HAND_RESTS);
            self.withdraw();
        }
    }

    /// Has the loop look at what was done.
    pub(super) fn tell(&mut self) {
        if let Some(station) = &self.station
            && std::mem::take(&mut self.untold)
        {
            station.wake();
        }
    }

    /// The loop has been woken for something else.
    pub(super) fn told(&mut self) {
        self.untold = false;
    }

    /// Leaves the jobs to the disk's thread.
    pub(super) fn withdraw(&mut self) {
        self.tell();
        if let Some(station) = self.station.take() {
            station.set_helped(false);
        }
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.withdraw();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::driver::wake::Wake;
    use crate::output::open_files::OpenFiles;

    fn station(is_local: bool) -> Arc<Station> {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let station = Station::new(channel().0, Wake::new(waker), OpenFiles::default());
        station.set_local(is_local);
        Arc::new(station)
    }

    #[test]
    fn it_is_lent_where_the_loop_says_and_the_disk_is_a_local_one() {
        let wishes = Arc::new(Wishes::default());
        let mut hand = Hand::new(Arc::clone(&wishes));
        hand.lend();
        assert!(hand.station.is_none());
        wishes.set_station(Some(station(false)));
        hand.lend();
        assert!(hand.station.is_none());
        let (one, other) = (station(true), station(true));
        for wanted in [&one, &other] {
            wishes.set_station(Some(Arc::clone(wanted)));
            hand.lend();
            assert!(hand.station.as_ref().is_some_and(|lent| Arc::ptr_eq(lent, wanted)));
        }
        assert_eq!((one.is_helped(), other.is_helped()), (false, true));
        wishes.set_station(None);
        hand.lend();
        assert!(hand.station.is_none() && !other.is_helped());
    }

    #[test]
    fn it_rests_after_a_slow_job() {
        let wishes = Arc::new(Wishes::default());
        wishes.set_station(Some(station(true)));
        let mut hand = Hand::new(wishes);
        let start = Instant::now();
        hand.lend_at(start);
        hand.did(start, start + HAND_SLOW / 2);
        assert!(hand.station.is_some());
        let end = start + HAND_SLOW;
        hand.did(start, end);
        assert!(hand.station.is_none());
        hand.lend_at(end + HAND_RESTS / 2);
        assert!(hand.station.is_none());
        hand.lend_at(end + HAND_RESTS);
        assert!(hand.station.is_some());
    }
}
