//! What packaging/ has for monitoring is sound: the alerts, and the dashboard, whose every
//! expression a real Prometheus evaluates over a real scrape.

use std::collections::{BTreeSet, HashSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::metrics::EVERYTHING;
use crate::util::{Daemon, free_port, wait_for};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("packaging/grafana/logweir.json")).unwrap()
}

/// The panels that show something, which is all but the rows.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

/// Every PromQL expression of the dashboard, with what is wrong named by its panel.
fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().unwrap().to_string();
        let targets = panel["targets"].as_array().unwrap().clone();
        targets.into_iter().map(move |target| (title.clone(), text(&target, "expr")))
    };
    let notes = dashboard["annotations"]["list"].as_array().unwrap().iter();
    let notes = notes.filter(|note| note.get("expr").is_some());
    let notes = notes.map(|note| (text(note, "name"), text(note, "expr")));
    panels(dashboard).into_iter().flat_map(of_panel).chain(notes).collect()
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}: {value}")).to_string()
}

/// An expression as Grafana sends it, with everything chosen.
fn filled_in(expression: &str) -> String {
    expression
        .replace("$__rate_interval", "2m")
        .replace("$__range", "2m")
        .replace("[1h]", "[2m]")
        .replace("$job", ".*")
        .replace("$instance", ".*")
        .replace("$node", ".*")
}

fn promtool(args: &[&str]) -> Option<(bool, String)> {
    let output = Command::new("promtool").args(args).current_dir(file("tests/prometheus")).output();
    let Ok(output) = output else {
        crate::util::skip_missing("promtool (package prometheus)");
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// The words of a text that begin with one of these.
fn words<'a>(text: &'a str, starts: &[&str]) -> BTreeSet<&'a str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| starts.iter().any(|start| word.starts_with(start))).collect()
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() {
    let dashboard = dashboard();
    assert_eq!(
        (text(&dashboard, "title"), text(&dashboard, "uid")),
        ("logweir".into(), "logweir".into())
    );
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    assert!(dashboard["id"].is_null(), "the id is another in every Grafana");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| text(variable, "name")).collect();
    assert_eq!(names, ["datasource", "job", "instance", "node"]);
    let (mut ids, mut cells) = (HashSet::new(), HashSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "twice: {}", panel["id"]);
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24 && w > 0 && h > 0, "{}", panel["gridPos"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{} covers another panel", panel["title"]);
        }
    }
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        assert_eq!(text(&panel["datasource"], "uid"), "${datasource}", "{title}");
        assert!(!text(panel, "description").is_empty(), "{title}");
        assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title}");
        let mut references = HashSet::new();
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(text(&target["datasource"], "uid"), "${datasource}", "{title}");
            assert!(references.insert(text(target, "refId")), "{title}");
            assert!(target.get("legendFormat").is_some(), "{title}");
        }
        assert!(!references.is_empty(), "{title}");
    }
}

/// Grafana's own types, without Grafana: the modules are fetched, so it is asked for by name.
#[test]
fn the_dashboard_holds_against_grafanas_schema() {
    if std::env::var_os("LOGWEIR_GRAFANA_SCHEMA").is_none() {
        return crate::util::skip_here("LOGWEIR_GRAFANA_SCHEMA is not set");
    }
    let check = |board: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("board.json");
        std::fs::write(&path, board).unwrap();
        let mut go = Command::new("go");
        let output = go.args(["run", "."]).arg(&path).current_dir(file("tests/grafana")).output();
        let output = output.ok()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Some((output.status.success(), said + &String::from_utf8_lossy(&output.stdout)))
    };
    let board = read("packaging/grafana/logweir.json");
    let Some((good, said)) = check(&board) else { return crate::util::skip_missing("go") };
    let count = dashboard()["panels"].as_array().unwrap().len();
    assert!(good && said.ends_with(&format!("{count} panels\n")), "{said}");
    let (good, said) = check(&board.replacen("\"legendFormat\"", "\"legend\"", 1)).unwrap();
    assert!(!good && said.contains("unexpected field 'legend'"), "{said}");
}

#[test]
fn every_alert_is_valid_says_what_to_do_and_is_tested() {
    let alerts = read("packaging/prometheus/logweir-alerts.yml");
    let names: Vec<_> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10);
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "a name twice");
    let tests = read("tests/prometheus/alerts_test.yml");
    for (name, rule) in names.iter().zip(alerts.split("- alert: ").skip(1)) {
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} is not tested");
        for part in ["expr: ", "severity: ", "summary: ", "description: >-\n"] {
            assert!(rule.contains(part), "{name}: {part}");
        }
    }
    let reasons = logweir::ledger::REASONS.map(|reason| reason.word());
    for matcher in alerts.split("reason=~\"").skip(1) {
        for reason in matcher.split('"').next().unwrap().split('|') {
            assert!(reasons.contains(&reason), "there is no reason {reason}");
        }
    }
    let rules = file("packaging/prometheus/logweir-alerts.yml");
    if let Some((good, said)) = promtool(&["check", "rules", rules.to_str().unwrap()]) {
        assert!(good && said.contains(&format!("{} rules found", names.len())), "{said}");
    }
    if let Some((good, said)) = promtool(&["test", "rules", "alerts_test.yml"]) {
        assert!(good && said.contains("SUCCESS"), "{said}");
    }
}

