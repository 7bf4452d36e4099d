//! Output files: names, rotation, whole lines, and recovery when the disk refuses.
//!
//! A file output is driven by jobs and executes them at once; it knows no thread. This file appends
//! lines whose file is known without parsing them; `routed` handles the others. A write that fails
//! in the middle of a line is cut back to the last whole line before anything else is written, so
//! that the rest can be written later.
//!
//! An output that reads from a spool is exact (`checkpoint`): it stops where a checkpoint is
//! needed, and continues when the checkpoint is saved.

mod checkpoint;
mod open;
mod preallocation;
mod rotation;
mod round;
mod routed;
mod router;

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::config::{FilePlan, Rotate};
use crate::batch::Batch;
use crate::fs::Fs;
use crate::limits::SLICES_MAX;
use crate::output::name::{Name, Values};
use crate::output::open_files::Member;
use crate::output::worker::{Kept, Worker, Workplace, Written};

use checkpoint::Exact;
use open::Open;
use router::Router;

/// The files of an output and their lengths with all completed lines.
type Position = Vec<(PathBuf, u64)>;

/// Why an output cannot go on just now.
#[derive(Debug)]
enum Blocked {
    /// A checkpoint must be saved first.
    Checkpoint,
    /// The system refuses an operation.
    Io(io::Error),
}

/// The result of a step, or why it was not done.
type Step<T> = Result<T, Blocked>;

impl From<io::Error> for Blocked {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Blocked {
    /// Adds the path of the file to the error.
    fn at(self, path: &Path) -> Self {
        match self {
            Self::Checkpoint => self,
            Self::Io(error) => {
                let message = format!("{}: {error}", path.display());
                Self::Io(io::Error::new(error.kind(), message))
            }
        }
    }
}

impl Blocked {
    /// Records in `written` why the rest is not written.
    fn note(self, written: &mut Written) {
        match self {
            Self::Checkpoint => written.pause = true,
            Self::Io(error) => written.error = Some(error.to_string()),
        }
    }
}

/// A file output with its open files.
#[derive(Debug)]
pub struct FileOutput<F: Fs> {
    plan: FilePlan,
    fs: F,
    open: HashMap<PathBuf, Open<F::File>>,
    /// Its membership among all outputs with open files.
    member: Member,
    /// Incremented with each use of a file, to tell which was used last.
    turn: u64,
    /// Closed files with part of a line after this length, which must be cut off first.
    torn: HashMap<PathBuf, u64>,
    rotation: rotation::State,
    exact: Option<Exact>,
    router: Router,
}

impl<F: Fs> FileOutput<F> {
    /// Creates an output with no file open; files are opened when a line for them arrives.
    pub fn open(plan: FilePlan, workplace: Workplace<'_, F>) -> Self {
        let Workplace { fs, open_files, exact, .. } = workplace;
        let member = open_files.join(&plan.path);
        Self {
            router: Router::new(&plan),
            plan,
            fs,
            open: HashMap::new(),
            member,
            turn: 0,
            torn: HashMap::new(),
            rotation: rotation::State::default(),
            exact: exact.then(Exact::default),
        }
    }

    /// Appends batches to the files they belong to.
    fn append_all(&mut self, batches: &[Batch]) -> Written {
        if self.waits_to_reopen() {
            return Written { pause: true, ..Written::default() };
        }
        if let Err(why) = self.close_beyond_share() {
            let mut written = Written::default();
            why.note(&mut written);
            return written;
        }
        if self.router.looks_into_lines() {
            return self.append_routed(batches);
        }
        let mut written = Written::default();
        let mut rest = batches;
        while let Some(first) = rest.first() {
            let name = Arc::new(self.plan.path.name(first.received, values_of(first)));
            let period = self.period(first.received);
            let same = |batch: &&Batch| {
                self.period(batch.received) == period
                    && self.plan.path.render(batch.received, &values_of(batch)) == name.path
            };
            let count = rest.iter().take(SLICES_MAX).take_while(same).count();
            let (group, others) = rest.split_at(count);
            let (bytes, done) = self.append_to(&name, group);
            written.bytes += bytes;
            if let Err(why) = done {
                why.at(&name.path).note(&mut written);
                break;
            }
            rest = others;
        }
        written
    }

