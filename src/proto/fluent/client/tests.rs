//! The client against what a server says, and against our own.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::batch::Numbers;
use crate::filter::batch_of;
use crate::format::plan::{FormatPlan, Shape};
use crate::ingress::server::Session as _;
use crate::input::{Gather, Pieces};
use crate::proto::fluent::auth::Secrets;
use crate::proto::fluent::message::write_ack;
use crate::proto::fluent::session::{Chunks, Session};
use crate::proto::shared::record::As;
use crate::sources::Source;

fn write_ack_bytes(id: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_ack(&mut out, id);
    out
}

fn formatter() -> Formatter {
    Formatter::new(&FormatPlan::default())
}

fn written(client: &mut FluentClient) -> Vec<u8> {
    let bytes: Vec<u8> = client.out.pieces().iter().flat_map(|bytes| bytes.to_vec()).collect();
    client.wrote(bytes.len());
    bytes
}

fn server(form: As) -> Session {
    Session::new((Source::Process { pid: 1, uid: 1 }, false), form, 4096, Chunks::default())
}

/// What a server takes out of a stream, and what it answers.
fn served(server: &mut Session, stream: &[u8]) -> (String, Vec<u8>) {
    let mut pieces = Pieces::default();
    server.push(stream, &mut pieces).unwrap();
    if server.wants_barrier() {
        server.sent(1);
    }
    server.completed(1);
    let lines = pieces.full().flat_map(|piece| piece.bytes.to_vec()).collect();
    (String::from_utf8(lines).unwrap(), std::mem::take(server.out()))
}

fn push(client: &mut FluentClient, bytes: &[u8]) -> Result<Vec<Heard>, String> {
    let mut heard = Vec::new();
    client.push(bytes, &mut heard).map(|()| heard).map_err(|error| error.to_string())
}

const MESSAGE: &str = "<28>1 2026-01-01T00:00:00.25Z web1 nginx 7 id \
                       [fluent@32473 k=\"v \\\"w\\\"\"]\
                       [o@1 p=\"q\"] hello\n";

#[test]
fn lines_are_records_with_their_parts_and_are_the_peer_s_once_answered() {
    let mut client = new(None, &FluentOutPlan::default());
    assert!(client.is_open() && !client.waits());
    client.send(&batch_of(&format!("{MESSAGE}raw line\n{MESSAGE}")), &formatter());
    let (lines, answers) = served(&mut server(As::Json), &written(&mut client));
    let record = "{\"time\":\"2026-01-01T00:00:00.250000Z\",\"tag\":\"nginx\",\
                  \"severity\":\"warning\",\"facility\":\"daemon\",\"host\":\"web1\",\
                  \"ident\":\"nginx\",\"pid\":\"7\",\"msgid\":\"id\",\"k\":\"v \\\"w\\\"\",\
                  \"o@1.p\":\"q\",\"message\":\"hello\"}";
    let mut lines = lines.lines();
    assert_eq!((lines.next(), lines.next()), (Some(record), Some(record)));
    let raw = lines.next().unwrap();
    assert!(raw.ends_with("\"tag\":\"in\",\"message\":\"raw line\"}"), "{raw}");
    // Two tags, so two chunks; the lines are done when both are answered.
    let half = answers.len() / 2;
    push(&mut client, &answers[..half]).unwrap();
    assert_eq!((client.take_done().lines, client.waits()), (0, true));
    push(&mut client, &answers[half..]).unwrap();
    let bytes = 2 * MESSAGE.len() as u64 + 9;
    assert_eq!(client.take_done(), Count { lines: 3, bytes });
    assert!(!client.waits());
}

#[test]
fn a_format_and_a_tag_are_the_user_s_and_chunks_are_compressed() {
    for packing in [Packing::Gzip, Packing::Zstd] {
        let template = |text: &str| Shape::Template(Arc::new(text.parse().unwrap()));
        let tag = FormatPlan { shape: template("logs.{app}"), tag: None };
        let plan = FluentOutPlan { packing: Some(packing), tag, ..FluentOutPlan::default() };
        let mut client = new(None, &plan);
        let format = FormatPlan { shape: template("{app} said {message}"), tag: None };
        client.send(&batch_of(MESSAGE), &Formatter::new(&format));
        let (lines, _) = served(&mut server(As::Json), &written(&mut client));
        let wanted = "{\"time\":\"2026-01-01T00:00:00.250000Z\",\"tag\":\"logs.nginx\",\
                      \"message\":\"nginx said hello\"}\n";
        assert_eq!(lines, wanted);
    }
}

