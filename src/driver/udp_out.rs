//! UDP outputs: one line a datagram, its newline included.
//!
//! The receiver's name is looked up beside the loop: at the start, at intervals, after errors and
//! at a reload. Until it has an address, lines wait in the output's queue. A name that has several
//! addresses is sent to at the first that can be used; after an error the next one is used.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;

use crate::clock::Mono;
use crate::engine::Engine;
use crate::ids::{LaneId, NodeId};
use crate::limits::{LOOKUP_EVERY, RECONNECT, SEND_SLOTS};
use crate::net::names::{Found, Lookups};
use crate::sys::send::DatagramWriter;
use crate::wake::Wake;

/// The sockets of all UDP outputs.
#[derive(Debug)]
pub struct UdpOutputs {
    first_token: usize,
    targets: HashMap<NodeId, Target>,
    lookups: Lookups<NodeId>,
    writer: DatagramWriter,
    /// When a name is to be looked up next.
    due: Option<Mono>,
}

/// Where an output sends to.
#[derive(Debug)]
struct Target {
    /// The output's name, for the log.
    name: Arc<str>,
    host: String,
    port: u16,
    socket: Option<UdpSocket>,
    /// What the socket is connected to.
    address: Option<SocketAddr>,
    /// Whether something was refused there.
    refused: bool,
    looking_up: bool,
    /// When the name is to be looked up again; `None` where nothing can change.
    next: Option<Mono>,
    /// When it may be looked up again after an error.
    earliest: Mono,
    /// The wait after the next failure.
    wait: Duration,
    /// The last error that was logged, until the name has an address again.
    said: Option<String>,
}

impl Target {
    fn new(name: Arc<str>, to: &str, now: Mono) -> Self {
        let (host, port) = to.rsplit_once(':').unwrap_or((to, ""));
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Self {
            name,
            host: host.to_string(),
            port: port.parse().unwrap_or_default(),
            socket: None,
            address: None,
            refused: false,
            looking_up: false,
            next: Some(now),
            earliest: now,
            wait: RECONNECT.0,
            said: None,
        }
    }

    /// Takes in the answer to a look-up; whether there is a new socket, to be registered.
    ///
    /// # Errors
    /// Why the receiver cannot be sent to.
    fn found(&mut self, found: Found, now: Mono) -> Result<bool, String> {
        self.looking_up = false;
        let is_name = self.host.parse::<IpAddr>().is_err();
        let addresses = found.inspect_err(|_| self.fail_at(now))?;
        let current = self.address.filter(|_| self.socket.is_some());
        if !self.refused && current.is_some_and(|address| addresses.contains(&address)) {
            self.rest(is_name, now);
            return Ok(false);
        }
        match connect(&addresses, current) {
            Ok((socket, address)) => {
                if self.address.is_some_and(|before| before != address) {
                    log::debug!(
                        "{}: udp://{}:{} is {address} now",
                        self.name,
                        self.host,
                        self.port
                    );
                }
                match std::mem::take(&mut self.refused) {
                    true => self.fail_at(now),
                    false => self.rest(is_name, now),
                }
                self.socket = Some(socket);
                self.address = Some(address);
                Ok(true)
            }
            Err(error) => {
                self.fail_at(now);
                Err(error)
            }
        }
    }

    /// All is well: the name is looked up again after the usual interval.
    fn rest(&mut self, is_name: bool, now: Mono) {
        self.wait = RECONNECT.0;
        self.earliest = now + self.wait;
        self.next = is_name.then(|| now + LOOKUP_EVERY);
    }

    /// Something failed: it is tried again after a wait that doubles, with some jitter.
    fn fail_at(&mut self, now: Mono) {
        self.earliest = now + self.wait.mul_f64(0.75 + fastrand::f64() / 2.0);
        self.next = Some(self.earliest);
        self.wait = (self.wait * 2).min(RECONNECT.1);
        if self.socket.is_some() {
            // What there is goes on being used; the next error brings this forward.
            self.next = Some(now + LOOKUP_EVERY);
        }
    }

