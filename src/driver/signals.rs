//! Signals, as flags that the loop checks and a pipe that wakes it.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use nix::sys::signal::SigSet;
use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
    SIGVTALRM, SIGXCPU, SIGXFSZ,
};

/// Signals that mean nothing to the daemon and would end it.
const UNUSED: [i32; 10] = [
    SIGXFSZ,
    SIGXCPU,
    SIGUSR1,
    SIGUSR2,
    SIGALRM,
    SIGVTALRM,
    SIGPROF,
    SIGIO,
    libc::SIGPWR,
    libc::SIGSTKFLT,
];

/// The signals that were caught.
pub(super) struct Signals {
    end: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    child: Arc<AtomicBool>,
    woken: UnixStream,
}

impl Signals {
    /// Catches the signals that the daemon handles, and those that would otherwise end it. Clears
    /// an inherited signal mask: with SIGCHLD or SIGTERM blocked, children would not be reaped and
    /// the daemon could not be stopped.
    ///
    /// # Errors
    /// A handler or the pipe cannot be installed.
    pub(super) fn catch(registry: &Registry, token: Token) -> io::Result<Self> {
        let (mut woken, waker) = UnixStream::pair()?;
        registry.register(&mut woken, token, Interest::READABLE)?;
        let waker = std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(waker));
        let flag = Arc::<AtomicBool>::default;
        let (end, reload, child) = (flag(), flag(), flag());
        let wanted = [
            (SIGTERM, &end),
            (SIGINT, &end),
            (SIGQUIT, &end),
            (SIGHUP, &reload),
            (SIGCHLD, &child),
        ];
        for (signal, flag) in wanted {
            // The flag is registered first, so it is set when the pipe wakes the loop.
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        // Caught rather than ignored, so that children start with the default action. A write
        // beyond the file size limit then fails with EFBIG. The limit of processor time is a hard
        // one as well, and SIGKILL comes with that.
        for unused in UNUSED.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
            if let Err(error) = signal_hook::flag::register(unused, flag()) {
                // A debugger or an emulator may keep some of them for itself.
                log::debug!("signal {unused} cannot be caught: {error}");
            }
        }
        SigSet::empty().thread_set_mask()?;
        Ok(Self { end, reload, child, woken })
    }

    /// Empties the pipe.
    pub(super) fn clear(&mut self) {
        let mut chunk = [0; 64];
        while matches!(self.woken.read(&mut chunk), Ok(count) if count > 0) {}
    }

    /// Returns whether a child has ended since the last call.
    pub(super) fn child(&self) -> bool {
        self.child.swap(false, Ordering::AcqRel)
    }

    /// Returns whether a reload was requested since the last call.
    pub(super) fn reload(&self) -> bool {
        self.reload.swap(false, Ordering::AcqRel)
    }

    /// Returns whether shutdown was requested since the last call.
    pub(super) fn end(&self) -> bool {
        self.end.swap(false, Ordering::AcqRel)
    }
}
