//! Output files: names, rotation, whole lines, and what to do when the disk refuses.
//!
//! A file output is driven by jobs and does its work at once; it knows no thread. It sets a
//! file aside by renaming it (`rotate`) or because the time in its name has passed, says
//! which files are to be compressed, and removes what is more than `keep`. A write that
//! fails in the middle of a line is cut back to the last whole one before anything else is
//! written, so that what could not be written can be written later.
//!
//! An output that reads from a spool is exact: its cursor holds its files and their lengths, and
//! after a crash they are cut back to those. So a cursor must be on disk before a file is written
//! that it does not name, and before a file that it names gets another name; the output pauses
//! there and waits for [`FileOutput::checkpoint`] and [`FileOutput::checked`].

mod growing;
mod routed;

use std::collections::HashSet;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::batch::Batch;
use crate::config::plan::{FilePlan, Rotate};
use crate::fs::{Fs, FsFile};
use crate::ledger::Count;
use crate::limits::{OPEN_FILES_MOST, SLICES_MOST};
use crate::output::name::Values;
use crate::parse::syslog::Faults;

use growing::Growing;
use routed::Router;

/// What became of the batches handed to [`FileOutput::append`].
#[derive(Debug, Default)]
pub struct Written {
    /// Bytes of whole lines that are done with, from the first batch on: they are in the files,
    /// but for those refused.
    pub bytes: usize,
    /// Of those, lines whose file can never be written.
    pub refused: Count,
    /// What was wrong with messages that were looked into.
    pub faults: Faults,
    /// Whether the rest waits for a checkpoint.
    pub pause: bool,
    /// Why it is not all.
    pub error: Option<String>,
}

/// A file output: its open files.
#[derive(Debug)]
pub struct FileOutput<F: Fs> {
    plan: FilePlan,
    fs: F,
    open: Vec<Open<F::File>>,
    /// Grows with each write, to tell which file was written last.
    turn: u64,
    last_aside: String,
    aside_in_stamp: u32,
    to_compress: Vec<PathBuf>,
    exact: Option<Exact>,
    router: Router,
}

/// What the cursor on disk says, for an exact output.
#[derive(Debug, Default)]
struct Exact {
    /// The files it names that may be written.
    named: HashSet<PathBuf>,
    /// Whether nothing was written since.
    fresh: bool,
    /// Whether the last error was that a checkpoint is needed.
    pausing: bool,
}

#[derive(Debug)]
struct Open<File: FsFile> {
    path: PathBuf,
    values: Arc<Values>,
    file: Growing<File>,
    /// The rotation period its lines belong to.
    period: u64,
    used: u64,
}

impl<F: Fs> FileOutput<F> {
    /// An output with no file open yet; files are opened when a line comes for them.
    pub fn new(plan: FilePlan, fs: F) -> Self {
        let router = Router::new(&plan);
        Self {
            router,
            plan,
            fs,
            open: Vec::new(),
            turn: 0,
            last_aside: String::new(),
            aside_in_stamp: 0,
            to_compress: Vec::new(),
            exact: None,
        }
    }

    /// The same, exact.
    pub fn exact(mut self) -> Self {
        self.exact = Some(Exact::default());
        self
    }

    /// Closes all files; the next line opens them by name again.
    pub fn reopen(&mut self) {
        if let Some(exact) = &mut self.exact {
            exact.named.clear();
            exact.fresh = false;
        }
        self.open.clear();
    }

