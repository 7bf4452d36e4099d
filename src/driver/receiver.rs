//! Receivers: one thread a socket, FIFO or standard input, that turns what comes into
//! batches and hands them to the loop.
//!
//! A receiver of datagrams saves wake-ups. It reads until a read is not full; then, if that
//! read brought something, it sleeps for a millisecond instead of waiting for the very next
//! datagram, as long as the kernel's buffer can take what may come meanwhile. Only a read
//! that brought nothing goes back to waiting in poll(2). Lines are handed on when the stream
//! rests, or after twenty such sleeps; before each where there is a spool behind; and in a flood,
//! where every read is full, four blocks at once.
//!
//! When the loop is behind, handing over waits, and what comes meanwhile waits in the kernel.
//! When a file is behind in a burst, datagrams are left in the kernel as well while it has
//! room: there they are held already, and taking them sooner would only move them through
//! memory that the processor's cache cannot hold. The same while a spool has not written what it
//! was given: what is in the kernel outlives a daemon that is killed.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use mio::Waker;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use super::door::Bound;
use super::hand::Hand;
use super::relp_in::Server;
use super::station::Station;
use super::syslog_in;
use super::tls::ServerTls;
use super::unix_in::UnixPath;
use super::wake::Wake;
use crate::batch::Batch;
use crate::config::plan::{InputPlan, SourcePlan, TransportPlan};
use crate::ids::Identity;
use crate::input::datagrams::RawLines;
use crate::input::lines::LineBuffer;
use crate::input::messages::Messages;
use crate::input::{InputCounts, Intake, Piece};
use crate::limits;
use crate::parse::sequence::GapTracker;
use crate::sys::recv::DatagramReader;
use crate::sys::socket::{Memory, memory};

/// What a receiver hands to the loop.
#[derive(Debug)]
pub struct Received {
    /// Lines, perhaps none.
    pub batch: Option<Batch>,
    /// What was counted since the last time.
    pub counts: InputCounts,
    /// A client waits for all up to here: the number of its ticket, and the spool whose last
    /// line here it asks for.
    pub ticket: Option<(u64, Option<Identity>)>,
}

/// What the loop says to a receiver whose clients wait for answers.
#[derive(Debug)]
pub enum Reply {
    /// All up to this ticket is on disk.
    Settled(u64),
    /// What was asked for with this ticket: the last line in each spool.
    Tell(u64, Vec<Option<u64>>),
    /// Take no more lines.
    Stop,
}

/// The way to a receiver whose clients wait for answers.
#[derive(Debug)]
pub struct Replies {
    sender: Sender<Reply>,
    waker: Waker,
}

impl Replies {
    /// Says something.
    pub fn say(&self, reply: Reply) {
        // One that has ended has nobody left to tell.
        if self.sender.send(reply).is_ok()
            && let Err(error) = self.waker.wake()
        {
            log::error!("a receiver cannot be woken: {error}");
        }
    }

    /// Says that nothing more will be said.
    pub fn end(self) {
        drop(self.sender);
        // As above.
        let _ = self.waker.wake();
    }
}

/// What the loop would like of a receiver that reads.
#[derive(Debug, Default)]
pub struct Wishes {
    /// What comes is better left in the kernel, as far as that has room.
    pub hold: AtomicBool,
    /// Nothing is to be gathered for long, for there is a spool behind: what is only in memory is
    /// lost by a kill.
    pub prompt: AtomicBool,
    /// How much was handed over that the loop has not taken yet.
    pub waiting: AtomicU32,
    /// Where jobs are to be done for the disk.
    station: Mutex<Option<Arc<Station>>>,
}

impl Wishes {
    /// Has jobs of the disk done there from now on, or nowhere.
    pub fn set_station(&self, station: Option<Arc<Station>>) {
        *self.station.lock().unwrap_or_else(PoisonError::into_inner) = station;
    }

