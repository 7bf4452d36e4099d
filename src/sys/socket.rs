//! Socket options that socket2 does not have.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Index of the drops in SO_MEMINFO's array (linux/sock_diag.h, SK_MEMINFO_DROPS).
const MEMINFO_DROPS: usize = 8;
/// SO_MEMINFO (asm-generic/socket.h).
const SO_MEMINFO: libc::c_int = 55;
/// IPV6_MULTICAST_ALL (linux/in6.h).
const IPV6_MULTICAST_ALL: libc::c_int = 29;

/// The state of a connection that neither side has ended (net/tcp_states.h, TCP_ESTABLISHED).
const ESTABLISHED: u8 = 1;

/// The size of an option's value, as the kernel expects it.
fn socklen(size: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(size).unwrap_or(0)
}

pub(super) fn set_int(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the pointer and the length describe one live `c_int`.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            socklen(size_of::<libc::c_int>()),
        )
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the kernel deliver several datagrams as one message (udp(7), UDP_GRO).
///
/// # Errors
/// The kernel's error; kernels older than 5.0 do not support it.
pub fn set_udp_gro(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_int(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Delivers only the multicast groups that this socket has joined, and not those that other
/// programs of the host have joined on its port (ip(7), IP_MULTICAST_ALL).
///
/// # Errors
/// The kernel's error; kernels older than 4.20 do not support it for IPv6.
pub fn only_joined_groups(socket: BorrowedFd<'_>, is_ipv6: bool) -> io::Result<()> {
    // An IPv6 socket may also receive IPv4, which has its own option.
    set_int(socket, libc::SOL_IP, libc::IP_MULTICAST_ALL, 0)?;
    if is_ipv6 { set_int(socket, libc::SOL_IPV6, IPV6_MULTICAST_ALL, 0) } else { Ok(()) }
}

/// Sets the receive buffer past net.core.rmem_max (socket(7), SO_RCVBUFFORCE).
///
/// # Errors
/// The kernel's error; `PermissionDenied` without CAP_NET_ADMIN.
pub fn force_receive_buffer(socket: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    // The kernel doubles the value, so half the largest `int` is the maximum.
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX).min(libc::c_int::MAX / 2);
    set_int(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
}

/// A socket's memory figures (linux/sock_diag.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes waiting to be received, including the kernel's overhead (SK_MEMINFO_RMEM_ALLOC).
    pub waiting: u32,
    /// The limit of those bytes (SK_MEMINFO_RCVBUF).
    pub room: u32,
    /// Datagrams dropped for lack of room since the socket was created; wraps at 2^32
    /// (SK_MEMINFO_DROPS).
    pub drops: u32,
}

/// Reads a socket's memory figures (socket(7), SO_MEMINFO).
///
/// # Errors
/// The kernel's error; kernels older than 4.12 do not support it.
pub fn memory(socket: BorrowedFd<'_>) -> io::Result<Memory> {
    let mut words = [0_u32; 9];
    let mut len = socklen(size_of_val(&words));
    // SAFETY: the pointer and the length describe `words`, and `len` is a live socklen_t.
    let code = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            words.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Memory { waiting: words[0], room: words[1], drops: words[MEMINFO_DROPS] })
}

/// The number of bytes written to a TCP socket that its peer has not acknowledged (tcp(7),
/// SIOCOUTQ). It can be read even after a reset.
///
/// # Errors
/// The kernel's error.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ, which equals SIOCOUTQ, writes one `c_int` to the pointer, which is live.
    let code = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u32::try_from(bytes).unwrap_or(0))
}

/// The time since the peer's TCP was last heard from. Zero if it has acknowledged everything and
/// has no room for more: it then answers the kernel's probes, which are far apart.
///
/// # Errors
/// The kernel's error.
pub fn silence(socket: BorrowedFd<'_>) -> io::Result<Duration> {
    // SAFETY: tcp_info is a plain C struct for which all zeroes is a valid value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = socklen(size_of_val(&info));
    // SAFETY: the pointer and the length describe `info`, and `len` is a live socklen_t.
    let code = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    // A second probe is sent only if the first one was not answered.
    let waits_for_room = info.tcpi_unacked == 0 && info.tcpi_probes <= 1;
    let established = info.tcpi_state == ESTABLISHED;
    let silence = Duration::from_millis(u64::from(info.tcpi_last_ack_recv));
    Ok(if established && waits_for_room { Duration::ZERO } else { silence })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn drops_are_counted_without_reading_the_socket() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&receiver).set_recv_buffer_size(4096).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        assert_eq!(memory(receiver.as_fd()).unwrap().drops, 0);
        for _ in 0..400 {
            sender.send(&[b'x'; 100]).unwrap();
        }
        let full = memory(receiver.as_fd()).unwrap();
        assert!(full.waiting > 0 && full.room >= 4096, "{full:?}");
        receiver.set_nonblocking(true).unwrap();
        let mut got = 0;
        while receiver.recv(&mut [0; 200]).is_ok() {
            got += 1;
        }
        assert_eq!(memory(receiver.as_fd()).unwrap().drops, 400 - got);
        assert!(got < 400, "the buffer took all");
    }
}
