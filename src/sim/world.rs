//! The engine with simulated children, disk and clock, driven step by step.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::time::{Duration, SystemTime};

use super::fs::SimFs;
use crate::batch::Batch;
use crate::clock::Mono;
use crate::config;
use crate::engine::losses::Loss;
use crate::engine::status::{NodeStatus, Status};
use crate::engine::{Action, DiskWork, Engine, Event, Pipes, ReadJob, SinkKind, SpoolFound};
use crate::filter::batch_of;
use crate::forward::link::Command;
use crate::ids::{LaneId, NodeId};
use crate::input::InputCounts;
use crate::limits::PIECES_HELD;
use crate::minute::Minute;
use crate::output::open_files::OpenFiles;
use crate::output::worker::{Worker, Workplace};
use crate::spool::age::Now;
use crate::spool::job;
use crate::spool::reader::Reader;
use crate::spool::recover::{self, Opened};
use crate::spool::sync::Syncing;
use crate::spool::writer::Writer;

/// What a pipe holds before its writer must wait.
const PIPE: usize = 256;

/// What the kernel shares of a pipe: whole pages, but for the last bytes of a piece.
const PAGE: usize = 8;

/// A child: the content of its pipe, and what it has read.
#[derive(Debug, Default)]
pub(crate) struct SimChild {
    pipe: Vec<u8>,
    read: Vec<u8>,
    at_end: bool,
    /// True if it has closed its stdin, which the daemon has not noticed.
    deaf: bool,
    /// True if it ignores end of file and SIGTERM; SIGKILL always ends it.
    pub(crate) stubborn: bool,
}

/// A whole daemon without a kernel.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) now: Mono,
    pub(crate) fs: SimFs,
    workers: BTreeMap<NodeId, Box<dyn Worker>>,
    spools: BTreeMap<NodeId, Writer<SimFs>>,
    /// Syncs that have begun. Data that arrives before they end is appended beside them.
    syncs: VecDeque<(NodeId, Syncing<SimFs>)>,
    /// True if a sync ends only as time passes.
    pub(crate) slow_syncs: bool,
    /// What inputs were sent: the last completed barrier, and answers to resume queries.
    pub(crate) completed: u64,
    /// Barriers that are lost.
    pub(crate) lost: Vec<u64>,
    pub(crate) answers: VecDeque<(u64, Vec<Vec<Option<u64>>>)>,
    /// Commands issued by links.
    pub(crate) commands: VecDeque<(LaneId, Command)>,
    pub(crate) children: BTreeMap<LaneId, SimChild>,
    /// Children to be written to, and the daemon's own pipes.
    ready: Vec<LaneId>,
    own: [Vec<u8>; PIECES_HELD],
    /// Children whose pipes will have room in a moment.
    retries: Vec<LaneId>,
    /// Bytes that children got from those.
    pub(crate) shared: u64,
    /// What each child of a node has read, one entry per run.
    pub(crate) lives: BTreeMap<String, Vec<Vec<u8>>>,
    /// True if commands can be started.
    pub(crate) startable: bool,
    /// The number of starts, and the signals sent.
    pub(crate) started: u32,
    pub(crate) signals: Vec<&'static str>,
    pub(crate) paused: Vec<String>,
    /// Inputs that wait for outputs.
    pub(crate) waiting: Vec<String>,
    /// Episodes of losses as they were reported.
    pub(crate) losses: Vec<Loss>,
}

/// The pipes of the children, as the engine sees them.
struct SimPipes<'a> {
    children: &'a mut BTreeMap<LaneId, SimChild>,
    own: &'a mut [Vec<u8>; PIECES_HELD],
    shared: &'a mut u64,
    retries: &'a mut Vec<LaneId>,
}

impl SimPipes<'_> {
    /// Puts the first bytes into a pipe, in steps of so many.
    fn put(&mut self, lane: LaneId, bytes: &[u8], step: usize) -> io::Result<usize> {
        let child = self.children.get_mut(&lane).ok_or(ErrorKind::WouldBlock)?;
        if child.deaf {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let room = PIPE - child.pipe.len();
        let count = if bytes.len() <= room { bytes.len() } else { room / step * step };
        child.pipe.extend_from_slice(&bytes[..count]);
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }
}

impl Pipes for SimPipes<'_> {
    fn hold(&mut self, slot: usize, bytes: &[u8]) -> io::Result<usize> {
        self.own[slot] = bytes.to_vec();
        Ok(bytes.len())
    }

    fn release(&mut self, slot: usize) {
        self.own[slot].clear();
    }

    fn share(&mut self, slot: usize, most: usize, last: bool, lane: LaneId) -> io::Result<usize> {
        let held = self.own[slot][..most].to_vec();
        let count = self.put(lane, &held, PAGE)?;
        if last {
            self.own[slot].drain(..count);
        }
        *self.shared += count as u64;
        Ok(count)
    }

    fn write(&mut self, lane: LaneId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.put(lane, &bytes, 1)
    }

    fn retry(&mut self, lane: LaneId) {
        self.retries.push(lane);
    }

    fn unread(&self, lane: LaneId) -> Option<usize> {
        Some(self.children.get(&lane)?.pipe.len())
    }
}

