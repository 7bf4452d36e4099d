//! Scribe and Flume: real clients into a daemon, a daemon into real servers, and two daemons.

mod pages;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::util::{Daemon, free_port, numbered, python_with, skip_here, wait_for};

/// A daemon with a spool behind its input, and a file behind that.
fn config(port: u16, more: &str) -> String {
    format!(
        "[input.th]\nthrift = \"127.0.0.1:{port}\"\n{more}\n\
         [spool.hold]\nfrom = \"th\"\ndir = \"{{dir}}/spool\"\n\
         [output.all]\nfrom = \"hold\"\nfile = \"{{dir}}/out\"\n\
         [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
    )
}

/// The configuration of a daemon whose spool is forwarded.
fn sender_config(forward: &str) -> String {
    format!(
        "[output.hub]\nfrom = \"in\"\n{forward}\n\
         spool = {{ dir = \"{{dir}}/spool\", sync = \"batch\" }}\n"
    )
}

#[test]
fn a_call_is_answered_once_and_what_was_answered_is_there_after_a_kill() {
    let port = free_port();
    let mut daemon = Daemon::start(&config(port, ""));
    let call = b"\0\0\0\x2a\0\0\0\x03Log\x01\0\0\0\0\x0f\0\x01\x0c\0\0\0\x01\
                 \x0b\0\x01\0\0\0\x03web\x0b\0\x02\0\0\0\x03hi\n\0\0";
    let ok = b"\0\0\0\x14\0\0\0\x03Log\x02\0\0\0\0\x08\0\0\0\0\0\0\0";
    for round in 1..=3 {
        let mut stream = wait_for("the input", || TcpStream::connect(("127.0.0.1", port)).ok());
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        stream.write_all(call).unwrap();
        let mut answer = vec![0; ok.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, ok);
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        daemon.run();
        assert_eq!(daemon.wait_lines("out", round), vec!["<13>1 - - web - - - hi"; round]);
    }
}

const PYTHON: &str = "\
import sys
from thrift.transport import TSocket, TTransport
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.Thrift import TMessageType, TType
port, strict = int(sys.argv[1]), sys.argv[2] == 'strict'
calls, each = int(sys.argv[3]), int(sys.argv[4])
transport = TTransport.TFramedTransport(TSocket.TSocket('127.0.0.1', port))
protocol = TBinaryProtocol(transport, strictRead=False, strictWrite=strict)
transport.open()
def call(name, number, write):
    protocol.writeMessageBegin(name, TMessageType.CALL, number)
    protocol.writeStructBegin('args')
    write()
    protocol.writeFieldStop()
    protocol.writeStructEnd()
    protocol.writeMessageEnd()
    transport.flush()
    got, kind, sequence = protocol.readMessageBegin()
    # Without a version the library leaves the name as bytes.
    got = got.decode() if isinstance(got, bytes) else got
    assert (got, kind, sequence) == (name, TMessageType.REPLY, number)
    protocol.readStructBegin()
    result = None
    while True:
        _, kind, field = protocol.readFieldBegin()
        if kind == TType.STOP:
            break
        assert (kind, field) == (TType.I32, 0)
        result = protocol.readI32()
    protocol.readStructEnd()
    protocol.readMessageEnd()
    return result
def text(name, number, value):
    protocol.writeFieldBegin(name, TType.STRING, number)
    protocol.writeString(value)
    protocol.writeFieldEnd()
def log(entries):
    protocol.writeFieldBegin('messages', TType.LIST, 1)
    protocol.writeListBegin(TType.STRUCT, len(entries))
    for category, message in entries:
        protocol.writeStructBegin('LogEntry')
        text('category', 1, category)
        text('message', 2, message)
        protocol.writeFieldStop()
    protocol.writeListEnd()
    protocol.writeFieldEnd()
assert call('getStatus', 1, lambda: None) == 2
assert call('Log', 2, lambda: log([])) == 0
for number in range(calls):
    lines = range(number * each, number * each + each)
    assert call('Log', number, lambda: log([('web', 'line %d\\n' % line) for line in lines])) == 0
transport.close()
";

