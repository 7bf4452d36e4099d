//! What a service manager is told and gives (sd_notify(3), sd_listen_fds(3)).
//!
//! Sockets are put into the manager's store while the daemon runs, so that a restart, an upgrade
//! or a crash leaves what comes meanwhile waiting in the kernel. A socket's name in the store says
//! how many of its drops were counted, so that those of the meantime are counted by whoever goes
//! on with it. Without a manager nothing here does anything.

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
use crate::ingress::datagrams::DatagramSocket;
use crate::limits::{STATUS_EVERY, WATCHDOG_PARTS};

/// What begins the names of our sockets in the store.
const OURS: &str = "logweir.";
/// What is between an input's name and the drops of its socket that were counted.
pub(super) const DROPS: &str = ".drops.";
/// The name of what is put into the store to see whether there is one.
const PROBE: &str = "logweir.probe";

/// How long the manager is waited for at the end.
const FAREWELL: Duration = Duration::from_millis(500);

/// The service manager.
#[derive(Debug)]
pub struct Manager {
    notify: Option<Notify>,
    /// How often it wants to hear that the loop goes round.
    watchdog: Option<Duration>,
    fed: Mono,
    said: Mono,
    /// Lines that all inputs had taken in when the status was said last.
    lines: u64,
    stored: Vec<Stored>,
    /// Names of sockets that an earlier daemon left in the store.
    given: Vec<String>,
    /// Whether something went into the store since the manager was asked.
    unsure: bool,
    probe: Option<Probe>,
}

/// What shows whether the manager has a store: it closes what it does not keep.
#[derive(Debug)]
struct Probe {
    /// Closed at the other end where the manager did not keep that.
    kept: PipeReader,
    /// Closed at the other end once the manager has heard all up to here.
    heard: PipeReader,
}

/// A socket in the manager's store.
#[derive(Debug)]
struct Stored {
    input: String,
    /// Its name there.
    name: String,
    socket: Arc<Socket>,
}

/// How many of the kernel's drops on a socket were counted.
fn drops(socket: &Socket) -> u32 {
    match socket {
        Socket::Datagrams(socket) => socket.drops.load(Ordering::Relaxed),
        Socket::Listener(_) => 0,
    }
}

/// Says whether the path of a Unix socket outlives the daemon.
fn set_stays(socket: &Socket, stays: bool) {
    if let Socket::Datagrams(DatagramSocket { path: Some(path), .. }) = socket {
        path.set_stays(stays);
    }
}

fn is_same(one: &Socket, other: &Socket) -> bool {
    match (one, other) {
        (Socket::Datagrams(one), Socket::Datagrams(other)) => Arc::ptr_eq(&one.drops, &other.drops),
        (Socket::Listener(one), Socket::Listener(other)) => {
            one.local_addr().ok() == other.local_addr().ok()
        }
        _ => false,
    }
}

impl Manager {
    /// The manager that the environment names, if it names one.
    pub fn find() -> Self {
        Self {
            notify: Notify::find(),
            watchdog: watchdog(),
            fed: Mono::default(),
            said: Mono::default(),
            lines: 0,
            stored: Vec::new(),
            given: Vec::new(),
            unsure: false,
            probe: None,
        }
    }

    fn say(&mut self, what: &str) {
        if let Some(notify) = &mut self.notify {
            notify.say(what.to_string(), None);
        }
    }

    /// Everything is open.
    pub fn ready(&mut self) {
        self.say("READY=1");
        if std::mem::take(&mut self.unsure)
            && let Err(error) = self.ask_whether_it_keeps()
        {
            log::debug!("whether the service manager keeps sockets is not known: {error}");
        }
    }