/// A plan from a configuration's text.
pub(crate) fn plan(text: &str) -> config::plan::Plan {
    config::parse(text, "test").unwrap_or_else(|refusal| panic!("{refusal}")).plan
}

impl World {
    pub(crate) fn new(text: &str) -> Self {
        Self::on(SimFs::default(), text).unwrap()
    }

    /// A daemon on a disk that was used before.
    ///
    /// # Errors
    /// A spool cannot be opened.
    pub(crate) fn on(fs: SimFs, text: &str) -> Result<Self, String> {
        let mut world = Self {
            engine: Engine::new(&plan(text), Mono::default()).unwrap(),
            now: Mono::default(),
            fs,
            workers: BTreeMap::new(),
            spools: BTreeMap::new(),
            syncs: VecDeque::new(),
            slow_syncs: false,
            completed: 0,
            lost: Vec::new(),
            answers: VecDeque::new(),
            commands: VecDeque::new(),
            children: BTreeMap::new(),
            ready: Vec::new(),
            own: Default::default(),
            retries: Vec::new(),
            shared: 0,
            lives: BTreeMap::new(),
            startable: true,
            started: 0,
            signals: Vec::new(),
            paused: Vec::new(),
            waiting: Vec::new(),
            losses: Vec::new(),
        };
        // Small enough to be cut by a pipe of this world, and too small to be worth it.
        world.engine.set_pieces(100, 12);
        world.open_spools()?;
        world.settle();
        Ok(world)
    }

    fn open_spools(&mut self) -> Result<(), String> {
        for (node, plan, readers) in self.engine.spools() {
            if self.spools.contains_key(&node) {
                continue;
            }
            let Opened { writer, cursors, .. } =
                recover::open(self.fs.clone(), &plan, &readers, self.both())?;
            let found = Box::new(SpoolFound {
                identity: writer.identity(),
                held: writer.held(),
                origins: writer.origins().into_iter().collect(),
                cursors: cursors.into_iter().collect(),
            });
            self.spools.insert(node, writer);
            self.engine.handle(Event::SpoolOpened { node, found }, self.now);
        }
        Ok(())
    }

    /// The time of both clocks.
    fn both(&self) -> Now {
        Now { wall: SystemTime::UNIX_EPOCH + self.now.0, mono: self.now }
    }

    pub(crate) fn reload(&mut self, text: &str) {
        self.engine.reload(&plan(text), self.now).unwrap();
        self.open_spools().unwrap();
        self.settle();
    }

    /// Lines arrive at the input `in`.
    pub(crate) fn lines(&mut self, text: &str) {
        let node = self.engine.find("in").unwrap();
        let batch = Batch { minute: self.minute(), ..batch_of(text) };
        self.handle(Event::Lines { node, batch });
    }

    /// The minute of lines that come now. Minutes are short here, so that many meet in a queue.
    pub(crate) fn minute(&self) -> Minute {
        let number = 10_000 + self.now.0.as_millis() / 500;
        Minute::from_number(u32::try_from(number).unwrap())
    }

    pub(crate) fn lines_of(&mut self, input: &str, text: &str) {
        let node = self.engine.find(input).unwrap();
        self.handle(Event::Lines { node, batch: batch_of(text) });
    }

    pub(crate) fn handle(&mut self, event: Event) {
        self.engine.handle(event, self.now);
        self.settle();
    }

