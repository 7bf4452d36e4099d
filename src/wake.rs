//! Waking threads: the loop, by its receivers and workers, and receivers, by the loop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::Waker;
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Wakes the loop, with at most one system call a pass of the loop. Clones wake the same one.
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

/// Wakes a thread that waits for readiness of this descriptor. Clones are the same bell.
///
/// The waiting thread owns a clone: a descriptor that is closed right after it was written to is
/// forgotten by epoll(7), and the wake-up is lost with it.
#[derive(Debug, Clone)]
pub struct Bell(Arc<EventFd>);

impl Bell {
    /// A bell that does not ring.
    ///
    /// # Errors
    /// The system's, where there is no descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(EventFd::from_value_and_flags(0, flags)?)))
    }

    /// Makes the descriptor readable until [`Self::hush`].
    pub fn ring(&self) {
        match self.0.write(1) {
            // It rings already, 2^64 times.
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(error) => log::error!("a thread cannot be woken: {error}"),
        }
    }

    /// Ends the ringing. To be called before looking at what it rang for.
    pub fn hush(&self) {
        // It did not ring.
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
    fn a_ring_is_heard_though_the_one_who_rang_is_gone_before_anybody_looks() {
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
