//! Setup of a child between fork and exec.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::limits::DESCRIPTORS_RESERVED;

/// The limit of open files when this process started.
static OPEN_FILES_AT_START: OnceLock<u64> = OnceLock::new();

/// Raises how many files this process may have open to the most that it may ask for
/// (setrlimit(2), RLIMIT_NOFILE). Children get the limit that was there before.
pub fn raise_open_files() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        // The first value is the one that counts.
        let _ = OPEN_FILES_AT_START.set(soft);
    }
}

/// The current limit of open files.
pub fn open_files_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

/// The number of descriptors that clients of inputs leave to everything else: to files, children
/// and the control socket.
fn reserved(limit: u64) -> u64 {
    (limit / 8).min(DESCRIPTORS_RESERVED)
}

/// Returns whether a descriptor that was just made is one of the last that clients may take: the
/// system gives out the lowest number that is free.
pub fn is_one_of_the_last(made: RawFd) -> bool {
    let limit = open_files_limit();
    u64::try_from(made).is_ok_and(|made| made + reserved(limit) >= limit)
}

/// Returns whether clients have no descriptor left.
pub fn descriptors_are_scarce(any: BorrowedFd<'_>) -> bool {
    any.try_clone_to_owned().map_or(true, |made| is_one_of_the_last(made.as_raw_fd()))
}

/// A user, its group and its supplementary groups.
pub type Ids = (u32, u32, Vec<u32>);

/// The restrictions a child runs under.
#[derive(Debug, Clone, Default)]
pub struct Confine {
    /// User, group and supplementary groups to run as.
    pub user: Option<Ids>,
    /// The nice value (nice(2)).
    pub nice: i32,
    /// Bytes of memory, seconds of processor time, open files (getrlimit(2)).
    pub limits: [Option<u64>; 3],
    /// True if programs it runs may gain privileges (prctl(2), PR_SET_NO_NEW_PRIVS).
    pub may_gain_privileges: bool,
}

/// Configures `command` to start as a child of the daemon: in its own process group, with default
/// signals, with only the first three descriptors, confined, and sent SIGTERM when the thread that
/// started it ends (prctl(2), PR_SET_PDEATHSIG).
pub fn as_child(command: &mut Command, confine: Confine) {
    command.process_group(0);
    let parent = std::process::id();
    // SAFETY: `confined` and `prepare` only make system calls that signal-safety(7) allows or that
    // are raw (prctl, close_range, setrlimit, setgroups), and allocate nothing.
    unsafe {
        command.pre_exec(move || {
            confined(&confine)?;
            // After the change of user, which clears the parent-death signal.
            prepare(parent)
        })
    };
}

fn confined(confine: &Confine) -> io::Result<()> {
    let checked = |code: libc::c_int| match code {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    if let Some(&soft) = OPEN_FILES_AT_START.get() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)?;
    }
    let kinds = [libc::RLIMIT_AS, libc::RLIMIT_CPU, libc::RLIMIT_NOFILE];
    // SAFETY: raw system calls on this process alone; the pointers are to live values of the kind
    // and length that each call expects.
    unsafe {
        for (kind, limit) in kinds.into_iter().zip(confine.limits) {
            if let Some(limit) = limit {
                let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
                checked(libc::setrlimit(kind, &raw const limit))?;
            }
        }
        if confine.nice > 0 {
            checked(libc::setpriority(libc::PRIO_PROCESS, 0, confine.nice))?;
        }
        if let Some((user, group, groups)) = &confine.user {
            checked(libc::setgroups(groups.len(), groups.as_ptr()))?;
            checked(libc::setgid(*group))?;
            checked(libc::setuid(*user))?;
        }
        if !confine.may_gain_privileges {
            checked(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        }
    }
    Ok(())
}

/// Configures `command` to start in a new session without a terminal (setsid(2)).
pub fn in_new_session(command: &mut Command) {
    // SAFETY: setsid(2) is listed in signal-safety(7), and nothing is allocated.
    unsafe {
        command.pre_exec(|| match libc::setsid() {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
}

fn prepare(parent: u32) -> io::Result<()> {
    // SAFETY: raw system calls on this process alone; only null pointers are passed.
    unsafe {
        for signal in 1..libc::SIGRTMAX() {
            // SIGKILL and SIGSTOP refuse, which is fine.
            libc::signal(signal, libc::SIG_DFL);
        }
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
            return Err(io::Error::last_os_error());
        }
        // The daemon may have died before the line above took effect.
        if libc::getppid().cast_unsigned() != parent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // Marked rather than closed: std's own pipe for reporting a failed exec must live until
        // then.
        let mark = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
        if libc::close_range(3, libc::c_uint::MAX, mark) != 0 {
            // Linux before 5.11; all our descriptors are close-on-exec anyway.
            return Ok(());
        }
    }
    Ok(())
}
