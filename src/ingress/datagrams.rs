//! The receiver of a datagram socket, UDP or Unix.
//!
//! It saves wake-ups. It reads until a read is not full; then, if that read returned anything, it
//! sleeps for a millisecond instead of waiting for the very next datagram, as long as the kernel's
//! buffer can hold what may arrive meanwhile. Only after an empty read does it wait in poll(2).
//! Lines are sent to the loop when the stream pauses, or after twenty such sleeps; before each
//! sleep if a spool is downstream; and in a flood, where every read is full, four blocks at once.
//!
//! When the loop is busy, sending waits, and datagrams wait in the kernel. When a file falls behind
//! in a burst, datagrams are also left in the kernel while it has room: they are already held
//! there, and reading them sooner would only move them through memory that the processor's cache
//! cannot hold. The same applies while children that read are behind, and while a spool has not
//! written what it was given: data in the kernel outlives a daemon that is killed.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use socket2::Socket;

use super::inbox::{Change, Inlet};
use super::socket_path::SocketPath;
use super::wait::{Waited, pause, rest, wait};
use super::{Hearing, Socket as Kept, Source};
use crate::input::{InputCounts, Intake, Throttle};
use crate::limits::{self, DATAGRAM_MAX};
use crate::sys::recv::DatagramReader;
use crate::sys::socket::{Memory, memory};

/// A bound datagram socket, UDP or Unix.
#[derive(Debug)]
pub struct DatagramSocket {
    /// The socket.
    pub socket: Socket,
    /// The kernel's drop count on it that was already reported, by this or an earlier receiver.
    pub drops: Arc<AtomicU32>,
    /// The path of a Unix socket, which is removed when nobody has the socket any more.
    pub path: Option<Arc<SocketPath>>,
}

impl DatagramSocket {
    /// A socket that has not been received from.
    pub fn new(socket: Socket) -> Self {
        Self { socket, drops: Arc::default(), path: None }
    }

    /// Duplicates the socket.
    ///
    /// # Errors
    /// The system's.
    pub fn try_clone(&self) -> io::Result<Self> {
        let (drops, path) = (Arc::clone(&self.drops), self.path.clone());
        Ok(Self { socket: self.socket.try_clone()?, drops, path })
    }

    /// Stops new datagrams from reaching a UDP socket that shares its port with others: they go to
    /// the others. What is queued in it can still be received. (The kernel skips a connected socket
    /// when it chooses among those of a port, since Linux 5.3.)
    pub fn leave_group(&self) {
        let Some(own) = self.socket.local_addr().ok().and_then(|own| own.as_socket()) else {
            return;
        };
        let nobody: SocketAddr = match (own, own.ip().is_unspecified()) {
            (SocketAddr::V4(_), true) => (Ipv4Addr::LOCALHOST, 9).into(),
            (SocketAddr::V6(_), true) => (Ipv6Addr::LOCALHOST, 9).into(),
            // From its own address only.
            _ => (own.ip(), 9).into(),
        };
        if let Err(error) = self.socket.connect(&nobody.into()) {
            log::debug!("{own}: a socket that is to be closed stays in its group: {error}");
        }
    }
}

/// Maintains the address of a socket. The kernel does not report that a socket can no longer be
/// reached: its path was removed, or the interface of its multicast group.
pub trait Keeper: Send {
    /// Checks whether datagrams sent to the address arrive in `socket`, and repairs what it can.
    fn look(&mut self, socket: &Socket) -> Look;
}

/// The result of a check.
#[derive(Debug)]
pub enum Look {
    /// The socket is reachable.
    Good,
    /// Another socket now has the address and must be read.
    Anew(DatagramSocket),
    /// Nothing arrives, for this reason.
    Deaf(String),
}

/// The receiver of one socket.
pub struct Datagrams<I> {
    keeper: Option<Box<dyn Keeper>>,
    socket: DatagramSocket,
    reader: DatagramReader,
    intake: I,
}

