//! The consumer: partitions of topics into lines, without sockets.
//!
//! A partition is an origin and its offsets are the numbers of its lines, so a spool knows how far
//! each was read. Before a partition is read, the user is asked how far that is
//! (`Consumer::take_unknown`, `Consumer::resume`); where nothing is stored, a broker is asked
//! for the place to begin. What comes is handed over in runs (`Consumer::run`) as the user has
//! room, and nothing more is asked of a partition before all that came of it is handed over.

mod answers;
pub(super) mod batch;
mod group;
pub(super) mod member;
mod part;
mod record;
#[cfg(test)]
mod tests;
mod unpack;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::cluster::{BrokerId, COORDINATOR, Cluster, Event};
use super::messages::offsets::{EARLIEST, LATEST};
use super::messages::{errors, fetch, offsets};
use super::wire::Uuid;
use crate::clock::Mono;
use crate::ids::Identity;
use crate::input::{InputCounts, Piece};
use crate::limits::{
    CONSUMED_AT_ONCE, CONSUMED_LEAST, CONSUMED_PART, CONSUMED_WAIT, PARTITIONS_MAX,
};
use crate::proto::shared::record::{As, Lines};

use group::Group;
use group::classic::Classic;
use member::Member;
pub(super) use part::Span;
use part::{Locate, Part, Phase};
use record::Writer;

/// A topic and the number of a partition.
pub(super) type Place = (Arc<str>, i32);

/// Where reading begins in a partition of which nothing is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With the oldest record.
    Beginning,
    /// With what comes from then on.
    End,
    /// With the first record of this time or later, in milliseconds since 1970.
    Time(i64),
}

impl Begin {
    /// The time to ask for.
    fn time(self) -> i64 {
        match self {
            Self::Beginning => EARLIEST,
            Self::End => LATEST,
            Self::Time(time) => time.max(0),
        }
    }
}

/// What is read, and how.
#[derive(Debug)]
pub(super) struct Setup {
    /// The input's name, for messages.
    pub(super) name: String,
    pub(super) topics: Vec<Arc<str>>,
    /// These partitions of each; all of them, where there is none.
    pub(super) partitions: Option<Vec<i32>>,
    pub(super) begin: Begin,
    /// The group that shares partitions out.
    pub(super) group: Option<String>,
    /// What is kept with offsets that are committed.
    pub(super) note: String,
    /// Longer lines are cut.
    pub(super) max_line: usize,
    pub(super) form: As,
}

/// What a request was for.
#[derive(Debug)]
pub(super) enum Ask {
    /// Records of partitions that this broker leads; each with the number of the request.
    Fetch(BrokerId, Vec<(Place, u64)>),
    /// The offset of a partition.
    Locate(Place, u64, Locate),
    /// Who coordinates the group.
    Coordinator,
    /// A heartbeat.
    Beat,
    /// To be a member of a classic group, to have a share of its partitions, to be there still, and
    /// to leave.
    Join,
    Sync,
    There,
    Leave,
    /// That these offsets are kept, of topics of these identities.
    Commit(Vec<(Place, Uuid, i64)>),
    /// Which are.
    Committed,
}

/// Lines of consecutive records of a partition.
#[derive(Debug)]
pub(super) struct Run {
    #[cfg(test)]
    pub(super) place: Place,
    pub(super) origin: Identity,
    pub(super) span: Span,
    pub(super) piece: Piece,
}

