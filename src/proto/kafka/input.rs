//! The thread of an input: it hands the consumer's lines to the loop, and never waits for it.
//!
//! Into a spool records go exactly once, as the spool keeps the last offset of each partition with
//! the lines. Without one, or where reading did not begin at the beginning, positions are kept in
//! a file too.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::cluster::Cluster;
use super::consumer::member::{Member, Owner};
use super::consumer::{Begin, Consumer, Place, Run, Setup};
use super::offset_files::OffsetFiles;
use super::sockets::{Access, Sockets};
use crate::batch::{Batch, Inquiry, Span};
use crate::clock::{Clock, Mono, SystemClock};
use crate::ids::Identity;
use crate::ingress::Source;
use crate::ingress::files::positions::{self, Positions, PositionsFile};
use crate::ingress::files::progress::Progress;
use crate::ingress::inbox::{Answers, Change, Inlet, LastLines};
use crate::input::{InputCounts, Piece};
use crate::limits::{
    CONSUMED_ANSWER, CONSUMED_PAUSE, FOLLOW_READ, GROUP_LEAVE, POSITIONS_EVERY, RECONNECT,
};

/// The source, not started yet.
pub(super) struct Records {
    pub(super) setup: Setup,
    pub(super) brokers: Vec<(String, u16)>,
    pub(super) access: Access,
    /// The file of positions.
    pub(super) positions: PathBuf,
    /// Where another program kept offsets.
    pub(super) offset_files: Option<OffsetFiles>,
}

struct Running {
    inlet: Inlet,
    consumer: Consumer,
    sockets: Sockets,
    clock: SystemClock,
    progress: Progress,
    stored: Stored,
    /// A query for stored positions that is not answered: its number, and what was asked.
    query: Option<(u64, Vec<(Place, Identity)>)>,
    /// What the loop was last told.
    told: Option<Result<(), String>>,
    lags: Vec<(Arc<str>, u64)>,
    lags_at: Mono,
    /// How long to wait for the loop to take something.
    pause: Duration,
    /// The file that says which member of the group this is.
    member: MemberFile,
    /// The file that says which cluster is read.
    cluster: PathBuf,
    /// A barrier behind the last lines of partitions that are given back.
    drain: Option<(u64, Vec<Place>)>,
}

/// The file of a member of a group.
struct MemberFile {
    path: PathBuf,
    owner: Owner,
    /// Whether it could not be written.
    failed: bool,
}

/// What is kept in the file of positions.
struct Stored {
    file: PositionsFile,
    positions: Positions,
    /// What another program kept.
    others: Option<OffsetFiles>,
    /// Whether they are kept.
    keeps: bool,
    unsaved: bool,
    saved: Mono,
}

/// How long nothing is waited for where nothing has a time.
const LONG: Duration = Duration::from_secs(60);

impl Source for Records {
    fn sends_barriers(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, inlet: Inlet) {
        let Self { setup, brokers, access, positions, offset_files: others } = *self;
        let clock = SystemClock::new();
        let group = setup.group.clone().unwrap_or_default();
        let path = positions.with_extension("member");
        let file = path.display().to_string();
        let owner = Owner { host: positions::host(), path: file, group };
        let member = MemberFile { path, owner, failed: false };
        let known = setup.group.as_ref().and_then(|_| member.load(inlet.name()));
        let cluster_file = positions.with_extension("cluster");
        let file = PositionsFile::new(&positions);
        let (positions, _) = file.load(inlet.name());
        let keeps = setup.begin != Begin::Beginning && setup.group.is_none();
        let (unsaved, saved) = (false, Mono::default());
        let stored = Stored { file, positions, others, keeps, unsaved, saved };
        let sockets = loop {
            let sockets = Sockets::new(access.clone());
            match sockets.and_then(|mut new| new.listen(inlet.bell()).map(|()| new)) {
                Ok(sockets) => break sockets,
                Err(error) => inlet.tell(Change::State(Err(error.to_string()))),
            }
            inlet.rest(RECONNECT.1);
            if inlet.stopped() {
                return;
            }
        };
        let cluster = Cluster::new(brokers, CONSUMED_ANSWER, false, clock.mono());
        let mut consumer = Consumer::new(setup, cluster, known);
        let before = positions::read(&cluster_file).unwrap_or_default();
        if !before.is_empty() {
            consumer.expect_cluster(String::from_utf8_lossy(before.trim_ascii()).into_owned());
        }
        let running = Running {
            consumer,
            inlet,
            sockets,
            clock,
            progress: Progress::default(),
            stored,
            query: None,
            told: None,
            lags: Vec::new(),
            lags_at: Mono::default(),
            pause: CONSUMED_PAUSE.0,
            member,
            cluster: cluster_file,
            drain: None,
        };
        running.run();
    }
}