    /// Appends batches to one file, rotating it in between as `rotate` requires; returns the bytes
    /// of whole lines written.
    fn append_to(&mut self, name: &Arc<Name>, group: &[Batch]) -> (usize, Step<()>) {
        let mut bytes = 0;
        let mut batches = group.iter().cloned();
        let mut next = batches.next();
        while let Some(mut batch) = next.take() {
            let room = match self.ready(name, batch.received) {
                Ok(len) => self.max_len().saturating_sub(len),
                Err(why) => return (bytes, Err(why)),
            };
            let mut now = Vec::new();
            let mut sum = 0;
            loop {
                let left = room.saturating_sub(sum);
                if batch.bytes.len() as u64 <= left {
                    sum += batch.bytes.len() as u64;
                    now.push(batch);
                    let Some(following) = batches.next() else { break };
                    batch = following;
                    continue;
                }
                let fits = usize::try_from(left).unwrap_or(usize::MAX);
                if let Some(part) = batch.split_to(fits) {
                    now.push(part);
                } else if now.is_empty() && room == self.max_len() {
                    // A line larger than the maximum file size gets a file of its own.
                    now.push(first_line(&mut batch, &mut next));
                    break;
                }
                next = Some(batch);
                break;
            }
            if now.is_empty() {
                if let Err(why) = self.rotate(name, now_of(group)) {
                    return (bytes, Err(why));
                }
                continue;
            }
            let (wrote, done) = self.write(name, &now);
            bytes += wrote;
            if done.is_err() {
                return (bytes, done);
            }
        }
        (bytes, Ok(()))
    }

    /// The maximum size of a file.
    fn max_len(&self) -> u64 {
        match self.plan.rotate {
            Some(Rotate::Size(size)) => size,
            _ => u64::MAX,
        }
    }

    /// Writes batches to a file that is ready; returns the bytes of whole lines written.
    fn write(&mut self, name: &Name, batches: &[Batch]) -> (usize, Step<()>) {
        if let Err(why) = self.before_writing(&name.path) {
            return (0, Err(why));
        }
        let max_len = self.max_len();
        let Some(open) = self.open.get_mut(&name.path) else {
            return (0, Err(io::Error::other("it was closed early").into()));
        };
        open.dirty = true;
        let before = open.file.len();
        let mut slices: Vec<_> = batches.iter().map(|batch| IoSlice::new(&batch.bytes)).collect();
        let done = open.file.append(&mut slices, max_len);
        let wrote = usize::try_from(open.file.len().saturating_sub(before)).unwrap_or(usize::MAX);
        let whole = whole_lines(batches, wrote);
        open.file.cut_back(before + whole as u64);
        (whole, done.map_err(Blocked::from))
    }
}

impl<F: Fs> Worker for FileOutput<F> {
    fn append(&mut self, batches: &[Batch]) -> Written {
        let written = self.append_all(batches);
        if written.error.is_some() {
            self.let_go_of_removed();
        }
        self.tidy();
        written
    }

    fn restore(&mut self, kept: &Kept, _held_to: u64) -> Result<(), String> {
        let failed = |error| format!("{error}: lines at the end of the file may be duplicated");
        self.go_back_to(&kept.files).map_err(failed)
    }

    fn checkpoint(&mut self) -> Result<Kept, String> {
        self.make_durable().map(|files| Kept { files, ..Kept::default() })
    }

    fn saved(&mut self) {
        self.checkpoint_saved();
    }

    fn reopen(&mut self) {
        self.close_named();
    }

    fn is_reopening(&self) -> bool {
        self.waits_to_reopen()
    }

    fn take_to_compress(&mut self) -> Vec<PathBuf> {
        self.take_rotated()
    }
}

/// The values for a name that depends on no line.
fn values_of(batch: &Batch) -> Values {
    Values { input: Arc::clone(&batch.input), fields: Vec::new() }
}

/// How many of the first `wrote` bytes of the batches are whole lines.
fn whole_lines(batches: &[Batch], wrote: usize) -> usize {
    let mut before = 0;
    for batch in batches {
        if before + batch.bytes.len() > wrote {
            let part = &batch.bytes[..wrote - before];
            return before + memchr::memrchr(b'\n', part).map_or(0, |at| at + 1);
        }
        before += batch.bytes.len();
    }
    before
}

/// Splits off the first line; the rest goes to `next`.
fn first_line(batch: &mut Batch, next: &mut Option<Batch>) -> Batch {
    let end = memchr::memchr(b'\n', &batch.bytes).map_or(batch.bytes.len(), |at| at + 1);
    if end == batch.bytes.len() {
        return batch.clone();
    }
    let mut rest = batch.clone();
    let first = rest.split_to(end).unwrap_or_else(|| batch.clone());
    *next = Some(rest);
    first
}

fn now_of(group: &[Batch]) -> SystemTime {
    group.first().map_or(UNIX_EPOCH, |batch| batch.received)
}

#[cfg(test)]
use crate::output::open_files::OpenFiles;

#[cfg(test)]
impl<F: Fs> FileOutput<F> {
    fn new(plan: FilePlan, fs: F) -> Self {
        Self::sharing(&OpenFiles::default(), plan, fs)
    }

    fn exact(plan: FilePlan, fs: F) -> Self {
        let open_files = &OpenFiles::default();
        Self::open(plan, Workplace { fs, open_files, name: "x", exact: true })
    }

