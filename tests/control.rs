//! The control socket: what is asked in good order is answered, and whoever behaves badly harms
//! nobody.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;

use crate::util::{Daemon, LOGWEIR, free_port, numbered, wait_for};

const FLOW: &str = "[output.all]\nfrom = \"in\"\nfile = \"{dir}/all\"\n";
const STATUS: &[u8] = b"{\"version\": 1, \"command\": \"status\"}\n";

/// A client that says what it likes.
struct Client(BufReader<UnixStream>);

impl Client {
    fn new(daemon: &Daemon) -> Self {
        let stream = UnixStream::connect(daemon.path("control.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(BufReader::new(stream))
    }

    fn say(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    fn ask(&mut self, bytes: &[u8]) -> Value {
        self.say(bytes);
        self.hear()
    }

    /// The error it is answered with.
    fn refused(&mut self, bytes: &[u8]) -> String {
        let answer = self.ask(bytes);
        assert_eq!(answer["version"], 1);
        assert!(answer.get("ok").is_none(), "{answer}");
        answer["error"].as_str().unwrap().to_string()
    }

    /// Whether the daemon has hung up.
    fn is_let_go(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

/// The most memory the daemon ever had, in KiB.
fn peak(daemon: &Daemon) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Sends numbered lines no faster than they are written, without a word on the control socket.
fn send_unasked(daemon: &Daemon, count: u64) {
    for number in 0..count {
        daemon.send(format!("line {number}\n").as_bytes());
        if number % 100 == 99 {
            let least = usize::try_from(number).unwrap().saturating_sub(200);
            wait_for("lines", || (daemon.lines("all").len() >= least).then_some(()));
        }
    }
}

fn ctl(socket: &std::path::Path, order: &str) -> (Option<i32>, String, String) {
    let output = Command::new(LOGWEIR).arg("ctl").arg("--control").arg(socket).arg(order).output();
    let output = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn garbage_is_refused_with_a_reason_and_the_connection_goes_on() {
    let daemon = Daemon::start(FLOW);
    let mut client = Client::new(&daemon);
    for (said, reason) in [
        (&b"\n"[..], "not a request of version 1"),
        (b"GET / HTTP/1.1\n", "not a request of version 1"),
        (b"\x00\xff\xfe\x16\x03\x01\n", "not a request of version 1"),
        (b"{\"command\": \"stop\"}\n", "unknown variant `stop`, expected one of `status`"),
        (b"{\"command\": \"tap\", \"node\": \"in\", \"mach\": \"x\"}\n", "unknown field `mach`"),
        (b"{\"command\": \"tap\", \"node\": \"x\"}\n", "there is no node `x`; there are: in, all"),
        (b"{\"version\": 99, \"command\": \"status\"}\n", "the daemon speaks version 1, not 99"),
        (b"{\"version\": 99, \"verb\": \"dance\"}\n", "the daemon speaks version 1, not 99"),
    ] {
        let error = client.refused(said);
        assert!(error.contains(reason), "{error}");
    }
    let answer = client.ask(STATUS);
    assert_eq!((&answer["version"], &answer["ok"]["pid"]), (&1.into(), &daemon.pid().into()));
    let answer = client.ask(b"{\"command\": \"rotate\"}\n");
    assert_eq!(answer.to_string(), "{\"ok\":null,\"version\":1}");
}

#[test]
fn a_line_without_an_end_is_refused_at_64_kib_and_costs_no_memory() {
    let daemon = Daemon::start(FLOW);
    daemon.status();
    let before = peak(&daemon);
    let chunk = vec![b'x'; 1024 * 1024];
    for _ in 0..20 {
        let mut client = Client::new(&daemon);
        // A GiB, as much of it as the daemon takes.
        let mut sent = 0;
        while sent < 1024 * chunk.len() {
            match client.0.get_mut().write(&chunk) {
                Ok(count) => sent += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                    break;
                }
            }
        }
        assert!(sent < 4 * chunk.len(), "it took {sent} bytes");
        let answer = client.hear();
        assert_eq!(answer["error"], "a request is a line of 65536 bytes at most");
        assert!(client.is_let_go());
    }
    let grown = peak(&daemon) - before;
    assert!(grown < 2048, "{grown} KiB");
    daemon.send_numbered(0, 100);
    daemon.wait_lines("all", 100);
}

#[test]
fn of_a_thousand_clients_those_beyond_64_are_told_so_and_every_line_arrives() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(4096).min(hard), hard).unwrap();
    let daemon = Daemon::start(FLOW);
    let before = peak(&daemon);
    let (mut served, mut refused) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            send_unasked(&daemon, 2000);
        });
        for _ in 0..1000 {
            let mut client = Client::new(&daemon);
            // One that is sent away may be so before it has said anything.
            let _ = client.0.get_mut().write_all(STATUS);
            let answer = client.hear();
            match answer["error"].as_str() {
                None => served.push(client),
                Some(error) => {
                    assert_eq!(error, "the limit of 64 clients is reached; try again");
                    refused += 1;
                }
            }
        }
    });
    assert_eq!(served.len() + refused, 1000);
    assert!(served.len() >= 64, "{} were served", served.len());
    assert!(refused > 0);
    assert_eq!(daemon.wait_lines("all", 2000), numbered(0, 2000));
    let grown = peak(&daemon) - before;
    assert!(grown < 8192, "{grown} KiB");
    let (code, _, said) = ctl(&daemon.path("control.sock"), "status");
    if code != Some(0) {
        assert!(said.contains("the limit of 64 clients is reached; try again"), "{said}");
    }
    drop(served);
    wait_for("room", || (ctl(&daemon.path("control.sock"), "status").0 == Some(0)).then_some(()));
}

