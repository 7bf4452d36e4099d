//! The connection server with real connections, and with the test in the loop's place.

use std::convert::Infallible;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::{Poll, Token, Waker};

use super::*;
use crate::ingress::acceptor::bind;
use crate::ingress::inbox::{Handle, ReadyList};
use crate::ingress::listener::Listener;
use crate::input::{Piece, Pieces};
use crate::wake::Wake;

/// A session in which every byte is a line, and is answered by itself.
#[derive(Default)]
struct Bytewise {
    /// Bytes that wait for a barrier, and the barriers.
    new: usize,
    sent: Vec<(u64, usize)>,
    out: Vec<u8>,
}

impl Session for Bytewise {
    type Gather = Pieces;
    type Fault = Infallible;

    fn push(&mut self, bytes: &[u8], pieces: &mut Pieces) -> Result<(), Infallible> {
        self.new += bytes.len();
        let lines = u32::try_from(bytes.len()).unwrap();
        pieces.push(Piece::new(Bytes::from(b"x\n".repeat(bytes.len())), lines));
        Ok(())
    }

    fn held(&self) -> usize {
        0
    }

    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn wants_barrier(&self) -> bool {
        self.new > 0
    }

    fn sent(&mut self, barrier: u64) {
        self.sent.push((barrier, std::mem::take(&mut self.new)));
    }

    fn completed(&mut self, barrier: u64) {
        let done = self.sent.extract_if(.., |(number, _)| *number <= barrier);
        let count = done.map(|(_, count)| count).sum();
        self.out.extend(std::iter::repeat_n(b'.', count));
    }

    fn waits(&self) -> bool {
        !self.sent.is_empty()
    }
}

struct Accepted;

impl Accept for Accepted {
    type Session = Bytewise;

    const ACKNOWLEDGES: bool = true;

    fn gather(&self) -> Pieces {
        Pieces::default()
    }

    fn session(&self, _peer: Peer, _tls: bool) -> Bytewise {
        Bytewise::default()
    }

    fn plain_hint(&self) -> &'static str {
        "another port"
    }
}

/// What the loop has seen of the server.
struct Loop {
    handle: Handle,
    address: SocketAddr,
    lines: u64,
    connections: u64,
    /// The newest barrier, which is how many there were.
    barriers: u64,
    _poll: Poll,
}

impl Loop {
    fn new() -> Self {
        let poll = Poll::new().unwrap();
        let ready = ReadyList::new(Wake::new(Waker::new(poll.registry(), Token(0)).unwrap()));
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let bound = Bound {
            listener: Listener::Tcp(listener),
            tls: None,
            max_connections: 100,
            keeper: None,
        };
        let server = Box::new(Server::new(bound, Accepted).unwrap());
        let handle = Handle::start(&Arc::from("in"), 0, &ready, server).unwrap();
        Self { handle, address, lines: 0, connections: 0, barriers: 0, _poll: poll }
    }

    /// Takes what the server sends until that is so.
    fn take_until(&mut self, is_so: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            assert!(start.elapsed() < Duration::from_secs(60), "{} barriers", self.barriers);
            self.handle.unlist();
            while let Some(received) = self.handle.take().unwrap() {
                self.lines += received.batch.map_or(0, |batch| u64::from(batch.lines));
                self.connections += received.counts.connections;
                if let Some(barrier) = received.barrier {
                    assert_eq!(barrier.number, self.barriers + 1);
                    self.barriers += 1;
                }
            }
            std::thread::yield_now();
        }
    }

    fn connect(&mut self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let connections = self.connections;
        // The server has had a whole turn, and with it all that was sent before.
        self.take_until(|seen| seen.connections > connections);
        stream
    }
}

fn read(stream: &mut TcpStream, count: usize) {
    let mut answers = vec![0; count];
    io::Read::read_exact(stream, &mut answers).unwrap();
    assert!(answers.iter().all(|answer| *answer == b'.'));
}

#[test]
fn nothing_more_is_read_while_clients_wait_for_as_many_barriers_as_there_may_be() {
    let mut seen = Loop::new();
    let [mut one, mut other] = [seen.connect(), seen.connect()];
    let most = BARRIERS_MAX as u64;
    for barrier in 1..=most {
        one.write_all(b"x").unwrap();
        seen.take_until(|seen| seen.barriers == barrier);
    }
    // What comes now stays in the kernel, of whichever client it is.
    for stream in [&mut one, &mut other] {
        for _ in 0..100 {
            stream.write_all(b"x").unwrap();
        }
    }
    let mut third = seen.connect();
    third.write_all(b"x").unwrap();
    let _fourth = seen.connect();
    assert_eq!((seen.lines, seen.barriers), (most, most));
    // And comes together, once some of them are completed.
    seen.handle.completed(10);
    read(&mut one, 10);
    seen.take_until(|seen| seen.lines == most + 201);
    let barriers = seen.barriers;
    assert!((most + 3..=most + 10).contains(&barriers), "{barriers}");
    seen.handle.completed(barriers);
    read(&mut one, BARRIERS_MAX - 10 + 100);
    read(&mut other, 100);
    read(&mut third, 1);
    seen.handle.stop();
    seen.handle.join();
}
