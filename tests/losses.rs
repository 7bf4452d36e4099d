//! Every loss is said: in the log, in the state, and in `logweir losses`, also after a restart.

use std::process::{Command, Output};

use nix::sys::signal::Signal;

use crate::util::{Daemon, LOGWEIR, free_port, run, wait_for};

const STALLED: &str = "state = \"{dir}/state\"\n#daemon\n\
    [output.mobile]\nfrom = \"in\"\npipe = \"exec sleep 600\"\nqueue = \"8KiB\"\n";

fn losses(daemon: &Daemon, options: &[&str]) -> Output {
    let control = daemon.path("control.sock");
    Command::new(LOGWEIR)
        .arg("losses")
        .arg("--control")
        .arg(control)
        .args(options)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Sends lines until the output has lost some. Returns how many it has lost. It sends no more than
/// the receive buffer holds before they are all in the ledger, so the kernel drops none.
fn overload(daemon: &Daemon) -> u64 {
    let (line, mut sent) = ([b'x'; 1000], 0);
    loop {
        (0..10).for_each(|_| daemon.send(&line));
        sent += 10;
        let mobile = daemon.wait_node("mobile", |node| node.lines_in == sent);
        let lost = mobile.dropped["queue_full"];
        if lost > 0 {
            return lost;
        }
    }
}

#[test]
fn a_stalled_process_is_named_with_its_cause_and_remembered_through_a_kill() {
    let mut daemon = Daemon::start(STALLED);
    assert_eq!(stdout(&losses(&daemon, &[])), "nothing was lost here\n");
    let lost = overload(&daemon);
    daemon.wait_log("mobile: dropping");
    let node = daemon.node("mobile");
    let [loss] = &node.losses[..] else { panic!("{:?}", node.losses) };
    assert_eq!((loss.cause.as_str(), loss.count, loss.ended), ("queue_full", lost, false));
    assert!(loss.why.as_ref().unwrap().starts_with("the process "), "{loss:?}");
    let said = stdout(&losses(&daemon, &[]));
    assert!(said.contains(" to now  mobile: "), "{said}");
    assert!(said.contains(" lines (queue_full): the process "), "{said}");
    let file = daemon.path("state/losses.jsonl");
    wait_for("the file of losses", || {
        std::fs::read_to_string(&file).ok().filter(|t| !t.is_empty())
    });

    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    daemon.run();
    let said = stdout(&losses(&daemon, &["--json", "--since", "1h"]));
    let before: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!((&before["node"], &before["cause"]), (&"mobile".into(), &"queue_full".into()));
    assert_eq!(before["ended"], true, "{said}");
    assert_eq!(stdout(&losses(&daemon, &["--until", "1h"])), "nothing was lost here\n");
    let refused = losses(&daemon, &["--since", "noon"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn truncated_lines_are_reported_as_such_and_without_a_state_folder() {
    let daemon =
        Daemon::start("max_line = \"64B\"\n[output.all]\nfrom = \"in\"\nfile = \"{dir}/all\"\n");
    daemon.send(&[b'x'; 1000]);
    daemon.wait_log("in: truncating (oversize, 1 line): they are longer than `max_line`");
    let said = stdout(&losses(&daemon, &[]));
    assert!(said.contains("in: 1 line (oversize): they are longer"), "{said}");
}

#[test]
fn a_peer_that_comes_back_is_said_with_what_waits_for_it() {
    let peer = free_port();
    let daemon = Daemon::start(&format!(
        "[output.hub]\nfrom = \"in\"\nforward = \"tcp://127.0.0.1:{peer}\"\n\
         spool = {{ dir = \"{{dir}}/hub\", sync = \"10ms\" }}\n"
    ));
    daemon.send_numbered(0, 1000);
    daemon.wait_log("Connection refused");
    daemon.wait_node("hub.spool", |node| node.spool.as_ref().unwrap().durable == 1000);
    let listener = std::net::TcpListener::bind(("127.0.0.1", peer)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = std::io::copy(&mut stream.unwrap(), &mut std::io::sink());
        }
    });
    daemon.wait_node("hub", |node| node.lines_out == 1000);
    let said = format!("hub: tcp://127.0.0.1:{peer}: takes lines again after ");
    daemon.wait_log(&said);
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains(&said)).unwrap();
    assert!(line.ends_with(" still waiting"), "{line}");
    assert_eq!(log.matches("takes lines again").count(), 1, "{log}");
}

#[test]
fn what_a_node_lost_stays_in_the_sums_when_a_reload_has_removed_it() {
    let port = free_port();
    let text = STALLED.replacen("state", &format!("metrics = \"127.0.0.1:{port}\"\nstate"), 1);
    let daemon = Daemon::start(&text);
    overload(&daemon);
    let rest = "[output.all]\nfrom = \"in\"\nfile = \"{dir}/all\"\n";
    let with_grace = "[output.mobile]\nstop_grace = \"10ms\"\n";
    daemon.write_config(&text.replace("[output.mobile]\n", with_grace));
    assert!(daemon.ctl("reload").status.success());
    daemon.write_config(&(text.split("[output.mobile]").next().unwrap().to_string() + rest));
    assert!(daemon.ctl("reload").status.success());
    let gone = wait_for("the end of both", || daemon.status().gone.filter(|gone| gone.nodes == 2));
    assert!(gone.dropped["queue_full"] > 0, "{gone:?}");
    let table = String::from_utf8(daemon.ctl("status").stdout).unwrap();
    let said = format!("2 nodes that reloads have removed had lost {}\n", gone.lost());
    assert!(table.ends_with(&said), "{table}");
    let scrape = crate::metrics::get(port, "/metrics");
    let series = format!("\nlogweir_daemon_gone_dropped_total {}.0\n", gone.lost());
    assert!(scrape.contains(&series), "{scrape}");
}

#[test]
fn the_lines_of_a_minute_are_told_node_by_node_with_what_was_lost_then() {
    let daemon = Daemon::start(STALLED);
    let lost = overload(&daemon);
    let mobile = daemon.node("mobile");
    let top = |options: &[&str]| {
        let control = daemon.path("control.sock");
        let mut command = Command::new(LOGWEIR);
        command.arg("top").arg("--control").arg(control).args(options).output().unwrap()
    };
    let told = stdout(&top(&["--since", "1h"]));
    let row = told.lines().find(|line| line.starts_with("mobile ")).unwrap();
    let row: Vec<_> = row.split_whitespace().collect();
    let (sent, queued) = (mobile.lines_in.to_string(), mobile.queued.to_string());
    let lost_text = lost.to_string();
    let expected =
        ["mobile", "output", &sent, "0", "0", &lost_text, &queued, "-", "queue_full", &lost_text];
    assert_eq!(row, expected, "{told}");
    assert!(told.contains("  mobile: ") && told.contains("(queue_full): the process "), "{told}");
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&top(&["--since", "1h", "--json"]))).unwrap();
    assert_eq!(json["nodes"][1]["dropped"]["queue_full"], lost, "{json}");
    assert_eq!(json["losses"][0]["node"], "mobile", "{json}");
    // Before that there was nothing.
    let before = stdout(&top(&["--since", "3h", "--until", "2h"]));
    assert!(before.ends_with("\nnothing was lost then\n"), "{before}");
    assert!(before.lines().any(|line| line.split_whitespace().nth(2) == Some("0")), "{before}");
    let wrong = top(&["--since", "1h", "--until", "2h"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--until is not after --since"));
}

#[test]
fn a_time_that_has_not_come_yet_is_refused_as_the_command_line_that_it_is() {
    for command in ["losses", "top", "audit"] {
        let refused = run(&[command, "--since", "9999-01-01 08:00"], b"");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            said.starts_with("logweir: --since 9999-01-01 08:00:00 has not come yet;"),
            "{said}"
        );
        assert_eq!(refused.status.code(), Some(2), "{command}");
    }
}