#[test]
fn thrift_s_own_library_is_answered_in_both_ways_of_writing() {
    let Some(python) = python_with("thrift.protocol.TBinaryProtocol", "python3-thrift") else {
        return;
    };
    for strict in ["strict", "old"] {
        let port = free_port();
        let daemon = Daemon::start(&config(port, "as = \"line\""));
        let mut client = Command::new(&python);
        let output = client.args(["-c", PYTHON, &port.to_string(), strict, "50", "40"]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(daemon.wait_lines("out", 2000), numbered(0, 2000));
    }
}

#[test]
fn two_logweirs_lose_no_line_by_scribe_through_kills() {
    let port = free_port();
    let mut hub = Daemon::start(&config(port, "as = \"line\""));
    let forward = format!("forward = \"scribe://127.0.0.1:{port}\"\ncategory = \"all\"");
    let sender = Daemon::start(&sender_config(&forward));
    for round in 0..4 {
        sender.send_numbered(round * 500, round * 500 + 500);
        if round < 3 {
            hub.signal(Signal::SIGKILL);
            hub.wait();
            hub.run();
        }
    }
    wait_for_all(&numbered(0, 2000), || hub.lines("out"));
}

/// Waits until each of these lines is there, and no other; some may be there twice.
fn wait_for_all(wanted: &[String], mut lines: impl FnMut() -> Vec<String>) {
    let wanted: BTreeSet<_> = wanted.iter().cloned().collect();
    wait_for("all lines", || {
        let found: BTreeSet<_> = lines().into_iter().collect();
        let other = found.difference(&wanted).next();
        // A line that is being written is not whole.
        assert!(other.is_none_or(|line| wanted.iter().any(|w| w.starts_with(line))), "{other:?}");
        found.is_superset(&wanted).then_some(())
    });
}

#[test]
fn a_peer_that_knows_no_counts_gets_lines_with_newlines() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let forward = format!("forward = \"tcp://127.0.0.1:{port}\"\nframing = \"newline\"");
    let sender = Daemon::start(&sender_config(&forward));
    sender.send_numbered(0, 300);
    let (mut stream, _) = listener.accept().unwrap();
    let wanted = numbered(0, 300).join("\n") + "\n";
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8(got).unwrap(), wanted);
    sender.wait_node("hub", |node| node.lines_out == 300);
}

/// An agent of Flume, ended when dropped.
struct Flume(Child);

