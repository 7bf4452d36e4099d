//! The disk's threads: one for each output that writes files or standard output, so that a
//! stalled file system or a reader that sleeps costs that output's queue and nobody else a
//! line; and three for each spool, so that its lines never wait for a sync. What they do is in
//! [`super::station`].

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::station::{Job, SpoolDesk, Station};
use super::wake::Wake;
use crate::clock::SystemClock;
use crate::engine::{DiskJob, DiskWork, Event};
use crate::fs::OsFs;
use crate::ids::NodeId;
use crate::limits::{DISK_THREADS_MOST, FILES_OPEN_MOST, FILES_OPEN_PART};
use crate::output::open_files::OpenFiles;
use crate::spool::job::Thread;
use crate::spool::sync::Task;
use crate::spool::writer::Writer;
use crate::sys::process::open_files_limit;

/// The disk, as the loop sees it. Its channels are bounded by the engine, which has at most
/// one job under way for each output.
#[derive(Debug)]
pub struct Disk {
    workers: Crew,
    /// Those that sync spools, and those that write their cursors. They share no thread with each
    /// other nor with those that append.
    syncers: Crew,
    clerks: Crew,
    /// The files that all outputs have open.
    open_files: OpenFiles,
    done: Receiver<Event>,
    sender: Sender<Event>,
    wake: Wake,
}

/// Workers of one kind.
#[derive(Debug, Default)]
struct Crew {
    workers: Vec<Worker>,
    /// The worker of each output.
    places: HashMap<NodeId, usize>,
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
        let [workers, syncers, clerks] = std::array::from_fn(|_| Crew::default());
        Self { workers, syncers, clerks, open_files, done, sender, wake }
    }

    /// Hands a job over.
    ///
    /// # Errors
    /// The system's, where no thread could be made for an output.
    pub fn hand(&mut self, job: DiskJob) -> io::Result<()> {
        if matches!(job.work, DiskWork::Open(_)) {
            let (sender, wake, open_files) =
                (self.sender.clone(), self.wake.clone(), self.open_files.clone());
            self.workers.enter(job.node, || Station::new(sender, wake, open_files))?;
        }
        match &job.work {
            DiskWork::Close => {
                for crew in [&mut self.syncers, &mut self.clerks] {
                    crew.close(DiskJob { node: job.node, work: DiskWork::Close });
                }
                self.workers.close(job);
            }
            DiskWork::Spool(work) => match work.thread() {
                Thread::Appends => self.workers.put(job),
                Thread::Does(Task::Lines) => self.syncers.put(job),
                Thread::Does(Task::Cursors) => self.clerks.put(job),
            },
            _ => self.workers.put(job),
        }
        Ok(())
    }

    /// Takes over a spool that was opened.
    ///
    /// # Errors
    /// The system's, where no thread could be made for it.
    pub fn take_spool(
        &mut self,
        node: NodeId,
        writer: Writer<OsFs>,
        clock: SystemClock,
    ) -> io::Result<()> {
        let spool = Arc::new(SpoolDesk::new(writer, clock));
        for crew in [&mut self.workers, &mut self.syncers, &mut self.clerks] {
            let (sender, wake, open_files) =
                (self.sender.clone(), self.wake.clone(), self.open_files.clone());
            let station = crew.enter(node, || Station::new(sender, wake, open_files))?;
            station.put(Job::Spool(node, Arc::clone(&spool)));
        }
        Ok(())
    }

    /// Whether something is open for this node.
    pub fn has(&self, node: NodeId) -> bool {
        self.workers.places.contains_key(&node)
    }

    /// What was done, if something was.
    pub fn done(&self) -> Option<Event> {
        self.done.try_recv().ok()
    }

    /// Waits until all files are closed and compressed, but not longer than `patience`: what
    /// stalls must not keep the daemon from ending. A file half compressed is whole beside.
    pub fn finish(self, patience: Duration) {
        let start = Instant::now();
        let crews = [self.workers, self.syncers, self.clerks].into_iter();
        let mut workers: Vec<_> = crews.flat_map(|crew| crew.workers).collect();
        let threads: Vec<_> =
            workers.iter_mut().filter_map(|worker| worker.thread.take()).collect();
        drop(workers);
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

impl Crew {
    /// Gives an output a worker with as few outputs as there is: an idle one, else a new one, and
    /// only beyond the bound one that serves another output too.
    fn enter(&mut self, node: NodeId, station: impl FnOnce() -> Station) -> io::Result<&Station> {
        let least = (0..self.workers.len()).min_by_key(|place| self.load(*place));
        let place = match least {
            Some(place) if self.load(place) == 0 || self.workers.len() >= DISK_THREADS_MOST => {
                place
            }
            _ => {
                self.workers.push(Worker::start(station())?);
                self.workers.len() - 1
            }
        };
        self.places.insert(node, place);
        Ok(&self.workers[place].station)
    }

    /// How many outputs a worker serves.
    fn load(&self, place: usize) -> usize {
        self.places.values().filter(|other| **other == place).count()
    }

    fn put(&self, job: DiskJob) {
        if let Some(place) = self.places.get(&job.node) {
            self.workers[*place].station.put(Job::Work(job));
        }
    }

    /// The last job of an output.
    fn close(&mut self, job: DiskJob) {
        if let Some(place) = self.places.remove(&job.node) {
            self.workers[place].station.put(Job::Work(job));
        }
    }
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
