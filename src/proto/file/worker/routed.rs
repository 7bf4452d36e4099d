//! Files chosen by the content of a line, and lines formatted when written.
//!
//! Lines are gathered in rounds: everything for one file is written at once, and either the whole
//! round is in its files or none of it, so that the completed lines are always a prefix. Files are
//! opened once, and rotated, before anything of a round is written: so an exact output needs one
//! checkpoint for all files of a round, however many are open at a time. A file that can never be
//! written costs only its own lines.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::SystemTime;

use super::round::{Round, Share};
use super::{Blocked, FileOutput, Step, Written};
use crate::batch::Batch;
use crate::format::Moment;
use crate::fs::Fs;
use crate::limits::{FILES_AT_ONCE, FILES_AT_ONCE_NAMES, LONG_LINE};
use crate::output::name::Name;
use crate::parse::syslog::Message;

/// How far into the batches lines have been gathered.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    batch: usize,
    byte: usize,
}

/// A run of lines for one share, within the current batch.
type Run = Option<(usize, std::ops::Range<usize>)>;

impl<F: Fs> FileOutput<F> {
    /// Appends lines to the files they belong to, in the configured format.
    pub(super) fn append_routed(&mut self, batches: &[Batch]) -> Written {
        let mut all = Written::default();
        let mut at = Place::default();
        while at.batch < batches.len() {
            let mut round = Round::default();
            let gathered = self.gather(batches, &mut at, &mut round);
            let done = gathered.and_then(|received| self.write_round(&mut round, received));
            for share in round.shares.drain(..) {
                self.router.set_share(share.route, None);
            }
            if let Err(why) = done {
                why.note(&mut all);
                break;
            }
            all.bytes += round.bytes;
            all.faults.add(&round.written.faults);
            all.refused.add(round.written.refused.lines, round.written.refused.bytes);
        }
        all
    }

    /// Gathers lines into a round, as many as can be written together; returns when the first of
    /// them was received.
    fn gather(&mut self, batches: &[Batch], at: &mut Place, round: &mut Round) -> Step<SystemTime> {
        let first = batches[at.batch].received;
        let part = |output: &Self, when| (output.period(when), output.plan.path.times(when));
        let this = part(self, first);
        self.router.refresh(&this.1, &self.member);
        while let Some(batch) = batches.get(at.batch) {
            let is_same = batch.received == first || part(self, batch.received) == this;
            if !is_same || !self.gather_batch(batch, at, round)? {
                break;
            }
        }
        Ok(first)
    }

    /// Gathers lines of one batch; returns false if the round fills up before its end.
    fn gather_batch(&mut self, batch: &Batch, at: &mut Place, round: &mut Round) -> Step<bool> {
        let received = Moment::of(batch.received);
        let mut run: Run = None;
        let mut formatted = Vec::new();
        let mut full = false;
        while at.byte < batch.bytes.len() {
            let start = at.byte;
            let len = memchr::memchr(b'\n', &batch.bytes[start..]);
            let end = len.map_or(batch.bytes.len(), |len| start + len + 1);
            let line = &batch.bytes[start..end - 1];
            let message = match self.router.whole {
                true => Message::parse(line),
                false => Message::parse_header(line),
            };
            let route = self.router.route(&self.plan, (batch, start), line, &message, &self.member);
            let Some(route) = route else {
                full = true;
                break;
            };
            formatted.clear();
            let mut long = None;
            let size = if self.router.formatter.is_plain() {
                (end - start) as u64
            } else {
                let source = batch.sources.as_ref().and_then(|sources| sources.of(start));
                let (from, formatter) = ((&*batch.input, source), &self.router.formatter);
                if line.len() < LONG_LINE {
                    formatter.line(line, &message, from, &received, &mut formatted);
                    formatted.len() as u64
                } else {
                    let line = batch.bytes.slice_ref(line);
                    let made = long.insert(formatter.long(&line, &message, from, &received));
                    made.len as u64 + 1
                }
            };
            let Some(share) = self.share(route, size, batch, round)? else {
                full = true;
                break;
            };
            round.written.faults.count_header(message.fault);
            round.shares[share].received.add(1, (end - start) as u64);
            if !round.shares[share].refused {
                let room = &mut round.shares[share].room;
                *room = room.saturating_sub(size);
                match long {
                    Some(long) => round.shares[share].add_long(long),
                    None if formatted.is_empty() => {
                        round.extend(&mut run, batch, (share, start..end));
                    }
                    None => round.shares[share].add_formatted(&formatted),
                }
            }
            round.bytes += end - start;
            at.byte = end;
        }
        if let Some((of, range)) = run {
            round.shares[of].add(batch, range);
        }
        if !full {
            *at = Place { batch: at.batch + 1, byte: 0 };
        }
        Ok(!full)
    }

