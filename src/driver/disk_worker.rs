//! A disk worker: a queue of jobs and the thread that runs them, in the order they came.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::compress::{Compressor, Taken};
use super::spool_folders::Open;
use super::wake::Wake;
use crate::clock::{Clock, SystemClock};
use crate::engine::{DiskJob, DiskWork, Event};
use crate::fs::OsFs;
use crate::ids::NodeId;
use crate::output::open_files::OpenFiles;
use crate::output::worker::{Worker, Workplace};
use crate::spool::age::Now;
use crate::spool::job;
use crate::spool::writer::Writer;

/// A job for a disk worker.
#[derive(Debug)]
pub(super) enum Job {
    Work(DiskJob),
    /// Takes over an open spool.
    Spool(NodeId, Arc<OpenSpool>),
}

/// An open spool, shared by the workers that append, sync and write cursors. The lock is not held
/// across a sync.
#[derive(Debug)]
pub(super) struct OpenSpool {
    writer: Mutex<Writer<OsFs>>,
    clock: SystemClock,
    /// The last field: the writer, which has the folder's lock, is dropped before it.
    _open: Open,
}

impl OpenSpool {
    /// A spool opened at `clock`'s time.
    pub(super) fn new(writer: Writer<OsFs>, clock: SystemClock, open: Open) -> Self {
        Self { writer: Mutex::new(writer), clock, _open: open }
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.wall(), mono: self.clock.mono() }
    }
}

/// If the last sync took longer, the loop is woken before the next one.
const SYNC_SLOW: Duration = Duration::from_millis(5);

/// The queue of a disk worker. One worker thread runs it ([`Self::run`]).
#[derive(Debug)]
pub(super) struct DiskQueue {
    jobs: Mutex<Jobs>,
    arrived: Condvar,
    /// The files that are open in this worker and in others.
    open_files: OpenFiles,
    done: Sender<Event>,
    wake: Wake,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    closed: bool,
}

/// The open targets of a worker.
#[derive(Debug)]
struct DiskWorker {
    targets: HashMap<NodeId, Target>,
    /// How long the last sync of a spool took.
    last_sync: Duration,
    compressor: Compressor,
}

#[derive(Debug)]
enum Target {
    Output(Box<dyn Worker>),
    Spool(Arc<OpenSpool>),
}

impl DiskQueue {
    /// An empty queue; results are sent to `done`.
    pub(super) fn new(done: Sender<Event>, wake: Wake, open_files: OpenFiles) -> Self {
        Self { jobs: Mutex::default(), arrived: Condvar::new(), open_files, done, wake }
    }

    /// Adds a job.
    pub(super) fn put(&self, job: Job) {
        locked(&self.jobs).waiting.push_back(job);
        self.arrived.notify_one();
    }

    /// Ends the thread once all jobs are done.
    pub(super) fn close(&self) {
        locked(&self.jobs).closed = true;
        self.arrived.notify_one();
    }

    /// The worker thread: runs jobs until the queue is closed and empty.
    pub(super) fn run(&self) {
        let mut worker = DiskWorker {
            targets: HashMap::new(),
            last_sync: Duration::ZERO,
            compressor: Compressor::new(self.open_files.clone()),
        };
        while let Some(job) = self.next() {
            if worker.carry_out(job, self) {
                self.wake.wake();
            }
        }
        let DiskWorker { targets, compressor, .. } = worker;
        drop(targets);
        compressor.finish();
    }

    /// Waits for the next job; `None` once the queue is closed and empty.
    fn next(&self) -> Option<Job> {
        let idle = |jobs: &mut Jobs| !jobs.closed && jobs.waiting.is_empty();
        let jobs = self.arrived.wait_while(locked(&self.jobs), idle);
        jobs.unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }

    fn report(&self, event: Event) -> bool {
        self.done.send(event).is_ok()
    }
}

