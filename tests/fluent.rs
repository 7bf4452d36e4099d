//! The Fluent forward protocol into a daemon: what the test says byte by byte, and real clients.

mod peers;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::util::{Daemon, free_port, python_with, wait_for};

/// A record `{"log": text}` in a message `["web", 1767225600, record, {"chunk": id}]`.
fn message(text: &str, chunk: &str) -> Vec<u8> {
    let mut out = b"\x94\xa3web\xce\x69\x55\xb9\x00\x81\xa3log".to_vec();
    put(&mut out, text);
    if chunk.is_empty() {
        out.push(0x80);
    } else {
        out.extend_from_slice(b"\x81\xa5chunk");
        put(&mut out, chunk);
    }
    out
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&[0xd9, u8::try_from(text.len()).unwrap()]);
    out.extend_from_slice(text.as_bytes());
}

fn ack(chunk: &str) -> Vec<u8> {
    let len = u8::try_from(chunk.len()).unwrap();
    assert!(len < 32);
    [b"\x81\xa3ack", &[0xa0 | len][..], chunk.as_bytes()].concat()
}

/// A daemon with a spool behind its input, and a file behind that.
fn config(port: u16, more: &str) -> String {
    format!(
        "[input.fl]\nfluent = \"127.0.0.1:{port}\"\n{more}\n\
         [spool.hold]\nfrom = \"fl\"\ndir = \"{{dir}}/spool\"\n\
         [output.all]\nfrom = \"hold\"\nfile = \"{{dir}}/out\"\n\
         [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
    )
}

fn connect(port: u16) -> TcpStream {
    let stream = wait_for("the input", || TcpStream::connect(("127.0.0.1", port)).ok());
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn answer(stream: &mut impl Read, wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got, wanted, "{}", String::from_utf8_lossy(&got));
}

#[test]
fn what_was_answered_is_there_after_a_kill_and_what_comes_again_is_there_once() {
    let port = free_port();
    let mut daemon = Daemon::start(&config(port, "as = \"line\""));
    let mut sent = 0;
    for round in 0..3 {
        let mut stream = connect(port);
        for _ in 0..50 {
            stream.write_all(&message(&format!("line {sent}"), &format!("id {sent}\n"))).unwrap();
            answer(&mut stream, &ack(&format!("id {sent}\n")));
            sent += 1;
        }
        // As a client that did not hear the last answer does.
        drop(stream);
        let mut stream = connect(port);
        let last = sent - 1;
        stream.write_all(&message(&format!("line {last}"), &format!("id {last}\n"))).unwrap();
        answer(&mut stream, &ack(&format!("id {last}\n")));
        if round < 2 {
            daemon.signal(Signal::SIGKILL);
            daemon.wait();
            daemon.run();
        }
    }
    let lines = daemon.wait_lines("out", sent);
    let wanted: Vec<_> = (0..sent).map(|number| format!("line {number}")).collect();
    assert_eq!(lines, wanted);
}

#[test]
fn a_unix_socket_takes_clients_whose_process_is_known_and_outlives_a_reload() {
    let more = "as = \"line\"";
    let text = config(1, more).replace("127.0.0.1:1", "unix://{dir}/fluent.sock")
        + "[output.json]\nfrom = \"hold\"\nfile = \"{dir}/json\"\nformat = \"json\"\n";
    let mut daemon = Daemon::start(&text);
    let path = daemon.path("fluent.sock");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(&message("one", "c1")).unwrap();
    answer(&mut stream, &ack("c1"));
    daemon.write_config(&text.replace(more, "as = \"line\"\nmax_connections = 7\nmode = \"0600\""));
    assert!(daemon.ctl("reload").status.success(), "{}", daemon.log());
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(&message("two", "c2")).unwrap();
    answer(&mut stream, &ack("c2"));
    assert_eq!(daemon.wait_lines("out", 2), ["one", "two"]);
    daemon.stop();
    assert!(!path.exists());
}