    pub(super) fn station(&self) -> Option<Arc<Station>> {
        self.station.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn hold(&self) -> bool {
        self.hold.load(Ordering::Relaxed)
    }

    /// Whether the loop, late or hung, has not taken what was handed over for a spool: then no more
    /// of it should come into memory.
    fn is_late(&self) -> bool {
        self.is_prompt() && self.waiting.load(Ordering::Relaxed) > 0
    }

    fn is_prompt(&self) -> bool {
        self.prompt.load(Ordering::Relaxed)
    }

    /// Whether what was gathered in so many pauses is to be handed over.
    pub(super) fn are_enough(&self, pauses: u32) -> bool {
        pauses >= limits::RECV_PAUSES_MOST || self.is_prompt()
    }
}

/// A running receiver.
#[derive(Debug)]
pub struct Handle {
    /// What it received; disconnected once it has ended.
    pub received: Receiver<Received>,
    /// Closing this end tells the thread to stop.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    /// Whether the last turn left something there.
    pub more: bool,
    /// What the loop would like of it.
    pub wishes: Arc<Wishes>,
    /// Its socket, to be taken over by a reload.
    pub socket: Option<DatagramSocket>,
    /// The same of an input with connections.
    pub listener: Option<TcpListener>,
    /// What its clients come through, to be renewed by a reload.
    pub tls: Option<ServerTls>,
    /// The way to it, where its clients wait for answers.
    pub replies: Option<Replies>,
}

impl Handle {
    /// Tells the receiver to hand over what is there already and end.
    pub fn stop(&mut self) {
        self.stop = None;
        self.listener = None;
        if let Some(replies) = &self.replies {
            replies.say(Reply::Stop);
        }
    }

    /// Waits for the thread, which must have been told to stop and whose channel must be
    /// disconnected.
    pub fn join(&mut self) {
        if let Some(replies) = self.replies.take() {
            replies.end();
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("a receiver thread ended by a panic");
        }
    }
}

/// A bound socket for datagrams, UDP or Unix.
#[derive(Debug)]
pub struct DatagramSocket {
    /// The socket.
    pub socket: Socket,
    /// How many of the kernel's drops on it were counted, by this or an earlier receiver.
    pub drops: Arc<AtomicU32>,
    /// The path of a Unix socket, which is removed when nobody has the socket any more.
    pub path: Option<Arc<UnixPath>>,
}

impl DatagramSocket {
    /// The same socket once more.
    ///
    /// # Errors
    /// The system's.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        let (drops, path) = (Arc::clone(&self.drops), self.path.clone());
        Ok(Self { socket: self.socket.try_clone()?, drops, path })
    }
}

/// Where a receiver reads.
#[derive(Debug)]
pub enum Source {
    /// A bound socket for datagrams.
    Datagrams(DatagramSocket),
    /// Standard input, or a FIFO that was opened and is to be opened again at its end.
    Stream(File, Option<PathBuf>),
    /// A bound RELP input.
    Relp(Bound),
    /// A bound syslog input with connections.
    Syslog(Bound),
}