/// The consumer.
#[derive(Debug)]
pub(super) struct Consumer {
    setup: Setup,
    pub(super) cluster: Cluster<Ask>,
    parts: BTreeMap<Place, Part>,
    /// The cluster that was read, and whether that is not saved.
    before: Option<String>,
    is_new_cluster: bool,
    /// The identity of each topic that was seen.
    topics: BTreeMap<Arc<str>, Uuid>,
    /// Those that were made anew since: nothing of them is passed over.
    anew: BTreeSet<Arc<str>>,
    /// How often the cluster has said what it is.
    told: u64,
    /// Brokers that owe records.
    fetching: BTreeSet<BrokerId>,
    flights: u64,
    /// The partition of the last run: the next one has its turn then.
    turn: Option<Place>,
    writer: Writer,
    lines: Lines,
    /// Where partitions began of which nothing was stored, until it is taken.
    begun: Vec<(Identity, u64)>,
    counts: InputCounts,
    /// What is wrong with a topic.
    error: Option<String>,
    group: Option<Group>,
    /// Where the members of the group share partitions out among themselves.
    classic: Option<Box<Classic>>,
}

impl Consumer {
    /// A consumer; in a group it is `member`, if it was one before.
    pub(super) fn new(setup: Setup, mut cluster: Cluster<Ask>, member: Option<Member>) -> Self {
        let group = setup.group.clone();
        let kept = member.as_ref().and_then(|member| Some((member, member.classic.as_ref()?)));
        let classic = kept.map(|(member, kept)| Box::new(Classic::resumed(member, kept)));
        let group = group.map(|name| Group::new(name, setup.note.clone(), member));
        setup.topics.iter().for_each(|topic| cluster.want(topic));
        Self {
            writer: Writer::new(setup.form),
            lines: Lines::new(setup.max_line),
            setup,
            cluster,
            parts: BTreeMap::new(),
            before: None,
            is_new_cluster: false,
            topics: BTreeMap::new(),
            anew: BTreeSet::new(),
            told: 0,
            fetching: BTreeSet::new(),
            flights: 0,
            turn: None,
            begun: Vec::new(),
            counts: InputCounts::default(),
            error: None,
            group,
            classic,
        }
    }

    /// Takes in what happened, and asks for what is wanted.
    pub(super) fn advance(&mut self, now: Mono) {
        self.cluster.tick(now);
        while let Some(event) = self.cluster.poll_event() {
            match event {
                Event::Metadata => {
                    self.told += 1;
                    self.take_cluster(now);
                    self.take_metadata();
                    self.classic.iter_mut().for_each(|classic| classic.topics_changed());
                }
                Event::Lost(asks) => asks.into_iter().for_each(|ask| self.lost(ask, now)),
                Event::Answer { broker, kind, version, body } => {
                    self.answered(broker, kind, version, body, now);
                }
            }
        }
        self.advance_group(now);
        self.locate(now);
        self.fetch(now);
        self.cluster.tick(now);
    }

    /// When to call [`Self::advance`] again, if nothing happens before.
    pub(super) fn deadline(&self, now: Mono) -> Option<Mono> {
        let waiting = self.parts.iter().filter(|(_, part)| {
            let asks = matches!(part.phase, Phase::Locate(_) | Phase::Reading);
            asks && part.flight.is_none() && !part.has_pending() && !part.stopped
        });
        let parts = waiting.map(|((topic, index), part)| {
            let leader = self.cluster.leader(topic, *index);
            let broker = leader.and_then(|leader| self.cluster.retry_at(leader));
            part.retry_at.max(broker.unwrap_or_default())
        });
        let classic = self.classic.as_ref().and_then(|classic| classic.deadline());
        let group = self.group.as_ref().map(|group| {
            group.deadline().max(self.cluster.retry_at(COORDINATOR).unwrap_or_default())
        });
        let group = group.into_iter().chain(classic);
        parts.chain(self.cluster.deadline(now)).chain(group).filter(|at| *at > now).min()
    }

    /// What keeps it from reading everything.
    pub(super) fn error(&self) -> Option<String> {
        let of_part = || self.parts.values().find_map(|part| part.error.clone());
        let of_group = || self.group.as_ref()?.error().map(str::to_string);
        let error = self.cluster.error().map(str::to_string);
        error.or_else(of_group).or_else(|| self.error.clone()).or_else(of_part)
    }

    /// What was counted since it was last taken.
    pub(super) fn take_counts(&mut self) -> InputCounts {
        std::mem::take(&mut self.counts)
    }

