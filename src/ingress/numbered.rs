//! What sources share that number what they read: where to go on, what outputs have completed, and
//! positions in a file where there is no spool.

use std::path::Path;
use std::time::{Duration, Instant};

use super::files::positions::{Positions, PositionsFile};
use super::files::progress::Progress;
use super::inbox::{Answers, Inlet, LastLines};
use crate::batch::Inquiry;
use crate::clock::Mono;
use crate::ids::Identity;
use crate::input::{InputCounts, Piece};
use crate::limits::POSITIONS_EVERY;

/// How long a source waits where nothing has a time.
pub const LONG: Duration = Duration::from_secs(3600);

/// The inlet of a source with positions, and how far outputs are.
pub struct Numbered {
    inlet: Inlet,
    file: PositionsFile,
    positions: Positions,
    is_first: bool,
    /// Whether positions are kept in the file.
    keeps: bool,
    unsaved: bool,
    saved: Mono,
    started: Instant,
    progress: Progress,
}

/// How far an origin is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// The last number that every output has; `None` if there is none.
    pub last: Option<u64>,
    /// The last number in each spool that has one. No batch may go across it.
    pub borders: Vec<u64>,
}

impl Numbered {
    /// A source whose positions are in the file at `path`; they are written in any case if it
    /// `keeps` them, otherwise only if there is no spool.
    pub fn new(inlet: Inlet, path: &Path, keeps: bool) -> Self {
        let file = PositionsFile::new(path);
        let (positions, is_first) = file.load(inlet.name());
        Self {
            inlet,
            file,
            positions,
            is_first,
            keeps,
            unsaved: false,
            saved: Mono::default(),
            started: Instant::now(),
            progress: Progress::default(),
        }
    }

    /// The way to the loop.
    pub fn inlet(&self) -> &Inlet {
        &self.inlet
    }

    /// Whether there was no file of positions.
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// Whether the file names any origin.
    pub fn has_positions(&self) -> bool {
        !self.positions.is_empty()
    }

    fn now(&self) -> Mono {
        Mono(self.started.elapsed())
    }

    /// Asks how far each origin is stored. `None` where the input is to end.
    pub fn ask(&mut self, origins: &[Identity]) -> Option<Vec<Stored>> {
        let inquiry = || Inquiry { origins: origins.to_vec(), ..Inquiry::default() };
        self.progress.set_barrier(&mut self.inlet, inquiry());
        loop {
            let answers = self.inlet.answers();
            if self.inlet.stopped() {
                return None;
            }
            if !answers.lost.is_empty() {
                // A spool was removed meanwhile.
                self.progress.set_barrier(&mut self.inlet, inquiry());
            }
            if let Some(lasts) = self.answered(answers) {
                let all = origins.iter().zip(&lasts);
                return Some(all.map(|(origin, lasts)| self.stored(*origin, lasts)).collect());
            }
            if self.rest_once(LONG) {
                return None;
            }
        }
    }

    fn stored(&mut self, origin: Identity, lasts: &[Option<u64>]) -> Stored {
        self.keeps |= lasts.is_empty();
        let last = match lasts.iter().all(Option::is_some) && !lasts.is_empty() {
            true => lasts.iter().copied().flatten().min(),
            false => self.positions.get(&origin).and_then(|next| next.checked_sub(1)),
        };
        Stored { last, borders: lasts.iter().copied().flatten().collect() }
    }

    /// Takes in what the loop says, and saves positions from time to time.
    pub fn take_answers(&mut self) {
        let answers = self.inlet.answers();
        self.answered(answers);
        self.save_where_due(false);
    }

    /// How long a wait may be until positions must be saved; `None` if there is nothing to save.
    pub fn longest_wait(&self) -> Option<Duration> {
        self.unsaved.then_some(POSITIONS_EVERY)
    }

    /// Hands over lines; a piece with numbers ends at its last one.
    pub fn send(&mut self, piece: Piece) {
        if let Some(span) = piece.origin {
            self.progress.sent(span.origin, span.last + 1, piece.bytes.len());
        }
        let batch = self.inlet.batch(piece);
        self.inlet.send(Some(batch), InputCounts::default());
    }

    /// Hands over counts.
    pub fn count(&self, counts: InputCounts) {
        if counts != InputCounts::default() {
            self.inlet.send(None, counts);
        }
    }

    /// Sets a barrier behind what was handed over, if one is due.
    pub fn set_barrier_where_due(&mut self) {
        if self.keeps && self.progress.has_new() || self.progress.is_barrier_due() {
            self.progress.set_barrier(&mut self.inlet, Inquiry::default());
        }
    }

    /// Takes in what the loop says; the answer to a question, if it came.
    fn answered(&mut self, answers: Answers) -> Option<LastLines> {
        for number in answers.lost {
            // Positions move with the next barrier.
            drop(self.progress.completed(number));
        }
        if let Some(completed) = answers.completed {
            for passed in self.progress.completed(completed) {
                if self.keeps && !passed.moved.is_empty() {
                    self.positions.extend(passed.moved);
                    self.unsaved = true;
                }
            }
        }
        answers.resumed.into_iter().next_back().map(|(_, lasts)| lasts)
    }

    fn save_where_due(&mut self, at_the_end: bool) {
        let now = self.now();
        if self.unsaved && (at_the_end || now.since(self.saved) >= POSITIONS_EVERY) {
            self.file.save(self.inlet.name(), &self.positions);
            (self.unsaved, self.saved) = (false, now);
        }
    }

    /// Waits once; whether the input is to end.
    pub fn rest_once(&mut self, longest: Duration) -> bool {
        self.inlet.rest(longest);
        self.inlet.stopped()
    }

    /// Waits for this time; whether the input is to end.
    pub fn rest(&mut self, time: Duration) -> bool {
        let until = self.now() + time;
        while self.now() < until {
            let left = until.since(self.now());
            if self.rest_once(left) {
                return true;
            }
            let answers = self.inlet.answers();
            self.answered(answers);
        }
        false
    }

    /// Waits until outputs are done with what was read, where positions depend on it.
    pub fn finish(mut self) {
        if self.keeps && self.progress.has_new() {
            self.progress.set_barrier(&mut self.inlet, Inquiry::default());
        }
        self.inlet.close();
        while self.keeps && self.progress.waits() && !self.inlet.is_abandoned() {
            self.inlet.rest(LONG);
            let answers = self.inlet.answers();
            self.answered(answers);
        }
        self.save_where_due(true);
    }
}
