//! What every node counts by the minute: told as lines, put side by side, kept over a restart.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use logweir::driver::control::{Request, ask};
use logweir::engine::minutes::MinutesReport;
use logweir::ledger::told::MinuteCounts;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::metrics::get;
use crate::util::{Daemon, LOGWEIR, free_port, run};

/// An edge host that sends to a hub.
fn edge(name: &str, hub: u16, receive_buffer: &str) -> Daemon {
    Daemon::start(&format!(
        "state = \"{{dir}}/state\"\n#daemon\nreceive_buffer = \"{receive_buffer}\"\n\
         [input.counts]\naudit = \"1m\"\nhost = \"{name}\"\n\
         [output.hub]\nfrom = \"in\"\nforward = \"relp://127.0.0.1:{hub}\"\n\
         spool = {{ dir = \"{{dir}}/spool\", sync = \"batch\" }}\n\
         [output.audit]\nfrom = \"counts\"\nfile = \"{{dir}}/audit\"\n"
    ))
}

/// The hub: a spool, and a filter process that reads nothing.
fn hub(port: u16, metrics: u16) -> Daemon {
    Daemon::start(&format!(
        "metrics = \"127.0.0.1:{metrics}\"\n#daemon\n[input.edge]\nrelp = \"127.0.0.1:{port}\"\n\
         [input.counts]\naudit = \"1m\"\nhost = \"hub\"\n\
         [filter.api]\nfrom = \"edge\"\nmatch = \"[02468]$\"\n\
         [filter.stuck]\nfrom = \"edge\"\nrun = \"exec sleep 600\"\nqueue = \"4KiB\"\n\
         restart = [\"60s\", \"60s\"]\n\
         [spool.hold]\nfrom = \"edge\"\ndir = \"{{dir}}/hold\"\nsync = \"batch\"\n\
         [output.all]\nfrom = \"hold\"\nfile = \"{{dir}}/all\"\n\
         [output.api_log]\nfrom = \"api\"\nfile = \"{{dir}}/api\"\n\
         [output.audit]\nfrom = \"counts\"\nfile = \"{{dir}}/audit\"\n"
    ))
}

/// Waits until a daemon has told all windows up to this time.
pub fn wait_told(daemon: &Daemon, until: SystemTime) {
    let start = Instant::now();
    let until = until.duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    loop {
        let told = daemon.lines("audit").iter().any(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let window: jiff::Timestamp = line["window"].as_str().unwrap().parse().unwrap();
            line["kind"] == "daemon" && window.as_second() + 60 > until
        });
        if told {
            return;
        }
        // A minute must pass.
        assert!(start.elapsed() < Duration::from_secs(240), "{:?}", daemon.lines("audit"));
        std::thread::sleep(Duration::from_millis(200));
    }
}

pub fn audit(options: &[&str], daemons: &[&Daemon]) -> Output {
    let files = daemons.iter().map(|daemon| daemon.path("audit"));
    Command::new(LOGWEIR).arg("audit").args(options).args(files).output().unwrap()
}

/// What all windows together say of each node: a field, or a reason of drops.
pub fn sums(output: &Output) -> BTreeMap<(String, String), u64> {
    let mut sums = BTreeMap::new();
    for window in String::from_utf8_lossy(&output.stdout).lines() {
        let window: Value = serde_json::from_str(window).unwrap();
        for row in window["rows"].as_array().unwrap() {
            let name =
                format!("{}/{}", row["host"].as_str().unwrap(), row["node"].as_str().unwrap());
            let dropped = row["dropped"].as_object().into_iter().flatten();
            for (field, count) in row.as_object().unwrap().iter().chain(dropped) {
                if let Some(count) = count.as_u64() {
                    *sums.entry((name.clone(), field.clone())).or_default() += count;
                }
            }
        }
    }
    sums
}

