//! Sockets passed by a service manager at start, from a `.socket` unit or from its descriptor
//! store.

use std::env::var;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use socket2::{Socket, Type};

use super::inputs::Sockets;
use super::systemd::{DROPS, Manager, input_of};
use crate::ingress;
use crate::ingress::datagrams::DatagramSocket;
use crate::ingress::listener::Listener;
use crate::ingress::socket_path::SocketPath;
use crate::proto::traits::Claim;
use crate::sys::inherit::take_inherited;

/// The sockets passed at start.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Given>);

/// A passed socket.
#[derive(Debug)]
struct Given {
    name: String,
    socket: Socket,
    /// True if it comes from a `.socket` unit, which also created its path.
    is_units: bool,
}

impl Inherited {
    /// Takes the descriptors, and tells `manager` which are in its store. Descriptors that are not
    /// sockets are closed and logged.
    pub fn take(manager: &mut Manager) -> Self {
        let taken = take_inherited();
        warn_about_missing(taken.len());
        let mut given = Vec::new();
        for (name, fd) in taken {
            if manager.returned_from_store(&name) {
                continue;
            }
            let socket = Socket::from(fd);
            match socket.local_addr().and_then(|_| socket.set_nonblocking(true)) {
                Ok(()) => given.push(Given { is_units: input_of(&name).is_none(), name, socket }),
                Err(error) => {
                    log::warn!("{name}, passed by the service manager, is not a socket: {error}");
                    manager.forget(&name);
                }
            }
        }
        Self(without_duplicates(given))
    }

    /// The sockets of inputs with these claims.
    pub(super) fn sockets(&mut self, claims: impl Iterator<Item = Claim>) -> Sockets {
        let mut sockets = Sockets::new();
        for claim in claims {
            let found: Vec<_> = match &claim {
                Claim::Udp { address, .. } => {
                    self.udp(*address).into_iter().map(ingress::Socket::Datagrams).collect()
                }
                Claim::UnixPath(path) => {
                    self.unix(path).into_iter().map(ingress::Socket::Datagrams).collect()
                }
                Claim::Tcp(address) => {
                    self.listener(*address).into_iter().map(ingress::Socket::Listener).collect()
                }
                Claim::UnixListener(path) => {
                    self.unix_listener(path).into_iter().map(ingress::Socket::Listener).collect()
                }
                _ => continue,
            };
            if !found.is_empty() {
                sockets.insert(claim, found.into_iter().map(Arc::new).collect());
            }
        }
        sockets
    }

    /// The datagram sockets bound to an address.
    pub fn udp(&mut self, address: SocketAddr) -> Vec<DatagramSocket> {
        let at =
            |socket: &Socket| is_at(socket, address) && socket.r#type().ok() == Some(Type::DGRAM);
        self.0.extract_if(.., |given| at(&given.socket)).map(Given::datagrams).collect()
    }

    /// The datagram socket bound to a path.
    pub fn unix(&mut self, path: &Path) -> Option<DatagramSocket> {
        let at =
            |socket: &Socket| is_at_path(socket, path) && socket.r#type().ok() == Some(Type::DGRAM);
        let index = self.0.iter().position(|given| at(&given.socket))?;
        let given = self.0.remove(index);
        if let Err(error) = given.socket.set_passcred(true) {
            log::warn!("{}: cannot identify the sending processes: {error}", given.name);
        }
        let kept = (!given.is_units).then(|| SocketPath::kept(path)).flatten();
        Some(DatagramSocket { path: kept, ..given.datagrams() })
    }

    /// The listening socket bound to an address.
    pub fn listener(&mut self, address: SocketAddr) -> Option<Listener> {
        let at = |socket: &Socket| is_at(socket, address) && socket.is_listener().unwrap_or(false);
        let index = self.0.iter().position(|given| at(&given.socket))?;
        Some(Listener::Tcp(self.0.remove(index).socket.into()))
    }

