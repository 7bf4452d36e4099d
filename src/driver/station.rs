//! Where the jobs of a worker of the disk wait and are done: by the worker's thread, or by a
//! receiver that lends a hand (`hand.rs`). Whoever does a job has the desk, with the open
//! files on it, so that jobs are done one after the other in the order they came.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::compress::Compressor;
use super::wake::Wake;
use crate::clock::{Clock, SystemClock};
use crate::engine::{DiskJob, DiskTarget, DiskWork, Event};
use crate::fs::OsFs;
use crate::ids::NodeId;
use crate::output::file::{FileOutput, Written};
use crate::spool::age::Now;
use crate::spool::job;
use crate::spool::writer::Writer;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Job {
    Work(DiskJob),
    /// A spool that was opened.
    Spool(NodeId, Arc<SpoolDesk>),
}

/// A spool, for the thread that appends and the one that syncs. The lock is not held across a
/// sync.
#[derive(Debug)]
pub(super) struct SpoolDesk {
    writer: Mutex<Writer<OsFs>>,
    clock: SystemClock,
}

impl SpoolDesk {
    /// A spool that was opened at `clock`'s time.
    pub(super) fn new(writer: Writer<OsFs>, clock: SystemClock) -> Self {
        Self { writer: Mutex::new(writer), clock }
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.wall(), mono: self.clock.mono() }
    }
}

/// A sync that took longer has the loop woken before it is done.
const SYNC_SLOW: Duration = Duration::from_millis(5);

/// The jobs of a worker, and what they need.
#[derive(Debug)]
pub struct Station {
    jobs: Mutex<Jobs>,
    come: Condvar,
    desk: Mutex<Desk>,
    /// Whether all its files are on a disk of this machine, which answers soon or never.
    local: AtomicBool,
    done: Sender<Event>,
    wake: Wake,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    /// Whether somebody who looks often does them, so that the thread may sleep.
    helped: bool,
    closed: bool,
}

/// What is open.
#[derive(Debug, Default)]
struct Desk {
    targets: HashMap<NodeId, Target>,
    /// How long the last sync of a spool took.
    last_sync: Duration,
    compressor: Compressor,
}

#[derive(Debug)]
enum Target {
    Files(Box<FileOutput<OsFs>>),
    Stdout(Stdout),
    Spool(Arc<SpoolDesk>),
}

impl Station {
    /// One without jobs that tells by `done` what was done.
    pub(super) fn new(done: Sender<Event>, wake: Wake) -> Self {
        let (jobs, desk) = (Mutex::default(), Mutex::default());
        Self { jobs, come: Condvar::new(), desk, local: AtomicBool::new(false), done, wake }
    }

    /// Adds a job.
    pub(super) fn put(&self, job: Job) {
        let mut jobs = locked(&self.jobs);
        jobs.waiting.push_back(job);
        if !jobs.helped {
            self.come.notify_one();
        }
    }

    /// Has the thread end when all jobs are done.
    pub(super) fn close(&self) {
        locked(&self.jobs).closed = true;
        self.come.notify_one();
    }

    /// The thread: does what comes until the station is closed.
    pub(super) fn run(&self) {
        loop {
            let idle = |jobs: &mut Jobs| !jobs.closed && (jobs.helped || jobs.waiting.is_empty());
            let jobs = self.come.wait_while(locked(&self.jobs), idle);
            drop(jobs);
            let mut desk = locked(&self.desk);
            let next = {
                let mut jobs = locked(&self.jobs);
                match jobs.waiting.pop_front() {
                    None if jobs.closed => break,
                    next => next,
                }
            };
            if next.is_some_and(|job| desk.carry_out(job, self)) {
                self.wake.wake();
            }
        }
        let Desk { targets, compressor, .. } = std::mem::take(&mut *locked(&self.desk));
        drop(targets);
        compressor.finish();
    }

