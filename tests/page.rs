//! The page at the metrics port, its data, and who may see them.

mod browser;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::metrics::{answer, get};
use crate::util::{Daemon, free_port, wait_for};
use browser::Browser;

/// A daemon whose metrics are served at this port, with more keys of `[daemon]` and nodes.
fn daemon(port: u16, keys: &str, nodes: &str) -> Daemon {
    Daemon::start(&format!("metrics = \"127.0.0.1:{port}\"\n{keys}#daemon\n{nodes}"))
}

/// A filter that is stalled and one that selects nothing, beside a file that gets everything.
const TROUBLED: &str = "[output.all]\nfrom = \"in\"\nfile = \"{dir}/all\"\n\
     [filter.stalled]\nfrom = \"in\"\nqueue = \"8KiB\"\n\
     run = \"PASSWORD=hunter2; echo ready >&2; exec sleep 600\"\n\
     [output.behind]\nfrom = \"stalled\"\nfile = \"{dir}/behind\"\n\
     [output.deaf]\nfrom = \"in\"\nmatch = 'never there'\nfile = \"{dir}/deaf\"\n";

/// Sends lines until the stalled filter has dropped some.
fn overload(daemon: &Daemon) -> u64 {
    let (line, mut sent) = ([b'x'; 1000], 0);
    loop {
        (0..100).for_each(|_| daemon.send(&line));
        sent += 100;
        let node = daemon.wait_node("stalled", |node| node.lines_in == sent);
        if node.dropped["queue_full"] > 0 {
            return node.dropped["queue_full"];
        }
    }
}

fn status(port: u16) -> Value {
    let answer = get(port, "/status.json");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"), "{head}");
    serde_json::from_str(body).unwrap()
}

fn node(status: &Value, name: &str) -> Value {
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["name"] == name).unwrap().clone()
}

#[test]
fn the_page_is_one_document_that_runs_nothing_but_its_own_script() {
    let port = free_port();
    let _daemon = daemon(port, "", "[output.all]\nfile = \"{dir}/all\"\n");
    let page = get(port, "/");
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"));
    assert!(body.starts_with("<!doctype html>") && body.len() < 64 * 1024);
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
    let policy = head.lines().find_map(|line| line.strip_prefix("Content-Security-Policy: "));
    let policy = policy.unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("connect-src 'self'; base-uri 'none'; form-action 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for path in ["/", "/status.json", "/metrics", "/healthz", "/nothing"] {
        let head = answer(port, &format!("HEAD {path} HTTP/1.1\r\n\r\n"));
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        for field in [
            "X-Content-Type-Options: nosniff",
            "Referrer-Policy: no-referrer",
            "Cross-Origin-Resource-Policy: same-origin",
            "X-Frame-Options: DENY",
            "Cache-Control: no-store",
            "Content-Security-Policy: default-src 'none'",
        ] {
            assert!(head.contains(&format!("\r\n{field}")), "{path}: {field}: {head}");
        }
        assert!(answer(port, &format!("POST {path} HTTP/1.1\r\n\r\n")).contains(" 405 "));
    }
}

#[test]
fn the_data_of_the_page_has_the_figures_of_top_and_the_remedies_of_the_log_but_no_commands() {
    let port = free_port();
    let daemon = daemon(port, "stuck_after = \"1s\"\n", TROUBLED);
    let dropped = overload(&daemon);
    daemon.wait_log("stalled: dropping");
    let status = wait_for("a stalled filter", || {
        let status = status(port);
        let troubles = &node(&status, "stalled")["troubles"];
        let remedy = troubles[1]["remedy"].as_str()?;
        // At first it is not known whether the process goes on.
        let is = remedy.starts_with("the process has read nothing for ")
            && !remedy.contains("if that lasts");
        is.then_some(status)
    });
    assert_eq!((&status["v"], &status["version"]), (&1.into(), &env!("CARGO_PKG_VERSION").into()));
    let (stalled, top) = (node(&status, "stalled"), daemon.node("stalled"));
    assert_eq!(stalled["lines_in"], top.lines_in);
    assert_eq!(stalled["dropped"], serde_json::json!({ "queue_full": dropped }));
    assert_eq!(stalled["from"], serde_json::json!(["in"]));
    assert_eq!(stalled["stderr"][0]["text"], "ready");
    assert_eq!(stalled["losses"][0]["cause"], "queue_full");
    let troubles = stalled["troubles"].as_array().unwrap();
    let what = |at: usize| troubles[at]["what"].as_str().unwrap();
    assert!(what(0).starts_with("nothing has left its queue for "), "{troubles:?}");
    assert!(what(1).starts_with("dropping (queue_full, "), "{troubles:?}");
    let remedy = troubles[1]["remedy"].as_str().unwrap();
    assert!(remedy.starts_with("the process has read nothing for "), "{remedy}");
    assert!(remedy.ends_with("end it, and it is started again; find out what it waits for"));
    let note = &node(&status, "deaf")["troubles"][0];
    assert_eq!(note["level"], "note", "{note}");
    let tap = "the lines that `logweir tap in` shows";
    assert!(note["remedy"].as_str().unwrap().ends_with(tap), "{note}");
    assert!(node(&status, "all").get("troubles").is_none());
    // /healthz says the same of what is unhealthy.
    let health = get(port, "/healthz");
    assert!(health.contains("\r\n\r\nstalled: nothing has left its queue for "), "{health}");
    assert!(health.contains("the process has read nothing for "), "{health}");
    // What is run may hold a password. It is for the control socket alone.
    let text = get(port, "/status.json") + &get(port, "/metrics") + &health + &get(port, "/");
    assert!(!text.contains("hunter2") && !text.contains("sleep 600"), "{text}");
    assert!(top.command.unwrap().contains("hunter2"));
}

