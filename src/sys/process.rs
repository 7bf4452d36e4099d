//! What happens in a child between fork and exec.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes `command` start as a child of a daemon should: in a process group of its own, with
/// default signals, without any descriptor but the first three, and ended with SIGTERM when
/// the thread that started it ends (prctl(2), PR_SET_PDEATHSIG).
pub fn as_child(command: &mut Command) {
    command.process_group(0);
    let parent = std::process::id();
    // SAFETY: `prepare` only makes system calls that signal-safety(7) allows or that are bare
    // (prctl, close_range), and allocates nothing.
    unsafe { command.pre_exec(move || prepare(parent)) };
}

/// Makes `command` start in a session of its own, without a terminal (setsid(2)).
pub fn in_new_session(command: &mut Command) {
    // SAFETY: setsid(2) is on the list of signal-safety(7), and nothing is allocated.
    unsafe {
        command.pre_exec(|| match libc::setsid() {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
}

fn prepare(parent: u32) -> io::Result<()> {
    // SAFETY: bare system calls on this process alone; no pointer is given but null.
    unsafe {
        for signal in 1..libc::SIGRTMAX() {
            // SIGKILL and SIGSTOP refuse, and so they should.
            libc::signal(signal, libc::SIG_DFL);
        }
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
            return Err(io::Error::last_os_error());
        }
        // The daemon may have died before the line above.
        if libc::getppid().cast_unsigned() != parent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // Marked, not closed: std's own pipe for reporting a failed exec must live until then.
        let mark = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
        if libc::close_range(3, libc::c_uint::MAX, mark) != 0 {
            // Before Linux 5.11; all our descriptors are close-on-exec anyway.
            return Ok(());
        }
    }
    Ok(())
}
