//! Line ages, measured so that a wrong wall clock does not distort them.
//!
//! Lines are dropped for their age, so a clock that is days ahead for a few seconds must not make
//! them old. Lines written by this process age by the monotonic clock. For older lines the wall
//! clock is checked against the monotonic one: after a jump ahead only elapsed time counts, until
//! the jump has lasted for [`CLOCK_BELIEVED`].

use std::time::{Duration, SystemTime};

use crate::clock::Mono;
use crate::limits::{CLOCK_BELIEVED, CLOCK_STEP};

/// The readings of both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The wall clock, which may jump.
    pub wall: SystemTime,
    /// The monotonic clock.
    pub mono: Mono,
}

/// The time of the last write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// By the wall clock, as it read then.
    pub wall: SystemTime,
    /// By the monotonic clock; `None` where another process wrote it.
    pub mono: Option<Mono>,
}

/// A wall clock that ignores jumps ahead.
#[derive(Debug, Clone, Copy)]
pub struct Steady {
    /// Its reading when it last agreed with the wall clock.
    base: SystemTime,
    /// The monotonic time of that reading; `None` until the first look.
    at: Option<Mono>,
    /// When the wall clock was first seen ahead.
    ahead_since: Option<Mono>,
}

impl Steady {
    /// Creates a clock that read `base` at the previous daemon's last write. If the wall clock is
    /// now far ahead of that, there is no telling whether it is wrong.
    pub fn new(base: SystemTime) -> Self {
        Self { base, at: None, ahead_since: None }
    }

    /// Returns the time to compute ages from and, once per jump, how far ahead the distrusted wall
    /// clock is.
    pub fn look(&mut self, now: Now) -> (SystemTime, Option<Duration>) {
        let passed = now.mono.since(*self.at.get_or_insert(now.mono));
        let expected = self.base + passed;
        let ahead = now.wall.duration_since(expected).unwrap_or_default();
        if ahead <= CLOCK_STEP {
            return (self.agree(now), None);
        }
        let is_new = self.ahead_since.is_none();
        let since = *self.ahead_since.get_or_insert(now.mono);
        if now.mono.since(since) >= CLOCK_BELIEVED {
            return (self.agree(now), None);
        }
        (expected, is_new.then_some(ahead))
    }

    fn agree(&mut self, now: Now) -> SystemTime {
        *self = Self { base: now.wall, at: Some(now.mono), ahead_since: None };
        now.wall
    }

    /// The age of something at the time that [`Self::look`] returned.
    pub fn age(wall: SystemTime, now: Now, written: Written) -> Duration {
        match written.mono {
            Some(mono) => now.mono.since(mono),
            None => wall.duration_since(written.wall).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(wall: u64, mono: u64) -> Now {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(wall);
        Now { wall, mono: Mono(Duration::from_secs(mono)) }
    }

    fn seconds(time: SystemTime) -> u64 {
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn a_jump_ahead_is_believed_only_when_it_has_lasted() {
        let day = 86_400;
        let mut steady = Steady::new(now(1000, 0).wall);
        assert_eq!(steady.look(now(1000, 5)), (now(1000, 0).wall, None));
        assert_eq!(steady.look(now(1010, 15)), (now(1010, 0).wall, None));
        let (time, ahead) = steady.look(now(1020 + 30 * day, 25));
        assert_eq!((seconds(time), ahead), (1020, Some(Duration::from_secs(30 * day))));
        let (time, again) = steady.look(now(1025 + 30 * day, 30));
        assert_eq!((seconds(time), again), (1025, None), "reported once");
        // The clock is corrected: nothing has happened.
        assert_eq!(seconds(steady.look(now(1030, 35)).0), 1030);
        // It stays ahead.
        steady.look(now(1040 + 30 * day, 45));
        let believed = CLOCK_BELIEVED.as_secs();
        let (time, _) = steady.look(now(1040 + 30 * day + believed, 45 + believed));
        assert_eq!(seconds(time), 1040 + 30 * day + believed);
    }

    #[test]
    fn a_step_back_makes_nothing_older() {
        let mut steady = Steady::new(now(5000, 0).wall);
        steady.look(now(5000, 0));
        assert_eq!(seconds(steady.look(now(100, 10)).0), 100);
        let future = Written { wall: now(5000, 0).wall, mono: None };
        assert_eq!(Steady::age(now(100, 0).wall, now(100, 10), future), Duration::ZERO);
        let ours = Written { mono: Some(Mono(Duration::from_secs(3))), ..future };
        assert_eq!(Steady::age(now(100, 0).wall, now(100, 10), ours), Duration::from_secs(7));
    }
}