#[test]
fn every_line_is_in_the_second_in_which_it_was_counted() {
    let port = free_port();
    let daemon = daemon(port, "", TROUBLED);
    let dropped = overload(&daemon);
    let (from, lines) = (std::time::SystemTime::now(), daemon.node("in").lines_in);
    let ask = |query: &str| -> logweir::driver::seconds::SecondsReport {
        let answer = get(port, &format!("/seconds.json{query}"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json"), "{head}");
        serde_json::from_str(body).unwrap()
    };
    let report = wait_for("the second to be over", || {
        let report = ask("?node=stalled");
        let rows = report.nodes.iter().flat_map(|node| &node.rows);
        (rows.map(|row| row.counts.dropped).sum::<u64>() == dropped).then_some(report)
    });
    assert_eq!((report.v, report.window, report.seconds), (1, 1, 3600));
    let rows = &report.nodes[0].rows;
    let now = from.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(rows.iter().all(|row| row.at <= now && row.at + 600 > now), "{rows:?}");
    assert_eq!(rows.iter().map(|row| row.counts.lines_in).sum::<u64>(), lines);
    // All nodes; the control socket says the same.
    let all = ask("?seconds=600");
    let rows = |name: &str| &all.nodes.iter().find(|node| node.name == name).unwrap().rows;
    assert_eq!(rows("in").iter().map(|row| row.counts.lines_out).sum::<u64>(), lines);
    assert_eq!(rows("deaf").iter().map(|row| row.counts.not_selected).sum::<u64>(), lines);
    let request = logweir::driver::control::Request::Seconds { node: None, seconds: Some(600) };
    let asked = logweir::driver::control::ask(&daemon.path("control.sock"), request).unwrap();
    assert_eq!(asked["nodes"], serde_json::to_value(&all.nodes).unwrap());
    // A node that a reload has rebuilt goes on.
    daemon.write_config(&format!(
        "metrics = \"127.0.0.1:{port}\"\n#daemon\n{}",
        TROUBLED.replace("sleep 600", "sleep 601")
    ));
    assert!(daemon.ctl("reload").status.success());
    daemon.send(b"x");
    wait_for("one line more", || {
        let report = ask("?node=stalled");
        let rows = report.nodes.iter().flat_map(|node| &node.rows);
        (rows.map(|row| row.counts.lines_in).sum::<u64>() == lines + 1).then_some(())
    });
}

#[test]
fn a_token_closes_the_port_to_all_who_do_not_show_it() {
    let port = free_port();
    let with = |shown: &str, path: &str| {
        answer(port, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{shown}\r\n"))
    };
    let keys = "metrics_token = \"{dir}/token\"\n";
    let nodes = "[output.all]\nfile = \"{dir}/all\"\n";
    let text = format!("metrics = \"127.0.0.1:{port}\"\n{keys}#daemon\n{nodes}");
    let daemon = Daemon::start_with(&text, |dir| {
        std::fs::write(dir.join("token"), "secret\n").unwrap();
    });
    let bearer = "Authorization: Bearer secret\r\n";
    // secret as the password of the user `me`.
    let basic = "authorization: Basic bWU6c2VjcmV0\r\n";
    for path in ["/", "/status.json", "/metrics", "/healthz", "/nothing"] {
        for shown in ["", "Authorization: Bearer secre\r\n", "Authorization: Basic secret\r\n"] {
            let answer = with(shown, path);
            assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
            assert!(answer.contains("\r\nWWW-Authenticate: Basic realm=\"logweir\""), "{answer}");
            assert!(!answer.contains("secret"), "{answer}");
        }
        let expected = if path == "/nothing" { "HTTP/1.1 404 " } else { "HTTP/1.1 200 " };
        assert!(with(bearer, path).starts_with(expected), "{path}");
        assert!(with(basic, path).starts_with(expected), "{path}");
    }
    // Another token is taken at once; without one nobody is let in.
    std::fs::write(daemon.path("token"), "other\n").unwrap();
    assert!(with(bearer, "/healthz").starts_with("HTTP/1.1 401 "));
    assert!(with("Authorization: Bearer other\r\n", "/healthz").starts_with("HTTP/1.1 200 "));
    std::fs::remove_file(daemon.path("token")).unwrap();
    let refused = with("Authorization: Bearer other\r\n", "/healthz");
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    daemon.wait_log("nobody is let in");
    // A reload with a token that cannot be read changes nothing; one without a token opens it.
    let refused = daemon.ctl("reload");
    assert!(refused.status.success(), "nothing has changed: {refused:?}");
    let elsewhere = text.replace("{dir}/token", "{dir}/no-token");
    daemon.write_config(&elsewhere);
    let refused = daemon.ctl("reload");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("daemon.metrics_token = "), "{said}");
    daemon.write_config(&text.replace(keys, ""));
    assert!(daemon.ctl("reload").status.success());
    assert!(with("", "/healthz").starts_with("HTTP/1.1 200 "));
}

/// What is answered at a Unix socket.
fn get_at(path: &std::path::Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_unix_socket_serves_whoever_its_mode_lets_in_and_moves_with_a_reload() {
    let text = "metrics = \"unix://{dir}/deep/metrics.sock\"\n#daemon\n\
                [output.all]\nfile = \"{dir}/all\"\n";
    let daemon = Daemon::start(text);
    let path = daemon.path("deep/metrics.sock");
    assert!(get_at(&path).ends_with("\r\n\r\nok\n"));
    assert_eq!(path.symlink_metadata().unwrap().permissions().mode() & 0o7777, 0o660);
    daemon.write_config(&text.replace("deep/", ""));
    assert!(daemon.ctl("reload").status.success());
    assert!(get_at(&daemon.path("metrics.sock")).ends_with("\r\n\r\nok\n"));
    assert!(path.symlink_metadata().is_err(), "the old one is gone");
    let port = free_port();
    daemon.write_config(
        &text.replace("unix://{dir}/deep/metrics.sock", &format!("127.0.0.1:{port}")),
    );
    assert!(daemon.ctl("reload").status.success());
    assert!(get(port, "/healthz").ends_with("\r\n\r\nok\n"));
    assert!(daemon.path("metrics.sock").symlink_metadata().is_err());
}

#[test]
fn a_browser_draws_the_flow_and_shows_what_is_wrong_with_a_node() {
    let port = free_port();
    let daemon = daemon(port, "", TROUBLED);
    let dropped = overload(&daemon);
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&format!("http://127.0.0.1:{port}/"));
    let boxes = "document.querySelectorAll('.box').length";
    browser.wait("the boxes", boxes, |count| *count == 5);
    assert_eq!(browser.ask("document.querySelectorAll('.band').length"), 4);
    let troubled = "[...document.querySelectorAll('.box.trouble .name')].map(x => x.textContent)";
    browser.wait("the trouble", troubled, |names| *names == serde_json::json!(["! stalled"]));
    // The row of the ledger adds up.
    let row = "[...document.querySelectorAll('#nodes tbody tr')].find(row => \
               row.cells[0].textContent === 'stalled')";
    let cells =
        format!("[...({row}).cells].slice(1, 6).map(x => +x.textContent.replace(/,/g, ''))");
    let cells: Vec<u64> = serde_json::from_value(browser.ask(&cells)).unwrap();
    assert_eq!(cells[0], cells[1..].iter().sum::<u64>(), "{cells:?}");
    assert_eq!(cells[3], dropped);
    // By the keyboard: from the input along the flow to the stalled filter, and into it.
    let named = |name: &str| {
        format!("[...document.querySelectorAll('.box')].find(x => x.box.id === '{name}')")
    };
    browser.ask(&format!("{}.focus()", named("behind")));
    browser.key("ArrowLeft");
    browser.key("Enter");
    let detail = "document.getElementById('detail').innerText";
    let said = browser.wait("the details", detail, |said| {
        let said = said.as_str().unwrap();
        said.starts_with("filter stalled") && said.contains("the process has read nothing for ")
    });
    let said = said.as_str().unwrap();
    assert!(said.contains("ready") && !said.contains("hunter2"), "{said}");
    assert_eq!(browser.ask("location.hash"), "#stalled");
    // Its day: every drop is in a minute, and the minutes with drops are listed.
    let lost = |step: u32| {
        format!(
            "series && series.step === {step} && \
             [...series.rows.values()].map(lostIn).reduce((a, b) => a + b, 0)"
        )
    };
    browser.wait("its minutes", &lost(60), |lost| *lost == dropped);
    let listed = browser.ask("document.getElementById('bad').innerText");
    assert!(listed.as_str().unwrap().contains("(queue_full)"), "{listed}");
    // The same by the second.
    browser.ask("document.getElementById('fine').click()");
    browser.wait("its seconds", &lost(1), |lost| *lost == dropped);
    let title = browser.ask("document.getElementById('day-title').innerText");
    assert_eq!(title, "By the second in which lines were counted here");
    assert_eq!(browser.ask("document.getElementById('minute').max"), "3599");
    browser.ask("document.getElementById('fine').click()");
    browser.wait("its minutes again", &lost(60), |lost| *lost == dropped);
    assert_eq!(browser.ask("document.getElementById('day').hidden"), false);
    browser.key("Escape");
    assert_eq!(browser.ask("document.getElementById('detail').hidden"), true);
    // A click, and a name that is searched for.
    browser.ask(&format!("{}.dispatchEvent(new Event('click'))", named("all")));
    browser.wait("all", "location.hash", |hash| hash == "#all");
    browser.ask("document.getElementById('search').value = 'deaf'");
    browser.ask("document.getElementById('search').dispatchEvent(new Event('input'))");
    assert_eq!(browser.ask(boxes), 2, "what is found, and what feeds it");
    // A daemon that is gone is said.
    daemon.signal(nix::sys::signal::Signal::SIGKILL);
    let gone = "document.getElementById('gone').innerText";
    browser.wait("the end", gone, |said| {
        said.as_str().unwrap().starts_with("No news from the daemon since ")
    });
    let policy = browser.complaints.iter().find(|said| said.contains("Content Security Policy"));
    assert_eq!(policy, None);
    assert!(!browser.complaints.iter().any(|said| said.contains("exceptionThrown")));
}

#[test]
fn three_hundred_nodes_are_gathered_in_groups_with_the_troubled_one_by_itself() {
    let port = free_port();
    let mut nodes = String::from(
        "[output.stuck]\nfrom = \"f7\"\npipe = \"exec sleep 600\"\nqueue = \"8KiB\"\n",
    );
    for nth in 0..150 {
        nodes += &format!(
            "[filter.f{nth}]\nfrom = \"in\"\nsample = 1\n\
             [output.o{nth}]\nfrom = \"f{nth}\"\nfile = \"{{dir}}/same\"\n"
        )
        .replace("same", &format!("o{nth}"));
    }
    let daemon = daemon(port, "memory = \"256MiB\"\n", &nodes);
    daemon.send_numbered(0, 10);
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&format!("http://127.0.0.1:{port}/"));
    let names = "[...document.querySelectorAll('.box .name')].map(x => x.textContent).sort()";
    let grouped = serde_json::json!(["! stuck", "150 filters", "150 outputs", "in"]);
    browser.wait("the groups", names, |names| *names == grouped);
    let rows = "document.querySelectorAll('#nodes tbody tr').length";
    assert_eq!(browser.ask(rows), 302);
    let worst = "document.querySelector('#nodes tbody tr').cells[0].textContent";
    assert_eq!(browser.ask(worst), "stuck");
    browser.ask("document.getElementById('each').click()");
    assert_eq!(browser.ask("document.querySelectorAll('.box').length"), 302);
    // It fits a phone: only the picture and the table may be scrolled sideways.
    browser.resize(390, 800);
    let fits = "document.documentElement.scrollWidth <= 390";
    browser.wait("the width", fits, |fits| *fits == true);
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}
