//! Asking the servers: in datagrams, and by TCP where an answer does not fit into one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::message::{Reply, question, reply};
use super::servers::{self, Servers};
use super::{Answer, Name};
use crate::clock::{Clock, Mono, SystemClock};
use crate::limits::LOOKUP_MAX;

/// Bytes of the largest message.
const MESSAGE_MAX: usize = 65_535;

/// Looks a service up, as `/etc/resolv.conf` says now. Takes as long as the servers take, at most
/// [`LOOKUP_MAX`].
///
/// # Errors
/// Why there is no answer, in one sentence.
pub fn look_up(service: &str) -> Result<Answer, String> {
    by(service, &Servers::read(Path::new(servers::FILE))?)
}

/// Looks a service up with these servers.
///
/// # Errors
/// Why there is no answer, in one sentence.
pub fn by(service: &str, servers: &Servers) -> Result<Answer, String> {
    let name = Name::new(service).ok_or("the name is none that DNS can have")?;
    let clock = SystemClock::new();
    let mut error = "no server was asked".to_string();
    for _ in 0..servers.attempts {
        for server in &servers.addresses {
            if clock.mono().0 >= LOOKUP_MAX {
                return Err(error);
            }
            let until = Mono(clock.mono().0 + servers.timeout);
            let patience = Patience { clock, until };
            match one(&name, *server, servers.by_tcp, patience) {
                Ok(Reply::Found(answer)) => return Ok(answer),
                Ok(Reply::Missing(why)) => return Err(why.to_string()),
                Ok(Reply::Failed(why)) => error = format!("server {}: {why}", server.ip()),
                Ok(Reply::Cut) => error = format!("server {}: its answer is cut", server.ip()),
                Err(failed) => error = format!("server {}: {}", server.ip(), explain(&failed)),
            }
        }
    }
    Err(error)
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "it does not answer".to_string(),
        ErrorKind::UnexpectedEof => "it closed the connection in its answer".to_string(),
        _ => error.to_string(),
    }
}

/// How long one server is waited for.
#[derive(Debug, Clone, Copy)]
struct Patience {
    clock: SystemClock,
    until: Mono,
}

impl Patience {
    /// What is left of it.
    fn left(self) -> io::Result<Duration> {
        match self.until.since(self.clock.mono()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

/// Asks one server.
fn one(name: &Name, server: SocketAddr, by_tcp: bool, patience: Patience) -> io::Result<Reply> {
    if !by_tcp {
        let reply = by_datagram(name, server, patience)?;
        if reply != Reply::Cut {
            return Ok(reply);
        }
    }
    by_stream(name, server, patience)
}

/// A number that nobody can guess, so that nobody else can answer.
fn random_id() -> u16 {
    let [a, b, ..] = RandomState::new().hash_one(0).to_ne_bytes();
    u16::from_ne_bytes([a, b])
}

fn by_datagram(name: &Name, server: SocketAddr, patience: Patience) -> io::Result<Reply> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    let id = random_id();
    socket.send(&question(id, name))?;
    let mut message = vec![0; MESSAGE_MAX];
    loop {
        socket.set_read_timeout(Some(patience.left()?))?;
        let length = match socket.recv(&mut message) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            received => received?,
        };
        // What answers another question is not for us, or forged.
        if let Some(reply) = reply(&message[..length], id, name) {
            return Ok(reply);
        }
    }
}

fn by_stream(name: &Name, server: SocketAddr, patience: Patience) -> io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&server, patience.left()?)?;
    let id = random_id();
    let question = question(id, name);
    let length = u16::try_from(question.len()).unwrap_or(0);
    stream.set_write_timeout(Some(patience.left()?))?;
    stream.write_all(&[&length.to_be_bytes()[..], &question].concat())?;
    let mut length = [0; 2];
    fill(&mut stream, &mut length, patience)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    fill(&mut stream, &mut message, patience)?;
    let other = || Reply::Failed("it answered another question".into());
    Ok(reply(&message, id, name).unwrap_or_else(other))
}

/// Fills `bytes`, however slowly they come, but not for longer than the patience lasts.
fn fill(stream: &mut TcpStream, mut bytes: &mut [u8], patience: Patience) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_read_timeout(Some(patience.left()?))?;
        match stream.read(bytes) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => bytes = &mut bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