impl Drop for Flume {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where Flume's jars are: those of flume-ng-node, flume-ng-core and flume-scribe-source, with what
/// they need (`mvn dependency:copy-dependencies`).
fn flume_jars() -> Option<PathBuf> {
    let folder = std::env::var_os("LOGWEIR_TEST_FLUME").map(PathBuf::from);
    if folder.is_none() {
        skip_here("needs a folder with Flume's jars in LOGWEIR_TEST_FLUME");
    }
    folder
}

/// What file_roll has written in a folder.
fn rolled(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().flatten();
    let text = files.map(|file| std::fs::read(file.path()).unwrap_or_default());
    let text = text.collect::<Vec<_>>().concat();
    String::from_utf8_lossy(&text).lines().map(str::to_string).collect()
}

#[test]
fn a_real_flume_takes_and_sends_in_every_way_that_it_shares_with_us() {
    let Some(jars) = flume_jars() else { return };
    let ports = [free_port(), free_port(), free_port()];
    let [_, syslog, scribe] = ports;
    let places = ["1463", "5140", "1499"].into_iter().zip(ports.map(|port| port.to_string()));
    let mut places: Vec<_> = places.collect();
    places.push(("0.0.0.0", "127.0.0.1".into()));
    let page = include_str!("../docs/from-flume.md");
    let null = "[output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n";
    let mut hub = Daemon::start(&(pages::blocks(page, "toml", &places).remove(1) + null));
    let dir = hub.dir.path().to_path_buf();
    for folder in ["by-syslog", "by-scribe"] {
        std::fs::create_dir(dir.join(folder)).unwrap();
    }
    places.push(("/var/log/flume", dir.display().to_string()));
    let agent = pages::blocks(page, "flume", &places).remove(0);
    std::fs::write(dir.join("agent.properties"), agent).unwrap();
    let java = Command::new("java")
        .args(["-Xmx256m", "-cp"])
        .arg(format!("{}/*", jars.display()))
        .args(["org.apache.flume.node.Application", "-n", "a", "--no-reload-conf", "-f"])
        .arg(dir.join("agent.properties"))
        .current_dir(&dir)
        .stdout(std::fs::File::create(dir.join("flume.log")).unwrap())
        .stderr(Stdio::null())
        .spawn();
    let _flume = Flume(java.unwrap());
    // Its thrift sink: 1,000 numbers, and the daemon killed meanwhile. They go on into its
    // syslogtcp source, which knows no counts, and into its ScribeSource.
    wait_for("Flume's first lines", || (hub.node("flume").lines_in > 0).then_some(()));
    hub.signal(Signal::SIGKILL);
    hub.wait();
    hub.run();
    let events: Vec<_> = (0..1000).map(|number: u32| number.to_string()).collect();
    wait_for_all(&events, || texts(hub.lines("_-day.log")));
    let [by_syslog, by_scribe] = ["by-syslog", "by-scribe"].map(|folder| dir.join(folder));
    wait_for_all(&events, || texts(rolled(&by_syslog)));
    wait_for_all(&events, || texts(rolled(&by_scribe)));
    // And what has come by another way.
    let syslog = format!(
        "forward = \"tcp://127.0.0.1:{syslog}\"\nframing = \"newline\"\nformat = \"rfc5424\""
    );
    let scribe = format!("forward = \"scribe://127.0.0.1:{scribe}\"\ncategory = \"all\"");
    for (forward, folder) in [(syslog, by_syslog), (scribe, by_scribe)] {
        let mut sender = Daemon::start(&sender_config(&forward));
        for round in 0..4 {
            sender.send_numbered(round * 500, round * 500 + 500);
            if round < 3 {
                // What is in its spool stays.
                let end = (round + 1) * 500;
                sender.wait_node("hub.spool", |node| node.spool.as_ref().unwrap().durable >= end);
                sender.signal(Signal::SIGKILL);
                sender.wait();
                sender.run();
            }
        }
        let all: Vec<_> = events.iter().cloned().chain(numbered(0, 2000)).collect();
        wait_for_all(&all, || texts(rolled(&folder)));
    }
}

/// An agent that takes lines and sends them on as Flume's events, both sides with acknowledgements:
/// its channel is on disk.
const RELAY: &str = "\
a.sources = s
a.channels = c
a.sinks = k
a.sources.s.type = org.apache.flume.source.scribe.ScribeSource
a.sources.s.port = {scribe}
a.sources.s.channels = c
a.channels.c.type = file
a.channels.c.checkpointDir = {dir}/checkpoint
a.channels.c.dataDirs = {dir}/data
a.channels.c.transactionCapacity = 10000
a.sinks.k.type = thrift
a.sinks.k.hostname = 127.0.0.1
a.sinks.k.port = {thrift}
a.sinks.k.protocol = binary
a.sinks.k.channel = c
";

#[test]
fn nothing_is_lost_through_a_flume_with_a_file_channel_whoever_is_killed() {
    const ROUNDS: u64 = 4;
    const EACH: u64 = 500;
    let Some(jars) = flume_jars() else { return };
    let (thrift, scribe) = (free_port(), free_port());
    let mut hub = Daemon::start(&config(thrift, "as = \"line\""));
    let dir = hub.dir.path().to_path_buf();
    let agent = RELAY.replace("{dir}", &dir.display().to_string());
    let agent = agent.replace("{scribe}", &scribe.to_string());
    std::fs::write(dir.join("relay"), agent.replace("{thrift}", &thrift.to_string())).unwrap();
    let start = || {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("relay.log"));
        let java = Command::new("java")
            .args(["-Xmx256m", "-cp"])
            .arg(format!("{}/*", jars.display()))
            .args(["org.apache.flume.node.Application", "-n", "a", "--no-reload-conf", "-f"])
            .arg(dir.join("relay"))
            .current_dir(&dir)
            .stdout(log.unwrap())
            .stderr(Stdio::null())
            .spawn();
        Flume(java.unwrap())
    };
    let mut flume = start();
    let forward = format!("forward = \"scribe://127.0.0.1:{scribe}\"\ncategory = \"all\"");
    let mut sender = Daemon::start(&sender_config(&forward));
    for round in 0..ROUNDS {
        sender.send_numbered(round * EACH, (round + 1) * EACH);
        // Something of this round is under way on each side.
        let before = hub.lines("out").len();
        wait_for("lines of this round", || (hub.lines("out").len() > before).then_some(()));
        match round {
            0 => {
                hub.signal(Signal::SIGKILL);
                hub.wait();
                hub.run();
            }
            // The agent begins again with what is in its channel.
            1 => {
                drop(flume);
                flume = start();
            }
            2 => {
                let end = (round + 1) * EACH;
                sender.wait_node("hub.spool", |node| node.spool.as_ref().unwrap().durable >= end);
                sender.signal(Signal::SIGKILL);
                sender.wait();
                sender.run();
            }
            _ => {}
        }
    }
    wait_for_all(&numbered(0, ROUNDS * EACH), || hub.lines("out"));
    drop(flume);
}

/// What stands behind the headers of messages.
fn texts(lines: Vec<String>) -> Vec<String> {
    let lines = lines.into_iter().filter(|line| !line.is_empty());
    let text = |line: String| {
        let from = line.rfind("line ").or_else(|| line.rfind(' ').map(|at| at + 1));
        line[from.unwrap_or(0)..].to_string()
    };
    lines.map(text).collect()
}
