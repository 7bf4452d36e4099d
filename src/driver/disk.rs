//! The disk's threads: one for each output that writes files or standard output, so that a
//! stalled file system or a reader that sleeps costs that output's queue and nobody else a
//! line; and one that compresses, where something is to be compressed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::wake::Wake;
use crate::engine::{DiskJob, DiskTarget, DiskWork, Event};
use crate::fs::OsFs;
use crate::ids::NodeId;
use crate::limits::DISK_THREADS_MOST;
use crate::output::file::{FileOutput, Written};
use crate::spool::job::carry_out;
use crate::spool::writer::Writer;

/// The disk, as the loop sees it. Its channels are bounded by the engine, which has at most
/// one job under way for each output.
#[derive(Debug)]
pub struct Disk {
    workers: Vec<Worker>,
    /// The worker of each output.
    places: HashMap<NodeId, usize>,
    done: Receiver<Event>,
    sender: Sender<Event>,
    wake: Wake,
}

#[derive(Debug)]
struct Worker {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

/// What a thread is given.
#[derive(Debug)]
enum Job {
    Work(DiskJob),
    /// A spool that was opened.
    Spool(NodeId, Box<Writer<OsFs>>),
}

impl Disk {
    /// A disk without threads; they come with the outputs.
    pub fn new(wake: Wake) -> Self {
        let (sender, done) = channel();
        Self { workers: Vec::new(), places: HashMap::new(), done, sender, wake }
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
            // The thread lives until its channel is closed.
            let _ = self.workers[place].jobs.send(Job::Work(job));
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
        // The thread lives until its channel is closed.
        let _ = self.workers[place].jobs.send(Job::Spool(node, Box::new(writer)));
        Ok(())
    }

