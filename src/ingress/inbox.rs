//! The channel between receivers and the loop.
//!
//! A receiver has the [`Inlet`], the loop the [`Handle`]. Lines go to the loop through a bounded
//! channel: while the loop is busy, sending waits. The receiver then enters itself in the
//! [`ReadyList`], so that a pass of the loop costs only the inputs that have something.
//!
//! A receiver whose clients wait for an acknowledgement sends a barrier after their lines. The loop
//! reports when all lines before the barrier are on disk in each spool downstream. A barrier may
//! carry a resume query: the last line of some origins in each spool downstream.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{
    Receiver, Sender, SyncSender, TryRecvError, TrySendError, channel, sync_channel,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use std::{io, thread};

use super::holding::{Holding, Unfinished};
use super::{Socket, Source};
use crate::batch::{Batch, Inquiry};
use crate::ids::Identity;
use crate::input::{Gather, InputCounts, Piece, Throttle};
use crate::limits;
use crate::net::tls::ServerTls;
use crate::wake::{Bell, Wake};

/// A message from a receiver to the loop.
#[derive(Debug, Default)]
pub struct Received {
    /// Lines, if any.
    pub batch: Option<Batch>,
    /// The counts since the last message.
    pub counts: InputCounts,
    /// A barrier after the lines.
    pub barrier: Option<Barrier>,
    /// A change in the receiver's state.
    pub change: Option<Box<Change>>,
}

/// A change in a receiver's state.
#[derive(Debug)]
pub enum Change {
    /// It receives everything sent to it, or the reason why it does not.
    State(Result<(), String>),
    /// It switched to another socket at the same address.
    Socket(Socket),
    /// How many lines wait at the source, in each of its parts.
    Waiting(Vec<(Arc<str>, u64)>),
    /// It could finally be opened: start these sources in its place.
    Opened(Vec<Box<dyn Source>>),
}

/// A point in the lines of one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    /// Its number, which only increases.
    pub number: u64,
    /// The queries and statements about origins.
    pub inquiry: Inquiry,
}

/// For each origin of a resume query, the number of its last line in each spool downstream; `None`
/// if a spool has no line of it.
pub type LastLines = Vec<Vec<Option<u64>>>;

/// The origins of each spool downstream that are of the requested kinds, each with its last line.
pub type Kin = Vec<Vec<(Identity, u64)>>;

/// A message from the loop to a receiver.
#[derive(Debug)]
enum Reply {
    Kin(u64, Kin),
    Completed(u64),
    Lost(u64),
    Resume(u64, LastLines),
}

/// The loop's messages to a receiver since its last check.
#[derive(Debug, Default)]
pub struct Answers {
    /// All lines before this barrier are on disk, except those before lost barriers.
    pub completed: Option<u64>,
    /// Lost barriers: lines before them will never be on disk here, and clients that wait for one
    /// of them must be made to send their lines again. Check these first.
    pub lost: Vec<u64>,
    /// Answered resume queries, by the number of their barrier.
    pub resumed: Vec<(u64, LastLines)>,
    /// Answered queries for kinds of origins, by the number of their barrier.
    pub kin: Vec<(u64, Kin)>,
}

/// The loop's requests to a receiver.
#[derive(Debug)]
pub struct ReceiverControl {
    /// How much of the kernel's buffer to leave data in, as a [`Throttle`].
    throttle: AtomicU8,
    /// Set while the loop takes nothing of what is sent.
    held: AtomicBool,
    /// Set if a spool is downstream: nothing may be gathered for long, because data still in memory
    /// is lost on SIGKILL.
    prompt: AtomicBool,
    /// Messages sent that the loop has not taken yet.
    waiting: AtomicU32,
    /// Set while the receiver sleeps until few of them are left.
    wants_room: AtomicBool,
    /// True while the receiver is in the ready list.
    listed: AtomicBool,
    /// Set when the receiver must send what it has and end.
    stopped: AtomicBool,
    /// Set when the receiver has ended.
    gone: AtomicBool,
    /// Rings for an answer, for the stop of the receiver, and for a check of its address.
    bell: Bell,
}