/// Locks a mutex. Poisoning is ignored: a panic in a job ends the process.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DiskWorker {
    /// Runs a job. Returns whether a result was sent.
    fn carry_out(&mut self, job: Job, queue: &DiskQueue) -> bool {
        let DiskJob { node, work } = match job {
            Job::Work(job) => job,
            Job::Spool(node, spool) => {
                self.targets.insert(node, Target::Spool(spool));
                return false;
            }
        };
        match work {
            DiskWork::Open { name, plan, exact } => {
                let (fs, open_files, name) = (OsFs, &queue.open_files, &*name);
                let workplace = Workplace { fs, open_files, name, exact };
                if let Some(worker) = plan.worker(workplace) {
                    self.targets.insert(node, Target::Output(worker));
                }
            }
            DiskWork::Append(batches) => {
                let Some(worker) = self.output(node) else { return false };
                let written = worker.append(&batches);
                // The batches' memory is released before the loop learns that they are done.
                drop(batches);
                let reported = queue.report(Event::JobDone { node, written });
                let complete = worker.take_to_compress();
                self.compressor.compress(complete, Taken::FreeName);
                return reported;
            }
            DiskWork::Restore(kept, held_to) => {
                if let Some(worker) = self.output(node)
                    && let Err(error) = worker.restore(&kept, held_to)
                {
                    log::error!("{error}");
                }
            }
            DiskWork::Missing => {
                if let Some(worker) = self.output(node) {
                    worker.missing();
                }
            }
            DiskWork::Checkpoint => {
                if let Some(worker) = self.output(node) {
                    let was_reopening = worker.is_reopening();
                    let reported =
                        queue.report(Event::Checkpointed { node, kept: worker.checkpoint() });
                    if was_reopening && !worker.is_reopening() {
                        queue.report(Event::Reopened { node, done: true });
                    }
                    return reported;
                }
            }
            DiskWork::CheckpointSaved => {
                if let Some(worker) = self.output(node) {
                    let was_reopening = worker.is_reopening();
                    worker.saved();
                    return was_reopening && queue.report(Event::Reopened { node, done: true });
                }
            }
            DiskWork::Spool(job) => {
                let Some(Target::Spool(spool)) = self.targets.get(&node) else {
                    return false;
                };
                let spool = Arc::clone(spool);
                return self.spool(node, *job, &spool, queue);
            }
            DiskWork::UpdateSpool(plan, readers) => {
                if let Some(Target::Spool(spool)) = self.targets.get_mut(&node) {
                    let mut writer = locked(&spool.writer);
                    writer.set_plan(*plan);
                    writer.set_readers(&readers);
                }
            }
            DiskWork::Reopen => {
                let Some(worker) = self.output(node) else { return false };
                worker.reopen();
                // An exact output reopens its files at its next checkpoint.
                let done = !worker.is_reopening();
                return queue.report(Event::Reopened { node, done });
            }
            DiskWork::Close => {
                self.targets.remove(&node);
            }
        }
        false
    }
}

impl DiskWorker {
    /// The worker of an output.
    fn output(&mut self, node: NodeId) -> Option<&mut Box<dyn Worker>> {
        match self.targets.get_mut(&node)? {
            Target::Output(worker) => Some(worker),
            Target::Spool(_) => None,
        }
    }

    /// Carries out a spool's job. Returns whether the loop has something to take. Reports are sent
    /// under the lock, so that they arrive in the order of what happened.
    fn spool(&mut self, node: NodeId, job: job::Job, spool: &OpenSpool, queue: &DiskQueue) -> bool {
        let mut writer = locked(&spool.writer);
        let (report, syncing) = job::begin(&mut writer, job, spool.now());
        let reported = queue.report(Event::SpoolDone { node, report: Box::new(report) });
        drop(writer);
        let Some(syncing) = syncing else { return reported };
        // After a short sync, one wake-up is enough for both reports.
        if self.last_sync > SYNC_SLOW {
            queue.wake.wake();
        }
        let start = Instant::now();
        let synced = syncing.run();
        self.last_sync = start.elapsed();
        let mut writer = locked(&spool.writer);
        let report = Box::new(job::end(&mut writer, synced));
        let reported = queue.report(Event::SpoolDone { node, report });
        self.compressor.compress(writer.take_to_compress(), Taken::Replace);
        reported
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::batch::Batch;
    use crate::config::plan::BodyPlan;
    use crate::output::name::NameTemplate;
    use crate::proto::file::config::FilePlan;

    const NODE: NodeId = NodeId(1);

    /// A queue whose worker has a file open, its thread, and its results.
    fn start(file: &Path) -> (Arc<DiskQueue>, std::thread::JoinHandle<()>, Receiver<Event>) {
        let (done, reported) = channel();
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let queue = Arc::new(DiskQueue::new(done, Wake::new(waker), OpenFiles::default()));
        let plan = FilePlan::new(NameTemplate::parse(file.to_str().unwrap()).unwrap());
        let work =
            DiskWork::Open { name: "x".into(), plan: Box::new(BodyPlan::File(plan)), exact: false };
        queue.put(Job::Work(DiskJob { node: NODE, work }));
        let running = Arc::clone(&queue);
        (queue, std::thread::spawn(move || running.run()), reported)
    }

    fn append(number: usize) -> Job {
        let batch = Batch::new(format!("{number}\n").into(), 1, "in".into(), UNIX_EPOCH);
        Job::Work(DiskJob { node: NODE, work: DiskWork::Append(vec![batch]) })
    }

    fn lines(file: &Path) -> Vec<usize> {
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    #[test]
    fn a_reopen_is_reported_when_nothing_is_written_to_the_old_file_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        let (queue, thread, reported) = start(&file);
        (0..100).for_each(|number| queue.put(append(number)));
        queue.put(Job::Work(DiskJob { node: NODE, work: DiskWork::Reopen }));
        let reopened = |event: &Event| matches!(event, Event::Reopened { node: NODE, done: true });
        let before =
            std::iter::from_fn(|| reported.recv().ok()).take_while(|event| !reopened(event));
        assert_eq!(before.count(), 100);
        let old = folder.path().join("old");
        std::fs::rename(&file, &old).unwrap();
        queue.put(append(100));
        queue.close();
        thread.join().unwrap();
        assert_eq!((lines(&old).len(), lines(&file)), (100, vec![100]));
    }

    #[test]
    fn jobs_are_done_in_order_and_all_of_them_before_the_thread_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        let (queue, thread, reported) = start(&file);
        (0..5000).for_each(|number| queue.put(append(number)));
        queue.close();
        thread.join().unwrap();
        assert_eq!(lines(&file), (0..5000).collect::<Vec<_>>());
        assert_eq!(reported.try_iter().count(), 5000);
    }
}
