//! What receivers and the loop say to each other.
//!
//! A receiver has the [`Inlet`], the loop the [`Handle`]. Lines go to the loop through a bounded
//! channel: while the loop is behind, sending waits. The receiver then enters itself in the
//! [`ReadyList`], so that a pass of the loop costs only the inputs that have something.
//!
//! A receiver whose clients wait for an acknowledgement sends a barrier behind their lines. The
//! loop tells it when all lines before the barrier are on disk in each spool downstream. A barrier
//! may carry a resume query: the last line of some origins in each spool downstream.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{
    Receiver, Sender, SyncSender, TryRecvError, TrySendError, channel, sync_channel,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;
use std::{io, thread};

use super::{Socket, Source};
use crate::batch::{Batch, Inquiry};
use crate::ids::Identity;
use crate::input::{Gather, InputCounts, Piece};
use crate::limits;
use crate::net::tls::ServerTls;
use crate::wake::{Bell, Wake};

/// What a receiver sends to the loop.
#[derive(Debug, Default)]
pub struct Received {
    /// Lines, perhaps none.
    pub batch: Option<Batch>,
    /// What was counted since the last time.
    pub counts: InputCounts,
    /// A barrier behind the lines.
    pub barrier: Option<Barrier>,
    /// What has become of the receiver.
    pub change: Option<Box<Change>>,
}

/// What has become of a receiver, beside its lines.
#[derive(Debug)]
pub enum Change {
    /// It takes all that is sent to it, or this keeps it from that.
    State(Result<(), String>),
    /// It goes on with another socket at the same address.
    Socket(Socket),
    /// It could be opened at last: these are to be started in its place.
    Opened(Vec<Box<dyn Source>>),
}

/// A point in the lines of one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    /// Its number, which only grows.
    pub number: u64,
    /// What is asked and said of origins.
    pub inquiry: Inquiry,
}

/// For each origin of a resume query the number of its last line in each spool downstream;
/// `None` where a spool has no line of it.
pub type LastLines = Vec<Vec<Option<u64>>>;

/// The origins of each spool downstream that are of the kinds asked for, each with its last line.
pub type Kin = Vec<Vec<(Identity, u64)>>;

/// What the loop says to a receiver.
#[derive(Debug)]
enum Reply {
    Kin(u64, Kin),
    Completed(u64),
    Lost(u64),
    Resume(u64, LastLines),
}

/// What the loop has said to a receiver since it last looked.
#[derive(Debug, Default)]
pub struct Answers {
    /// All lines before this barrier are on disk, but for those before lost barriers.
    pub completed: Option<u64>,
    /// Barriers that are lost: lines before them will never be on disk here, and whoever waits
    /// for one of them must be made to send its lines again. To be looked at first.
    pub lost: Vec<u64>,
    /// Resume queries that were answered, by the number of their barrier.
    pub resumed: Vec<(u64, LastLines)>,
    /// Questions for kinds of origins that were answered, by the number of their barrier.
    pub kin: Vec<(u64, Kin)>,
}

/// What the loop would like of a receiver.
#[derive(Debug)]
pub struct ReceiverControl {
    /// Set while what comes is better left in the kernel, as far as that has room.
    throttle: AtomicBool,
    /// Set where there is a spool downstream: nothing is to be gathered for long, because data
    /// still in memory is lost on SIGKILL.
    prompt: AtomicBool,
    /// Messages that were sent and that the loop has not taken yet.
    waiting: AtomicU32,
    /// Whether the receiver is in the ready list.
    listed: AtomicBool,
    /// Set once the receiver is to send what it has and end.
    stopped: AtomicBool,
    /// Set once the receiver has ended.
    gone: AtomicBool,
    /// Rings when there is an answer, when the receiver is stopped, and when it is to look after
    /// its address.
    bell: Bell,
}

impl ReceiverControl {
    fn new() -> io::Result<Self> {
        Ok(Self {
            throttle: AtomicBool::new(false),
            prompt: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            listed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            bell: Bell::new()?,
        })
    }