impl ReceiverControl {
    fn new() -> io::Result<Self> {
        Ok(Self {
            throttle: AtomicU8::new(Throttle::Off as u8),
            held: AtomicBool::new(false),
            prompt: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            wants_room: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            bell: Bell::new()?,
        })
    }

    /// How much of the kernel's buffer to leave data in.
    pub fn throttle(&self) -> Throttle {
        let is = |throttle| self.throttle.load(Ordering::Relaxed) == throttle as u8;
        [Throttle::Half, Throttle::Most, Throttle::Whole]
            .into_iter()
            .find(|it| is(*it))
            .unwrap_or_default()
    }

    /// Returns whether data should be left in the kernel.
    pub fn throttled(&self) -> bool {
        self.throttle() != Throttle::Off
    }

    /// Returns whether the loop takes nothing of what is sent; it rings the bell once it does.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// Returns whether the loop, busy or hung, has not taken what was sent for a spool: then no
    /// more of it should enter memory.
    pub fn is_late(&self) -> bool {
        self.is_prompt() && self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Returns whether lines are sent as soon as they arrive, because they go to a spool.
    pub fn is_prompt(&self) -> bool {
        self.prompt.load(Ordering::Relaxed)
    }

    /// Returns whether what was gathered in this many pauses should be sent.
    pub fn are_enough(&self, pauses: u32) -> bool {
        pauses >= limits::RECV_PAUSES_MAX || self.is_prompt()
    }
}

/// The receivers with messages for the loop. Clones share one list.
#[derive(Debug, Clone)]
pub struct ReadyList {
    list: Arc<Mutex<Vec<usize>>>,
    wake: Wake,
    /// Bytes sent by all receivers that the loop has not taken.
    sent: Arc<AtomicUsize>,
    unfinished: Arc<Unfinished>,
}

impl ReadyList {
    /// Creates an empty list for the loop that `wake` wakes.
    pub fn new(wake: Wake) -> Self {
        Self { list: Arc::default(), wake, sent: Arc::default(), unfinished: Arc::default() }
    }

    /// Takes the numbers of all listed receivers; each is listed again when it sends more.
    pub fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(&self, receiver: usize, control: &ReceiverControl) {
        if !control.listed.swap(true, Ordering::AcqRel) {
            self.list.lock().unwrap_or_else(PoisonError::into_inner).push(receiver);
        }
    }
}

/// A receiver sends no more lines. It may remain until its clients have their acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

/// The loop's end of the channel.
#[derive(Debug)]
pub struct Handle {
    received: Receiver<Received>,
    ready: ReadyList,
    /// `None` once the loop sends no more replies.
    replies: Option<Sender<Reply>>,
    control: Arc<ReceiverControl>,
    thread: Option<JoinHandle<()>>,
    /// True if it must be told of completed barriers.
    sends_barriers: bool,
    /// Its socket, for a successor and for the service manager.
    pub socket: Option<Arc<Socket>>,
    /// The TLS of its clients, which a reload renews.
    pub tls: Option<ServerTls>,
}

impl Handle {
    /// Starts a source of the input `name` in a thread; `number` is its number in the ready list.
    ///
    /// # Errors
    /// The system's, if no thread or descriptor is available.
    pub fn start(
        name: &Arc<str>,
        number: usize,
        ready: &ReadyList,
        source: Box<dyn Source>,
    ) -> io::Result<Self> {
        let control = Arc::new(ReceiverControl::new()?);
        let (sender, received) = sync_channel(limits::RECEIVED_WAITING);
        let (reply, replies) = channel();
        let inlet = Inlet {
            name: Arc::clone(name),
            sender: Some(sender),
            ready: ready.clone(),
            number,
            control: Arc::clone(&control),
            replies,
            next_barrier: 1,
            abandoned: false,
        };
        let socket = source.socket()?.map(Arc::new);
        let (tls, sends_barriers) = (source.tls(), source.sends_barriers());
        // Thread names have 15 bytes at most (pthread_setname_np(3)).
        let title: String = format!("in:{name}").chars().take(15).collect();
        let run = move || source.run(inlet);
        let thread = Some(thread::Builder::new().name(title).spawn(run)?);
        let ready = ready.clone();
        Ok(Self {
            received,
            ready,
            replies: Some(reply),
            control,
            thread,
            sends_barriers,
            socket,
            tls,
        })
    }

