//! Files that are chosen, or lines that are written, by what is in a line.
//!
//! Lines are gathered in rounds: all that goes to one file is written at once, and either the
//! whole round is in its files or nothing of it, so that what is done is always the first so many
//! lines. Files are opened, and set aside, before anything of a round is written.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{FileOutput, Written};
use crate::batch::Batch;
use crate::config::plan::FilePlan;
use crate::format::{Formatter, Moment};
use crate::fs::Fs;
use crate::limits::{FILES_AT_ONCE, ROUTES_MOST};
use crate::output::name::Values;
use crate::parse::field::Field;
use crate::parse::syslog::Message;
use crate::sources::Source;

/// A run of lines of so many bytes is written from where it stands; shorter ones are copied.
const RUN_SHARED: usize = 4096;
/// A file that can never be written is spoken of so often at most.
const REFUSED_EVERY: Duration = Duration::from_secs(60);

/// Knows the file of each line.
#[derive(Debug)]
pub(super) struct Router {
    fields: Vec<Field>,
    formatter: Formatter,
    /// The routes of values that were met, by the values.
    known: HashMap<Vec<u8>, usize>,
    routes: Vec<Route>,
    /// What the time made of names when they were rendered.
    times: String,
    /// Whether a header alone does not tell all that is needed.
    whole: bool,
    /// The values of the line at hand, for `known`.
    key: Vec<u8>,
    /// The route of the line before.
    last: Option<usize>,
    refused_said: Option<SystemTime>,
}

#[derive(Debug)]
struct Route {
    values: Arc<Values>,
    path: PathBuf,
    /// Its share of the round under way.
    share: Option<usize>,
}

/// What goes to one file in a round.
#[derive(Debug)]
struct Share {
    route: usize,
    /// Why the file can never be written, where it cannot.
    refused: Option<String>,
    /// What is copied of it.
    copied: Vec<u8>,
    chunks: Vec<Chunk>,
    /// How many more bytes the file may take.
    room: u64,
    bytes: u64,
}

#[derive(Debug)]
enum Chunk {
    Shared(Bytes),
    Copied(Range<usize>),
}

/// Lines that are written together.
#[derive(Debug, Default)]
struct Round {
    shares: Vec<Share>,
    /// Their bytes as they were received.
    bytes: usize,
    written: Written,
    /// Whether a file is not in the cursor on disk yet.
    unnamed: bool,
}

/// How far the batches are taken.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    batch: usize,
    byte: usize,
}

impl Router {
    pub(super) fn new(plan: &FilePlan) -> Self {
        let formatter = Formatter::new(&plan.format);
        let fields = plan.path.fields().to_vec();
        Self {
            whole: !formatter.is_plain() || fields.iter().any(|field| !field.is_in_header()),
            fields,
            formatter,
            known: HashMap::new(),
            routes: Vec::new(),
            times: String::new(),
            key: Vec::new(),
            last: None,
            refused_said: None,
        }
    }

    pub(super) fn looks_into_lines(&self) -> bool {
        !self.fields.is_empty() || !self.formatter.is_plain()
    }

    /// Forgets what was rendered where the time makes other names now, or where it grew large.
    /// Only between rounds.
    fn refresh(&mut self, plan: &FilePlan, batch: &Batch) {
        let times = plan.path.times(batch.received);
        if times != self.times || self.routes.len() >= ROUTES_MOST {
            self.known.clear();
            self.routes.clear();
            self.last = None;
            self.times = times;
        }
    }

    /// The route of a line.
    fn route(
        &mut self,
        plan: &FilePlan,
        (batch, at): (&Batch, usize),
        line: &[u8],
        message: &Message,
    ) -> usize {
        let source = batch.sources.as_ref().and_then(|sources| sources.of(at));
        // A line goes most often where the one before it went.
        if let Some(last) =
            self.last.filter(|last| self.is_route(*last, batch, line, message, source))
        {
            return last;
        }
        self.key.clear();
        self.key.extend_from_slice(batch.input.as_bytes());
        for field in &self.fields {
            let value = field.value(line, message, source).unwrap_or_default();
            self.key.push(0);
            self.key.extend_from_slice(&value);
        }
        let route = match self.known.get(&self.key) {
            Some(&route) => route,
            None => self.new_route(plan, (batch, source), line, message),
        };
        self.last = Some(route);
        route
    }

    fn is_route(
        &self,
        route: usize,
        batch: &Batch,
        line: &[u8],
        message: &Message,
        source: Option<Source>,
    ) -> bool {
        let values = &self.routes[route].values;
        let mut fields = self.fields.iter().zip(&values.fields);
        *values.input == *batch.input
            && fields.all(|(field, value)| {
                field.value(line, message, source).unwrap_or_default() == value.as_slice()
            })
    }

