//! The configurations of docs/from-scribe.md and docs/from-flume.md, in daemons with lines.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::wait_for_all;
use crate::util::{Daemon, free_port, numbered, wait_for};

/// The blocks of a page that are called so, with the places of a test's own for others: pairs of
/// what the page says and what stands for it.
pub fn blocks(page: &str, info: &str, places: &[(&str, String)]) -> Vec<String> {
    let head = format!("```{info}\n");
    let blocks = page.split(head.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap());
    let local = |block: &str| {
        let places = places.iter();
        let block =
            places.fold(block.to_string(), |text, (theirs, ours)| text.replace(theirs, ours));
        block
            .replace("/var/spool/logweir", "{dir}")
            .replace("/var/log/logweir", "{dir}")
            .replace("%Y-%m-%d.log", "day.log")
    };
    blocks.map(local).collect()
}

/// What the input that every test's daemon has needs beside a page's outputs.
const NULL: &str = "[output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n";

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn scribe_page(info: &str, own: u16, hub: u16) -> Vec<String> {
    let places = [
        ("0.0.0.0:1463", local(own)),
        ("hub1.example.org:1463", local(hub)),
        ("hub2.example.org", "127.0.0.2".into()),
    ];
    let blocks = blocks(include_str!("../../docs/from-scribe.md"), info, &places);
    blocks.into_iter().map(|block| block + NULL).collect()
}

/// A client of Scribe, each of whose calls has one message.
struct Client(TcpStream);

impl Client {
    fn new(port: u16) -> Self {
        let stream = wait_for("the input", || TcpStream::connect(("127.0.0.1", port)).ok());
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(stream)
    }

    /// Logs a message; the answer was OK.
    fn log(&mut self, category: &str, text: &str) {
        let mut body = b"\0\0\0\x03Log\x01\0\0\0\0\x0f\0\x01\x0c\0\0\0\x01".to_vec();
        for (number, text) in [(1, category), (2, text)] {
            body.extend_from_slice(&[0x0b, 0, number, 0, 0, 0, u8::try_from(text.len()).unwrap()]);
            body.extend_from_slice(text.as_bytes());
        }
        body.extend_from_slice(&[0, 0]);
        self.0.write_all(&u32::try_from(body.len()).unwrap().to_be_bytes()).unwrap();
        self.0.write_all(&body).unwrap();
        let mut answer = [0; 24];
        self.0.read_exact(&mut answer).unwrap();
        assert_eq!(answer[19..], [0, 0, 0, 0, 0]);
    }
}

#[test]
fn the_stores_of_scribe_s_page_bring_each_message_to_the_file_of_its_category() {
    let (edge_port, hub_port) = (free_port(), free_port());
    let hub = Daemon::start(&scribe_page("toml", hub_port, 1)[0]);
    let mut edge = Daemon::start(&scribe_page("toml", edge_port, hub_port)[1]);
    for (number, category) in ["web", "api", "web"].iter().enumerate() {
        Client::new(edge_port).log(category, &format!("line {number}\n"));
        if number == 1 {
            edge.signal(Signal::SIGKILL);
            edge.wait();
            edge.run();
        }
    }
    wait_for_all(&["line 0".into(), "line 2".into()], || hub.lines("web/day.log"));
    wait_for_all(&["line 1".into()], || hub.lines("api/day.log"));
}

/// A hub that stores what comes by RELP.
fn relp_hub(port: u16) -> Daemon {
    Daemon::start(&format!(
        "[input.edge]\nrelp = \"{}\"\n[spool.hold]\nfrom = \"edge\"\ndir = \"{{dir}}/hold\"\n\
         [output.all]\nfrom = \"hold\"\nfile = \"{{dir}}/out\"\n{NULL}",
        local(port)
    ))
}

