//! What brings lines from the pods of a node, as docs/senders/kubernetes.md has it.

use std::io::Write;
use std::process::Command;

use super::Sender;
use super::page::Page;
use crate::rsyslog::{Rsyslog, rsyslogd};
use crate::util::{Daemon, LOGWEIR, wait_for};

#[test]
fn rsyslog_follows_the_files_of_containers() {
    let Some(program) = rsyslogd(&["imfile", "imtcp"]) else { return };
    let page = Page::read("kubernetes");
    let daemon = Daemon::start(&page.block("toml"));
    let folder = daemon.path("containers");
    std::fs::create_dir(&folder).unwrap();
    let mut files = ["web-1_shop_nginx-0123", "db-0_shop_postgres-4567"]
        .map(|name| std::fs::File::create(folder.join(name).with_extension("log")).unwrap());
    let line =
        |number: usize| format!("2026-11-25T19:10:34.00000{}Z stdout F line {number}", number % 10);
    // The port is the relay's own, on which the test sees that it runs. Where a name stands in a
    // path depends on how deep the folder is.
    let depth = folder.components().count() + 1;
    let config = page
        .block("rsyslog")
        .replace("global(workDirectory=\"/var/spool/rsyslog\")\n", "")
        .replace("/var/log/containers", &folder.display().to_string())
        .replace("127.0.0.1\" port=\"601\"", &format!("127.0.0.1\" port=\"{}\"", page.port("601")))
        .replace(", 47, 5)", &format!(", 47, {depth})"));
    let relay = "module(load=\"imtcp\")\ninput(type=\"imtcp\" port=\"{port}\")\n";
    let _rsyslog = Rsyslog::start(program, &format!("{relay}{config}"));
    for number in 0..100 {
        writeln!(files[number % 2], "{}", line(number)).unwrap();
    }
    let lines = daemon.wait_lines("containers.log", 100);
    for (at, app) in ["web-1_shop_nginx-0123.log", "db-0_shop_postgres-4567.log"].iter().enumerate()
    {
        let head = format!(" {app} - - - ");
        let of_pod: Vec<_> = lines.iter().filter_map(|line| line.split_once(&head)).collect();
        let want: Vec<_> = (at..100).step_by(2).map(line).collect();
        assert_eq!(of_pod.iter().map(|(_, text)| *text).collect::<Vec<_>>(), want);
    }
}

#[test]
fn a_sidecar_sends_what_is_written_to_a_pipe() {
    let page = Page::read("kubernetes");
    let daemon = Daemon::start(&page.block("toml"));
    let pod = page.block("yaml");
    let commands: Vec<_> =
        pod.lines().filter_map(|line| line.trim().strip_prefix("command: [sh, -c, ")).collect();
    let [pipe, send] = commands[..] else { panic!("{commands:?}") };
    let shell = |command: &str| {
        let command = command
            .trim_end_matches(']')
            .trim_matches(['\'', '"'])
            .replace("/log/", &format!("{}/", daemon.dir.path().display()))
            .replace("logweir send", &format!("{LOGWEIR} send"))
            .replace("8420", &page.port("8420").to_string());
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).env("NODE", "127.0.0.1").env("POD", "web-1");
        shell
    };
    assert!(shell(pipe).status().unwrap().success());
    let _sidecar = Sender::start(&mut shell(send));
    for round in 0..2 {
        // The program in the pod is started again.
        let mut log = std::fs::OpenOptions::new().write(true).open(daemon.path("access")).unwrap();
        for number in round * 50..round * 50 + 50 {
            writeln!(log, "line {number}").unwrap();
        }
    }
    let lines = daemon.wait_lines("access.log", 100);
    let want: Vec<_> =
        (0..100).map(|number| format!("web-1 {} line {number}", number + 1)).collect();
    assert_eq!(lines, want);
    let node = wait_for("the ledger", || Some(daemon.node("pods")));
    assert_eq!(node.input.unwrap().sequence_lost, 0);
}
