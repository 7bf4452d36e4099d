//! Clients of every mode and kind, good and bad, against a session.

use proptest::prelude::*;

use super::*;
use crate::ingress::server::Session as _;
use crate::input::InputCounts;
use crate::parse::compressed::{Packing, pack};
use crate::proto::fluent::msgpack::{self, array, map, str, uint};

const CLIENT: Source = Source::Process { pid: 1, uid: 2 };

fn session_as(form: As, max_line: usize) -> Session {
    Session::new((CLIENT, false), form, max_line, Chunks::default())
}

fn session() -> Session {
    session_as(As::Message, 4096)
}

/// A record of these texts.
fn record(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    map(&mut out, u32::try_from(fields.len()).unwrap());
    for (name, value) in fields {
        str(&mut out, name.as_bytes());
        str(&mut out, value.as_bytes());
    }
    out
}

const TIME: u64 = 1_767_225_600;
const STAMP: &str = "2026-01-01T00:00:00.000000Z";

fn time() -> Vec<u8> {
    let mut out = Vec::new();
    uint(&mut out, TIME);
    out
}

fn entry(fields: &[(&str, &str)]) -> Vec<u8> {
    [vec![0x92], time(), record(fields)].concat()
}

/// A value of these parts, and behind them the options.
fn message(parts: &[Vec<u8>], options: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    array(&mut out, u32::try_from(parts.len() + 1).unwrap());
    out.extend(parts.concat());
    map(&mut out, u32::try_from(options.len()).unwrap());
    for (name, value) in options {
        str(&mut out, name.as_bytes());
        str(&mut out, value);
    }
    out
}

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    str(&mut out, text.as_bytes());
    out
}

fn packed(entries: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::bin(&mut out, entries);
    out
}

fn single(fields: &[(&str, &str)], options: &[(&str, &[u8])]) -> Vec<u8> {
    message(&[text("web"), time(), record(fields)], options)
}

fn lines_of(pieces: &mut Pieces) -> String {
    let bytes = pieces.full().flat_map(|piece| piece.bytes.to_vec()).collect();
    String::from_utf8(bytes).unwrap()
}

/// The lines that a stream becomes, and what was counted.
fn served(session: &mut Session, stream: &[u8]) -> (String, InputCounts) {
    let mut pieces = Pieces::default();
    session.push(stream, &mut pieces).unwrap();
    (lines_of(&mut pieces), *pieces.counts())
}

fn lines(stream: &[u8]) -> String {
    served(&mut session(), stream).0
}

fn ack(id: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_ack(&mut out, id);
    out
}

#[test]
fn every_mode_gives_the_same_lines() {
    let one = entry(&[("log", "first\n"), ("k", "v")]);
    let two = entry(&[("message", "second")]);
    let both = [one.clone(), two.clone()].concat();
    let gzip = pack(Packing::Gzip, &both);
    let members = [pack(Packing::Gzip, &one), pack(Packing::Gzip, &two)].concat();
    let zstd = pack(Packing::Zstd, &both);
    let mut forward = vec![0x92];
    forward.extend_from_slice(&both);
    let mut as_text = Vec::new();
    str(&mut as_text, &both);
    let messages = [
        [
            single(&[("log", "first\n"), ("k", "v")], &[]),
            vec![0xc0],
            [vec![0x93], text("web"), time(), record(&[("message", "second")])].concat(),
        ]
        .concat(),
        message(&[text("web"), forward.clone()], &[]),
        [vec![0x92], text("web"), forward].concat(),
        message(&[text("web"), packed(&both)], &[("size", b"2")]),
        message(&[text("web"), as_text], &[("compressed", b"text")]),
        message(&[text("web"), packed(&gzip)], &[("compressed", b"gzip")]),
        message(&[text("web"), packed(&members)], &[("compressed", b"gzip")]),
        message(&[text("web"), packed(&zstd)], &[("compressed", b"zstd")]),
    ];
    let wanted = format!(
        "<13>1 {STAMP} - web - - [fluent@32473 k=\"v\"] first\n\
         <13>1 {STAMP} - web - - - second\n"
    );
    for stream in messages {
        assert_eq!(lines(&stream), wanted, "{stream:x?}");
    }
}

