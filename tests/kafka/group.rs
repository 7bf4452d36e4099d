//! Daemons that share a topic as members of a group, before a real broker.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;

use super::broker::{Brokers, Kind};
use super::input::{assert_once, keyed, numbers, spooled};
use crate::util::{Daemon, wait_for};

/// A topic that is written to in pieces, and the daemons that read it.
pub(super) struct Flow {
    pub(super) brokers: Brokers,
    /// The topic's name, and the group's.
    pub(super) name: &'static str,
    pub(super) members: Vec<Daemon>,
    pub(super) lines: usize,
}

pub(super) const PIECE: usize = 4000;

impl Flow {
    pub(super) fn start(kind: Kind, name: &'static str) -> Option<Self> {
        let brokers = Brokers::of(kind)?;
        brokers.create(name, 12);
        Some(Self { brokers, name, members: Vec::new(), lines: 0 })
    }

    pub(super) fn member(&mut self) {
        self.members.push(Daemon::start(&self.config()));
    }

    fn config(&self) -> String {
        format!(
            "[input.k]\nkafka = {{ brokers = {}, topic = \"{name}\", group = \"{name}\" }}\n\
             positions = \"{{dir}}/k.positions\"\n\
             [spool.hold]\nfrom = \"k\"\ndir = \"{{dir}}/hold\"\n",
            self.brokers.quoted(),
            name = self.name
        )
    }

    pub(super) fn produce(&mut self) {
        self.brokers.produce(self.name, &keyed(self.lines, self.lines + PIECE));
        self.lines += PIECE;
    }

    pub(super) fn kill(&mut self, at: usize) {
        self.members[at].signal(Signal::SIGKILL);
        self.members[at].wait();
    }

    /// How often each line is in the spools of all members.
    pub(super) fn union(&self) -> BTreeMap<usize, usize> {
        let mut all = BTreeMap::new();
        for member in &self.members {
            for (number, count) in numbers(&spooled(member)) {
                *all.entry(number).or_default() += count;
            }
        }
        all
    }

    pub(super) fn wait_all(&self) {
        wait_for("every line to be in some spool", || {
            (self.union().len() == self.lines).then_some(())
        });
    }

    /// How many partitions a member reads.
    pub(super) fn owns(&self, at: usize) -> usize {
        self.members[at].node("k").waiting.len()
    }

    pub(super) fn wait_shared(&self, members: &[usize]) {
        wait_for("the partitions to be shared out", || {
            let owned: Vec<_> = members.iter().map(|at| self.owns(*at)).collect();
            (owned.iter().sum::<usize>() == 12 && owned.iter().all(|n| *n > 0)).then_some(())
        });
    }
}

/// Members are killed, stopped and added in the middle of the flow.
pub(super) fn come_and_go(mut flow: Flow) -> Flow {
    flow.produce();
    flow.member();
    flow.wait_shared(&[0]);
    flow.member();
    flow.produce();
    flow.wait_shared(&[0, 1]);
    // Killed in the middle of the flow, and back before the session is over.
    for at in [0, 1, 0] {
        flow.produce();
        flow.kill(at);
        flow.members[at].run();
    }
    // A third one joins, and is killed while it does.
    flow.member();
    flow.produce();
    flow.kill(2);
    flow.members[2].run();
    flow.wait_shared(&[0, 1, 2]);
    // One leaves in good order while lines come, and comes back.
    flow.produce();
    assert_eq!(flow.members[1].stop().0, Some(0));
    flow.produce();
    flow.wait_shared(&[0, 2]);
    flow.members[1].run();
    flow.produce();
    flow.wait_shared(&[0, 1, 2]);
    flow.wait_all();
    assert_once(&flow.union(), flow.lines);
    for member in &mut flow.members {
        let (code, log) = member.stop();
        assert_eq!(code, Some(0));
        assert!(!log.contains("ERROR") && !log.contains("may come twice"), "{log}");
    }
    // What they say of themselves is what other clients see.
    assert_eq!(flow.brokers.committed(flow.name), (flow.lines, 0));
    flow
}

#[test]
fn members_that_are_killed_stopped_and_added_lose_nothing_and_double_nothing() {
    let Some(flow) = Flow::start(Kind::One, "come_and_go") else { return };
    come_and_go(flow);
}

/// A member is killed, and comes back when its session is over.
pub(super) fn take_over(mut flow: Flow) {
    flow.produce();
    flow.member();
    flow.member();
    flow.wait_shared(&[0, 1]);
    flow.produce();
    flow.kill(0);
    flow.produce();
    // The session time-out of the broker is over in six or ten seconds.
    flow.wait_shared(&[1]);
    flow.wait_all();
    flow.members[0].run();
    flow.produce();
    flow.wait_shared(&[0, 1]);
    flow.wait_all();
    let union = flow.union();
    let twice = union.values().filter(|count| **count > 1).count();
    assert!(twice <= 2 * PIECE, "{twice} lines are there twice");
    assert!(union.values().all(|count| *count <= 2));
}

#[test]
fn a_member_that_is_gone_for_long_is_taken_over_from_where_it_had_committed() {
    let Some(flow) = Flow::start(Kind::One, "taken_over") else { return };
    take_over(flow);
}

#[test]
fn a_group_goes_on_behind_its_coordinator_when_that_dies() {
    let Some(mut flow) = Flow::start(Kind::Three, "coordinated") else { return };
    flow.produce();
    flow.member();
    flow.member();
    flow.wait_shared(&[0, 1]);
    for victim in [0, 1, 2] {
        flow.brokers.kill(victim);
        flow.brokers.run(victim);
        flow.brokers.wait_in_sync(flow.name);
        flow.produce();
        flow.wait_all();
    }
    assert_once(&flow.union(), flow.lines);
    for member in &flow.members {
        assert!(!member.log().contains("may come twice"), "{}", member.log());
    }
}

#[test]
fn a_copied_file_of_a_member_makes_no_second_one_of_its_identity() {
    let Some(mut flow) = Flow::start(Kind::One, "copied") else { return };
    flow.produce();
    flow.member();
    flow.wait_shared(&[0]);
    let mut copy = Daemon::prepare(&flow.config());
    let file = flow.members[0].path("k.member");
    std::fs::copy(&file, copy.path("k.member")).unwrap();
    copy.run();
    copy.wait_log(&format!("file {}, group copied; this daemon joins group", file.display()));
    flow.members.push(copy);
    flow.wait_shared(&[0, 1]);
    flow.produce();
    flow.wait_all();
    assert_once(&flow.union(), flow.lines);
}

/// The topic is deleted and made anew while members read it; offsets of the old one that are
/// committed late are none of the new one.
pub(super) fn made_anew(mut flow: Flow) {
    flow.produce();
    flow.member();
    flow.member();
    flow.wait_shared(&[0, 1]);
    flow.wait_all();
    flow.brokers.delete(flow.name);
    flow.brokers.create(flow.name, 12);
    flow.produce();
    flow.wait_all();
    assert_once(&flow.union(), flow.lines);
}

#[test]
fn a_topic_that_is_made_anew_is_shared_out_again() {
    let Some(flow) = Flow::start(Kind::One, "shared_anew") else { return };
    made_anew(flow);
}