    /// Cuts files back to the lengths that a cursor names. One that is shorter was set aside
    /// after the cursor was written.
    ///
    /// # Errors
    /// Which file cannot be cut, and why.
    pub fn restore(&mut self, files: &[(PathBuf, u64)]) -> Result<(), String> {
        for (path, len) in files {
            let cut = || -> io::Result<()> {
                if self.fs.exists(path) && self.fs.length(path)? > *len {
                    let mut file = self.fs.append(path, self.plan.mode)?;
                    file.set_len(*len)?;
                    file.sync()?;
                }
                Ok(())
            };
            cut().map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }

    /// Has all that was written survive a crash; the open files and their lengths.
    ///
    /// # Errors
    /// Which file does not, and why.
    pub fn checkpoint(&mut self) -> Result<Vec<(PathBuf, u64)>, String> {
        let mut files = Vec::with_capacity(self.open.len());
        for open in &mut self.open {
            let said = |error: io::Error| format!("{}: {error}", open.path.display());
            open.file.sync().map_err(said)?;
            let known = self.exact.as_ref().is_some_and(|exact| exact.named.contains(&open.path));
            if !known && let Some(folder) = open.path.parent() {
                self.fs.sync_folder(folder).map_err(said)?;
            }
            files.push((open.path.clone(), open.file.len()));
        }
        Ok(files)
    }

    /// The last checkpoint is on disk.
    pub fn checked(&mut self) {
        if let Some(exact) = &mut self.exact {
            exact.named = self.open.iter().map(|open| open.path.clone()).collect();
            exact.fresh = true;
        }
    }

    /// Fails where a checkpoint is needed before a file gets another name.
    fn before_renaming(&mut self) -> io::Result<()> {
        match &mut self.exact {
            Some(exact) if !exact.fresh => {
                exact.pausing = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
            _ => Ok(()),
        }
    }

    /// Fails where a checkpoint is needed before a file is written.
    fn before_writing(&mut self, at: usize) -> io::Result<()> {
        let Some(exact) = &mut self.exact else { return Ok(()) };
        if !exact.named.contains(&self.open[at].path) {
            exact.pausing = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        exact.fresh = false;
        Ok(())
    }

    /// Files that were set aside and are to be compressed, once.
    pub fn take_to_compress(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.to_compress)
    }

    /// Whether all files that are open are on a disk of this machine.
    pub fn are_local(&self) -> bool {
        self.open.iter().all(|open| open.file.is_local)
    }

    /// Appends batches to the files they belong to.
    pub fn append(&mut self, batches: &[Batch]) -> Written {
        if self.router.looks_into_lines() {
            return self.append_routed(batches);
        }
        let mut written = Written::default();
        let mut rest = batches;
        while let Some(first) = rest.first() {
            let values = values_of(first);
            let path = self.plan.path.render(first.received, &values);
            let period = self.period(first.received);
            let same = |batch: &&Batch| {
                self.period(batch.received) == period
                    && self.plan.path.render(batch.received, &values_of(batch)) == path
            };
            let count = rest.iter().take(SLICES_MOST).take_while(same).count();
            let (group, others) = rest.split_at(count);
            let (bytes, done) = self.append_to(&path, &values, group);
            written.bytes += bytes;
            let exact = self.exact.as_mut();
            if done.is_err() && exact.is_some_and(|exact| std::mem::take(&mut exact.pausing)) {
                written.pause = true;
                break;
            }
            if let Err(error) = done {
                written.error = Some(format!("{}: {error}", path.display()));
                break;
            }
            rest = others;
        }
        written
    }

    /// Appends batches to one file, setting it aside in between where `rotate` asks for it;
    /// the bytes of whole lines that are in.
    fn append_to(
        &mut self,
        path: &Path,
        values: &Arc<Values>,
        group: &[Batch],
    ) -> (usize, io::Result<()>) {
        let mut bytes = 0;
        let mut batches = group.iter().cloned();
        let mut next = batches.next();
        while let Some(mut batch) = next.take() {
            let at = match self.ready(path, values, batch.received) {
                Ok(at) => at,
                Err(error) => return (bytes, Err(error)),
            };
            let mut now = Vec::new();
            let room = self.room(at);
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
                } else if now.is_empty() && self.open[at].file.len() == 0 {
                    // A line larger than the whole file may be: it has a file to itself.
                    now.push(first_line(&mut batch, &mut next));
                    break;
                }
                next = Some(batch);
                break;
            }
            if now.is_empty() {
                if let Err(error) = self.set_aside(at, now_of(group)) {
                    return (bytes, Err(error));
                }
                continue;
            }
            let (wrote, done) = self.write(at, &now);
            bytes += wrote;
            if done.is_err() {
                return (bytes, done);
            }
        }
        (bytes, Ok(()))
    }

    /// How many more bytes file `at` may take.
    fn room(&self, at: usize) -> u64 {
        self.most().saturating_sub(self.open[at].file.len())
    }

    /// How long a file may become.
    fn most(&self) -> u64 {
        match self.plan.rotate {
            Some(Rotate::Size(size)) => size,
            _ => u64::MAX,
        }
    }