/// Opens a FIFO for reading without waiting for a writer.
///
/// # Errors
/// The system's.
pub fn open_fifo(path: &std::path::Path) -> std::io::Result<File> {
    let flags = libc::O_NONBLOCK;
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Starts a receiver.
///
/// # Errors
/// The system's, where no thread or pipe could be made.
pub fn start(
    name: &Arc<str>,
    plan: &InputPlan,
    source: Source,
    wake: Wake,
) -> std::io::Result<Handle> {
    let wishes = Arc::new(Wishes::default());
    if let Source::Relp(bound) = source {
        return start_relp(name, plan, bound, wake);
    }
    let (stop_read, stop) = std::io::pipe()?;
    let (sender, received) = sync_channel(limits::RECEIVED_WAITING);
    let out = Out { name: Arc::clone(name), sender, wake, wishes: Arc::clone(&wishes) };
    if let Source::Syslog(bound) = source {
        return start_syslog(plan, bound, out, (stop_read, stop), (received, wishes));
    }
    let escape = match &plan.source {
        SourcePlan::Syslog(syslog) => Some(syslog.escape),
        _ => None,
    };
    let max_line = plan.max_line;
    let gaps = plan.sequence.then(GapTracker::new);
    let socket = match &source {
        Source::Datagrams(socket) => Some(socket.try_clone()?),
        _ => None,
    };
    // Thread names have 15 bytes at most (pthread_setname_np(3)).
    let title: String = format!("in:{name}").chars().take(15).collect();
    let thread = std::thread::Builder::new().name(title).spawn(move || match source {
        Source::Datagrams(socket) => match escape {
            None => {
                let intake = RawLines::new(max_line).with_gaps(gaps);
                Datagrams::new(socket, intake, out).run(&stop_read);
            }
            Some(escape) => {
                let intake = Messages::new(max_line, escape);
                Datagrams::new(socket, intake, out).with_sources().run(&stop_read);
            }
        },
        Source::Stream(file, path) => {
            let lines = Lines { buffer: LineBuffer::new(max_line), gaps };
            stream(file, path, lines, &out, &stop_read);
        }
        Source::Relp(_) | Source::Syslog(_) => {}
    })?;
    Ok(Handle {
        received,
        stop: Some(stop),
        thread: Some(thread),
        more: false,
        wishes,
        socket,
        listener: None,
        tls: None,
        replies: None,
    })
}

fn start_syslog(
    plan: &InputPlan,
    bound: Bound,
    out: Out,
    (stop_read, stop): (PipeReader, PipeWriter),
    (received, wishes): (Receiver<Received>, Arc<Wishes>),
) -> std::io::Result<Handle> {
    let SourcePlan::Syslog(syslog) = &plan.source else {
        return Err(std::io::Error::other("a syslog input that is none"));
    };
    let TransportPlan::Tcp(tcp) = &syslog.transport else {
        return Err(std::io::Error::other("a syslog input without connections"));
    };
    let (listener, tls) = (bound.listener.try_clone()?, bound.tls.clone());
    let title: String = format!("in:{}", out.name).chars().take(15).collect();
    let server = syslog_in::Server::new(bound, (syslog, tcp), plan.max_line, out, stop_read)?;
    let thread = std::thread::Builder::new().name(title).spawn(move || server.run())?;
    Ok(Handle {
        received,
        stop: Some(stop),
        thread: Some(thread),
        more: false,
        wishes,
        socket: None,
        listener: Some(listener),
        tls,
        replies: None,
    })
}

fn start_relp(
    name: &Arc<str>,
    plan: &InputPlan,
    bound: Bound,
    wake: Wake,
) -> std::io::Result<Handle> {
    let (sender, received) = sync_channel(limits::RECEIVED_WAITING);
    let (reply, replies) = channel();
    let wishes = Arc::new(Wishes::default());
    let out = Out { name: Arc::clone(name), sender, wake, wishes: Arc::clone(&wishes) };
    let (listener, tls) = (bound.listener.try_clone()?, bound.tls.clone());
    let (server, waker) = Server::new(bound, plan.max_line, out, replies)?;
    let title: String = format!("in:{name}").chars().take(15).collect();
    let thread = std::thread::Builder::new().name(title).spawn(move || server.run())?;
    Ok(Handle {
        received,
        stop: None,
        thread: Some(thread),
        more: false,
        wishes,
        socket: None,
        listener: Some(listener),
        tls,
        replies: Some(Replies { sender: reply, waker }),
    })
}

/// The way to the loop.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) name: Arc<str>,
    sender: SyncSender<Received>,
    wake: Wake,
    pub(super) wishes: Arc<Wishes>,
}

impl Out {
    /// Hands lines over, waiting while the loop is behind. The loop keeps its end open until
    /// the thread has ended, so nothing is lost here.
    fn send(&self, piece: Option<Piece>, counts: InputCounts) {
        let batch = piece.map(|piece| self.batch(piece));
        self.hand(Received { batch, counts, ticket: None });
    }

    fn batch(&self, Piece { bytes, lines, sources }: Piece) -> Batch {
        let name = Arc::clone(&self.name);
        Batch { sources, ..Batch::new(bytes, lines, name, SystemTime::now()) }
    }

