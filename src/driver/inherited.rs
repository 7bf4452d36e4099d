//! Sockets that a service manager hands over at the start, by a `.socket` unit or out of its store.

use std::env::var;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use socket2::{Socket, Type};

use super::inputs::Sockets;
use super::systemd::{DROPS, Manager, input_of};
use crate::ingress;
use crate::ingress::datagrams::{DatagramSocket, SocketPath};
use crate::proto::traits::Claim;
use crate::sys::inherit::take_inherited;

/// Sockets that were handed over at the start.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Given>);

/// One of them.
#[derive(Debug)]
struct Given {
    name: String,
    socket: Socket,
    /// Whether it is a `.socket` unit's, which made its path too.
    is_units: bool,
}

impl Inherited {
    /// Takes them, and tells what of it is in the manager's store. What is no socket is let go and
    /// said.
    pub fn take(manager: &mut Manager) -> Self {
        let taken = take_inherited();
        say_what_is_missing(taken.len());
        let mut given = Vec::new();
        for (name, fd) in taken {
            if manager.takes_back(&name) {
                continue;
            }
            let socket = Socket::from(fd);
            match socket.local_addr().and_then(|_| socket.set_nonblocking(true)) {
                Ok(()) => given.push(Given { is_units: input_of(&name).is_none(), name, socket }),
                Err(error) => {
                    log::warn!("{name}, handed over by the service manager, is no socket: {error}");
                    manager.forget(&name);
                }
            }
        }
        Self(without_twins(given))
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
                _ => continue,
            };
            if !found.is_empty() {
                sockets.insert(claim, found.into_iter().map(Arc::new).collect());
            }
        }
        sockets
    }

    /// The sockets for datagrams at an address.
    pub fn udp(&mut self, address: SocketAddr) -> Vec<DatagramSocket> {
        let at =
            |socket: &Socket| is_at(socket, address) && socket.r#type().ok() == Some(Type::DGRAM);
        self.0.extract_if(.., |given| at(&given.socket)).map(Given::datagrams).collect()
    }

    /// The socket for datagrams at a path.
    pub fn unix(&mut self, path: &Path) -> Option<DatagramSocket> {
        let at = |socket: &Socket| {
            let address = socket.local_addr().ok();
            address.is_some_and(|address| address.as_pathname() == Some(path))
                && socket.r#type().ok() == Some(Type::DGRAM)
        };
        let place = self.0.iter().position(|given| at(&given.socket))?;
        let given = self.0.remove(place);
        if let Err(error) = given.socket.set_passcred(true) {
            log::warn!("{}: the processes that send are not known: {error}", given.name);
        }
        let kept = (!given.is_units).then(|| SocketPath::kept(path)).flatten();
        Some(DatagramSocket { path: kept, ..given.datagrams() })
    }

    /// The socket for connections at an address.
    pub fn listener(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = |socket: &Socket| is_at(socket, address) && socket.is_listener().unwrap_or(false);
        let place = self.0.iter().position(|given| at(&given.socket))?;
        Some(self.0.remove(place).socket.into())
    }

    /// Says what nobody wanted, and lets go of it.
    pub fn finish(self, manager: &mut Manager) {
        for Given { name, socket, .. } in self.0 {
            let at = socket.local_addr().ok();
            let ip = at.as_ref().and_then(|at| at.as_socket()).map(|at| at.to_string());
            let path =
                at.as_ref().and_then(|at| at.as_pathname()).map(|at| at.display().to_string());
            let at = ip.or(path).unwrap_or_else(|| "no address".into());
            log::warn!(
                "{name}: the service manager handed over a socket at {at}, which no input of the \
                 configuration has; it is closed"
            );
            manager.forget(&name);
        }
    }
}

impl Given {
    /// A socket for datagrams, with the drops that its name says were counted.
    fn datagrams(self) -> DatagramSocket {
        let drops = self.name.rsplit_once(DROPS);
        let drops = drops.and_then(|(_, drops)| drops.parse().ok()).unwrap_or(0);
        let drops = Arc::new(AtomicU32::new(drops));
        DatagramSocket { drops, ..DatagramSocket::new(self.socket) }
    }
}

/// A unit's socket comes out of the store as well, after the first time; the name there says its
/// drops.
fn without_twins(given: Vec<Given>) -> Vec<Given> {
    let (units, mut kept): (Vec<_>, Vec<_>) = given.into_iter().partition(|given| given.is_units);
    for unit in units {
        let cookie = unit.socket.cookie().ok();
        let is_twin = |given: &&mut Given| cookie.is_some() && given.socket.cookie().ok() == cookie;
        match kept.iter_mut().find(is_twin) {
            Some(twin) => twin.is_units = true,
            None => kept.push(unit),
        }
    }
    kept
}

/// Says where the environment speaks of descriptors that are not to be had.
fn say_what_is_missing(taken: usize) {
    let Ok(said) = var("LISTEN_FDS") else { return };
    let pid = var("LISTEN_PID").unwrap_or_default();
    if pid != std::process::id().to_string() {
        log::warn!(
            "LISTEN_FDS={said} is not for us, but for process {pid} (LISTEN_PID): inputs open \
             their own sockets"
        );
    } else if said.parse() != Ok(taken) {
        log::warn!("LISTEN_FDS={said}, but {taken} descriptors were handed over");
    }
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
        let mut inherited = Inherited(without_twins(given.into()));
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
