//! Members of a group before a coordinator that brings them together as Apache Kafka's classic one
//! does: requests to join wait until all have joined, and one connection is answered in order.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, OffsetCommitRequest, SyncGroupRequest, SyncGroupResponse,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::group::{Host, PARTS, play, step, there};
use super::*;

/// The coordinator of the group.
#[derive(Debug, Default)]
pub(super) struct Coordinator {
    state: State,
    generation: i32,
    members: BTreeMap<String, Known>,
    /// Identities that were given out.
    given: BTreeSet<String>,
    leader: String,
    protocol: String,
    /// What members of another program offer: nothing else can be chosen.
    others: Option<&'static str>,
    /// A member that says nothing for so long is out.
    session: Option<Duration>,
    now: Mono,
    /// How often each error was answered.
    errors: BTreeMap<i16, usize>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Empty,
    /// Until all have joined.
    Preparing,
    /// Until the leader has shared out.
    Completing,
    Stable,
}

#[derive(Debug, Default)]
struct Known {
    offers: Vec<(String, Bytes)>,
    joined: bool,
    share: Bytes,
    heard: Mono,
}

fn bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.into())
}

impl Coordinator {
    /// Time passes.
    fn tick(&mut self, now: Mono) {
        self.now = now;
        let Some(session) = self.session else { return };
        let preparing = self.state == State::Preparing;
        let is_out =
            |known: &Known| now.since(known.heard) > session && !(preparing && known.joined);
        let out: Vec<_> = self
            .members
            .iter()
            .filter(|(_, known)| is_out(known))
            .map(|(id, _)| id.clone())
            .collect();
        out.iter().for_each(|id| self.remove(id));
    }

    fn remove(&mut self, id: &str) {
        if self.members.remove(id).is_some() {
            self.prepare();
        }
    }

    /// The group comes together anew.
    fn prepare(&mut self) {
        if self.state != State::Preparing {
            self.members.values_mut().for_each(|known| known.joined = false);
        }
        self.state = if self.members.is_empty() { State::Empty } else { State::Preparing };
        self.complete();
    }

    /// What all members offer.
    fn common(&self, except: &str) -> Option<BTreeSet<String>> {
        let names = |known: &Known| known.offers.iter().map(|(name, _)| name.clone()).collect();
        let all = self.members.iter().filter(|(id, _)| *id != except);
        let all = all.map(|(_, known)| names(known));
        let others = self.others.map(|name| BTreeSet::from([name.to_string()]));
        all.chain(others).reduce(|a: BTreeSet<String>, b| a.intersection(&b).cloned().collect())
    }

    fn complete(&mut self) {
        if self.state != State::Preparing || !self.members.values().all(|known| known.joined) {
            return;
        }
        let common = self.common("").unwrap();
        let offers = self.members.values().next().unwrap().offers.iter();
        let chosen = offers.map(|(name, _)| name).find(|name| common.contains(*name));
        self.protocol.clone_from(chosen.expect("they have one in common"));
        if !self.members.contains_key(&self.leader) {
            self.leader.clone_from(self.members.keys().next().unwrap());
        }
        self.generation += 1;
        self.state = State::Completing;
        for known in self.members.values_mut() {
            (known.heard, known.share) = (self.now, Bytes::new());
        }
    }

    /// `odd` is an error that it answers with in any case.
    pub(super) fn answer(
        &mut self,
        (key, odd): (i16, i16),
        version: i16,
        body: &mut Bytes,
    ) -> Option<BytesMut> {
        let mut out = BytesMut::new();
        match key {
            11 if odd != 0 => {
                let answer = JoinGroupResponse::default().with_error_code(odd);
                answer.encode(&mut out, version).unwrap();
            }
            12 if odd != 0 => {
                let answer = HeartbeatResponse::default().with_error_code(odd);
                answer.encode(&mut out, version).unwrap();
            }
            14 if odd != 0 => {
                let answer = SyncGroupResponse::default().with_error_code(odd);
                answer.encode(&mut out, version).unwrap();
            }
            11 => {
                let asked = JoinGroupRequest::decode(body, version).unwrap();
                self.join(&asked, version)?.encode(&mut out, version).unwrap();
            }
            12 => {
                let asked = HeartbeatRequest::decode(body, version).unwrap();
                let error = match self.known(&asked.member_id, asked.generation_id) {
                    0 if self.state == State::Preparing => 27,
                    error => error,
                };
                let answer = HeartbeatResponse::default().with_error_code(self.said(error));
                answer.encode(&mut out, version).unwrap();
            }
            13 => {
                let asked = LeaveGroupRequest::decode(body, version).unwrap();
                self.remove(&asked.members[0].member_id);
                LeaveGroupResponse::default().encode(&mut out, version).unwrap();
            }
            _ => {
                let asked = SyncGroupRequest::decode(body, version).unwrap();
                self.sync(&asked)?.encode(&mut out, version).unwrap();
            }
        }
        Some(out)
    }

