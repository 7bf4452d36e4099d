//! Membership of a group, which says which partitions the member is to own: by itself (KIP-848,
//! `modern`), or through one of its members (the classic protocol, `classic`).
//!
//! A partition is given back only when everything that was handed over of it is durable and its
//! offset is committed. What the member is, is saved before any heartbeat that says so.

pub(super) mod assignor;
pub(super) mod classic;
mod modern;
mod note;
mod offsets;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_128;

use super::member::{Member, Owned};
use super::part::{Part, Phase};
use super::{Ask, Consumer, Place, too_old};
use crate::clock::Mono;
use crate::ids::Identity;
use crate::limits::{CONSUMED_RETRY, GROUP_BEAT};
use crate::proto::kafka::cluster::COORDINATOR;
use crate::proto::kafka::messages::{Api, errors, group};
use crate::proto::kafka::wire::{Reader, Uuid};

/// The membership of a consumer.
#[derive(Debug)]
pub(super) struct Group {
    name: String,
    /// What is kept with each committed offset, before the identity of the topic.
    note: String,
    member: Member,
    /// Whether what the member is must be saved before it is said.
    unsaved: bool,
    /// What the group wants the member to own, where that is not what it owns.
    target: Option<BTreeSet<Owned>>,
    /// Partitions of which nothing more is handed over, until they are given back.
    draining: BTreeMap<Place, Drain>,
    finding: bool,
    /// Whether the coordinator is known.
    found: bool,
    /// Nothing is asked of it before, and the wait after the next failure.
    retry_at: Mono,
    wait: Duration,
    beating: bool,
    beat_at: Mono,
    interval: Duration,
    /// When the group last answered that all is well.
    heard: Mono,
    committing: bool,
    commit_at: Mono,
    /// What each partition is stored up to, and what of that is committed.
    stored: BTreeMap<Place, i64>,
    committed: BTreeMap<Place, i64>,
    asking: bool,
    /// Partitions that have our note, when notes are looked at next, and another one that was
    /// there.
    noted: BTreeSet<Place>,
    watch_at: Mono,
    stranger: Option<String>,
    /// The member leaves, or has left.
    leaving: Leaving,
    error: Option<String>,
    /// Why offsets cannot be committed, and why it is not known which are.
    commit_error: Option<String>,
    ask_error: Option<String>,
    /// It is not asked before.
    ask_at: Mono,
}

/// How far a partition is on its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    /// What was handed over is not known to be durable; whether that was asked.
    Waiting(bool),
    /// Everything up to this offset is durable, and is to be committed.
    Durable(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// Once all is committed.
    Wanted,
    Said,
    Done,
}

/// Errors of a group that pass by themselves: its coordinator starts, or has moved.
const COORDINATOR_PASSES: &[i16] = &[14, 15, 16];

impl Group {
    pub(super) fn new(name: String, note: String, member: Option<Member>) -> Self {
        let unsaved = member.is_none();
        Self {
            name,
            // With what tells this process from any other.
            note: format!("{note} {:.8}", Identity::new().to_string()),
            member: member.unwrap_or_else(Member::new),
            unsaved,
            target: None,
            draining: BTreeMap::new(),
            finding: false,
            found: false,
            retry_at: Mono::default(),
            wait: CONSUMED_RETRY.0,
            beating: false,
            beat_at: Mono::default(),
            interval: GROUP_BEAT,
            heard: Mono::default(),
            committing: false,
            commit_at: Mono::default(),
            stored: BTreeMap::new(),
            committed: BTreeMap::new(),
            asking: false,
            noted: BTreeSet::new(),
            watch_at: Mono::default(),
            stranger: None,
            leaving: Leaving::No,
            error: None,
            commit_error: None,
            ask_error: None,
            ask_at: Mono::default(),
        }
    }

    /// When something is to be done, if nothing happens before.
    pub(super) fn deadline(&self) -> Mono {
        let beat = if self.beating { Mono(Duration::MAX) } else { self.beat_at };
        let commit = if self.has_uncommitted() { self.commit_at } else { Mono(Duration::MAX) };
        let ask = if self.ask_error.is_some() { self.ask_at } else { Mono(Duration::MAX) };
        beat.min(commit).min(ask).max(self.retry_at)
    }

    pub(super) fn error(&self) -> Option<&str> {
        let errors = [&self.error, &self.commit_error, &self.ask_error];
        errors.into_iter().find_map(Option::as_deref)
    }

