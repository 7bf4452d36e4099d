//! Membership where the members share partitions out among themselves: Kafka before 4.0, brokers
//! that only look like Kafka, and groups that have members which cannot do otherwise.
//!
//! The broker brings a group together: all join (`JoinGroup`), the one that it chose as the leader
//! says what each is to have (`SyncGroup`), all hear it, and heartbeats go on from there. That is a
//! *generation* of the group; it ends when a member comes or goes, and what it committed after that
//! is refused. In between heartbeats are answered by `REBALANCE_IN_PROGRESS`, and whoever does not
//! join again within a time is out.
//!
//! Which way of sharing is used is the group's: the first one that all its members offer.
//!
//! - By `cooperative-sticky` a member goes on reading, joins again at once and says what it has.
//!   What its new share does not have it drains, commits and gives back, and joins again, so that
//!   the next round gives it to somebody.
//! - By `range` what one member has may be another's in the next generation. So all is drained,
//!   committed and given back before the member joins again; the broker waits, and heartbeats go
//!   on. What is committed until then counts as the former generation's.
//!
//! Both are offered by one that owns nothing. One that owns something by `cooperative-sticky`
//! offers that alone, or a newcomer that only knows `range` would be given what is not given back.
//! If the broker refuses that, as the newcomer is already let in (`INCONSISTENT_GROUP_PROTOCOL`),
//! the member gives everything back and then offers both.
//!
//! A member that was killed goes on under its identity and its generation, as if nothing had been:
//! it asks for its share of that generation again. So it needs no `group.instance.id`, which would
//! only keep the partitions of a host that is gone from the others. One that was killed between the
//! two requests, or whose answer was lost, is a generation behind. Its partitions are nobody
//! else's yet: it joins again and says that it has them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::assignor::Assignor;
use super::{Group, Leaving};
use crate::clock::Mono;
use crate::limits::{GROUP_BEAT, GROUP_PATIENCE, GROUP_SESSION, GROUP_TOPICS};
use crate::proto::kafka::cluster::COORDINATOR;
use crate::proto::kafka::consumer::member::{Kept, Member};
use crate::proto::kafka::consumer::{Ask, Consumer, too_old};
use crate::proto::kafka::messages::classic::{self, Join, Joined};
use crate::proto::kafka::messages::errors;
use crate::proto::kafka::messages::subscription::{self, Parts, Subscription};
use crate::proto::kafka::wire::{Malformed, Reader};

/// What is known of the present generation.
#[derive(Debug)]
pub(in crate::proto::kafka::consumer) struct Classic {
    stage: Stage,
    /// Whether it was a member of a generation when it asked to join.
    was_member: bool,
    generation: i32,
    /// The way that the present generation shares partitions out, once it is known.
    assignor: Option<Assignor>,
    /// The group comes together again, or is to.
    rejoin: bool,
    /// Everything is given back before the member joins again.
    gives_all: bool,
    /// Once what is too much is given back, the member joins again.
    follows: bool,
    /// It was killed before it could do that.
    resumes: bool,
    /// What the member is to have, by the names of topics; and whether that was not looked at.
    share: Parts,
    fresh: bool,
    /// All members, until the leader has shared out; and when it does not wait for topics any more.
    members: Option<Vec<(String, Subscription)>>,
    share_by: Mono,
    /// How many partitions there were when this member last shared out as the leader.
    counts: BTreeMap<String, i32>,
    session: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is no member of the present generation.
    Out,
    Joining,
    /// It is to ask for its share.
    Joined,
    Syncing,
    Stable,
}

/// The group has gone on without the member, or another process uses its identity.
const FENCED: &[i16] = &[25, 82];
/// The group comes together again.
const REBALANCE: i16 = 27;
const ILLEGAL_GENERATION: i16 = 22;
const INCONSISTENT_PROTOCOL: i16 = 23;
const INVALID_SESSION: i16 = 26;
const MEMBER_ID_REQUIRED: i16 = 79;
const GROUP_ID_NOT_FOUND: i16 = 69;

