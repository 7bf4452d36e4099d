//! Messages as servers send them, and servers that answer oddly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::message::{Reply, question, reply};
use super::servers::Servers;
use super::*;

const SERVICE: &str = "_relp._tcp.logs.test";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn target(priority: u16, weight: u16, host: &str, port: u16) -> Target {
    Target { priority, weight, host: host.into(), port }
}

/// An answer to `question`, with these flags and records.
fn answer(question: &[u8], flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut message = question.to_vec();
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    let count = u16::try_from(records.len()).unwrap();
    message[6..8].copy_from_slice(&count.to_be_bytes());
    for record in records {
        message.extend_from_slice(record);
    }
    message
}

/// A record whose owner is what the question asks for.
fn record(kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    owned(&[0xc0, 12], kind, ttl, data)
}

fn owned(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    let parts: [&[u8]; 6] = [
        owner,
        &kind.to_be_bytes(),
        &1u16.to_be_bytes(),
        &ttl.to_be_bytes(),
        &length.to_be_bytes(),
        data,
    ];
    parts.concat()
}

fn srv(ttl: u32, priority: u16, weight: u16, port: u16, host: &[u8]) -> Vec<u8> {
    record(33, ttl, &srv_data(priority, weight, port, host))
}

fn srv_data(priority: u16, weight: u16, port: u16, host: &[u8]) -> Vec<u8> {
    let numbers = [priority, weight, port].map(u16::to_be_bytes).concat();
    [&numbers, host].concat()
}

fn said(records: &[Vec<u8>]) -> Reply {
    let asked = question(7, &name(SERVICE));
    reply(&answer(&asked, 0x8180, records), 7, &name(SERVICE)).unwrap()
}

fn found(targets: &[Target], seconds: u64) -> Reply {
    Reply::Found(Answer { targets: targets.to_vec(), ttl: Duration::from_secs(seconds) })
}

#[test]
fn a_question_is_as_the_rfc_has_it() {
    let expected = b"\x01\x02\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\
        \x05_relp\x04_tcp\x04logs\x04test\x00\x00\x21\x00\x01";
    assert_eq!(question(0x0102, &name(SERVICE)), expected);
    assert_eq!(question(0x0102, &name("_relp._tcp.logs.test.")), expected);
}

#[test]
fn an_answer_of_dnsmasq_is_understood() {
    // Priority 10 and 20; the second target's domain is a pointer into the question.
    let reply = said(&[
        srv(300, 20, 5, 2514, b"\x04hub2\xc0\x17"),
        srv(60, 10, 60, 2514, b"\x04HUB1\x04logs\x04test\x00"),
    ]);
    let hub1 = target(10, 60, "hub1.logs.test", 2514);
    assert_eq!(reply, found(&[hub1, target(20, 5, "hub2.logs.test", 2514)], 60));
}

#[test]
fn an_alias_is_followed_and_nothing_beside_it_is_taken() {
    let other = name("_relp._tcp.other.test");
    let alias = record(5, 30, other.wire());
    let data = srv_data(1, 1, 2514, name("hub.test").wire());
    let behind = owned(other.wire(), 33, 900, &data);
    let beside = owned(name("_x._tcp.test").wire(), 33, 1, &data);
    let expected = found(&[target(1, 1, "hub.test", 2514)], 30);
    assert_eq!(said(&[alias.clone(), beside.clone(), behind.clone()]), expected);
    assert_eq!(said(&[behind, alias.clone()]), expected, "in any order");
    assert_eq!(said(&[alias, beside]), Reply::Missing("the name has no SRV record"));
    // An alias of itself.
    let circle = record(5, 30, name(SERVICE).wire());
    assert_eq!(said(&[circle]), Reply::Missing("the name has no SRV record"));
}

#[test]
fn a_root_as_target_means_that_nobody_offers_it() {
    assert_eq!(said(&[srv(60, 0, 0, 0, b"\0")]), found(&[], 60));
    let one = srv(60, 1, 1, 2514, name("hub.test").wire());
    let one_target = [target(1, 1, "hub.test", 2514)];
    assert_eq!(said(&[srv(60, 0, 0, 0, b"\0"), one]), found(&one_target, 60));
}

#[test]
fn targets_that_cannot_be_used_are_left_out() {
    let good = srv(60, 1, 1, 2514, name("hub.test").wire());
    let again = srv(60, 9, 1, 2514, name("HUB.test").wire());
    let no_port = srv(60, 1, 1, 0, name("zero.test").wire());
    let bad_name = srv(60, 1, 1, 2514, b"\x05hub\x1b[\x04test\x00");
    let expected = found(&[target(1, 1, "hub.test", 2514)], 60);
    assert_eq!(said(&[bad_name, no_port, again, good]), expected);
}

#[test]
fn a_time_to_live_that_would_be_negative_is_none() {
    let reply = said(&[srv(u32::MAX, 1, 1, 1, name("hub.test").wire())]);
    assert_eq!(reply, found(&[target(1, 1, "hub.test", 1)], 0));
}