    /// The share that a line of this size goes to; `None` if it must wait for the next round.
    fn share(
        &mut self,
        route: usize,
        size: u64,
        batch: &Batch,
        round: &mut Round,
    ) -> Step<Option<usize>> {
        if let Some(share) = self.router.share(route) {
            let Share { room, refused, .. } = &round.shares[share];
            return Ok((*refused || *room >= size).then_some(share));
        }
        let name = Arc::clone(self.router.name(route));
        let memory = name.path.as_os_str().len();
        let fits =
            round.names + memory <= FILES_AT_ONCE_NAMES && round.shares.len() < FILES_AT_ONCE;
        if !fits && !round.shares.is_empty() {
            return Ok(None);
        }
        let room = match self.make_room(&name, size, batch.received) {
            Ok(room) => Some(room),
            Err(Blocked::Io(error)) if self.router.names_by_fields() && is_of_the_name(&error) => {
                let why = format!("{}: {error}", name.path.display());
                self.router.report_refused(&why, batch.received);
                None
            }
            Err(why) => return Err(why.at(&name.path)),
        };
        round.names += memory;
        round.shares.push(Share::new(route, room));
        self.router.set_share(route, Some(round.shares.len() - 1));
        Ok(Some(round.shares.len() - 1))
    }

    /// Opens a file; returns how many bytes it may take. A file with no room for the first line is
    /// rotated first.
    fn make_room(&mut self, name: &Arc<Name>, size: u64, received: SystemTime) -> Step<u64> {
        let mut len = self.ready(name, received)?;
        if len > 0 && self.max_len().saturating_sub(len) < size {
            self.rotate(name, received)?;
            len = self.ready(name, received)?;
        }
        // A line larger than the maximum file size gets a file of its own.
        Ok(self.max_len().saturating_sub(len).max(size))
    }

    /// Writes a round, all of it or nothing.
    fn write_round(&mut self, round: &mut Round, received: SystemTime) -> Step<()> {
        for share in round.shares.iter().filter(|share| share.bytes > 0) {
            if self.is_unnamed(&self.router.name(share.route).path) {
                return Err(Blocked::Checkpoint);
            }
        }
        let (mut open, closed): (Vec<usize>, Vec<usize>) = (0..round.shares.len())
            .filter(|at| round.shares[*at].bytes > 0)
            .partition(|at| self.is_open(round.shares[*at].route));
        // Closed files come last, so that each is opened once.
        open.extend(closed);
        let mut done: Vec<(Arc<Name>, u64)> = Vec::new();
        for at in open {
            let name = Arc::clone(self.router.name(round.shares[at].route));
            match self.write_share(&name, &round.shares[at], received, &mut done) {
                Err(Blocked::Io(error))
                    if self.router.names_by_fields() && is_too_large(&error) =>
                {
                    if let Some((name, len)) = done.pop() {
                        self.cut_back(&name, len);
                    }
                    let why = format!("{}: {error}", name.path.display());
                    self.router.report_refused(&why, received);
                    round.shares[at].refused = true;
                }
                Err(why) => {
                    for (name, len) in done {
                        self.cut_back(&name, len);
                    }
                    return Err(why.at(&name.path));
                }
                Ok(()) => {}
            }
        }
        for share in round.shares.iter().filter(|share| share.refused) {
            round.written.refused.add(share.received.lines, share.received.bytes);
        }
        Ok(())
    }

    fn is_open(&self, route: usize) -> bool {
        self.open.contains_key(&self.router.name(route).path)
    }