    /// Partitions whose stored position is to be asked for, each once.
    pub(super) fn take_unknown(&mut self) -> Vec<(Place, Identity)> {
        let unknown = self.parts.iter_mut().filter(|(_, part)| part.phase == Phase::Unknown);
        unknown
            .map(|(place, part)| {
                part.phase = Phase::Asked;
                (place.clone(), part.origin)
            })
            .collect()
    }

    /// The answer is not to be had: it is to be asked for again.
    pub(super) fn forget_asked(&mut self) {
        for part in self.parts.values_mut().filter(|part| part.phase == Phase::Asked) {
            part.phase = Phase::Unknown;
        }
    }

    /// Says how far a partition is stored: the offset to go on with, and the last offsets that
    /// spools have. `is_known`: others of its topic are stored, so a partition that is not is new.
    pub(super) fn resume(
        &mut self,
        place: &Place,
        (next, borders): (Option<u64>, Vec<u64>),
        is_known: bool,
    ) {
        let Some(part) = self.parts.get_mut(place).filter(|p| p.phase == Phase::Asked) else {
            return;
        };
        let offset = |number: u64| i64::try_from(number).unwrap_or(i64::MAX - 1);
        part.divide_at(borders.into_iter().map(offset));
        part.phase = match next.map(offset) {
            next if self.group.is_some() => Phase::Stored(next),
            Some(next) => return part.read_from(next, None),
            None if is_known => Phase::Locate(Locate::Start(EARLIEST)),
            None => Phase::Locate(Locate::Start(self.setup.begin.time())),
        };
    }

    /// Where partitions began of which nothing was stored, since it was last taken.
    pub(super) fn take_begun(&mut self) -> Vec<(Identity, u64)> {
        std::mem::take(&mut self.begun)
    }

    /// How far each partition is behind its end, in records.
    pub(super) fn lags(&self) -> impl Iterator<Item = (&Place, u64)> {
        self.parts.iter().filter_map(|(place, part)| Some((place, part.lag()?)))
    }

    /// The next lines; `wall` is the time in milliseconds since 1970.
    pub(super) fn run(&mut self, now: Mono, wall: i64) -> Option<Run> {
        let has = |(_, part): &(&Place, &Part)| part.has_pending();
        let behind = self.turn.as_ref().and_then(|turn| {
            let range = (std::ops::Bound::Excluded(turn.clone()), std::ops::Bound::Unbounded);
            self.parts.range(range).find(has)
        });
        let place = behind.or_else(|| self.parts.iter().find(has))?.0.clone();
        self.turn = Some(place.clone());
        let part = self.parts.get_mut(&place)?;
        let span = part.run(&place, (now, wall), &mut self.writer, &mut self.lines);
        let origin = part.origin;
        self.counts.add(&std::mem::take(&mut self.lines.counts));
        let pieces: Vec<_> = self.lines.take().collect();
        debug_assert!(pieces.len() <= 1);
        let (span, piece) = (span?, pieces.into_iter().next()?);
        Some(Run {
            #[cfg(test)]
            place,
            origin,
            span,
            piece,
        })
    }

    /// Whether there may be lines.
    pub(super) fn has_lines(&self) -> bool {
        self.parts.values().any(Part::has_pending)
    }

    /// Says which cluster was read last time.
    pub(super) fn expect_cluster(&mut self, id: String) {
        self.before = Some(id);
    }

    /// The cluster that is read, where it is to be saved.
    pub(super) fn cluster_to_save(&mut self) -> Option<&str> {
        let is_new = std::mem::take(&mut self.is_new_cluster);
        self.before.as_deref().filter(|_| is_new)
    }