    /// Logs an error, once until it is over or another one.
    fn say(&mut self, error: &str) {
        if self.said.as_deref() != Some(error) {
            let Self { name, host, port, .. } = self;
            let most = RECONNECT.1;
            log::warn!(
                "{name}: udp://{host}:{port}: {error}; tried again, at least every {most:?}"
            );
            self.said = Some(error.to_string());
        }
    }
}

/// A socket that sends to the first of these addresses that the system lets us send to, beginning
/// behind `after`.
fn connect(
    addresses: &[SocketAddr],
    after: Option<SocketAddr>,
) -> Result<(UdpSocket, SocketAddr), String> {
    let at = after.and_then(|after| addresses.iter().position(|address| *address == after));
    let (before, behind) = addresses.split_at(at.map_or(0, |at| at + 1));
    let mut last = "the name has no address".to_string();
    for address in behind.iter().chain(before) {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any).and_then(|socket| {
            socket.connect(*address)?;
            Ok(socket)
        });
        match socket {
            Ok(socket) => return Ok((socket, *address)),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

/// Whether an error is about the line that was sent and not about the receiver.
fn is_of_the_line(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EMSGSIZE as i32)
}

impl UdpOutputs {
    /// None yet. Their tokens are counted from `first_token`.
    pub fn new(first_token: usize, wake: Wake) -> Self {
        Self {
            first_token,
            targets: HashMap::new(),
            lookups: Lookups::new(wake),
            writer: DatagramWriter::new(),
            due: None,
        }
    }

    /// Enters an output that sends to `to`, `host:port`. Of one that is there the name is looked up
    /// again at once.
    pub fn enter(&mut self, node: NodeId, name: Arc<str>, to: &str, now: Mono) {
        let target = self.targets.entry(node).or_insert_with(|| Target::new(name, to, now));
        target.next = Some(now);
        target.wait = RECONNECT.0;
        self.due = Some(now);
    }

    /// An output has ended: its socket is closed.
    pub fn forget(&mut self, node: NodeId) {
        self.targets.remove(&node);
    }

    /// When to call [`Self::look`] again at the latest.
    pub fn deadline(&self) -> Option<Mono> {
        self.due
    }

    /// Goes on with what was looked up, and looks up what is due.
    pub fn look(&mut self, engine: &mut Engine, registry: &Registry, now: Mono) {
        while let Some((node, found)) = self.lookups.poll() {
            let token = Token(self.first_token + node.0 as usize);
            let Some(target) = self.targets.get_mut(&node) else { continue };
            let mut done = target.found(found, now);
            if let (Ok(true), Some(socket)) = (&done, &mut target.socket)
                && let Err(error) = registry.register(socket, token, Interest::WRITABLE)
            {
                target.socket = None;
                target.fail_at(now);
                done = Err(format!("epoll: {error}"));
            }
            match &done {
                Ok(_) => target.said = None,
                Err(error) => target.say(error),
            }
            let peer = target.address.filter(|_| target.socket.is_some());
            engine.sends_to(node.only_lane(), peer, done.err());
            self.due = Some(now);
        }
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let is_due =
            |target: &Target| !target.looking_up && target.next.is_some_and(|at| at <= now);
        for (node, target) in self.targets.iter_mut().filter(|(_, target)| is_due(target)) {
            target.looking_up = true;
            self.lookups.ask(*node, &target.host, target.port);
        }
        let waiting = self.targets.values().filter(|target| !target.looking_up);
        self.due = waiting.filter_map(|target| target.next).min();
    }

    /// The output that a token of the loop belongs to.
    pub fn node_of(&self, token: Token) -> NodeId {
        NodeId(u32::try_from(token.0 - self.first_token).unwrap_or(u32::MAX))
    }

    /// Sends what waits for an output, until it is all gone or the socket is full.
    pub fn write(&mut self, lane: LaneId, engine: &mut Engine, now: Mono) {
        if !engine.take_up(lane) {
            return;
        }
        let target = self.targets.get_mut(&lane.node);
        let Some((target, batch)) = target.zip(engine.datagrams(lane)) else { return };
        let Some(socket) = &target.socket else { return engine.write_blocked(lane) };
        let mut rest = &batch.bytes[..];
        let mut sent = 0;
        let mut most = SEND_SLOTS;
        while !rest.is_empty() {
            let ends = rest.split_inclusive(|&byte| byte == b'\n');
            let lines: Vec<&[u8]> = ends.take(most).collect();
            match self.writer.write(socket.as_fd(), &lines) {
                Ok(count) => {
                    let len: usize = lines[..count].iter().map(|line| line.len()).sum();
                    sent += len;
                    rest = &rest[len..];
                    // The kernel does not say why the next one was refused. One by one it does.
                    if count < lines.len() {
                        most = 1;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    engine.write_blocked(lane);
                    break;
                }
                // Nobody listens, or the line is larger than a datagram: it is given up.
                Err(error) => {
                    engine.sent(lane, sent, lines[0].len());
                    if !is_of_the_line(&error) {
                        self.refused(lane.node, now);
                    }
                    return;
                }
            }
        }
        engine.sent(lane, sent, 0);
    }

    /// What was sent was refused: the name may have another address by now.
    fn refused(&mut self, node: NodeId, now: Mono) {
        let Some(target) = self.targets.get_mut(&node) else { return };
        target.refused = true;
        let at = target.earliest.max(now);
        if target.next.is_none_or(|next| next > at) {
            target.next = Some(at);
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    fn addresses(texts: &[&str]) -> Found {
        Ok(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn sends_to(target: &Target) -> Option<String> {
        target.socket.as_ref().map(|socket| socket.peer_addr().unwrap().to_string())
    }

    #[test]
    fn an_output_follows_its_receivers_name() {
        let mut target = Target::new("hub".into(), "hub:9", at(0));
        assert_eq!(target.found(addresses(&["127.0.0.1:9"]), at(1)), Ok(true));
        assert_eq!(
            (sends_to(&target).as_deref(), target.next),
            (Some("127.0.0.1:9"), Some(at(31)))
        );
        // It stays where it is while the name has this address, in whatever order.
        let both = addresses(&["127.0.0.2:9", "127.0.0.1:9"]);
        assert_eq!(target.found(both, at(31)), Ok(false));
        assert_eq!(target.found(addresses(&["127.0.0.2:9"]), at(61)), Ok(true));
        assert_eq!(sends_to(&target).as_deref(), Some("127.0.0.2:9"));
        // A resolver that fails does not take away what there is.
        assert_eq!(target.found(Err("no answer".into()), at(91)), Err("no answer".into()));
        assert_eq!(
            (sends_to(&target).as_deref(), target.next),
            (Some("127.0.0.2:9"), Some(at(121)))
        );
    }

    #[test]
    fn each_address_of_a_name_gets_its_turn_when_one_refuses() {
        let all = ["127.0.0.1:9", "[::1]:9", "127.0.0.3:9"];
        let mut target = Target::new("hub".into(), "hub:9", at(0));
        let mut seen = Vec::new();
        for second in 0..4 {
            assert_eq!(target.found(addresses(&all), at(second)), Ok(true));
            seen.extend(sends_to(&target));
            target.refused = true;
        }
        // A host without IPv6 leaves that address out.
        seen.retain(|address| address != all[1]);
        assert_eq!(&seen[..3.min(seen.len())], ["127.0.0.1:9", "127.0.0.3:9", "127.0.0.1:9"]);
    }

    #[test]
    fn a_name_that_is_not_there_yet_is_looked_up_again_and_again_after_longer_waits() {
        let mut target = Target::new("hub".into(), "hub:9", at(0));
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..12 {
            assert!(target.found(Err("not known".into()), now).is_err());
            let next = target.next.unwrap();
            waits.push(next.since(now).as_secs_f64());
            now = next;
        }
        assert!((0.18..0.32).contains(&waits[0]), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= 37.5) && waits[11] > 22.0, "{waits:?}");
    }

    #[test]
    fn an_address_needs_no_second_look() {
        for (to, host) in [("[::1]:9", "::1"), ("127.0.0.1:9", "127.0.0.1")] {
            let mut target = Target::new("hub".into(), to, at(0));
            assert_eq!((target.host.as_str(), target.port), (host, 9));
            if target.found(addresses(&["127.0.0.1:9"]), at(0)) == Ok(true) {
                assert_eq!(target.next, None);
            }
        }
    }
}
