//! A TCP sink: takes one connection at a time, reads it to its end and discards.

use std::io::{self, Read};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// A sink that waits for its one connection.
pub(super) struct Sink {
    pub(super) port: u16,
    thread: JoinHandle<io::Result<Taken>>,
}

/// What a sink took.
pub(super) struct Taken {
    pub(super) bytes: u64,
    pub(super) end: Instant,
}

impl Sink {
    pub(super) fn open() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        Ok(Self { port, thread: thread::spawn(move || take(&listener)) })
    }

    /// What it took, once the connection is over. Only for a sink that was connected to.
    pub(super) fn taken(self) -> io::Result<Taken> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the sink panicked")))
    }
}

fn take(listener: &TcpListener) -> io::Result<Taken> {
    let (mut stream, _) = listener.accept()?;
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(Taken { bytes, end: Instant::now() }),
            read => bytes += read as u64,
        }
    }
}
