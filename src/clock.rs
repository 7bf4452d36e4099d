//! Time as an argument: the engine is told what time it is, so that a test can be the clock.

use std::time::{Duration, Instant, SystemTime};

/// A point on a clock that never goes back, counted from the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mono(pub Duration);

impl Mono {
    /// The time from `earlier` to this one; zero where `earlier` is later.
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

/// Where the time comes from.
pub trait Clock {
    /// For waiting: never goes back.
    fn mono(&self) -> Mono;
    /// For names and stamps: what the wall says, and it may jump.
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