    /// The open file called `path`, set aside before where its time has passed.
    fn ready(
        &mut self,
        path: &Path,
        values: &Arc<Values>,
        received: SystemTime,
    ) -> io::Result<usize> {
        if let Some(at) = self.open.iter().position(|open| open.path == path) {
            let period = self.period(received);
            // A clock that jumped back must not set files aside again and again.
            if period <= self.open[at].period {
                return Ok(at);
            }
            self.set_aside(at, received)?;
        }
        self.finish_past_names(received)?;
        if self.open.len() >= OPEN_FILES_MOST
            && let Some(oldest) = (0..self.open.len()).min_by_key(|&at| self.open[at].used)
        {
            if self.exact.is_some() {
                self.open[oldest].file.sync()?;
            }
            self.open.swap_remove(oldest);
        }
        self.open(path, values, received)
    }

    fn open(
        &mut self,
        path: &Path,
        values: &Arc<Values>,
        received: SystemTime,
    ) -> io::Result<usize> {
        let file = match self.fs.append(path, self.plan.mode) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.fs.create_folders(path.parent().unwrap_or_else(|| Path::new("/")))?;
                self.fs.append(path, self.plan.mode)?
            }
            done => done?,
        };
        let file = Growing::new(file)?;
        let mut period = self.period(received);
        if file.len() > 0 && matches!(self.plan.rotate, Some(Rotate::Every(_))) {
            period = period.min(self.period(self.fs.modified(path)?));
        }
        let (path, values_kept) = (path.to_path_buf(), Arc::clone(values));
        self.open.push(Open { path, values: values_kept, file, period, used: self.turn });
        let at = self.open.len() - 1;
        if self.open[at].period < self.period(received) {
            let path = self.open[at].path.clone();
            self.set_aside(at, received)?;
            return self.open(&path, values, received);
        }
        Ok(at)
    }

    fn period(&self, when: SystemTime) -> u64 {
        match self.plan.rotate {
            Some(Rotate::Every(every)) => seconds(when) / every.as_secs().max(1),
            _ => 0,
        }
    }

    /// Writes batches to file `at`; the bytes of whole lines that are in it now.
    fn write(&mut self, at: usize, batches: &[Batch]) -> (usize, io::Result<()>) {
        if let Err(error) = self.before_writing(at) {
            return (0, Err(error));
        }
        self.turn += 1;
        let most = self.most();
        let open = &mut self.open[at];
        open.used = self.turn;
        let before = open.file.len();
        let mut slices: Vec<_> = batches.iter().map(|batch| IoSlice::new(&batch.bytes)).collect();
        let done = open.file.append(&mut slices, most);
        let wrote = usize::try_from(open.file.len() - before).unwrap_or(usize::MAX);
        let whole = whole_lines(batches, wrote);
        open.file.cut_back(before + whole as u64);
        (whole, done)
    }

    /// Files whose name belongs to a time that has passed are finished.
    fn finish_past_names(&mut self, now: SystemTime) -> io::Result<()> {
        if !self.plan.path.has_time() {
            return Ok(());
        }
        let template = &self.plan.path;
        let past = |open: &Open<F::File>| template.render(now, &open.values) != open.path;
        if self.open.iter().any(past) {
            self.before_renaming()?;
        }
        let template = &self.plan.path;
        let past = |open: &Open<F::File>| template.render(now, &open.values) != open.path;
        let (finished, open) = std::mem::take(&mut self.open).into_iter().partition(past);
        self.open = open;
        let finished: Vec<Open<F::File>> = finished;
        for file in finished {
            self.tidy(&file.path, &file.values, now);
        }
        Ok(())
    }

    /// Renames file `at` and closes it.
    fn set_aside(&mut self, at: usize, now: SystemTime) -> io::Result<()> {
        self.before_renaming()?;
        let open = self.open.swap_remove(at);
        if let Some(exact) = &mut self.exact {
            exact.named.remove(&open.path);
        }
        let stamp = stamp(match self.plan.rotate {
            Some(Rotate::Every(every)) => {
                UNIX_EPOCH + Duration::from_secs(open.period * every.as_secs().max(1))
            }
            _ => now,
        });
        let aside = self.free_name(&open.path, &stamp);
        self.fs.rename(&open.path, &aside)?;
        self.tidy(&open.path, &open.values, now);
        Ok(())
    }

    /// A name beside `path` that no file has, compressed or not, later in the order of names
    /// than those given before.
    fn free_name(&mut self, path: &Path, stamp: &str) -> PathBuf {
        if self.last_aside != stamp {
            self.last_aside = stamp.into();
            self.aside_in_stamp = 0;
        }
        loop {
            let number = self.aside_in_stamp;
            self.aside_in_stamp += 1;
            let mut name = path.as_os_str().to_os_string();
            name.push(format!(".{stamp}"));
            if number > 0 {
                name.push(format!(".{number:04}"));
            }
            let mut packed = name.clone();
            packed.push(".zst");
            if !self.fs.exists(Path::new(&name)) && !self.fs.exists(Path::new(&packed)) {
                return name.into();
            }
        }
    }

    /// Removes what is more than `keep` of the files set aside, and has the others compressed.
    fn tidy(&mut self, path: &Path, values: &Values, now: SystemTime) {
        if self.plan.keep.is_none() && !self.plan.compress {
            return;
        }
        let mut aside = self.files_aside(path, values, now);
        if let Some(keep) = self.plan.keep {
            let more = aside.len().saturating_sub(keep as usize);
            for (_, old) in aside.drain(..more) {
                if let Err(error) = self.fs.remove(&old) {
                    log::warn!("{}: cannot be removed: {error}", old.display());
                }
            }
        }
        if self.plan.compress {
            let plain = aside.into_iter().map(|(_, path)| path);
            self.to_compress.extend(plain.filter(|path| !is_packed(path)));
        }
    }

    /// The files of this output in the folder of `path` that are no longer written, oldest
    /// first.
    fn files_aside(
        &self,
        path: &Path,
        values: &Values,
        now: SystemTime,
    ) -> Vec<(SystemTime, PathBuf)> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let listed = match self.fs.list(folder.unwrap_or_else(|| Path::new("."))) {
            Ok(listed) => listed,
            Err(error) => {
                log::warn!("{}: its folder cannot be listed: {error}", path.display());
                return Vec::new();
            }
        };
        let current = self.plan.path.render(now, values);
        let ours = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
            path.file_name() != current.file_name()
                && self.plan.path.made(name, now, values).is_some_and(is_aside_suffix)
        };
        let mut aside: Vec<_> = listed
            .into_iter()
            .filter(ours)
            .map(|path| (self.fs.modified(&path).unwrap_or(UNIX_EPOCH), path))
            .collect();
        aside.sort();
        aside
    }
}

