//! Real peers of Fluent forward that Debian does not have, or that are killed in the middle:
//! `.ci/peers/fetch` gets them. Lines are numbered, and with answers none is lost.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{config, node_client, sender_config};
use crate::util::{Daemon, free_port, numbered, python_with, skip_here, wait_for};

/// A program that `.ci/peers/fetch` has made.
fn fetched(variable: &str, what: &str) -> Option<PathBuf> {
    let program = std::env::var_os(variable).map(PathBuf::from);
    if program.is_none() {
        skip_here(&format!("needs {what} in {variable} (.ci/peers/fetch)"));
    }
    program
}

/// Kills a daemon and starts it again each time it has taken so many records since its start, and
/// in between it ends as it is told to.
fn restart(daemon: &mut Daemon, times: u64, each: u64) {
    for time in 0..times {
        daemon.wait_node("fl", |node| node.lines_in >= each);
        if time % 3 == 1 {
            assert_eq!(daemon.stop().0, Some(0));
        } else {
            daemon.signal(Signal::SIGKILL);
            daemon.wait();
        }
        daemon.run();
    }
}

/// Each of so many numbered lines is there; how many are there more than once.
fn all_are_there(lines: &[String], count: u64) -> usize {
    let wanted: BTreeSet<_> = numbered(0, count).into_iter().collect();
    let found: BTreeSet<_> = lines.iter().cloned().collect();
    assert_eq!(wanted.difference(&found).next(), None, "of {} lines", lines.len());
    assert_eq!(found.len(), wanted.len(), "lines that nobody sent");
    lines.len() - found.len()
}

