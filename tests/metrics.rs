//! `/metrics` and `/healthz`: the same figures as `top` shows, whoever asks and however.

use std::collections::HashSet;
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
pub fn answer(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // One that is hung up on early may be reset.
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// What is answered to a request for `path`.
pub fn get(port: u16, path: &str) -> String {
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
    let scrape = scrape(port, OPEN_METRICS);
    assert!(scrape.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text"));
    each_once(&scrape);
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
}

/// What Prometheus says that it would like to have.
const OPEN_METRICS: &str = "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n";

fn scrape(port: u16, fields: &str) -> String {
    answer(port, &format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{fields}\r\n"))
}

/// Every series is there once: Prometheus refuses a whole scrape otherwise.
fn each_once(scrape: &str) {
    let mut seen = HashSet::new();
    let lines = scrape.split("\r\n\r\n").nth(1).unwrap().lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(seen.insert(series.to_string()), "twice: {series}");
    }
    assert!(!seen.is_empty());
}

/// A flow with a node of every kind, every one of them used.
pub const EVERYTHING: &str = "[filter.pass]\nfrom = \"in\"\nmatch = '7$'\n\
     [filter.run]\nfrom = \"in\"\nrun = \"cat\"\n\
     [output.pipe]\nfrom = \"run\"\npipe = \"cat > /dev/null\"\n\
     [output.file]\nfrom = \"pass\"\nrate = \"1/d\"\nfile = \"{dir}/file\"\n\
     [output.udp]\nfrom = \"in\"\nudp = \"127.0.0.1:9\"\n\
     [output.peer]\nfrom = \"in\"\nforward = \"relp://127.0.0.1:9\"\n\
     spool = { dir = \"{dir}/p\" }\n\
     [spool.hold]\nfrom = \"in\"\ndir = \"{dir}/hold\"\n\
     [output.held]\nfrom = \"hold\"\nfile = \"{dir}/held\"\n";

#[test]
fn promtool_finds_nothing_to_say_about_the_metrics() {
    let (daemon, port) = daemon(EVERYTHING);
    daemon.send_numbered(0, 100);
    daemon.wait_node("held", |node| node.lines_out == 100);
    let scrape = get(port, "/metrics");
    let kind = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
    assert!(scrape.starts_with(kind), "{scrape}");
    each_once(&scrape);
    let body = scrape.split_once("\r\n\r\n").unwrap().1;
    for line in [
        "# HELP logweir_input_lines_in_total Lines that entered",
        "# TYPE logweir_input_lines_in_total counter",
        "logweir_input_lines_in_total{node=\"in\"} 100.0",
        "# TYPE logweir_output_queued_lines gauge",
    ] {
        assert!(body.lines().any(|other| other == line), "{line}\n{body}");
    }
    assert!(!body.contains("# EOF"));
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        crate::util::skip_missing("promtool (package prometheus)");
        return;
    };
    promtool.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!((String::from_utf8_lossy(&said).as_ref(), output.status.code()), ("", Some(0)));
}

#[test]
fn a_node_that_drains_after_a_reload_is_told_from_its_successor() {
    let sleepy = |command: &str| {
        format!("[output.p]\nfrom = \"in\"\npipe = \"{command}\"\nstop_grace = \"60s\"\n")
    };
    let (daemon, port) = daemon(&sleepy("exec sleep 50"));
    daemon.send_numbered(0, 10);
    daemon.wait_node("p", |node| node.lines_in == 10);
    let metrics = std::fs::read_to_string(daemon.path("logweir.toml")).unwrap();
    for command in ["exec sleep 51", "cat > {dir}/p"] {
        let old = metrics.split("[output.p]").next().unwrap();
        let dir = daemon.dir.path().display().to_string();
        let text = format!("{old}{}", sleepy(command).replace("{dir}", &dir));
        std::fs::write(daemon.path("logweir.toml"), text).unwrap();
        assert!(daemon.ctl("reload").status.success());
    }
    daemon.send_numbered(10, 30);
    daemon.wait_node("p", |node| node.lines_out == 20);
    let scrape = scrape(port, OPEN_METRICS);
    each_once(&scrape);
    for line in [
        "logweir_output_lines_in_total{node=\"p\"} 30.0",
        "logweir_output_lines_out_total{node=\"p\"} 20.0",
        "logweir_output_queued_lines{node=\"p\"} 0.0",
        "logweir_output_queued_lines{node=\"p\",retired=\"1\"} 10.0",
        "logweir_output_queued_lines{node=\"p\",retired=\"2\"} 0.0",
        "logweir_daemon_reloads_total 2.0",
        "logweir_daemon_reload_failed 0.0",
    ] {
        assert!(scrape.lines().any(|other| other == line), "{line}\n{scrape}");
    }
    // A counter of all that have this name, which never goes back.
    assert!(!scrape.contains("_total{node=\"p\",retired="), "{scrape}");
    let status = daemon.status();
    let rows = status.nodes.iter().filter(|node| node.name == "p");
    assert_eq!(rows.map(|node| node.lines_in).sum::<u64>(), 30);
}

#[test]
fn health_is_red_while_an_output_is_stuck_and_green_when_it_goes_on() {
    let port = free_port();
    // One that reads nothing until it is told, and one behind a spool whose peer is not there.
    let peer = free_port();
    let flow = format!(
        "metrics = \"127.0.0.1:{port}\"\nstuck_after = \"1s\"\n#daemon\n\
         [output.all]\nfrom = \"in\"\nfile = \"{{dir}}/all\"\n\
         [output.slow]\nfrom = \"in\"\n\
         pipe = \"cat {{dir}}/gate > /dev/null; cat > {{dir}}/slow\"\n\
         [output.peer]\nfrom = \"in\"\nforward = \"tcp://127.0.0.1:{peer}\"\n\
         spool = {{ dir = \"{{dir}}/p\", sync = \"10ms\" }}\n"
    );
    let daemon = Daemon::start_with(&flow, |dir| {
        nix::unistd::mkfifo(&dir.join("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    });
    assert!(get(port, "/healthz").ends_with("\r\n\r\nok\n"));
    daemon.send_numbered(0, 1000);
    daemon.wait_lines("all", 1000);
    let said = wait_for("red", || {
        let said = get(port, "/healthz");
        let both = said.contains("\nslow: ") && said.contains("\npeer: ");
        (said.starts_with("HTTP/1.1 503 ") && both).then_some(said)
    });
    for node in ["slow", "peer"] {
        assert!(said.contains(&format!("\n{node}: nothing has left its queue for ")), "{said}");
    }
    assert!(!said.contains("all: "), "{said}");
    let red = scrape(port, OPEN_METRICS);
    let age = red.lines().find_map(|line| line.strip_prefix(AGE)).unwrap();
    assert!(age.parse::<f64>().unwrap() > 1.0, "{age}");
    assert!(red.contains(
        "\nlogweir_spool_reader_lag_lines{node=\"peer.spool\",reader=\"peer\"} 1000.0\n"
    ));
    assert!(red.contains("\nlogweir_output_lanes_connected{node=\"peer\"} 0.0\n"), "{red}");
    assert!(red.contains("\nlogweir_daemon_stuck_after_seconds 1.0\n"));
    // The gate opens, the peer comes.
    std::fs::write(daemon.path("gate"), "").unwrap();
    let listener = std::net::TcpListener::bind(("127.0.0.1", peer)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = std::io::copy(&mut stream.unwrap(), &mut std::io::sink());
        }
    });
    wait_for("green", || get(port, "/healthz").ends_with("\r\n\r\nok\n").then_some(()));
    daemon.wait_lines("slow", 1000);
    let green = scrape(port, OPEN_METRICS);
    assert!(green.contains(&format!("\n{AGE}0.0\n")), "{green}");
}

const AGE: &str = "logweir_spool_reader_age_seconds{node=\"peer.spool\",reader=\"peer\"} ";

#[test]
fn health_is_red_while_a_process_is_in_a_crash_loop_and_says_so() {
    let (daemon, port) = daemon(
        "[output.all]\nfile = \"{dir}/all\"\n\
         [output.bad]\npipe = \"exit 1\"\nrestart = [\"10ms\", \"20ms\"]\n",
    );
    let said =
        wait_for("red", || Some(get(port, "/healthz")).filter(|said| said.contains(" 503 ")));
    let why = "bad: its process is in a crash loop: the process exited with 1; fix the command\n";
    assert!(said.ends_with(why), "{said}");
    let good = "#daemon\n[output.all]\nfile = \"{dir}/all\"\n";
    daemon.write_config(&format!("metrics = \"127.0.0.1:{port}\"\n{good}"));
    assert!(daemon.ctl("reload").status.success());
    wait_for("green", || get(port, "/healthz").ends_with("\r\n\r\nok\n").then_some(()));
}

#[test]
fn other_questions_are_answered_as_they_deserve() {
    let (_daemon, port) = daemon("[output.all]\nfile = \"{dir}/all\"\n");
    let code = |request: &str| answer(port, request).get(9..12).map(str::to_string);
    let long = "x".repeat(100_000);
    for (request, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", "200"),
        ("GET /status HTTP/1.1\r\n\r\n", "404"),
        ("GET /metrics?x=y HTTP/1.1\r\n\r\n", "200"),
        ("GET /metrics HTTP/1.0\r\n\r\n", "200"),
        ("GET /healthz HTTP/1.1\r\nConnection: keep-alive\r\n\r\n", "200"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("GET /metrics\r\n\r\n", "400"),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}", "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
        (&format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n"), "431"),
        (&format!("GET / HTTP/1.1\r\nX: {long}"), "431"),
        (&format!("GET /{long} HTTP/1.1\r\n"), "431"),
    ] {
        assert_eq!(
            code(request).as_deref(),
            Some(expected),
            "{}",
            &request[..40.min(request.len())]
        );
    }
    let head = answer(port, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    assert!(length.parse::<usize>().unwrap() > 1000);
    // One request a connection, whoever would like to keep it: the second is not answered.
    let twice = answer(port, &"GET /healthz HTTP/1.1\r\nConnection: keep-alive\r\n\r\n".repeat(2));
    assert_eq!(twice.matches("HTTP/1.1 200 OK").count(), 1, "{twice}");
    assert!(twice.contains("\r\nConnection: close\r\n"));
}

/// A figure of /proc/PID/status.
fn figure(daemon: &Daemon, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Connections that each say this and no more.
fn crowd(port: u16, count: usize, said: &[u8]) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _ = stream.write_all(said);
        stream
    };
    (0..count).map(connect).collect()
}

#[test]
fn the_slow_and_the_many_harm_nobody_and_cost_little() {
    let (daemon, port) = daemon("[output.all]\nfile = \"{dir}/all\"\n");
    assert!(get(port, "/metrics").starts_with("HTTP/1.1 200 "));
    let (memory, threads) = (figure(&daemon, "VmHWM:"), figure(&daemon, "Threads:"));
    let giant = [b"GET /metrics HTTP/1.1\r\nX: ", &[b'x'; 8000][..]].concat();
    let whole = b"GET /metrics HTTP/1.1\r\n\r\n";
    let mut crowds = Vec::new();
    let mut sent = 0;
    for said in [&b""[..], b"GET /metrics HTT", b"\x16\x03\x01", &giant, whole] {
        crowds.push(crowd(port, 200, said));
        // With a thousand there and none of them gone, whoever asks is answered at once.
        for _ in 0..10 {
            let said = get(port, "/metrics");
            assert!(said.starts_with("HTTP/1.1 200 "), "{said:?}");
            assert!(
                said.ends_with("logweir_daemon_reload_failed 0.0\n")
                    || said.contains("process_max_fds")
            );
        }
        daemon.send_numbered(sent, sent + 500);
        sent += 500;
        daemon.wait_lines("all", sent as usize);
    }
    assert_eq!(figure(&daemon, "Threads:"), threads);
    let fds = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    assert!(fds < 128 + 40, "{fds} descriptors: 128 clients and its own");
    let grown = figure(&daemon, "VmHWM:") - memory;
    assert!(grown < 6 * 1024, "{grown} KiB");
    drop(crowds);
}

#[test]
fn a_slow_loris_is_let_go() {
    let (_daemon, port) = daemon("[output.all]\nfile = \"{dir}/all\"\n");
    let mut loris = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // A byte now and then never makes a request; after five seconds it is over.
    let mut said = b"GET /metrics HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
    wait_for("the end", || {
        std::thread::sleep(Duration::from_millis(50));
        loris.write_all(&[*said.next().unwrap()]).is_err().then_some(())
    });
    let mut answer = Vec::new();
    let _ = loris.read_to_end(&mut answer);
    assert!(answer.is_empty());
}

#[test]
fn a_port_in_use_is_said_and_keeps_nothing_from_running() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.toml");
    let (control, at) = (dir.path().join("c").display().to_string(), taken.local_addr().unwrap());
    let text = format!(
        "[daemon]\ncontrol = \"{control}\"\nmetrics = \"{at}\"\n[input.x]\nstdin = true\n\
         [output.o]\nstdout = true\n"
    );
    std::fs::write(&config, text).unwrap();
    let output = crate::util::run(&["run", "-c", config.to_str().unwrap()], b"line\n");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(output.stdout, b"line\n");
    assert!(said.contains(&format!("daemon.metrics = \"{at}\"")), "{said}");
}