impl Running {
    fn run(mut self) {
        loop {
            // What was answered counts, although the input ends.
            let answers = self.inlet.answers();
            self.take(answers);
            if self.inlet.stopped() {
                break;
            }
            let now = self.clock.mono();
            self.consumer.advance(now);
            if self.member.save(&mut self.consumer) {
                // What waited for that is said now.
                self.consumer.advance(now);
            }
            if let Some(id) = self.consumer.cluster_to_save() {
                // Without it another cluster is not told from a first start, and that is all.
                let _ = positions::replace(&self.cluster, format!("{id}\n").as_bytes());
            }
            self.ask();
            self.hand_over(now);
            self.set_barrier();
            self.set_drain();
            self.stored.save_where_due(&self.inlet, now, false);
            self.tell(now);
            let wait = self.wait(now);
            if let Err(error) = self.sockets.turn(&mut self.consumer.cluster, wait, &self.clock) {
                self.say(Err(error.to_string()));
                self.inlet.rest(RECONNECT.0);
            }
        }
        self.finish();
    }

    /// How long to wait for something to happen.
    fn wait(&mut self, now: Mono) -> Duration {
        let mut until = now + LONG;
        if let Some(at) = self.consumer.deadline(now) {
            until = until.min(at);
        }
        if self.stored.unsaved {
            until = until.min(self.stored.saved + POSITIONS_EVERY);
        }
        let mut wait = until.since(now).max(Duration::from_millis(1));
        if !self.consumer.has_lines() {
            self.pause = CONSUMED_PAUSE.0;
            return wait;
        }
        // The loop takes nothing, and does not say when it does.
        wait = wait.min(self.pause);
        self.pause = (self.pause * 2).min(CONSUMED_PAUSE.1);
        wait
    }

    /// Asks how far partitions are stored.
    fn ask(&mut self) {
        if self.query.is_some() || !self.inlet.has_room(2) {
            return;
        }
        let unknown = self.consumer.take_unknown();
        if unknown.is_empty() {
            return;
        }
        let origins = unknown.iter().map(|(_, origin)| *origin).collect();
        let number = self.inlet.query(origins);
        self.query = Some((number, unknown));
    }

    /// Takes in what the loop says.
    fn take(&mut self, answers: Answers) {
        for number in answers.lost {
            if self.query.take_if(|(query, _)| *query == number).is_some() {
                // A spool was removed meanwhile.
                self.consumer.forget_asked();
            }
            if let Some((_, places)) = self.drain.take_if(|(drain, _)| *drain == number) {
                self.consumer.drained(&places, false);
            }
            // Positions move with the next barrier.
            drop(self.progress.completed(number));
        }
        if let Some(completed) = answers.completed {
            if let Some((_, places)) = self.drain.take_if(|(number, _)| *number <= completed) {
                self.consumer.drained(&places, true);
            }
            for passed in self.progress.completed(completed) {
                for (origin, next) in &passed.moved {
                    self.consumer.stored(*origin, *next);
                }
                if self.stored.keeps && !passed.moved.is_empty() {
                    self.stored.positions.extend(passed.moved);
                    self.stored.unsaved = true;
                }
            }
        }
        for (number, lasts) in answers.resumed {
            if let Some((_, asked)) = self.query.take_if(|(query, _)| *query == number) {
                self.resume(asked, lasts);
            }
        }
    }

