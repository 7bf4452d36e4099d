//! A minute of the wall clock: the one in which a logweir first received a line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::limits::{MINUTES_AHEAD, MINUTES_KEPT};

/// A minute, counted from 1970 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Minute(u32);

impl Minute {
    /// No minute that counts are kept for: too long ago, of the future, or not known.
    pub const UNKNOWN: Self = Self(0);

    /// The minute of a time.
    pub fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u32::try_from(since.as_secs() / 60).unwrap_or(0))
    }

    /// The minute with this number, as another logweir tells it.
    pub fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// When it begins, in seconds since 1970.
    pub fn seconds(self) -> u64 {
        u64::from(self.0) * 60
    }

    /// When it begins.
    pub fn start(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.seconds())
    }

    /// The minute `count` minutes before this one.
    #[must_use]
    pub fn before(self, count: u32) -> Self {
        Self(self.0.saturating_sub(count))
    }

    /// The minute `count` minutes after this one.
    #[must_use]
    pub fn after(self, count: u32) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// The minute that a sender claims for lines that were received here at `received`:
    /// [`Self::UNKNOWN`] if nothing is kept for it. So a sender cannot make more minutes than are
    /// kept.
    #[must_use]
    pub fn checked(self, received: SystemTime) -> Self {
        let here = Self::of(received);
        let is_kept = self > here.before(MINUTES_KEPT) && self <= here.after(MINUTES_AHEAD);
        if is_kept { self } else { Self::UNKNOWN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_that_is_not_kept_is_not_known() {
        let here = UNIX_EPOCH + Duration::from_secs(1_795_811_234);
        let minute = Minute::of(here);
        assert_eq!((minute.number(), minute.seconds()), (29_930_187, 1_795_811_220));
        let claim = |minute: Minute| minute.checked(here);
        assert_eq!(claim(minute), minute);
        assert_eq!(claim(minute.before(MINUTES_KEPT - 1)), minute.before(MINUTES_KEPT - 1));
        assert_eq!(claim(minute.before(MINUTES_KEPT)), Minute::UNKNOWN);
        assert_eq!(claim(minute.after(MINUTES_AHEAD)), minute.after(MINUTES_AHEAD));
        assert_eq!(claim(minute.after(MINUTES_AHEAD + 1)), Minute::UNKNOWN);
        assert_eq!(claim(Minute::UNKNOWN), Minute::UNKNOWN);
    }
}