    fn has_uncommitted(&self) -> bool {
        self.stored.iter().any(|(place, stored)| self.committed.get(place) != Some(stored))
    }

    /// What is asked of the coordinator has no use now.
    fn failed(&mut self, error: Option<String>, now: Mono) {
        self.retry_at = now + self.wait;
        // A member that waits for longer than between heartbeats would be out.
        self.wait = (self.wait * 2).min(self.interval);
        if error.is_some() {
            self.error = error;
        }
    }

    fn refused(&mut self, error: i16, message: Option<&str>, now: Mono) {
        let passes = self.passes(error);
        let text = match message {
            Some(message) => format!("{} ({message})", self.describe(error)),
            None => self.describe(error),
        };
        let error = (!passes || self.wait > CONSUMED_RETRY.0 * 16).then_some(text);
        self.failed(error, now);
    }

    /// Whether an error passes by itself.
    fn passes(&mut self, error: i16) -> bool {
        if error == 15 || error == 16 {
            self.found = false;
        }
        COORDINATOR_PASSES.contains(&error)
    }

    fn describe(&self, error: i16) -> String {
        format!("group {}: {}", self.name, errors::describe(error))
    }

    fn owned(&self) -> Vec<(Uuid, Vec<i32>)> {
        let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for (topic, index) in &self.member.owned {
            topics.entry(*topic).or_default().push(*index);
        }
        topics.into_iter().collect()
    }

    fn place_of(topics: &BTreeMap<Arc<str>, Uuid>, owned: &Owned) -> Option<Place> {
        let (topic, _) = topics.iter().find(|(topic, id)| Self::key_of(topic, **id) == owned.0)?;
        Some((Arc::clone(topic), owned.1))
    }

    /// The identity of a topic; made of its name where the brokers have none.
    fn key_of(topic: &str, id: Uuid) -> Uuid {
        if id.0 == 0 { Uuid(xxh3_128(topic.as_bytes())) } else { id }
    }

    /// The group has answered that all is well.
    fn heard_well(&mut self, now: Mono) {
        (self.error, self.wait, self.heard) = (None, CONSUMED_RETRY.0, now);
    }

    /// The member has left.
    fn left(&mut self) {
        self.leaving = Leaving::Done;
        match self.member.classic {
            // The broker gives the next one its identity.
            Some(_) => self.member = Member::new(),
            None => self.member.epoch = 0,
        }
        self.unsaved = true;
    }
}

/// What the user of a consumer in a group is to do.
impl Consumer {
    /// What the member is, if that is to be saved before anything more is said; then call
    /// [`Self::member_saved`].
    pub(in crate::proto::kafka) fn member_to_save(&self) -> Option<&Member> {
        self.group.as_ref().filter(|group| group.unsaved).map(|group| &group.member)
    }

    /// It is.
    pub(in crate::proto::kafka) fn member_saved(&mut self) {
        if let Some(group) = &mut self.group {
            group.unsaved = false;
        }
    }

    /// Whether it is a member of a group.
    pub(in crate::proto::kafka) fn is_in_group(&self) -> bool {
        self.group.is_some()
    }

    /// Whether all that was handed over up to now is to become durable, for the sake of partitions
    /// that are given back; then call [`Self::drained`]. Each is told once.
    pub(in crate::proto::kafka) fn take_drain(&mut self) -> Vec<Place> {
        let Some(group) = &mut self.group else { return Vec::new() };
        let parts = &self.parts;
        let known = |place: &Place| {
            !matches!(
                parts.get(place).map(|p| p.phase),
                Some(Phase::Unknown | Phase::Asked | Phase::Stored(_))
            )
        };
        let ready = group
            .draining
            .iter_mut()
            .filter(|(place, drain)| **drain == Drain::Waiting(false) && known(place));
        ready
            .map(|(place, drain)| {
                *drain = Drain::Waiting(true);
                place.clone()
            })
            .collect()
    }

    /// It is durable; or it is not to be known, and is to be told again.
    pub(in crate::proto::kafka) fn drained(&mut self, places: &[Place], is_durable: bool) {
        let Some(group) = &mut self.group else { return };
        for place in places {
            let Some(drain) = group.draining.get_mut(place) else { continue };
            *drain = match self.parts.get(place) {
                _ if !is_durable => Drain::Waiting(false),
                Some(part) if part.phase == Phase::Reading => Drain::Durable(part.next),
                // Nothing of it was handed over.
                _ => Drain::Durable(-1),
            };
            if let Drain::Durable(offset @ 0..) = drain {
                group.stored.insert(place.clone(), *offset);
            }
            group.commit_at = Mono::default();
        }
    }

