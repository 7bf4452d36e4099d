//! What a service manager is told and gives (sd_notify(3), sd_listen_fds(3)).
//!
//! Sockets are put into the manager's store while the daemon runs, so that a restart, an upgrade
//! or a crash leaves what comes meanwhile waiting in the kernel. A socket's name in the store says
//! how many of its drops were counted, so that those of the meantime are counted by whoever goes
//! on with it. Without a manager nothing here does anything.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use socket2::{Socket, Type};

use super::notify::Notify;
use super::receiver::DatagramSocket;
use crate::clock::Mono;
use crate::limits::{STATUS_EVERY, WATCHDOG_PARTS};
use crate::sys::inherit::take_inherited;

/// What begins the names of our sockets in the store.
const OURS: &str = "logweir.";
/// What is between an input's name and the drops of its socket that were counted.
const DROPS: &str = ".drops.";

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
}

/// A socket in the manager's store.
#[derive(Debug)]
struct Stored {
    input: String,
    /// Its name there.
    name: String,
    socket: Kept,
}

/// A socket of an input.
#[derive(Debug)]
pub enum Kept {
    /// For datagrams.
    Datagrams(DatagramSocket),
    /// For connections.
    Listener(TcpListener),
}

impl Kept {
    fn drops(&self) -> u32 {
        match self {
            Self::Datagrams(socket) => socket.drops.load(Ordering::Relaxed),
            Self::Listener(_) => 0,
        }
    }

    /// Whether the path of a Unix socket outlives the daemon.
    fn set_stays(&self, stays: bool) {
        if let Self::Datagrams(DatagramSocket { path: Some(path), .. }) = self {
            path.set_stays(stays);
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Datagrams(one), Self::Datagrams(other)) => Arc::ptr_eq(&one.drops, &other.drops),
            (Self::Listener(one), Self::Listener(other)) => {
                one.local_addr().ok() == other.local_addr().ok()
            }
            _ => false,
        }
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

    /// Says how things are: the lines that all inputs took in so far and that were dropped, and
    /// how far readers of spools are behind at most, in seconds.
    pub fn status(&mut self, (lines, dropped, lag): (u64, u64, f64), now: Mono) {
        let seconds = now.since(self.said).as_secs_f64().max(0.001);
        let rate = (lines - self.lines.min(lines)) as f64 / seconds;
        (self.lines, self.said) = (lines, now);
        let lag = if lag > 0.0 { format!(", spools lag {lag:.0} s") } else { String::new() };
        let text = format!("{} lines/s, {dropped} dropped{lag}", short(rate));
        if let Some(notify) = &mut self.notify {
            notify.mention(format!("STATUS={text}"));
        }
    }

    // ---- the store

    /// Puts an input's sockets into the store; those it had there before and has no more go.
    pub fn keep(&mut self, input: &str, sockets: Vec<Kept>) {
        if self.notify.is_none() {
            return;
        }
        let has = |stored: &Stored| sockets.iter().any(|socket| socket.is_same(&stored.socket));
        let (same, gone) = std::mem::take(&mut self.stored)
            .into_iter()
            .partition::<Vec<_>, _>(|stored| stored.input != input || has(stored));
        self.stored = same;
        for stored in &gone {
            stored.socket.set_stays(false);
            self.remove(&stored.name);
        }
        for socket in sockets {
            let known = self.stored.iter().any(|s| s.input == input && s.socket.is_same(&socket));
            if !known {
                let name = format!("{OURS}{input}{DROPS}{}", socket.drops());
                self.store(&name, &socket);
                self.stored.push(Stored { input: input.to_string(), name, socket });
            }
        }
    }

    /// Takes the sockets of all inputs out of the store that are not named.
    pub fn keep_only(&mut self, inputs: &[&str]) {
        let gone: Vec<_> = self.stored.extract_if(.., |s| !inputs.contains(&&*s.input)).collect();
        for stored in gone {
            stored.socket.set_stays(false);
            self.remove(&stored.name);
        }
    }

