//! `logweir spool replay` beside a live flow: other formats, files, and an origin of its own.

use std::path::Path;
use std::process::{Command, Output};

use crate::util::{Daemon, LOGWEIR, free_port, numbered, wait_for};

/// Runs `logweir spool COMMAND DIR ARGS`.
fn spool(command: &str, dir: &Path, args: &[&str]) -> Output {
    Command::new(LOGWEIR).args(["spool", command]).arg(dir).args(args).output().unwrap()
}

fn printed(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A daemon whose spool `hold` has these lines; nothing reads it.
fn holding(lines: u64) -> Daemon {
    let daemon = Daemon::start(
        "[spool.hold]\nfrom = \"in\"\ndir = \"{dir}/hold\"\nsync = \"batch\"\nkeep = \"7d\"\n",
    );
    daemon.send_numbered(0, lines);
    daemon.wait_node("hold", |node| node.lines_out == lines);
    daemon
}

#[test]
fn a_spool_that_nothing_reads_is_a_whole_configuration_and_its_lines_are_kept() {
    let daemon = holding(300);
    let spool = daemon.node("hold").spool.unwrap();
    assert_eq!((spool.lines(), spool.kept, spool.readers.len()), (300, 300, 0));
    let check = Command::new(LOGWEIR)
        .args(["check", "-c"])
        .arg(daemon.path("logweir.toml"))
        .output()
        .unwrap();
    assert!(check.status.success());
    let said = String::from_utf8_lossy(&check.stderr) + String::from_utf8_lossy(&check.stdout);
    assert!(said.contains("nothing reads this spool"), "{said}");
}

#[test]
fn a_replay_writes_lines_in_a_format_to_the_end_of_a_file() {
    let daemon = holding(20);
    let file = daemon.path("again");
    std::fs::write(&file, "before\n").unwrap();
    let to = format!("file://{}", file.display());
    let template = ["--format", "{app}|{message}", "--tag", "squid"];
    let args = [&["--to", &to, "--from", "5", "--to-line", "6"], &template[..]].concat();
    let said = printed(&spool("replay", &daemon.path("hold"), &args));
    assert_eq!(said, "sent 2 lines, 26 bytes, between 5 and 6\n");
    let said = printed(&spool("replay", &daemon.path("hold"), &["--to", &to, "--match", "9$"]));
    assert_eq!(said, "sent 2 lines, 15 bytes, between 9 and 19\n");
    let wanted = ["before", "squid|line 5", "squid|line 6", "line 9", "line 19"];
    assert_eq!(daemon.lines("again"), wanted);
    let folder = format!("file://{}", daemon.path("nowhere/again").display());
    for (args, said) in [
        (["--to", &folder, "--from", "0"], "No such file or directory"),
        (["--to", "file://again", "--from", "0"], "write the whole path of a file"),
        (["--to", "http://hub:1", "--from", "0"], "or file:///path"),
        (["--to", &to, "--format", "xml"], "write line, rfc5424, "),
    ] {
        let output = spool("replay", &daemon.path("hold"), &args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(said), "{error}");
    }
    assert_eq!(daemon.lines("again"), wanted, "a replay that is refused writes nothing");
}

#[test]
fn a_replay_has_an_origin_of_its_own_and_the_live_flow_stays_exact() {
    let port = free_port();
    let mut hub = Daemon::start(&format!(
        "[input.edge]\nrelp = \"127.0.0.1:{port}\"\n\
         [spool.store]\nfrom = \"edge\"\ndir = \"{{dir}}/store\"\nkeep = \"7d\"\n\
         [output.all]\nfrom = \"store\"\nfile = \"{{dir}}/all\"\n"
    ));
    let edge = Daemon::start(&format!(
        "[spool.hold]\nfrom = \"in\"\ndir = \"{{dir}}/hold\"\nsync = \"batch\"\nkeep = \"7d\"\n\
         [output.hub]\nfrom = \"hold\"\nforward = \"relp://127.0.0.1:{port}\"\n"
    ));
    edge.send_numbered(0, 1000);
    hub.wait_lines("all", 1000);
    let kept = edge.wait_node("hold", |node| node.spool.as_ref().unwrap().kept == 1000);
    assert_eq!(kept.spool.unwrap().readers[0].lag_lines, 0);

    // The same lines twice, while others flow.
    let to = format!("relp://127.0.0.1:{port}");
    let mut origins = Vec::new();
    for round in 1..3 {
        let replay = Command::new(LOGWEIR)
            .args(["spool", "replay", "--to", &to, "--to-line", "499"])
            .arg(edge.path("hold"))
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        edge.send_numbered(1000 * round, 1000 * round + 1000);
        let said = printed(&replay.wait_with_output().unwrap());
        let said = said.strip_prefix("sent 500 lines, 4390 bytes, as origin ").unwrap();
        let origin = said.strip_suffix(", between 0 and 499\n").unwrap();
        origins.push(origin.to_string());
    }
    assert_ne!(origins[0], origins[1]);
    // Nor does an end of the hub by SIGKILL double anything.
    hub.signal(nix::sys::signal::Signal::SIGKILL);
    hub.wait();
    edge.send_numbered(3000, 3500);
    hub.run();
    let mut got = hub.wait_lines("all", 3500 + 1000);
    let mut wanted = [numbered(0, 3500), numbered(0, 500), numbered(0, 500)].concat();
    got.sort();
    wanted.sort();
    assert_eq!(got, wanted);

    // The hub tells them apart.
    let live = edge.node("hold").spool.unwrap().identity;
    let known = wait_for("the origins of all lines", || {
        let listed = printed(&spool("ls", &hub.path("store"), &["--json"]));
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        (listed["origins"][&live] == 3499).then_some(listed["origins"].clone())
    });
    assert_eq!(known.as_object().unwrap().len(), 3, "{known}");
    for origin in &origins {
        assert_eq!(known[origin], 499);
    }
}