    /// Whether a member of this generation asks.
    fn known(&mut self, id: &str, generation: i32) -> i16 {
        let Some(known) = self.members.get_mut(id) else { return 25 };
        known.heard = self.now;
        if generation == self.generation { 0 } else { 22 }
    }

    fn said(&mut self, error: i16) -> i16 {
        *self.errors.entry(error).or_default() += 1;
        error
    }

    pub(super) fn may_commit(&mut self, asked: &OffsetCommitRequest) -> i16 {
        match self.known(&asked.member_id, asked.generation_id_or_member_epoch) {
            0 if self.state == State::Completing => 27,
            error => error,
        }
    }

    fn join(&mut self, asked: &JoinGroupRequest, version: i16) -> Option<JoinGroupResponse> {
        assert_eq!((version, asked.protocol_type.as_str()), (7, "consumer"));
        let id = asked.member_id.to_string();
        let refused = |error: i16| JoinGroupResponse::default().with_error_code(error);
        if id.is_empty() {
            let id = format!("logweir-{}", self.given.len());
            self.given.insert(id.clone());
            self.said(79);
            return Some(refused(79).with_member_id(bytes(&id)));
        }
        if !self.given.contains(&id) || asked.session_timeout_ms > 10_000 {
            let error = if self.given.contains(&id) { 26 } else { 25 };
            return Some(refused(self.said(error)).with_member_id(bytes(&id)));
        }
        let offers: Vec<_> = asked
            .protocols
            .iter()
            .map(|one| (one.name.to_string(), one.metadata.clone()))
            .collect();
        let common = self.common(&id);
        if common.is_some_and(|names| !offers.iter().any(|(name, _)| names.contains(name))) {
            return Some(refused(self.said(23)).with_member_id(bytes(&id)));
        }
        let again = self.members.get(&id).is_some_and(|known| known.offers == offers);
        let now = self.now;
        let known = self.members.entry(id.clone()).or_default();
        (known.offers, known.heard) = (offers, now);
        match self.state {
            // One that asks again hears the same again.
            State::Completing if again => {}
            State::Stable if again && id != self.leader => {}
            State::Preparing => {
                known.joined = true;
                self.complete();
            }
            _ => {
                self.prepare();
                self.members.get_mut(&id).unwrap().joined = true;
                self.complete();
            }
        }
        if self.state == State::Preparing {
            return None;
        }
        use m::join_group_response::JoinGroupResponseMember;
        let metadata = |known: &Known| {
            let mut offers = known.offers.iter();
            offers.find(|(name, _)| *name == self.protocol).unwrap().1.clone()
        };
        let member = |(id, known): (&String, &Known)| {
            let member = JoinGroupResponseMember::default().with_member_id(bytes(id));
            member.with_metadata(metadata(known))
        };
        let answer = JoinGroupResponse::default()
            .with_generation_id(self.generation)
            .with_protocol_name(Some(bytes(&self.protocol)))
            .with_leader(bytes(&self.leader))
            .with_member_id(bytes(&id));
        Some(match self.leader == id {
            true => answer.with_members(self.members.iter().map(member).collect()),
            false => answer,
        })
    }

    fn sync(&mut self, asked: &SyncGroupRequest) -> Option<SyncGroupResponse> {
        let id = asked.member_id.to_string();
        let error = match self.known(&id, asked.generation_id) {
            0 if self.state == State::Preparing => 27,
            error => error,
        };
        if error != 0 {
            return Some(SyncGroupResponse::default().with_error_code(self.said(error)));
        }
        if self.state == State::Completing {
            if id != self.leader {
                return None;
            }
            for share in &asked.assignments {
                let known = self.members.get_mut(share.member_id.as_str()).unwrap();
                known.share = share.assignment.clone();
            }
            self.state = State::Stable;
        }
        Some(SyncGroupResponse::default().with_assignment(self.members[&id].share.clone()))
    }
}

