//! Time as an argument: the engine is given the time, so that a test can be the clock.

use std::time::{Duration, Instant, SystemTime};

/// A point on a monotonic clock, counted from the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mono(pub Duration);

impl Mono {
    /// The time from `earlier` to this one; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The time `wait` before this one, and not before the start.
    pub fn before(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(wait))
    }
}

impl std::ops::Add<Duration> for Mono {
    type Output = Self;
    fn add(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }
}

/// A source of time.
pub trait Clock {
    /// Monotonic time, for waiting.
    fn mono(&self) -> Mono;
    /// Wall-clock time, for names and timestamps; it may jump.
    fn wall(&self) -> SystemTime;
}

/// The system's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that starts at zero now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn mono(&self) -> Mono {
        Mono(self.start.elapsed())
    }
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