    /// Lines of this origin are done with up to `next`.
    pub(in crate::proto::kafka) fn stored(&mut self, origin: Identity, next: u64) {
        let Some(group) = &mut self.group else { return };
        let found = self.parts.iter().find(|(_, part)| part.origin == origin);
        if let (Some((place, _)), Ok(next)) = (found, i64::try_from(next)) {
            let stored = group.stored.entry(place.clone()).or_insert(next);
            *stored = next.max(*stored);
        }
    }

    /// The member is to leave: everything is drained, committed and given back.
    pub(in crate::proto::kafka) fn leave(&mut self) {
        let Some(group) = &mut self.group else { return };
        if group.leaving == Leaving::No {
            let joins = group.member.classic.is_some() && !group.member.id.is_empty();
            let is_member = group.member.epoch > 0 || joins;
            group.leaving = if is_member { Leaving::Wanted } else { Leaving::Done };
            group.target = Some(BTreeSet::new());
        }
    }

    /// Whether it has left.
    pub(in crate::proto::kafka) fn has_left(&self) -> bool {
        self.group.as_ref().is_none_or(|group| group.leaving == Leaving::Done)
    }

    /// The partitions that the member owns, of topics whose identity is known.
    pub(super) fn owned_places(&self) -> Option<BTreeSet<Place>> {
        let group = self.group.as_ref()?;
        Some(group.member.owned.iter().filter_map(|o| Group::place_of(&self.topics, o)).collect())
    }
}

impl Consumer {
    /// Does what the membership needs.
    pub(super) fn advance_group(&mut self, now: Mono) {
        if self.group.is_none() {
            return;
        }
        self.reconcile(now);
        let Some(group) = &mut self.group else { return };
        if now < group.retry_at {
            return;
        }
        if !group.found {
            return self.find_coordinator(now);
        }
        if !self.cluster.takes(COORDINATOR, now) {
            if self.cluster.has_failed(COORDINATOR, now) {
                // Its place may be another broker's now.
                group.found = false;
                return group.failed(None, now);
            }
            return self.cluster.connect(COORDINATOR, now);
        }
        if self.classic.is_none() {
            self.beat(now);
        } else if !self.advance_classic(now) {
            return;
        }
        self.ask_committed(now);
        self.commit(now);
    }

    fn find_coordinator(&mut self, now: Mono) {
        let Some(group) = &mut self.group else { return };
        if group.finding {
            return;
        }
        let Some(broker) = self.cluster.ready() else { return self.cluster.connect_any(now) };
        if !self.cluster.takes(broker, now) {
            return;
        }
        let Some(version) = self.cluster.version(broker, group::FIND, now) else {
            return group.failed(Some(too_old("FindCoordinator")), now);
        };
        group.finding = true;
        self.cluster.send(broker, (group::FIND, version), Ask::Coordinator, now, |writer| {
            group::write_find(writer, &group.name);
        });
    }

    /// Moves towards what the group wants the member to own.
    fn reconcile(&mut self, now: Mono) {
        let Some(group) = &mut self.group else { return };
        let Some(target) = group.target.clone() else { return };
        let back: Vec<_> = group.member.owned.difference(&target).copied().collect();
        // One that comes back before it was given back goes on where it was.
        let of_back = |place: &Place| {
            back.iter().any(|o| Group::place_of(&self.topics, o).as_ref() == Some(place))
        };
        let kept: Vec<_> = group.draining.keys().filter(|p| !of_back(p)).cloned().collect();
        for place in kept {
            group.draining.remove(&place);
            if let Some(part) = self.parts.get_mut(&place) {
                part.stopped = false;
            }
        }
        for owned in &back {
            let Some(place) = Group::place_of(&self.topics, owned) else {
                if self.topics.len() < self.setup.topics.len() {
                    // Which topic it is of is not known yet.
                    return;
                }
                // Of a topic that is gone, or of none of ours.
                group.member.owned.remove(owned);
                group.unsaved = true;
                continue;
            };
            if let Some(part) = self.parts.get_mut(&place) {
                part.stop();
            }
            let drain = group.draining.entry(place.clone()).or_insert(Drain::Waiting(false));
            let Drain::Durable(offset) = *drain else { continue };
            if offset < 0 || group.committed.get(&place) == Some(&offset) {
                group.member.owned.remove(owned);
                group.unsaved = true;
                group.beat_at = now;
                group.draining.remove(&place);
                group.stored.remove(&place);
                group.committed.remove(&place);
                group.noted.remove(&place);
                self.parts.remove(&place);
            }
        }
        if !group.member.owned.is_subset(&target) {
            return;
        }
        if group.member.owned != target {
            group.member.owned = target;
            group.unsaved = true;
            group.beat_at = now;
        }
        group.target = None;
        self.take_metadata();
    }
}