    /// Whether a receiver may do jobs here.
    pub(super) fn may_be_helped(&self) -> bool {
        self.local.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn set_local(&self, local: bool) {
        self.local.store(local, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn is_helped(&self) -> bool {
        locked(&self.jobs).helped
    }

    /// Somebody looks for jobs every few milliseconds from now on, or no longer does.
    pub(super) fn set_helped(&self, helped: bool) {
        let mut jobs = locked(&self.jobs);
        jobs.helped = helped;
        if !helped && !jobs.waiting.is_empty() {
            self.come.notify_one();
        }
    }

    /// Does a job if there is one and nobody is at the desk; whether it did. The loop is not
    /// woken.
    pub(super) fn help(&self) -> bool {
        let Ok(mut desk) = self.desk.try_lock() else { return false };
        let Some(job) = locked(&self.jobs).waiting.pop_front() else { return false };
        desk.carry_out(job, self);
        true
    }

    /// Has the loop look at what was done.
    pub(super) fn wake(&self) {
        self.wake.wake();
    }

    fn tell(&self, event: Event) -> bool {
        self.done.send(event).is_ok()
    }
}

/// A panic in the middle of a job ends the process; nobody sees what it left.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// Does a job; whether the loop was told something.
    fn carry_out(&mut self, job: Job, station: &Station) -> bool {
        let DiskJob { node, work } = match job {
            Job::Work(job) => job,
            Job::Spool(node, spool) => {
                self.targets.insert(node, Target::Spool(spool));
                return false;
            }
        };
        match work {
            DiskWork::Open(DiskTarget::File { plan, exact }) => {
                let files = FileOutput::new(plan, OsFs);
                let files = if exact { files.exact() } else { files };
                self.targets.insert(node, Target::Files(Box::new(files)));
            }
            DiskWork::Open(DiskTarget::Stdout) => {
                self.targets.insert(node, Target::Stdout(Stdout::default()));
            }
            DiskWork::Append(batches) => {
                let Some(target) = self.targets.get_mut(&node) else { return false };
                let written = match target {
                    Target::Files(files) => files.append(&batches),
                    Target::Stdout(stdout) => stdout.append(&batches),
                    Target::Spool(_) => return false,
                };
                // The batches' memory goes back before the loop learns that they are done.
                drop(batches);
                let told = station.tell(Event::DiskDone { node, written });
                if let Target::Files(files) = target {
                    station.local.store(files.are_local(), Ordering::Relaxed);
                    self.compressor.compress(files.take_to_compress());
                }
                return told;
            }
            DiskWork::Restore(cut) => {
                if let Some(Target::Files(files)) = self.targets.get_mut(&node)
                    && let Err(error) = files.restore(&cut)
                {
                    log::error!("{error}: lines at its end may come twice");
                }
            }
            DiskWork::Checkpoint => {
                if let Some(Target::Files(files)) = self.targets.get_mut(&node) {
                    return station.tell(Event::Checkpointed { node, files: files.checkpoint() });
                }
            }
            DiskWork::Checked => {
                if let Some(Target::Files(files)) = self.targets.get_mut(&node) {
                    files.checked();
                }
            }
            DiskWork::Spool(job) => {
                let Some(Target::Spool(spool)) = self.targets.get(&node) else {
                    return false;
                };
                let spool = Arc::clone(spool);
                return self.spool(node, *job, &spool, station);
            }
            DiskWork::Respool(plan, readers) => {
                if let Some(Target::Spool(spool)) = self.targets.get_mut(&node) {
                    let mut writer = locked(&spool.writer);
                    writer.set_plan(*plan);
                    writer.set_readers(&readers);
                }
            }
            DiskWork::Reopen => {
                if let Some(Target::Files(files)) = self.targets.get_mut(&node) {
                    files.reopen();
                }
            }
            DiskWork::Close => {
                self.targets.remove(&node);
            }
        }
        false
    }
}

impl Desk {
    /// Does a spool's job; whether the loop was told something. Reports are told under the lock,
    /// so that they come in the order of what happened.
    fn spool(&mut self, node: NodeId, job: job::Job, desk: &SpoolDesk, station: &Station) -> bool {
        let mut writer = locked(&desk.writer);
        let (report, syncing) = job::begin(&mut writer, job, desk.now());
        let told = station.tell(Event::SpoolDone { node, report: Box::new(report) });
        drop(writer);
        let Some(syncing) = syncing else { return told };
        // Where the sync is soon done one wake-up is enough for both reports.
        if self.last_sync > SYNC_SLOW {
            station.wake();
        }
        let start = Instant::now();
        let synced = syncing.run();
        self.last_sync = start.elapsed();
        let mut writer = locked(&desk.writer);
        let report = Box::new(job::end(&mut writer, synced));
        let told = station.tell(Event::SpoolDone { node, report });
        self.compressor.compress(writer.take_to_compress());
        told
    }
}

/// Standard output.
#[derive(Debug, Default)]
struct Stdout {
    /// Bytes of the first line of the next job that are out already.
    ahead: usize,
}

impl Stdout {
    fn append(&mut self, batches: &[crate::batch::Batch]) -> Written {
        let mut written = Written::default();
        let mut out = match io::stdout().as_fd().try_clone_to_owned() {
            Ok(descriptor) => File::from(descriptor),
            Err(error) => {
                written.error = Some(format!("standard output: {error}"));
                return written;
            }
        };
        for batch in batches {
            let mut at = std::mem::take(&mut self.ahead);
            while at < batch.bytes.len() {
                match out.write(&batch.bytes[at..]) {
                    Ok(count) => at += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        // Only whole lines count as written; the rest of a line goes out
                        // before anything else does.
                        let whole = memchr::memrchr(b'\n', &batch.bytes[..at]);
                        let whole = whole.map_or(0, |at| at + 1);
                        self.ahead = at - whole;
                        written.bytes += whole;
                        written.error = Some(format!("standard output: {error}"));
                        return written;
                    }
                }
            }
            written.bytes += batch.bytes.len();
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::batch::Batch;
    use crate::config::plan::{FilePlan, FormatPlan};
    use crate::output::name::NameTemplate;

    const NODE: NodeId = NodeId(1);

    /// A station with a file open, the thread that works there, and what is told.
    fn station(file: &Path) -> (Arc<Station>, std::thread::JoinHandle<()>, Receiver<Event>) {
        let (done, told) = channel();
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let station = Arc::new(Station::new(done, Wake::new(waker)));
        let plan = FilePlan {
            path: NameTemplate::parse(file.to_str().unwrap()).unwrap(),
            rotate: None,
            keep: None,
            compress: false,
            mode: 0o600,
            format: FormatPlan::default(),
            queue: 1 << 20,
        };
        let target = DiskTarget::File { plan, exact: false };
        station.put(Job::Work(DiskJob { node: NODE, work: DiskWork::Open(target) }));
        let works = Arc::clone(&station);
        (station, std::thread::spawn(move || works.run()), told)
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
    fn jobs_are_done_in_order_whoever_does_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        let (station, thread, told) = station(&file);
        let helper = Arc::clone(&station);
        let helps = std::thread::spawn(move || {
            (0..20_000)
                .filter(|turn| {
                    helper.set_helped(turn % 7 < 4);
                    helper.help()
                })
                .count()
        });
        for number in 0..5000 {
            station.put(append(number));
        }
        helps.join().unwrap();
        station.set_helped(false);
        station.close();
        thread.join().unwrap();
        assert_eq!(lines(&file), (0..5000).collect::<Vec<_>>());
        assert_eq!(told.try_iter().count(), 5000);
    }

    #[test]
    fn the_thread_leaves_jobs_to_who_helps_and_does_them_after() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        let (station, thread, told) = station(&file);
        station.put(append(0));
        assert!(matches!(told.recv().unwrap(), Event::DiskDone { .. }));
        station.set_helped(true);
        (1..=50).for_each(|number| station.put(append(number)));
        // The thread may not have left the desk yet.
        let tries = (0..1_000_000).filter(|_| station.help());
        assert_eq!(tries.take(50).count(), 50);
        assert_eq!(told.try_iter().count(), 50);
        station.put(append(51));
        station.set_helped(false);
        assert!(matches!(told.recv().unwrap(), Event::DiskDone { .. }));
        // Nobody who has said to help keeps it from ending.
        station.set_helped(true);
        station.put(append(52));
        station.close();
        thread.join().unwrap();
        assert_eq!(lines(&file), (0..=52).collect::<Vec<_>>());
    }
}