    /// The listening socket bound to a path.
    pub fn unix_listener(&mut self, path: &Path) -> Option<Listener> {
        let at =
            |socket: &Socket| is_at_path(socket, path) && socket.is_listener().unwrap_or(false);
        let index = self.0.iter().position(|given| at(&given.socket))?;
        let given = self.0.remove(index);
        let kept = (!given.is_units).then(|| SocketPath::kept(path)).flatten();
        Some(Listener::Unix(given.socket.into(), kept))
    }

    /// Logs and closes the sockets that no input has taken.
    pub fn finish(self, manager: &mut Manager) {
        for Given { name, socket, .. } in self.0 {
            let at = socket.local_addr().ok();
            let ip = at.as_ref().and_then(|at| at.as_socket()).map(|at| at.to_string());
            let path =
                at.as_ref().and_then(|at| at.as_pathname()).map(|at| at.display().to_string());
            let at = ip.or(path).unwrap_or_else(|| "no address".into());
            log::warn!(
                "{name}: the service manager passed a socket at {at}, which no input of the \
                 configuration has; it is closed"
            );
            manager.forget(&name);
        }
    }
}

impl Given {
    /// The datagram socket, with the drop count recorded in its name.
    fn datagrams(self) -> DatagramSocket {
        let drops = self.name.rsplit_once(DROPS);
        let drops = drops.and_then(|(_, drops)| drops.parse().ok()).unwrap_or(0);
        let drops = Arc::new(AtomicU32::new(drops));
        DatagramSocket { drops, ..DatagramSocket::new(self.socket) }
    }
}

/// Removes duplicates: from the second start on, a unit's socket is also in the store, where its
/// name records the drops.
fn without_duplicates(given: Vec<Given>) -> Vec<Given> {
    let (units, mut kept): (Vec<_>, Vec<_>) = given.into_iter().partition(|given| given.is_units);
    for unit in units {
        let cookie = unit.socket.cookie().ok();
        let is_duplicate =
            |given: &&mut Given| cookie.is_some() && given.socket.cookie().ok() == cookie;
        match kept.iter_mut().find(is_duplicate) {
            Some(duplicate) => duplicate.is_units = true,
            None => kept.push(unit),
        }
    }
    kept
}

/// Warns if the environment announces descriptors that are not there.
fn warn_about_missing(taken: usize) {
    let Ok(announced) = var("LISTEN_FDS") else { return };
    let pid = var("LISTEN_PID").unwrap_or_default();
    if pid != std::process::id().to_string() {
        log::warn!(
            "LISTEN_FDS={announced} is for process {pid} (LISTEN_PID), not for this one: inputs \
             open their own sockets"
        );
    } else if announced.parse() != Ok(taken) {
        log::warn!("LISTEN_FDS={announced}, but {taken} descriptors were passed");
    }
}

/// Returns whether a socket is bound to an address. A socket bound to all of IPv6 also serves all
/// of IPv4, which is how systemd binds a bare port.
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

/// Returns whether a Unix socket is bound to a path.
fn is_at_path(socket: &Socket, path: &Path) -> bool {
    socket.local_addr().is_ok_and(|address| address.as_pathname() == Some(path))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

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
        let again = udp.try_clone().unwrap();
        let given = [
            ("syslog.socket", all),
            ("logweir.socket", again),
            ("logweir.squid.drops.17", udp),
            ("x", tcp),
        ];
        let given = given.map(|(name, socket)| Given {
            name: name.into(),
            socket,
            is_units: input_of(name).is_none(),
        });
        let mut inherited = Inherited(without_duplicates(given.into()));
        assert!(inherited.udp("127.0.0.2:1".parse().unwrap()).is_empty());
        let found = inherited.udp(at);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].drops.load(Ordering::Relaxed), 17);
        let everywhere = SocketAddr::new([0, 0, 0, 0].into(), all_at.port());
        assert_eq!(inherited.udp(everywhere).len(), 1);
        assert!(inherited.udp(tcp_at).is_empty());
        assert!(inherited.listener(tcp_at).is_some());
        assert!(inherited.0.is_empty());
    }
}