#[test]
fn the_buckets_of_scribe_s_page_get_whole_keys_or_turns_and_each_message_once() {
    const KEYS: usize = 40;
    const MESSAGES: usize = 600;
    for by_key in [true, false] {
        let (own, ports) = (free_port(), [free_port(), free_port(), free_port()]);
        let hubs = ports.map(relp_hub);
        let mut places: Vec<_> =
            ["b1.example.org:2514", "b2.example.org:2514", "b3.example.org:2514"]
                .into_iter()
                .zip(ports.map(local))
                .collect();
        let hash = "balance = \"hash\"\nkey = '^(?:\\S+ ){7}(\\d+)'";
        if !by_key {
            places.push((hash, "balance = \"round-robin\"".into()));
        }
        let page = include_str!("../../docs/from-scribe.md");
        assert!(page.contains(hash));
        let store = blocks(page, "toml part", &places).remove(0);
        let input = format!("[input.scribe]\nthrift = \"{}\"\n", local(own));
        let mut edge = Daemon::start(&format!("{input}{store}{NULL}"));
        let mut client = Client::new(own);
        for number in 0..MESSAGES {
            client.log("web", &format!("{} line {number}\n", number % KEYS));
            if number == MESSAGES / 2 {
                edge.signal(Signal::SIGKILL);
                edge.wait();
                edge.run();
                client = Client::new(own);
            }
        }
        let got = wait_for("every message", || {
            let got: Vec<_> = hubs.iter().map(|hub| hub.lines("out")).collect();
            (got.iter().map(Vec::len).sum::<usize>() >= MESSAGES).then_some(got)
        });
        let head = "<13>1 - - web - - - ";
        let mut found = Vec::new();
        let mut hubs_of: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for (hub, line) in got.iter().enumerate().flat_map(|(hub, lines)| {
            lines.iter().map(move |line| (hub, line.strip_prefix(head).unwrap_or(line)))
        }) {
            let (key, text) = line.split_once(' ').unwrap();
            hubs_of.entry(key.into()).or_default().insert(hub);
            found.push(text.to_string());
        }
        let (mut wanted, mut sorted) = (numbered(0, MESSAGES as u64), found);
        wanted.sort();
        sorted.sort();
        assert_eq!(sorted, wanted);
        if by_key {
            assert!(hubs_of.values().all(|hubs| hubs.len() == 1), "{hubs_of:?}");
            assert!(got.iter().all(|lines| !lines.is_empty()));
        } else {
            assert!(got.iter().all(|lines| lines.len() == MESSAGES / 3));
        }
    }
}

#[test]
fn the_levels_of_flume_s_page_keep_what_they_promise_while_hubs_go_and_come() {
    let ports = [free_port(), free_port(), free_port()];
    let places = [
        ("[input.web]\nudp = \"0.0.0.0:8420\"\n", String::new()),
        ("\"web\"", "\"in\"".into()),
        ("hub.example.org:2514", local(ports[0])),
        ("hub1.example.org:2514", local(ports[1])),
        ("hub2.example.org:2514", local(ports[2])),
    ];
    let page = blocks(include_str!("../../docs/from-flume.md"), "toml", &places).remove(0);
    let edge = Daemon::start(&page);
    let [mut best, mut first, second] = ports.map(relp_hub);
    let peer = |port| Some(format!("relp://{}", local(port)));
    let sends_to = |port| {
        edge.wait_node("end-to-end", |node| node.lanes[0].peer == peer(port));
    };
    sends_to(ports[1]);
    edge.send_numbered(0, 500);
    first.wait_lines("out", 500);
    first.stop();
    sends_to(ports[2]);
    edge.send_numbered(500, 1000);
    second.wait_lines("out", 500);
    // The first of the list gets them again when it is back.
    first.run();
    sends_to(ports[1]);
    edge.send_numbered(1000, 1500);
    assert_eq!(first.wait_lines("out", 1000)[500..], numbered(1000, 1500));
    assert_eq!(second.lines("out"), numbered(500, 1000));
    assert_eq!(best.wait_lines("out", 1500), numbered(0, 1500));
    // Best effort: what has no room in memory is dropped and counted; the spool has room.
    best.stop();
    let long = "x".repeat(20_000);
    for number in 0..600 {
        edge.send(format!("long {number} {long}\n").as_bytes());
        edge.wait_node("in", |node| node.lines_in > 1500 + number);
    }
    assert_eq!(first.wait_lines("out", 1600).len(), 1600);
    let node = edge.wait_node("best-effort", |node| node.dropped["queue_full"] > 100);
    assert!(node.queued > 300, "{node:?}");
    assert_eq!(edge.node("end-to-end").dropped.values().sum::<u64>(), 0);
}
