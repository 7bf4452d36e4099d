//! Three edge hosts, a hub, a topic and two hosts with filters that share it: `logweir audit` says
//! what became of every line.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::broker::{Brokers, Kind};
use crate::audit::{audit, edges, sums, wait_told};
use crate::util::{Daemon, free_port, run, wait_for};

/// The hub: what the edges send goes into the topic, by way of a spool.
fn hub(port: u16, brokers: &Brokers) -> Daemon {
    Daemon::start(&format!(
        "[input.edge]\nrelp = \"127.0.0.1:{port}\"\n\
         [input.counts]\naudit = \"1m\"\nhost = \"hub\"\n\
         [spool.hold]\nfrom = \"edge\"\ndir = \"{{dir}}/hold\"\nsync = \"batch\"\n\
         [output.topic]\nfrom = \"hold\"\nkafka = {{ brokers = {}, topic = \"audited\" }}\n\
         partition = \"hash\"\nkey = '(.)$'\n\
         [output.audit]\nfrom = \"counts\"\nfile = \"{{dir}}/audit\"\n",
        brokers.quoted()
    ))
}

/// A host with filters: a member of a group, whose filter reads nothing. It also reads partitions
/// of its own.
fn filters(name: &str, brokers: &Brokers, partitions: &str) -> Daemon {
    let kafka = format!("kafka = {{ brokers = {}, topic = \"audited\"", brokers.quoted());
    Daemon::start(&format!(
        "[input.web]\n{kafka}, group = \"audited\" }}\n\
         [filter.stuck]\nfrom = \"web\"\nrun = \"exec sleep 600\"\nqueue = \"4KiB\"\n\
         restart = [\"60s\", \"60s\"]\n\
         [spool.hold]\nfrom = \"web\"\ndir = \"{{dir}}/hold\"\nsync = \"batch\"\n\
         [output.all]\nfrom = \"hold\"\nfile = \"{{dir}}/all\"\n\
         [input.part]\n{kafka}, partitions = {partitions} }}\n\
         positions = \"{{dir}}/part.positions\"\n\
         [output.part_log]\nfrom = \"part\"\nfile = \"{{dir}}/part\"\n\
         [input.counts]\naudit = \"1m\"\nhost = \"{name}\"\n\
         [output.audit]\nfrom = \"counts\"\nfile = \"{{dir}}/audit\"\n"
    ))
}

/// Waits until two daemons together have so many lines in these inputs.
fn wait_both(two: [&Daemon; 2], lines: u64) {
    for input in ["web", "part"] {
        wait_for(&format!("{lines} lines at {input}"), || {
            let sum: u64 = two.iter().map(|daemon| daemon.node(input).lines_in).sum();
            assert!(sum <= lines, "{sum} lines at {input}");
            (sum == lines).then_some(())
        });
    }
    for daemon in two {
        daemon.wait_node("all", |all| all.lines_out == daemon.node("web").lines_in);
        daemon.wait_node("part_log", |log| log.lines_out == daemon.node("part").lines_in);
    }
}

#[test]
fn every_loss_before_and_behind_a_topic_is_named_where_it_was() {
    let Some(brokers) = Brokers::of(Kind::One) else { return };
    brokers.create("audited", 4);
    let killed = filters("f1", &brokers, "[0, 2]");
    let stalled = filters("f2", &brokers, "[1, 3]");
    let both = [&killed, &stalled];
    wait_for("both members to have partitions", || {
        let parts = both.map(|daemon| daemon.node("web").waiting.len());
        (parts == [2, 2]).then_some(())
    });
    let child = killed.wait_node("stuck", |node| node.children[0].pid.is_some());
    kill(Pid::from_raw(child.children[0].pid.unwrap() as i32), Signal::SIGKILL).unwrap();
    killed.wait_node("stuck", |node| node.children[0].pid.is_none());

    let port = free_port();
    let ([overflown, trimmed, sound], kernel_drops) = edges(port);
    let hub = hub(port, &brokers);
    // More than a pipe of a mebibyte and a queue can hold for each of the two.
    (0..40).for_each(|part| {
        (0..100).for_each(|line| sound.send(format!("line {line:0995}\n").as_bytes()));
        sound.wait_node("in", |node| node.lines_in == 100 * (part + 1));
    });
    let all = 5000 - kernel_drops + 600 + 4000;
    hub.wait_node("topic", |node| node.lines_out == all);
    wait_both(both, all);
    let edges = [&overflown, &trimmed, &sound];
    edges.iter().for_each(|edge| {
        edge.wait_node("hub.spool", |node| node.spool.as_ref().unwrap().readers[0].lag_lines == 0);
    });
    let daemons = [edges[0], edges[1], edges[2], &hub, both[0], both[1]];
    let now = std::time::SystemTime::now();
    daemons.iter().for_each(|daemon| wait_told(daemon, now));

    let json = audit(&["--json"], &daemons);
    assert_eq!(json.status.code(), Some(0), "{json:?}");
    let sums = sums(&json);
    let sum = |name: &str, field: &str| {
        sums.get(&(name.to_string(), field.to_string())).copied().unwrap_or(0)
    };
    assert_eq!(sum("edge1/in", "kernel_drops"), kernel_drops);
    assert_eq!((sum("edge2/hub", "spool_full"), sum("edge2/hub", "lines_out")), (400, 600));
    assert_eq!((sum("hub/edge", "sent"), sum("hub/edge", "lines_in")), (all, all));
    assert_eq!(sum("hub/topic", "lines_out"), all);
    for input in ["web", "part"] {
        let [one, other] = ["f1", "f2"].map(|host| format!("{host}/{input}"));
        assert_eq!((sum(&one, "sent"), sum(&other, "sent")), (all, 0), "said at the first");
        assert_eq!(sum(&one, "lines_in") + sum(&other, "lines_in"), all);
        assert!(sum(&one, "lines_in") > 100 && sum(&other, "lines_in") > 100, "{input}");
    }
    for (host, daemon) in [("f1/stuck", both[0]), ("f2/stuck", both[1])] {
        let dropped = daemon.node("stuck").dropped;
        for reason in ["child_gone", "queue_full"] {
            assert_eq!(sum(host, reason), dropped[reason], "{host}: {reason}");
        }
    }
    assert!(sum("f1/stuck", "child_gone") > 100 && sum("f2/stuck", "queue_full") > 100);

    let text = audit(&[], &daemons);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("every closed one adds up; lines were dropped"), "{text}");
    assert!(text.contains("shares the lines of f1/web"), "{text}");
    let at = |host: &str| text.find(&format!("  {host}/")).unwrap_or_else(|| panic!("{text}"));
    assert!(at("edge1") < at("hub") && at("hub") < at("f1"), "{text}");
    // A member of the group that has seven lines less.
    let mut is_less = false;
    let less = |text: String| {
        let mut line: Value = serde_json::from_str(&text).unwrap();
        if line["node"] == "web" && line["lines_in"].as_u64().unwrap() > 100 && !is_less {
            is_less = true;
            for field in ["lines_in", "lines_out"] {
                line[field] = (line[field].as_u64().unwrap() - 7).into();
            }
        }
        line.to_string()
    };
    let last = |lines: Vec<String>| lines.into_iter().rev();
    let others = daemons[..5].iter().flat_map(|daemon| daemon.lines("audit"));
    let lines: Vec<_> = others.chain(last(stalled.lines("audit")).map(less)).collect();
    let output = run(&["audit", "-"], lines.join("\n").as_bytes());
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("DOES NOT ADD UP") && said.contains(" 7 MISSING"), "{said}");
}
