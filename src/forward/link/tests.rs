//! A link whose connections are made, fail and are closed.

use super::*;
use crate::config::plan::{BalancePlan, ClientTlsPlan, FormatPlan};
use crate::filter::batch_of;

pub(super) fn urls(texts: &[&str]) -> Vec<Url> {
    let all = [crate::url::Protocol::Relp, crate::url::Protocol::Tcp];
    texts.iter().map(|text| Url::parse_peer(text, &all).unwrap()).collect()
}

pub(super) fn link(peers: &[&str]) -> Link {
    let plan = ForwardPlan {
        peers: urls(peers),
        balance: BalancePlan::Failover,
        format: FormatPlan::default(),
        timeout: Duration::from_secs(60),
        tls: ClientTlsPlan::default(),
        clients: crate::proto::ClientPlans::default().into(),
        queue: 1,
    };
    let mut link = Link::new(&plan, 0, Mono::default());
    link.tick(Mono::default());
    link
}

pub(super) fn at(seconds: f64) -> Mono {
    Mono(Duration::from_secs_f64(seconds))
}

/// The host of the last attempt to connect.
pub(super) fn connects_to(link: &mut Link) -> Option<String> {
    let mut to = None;
    while let Some(command) = link.poll_command() {
        if let Command::Connect { url, .. } = command {
            to = Some(url.host);
        }
    }
    to
}

#[test]
fn the_second_peer_is_tried_at_once_and_the_first_again_later() {
    let mut link = link(&["tcp://one:1", "tcp://two:1"]);
    assert_eq!(connects_to(&mut link).as_deref(), Some("one"));
    link.failed("refused".into(), at(0.1));
    assert_eq!(connects_to(&mut link).as_deref(), Some("two"));
    link.connected(None, at(0.2));
    assert_eq!(link.poll_event(), Some(Event::Up(None)));
    link.send(&batch_of("a line\n"));
    // The first is probed again, and returned to when everything is acknowledged.
    let probe = link.deadline().unwrap();
    assert!(probe < at(0.6), "{probe:?}");
    link.tick(probe);
    assert_eq!(link.poll_command(), Some(Command::Probe(urls(&["tcp://one:1"])[0].clone())));
    link.probed(true, probe);
    assert!(!link.has_room() && link.poll_command().is_none());
    link.wrote(8);
    assert_eq!(link.acknowledged(8, Duration::ZERO, probe).lines, 1);
    link.tick(probe);
    assert_eq!(link.poll_event(), Some(Event::Down(Ended::Otherwise)));
    link.tick(probe);
    assert_eq!(connects_to(&mut link).as_deref(), Some("one"));
}

#[test]
fn waits_double_while_nobody_answers() {
    let mut link = link(&["tcp://one:1"]);
    let mut now = at(0.0);
    let mut waits = Vec::new();
    for _ in 0..12 {
        assert_eq!(connects_to(&mut link).as_deref(), Some("one"));
        link.failed("refused".into(), now);
        let next = link.deadline().unwrap();
        waits.push(next.since(now).as_secs_f64());
        now = next;
        link.tick(now);
    }
    assert!((0.18..0.32).contains(&waits[0]), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 37.5) && waits[11] > 22.0, "{waits:?}");
    assert!(link.error().unwrap().contains("tcp://one:1: refused"));
}

#[test]
fn a_peer_that_never_answers_is_given_up_after_the_timeout() {
    let mut link = link(&["relp://one:1"]);
    link.connected(None, at(1.0));
    link.received(b"1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n", at(2.0));
    assert_eq!(link.poll_event(), Some(Event::Up(None)));
    link.tick(at(500.0));
    assert!(link.has_room(), "a peer that owes nothing is kept");
    link.send(&batch_of("a line\n"));
    link.tick(at(559.0));
    assert!(link.poll_event().is_none());
    link.tick(at(560.0));
    assert_eq!(link.poll_event(), Some(Event::Down(Ended::Otherwise)));
    assert!(link.error().unwrap().contains("no answer in 60s"));
}