    /// Hands over the pieces that are full, with one wake-up for all of them.
    pub(super) fn hand_full(&self, intake: &mut impl Intake) {
        if intake.full_count() == 0 {
            return;
        }
        for piece in intake.full() {
            let batch = Some(self.batch(piece));
            self.put(Received { batch, counts: InputCounts::default(), ticket: None });
        }
        self.wake.wake();
    }

    /// Hands over all lines gathered, and what was counted.
    pub(super) fn hand_all(&self, intake: &mut impl Intake) {
        // Sealing counts too.
        intake.seal();
        let mut counts = std::mem::take(intake.counts());
        for piece in intake.full() {
            self.send(Some(piece), std::mem::take(&mut counts));
        }
        if counts != InputCounts::default() {
            self.send(None, counts);
        }
    }

    /// Whether so much can be handed over without waiting for the loop.
    fn has_room(&self, count: usize) -> bool {
        let waiting = self.wishes.waiting.load(Ordering::Relaxed) as usize;
        waiting + count <= limits::RECEIVED_WAITING
    }

    pub(super) fn hand(&self, received: Received) {
        self.put(received);
        self.wake.wake();
    }

    /// Puts something where the loop finds it. Only a loop that is behind is woken for it.
    fn put(&self, received: Received) {
        self.wishes.waiting.fetch_add(1, Ordering::Relaxed);
        if let Err(TrySendError::Full(received)) = self.sender.try_send(received) {
            self.wake.wake();
            // The loop keeps its end open until the thread has ended.
            let _ = self.sender.send(received);
        }
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        // The loop learns of the end by the closed channel, which it must be made to look at.
        let (closed, _) = sync_channel(0);
        self.sender = closed;
        self.wake.wake();
    }
}

/// What a wait ended with.
#[derive(Debug, PartialEq, Eq)]
enum Waited {
    Ready,
    Stopped,
    TimedOut,
}

/// Lets a millisecond pass, in which the kernel gathers what comes.
fn pause(stop: &PipeReader) -> Waited {
    let mut fds = [PollFd::new(stop.as_fd(), PollFlags::empty())];
    let timeout = PollTimeout::try_from(limits::RECV_PAUSE).unwrap_or(PollTimeout::ZERO);
    match poll(&mut fds, timeout) {
        Ok(1..) => Waited::Stopped,
        _ => Waited::TimedOut,
    }
}

/// Waits until there is something to read.
fn wait(source: BorrowedFd<'_>, stop: &PipeReader, longest: Option<Duration>) -> Waited {
    let mut fds =
        [PollFd::new(source, PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::empty())];
    let timeout = longest.map_or(PollTimeout::NONE, |longest| {
        PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX)
    });
    // An error can only be an interruption by a signal; the caller looks at its source again.
    let _ = poll(&mut fds, timeout);
    let woke = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
    match (woke(&fds[1]), woke(&fds[0])) {
        (true, _) => Waited::Stopped,
        (false, true) => Waited::Ready,
        (false, false) => Waited::TimedOut,
    }
}

/// The receiver of one UDP socket.
struct Datagrams<I> {
    socket: Socket,
    out: Out,
    hand: Hand,
    reader: DatagramReader,
    intake: I,
    /// Messages a read may bring; 1 while they are large, so that each lands in place.
    slots: usize,
    /// What the kernel's buffer holds, in its own accounting.
    buffer: usize,
    drops: Arc<AtomicU32>,
    drops_asked: Instant,
    /// Whether the kernel holds what comes meanwhile without making its senders wait.
    patient: bool,
}

/// What a read brought.
#[derive(Default)]
struct Brought {
    messages: usize,
    bytes: usize,
    full: bool,
}

