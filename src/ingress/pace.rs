//! How long the receiver of a pipe rests after a read.
//!
//! At a moderate rate a wake-up costs more than the lines it brings, so fewer wake-ups with more
//! lines each are cheaper. Meanwhile lines wait in the pipe, which must have room for them: also if
//! twice as many come as in the last rest. (Datagrams gain nothing from it: ARCHITECTURE.md,
//! Figures.)

use std::time::Duration;

use crate::limits::{RECV_PAUSE, RECV_RESTS_MAX};

/// A receiver's rests, in units of [`RECV_PAUSE`].
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: u32,
}

impl Pace {
    /// Returns how long to rest after `brought` bytes came since the last rest, into a pipe
    /// of `room` bytes. Zero if it should read again at once.
    pub(super) fn rest(&mut self, brought: usize, room: usize) -> Duration {
        let each = brought / self.last.max(1) as usize;
        let rests = room / (2 * each).max(1);
        self.last = u32::try_from(rests).unwrap_or(u32::MAX).min(RECV_RESTS_MAX);
        self.last * RECV_PAUSE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_grows_until_half_of_the_room_is_used() {
        let mut pace = Pace::default();
        let room = 64 * 1024;
        // 10 KiB in each unit of time.
        assert_eq!(pace.rest(10 * 1024, room), 3 * RECV_PAUSE);
        assert_eq!(pace.rest(3 * 10 * 1024, room), 3 * RECV_PAUSE);
        assert_eq!(pace.rest(100, room), RECV_RESTS_MAX * RECV_PAUSE, "a slow one");
        assert_eq!(pace.rest(4 * 33 * 1024, room), Duration::ZERO, "a fast one");
        assert_eq!(pace.rest(33 * 1024, room), Duration::ZERO, "a fast one without rests");
        assert_eq!(pace.rest(20 * 1024, room), RECV_PAUSE);
    }
}
