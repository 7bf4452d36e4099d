//! A link among whose peers is a service.

use super::tests::{at, connects_to, link, urls};
use super::*;
use crate::filter::batch_of;
use crate::net::dns::Target;

const SERVICE: &str = "_relp._tcp.logs.test";
const URL: &str = "tcp://_relp._tcp.logs.test";

fn answer(hosts: &[(u16, &str)]) -> Result<Answer, String> {
    let target = |(priority, host): &(u16, &str)| Target {
        priority: *priority,
        weight: 1,
        host: (*host).into(),
        port: 1,
    };
    Ok(Answer { targets: hosts.iter().map(target).collect(), ttl: Duration::from_secs(60) })
}

/// Which services are to be looked up.
fn finds(link: &mut Link) -> Vec<String> {
    let commands = std::iter::from_fn(|| link.poll_command());
    let found = commands.filter_map(|command| match command {
        Command::Find(name) => Some(name),
        _ => None,
    });
    found.collect()
}

/// A link that is connected to the first host of a service.
fn connected(hosts: &[(u16, &str)]) -> Link {
    let mut link = link(&[URL]);
    assert_eq!(finds(&mut link), [SERVICE]);
    link.found(SERVICE, answer(hosts), at(0.0));
    assert_eq!(connects_to(&mut link).as_deref(), Some(hosts[0].1));
    link.connected(None, at(0.0));
    assert_eq!(link.poll_event(), Some(Event::Up(None)));
    link
}

#[test]
fn its_hosts_stand_in_its_place_among_the_peers_and_are_tried_in_order() {
    let mut link = link(&["tcp://plain:1", URL, "tcp://last:1"]);
    assert_eq!(link.poll_command(), Some(Command::Find(SERVICE.into())));
    assert_eq!(connects_to(&mut link).as_deref(), Some("plain"));
    link.found(SERVICE, answer(&[(2, "b"), (1, "a")]), at(0.0));
    for host in ["a", "b", "last"] {
        link.failed("refused".into(), at(0.1));
        assert_eq!(connects_to(&mut link).as_deref(), Some(host));
    }
}

#[test]
fn a_certificate_must_be_for_the_domain_that_was_configured() {
    let mut link = link(&[URL, "tcp://plain:1"]);
    let names = |link: &mut Link| {
        let commands = std::iter::from_fn(|| link.poll_command());
        let names = commands.filter_map(|command| match command {
            Command::Connect { url, name, .. } => Some((url.host, name)),
            _ => None,
        });
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&mut link), [("plain".into(), "plain".into())]);
    link.found(SERVICE, answer(&[(1, "anybody.evil.test")]), at(0.0));
    link.failed("refused".into(), at(0.1));
    assert_eq!(names(&mut link), [("anybody.evil.test".into(), "logs.test".into())]);
}

#[test]
fn a_host_that_is_named_no_more_is_left_once_everything_is_acknowledged() {
    let mut link = connected(&[(1, "a"), (2, "b")]);
    link.send(&batch_of("a line\n"));
    link.wrote(8);
    link.found(SERVICE, answer(&[(2, "b")]), at(30.0));
    assert!(!link.has_room(), "nothing more is sent to it");
    assert_eq!(link.peer().unwrap().host, "a");
    assert_eq!(link.poll_event(), None, "it is not cut off");
    assert_eq!(link.acknowledged(8, Duration::ZERO, at(30.1)).lines, 1);
    link.tick(at(30.1));
    assert_eq!(link.poll_event(), Some(Event::Down(Ended::Otherwise)));
    link.tick(at(30.1));
    assert_eq!(connects_to(&mut link).as_deref(), Some("b"));
    link.connected(None, at(30.2));
    assert_eq!(link.peer(), Some(&urls(&["tcp://b:1"])[0]));
}

#[test]
fn a_peer_with_sessions_is_left_by_closing_its_session() {
    let mut link = link(&["relp://_relp._tcp.logs.test"]);
    link.found(SERVICE, answer(&[(1, "a")]), at(0.0));
    link.connected(None, at(0.0));
    link.received(b"1 rsp 37 200 OK\nrelp_version=0\ncommands=syslog\n", at(0.0));
    while link.poll_command().is_some() {}
    link.found(SERVICE, answer(&[(1, "b")]), at(10.0));
    let closes: Vec<u8> = link.out().unwrap().pieces().iter().flat_map(|b| b.to_vec()).collect();
    assert!(closes.ends_with(b"2 close 0\n"));
    link.received(b"2 rsp 0\n0 serverclose 0\n", at(10.1));
    assert_eq!(connects_to(&mut link).as_deref(), Some("b"));
}

