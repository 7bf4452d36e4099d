//! The source: a thread that finds files ([`super::watch`]) and this thread, which reads them.
//!
//! A file is its own queue: no more is read than the loop takes, which waits for outputs.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::core::{Core, Manner, Role};
use super::disk::OsDisk;
use super::mail::{Mail, Mailbox, News};
use super::packed::Packed;
use super::positions::PositionsFile;
use super::progress::Progress;
use super::watch::{Meant, Watcher};
use crate::batch::Inquiry;
use crate::clock::Mono;
use crate::ingress::Source;
use crate::ingress::inbox::{Answers, Change, Inlet};
use crate::ingress::wait::rest;
use crate::input::InputCounts;
use crate::limits::{FOLLOW_BARRIER_EVERY, FOLLOW_READ, PACKED_MAX, POSITIONS_EVERY};
use crate::wake::Bell;

/// How long the reader sleeps if no deadline is set.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// The number of pieces read before anything else is checked.
const TURN: usize = 16;
/// How long to wait for a loop that is busy.
const BUSY: Duration = Duration::from_millis(1);

/// Where to begin in files that exist at the very first start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At their beginning.
    Beginning,
    /// At their end.
    End,
}

/// What an input follows, and how.
pub struct Follow {
    /// The files.
    pub meant: Meant,
    /// How they are read.
    pub manner: Manner,
    /// Where they begin.
    pub start: Start,
    /// The file of positions.
    pub positions: PathBuf,
}

/// A source of lines from files.
pub struct Files {
    follow: Follow,
}

impl Files {
    /// Creates a source that is not started yet. Files that cannot be read now may be readable
    /// later.
    pub fn new(follow: Follow) -> Self {
        Self { follow }
    }
}

impl Source for Files {
    fn sends_barriers(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, inlet: Inlet) {
        let Follow { meant, manner, start, positions } = self.follow;
        let file = PositionsFile::new(&positions);
        let name = inlet.name().to_string();
        let (stored, is_first) = file.load(&name);
        let role = match start {
            Start::End if is_first => Role::FromEnd,
            _ => Role::Wanted,
        };
        let mailbox = Mailbox::new(inlet.bell().clone());
        let finder = match Finder::start(&name, meant, role, mailbox.clone()) {
            Ok(finder) => finder,
            Err(error) => {
                log::error!("input.{name}: cannot start a thread: {error}");
                return;
            }
        };
        // If files begin at their end, that end is recorded.
        let keeps = start == Start::End;
        let wants_old = start == Start::Beginning && stored.is_empty();
        let reader = Reader {
            core: Core::new(OsDisk, manner, stored),
            inlet,
            open: 0,
            mailbox,
            file,
            started: Instant::now(),
            progress: Progress::default(),
            keeps,
            listed: false,
            is_first: keeps && is_first,
            compressed: Vec::new(),
            packed: Vec::new(),
            wants_old,
            saved: Mono::default(),
            barrier: Mono::default(),
        };
        reader.run();
        finder.stop();
    }
}

/// The thread that finds files.
struct Finder {
    stop: Bell,
    thread: JoinHandle<()>,
}

impl Finder {
    fn start(name: &str, meant: Meant, role: Role, mailbox: Mailbox) -> std::io::Result<Self> {
        let stop = Bell::new()?;
        let (rings, name) = (stop.clone(), name.to_string());
        let title: String = format!("find:{name}").chars().take(15).collect();
        let thread = std::thread::Builder::new().name(title).spawn(move || {
            Watcher::new(&name, meant, role, mailbox).run(&rings);
        })?;
        Ok(Self { stop, thread })
    }

    fn stop(self) {
        self.stop.ring();
        if self.thread.join().is_err() {
            log::error!("the thread that finds files ended by a panic");
        }
    }
}

/// What a turn has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Nothing that could be read now.
    Nothing,
    /// Perhaps something.
    More,
    /// Perhaps something, but the loop takes no more at present.
    NoRoom,
}