impl<I: Intake> Datagrams<I> {
    fn new(DatagramSocket { socket, drops, .. }: DatagramSocket, intake: I, out: Out) -> Self {
        let buffer = socket.recv_buffer_size().unwrap_or(0);
        let hand = Hand::new(Arc::clone(&out.wishes));
        let is_unix = socket.domain().is_ok_and(|domain| domain == socket2::Domain::UNIX);
        Self {
            socket,
            out,
            hand,
            reader: DatagramReader::new(),
            intake,
            slots: limits::RECV_SLOTS,
            buffer,
            drops,
            drops_asked: Instant::now(),
            patient: !is_unix,
        }
    }

    /// The same, with the senders known.
    fn with_sources(mut self) -> Self {
        self.reader = self.reader.with_sources();
        self
    }

    fn run(mut self, stop: &PipeReader) {
        let (mut pauses, mut reads) = (0, 0_u32);
        // What came since the last sleep.
        let mut came = Brought::default();
        loop {
            let enough = self.out.wishes.hold() || self.out.wishes.is_late();
            if self.patient && enough && self.kernel_has_room() {
                // A kill would cost what stays here meanwhile.
                match self.out.wishes.is_prompt() && self.out.has_room(2) {
                    true => self.hand_over_all(),
                    false => self.hand_full(),
                }
                let did = self.help();
                self.hand.tell();
                if !did && pause(stop) == Waited::Stopped {
                    break;
                }
                continue;
            }
            let brought = self.read();
            came.messages += brought.messages;
            came.bytes += brought.bytes;
            if brought.full {
                self.hand_on_in_flood();
                reads = reads.wrapping_add(1);
                if reads.is_multiple_of(1024) {
                    self.ask_drops();
                    if wait(self.socket.as_fd(), stop, Some(Duration::ZERO)) == Waited::Stopped {
                        break;
                    }
                }
                continue;
            }
            let came = std::mem::take(&mut came);
            let pauses_now = came.messages > 0 && self.can_pause(&came);
            pauses = if pauses_now { pauses + 1 } else { 0 };
            if pauses_now {
                self.help();
            } else {
                self.hand.withdraw();
            }
            if !pauses_now || self.out.wishes.are_enough(pauses) {
                pauses = 0;
                self.hand_over_all();
                self.ask_drops();
            } else {
                self.hand_full();
            }
            let waited = match pauses_now {
                true => pause(stop),
                false => wait(self.socket.as_fd(), stop, Some(limits::DROPS_EVERY)),
            };
            match waited {
                Waited::Stopped => break,
                Waited::TimedOut if !pauses_now => self.intake.rest(),
                Waited::Ready | Waited::TimedOut => {}
            }
        }
        self.finish();
    }

    /// Hands on what is enough to be worth it while reads are full.
    fn hand_on_in_flood(&mut self) {
        if self.intake.full_count() >= limits::PIECES_TOGETHER {
            self.help();
            self.hand_full();
        }
    }

    /// Does what is to be done for the disk; whether something was. Who writes does not receive
    /// meanwhile; the kernel must be able to hold what comes.
    fn help(&mut self) -> bool {
        if self.buffer >= limits::HAND_BUFFER_LEAST {
            self.hand.lend();
        }
        self.hand.work()
    }

    fn hand_full(&mut self) {
        self.make_way();
        if self.intake.full_count() > 0 {
            self.hand.told();
        }
        self.out.hand_full(&mut self.intake);
    }

    /// One who may have to wait for the loop does not write meanwhile, for the loop may wait for
    /// what is to be written.
    fn make_way(&mut self) {
        if !self.out.has_room(self.intake.full_count() + 2) {
            self.hand.withdraw();
        }
    }

    /// Whether the kernel can hold what comes in two pauses at the rate of the last one. A
    /// small datagram takes about 768 bytes of its buffer beside its own.
    fn can_pause(&self, brought: &Brought) -> bool {
        self.patient && 2 * (brought.bytes + 768 * brought.messages) < self.buffer / 2
    }

    /// Whether the kernel's buffer is less than half full.
    fn kernel_has_room(&self) -> bool {
        memory(self.socket.as_fd()).is_ok_and(|memory| memory.waiting < memory.room / 2)
    }

