//! Opening the sockets of a UDP input.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::ingress::OpenError;
use crate::ingress::datagrams::{DatagramSocket, Keeper, Look};
use crate::proto::shared::datagrams::UdpInPlan;
use crate::proto::traits::Opening;
use crate::sys;

/// Opens and binds the sockets of an input; `key` precedes the address in the configuration.
/// Sockets of an earlier input with the same claim are taken over, along with the data waiting in
/// them.
///
/// # Errors
/// A sentence for the user that names the address.
pub fn open(
    key: &str,
    plan: &UdpInPlan,
    opening: &mut Opening<'_>,
) -> Result<Vec<DatagramSocket>, OpenError> {
    let name = opening.name;
    let fail = |what: &str, error: &io::Error| {
        let at = format!("input.{name}: {key}{}\"", plan.address);
        OpenError::new(&at, format!("{what}: {error}")).by(error)
    };
    let mut sockets = opening.datagrams();
    let wanted = usize::from(plan.sockets);
    opening.surplus.extend(sockets.split_off(wanted.min(sockets.len())));
    let kept = sockets.len();
    let share = plan.sockets > 1;
    if sockets.is_empty() && share {
        // Sockets that share a port would also share it with another program's sockets that allow
        // it: a bind without sharing shows whether the port is really free.
        bind(plan, false).map_err(|error| fail(hint(&error), &error))?;
    }
    if share {
        for socket in &sockets {
            socket.socket.set_reuse_port(true).map_err(|error| fail("SO_REUSEPORT", &error))?;
        }
    }
    while sockets.len() < wanted {
        let socket = bind(plan, share).map_err(|error| fail(hint(&error), &error))?;
        let socket = DatagramSocket::new(socket);
        if kept > 0 {
            let added = socket.try_clone().map_err(|error| fail("dup", &error))?;
            opening.added.push(added);
        }
        sockets.push(socket);
    }
    for (at, DatagramSocket { socket, .. }) in sockets.iter().enumerate() {
        set_receive_buffer(name, plan, socket);
        if let Err(error) = sys::socket::set_udp_gro(socket.as_fd()) {
            log::debug!("input.{name}: no UDP_GRO: {error}");
        }
        // Do not receive the groups that other programs of this host have joined on the port. A
        // socket that is bound to a group itself may depend on them.
        let is_ipv6 = plan.address.is_ipv6();
        if !plan.address.ip().is_multicast()
            && let Err(error) = sys::socket::only_joined_groups(socket.as_fd(), is_ipv6)
        {
            log::debug!("input.{name}: groups of other programs may come too: {error}");
        }
        if let Some(group) = plan.multicast {
            match join(socket, group, plan.interface.as_deref()) {
                // The receiver keeps trying.
                Err(error) if at < kept => {
                    log::debug!("input.{name}: multicast group {group}: {error}");
                }
                joined => {
                    let on = plan.interface.as_deref();
                    let on = on.map_or_else(String::new, |on| format!(" on interface '{on}'"));
                    joined
                        .map_err(|error| fail(&format!("multicast group {group}{on}"), &error))?;
                }
            }
        }
    }
    Ok(sockets)
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => "the port is in use (see who has it with: ss -ulpn); cannot listen",
        ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE; cannot listen",
        ErrorKind::AddrNotAvailable => "no interface has this address; cannot listen",
        _ => "cannot listen",
    }
}