    /// Partitions go on where each spool behind has them.
    fn resume(&mut self, asked: Vec<(Place, Identity)>, lasts: LastLines) {
        let mut known: HashMap<Arc<str>, bool> = HashMap::new();
        let (mut found, mut taken_over) = (Vec::new(), 0);
        for ((place, origin), lasts) in asked.into_iter().zip(lasts) {
            self.stored.keeps |= lasts.is_empty() && !self.consumer.is_in_group();
            let least = match lasts.iter().all(Option::is_some) && !lasts.is_empty() {
                true => lasts.iter().copied().flatten().min().map(|last| last + 1),
                false => self.stored.positions.get(&origin).copied(),
            };
            let least = least.or_else(|| {
                let next = self.stored.take_over(self.inlet.name(), &place, origin)?;
                taken_over += 1;
                Some(next)
            });
            *known.entry(Arc::clone(&place.0)).or_default() |= least.is_some();
            found.push((place, least, lasts));
        }
        if taken_over > 0 {
            log::info!(
                "{}: {taken_over} partitions go on where `offset_files` say that another program \
                 was",
                self.inlet.name()
            );
        }
        for (place, least, lasts) in found {
            let is_known = known.get(&place.0).copied().unwrap_or_default();
            let borders = lasts.into_iter().flatten().collect();
            self.consumer.resume(&place, (least, borders), is_known);
        }
    }

    /// Hands over lines, as long as the loop takes them and outputs are not behind.
    fn hand_over(&mut self, now: Mono) {
        for (origin, next) in self.consumer.take_begun() {
            if self.stored.keeps {
                self.stored.positions.insert(origin, next);
                self.stored.unsaved = true;
            }
        }
        while self.inlet.has_room_for(FOLLOW_READ) {
            let wall = self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
            let wall = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
            let run = self.consumer.run(now, wall);
            let counts = self.consumer.take_counts();
            match run {
                Some(run) => {
                    self.pause = CONSUMED_PAUSE.0;
                    let batch = self.batch(run);
                    self.inlet.send(Some(batch), counts);
                }
                None if counts != InputCounts::default() => self.inlet.send(None, counts),
                None if !self.consumer.has_lines() => break,
                None => {}
            }
            if self.progress.is_barrier_due() {
                self.set_barrier();
            }
            // What was handed over makes room for more.
            self.consumer.advance(now);
        }
    }

    fn batch(&mut self, run: Run) -> Batch {
        let Run { origin, span, piece, .. } = run;
        let (first, last) = (span.first.unsigned_abs(), span.last.unsigned_abs());
        let numbered = span.numbered.then_some(Span { origin, first, last });
        let next = if span.numbered { last + 1 } else { 0 };
        match span.numbered {
            true => self.progress.sent(origin, next, piece.bytes.len()),
            // Its position stays at what was there before.
            false => self.progress.passed_by(piece.bytes.len()),
        }
        let received = UNIX_EPOCH + Duration::from_millis(span.time.unsigned_abs());
        Piece { origin: numbered, ..piece }.into_batch(self.inlet.name(), received)
    }

    fn set_barrier(&mut self) {
        let due = self.progress.is_barrier_due();
        let tracks = self.stored.keeps || self.consumer.is_in_group();
        let idle = tracks && self.progress.has_new() && !self.progress.waits();
        if (due || idle) && self.inlet.has_room(2) {
            self.progress.set_barrier(&mut self.inlet, Inquiry::default());
        }
    }

    /// Has the last lines of partitions that are given back made durable.
    fn set_drain(&mut self) {
        if self.drain.is_none() && self.inlet.has_room(2) {
            let places = self.consumer.take_drain();
            if !places.is_empty() {
                self.drain = Some((self.inlet.barrier(), places));
            }
        }
    }

    /// Tells the loop how it goes.
    fn tell(&mut self, now: Mono) {
        if !self.inlet.has_room(3) {
            return;
        }
        let state = match self.consumer.error() {
            Some(error) => Err(error),
            None => Ok(()),
        };
        self.say(state);
        if now.since(self.lags_at) < POSITIONS_EVERY {
            return;
        }
        self.lags_at = now;
        let lags: Vec<(Arc<str>, u64)> = self
            .consumer
            .lags()
            .map(|((topic, index), lag)| (format!("{topic}/{index}").into(), lag))
            .collect();
        if lags != self.lags {
            self.lags.clone_from(&lags);
            self.inlet.tell(Change::Waiting(lags));
        }
    }