#[test]
fn errors_of_servers_are_told_apart() {
    let asked = question(7, &name(SERVICE));
    let says = |flags| reply(&answer(&asked, flags, &[]), 7, &name(SERVICE)).unwrap();
    assert_eq!(says(0x8183), Reply::Missing("there is no such name"));
    assert_eq!(says(0x8180), Reply::Missing("the name has no SRV record"));
    assert_eq!(says(0x8182), Reply::Failed("it failed (SERVFAIL)".into()));
    assert_eq!(says(0x8185), Reply::Failed("it refused to answer (REFUSED)".into()));
    assert_eq!(says(0x8184), Reply::Failed("it answered with error 4".into()));
    assert_eq!(says(0x8380), Reply::Cut);
}

#[test]
fn what_answers_another_question_is_no_reply() {
    let asked = question(7, &name(SERVICE));
    let good = answer(&asked, 0x8180, &[srv(60, 1, 1, 1, name("hub.test").wire())]);
    assert!(reply(&good, 7, &name("_RELP._tcp.Logs.test")).is_some(), "case is the same");
    assert!(reply(&good, 8, &name(SERVICE)).is_none(), "another number");
    assert!(reply(&good, 7, &name("_relp._tcp.logs.tesu")).is_none(), "another name");
    for (at, value) in [(2, 0x01), (2, 0x91), (5, 0), (5, 2), (35, 1), (37, 3)] {
        let mut other = good.clone();
        other[at] = value;
        assert!(reply(&other, 7, &name(SERVICE)).is_none(), "byte {at}");
    }
}

#[test]
fn a_message_cut_at_any_byte_is_refused() {
    let asked = question(7, &name(SERVICE));
    let records =
        [srv(60, 1, 1, 2514, b"\x04hub1\xc0\x17"), srv(60, 1, 1, 2514, name("hub.test").wire())];
    let whole = answer(&asked, 0x8180, &records);
    for end in 0..whole.len() {
        match reply(&whole[..end], 7, &name(SERVICE)) {
            None => assert!(end < asked.len()),
            Some(reply) => assert_eq!(reply, Reply::Failed("its answer is damaged".into())),
        }
    }
}

#[test]
fn pointers_that_lead_in_circles_or_ahead_are_refused() {
    let here = 12 + 22 + 4;
    let data = u8::try_from(here + 12 + 6).unwrap();
    for to in [data, data + 2, 255, u8::try_from(here).unwrap()] {
        // The record's owner points back, so only the target's pointer is at fault.
        let reply = said(&[srv(60, 1, 1, 1, &[0xc0, to])]);
        let expected = match usize::from(to) == here {
            true => continue, // To the owner, which points to the question: that is a name.
            false => Reply::Failed("its answer is damaged".into()),
        };
        assert_eq!(reply, expected, "to byte {to}");
    }
    // A label that is longer than names are.
    let long = [&[63; 64][..], &[63; 64], &[63; 64], &[63; 64], &[0]].concat();
    assert_eq!(said(&[srv(60, 1, 1, 1, &long)]), Reply::Failed("its answer is damaged".into()));
    // Bytes behind the name.
    assert_eq!(
        said(&[srv(60, 1, 1, 1, b"\x01a\0\0")]),
        Reply::Failed("its answer is damaged".into())
    );
}

#[test]
fn a_domain_is_what_is_left_of_a_service() {
    assert_eq!(domain("_relp._tcp.logs.test"), "logs.test");
    assert_eq!(domain("_relp.test."), "test");
    assert_eq!(domain("_relp._tcp"), "");
    assert!(check("_relp._tcp.logs.test").is_ok());
    for bad in ["_relp._tcp", "_relp._tcp.", "_relp..test", "_relp.t/st", &"_a.".repeat(130)] {
        assert!(check(bad).is_err(), "{bad}");
    }
}

#[test]
fn resolv_conf_is_read_as_the_c_library_reads_it() {
    let servers = Servers::parse(
        "# nameserver 192.0.2.9\nsearch example.org\nnameserver 192.0.2.1\n\
         nameserver\t2001:db8::1 # and a comment\nnameserver nobody\nnameserver 192.0.2.3\n\
         nameserver 192.0.2.4\noptions ndots:2 timeout:3 attempts:4 rotate\n",
    );
    let addresses: Vec<_> = servers.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"]);
    assert_eq!((servers.timeout, servers.attempts), (Duration::from_secs(3), 4));
    assert!(!servers.by_tcp);
    let servers = Servers::parse("options timeout:0 attempts:99 use-vc\nnameserver fe80::1%lo\n");
    assert_eq!((servers.timeout, servers.attempts), (Duration::from_secs(1), 5));
    assert!(servers.by_tcp);
    assert!(servers.addresses[0].to_string().starts_with("[fe80::1%"), "{servers:?}");
    let servers = Servers::parse("");
    assert_eq!(servers.addresses, ["127.0.0.1:53".parse().unwrap()]);
    assert_eq!((servers.timeout, servers.attempts), (Duration::from_secs(5), 2));
    let missing = Servers::read(std::path::Path::new("/nowhere/resolv.conf")).unwrap();
    assert_eq!(missing, servers);
}