#[test]
fn clients_that_ask_nothing_give_way_at_once_and_those_that_did_ask_stay() {
    let daemon = Daemon::start(FLOW);
    let mut asked = Client::new(&daemon);
    assert!(asked.ask(STATUS).get("ok").is_some());
    let mut idle: Vec<_> = (0..70).map(|_| Client::new(&daemon)).collect();
    // A request that is not whole does not keep a place either.
    for client in &mut idle[60..] {
        client.say(&STATUS[..10]);
    }
    for _ in 0..3 {
        assert_eq!(Client::new(&daemon).ask(STATUS)["ok"]["pid"], daemon.pid());
    }
    assert!(asked.ask(STATUS).get("ok").is_some());
    assert!(idle[0].is_let_go());
    // Places are taken from the oldest: the youngest still has its own.
    idle[69].say(&STATUS[10..]);
    assert!(idle[69].hear().get("ok").is_some());
}

#[test]
fn clients_that_do_not_read_hold_up_nobody_and_are_bounded() {
    let mut flow = String::from(FLOW);
    for n in 0..400 {
        flow.push_str(&format!(
            "[output.o{n}]\nfrom = \"in\"\nmatch = \"none{n}$\"\nudp = \"127.0.0.1:9\"\n"
        ));
    }
    let daemon = Daemon::start(&flow);
    daemon.status();
    let before = peak(&daemon);
    let mut deaf = Vec::new();
    for _ in 0..60 {
        let mut client = Client::new(&daemon);
        // More than is ever answered, as far as the socket takes it.
        client.0.get_mut().set_nonblocking(true).unwrap();
        while client.0.get_mut().write(STATUS).is_ok() {}
        deaf.push(client);
    }
    send_unasked(&daemon, 1000);
    assert_eq!(daemon.wait_lines("all", 1000), numbered(0, 1000));
    let mut client = Client::new(&daemon);
    let error = client.refused(STATUS);
    assert_eq!(error, "too many answers are waiting to be read; try again");
    let grown = peak(&daemon) - before;
    // Without a bound it is hundreds.
    assert!(grown < 20 * 1024, "{grown} KiB");
    // Those that have hung up are forgotten.
    drop(deaf);
    wait_for("an answer", || client.ask(STATUS).get("ok").map(|_| ()));
}

#[test]
fn slow_requests_are_answered_and_half_ones_forgotten() {
    let daemon = Daemon::start(FLOW);
    let mut slow = Client::new(&daemon);
    for byte in STATUS {
        slow.say(&[*byte]);
        // Somebody else is answered between any two bytes.
        assert!(daemon.ctl("rotate").status.success());
    }
    assert!(slow.hear().get("ok").is_some());
    for length in [1, 10, STATUS.len() - 1] {
        let mut half = Client::new(&daemon);
        half.say(&STATUS[..length]);
        drop(half);
    }
    // Several at once are answered one after the other; one who says no more gets all of it.
    let mut many = Client::new(&daemon);
    many.say(&STATUS.repeat(100));
    many.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    for _ in 0..100 {
        assert!(many.hear().get("ok").is_some());
    }
    assert!(many.is_let_go());
}

