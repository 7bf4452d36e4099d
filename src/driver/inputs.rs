//! The receivers of all inputs, as the loop sees them. A pass costs the receivers that have
//! something, however many there are.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::SystemTime;

use crate::clock::Mono;
use crate::engine::{Engine, Event};
use crate::ids::NodeId;
use crate::ingress::inbox::{Barrier, Change, Ended, Handle, Kin, LastLines, ReadyList, Received};
use crate::ingress::{Socket, Source};
use crate::input::{InputCounts, Throttle};
use crate::limits::TURN;
use crate::proto::traits::Claim;
use crate::wake::Wake;

/// Sockets that are there already, by what they claim.
pub(super) type Sockets = HashMap<Claim, Vec<Arc<Socket>>>;

/// The receivers of all inputs.
#[derive(Debug)]
pub(super) struct Inputs {
    ready: ReadyList,
    receivers: HashMap<usize, Receiver>,
    of_node: HashMap<NodeId, Vec<usize>>,
    next: usize,
    /// Receivers that may have more than the last turn took.
    again: Vec<usize>,
    /// Receivers with something that is not taken because a queue that blocks is full.
    paused: BTreeSet<usize>,
    /// Inputs of which a removed receiver has ended while the reload waits for others.
    removed: Vec<NodeId>,
    /// Whether an input has ended since it was asked.
    ended: bool,
    /// Whether receivers or their sockets have changed since it was asked.
    changed: bool,
    /// Threads that wait for receivers' threads.
    sweepers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Receiver {
    node: NodeId,
    claims: Arc<[Claim]>,
    handle: Handle,
    phase: Phase,
    /// What keeps it from taking all that is sent to it.
    problem: Option<String>,
    /// The name of its input, once a reload did not wait for it.
    late: Option<Arc<str>>,
}

/// How far a receiver is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It sends lines.
    Reading,
    /// A reload removes it; it was stopped and sends what it has.
    Closing,
    /// It sends no more, and its clients wait for their last acknowledgements; or it empties a
    /// socket that was not used after all.
    Draining,
    /// A reload removed it and did not wait for it any longer. What it sends comes to the input of
    /// its name, if there is one.
    Late,
}

impl Inputs {
    /// None yet, of a loop that `wake` wakes.
    pub(super) fn new(wake: Wake) -> Self {
        Self {
            ready: ReadyList::new(wake),
            receivers: HashMap::new(),
            of_node: HashMap::new(),
            next: 0,
            again: Vec::new(),
            paused: BTreeSet::new(),
            removed: Vec::new(),
            ended: false,
            changed: false,
            sweepers: Vec::new(),
        }
    }

    /// Starts the receivers of an input.
    ///
    /// # Errors
    /// The system's, where there is no thread or descriptor for one.
    pub(super) fn start(
        &mut self,
        (node, name): (NodeId, &str),
        claims: Vec<Claim>,
        sources: Vec<Box<dyn Source>>,
    ) -> io::Result<()> {
        let (name, claims): (Arc<str>, Arc<[Claim]>) = (name.into(), claims.into());
        for source in sources {
            let number = self.next;
            self.next += 1;
            let handle = Handle::start(&name, number, &self.ready, source)?;
            let claims = Arc::clone(&claims);
            let receiver =
                Receiver { node, claims, handle, phase: Phase::Reading, problem: None, late: None };
            self.receivers.insert(number, receiver);
            self.of_node.entry(node).or_default().push(number);
        }
        Ok(())
    }

    fn of(&self, node: NodeId) -> impl Iterator<Item = &Receiver> {
        let numbers = self.of_node.get(&node).map(Vec::as_slice).unwrap_or_default();
        numbers.iter().filter_map(|number| self.receivers.get(number))
    }

    // ---- what comes

    /// Whether a receiver may have more than the last turn took.
    pub(super) fn has_more(&self) -> bool {
        !self.again.is_empty()
    }

    /// Takes what the receivers have, a turn's worth each.
    pub(super) fn receive(&mut self, engine: &mut Engine, now: Mono) {
        let mut turn = std::mem::take(&mut self.again);
        turn.extend(self.ready.take());
        turn.sort_unstable();
        turn.dedup();
        let mut gone = Vec::new();
        for number in turn {
            gone.extend(self.take_turn(number, engine, now));
        }
        self.sweep(gone);
    }

