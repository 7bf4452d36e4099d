//! A file of the state folder that has a line of JSON for each record; the last line of a record
//! counts, so one that changes is only appended. It is read at the start. A thread of its own
//! writes it, started with the first record: the loop touches no regular file.

use std::collections::HashMap;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::hash::Hash;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is kept in such a file.
pub(super) trait Record:
    Debug + Clone + Serialize + DeserializeOwned + Send + 'static
{
    /// What tells records apart.
    type Key: Eq + Hash;

    /// The name of the file.
    const FILE: &'static str;
    /// What is not known if the file cannot be had, as in "what is lost".
    const WHAT: &'static str;
    /// The file is rewritten when it is larger than this, in bytes.
    const SIZE_MAX: u64;
    /// The most records kept; of more, the oldest are forgotten.
    const COUNT_MAX: usize;

    /// What tells it apart.
    fn key(&self) -> Self::Key;

    /// Its time, in seconds since 1970.
    fn time(&self) -> f64;

    /// For how long it is kept, in seconds.
    fn lifetime() -> f64;
}

/// The writing end of the file.
#[derive(Debug)]
pub(super) struct StateFile<R> {
    path: Option<PathBuf>,
    writer: Option<(Sender<Vec<R>>, JoinHandle<()>)>,
    record: PhantomData<R>,
}

impl<R: Record> StateFile<R> {
    /// The file of a folder, which is made if it is missing, and the records in it, oldest first.
    pub(super) fn open(folder: Option<&Path>, now: f64) -> (Self, Vec<R>) {
        let path = folder.and_then(|folder| match fs::create_dir_all(folder) {
            Ok(()) => Some(folder.join(R::FILE)),
            Err(error) => {
                let folder = folder.display();
                log::warn!("{folder}: {error}: {} is forgotten at a restart", R::WHAT);
                None
            }
        });
        let records = path.as_deref().map_or_else(Vec::new, |path| read(path, now));
        (Self { path, writer: None, record: PhantomData }, records)
    }

    /// Has records written.
    pub(super) fn keep(&mut self, records: Vec<R>) {
        let Some(path) = &self.path else { return };
        if records.is_empty() {
            return;
        }
        if self.writer.is_none() {
            let (sender, receiver) = channel();
            let path = path.clone();
            // Thread names have 15 bytes at most (pthread_setname_np(3)).
            let name = R::FILE.chars().take(15).collect();
            let thread = std::thread::Builder::new().name(name);
            match thread.spawn(move || write_all(&path, &receiver)) {
                Ok(thread) => self.writer = Some((sender, thread)),
                Err(error) => {
                    log::error!("the thread that writes {}: {error}", R::FILE);
                    self.path = None;
                    return;
                }
            }
        }
        if let Some((writer, _)) = &self.writer {
            // A writer that has ended has said why.
            let _ = writer.send(records);
        }
    }

    /// Waits until everything is written.
    pub(super) fn finish(&mut self) {
        if let Some((sender, thread)) = self.writer.take() {
            drop(sender);
            if thread.join().is_err() {
                log::error!("the thread that writes {} panicked", R::FILE);
            }
        }
    }
}

/// The records in a file that are not too old, oldest first. Lines that make no sense are skipped:
/// one may have been cut by a crash.
pub(super) fn read<R: Record>(path: &Path, now: f64) -> Vec<R> {
    let mut records: Vec<R> = Vec::new();
    let mut places: HashMap<R::Key, usize> = HashMap::new();
    let opened = match File::open(path) {
        // It is rewritten before it is that large.
        Ok(file) => BufReader::new(file.take(4 * R::SIZE_MAX)),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                log::warn!("{}: {error}: {} before is not known", path.display(), R::WHAT);
            }
            return records;
        }
    };
    for line in opened.split(b'\n') {
        let Ok(line) = line.inspect_err(|error| {
            log::warn!("{}: {error}: {} before is not all known", path.display(), R::WHAT);
        }) else {
            break;
        };
        let Ok(record) = serde_json::from_slice::<R>(&line) else { continue };
        if record.time() < now - R::lifetime() {
            continue;
        }
        match places.get(&record.key()) {
            Some(&at) => records[at] = record,
            None => {
                places.insert(record.key(), records.len());
                records.push(record);
            }
        }
    }
    let too_many = records.len().saturating_sub(R::COUNT_MAX);
    records.drain(..too_many);
    records
}

/// The thread that writes the file, until the daemon ends or the disk refuses.
fn write_all<R: Record>(path: &Path, records: &Receiver<Vec<R>>) {
    while let Ok(records) = records.recv() {
        if let Err(error) = write(path, &records) {
            let path = path.display();
            log::warn!("{path}: {error}: {} is forgotten at a restart", R::WHAT);
            return;
        }
    }
}

/// Appends records.
pub(super) fn write<R: Record>(path: &Path, records: &[R]) -> io::Result<()> {
    let newest = records.iter().map(R::time).fold(0.0, f64::max);
    if fs::metadata(path).is_ok_and(|data| data.len() > R::SIZE_MAX) {
        rewrite::<R>(path, newest)?;
    }
    let out = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    put(out, records)
}

fn put<R: Record>(out: File, records: &[R]) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    for record in records {
        serde_json::to_writer(&mut out, record)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Leaves one line of each record that is not too old.
fn rewrite<R: Record>(path: &Path, now: f64) -> io::Result<()> {
    let new = path.with_extension("new");
    let out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&new)?;
    put(out, &read::<R>(path, now))?;
    fs::rename(new, path)
}
