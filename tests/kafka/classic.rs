//! Groups whose members share partitions out among themselves: alone, and beside other programs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::broker::{Brokers, Kind};
use super::group::{Flow, come_and_go, made_anew, take_over};
use super::input::{assert_once, numbers};
use crate::util::{skip_here, wait_for};

/// Returns whether there is time for what takes a minute each: every run has one group of daemons
/// alone, and one beside another program.
fn has_minutes() -> bool {
    let has = std::env::var_os("LOGWEIR_KAFKA_MINUTES").is_some();
    if !has {
        skip_here("LOGWEIR_KAFKA_MINUTES is not set: it takes a minute");
    }
    has
}

fn assert_classic(flow: &Flow) {
    for member in &flow.members {
        let log = member.log();
        assert!(log.contains("sharing partitions out to the members"), "{log}");
    }
}

#[test]
fn members_that_share_out_among_themselves_lose_nothing_and_double_nothing() {
    let Some(flow) = Flow::start(Kind::Classic, "come_and_go") else { return };
    assert_classic(&come_and_go(flow));
}

#[test]
fn a_member_of_a_classic_group_that_is_gone_for_long_is_taken_over() {
    if !has_minutes() {
        return;
    }
    let Some(flow) = Flow::start(Kind::Classic, "taken_over") else { return };
    take_over(flow);
}

#[test]
fn a_topic_that_is_made_anew_under_a_classic_group_is_read_from_its_beginning() {
    let Some(flow) = Flow::start(Kind::Classic, "shared_anew") else { return };
    made_anew(flow);
}

#[test]
fn a_broker_from_before_version_4_has_groups_too() {
    let Some(flow) = Flow::start(Kind::Old, "old") else { return };
    assert_classic(&come_and_go(flow));
    let Some(flow) = Flow::start(Kind::Old, "old_anew") else { return };
    made_anew(flow);
}

/// Another program in the group, which prints what it reads.
struct Other {
    child: Child,
    out: PathBuf,
}

impl Other {
    fn start(brokers: &Brokers, name: &str, mut command: Command) -> Self {
        let out = brokers.path(name);
        let file = std::fs::File::create(&out).unwrap();
        let child = command.stdin(Stdio::null()).stdout(file).stderr(Stdio::null()).spawn();
        Self { child: child.unwrap(), out }
    }

    /// kcat is librdkafka.
    fn kcat(brokers: &Brokers, name: &str, strategy: &str) -> Self {
        let mut command = Command::new("kcat");
        command.args(["-b", &brokers.first(), "-u", "-q", "-G", name, name]);
        command.args(["-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000"]);
        command.args(["-X", &format!("partition.assignment.strategy={strategy}")]);
        Self::start(brokers, name, command)
    }

    /// Java's own client.
    fn java(brokers: &Brokers, name: &str, class: &str) -> Self {
        let mut command = brokers.java("org.apache.kafka.tools.consumer.ConsoleConsumer");
        command.args(["--bootstrap-server", &brokers.first(), "--topic", name]);
        command.args(["--group", name, "--from-beginning"]);
        for property in [
            "group.protocol=classic",
            "session.timeout.ms=6000",
            &format!("partition.assignment.strategy=org.apache.kafka.clients.consumer.{class}"),
        ] {
            command.args(["--consumer-property", property]);
        }
        Self::start(brokers, name, command)
    }

    fn read(&self) -> BTreeMap<usize, usize> {
        let text = std::fs::read(&self.out).unwrap();
        // It may be in the middle of a line; and Java's client says at its end how many there were.
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        let is_line = |line: &&[u8]| line.ends_with(b"\n") && line[0].is_ascii_digit();
        numbers(&lines.filter(is_line).flatten().copied().collect::<Vec<_>>())
    }

    /// In good order: it commits what it has printed.
    fn stop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A group of two daemons and another program; `first`: that one is there before them.
fn beside(mut flow: Flow, first: bool, other: impl FnOnce(&Brokers) -> Other) {
    flow.produce();
    let mut other = Some(other);
    let mut program = first.then(|| other.take().unwrap()(&flow.brokers));
    if let Some(program) = &program {
        wait_for("the other program to read", || (!program.read().is_empty()).then_some(()));
    }
    flow.member();
    if !first {
        flow.wait_shared(&[0]);
        program = other.take().map(|other| other(&flow.brokers));
    }
    let mut program = program.unwrap();
    let owned = |flow: &Flow| (0..flow.members.len()).map(|at| flow.owns(at)).sum::<usize>();
    let shared = |flow: &Flow, count: usize| {
        wait_for("the group to share its partitions out", || (owned(flow) == count).then_some(()));
    };
    shared(&flow, 6);
    flow.produce();
    flow.member();
    shared(&flow, 8);
    flow.produce();
    let all = |flow: &Flow, program: &Other| {
        let mut all = flow.union();
        program.read().into_iter().for_each(|(n, count)| *all.entry(n).or_default() += count);
        all
    };
    wait_for("every line to be somewhere", || {
        (all(&flow, &program).len() == flow.lines).then_some(())
    });
    assert!(!program.read().is_empty());
    program.stop();
    shared(&flow, 12);
    flow.produce();
    wait_for("every line to be somewhere", || {
        (all(&flow, &program).len() == flow.lines).then_some(())
    });
    // What a daemon has is nobody else's; the other program may repeat what it read itself.
    let ours = flow.union();
    assert!(ours.values().all(|count| *count == 1), "{ours:?}");
    assert_once(&all(&flow, &program), flow.lines);
    for member in &mut flow.members {
        let (code, log) = member.stop();
        assert_eq!(code, Some(0));
        assert!(!log.contains("ERROR") && !log.contains("may come twice"), "{log}");
    }
}

fn with_kcat(strategy: &str, first: bool, name: &'static str) {
    let Some(flow) = Flow::start(Kind::Classic, name) else { return };
    beside(flow, first, |brokers| Other::kcat(brokers, name, strategy));
}

#[test]
fn librdkafka_and_daemons_share_a_group_by_range() {
    if has_minutes() {
        with_kcat("range", true, "kcat_range");
    }
}

#[test]
fn librdkafka_that_only_knows_range_is_let_in_by_a_daemon() {
    if has_minutes() {
        with_kcat("range", false, "range_late");
    }
}

#[test]
fn librdkafka_and_daemons_share_a_group_by_cooperative_sticky() {
    with_kcat("cooperative-sticky", true, "kcat_sticky");
}

#[test]
fn javas_client_and_daemons_share_a_group_by_range() {
    if !has_minutes() {
        return;
    }
    let Some(flow) = Flow::start(Kind::Classic, "java_range") else { return };
    beside(flow, true, |brokers| Other::java(brokers, "java_range", "RangeAssignor"));
}

#[test]
fn javas_client_and_daemons_share_a_group_by_cooperative_sticky() {
    if !has_minutes() {
        return;
    }
    let Some(flow) = Flow::start(Kind::Classic, "java_sticky") else { return };
    beside(flow, false, |brokers| Other::java(brokers, "java_sticky", "CooperativeStickyAssignor"));
}