/// What the coordinator answers.
impl Consumer {
    /// An answer about the group has come; what is malformed is said.
    pub(super) fn group_answered(
        &mut self,
        ask: &Ask,
        (api, version): (Api, i16),
        body: &mut Reader,
        now: Mono,
    ) -> Result<(), String> {
        let text = |error: crate::proto::kafka::wire::Malformed| format!("{}: {error}", api.name);
        match ask {
            Ask::Coordinator => {
                let found = group::read_find(body).map_err(text)?;
                self.coordinator_found(found, now);
            }
            Ask::Beat => {
                let beaten = group::read_beat(body).map_err(text)?;
                self.beaten(beaten, now);
            }
            Ask::Join | Ask::Sync | Ask::There | Ask::Leave => {
                let answered = self.classic_answered(ask, version, body, now);
                answered.map_err(|error| format!("{}: {error}", api.name))?;
            }
            Ask::Commit(committed) => {
                let parts = group::read_commit(body, version).map_err(text)?;
                self.committed(committed, &parts, now);
            }
            _ => {
                let (error, parts) = group::read_offsets(body, version).map_err(text)?;
                self.offsets_known(error, &parts, now);
            }
        }
        Ok(())
    }

    /// An answer about the group will not come.
    pub(super) fn group_lost(&mut self, ask: &Ask, now: Mono) {
        let Some(group) = &mut self.group else { return };
        match ask {
            Ask::Coordinator => group.finding = false,
            Ask::Beat | Ask::There | Ask::Leave => {
                group.beating = false;
                group.beat_at = now;
                if group.leaving == Leaving::Said {
                    group.leaving = Leaving::Done;
                }
            }
            Ask::Join | Ask::Sync => {}
            Ask::Commit(_) => group.committing = false,
            _ => group.asking = false,
        }
        // Its place may be another broker's now.
        group.found = false;
        group.failed(None, now);
        self.classic_lost(ask);
    }

    fn coordinator_found(&mut self, (error, host, port): (i16, String, i32), now: Mono) {
        let Some(group) = &mut self.group else { return };
        group.finding = false;
        if error != errors::NONE {
            return group.refused(error, None, now);
        }
        match u16::try_from(port) {
            Ok(port @ 1..) => {
                group.found = true;
                self.cluster.coordinate(host, port, now);
            }
            _ => group.refused(15, None, now),
        }
    }

    /// The group has given the partitions to others: nothing of them is handed over any more.
    fn fenced(&mut self, error: i16, now: Mono) {
        let Some(group) = &mut self.group else { return };
        if group.member.epoch > 0 {
            let in_time =
                group.heard > Mono::default() && now.since(group.heard) < group.interval * 3;
            let why = match in_time {
                true => {
                    "although it was heard in time: it took too long to give partitions back, \
                         or somebody removed it"
                }
                false => "which was away for longer than the session time-out",
            };
            log::warn!(
                "{}: group {} has gone on without this member, {why} ({}); it joins again, and \
                 lines whose offsets were not committed may come twice",
                self.setup.name,
                group.name,
                errors::describe(error)
            );
        }
        self.begin_anew(now);
    }

    /// The member is none any more: nothing that was of the group holds.
    pub(super) fn begin_anew(&mut self, now: Mono) {
        let Some(group) = &mut self.group else { return };
        if self.classic.take().is_some() {
            group.member = Member::new();
        }
        group.member.epoch = 0;
        group.member.owned.clear();
        group.unsaved = true;
        (group.target, group.beat_at, group.stranger) = (None, now, None);
        group.draining.clear();
        group.stored.clear();
        group.committed.clear();
        group.noted.clear();
        self.parts.clear();
        if group.leaving != Leaving::No {
            group.leaving = Leaving::Done;
        }
        group.failed(None, now);
    }
}

impl Part {
    /// Nothing more of it is handed over.
    fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopped, true) {
            self.forget();
            self.flight = None;
        }
    }
}