/// What may follow the name of a file that was set aside: nothing, a stamp, a number, `.zst`.
fn is_aside_suffix(suffix: &str) -> bool {
    let suffix = suffix.strip_suffix(".zst").unwrap_or(suffix);
    let mut parts = suffix.split('.');
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_stamp = |text: &str| {
        text.len() == 16
            && text.strip_suffix('Z').and_then(|text| text.split_once('T')).is_some_and(
                |(date, time)| date.len() == 8 && digits(date) && time.len() == 6 && digits(time),
            )
    };
    parts.next() == Some("")
        && parts.next().is_none_or(is_stamp)
        && parts.next().is_none_or(digits)
        && parts.next().is_none()
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}

/// The values of a name that looks into no line.
fn values_of(batch: &Batch) -> Arc<Values> {
    Arc::new(Values { input: Arc::clone(&batch.input), fields: Vec::new() })
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

/// Takes the first line off; what is left goes to `next`.
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

fn seconds(when: SystemTime) -> u64 {
    when.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// `20261123T050000Z`
fn stamp(when: SystemTime) -> String {
    let time = Timestamp::try_from(when).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::plan::FormatPlan;
    use crate::filter::batch_of;
    use crate::fs::OsFs;
    use crate::output::name::NameTemplate;

    fn plan(path: &Path) -> FilePlan {
        FilePlan {
            path: NameTemplate::parse(path.to_str().unwrap()).unwrap(),
            rotate: None,
            keep: None,
            compress: false,
            mode: 0o640,
            format: FormatPlan::default(),
            queue: 1 << 20,
        }
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
    fn a_file_is_set_aside_when_its_hour_has_passed_also_by_a_new_daemon() {
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