/// A Prometheus that scrapes a daemon, ended when dropped.
struct Prometheus {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one with the alerts that scrapes a daemon and another exporter; `None` where it is
    /// not installed.
    fn scraping(port: u16, exporter: u16) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("prometheus.yml");
        let rules = file("packaging/prometheus/logweir-alerts.yml");
        let text = format!(
            "global: {{ scrape_interval: 2s, evaluation_interval: 2s }}\n\
             rule_files: [{rules:?}]\n\
             scrape_configs:\n  - job_name: logweir\n    static_configs:\n      \
             - targets: [\"127.0.0.1:{port}\"]\n  \
             - job_name: node\n    static_configs:\n      \
             - targets: [\"127.0.0.1:{exporter}\"]\n"
        );
        std::fs::write(&config, text).unwrap();
        let own = free_port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{own}"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("log")).unwrap())
            .spawn();
        let Ok(child) = child else {
            crate::util::skip_missing("prometheus (package prometheus)");
            return None;
        };
        let prometheus = Self { child, port: own, _dir: dir };
        wait_for("prometheus", || prometheus.get("/-/ready").filter(|said| said.contains(" 200 ")));
        Some(prometheus)
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).ok()?;
        Some(said)
    }

    fn api(&self, path: &str) -> Value {
        let said = self.get(&format!("/api/v1/{path}")).unwrap();
        let answer: Value = serde_json::from_str(said.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// What an expression gives now.
    fn query(&self, expression: &str) -> Vec<Value> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.api(&format!("query?query={encoded}"))["result"].as_array().unwrap().clone()
    }
}

/// What `logweir audit --metrics` prints of a minute in which lines were dropped and one is
/// missing.
fn audited() -> String {
    let line = |host: &str, rest: &str| {
        format!(
            "{{\"v\":1,\"window\":\"2026-11-27T10:04:00Z\",\"seconds\":60,\"host\":\"{host}\",\
             \"since\":1,{rest}}}\n"
        )
    };
    let sent = "\"node\":\"out\",\"kind\":\"output\",\"at\":\"udp hub:8420\",\
                \"lines_in\":10,\"lines_out\":10";
    let came = "\"node\":\"in\",\"kind\":\"input\",\"at\":\"udp 0.0.0.0:8420\",\
                \"lines_in\":7,\"lines_out\":7,\"kernel_drops\":2";
    let closed = "\"node\":\"\",\"kind\":\"daemon\"";
    let lines = [("edge", sent), ("hub", came), ("edge", closed), ("hub", closed)];
    let text: String = lines.iter().map(|(host, rest)| line(host, rest)).collect();
    let output = crate::util::run(&["audit", "--metrics"], text.as_bytes());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("logweir_audit_missing_lines{host=\"hub\",node=\"in\"} 1\n"), "{text}");
    text
}

/// An exporter that always says this, and what a daemon says whose input reads from a topic.
fn exporter(text: String) -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = text + "logweir_input_lag_lines{node=\"web\",part=\"web 0\"} 7\n";
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n";
            let _ = write!(stream, "{head}Connection: close\r\n\r\n{text}");
        }
    });
    port
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_prometheus_takes_every_scrape_and_has_data_for_every_panel() {
    let port = free_port();
    let own = format!("metrics = \"127.0.0.1:{port}\"\ngrace = \"1s\"\n#daemon\n");
    let mut daemon = Daemon::start(&format!("{own}{EVERYTHING}"));
    let Some(prometheus) = Prometheus::scraping(port, exporter(audited())) else { return };
    // Rates need two scrapes.
    wait_for("a scrape", || prometheus.query("up{job=\"logweir\"} == 1").first().map(|_| ()));
    let mut sent = 0;
    for (panel, expression) in expressions(&dashboard()) {
        let expression = filled_in(&expression);
        assert!(!expression.contains('$'), "{panel}: {expression}");
        if panel == "Starts" {
            daemon.stop();
            daemon.run();
            sent = 0;
        }
        wait_for(&format!("data for {panel}: {expression}"), || {
            daemon.send_numbered(sent, sent + 10);
            sent += 10;
            (!prometheus.query(&expression).is_empty()).then_some(())
        });
    }
    // The labels of the legends are there, and so is every metric of the alerts.
    for (expression, labels) in [
        ("logweir_output_dropped_total", &["instance", "job", "node", "reason"][..]),
        ("logweir_spool_reader_age_seconds", &["instance", "job", "node", "reader"]),
        ("logweir_daemon_loop_wait_seconds", &["instance", "job"]),
    ] {
        let found = prometheus.query(expression);
        let found: Vec<_> = found[0]["metric"].as_object().unwrap().keys().collect();
        assert_eq!(found.into_iter().filter(|key| *key != "__name__").collect::<Vec<_>>(), labels);
    }
    let alerts = read("packaging/prometheus/logweir-alerts.yml");
    for metric in words(&alerts, &["logweir_", "process_"]) {
        assert!(!prometheus.query(metric).is_empty(), "there is no {metric}");
    }
    let groups = wait_for("the rules", || {
        let groups = prometheus.api("rules")["groups"].clone();
        let rules = groups[0]["rules"].as_array().unwrap().clone();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    });
    for rule in groups {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let targets = prometheus.api("targets")["activeTargets"].clone();
    assert_eq!(targets[0]["lastError"], "", "{targets}");
}