    /// Whether what comes is better left in the kernel, as far as that has room.
    pub fn throttled(&self) -> bool {
        self.throttle.load(Ordering::Relaxed)
    }

    /// Whether the loop, late or hung, has not taken what was sent for a spool: then no more of
    /// it should come into memory.
    pub fn is_late(&self) -> bool {
        self.is_prompt() && self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether lines are sent as soon as they have come, because they go to a spool.
    pub fn is_prompt(&self) -> bool {
        self.prompt.load(Ordering::Relaxed)
    }

    /// Whether what was gathered in so many pauses is to be sent.
    pub fn are_enough(&self, pauses: u32) -> bool {
        pauses >= limits::RECV_PAUSES_MAX || self.is_prompt()
    }
}

/// The receivers that have something for the loop. Clones are the same list.
#[derive(Debug, Clone)]
pub struct ReadyList {
    list: Arc<Mutex<Vec<usize>>>,
    wake: Wake,
    /// Bytes that all receivers have sent and the loop has not taken.
    sent: Arc<AtomicUsize>,
    unfinished: Arc<Unfinished>,
}

/// What the clients of all inputs make us hold.
#[derive(Debug, Default)]
struct Unfinished {
    bytes: AtomicUsize,
    inputs: AtomicUsize,
}

/// What the clients of one input make us hold, in bytes: unfinished messages and unread answers.
#[derive(Debug)]
pub struct Holding {
    all: Arc<Unfinished>,
    own: usize,
}

impl Holding {
    /// Changes what one client holds.
    pub fn change(&mut self, before: usize, after: usize) {
        self.own = self.own + after - before;
        // In this order, so that the sum is never below what is held.
        self.all.bytes.fetch_add(after, Ordering::Relaxed);
        self.all.bytes.fetch_sub(before, Ordering::Relaxed);
    }