#[test]
fn a_chunk_that_is_sent_again_has_the_same_id_and_no_other_has_it() {
    let sent = |origin: u128, first, last, text: &str| {
        let offer = Some((Identity::of(origin), 0));
        let mut client = new(offer, &FluentOutPlan::default());
        let numbers = Some(Numbers { first, last });
        client.send(&Batch { numbers, ..batch_of(text) }, &formatter());
        client.chunks.into_keys().next().unwrap()
    };
    let id = sent(7, 10, 11, "a\nb\n");
    assert_eq!((sent(7, 10, 11, "a\nb\n"), id.len()), (id.clone(), 24));
    assert_ne!(sent(8, 10, 11, "a\nb\n"), id);
    assert_ne!(sent(7, 11, 12, "a\nb\n"), id);
    // Some of ten lines: which, is not known.
    assert_ne!(sent(7, 10, 19, "a\nb\n"), sent(7, 10, 19, "a\nb\n"));
    assert_eq!(base64(*b"0123456789abcdef"), "MDEyMzQ1Njc4OWFiY2RlZg==");
}

#[test]
fn answers_that_make_no_sense_end_the_connection() {
    let hello = [&[0x92, 0xa4][..], b"HELO", &[0x81, 0xa5], b"nonce", &[0xc4, 1, 7]].concat();
    for (answer, said) in [
        (write_ack_bytes(b"unknown"), "answers a chunk that was not sent"),
        (vec![0x05], "is no answer of Fluent forward"),
        (vec![0xc1], "begins no value"),
        (vec![0xdb, 0xff, 0xff, 0xff, 0xff], "a value larger than may be"),
        (hello, "asks for a shared key: set `shared_key`"),
        (vec![0x81, 0xa3, b'a', b'c', b'k', 0x01], "is no answer"),
    ] {
        let mut client = new(None, &FluentOutPlan::default());
        client.send(&batch_of("one\n"), &formatter());
        let error = push(&mut client, &answer).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let plan = FluentOutPlan { shared_key: Some("k".into()), ..FluentOutPlan::default() };
    let error = push(&mut new(None, &plan), &write_ack_bytes(b"x")).unwrap_err();
    assert!(error.contains("does not ask for the shared key"), "{error}");
}

/// A client and a server that may have a key and a user; why they do not agree.
fn handshake(
    ours: (&str, Option<(&str, &str)>),
    theirs: (&str, &[(&str, &str)]),
    name: &str,
) -> Result<bool, String> {
    let own = |(user, word): (&str, &str)| (user.to_string(), word.to_string());
    let plan = FluentOutPlan {
        shared_key: Some(ours.0.into()),
        user: ours.1.map(own),
        host: "web1".into(),
        ..FluentOutPlan::default()
    };
    let users = theirs.1.iter().copied().map(own).collect();
    let secrets = Secrets { shared_key: theirs.0.into(), users, name: name.into() };
    let mut client = new(None, &plan);
    let mut server = server(As::Line).with_secrets(Arc::new(secrets), [1; 16], [2; 16]);
    assert!(!client.is_open() && client.waits());
    let hello = std::mem::take(server.out());
    assert_eq!(push(&mut client, &hello)?, []);
    let refused = server.push(&written(&mut client), &mut Pieces::default()).is_err();
    let pong = std::mem::take(server.out());
    let heard = push(&mut client, &pong)?;
    assert_eq!((heard, client.is_open(), refused), (vec![Heard::Opened(None)], true, false));
    Ok(true)
}

#[test]
fn both_sides_must_know_the_key() {
    let joe = ("joe", "pass");
    assert_eq!(handshake(("k", None), ("k", &[]), "hub"), Ok(true));
    assert_eq!(handshake(("k", Some(joe)), ("k", &[("ann", "x"), joe]), "hub"), Ok(true));
    assert_eq!(handshake(("k", Some(joe)), ("k", &[]), "hub"), Ok(true));
    let refused = handshake(("wrong", None), ("k", &[]), "hub").unwrap_err();
    assert!(refused.contains("refuses this host: shared key mismatch"), "{refused}");
    let refused = handshake(("k", None), ("k", &[joe]), "hub").unwrap_err();
    assert!(refused.contains("refuses this host: username/password mismatch"), "{refused}");
    let same = handshake(("k", None), ("k", &[]), "web1").unwrap_err();
    assert!(same.contains("or is this host"), "{same}");
}

proptest! {
    /// A client and a server, every byte stream between them split anywhere.
    #[test]
    fn every_line_arrives_once_and_is_answered(
        texts in proptest::collection::vec("[a-z ]{1,9}", 1..30),
        packs in any::<bool>(),
        step in 1_usize..60,
    ) {
        let packing = packs.then_some(Packing::Gzip);
        let mut client = new(None, &FluentOutPlan { packing, ..FluentOutPlan::default() });
        let mut server = server(As::Line);
        for texts in texts.chunks(3) {
            client.send(&batch_of(&(texts.join("\n") + "\n")), &formatter());
        }
        let (mut received, mut done) = (String::new(), 0);
        let stream = written(&mut client);
        for piece in stream.chunks(step) {
            let (lines, answers) = served(&mut server, piece);
            received += &lines;
            for piece in answers.chunks(step) {
                client.push(piece, &mut Vec::new()).unwrap();
            }
            done += client.take_done().lines;
        }
        prop_assert_eq!(received, texts.join("\n") + "\n");
        prop_assert_eq!(done, texts.len() as u64);
        prop_assert!(!client.waits());
    }
}