#[test]
fn docker_s_client_library_loses_no_record_though_the_daemon_is_killed() {
    let Some(client) = fetched("LOGWEIR_TEST_GO_CLIENT", "a program with Docker's client") else {
        return;
    };
    let port = free_port();
    let mut daemon = Daemon::start(&config(port, "as = \"line\""));
    let mut client =
        Command::new(client).args([&port.to_string(), "4000"]).stderr(Stdio::piped()).spawn();
    let client = client.as_mut().unwrap();
    restart(&mut daemon, 5, 300);
    let status = wait_for("the client's end", || client.try_wait().unwrap());
    let mut said = String::new();
    std::io::Read::read_to_string(client.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert!(status.success(), "{said}");
    // What it was answered is on disk, and on its way into the file.
    let last = "line 3999";
    let lines = wait_for(last, || {
        let lines = daemon.lines("out");
        lines.last().is_some_and(|line| line == last).then_some(lines)
    });
    // It waits for each answer, so that a kill can have only one record come again.
    let twice = all_are_there(&lines, 4000);
    assert!(twice <= 5, "{twice} records twice");
}

/// Node's client with answers; what is not answered is sent again by the program, as it may.
const NODE: &str = "\
const { FluentClient } = require('@fluent-org/logger');
const [port, mode, count] = process.argv.slice(2);
const client = new FluentClient('app', {
  eventMode: mode, ack: { ackTimeout: 1000 },
  socket: { host: '127.0.0.1', port: Number(port), timeout: 1000,
    reconnect: { backoff: 2, delay: 50, minDelay: 50, maxDelay: 200 } },
  flushInterval: 5, sendQueueIntervalSize: undefined,
});
const emit = async (number) => {
  for (;;) {
    try { return await client.emit('web', { message: 'line ' + number }); }
    catch (error) { await new Promise((done) => setTimeout(done, 20)); }
  }
};
(async () => {
  for (let number = 0; number < Number(count); number += 20)
    await Promise.all([...Array(20).keys()].map((at) => emit(number + at)));
  process.exit(0);
})();
";

#[test]
fn node_s_client_loses_no_record_in_any_of_its_modes_though_the_daemon_is_killed() {
    let Some(modules) = node_client() else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("client.js");
    std::fs::write(&script, NODE).unwrap();
    for mode in ["Message", "Forward", "PackedForward", "CompressedPackedForward"] {
        let port = free_port();
        let mut daemon = Daemon::start(&config(port, "as = \"line\""));
        let mut client = Command::new("node");
        client.arg(&script).args([&port.to_string(), mode, "3000"]).env("NODE_PATH", &modules);
        let mut client = Running(client.spawn().unwrap());
        restart(&mut daemon, 3, 300);
        let status = wait_for("the client's end", || client.0.try_wait().unwrap());
        assert!(status.success(), "{mode}");
        let lines = wait_for("every line", || {
            let lines = daemon.lines("out");
            let found: BTreeSet<_> = lines.iter().collect();
            (found.len() == 3000).then_some(lines)
        });
        all_are_there(&lines, 3000);
    }
}

/// Python's client sends messages of one record, with times in seconds or nanoseconds, by itself or
/// from a thread of its own. It knows no answers (neither Debian's version nor PyPI's does): what
/// the kernel had taken when the daemon was killed is lost, and it sends again what it could not
/// write. So each record that comes is one that was sent, and none is changed.
const PYTHON: &str = "\
import os, sys, time
from fluent import sender, asyncsender
port, mode, end = int(sys.argv[1]), sys.argv[2], sys.argv[3]
kind = asyncsender.FluentSender if mode == 'thread' else sender.FluentSender
options = {'queue_maxsize': 0} if mode == 'thread' else {}
options['nanosecond_precision'] = mode == 'nanoseconds'
client = kind('app', host='127.0.0.1', port=port, **options)
count = 0
while not os.path.exists(end):
    client.emit('web', {'message': 'line %d' % count})
    count += 1
    time.sleep(0.001)
client.close()
print(count)
";

#[test]
fn python_s_client_goes_on_after_kills_in_each_of_its_modes_and_no_record_is_made_up() {
    let Some(python) = python_with("fluent.asyncsender", "python3-fluent-logger") else { return };
    for mode in ["seconds", "nanoseconds", "thread"] {
        let port = free_port();
        let mut daemon = Daemon::start(&config(port, "as = \"line\""));
        let mut client = Command::new(&python);
        let end = daemon.path("end");
        client.args(["-c", PYTHON, &port.to_string(), mode]).arg(&end);
        let mut client = Running(client.stdout(Stdio::piped()).spawn().unwrap());
        restart(&mut daemon, 3, 300);
        daemon.wait_node("fl", |node| node.lines_in >= 300);
        std::fs::write(end, "").unwrap();
        let status = wait_for("the client's end", || client.0.try_wait().unwrap());
        assert!(status.success(), "{mode}");
        let mut said = String::new();
        std::io::Read::read_to_string(client.0.stdout.as_mut().unwrap(), &mut said).unwrap();
        let count: u64 = said.trim().parse().unwrap();
        let last = format!("line {}", count - 1);
        let lines = wait_for("the last record", || {
            let lines = daemon.lines("out");
            lines.contains(&last).then_some(lines)
        });
        let sent: BTreeSet<_> = numbered(0, count).into_iter().collect();
        let made_up: Vec<_> = lines.iter().filter(|line| !sent.contains(*line)).collect();
        assert!(made_up.is_empty(), "{mode}: {made_up:?}");
        // Each of four daemons took so many.
        assert!(lines.iter().collect::<BTreeSet<_>>().len() >= 1200, "{mode}");
    }
}

/// A process, ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What OpenTelemetry's collector does: it takes Fluent forward and writes records into a file.
const COLLECTOR: &str = "\
receivers:
  fluentforward:
    endpoint: 127.0.0.1:{port}
exporters:
  file:
    path: {dir}/records
    append: true
    flush_interval: 100ms
service:
  telemetry: { metrics: { level: none } }
  pipelines:
    logs: { receivers: [fluentforward], exporters: [file] }
";

#[test]
fn opentelemetry_s_collector_gets_every_line_though_the_sender_is_killed_and_it_restarts() {
    let Some(program) = fetched("LOGWEIR_TEST_OTEL", "OpenTelemetry's collector") else { return };
    let port = free_port();
    let mut sender = Daemon::start(&sender_config(&format!(
        "forward = \"fluent://127.0.0.1:{port}\"\nfluent_tag = \"all\"\nfluent_compress = \"gzip\""
    )));
    let file = sender.path("collector.yaml");
    let text = COLLECTOR.replace("{port}", &port.to_string());
    let text = text.replace("{dir}", &sender.dir.path().display().to_string());
    std::fs::write(&file, text).unwrap();
    let start = |sender: &Daemon| {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(sender.path("otel"));
        let mut command = Command::new(&program);
        command.arg("--config").arg(&file).stdout(Stdio::null()).stderr(log.unwrap());
        Running(command.spawn().unwrap())
    };
    let mut collector = start(&sender);
    let mut number = 0;
    for round in 0..4 {
        sender.send_numbered(number, number + 500);
        number += 500;
        sender.wait_node("hub", |node| node.lines_out > 0);
        match round {
            // It writes what it has answered before it ends.
            1 => {
                kill(Pid::from_raw(collector.0.id().cast_signed()), Signal::SIGTERM).unwrap();
                wait_for("the collector's end", || collector.0.try_wait().unwrap());
                collector = start(&sender);
            }
            2 => {
                // What is in the spool stays; what the kernel or a queue has would not.
                sender.wait_node("hub.spool", |node| {
                    node.spool.as_ref().is_some_and(|spool| spool.durable >= number)
                });
                sender.signal(Signal::SIGKILL);
                sender.wait();
                sender.run();
            }
            _ => {}
        }
    }
    let records = sender.path("records");
    let lines = wait_for("every record", || {
        let text = std::fs::read_to_string(&records).unwrap_or_default();
        let texts = text.split("\"stringValue\":\"line ").skip(1);
        let texts = texts.filter_map(|rest| rest.split_once('"'));
        let lines: Vec<_> = texts.map(|(number, _)| format!("line {number}")).collect();
        let found: BTreeSet<_> = lines.iter().collect();
        (found.len() as u64 == number).then_some(lines)
    });
    all_are_there(&lines, number);
    drop(collector);
}