struct Reader {
    core: Core<OsDisk>,
    /// The number of files that were open when it was last told.
    open: usize,
    inlet: Inlet,
    mailbox: Mailbox,
    file: PositionsFile,
    started: Instant,
    progress: Progress,
    /// Whether positions are to be kept in the file.
    keeps: bool,
    /// True once everything was listed.
    listed: bool,
    /// True if the file must be written even without positions: the next start is not the first.
    is_first: bool,
    /// Compressed files that were there at the start, until it is known whether it is the first.
    compressed: Vec<PathBuf>,
    /// Compressed files that are there, also under names that are not meant, until they are looked
    /// into.
    packed: Vec<PathBuf>,
    /// True while nothing is known of an earlier start, and what is there is to be read.
    wants_old: bool,
    saved: Mono,
    /// When the last barrier was set.
    barrier: Mono,
}

impl Reader {
    fn run(mut self) {
        loop {
            // What was answered counts, although the input ends.
            let answers = self.inlet.answers();
            self.answered(answers);
            if self.inlet.stopped() {
                break;
            }
            let mail = self.mailbox.take();
            self.take_mail(mail);
            let left = self.read();
            let has_room = self.has_room();
            if has_room && self.is_barrier_due() {
                self.set_barrier(Inquiry::default());
            }
            self.look_into_compressed();
            // All files that are there are asked for together: they say which follows which.
            if self.listed
                && has_room
                && let Some(inquiry) = self.core.inquire()
            {
                self.set_barrier(inquiry);
            }
            if self.is_first && self.listed && self.core.settle_first() {
                self.is_first = false;
            }
            self.tell_compressed();
            self.save_where_due(false);
            match left {
                Left::More => {}
                Left::Nothing if has_room && self.has_told_all() => self.rest(LONG),
                // The bell rings once something is taken again.
                _ if self.inlet.control().is_held() => self.rest(LONG),
                _ => self.inlet.rest_until_room(FOLLOW_READ, BUSY),
            }
        }
        self.finish();
    }

    fn now(&self) -> Mono {
        Mono(self.started.elapsed())
    }

    fn take_mail(&mut self, mail: Mail) {
        let (now, wall) = (self.now(), SystemTime::now());
        let is_found = |news: &&News| matches!(news, News::Found(..));
        let found = mail.news.iter().filter(is_found).count();
        for news in mail.news {
            match news {
                News::Found(path, file, role) => self.core.found(path, file, role, now, wall),
                News::Gone(path) => self.core.gone(&path, now),
            }
        }
        mail.changed.iter().for_each(|path| self.core.changed(path));
        self.packed.extend(mail.compressed.iter().cloned().chain(mail.near_compressed));
        self.compressed.extend(mail.compressed);
        self.listed |= mail.listed;
        if mail.all {
            self.core.suspect_all();
        }
        self.core.counts.overflows += mail.overflows;
        self.core.counts.unread += mail.unread;
        if let Some(state) = mail.state {
            self.inlet.tell(Change::State(state));
        }
        let open = self.core.open_files();
        self.mailbox.took(found, std::mem::replace(&mut self.open, open), open);
    }

    /// Whether messages can be sent without a wait. What could not be sent is sent in a later turn,
    /// so the thread must not sleep until something else happens.
    fn has_room(&self) -> bool {
        self.inlet.has_room(3)
    }

    /// Whether all counts were sent.
    fn has_told_all(&self) -> bool {
        self.core.counts == InputCounts::default()
    }

    /// Reads a turn's worth. The thread waits for the loop only where it can be woken: files that
    /// nobody takes lines of are let go in their time, too.
    fn read(&mut self) -> Left {
        let now = self.now();
        let mut left = Left::More;
        for _ in 0..TURN {
            if self.inlet.control().is_held() || !self.inlet.has_room_for(FOLLOW_READ) {
                self.core.look(now);
                left = Left::NoRoom;
                break;
            }
            let Some(piece) = self.core.read(now) else {
                left = Left::Nothing;
                break;
            };
            if let Some(span) = piece.origin {
                self.progress.sent(span.origin, span.last + 1, piece.bytes.len());
            }
            let counts = std::mem::take(&mut self.core.counts);
            self.inlet.send(Some(self.inlet.batch(piece)), counts);
        }
        if !self.has_told_all() && self.has_room() {
            let counts = std::mem::take(&mut self.core.counts);
            self.inlet.send(None, counts);
        }
        left
    }