impl Classic {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Out,
            was_member: false,
            generation: 0,
            assignor: None,
            rejoin: false,
            gives_all: false,
            follows: false,
            resumes: false,
            share: Parts::new(),
            fresh: false,
            members: None,
            share_by: Mono::default(),
            counts: BTreeMap::new(),
            session: GROUP_SESSION.0,
        }
    }

    /// As it was when it was saved.
    pub(in crate::proto::kafka::consumer) fn resumed(member: &Member, kept: &Kept) -> Self {
        let is_member = member.epoch > 0 && kept.assignor.is_some();
        Self {
            // The group says again what the member's share is, if there is no newer one.
            stage: if is_member { Stage::Joined } else { Stage::Out },
            generation: member.epoch,
            assignor: kept.assignor,
            resumes: kept.again,
            counts: kept.counts.clone(),
            ..Self::new()
        }
    }

    /// When the leader does not wait for topics any more.
    pub(in crate::proto::kafka::consumer) fn deadline(&self) -> Option<Mono> {
        (self.stage == Stage::Joined && self.members.is_some()).then_some(self.share_by)
    }

    /// Topics have changed: what the share names may be known now.
    pub(in crate::proto::kafka::consumer) fn topics_changed(&mut self) {
        self.fresh = true;
    }

    /// The group comes together again.
    fn rejoin(&mut self) {
        self.rejoin = true;
        self.gives_all |= self.assignor != Some(Assignor::Cooperative);
    }

    /// The member is of no generation that is known.
    fn out(&mut self) {
        self.stage = Stage::Out;
        self.gives_all |= self.assignor != Some(Assignor::Cooperative);
    }

    /// There is no answer to the question for the share. That of the generation that was saved can
    /// be asked for again; of another one the leader has to share out again.
    fn not_synced(&mut self, saved: i32) {
        match self.generation == saved {
            true => self.stage = Stage::Joined,
            false => self.out(),
        }
    }

    /// There is no answer to the request to join, or a refusal. Heartbeats tell how it stands.
    fn not_joined(&mut self) {
        self.stage = if self.was_member { Stage::Stable } else { Stage::Out };
        self.rejoin = true;
    }
}

/// What a member in such a group does.
impl Consumer {
    /// Members share partitions out among themselves, as the broker does not.
    pub(super) fn go_classic(&mut self, now: Mono) {
        let Some(group) = &mut self.group else { return };
        if group.member.epoch > 0 {
            // It was a member of a group of the other kind.
            return self.fenced(GROUP_ID_NOT_FOUND, now);
        }
        log::info!(
            "{}: group {}: the brokers leave sharing partitions out to the members (the classic \
             protocol)",
            self.setup.name,
            group.name
        );
        let classic = Some(Kept::default());
        group.member = Member { id: String::new(), epoch: 0, owned: BTreeSet::new(), classic };
        (group.unsaved, group.beat_at, group.interval) = (true, now, GROUP_BEAT);
        self.classic = Some(Box::new(Classic::new()));
    }

    /// Does what the membership needs; whether other requests may be sent.
    pub(super) fn advance_classic(&mut self, now: Mono) -> bool {
        if self.classic.as_ref().is_some_and(|classic| classic.fresh) {
            self.take_share();
        }
        let (Some(group), Some(classic)) = (&mut self.group, &mut self.classic) else {
            return false;
        };
        if classic.follows && group.target.is_none() {
            classic.follows = false;
            classic.rejoin();
        }
        let leaves = group.leaving != Leaving::No;
        match classic.stage {
            Stage::Joining | Stage::Syncing => {}
            Stage::Joined => self.sync(now),
            _ if leaves && group.member.owned.is_empty() => self.say_leave(now),
            Stage::Out => self.join(now),
            Stage::Stable if classic.rejoin && !leaves => match self.may_join(now) {
                true => self.join(now),
                false => self.say_there(now),
            },
            Stage::Stable => self.say_there(now),
        }
        self.classic.as_ref().is_some_and(|classic| classic.stage == Stage::Stable)
    }