impl<I: Intake> Datagrams<I> {
    /// Creates a receiver that makes lines with `intake`.
    pub fn new(socket: DatagramSocket, intake: I) -> Self {
        Self { socket, reader: DatagramReader::new(), intake, keeper: None }
    }

    /// Adds a keeper, which checks its address about once a second.
    #[must_use]
    pub fn with_keeper(mut self, keeper: Option<Box<dyn Keeper>>) -> Self {
        self.keeper = keeper;
        self
    }

    /// Makes it record the senders.
    #[must_use]
    pub fn with_sources(mut self) -> Self {
        self.reader = self.reader.with_sources();
        self
    }

    /// Allows messages of up to `room` bytes, if that is more than a UDP datagram can have. Only
    /// for an intake that copies messages out of its buffer.
    #[must_use]
    pub fn with_room(mut self, room: usize) -> Self {
        if room > DATAGRAM_MAX {
            self.reader = self.reader.with_room(room);
        }
        self
    }
}

impl<I: Intake + Send> Source for Datagrams<I> {
    fn run(self: Box<Self>, inlet: Inlet) {
        let Self { socket, reader, intake, keeper } = *self;
        let mut running = Running::new(socket, reader, intake, inlet);
        running.keeper = keeper;
        running.run();
    }

    fn socket(&self) -> io::Result<Option<Kept>> {
        Ok(Some(Kept::Datagrams(self.socket.try_clone()?)))
    }
}

/// A running receiver.
struct Running<I> {
    socket: Socket,
    inlet: Inlet,
    reader: DatagramReader,
    intake: I,
    /// The number of messages per read; 1 while they are large, so that each lands in place.
    slots: usize,
    /// The size of the kernel's buffer, in its own accounting.
    buffer: usize,
    drops: Arc<AtomicU32>,
    path: Option<Arc<SocketPath>>,
    drops_asked: Instant,
    keeper: Option<Box<dyn Keeper>>,
    looked: Option<Instant>,
    hearing: Hearing,
    /// True if the kernel buffers datagrams without blocking their senders.
    patient: bool,
    /// How many more reads may bring no more than the loop takes at once, because it had us leave
    /// datagrams in the kernel a moment ago: so lines are still in the processor's cache when they
    /// are written on.
    careful: u32,
}

/// The result of a read.
#[derive(Default)]
struct Brought {
    messages: usize,
    bytes: usize,
    full: bool,
}

impl<I: Intake> Running<I> {
    fn new(socket: DatagramSocket, reader: DatagramReader, intake: I, inlet: Inlet) -> Self {
        let DatagramSocket { socket, drops, path } = socket;
        let buffer = socket.recv_buffer_size().unwrap_or(0);
        let is_unix = socket.domain().is_ok_and(|domain| domain == socket2::Domain::UNIX);
        Self {
            socket,
            inlet,
            reader,
            intake,
            slots: limits::RECV_SLOTS,
            buffer,
            drops,
            path,
            drops_asked: Instant::now(),
            keeper: None,
            looked: None,
            hearing: Hearing::default(),
            patient: !is_unix,
            careful: 0,
        }
    }