    /// Has it asked whether those that were compressed before this start were read before.
    fn look_into_compressed(&mut self) {
        if self.listed && !self.packed.is_empty() {
            let packed = std::mem::take(&mut self.packed);
            let looked = packed.iter().take(PACKED_MAX).filter_map(|path| Packed::look(path));
            self.core.found_packed(looked.collect());
        }
    }

    /// Says at the very first start which of the files that are there are not read. At a later one
    /// their plain form may have been.
    fn tell_compressed(&mut self) {
        if self.compressed.is_empty() || !self.listed || !self.core.is_settled() {
            return;
        }
        let compressed = std::mem::take(&mut self.compressed);
        if self.wants_old {
            log::warn!(
                "input.{}: {} compressed files are there, as {:?}, and not read",
                self.inlet.name(),
                compressed.len(),
                compressed[0]
            );
            self.core.counts.unread += compressed.len() as u64;
        }
    }

    /// When the next barrier is due, if anything was handed over since the last one.
    fn barrier_due(&self) -> Option<Mono> {
        self.progress.has_new().then(|| self.barrier + FOLLOW_BARRIER_EVERY)
    }

    fn is_barrier_due(&self) -> bool {
        self.barrier_due().is_some_and(|due| due <= self.now())
    }

    fn set_barrier(&mut self, inquiry: Inquiry) {
        self.barrier = self.now();
        self.progress.set_barrier(&mut self.inlet, inquiry);
    }

    fn answered(&mut self, answers: Answers) {
        let now = self.now();
        for number in answers.lost {
            // A spool was removed: what was asked and said then is asked and said again.
            for lost in self.progress.completed(number) {
                self.core.ask_again(lost.ended);
            }
        }
        for (_, spools) in answers.kin {
            if spools.is_empty() {
                self.keeps = true;
            }
            self.wants_old &= spools.iter().all(Vec::is_empty);
            self.core.answered(&spools, now);
        }
        let Some(completed) = answers.completed else { return };
        for passed in self.progress.completed(completed) {
            if self.keeps {
                for (identity, next) in passed.moved {
                    self.core.store(identity, next);
                }
            }
            self.core.has_ended(&passed.ended);
        }
    }

    fn save_where_due(&mut self, at_the_end: bool) {
        let now = self.now();
        if !self.keeps || !at_the_end && now.since(self.saved) < POSITIONS_EVERY {
            return;
        }
        if let Some(positions) = self.core.take_stored() {
            self.file.save(self.inlet.name(), positions);
            self.saved = now;
        }
    }

    /// Sleeps until something happens, or for this time.
    fn rest(&mut self, longest: Duration) {
        let now = self.now();
        let save = (self.keeps && self.core.has_unsaved()).then(|| self.saved + POSITIONS_EVERY);
        // Only what is kept in the file is waited for; where there is no room the bell rings.
        let barrier = self.barrier_due().filter(|_| self.keeps && self.has_room());
        let times = save.into_iter().chain(barrier).chain(self.core.deadline());
        // One more millisecond, so that the deadline has passed by then.
        let due = times.min().map(|at| at.since(now) + Duration::from_millis(1));
        rest(self.inlet.bell(), due.map_or(longest, |due| due.min(longest)));
    }

    /// Waits until outputs have completed what was read, if positions depend on it.
    fn finish(mut self) {
        if self.keeps && self.progress.has_new() {
            self.set_barrier(Inquiry::default());
        }
        self.inlet.close();
        while self.keeps && self.progress.waits() && !self.inlet.is_abandoned() {
            rest(self.inlet.bell(), LONG);
            let answers = self.inlet.answers();
            self.answered(answers);
        }
        self.save_where_due(true);
    }
}
