//! Clients of Scribe and Flume, good and bad, against a session.

use proptest::prelude::*;

use super::*;
use crate::ingress::server::Session as _;
use crate::input::InputCounts;
use crate::limits::RECORDS_MESSAGE_MAX;
use crate::proto::thrift::wire::{self, kind, string, u32};

fn session_as(form: As) -> Session {
    Session::new(Source::Process { pid: 1, uid: 1 }, form, 4096, 1_767_225_600)
}

fn head(name: &str, is_strict: bool) -> Head<'_> {
    Head { name: name.as_bytes(), kind: message::CALL, sequence: 9, is_strict }
}

fn framed(head: &Head<'_>, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    head.write(&mut out, |out| out.extend_from_slice(body));
    out
}

/// `Log` with these entries.
fn log(entries: &[(&str, &str)], is_strict: bool) -> Vec<u8> {
    let mut body = Vec::new();
    wire::field(&mut body, kind::LIST, 1);
    body.push(kind::STRUCT);
    u32(&mut body, u32::try_from(entries.len()).unwrap());
    for (category, text) in entries {
        wire::field(&mut body, kind::STRING, 1);
        string(&mut body, category.as_bytes());
        wire::field(&mut body, kind::STRING, 2);
        string(&mut body, text.as_bytes());
        body.push(kind::STOP);
    }
    body.push(kind::STOP);
    framed(&head("Log", is_strict), &body)
}

/// Flume's event, as the last field of a struct or an element of a list.
fn event(headers: &[(&str, &str)], text: &str) -> Vec<u8> {
    let mut body = Vec::new();
    wire::field(&mut body, kind::MAP, 1);
    body.extend_from_slice(&[kind::STRING, kind::STRING]);
    u32(&mut body, u32::try_from(headers.len()).unwrap());
    for (name, value) in headers {
        string(&mut body, name.as_bytes());
        string(&mut body, value.as_bytes());
    }
    wire::field(&mut body, kind::STRING, 2);
    string(&mut body, text.as_bytes());
    body.push(kind::STOP);
    body
}

fn append_batch(events: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    wire::field(&mut body, kind::LIST, 1);
    body.push(kind::STRUCT);
    u32(&mut body, u32::try_from(events.len()).unwrap());
    body.extend(events.concat());
    body.push(kind::STOP);
    framed(&head("appendBatch", true), &body)
}

fn append(event: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    wire::field(&mut body, kind::STRUCT, 1);
    body.extend_from_slice(event);
    body.push(kind::STOP);
    framed(&head("append", true), &body)
}

fn lines_of(pieces: &mut Pieces) -> String {
    String::from_utf8(pieces.full().flat_map(|piece| piece.bytes.to_vec()).collect()).unwrap()
}

fn served(session: &mut Session, stream: &[u8]) -> (String, InputCounts) {
    let mut pieces = Pieces::default();
    session.push(stream, &mut pieces).unwrap();
    (lines_of(&mut pieces), *pieces.counts())
}

/// The answer with this result.
fn answer(name: &str, is_strict: bool, code: u8) -> Vec<u8> {
    let body = [kind::I32, 0, 0, 0, 0, 0, code, kind::STOP];
    framed(&Head { kind: message::REPLY, ..head(name, is_strict) }, &body)
}

#[test]
fn scribe_s_call_and_its_answer_are_as_scribe_writes_them() {
    let call = b"\0\0\0\x2a\0\0\0\x03Log\x01\0\0\0\0\x0f\0\x01\x0c\0\0\0\x01\
                 \x0b\0\x01\0\0\0\x03web\x0b\0\x02\0\0\0\x03hi\n\0\0";
    let mut session = session_as(As::Message);
    assert_eq!(served(&mut session, call).0, "<13>1 - - web - - - hi\n");
    assert!(session.wants_barrier() && session.out().is_empty());
    session.sent(1);
    assert!(session.waits());
    session.completed(1);
    let reply = b"\0\0\0\x14\0\0\0\x03Log\x02\0\0\0\0\x08\0\0\0\0\0\0\0";
    assert_eq!(session.out().as_slice(), reply);
    assert!(!session.waits());
}