    /// Looks at what the member is to have, as topics are known now.
    fn take_share(&mut self) {
        let (Some(group), Some(classic)) = (&mut self.group, &mut self.classic) else { return };
        if group.leaving != Leaving::No || classic.stage != Stage::Stable || classic.gives_all {
            return;
        }
        let is_unknown = |topic: &String| {
            let is_read = self.setup.topics.iter().any(|of| **of == **topic);
            is_read && self.cluster.topic(topic).is_none()
        };
        if classic.share.iter().any(|(topic, _)| is_unknown(topic)) {
            // The brokers have not said yet what it is.
            return;
        }
        classic.fresh = false;
        let grown = |(topic, count): (&String, &i32)| {
            self.cluster.topic(topic).is_some_and(|view| {
                !view.leaders.is_empty() && i32::try_from(view.leaders.len()) != Ok(*count)
            })
        };
        if classic.counts.iter().any(grown) {
            classic.rejoin();
        }
        let mut target = BTreeSet::new();
        for (topic, parts) in &classic.share {
            match self.topics.get(topic.as_str()) {
                Some(id) => {
                    let key = Group::key_of(topic, *id);
                    target.extend(parts.iter().map(|index| (key, *index)));
                }
                None if self.setup.topics.iter().any(|of| **of == **topic) => {
                    self.cluster.refresh();
                }
                None => {}
            }
        }
        if target != group.member.owned || group.target.is_some() {
            if !group.member.owned.is_subset(&target) {
                classic.follows = true;
                group.member.classic.iter_mut().for_each(|kept| kept.again = true);
            }
            group.target = Some(target);
        }
    }

    /// Whether everything is given back that is to be before the member joins again.
    fn may_join(&mut self, now: Mono) -> bool {
        let (Some(group), Some(classic)) = (&mut self.group, &mut self.classic) else {
            return false;
        };
        if !classic.gives_all || group.member.owned.is_empty() {
            return !group.unsaved;
        }
        if group.target.as_ref().is_none_or(|target| !target.is_empty()) {
            group.target = Some(BTreeSet::new());
            classic.follows = false;
            self.reconcile(now);
        }
        false
    }

    fn join(&mut self, now: Mono) {
        let (Some(group), Some(classic)) = (&mut self.group, &mut self.classic) else { return };
        if group.unsaved {
            return;
        }
        let owns = !group.member.owned.is_empty();
        if owns && classic.gives_all {
            // Its generation is over before it could commit.
            return self.fenced(ILLEGAL_GENERATION, now);
        }
        let Some(version) = self.cluster.version(COORDINATOR, classic::JOIN, now) else {
            return group.failed(Some(too_old("JoinGroup")), now);
        };
        let mut owned: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for of in &group.member.owned {
            if let Some((topic, index)) = Group::place_of(&self.topics, of) {
                owned.entry(topic.to_string()).or_default().push(index);
            }
        }
        let metadata = subscription::write(&Subscription {
            topics: self.setup.topics.iter().map(ToString::to_string).collect(),
            owned: owned.into_iter().collect(),
            generation: if owns { group.member.epoch } else { -1 },
        });
        let offers =
            [Assignor::Cooperative, Assignor::Range].map(|one| (one.name(), metadata.clone()));
        classic.was_member = classic.stage == Stage::Stable;
        classic.stage = Stage::Joining;
        let join = Join {
            group: &group.name,
            session: millis(classic.session),
            patience: millis(GROUP_PATIENCE),
            member: &group.member.id,
            offers: if owns { &offers[..1] } else { &offers },
        };
        self.cluster.send(COORDINATOR, (classic::JOIN, version), Ask::Join, now, |writer| {
            classic::write_join(writer, version, &join);
        });
    }