    /// Lets time pass, in steps no longer than the engine asks for.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..10_000 {
            let next = self.engine.deadline().unwrap_or(end).min(end);
            assert!(next >= self.now, "the deadline is in the past");
            self.now = next.max(self.now);
            self.end_sync();
            std::mem::take(&mut self.retries).into_iter().for_each(|lane| {
                self.engine.writable(lane);
            });
            self.handle(Event::Tick);
            if self.now >= end {
                return;
            }
        }
        panic!("the engine never becomes idle");
    }

    /// Carries out actions until there are none, and checks every ledger.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            if let Some(action) = self.engine.poll_action() {
                self.act(action);
            } else if let Some(ready) = self.engine.poll_ready() {
                self.write(ready);
            } else if !(self.write_children() || !self.slow_syncs && self.end_sync()) {
                self.check();
                return;
            }
        }
        panic!("the engine never runs out of actions");
    }

    /// Ends the oldest running sync.
    pub(crate) fn end_sync(&mut self) -> bool {
        let Some((node, syncing)) = self.syncs.pop_front() else { return false };
        let synced = syncing.run();
        if let Some(writer) = self.spools.get_mut(&node) {
            let report = Box::new(job::end(writer, synced));
            self.engine.handle(Event::SpoolDone { node, report }, self.now);
        }
        true
    }

    /// Carries out an action.
    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Forget(_) => {}
            Action::Start(lane) if self.startable => {
                self.started += 1;
                self.children.insert(lane, SimChild::default());
                let pid = self.started;
                self.engine.handle(Event::Started { lane, pid, pipe: Some(PIPE as u64) }, self.now);
            }
            Action::Start(lane) => {
                let error = "no such file".into();
                self.engine.handle(Event::StartFailed { lane, error }, self.now);
            }
            Action::CloseStdin(lane) => {
                self.signals.push("EOF");
                if let Some(child) = self.children.get_mut(&lane) {
                    child.at_end = true;
                    if !child.stubborn {
                        let all = child.pipe.len();
                        self.read(lane, all);
                        self.end(lane, "exited with 0");
                    }
                }
            }
            Action::Terminate(lane) => {
                self.signals.push("TERM");
                if self.children.get(&lane).is_some_and(|child| !child.stubborn) {
                    self.end(lane, "was ended by SIGTERM");
                }
            }
            Action::Kill(lane) => {
                self.signals.push("KILL");
                self.end(lane, "was ended by SIGKILL");
            }
            Action::Disk(job) => self.disk(job.node, job.work),
            Action::Pause(node) => self.paused.push(self.engine.name_of(node).to_string()),
            Action::Unpause(node) => {
                let name = self.engine.name_of(node).to_string();
                self.paused.retain(|other| *other != name);
            }
            Action::Wait(node, true) => self.waiting.push(self.engine.name_of(node).to_string()),
            Action::Wait(node, false) => {
                let name = self.engine.name_of(node).to_string();
                self.waiting.retain(|other| *other != name);
            }
            Action::Completed { barrier, .. } => self.completed = barrier,
            Action::Lost { barrier, .. } => self.lost.push(barrier),
            Action::Resume { barrier, lasts, .. } => self.answers.push_back((barrier, lasts)),
            Action::Kin { .. } | Action::Throttle(..) => {}
            Action::Report(loss) => self.losses.push(loss),
            Action::Read(job) => self.read_spool(job),
            Action::Link(lane, command) => self.commands.push_back((lane, command)),
        }
    }

    fn disk(&mut self, node: NodeId, work: DiskWork) {
        match work {
            DiskWork::Open { name, plan, exact } => {
                let (fs, open_files) = (self.fs.clone(), &OpenFiles::default());
                let worker = plan.worker(Workplace { fs, open_files, name: &name, exact }).unwrap();
                self.workers.insert(node, worker);
            }
            DiskWork::Append(batches) => {
                let written = self.workers.get_mut(&node).unwrap().append(&batches);
                self.engine.handle(Event::JobDone { node, written }, self.now);
            }
            DiskWork::Restore(kept, held_to) => {
                self.workers.get_mut(&node).unwrap().restore(&kept, held_to).unwrap();
            }
            DiskWork::Missing => self.workers.get_mut(&node).unwrap().missing(),
            DiskWork::Checkpoint => {
                let output = self.workers.get_mut(&node).unwrap();
                let was_reopening = output.is_reopening();
                let kept = output.checkpoint();
                let reopened = was_reopening && !output.is_reopening();
                self.engine.handle(Event::Checkpointed { node, kept }, self.now);
                if reopened {
                    self.engine.handle(Event::Reopened { node, done: true }, self.now);
                }
            }
            DiskWork::CheckpointSaved => {
                let output = self.workers.get_mut(&node).unwrap();
                let was_reopening = output.is_reopening();
                output.saved();
                if was_reopening {
                    self.engine.handle(Event::Reopened { node, done: true }, self.now);
                }
            }
            DiskWork::Spool(work) => {
                let now = self.both();
                let writer = self.spools.get_mut(&node).unwrap();
                let (report, syncing) = job::begin(writer, *work, now);
                self.syncs.extend(syncing.map(|syncing| (node, syncing)));
                let report = Box::new(report);
                self.engine.handle(Event::SpoolDone { node, report }, self.now);
            }
            DiskWork::UpdateSpool(plan, readers) => {
                if let Some(writer) = self.spools.get_mut(&node) {
                    writer.set_plan(*plan);
                    writer.set_readers(&readers);
                }
            }
            DiskWork::Close if self.spools.contains_key(&node) => drop(self.spools.remove(&node)),
            DiskWork::Reopen => {
                let worker = self.workers.get_mut(&node).unwrap();
                worker.reopen();
                let done = !worker.is_reopening();
                self.engine.handle(Event::Reopened { node, done }, self.now);
            }
            DiskWork::Close => drop(self.workers.remove(&node)),
        }
    }

    fn read_spool(&mut self, job: ReadJob) {
        let mut reader = Reader::new(self.fs.clone(), job.dir, job.from);
        let read = reader.read(job.until, job.max).map_err(|error| error.to_string());
        self.engine.handle(Event::SpoolRead { lane: job.lane, read }, self.now);
    }

    fn write(&mut self, lane: LaneId) {
        match self.engine.sink(lane) {
            Some(SinkKind::Child) => self.ready.push(lane),
            // The test plays the network and takes the bytes when it likes.
            Some(SinkKind::Connection) => self.engine.fill(lane),
            other => panic!("no {other:?} here"),
        }
    }

    /// Writes to the children that are ready. Returns whether there were any.
    fn write_children(&mut self) -> bool {
        let any = !self.ready.is_empty();
        let (children, own) = (&mut self.children, &mut self.own);
        let (shared, retries) = (&mut self.shared, &mut self.retries);
        let mut pipes = SimPipes { children, own, shared, retries };
        self.engine.write_children(&mut self.ready, &mut pipes, self.now);
        any
    }

    /// A child closes its stdin, which the daemon notices when it writes.
    pub(crate) fn close_unnoticed(&mut self, lane: LaneId) {
        if let Some(child) = self.children.get_mut(&lane) {
            child.deaf = true;
        }
    }

    /// The running children of a node.
    pub(crate) fn children_of(&self, name: &str) -> Vec<LaneId> {
        let of = |lane: &&LaneId| &*self.engine.name_of(lane.node) == name;
        self.children.keys().filter(of).copied().collect()
    }

    /// A child reads `bytes` bytes.
    pub(crate) fn read(&mut self, lane: LaneId, bytes: usize) {
        let Some(child) = self.children.get_mut(&lane).filter(|child| !child.deaf) else { return };
        let bytes = bytes.min(child.pipe.len());
        child.read.extend(child.pipe.drain(..bytes));
        let held = child.pipe.len();
        self.engine.unread(lane, held);
        self.engine.writable(lane);
    }

    /// A child prints lines.
    pub(crate) fn print(&mut self, lane: LaneId, text: &str) {
        let counts = InputCounts::default();
        let batch = Batch { minute: self.minute(), ..batch_of(text) };
        self.handle(Event::Printed { lane, batch, counts });
    }

    /// A child ends without reading what is in its pipe.
    pub(crate) fn end(&mut self, lane: LaneId, how: &str) {
        let Some(child) = self.children.remove(&lane) else { return };
        let name = self.engine.name_of(lane.node).to_string();
        self.lives.entry(name).or_default().push(child.read);
        let unread = child.pipe.len();
        self.engine.handle(Event::Exited { lane, how: how.into(), unread }, self.now);
    }

    /// A child closes its stdin and keeps running.
    pub(crate) fn close(&mut self, lane: LaneId) {
        let Some(child) = self.children.get_mut(&lane) else { return };
        let unread = std::mem::take(&mut child.pipe).len();
        self.handle(Event::StdinClosed { lane, unread });
    }

    pub(crate) fn status(&self) -> Status {
        self.engine.status(self.now)
    }

    pub(crate) fn node(&self, name: &str) -> NodeStatus {
        let nodes = self.status().nodes;
        nodes.into_iter().find(|node| node.name == name && !node.retired).unwrap()
    }

    fn check(&self) {
        for node in self.status().nodes {
            assert!(node.balanced, "does not balance: {node:?}");
        }
        self.engine.check_minutes();
    }

    /// Shuts the daemon down and waits for what does not end by itself.
    pub(crate) fn finish(&mut self) {
        let node = self.engine.find("in").unwrap();
        self.engine.terminate(self.now);
        self.handle(Event::InputEnded { node });
        for _ in 0..1000 {
            for lane in self.children.keys().copied().collect::<Vec<_>>() {
                self.read(lane, usize::MAX);
            }
            self.settle();
            if self.engine.is_done() {
                self.engine.close_ledgers();
                self.check();
                assert!(self.status().nodes.iter().all(|node| node.queued == 0));
                return;
            }
            self.pass(Duration::from_millis(100));
        }
        panic!("the daemon never ends: {:#?}", self.status());
    }

    /// All lines that the children of a node have read whole, run after run.
    pub(crate) fn read_by(&self, name: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for life in self.lives.get(name).into_iter().flatten() {
            let whole = life.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            let text = String::from_utf8_lossy(&life[..whole]).into_owned();
            lines.extend(text.lines().map(str::to_string));
        }
        lines
    }
}