    /// Allows the receiver to enter itself in the ready list again. Call it before [`Self::take`].
    pub fn unlist(&self) {
        self.control.listed.store(false, Ordering::Release);
    }

    /// Takes the next message, if there is one.
    ///
    /// # Errors
    /// That no more will come.
    pub fn take(&self) -> Result<Option<Received>, Ended> {
        match self.received.try_recv() {
            Ok(received) => {
                let before = self.control.waiting.fetch_sub(1, Ordering::Relaxed);
                self.ready.sent.fetch_sub(received.bytes(), Ordering::Relaxed);
                if before <= limits::RECEIVED_FEW
                    && self.control.wants_room.swap(false, Ordering::Relaxed)
                {
                    self.control.bell.ring();
                }
                Ok(Some(received))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Ended),
        }
    }

    /// Returns whether the receiver has ended completely; it is then in the ready list once more.
    pub fn is_gone(&self) -> bool {
        self.control.gone.load(Ordering::Acquire)
    }

    /// Tells the receiver to send what it has and end.
    pub fn stop(&mut self) {
        if self.socket.as_deref().is_some_and(|socket| matches!(socket, Socket::Listener(_))) {
            self.socket = None;
        }
        self.control.stopped.store(true, Ordering::Release);
        self.control.bell.ring();
    }

    /// Makes the receiver check now whether data sent to its address still arrives.
    pub fn look(&self) {
        self.control.bell.ring();
    }

    /// Makes the receiver leave data in so much of the kernel's buffer.
    pub fn throttle(&self, throttle: Throttle) {
        self.control.throttle.store(throttle as u8, Ordering::Relaxed);
    }

    /// Tells the receiver that nothing is taken of what it sends, or that it is again.
    pub fn hold(&self, held: bool) {
        if self.control.held.swap(held, Ordering::Relaxed) && !held {
            self.control.bell.ring();
        }
    }

    /// Sets whether a spool is downstream.
    pub fn set_prompt(&self, prompt: bool) {
        self.control.prompt.store(prompt, Ordering::Relaxed);
    }

    /// Reports that all lines before a barrier are on disk.
    pub fn completed(&self, barrier: u64) {
        self.say(Reply::Completed(barrier));
    }

    /// Reports that lines before a barrier are not on disk and never will be.
    pub fn lost(&self, barrier: u64) {
        self.say(Reply::Lost(barrier));
    }

    /// Answers a resume query.
    pub fn resume(&self, barrier: u64, lasts: LastLines) {
        self.say(Reply::Resume(barrier, lasts));
    }

    /// Answers a query for kinds of origins.
    pub fn tell_kin(&self, barrier: u64, spools: Kin) {
        self.say(Reply::Kin(barrier, spools));
    }

    fn say(&self, reply: Reply) {
        // A receiver that has ended has no client left.
        if self.sends_barriers
            && self.replies.as_ref().is_some_and(|replies| replies.send(reply).is_ok())
        {
            self.control.bell.ring();
        }
    }

    /// Waits for the thread, which must have been stopped, or have closed its inlet. Nothing can be
    /// sent to it afterwards.
    pub fn join(&mut self) {
        self.replies = None;
        self.control.bell.ring();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("a receiver thread panicked");
        }
    }
}

/// A receiver's end of the channel.
#[derive(Debug)]
pub struct Inlet {
    name: Arc<str>,
    /// `None` once no more lines will come.
    sender: Option<SyncSender<Received>>,
    ready: ReadyList,
    number: usize,
    control: Arc<ReceiverControl>,
    replies: Receiver<Reply>,
    next_barrier: u64,
    /// True if the loop will send no more answers.
    abandoned: bool,
}

