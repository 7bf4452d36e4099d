//! Signals, as flags that the loop looks at, and a pipe that wakes it.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use nix::sys::signal::SigSet;
use signal_hook::consts::{SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};

/// The signals that were caught.
pub(super) struct Signals {
    end: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    child: Arc<AtomicBool>,
    woken: UnixStream,
}

impl Signals {
    /// Catches what the daemon obeys, and what would otherwise end it. A mask that was inherited
    /// goes: with SIGCHLD or SIGTERM blocked no child would be reaped and nothing would end.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn catch(registry: &Registry, token: Token) -> io::Result<Self> {
        let (mut woken, waker) = UnixStream::pair()?;
        registry.register(&mut woken, token, Interest::READABLE)?;
        let waker = std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(waker));
        let flag = Arc::<AtomicBool>::default;
        let (end, reload, child) = (flag(), flag(), flag());
        let wanted = [(SIGTERM, &end), (SIGINT, &end), (SIGHUP, &reload), (SIGCHLD, &child)];
        for (signal, flag) in wanted {
            // The flag first: when the pipe wakes the loop, it is set.
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        // Caught rather than ignored: children begin with the default again. A write beyond the
        // limit of a file's size then fails with EFBIG.
        for unused in [SIGXFSZ, SIGUSR1, SIGUSR2, SIGALRM] {
            signal_hook::flag::register(unused, flag())?;
        }
        SigSet::empty().thread_set_mask()?;
        Ok(Self { end, reload, child, woken })
    }

    /// Empties the pipe.
    pub(super) fn clear(&mut self) {
        let mut chunk = [0; 64];
        while matches!(self.woken.read(&mut chunk), Ok(count) if count > 0) {}
    }

    /// Whether a child has ended since the last time.
    pub(super) fn child(&self) -> bool {
        self.child.swap(false, Ordering::AcqRel)
    }

    /// Whether a reload was asked for since the last time.
    pub(super) fn reload(&self) -> bool {
        self.reload.swap(false, Ordering::AcqRel)
    }

    /// Whether the daemon was told to end since the last time.
    pub(super) fn end(&self) -> bool {
        self.end.swap(false, Ordering::AcqRel)
    }
}