#[test]
fn a_time_is_what_the_client_says_in_every_form() {
    let event = [0xd7, 0, 0x69, 0x55, 0xb9, 0, 0x07, 0x5b, 0xcd, 0x15];
    let with_metadata = [vec![0x92], time(), record(&[("m", "1")])].concat();
    let cases: [(Vec<u8>, String); 9] = [
        (event.to_vec(), "2026-01-01T00:00:00.123456Z - web - - -".into()),
        ([&[0xc7, 8][..], &event[1..]].concat(), "2026-01-01T00:00:00.123456Z - web - - -".into()),
        ([&[0xcb][..], &(1_767_225_600.5_f64).to_be_bytes()].concat(), {
            "2026-01-01T00:00:00.500000Z - web - - -".into()
        }),
        (vec![0xff], "1969-12-31T23:59:59.000000Z - web - - -".into()),
        (vec![0xc0], "- - web - - -".into()),
        (vec![0], "- - web - - -".into()),
        (with_metadata, format!("{STAMP} - web - - [metadata@32473 m=\"1\"]")),
        ([vec![0x92], time(), vec![0x80]].concat(), format!("{STAMP} - web - - -")),
        (vec![0xcf, 0x7f, 255, 255, 255, 255, 255, 255, 255], {
            "1970-01-01T00:00:00.000000Z - web - - -".into()
        }),
    ];
    for (time, head) in cases {
        let stream = message(&[text("web"), time.clone(), record(&[("log", "x")])], &[]);
        assert_eq!(lines(&stream), format!("<13>1 {head} x\n"), "{time:x?}");
    }
}

#[test]
fn the_fields_of_a_record_find_their_places() {
    let stream = single(
        &[
            ("host", "web1"),
            ("pid", "77"),
            ("level", "WARN"),
            ("log", "a\nb\n"),
            ("quoted", "a \"b\" ]"),
            ("host name", "x"),
        ],
        &[],
    );
    let wanted = format!(
        "<12>1 {STAMP} web1 web 77 - [fluent@32473 level=\"WARN\" quoted=\"a \\\"b\\\" \\]\" \
         host_name=\"x\"] a#012b\n"
    );
    assert_eq!(lines(&stream), wanted);
    // Docker's streams have a severity, unless the record says one.
    let of = |fields: &[(&str, &str)]| lines(&single(fields, &[]))[..4].to_string();
    assert_eq!(of(&[("log", "x"), ("source", "stderr")]), "<11>");
    assert_eq!(of(&[("log", "x"), ("source", "stdout")]), "<14>");
    assert_eq!(of(&[("severity", "fatal"), ("log", "x"), ("source", "stdout")]), "<10>");
    assert_eq!(of(&[("level", "nonsense"), ("log", "x")]), "<13>");
    // A host with a space is no host, and a tag that is no app is kept whole.
    let tag = "service one, with a name that is too long for an app";
    let stream = message(&[text(tag), time(), record(&[("host", "a b"), ("log", "x")])], &[]);
    let app = "serviceone,withanamethatistoolongforanapp";
    assert_eq!(
        lines(&stream),
        format!("<13>1 {STAMP} - {app} - - [fluent@32473 tag=\"{tag}\" host=\"a b\"] x\n")
    );
}