#[test]
fn a_link_ends_when_all_is_answered() {
    let mut link = link(&["relp://one:1"]);
    link.connected(None, at(0.0));
    link.received(b"1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n", at(0.0));
    link.send(&batch_of("a line\n"));
    link.end(at(1.0));
    assert!(!link.has_ended());
    link.received(b"2 rsp 6 200 OK\n", at(1.0));
    assert_eq!(link.take_done().lines, 1);
    link.tick(at(1.0));
    let closes: Vec<u8> = link.out().unwrap().pieces().iter().flat_map(|b| b.to_vec()).collect();
    assert!(closes.ends_with(b"3 close 0\n"));
    link.received(b"3 rsp 0\n0 serverclose 0\n", at(1.0));
    assert!(link.has_ended());
}

#[test]
fn a_line_that_is_refused_is_named() {
    let mut link = link(&["relp://one:1"]);
    link.connected(None, at(0.0));
    link.received(b"1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n", at(0.0));
    link.poll_event();
    link.send(&batch_of("good\nbad\n"));
    link.received(b"2 rsp 6 200 OK\n3 rsp 8 500 oops\n", at(0.0));
    assert_eq!(link.poll_event(), Some(Event::Down(Ended::Refused)));
    assert_eq!(link.take_done().lines, 1, "the good one is not sent again");
}

#[test]
fn a_slow_resolver_does_not_take_from_the_time_to_connect() {
    let mut link = link(&["tcp://one:1"]);
    assert_eq!(connects_to(&mut link).as_deref(), Some("one"));
    link.tick(at(59.0));
    assert_eq!((link.attempt(), link.poll_command()), (Some(1), None));
    // The name has two addresses, each with a timeout of its own.
    link.trying(at(59.0));
    link.tick(at(68.9));
    assert_eq!(link.poll_command(), None);
    link.tick(at(69.0));
    assert_eq!(link.poll_command(), Some(Command::NextAddress));
    link.trying(at(69.0));
    link.tick(at(78.9));
    assert_eq!((link.attempt(), link.poll_command()), (Some(1), None));
    link.connected(None, at(78.9));
    assert_eq!(link.poll_event(), Some(Event::Up(None)));
}

#[test]
fn a_name_that_is_never_found_is_told_and_tried_again() {
    let mut link = link(&["tcp://one:1"]);
    link.tick(at(60.0));
    assert_eq!(link.error(), Some("tcp://one:1: its name was not found in 60s"));
    assert!(link.is_unresolved());
    let again = link.deadline().unwrap();
    assert!(again > at(60.0) && again < at(61.0), "{again:?}");
    link.tick(again);
    link.trying(again);
    link.failed("refused".into(), again);
    assert!(link.error().unwrap().ends_with("refused"));
    assert!(!link.is_unresolved(), "the name was found this time");
}

/// A link to a peer without acknowledgements, connected at one second.
fn on_trial() -> Link {
    let mut link = link(&["tcp://one:1"]);
    link.connected(None, at(1.0));
    assert_eq!(link.poll_event(), Some(Event::Up(None)));
    link
}

#[test]
fn what_a_new_connection_takes_counts_only_once_it_has_lasted() {
    let mut link = on_trial();
    link.send(&batch_of("a line\n"));
    link.wrote(8);
    assert_eq!(link.acknowledged(8, Duration::ZERO, at(1.5)).lines, 0);
    let end = link.deadline().unwrap();
    assert_eq!(end, at(3.0));
    link.tick(end);
    assert_eq!(link.acknowledged(8, Duration::ZERO, end).lines, 1);
}

#[test]
fn a_peer_that_may_still_refuse_us_is_on_trial_for_longer() {
    let mut link = on_trial();
    link.proven(false);
    assert_eq!(link.deadline(), Some(at(6.0)));
    link.proven(true);
    assert_eq!(link.deadline(), Some(at(3.0)));
}