    /// Writes down in the store how many drops were counted, at the end, and waits a moment until
    /// the manager has heard all.
    pub fn part(&mut self) {
        for stored in std::mem::take(&mut self.stored) {
            let name = format!("{OURS}{}{DROPS}{}", stored.input, stored.socket.drops());
            if name != stored.name {
                self.store(&name, &stored.socket);
                self.remove(&stored.name);
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

    fn store(&mut self, name: &str, socket: &Kept) {
        socket.set_stays(true);
        let fd = match socket {
            Kept::Datagrams(socket) => socket.socket.as_fd(),
            Kept::Listener(listener) => listener.as_fd(),
        };
        if let Some(notify) = &mut self.notify {
            notify.say(format!("FDSTORE=1\nFDNAME={name}"), Some(fd));
        }
    }

    fn remove(&mut self, name: &str) {
        self.say(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }
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

/// Sockets that were handed over at the start, by a `.socket` unit or out of the store.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(String, Socket)>);

impl Inherited {
    /// Takes them. What is no socket is let go and said.
    pub fn take() -> Self {
        let socket = |(name, fd): (String, OwnedFd)| {
            let socket = Socket::from(fd);
            match socket.local_addr().and_then(|_| socket.set_nonblocking(true)) {
                Ok(()) => Some((name, socket)),
                Err(error) => {
                    log::warn!("{name}, handed over by the service manager, is no socket: {error}");
                    None
                }
            }
        };
        Self(take_inherited().into_iter().filter_map(socket).collect())
    }

    /// The sockets for datagrams at an address.
    pub fn udp(&mut self, address: SocketAddr) -> Vec<DatagramSocket> {
        let at =
            |socket: &Socket| is_at(socket, address) && socket.r#type().ok() == Some(Type::DGRAM);
        let found = self.0.extract_if(.., |(_, socket)| at(socket));
        found.map(|(name, socket)| datagrams(&name, socket)).collect()
    }

    /// The socket for datagrams at a path. The path is the manager's, and stays at the end.
    pub fn unix(&mut self, path: &Path) -> Option<DatagramSocket> {
        let at = |socket: &Socket| {
            let address = socket.local_addr().ok();
            address.is_some_and(|address| address.as_pathname() == Some(path))
                && socket.r#type().ok() == Some(Type::DGRAM)
        };
        let place = self.0.iter().position(|(_, socket)| at(socket))?;
        let (name, socket) = self.0.remove(place);
        if let Err(error) = socket.set_passcred(true) {
            log::warn!("{name}: the processes that send are not known: {error}");
        }
        Some(datagrams(&name, socket))
    }

    /// The socket for connections at an address.
    pub fn listener(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = |socket: &Socket| is_at(socket, address) && socket.is_listener().unwrap_or(false);
        let place = self.0.iter().position(|(_, socket)| at(socket))?;
        Some(self.0.remove(place).1.into())
    }

    /// Says what nobody wanted, and lets go of it.
    pub fn finish(self, manager: &mut Manager) {
        for (name, socket) in self.0 {
            let at = socket.local_addr().ok();
            let ip = at.as_ref().and_then(|at| at.as_socket()).map(|at| at.to_string());
            let path =
                at.as_ref().and_then(|at| at.as_pathname()).map(|at| at.display().to_string());
            let at = ip.or(path).unwrap_or_else(|| "no address".into());
            log::warn!(
                "{name}: the service manager handed over a socket at {at}, which no input of the \
                 configuration has; it is closed"
            );
            if name.starts_with(OURS) {
                manager.remove(&name);
            }
        }
    }
}

/// A socket for datagrams, with the drops that its name says were counted.
fn datagrams(name: &str, socket: Socket) -> DatagramSocket {
    let drops = name.strip_prefix(OURS).and_then(|rest| rest.rsplit_once(DROPS));
    let drops = drops.and_then(|(_, drops)| drops.parse().ok()).unwrap_or(0);
    DatagramSocket { socket, drops: Arc::new(AtomicU32::new(drops)), path: None }
}

/// Whether a socket is bound to an address; one bound to all of IPv6 is there for all of IPv4 too,
/// which is how systemd binds a port alone.
fn is_at(socket: &Socket, address: SocketAddr) -> bool {
    let Some(bound) = socket.local_addr().ok().and_then(|bound| bound.as_socket()) else {
        return false;
    };
    let all = bound.port() == address.port()
        && bound.ip().is_unspecified()
        && address.ip().is_unspecified();
    let both = bound.is_ipv6() && address.is_ipv4() && !socket.only_v6().unwrap_or(true);
    bound == address || all && both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(address: &str, kind: Type) -> (Socket, SocketAddr) {
        let address: SocketAddr = address.parse().unwrap();
        let socket = Socket::new(socket2::Domain::for_address(address), kind, None).unwrap();
        if address.is_ipv6() {
            socket.set_only_v6(false).unwrap();
        }
        socket.bind(&address.into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    #[test]
    fn sockets_are_found_by_their_address_and_kind() {
        let (udp, at) = bound("127.0.0.1:0", Type::DGRAM);
        let (all, all_at) = bound("[::]:0", Type::DGRAM);
        let (tcp, tcp_at) = bound("127.0.0.1:0", Type::STREAM);
        tcp.listen(1).unwrap();
        let mut inherited = Inherited(vec![
            ("logweir.squid.drops.17".into(), udp),
            ("syslog.socket".into(), all),
            ("x".into(), tcp),
        ]);
        assert!(inherited.udp("127.0.0.2:1".parse().unwrap()).is_empty());
        let found = inherited.udp(at);
        assert_eq!(found[0].drops.load(Ordering::Relaxed), 17);
        let everywhere = SocketAddr::new([0, 0, 0, 0].into(), all_at.port());
        assert_eq!(inherited.udp(everywhere).len(), 1);
        assert!(inherited.udp(tcp_at).is_empty());
        assert!(inherited.listener(tcp_at).is_some());
        assert!(inherited.0.is_empty());
    }

    #[test]
    fn rates_are_for_people() {
        assert_eq!(
            (short(412.4), short(412_345.0), short(41e6)),
            ("412".into(), "412k".into(), "41M".into())
        );
    }
}
