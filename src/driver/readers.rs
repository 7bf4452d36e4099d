//! Spool reader threads: one for each spool whose consumers lag, so that a read never waits for a
//! sync or for a read of another spool.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::wake::Wake;
use crate::engine::{Event, ReadJob};
use crate::fs::OsFs;
use crate::ids::{LaneId, NodeId};
use crate::spool::reader::Reader;

/// The reader threads, as seen by the loop. Each consumer has at most one job in flight.
#[derive(Debug)]
pub struct Readers {
    threads: HashMap<NodeId, Sender<ReadJob>>,
    done: Receiver<Event>,
    sender: Sender<Event>,
    wake: Wake,
}

impl Readers {
    /// No threads; they are started on demand.
    pub fn new(wake: Wake) -> Self {
        let (sender, done) = channel();
        Self { threads: HashMap::new(), done, sender, wake }
    }

    /// Submits a job.
    ///
    /// # Errors
    /// The thread for a spool cannot be started.
    pub fn submit(&mut self, job: ReadJob) -> io::Result<()> {
        let thread = match self.threads.get(&job.spool) {
            Some(thread) => thread.clone(),
            None => {
                let (jobs, queue) = channel();
                let (done, wake) = (self.sender.clone(), self.wake.clone());
                let thread = std::thread::Builder::new().name("read".into());
                thread.spawn(move || work(&queue, &done, &wake))?;
                self.threads.insert(job.spool, jobs.clone());
                jobs
            }
        };
        // The thread lives until its channel is closed.
        let _ = thread.send(job);
        Ok(())
    }

    /// Ends the thread of a spool that is closed.
    pub fn forget(&mut self, spool: NodeId) {
        self.threads.remove(&spool);
    }

    /// The next finished read, if any.
    pub fn done(&self) -> Option<Event> {
        self.done.try_recv().ok()
    }
}

fn work(jobs: &Receiver<ReadJob>, done: &Sender<Event>, wake: &Wake) {
    let mut readers: HashMap<LaneId, Reader<OsFs>> = HashMap::new();
    for job in jobs {
        let reader = readers.remove(&job.lane).filter(|reader| reader.next_line() == job.from);
        let mut reader = reader
            .unwrap_or_else(|| Reader::new(OsFs, job.dir.clone(), job.from).with_quarantine());
        let read = reader.read(job.until, job.max);
        let read = read.map_err(|error| format!("{}: {error}", job.dir.display()));
        // A reader that has caught up keeps no segment open, because the segment may be removed.
        if reader.next_line() < job.until {
            readers.insert(job.lane, reader);
        }
        if done.send(Event::SpoolRead { lane: job.lane, read }).is_ok() {
            wake.wake();
        }
    }
}
