//! The disk's threads: one for each output that writes files or standard output, so that a
//! stalled file system or a reader that sleeps costs that output's queue and nobody else a
//! line. What they do is in [`super::station`].

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::station::{Job, Station};
use super::wake::Wake;
use crate::engine::{DiskJob, DiskWork, Event};
use crate::fs::OsFs;
use crate::ids::NodeId;
use crate::limits::{DISK_THREADS_MOST, FILES_OPEN_MOST, FILES_OPEN_PART};
use crate::output::open_files::OpenFiles;
use crate::spool::writer::Writer;
use crate::sys::process::open_files_limit;

/// The disk, as the loop sees it. Its channels are bounded by the engine, which has at most
/// one job under way for each output.
#[derive(Debug)]
pub struct Disk {
    workers: Vec<Worker>,
    /// The files that all outputs have open.
    open_files: OpenFiles,
    /// The worker of each output.
    places: HashMap<NodeId, usize>,
    done: Receiver<Event>,
    sender: Sender<Event>,
    wake: Wake,
}

#[derive(Debug)]
struct Worker {
    station: Arc<Station>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// A disk without threads; they come with the outputs.
    pub fn new(wake: Wake) -> Self {
        let (sender, done) = channel();
        let open_files = OpenFiles::new(files_open_most());
        let (workers, places) = (Vec::new(), HashMap::new());
        Self { workers, open_files, places, done, sender, wake }
    }

    /// Hands a job over.
    ///
    /// # Errors
    /// The system's, where no thread could be made for an output.
    pub fn hand(&mut self, job: DiskJob) -> io::Result<()> {
        if matches!(job.work, DiskWork::Open(_)) {
            let place = self.place()?;
            self.places.insert(job.node, place);
        }
        let place = match job.work {
            DiskWork::Close => self.places.remove(&job.node),
            _ => self.places.get(&job.node).copied(),
        };
        if let Some(place) = place {
            self.workers[place].station.put(Job::Work(job));
        }
        Ok(())
    }

    /// Takes over a spool that was opened.
    ///
    /// # Errors
    /// The system's, where no thread could be made for it.
    pub fn take_spool(&mut self, node: NodeId, writer: Writer<OsFs>) -> io::Result<()> {
        let place = self.place()?;
        self.places.insert(node, place);
        self.workers[place].station.put(Job::Spool(node, Box::new(writer)));
        Ok(())
    }

    /// A worker with as few outputs as there is: an idle one, else a new one, and only beyond
    /// the bound one that serves another output too.
    fn place(&mut self) -> io::Result<usize> {
        let least = (0..self.workers.len()).min_by_key(|place| self.load(*place));
        match least {
            Some(place) if self.load(place) == 0 || self.workers.len() >= DISK_THREADS_MOST => {
                Ok(place)
            }
            _ => {
                let station =
                    Station::new(self.sender.clone(), self.wake.clone(), self.open_files.clone());
                let worker = Worker::start(station)?;
                self.workers.push(worker);
                Ok(self.workers.len() - 1)
            }
        }
    }

    /// How many outputs a worker serves.
    fn load(&self, place: usize) -> usize {
        self.places.values().filter(|other| **other == place).count()
    }

    /// Whether something is open for this node.
    pub fn has(&self, node: NodeId) -> bool {
        self.places.contains_key(&node)
    }

    /// What was done, if something was.
    pub fn done(&self) -> Option<Event> {
        self.done.try_recv().ok()
    }

    /// Waits until all files are closed and compressed, but not longer than `patience`: what
    /// stalls must not keep the daemon from ending. A file half compressed is whole beside.
    pub fn finish(mut self, patience: Duration) {
        let start = Instant::now();
        let threads: Vec<_> =
            self.workers.drain(..).filter_map(|mut worker| worker.thread.take()).collect();
        for thread in threads {
            while !thread.is_finished() {
                if start.elapsed() >= patience {
                    log::warn!("a file or standard output does not take what is written to it");
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// How many files outputs may have open at one time: the others are for clients, children and
/// whoever asks the daemon.
fn files_open_most() -> usize {
    let most = usize::try_from(open_files_limit()).unwrap_or(usize::MAX);
    (most / FILES_OPEN_PART).min(FILES_OPEN_MOST)
}

impl Worker {
    fn start(station: Station) -> io::Result<Self> {
        let station = Arc::new(station);
        let work = Arc::clone(&station);
        let thread = std::thread::Builder::new().name("disk".into()).spawn(move || work.run())?;
        Ok(Self { station, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.station.close();
    }
}