    /// Writes the share of one file, and adds the file's previous length to `done`.
    fn write_share(
        &mut self,
        name: &Arc<Name>,
        share: &Share,
        received: SystemTime,
        done: &mut Vec<(Arc<Name>, u64)>,
    ) -> Step<()> {
        if !self.open.contains_key(&name.path) {
            self.ready(name, received)?;
        }
        self.before_writing(&name.path)?;
        let max_len = self.max_len();
        let Some(open) = self.open.get_mut(&name.path) else {
            return Err(io::Error::other("it was closed early").into());
        };
        done.push((Arc::clone(name), open.file.len()));
        open.dirty = true;
        Ok(share.write(|slices| open.file.append(slices, max_len))?)
    }
}

impl Round {
    /// Adds a line to the current run of a share, or begins another run.
    fn extend(
        &mut self,
        run: &mut Run,
        batch: &Batch,
        (share, line): (usize, std::ops::Range<usize>),
    ) {
        match run {
            Some((of, range)) if *of == share && range.end == line.start => range.end = line.end,
            _ => {
                if let Some((of, range)) = run.replace((share, line)) {
                    self.shares[of].add(batch, range);
                }
            }
        }
    }
}

/// Returns whether an error is caused by what a line put into the name, or by what someone put
/// there under that name, and will not go away by waiting.
fn is_of_the_name(error: &io::Error) -> bool {
    // A loop of links; a socket, or a device without a driver.
    matches!(
        error.raw_os_error(),
        Some(libc::ELOOP | libc::ENXIO | libc::ENODEV | libc::EPERM | libc::ETXTBSY)
    ) || matches!(
        error.kind(),
        ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput
            | ErrorKind::PermissionDenied
    )
}

