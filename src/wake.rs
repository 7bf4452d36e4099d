//! Waking threads: receivers and workers wake the loop, and the loop wakes receivers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::Waker;
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Wakes the loop, with at most one system call per pass of the loop. Clones wake the same loop.
#[derive(Debug, Clone)]
pub struct Wake {
    waker: Arc<Waker>,
    pending: Arc<AtomicBool>,
}

impl Wake {
    /// A handle that wakes through `waker`.
    pub fn new(waker: Waker) -> Self {
        Self { waker: Arc::new(waker), pending: Arc::new(AtomicBool::new(false)) }
    }

    /// Wakes the loop so that it looks at its channels. Call it after sending.
    pub fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            // An eventfd write fails only if the system is out of resources altogether.
            log::error!("cannot wake the loop: {error}");
        }
    }

    /// Called by the loop before it looks at its channels: anything sent from now on wakes it
    /// again.
    pub fn looked(&self) {
        self.pending.store(false, Ordering::Release);
    }
}

/// Wakes a thread that polls this descriptor. Clones share the same eventfd.
///
/// The waiting thread must own a clone: if the last descriptor is closed right after it was written
/// to, epoll(7) forgets it and the wake-up is lost.
#[derive(Debug, Clone)]
pub struct Bell(Arc<EventFd>);

impl Bell {
    /// A bell that is not ringing.
    ///
    /// # Errors
    /// No descriptor is available.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(EventFd::from_value_and_flags(0, flags)?)))
    }

    /// Makes the descriptor readable until [`Self::hush`].
    pub fn ring(&self) {
        match self.0.write(1) {
            // The counter is saturated, so it is already ringing.
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(error) => log::error!("cannot wake a thread: {error}"),
        }
    }

    /// Makes the descriptor unreadable again. Call it before looking at what it rang for.
    pub fn hush(&self) {
        // It was not ringing.
        let _ = self.0.read();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_ring_is_noticed_even_if_the_ringer_is_dropped_before_the_poll() {
        let mut poll = Poll::new().unwrap();
        let bell = Bell::new().unwrap();
        let fd = bell.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), Token(7), Interest::READABLE).unwrap();
        let other = bell.clone();
        other.ring();
        drop(other);
        let mut events = Events::with_capacity(1);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(7)]);
        bell.hush();
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
    }
}