    fn new_route(
        &mut self,
        plan: &FilePlan,
        (batch, source): (&Batch, Option<Source>),
        line: &[u8],
        message: &Message,
    ) -> usize {
        let value = |field: &Field| field.value(line, message, source).unwrap_or_default();
        let fields = self.fields.iter().map(|field| value(field).into_owned()).collect();
        let values = Arc::new(Values { input: Arc::clone(&batch.input), fields });
        let path = plan.path.render(batch.received, &values);
        // Values that differ only in what cannot be part of a name have the same file.
        let twin = self.routes.iter().position(|route| route.path == path);
        let route = twin.unwrap_or_else(|| {
            self.routes.push(Route { values, path, share: None });
            self.routes.len() - 1
        });
        self.known.insert(self.key.clone(), route);
        route
    }
}

impl Share {
    /// Adds a run of lines.
    fn add(&mut self, batch: &Batch, run: Range<usize>) {
        self.bytes += run.len() as u64;
        if run.len() >= RUN_SHARED {
            self.chunks.push(Chunk::Shared(batch.bytes.slice(run)));
        } else {
            self.copied(|copied| copied.extend_from_slice(&batch.bytes[run]));
        }
    }

    fn slice<'s>(&'s self, chunk: &'s Chunk) -> &'s [u8] {
        match chunk {
            Chunk::Shared(bytes) => bytes,
            Chunk::Copied(range) => &self.copied[range.clone()],
        }
    }

    fn copied(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.copied.len();
        write(&mut self.copied);
        match self.chunks.last_mut() {
            Some(Chunk::Copied(range)) if range.end == start => range.end = self.copied.len(),
            _ => self.chunks.push(Chunk::Copied(start..self.copied.len())),
        }
    }
}

impl<F: Fs> FileOutput<F> {
    /// Appends lines to the files they belong to, in the format that is asked for.
    pub(super) fn append_routed(&mut self, batches: &[Batch]) -> Written {
        let mut all = Written::default();
        let mut at = Place::default();
        while at.batch < batches.len() {
            let mut round = Round::default();
            let gathered = self.gather(batches, &mut at, &mut round);
            let done = gathered.and_then(|()| self.write_round(&mut round));
            for share in round.shares.drain(..) {
                self.router.routes[share.route].share = None;
            }
            if let Err(error) = done {
                let exact = self.exact.as_mut();
                if exact.is_some_and(|exact| std::mem::take(&mut exact.pausing)) {
                    all.pause = true;
                } else {
                    all.error = Some(error.to_string());
                }
                break;
            }
            all.bytes += round.bytes;
            all.faults.add(&round.written.faults);
            all.refused.add(round.written.refused.lines, round.written.refused.bytes);
        }
        all
    }

    /// Takes lines into a round, as many as can be written together.
    fn gather(&mut self, batches: &[Batch], at: &mut Place, round: &mut Round) -> io::Result<()> {
        let mut period = None;
        while let Some(batch) = batches.get(at.batch) {
            let this = (self.period(batch.received), self.plan.path.times(batch.received));
            if period.as_ref().is_some_and(|period| *period != this) {
                break;
            }
            if period.is_none() {
                self.router.refresh(&self.plan, batch);
            }
            period = Some(this);
            if !self.gather_batch(batch, at, round)? {
                break;
            }
        }
        Ok(())
    }