#[test]
fn values_that_are_no_text_are_written_too_and_a_record_without_text_as_json() {
    let mut fields = vec![0x88];
    for (name, value) in [
        ("n", &[0xc0][..]),
        ("b", &[0xc3]),
        ("i", &[0xd0, 0x80]),
        ("u", &[0xcd, 1, 0]),
        ("f", &[0xca, 0x3f, 0xc0, 0, 0]),
        ("l", &[0x92, 1, 0xa1, b'x']),
        ("m", &[0x81, 0xa1, b'k', 0x90]),
        ("t", &[0xd7, 0, 0x69, 0x55, 0xb9, 0, 0, 0, 0, 0]),
    ] {
        fields.extend(text(name));
        fields.extend_from_slice(value);
    }
    let json = format!(
        "{{\"n\":null,\"b\":true,\"i\":-128,\"u\":256,\"f\":1.5,\"l\":[1,\"x\"],\
         \"m\":{{\"k\":[]}},\"t\":\"{STAMP}\"}}"
    );
    let stream = message(&[text("web"), time(), fields.clone()], &[]);
    assert_eq!(lines(&stream), format!("<13>1 {STAMP} - web - - - {json}\n"));
    let mut alone = session_as(As::Line, 4096);
    assert_eq!(served(&mut alone, &stream).0, format!("{json}\n"));
    fields[0] = 0x89;
    fields.extend([text("log"), text("x")].concat());
    let stream = message(&[text("web"), time(), fields], &[]);
    let data = format!(
        "n=\"\" b=\"true\" i=\"-128\" u=\"256\" f=\"1.5\" l=\"[1,\\\"x\\\"\\]\" \
         m=\"{{\\\"k\\\":[\\]}}\" t=\"{STAMP}\""
    );
    assert_eq!(lines(&stream), format!("<13>1 {STAMP} - web - - [fluent@32473 {data}] x\n"));
    let mut object = session_as(As::Json, 4096);
    let wanted = format!(
        "{{\"time\":\"{STAMP}\",\"tag\":\"web\",{},\"log\":\"x\"}}\n",
        &json[1..json.len() - 1]
    );
    assert_eq!(served(&mut object, &stream).0, wanted);
}

#[test]
fn a_chunk_is_answered_byte_for_byte_once_its_lines_are_on_disk() {
    let ids: [&[u8]; 3] = [b"KRyMSVDlQ3OWkJNPUh6Mvw==\n", b"\xff\0", b""];
    let mut session = session();
    let mut pieces = Pieces::default();
    for (barrier, id) in (1..).zip(ids) {
        session.push(&single(&[("log", "x")], &[("chunk", id)]), &mut pieces).unwrap();
        assert!(session.wants_barrier() && session.out().is_empty());
        session.sent(barrier);
        assert!(!session.wants_barrier() && session.waits());
    }
    session.completed(0);
    assert!(session.out().is_empty());
    session.completed(2);
    assert_eq!(*session.out(), [ack(ids[0]), ack(ids[1])].concat());
    // Written as str: a client that gets bin for it sends for ever.
    assert_eq!(session.out()[..6], [0x81, 0xa3, b'a', b'c', b'k', 0xb9]);
    session.out().clear();
    session.completed(3);
    assert_eq!(*session.out(), ack(b""));
    assert!(!session.waits());
    assert_eq!(lines_of(&mut pieces).lines().count(), 3);
    // Without an id nothing is answered.
    session.push(&single(&[("log", "x")], &[]), &mut pieces).unwrap();
    assert!(!session.wants_barrier());
}

#[test]
fn a_chunk_that_comes_again_is_answered_and_not_taken_twice() {
    let chunks = Chunks::default();
    let new = || Session::new((CLIENT, false), As::Line, 100, chunks.clone());
    let sent = single(&[("log", "x")], &[("chunk", b"1")]);
    let (mut first, mut second) = (new(), new());
    assert_eq!(served(&mut first, &sent).0, "x\n");
    assert_eq!(served(&mut second, &sent).0, "");
    assert!(second.wants_barrier());
    second.sent(7);
    second.completed(7);
    assert_eq!(*second.out(), ack(b"1"));
    // The same id with other lines is another chunk.
    let other = single(&[("log", "y")], &[("chunk", b"1")]);
    assert_eq!(served(&mut second, &other).0, "y\n");
    // Without ids, the same line may well come twice.
    let plain = single(&[("log", "z")], &[]);
    assert_eq!(served(&mut second, &[plain.clone(), plain].concat()).0, "z\nz\n");
    // What could not be unpacked was not taken.
    let broken =
        message(&[text("web"), packed(b"no gzip")], &[("compressed", b"gzip"), ("chunk", b"2")]);
    for _ in 0..2 {
        new().push(&broken, &mut Pieces::default()).unwrap_err();
    }
    for at in 0..CHUNKS_REMEMBERED + 10 {
        chunks.remember(at as u128);
    }
    let remembered = chunks.0.lock().unwrap();
    assert_eq!(
        (remembered.all.len(), remembered.order.len()),
        (CHUNKS_REMEMBERED, CHUNKS_REMEMBERED)
    );
}