    /// Asks for the member's share. The leader shares out, once it knows the topics of all.
    fn sync(&mut self, now: Mono) {
        let (Some(group), Some(classic)) = (&mut self.group, &mut self.classic) else { return };
        let mut counts = BTreeMap::new();
        for topic in classic.members.iter().flatten().flat_map(|(_, member)| &member.topics) {
            let count = self.cluster.topic(topic).map(|view| view.leaders.len());
            counts.insert(topic.clone(), count.map(|n| i32::try_from(n).unwrap_or(i32::MAX)));
            if count.is_none() {
                self.cluster.want(topic);
            }
        }
        if counts.values().any(Option::is_none) && now < classic.share_by {
            return;
        }
        let Some(version) = self.cluster.version(COORDINATOR, classic::SYNC, now) else {
            return group.failed(Some(too_old("SyncGroup")), now);
        };
        let members = classic.members.take();
        if members.is_some() {
            let counts = counts.into_iter().map(|(topic, n)| (topic, n.unwrap_or(0)));
            classic.counts = counts.collect();
        }
        let members = members.unwrap_or_default();
        let assignor = classic.assignor.unwrap_or(Assignor::Range);
        let shares = assignor.share(&members, &classic.counts);
        let shares: Vec<(String, Vec<u8>)> = members
            .into_iter()
            .zip(shares)
            .map(|((id, _), share)| (id, subscription::write_share(&share)))
            .collect();
        classic.stage = Stage::Syncing;
        let who = (group.name.as_str(), classic.generation, group.member.id.as_str());
        self.cluster.send(COORDINATOR, (classic::SYNC, version), Ask::Sync, now, |writer| {
            classic::write_sync(writer, version, who, &shares);
        });
    }

    /// The heartbeat.
    fn say_there(&mut self, now: Mono) {
        let Some(group) = &mut self.group else { return };
        if group.beating || group.unsaved || now < group.beat_at {
            return;
        }
        let Some(version) = self.cluster.version(COORDINATOR, classic::BEAT, now) else {
            return group.failed(Some(too_old("Heartbeat")), now);
        };
        group.beating = true;
        group.beat_at = now + group.interval;
        let who = (group.name.as_str(), group.member.epoch, group.member.id.as_str());
        self.cluster.send(COORDINATOR, (classic::BEAT, version), Ask::There, now, |writer| {
            classic::write_beat(writer, version, who);
        });
    }

    fn say_leave(&mut self, now: Mono) {
        let Some(group) = &mut self.group else { return };
        if group.leaving != Leaving::Wanted {
            return;
        }
        let version = self.cluster.version(COORDINATOR, classic::LEAVE, now);
        let Some(version) = version.filter(|_| !group.member.id.is_empty()) else {
            return group.left();
        };
        group.leaving = Leaving::Said;
        let (name, id) = (group.name.as_str(), group.member.id.as_str());
        self.cluster.send(COORDINATOR, (classic::LEAVE, version), Ask::Leave, now, |writer| {
            classic::write_leave(writer, version, name, id);
        });
    }
}

/// What the coordinator answers.
impl Consumer {
    pub(super) fn classic_answered(
        &mut self,
        ask: &Ask,
        version: i16,
        body: &mut Reader,
        now: Mono,
    ) -> Result<(), String> {
        let text = |error: Malformed| error.to_string();
        match ask {
            Ask::Join => {
                let joined = classic::read_join(body, version).map_err(text)?;
                self.joined(joined, now)
            }
            Ask::Sync => {
                let (error, share) = classic::read_sync(body).map_err(text)?;
                self.synced(error, share, now)
            }
            Ask::There => {
                let error = classic::read_beat(body).map_err(text)?;
                self.heard(error, now);
                Ok(())
            }
            _ => {
                if let Some(group) = &mut self.group {
                    group.left();
                }
                Ok(())
            }
        }
    }

    /// The answer will not come.
    pub(super) fn classic_lost(&mut self, ask: &Ask) {
        let (Some(group), Some(classic)) = (&self.group, &mut self.classic) else { return };
        match ask {
            Ask::Join => classic.not_joined(),
            Ask::Sync => classic.not_synced(group.member.epoch),
            _ => {}
        }
    }

