//! Fills `fuzz/corpus/` with what the targets begin with: the tests' corpus of messages, the
//! configurations of the examples and the documentation, and what logweir's own encoders write.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use logweir::ids::Identity;
use logweir::proto::relp::wire::{Offers, encode, encode_lines_head};
use logweir::spool::cursor::Cursor;
use logweir::spool::format::{Header, Row};

const FUZZ: &str = env!("CARGO_MANIFEST_DIR");

fn main() {
    let messages = messages();
    assert!(messages.len() > 300, "only {} messages in tests/corpus", messages.len());
    streams(&messages);
    relp();
    fluent();
    thrift();
    kafka();
    kernel();
    spool();
    texts();
    configurations();
    selectors(&messages);
}

fn put(target: &str, name: impl std::fmt::Display, bytes: &[u8]) {
    let folder = Path::new(FUZZ).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(format!("seed-{name}")), bytes).expect("writing a seed");
}

/// Records of the kernel, and of a session.
fn kernel() {
    put("kernel", "plain", b"6,339,5140900,-;NET: Registered protocol family 10\n");
    put(
        "kernel",
        "fields",
        b"7,160,424069,c,caller=T1;a\\x0ab\n SUBSYSTEM=acpi\n DEVICE=+acpi:P\n",
    );
    put("kernel", "session", b"USER=root\nTTY=pts/0\nSTATE=active\n");
}

/// The messages of the tests' corpus.
fn messages() -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for path in files("../tests/corpus", "toml") {
        let table: toml::Table = read(&path).parse().expect("a table");
        for cases in table.values().filter_map(toml::Value::as_array) {
            messages.extend(cases.iter().filter_map(bytes_of));
        }
    }
    messages
}

/// The bytes of a case, written as text or as hexadecimal digits.
fn bytes_of(case: &toml::Value) -> Option<Vec<u8>> {
    if let Some(text) = case.get("bytes") {
        return Some(text.as_str()?.as_bytes().to_vec());
    }
    let digits: Vec<_> = case.get("hex")?.as_str()?.bytes().filter(|b| *b != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(FUZZ).join(folder)).expect("a folder of the project");
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file of the project")
}

fn streams(messages: &[Vec<u8>]) {
    for (number, message) in messages.iter().enumerate() {
        put("syslog", number, message);
        if number % 4 == 0 {
            put("datagrams", number, &[message, &b"\n\x07\xd0\x00\xff"[..]].concat());
        }
        if number % 8 == 0 {
            let counted = [format!("{} ", message.len()).as_bytes(), message].concat();
            let stream = [&counted[..], message, b"\n12", message, b"\x05\x00\x10\x00\x00\xff"];
            put("framing", number, &stream.concat());
            put("lines", number, &[message, &b"\n"[..], message, b"\x07\x00\x10\x00\x20"].concat());
        }
    }
    put("tls", 0, &[&b"\x03\x03"[..], &[7; 40], b"\0\x10\0\x0b"].concat());
    put("sequence", 0, b"cp1 1 a\ncp1 2 b\ncp2 7 x\n\0cp1 9 x\ncp1 8 y\0z 1 x\nz 0\n\0\x01");
    put("sequence", 1, b"z 18446744073709551615 x\nz 0\nz 70\0z 5\0\x0a");
}

/// A stream of RELP frames, numbered from 1.
fn frames(frames: &[(&str, &[u8])]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (number, (command, data)) in (1..).zip(frames) {
        encode(&mut stream, number, command, data);
    }
    stream
}

