//! Communication with a service manager (sd_notify(3), sd_listen_fds(3)).
//!
//! Sockets are put into the manager's store while the daemon runs, so that data which arrives
//! during a restart, an upgrade or a crash waits in the kernel. A socket's name in the store
//! records how many of its drops were counted, so that its next owner can count those that happen
//! in between. Without a manager nothing here does anything.

use std::collections::HashMap;
use std::io::{self, PipeReader};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

use super::notify::Notify;
use crate::clock::Mono;
use crate::engine::status::Figures;
use crate::ingress::Socket;
use crate::limits::{STATUS_EVERY, WATCHDOG_PARTS};

/// Prefix of our sockets' names in the store.
const OURS: &str = "logweir.";
/// Separates an input's name from its socket's counted drops.
pub(super) const DROPS: &str = ".drops.";
/// The name of the descriptor that tests whether there is a store.
const PROBE: &str = "logweir.probe";

/// How long to wait for the manager at exit.
const EXIT_WAIT: Duration = Duration::from_millis(500);

/// The service manager.
#[derive(Debug)]
pub struct Manager {
    notify: Option<Notify>,
    /// The watchdog timeout.
    watchdog: Option<Duration>,
    fed: Mono,
    status_at: Mono,
    /// Lines received by all inputs at the last status message.
    lines: u64,
    stored: Vec<Stored>,
    /// Names of sockets that an earlier daemon left in the store.
    given: Vec<String>,
    /// True if something was stored since the last probe.
    probe_due: bool,
    probe: Option<Probe>,
}

/// Tests whether the manager has a store: it closes descriptors that it does not keep.
#[derive(Debug)]
struct Probe {
    /// Closed at the other end if the manager did not keep the descriptor.
    kept: PipeReader,
    /// Closed at the other end once the manager has read everything up to the barrier.
    heard: PipeReader,
}

/// A socket in the manager's store.
#[derive(Debug)]
struct Stored {
    input: String,
    /// Its name in the store.
    name: String,
    socket: Arc<Socket>,
}

/// The kernel drops on a socket that have been counted.
fn drops(socket: &Socket) -> u32 {
    match socket {
        Socket::Datagrams(socket) => socket.drops.load(Ordering::Relaxed),
        Socket::Listener(_) => 0,
    }
}

/// Sets whether the path of a Unix socket outlives the daemon.
fn set_stays(socket: &Socket, stays: bool) {
    let path = match socket {
        Socket::Datagrams(socket) => socket.path.as_ref(),
        Socket::Listener(listener) => listener.path(),
    };
    if let Some(path) = path {
        path.set_stays(stays);
    }
}

fn is_same(one: &Socket, other: &Socket) -> bool {
    match (one, other) {
        (Socket::Datagrams(one), Socket::Datagrams(other)) => Arc::ptr_eq(&one.drops, &other.drops),
        (Socket::Listener(one), Socket::Listener(other)) => one.is_same(other),
        _ => false,
    }
}

impl Manager {
    /// The manager named by the environment, if any.
    pub fn find() -> Self {
        Self {
            notify: Notify::find(),
            watchdog: watchdog(),
            fed: Mono::default(),
            status_at: Mono::default(),
            lines: 0,
            stored: Vec::new(),
            given: Vec::new(),
            probe_due: false,
            probe: None,
        }
    }

    fn send(&mut self, what: &str) {
        if let Some(notify) = &mut self.notify {
            notify.send(what.to_string(), None);
        }
    }

    /// Reports that everything is open.
    pub fn ready(&mut self) {
        self.send("READY=1");
        if std::mem::take(&mut self.probe_due)
            && let Err(error) = self.probe_store()
        {
            log::debug!("cannot find out whether the service manager keeps sockets: {error}");
        }
    }

