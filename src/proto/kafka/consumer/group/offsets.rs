//! What the group has committed of the partitions of a member, and what the member commits.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::note;
use crate::clock::Mono;
use crate::limits::COMMIT_EVERY;
use crate::proto::kafka::cluster::COORDINATOR;
use crate::proto::kafka::consumer::part::{Locate, Phase};
use crate::proto::kafka::consumer::{Ask, Consumer, Place, too_old};
use crate::proto::kafka::messages::errors;
use crate::proto::kafka::messages::group::{self, Committed};
use crate::proto::kafka::messages::offsets::EARLIEST;
use crate::proto::kafka::wire::Uuid;

impl Consumer {
    /// Asks for the committed offsets of partitions whose place in the spools is known.
    pub(super) fn ask_committed(&mut self, now: Mono) {
        if self.group.as_ref().is_none_or(|group| group.asking || now < group.ask_at) {
            return;
        }
        let watched = self.take_due(now);
        let Some(group) = &mut self.group else { return };
        let topics: BTreeSet<_> = self
            .parts
            .iter()
            .filter(|(_, part)| {
                matches!(part.phase, Phase::Stored(_)) && part.doubted != Some(self.told)
            })
            .map(|((topic, _), _)| Arc::clone(topic))
            .chain(watched)
            .collect();
        if topics.is_empty() {
            return;
        }
        let Some(version) = self.cluster.version(COORDINATOR, group::OFFSETS, now) else {
            return group.failed(Some(too_old("OffsetFetch")), now);
        };
        let all: Vec<(String, Vec<i32>)> = topics
            .iter()
            .map(|topic| {
                let count = self.cluster.topic(topic).map_or(0, |view| view.leaders.len());
                (topic.to_string(), (0..i32::try_from(count).unwrap_or(0)).collect())
            })
            .collect();
        group.asking = true;
        self.cluster.send(COORDINATOR, (group::OFFSETS, version), Ask::Committed, now, |writer| {
            group::write_offsets(writer, version, &group.name, &all);
        });
    }

    pub(super) fn commit(&mut self, now: Mono) {
        let Some(group) = &mut self.group else { return };
        if group.committing || now < group.commit_at || group.member.epoch == 0 {
            return;
        }
        let id_of = |topic: &Arc<str>| self.topics.get(topic).copied().unwrap_or_default();
        let uncommitted: Vec<_> = group
            .stored
            .iter()
            .filter(|(place, stored)| group.committed.get(*place) != Some(stored))
            .map(|(place, stored)| (place.clone(), id_of(&place.0), *stored))
            .collect();
        if uncommitted.is_empty() {
            return;
        }
        let Some(version) = self.cluster.version(COORDINATOR, group::COMMIT, now) else {
            return group.failed(Some(too_old("OffsetCommit")), now);
        };
        group.committing = true;
        group.commit_at = now + COMMIT_EVERY;
        let mut topics: Vec<group::Offsets> = Vec::new();
        for ((topic, index), id, offset) in &uncommitted {
            match topics.last_mut().filter(|last| *last.topic == **topic) {
                Some(last) => last.parts.push((*index, *offset)),
                None => topics.push(group::Offsets {
                    topic: topic.to_string(),
                    note: note::write(&group.note, *id),
                    parts: vec![(*index, *offset)],
                }),
            }
        }
        let ask = Ask::Commit(uncommitted);
        let who = (group.name.as_str(), group.member.epoch, group.member.id.as_str());
        self.cluster.send(COORDINATOR, (group::COMMIT, version), ask, now, |writer| {
            group::write_commit(writer, version, who, &topics);
        });
    }
}