fn relp() {
    let spool = Identity::of(7);
    let offers = Offers::ours(None, None).encode();
    let spooled = Offers::ours(Some((spool, 0)), None).encode();
    let lines = |first, last, text: &str| {
        let count = u32::try_from(text.lines().count()).expect("few lines");
        [encode_lines_head(first, last, count).as_ref(), text.as_bytes()].concat()
    };
    let plain = frames(&[
        ("open", offers.as_bytes()),
        ("syslog", b"hello"),
        ("syslog", b"a\nb\n"),
        ("close", b""),
    ]);
    let pair = frames(&[
        ("open", spooled.as_bytes()),
        ("lines", &lines(0, 1, "one\ntwo\n")),
        ("lines", &lines(5, 9, "x\ny\n")),
        ("syslog", b"z"),
        ("close", b""),
    ]);
    let wrong = frames(&[("open", offers.as_bytes()), ("foo", &[b'x'; 900])]);
    for (number, stream) in [plain, pair, wrong].iter().enumerate() {
        put("relp_server", number, &[stream, &b"\0\x10\0\x02\0\x01\0"[..]].concat());
    }
    let last = Offers::ours(None, Some(Some(3))).encode();
    let opened = [b"200 OK\n", last.as_bytes()].concat();
    let answers = [
        frames(&[("rsp", &opened), ("rsp", b"200 OK"), ("rsp", b"200 OK"), ("rsp", b"500 full")]),
        frames(&[("rsp", b"500 no")]),
        [&frames(&[("rsp", &opened)])[..], b"3 rsp 6 200 OK\n2 rsp 6 200 OK\n0 serverclose 0\n"]
            .concat(),
        b"2 rsp 6 200 OK\n4 rsp 6 200 OK\n3 rsp 6 200 OK\n".to_vec(),
    ];
    for (number, answers) in answers.iter().enumerate() {
        let offers = u8::try_from(number % 2).expect("0 or 1");
        put("relp_client", number, &[answers, &[0, 0, 2, 1, offers][..]].concat());
    }
}

/// What a broker answers first, and bodies of answers, each behind its length.
fn kafka() {
    let versions: &[u8] = b"\0\0\x06\0\0\0\x03\0\x0b\0\0\x03\0\x04\0\x0c\0\0\x16\0\0\0\x04\0\
        \0\x3d\0\0\0\0\0\0\x02\0\x01\0\x07\0\0\0\0\0\0";
    let metadata: &[u8] = b"\0\0\0\0\0\x02\0\0\0\x01\x02k\0\0\x23\x84\0\0\x02C\0\0\0\x01\x02\0\0\x02t\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\0\x02\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\x01\x01\x01\0\0\0\0\0\0\0";
    let identity: &[u8] = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x09\0\0\0";
    let bodies = [versions, metadata, identity, versions, metadata, identity, versions];
    let sized = bodies.map(|body| {
        let len = u8::try_from(body.len()).expect("short");
        [&[len][..], body].concat()
    });
    put("kafka_broker", 0, &[&sized.concat()[..], &[1][..]].concat());
    let len = u8::try_from(versions.len() + 4).expect("short");
    let frame = [&[0, 0, 0, len, 0, 0, 0, 1][..], versions, &[0, 3, 7, 0][..]].concat();
    put("kafka_broker", 1, &frame);
    members(metadata);
}

/// Answers to a member of a classic group: it gets an identity, joins as the leader, gets both
/// partitions, is told to join again, and is out.
fn members(metadata: &[u8]) {
    let ranges: [(u8, u8, u8); 10] = [
        (1, 4, 12),
        (2, 1, 8),
        (3, 4, 12),
        (8, 2, 9),
        (9, 1, 7),
        (10, 1, 3),
        (11, 1, 7),
        (12, 1, 4),
        (13, 1, 4),
        (14, 1, 4),
    ];
    let mut versions = vec![0, 0, 11];
    ranges.iter().for_each(|(key, min, max)| versions.extend([0, *key, 0, *min, 0, *max, 0]));
    versions.extend([0; 5]);
    let found: &[u8] = b"\0\0\0\0\0\0\0\x01\0\0\0\0\x02k\0\0\x23\x84\0";
    let named: &[u8] = b"\0\0\0\0\0\0\x4f\xff\xff\xff\xff\0\0\x01\x02m\x01\0";
    let joined: &[u8] = b"\0\0\0\0\0\0\0\0\0\0\x01\x09consumer\x13cooperative-sticky\x02m\x02m\
        \x02\x02m\0\x1a\0\x02\0\0\0\x01\0\x01t\0\0\0\x04\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\0\0";
    let share: &[u8] = b"\0\0\0\0\0\0\0\x1a\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x01\
        \xff\xff\xff\xff\0";
    let offsets: &[u8] =
        b"\0\0\0\0\0\x02\x02t\x02\0\0\0\0\0\0\0\0\0\0\0\x07\xff\xff\xff\xff\0\0\0\0\0\0\0\0";
    let beat = |error: u8| vec![0, 0, 0, 0, 0, 0, error, 0];
    let bodies = [
        &versions[..],
        metadata,
        found,
        &versions[..],
        named,
        joined,
        share,
        offsets,
        &beat(0),
        &beat(27),
        joined,
        share,
        &beat(25),
    ];
    let sized = bodies.map(|body| {
        let len = u8::try_from(body.len()).expect("short");
        [&[len][..], body].concat()
    });
    put("kafka_broker", 2, &[&sized.concat()[..], &[2][..]].concat());
}