#[test]
fn a_socket_of_a_daemon_that_was_killed_is_replaced_and_of_one_that_runs_is_not() {
    let mut daemon = Daemon::start(FLOW);
    daemon.signal(nix::sys::signal::Signal::SIGKILL);
    daemon.wait();
    assert!(daemon.path("control.sock").exists());
    daemon.run();
    let first = daemon.pid();

    // Another one over the same socket runs, without one.
    let (port, dir) = (free_port(), daemon.dir.path().display());
    let config = format!(
        "[daemon]\ncontrol = \"{dir}/control.sock\"\n[input.in]\nudp = \"127.0.0.1:{port}\"\n\
         [output.other]\nfile = \"{dir}/other\"\n"
    );
    std::fs::write(daemon.path("other.toml"), config).unwrap();
    let log = std::fs::File::create(daemon.path("other.log")).unwrap();
    let mut other = Command::new(LOGWEIR)
        .args(["run", "-c"])
        .arg(daemon.path("other.toml"))
        .env_remove("JOURNAL_STREAM")
        .stderr(log)
        .spawn()
        .unwrap();
    let said = wait_for("the other daemon", || {
        let said = std::fs::read_to_string(daemon.path("other.log")).unwrap();
        said.contains("running").then_some(said)
    });
    assert!(
        said.contains("another daemon answers there; top, tap and ctl cannot reach this daemon"),
        "{said}"
    );
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"one\n", ("127.0.0.1", port)).unwrap();
    assert_eq!(daemon.wait_lines("other", 1), ["one"]);
    assert_eq!(Client::new(&daemon).ask(STATUS)["ok"]["pid"], first);

    // When the first one has ended, a reload of the other is enough for it to have the socket.
    daemon.stop();
    assert!(!daemon.path("control.sock").exists(), "it is removed at the end");
    let signal = |signal| {
        let pid = nix::unistd::Pid::from_raw(other.id().cast_signed());
        nix::sys::signal::kill(pid, signal).unwrap();
    };
    signal(nix::sys::signal::Signal::SIGHUP);
    let path = daemon.path("control.sock");
    // There is a moment between its name and its ear.
    wait_for("the socket", || UnixStream::connect(&path).ok());
    assert_eq!(Client::new(&daemon).ask(STATUS)["ok"]["pid"], other.id());
    signal(nix::sys::signal::Signal::SIGTERM);
    assert!(other.wait().unwrap().success());
    assert!(!daemon.path("control.sock").exists());
}

#[test]
fn the_socket_is_for_its_owner_and_its_group_whatever_the_umask() {
    for umask in ["000", "077"] {
        let mut daemon = Daemon::prepare(FLOW);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh", LOGWEIR]);
        daemon.run_by(shell);
        let data = std::fs::metadata(daemon.path("control.sock")).unwrap();
        assert_eq!(data.permissions().mode() & 0o7777, 0o660, "umask {umask}");
    }
}

#[test]
fn a_folder_with_the_set_group_id_bit_gives_the_socket_its_group() {
    if !nix::unistd::geteuid().is_root() {
        crate::util::skip_here("only root can give a folder to another group");
        return;
    }
    let daemon = Daemon::start_with(FLOW, |dir| {
        std::os::unix::fs::chown(dir, None, Some(4242)).unwrap();
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o2755)).unwrap();
    });
    let data = std::fs::metadata(daemon.path("control.sock")).unwrap();
    assert_eq!((data.gid(), data.permissions().mode() & 0o777), (4242, 0o660));
}