    fn say(&mut self, state: Result<(), String>) {
        let is_new = match &self.told {
            Some(told) => *told != state,
            None => state.is_err(),
        };
        if is_new {
            self.told = Some(state.clone());
            self.inlet.tell(Change::State(state));
        }
    }

    /// Waits until outputs are done with what was handed over, where positions depend on it.
    fn finish(mut self) {
        self.leave();
        let keeps = self.stored.keeps;
        if keeps && self.progress.has_new() {
            self.progress.set_barrier(&mut self.inlet, Inquiry::default());
        }
        self.inlet.close();
        while keeps && self.progress.waits() && !self.inlet.is_abandoned() {
            self.inlet.rest(LONG);
            let answers = self.inlet.answers();
            self.take(answers);
        }
        let now = self.clock.mono();
        self.stored.save_where_due(&self.inlet, now, true);
    }
}

impl Running {
    /// Leaves the group, once what was handed over is durable and committed, so that the others go
    /// on exactly behind it.
    fn leave(&mut self) {
        let until = self.clock.mono() + GROUP_LEAVE;
        self.consumer.leave();
        while !self.consumer.has_left() && !self.inlet.is_abandoned() {
            let now = self.clock.mono();
            if now >= until {
                return;
            }
            let answers = self.inlet.answers();
            self.take(answers);
            self.consumer.advance(now);
            if self.member.save(&mut self.consumer) {
                self.consumer.advance(now);
            }
            self.set_drain();
            let wait = self.consumer.deadline(now).map_or(until, |at| at.min(until)).since(now);
            let wait = wait.max(Duration::from_millis(1));
            let turned = self.sockets.turn(&mut self.consumer.cluster, wait, &self.clock);
            if turned.is_err() {
                return;
            }
        }
        self.member.save(&mut self.consumer);
    }
}

impl MemberFile {
    /// What this member was when it was last saved; `None` for one that never was.
    fn load(&self, input: &str) -> Option<Member> {
        let bytes = positions::read(&self.path).ok().filter(|bytes| !bytes.is_empty())?;
        let text = String::from_utf8_lossy(&bytes);
        let member = Member::decode(&text, &self.owner);
        let member = member.inspect_err(|why| {
            log::warn!(
                "input.{input}: {} {why}; this daemon joins group {} as a new member, under an \
                 identity of its own",
                self.path.display(),
                self.owner.group
            );
        });
        member.ok()
    }

    /// Saves what the member is, if that has changed; whether it did.
    fn save(&mut self, consumer: &mut Consumer) -> bool {
        let Some(member) = consumer.member_to_save() else { return false };
        let text = member.encode(&self.owner);
        let done = positions::replace(&self.path, text.as_bytes());
        if let Err(error) = &done
            && !self.failed
        {
            log::warn!(
                "{:?}: {error}; after kill -9 the group takes this member for a new one, and lines \
                 may come twice (`positions` names another file)",
                self.path
            );
        }
        self.failed = done.is_err();
        consumer.member_saved();
        true
    }
}

impl Stored {
    /// Where another program was in a partition of which nothing is stored: that is how far it is
    /// stored then.
    fn take_over(&mut self, input: &str, (topic, index): &Place, origin: Identity) -> Option<u64> {
        let next = self.others.as_ref()?.next(input, topic, *index)?;
        if self.keeps {
            self.positions.insert(origin, next);
            self.unsaved = true;
        }
        Some(next)
    }

    fn save_where_due(&mut self, inlet: &Inlet, now: Mono, at_the_end: bool) {
        if self.unsaved && (at_the_end || now.since(self.saved) >= POSITIONS_EVERY) {
            self.file.save(inlet.name(), &self.positions);
            (self.unsaved, self.saved) = (false, now);
        }
    }
}