    /// Another cluster has other records under the same names.
    fn take_cluster(&mut self, now: Mono) {
        let Some(id) = self.cluster.id().filter(|id| self.before.as_deref() != Some(*id)) else {
            return;
        };
        let id = id.to_string();
        if let Some(before) = self.before.replace(id.clone()) {
            log::warn!(
                "{}: the brokers are of cluster {id}, not of {before} as before: its topics are \
                 read as for the first time, as `start` says; if that is not meant, correct \
                 `brokers`",
                self.setup.name
            );
            self.topics.clear();
            self.anew.clear();
            self.parts.clear();
            self.begin_anew(now);
        }
        self.is_new_cluster = true;
    }

    fn take_metadata(&mut self) {
        self.error = None;
        let mut wanted = BTreeSet::new();
        let mut counts = BTreeMap::new();
        for topic in self.setup.topics.clone() {
            let Some(view) = self.cluster.topic(&topic) else { continue };
            let count = i32::try_from(view.leaders.len().min(PARTITIONS_MAX)).unwrap_or(0);
            let (error, id) = (view.error, view.id);
            if view.leaders.iter().any(|(leader, _)| *leader < 0) || count == 0 {
                self.cluster.refresh();
            }
            if count == 0 {
                if error != errors::NONE {
                    self.error = Some(format!("topic {topic}: {}", errors::describe(error)));
                }
                // It may come back: what is known of its partitions stays.
                let known = self.parts.keys().filter(|(of, _)| *of == topic);
                wanted.extend(known.cloned());
                continue;
            }
            self.renew(&topic, id);
            counts.insert(Arc::clone(&topic), count);
            if self.group.is_some() {
                continue;
            }
            for index in self.setup.partitions.clone().unwrap_or_else(|| (0..count).collect()) {
                if index >= count {
                    self.error = Some(format!(
                        "topic {topic} has no partition {index}: it has {count}, the first is 0"
                    ));
                    continue;
                }
                wanted.insert((Arc::clone(&topic), index));
            }
        }
        if let Some(owned) = self.owned_places() {
            let is_there = |(topic, index): &Place| counts.get(topic).is_some_and(|n| index < n);
            wanted.extend(owned.into_iter().filter(is_there));
        }
        self.parts.retain(|place, _| wanted.contains(place));
        for place in wanted {
            if !self.parts.contains_key(&place) {
                let origin = self.origin(&place);
                self.parts.insert(place, Part::new(origin));
            }
        }
    }

    /// A topic that was made anew has other records under the same offsets.
    fn renew(&mut self, topic: &Arc<str>, id: Uuid) {
        let before = self.topics.insert(Arc::clone(topic), id);
        if before.is_some_and(|before| before != id) {
            self.made_anew(topic);
            self.group_forgets(topic);
            let is_of = |place: &Place| place.0 == *topic;
            let anew: Vec<_> = self.parts.keys().filter(|place| is_of(place)).cloned().collect();
            for place in anew {
                let mut part = Part::new(self.origin(&place));
                if self.group.is_none() {
                    part.phase = Phase::Locate(Locate::Start(EARLIEST));
                }
                self.parts.insert(place, part);
            }
        }
    }

    /// A topic is known to have been made anew: where nothing of it is stored, it is read from its
    /// beginning, whatever `start` says.
    fn made_anew(&mut self, topic: &Arc<str>) {
        self.anew.insert(Arc::clone(topic));
        log::warn!(
            "{}: topic {topic} was deleted and made anew; it is read from its beginning",
            self.setup.name
        );
    }

    /// What numbers the lines of a partition.
    fn origin(&self, (topic, index): &Place) -> Identity {
        let id = self.topics.get(topic).copied().unwrap_or_default();
        // A name where the brokers have no identities yet.
        let name = if id.0 == 0 { topic } else { "" };
        let cluster = self.cluster.id().unwrap_or_default();
        let text = format!("{cluster}\n{:032x}\n{name}\n{index}", id.0);
        Identity::of(xxh3_128(text.as_bytes()))
    }

