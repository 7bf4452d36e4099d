//! How long a receiver rests after a read that was not full.
//!
//! At a moderate rate a wake-up costs more than the lines it brings, so fewer wake-ups with more
//! lines each are cheaper. Meanwhile lines wait in the kernel, which must have room for them: also
//! if twice as many come as in the last rest.

use std::time::Duration;

use crate::limits::{BURST_ROOM, RECV_PAUSE, RECV_RESTS_MAX};

/// A receiver's rests, in units of [`RECV_PAUSE`].
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: u32,
}

impl Pace {
    /// Returns how long to rest after `brought` bytes came since the last rest, where the kernel
    /// has `room` bytes. Zero if it should read again at once.
    pub(super) fn rest(&mut self, brought: usize, room: usize) -> Duration {
        let each = brought / self.last.max(1) as usize;
        let rests = room / (2 * each).max(1);
        self.last = u32::try_from(rests).unwrap_or(u32::MAX).min(RECV_RESTS_MAX);
        self.last * RECV_PAUSE
    }

    /// The same for datagrams, whose senders do not wait: a small buffer would not hold a burst
    /// that begins in a long rest.
    pub(super) fn rest_from_datagrams(&mut self, brought: usize, room: usize) -> Duration {
        let longest = 1 + u32::try_from(room / BURST_ROOM).unwrap_or(u32::MAX).min(RECV_RESTS_MAX);
        self.rest(brought, room);
        self.last = self.last.min(longest);
        self.last * RECV_PAUSE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

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

    #[test]
    fn a_small_buffer_of_datagrams_is_never_left_for_long() {
        let mut pace = Pace::default();
        assert_eq!(pace.rest_from_datagrams(1, MIB / 8), RECV_PAUSE);
        assert_eq!(pace.rest_from_datagrams(1, 2 * BURST_ROOM), 3 * RECV_PAUSE);
        assert_eq!(pace.rest_from_datagrams(1, 64 * MIB), RECV_RESTS_MAX * RECV_PAUSE);
        assert_eq!(pace.rest_from_datagrams(4 * 33 * MIB, 64 * MIB), Duration::ZERO);
    }
}