    /// A worker with as few outputs as there is: an idle one, else a new one, and only beyond
    /// the bound one that serves another output too.
    fn place(&mut self) -> io::Result<usize> {
        let load = |place: usize| self.places.values().filter(|other| **other == place).count();
        let least = (0..self.workers.len()).min_by_key(|place| load(*place));
        match least {
            Some(place) if load(place) == 0 || self.workers.len() >= DISK_THREADS_MOST => Ok(place),
            _ => {
                let worker = Worker::start(self.sender.clone(), self.wake.clone())?;
                self.workers.push(worker);
                Ok(self.workers.len() - 1)
            }
        }
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
    pub fn finish(self, patience: Duration) {
        let start = Instant::now();
        let threads: Vec<_> = self.workers.into_iter().map(|worker| worker.thread).collect();
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

impl Worker {
    fn start(done: Sender<Event>, wake: Wake) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let thread = std::thread::Builder::new()
            .name("disk".into())
            .spawn(move || work(&queue, &done, &wake))?;
        Ok(Self { jobs, thread })
    }
}

enum Target {
    Files(Box<FileOutput<OsFs>>),
    Stdout(Stdout),
    Spool(Box<Writer<OsFs>>),
}

fn work(jobs: &Receiver<Job>, done: &Sender<Event>, wake: &Wake) {
    let mut targets: HashMap<NodeId, Target> = HashMap::new();
    let mut compressor = Compressor::default();
    let tell = |event: Event| {
        if done.send(event).is_ok() {
            wake.wake();
        }
    };
    for job in jobs {
        let DiskJob { node, work } = match job {
            Job::Work(job) => job,
            Job::Spool(node, writer) => {
                targets.insert(node, Target::Spool(writer));
                continue;
            }
        };
        match work {
            DiskWork::Open(DiskTarget::File { plan, exact }) => {
                let files = FileOutput::new(plan, OsFs);
                let files = if exact { files.exact() } else { files };
                targets.insert(node, Target::Files(Box::new(files)));
            }
            DiskWork::Open(DiskTarget::Stdout) => {
                targets.insert(node, Target::Stdout(Stdout::default()));
            }
            DiskWork::Append(batches) => {
                let Some(target) = targets.get_mut(&node) else { continue };
                let written = match target {
                    Target::Files(files) => files.append(&batches),
                    Target::Stdout(stdout) => stdout.append(&batches),
                    Target::Spool(_) => continue,
                };
                // The batches' memory goes back before the loop learns that they are done.
                drop(batches);
                tell(Event::DiskDone { node, written });
                if let Target::Files(files) = target {
                    compressor.compress(files.take_to_compress());
                }
            }
            DiskWork::Restore(cut) => {
                if let Some(Target::Files(files)) = targets.get_mut(&node)
                    && let Err(error) = files.restore(&cut)
                {
                    log::error!("{error}: lines at its end may come twice");
                }
            }
            DiskWork::Checkpoint => {
                if let Some(Target::Files(files)) = targets.get_mut(&node) {
                    tell(Event::Checkpointed { node, files: files.checkpoint() });
                }
            }
            DiskWork::Checked => {
                if let Some(Target::Files(files)) = targets.get_mut(&node) {
                    files.checked();
                }
            }
            DiskWork::Spool(job) => {
                let Some(Target::Spool(writer)) = targets.get_mut(&node) else { continue };
                let report = Box::new(carry_out(writer, *job, SystemTime::now()));
                compressor.compress(writer.take_to_compress());
                tell(Event::SpoolDone { node, report });
            }
            DiskWork::Respool(plan, readers) => {
                if let Some(Target::Spool(writer)) = targets.get_mut(&node) {
                    writer.set_plan(*plan);
                    writer.set_readers(&readers);
                }
            }
            DiskWork::Reopen => {
                if let Some(Target::Files(files)) = targets.get_mut(&node) {
                    files.reopen();
                }
            }
            DiskWork::Close => {
                targets.remove(&node);
            }
        }
    }
    compressor.finish();
}

/// Standard output.
#[derive(Default)]
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

/// Compresses files set aside, one after the other, in a thread of its own that is started
/// when the first file comes.
#[derive(Default)]
struct Compressor {
    running: Option<(Sender<PathBuf>, JoinHandle<()>)>,
}

impl Compressor {
    fn compress(&mut self, paths: Vec<PathBuf>) {
        for path in paths {
            if self.running.is_none() {
                let (sender, paths) = channel::<PathBuf>();
                let thread = std::thread::Builder::new().name("compress".into());
                match thread.spawn(move || paths.iter().for_each(|path| pack_and_say(&path))) {
                    Ok(thread) => self.running = Some((sender, thread)),
                    Err(error) => {
                        log::error!("{}: not compressed: {error}", path.display());
                        return;
                    }
                }
            }
            if let Some((sender, _)) = &self.running {
                // The thread lives until its channel is closed.
                let _ = sender.send(path);
            }
        }
    }

    fn finish(self) {
        if let Some((sender, thread)) = self.running {
            drop(sender);
            let _ = thread.join();
        }
    }
}

fn pack_and_say(path: &Path) {
    match pack(path) {
        Ok(()) => {}
        // Named twice, or removed by `keep` meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => log::error!("{}: not compressed: {error}", path.display()),
    }
}

/// Compresses a file beside itself and removes it; a crash in between leaves the file whole.
fn pack(path: &Path) -> io::Result<()> {
    let mut source = File::open(path)?;
    let data = source.metadata()?;
    let mut unfinished = path.as_os_str().to_os_string();
    unfinished.push(".zst.part");
    let target = File::create(&unfinished)?;
    target.set_permissions(data.permissions())?;
    let mut encoder = zstd::Encoder::new(target, zstd::DEFAULT_COMPRESSION_LEVEL)?;
    encoder.include_checksum(true)?;
    io::copy(&mut source, &mut encoder)?;
    let target = encoder.finish()?;
    target.set_modified(data.modified()?)?;
    target.sync_all()?;
    let mut finished = path.as_os_str().to_os_string();
    finished.push(".zst");
    fs::rename(&unfinished, &finished)?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_file_holds_the_same_and_keeps_its_time_and_mode() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let text = "a line\n".repeat(10_000);
        fs::write(&path, &text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&path).unwrap();
        pack(&path).unwrap();
        let packed = folder.path().join("x.log.zst");
        let data = fs::metadata(&packed).unwrap();
        assert_eq!(zstd::decode_all(File::open(&packed).unwrap()).unwrap(), text.as_bytes());
        assert_eq!(data.modified().unwrap(), before.modified().unwrap());
        assert_eq!(data.permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