#[test]
fn what_a_reset_connection_took_is_sent_again_and_what_a_closed_one_read_is_not() {
    let mut balancer = on_trial();
    balancer.send(&batch_of("a line\n"));
    balancer.acknowledged(8, Duration::ZERO, at(1.5));
    balancer.reset("reset".into(), at(2.0));
    assert_eq!(balancer.take_done().lines, 0);
    assert_eq!(balancer.poll_event(), Some(Event::Down(Ended::Otherwise)));
    // As a server does that refuses a certificate after it was sent lines.
    let mut refusal = on_trial();
    refusal.send(&batch_of("a line\n"));
    refusal.acknowledged(8, Duration::ZERO, at(1.5));
    refusal.failed("fatal alert".into(), at(2.0));
    assert_eq!(refusal.take_done().lines, 0);
    let mut reader = on_trial();
    reader.send(&batch_of("a line\n"));
    reader.acknowledged(8, Duration::ZERO, at(1.5));
    reader.closed("closed".into(), at(2.0));
    assert_eq!(reader.take_done().lines, 1);
}

#[test]
fn little_is_sent_by_a_new_connection_and_for_longer_after_one_that_ended_soon() {
    let line = format!("{}\n", "x".repeat(1023));
    let fill = |link: &mut Link| {
        let mut lines = 0;
        while link.has_room() && lines < 100 {
            link.send(&batch_of(&line));
            lines += 1;
        }
        lines
    };
    let mut link = on_trial();
    assert_eq!((link.room(), fill(&mut link)), (16_384, 16));
    link.tick(at(3.0));
    assert_eq!((link.room(), fill(&mut link)), (usize::MAX, 100));
    link.reset("reset".into(), at(3.5));
    let again = link.deadline().unwrap();
    link.tick(again);
    link.connected(None, again);
    assert_eq!(fill(&mut link), 16);
    link.tick(again + Duration::from_secs(9));
    assert_eq!(fill(&mut link), 0);
    link.tick(again + Duration::from_secs(10));
    assert_eq!(fill(&mut link), 100);
}

#[test]
fn a_peer_that_reads_nothing_is_kept_while_its_tcp_answers() {
    let mut link = on_trial();
    link.send(&batch_of("a line\n"));
    for second in 2..200 {
        let now = at(f64::from(second));
        link.acknowledged(0, Duration::ZERO, now);
        link.tick(now);
    }
    assert_eq!(link.poll_event(), None);
    // Then nothing more is heard from its TCP.
    link.acknowledged(0, Duration::from_secs(59), at(258.0));
    link.tick(at(258.0));
    assert_eq!(link.poll_event(), None);
    link.acknowledged(0, Duration::from_secs(60), at(259.0));
    link.tick(at(259.0));
    assert_eq!(link.poll_event(), Some(Event::Down(Ended::Otherwise)));
    assert!(link.error().unwrap().contains("no answer in 60s"));
}

#[test]
fn a_session_that_the_peer_ends_is_told_from_one_that_failed() {
    for (close, ended) in [(true, Ended::ByPeer), (false, Ended::Otherwise)] {
        let mut link = link(&["relp://one:1"]);
        link.connected(None, at(0.0));
        link.received(b"1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n", at(0.0));
        link.poll_event();
        link.send(&batch_of("a line\n"));
        match close {
            true => link.received(b"0 serverclose 0\n", at(1.0)),
            false => link.failed("no route".into(), at(1.0)),
        }
        assert_eq!(link.poll_event(), Some(Event::Down(ended)));
    }
}

#[test]
fn peers_are_tried_at_once_where_something_may_have_been_mended() {
    let mut link = link(&["tcp://one:1"]);
    for second in 0..60 {
        link.failed("refused".into(), at(f64::from(second)));
        link.tick(at(f64::from(second)));
    }
    assert!(link.deadline().unwrap() > at(60.0));
    while link.poll_command().is_some() {}
    link.hasten(at(60.0));
    link.tick(at(60.0));
    assert_eq!(connects_to(&mut link).as_deref(), Some("one"));
}
