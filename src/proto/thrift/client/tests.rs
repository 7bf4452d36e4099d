//! The client against what a server says, and against our own.

use proptest::prelude::*;

use super::*;
use crate::filter::batch_of;
use crate::format::plan::FormatPlan;
use crate::ingress::server::Session as _;
use crate::input::{Gather, Pieces};
use crate::proto::shared::format::template;
use crate::proto::shared::record::As;
use crate::proto::thrift::session::Session;
use crate::sources::Source;

fn formatter() -> Formatter {
    Formatter::new(&FormatPlan::default())
}

fn written(client: &mut ScribeClient) -> Vec<u8> {
    let bytes: Vec<u8> = client.out.pieces().iter().flat_map(|bytes| bytes.to_vec()).collect();
    client.wrote(bytes.len());
    bytes
}

fn push(client: &mut ScribeClient, bytes: &[u8]) -> Result<(), String> {
    client.push(bytes, &mut Vec::new()).map_err(|error| error.to_string())
}

/// An answer to the call of this number.
fn answer(sequence: u32, is_strict: bool, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let head = Head { name: b"Log", kind: message::REPLY, sequence, is_strict };
    head.write(&mut out, |out| out.extend_from_slice(body));
    out
}

const OK: &[u8] = &[8, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn a_call_is_what_scribe_s_own_client_writes() {
    let mut client = new(None, &ScribeOutPlan { category: template("web").unwrap() });
    client.next = 0;
    client.send(&batch_of("hi\n"), &formatter());
    let wanted = b"\0\0\0\x2a\0\0\0\x03Log\x01\0\0\0\0\x0f\0\x01\x0c\0\0\0\x01\
                   \x0b\0\x01\0\0\0\x03web\x0b\0\x02\0\0\0\x03hi\n\0\0";
    assert_eq!(written(&mut client), wanted);
    assert!(client.waits());
    push(&mut client, b"\0\0\0\x14\0\0\0\x03Log\x02\0\0\0\0\x08\0\0\0\0\0\0\0").unwrap();
    assert_eq!(client.take_done(), Count { lines: 1, bytes: 3 });
    assert!(!client.waits());
}

#[test]
fn the_category_is_the_app_and_answers_of_both_kinds_are_taken() {
    let mut client = new(None, &ScribeOutPlan::default());
    client.send(&batch_of("<13>1 - h nginx - - - one\nraw\n"), &formatter());
    client.send(&batch_of("two\n"), &formatter());
    let mut server = Session::new(Source::Process { pid: 1, uid: 1 }, As::Json, 1000, 0);
    let mut pieces = Pieces::default();
    server.push(&written(&mut client), &mut pieces).unwrap();
    let lines: Vec<u8> = pieces.full().flat_map(|piece| piece.bytes.to_vec()).collect();
    assert_eq!(
        String::from_utf8(lines).unwrap(),
        "{\"category\":\"nginx\",\"message\":\"<13>1 - h nginx - - - one\"}\n\
         {\"category\":\"in\",\"message\":\"raw\"}\n{\"category\":\"in\",\"message\":\"two\"}\n"
    );
    push(&mut client, &answer(1, true, OK)).unwrap();
    assert_eq!(client.take_done().lines, 2);
    push(&mut client, &answer(2, false, OK)).unwrap();
    assert_eq!((client.take_done().lines, client.waits()), (1, false));
}

#[test]
fn answers_that_are_not_ok_end_the_connection() {
    let later = &[8, 0, 0, 0, 0, 0, 1, 0];
    let mut unknown = answer(1, false, &[11, 0, 1, 0, 0, 0, 2, b'n', b'o', 0]);
    unknown[11] = message::EXCEPTION;
    for (answer, said) in [
        (answer(1, false, later), "asks to come back later (TRY_LATER)"),
        (answer(2, false, OK), "is not one to the oldest call"),
        (answer(1, false, &[0]), "is not one to the oldest call"),
        (unknown, "the peer says: no"),
        (vec![0xff; 8], "sends a frame of 4294967295 bytes"),
        (vec![0, 0, 0, 1, 0], "ends too early"),
    ] {
        let mut client = new(None, &ScribeOutPlan::default());
        client.send(&batch_of("one\n"), &formatter());
        let error = push(&mut client, &answer).unwrap_err();
        assert!(error.contains(said), "{error}");
        assert_eq!(client.take_done(), Count::default());
    }
}

proptest! {
    #[test]
    fn every_line_arrives_once_and_is_answered(
        texts in proptest::collection::vec("[a-z ]{0,9}", 1..12),
        step in 1_usize..60,
    ) {
        let mut client = new(None, &ScribeOutPlan::default());
        let mut server = Session::new(Source::Process { pid: 1, uid: 1 }, As::Line, 1000, 0);
        for texts in texts.chunks(3) {
            client.send(&batch_of(&(texts.join("\n") + "\n")), &formatter());
        }
        prop_assert_eq!(client.has_room(), texts.chunks(3).count() < CALLS_UNANSWERED_MAX);
        let (mut pieces, mut done, mut received) = (Pieces::default(), 0, Vec::new());
        for piece in written(&mut client).chunks(step) {
            server.push(piece, &mut pieces).unwrap();
            received.extend(pieces.full().flat_map(|piece| piece.bytes.to_vec()));
            if server.wants_barrier() {
                server.sent(1);
            }
            server.completed(1);
            for piece in std::mem::take(server.out()).chunks(step) {
                client.push(piece, &mut Vec::new()).unwrap();
            }
            done += client.take_done().lines;
        }
        prop_assert_eq!(String::from_utf8(received).unwrap(), texts.join("\n") + "\n");
        prop_assert_eq!(done, texts.len() as u64);
        prop_assert!(!client.waits());
    }
}
