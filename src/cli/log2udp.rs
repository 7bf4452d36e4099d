//! `logweir log2udp`: the drop-in for Wikimedia's log2udp. Lines become datagrams, each preceded by
//! a number from which the receiver can tell what was lost.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use super::stdin::next_line;
use crate::fifo;
use crate::limits;

/// The maximum size of a datagram over IPv4 (RFC 768, RFC 791).
const PAYLOAD_MAX: usize = 65_507;

/// Send lines as UDP datagrams, each preceded by a number, as Wikimedia's log2udp does
///
/// The number counts all lines from 0, whether they are sent or not; the lines sent are those whose
/// number is divisible by the factor.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// The destination host
    #[arg(short = 'h', long, value_name = "HOST", default_value = "localhost")]
    host: String,
    /// The destination port
    #[arg(short, long, value_name = "PORT", default_value_t = 8420)]
    port: u16,
    /// Send one line in FACTOR
    #[arg(short, long, value_name = "FACTOR", default_value = "1")]
    factor: NonZeroU64,
    /// The source of the lines: a named pipe, created if missing and reopened at its end, or - for
    /// standard input
    #[arg(value_name = "FIFO", default_value = "-")]
    input: PathBuf,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// Sends until the input ends; a named pipe never does.
///
/// # Errors
/// That the host is not found, or the system's when opening or reading.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut sender = Sender::new(&args.host, args.port, args.factor)?;
    let path = &args.input;
    if path.as_os_str() == "-" {
        sender.send_all(io::stdin().lock()).context("standard input")?;
    } else {
        let place = || path.display().to_string();
        let mut file = open(path)?;
        loop {
            sender.send_all(&file).with_context(place)?;
            // The old one is closed only now, so that no writer meets a pipe without a reader.
            file = open(path)?;
        }
    }
    sender.say_failures();
    Ok(ExitCode::SUCCESS)
}

/// Opens the named pipe, creating it if missing, once there is something to read.
///
/// # Errors
/// The system's; that something else is there.
fn open(path: &Path) -> anyhow::Result<File> {
    let place = || path.display().to_string();
    match nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o666)) {
        Ok(()) | Err(nix::Error::EEXIST) => {}
        Err(error) => return Err(error).with_context(place),
    }
    // A blocking open would wait for a new writer, even if one has come and gone and its lines
    // are there.
    let (file, is_fifo) = fifo::open_any(path).with_context(place)?;
    if !is_fifo {
        bail!("the file specified is not a fifo: {}", path.display());
    }
    while let Err(error) =
        poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)
    {
        if error != nix::Error::EINTR {
            return Err(error).with_context(place);
        }
    }
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).with_context(place)?;
    Ok(file)
}

struct Sender {
    socket: UdpSocket,
    factor: NonZeroU64,
    count: u64,
    cut: u64,
    failed: u64,
    error: Option<io::Error>,
}

impl Sender {
    fn new(host: &str, port: u16, factor: NonZeroU64) -> anyhow::Result<Self> {
        let address = (host, port).to_socket_addrs().with_context(|| host.to_string())?.next();
        let address = address.with_context(|| format!("{host}: the name has no address"))?;
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address).with_context(|| address.to_string())?;
        Ok(Self { socket, factor, count: 0, cut: 0, failed: 0, error: None })
    }

    fn send_all(&mut self, input: impl io::Read) -> io::Result<()> {
        let mut input = BufReader::with_capacity(limits::READ_CHUNK, input);
        let (mut line, mut datagram) = (Vec::new(), Vec::new());
        while let Some(read) = next_line(&mut input, PAYLOAD_MAX, &mut line)? {
            let number = self.count;
            self.count = self.count.wrapping_add(1);
            if !number.is_multiple_of(self.factor.get()) {
                continue;
            }
            datagram.clear();
            write!(datagram, "{number} ")?;
            let room = PAYLOAD_MAX - datagram.len() - 1;
            datagram.extend_from_slice(&line[..line.len().min(room)]);
            datagram.push(b'\n');
            self.cut += u64::from(read.cut > 0 || line.len() > room);
            self.send(&datagram);
        }
        Ok(())
    }

    fn send(&mut self, datagram: &[u8]) {
        // A send reports the refusal of an earlier datagram, and sends nothing then (udp(7)).
        for _ in 0..2 {
            match self.socket.send(datagram) {
                Ok(_) => return,
                Err(error) => self.error = Some(error),
            }
        }
        self.failed += 1;
    }

    fn say_failures(&self) {
        if self.cut > 0 {
            eprintln!("log2udp: {} lines were cut to a datagram's size", self.cut);
        }
        if let Some(error) = self.error.as_ref().filter(|_| self.failed > 0) {
            eprintln!("log2udp: {} lines were not sent: {error}", self.failed);
        }
    }
}
