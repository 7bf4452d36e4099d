//! A receiver with a real socket, and with the test in the loop's place.

use std::net::UdpSocket;
use std::sync::atomic::AtomicU64;

use mio::{Poll, Token, Waker};

use super::*;
use crate::ingress::inbox::{Handle, ReadyList};
use crate::input::datagrams::RawLines;
use crate::wake::Wake;

/// Counts how often it is asked: each time is a turn of the receiver.
struct Turns(Arc<AtomicU64>);

impl Keeper for Turns {
    fn look(&mut self, _socket: &Socket) -> Look {
        self.0.fetch_add(1, Ordering::SeqCst);
        Look::Good
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::yield_now();
    }
}

#[test]
fn while_the_loop_has_not_taken_what_is_for_a_spool_the_rest_stays_in_the_kernel() {
    const MORE: u64 = 50;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = socket.local_addr().unwrap();
    socket.set_nonblocking(true).unwrap();
    let ours = Socket::from(socket.try_clone().unwrap());
    let turns = Arc::new(AtomicU64::new(0));
    let source = Datagrams::new(DatagramSocket::new(ours), RawLines::new(1000))
        .with_keeper(Some(Box::new(Turns(Arc::clone(&turns)))));
    let poll = Poll::new().unwrap();
    let ready = ReadyList::new(Wake::new(Waker::new(poll.registry(), Token(0)).unwrap()));
    let mut handle = Handle::start(&Arc::from("in"), 0, &ready, Box::new(source)).unwrap();
    handle.set_prompt(true);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"first", to).unwrap();
    wait_until("the first line", || !ready.take().is_empty());
    for _ in 0..MORE {
        sender.send_to(b"more", to).unwrap();
    }
    // Whole turns of the receiver, with all of that in the kernel.
    for _ in 0..3 {
        let before = turns.load(Ordering::SeqCst);
        handle.look();
        wait_until("a turn", || turns.load(Ordering::SeqCst) > before);
    }
    let held = memory(socket.as_fd()).unwrap().waiting;
    assert!(u64::from(held) > MORE * 256, "the kernel holds {held} bytes");
    let mut lines = Vec::new();
    wait_until_taken(&mut handle, &mut lines, MORE + 1);
    assert_eq!(lines[0], 1, "the first line comes alone");
    handle.stop();
    handle.join();
}

/// Takes messages until so many lines have come; notes the lines of each.
fn wait_until_taken(handle: &mut Handle, lines: &mut Vec<u64>, count: u64) {
    let start = Instant::now();
    while lines.iter().sum::<u64>() < count {
        assert!(start.elapsed() < Duration::from_secs(60), "{lines:?}");
        handle.unlist();
        while let Ok(Some(received)) = handle.take() {
            lines.extend(received.batch.map(|batch| u64::from(batch.lines)));
        }
        std::thread::yield_now();
    }
}