#[test]
fn a_host_that_is_added_before_the_present_one_is_moved_to_and_one_behind_is_not() {
    let mut link = connected(&[(2, "b")]);
    link.found(SERVICE, answer(&[(2, "b"), (3, "c")]), at(60.0));
    assert_eq!(link.poll_command(), None);
    link.found(SERVICE, answer(&[(1, "a"), (2, "b"), (3, "c")]), at(120.0));
    assert_eq!(link.poll_command(), Some(Command::Probe(urls(&["tcp://a:1"])[0].clone())));
    assert_eq!(link.peer().unwrap().host, "b", "until it is known to answer");
    link.probed(true, at(120.1));
    link.tick(at(120.1));
    assert_eq!(connects_to(&mut link).as_deref(), Some("a"));
}

#[test]
fn a_probe_of_a_host_that_is_gone_meanwhile_moves_nobody() {
    let mut link = connected(&[(2, "b")]);
    link.found(SERVICE, answer(&[(1, "a"), (2, "b")]), at(60.0));
    assert!(matches!(link.poll_command(), Some(Command::Probe(_))));
    link.found(SERVICE, answer(&[(2, "b")]), at(120.0));
    link.probed(true, at(120.1));
    assert!(link.has_room());
    assert_eq!(link.poll_command(), None);
    assert_eq!(link.peer().unwrap().host, "b");
}

#[test]
fn a_name_that_disappears_keeps_its_hosts() {
    let mut link = connected(&[(1, "a"), (2, "b")]);
    link.tick(at(60.0));
    assert_eq!(finds(&mut link), [SERVICE]);
    link.found(SERVICE, Err("there is no such name".into()), at(60.0));
    assert!(link.has_room());
    assert_eq!((link.peer().unwrap().host.as_str(), link.error()), ("a", None));
    let known = link.services(at(70.0)).remove(0);
    assert_eq!(known.hosts, ["a:1", "b:1"]);
    assert_eq!(known.age, Some(Duration::from_secs(70)));
    assert_eq!(known.error.as_deref(), Some("there is no such name"));
    // And the next of them is there when the first is not.
    link.failed("gone".into(), at(70.0));
    assert_eq!(connects_to(&mut link).as_deref(), Some("b"));
}

#[test]
fn a_service_that_nobody_offers_is_left_and_the_reason_is_told() {
    let mut link = connected(&[(1, "a")]);
    link.found(SERVICE, answer(&[]), at(60.0));
    assert_eq!(link.poll_event(), Some(Event::Down(Ended::Otherwise)));
    assert_eq!(link.error(), Some("tcp://_relp._tcp.logs.test: DNS says that no host offers it"));
    assert!(link.is_unresolved() && link.attempt().is_none());
    assert_eq!(link.deadline(), Some(at(120.0)), "it is asked again then");
    link.tick(at(120.0));
    assert_eq!(finds(&mut link), [SERVICE]);
    link.found(SERVICE, answer(&[(1, "c")]), at(120.0));
    assert_eq!(connects_to(&mut link).as_deref(), Some("c"));
}

#[test]
fn a_service_that_is_not_found_at_first_is_asked_for_until_it_is() {
    let mut link = link(&[URL]);
    let mut now = at(0.0);
    for _ in 0..5 {
        assert_eq!(finds(&mut link), [SERVICE]);
        assert_eq!(link.deadline(), None, "while it is looked up there is nothing to do");
        link.found(SERVICE, Err("it does not answer".into()), now);
        assert_eq!(link.error(), Some("tcp://_relp._tcp.logs.test: it does not answer"));
        assert!(link.is_unresolved());
        now = link.deadline().unwrap();
        link.tick(now);
    }
    link.found(SERVICE, answer(&[(1, "a")]), now);
    assert_eq!(connects_to(&mut link).as_deref(), Some("a"));
    link.connected(None, now);
    assert_eq!((link.error(), link.is_unresolved()), (None, false));
}

#[test]
fn hosts_that_all_fail_have_it_looked_up_before_its_time_is_over() {
    let mut link = connected(&[(1, "a"), (2, "b")]);
    link.failed("gone".into(), at(10.0));
    assert_eq!(connects_to(&mut link).as_deref(), Some("b"));
    assert_eq!(link.deadline(), Some(at(60.0)), "there is one to try");
    link.failed("refused".into(), at(10.0));
    assert_eq!(finds(&mut link), [SERVICE]);
    link.found(SERVICE, answer(&[(1, "new")]), at(10.2));
    assert_eq!(connects_to(&mut link).as_deref(), Some("new"));
    // Not all the time: a second must pass.
    link.failed("refused".into(), at(10.3));
    assert_eq!(finds(&mut link), Vec::<String>::new());
    link.tick(at(11.0));
    assert_eq!(finds(&mut link), [SERVICE]);
}

#[test]
fn a_link_that_ends_looks_nothing_up() {
    let mut link = connected(&[(1, "a")]);
    link.send(&batch_of("a line\n"));
    link.end(at(1.0));
    link.tick(at(100.0));
    assert_eq!(finds(&mut link), Vec::<String>::new());
    assert!(link.deadline().is_none_or(|deadline| deadline >= at(60.0)));
    link.abort();
    assert_eq!((link.has_ended(), link.deadline()), (true, None));
}