#[test]
fn categories_and_headers_find_their_places() {
    let long = "a category with spaces";
    let entries = [("web", "one\n"), ("web", "two\nlines"), (long, "three"), ("", "four")];
    let (lines, _) = served(&mut session_as(As::Message), &log(&entries, true));
    let wanted = "<13>1 - - web - - - one\n<13>1 - - web - - - two#012lines\n\
                  <13>1 - - acategorywithspaces - - [scribe@32473 \
                  category=\"a category with spaces\"] three\n<13>1 - - - - - - four\n";
    assert_eq!(lines, wanted);
    let headers = [
        ("host", "web1"),
        ("category", "nginx"),
        ("Facility", "16"),
        ("Severity", "3"),
        ("timestamp", "1767225600250"),
        ("k", "v"),
    ];
    let events = [event(&headers, "full"), event(&[], "bare"), event(&[("host", "a b")], "odd")];
    let stream = append_batch(&events);
    let (lines, _) = served(&mut session_as(As::Message), &stream);
    let wanted = "<131>1 2026-01-01T00:00:00.250000Z web1 nginx - - [flume@32473 k=\"v\"] full\n\
                  <13>1 - - - - - - bare\n<13>1 - - - - - [flume@32473 host=\"a b\"] odd\n";
    assert_eq!(lines, wanted);
    let (lines, _) = served(&mut session_as(As::Line), &append(&events[0]));
    assert_eq!(lines, "full\n");
    let (lines, _) = served(&mut session_as(As::Json), &append(&events[2]));
    assert_eq!(lines, "{\"host\":\"a b\",\"message\":\"odd\"}\n");
    let (lines, _) = served(&mut session_as(As::Json), &log(&[("web", "one\n")], false));
    assert_eq!(lines, "{\"category\":\"web\",\"message\":\"one\"}\n");
}

#[test]
fn each_call_is_answered_as_it_was_made_and_in_its_turn() {
    for is_strict in [false, true] {
        let mut session = session_as(As::Line);
        // An empty list asks whether the server takes anything.
        served(&mut session, &log(&[], is_strict));
        assert!(!session.wants_barrier());
        assert_eq!(std::mem::take(session.out()), answer("Log", is_strict, 0));
        let status = framed(&head("getStatus", is_strict), &[kind::STOP]);
        served(&mut session, &status);
        assert_eq!(std::mem::take(session.out()), answer("getStatus", is_strict, 2));
        // Behind a call whose lines are not on disk, everything waits.
        let both = [log(&[("a", "x")], is_strict), status.clone()].concat();
        served(&mut session, &both);
        session.sent(1);
        served(&mut session, &status);
        assert!(session.out().is_empty());
        session.completed(1);
        let status = answer("getStatus", is_strict, 2);
        let wanted = [answer("Log", is_strict, 0), status.clone(), status].concat();
        assert_eq!((std::mem::take(session.out()), session.held()), (wanted, 0));
    }
    for (name, wanted) in [
        ("getName", &b"\x0b\0\0\0\0\0\x07logweir\0"[..]),
        ("getStatusDetails", b"\x0b\0\0\0\0\0\0\0"),
        ("getCounters", b"\x0d\0\0\x0b\x0a\0\0\0\0\0"),
        ("aliveSince", b"\x0a\0\0\0\0\0\0\x69\x55\xb9\0\0"),
        ("zip", b"\x08\0\x02\0\0\0\x01\0"),
    ] {
        let mut session = session_as(As::Line);
        served(&mut session, &framed(&head(name, true), &[kind::STOP]));
        assert!(session.out().ends_with(wanted), "{name}: {:x?}", session.out());
        let code = if name == "zip" { message::EXCEPTION } else { message::REPLY };
        assert_eq!(session.out()[7], code);
    }
    // What is called one way is not answered.
    let mut session = session_as(As::Line);
    let shutdown = Head { kind: message::ONEWAY, ..head("shutdown", true) };
    served(&mut session, &framed(&shutdown, &[kind::STOP]));
    assert!(session.out().is_empty());
}