/// A server of DNS on 127.0.0.1 that is what a test says.
struct Server {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// `datagrams` makes the replies to a datagram, `stream` the bytes that follow a question by
    /// TCP.
    fn new(
        datagrams: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
        stream: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let by_datagram = std::thread::spawn(move || {
            let mut bytes = [0; 512];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut bytes) else { continue };
                for reply in datagrams(&bytes[..length]) {
                    socket.send_to(&reply, from).unwrap();
                }
            }
        });
        let stop = Arc::clone(&ended);
        let by_stream = std::thread::spawn(move || {
            while let Ok((mut client, _)) = listener.accept() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let mut length = [0; 2];
                client.read_exact(&mut length).unwrap();
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                client.read_exact(&mut question).unwrap();
                // Byte by byte; the client may have had enough.
                for byte in stream(&question) {
                    if client.write_all(&[byte]).is_err() {
                        break;
                    }
                }
            }
        });
        Self { address, ended, threads: vec![by_datagram, by_stream] }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = std::net::TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn asks(servers: &[&Server]) -> Result<Answer, String> {
    let addresses = servers.iter().map(|server| server.address).collect();
    let timeout = Duration::from_millis(400);
    ask::by(SERVICE, &Servers { addresses, timeout, attempts: 2, by_tcp: false })
}

fn hub(question: &[u8]) -> Vec<u8> {
    answer(question, 0x8180, &[srv(60, 1, 1, 2514, name("hub.test").wire())])
}

fn many(question: &[u8]) -> Vec<u8> {
    let one = |n: u16| srv(60, n, 1, 2514, name(&format!("hub{n}.logs.test")).wire());
    answer(question, 0x8180, &(0..1_000).map(one).collect::<Vec<_>>())
}

fn by_tcp(message: Vec<u8>) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat()
}

fn nothing(_: &[u8]) -> Vec<u8> {
    Vec::new()
}

#[test]
fn an_answer_that_is_cut_short_is_asked_for_by_tcp() {
    let cut = |question: &[u8]| vec![answer(question, 0x8380, &[])];
    let server = Server::new(cut, |question| by_tcp(many(question)));
    let answer = asks(&[&server]).unwrap();
    assert_eq!(answer.targets.len(), 1_000);
    assert_eq!(answer.targets[999], target(999, 1, "hub999.logs.test", 2514));
}

#[test]
fn forged_answers_and_garbage_are_passed_over() {
    let forged = |question: &[u8]| {
        let mut other = hub(question);
        other[0] ^= 1;
        let evil = question_of(question, "_relp._tcp.evil.test");
        vec![Vec::new(), vec![0xff; 40], other, evil, hub(question)]
    };
    let server = Server::new(forged, nothing);
    assert_eq!(asks(&[&server]).unwrap().targets, [target(1, 1, "hub.test", 2514)]);
}

/// An answer with the number of `asked`, about another name.
fn question_of(asked: &[u8], other: &str) -> Vec<u8> {
    let id = u16::from_be_bytes([asked[0], asked[1]]);
    let question = question(id, &name(other));
    answer(&question, 0x8180, &[srv(60, 1, 1, 666, name("evil.test").wire())])
}

#[test]
fn a_server_that_fails_or_keeps_silent_is_followed_by_the_next() {
    let fails = Server::new(|question| vec![answer(question, 0x8182, &[])], nothing);
    let silent = Server::new(|_| Vec::new(), nothing);
    let good = Server::new(|question| vec![hub(question)], nothing);
    let answer = asks(&[&fails, &silent, &good]).unwrap();
    assert_eq!(answer.targets, [target(1, 1, "hub.test", 2514)]);
    assert_eq!(asks(&[&silent]).unwrap_err(), "server 127.0.0.1: it does not answer");
    assert_eq!(asks(&[&fails]).unwrap_err(), "server 127.0.0.1: it failed (SERVFAIL)");
}

#[test]
fn a_name_that_is_not_there_is_the_last_word() {
    let missing = Server::new(|question| vec![answer(question, 0x8183, &[])], nothing);
    let good = Server::new(|question| vec![hub(question)], nothing);
    assert_eq!(asks(&[&missing, &good]).unwrap_err(), "there is no such name");
}

#[test]
fn tcp_that_ends_early_or_answers_something_else_is_an_error() {
    let cut = |question: &[u8]| vec![answer(question, 0x8380, &[])];
    for (stream, message) in [
        (nothing as fn(&[u8]) -> Vec<u8>, "it closed the connection in its answer"),
        (|question| by_tcp(hub(question))[..20].to_vec(), "it closed the connection in its answer"),
        (|question| by_tcp(question_of(question, "_x.test")), "it answered another question"),
        (|question| by_tcp(answer(question, 0x8380, &[])), "its answer is cut"),
        (|_| vec![0, 0], "it answered another question"),
    ] {
        let server = Server::new(cut, stream);
        let error = asks(&[&server]).unwrap_err();
        assert_eq!(error, format!("server 127.0.0.1: {message}"));
    }
}