pub(super) fn brokers() -> Brokers {
    let mut brokers = Brokers::new(PARTS as usize);
    brokers.classic = Some(Coordinator::default());
    brokers
}

fn tick(brokers: &mut Brokers, now: Mono) {
    brokers.classic.iter_mut().for_each(|group| group.tick(now));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_line_is_in_one_spool_once_by_cooperative_sticky(steps in vec(step(), 20..160)) {
        let (mut brokers, mut hosts) = (brokers(), [Host::new(), Host::new(), Host::new()]);
        let lines = play(&mut brokers, &mut hosts, &steps, |brokers, _, now| tick(brokers, now));
        prop_assert_eq!(there(&hosts), (0..lines).collect::<Vec<_>>());
        let committed: i64 = brokers.coordinator.committed.values().sum();
        prop_assert_eq!(committed, lines as i64);
        let group = brokers.classic.unwrap();
        let settled = (group.protocol.as_str(), group.state);
        prop_assert_eq!(settled, ("cooperative-sticky", State::Stable));
    }

    /// Others in the group only know `range`, from some moment on, and up to another one.
    #[test]
    fn every_line_is_in_one_spool_once_by_range_and_between_the_two(
        steps in vec(step(), 20..160),
        (from, to) in (0..120_usize, 0..200_usize),
    ) {
        let (mut brokers, mut hosts) = (brokers(), [Host::new(), Host::new(), Host::new()]);
        let lines = play(&mut brokers, &mut hosts, &steps, |brokers, nth, now| {
            tick(brokers, now);
            let group = brokers.classic.as_mut().unwrap();
            // They are let in while all that are there could do it too.
            let common = group.common("").is_none_or(|common| common.contains("range"));
            if nth >= from && nth < to && common {
                let is_new = group.others.replace("range").is_none();
                if is_new && group.state != State::Empty {
                    group.prepare();
                }
            } else if nth >= to && group.others.take().is_some() && group.state != State::Empty {
                group.prepare();
            }
        });
        prop_assert_eq!(there(&hosts), (0..lines).collect::<Vec<_>>());
        let committed: i64 = brokers.coordinator.committed.values().sum();
        prop_assert_eq!(committed, lines as i64);
        prop_assert_eq!(brokers.classic.unwrap().state, State::Stable);
    }

    /// Members that are silent for long are out: nothing is lost, and what is twice is what was not
    /// committed.
    #[test]
    fn nothing_is_lost_where_members_are_away_for_long(steps in vec(step(), 20..160)) {
        let (mut brokers, mut hosts) = (brokers(), [Host::new(), Host::new(), Host::new()]);
        brokers.classic.as_mut().unwrap().session = Some(Duration::from_secs(9));
        let lines = play(&mut brokers, &mut hosts, &steps, |brokers, _, now| tick(brokers, now));
        let mut there = there(&hosts);
        there.dedup();
        prop_assert_eq!(there, (0..lines).collect::<Vec<_>>());
        prop_assert_eq!(brokers.classic.unwrap().state, State::Stable);
    }
}

/// Lets hosts work until nothing happens any more.
pub(super) fn settle(brokers: &mut Brokers, hosts: &mut [Host], now: &mut Mono, turns: usize) {
    for _ in 0..turns {
        *now = *now + Duration::from_millis(400);
        tick(brokers, *now);
        for host in hosts.iter_mut() {
            host.turn(brokers, *now);
            host.sync();
        }
    }
}

fn owned(host: &Host) -> usize {
    host.consumer.as_ref().unwrap().owned_places().unwrap().len()
}

#[test]
fn a_session_that_the_broker_forbids_is_shortened_and_an_identity_is_asked_for_first() {
    let (mut brokers, mut hosts, mut now) = (brokers(), [Host::new(), Host::new()], START);
    hosts[0].start(now);
    settle(&mut brokers, &mut hosts, &mut now, 20);
    assert_eq!(owned(&hosts[0]), 5);
    hosts[1].start(now);
    settle(&mut brokers, &mut hosts, &mut now, 40);
    assert_eq!((owned(&hosts[0]), owned(&hosts[1])), (3, 2));
    let group = brokers.classic.as_ref().unwrap();
    assert_eq!((group.errors[&79], group.errors[&26]), (2, 2));
}

