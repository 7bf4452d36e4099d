//! Waiting in a receiver that reads one descriptor.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::limits;
use crate::wake::Bell;

/// What a wait ended with.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited {
    /// There is something to read.
    Ready,
    /// The bell rang.
    Stopped,
    /// The time is over.
    TimedOut,
}

/// Lets a millisecond pass, in which the kernel gathers what comes.
pub fn pause(bell: &Bell) -> Waited {
    rest(bell, limits::RECV_PAUSE)
}

/// Lets this time pass.
pub fn rest(bell: &Bell, time: Duration) -> Waited {
    let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
    match poll(&mut fds, timeout) {
        Ok(1..) => Waited::Stopped,
        _ => Waited::TimedOut,
    }
}

/// Waits until there is something to read.
pub fn wait(source: BorrowedFd<'_>, bell: &Bell, longest: Option<Duration>) -> Waited {
    wait_any(&[source], bell, longest).0
}

/// Waits until there is something to read from any of these; from which, by their places.
pub fn wait_any(
    sources: &[BorrowedFd<'_>],
    bell: &Bell,
    longest: Option<Duration>,
) -> (Waited, Vec<usize>) {
    let fds = sources.iter().copied().chain([bell.as_fd()]);
    let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    let timeout = longest.map_or(PollTimeout::NONE, |longest| {
        PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX)
    });
    // An error can only be an interruption by a signal; the caller looks at its source again.
    let _ = poll(&mut fds, timeout);
    let woke = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
    let ready: Vec<_> = (0..sources.len()).filter(|at| woke(&fds[*at])).collect();
    let waited = match (woke(&fds[sources.len()]), ready.is_empty()) {
        (true, _) => Waited::Stopped,
        (false, false) => Waited::Ready,
        (false, true) => Waited::TimedOut,
    };
    (waited, ready)
}