#[test]
fn ctl_says_what_came_of_it_and_ends_with_it() {
    let daemon = Daemon::start(FLOW);
    let socket = daemon.path("control.sock");
    assert_eq!(ctl(&socket, "reload"), (Some(0), "reloaded\n".into(), String::new()));
    daemon.send_numbered(0, 10);
    daemon.wait_lines("all", 10);
    std::fs::rename(daemon.path("all"), daemon.path("moved")).unwrap();
    let rotated = "files are reopened at their next line\n";
    assert_eq!(ctl(&socket, "rotate"), (Some(0), rotated.into(), String::new()));
    daemon.send_numbered(10, 20);
    assert_eq!(daemon.wait_lines("all", 10), numbered(10, 20));
    let (code, said, _) = ctl(&socket, "status");
    assert_eq!(code, Some(0));
    assert!(said.lines().any(|line| line.contains("all") && line.contains("20")), "{said}");
    daemon.write_config("[output.all]\nfrm = \"in\"\n");
    let (code, _, said) = ctl(&socket, "reload");
    assert!(code == Some(1) && said.contains("frm") && said.contains("from"), "{said}");
    let (code, _, said) = ctl(&daemon.path("nowhere"), "status");
    assert!(code == Some(1) && said.contains("no daemon answers at "), "{said}");
    let (code, _, said) = ctl(&socket, "dance");
    assert!(code == Some(2) && said.contains("'dance'"), "{said}");
}

/// The sessions of the manual page: commands, and what is printed.
fn sessions() -> Vec<(String, Vec<String>)> {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("man/logweir-control.7");
    let page = std::fs::read_to_string(page).unwrap();
    let examples = page.split(".SH EXAMPLES").nth(1).unwrap();
    let plain = examples.replace("\\(aq", "'").replace("\\-", "-").replace("\\`", "`");
    let mut sessions: Vec<(String, Vec<String>)> = Vec::new();
    let shown = plain.split(".nf\n").skip(1).flat_map(|part| part.split(".fi").next());
    for line in shown.flat_map(str::lines) {
        match (line.strip_prefix("$ "), line.strip_prefix("> "), sessions.last_mut()) {
            (Some(command), ..) => sessions.push((command.into(), Vec::new())),
            (_, Some(more), Some((command, _))) => command.push_str(more),
            (None, None, Some((_, printed))) => printed.push(line.into()),
            _ => {}
        }
    }
    sessions
}

#[test]
fn the_sessions_of_the_manual_page_are_what_socat_shows() {
    let mut daemon = Daemon::prepare("");
    let text = std::fs::read_to_string(daemon.path("logweir.toml")).unwrap();
    let text = text.replace("[input.in]", "[input.squid]");
    let text = format!("{text}[output.all]\nfile = \"{}\"\n", daemon.path("all").display());
    std::fs::write(daemon.path("logweir.toml"), text).unwrap();
    daemon.run();
    if Command::new("socat").arg("-V").output().is_err() {
        crate::util::skip_missing("socat");
        return;
    }
    let sessions = sessions();
    assert_eq!(sessions.len(), 4);
    for (command, printed) in sessions {
        let socket = daemon.path("control.sock").display().to_string();
        let command = command.replace("/run/logweir/control.sock", &socket);
        let mut shell = Command::new("sh");
        let taps = command.contains("ignoreeof");
        shell.args(["-c", &command]).stdin(std::process::Stdio::null());
        let mut shell = shell.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut heard = BufReader::new(shell.stdout.take().unwrap()).lines();
        for (number, expected) in printed.iter().enumerate() {
            if taps && number == 1 {
                daemon.send(format!("{}\n", printed[2]).as_bytes());
            }
            assert_eq!(heard.next().unwrap().unwrap(), *expected, "{command}");
        }
        if taps {
            // It ends with the daemon.
            daemon.stop();
        }
        shell.wait().unwrap();
    }
}

/// A configuration with its control socket and its metrics elsewhere than usual.
fn moved(daemon: &Daemon, control: &str, metrics: &str) {
    daemon.write_config(FLOW);
    let path = daemon.path("logweir.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("control.sock\"", &format!("{control}\"\nmetrics = \"{metrics}\""));
    std::fs::write(path, text).unwrap();
}