/// A piece of a text of Docker's.
fn piece(id: &str, stream: &str, last: &str, log: &str) -> Vec<u8> {
    let fields = [
        ("container_id", "c1"),
        ("source", stream),
        ("log", log),
        ("partial_message", "true"),
        ("partial_id", id),
        ("partial_ordinal", "1"),
        ("partial_last", last),
    ];
    single(&fields, &[])
}

#[test]
fn the_pieces_of_a_text_are_put_together() {
    let stream = [
        piece("a", "stdout", "false", "one "),
        piece("b", "stderr", "false", "other "),
        piece("a", "stdout", "false", "two "),
        single(&[("log", "between")], &[]),
        piece("b", "stderr", "true", "end\n"),
        piece("a", "stdout", "true", "three"),
        // No newline at its end, and the stream goes on.
        piece("c", "stdout", "false", "prompt"),
        piece("d", "stdout", "true", "next"),
        piece("e", "stdout", "false", "last"),
    ]
    .concat();
    let data = |stream| format!("[fluent@32473 container_id=\"c1\" source=\"{stream}\"]");
    let out = |text| format!("<14>1 {STAMP} - web - - {} {text}\n", data("stdout"));
    let mut session = session();
    let (all, _) = served(&mut session, &stream);
    let between = format!("<13>1 {STAMP} - web - - - between\n");
    let err = format!("<11>1 {STAMP} - web - - {} other end\n", data("stderr"));
    assert_eq!(all, [between, err, out("one two three"), out("prompt"), out("next")].concat());
    assert!(session.held() > 0);
    let mut pieces = Pieces::default();
    session.finish(&mut pieces);
    assert_eq!((lines_of(&mut pieces), session.held()), (out("last"), 0));
    // As JSON, a letter may be split.
    let mut object = session_as(As::Json, 4096);
    let mut halves = piece("a", "stdout", "false", "x\u{e9}");
    let cut = halves.windows(2).position(|two| two == "\u{e9}".as_bytes()).unwrap();
    halves.remove(cut + 1);
    halves[cut - 2] -= 1;
    let mut rest = piece("a", "stdout", "true", "\u{e9}y");
    let cut = rest.windows(2).position(|two| two == "\u{e9}".as_bytes()).unwrap();
    rest.remove(cut);
    rest[cut - 1] -= 1;
    let (json, _) = served(&mut object, &[halves, rest].concat());
    assert!(
        json.ends_with(",\"container_id\":\"c1\",\"source\":\"stdout\",\"log\":\"x\u{e9}y\"}\n"),
        "{json}"
    );
}

#[test]
fn texts_that_never_end_take_no_more_memory_than_they_may() {
    let mut session = session_as(As::Line, 1000);
    let mut counts = InputCounts::default();
    for _ in 0..10 {
        let (lines, more) = served(&mut session, &piece("a", "stdout", "false", &"x".repeat(300)));
        assert_eq!(lines, "");
        counts.add(&more);
    }
    assert_eq!(session.held(), 1000);
    let mut all = String::new();
    for at in 0..40 {
        let id = at.to_string();
        let fields = [
            ("container_id", id.as_str()),
            ("log", "x"),
            ("partial_message", "true"),
            ("partial_id", "p"),
        ];
        all += &served(&mut session, &single(&fields, &[])).0;
    }
    let mut pieces = Pieces::default();
    session.finish(&mut pieces);
    all += &lines_of(&mut pieces);
    assert_eq!(all.lines().count(), 41);
    assert_eq!(all.lines().next().unwrap(), "x".repeat(1000));
}

