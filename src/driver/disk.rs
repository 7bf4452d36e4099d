//! The disk threads: one for each output that writes files or standard output, so that a stalled
//! file system or a slow reader holds up that output alone; and three for each spool, so that its
//! lines never wait for a sync. The threads run `disk_worker`.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::disk_worker::{DiskQueue, Job, OpenSpool};
use super::spool_folders::{Open, SpoolFolders};
use super::wake::Wake;
use crate::clock::SystemClock;
use crate::engine::{DiskJob, DiskWork, Event};
use crate::fs::OsFs;
use crate::ids::NodeId;
use crate::limits::{DISK_THREADS_MAX, FILES_OPEN_MAX, FILES_OPEN_PART};
use crate::output::open_files::OpenFiles;
use crate::spool::job::Thread;
use crate::spool::sync::Task;
use crate::spool::writer::Writer;
use crate::sys::process::open_files_limit;

/// The disk threads, as seen by the loop. The engine bounds their queues: it has at most one job in
/// flight for each output.
#[derive(Debug)]
pub struct DiskWorkers {
    appenders: Pool,
    /// Workers that sync spools, and workers that write their cursors. They share no threads with
    /// each other or with the workers that append.
    syncers: Pool,
    cursor_writers: Pool,
    /// The files that all outputs have open.
    open_files: OpenFiles,
    folders: SpoolFolders,
    done: Receiver<Event>,
    sender: Sender<Event>,
    wake: Wake,
}

/// The workers of one kind.
#[derive(Debug, Default)]
struct Pool {
    workers: Vec<WorkerThread>,
    /// The worker of each output and spool.
    assigned: HashMap<NodeId, usize>,
}

/// A thread that runs the jobs of its queue, by the workers of its outputs.
#[derive(Debug)]
struct WorkerThread {
    queue: Arc<DiskQueue>,
    thread: Option<JoinHandle<()>>,
}

impl DiskWorkers {
    /// No threads; they are started with the outputs.
    pub fn new(wake: Wake) -> Self {
        let (sender, done) = channel();
        let open_files = OpenFiles::new(files_open_most());
        let [appenders, syncers, cursor_writers] = std::array::from_fn(|_| Pool::default());
        let folders = SpoolFolders::default();
        Self { appenders, syncers, cursor_writers, open_files, folders, done, sender, wake }
    }

    /// Submits a job.
    ///
    /// # Errors
    /// The thread for an output cannot be started.
    pub fn submit(&mut self, job: DiskJob) -> io::Result<()> {
        match &job.work {
            DiskWork::Open { .. } => {
                let queue = || {
                    DiskQueue::new(self.sender.clone(), self.wake.clone(), self.open_files.clone())
                };
                self.appenders.assign(job.node, queue)?.put(Job::Work(job));
            }
            DiskWork::Close => {
                for pool in [&mut self.syncers, &mut self.cursor_writers] {
                    pool.close(DiskJob { node: job.node, work: DiskWork::Close });
                }
                self.appenders.close(job);
            }
            DiskWork::Spool(work) => match work.thread() {
                Thread::Appends => self.appenders.put(job),
                Thread::Does(Task::Lines) => self.syncers.put(job),
                Thread::Does(Task::Cursors) => self.cursor_writers.put(job),
            },
            _ => self.appenders.put(job),
        }
        Ok(())
    }

    /// Takes over an open spool.
    ///
    /// # Errors
    /// A thread for it cannot be started.
    pub fn take_spool(
        &mut self,
        (node, name): (NodeId, &str),
        writer: Writer<OsFs>,
        clock: SystemClock,
    ) -> io::Result<()> {
        let open = Open::default();
        self.folders.enter((node, name), writer.dir(), &open);
        let spool = Arc::new(OpenSpool::new(writer, clock, open));
        let queue =
            || DiskQueue::new(self.sender.clone(), self.wake.clone(), self.open_files.clone());
        for pool in [&mut self.appenders, &mut self.syncers, &mut self.cursor_writers] {
            pool.assign(node, queue)?.put(Job::Spool(node, Arc::clone(&spool)));
        }
        Ok(())
    }

    /// The folders of all spools that were taken over.
    pub(super) fn folders(&self) -> &SpoolFolders {
        &self.folders
    }

    /// The next result, if any.
    pub fn done(&self) -> Option<Event> {
        self.done.try_recv().ok()
    }

    /// Waits until all files are closed and compressed, but at most for `patience`: a stalled disk
    /// must not keep the daemon from exiting. A half compressed file is still there uncompressed.
    pub fn finish(self, patience: Duration) {
        let start = Instant::now();
        let pools = [self.appenders, self.syncers, self.cursor_writers].into_iter();
        let mut workers: Vec<_> = pools.flat_map(|pool| pool.workers).collect();
        let threads: Vec<_> =
            workers.iter_mut().filter_map(|worker| worker.thread.take()).collect();
        drop(workers);
        for thread in threads {
            while !thread.is_finished() {
                if start.elapsed() >= patience {
                    log::warn!(
                        "exiting although a file or standard output is still blocked: its last \
                         lines may be missing"
                    );
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// The number of files that outputs may have open at one time. The other descriptors are for
/// clients, children and the control socket.
fn files_open_most() -> usize {
    let limit = usize::try_from(open_files_limit()).unwrap_or(usize::MAX);
    (limit / FILES_OPEN_PART).min(FILES_OPEN_MAX)
}

impl Pool {
    /// Assigns a worker to an output: an idle one, else a new one. Once there are
    /// [`DISK_THREADS_MAX`], outputs share the worker with the fewest.
    fn assign(
        &mut self,
        node: NodeId,
        queue: impl FnOnce() -> DiskQueue,
    ) -> io::Result<&DiskQueue> {
        // The number of outputs that each worker serves.
        let mut loads = vec![0_usize; self.workers.len()];
        self.assigned.values().for_each(|worker| loads[*worker] += 1);
        let least_loaded = loads.iter().enumerate().min_by_key(|(_, load)| **load);
        let worker = match least_loaded {
            Some((worker, load)) if *load == 0 || loads.len() >= DISK_THREADS_MAX => worker,
            _ => {
                self.workers.push(WorkerThread::start(queue())?);
                self.workers.len() - 1
            }
        };
        self.assigned.insert(node, worker);
        Ok(&self.workers[worker].queue)
    }

    fn put(&self, job: DiskJob) {
        if let Some(worker) = self.assigned.get(&job.node) {
            self.workers[*worker].queue.put(Job::Work(job));
        }
    }

    /// Submits the last job of an output.
    fn close(&mut self, job: DiskJob) {
        if let Some(worker) = self.assigned.remove(&job.node) {
            self.workers[worker].queue.put(Job::Work(job));
        }
    }
}

impl WorkerThread {
    fn start(queue: DiskQueue) -> io::Result<Self> {
        let queue = Arc::new(queue);
        let running = Arc::clone(&queue);
        let thread =
            std::thread::Builder::new().name("disk".into()).spawn(move || running.run())?;
        Ok(Self { queue, thread: Some(thread) })
    }
}

impl Drop for WorkerThread {
    fn drop(&mut self) {
        self.queue.close();
    }
}
