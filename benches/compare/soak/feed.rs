//! What the site is fed: numbered lines to every edge host, and when each was sent.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Lines a second of each kind to each host.
const RATE: u64 = 500;
/// The kinds of lines: to a raw UDP input, and to a syslog input.
pub(super) const KINDS: [&str; 2] = ["raw", "sys"];

/// The lines of one kind to one host: when each was sent, by its number.
pub(super) type Sent = Arc<Mutex<Vec<Instant>>>;

/// The feed of one host.
pub(super) struct Feed {
    /// By kind.
    pub(super) sent: [Sent; 2],
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Begins to send to the ports of a host, those of the kinds.
    pub(super) fn start(host: &str, ports: [u16; 2]) -> Result<Self> {
        let sent: [Sent; 2] = [Arc::default(), Arc::default()];
        let stop = Arc::new(AtomicBool::new(false));
        let mut lanes = Vec::new();
        for ((kind, port), sent) in KINDS.iter().zip(ports).zip(&sent) {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(("127.0.0.1", port))?;
            lanes.push((host.to_string(), *kind, socket, Arc::clone(sent)));
        }
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || send(&lanes, &stop)
        });
        Ok(Self { sent, stop, thread: Some(thread) })
    }

    /// Sends no more.
    pub(super) fn stop(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take();
        thread.map_or(Ok(()), JoinHandle::join).map_err(|_| anyhow!("the feed panicked"))
    }
}

/// What a line looks like.
pub(super) fn line(host: &str, kind: &str, number: usize) -> String {
    match kind {
        "sys" => format!("<14>Nov 23 08:00:00 {host} soak: sys {number}"),
        _ => format!("{host} {kind} {number} GET http://example.org/wiki/{number:0>60}"),
    }
}

fn send(lanes: &[(String, &str, UdpSocket, Sent)], stop: &AtomicBool) {
    let start = Instant::now();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = start.elapsed().as_millis() * u128::from(RATE) / 1000;
        while number as u128 <= due {
            for (host, kind, socket, sent) in lanes {
                sent.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                // Nobody may be there just now: then the line is lost at a time of trouble.
                let _ = socket.send(format!("{}\n", line(host, kind, number)).as_bytes());
            }
            number += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
}