#[test]
fn what_a_client_does_wrong_ends_its_connection_and_keeps_what_came_before() {
    let good = single(&[("log", "good")], &[]);
    let mut huge_id = vec![0x93];
    huge_id.extend([text("web"), packed(b""), vec![0x81], text("chunk")].concat());
    str(&mut huge_id, &vec![b'i'; 1 << 20]);
    let bomb = |packing, name: &[u8]| {
        let bomb = pack(packing, &vec![0xc0; RECORDS + 1]);
        message(&[text("web"), packed(&bomb)], &[("compressed", name)])
    };
    let gzip_bomb = bomb(Packing::Gzip, b"gzip");
    let zstd_bomb = bomb(Packing::Zstd, b"zstd");
    let deep = [vec![0x93], text("web"), vec![0x91; 40]].concat();
    let cases: [(&[u8], &str); 18] = [
        (&[0xc1], "sends byte 0xc1, which begins no value"),
        (&[0xdd, 255, 255, 255, 255], "sends a message larger than is taken: have it send"),
        (&[0x92, 0xdb, 255, 255, 255, 255], "chunk_limit_size 8m"),
        (&deep, "sends a value nested deeper than 32 levels"),
        (&[0x91, 0xa0], "sends an array of other than 2 to 4 values"),
        (&[0x95, 0, 0, 0, 0, 0], "sends an array of other than 2 to 4 values"),
        (&[0x07], "sends what is not the forward protocol: a message is an array"),
        (&[0xdb], "sends what is not the forward protocol"),
        (&[0x93, 0x01, 0x01, 0x80], "sends a message whose tag is no string"),
        (&[0x92, 0xa0, 0x01], "sends a time without a record"),
        (&[0x93, 0xa0, 0x90, 0x05], "sends options that are no map"),
        (&[0x94, 0xa0, 0x90, 0x80, 0x80], "sends a message with more behind its options"),
        (&[0x93, 0xa0, 0x90, 0x81, 0xa5, b'c', b'h', b'u', b'n', b'k', 7], "is no string"),
        (&huge_id, "sends the id of a chunk with 1048576 bytes; 1024 are the most"),
        (&gzip_bomb, "sends a compressed message; decompressed, it has more than 33554432 bytes"),
        (&zstd_bomb, "sends a compressed message; decompressed, it has more than 33554432 bytes"),
        (
            &message(&[text("web"), packed(b"xx")], &[("compressed", b"gzip")]),
            "sends a compressed message; it cannot be decompressed",
        ),
        (
            &message(&[text("web"), packed(b"xx")], &[("compressed", b"lzma")]),
            "compresses with `lzma`, which is not known here: use gzip or zstd",
        ),
    ];
    for (bad, said) in cases {
        let mut session = session_as(As::Line, 100);
        let mut pieces = Pieces::default();
        let fault = session.push(&[&good, bad].concat(), &mut pieces).unwrap_err().to_string();
        assert!(fault.contains(said), "{fault}");
        assert_eq!((lines_of(&mut pieces), pieces.counts().malformed), ("good\n".into(), 1));
        assert_eq!((session.state(), session.held()), (State::Over, 0));
        session.push(&good, &mut pieces).unwrap();
        assert_eq!(lines_of(&mut pieces), "");
    }
    for (first, said) in [
        (&b"\x16\x03\x01"[..], "speaks TLS, which this input does not: give it `tls`"),
        (b"[\"tag\",1,{}]", "sends text, and no MessagePack"),
        (b"GET / HTTP/1.1\r\n", "sends text, and no MessagePack"),
        (b"<13>syslog", "sends text, and no MessagePack"),
    ] {
        let fault = session().push(first, &mut Pieces::default()).unwrap_err().to_string();
        assert!(fault.contains(said), "{fault}");
    }
}