impl Inlet {
    /// The input's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The loop's requests.
    pub fn control(&self) -> &ReceiverControl {
        &self.control
    }

    /// Rings for answers, for a check of the address, and for the stop.
    pub fn bell(&self) -> &Bell {
        &self.control.bell
    }

    /// The account of what this input's clients make us hold.
    pub fn holding(&self) -> Holding {
        Holding::new(&self.ready.unfinished)
    }

    /// Whether the loop's queue takes `count` more batches without a wait.
    pub fn has_room(&self, count: usize) -> bool {
        self.control.waiting.load(Ordering::Relaxed) as usize + count <= limits::RECEIVED_WAITING
    }

    /// Whether the loop takes lines of `bytes` bytes without a wait.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        // Room is left for a barrier and for a change of state.
        self.has_room(3) && !self.is_much(bytes)
    }

    /// Whether the receivers together have sent too much that the loop has not taken, and this one
    /// is among them.
    fn is_much(&self, bytes: usize) -> bool {
        self.ready.sent.load(Ordering::Relaxed) + bytes > limits::RECEIVED_BYTES_MAX
            && self.control.waiting.load(Ordering::Relaxed) > 0
    }

    /// Returns whether the receiver must send what it has and end.
    pub fn stopped(&self) -> bool {
        self.control.stopped.load(Ordering::Acquire) || self.abandoned
    }

    /// Returns whether the loop will send no more answers.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// A batch of lines received now.
    pub fn batch(&self, piece: Piece) -> Batch {
        piece.into_batch(&self.name, SystemTime::now())
    }

    /// Sends lines and counts, waiting while the loop is busy. The loop keeps its end open until
    /// the receiver has ended, so nothing is lost here.
    pub fn send(&self, batch: Option<Batch>, counts: InputCounts) {
        self.put(Received { batch, counts, ..Received::default() });
        self.ready.wake.wake();
    }

    /// Reports a change of the receiver's state.
    pub fn tell(&self, change: Change) {
        self.put(Received { change: Some(Box::new(change)), ..Received::default() });
        self.ready.wake.wake();
    }

    /// Returns whether the bell rang for the receiver's end, and silences it.
    pub fn rang_for_end(&self) -> bool {
        self.bell().hush();
        self.stopped()
    }

    /// Sends the full pieces, with one wake-up for all of them.
    pub fn send_full(&self, gather: &mut impl Gather) {
        if gather.full_count() == 0 {
            return;
        }
        for piece in gather.full() {
            let batch = Some(self.batch(piece));
            self.put(Received { batch, ..Received::default() });
        }
        self.ready.wake.wake();
    }

    /// Sends all gathered lines and the counts, with one wake-up.
    pub fn send_all(&self, gather: &mut impl Gather) {
        // Sealing counts too.
        gather.seal();
        let mut counts = std::mem::take(gather.counts());
        let pieces = gather.full_count();
        for piece in gather.full() {
            let counts = std::mem::take(&mut counts);
            self.put(Received { batch: Some(self.batch(piece)), counts, ..Received::default() });
        }
        let rest = counts != InputCounts::default();
        if rest {
            self.put(Received { counts, ..Received::default() });
        }
        if rest || pieces > 0 {
            self.ready.wake.wake();
        }
    }

    /// Sends a barrier after everything sent; returns its number. An input that uses barriers has
    /// one source, so that its numbers only increase.
    pub fn barrier(&mut self) -> u64 {
        self.query(Vec::new())
    }

    /// Sends a barrier with a resume query for these origins; returns its number.
    pub fn query(&mut self, origins: Vec<Identity>) -> u64 {
        self.inquire(Inquiry { origins, ..Inquiry::default() })
    }

    /// Sends a barrier with queries and statements about origins; returns its number.
    pub fn inquire(&mut self, inquiry: Inquiry) -> u64 {
        let number = self.next_barrier;
        self.next_barrier += 1;
        let barrier = Some(Barrier { number, inquiry });
        self.put(Received { barrier, ..Received::default() });
        self.ready.wake.wake();
        number
    }

    /// Waits until the bell rings, or for this time.
    pub fn rest(&self, longest: Duration) {
        super::wait::rest(self.bell(), longest);
    }

    /// Waits until the loop has taken most of what was sent, until the bell rings, or for this
    /// time; not at all where it takes `bytes` more bytes.
    pub fn rest_until_room(&self, bytes: usize, longest: Duration) {
        self.control.wants_room.store(true, Ordering::Relaxed);
        // It may have taken it before it saw that somebody waits.
        if !self.has_room_for(bytes) {
            self.rest(longest);
        }
        self.control.wants_room.store(false, Ordering::Relaxed);
    }

    /// The loop's answers since the last call.
    pub fn answers(&mut self) -> Answers {
        self.control.bell.hush();
        let mut answers = Answers::default();
        loop {
            match self.replies.try_recv() {
                Ok(Reply::Completed(barrier)) => answers.completed = Some(barrier),
                Ok(Reply::Lost(barrier)) => answers.lost.push(barrier),
                Ok(Reply::Kin(barrier, kin)) => answers.kin.push((barrier, kin)),
                Ok(Reply::Resume(barrier, lasts)) => answers.resumed.push((barrier, lasts)),
                Err(TryRecvError::Empty) => return answers,
                Err(TryRecvError::Disconnected) => {
                    self.abandoned = true;
                    return answers;
                }
            }
        }
    }

    /// Declares that no more lines will come. Answers may still arrive.
    pub fn close(&mut self) {
        if self.sender.take().is_some() {
            self.ready.enter(self.number, &self.control);
            self.ready.wake.wake();
        }
    }

    /// Returns whether no more lines will come.
    pub fn is_closed(&self) -> bool {
        self.sender.is_none()
    }

    /// Waits while [`Self::is_much`].
    fn wait_for_room(&self, bytes: usize) {
        if bytes == 0 || !self.is_much(bytes) {
            return;
        }
        self.ready.enter(self.number, &self.control);
        self.ready.wake.wake();
        while self.is_much(bytes) && !self.stopped() {
            thread::sleep(limits::RECV_PAUSE);
        }
    }

    /// Waits until the loop has taken a line that alone is more than all receivers may have sent:
    /// the next one is not gathered beside it.
    fn wait_until_taken(&self, bytes: usize) {
        if bytes <= limits::RECEIVED_BYTES_MAX {
            return;
        }
        self.ready.wake.wake();
        let mut pause = limits::RECV_PAUSE;
        while self.control.waiting.load(Ordering::Relaxed) > 0 && !self.stopped() {
            thread::sleep(pause);
            pause = (2 * pause).min(limits::TAKEN_EVERY);
        }
    }

    /// Puts a message where the loop finds it. Only a loop that is behind is woken for it.
    fn put(&self, received: Received) {
        let Some(sender) = &self.sender else { return };
        let bytes = received.bytes();
        self.wait_for_room(bytes);
        self.ready.sent.fetch_add(bytes, Ordering::Relaxed);
        self.control.waiting.fetch_add(1, Ordering::Relaxed);
        if let Err(TrySendError::Full(received)) = sender.try_send(received) {
            self.ready.enter(self.number, &self.control);
            self.ready.wake.wake();
            // The loop keeps its end open until the receiver has ended.
            let _ = sender.send(received);
        }
        self.ready.enter(self.number, &self.control);
        self.wait_until_taken(bytes);
    }
}

impl Received {
    /// The size of its lines in bytes.
    fn bytes(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| batch.bytes.len())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Discard what is still sent; it no longer counts once the thread has ended.
        while let Ok(Some(_)) = self.take() {}
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        // The closed channel tells the loop of the end, once it looks.
        self.control.gone.store(true, Ordering::Release);
        self.sender = None;
        self.ready.enter(self.number, &self.control);
        self.ready.wake.wake();
    }
}

#[cfg(test)]
mod tests;