    /// An output that shares the open files with others.
    fn sharing(open_files: &OpenFiles, plan: FilePlan, fs: F) -> Self {
        Self::open(plan, Workplace { fs, open_files, name: "x", exact: false })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use std::time::Duration;

    use super::*;
    use crate::filter::batch_of;
    use crate::fs::OsFs;
    use crate::output::name::NameTemplate;

    fn plan(path: &Path) -> FilePlan {
        FilePlan::new(NameTemplate::parse(path.to_str().unwrap()).unwrap())
    }

    fn at(text: &str, seconds: u64) -> Batch {
        let received = UNIX_EPOCH + Duration::from_secs(seconds);
        Batch { received, ..batch_of(text) }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn missing_folders_are_made_and_names_follow_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/%H/x.log");
        let mut output = FileOutput::new(plan(&path), OsFs);
        let written = output.append(&[at("one\n", 10), at("two\n", 20), at("three\n", 3700)]);
        assert_eq!((written.bytes, written.error), (14, None));
        let read =
            |hour: &str| fs::read_to_string(folder.path().join("a").join(hour).join("x.log"));
        assert_eq!(read("00").unwrap(), "one\ntwo\n");
        assert_eq!(read("01").unwrap(), "three\n");
        assert_eq!(output.open.len(), 1, "the past hour's file is closed");
    }

    #[test]
    fn a_file_never_grows_beyond_its_size_and_lines_stay_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan(&folder.path().join("x.log"));
        plan.rotate = Some(Rotate::Size(10));
        plan.keep = Some(3);
        let mut output = FileOutput::new(plan, OsFs);
        let text = "1234\n5678\nabcdefghijklmnop\n1\n2\n3\n4\n5\n6\n";
        assert_eq!(output.append(&[at(text, 0), at("7\n", 0)]).bytes, text.len() + 2);
        assert_eq!(
            names(folder.path()),
            [
                "x.log",
                "x.log.19700101T000000Z",
                "x.log.19700101T000000Z.0001",
                "x.log.19700101T000000Z.0002"
            ]
        );
        let mut all = Vec::new();
        for name in &names(folder.path())[1..] {
            all.push(fs::read_to_string(folder.path().join(name)).unwrap());
        }
        all.push(fs::read_to_string(folder.path().join("x.log")).unwrap());
        assert_eq!(all, ["1234\n5678\n", "abcdefghijklmnop\n", "1\n2\n3\n4\n5\n", "6\n7\n"]);
        output.append(&[at("8901234\n", 0)]);
        assert_eq!(names(folder.path()).len(), 4, "the oldest is removed");
        assert!(!folder.path().join("x.log.19700101T000000Z").exists());
    }

    #[test]
    fn a_file_is_rotated_when_its_hour_has_passed_also_by_a_new_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan(&folder.path().join("x.log"));
        plan.rotate = Some(Rotate::Every(Duration::from_secs(3600)));
        plan.compress = true;
        let mut output = FileOutput::new(plan.clone(), OsFs);
        output.append(&[at("one\n", 7200), at("two\n", 10_799), at("three\n", 10_800)]);
        let aside = folder.path().join("x.log.19700101T020000Z");
        assert_eq!(fs::read_to_string(&aside).unwrap(), "one\ntwo\n");
        assert_eq!(output.take_to_compress(), [aside]);
        let next_day = SystemTime::now() + Duration::from_secs(86_400);
        let mut output = FileOutput::new(plan, OsFs);
        output.append(&[Batch { received: next_day, ..batch_of("four\n") }]);
        assert_eq!(fs::read_to_string(folder.path().join("x.log")).unwrap(), "four\n");
        assert_eq!(names(folder.path()).len(), 3);
    }

    #[test]
    fn keep_counts_only_files_of_this_output() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["x-1970-01-01.log.gz", "x-1970-01-01.log.bak", "y-1970-01-01.log"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let mut plan = plan(&folder.path().join("x-%Y-%m-%d.log"));
        plan.keep = Some(1);
        let mut output = FileOutput::new(plan, OsFs);
        for day in 0..4 {
            output.append(&[at("line\n", day * 86_400)]);
        }
        let x: Vec<_> = names(folder.path());
        assert_eq!(
            x,
            [
                "x-1970-01-01.log.bak",
                "x-1970-01-01.log.gz",
                "x-1970-01-03.log",
                "x-1970-01-04.log",
                "y-1970-01-01.log"
            ]
        );
    }

    #[test]
    fn a_named_pipe_is_refused_instead_of_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let written = FileOutput::new(plan(&path), OsFs).append(&[at("x\n", 0)]);
        assert_eq!(written.bytes, 0);
        assert!(written.error.unwrap().contains("named pipe"));
    }
}