/// What the coordinator answers.
impl Consumer {
    pub(super) fn committed(
        &mut self,
        asked: &[(Place, Uuid, i64)],
        parts: &[(String, i32, i16)],
        now: Mono,
    ) {
        let Some(group) = &mut self.group else { return };
        group.committing = false;
        // What was committed for a topic that was made anew since is not known of the new one.
        let is_same = |(place, id, _): &&(Place, Uuid, i64)| {
            self.topics.get(&place.0).copied().unwrap_or_default() == *id
        };
        let mut worst = errors::NONE;
        let mut done = Vec::new();
        for (place, _, offset) in asked.iter().filter(is_same) {
            let is_it =
                |(topic, index, _): &&(String, i32, i16)| **topic == *place.0 && *index == place.1;
            match parts.iter().find(is_it) {
                Some((_, _, errors::NONE)) => {
                    group.committed.insert(place.clone(), *offset);
                    done.push(place);
                }
                Some((_, _, error)) => worst = *error,
                None => worst = errors::UNKNOWN_SERVER_ERROR,
            }
        }
        // The next heartbeat tells what a stale epoch means.
        match worst {
            errors::NONE => group.commit_error = None,
            22 | 25 | 27 | 82 | 110 | 113 => group.beat_at = now,
            error if group.passes(error) => group.refused(error, None, now),
            // It is tried again with the next offsets. The topic may be gone, or another one.
            error => {
                group.commit_error = Some(group.describe(error));
                self.cluster.refresh();
            }
        }
        done.into_iter().for_each(|place| self.noted(place));
    }

    pub(super) fn offsets_known(&mut self, error: i16, parts: &[Committed], now: Mono) {
        let Some(group) = &mut self.group else { return };
        group.asking = false;
        let error = parts.iter().map(|part| part.error).find(|e| *e != 0).unwrap_or(error);
        if error != errors::NONE && group.passes(error) {
            return group.refused(error, None, now);
        }
        if error != errors::NONE {
            group.ask_at = now + COMMIT_EVERY;
            group.ask_error = Some(group.describe(error));
            return;
        }
        group.ask_error = None;
        self.watch(parts, now);
        let Some(group) = &mut self.group else { return };
        let mut anew = BTreeSet::new();
        for (place, part) in &mut self.parts {
            let Phase::Stored(stored) = part.phase else { continue };
            let id = self.topics.get(&place.0).copied().unwrap_or_default();
            let is_ours = |one: &&Committed| !note::is_of_another(one.note.as_deref(), id);
            let of_topic = || parts.iter().filter(|one| *one.topic == *place.0);
            let Some(one) = of_topic().find(|one| one.index == place.1) else { continue };
            let mut committed = one.offset;
            if committed >= 0 && !is_ours(&one) {
                // It may be we who do not know the present topic yet.
                if *part.doubted.get_or_insert(self.told) == self.told {
                    self.cluster.refresh();
                    continue;
                }
                if stored.is_none() {
                    anew.insert(Arc::clone(&place.0));
                }
                committed = -1;
            }
            if committed >= 0 {
                group.committed.insert(place.clone(), committed);
            }
            match stored.unwrap_or(-1).max(committed) {
                next @ 0.. => {
                    part.read_from(next, None);
                    // What the spools have is committed before anything else happens.
                    group.stored.insert(place.clone(), next);
                    group.commit_at = now;
                }
                _ => {
                    let is_known = of_topic().filter(is_ours).any(|one| one.offset >= 0)
                        || self.anew.contains(&place.0)
                        || anew.contains(&place.0);
                    let time = if is_known { EARLIEST } else { self.setup.begin.time() };
                    part.phase = Phase::Locate(Locate::Start(time));
                }
            }
        }
        for topic in anew {
            if !self.anew.contains(&topic) {
                self.made_anew(&topic);
            }
        }
    }

    /// A topic was made anew: what is stored and committed of it was of the former one.
    pub(in crate::proto::kafka::consumer) fn group_forgets(&mut self, topic: &Arc<str>) {
        let Some(group) = &mut self.group else { return };
        group.stored.retain(|(of, _), _| of != topic);
        group.committed.retain(|(of, _), _| of != topic);
        group.noted.retain(|(of, _)| of != topic);
    }

    /// Reading of a partition began here: that is how far it is stored.
    pub(in crate::proto::kafka::consumer) fn group_begun(&mut self, place: &Place, offset: i64) {
        if let Some(group) = &mut self.group {
            group.stored.insert(place.clone(), offset);
        }
    }
}
