//! A program's way in, and whether it is open yet.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Result;
use nix::fcntl::OFlag;

/// Where a program takes lines in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Door<'a> {
    /// A UDP port of 127.0.0.1.
    Udp(u16),
    /// A TCP port of 127.0.0.1.
    Tcp(u16),
    /// A named pipe.
    Fifo(&'a Path),
}

impl Door<'_> {
    /// Whether a program is behind it. Nothing is sent, not even a connection made.
    pub(crate) fn is_open(&self) -> Result<bool> {
        match self {
            Self::Udp(port) => in_table("/proc/net/udp", *port, None),
            Self::Tcp(port) => in_table("/proc/net/tcp", *port, Some("0A")),
            // Opening it for writing fails as long as nobody has it open for reading.
            Self::Fifo(path) => Ok(File::options()
                .write(true)
                .custom_flags(OFlag::O_NONBLOCK.bits())
                .open(path)
                .is_ok()),
        }
    }
}

/// Whether the kernel's table has a socket at the port, in the state asked for.
fn in_table(table: &str, port: u16, state: Option<&str>) -> Result<bool> {
    let end = format!(":{port:04X}");
    let table = fs::read_to_string(table)?;
    Ok(table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let here = words.next().is_some_and(|at| at.ends_with(&end));
        here && state.is_none_or(|state| words.nth(1) == Some(state))
    }))
}

/// A UDP port that was free a moment ago.
pub(crate) fn free_udp_port() -> Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A TCP port that was free a moment ago.
pub(crate) fn free_tcp_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
