//! `/metrics` and `/healthz`: the same figures as `top` shows, whoever asks and however.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::util::{Daemon, free_port, wait_for};

fn daemon(more: &str) -> (Daemon, u16) {
    let port = free_port();
    (Daemon::start(&format!("metrics = \"127.0.0.1:{port}\"\n#daemon\n{more}")), port)
}

/// What is answered to these bytes.
fn answer(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // One that is hung up on early may be reset.
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn get(port: u16, path: &str) -> String {
    answer(port, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

#[test]
fn a_scrape_has_the_ledger_of_every_node() {
    let (daemon, port) = daemon(
        "[filter.odd]\nmatch = '[13579]$'\n[output.all]\nfrom = \"in\"\nfile = \"{dir}/all\"\n\
         [output.odd-lines]\nfrom = \"odd\"\npipe = \"cat > {dir}/odd\"\n\
         [spool.hold]\nfrom = \"in\"\ndir = \"{dir}/hold\"\n\
         [output.held]\nfrom = \"hold\"\nfile = \"{dir}/held\"\n",
    );
    daemon.send_numbered(0, 1000);
    daemon.wait_node("odd-lines", |node| node.lines_out == 500);
    daemon.wait_node("held", |node| node.lines_out == 1000);
    let scrape = get(port, "/metrics");
    assert!(scrape.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text"));
    for line in [
        "logweir_input_lines_in_total{node=\"in\"} 1000.0",
        "logweir_input_kernel_drops_total{node=\"in\"} 0.0",
        "logweir_filter_not_selected_total{node=\"odd\"} 500.0",
        "logweir_output_lines_out_total{node=\"odd-lines\"} 500.0",
        "logweir_output_dropped_total{node=\"all\",reason=\"queue_full\"} 0.0",
        "logweir_output_children_up{node=\"odd-lines\"} 1.0",
        "logweir_spool_held_lines{node=\"hold\"} 1000.0",
        "logweir_spool_reader_lag_lines{node=\"hold\",reader=\"held\"} 0.0",
        "logweir_output_balanced{node=\"all\"} 1.0",
        "# TYPE logweir_output_lines_out counter",
        "# EOF",
    ] {
        assert!(scrape.lines().any(|other| other == line), "{line}\n{scrape}");
    }
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("skipped: needs promtool (package prometheus)");
        return;
    };
    let body = scrape.split_once("\r\n\r\n").unwrap().1.replace("# EOF\n", "");
    promtool.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("error while linting"), "{said}");
}

#[test]
fn health_is_red_while_a_process_is_in_a_crash_loop_and_says_so() {
    let (daemon, port) = daemon(
        "[output.all]\nfile = \"{dir}/all\"\n\
         [output.bad]\npipe = \"exit 1\"\nrestart = [\"10ms\", \"20ms\"]\n",
    );
    let said =
        wait_for("red", || Some(get(port, "/healthz")).filter(|said| said.contains(" 503 ")));
    assert!(said.ends_with("bad: its process is in a crash loop\n"), "{said}");
    daemon.write_config("[output.all]\nfile = \"{dir}/all\"\n");
    assert!(daemon.ctl("reload").status.success());
    wait_for("green", || get(port, "/healthz").ends_with("\r\n\r\nok\n").then_some(()));
}

#[test]
fn other_questions_are_answered_as_they_deserve() {
    let (_daemon, port) = daemon("[output.all]\nfile = \"{dir}/all\"\n");
    assert!(get(port, "/").starts_with("HTTP/1.1 404 "));
    assert!(answer(port, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    let head = answer(port, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(get(port, "/metrics?x=y").contains("# EOF"));
    assert_eq!(answer(port, &format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(100_000))), "");
}

#[test]
fn the_slow_and_the_many_harm_nobody() {
    let (daemon, port) = daemon("[output.all]\nfile = \"{dir}/all\"\n");
    // Each says a little and no more; they are let go after five seconds, or at once.
    let slow: Vec<_> = (0..1000)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let _ = stream.write_all(b"GET /metrics HTT");
            stream
        })
        .collect();
    daemon.send_numbered(0, 1000);
    daemon.wait_lines("all", 1000);
    wait_for("an answer", || get(port, "/healthz").ends_with("ok\n").then_some(()));
    drop(slow);
}

#[test]
fn a_port_in_use_refuses_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.toml");
    let (control, at) = (dir.path().join("c").display().to_string(), taken.local_addr().unwrap());
    let text = format!(
        "[daemon]\ncontrol = \"{control}\"\nmetrics = \"{at}\"\n[input.x]\nstdin = true\n\
         [output.o]\nstdout = true\n"
    );
    std::fs::write(&config, text).unwrap();
    let output = crate::util::run(&["run", "-c", config.to_str().unwrap()], b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains(&format!("daemon.metrics = \"{at}\"")),
        "{said}"
    );
}