#[test]
fn a_unix_socket_of_clients_whose_path_is_removed_or_taken_is_listened_to_anew() {
    let text = config(1, "as = \"line\"").replace("127.0.0.1:1", "unix://{dir}/fluent.sock");
    let mut daemon = Daemon::start(&text);
    let path = daemon.path("fluent.sock");
    let mut before = UnixStream::connect(&path).unwrap();
    let send = |stream: &mut UnixStream, text: &str| {
        stream.write_all(&message(text, text)).unwrap();
        answer(stream, &ack(text));
    };
    send(&mut before, "one");
    std::fs::remove_file(&path).unwrap();
    let mut stream = wait_for("the socket", || UnixStream::connect(&path).ok());
    send(&mut stream, "two");
    send(&mut before, "three");
    // Something else is there: that is said, and left alone.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "mine").unwrap();
    let said = daemon.wait_node("fl", |node| node.error.is_some()).error.unwrap();
    assert!(said.contains("fluent.sock: there is something else at this path"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    std::fs::remove_file(&path).unwrap();
    send(&mut wait_for("the socket", || UnixStream::connect(&path).ok()), "four");
    daemon.wait_node("fl", |node| node.error.is_none());
    // A reload goes on with the socket that is there now.
    let mut lasting = UnixStream::connect(&path).unwrap();
    assert!(daemon.ctl("reload").status.success());
    send(&mut lasting, "five");
    assert_eq!(daemon.wait_lines("out", 5), ["one", "two", "three", "four", "five"]);
    assert_eq!(daemon.stop().0, Some(0));
    assert!(!path.exists());
}

#[test]
fn heartbeats_over_udp_are_answered_with_a_byte_also_after_a_reload() {
    let port = free_port();
    let daemon = Daemon::start(&config(port, ""));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let beat = || {
        let mut buffer = [1; 8];
        wait_for("a heartbeat's answer", || {
            socket.send_to(&[0], ("127.0.0.1", port)).unwrap();
            socket.recv_from(&mut buffer).ok()
        });
        assert_eq!(buffer[0], 0);
    };
    beat();
    daemon.write_config(&config(port, "max_connections = 5"));
    assert!(daemon.ctl("reload").status.success(), "{}", daemon.log());
    beat();
}

#[test]
fn a_client_that_reads_no_answers_and_one_that_sends_nonsense_cost_no_other_anything() {
    let port = free_port();
    let daemon = Daemon::start(&config(port, "as = \"line\""));
    let mut deaf = connect(port);
    deaf.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let many: Vec<u8> = (0..1000).flat_map(|_| message("deaf", &"x".repeat(200))).collect();
    // Its answers fill its receive buffer and then ours; then nothing more is read from it.
    let mut sent = 0_u64;
    while deaf.write_all(&many).is_ok() && sent < 500 {
        sent += 1;
    }
    assert!(sent < 500, "everything was read from a client that reads nothing");
    for nonsense in [&b"\xc1"[..], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", &[0x91; 99]]
    {
        let mut stream = connect(port);
        stream.write_all(nonsense).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0);
    }
    let mut good = connect(port);
    good.write_all(&message("good", "id")).unwrap();
    answer(&mut good, &ack("id"));
    daemon.wait_node("fl", |node| node.input.as_ref().unwrap().malformed == 4);
    for said in ["begins no value", "sends text, and no MessagePack", "speaks TLS", "nested deeper"]
    {
        daemon.wait_log(said);
    }
}

const PYTHON: &str = "\
import sys
from fluent import sender
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = sender.FluentSender('app', host=host, port=port, nanosecond_precision=True)
for number in range(count):
    ok = client.emit_with_time('web', sender.EventTime(1767225600.5), {
        'message': 'line %d' % number, 'number': number, 'list': [1, None], 'gr\\u00f6': '\\u20ac'})
    assert ok, client.last_error
client.close()
";

#[test]
fn python_s_client_sends_records_one_by_one() {
    let Some(python) = python_with("fluent.sender", "python3-fluent-logger") else { return };
    let port = free_port();
    let daemon = Daemon::start(&config(port, ""));
    let mut client = Command::new(python);
    client.args(["-c", PYTHON, "127.0.0.1", &port.to_string(), "2000"]);
    assert!(client.status().unwrap().success());
    let lines = daemon.wait_lines("out", 2000);
    for (number, line) in lines.iter().enumerate() {
        let wanted = format!(
            "<13>1 2026-01-01T00:00:00.500000Z - app.web - - [fluent@32473 number=\"{number}\" \
             list=\"[1,null\\]\" gr__=\"€\"] line {number}"
        );
        assert_eq!(*line, wanted);
    }
}

/// Where npm's packages are for tests, with `@fluent-org/logger` among them.
fn node_client() -> Option<PathBuf> {
    let folder = std::env::var_os("LOGWEIR_TEST_NODE_MODULES").map(PathBuf::from);
    let found = folder.filter(|folder| folder.join("@fluent-org/logger").is_dir());
    if found.is_none() {
        crate::util::skip_here(
            "needs a folder with npm's @fluent-org/logger in LOGWEIR_TEST_NODE_MODULES",
        );
    }
    found
}

const NODE: &str = "\
const { FluentClient } = require('@fluent-org/logger');
const [port, mode, count, key] = process.argv.slice(2);
const client = new FluentClient('app', {
  eventMode: mode, ack: { ackTimeout: 20000 },
  socket: { host: '127.0.0.1', port: Number(port), timeout: 20000 },
  security: key ? { clientHostname: 'client', sharedKey: key } : undefined,
  flushInterval: 10,
});
(async () => {
  const all = [];
  for (let number = 0; number < Number(count); number++)
    all.push(client.emit('web', { message: 'line ' + number }));
  await Promise.all(all);
  await client.disconnect();
})().catch((error) => { console.error(String(error)); process.exit(1); });
";

fn run_node(modules: &Path, args: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("client.js");
    std::fs::write(&script, NODE).unwrap();
    let mut client = Command::new("node");
    client.arg(script).args(args).env("NODE_PATH", modules);
    client.output().unwrap()
}

#[test]
fn node_s_client_is_answered_in_each_of_its_four_modes() {
    let Some(modules) = node_client() else { return };
    for mode in ["Message", "Forward", "PackedForward", "CompressedPackedForward"] {
        let port = free_port();
        let daemon = Daemon::start(&config(port, "as = \"line\""));
        let out = run_node(&modules, &[&port.to_string(), mode, "1000"]);
        assert!(out.status.success(), "{mode}: {}", String::from_utf8_lossy(&out.stderr));
        // Answered, so it is there: on disk before, and in the file soon.
        let mut lines = daemon.wait_lines("out", 1000);
        lines.sort_by_key(|line| line[5..].parse::<usize>().unwrap());
        for (number, line) in lines.iter().enumerate() {
            assert_eq!(*line, format!("line {number}"), "{mode}");
        }
    }
}

#[test]
fn node_s_client_shows_the_shared_key_and_is_refused_with_another() {
    let Some(modules) = node_client() else { return };
    let port = free_port();
    let more = "as = \"line\"\nshared_key = \"right key\"\nserver_name = \"server\"";
    let daemon = Daemon::start(&config(port, more));
    let out = run_node(&modules, &[&port.to_string(), "PackedForward", "100", "right key"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    daemon.wait_lines("out", 100);
    let mut wrong = Command::new("timeout");
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("client.js");
    std::fs::write(&script, NODE).unwrap();
    wrong.args(["3", "node"]).arg(script).args([&port.to_string(), "Message", "1", "wrong"]);
    // It may well end as if all were fine, and waits for no answer.
    wrong.env("NODE_PATH", &modules).output().unwrap();
    daemon.wait_log("has another shared key");
    assert_eq!(daemon.wait_lines("out", 100).len(), 100);
}

/// The configuration of a sender whose spool is forwarded by `forward`.
fn sender_config(forward: &str) -> String {
    format!(
        "[output.hub]\nfrom = \"in\"\n{forward}\n\
         spool = {{ dir = \"{{dir}}/spool\", sync = \"batch\" }}\n"
    )
}

#[test]
fn two_logweirs_lose_no_line_by_fluent_forward_through_kills_and_restarts() {
    let port = free_port();
    let mut hub = Daemon::start(&config(port, "as = \"line\""));
    let forward = format!(
        "forward = \"fluent://127.0.0.1:{port}\"\nfluent_compress = \"gzip\"\nfluent_tag = \"all\""
    );
    let mut sender = Daemon::start(&sender_config(&forward));
    for round in 0..4 {
        sender.send_numbered(round * 500, round * 500 + 500);
        if round < 3 {
            hub.signal(Signal::SIGKILL);
            hub.wait();
            hub.run();
        } else {
            // What is in its spool stays.
            sender.stop();
            sender.run();
        }
    }
    let wanted = crate::util::numbered(0, 2000);
    let mut lines = wait_for("all lines", || {
        let lines = hub.lines("out");
        let distinct: std::collections::BTreeSet<_> = lines.iter().collect();
        (distinct.len() == wanted.len()).then_some(lines)
    });
    lines.sort();
    lines.dedup();
    let mut sorted = wanted;
    sorted.sort();
    assert_eq!(lines, sorted);
}

#[test]
fn records_go_on_with_their_fields_through_tls_and_a_shared_key() {
    let port = free_port();
    let certificates = crate::rsyslog::Certificates::new();
    let Some(certificates) = certificates else { return };
    let security = "shared_key = \"k3y\"";
    let text = config(
        port,
        &format!(
            "{security}\nusers = \"joe:pass\"\nserver_name = \"hub\"\n\
         tls = {{ cert = \"{}\", key = \"{}\" }}",
            certificates.path("server.pem"),
            certificates.path("server.key"),
        ),
    );
    let hub = Daemon::start(&text);
    let sender = Daemon::start(&sender_config(&format!(
        "forward = \"fluent+tls://localhost:{port}\"\n{security}\nuser = \"joe:pass\"\n\
         tls = {{ ca = \"{}\" }}\nfluent_compress = \"zstd\"",
        certificates.path("ca.pem"),
    )));
    sender.send(b"<11>1 2026-01-01T00:00:00Z web1 nginx 7 - [fluent@32473 k=\"v\"] hello");
    let lines = hub.wait_lines("out", 1);
    let wanted = "<11>1 2026-01-01T00:00:00.000000Z web1 nginx 7 - [fluent@32473 severity=\"err\" \
                  facility=\"user\" ident=\"nginx\" k=\"v\"] hello";
    assert_eq!(lines[0], wanted);
    assert!(hub.log().contains("running"));
    assert_eq!(sender.wait_node("hub", |node| node.lines_out == 1).lines_out, 1);
}

const NODE_SERVER: &str = "\
const { FluentServer } = require('@fluent-org/logger');
const fs = require('fs');
const [port, out, key] = process.argv.slice(2);
class Server extends FluentServer {
  async onEntry(tag, time, record) {
    fs.appendFileSync(out, tag + ' ' + record.message + '\\n');
  }
}
const security = key ? { serverHostname: 'server', sharedKey: key, authorize: false } : undefined;
new Server({ listenOptions: { port: Number(port), host: '127.0.0.1' }, security }).listen();
";

#[test]
fn node_s_server_gets_each_line_and_asks_for_the_shared_key() {
    let Some(modules) = node_client() else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("server.js");
    std::fs::write(&script, NODE_SERVER).unwrap();
    for (key, compress) in [("", "none"), ("k3y", "none"), ("", "gzip")] {
        let (port, out) = (free_port(), folder.path().join(format!("out{key}{compress}")));
        let mut server = Command::new("node");
        server.arg(&script).args([&port.to_string(), out.to_str().unwrap(), key]);
        let mut server = server.env("NODE_PATH", &modules).spawn().unwrap();
        let key = if key.is_empty() { String::new() } else { format!("shared_key = \"{key}\"\n") };
        let sender = Daemon::start(&sender_config(&format!(
            "forward = \"fluent://127.0.0.1:{port}\"\n{key}fluent_compress = \"{compress}\"\n\
             fluent_tag = \"web\""
        )));
        sender.send_numbered(0, 1000);
        sender.wait_node("hub", |node| node.lines_out == 1000);
        // The server answers a chunk before its records are all handed over.
        let lines = wait_for("all lines", || {
            let text = std::fs::read_to_string(&out).unwrap_or_default();
            (text.lines().count() == 1000 && text.ends_with('\n')).then_some(text)
        });
        let wanted: String = (0..1000).map(|number| format!("web line {number}\n")).collect();
        server.kill().unwrap();
        server.wait().unwrap();
        assert_eq!(lines, wanted);
    }
}
