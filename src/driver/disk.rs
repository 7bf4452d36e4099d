//! The disk threads: one for each output that writes files or standard output and for each spool,
//! so that a stalled file system or a slow reader holds up that output alone. The threads run
//! [`super::disk_worker`].

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::disk_worker::{DiskQueue, Job};
use super::wake::Wake;
use crate::engine::{DiskJob, DiskWork, Event};
use crate::fs::OsFs;
use crate::ids::NodeId;
use crate::limits::{DISK_THREADS_MOST, FILES_OPEN_MOST, FILES_OPEN_PART};
use crate::output::open_files::OpenFiles;
use crate::spool::writer::Writer;
use crate::sys::process::open_files_limit;

/// The disk threads, as seen by the loop. The engine bounds their queues: it has at most one job in
/// flight for each output.
#[derive(Debug)]
pub struct DiskWorkers {
    workers: Vec<Worker>,
    /// The files that all outputs have open.
    open_files: OpenFiles,
    /// The worker of each output and spool.
    assigned: HashMap<NodeId, usize>,
    done: Receiver<Event>,
    sender: Sender<Event>,
    wake: Wake,
}

#[derive(Debug)]
struct Worker {
    queue: Arc<DiskQueue>,
    thread: Option<JoinHandle<()>>,
}

impl DiskWorkers {
    /// No threads; they are started with the outputs.
    pub fn new(wake: Wake) -> Self {
        let (sender, done) = channel();
        let open_files = OpenFiles::new(files_open_most());
        let (workers, assigned) = (Vec::new(), HashMap::new());
        Self { workers, open_files, assigned, done, sender, wake }
    }

    /// Submits a job.
    ///
    /// # Errors
    /// The thread for an output cannot be started.
    pub fn submit(&mut self, job: DiskJob) -> io::Result<()> {
        if matches!(job.work, DiskWork::Open(_)) {
            let worker = self.assign()?;
            self.assigned.insert(job.node, worker);
        }
        let worker = match job.work {
            DiskWork::Close => self.assigned.remove(&job.node),
            _ => self.assigned.get(&job.node).copied(),
        };
        if let Some(worker) = worker {
            self.workers[worker].queue.put(Job::Work(job));
        }
        Ok(())
    }

    /// Takes over an open spool.
    ///
    /// # Errors
    /// Its thread cannot be started.
    pub fn take_spool(&mut self, node: NodeId, writer: Writer<OsFs>) -> io::Result<()> {
        let worker = self.assign()?;
        self.assigned.insert(node, worker);
        self.workers[worker].queue.put(Job::Spool(node, Box::new(writer)));
        Ok(())
    }

    /// Chooses a worker: an idle one, else a new one. Once there are [`DISK_THREADS_MOST`], outputs
    /// share the worker with the fewest.
    fn assign(&mut self) -> io::Result<usize> {
        let least_loaded = (0..self.workers.len()).min_by_key(|worker| self.load(*worker));
        match least_loaded {
            Some(worker) if self.load(worker) == 0 || self.workers.len() >= DISK_THREADS_MOST => {
                Ok(worker)
            }
            _ => {
                let queue =
                    DiskQueue::new(self.sender.clone(), self.wake.clone(), self.open_files.clone());
                let worker = Worker::start(queue)?;
                self.workers.push(worker);
                Ok(self.workers.len() - 1)
            }
        }
    }

    /// The number of outputs that a worker serves.
    fn load(&self, worker: usize) -> usize {
        self.assigned.values().filter(|other| **other == worker).count()
    }

    /// Returns whether a worker is assigned to this node.
    pub fn has(&self, node: NodeId) -> bool {
        self.assigned.contains_key(&node)
    }

    /// The next result, if any.
    pub fn done(&self) -> Option<Event> {
        self.done.try_recv().ok()
    }

    /// Waits until all files are closed and compressed, but at most for `patience`: a stalled disk
    /// must not keep the daemon from exiting. A half compressed file is still there uncompressed.
    pub fn finish(mut self, patience: Duration) {
        let start = Instant::now();
        let threads: Vec<_> =
            self.workers.drain(..).filter_map(|mut worker| worker.thread.take()).collect();
        for thread in threads {
            while !thread.is_finished() {
                if start.elapsed() >= patience {
                    log::warn!(
                        "exiting although a file or standard output is still blocked: its last lines may be missing"
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
    (limit / FILES_OPEN_PART).min(FILES_OPEN_MOST)
}

impl Worker {
    fn start(queue: DiskQueue) -> io::Result<Self> {
        let queue = Arc::new(queue);
        let running = Arc::clone(&queue);
        let thread =
            std::thread::Builder::new().name("disk".into()).spawn(move || running.run())?;
        Ok(Self { queue, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue.close();
    }
}