/// A batch row and its payload.
fn batch(first: u64, payload: &[u8], origin: Option<(Identity, u64)>) -> Vec<u8> {
    let lines = payload.iter().filter(|byte| **byte == b'\n').count();
    let header = Header {
        first,
        lines: u32::try_from(lines).expect("few lines"),
        bytes: u32::try_from(payload.len()).expect("few bytes"),
        received: UNIX_EPOCH,
        input: 1,
        origin,
        sum: crc32c::crc32c(payload),
    };
    [&Row::Batch(header).encode()[..], payload].concat()
}

fn segments() -> Vec<Vec<u8>> {
    let (spool, other) = (Identity::of(7), Identity::of(9));
    let begin =
        |first, origins| Row::Segment { spool, first, origins, durable: first }.encode().to_vec();
    let input = Row::Input { number: 1, name: "in".into(), minute: None }.encode().to_vec();
    let origin = Row::Origin { spool: other, last: 5 }.encode().to_vec();
    let first = [begin(0, 0), input.clone(), batch(0, b"one\ntwo\n", None)].concat();
    let second = [
        begin(0, 1),
        origin,
        input.clone(),
        batch(0, b"x\n", Some((other, 9))),
        batch(1, b"\x1e1B\ny\n", None),
    ]
    .concat();
    let torn = first[..first.len() - 3].to_vec();
    let damaged = [&first[..], b"junk\n", &batch(2, b"three\n", None)].concat();
    let later = [begin(3, 0), input, batch(3, &b"aaaaaaaaa\n".repeat(40), None)].concat();
    vec![first, second, torn, damaged, later]
}

fn fluent() {
    // A record with a chunk's id, a list, and a packed one; then a piece of a split text.
    let streams: [&[u8]; 3] = [
        b"\x94\xa3web\xce\x69\x55\xb9\x00\x81\xa3log\xa2hi\x81\xa5chunk\xa2id",
        b"\x92\xa3web\x91\x92\xd7\x00\x69\x55\xb9\x00\x00\x00\x00\x01\x82\xa7message\xa1a\xa1k\x91\xc0\
          \xc0\x93\xa3web\xc4\x0c\x92\x01\x82\xa3log\xa1b\xa1n\x05\x81\xaacompressed\xa4text",
        b"\x93\xa3web\x01\x84\xa3log\xa1x\xafpartial_message\xa4true\xaapartial_id\xa1p\
          \xacpartial_last\xa5false",
    ];
    for (number, stream) in streams.iter().enumerate() {
        put("fluent", number, &[stream, &b"\x07\x00\x10\x00\x01\x00"[..]].concat());
    }
}

fn thrift() {
    // Scribe's call as it writes it, Flume's event, and a status call.
    let calls: [&[u8]; 3] = [
        b"\0\0\0\x2a\0\0\0\x03Log\x01\0\0\0\0\x0f\0\x01\x0c\0\0\0\x01\
          \x0b\0\x01\0\0\0\x03web\x0b\0\x02\0\0\0\x03hi\n\0\0",
        b"\0\0\0\x34\x80\x01\0\x01\0\0\0\x06append\0\0\0\x01\x0c\0\x01\x0d\0\x01\x0b\x0b\0\0\0\x01\
          \0\0\0\x01k\0\0\0\x01v\x0b\0\x02\0\0\0\x02hi\0\0\0",
        b"\0\0\0\x16\x80\x01\0\x01\0\0\0\x09getStatus\0\0\0\x02\0",
    ];
    for (number, call) in calls.iter().enumerate() {
        put("thrift", number, &[call, &b"\x07\x00\x10\x00\x01\x00"[..]].concat());
    }
}