    /// Returns whether the clients of all inputs together hold more than [`limits::UNFINISHED_MAX`]
    /// and those of this input more than its share.
    pub fn is_too_much(&self) -> bool {
        let share = limits::UNFINISHED_MAX / self.all.inputs.load(Ordering::Relaxed).max(1);
        self.all.bytes.load(Ordering::Relaxed) > limits::UNFINISHED_MAX && self.own > share
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.all.bytes.fetch_sub(self.own, Ordering::Relaxed);
        self.all.inputs.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ReadyList {
    /// An empty list, of a loop that `wake` wakes.
    pub fn new(wake: Wake) -> Self {
        Self { list: Arc::default(), wake, sent: Arc::default(), unfinished: Arc::default() }
    }

    /// Takes the numbers of all receivers in the list; each is listed again once it sends more.
    pub fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(&self, receiver: usize, control: &ReceiverControl) {
        if !control.listed.swap(true, Ordering::AcqRel) {
            self.list.lock().unwrap_or_else(PoisonError::into_inner).push(receiver);
        }
    }
}

/// A receiver sends no more. It may stay until its clients have their acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

/// The loop's end.
#[derive(Debug)]
pub struct Handle {
    received: Receiver<Received>,
    ready: ReadyList,
    /// `None` once nothing more will be said.
    replies: Option<Sender<Reply>>,
    control: Arc<ReceiverControl>,
    thread: Option<JoinHandle<()>>,
    /// Whether it is to be told of completed barriers.
    sends_barriers: bool,
    /// Its socket, for a successor and for the service manager.
    pub socket: Option<Arc<Socket>>,
    /// What its clients come through, to be renewed by a reload.
    pub tls: Option<ServerTls>,
}

impl Handle {
    /// Starts a source of the input `name` in a thread, under a number of the caller's for the
    /// ready list.
    ///
    /// # Errors
    /// The system's, where there is no thread or descriptor for it.
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

    /// Allows the receiver to enter itself in the ready list again. To be called before
    /// [`Self::take`].
    pub fn unlist(&self) {
        self.control.listed.store(false, Ordering::Release);
    }

    /// Takes what it sent next, if something is there.
    ///
    /// # Errors
    /// That nothing more comes.
    pub fn take(&self) -> Result<Option<Received>, Ended> {
        match self.received.try_recv() {
            Ok(received) => {
                self.control.waiting.fetch_sub(1, Ordering::Relaxed);
                self.ready.sent.fetch_sub(received.bytes(), Ordering::Relaxed);
                Ok(Some(received))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Ended),
        }
    }

    /// Whether the receiver has ended altogether; it is then in the ready list once more.
    pub fn is_gone(&self) -> bool {
        self.control.gone.load(Ordering::Acquire)
    }

    /// Tells the receiver to send what is there already and end.
    pub fn stop(&mut self) {
        if self.socket.as_deref().is_some_and(|socket| matches!(socket, Socket::Listener(_))) {
            self.socket = None;
        }
        self.control.stopped.store(true, Ordering::Release);
        self.control.bell.ring();
    }

    /// Has the receiver look now whether what is sent to its address still arrives.
    pub fn look(&self) {
        self.control.bell.ring();
    }

    /// Has what comes left in the kernel, or no longer.
    pub fn throttle(&self, throttle: bool) {
        self.control.throttle.store(throttle, Ordering::Relaxed);
    }

    /// Says whether there is a spool downstream.
    pub fn set_prompt(&self, prompt: bool) {
        self.control.prompt.store(prompt, Ordering::Relaxed);
    }

    /// Says that all lines before a barrier are on disk.
    pub fn completed(&self, barrier: u64) {
        self.say(Reply::Completed(barrier));
    }

    /// Says that lines before a barrier are not on disk and never will be.
    pub fn lost(&self, barrier: u64) {
        self.say(Reply::Lost(barrier));
    }

    /// Answers a resume query.
    pub fn resume(&self, barrier: u64, lasts: LastLines) {
        self.say(Reply::Resume(barrier, lasts));
    }

    /// Answers a question for kinds of origins.
    pub fn tell_kin(&self, barrier: u64, spools: Kin) {
        self.say(Reply::Kin(barrier, spools));
    }

    fn say(&self, reply: Reply) {
        // One that has ended has no client left.
        if self.sends_barriers
            && self.replies.as_ref().is_some_and(|replies| replies.send(reply).is_ok())
        {
            self.control.bell.ring();
        }
    }

    /// Waits for the thread, which must have been stopped, or have closed its inlet. Nothing more
    /// is said to it.
    pub fn join(&mut self) {
        self.replies = None;
        self.control.bell.ring();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("a receiver thread ended by a panic");
        }
    }
}

/// A receiver's end.
#[derive(Debug)]
pub struct Inlet {
    name: Arc<str>,
    /// `None` once no more lines come.
    sender: Option<SyncSender<Received>>,
    ready: ReadyList,
    number: usize,
    control: Arc<ReceiverControl>,
    replies: Receiver<Reply>,
    next_barrier: u64,
    /// Whether the loop will say no more.
    abandoned: bool,
}

impl Inlet {
    /// The input's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What the loop would like.
    pub fn control(&self) -> &ReceiverControl {
        &self.control
    }

    /// Rings when there are answers, when the receiver is to look after its address, and when it is
    /// stopped.
    pub fn bell(&self) -> &Bell {
        &self.control.bell
    }

    /// The account of what this input's clients make us hold.
    pub fn holding(&self) -> Holding {
        let all = Arc::clone(&self.ready.unfinished);
        all.inputs.fetch_add(1, Ordering::Relaxed);
        Holding { all, own: 0 }
    }

    /// Whether the loop's queue takes `count` more batches without a wait.
    pub fn has_room(&self, count: usize) -> bool {
        self.control.waiting.load(Ordering::Relaxed) as usize + count <= limits::RECEIVED_WAITING
    }

    /// Whether the receiver is to send what it has and end.
    pub fn stopped(&self) -> bool {
        self.control.stopped.load(Ordering::Acquire) || self.abandoned
    }

    /// Whether the loop will answer no more.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// A batch of lines that are received now.
    pub fn batch(&self, piece: Piece) -> Batch {
        piece.into_batch(&self.name, SystemTime::now())
    }