    fn joined(&mut self, joined: Joined, now: Mono) -> Result<(), String> {
        let (Some(group), Some(classic)) = (&mut self.group, &mut self.classic) else {
            return Ok(());
        };
        let owns = !group.member.owned.is_empty();
        if joined.error != errors::NONE {
            classic.not_joined();
        }
        match joined.error {
            errors::NONE => {}
            MEMBER_ID_REQUIRED => {
                (group.member.id, group.unsaved) = (joined.member, true);
                return Ok(());
            }
            INVALID_SESSION if classic.session > GROUP_SESSION.1 => {
                classic.session = GROUP_SESSION.1;
                return Ok(());
            }
            // Somebody was let in who only knows ranges.
            INCONSISTENT_PROTOCOL if owns => {
                classic.gives_all = true;
                return Ok(());
            }
            error if FENCED.contains(&error) => {
                self.fenced(error, now);
                return Ok(());
            }
            error => {
                group.refused(error, None, now);
                return Ok(());
            }
        }
        let assignor = Assignor::of(&joined.protocol);
        let Some(assignor) = assignor.filter(|one| *one == Assignor::Cooperative || !owns) else {
            return Err(format!("the broker chose {:?}, which was not offered", joined.protocol));
        };
        // All is well once it has its share.
        group.heard = now;
        group.unsaved |= group.member.id != joined.member;
        classic.counts.clear();
        classic.members = (joined.leader == joined.member).then(|| {
            let read = |(id, bytes)| (id, subscription::read(bytes).unwrap_or_default());
            joined.members.into_iter().map(read).collect()
        });
        group.member.id = joined.member;
        (classic.generation, classic.assignor) = (joined.generation, Some(assignor));
        (classic.rejoin, classic.gives_all, classic.follows) = (false, false, false);
        classic.resumes = false;
        (classic.stage, classic.share_by) = (Stage::Joined, now + GROUP_TOPICS);
        Ok(())
    }

    fn synced(&mut self, error: i16, share: Bytes, now: Mono) -> Result<(), String> {
        let (Some(group), Some(classic)) = (&mut self.group, &mut self.classic) else {
            return Ok(());
        };
        match error {
            errors::NONE => {
                let share = subscription::read_share(share).map_err(|error| error.to_string())?;
                let (assignor, again) = (classic.assignor, std::mem::take(&mut classic.resumes));
                let counts = classic.counts.clone();
                group.member.classic = Some(Kept { assignor, again, counts });
                (group.member.epoch, group.unsaved) = (classic.generation, true);
                (group.beat_at, group.commit_at) = (now + group.interval, now);
                (classic.share, classic.fresh) = (share, true);
                classic.stage = Stage::Stable;
                if again {
                    classic.rejoin();
                }
                group.heard_well(now);
            }
            error if FENCED.contains(&error) => self.fenced(error, now),
            // The former generation, in which it can still commit.
            REBALANCE if classic.generation == group.member.epoch => {
                classic.stage = Stage::Stable;
                classic.rejoin();
            }
            REBALANCE | ILLEGAL_GENERATION => classic.out(),
            error => {
                classic.not_synced(group.member.epoch);
                group.refused(error, None, now);
            }
        }
        Ok(())
    }

    /// The answer to a heartbeat.
    fn heard(&mut self, error: i16, now: Mono) {
        let (Some(group), Some(classic)) = (&mut self.group, &mut self.classic) else { return };
        group.beating = false;
        if classic.stage != Stage::Stable {
            return;
        }
        match error {
            errors::NONE => {
                group.heard_well(now);
                self.still_member(now);
            }
            REBALANCE => {
                group.heard_well(now);
                classic.rejoin();
            }
            ILLEGAL_GENERATION
                if group.member.owned.is_empty()
                    || classic.assignor == Some(Assignor::Cooperative) =>
            {
                classic.out();
            }
            error if error == ILLEGAL_GENERATION || FENCED.contains(&error) => {
                self.fenced(error, now);
            }
            error => {
                group.beat_at = now;
                group.refused(error, None, now);
            }
        }
    }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