    fn read(&mut self) -> Brought {
        let buffer = self.intake.buffer();
        let start = buffer.len();
        let count = match self.reader.read(self.socket.as_fd(), self.slots, buffer) {
            Ok(count) => count,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::WouldBlock {
                    // An error of an earlier send to nobody: it is cleared by being read.
                    log::debug!("input.{}: recvmmsg: {error}", self.out.name);
                }
                return Brought { messages: 0, bytes: 0, full: false };
            }
        };
        let mut bytes = 0;
        for slot in 0..count {
            let message = self.reader.message(slot);
            bytes += message.len;
            if slot == 0 {
                self.reader.keep_first(self.intake.current());
                let source = self.reader.source(slot);
                self.intake.take_in_place(start, message.segment, source);
            } else {
                let source = self.reader.source(slot);
                self.intake.take(self.reader.bytes(slot), message.segment, source);
            }
        }
        let full = count == self.slots;
        let large = bytes >= limits::RECV_LARGE * count.max(1);
        self.slots = if large { 1 } else { limits::RECV_SLOTS };
        Brought { messages: count, bytes, full }
    }

    fn hand_over_all(&mut self) {
        self.make_way();
        self.out.hand_all(&mut self.intake);
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
            self.make_way();
            let counts = InputCounts { kernel_drops: u64::from(new), ..InputCounts::default() };
            self.out.send(None, counts);
        }
    }

    /// What the kernel had taken in before the stop is received yet.
    fn finish(&mut self) {
        self.hand.withdraw();
        for _ in 0..limits::RECV_LAST_READS {
            let brought = self.read();
            self.hand_full();
            if brought.messages == 0 {
                break;
            }
        }
        self.hand_over_all();
        self.count_drops();
    }
}

/// The lines of a stream.
struct Lines {
    buffer: LineBuffer,
    gaps: Option<GapTracker>,
}

impl Lines {
    /// Hands on what `take` gives.
    fn hand_on(&mut self, out: &Out, take: impl FnOnce(&mut LineBuffer) -> Option<(Bytes, u32)>) {
        let piece = take(&mut self.buffer);
        let mut counts = std::mem::take(&mut self.buffer.counts);
        if let (Some(gaps), Some((bytes, _))) = (&mut self.gaps, &piece) {
            gaps.lines(bytes);
            counts.sequence_lost += gaps.newly_lost();
        }
        if piece.is_some() || counts != InputCounts::default() {
            let piece = piece.map(|(bytes, lines)| Piece { bytes, lines, sources: None });
            out.send(piece, counts);
        }
    }
}

/// Receives from a FIFO or from standard input.
fn stream(mut file: File, path: Option<PathBuf>, mut lines: Lines, out: &Out, stop: &PipeReader) {
    let mut chunk = vec![0; limits::READ_CHUNK];
    loop {
        if wait(file.as_fd(), stop, None) == Waited::Stopped {
            // What is there already is taken yet, as far as one read goes; the rest waits in
            // the pipe for whoever reads next.
            break;
        }
        match file.read(&mut chunk) {
            Ok(0) => {
                lines.hand_on(out, LineBuffer::end);
                let Some(path) = &path else { return };
                // Opened before the old one is closed, so that a writer never meets a pipe
                // without a reader.
                match open_fifo(path) {
                    Ok(next) => file = next,
                    Err(error) => {
                        log::error!("input.{}: {}: {error}", out.name, path.display());
                        return;
                    }
                }
            }
            Ok(count) => {
                lines.hand_on(out, |buffer| buffer.push(&chunk[..count]));
                // More is on its way, and a pipe can hold as much as the chunk: one wake-up for
                // it is enough.
                if count < chunk.len() / 8 {
                    std::thread::sleep(4 * limits::RECV_PAUSE);
                } else if count < chunk.len() / 2 {
                    std::thread::sleep(limits::RECV_PAUSE);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                log::error!("input.{}: {error}", out.name);
                break;
            }
        }
    }
    lines.hand_on(out, LineBuffer::end);
}