fn answers(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[test]
fn a_reload_moves_the_socket_and_the_port_and_who_asked_for_it_hears_of_it() {
    let (first, second) = (free_port(), free_port());
    let daemon = Daemon::start(&format!("metrics = \"127.0.0.1:{first}\"\n#daemon\n{FLOW}"));
    let (old, new) = (daemon.path("control.sock"), daemon.path("deep/new.sock"));
    let mut client = Client::new(&daemon);
    moved(&daemon, "deep/new.sock", &format!("127.0.0.1:{second}"));
    assert_eq!(ctl(&old, "reload"), (Some(0), "reloaded\n".into(), String::new()));
    assert!(!old.exists() && answers(second) && !answers(first));
    // A client that was there stays; others come by the new one.
    assert_eq!(client.ask(STATUS)["ok"]["pid"], daemon.pid());
    assert_eq!(ctl(&new, "status").0, Some(0));

    // The same port of another address, by SIGHUP; and back to the first place.
    moved(&daemon, "control.sock", &format!("0.0.0.0:{second}"));
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    wait_for("the old place", || (ctl(&old, "status").0 == Some(0)).then_some(()));
    assert!(!new.exists() && answers(second));
    let nowhere = std::net::TcpStream::connect(("127.0.0.2", second));
    assert!(nowhere.is_ok(), "it is on all addresses");
}

#[test]
fn a_reload_to_a_place_that_cannot_be_had_is_refused_and_changes_nothing() {
    let port = free_port();
    let daemon = Daemon::start(&format!("metrics = \"127.0.0.1:{port}\"\n#daemon\n{FLOW}"));
    let socket = daemon.path("control.sock");
    std::fs::write(daemon.path("a-file"), "").unwrap();
    moved(&daemon, "a-file", &format!("127.0.0.1:{port}"));
    let (code, _, said) = ctl(&socket, "reload");
    assert!(code == Some(1) && said.contains("a file that is not a socket is there"), "{said}");
    assert!(said.contains("daemon.control = "), "{said}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _taken = std::net::TcpListener::bind(taken).unwrap();
    moved(&daemon, "new.sock", &taken.to_string());
    let (code, _, said) = ctl(&socket, "reload");
    assert!(code == Some(1) && said.contains(&format!("daemon.metrics = \"{taken}\"")), "{said}");
    assert!(!daemon.path("new.sock").exists(), "the new socket is gone again");

    // The port that is ours, of an address that is not.
    moved(&daemon, "control.sock", &format!("192.0.2.1:{port}"));
    let (code, _, said) = ctl(&socket, "reload");
    assert!(code == Some(1) && said.contains("daemon.metrics = \"192.0.2.1:"), "{said}");
    wait_for("the old port", || answers(port).then_some(()));
    daemon.wait_log("reload refused, the old configuration goes on");
}

#[test]
fn the_log_level_is_set_by_the_configuration_and_while_the_daemon_runs() {
    let config = |level: &str| format!("log = \"{level}\"\n#daemon\n{FLOW}");
    let mut daemon = Daemon::start(&config("warn"));
    let level = |daemon: &Daemon| {
        let table = String::from_utf8(daemon.ctl("status").stdout).unwrap();
        let head = table.lines().next().unwrap().to_string();
        head.rsplit_once("  log ").unwrap().1.to_string()
    };
    assert_eq!(level(&daemon), "warn");
    // A client that disappears is of interest only to who debugs: with its answer unread, the
    // connection is reset.
    let client_dies = |daemon: &Daemon| {
        let mut client = UnixStream::connect(daemon.path("control.sock")).unwrap();
        client.write_all(b"{\"command\":\"status\"}\n".repeat(50).as_slice()).unwrap();
        wait_for("an answer", || (client.read(&mut [0; 1]).unwrap() == 1).then_some(()));
        drop(client);
        // The daemon has noticed when it has answered somebody else.
        daemon.status();
    };
    client_dies(&daemon);
    let set = daemon.ctl_words(&["log", "debug"]);
    assert_eq!(String::from_utf8(set.stdout).unwrap(), "the log level is debug\n");
    assert_eq!(level(&daemon), "debug");
    client_dies(&daemon);
    daemon.wait_log("control: ");
    // A reload that does not change the key leaves the level alone; one that does sets it.
    assert!(daemon.ctl("reload").status.success());
    assert_eq!(level(&daemon), "debug");
    daemon.write_config(&config("error"));
    assert!(daemon.ctl("reload").status.success());
    assert_eq!(level(&daemon), "error");
    let refused = daemon.ctl_words(&["log", "loud"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("[possible values: error, warn, info, debug]"), "{said}");
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert_eq!(log.matches(" DEBUG control: ").count(), 1, "{log}");
    // What the first reload said, and neither the start, the second reload nor the end.
    assert_eq!(log.matches(" INFO ").count(), 1, "{log}");
}
