//! The first minutes: a configuration is made, completions are there, and a configuration that is
//! broken keeps nobody from looking at the daemon.

use std::process::{Command, Output, Stdio};

use crate::rsyslog::Certificates;
use crate::util::{Daemon, LOGWEIR, free_port, run};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn init_prints_what_check_accepts() {
    for args in [
        &["init"][..],
        &["init", "--from", "raw", "--to", "relp://hub:2514", "--metrics", "yes"],
        &["init", "--from", "host", "--to", "files"],
    ] {
        let made = run(args, b"");
        assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
        let checked = run(&["check", "-c", "/dev/stdin"], &made.stdout);
        assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
        assert_eq!(stderr(&checked), "");
    }
    for wrong in [["--to", "udp://hub:1"], ["--from", "nowhere"], ["--metrics", "maybe"]] {
        assert_eq!(run(&["init", wrong[0], wrong[1]], b"").status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn init_writes_a_file_and_never_over_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("logweir.toml").display().to_string();
    let output = run(&["init", "--output", &file], b"");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let before = std::fs::read_to_string(&file).unwrap();
    assert!(before.contains("[input.net-udp]"), "{before}");
    let output = run(&["init", "--output", &file, "--from", "raw"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("File exists"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
}

#[test]
fn completions_name_every_subcommand() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell], b"");
        assert_eq!(output.status.code(), Some(0));
        for command in ["check", "spool", "init", "completions"] {
            assert!(stdout(&output).contains(command), "{shell}: {command}");
        }
    }
    assert_eq!(run(&["completions", "tcl"], b"").status.code(), Some(2));
}

#[test]
fn the_version_says_what_it_was_made_of() {
    let short = stdout(&run(&["-V"], b""));
    assert_eq!(short, concat!("logweir ", env!("CARGO_PKG_VERSION"), "\n"));
    let long = stdout(&run(&["--version"], b""));
    assert!(long.starts_with(short.trim_end()), "{long}");
    assert!(long.contains("\nfeatures: tls, zstd, "), "{long}");
    let git = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--git-dir"])
        .stderr(Stdio::null())
        .output();
    if git.is_ok_and(|output| output.status.success()) {
        assert!(long.lines().next().unwrap().contains(" (commit "), "{long}");
    }
}

#[test]
fn a_broken_configuration_keeps_nobody_from_the_daemon() {
    let port = free_port();
    let daemon = Daemon::start(&format!(
        "metrics = \"127.0.0.1:{port}\"\n#daemon\n[output.all]\nfile = \"{{dir}}/all\"\n"
    ));
    let refused = |count: u32| {
        let line = format!("\nlogweir_daemon_reloads_refused_total {count}.0\n");
        crate::metrics::get(port, "/metrics").contains(&line)
    };
    assert!(refused(0));
    let config = daemon.path("logweir.toml").display().to_string();
    let good = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{good}\n[output.b]\nfile = /nowhere\nfrom = [\n")).unwrap();
    let output = run(&["ctl", "reload", "-c", &config], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("quote it: file = \"/nowhere\""), "{}", stderr(&output));
    daemon.wait_log("reload refused, the old configuration goes on:");
    daemon.wait_log("string values must be quoted");
    crate::util::wait_for("the refusal to be counted", || refused(1).then_some(()));
    for args in [&["ctl", "status", "-c", &config][..], &["top", "--once", "-c", &config]] {
        let output = run(args, b"");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains("all"), "{}", stdout(&output));
    }
    let mut command = Command::new(LOGWEIR);
    command.args(["tap", "in", "-n", "1", "-c", &config]).stdout(Stdio::piped());
    let mut tap = command.stderr(Stdio::null()).spawn().unwrap();
    crate::util::wait_for("the tap to end", || {
        daemon.send(b"a line\n");
        tap.try_wait().unwrap()
    });
    assert_eq!(stdout(&tap.wait_with_output().unwrap()), "a line\n");
}

#[test]
fn without_a_configuration_the_default_socket_is_asked() {
    let output = run(&["top", "--once", "-c", "/no/such/file"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/run/logweir/control.sock"), "{}", stderr(&output));
}

#[test]
fn send_goes_through_tls_to_a_peer_that_has_the_right_name() {
    let Some(certificates) = Certificates::new() else { return };
    let (relp, tcp) = (free_port(), free_port());
    let tls = format!(
        "tls = {{ cert = \"{}\", key = \"{}\", client_ca = \"{}\" }}\n",
        certificates.path("server.pem"),
        certificates.path("server.key"),
        certificates.path("ca.pem")
    );
    let daemon = Daemon::start(&format!(
        "[input.edge]\nrelp = \"127.0.0.1:{relp}\"\n{tls}\
         [input.sys]\nsyslog = \"tls://127.0.0.1:{tcp}\"\n{tls}\
         [output.f]\nfrom = [\"edge\", \"sys\"]\nfile = \"{{dir}}/out\"\n\
         [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
    ));
    let (ca, cert, key) = (
        certificates.path("ca.pem"),
        certificates.path("client.pem"),
        certificates.path("client.key"),
    );
    let own = ["--ca", &ca, "--cert", &cert, "--key", &key];
    let mut wanted = 0;
    for url in [format!("relp+tls://localhost:{relp}"), format!("tls://localhost:{tcp}")] {
        let text: String = (0..500).map(|number| format!("<13>line {number}\n")).collect();
        let output = run(&[&["send", "--to", &url], &own[..]].concat(), text.as_bytes());
        assert_eq!(stderr(&output), "sent 500 of 500 lines\n", "{url}");
        wanted += 500;
        daemon.wait_lines("out", wanted);
        let stranger = run(&["send", "--to", &url, "--ca", &ca, "--tls-name", "other"], b"x\n");
        assert_eq!(stranger.status.code(), Some(1), "{url}");
        assert!(stderr(&stranger).contains("ertificate"), "{url}: {}", stderr(&stranger));
        // The server looks at the certificate, or misses one, after the client's handshake.
        let nameless = run(&["send", "--to", &url, "--ca", &ca], b"x\n");
        assert_eq!(nameless.status.code(), Some(1), "{url}: {}", stderr(&nameless));
        assert!(stderr(&nameless).contains("CertificateRequired"), "{url}: {}", stderr(&nameless));
        assert!(stderr(&nameless).contains("0 lines") || url.starts_with("relp"));
    }
    assert_eq!(daemon.lines("out").len(), wanted);
}