    /// Takes a turn's worth from a receiver; its handle where it has ended altogether.
    fn take_turn(&mut self, number: usize, engine: &mut Engine, now: Mono) -> Option<Handle> {
        let receiver = self.receivers.get(&number)?;
        let (node, phase) = (receiver.node, receiver.phase);
        receiver.handle.unlist();
        for _ in 0..TURN {
            let receiver = self.receivers.get(&number)?;
            if phase == Phase::Reading && engine.is_paused(node) {
                self.paused.insert(number);
                return None;
            }
            match receiver.handle.take() {
                Ok(Some(received)) => {
                    if let Some(change) = self.take(number, received, engine, now) {
                        self.change(number, change, engine, now);
                    }
                }
                Ok(None) => return None,
                Err(Ended) => return self.ended(number, engine, now),
            }
        }
        self.again.push(number);
        None
    }

    /// Takes in what a receiver sent; what has become of it is left.
    fn take(
        &self,
        number: usize,
        received: Received,
        engine: &mut Engine,
        now: Mono,
    ) -> Option<Change> {
        let receiver = self.receivers.get(&number)?;
        let node = receiver.node;
        if let (Phase::Late, Some(name)) = (receiver.phase, &receiver.late) {
            if let Some(batch) = &received.batch {
                log::error!("{name}: it was removed before {} lines came of it", batch.lines);
            }
            return None;
        }
        if receiver.phase == Phase::Draining && !engine.has(node) {
            if let Some(batch) = &received.batch {
                log::error!("{} lines came from an input that was removed", batch.lines);
            }
            return None;
        }
        if received.counts != InputCounts::default() {
            // The lines that came with it were received just now.
            let at = received.batch.as_ref().map_or_else(SystemTime::now, |batch| batch.received);
            engine.handle(Event::Counts { node, counts: received.counts, at }, now);
        }
        if let Some(batch) = received.batch {
            engine.handle(Event::Lines { node, batch }, now);
        }
        if let Some(Barrier { number, inquiry }) = received.barrier {
            engine.handle(Event::Barrier { node, number, inquiry }, now);
        }
        received.change.map(|change| *change)
    }

    /// Something has become of a receiver.
    fn change(&mut self, number: usize, change: Change, engine: &mut Engine, now: Mono) {
        let Some(receiver) = self.receivers.get_mut(&number) else { return };
        let (node, reads) = (receiver.node, receiver.phase == Phase::Reading);
        match change {
            Change::State(_) if !reads => {}
            Change::State(state) => self.set_problem(number, state.err(), engine, now),
            Change::Waiting(parts) => engine.handle(Event::InputWaiting { node, parts }, now),
            Change::Socket(socket) => {
                receiver.handle.socket = Some(Arc::new(socket));
                self.changed = true;
            }
            // Opened, and gone again before anything could be read.
            Change::Opened(_) if !reads || engine.is_ending() => {}
            Change::Opened(sources) => {
                let (claims, name) = (receiver.claims.to_vec(), engine.name_of(node));
                let started = self.start((node, &name), claims, sources);
                let problem = started.err().map(|error| error.to_string());
                self.throttle(node, engine.throttle_of(node));
                self.set_problem(number, problem, engine, now);
                self.changed = true;
            }
        }
    }

    /// Says of an input what keeps it from taking what is sent to it; in the log once, though the
    /// reason may change.
    fn set_problem(
        &mut self,
        number: usize,
        problem: Option<String>,
        engine: &mut Engine,
        now: Mono,
    ) {
        let Some(node) = self.receivers.get(&number).map(|receiver| receiver.node) else { return };
        let problem_of = |inputs: &Self| inputs.of(node).find_map(|other| other.problem.clone());
        let before = problem_of(self);
        if let Some(receiver) = self.receivers.get_mut(&number) {
            receiver.problem = problem;
        }
        let problem = problem_of(self);
        let name = engine.name_of(node);
        match (&before, &problem) {
            (None, Some(problem)) => log::warn!("{name}: {problem}"),
            (Some(_), None) => log::info!("{name}: takes all that is sent to it again"),
            _ => {}
        }
        engine.handle(Event::InputState { node, problem }, now);
    }

    /// Has the receivers look whether what is sent to them arrives.
    pub(super) fn look(&self) {
        self.receivers.values().for_each(|receiver| receiver.handle.look());
    }