#[test]
fn a_member_that_is_killed_and_back_goes_on_without_a_new_generation() {
    let (mut brokers, mut hosts, mut now) = (brokers(), [Host::new(), Host::new()], START);
    hosts.iter_mut().for_each(|host| host.start(now));
    settle(&mut brokers, &mut hosts, &mut now, 40);
    let before = brokers.classic.as_ref().unwrap().generation;
    for at in [0, 1] {
        hosts[at].kill();
        settle(&mut brokers, &mut hosts[1 - at..2 - at], &mut now, 5);
        hosts[at].start(now);
        settle(&mut brokers, &mut hosts, &mut now, 20);
    }
    assert_eq!(brokers.classic.as_ref().unwrap().generation, before);
    assert_eq!(owned(&hosts[0]) + owned(&hosts[1]), 5);
}

#[test]
fn the_leader_shares_partitions_out_that_are_added() {
    let (mut brokers, mut hosts, mut now) = (brokers(), [Host::new(), Host::new()], START);
    hosts.iter_mut().for_each(|host| host.start(now));
    settle(&mut brokers, &mut hosts, &mut now, 40);
    // Added while the leader was down, too.
    for _ in 0..2 {
        brokers.logs.push(Log::default());
        brokers.asked.push(0);
        let last = brokers.logs.len() - 1;
        brokers.append(last, &["7"], 0);
        hosts.iter_mut().for_each(Host::kill);
        hosts.iter_mut().for_each(|host| host.start(now));
        settle(&mut brokers, &mut hosts, &mut now, 40);
    }
    assert_eq!(owned(&hosts[0]) + owned(&hosts[1]), 7);
    assert_eq!(there(&hosts), [7, 7]);
}

#[test]
fn a_group_whose_members_share_out_in_another_way_is_named() {
    let (mut brokers, mut hosts, mut now) = (brokers(), [Host::new()], START);
    brokers.classic.as_mut().unwrap().others = Some("roundrobin");
    hosts[0].start(now);
    settle(&mut brokers, &mut hosts, &mut now, 40);
    let error = hosts[0].consumer.as_ref().unwrap().error().unwrap();
    assert!(error.starts_with("group g: INCONSISTENT_GROUP_PROTOCOL (23): "), "{error}");
    assert!(error.contains("range or cooperative-sticky"), "{error}");
    // Once they can do it, all is well.
    brokers.classic.as_mut().unwrap().others = None;
    settle(&mut brokers, &mut hosts, &mut now, 40);
    assert_eq!(hosts[0].consumer.as_ref().unwrap().error(), None);
    assert_eq!(owned(&hosts[0]), 5);
}

/// The topic is deleted, and made anew with other lines. The coordinator keeps what was committed,
/// as if that came late.
fn make_anew(brokers: &mut Brokers, lines: std::ops::Range<usize>) {
    brokers.id += 1;
    brokers.coordinator.loose = true;
    brokers.logs.iter_mut().for_each(|log| log.batches.clear());
    append(brokers, lines);
}

pub(super) fn append(brokers: &mut Brokers, lines: std::ops::Range<usize>) {
    lines.for_each(|number| brokers.append(number % 5, &[&number.to_string()], 0));
}

/// A group that has read and committed a hundred lines.
fn read_a_hundred(hosts: &mut [Host], now: &mut Mono) -> Brokers {
    let mut brokers = brokers();
    append(&mut brokers, 0..100);
    hosts.iter_mut().for_each(|host| host.start(*now));
    settle(&mut brokers, hosts, now, 80);
    assert_eq!(there(hosts), (0..100).collect::<Vec<_>>());
    assert_eq!(brokers.coordinator.committed.values().sum::<i64>(), 100);
    brokers
}

/// It ends without a word, and the group is told so.
fn remove(brokers: &mut Brokers, host: &mut Host) {
    host.kill();
    let id = host.saved.take().unwrap().id;
    brokers.classic.as_mut().unwrap().remove(&id);
}