    fn run(mut self) {
        let (mut pauses, mut reads) = (0, 0_u32);
        // What arrived since the last sleep.
        let mut came = Brought::default();
        loop {
            self.look_after_address();
            let throttle = self.throttle();
            if throttle >= Throttle::Most {
                self.careful = limits::RECV_CAREFUL;
            }
            if self.leaves_in_kernel(throttle) || self.is_careful() {
                self.send_throttled();
                let waited = self.rest();
                if self.is_stopped(&waited) {
                    break;
                }
                continue;
            }
            let brought = self.read();
            came.messages += brought.messages;
            came.bytes += brought.bytes;
            if brought.full {
                self.send_several();
                reads = reads.wrapping_add(1);
                if reads.is_multiple_of(1024) {
                    self.ask_drops();
                    let waited = self.wait(Duration::ZERO);
                    if self.is_stopped(&waited) {
                        break;
                    }
                }
                continue;
            }
            let came = std::mem::take(&mut came);
            let pauses_now = came.messages > 0 && self.can_pause(&came);
            pauses = if pauses_now { pauses + 1 } else { 0 };
            if !pauses_now || self.inlet.control().are_enough(pauses) {
                pauses = 0;
                self.inlet.send_all(&mut self.intake);
                self.ask_drops();
            } else {
                // A block that is full waits for the rest: lines that are sent apart make a job of
                // each output of their own.
                self.send_several();
            }
            let waited = match pauses_now {
                true => pause(self.inlet.bell()),
                false => self.wait(limits::DROPS_EVERY),
            };
            if self.is_stopped(&waited) {
                break;
            }
            if waited == Waited::TimedOut && !pauses_now {
                self.intake.rest();
            }
        }
        self.finish();
    }

    /// Returns whether the loop still has to take what was sent, of which there should be little.
    fn is_careful(&self) -> bool {
        self.careful > 0 && !self.inlet.has_room(limits::RECEIVED_WAITING - 1)
    }

    /// Sends while datagrams are left in the kernel. If a spool is downstream, everything is sent
    /// while the loop has room: lines still here would be lost on SIGKILL.
    fn send_throttled(&mut self) {
        match self.inlet.control().is_prompt() && self.inlet.has_room(2) {
            true => self.inlet.send_all(&mut self.intake),
            false => self.inlet.send_full(&mut self.intake),
        }
    }

    /// Returns whether a wait ended because the receiver must stop. The bell also rings for a check
    /// of the address.
    fn is_stopped(&mut self, waited: &Waited) -> bool {
        if *waited != Waited::Stopped {
            return false;
        }
        self.looked = None;
        self.inlet.rang_for_end()
    }