fn bind(plan: &UdpInPlan, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(plan.address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if plan.address.is_ipv6() {
        // Accept all of IPv4 too, as over TCP, whatever net.ipv6.bindv6only says.
        socket.set_only_v6(false)?;
    }
    if plan.multicast.is_some() {
        // Several programs on a host may listen to one group.
        socket.set_reuse_address(true)?;
    }
    if share {
        socket.set_reuse_port(true)?;
    }
    // Before the bind, because in a flood much arrives before anything else can be done. A
    // shortfall is logged after the bind.
    let _ = ask_for_buffer(plan, &socket);
    socket.bind(&plan.address.into())?;
    Ok(socket)
}

/// Requests the receive buffer from the kernel, as much as it grants.
fn ask_for_buffer(plan: &UdpInPlan, socket: &Socket) -> io::Result<()> {
    if sys::socket::force_receive_buffer(socket.as_fd(), plan.receive_buffer).is_ok() {
        return Ok(());
    }
    let wanted = usize::try_from(plan.receive_buffer).unwrap_or(usize::MAX);
    let max = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap_or_default();
    let max = max.trim().parse().unwrap_or(usize::MAX);
    let can = wanted.min(max);
    // A socket that was handed over may have more than we may request.
    let has = socket.recv_buffer_size().unwrap_or(0) / 2;
    if can == wanted || can > has { socket.set_recv_buffer_size(wanted) } else { Ok(()) }
}

fn set_receive_buffer(name: &str, plan: &UdpInPlan, socket: &Socket) {
    if let Err(error) = ask_for_buffer(plan, socket) {
        log::warn!("input.{name}: receive_buffer: {error}");
    }
    let wanted = usize::try_from(plan.receive_buffer).unwrap_or(usize::MAX);
    // The kernel reports twice the requested size: it counts its own bookkeeping.
    let got = socket.recv_buffer_size().unwrap_or(0) / 2;
    if got < wanted {
        log::warn!(
            "input.{name}: the kernel gave a receive buffer of {got} bytes instead of {wanted}: \
             datagrams are dropped sooner in a burst; raise it with sysctl -w \
             net.core.rmem_max={wanted}, or give the daemon CAP_NET_ADMIN"
        );
    } else {
        log::info!("input.{name}: listening on {}, receive buffer {got} bytes", address(socket));
    }
}

fn address(socket: &Socket) -> String {
    let address = socket.local_addr().ok().and_then(|address| address.as_socket());
    address.map_or_else(|| "?".into(), |address: SocketAddr| address.to_string())
}

/// Maintains the membership of a socket in its group, if it has one: a membership ends with the
/// interface that it is on.
pub fn keeper(plan: &UdpInPlan, socket: &Socket) -> Option<Box<dyn Keeper>> {
    let (group, interface) = (plan.multicast?, plan.interface.clone());
    let mut keeper = Membership { group, interface, on: None };
    keeper.on = keeper.index(socket).ok();
    Some(Box::new(keeper))
}

/// A membership in a multicast group.
#[derive(Debug)]
struct Membership {
    group: IpAddr,
    /// Its name or address; `None` for the kernel's choice.
    interface: Option<String>,
    /// The index of the interface that the group was joined on.
    on: Option<u32>,
}

impl Keeper for Membership {
    fn look(&mut self, socket: &Socket) -> Look {
        let there = match self.interface.as_deref() {
            // The kernel's choice remains valid as long as the interface exists.
            None => self.on.filter(|on| nix::net::if_::if_indextoname(*on).is_ok()),
            Some(_) => self.index(socket).ok(),
        };
        if there.is_some() && there == self.on {
            return Look::Good;
        }
        self.on = None;
        match join(socket, self.group, self.interface.as_deref()) {
            // It was joined when the socket was opened.
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => {
                let on = self.interface.as_deref().unwrap_or("any");
                return Look::Deaf(format!(
                    "multicast group {} cannot be joined on interface '{on}': {error}",
                    self.group
                ));
            }
            Ok(()) => {}
        }
        self.on = self.index(socket).ok();
        Look::Good
    }
}

impl Membership {
    /// The index of the interface on which the group is joined now.
    fn index(&self, socket: &Socket) -> io::Result<u32> {
        let address = match self.interface.as_deref() {
            Some(name) => match name.parse::<IpAddr>() {
                Ok(address) => address,
                Err(_) => return interface_index(name),
            },
            None => chosen(self.group, socket)?,
        };
        let all = nix::ifaddrs::getifaddrs()?;
        let is_at = |at: &nix::ifaddrs::InterfaceAddress| {
            let at = at.address.as_ref();
            let v4 = at.and_then(|at| at.as_sockaddr_in()).map(|at| IpAddr::from(at.ip()));
            let v6 = at.and_then(|at| at.as_sockaddr_in6()).map(|at| IpAddr::from(at.ip()));
            v4.or(v6) == Some(address)
        };
        let found = all.into_iter().find(is_at).map(|at| at.interface_name);
        interface_index(&found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?)
    }
}

/// The address of the interface that the kernel chooses for a group.
fn chosen(group: IpAddr, socket: &Socket) -> io::Result<IpAddr> {
    let port = socket.local_addr()?.as_socket().map_or(9, |at| at.port());
    let any: IpAddr = match group {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Nothing is sent: connecting only looks up the route.
    let probe = UdpSocket::bind((any, 0))?;
    probe.connect((group, port))?;
    Ok(probe.local_addr()?.ip())
}

fn join(socket: &Socket, group: IpAddr, interface: Option<&str>) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => {
            let on = match interface.map(|name| (name, name.parse::<Ipv4Addr>())) {
                None => socket2::InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED),
                Some((_, Ok(address))) => socket2::InterfaceIndexOrAddress::Address(address),
                Some((name, Err(_))) => {
                    socket2::InterfaceIndexOrAddress::Index(interface_index(name)?)
                }
            };
            socket.join_multicast_v4_n(&group, &on)
        }
        IpAddr::V6(group) => {
            let index = interface.map_or(Ok(0), interface_index)?;
            socket.join_multicast_v6(&group, index)
        }
    }
}

fn interface_index(name: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(name)?)
}