/// Returns whether the file has reached the maximum size of a file.
fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EFBIG)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::config::plan::{FormatPlan, Shape};
    use crate::filter::batch_of;
    use crate::fs::OsFs;
    use crate::ledger::Count;
    use crate::output::name::NameTemplate;
    use crate::output::worker::Worker;
    use crate::proto::file::config::{FilePlan, Rotate};
    use crate::sim::fs::SimFs;

    fn plan(path: &str) -> FilePlan {
        FilePlan::new(NameTemplate::parse(path).unwrap())
    }

    /// The contents of each file on a disk.
    fn files(fs: &SimFs) -> BTreeMap<String, String> {
        let text = |(path, bytes): (PathBuf, Vec<u8>)| {
            (path.display().to_string(), String::from_utf8(bytes).unwrap())
        };
        fs.files().into_iter().map(text).collect()
    }

    fn read(fs: &SimFs, path: &str) -> String {
        files(fs).remove(path).unwrap_or_default()
    }

    #[test]
    fn each_line_goes_to_the_file_of_its_fields_in_order() {
        let fs = SimFs::default();
        let mut output = FileOutput::new(plan("/log/{host}/{app}"), fs.clone());
        let line =
            |host: &str, app: &str, text: &str| format!("<13>1 - {host} {app} - - - {text}\n");
        let first: String =
            (0..100).map(|n| line(["h1", "h2"][n % 2], "a", &n.to_string())).collect();
        let second = line("h1", "b", "x") + "raw\n" + &line("h2", "a", "last");
        let batches = [batch_of(&first), batch_of(&second)];
        let written = output.append(&batches);
        assert_eq!((written.bytes, written.error), (first.len() + second.len(), None));
        let even: String = (0..100).step_by(2).map(|n| line("h1", "a", &n.to_string())).collect();
        let odd: String = (1..100).step_by(2).map(|n| line("h2", "a", &n.to_string())).collect();
        assert_eq!(read(&fs, "/log/h1/a"), even);
        assert_eq!(read(&fs, "/log/h2/a"), odd + &line("h2", "a", "last"));
        assert_eq!(read(&fs, "/log/h1/b"), line("h1", "b", "x"));
        assert_eq!(read(&fs, "/log/_/_"), "raw\n");
    }

    #[test]
    fn long_runs_of_one_file_are_not_mixed_up_with_others() {
        let fs = SimFs::default();
        let mut output = FileOutput::new(plan("/log/{app}"), fs.clone());
        let run =
            |app: &str, lines: usize| format!("<13>{app}: {}\n", "x".repeat(90)).repeat(lines);
        let text = run("a", 100) + &run("b", 1) + &run("a", 3) + &run("c", 60) + &run("a", 2);
        assert_eq!(output.append(&[batch_of(&text)]).bytes, text.len());
        assert_eq!(read(&fs, "/log/a"), run("a", 105));
        assert_eq!(read(&fs, "/log/b"), run("b", 1));
        assert_eq!(read(&fs, "/log/c"), run("c", 60));
    }

    #[test]
    fn a_file_never_grows_beyond_its_size_whatever_goes_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan(folder.path().join("{app}").to_str().unwrap());
        plan.rotate = Some(Rotate::Size(20));
        let mut output = FileOutput::new(plan, OsFs);
        let text = "<13>a: 1\n<13>b: 1\n<13>a: 2\n<13>a: 3\n<13>b: 2\n<13>c: longer than all\n";
        assert_eq!(output.append(&[batch_of(text)]).bytes, text.len());
        assert_eq!(output.append(&[batch_of("<13>c: next\n")]).bytes, 12);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((read("a"), read("b")), ("<13>a: 3\n".into(), "<13>b: 1\n<13>b: 2\n".into()));
        assert_eq!(read("a.19700101T000000Z"), "<13>a: 1\n<13>a: 2\n");
        assert_eq!(read("c"), "<13>c: next\n");
    }

    #[test]
    fn lines_whose_file_can_never_be_written_are_dropped_and_hold_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bad")).unwrap();
        let path = folder.path().join("{app}");
        let mut output = FileOutput::new(plan(path.to_str().unwrap()), OsFs);
        let text = "<13>good: 1\n<13>bad: 2\n<13>bad: 3\n<13>good: 4\n";
        let written = output.append(&[batch_of(text)]);
        assert_eq!((written.bytes, written.error), (text.len(), None));
        assert_eq!(written.refused, Count { lines: 2, bytes: 22 });
        let good = std::fs::read_to_string(folder.path().join("good")).unwrap();
        assert_eq!(good, "<13>good: 1\n<13>good: 4\n");
    }

    #[test]
    fn a_round_that_fails_leaves_nothing_of_it_in_any_file() {
        let fs = SimFs::default();
        let mut output = FileOutput::new(plan("/log/{app}"), fs.clone());
        output.append(&[batch_of("<13>a: 1\n<13>b: 1\n")]);
        let before = files(&fs);
        let text = format!("<13>a: 2\n<13>b: {}\n", "x".repeat(100));
        fs.set_room(Some(50));
        let written = output.append(&[batch_of(&text)]);
        assert!(written.bytes == 0 && written.error.is_some(), "{written:?}");
        assert_eq!(files(&fs), before);
        fs.set_room(None);
        assert_eq!(output.append(&[batch_of(&text)]).bytes, text.len());
        assert!(read(&fs, "/log/a").ends_with("1\n<13>a: 2\n"));
    }

    #[test]
    fn more_files_than_may_be_open_get_all_their_lines() {
        let fs = SimFs::default();
        let mut output = FileOutput::new(plan("/log/{app}"), fs.clone());
        let text: String = (0..1000).map(|n| format!("<13>app{}: {n}\n", n % 500)).collect();
        assert_eq!(output.append(&[batch_of(&text)]).bytes, text.len());
        let files = files(&fs);
        assert_eq!(files.len(), 500);
        assert_eq!(files["/log/app7"], "<13>app7: 7\n<13>app7: 507\n");
    }

    #[test]
    fn a_format_is_written_into_the_file_that_the_line_names() {
        let fs = SimFs::default();
        let mut plan = plan("/log/{app}");
        plan.format = FormatPlan { shape: Shape::Json, tag: None };
        let mut output = FileOutput::new(plan, fs.clone());
        let mut batch = batch_of("<13>a: x\n<13>b: y\n<13>1 broken\n");
        batch.received = UNIX_EPOCH;
        let written = output.append(&[batch]);
        assert_eq!((written.bytes, written.faults.bad_header), (31, 1));
        let value: serde_json::Value = serde_json::from_str(&read(&fs, "/log/a")).unwrap();
        assert_eq!((&value["message"], &value["app"]), (&"x".into(), &"a".into()));
        assert!(Path::new("/log").is_absolute() && read(&fs, "/log/_").ends_with("}\n"));
    }

    #[test]
    fn what_somebody_put_under_one_name_costs_that_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let target = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink("loop", path("loop")).unwrap();
        std::os::unix::fs::symlink(target.path(), path("link")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        let mut output = FileOutput::new(plan(path("{app}").to_str().unwrap()), OsFs);
        let bad = ["loop", "link", "fifo", "socket", "folder"];
        let text: String =
            bad.iter().map(|app| format!("<13>{app}: lost\n<13>good: kept\n")).collect();
        let written = output.append(&[batch_of(&text)]);
        assert_eq!((written.bytes, written.error, written.pause), (text.len(), None, false));
        assert_eq!(written.refused.lines, 5);
        let good = std::fs::read_to_string(path("good")).unwrap();
        assert_eq!(good, "<13>good: kept\n".repeat(5));
        assert_eq!(target.path().metadata().unwrap().len(), 0);
    }

    #[test]
    fn no_message_names_another_outputs_file_or_archive() {
        let fs = SimFs::default();
        let open_files = crate::output::open_files::OpenFiles::default();
        let open = |path: &str| FileOutput::sharing(&open_files, plan(path), fs.clone());
        let mut output = open("/log/{app}");
        let text = "<13>all: x\n<13>all.20990101T000000Z: x\n<13>web-2020-01-01: x\n<13>web: x\n";
        output.append(&[batch_of(text)]);
        let fixed = (open("/log/all"), open("/log/web-%F"));
        output.append(&[batch_of(text)]);
        drop(fixed);
        output.append(&[batch_of(text)]);
        let lines: Vec<_> =
            files(&fs).into_iter().map(|(name, text)| (name, text.lines().count())).collect();
        let want = [
            ("/log/all", 2),
            ("/log/all.20990101T000000Z_", 3),
            ("/log/all_", 1),
            ("/log/web", 3),
            ("/log/web-2020-01-01", 2),
            ("/log/web-2020-01-01_", 1),
        ];
        assert_eq!(lines, want.map(|(name, lines)| (name.to_string(), lines)));
    }

    #[test]
    fn names_of_strangers_take_no_more_memory_than_they_may() {
        let fs = SimFs::default();
        let mut output = FileOutput::new(plan("/log/{host}"), fs.clone());
        let max = crate::limits::FILE_NAMES_MEMORY;
        for (count, prefix) in [(400, "h".repeat(230)), (12_000, String::new())] {
            for turn in 0..10 {
                let host = |number: usize| format!("{prefix}{:06}{}", number, "x".repeat(1000));
                let text: String = (0..count / 10)
                    .map(|n| format!("<13>1 - {} a - - - m\n", host(turn * count / 10 + n)))
                    .collect();
                assert_eq!(output.append(&[batch_of(&text)]).bytes, text.len());
                assert!(output.router.memory() <= max + 4096, "{}", output.router.memory());
            }
        }
        assert_eq!(files(&fs).len(), 12_001);
    }

    #[test]
    fn outputs_share_the_files_that_may_be_open_and_lose_no_line() {
        let open_files = crate::output::open_files::OpenFiles::new(3);
        let fs = SimFs::default();
        let mut outputs: Vec<_> = (0..5)
            .map(|n| FileOutput::sharing(&open_files, plan(&format!("/{n}/{{app}}")), fs.clone()))
            .collect();
        let text: String = (0..300).map(|n| format!("<13>app{}: {n}\n", n % 100)).collect();
        for output in &mut outputs {
            assert_eq!(output.append(&[batch_of(&text)]).bytes, text.len());
            assert_eq!(output.open.len(), 1);
        }
        let files = files(&fs);
        assert_eq!(files.len(), 500);
        assert!(files.values().all(|text| text.lines().count() == 3));
        // Alone, an output may use more.
        outputs.truncate(1);
        outputs[0].append(&[batch_of(&text)]);
        assert_eq!(outputs[0].open.len(), 3);
    }
}