    /// Sends lines and counts, waiting while the loop is behind. The loop keeps its end open
    /// until the receiver has ended, so nothing is lost here.
    pub fn send(&self, batch: Option<Batch>, counts: InputCounts) {
        self.put(Received { batch, counts, ..Received::default() });
        self.ready.wake.wake();
    }

    /// Says what has become of the receiver.
    pub fn tell(&self, change: Change) {
        self.put(Received { change: Some(Box::new(change)), ..Received::default() });
        self.ready.wake.wake();
    }

    /// Whether a ring of the bell was for the receiver's end; it rings no more.
    pub fn rang_for_end(&self) -> bool {
        self.bell().hush();
        self.stopped()
    }

    /// Sends the pieces that are full, with one wake-up for all of them.
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

    /// Sends all lines gathered, and what was counted.
    pub fn send_all(&self, gather: &mut impl Gather) {
        // Sealing counts too.
        gather.seal();
        let mut counts = std::mem::take(gather.counts());
        for piece in gather.full() {
            self.send(Some(self.batch(piece)), std::mem::take(&mut counts));
        }
        if counts != InputCounts::default() {
            self.send(None, counts);
        }
    }

    /// Sends a barrier behind all that was sent; its number. An input that uses barriers has one
    /// source, so that its numbers only grow.
    pub fn barrier(&mut self) -> u64 {
        self.query(Vec::new())
    }

    /// Sends a barrier with a resume query for these origins; its number.
    pub fn query(&mut self, origins: Vec<Identity>) -> u64 {
        self.inquire(Inquiry { origins, ..Inquiry::default() })
    }

    /// Sends a barrier that asks and says something of origins; its number.
    pub fn inquire(&mut self, inquiry: Inquiry) -> u64 {
        let number = self.next_barrier;
        self.next_barrier += 1;
        let barrier = Some(Barrier { number, inquiry });
        self.put(Received { barrier, ..Received::default() });
        self.ready.wake.wake();
        number
    }

    /// What the loop has said since the last time.
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

    /// Says that no more lines come. Answers may still come.
    pub fn close(&mut self) {
        if self.sender.take().is_some() {
            self.ready.enter(self.number, &self.control);
            self.ready.wake.wake();
        }
    }

    /// Whether no more lines come.
    pub fn is_closed(&self) -> bool {
        self.sender.is_none()
    }

    /// Waits while all receivers together have sent so much that the loop has not taken, and this
    /// one is among them.
    fn wait_for_room(&self, bytes: usize) {
        let is_much = || {
            self.ready.sent.load(Ordering::Relaxed) + bytes > limits::RECEIVED_BYTES_MAX
                && self.control.waiting.load(Ordering::Relaxed) > 0
        };
        if bytes == 0 || !is_much() {
            return;
        }
        self.ready.enter(self.number, &self.control);
        self.ready.wake.wake();
        while is_much() && !self.stopped() {
            thread::sleep(limits::RECV_PAUSE);
        }
    }

    /// Puts something where the loop finds it. Only a loop that is behind is woken for it.
    fn put(&self, received: Received) {
        let Some(sender) = &self.sender else { return };
        self.wait_for_room(received.bytes());
        self.ready.sent.fetch_add(received.bytes(), Ordering::Relaxed);
        self.control.waiting.fetch_add(1, Ordering::Relaxed);
        if let Err(TrySendError::Full(received)) = sender.try_send(received) {
            self.ready.enter(self.number, &self.control);
            self.ready.wake.wake();
            // The loop keeps its end open until the receiver has ended.
            let _ = sender.send(received);
        }
        self.ready.enter(self.number, &self.control);
    }
}

impl Received {
    /// Bytes of its lines.
    fn bytes(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| batch.bytes.len())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // What is sent from now on is nobody's, and counts no more once the thread has ended.
        while let Ok(Some(_)) = self.take() {}
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        // The loop learns of the end by the closed channel, which it must be made to look at.
        self.control.gone.store(true, Ordering::Release);
        self.sender = None;
        self.ready.enter(self.number, &self.control);
        self.ready.wake.wake();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// Does what a test says.
    struct Does<F>(F);