fn spool() {
    let identity = Identity::of(7);
    let cursor = Cursor {
        reader: "r".into(),
        spool: identity,
        position: 2,
        done: 0,
        files: vec![("/var/log/a b".into(), 17), ("c".into(), 0)],
        notes: vec!["producer 7 0".into()],
    };
    let cursor = cursor.encode();
    put("cursor", 0, &cursor);
    let separator = b"\x00\xff";
    for (number, segment) in segments().iter().enumerate() {
        put("segment", number, &[segment, &b"\0\x13\x88\x01\0"[..]].concat());
        put("segment", number + 10, &[segment, &b"\x02\0\x01\0\x01"[..]].concat());
        put("packed_segment", number, &[segment, &b"\0\x40\0\0"[..]].concat());
        put("packed_segment", number + 10, &[segment, &b"\0\x40\x01\0"[..]].concat());
        put("untrue_rows", number, segment);
        for row in segment.chunks(145).take(3) {
            put("spool_row", format!("{number}-{}", row[2]), row);
        }
        let named = [b"\x05", identity.to_string().as_bytes()].concat();
        let later = [&b"\x18"[..], &segments()[4]].concat();
        let folder = [b"\x10", &segment[..], separator, b"\x04", &cursor, separator, &named, b"\0"];
        put("spool_folder", number, &folder.concat());
        let folder = [b"\x10", &segment[..], separator, &later, separator, b"\x04", &cursor, b"\0"];
        put("spool_folder", number + 10, &folder.concat());
        let folder = [b"\x13", &segment[..], separator, &later, separator, &named, b"\0"];
        put("spool_folder", number + 20, &folder.concat());
    }
    put("spool_row", "name", b"00000000000000000017.log.zst");
}