#[test]
fn while_lines_are_held_back_a_client_keeps_them() {
    let mut session = session_as(As::Line);
    session.set_held_back(true);
    let (lines, counts) = served(&mut session, &log(&[("a", "x"), ("a", "y")], false));
    assert_eq!((counts.deferred, counts.malformed), (2, 0));
    assert_eq!((lines.as_str(), session.wants_barrier()), ("", false));
    assert_eq!(std::mem::take(session.out()), answer("Log", false, 1));
    assert!(session.take_slip().unwrap().contains("come back later"));
    assert_eq!(served(&mut session, &append(&event(&[], "x"))).1.deferred, 1);
    assert_eq!(std::mem::take(session.out()), answer("append", true, 1));
    session.set_held_back(false);
    let (lines, counts) = served(&mut session, &log(&[("a", "x")], false));
    assert_eq!((lines.as_str(), counts.deferred), ("x\n", 0));
}

#[test]
fn what_a_client_does_wrong_ends_its_connection_and_nothing_of_a_bad_call_is_taken() {
    let good = log(&[("a", "good")], false);
    let args = |body: &[u8]| framed(&head("Log", true), body);
    let mut half = log(&[("a", "one"), ("a", "two")], true);
    let len = half.len();
    half.truncate(len - 3);
    half[3] -= 3;
    let deep = [[12, 0, 9].repeat(40), vec![0; 41]].concat();
    let cases: [(Vec<u8>, &str); 14] = [
        (vec![0x7f, 0xff, 0xff, 0xff], "sends a frame of 2147483647 bytes; 12582912 are the most"),
        (vec![0xff, 0xff, 0xff, 0xff], "sends a frame of 4294967295 bytes"),
        (vec![0x80, 0x01, 0x00, 0x01], "sends Thrift without frames"),
        (vec![0, 0, 0, 0], "a message that ends too early"),
        (vec![0, 0, 0, 4, 0x80, 2, 0, 1], "a version of Thrift's binary protocol"),
        (vec![0, 0, 0, 8, 0x80, 1, 0, 1, 0xff, 0xff, 0xff, 0xff], "ends too early"),
        (args(&[]), "ends too early"),
        (args(&[0]), "a call without the argument of its method"),
        (args(&[15, 0, 1, 11, 0, 0, 0, 0, 0]), "a call without the argument"),
        (args(&[15, 0, 1, 12, 0x7f, 0xff, 0xff, 0xff, 0]), "ends too early"),
        (args(&[15, 0, 1, 12, 0, 0, 0, 1, 0, 0]), "an entry without a message"),
        (args(&[99, 0, 1, 0]), "a value of type 99, which there is not"),
        (args(&deep), "a value nested deeper than 32 levels"),
        (half, "ends too early"),
    ];
    for (bad, said) in cases {
        let mut session = session_as(As::Line);
        let mut pieces = Pieces::default();
        let fault = session.push(&[&good[..], &bad].concat(), &mut pieces).unwrap_err();
        assert!(fault.to_string().contains(said), "{fault}");
        assert_eq!((lines_of(&mut pieces), pieces.counts().malformed), ("good\n".into(), 1));
        assert_eq!((session.state(), session.frames.held()), (State::Over, 0));
    }
    let tls = session_as(As::Line).push(&[0x16, 3, 1, 0], &mut Pieces::default()).unwrap_err();
    assert!(tls.to_string().contains("speaks TLS"), "{tls}");
    let reply = answer("Log", false, 0);
    let reply = session_as(As::Line).push(&reply, &mut Pieces::default()).unwrap_err();
    assert_eq!(reply, Fault::NoCall);
    assert!(u32::try_from(RECORDS_MESSAGE_MAX).unwrap() < 0x1603_0000, "TLS is no frame");
}