    impl<F: FnOnce(Inlet) + Send> Source for Does<F> {
        fn sends_barriers(&self) -> bool {
            true
        }

        fn run(self: Box<Self>, inlet: Inlet) {
            (self.0)(inlet);
        }
    }

    fn list() -> (ReadyList, mio::Poll) {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        (ReadyList::new(Wake::new(waker)), poll)
    }

    fn start(number: usize, ready: &ReadyList, run: impl FnOnce(Inlet) + Send + 'static) -> Handle {
        Handle::start(&"in".into(), number, ready, Box::new(Does(run))).unwrap()
    }

    /// All that comes from receivers in the list, by their numbers, until one is gone.
    fn until_gone(ready: &ReadyList, handles: &[Handle]) -> Vec<(usize, Option<Received>)> {
        let mut found = Vec::new();
        loop {
            for number in ready.take() {
                handles[number].unlist();
                loop {
                    match handles[number].take() {
                        Ok(Some(received)) => found.push((number, Some(received))),
                        Ok(None) => break,
                        Err(Ended) => {
                            found.push((number, None));
                            if handles[number].is_gone() {
                                return found;
                            }
                            break;
                        }
                    }
                }
            }
            thread::yield_now();
        }
    }

    #[test]
    fn the_list_names_only_receivers_that_have_something_and_loses_nothing() {
        let (ready, _poll) = list();
        let lines = 100 * limits::RECEIVED_WAITING;
        let silent = |inlet: Inlet| {
            while !inlet.stopped() {
                thread::yield_now();
            }
        };
        let talks = move |inlet: Inlet| {
            for number in 0..lines {
                let bytes = Bytes::from(format!("{number}\n"));
                inlet.send(Some(inlet.batch(Piece::new(bytes, 1))), InputCounts::default());
            }
        };
        let mut handles = [start(0, &ready, silent), start(1, &ready, talks)];
        let found = until_gone(&ready, &handles);
        assert!(found.iter().all(|(number, _)| *number == 1));
        let batches = found.into_iter().filter_map(|(_, received)| received?.batch);
        let texts: Vec<_> = batches.map(|batch| batch.bytes).collect();
        assert_eq!(texts, (0..lines).map(|n| Bytes::from(format!("{n}\n"))).collect::<Vec<_>>());
        handles[0].stop();
        assert_eq!(until_gone(&ready, &handles).len(), 1);
        handles.iter_mut().for_each(Handle::join);
    }

    #[test]
    fn a_query_of_several_origins_is_answered_after_the_last_line_too() {
        let (ready, _poll) = list();
        let origins = vec![Identity::of(1), Identity::of(2)];
        let asked = origins.clone();
        let (told, heard) = channel();
        let asks = move |mut inlet: Inlet| {
            let numbers = [inlet.query(asked), inlet.query(Vec::new()), inlet.barrier()];
            inlet.close();
            let mut all = Answers::default();
            while !inlet.is_abandoned() {
                let answers = inlet.answers();
                all.completed = answers.completed.or(all.completed);
                all.resumed.extend(answers.resumed);
            }
            told.send((numbers, all.completed, all.resumed)).unwrap();
        };
        let mut handles = [start(0, &ready, asks)];
        let mut barriers = Vec::new();
        while barriers.len() < 3 {
            if let Ok(Some(received)) = handles[0].take() {
                barriers.extend(received.barrier);
            }
        }
        assert_eq!((barriers[0].number, &barriers[0].inquiry.origins), (1, &origins));
        assert_eq!((barriers[1].number, &barriers[1].inquiry), (2, &Inquiry::default()));
        let lasts = vec![vec![Some(7), None], vec![None, Some(9)]];
        handles[0].resume(1, lasts.clone());
        handles[0].completed(2);
        handles[0].completed(3);
        handles[0].join();
        assert_eq!(heard.recv().unwrap(), ([1, 2, 3], Some(3), vec![(1, lasts)]));
    }
}