const RECORDS: usize = crate::limits::RECORDS_UNPACKED_MAX;

#[test]
fn an_entry_that_makes_no_sense_costs_only_itself_and_its_chunk_is_answered() {
    let good = entry(&[("log", "good")]);
    let cases: [(&[u8], u64, &str); 6] = [
        (&[0x92, 0xa1, b'x', 0x80], 1, "an entry whose time is no time"),
        (&[0x92, 0xd7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x80], 1, "an entry whose time is no time"),
        (&[0x92, 0x01, 0x90], 1, "a record that is no map"),
        (&[0x91, 0x01], 1, "an entry that is not a time and a record"),
        (&[0x05, 0x06], 2, "an entry that is not a time and a record"),
        (&[0xc1], 1, "entries that are cut off"),
    ];
    for (bad, count, said) in cases {
        let entries = [&good, bad, &good].concat();
        let mut session = session_as(As::Line, 100);
        let stream = message(&[text("web"), packed(&entries)], &[("chunk", b"c")]);
        let (lines, counts) = served(&mut session, &stream);
        let left = if bad == [0xc1] { 1 } else { 2 };
        assert_eq!((lines.lines().count(), counts.malformed), (left, count), "{said}");
        let slip = session.take_slip().unwrap();
        assert!(slip.contains(said), "{slip}");
        assert!(session.wants_barrier());
    }
    // Metrics and traces are no logs; the client is told that they came.
    let mut stream = [vec![0x93], text("m"), packed(b"anything"), vec![0x82]].concat();
    stream.extend([text("fluent_signal"), vec![1], text("chunk"), text("c")].concat());
    let mut session = session();
    let (lines, counts) = served(&mut session, &stream);
    assert_eq!((lines.as_str(), counts.malformed), ("", 1));
    assert!(session.wants_barrier() && session.take_slip().unwrap().contains("metrics"));
}

#[test]
fn a_message_cut_off_anywhere_is_no_line_and_no_fault() {
    let gzip = pack(Packing::Gzip, &entry(&[("log", "x")]));
    let stream = message(&[text("web"), packed(&gzip)], &[("compressed", b"gzip")]);
    for len in 0..stream.len() {
        let mut session = session();
        let (lines, counts) = served(&mut session, &stream[..len]);
        assert_eq!((lines.as_str(), counts), ("", InputCounts::default()), "{len}");
        assert_eq!((session.held(), session.state()), (len, State::Open));
        let (lines, _) = served(&mut session, &stream[len..]);
        assert_eq!(lines.lines().count(), 1);
    }
}

#[test]
fn long_texts_and_many_fields_are_cut_and_counted() {
    let mut session = session_as(As::Message, 200);
    let long = "x".repeat(300);
    let fields = [("a", "y"), ("b", long.as_str()), ("log", long.as_str())];
    let (lines, counts) = served(&mut session, &single(&fields, &[]));
    assert!(lines.starts_with(&format!("<13>1 {STAMP} - web - - [fluent@32473 a=\"y\"] xxx")));
    assert_eq!((lines.len(), counts.oversize), (201, 1));
    let kept = lines.matches('x').count() as u64;
    assert_eq!(counts.oversize_bytes, 600 - kept);
}

fn secrets(users: &[(&str, &str)]) -> Arc<Secrets> {
    let users = users.iter().map(|(user, word)| ((*user).into(), (*word).into())).collect();
    Arc::new(Secrets { shared_key: "s3cret".into(), users, name: "hub".into() })
}

/// What a client answers that has this key, user and password.
fn ping(key: &str, user: &str, password: &str) -> Vec<u8> {
    let (nonce, salt) = ([1; 16], [2; 16]);
    let digest = auth::hex(&[b"salt", b"web1", &nonce, key.as_bytes()]);
    let word = match user {
        "" => String::new(),
        user => auth::hex(&[&salt, user.as_bytes(), password.as_bytes()]),
    };
    let parts = ["PING", "web1", "salt", &digest, user, &word];
    [vec![0x96], parts.map(text).concat()].concat()
}