    /// Whether receivers or their sockets have changed since it was asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// A receiver sends no more.
    fn ended(&mut self, number: usize, engine: &mut Engine, now: Mono) -> Option<Handle> {
        let receiver = self.receivers.get_mut(&number)?;
        let (node, phase) = (receiver.node, receiver.phase);
        if phase != Phase::Late {
            receiver.phase = Phase::Draining;
        }
        let is_gone = receiver.handle.is_gone();
        let sends = |phase| matches!(phase, Phase::Reading | Phase::Closing);
        let reads = |receiver: &Receiver| sends(receiver.phase);
        if sends(phase) && !self.of(node).any(reads) {
            if phase == Phase::Closing {
                self.removed.push(node);
            } else {
                engine.handle(Event::InputEnded { node }, now);
                self.ended = true;
            }
        }
        is_gone.then(|| self.remove(number)).flatten()
    }

    fn remove(&mut self, number: usize) -> Option<Handle> {
        let receiver = self.receivers.remove(&number)?;
        if let Some(numbers) = self.of_node.get_mut(&receiver.node) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.of_node.remove(&receiver.node);
            }
        }
        Some(receiver.handle)
    }

    /// Waits for the threads of receivers that have ended, and closes what they had, beside the
    /// loop.
    fn sweep(&mut self, handles: Vec<Handle>) {
        if handles.is_empty() {
            return;
        }
        let sweep = move || handles.into_iter().for_each(|mut handle| handle.join());
        match std::thread::Builder::new().name("sweep".into()).spawn(sweep) {
            Ok(sweeper) => self.sweepers.push(sweeper),
            Err(error) => log::warn!("a receiver is not waited for: {error}"),
        }
        self.sweepers.retain(|sweeper| !sweeper.is_finished());
    }

    /// Whether an input has ended since it was asked.
    pub(super) fn take_ended(&mut self) -> bool {
        std::mem::take(&mut self.ended)
    }

    /// Nothing is taken from an input until [`Self::resume`]. That it waits by itself once its
    /// channel is full is enough for most.
    pub(super) fn hold(&self, node: NodeId) {
        self.of(node).for_each(|receiver| receiver.handle.hold(true));
    }

    /// An input that had to wait is taken from again, unless it has to for another reason.
    pub(super) fn resume(&mut self, node: NodeId, engine: &Engine) {
        if engine.is_paused(node) {
            return;
        }
        self.of(node).for_each(|receiver| receiver.handle.hold(false));
        let numbers = self.of_node.get(&node).map(Vec::as_slice).unwrap_or_default();
        let paused = numbers.iter().filter(|number| self.paused.remove(number));
        self.again.extend(paused);
    }

    // ---- what the loop says

    /// Some of what an input sent before a barrier will never be on disk.
    pub(super) fn lost(&self, node: NodeId, barrier: u64) {
        self.of(node).for_each(|receiver| receiver.handle.lost(barrier));
    }

    /// All that an input sent before a barrier is on disk.
    pub(super) fn completed(&self, node: NodeId, barrier: u64) {
        self.of(node).for_each(|receiver| receiver.handle.completed(barrier));
    }

    /// Answers an input's resume query.
    pub(super) fn answer(&self, node: NodeId, barrier: u64, lasts: &LastLines) {
        self.of(node).for_each(|receiver| receiver.handle.resume(barrier, lasts.clone()));
    }

    /// Tells an input the origins of the kinds that it asked for.
    pub(super) fn tell_kin(&self, node: NodeId, barrier: u64, spools: &Kin) {
        self.of(node).for_each(|receiver| receiver.handle.tell_kin(barrier, spools.clone()));
    }

    /// Has an input leave lines in so much of the kernel's buffer.
    pub(super) fn throttle(&self, node: NodeId, throttle: Throttle) {
        self.of(node).for_each(|receiver| receiver.handle.throttle(throttle));
    }

    /// Says which inputs have a spool downstream.
    pub(super) fn set_prompt(&self, nodes: &BTreeSet<NodeId>) {
        for receiver in self.receivers.values() {
            receiver.handle.set_prompt(nodes.contains(&receiver.node));
        }
    }

    /// Has new clients of an input met with what its files hold now.
    pub(super) fn renew_tls(&self, node: NodeId, tls: &crate::net::tls::ServerTls) {
        for receiver in self.of(node) {
            if let Some(before) = &receiver.handle.tls {
                before.renew(tls);
            }
        }
    }

    // ---- sockets

    /// The sockets of an input.
    pub(super) fn sockets_of(&self, node: NodeId) -> Vec<Arc<Socket>> {
        self.of(node).filter_map(|receiver| receiver.handle.socket.clone()).collect()
    }

    /// All sockets, by what they claim.
    pub(super) fn sockets(&self) -> Sockets {
        let mut sockets = Sockets::new();
        let mut numbers: Vec<_> = self.receivers.keys().collect();
        numbers.sort_unstable();
        for receiver in numbers.into_iter().map(|number| &self.receivers[number]) {
            let Some(socket) = &receiver.handle.socket else { continue };
            if receiver.phase != Phase::Reading {
                continue;
            }
            for claim in receiver.claims.iter().filter(|claim| claim.fits(socket)) {
                sockets.entry(claim.clone()).or_default().push(Arc::clone(socket));
            }
        }
        sockets
    }

    // ---- the end

    /// Stops all receivers.
    pub(super) fn stop(&mut self) {
        self.receivers.values_mut().for_each(|receiver| receiver.handle.stop());
    }

    /// Stops the receivers of inputs that a reload removes. What they have is taken even where a
    /// queue that blocks is full.
    pub(super) fn close(&mut self, nodes: &HashSet<NodeId>) {
        for (number, receiver) in &mut self.receivers {
            if receiver.phase == Phase::Reading && nodes.contains(&receiver.node) {
                receiver.phase = Phase::Closing;
                receiver.handle.stop();
                if self.paused.remove(number) {
                    self.again.push(*number);
                }
            }
        }
    }

    /// The nodes of receivers that a reload waits for.
    pub(super) fn closing(&self) -> Vec<NodeId> {
        let closing = self.receivers.values().filter(|r| r.phase == Phase::Closing);
        closing.map(|receiver| receiver.node).collect()
    }

    /// The reload goes on: what has not ended yet is not waited for.
    pub(super) fn leave_closing(&mut self, engine: &Engine) {
        self.removed.clear();
        for (number, receiver) in &mut self.receivers {
            if receiver.phase == Phase::Closing {
                receiver.phase = Phase::Late;
                receiver.late = Some(engine.name_of(receiver.node));
                if let Some(numbers) = self.of_node.get_mut(&receiver.node) {
                    numbers.retain(|other| other != number);
                }
            }
        }
        self.of_node.retain(|_, numbers| !numbers.is_empty());
    }

    /// What receivers that were not waited for send comes to the new inputs of their names.
    pub(super) fn adopt_late(&mut self, engine: &Engine) {
        let inputs: HashSet<NodeId> = engine.inputs().into_iter().collect();
        let names = engine.names();
        for (number, receiver) in &mut self.receivers {
            let Some(name) = receiver.late.as_ref().filter(|_| receiver.phase == Phase::Late)
            else {
                continue;
            };
            if let Some(node) = names.get(name).filter(|node| inputs.contains(node)) {
                (receiver.node, receiver.phase) = (*node, Phase::Draining);
                self.of_node.entry(*node).or_default().push(*number);
            }
        }
    }

    /// Has an input take what waits in sockets that it does not go on with.
    ///
    /// # Errors
    /// The system's, where there is no thread or descriptor for one.
    pub(super) fn empty(
        &mut self,
        input: (NodeId, &str),
        sources: Vec<Box<dyn Source>>,
    ) -> io::Result<()> {
        let first = self.next;
        let started = self.start(input, Vec::new(), sources);
        for number in first..self.next {
            if let Some(receiver) = self.receivers.get_mut(&number) {
                receiver.phase = Phase::Draining;
                receiver.handle.socket = None;
                receiver.handle.stop();
            }
        }
        started
    }

    /// The reload does not come about: inputs that it was to remove have ended, or end.
    pub(super) fn keep_closing(&mut self, engine: &mut Engine, now: Mono) {
        for receiver in self.receivers.values_mut().filter(|r| r.phase == Phase::Closing) {
            receiver.phase = Phase::Reading;
        }
        for node in std::mem::take(&mut self.removed) {
            engine.handle(Event::InputEnded { node }, now);
        }
        self.ended = true;
    }

    /// Waits for the receivers that are left, whose clients get their last acknowledgements.
    pub(super) fn finish(&mut self) {
        for mut receiver in std::mem::take(&mut self.receivers).into_values() {
            // A late one may never end.
            if receiver.phase == Phase::Draining && receiver.late.is_none() {
                receiver.handle.join();
            }
        }
        for sweeper in self.sweepers.drain(..) {
            // A receiver's panic was logged there.
            let _ = sweeper.join();
        }
    }
}