#[test]
fn nothing_is_taken_of_a_call_that_ends_at_any_of_its_bytes() {
    let calls = [
        log(&[("a", "one"), ("b", "two")], true),
        log(&[("a", "one")], false),
        append(&event(&[("host", "h")], "one")),
        append_batch(&[event(&[], "one"), event(&[("host", "h")], "two")]),
    ];
    for call in calls {
        for end in 0..call.len() {
            // The rest of it may still come.
            let (lines, counts) = served(&mut session_as(As::Line), &call[..end]);
            assert_eq!((lines.as_str(), counts.malformed), ("", 0), "{end} of {}", call.len());
            // The frame says that it does not.
            let Some(body) = call.get(4..end) else { continue };
            let mut short = Vec::new();
            string(&mut short, body);
            let mut pieces = Pieces::default();
            let fault = session_as(As::Line).push(&short, &mut pieces).unwrap_err();
            assert!(fault.to_string().contains("ends too early"), "{end}: {fault}");
            assert_eq!((lines_of(&mut pieces).as_str(), pieces.counts().malformed), ("", 1));
        }
    }
}

#[test]
fn unknown_fields_are_passed_over_wherever_they_stand() {
    // Of each type: bool, byte, i16, i32, i64, double, string, struct, map, set, list.
    let unknown: [&[u8]; 11] = [
        &[2, 0, 7, 1],
        &[3, 0, 7, 1],
        &[6, 0, 7, 1, 2],
        &[8, 0, 7, 1, 2, 3, 4],
        &[10, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8],
        &[4, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8],
        &[11, 0, 7, 0, 0, 0, 1, b'x'],
        &[12, 0, 7, 3, 0, 1, 5, 0],
        &[13, 0, 7, 11, 8, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4],
        &[14, 0, 7, 3, 0, 0, 0, 2, 1, 2],
        &[15, 0, 7, 12, 0, 0, 0, 2, 0, 0],
    ];
    for field in unknown {
        let mut body = field.to_vec();
        body.extend_from_slice(&[15, 0, 1, 12, 0, 0, 0, 1]);
        body.extend_from_slice(field);
        // The message before the category.
        body.extend_from_slice(&[11, 0, 2, 0, 0, 0, 1, b'm', 11, 0, 1, 0, 0, 0, 1, b'c']);
        body.extend_from_slice(field);
        body.push(0);
        body.extend_from_slice(field);
        body.push(0);
        let stream = framed(&head("Log", true), &body);
        let (lines, _) = served(&mut session_as(As::Message), &stream);
        assert_eq!(lines, "<13>1 - - c - - - m\n", "{field:?}");
    }
}

proptest! {
    #[test]
    fn a_session_is_the_same_however_its_bytes_are_split(
        texts in proptest::collection::vec("[a-z\n]{0,30}", 0..6),
        is_strict in any::<bool>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let entries: Vec<_> = texts.iter().map(|text| ("c", text.as_str())).collect();
        let status = framed(&head("getStatus", is_strict), &[kind::STOP]);
        let events: Vec<_> = texts.iter().map(|text| event(&[("h", "v")], text)).collect();
        let stream = [log(&entries, is_strict), status, append_batch(&events)].concat();
        let (mut whole, mut split) = (session_as(As::Message), session_as(As::Message));
        let wanted = served(&mut whole, &stream);
        let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        at.push(stream.len());
        at.sort_unstable();
        let (mut from, mut got, mut counts) = (0, String::new(), InputCounts::default());
        for to in at {
            let (lines, more) = served(&mut split, &stream[from..to]);
            got += &lines;
            counts.add(&more);
            from = to;
        }
        prop_assert_eq!(wanted.0.lines().count(), texts.len() * 2);
        prop_assert_eq!((got, counts), wanted);
        for session in [&mut whole, &mut split] {
            session.sent(1);
            session.completed(1);
        }
        prop_assert_eq!(split.out(), whole.out());
    }

    #[test]
    fn no_bytes_make_a_session_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut session = session_as(As::Message);
        let body = framed(&head("appendBatch", true), &bytes);
        // Whatever it is, it is a fault or it is not.
        let _ = session.push(&body, &mut Pieces::default());
        let _ = session_as(As::Json).push(&bytes, &mut Pieces::default());
    }
}
