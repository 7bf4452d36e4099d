//! SIGINT and SIGTERM, as a tool that sends lines takes them.

use std::cell::Cell;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

/// Set by SIGINT and SIGTERM; a second signal ends the program at once.
#[derive(Debug)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    /// Readable once a signal came.
    pub wake: UnixStream,
    /// How long the program may take after a signal for what it has begun.
    grace: Duration,
    noticed: Cell<Option<Instant>>,
}

impl Stop {
    /// From now on these signals end the program in good order, with `grace` for what it has
    /// begun.
    ///
    /// # Errors
    /// The system's.
    pub fn on_signals(grace: Duration) -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let (wake, sender) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            // A second signal ends the program at once; the order of these two makes it so.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&flag))?;
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
            signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        Ok(Self { flag, wake, grace, noticed: Cell::new(None) })
    }

    /// Whether a signal came.
    pub fn asked(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Whether a signal came and the time that was left then is over.
    pub fn over(&self) -> bool {
        if !self.asked() {
            return false;
        }
        let noticed = self.noticed.get().unwrap_or_else(Instant::now);
        self.noticed.set(Some(noticed));
        noticed.elapsed() >= self.grace
    }
}