    /// Reports that a reload begins; [`Self::ready`] reports its end.
    pub fn reloading(&mut self) {
        let now =
            clock_gettime(ClockId::CLOCK_MONOTONIC).map_or_else(|_| Duration::ZERO, Duration::from);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    /// Reports that shutdown begins.
    pub fn stopping(&mut self) {
        self.send("STOPPING=1\nSTATUS=draining");
    }

    /// When the next watchdog or status message is due.
    pub fn deadline(&self) -> Option<Mono> {
        let watchdog = self.watchdog.map(|every| self.fed + every / WATCHDOG_PARTS);
        let status = self.notify.is_some().then(|| self.status_at + STATUS_EVERY);
        watchdog.into_iter().chain(status).min()
    }

    /// Feeds the watchdog; called once per pass of the loop.
    pub fn feed(&mut self, now: Mono) {
        self.check_probe();
        if let Some(every) = self.watchdog
            && now.since(self.fed) >= every / WATCHDOG_PARTS
        {
            self.fed = now;
            if let Some(notify) = &mut self.notify {
                notify.send_if_idle("WATCHDOG=1".into());
            }
        }
    }

    /// Returns whether a new status message is due.
    pub fn wants_status(&self, now: Mono) -> bool {
        self.notify.is_some() && now.since(self.status_at) >= STATUS_EVERY
    }

    /// Sends a status message.
    pub fn status(&mut self, figures: &Figures, now: Mono) {
        let seconds = now.since(self.status_at).as_secs_f64().max(0.001);
        let rate = (figures.lines - self.lines.min(figures.lines)) as f64 / seconds;
        (self.lines, self.status_at) = (figures.lines, now);
        let lag = figures.lag.as_ref().map(|(name, lag)| format!(", {name} lag {lag:.0} s"));
        let (rate, lag) = (short(rate), lag.unwrap_or_default());
        if let Some(notify) = &mut self.notify {
            notify.send_if_idle(format!("STATUS={rate} lines/s, {} dropped{lag}", figures.dropped));
        }
    }

    // ---- the store

    /// Returns whether there is a manager.
    pub fn is_there(&self) -> bool {
        self.notify.is_some()
    }

    /// Puts the sockets of all inputs into the store, and removes stored sockets that belong to no
    /// input.
    pub fn keep(&mut self, inputs: Vec<(Arc<str>, Vec<Arc<Socket>>)>) {
        if self.notify.is_none() {
            return;
        }
        let mut named: HashMap<Arc<str>, Vec<Arc<Socket>>> = inputs.iter().cloned().collect();
        let is_named = |name: &str| input_of(name).is_some_and(|input| named.contains_key(input));
        let given = self.given.extract_if(.., |name| !is_named(name));
        for name in given.collect::<Vec<_>>() {
            self.remove(&name);
        }
        // Sockets already stored under their name stay; what is left of `named` is new.
        let mut gone = Vec::new();
        for stored in std::mem::take(&mut self.stored) {
            let sockets = named.get_mut(stored.input.as_str());
            let at = sockets.as_ref().and_then(|sockets| {
                sockets.iter().position(|socket| is_same(socket, &stored.socket))
            });
            match (sockets, at) {
                (Some(sockets), Some(at)) => {
                    sockets.remove(at);
                    self.stored.push(stored);
                }
                _ => gone.push(stored),
            }
        }
        for stored in gone {
            set_stays(&stored.socket, false);
            self.remove(&stored.name);
        }
        for (input, _) in inputs {
            if let Some(new) = named.remove(&input) {
                self.store_all(&input, new);
            }
        }
    }

    /// Stores sockets that may be stored under an older name. The manager stores no socket twice,
    /// so the old ones are removed first.
    fn store_all(&mut self, input: &str, sockets: Vec<Arc<Socket>>) {
        let mut given: Vec<_> =
            self.given.extract_if(.., |name| input_of(name) == Some(input)).collect();
        let mut names: Vec<_> = sockets.iter().map(|socket| name_of(input, socket)).collect();
        given.sort_unstable();
        names.sort_unstable();
        let there = given == names;
        if !there {
            given.dedup();
            given.iter().for_each(|name| self.remove(name));
        }
        for socket in sockets {
            let name = name_of(input, &socket);
            if there {
                set_stays(&socket, true);
            } else {
                self.store(&name, &socket);
            }
            self.stored.push(Stored { input: input.to_string(), name, socket });
        }
    }

    /// Notes a descriptor that came from the store. Returns whether it was the probe.
    pub(super) fn returned_from_store(&mut self, name: &str) -> bool {
        if name == PROBE {
            self.remove(PROBE);
            return true;
        }
        if input_of(name).is_some() {
            self.given.push(name.to_string());
        }
        false
    }

    /// Removes an unwanted socket from the store.
    pub(super) fn forget(&mut self, name: &str) {
        if input_of(name).is_some() {
            self.given.retain(|given| given != name);
            self.remove(name);
        }
    }

    /// Records the counted drops in the store at exit, and waits briefly until the manager has read
    /// everything.
    pub fn finish(&mut self) {
        if self.probe.take().is_some() {
            self.remove(PROBE);
        }
        let stored = std::mem::take(&mut self.stored);
        if stored.iter().any(|stored| stored.name != name_of(&stored.input, &stored.socket)) {
            // The manager stores no socket twice, and several may share a name.
            stored.iter().for_each(|stored| self.remove(&stored.name));
            for Stored { input, socket, .. } in &stored {
                self.store(&name_of(input, socket), socket);
            }
        }
        let start = Instant::now();
        while let Some(notify) = &mut self.notify
            && !notify.is_done()
            && start.elapsed() < EXIT_WAIT
        {
            std::thread::sleep(Duration::from_millis(5));
            notify.flush();
        }
    }

    fn store(&mut self, name: &str, socket: &Socket) {
        set_stays(socket, true);
        let fd = match socket {
            Socket::Datagrams(socket) => socket.socket.as_fd(),
            Socket::Listener(listener) => listener.as_fd(),
        };
        if let Some(notify) = &mut self.notify {
            notify.send(format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), Some(fd));
            self.probe_due = true;
        }
    }