    /// Asks for the offsets to begin with.
    fn locate(&mut self, now: Mono) {
        for (place, part) in &mut self.parts {
            let Phase::Locate(locate) = part.phase else { continue };
            if part.flight.is_some() || now < part.retry_at || part.stopped {
                continue;
            }
            let (topic, index) = place;
            let Some(leader) = self.cluster.leader(topic, *index) else { continue };
            if !self.cluster.takes(leader, now) {
                self.cluster.connect(leader, now);
                continue;
            }
            let Some(version) = self.cluster.version(leader, offsets::LIST, now) else {
                part.failed(Some(too_old("ListOffsets")), now);
                continue;
            };
            self.flights += 1;
            part.flight = Some(self.flights);
            let asks = [(topic.to_string(), *index, locate.time())];
            let ask = Ask::Locate(place.clone(), self.flights, locate);
            self.cluster.send(leader, (offsets::LIST, version), ask, now, |writer| {
                offsets::write_list(writer, version, &asks);
            });
        }
    }

    /// Asks each leader that owes nothing for records.
    fn fetch(&mut self, now: Mono) {
        let mut wanted: BTreeMap<BrokerId, Vec<Place>> = BTreeMap::new();
        for (place, _) in self.parts.iter().filter(|(_, part)| part.wants(now)) {
            if let Some(leader) = self.cluster.leader(&place.0, place.1) {
                wanted.entry(leader).or_default().push(place.clone());
            }
        }
        let all = CONSUMED_AT_ONCE / (wanted.len() + self.fetching.len()).max(1);
        for (leader, places) in wanted {
            if self.fetching.contains(&leader) {
                continue;
            }
            if !self.cluster.takes(leader, now) {
                self.cluster.connect(leader, now);
                continue;
            }
            self.fetch_from(leader, places, all.max(CONSUMED_LEAST), now);
        }
    }

    fn fetch_from(&mut self, leader: BrokerId, places: Vec<Place>, all: usize, now: Mono) {
        let no_ids =
            places.iter().any(|(topic, _)| self.topics.get(topic).is_none_or(|id| id.0 == 0));
        let version = self.cluster.version(leader, fetch::API, now);
        let Some(version) = version.map(|v| if no_ids { v.min(fetch::BY_ID - 1) } else { v })
        else {
            for place in places {
                if let Some(part) = self.parts.get_mut(&place) {
                    part.failed(Some(too_old("Fetch")), now);
                }
            }
            return;
        };
        self.flights += 1;
        let mut topics: Vec<fetch::Topic> = Vec::new();
        for (topic, index) in &places {
            let epoch = self.cluster.topic(topic).and_then(|view| {
                let (_, epoch) = view.leaders.get(usize::try_from(*index).ok()?)?;
                Some(*epoch)
            });
            let Some(part) = self.parts.get_mut(&(Arc::clone(topic), *index)) else { continue };
            part.flight = Some(self.flights);
            let (offset, last_epoch) = (part.next, part.epoch);
            let part =
                fetch::Part { index: *index, epoch: epoch.unwrap_or(-1), offset, last_epoch };
            match topics.last_mut().filter(|last| *last.name == **topic) {
                Some(last) => last.parts.push(part),
                None => {
                    let id = self.topics.get(topic).copied().unwrap_or_default();
                    topics.push(fetch::Topic { name: topic.to_string(), id, parts: vec![part] });
                }
            }
        }
        let bytes = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
        let wait = i32::try_from(CONSUMED_WAIT.as_millis()).unwrap_or(0);
        let bounds = fetch::Bounds { wait, all: bytes(all), part: bytes(CONSUMED_PART.min(all)) };
        let flight = self.flights;
        let ask = Ask::Fetch(leader, places.into_iter().map(|place| (place, flight)).collect());
        self.fetching.insert(leader);
        self.cluster.send(leader, (fetch::API, version), ask, now, |writer| {
            fetch::write(writer, version, bounds, &topics);
        });
    }
}

fn too_old(api: &str) -> String {
    format!("the broker knows no version of {api} that is known here: it is too old")
}