    /// Checks whether datagrams sent to the address still arrive, when it is due.
    fn look_after_address(&mut self) {
        let Some(keeper) = &mut self.keeper else { return };
        if self.looked.is_some_and(|looked| looked.elapsed() < limits::LOOK_EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        let state = match keeper.look(&self.socket) {
            Look::Good => Ok(()),
            Look::Deaf(why) => Err(why),
            Look::Anew(socket) => {
                self.go_on_with(socket);
                Ok(())
            }
        };
        self.hearing.hears(state, &self.inlet);
    }

    /// Switches to another socket, after draining the previous one.
    fn go_on_with(&mut self, next: DatagramSocket) {
        self.empty();
        self.count_drops();
        match next.try_clone() {
            Ok(twin) => self.inlet.tell(Change::Socket(Kept::Datagrams(twin))),
            Err(error) => log::warn!("input.{}: {error}", self.inlet.name()),
        }
        let DatagramSocket { socket, drops, path } = next;
        (self.socket, self.drops) = (socket, drops);
        if let Some(before) = std::mem::replace(&mut self.path, path) {
            before.set_lost();
        }
        self.buffer = self.socket.recv_buffer_size().unwrap_or(0);
    }

    /// Sends full blocks once there are enough of them.
    fn send_several(&mut self) {
        let enough = if self.careful > 0 { 1 } else { self.intake.handed_over_together() };
        if self.intake.full_count() >= enough {
            self.inlet.send_full(&mut self.intake);
        }
    }

    /// Rests while datagrams are left in the kernel.
    fn rest(&self) -> Waited {
        if self.careful == 0 {
            return pause(self.inlet.bell());
        }
        std::thread::sleep(limits::RECV_THROTTLED);
        rest(self.inlet.bell(), Duration::ZERO)
    }

    fn wait(&self, longest: Duration) -> Waited {
        wait(self.socket.as_fd(), self.inlet.bell(), Some(longest))
    }

    /// Returns whether the kernel can hold what arrives in two pauses at the rate of the last one.
    /// A small datagram takes about 768 bytes of its buffer in addition to its own size.
    fn can_pause(&self, brought: &Brought) -> bool {
        self.patient && 2 * (brought.bytes + 768 * brought.messages) < self.buffer / 2
    }

    /// How much of the kernel's buffer to leave data in.
    fn throttle(&self) -> Throttle {
        let control = self.inlet.control();
        match control.is_late() {
            _ if !self.patient => Throttle::Off,
            true => Throttle::Half.max(control.throttle()),
            false => control.throttle(),
        }
    }

    /// Returns whether what came should stay in the kernel.
    fn leaves_in_kernel(&self, throttle: Throttle) -> bool {
        let fits = |room: fn(u32) -> u32| {
            memory(self.socket.as_fd()).is_ok_and(|memory| memory.waiting < room(memory.room))
        };
        match throttle {
            Throttle::Off => false,
            Throttle::Half => fits(|room| room / 2),
            Throttle::Most => fits(|room| room - (room / 16).max(limits::RECV_SPARE).min(room / 2)),
            Throttle::Whole => true,
        }
    }

    fn read(&mut self) -> Brought {
        self.careful = self.careful.saturating_sub(1);
        let buffer = self.intake.buffer();
        if self.reader.room() > DATAGRAM_MAX {
            buffer.reserve(self.reader.room());
        }
        let start = buffer.len();
        let count = match self.reader.read(self.socket.as_fd(), self.slots, buffer) {
            Ok(count) => count,
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    // An error of an earlier send by this socket; reading clears it.
                    log::debug!("input.{}: recvmmsg: {error}", self.inlet.name());
                }
                self.reader.release();
                return Brought { messages: 0, bytes: 0, full: false };
            }
        };
        let mut bytes = 0;
        for slot in 0..count {
            let message = self.reader.message(slot);
            bytes += message.len;
            let source = self.reader.source(slot);
            let cut_before = self.intake.counts().oversize;
            if slot == 0 {
                self.reader.keep_first(self.intake.current());
                self.intake.take_in_place(start, message.segment, source);
            } else {
                self.intake.take(self.reader.bytes(slot), message.segment, source);
            }
            let cut = self.reader.cut(slot);
            if cut > 0 {
                let counts = self.intake.counts();
                // A truncated line is counted once, even if it was truncated twice.
                counts.oversize = cut_before + (counts.oversize - cut_before).max(1);
                counts.oversize_bytes += cut as u64;
            }
        }
        let full = self.reader.was_full(count);
        self.reader.release();
        let large = bytes >= limits::RECV_LARGE * count.max(1);
        self.slots = if large { 1 } else { limits::RECV_SLOTS };
        Brought { messages: count, bytes, full }
    }

    fn ask_drops(&mut self) {
        if self.drops_asked.elapsed() >= limits::DROPS_EVERY {
            self.drops_asked = Instant::now();
            self.count_drops();
        }
    }

    fn count_drops(&mut self) {
        let Ok(Memory { drops, .. }) = memory(self.socket.as_fd()) else { return };
        let new = drops.wrapping_sub(self.drops.swap(drops, Ordering::Relaxed));
        if new > 0 {
            let counts = InputCounts { kernel_drops: u64::from(new), ..InputCounts::default() };
            self.inlet.send(None, counts);
        }
    }

    /// Receives what the kernel had queued before the stop.
    fn finish(&mut self) {
        self.empty();
        // Wait for datagrams on their way into a socket that has left its group.
        std::thread::sleep(limits::RECV_PAUSE);
        self.empty();
        self.inlet.send_all(&mut self.intake);
        self.count_drops();
    }

    fn empty(&mut self) {
        for _ in 0..limits::RECV_LAST_READS {
            let brought = self.read();
            self.inlet.send_full(&mut self.intake);
            if brought.messages == 0 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