/// Has datagrams come faster than they are received. Returns how many the kernel dropped.
fn overflow(edge: &Daemon, count: u64) -> u64 {
    edge.signal(Signal::SIGSTOP);
    (0..count).for_each(|number| edge.send(format!("line {number:095}\n").as_bytes()));
    edge.signal(Signal::SIGCONT);
    let all_known = |node: &logweir::engine::status::NodeStatus| {
        node.lines_in + node.input.unwrap().kernel_drops == count
    };
    let node = edge.wait_node("in", all_known);
    let dropped = node.input.unwrap().kernel_drops;
    assert!(dropped > 0 && node.lines_in > 0, "{node:?}");
    dropped
}

/// Has the first part of a spool trimmed while its daemon is down.
fn trim(edge: &mut Daemon, kept_from: u64) {
    edge.stop();
    let dir = edge.path("spool").display().to_string();
    let trimmed = run(&["spool", "trim", &dir, "--before", &kept_from.to_string()], b"");
    assert!(trimmed.status.success(), "{trimmed:?}");
    edge.run();
}

/// Three edge hosts of a hub that is not there yet: one whose kernel dropped some of 5,000 lines,
/// and how many, one whose spool has lost 400 of 1,000 lines, and one that is sound.
pub fn edges(port: u16) -> ([Daemon; 3], u64) {
    let overflown = edge("edge1", port, "4KiB");
    let mut trimmed = edge("edge2", port, "1MiB");
    let sound = edge("edge3", port, "1MiB");
    let kernel_drops = overflow(&overflown, 5000);
    trimmed.send_numbered(0, 400);
    trimmed.wait_node("hub.spool", |node| node.lines_out == 400);
    trimmed.stop();
    trimmed.run();
    trimmed.send_numbered(400, 1000);
    trimmed.wait_node("hub.spool", |node| node.lines_out == 600);
    trim(&mut trimmed, 400);
    ([overflown, trimmed, sound], kernel_drops)
}

#[test]
fn three_hosts_and_a_hub_add_up_and_every_loss_is_where_it_was() {
    let port = free_port();
    let ([overflown, trimmed, sound], kernel_drops) = edges(port);

    let metrics = free_port();
    let hub = hub(port, metrics);
    let first = 5000 - kernel_drops + 600;
    hub.wait_node("edge", |node| node.lines_in == first);
    let child = hub.wait_node("stuck", |node| node.children[0].pid.is_some());
    kill(Pid::from_raw(child.children[0].pid.unwrap() as i32), Signal::SIGKILL).unwrap();
    hub.wait_node("stuck", |node| node.children[0].pid.is_none());
    (0..2000).for_each(|number| {
        sound.send(format!("line {number:095}\n").as_bytes());
        if number % 100 == 99 {
            sound.wait_node("in", |node| node.lines_in + 500 > number);
        }
    });
    let all = first + 2000;
    hub.wait_node("edge", |node| node.lines_in == all);
    hub.wait_node("all", |node| node.lines_out == all);
    let stuck = hub.node("stuck").dropped;
    assert!(stuck["child_gone"] > 1000, "{stuck:?}");
    let daemons = [&overflown, &trimmed, &sound, &hub];
    daemons[..3].iter().for_each(|edge| {
        edge.wait_node("hub.spool", |node| node.spool.as_ref().unwrap().readers[0].lag_lines == 0);
    });
    let now = SystemTime::now();
    daemons.iter().for_each(|daemon| wait_told(daemon, now));

    let json = audit(&["--json"], &daemons);
    assert_eq!(json.status.code(), Some(0), "{json:?}");
    let sums = sums(&json);
    let sum = |name: &str, field: &str| {
        sums.get(&(name.to_string(), field.to_string())).copied().unwrap_or(0)
    };
    assert_eq!(sum("edge1/in", "kernel_drops"), kernel_drops);
    assert_eq!(sum("edge1/in", "lines_in"), 5000 - kernel_drops);
    assert_eq!((sum("edge2/in", "lines_in"), sum("edge2/hub", "spool_full")), (1000, 400));
    assert_eq!(sum("edge2/hub", "lines_out"), 600);
    assert_eq!((sum("hub/edge", "sent"), sum("hub/edge", "lines_in")), (all, all));
    assert_eq!(sum("hub/stuck", "child_gone"), stuck["child_gone"]);
    assert_eq!(sum("hub/stuck", "queue_full"), stuck["queue_full"]);
    assert_eq!(
        sum("hub/api", "lines_in"),
        sum("hub/api", "lines_out") + sum("hub/api", "not_selected")
    );
    let text = audit(&[], &daemons);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("every closed one adds up; lines were dropped") && !text.contains('\x1b'),
        "{text}"
    );
    assert!(text.contains(&format!("kernel_drops {kernel_drops}")), "{text}");

    // A hub that has seven lines less.
    let less = |text: String| {
        let mut line: Value = serde_json::from_str(&text).unwrap();
        if line["node"] == "edge" && line["lines_in"].as_u64().unwrap() > 1000 {
            for field in ["lines_in", "lines_out"] {
                line[field] = (line[field].as_u64().unwrap() - 7).into();
            }
        }
        line.to_string()
    };
    let edges = daemons[..3].iter().flat_map(|daemon| daemon.lines("audit"));
    let text: Vec<_> = edges.chain(hub.lines("audit").into_iter().map(less)).collect();
    let output = run(&["audit", "-"], text.join("\n").as_bytes());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("DOES NOT ADD UP") && said.contains(" 7 MISSING"), "{said}");

    minutes_are_kept(trimmed, 1000);
    minutes_are_served(&hub, metrics);
}