    /// Takes lines of one batch; false where the round is full before its end.
    fn gather_batch(
        &mut self,
        batch: &Batch,
        at: &mut Place,
        round: &mut Round,
    ) -> io::Result<bool> {
        let received = Moment::of(batch.received);
        let mut run: Option<(usize, Range<usize>)> = None;
        let mut line_buffer = Vec::new();
        let mut full = false;
        while at.byte < batch.bytes.len() && !full {
            let start = at.byte;
            let len = memchr::memchr(b'\n', &batch.bytes[start..]);
            let end = len.map_or(batch.bytes.len(), |len| start + len + 1);
            let line = &batch.bytes[start..end - 1];
            let message = match self.router.whole {
                true => Message::parse(line),
                false => Message::parse_header(line),
            };
            let route = self.router.route(&self.plan, (batch, start), line, &message);
            line_buffer.clear();
            let size = if self.router.formatter.is_plain() {
                (end - start) as u64
            } else {
                let source = batch.sources.as_ref().and_then(|sources| sources.of(start));
                let from = (&*batch.input, source);
                self.router.formatter.line(line, &message, from, &received, &mut line_buffer);
                line_buffer.len() as u64
            };
            let Some(at_share) = self.share(route, size, batch, round)? else {
                full = true;
                break;
            };
            round.written.faults.count_header(message.fault);
            let share = &mut round.shares[at_share];
            if share.refused.is_some() {
                round.written.refused.add(1, (end - start) as u64);
            } else if line_buffer.is_empty() {
                share.room = share.room.saturating_sub(size);
                match &mut run {
                    Some((of, range)) if *of == at_share && range.end == start => range.end = end,
                    _ => {
                        if let Some((of, range)) = run.replace((at_share, start..end)) {
                            round.shares[of].add(batch, range);
                        }
                    }
                }
            } else {
                share.room = share.room.saturating_sub(size);
                share.bytes += size;
                share.copied(|copied| copied.extend_from_slice(&line_buffer));
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

    /// The share that a line of this size goes to; `None` where it must wait for the next round.
    fn share(
        &mut self,
        route: usize,
        size: u64,
        batch: &Batch,
        round: &mut Round,
    ) -> io::Result<Option<usize>> {
        if let Some(share) = self.router.routes[route].share {
            let Share { room, refused, .. } = &round.shares[share];
            return Ok((refused.is_some() || *room >= size).then_some(share));
        }
        if round.shares.len() >= FILES_AT_ONCE {
            return Ok(None);
        }
        let (room, refused) = match self.make_room(route, size, batch.received, round) {
            Ok(room) => (room, None),
            Err(error) if !self.router.fields.is_empty() && is_of_the_name(&error) => {
                let path = self.router.routes[route].path.display();
                (0, Some(format!("{path}: {error}")))
            }
            Err(error) => {
                let path = self.router.routes[route].path.display();
                return Err(io::Error::new(error.kind(), format!("{path}: {error}")));
            }
        };
        if let Some(why) = &refused {
            self.say_refused(why, batch.received);
        }
        let share =
            Share { route, refused, copied: Vec::new(), chunks: Vec::new(), room, bytes: 0 };
        round.shares.push(share);
        self.router.routes[route].share = Some(round.shares.len() - 1);
        Ok(Some(round.shares.len() - 1))
    }

    /// Opens the file of a route; how many bytes it may take. One that has no room for the first
    /// line is set aside before.
    fn make_room(
        &mut self,
        route: usize,
        size: u64,
        received: SystemTime,
        round: &mut Round,
    ) -> io::Result<u64> {
        let Route { values, path, .. } = &self.router.routes[route];
        let (values, path) = (Arc::clone(values), path.clone());
        let mut at = self.ready(&path, &values, received)?;
        let is_full =
            |output: &Self, at: usize| output.open[at].file.len() > 0 && output.room(at) < size;
        if is_full(self, at) {
            self.set_aside(at, received)?;
            at = self.ready(&path, &values, received)?;
        }
        self.turn += 1;
        self.open[at].used = self.turn;
        round.unnamed |= self.exact.as_ref().is_some_and(|exact| !exact.named.contains(&path));
        // A line larger than the whole file may be has a file to itself.
        Ok(self.room(at).max(size))
    }

    /// Says that a file can never be written, though not each time.
    fn say_refused(&mut self, why: &str, now: SystemTime) {
        let recent = |said: SystemTime| now.duration_since(said).unwrap_or_default();
        if self.router.refused_said.is_none_or(|said| recent(said) >= REFUSED_EVERY) {
            log::error!("{why}; lines for such files are dropped");
            self.router.refused_said = Some(now);
        }
    }

    /// Writes a round, all of it or nothing.
    fn write_round(&mut self, round: &mut Round) -> io::Result<()> {
        if let (Some(exact), true) = (&mut self.exact, round.unnamed) {
            exact.pausing = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut done: Vec<(usize, u64)> = Vec::new();
        for share in round.shares.iter().filter(|share| share.bytes > 0) {
            let path = self.router.routes[share.route].path.clone();
            let at = self.open.iter().position(|open| open.path == path);
            let Some(at) = at else { return Err(io::Error::other("a file was closed early")) };
            done.push((at, self.open[at].file.len()));
            if let Err(error) = self.write_share(at, share) {
                let path = path.display().to_string();
                for (at, len) in done {
                    self.open[at].file.cut_back(len);
                }
                return Err(io::Error::new(error.kind(), format!("{path}: {error}")));
            }
        }
        Ok(())
    }

    fn write_share(&mut self, at: usize, share: &Share) -> io::Result<()> {
        if let Some(exact) = &mut self.exact {
            exact.fresh = false;
        }
        let most = self.most();
        let slice = |chunk| IoSlice::new(share.slice(chunk));
        let mut slices: Vec<_> = share.chunks.iter().map(slice).collect();
        self.open[at].file.append(&mut slices, most)
    }
}

/// Whether an error is due to what a line put into the name, and will never be another.
fn is_of_the_name(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput
            | ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::config::plan::{FormatPlan, Rotate, Shape};
    use crate::filter::batch_of;
    use crate::fs::OsFs;
    use crate::ledger::Count;
    use crate::output::name::NameTemplate;
    use crate::sim::fs::SimFs;

    fn plan(path: &str) -> FilePlan {
        FilePlan {
            path: NameTemplate::parse(path).unwrap(),
            rotate: None,
            keep: None,
            compress: false,
            mode: 0o640,
            format: FormatPlan::default(),
            queue: 1 << 20,
        }
    }

    /// What is in each file of a disk.
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
}
