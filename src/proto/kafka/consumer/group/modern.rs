//! Membership where the group itself shares partitions out (KIP-848): it says by its answers to
//! heartbeats what the member is to own.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Group, Leaving};
use crate::clock::Mono;
use crate::limits::{CONSUMED_RETRY, GROUP_BEAT, GROUP_PATIENCE};
use crate::proto::kafka::cluster::COORDINATOR;
use crate::proto::kafka::consumer::{Ask, Consumer};
use crate::proto::kafka::messages::errors;
use crate::proto::kafka::messages::group::{self, Beat, Beaten};
use crate::proto::kafka::wire::Uuid;

/// The group has gone on without the member.
const FENCED: &[i16] = &[25, 110];
/// The broker has no groups of this kind, or this one is of another kind and stays so.
const CLASSIC: &[i16] = &[errors::UNSUPPORTED_VERSION, 69];

impl Consumer {
    pub(super) fn beat(&mut self, now: Mono) {
        let Some(group) = &mut self.group else { return };
        if group.beating || group.unsaved || now < group.beat_at {
            return;
        }
        let epoch = match group.leaving {
            Leaving::No => group.member.epoch,
            Leaving::Wanted if group.member.owned.is_empty() => {
                group.leaving = Leaving::Said;
                -1
            }
            Leaving::Wanted => group.member.epoch,
            Leaving::Said | Leaving::Done => return,
        };
        let Some(version) = self.cluster.version(COORDINATOR, group::BEAT, now) else {
            return self.go_classic(now);
        };
        group.beating = true;
        group.beat_at = now + group.interval;
        let owned = group.owned();
        let topics: Vec<_> = self.setup.topics.iter().map(ToString::to_string).collect();
        let beat = Beat {
            group: &group.name,
            member: &group.member.id,
            epoch,
            patience: i32::try_from(GROUP_PATIENCE.as_millis()).unwrap_or(i32::MAX),
            topics: &topics,
            owned: &owned,
        };
        self.cluster.send(COORDINATOR, (group::BEAT, version), Ask::Beat, now, |writer| {
            group::write_beat(writer, version, &beat);
        });
    }

    pub(super) fn beaten(&mut self, beaten: Beaten, now: Mono) {
        let Some(group) = &mut self.group else { return };
        group.beating = false;
        if group.leaving == Leaving::Said {
            return group.left();
        }
        if FENCED.contains(&beaten.error) {
            return self.fenced(beaten.error, now);
        }
        if CLASSIC.contains(&beaten.error) {
            return self.go_classic(now);
        }
        if beaten.error != errors::NONE {
            group.beat_at = now;
            return group.refused(beaten.error, beaten.message.as_deref(), now);
        }
        group.heard_well(now);
        let interval = Duration::from_millis(u64::try_from(beaten.interval).unwrap_or(0));
        group.interval = interval.clamp(CONSUMED_RETRY.0, GROUP_BEAT * 20);
        group.beat_at = group.beat_at.min(now + group.interval);
        if group.member.epoch != beaten.epoch {
            group.member.epoch = beaten.epoch;
            group.unsaved = true;
        }
        if let Some(assigned) = beaten.assigned
            && group.leaving == Leaving::No
        {
            let each = |(topic, parts): (Uuid, Vec<i32>)| {
                parts.into_iter().map(move |index| (topic, index))
            };
            let target: BTreeSet<_> = assigned.into_iter().flat_map(each).collect();
            if target.iter().any(|o| Group::place_of(&self.topics, o).is_none()) {
                self.cluster.refresh();
            }
            group.target = Some(target);
        }
        self.still_member(now);
    }
}