/// The minutes outlive a restart and a kill.
fn minutes_are_kept(mut daemon: Daemon, lines: u64) {
    let count = |daemon: &Daemon| -> u64 {
        let request = Request::Minutes { node: Some("in".into()), minutes: None };
        let report = ask(&daemon.path("control.sock"), request).unwrap();
        let report: MinutesReport = serde_json::from_value(report).unwrap();
        let [node] = &report.nodes[..] else { panic!("{report:?}") };
        node.rows.iter().map(|row| row.counts.lines_in).sum()
    };
    assert_eq!(count(&daemon), lines);
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    daemon.run();
    assert_eq!(count(&daemon), lines, "saved when the minute closed");
    daemon.send_numbered(0, 10);
    daemon.wait_node("in", |node| node.lines_in == 10);
    daemon.stop();
    daemon.run();
    assert_eq!(count(&daemon), lines + 10);
}

fn minutes_are_served(hub: &Daemon, metrics: u16) {
    let output = hub.ctl_words(&["status", "--minutes", "api"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let node = hub.node("api");
    let lines: u64 = text
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().nth(2).unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(lines, node.lines_in, "{text}");
    let served = |query: &str| -> MinutesReport {
        let answer = get(metrics, &format!("/minutes.json{query}"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("\r\nContent-Type: application/json\r\n"), "{head}");
        serde_json::from_str(body).unwrap()
    };
    let [node] = &served("?node=api").nodes[..] else { panic!("one node was asked for") };
    let sum = |field: fn(&MinuteCounts) -> u64| -> u64 {
        node.rows.iter().map(|row| field(&row.counts)).sum()
    };
    assert_eq!(sum(|counts| counts.lines_in), sum(|counts| counts.lines_out + counts.not_selected));
    assert_eq!(sum(|counts| counts.lines_in), lines);
    let all = served("?minutes=3");
    assert_eq!((all.v, all.window, all.minutes), (1, 60, 3));
    assert!(all.nodes.iter().any(|node| node.name == "hold" && node.from == ["edge"]));
    let missing = hub.ctl_words(&["status", "--minutes", "none"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("there is no node none"));
}