fn texts() {
    let sets: [(&str, &[&[u8]]); 10] = [
        (
            "audit",
            &[
                b"{\"v\":1,\"window\":\"2026-11-27T10:04:00Z\",\"seconds\":60,\"host\":\"e\",\
                  \"node\":\"out\",\"kind\":\"output\",\"from\":[\"in\"],\
                  \"at\":\"forward relp://h:2514\",\"since\":7,\"late\":1,\"lines_in\":9,\
                  \"lines_out\":4,\"dropped\":{\"spool_full\":5}}\n\
                  {\"v\":1,\"window\":\"2026-11-27T10:04:00Z\",\"seconds\":60,\"host\":\"h\",\
                  \"node\":\"in\",\"kind\":\"input\",\"at\":\"relp 0.0.0.0:2514\",\"since\":7,\
                  \"lines_in\":3,\"kernel_drops\":1}\n",
                b"<14>1 - h - - - - {\"v\":1,\"window\":\"2026-11-27T10:04:00Z\",\
                  \"seconds\":60,\"host\":\"f\",\"node\":\"web\",\"kind\":\"input\",\
                  \"at\":\"kafka web on k:9092 partitions 0-3 7 in group g\",\"since\":1,\
                  \"lines_in\":3}\n{\"v\":1,\"window\":\"2026-11-27T10:05:00Z\",\
                  \"seconds\":60,\"host\":\"f\",\"node\":\"\",\"kind\":\"daemon\",\
                  \"since\":1,\"waiting\":{\"web\":5}}\n\
                  {\"v\":1,\"window\":\"2026-11-27T10:04:00Z\",\"seconds\":60,\"host\":\"o\",\
                  \"node\":\"t\",\"kind\":\"output\",\"at\":\"kafka w{app} on k:9092\",\
                  \"since\":1,\"lines_in\":8,\"lines_out\":8}\n",
            ],
        ),
        ("field", &[b"host", b"sd.a@1.b", b"sd.\"a.b\".c", b"{sd.\"x@1\".y}", b"{host}", b"(a)b"]),
        (
            "services",
            &[
                b"nameserver ::1\nnameserver fe80::1%lo\noptions timeout:3 attempts:2 use-vc\n",
                b"\x02\xc0\x0c\0\x21\0\x01\0\0\0\x3c\0\x0d\0\x0a\0\x3c\x09\xd2\x04hub1\xc0\x17\
                  \xc0\x0c\0\x21\0\x01\0\0\0\x3c\0\x07\0\0\0\0\0\0\0",
                b"\x01\xc0\x0c\0\x05\0\x01\0\0\0\x1e\0\x04\x01x\xc0\x17",
            ],
        ),
        (
            "url",
            &[
                b"relp://h:1",
                b"relp://_relp._tcp.example.org",
                b"relp+tls://[::1]:2514/",
                b"udp://a.b:65535",
                b"tls://x:6",
            ],
        ),
        (
            "file_name",
            &[
                b"/var/log/{host}/{app}-%Y-%m-%d.log\xffin\xff..\xff/etc/passwd",
                b"/l/%H{input}/x%%\xffa/../b\xff",
                b"{sd.\"a@1\".b}%s%j%e%-d\xffin\xff\xf0\x9f\x98\x80",
            ],
        ),
        (
            "http",
            &[
                b"GET /metrics?x HTTP/1.1\r\nAccept: application/openmetrics-text;x\r\n\r\n",
                b"HEAD /healthz HTTP/1.0\r\n\r\n",
            ],
        ),
        (
            "control",
            &[
                b"{\"version\":1,\"command\":\"tap\",\"node\":\"a\",\"match\":\"x\"}\n",
                b"{\"command\":\"status\"}",
                b"{\"command\":\"log\",\"level\":\"debug\"}",
            ],
        ),
        (
            "template",
            &[
                b"{time:%b %e %H:%M:%S} {host} {app}[{procid}]: {message}\xff<34>1 - h a 7 - - x",
                b"{{{sd.a@1.b:json}}} {received:%s} {line}\xff<34>1 - h a 7 - [a@1 b=\"c\"] x",
            ],
        ),
        ("udp2log", &[b"file 1 /a\nflush pipe 10 awk x\n# c\n", b"pipe 0 x\nfile 4294967296 y\n"]),
        (
            "patterns",
            &[
                b"\x01\xffa\xff^b$\xffab\xffb\xff",
                b"\x02\xff\\bfoo\\b\xff(?i)X{2,3}\xff(?-u:\\xfe)\xfffoo x\xff\xfe\xffXxX",
                b"\x00\xff(?R)$|\\A\xffa\r\xff\r\xff",
            ],
        ),
    ];
    for (target, seeds) in sets {
        for (number, seed) in seeds.iter().enumerate() {
            put(target, number, seed);
        }
    }
}

/// The files of examples/ and packaging/, and what docs/ and the README show.
fn configurations() {
    let mut texts: Vec<String> = Vec::new();
    for folder in ["../examples", "../packaging"] {
        texts.extend(files(folder, "toml").iter().map(|path| read(path)));
    }
    let pages = [files("../docs", "md"), files("../docs/senders", "md"), files("..", "md")];
    for page in pages.concat() {
        let page = read(&page);
        let blocks = page.split("```toml").skip(1).filter_map(|rest| rest.split("```").next());
        texts.extend(blocks.filter_map(|block| Some(block.split_once('\n')?.1.to_string())));
    }
    for (number, text) in texts.iter().enumerate() {
        put("config", number, text.as_bytes());
    }
}

fn selectors(messages: &[Vec<u8>]) {
    let keys = [
        "match='a'",
        "reject='^x.*y$'\nsample=3",
        "host=['a','web1']\nrate='5/s'",
        "severity='err'\nfacility='kern'",
        "sample=2\nsample_mode='hash'\nsample_key='{host}'",
        "sample=4\nsample_mode='random'",
        "format='json'",
    ];
    for (number, keys) in keys.iter().enumerate() {
        let lines = messages[number * 20..number * 20 + 20].join(&b"\xfe"[..]);
        put("selectors", number, &[keys.as_bytes(), b"\xff", &lines].concat());
    }
}
