//! Waking the loop from another thread, with at most one system call a pass of the loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::Waker;

/// Wakes the loop. Clones wake the same one.
#[derive(Debug, Clone)]
pub struct Wake {
    waker: Arc<Waker>,
    pending: Arc<AtomicBool>,
}

impl Wake {
    /// Something that wakes by `waker`.
    pub fn new(waker: Waker) -> Self {
        Self { waker: Arc::new(waker), pending: Arc::new(AtomicBool::new(false)) }
    }

    /// Has the loop look at what was sent to it. To be called after the sending.
    pub fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            // An eventfd write fails only where the process is out of resources altogether.
            log::error!("the loop cannot be woken: {error}");
        }
    }

    /// The loop calls this before it looks: what is sent from now on wakes it again.
    pub fn looked(&self) {
        self.pending.store(false, Ordering::Release);
    }
}