    /// A reload begins; [`Self::ready`] says that it is over.
    pub fn reloading(&mut self) {
        let now =
            clock_gettime(ClockId::CLOCK_MONOTONIC).map_or_else(|_| Duration::ZERO, Duration::from);
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    /// The end begins.
    pub fn stopping(&mut self) {
        self.say("STOPPING=1\nSTATUS=draining");
    }

    /// When it wants to hear something at the latest.
    pub fn deadline(&self) -> Option<Mono> {
        let watchdog = self.watchdog.map(|every| self.fed + every / WATCHDOG_PARTS);
        let status = self.notify.is_some().then(|| self.said + STATUS_EVERY);
        watchdog.into_iter().chain(status).min()
    }

    /// The loop went round.
    pub fn feed(&mut self, now: Mono) {
        self.look_whether_it_keeps();
        if let Some(every) = self.watchdog
            && now.since(self.fed) >= every / WATCHDOG_PARTS
        {
            self.fed = now;
            if let Some(notify) = &mut self.notify {
                notify.mention("WATCHDOG=1".into());
            }
        }
    }

    /// Whether a person who asks should get another status.
    pub fn wants_status(&self, now: Mono) -> bool {
        self.notify.is_some() && now.since(self.said) >= STATUS_EVERY
    }

    /// Says how things are.
    pub fn status(&mut self, figures: &Figures, now: Mono) {
        let seconds = now.since(self.said).as_secs_f64().max(0.001);
        let rate = (figures.lines - self.lines.min(figures.lines)) as f64 / seconds;
        (self.lines, self.said) = (figures.lines, now);
        let lag = figures.lag.as_ref().map(|(name, lag)| format!(", {name} lag {lag:.0} s"));
        let (rate, lag) = (short(rate), lag.unwrap_or_default());
        if let Some(notify) = &mut self.notify {
            notify.mention(format!("STATUS={rate} lines/s, {} dropped{lag}", figures.dropped));
        }
    }

    // ---- the store

    /// Whether there is a manager.
    pub fn is_there(&self) -> bool {
        self.notify.is_some()
    }

    /// Puts the sockets of all inputs into the store; those that were there before and belong to
    /// none of them go.
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
        // What is there by its name already stays; what is left of `named` is new.
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
                self.enter(&input, new);
            }
        }
    }

    /// Puts sockets into the store that may be there by an older name. It takes no socket twice,
    /// so they go out before they go in.
    fn enter(&mut self, input: &str, sockets: Vec<Arc<Socket>>) {
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

    /// Learns of something that was in the store; whether it is for nobody else.
    pub(super) fn takes_back(&mut self, name: &str) -> bool {
        if name == PROBE {
            self.remove(PROBE);
            return true;
        }
        if input_of(name).is_some() {
            self.given.push(name.to_string());
        }
        false
    }

    /// Takes out of the store what nobody wants.
    pub(super) fn forget(&mut self, name: &str) {
        if input_of(name).is_some() {
            self.given.retain(|given| given != name);
            self.remove(name);
        }
    }

    /// Writes down in the store how many drops were counted, at the end, and waits a moment until
    /// the manager has heard all.
    pub fn part(&mut self) {
        if self.probe.take().is_some() {
            self.remove(PROBE);
        }
        let stored = std::mem::take(&mut self.stored);
        if stored.iter().any(|stored| stored.name != name_of(&stored.input, &stored.socket)) {
            // It takes no socket twice, and a name may be that of several.
            stored.iter().for_each(|stored| self.remove(&stored.name));
            for Stored { input, socket, .. } in &stored {
                self.store(&name_of(input, socket), socket);
            }
        }
        let start = Instant::now();
        while let Some(notify) = &mut self.notify
            && !notify.is_done()
            && start.elapsed() < FAREWELL
        {
            std::thread::sleep(Duration::from_millis(5));
            notify.go_on();
        }
    }

    fn store(&mut self, name: &str, socket: &Socket) {
        set_stays(socket, true);
        let fd = match socket {
            Socket::Datagrams(socket) => socket.socket.as_fd(),
            Socket::Listener(listener) => listener.as_fd(),
        };
        if let Some(notify) = &mut self.notify {
            notify.say(format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0"), Some(fd));
            self.unsure = true;
        }
    }

    fn remove(&mut self, name: &str) {
        self.say(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }

    /// Asks whether the manager has kept what it was given: it says nothing of it by itself.
    fn ask_whether_it_keeps(&mut self) -> io::Result<()> {
        let Some(notify) = &mut self.notify else { return Ok(()) };
        let ((kept, keep), (heard, hear)) = (io::pipe()?, io::pipe()?);
        notify.say(format!("FDSTORE=1\nFDNAME={PROBE}\nFDPOLL=0"), Some(keep.as_fd()));
        notify.say("BARRIER=1".into(), Some(hear.as_fd()));
        self.probe = Some(Probe { kept, heard });
        Ok(())
    }

    fn look_whether_it_keeps(&mut self) {
        let Some(probe) = self.probe.take_if(|probe| is_closed(&probe.heard)) else { return };
        if !is_closed(&probe.kept) {
            self.remove(PROBE);
            return;
        }
        log::warn!(
            "the service manager does not keep our sockets (FileDescriptorStoreMax= of the unit is \
             too small): what comes during a restart will be lost"
        );
        self.stored.iter().for_each(|stored| set_stays(&stored.socket, false));
    }
}

/// Whether nobody has the other end of a pipe any more.
fn is_closed(pipe: &PipeReader) -> bool {
    let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|closed| closed == 1)
}

/// The name of an input's socket in the store.
fn name_of(input: &str, socket: &Socket) -> String {
    format!("{OURS}{input}{DROPS}{}", drops(socket))
}

/// The input whose socket has a name in the store; nothing where it is no name of ours, which
/// `logweir.socket` is not.
pub(super) fn input_of(name: &str) -> Option<&str> {
    name.strip_prefix(OURS)?.rsplit_once(DROPS).map(|(input, _)| input)
}

/// How often a watchdog wants to be fed, where there is one for this process
/// (sd_watchdog_enabled(3)).
fn watchdog() -> Option<Duration> {
    let var = |name: &str| std::env::var(name).ok();
    let ours = var("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
    let micros: u64 = var("WATCHDOG_USEC")?.parse().ok()?;
    (ours && micros > 0).then(|| Duration::from_micros(micros))
}

/// A rate as a person reads it: `412k`.
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