#[test]
fn a_topic_made_anew_is_read_from_its_beginning_by_members_that_are_there_and_by_new_ones() {
    for is_new in [false, true] {
        let (mut hosts, mut now) = ([Host::new(), Host::new()], START);
        let mut brokers = read_a_hundred(&mut hosts, &mut now);
        if is_new {
            hosts.iter_mut().for_each(|host| remove(&mut brokers, host));
            hosts.iter_mut().for_each(|host| host.begin = Begin::End);
        }
        make_anew(&mut brokers, 100..350);
        for host in &mut hosts {
            // Of the new topic nothing is stored.
            host.next.clear();
            if is_new {
                host.start(now);
            }
        }
        settle(&mut brokers, &mut hosts, &mut now, 200);
        assert_eq!(there(&hosts), (0..350).collect::<Vec<_>>(), "new: {is_new}");
        assert_eq!(brokers.coordinator.committed.values().sum::<i64>(), 250);
    }
}

#[test]
fn an_offset_of_the_present_topic_is_taken_by_one_that_hears_of_it_late() {
    let (mut hosts, mut now) = ([Host::new()], START);
    let mut brokers = read_a_hundred(&mut hosts, &mut now);
    make_anew(&mut brokers, 100..350);
    hosts[0].next.clear();
    settle(&mut brokers, &mut hosts, &mut now, 200);
    remove(&mut brokers, &mut hosts[0]);
    // This one is told of the former topic first.
    brokers.id -= 1;
    let mut late = [Host::new()];
    late[0].start(now);
    let doubts = |host: &Host| {
        host.consumer.as_ref().unwrap().parts.values().any(|part| part.doubted.is_some())
    };
    while !doubts(&late[0]) {
        settle(&mut brokers, &mut late, &mut now, 1);
    }
    brokers.id += 1;
    append(&mut brokers, 350..360);
    settle(&mut brokers, &mut late, &mut now, 200);
    assert_eq!(there(&late), (350..360).collect::<Vec<_>>());
}

#[test]
fn what_another_program_has_committed_is_taken() {
    let (mut hosts, mut now, mut brokers) = ([Host::new()], START, brokers());
    append(&mut brokers, 0..100);
    for part in 0..PARTS {
        brokers.coordinator.committed.insert(part, 10);
        brokers.coordinator.notes.insert(part, bytes("made by hand"));
    }
    hosts[0].start(now);
    settle(&mut brokers, &mut hosts, &mut now, 80);
    assert_eq!(there(&hosts), (50..100).collect::<Vec<_>>());
}

/// Of two daemons that run on copies of one file one goes on as another member, by either protocol.
#[test]
fn two_of_one_identity_become_two_members() {
    for classic in [false, true] {
        let mut brokers = brokers();
        brokers.coordinator.loose = true;
        if !classic {
            brokers.classic = None;
        }
        let (mut hosts, mut now) = ([Host::new(), Host::new()], START);
        let mut work = |brokers: &mut Brokers, hosts: &mut [Host; 2], from: usize| {
            for number in from..from + 100 {
                brokers.append(number % 5, &[&number.to_string()], 0);
                now = now + Duration::from_millis(400);
                brokers.classic.iter_mut().for_each(|group| group.tick(now));
                for host in hosts.iter_mut() {
                    if host.consumer.is_none() && host.saved.is_some() {
                        host.start(now);
                    }
                    host.turn(brokers, now);
                    host.sync();
                }
            }
        };
        hosts[0].start(START);
        work(&mut brokers, &mut hosts, 0);
        hosts[1].saved = hosts[0].saved.clone();
        for at in 1..8 {
            work(&mut brokers, &mut hosts, at * 100);
        }
        let id = |host: &Host| host.saved.as_ref().unwrap().id.clone();
        assert_ne!(id(&hosts[0]), id(&hosts[1]), "classic: {classic}");
        // Nothing is lost, and what comes from then on is there once.
        let before = there(&hosts).len();
        work(&mut brokers, &mut hosts, 800);
        work(&mut brokers, &mut hosts, 900);
        assert_eq!(there(&hosts).len(), before + 200, "classic: {classic}");
        let all: BTreeSet<_> = there(&hosts).into_iter().collect();
        assert_eq!(all, (0..1000).collect());
        assert_eq!(owned(&hosts[0]) + owned(&hosts[1]), 5);
    }
}