#[test]
fn a_client_must_show_the_shared_key_and_a_user_before_anything_is_taken() {
    let good = single(&[("log", "good")], &[]);
    let one = [("joe", "pass"), ("ann", "word")];
    type Case<'c> = (&'c [(&'c str, &'c str)], Vec<u8>, Result<(), &'c str>);
    let cases: [Case<'_>; 7] = [
        (&[], ping("s3cret", "", ""), Ok(())),
        (&one, ping("s3cret", "ann", "word"), Ok(())),
        (&[], ping("wrong", "", ""), Err("has another shared key")),
        (&one, ping("s3cret", "ann", "pass"), Err("shows no user of this input")),
        (&one, ping("s3cret", "", ""), Err("shows no user of this input")),
        (&[], good.clone(), Err("shows no shared key")),
        (&[], [vec![0x96], ["PONG"; 6].map(text).concat()].concat(), Err("shows no shared key")),
    ];
    for (users, answer, wanted) in cases {
        let session = session_as(As::Line, 100);
        let mut session = session.with_secrets(secrets(users), [1; 16], [2; 16]);
        assert_eq!(session.state(), State::New);
        let hello = std::mem::take(session.out());
        assert_eq!(hello[..6], [0x92, 0xa4, b'H', b'E', b'L', b'O']);
        let mut pieces = Pieces::default();
        let done = session.push(&[answer, good.clone()].concat(), &mut pieces);
        let out = std::mem::take(session.out());
        assert_eq!(out[..6], [0x95, 0xa4, b'P', b'O', b'N', b'G']);
        match wanted {
            Ok(()) => {
                done.unwrap();
                assert_eq!((out[6], session.state()), (0xc3, State::Open));
                let digest = auth::hex(&[b"salt", b"hub", &[1; 16], b"s3cret"]);
                assert!(out.ends_with(digest.as_bytes()));
                assert_eq!(lines_of(&mut pieces), "good\n");
            }
            Err(said) => {
                let fault = done.unwrap_err().to_string();
                assert!(fault.contains(said), "{fault}");
                assert_eq!((out[6], session.state()), (0xc2, State::Over));
                assert_eq!(lines_of(&mut pieces), "");
            }
        }
    }
}

proptest! {
    #[test]
    fn a_session_is_the_same_however_its_bytes_are_split(
        texts in proptest::collection::vec("[a-z\n]{0,40}", 1..8),
        packs in any::<bool>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let entries: Vec<_> = texts.iter().map(|text| entry(&[("log", text)])).collect();
        let mut stream: Vec<u8> = texts
            .iter()
            .zip(0_u8..)
            .flat_map(|(text, at)| single(&[("log", text), ("k", "v")], &[("chunk", &[at])]))
            .collect();
        if packs {
            let packed_entries = packed(&pack(Packing::Gzip, &entries.concat()));
            let options: [(&str, &[u8]); 2] = [("compressed", b"gzip"), ("chunk", b"x")];
            stream.extend(message(&[text("web"), packed_entries], &options));
        }
        let (mut whole, mut split) = (session(), session());
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
        prop_assert_eq!(wanted.0.lines().count(), texts.len() * if packs { 2 } else { 1 });
        prop_assert_eq!((got, counts), wanted);
        whole.sent(1);
        split.sent(1);
        whole.completed(1);
        split.completed(1);
        prop_assert_eq!(split.out(), whole.out());
    }

    #[test]
    fn no_bytes_make_a_session_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut session = session();
        let stream = [single(&[("log", "x")], &[]), bytes].concat();
        // Whatever it is, what came before is there.
        let mut pieces = Pieces::default();
        let _ = session.push(&stream, &mut pieces);
        prop_assert!(lines_of(&mut pieces).starts_with("<13>1"));
    }
}