    fn remove(&mut self, name: &str) {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }

    /// Sends a probe: the manager does not report by itself what it stored.
    fn probe_store(&mut self) -> io::Result<()> {
        let Some(notify) = &mut self.notify else { return Ok(()) };
        let ((kept, keep), (heard, hear)) = (io::pipe()?, io::pipe()?);
        notify.send(format!("FDSTORE=1\nFDNAME={PROBE}\nFDPOLL=0"), Some(keep.as_fd()));
        notify.send("BARRIER=1".into(), Some(hear.as_fd()));
        self.probe = Some(Probe { kept, heard });
        Ok(())
    }

    fn check_probe(&mut self) {
        let Some(probe) = self.probe.take_if(|probe| is_closed(&probe.heard)) else { return };
        if !is_closed(&probe.kept) {
            self.remove(PROBE);
            return;
        }
        log::warn!(
            "the service manager does not keep our sockets (FileDescriptorStoreMax= of the unit is \
             too small): data that arrives during a restart will be lost"
        );
        self.stored.iter().for_each(|stored| set_stays(&stored.socket, false));
    }
}

/// Returns whether the other end of a pipe is closed.
fn is_closed(pipe: &PipeReader) -> bool {
    let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|closed| closed == 1)
}

/// The name of an input's socket in the store.
fn name_of(input: &str, socket: &Socket) -> String {
    format!("{OURS}{input}{DROPS}{}", drops(socket))
}

/// The input named by an entry of the store; `None` if the name is not one of ours (such as
/// `logweir.socket`).
pub(super) fn input_of(name: &str) -> Option<&str> {
    name.strip_prefix(OURS)?.rsplit_once(DROPS).map(|(input, _)| input)
}

/// The watchdog timeout, if there is a watchdog for this process (sd_watchdog_enabled(3)).
fn watchdog() -> Option<Duration> {
    let var = |name: &str| std::env::var(name).ok();
    let ours = var("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
    let micros: u64 = var("WATCHDOG_USEC")?.parse().ok()?;
    (ours && micros > 0).then(|| Duration::from_micros(micros))
}

/// A rate in human-readable form: `412k`.
fn short(rate: f64) -> String {
    match rate {
        rate if rate < 10_000.0 => format!("{rate:.0}"),
        rate if rate < 10_000_000.0 => format!("{:.0}k", rate / 1e3),
        rate => format!("{:.0}M", rate / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_for_people() {
        assert_eq!(
            (short(412.4), short(412_345.0), short(41e6)),
            ("412".into(), "412k".into(), "41M".into())
        );
    }
}
