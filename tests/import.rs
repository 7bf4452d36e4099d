//! `logweir import`: configurations of other daemons do the same in logweir's words. Those of
//! tests/import are run for real: the same messages through rsyslog and through what was imported
//! leave the same files, byte for byte.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use logweir::driver::control::{Request, ask};
use logweir::engine::status::Status;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::rsyslog::rsyslogd;
use crate::util::{LOGWEIR, free_port, run, wait_for};

/// The configurations, by name, with their words for rsyslog's time.
fn corpus() -> Vec<(String, String)> {
    corpus_of("conf")
}

/// Those of syslog-ng.
fn corpus_of_syslog_ng() -> Vec<(String, String)> {
    corpus_of("ng")
}

fn corpus_of(wanted: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == wanted))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_string();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    found
}

/// Messages of every facility and severity in use, of some hosts and programs: in the old format,
/// or of the configurations that say `#@ 5424` in the new one (which rsyslog's file formats write
/// without the colon behind the program's name, and `text` with it).
fn messages(text: &str) -> Vec<String> {
    let new = text.contains("#@ 5424");
    let texts = [
        "failed login from 192.0.2.7 port 4711",
        "accepted publickey for alice",
        "connection closed by peer",
        "heartbeat 17",
        "queue active",
        "(root) CMD (run-parts /etc/cron.hourly)",
    ];
    // In names of files syslog-ng makes folders of slashes, which no message can do here.
    let mail = if text.contains("@version") { "postfix" } else { "postfix/smtpd" };
    let apps = ["sshd", "cron", mail, "kernel", "sudo", "postgres"];
    let mut messages = Vec::new();
    for facility in [0_usize, 1, 2, 3, 4, 7, 9, 10, 16, 23] {
        for severity in 0..8 {
            let at = facility * 8 + severity;
            let (host, app) = (["web1", "db2", "mx3"][at % 3], apps[at % apps.len()]);
            let pid = if at.is_multiple_of(2) { format!("[{}]", 100 + at) } else { String::new() };
            let text = texts[(at / 3) % texts.len()];
            let second = at % 60;
            messages.push(match new {
                true => format!(
                    "<{at}>1 2026-11-27T10:00:{second:02}.123456+00:00 {host} {app} {at} ID7 - \
                     {text}"
                ),
                // Some have a tab inside.
                false if at % 7 == 3 => {
                    format!("<{at}>Nov 27 10:00:{second:02} {host} {app}{pid}: {text}\tx")
                }
                false => format!("<{at}>Nov 27 10:00:{second:02} {host} {app}{pid}: {text}"),
            });
        }
    }
    if !text.contains("#@ repeats") {
        return messages;
    }
    // Most of them come again, up to four times.
    let times = (0..messages.len()).map(|at| at % 6);
    let repeated = messages.iter().zip(times).map(|(message, times)| vec![message.clone(); times]);
    repeated.flatten().collect()
}

/// Whether a UDP socket is bound to this port, as /proc/net/udp and udp6 write it.
fn is_bound(port: u16) -> bool {
    let local = format!(":{port:04X} ");
    ["/proc/net/udp", "/proc/net/udp6"].iter().any(|table| {
        let table = std::fs::read_to_string(table).unwrap_or_default();
        table.lines().any(|line| line.split(": ").nth(1).unwrap_or("").contains(&local))
    })
}

/// Sends messages in order, once their port is open: a program may open its ports one after
/// another.
fn send(port: u16, tcp: bool, messages: &[String]) {
    if tcp {
        let connect = || TcpStream::connect(("127.0.0.1", port)).ok();
        let mut stream = wait_for("the port to be open", connect);
        for message in messages {
            writeln!(stream, "{message}").unwrap();
        }
        return;
    }
    wait_for("the port to be bound", || is_bound(port).then_some(()));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for message in messages {
        socket.send_to(message.as_bytes(), ("127.0.0.1", port)).unwrap();
    }
}

/// All files of a folder, by name.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(next) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            found.insert(path.strip_prefix(folder).unwrap().to_path_buf(), text);
        }
    }
    // An empty file is one that was opened early.
    found.retain(|_, text| !text.is_empty());
    found
}

/// A process that is killed with its test.
struct Killed(Child);

impl Killed {
    fn end(&mut self) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGTERM).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn filled(text: &str, dir: &Path, port: u16) -> String {
    text.replace("{dir}", &dir.display().to_string()).replace("{port}", &port.to_string())
}

/// What rsyslog makes of the messages.
fn through_rsyslog(program: &Path, text: &str, tcp: bool) -> BTreeMap<PathBuf, String> {
    let (dir, port, ready) = (tempfile::tempdir().unwrap(), free_port(), free_port());
    let own = dir.path().join("own");
    let out = dir.path().join("out");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::create_dir_all(&out).unwrap();
    let sentinel =
        format!(":programname, isequal, \"sentinel\" {0}/sentinel\n& stop\n", own.display());
    let before = "module(load=\"imtcp\")\nruleset(name=\"ready\") { stop }\n";
    let before = if text.contains("module(load=\"imtcp\")") { &before[21..] } else { before };
    let listen = format!("input(type=\"imtcp\" port=\"{ready}\" ruleset=\"ready\")\n");
    let all = match text.contains("#SENTINEL") {
        true => text.replace("#SENTINEL", &sentinel),
        false => format!("{sentinel}{text}"),
    };
    // An input comes behind its module.
    let all = format!("{before}{}\n{listen}", filled(&all, &out, port));
    let config = own.join("rsyslog.conf");
    std::fs::write(&config, all).unwrap();
    let child = Command::new(program)
        .args(["-n", "-f"])
        .arg(&config)
        .arg("-i")
        .arg(own.join("pid"))
        .env("TZ", "UTC")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(own.join("errors")).unwrap())
        .spawn()
        .unwrap();
    let mut rsyslog = Killed(child);
    wait_for("rsyslog to listen", || TcpStream::connect(("127.0.0.1", ready)).ok());
    let mut messages = messages(text);
    messages.push("<13>Nov 27 10:00:00 h sentinel: the end".into());
    send(port, tcp, &messages);
    wait_for("rsyslog's sentinel", || {
        std::fs::metadata(own.join("sentinel")).is_ok_and(|data| data.len() > 0).then_some(())
    });
    rsyslog.end();
    files(&out)
}

/// What syslog-ng makes of them.
fn through_syslog_ng(program: &Path, text: &str, tcp: bool) -> BTreeMap<PathBuf, String> {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let (own, out) = (dir.path().join("own"), dir.path().join("out"));
    std::fs::create_dir_all(&own).unwrap();
    std::fs::create_dir_all(&out).unwrap();
    let sentinel = format!(
        "\nfilter f_sentinel {{ program(\"sentinel\"); }};\n\
         log {{ source(s_net); filter(f_sentinel); destination {{ file(\"{}/sentinel\"); }}; \
         flags(final); }};\nlog {{",
        own.display()
    );
    let config = own.join("syslog-ng.conf");
    std::fs::write(&config, filled(&text.replacen("\nlog {", &sentinel, 1), &out, port)).unwrap();
    let root = std::env::var_os("LOGWEIR_SYSLOG_NG_ROOT").map(PathBuf::from);
    let mut command = Command::new(program);
    if let Some(root) = root {
        let find = |name: &str| -> Vec<PathBuf> {
            let found = Command::new("find").arg(&root).args(["-name", name]).output().unwrap();
            let found = String::from_utf8(found.stdout).unwrap();
            found.lines().map(|path| Path::new(path).parent().unwrap().to_path_buf()).collect()
        };
        command.env("LD_LIBRARY_PATH", std::env::join_paths(find("*.so*")).unwrap());
        command.arg("--module-path").arg(&find("libaffile.so")[0]);
    }
    let child = command
        .args(["-F", "--no-caps", "-f"])
        .arg(&config)
        .arg("-R")
        .arg(own.join("persist"))
        .arg("-p")
        .arg(own.join("pid"))
        .arg("-c")
        .arg(own.join("ctl"))
        .env("TZ", "UTC")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(own.join("errors")).unwrap())
        .spawn()
        .unwrap();
    let mut syslog_ng = Killed(child);
    let mut messages = messages(text);
    messages.push("<13>Nov 27 10:00:00 h sentinel: the end".into());
    wait_for("syslog-ng to run", || {
        let ended = syslog_ng.0.try_wait().unwrap();
        let said = std::fs::read_to_string(own.join("errors")).unwrap_or_default();
        assert!(ended.is_none(), "{text}\n{said}");
        own.join("ctl").exists().then_some(())
    });
    send(port, tcp, &messages);
    wait_for("syslog-ng's sentinel", || {
        std::fs::metadata(own.join("sentinel")).is_ok_and(|data| data.len() > 0).then_some(())
    });
    syslog_ng.end();
    files(&out)
}

/// Where syslog-ng is.
fn syslog_ng() -> Option<PathBuf> {
    let root = std::env::var_os("LOGWEIR_SYSLOG_NG_ROOT").map(PathBuf::from).unwrap_or_default();
    let program = Path::new("/").join(root.join("usr/sbin/syslog-ng"));
    if program.exists() {
        return Some(program);
    }
    crate::util::skip_missing("syslog-ng");
    None
}

/// What the imported configuration makes of them.
fn through_logweir(text: &str, tcp: bool) -> BTreeMap<PathBuf, String> {
    through_logweir_from("rsyslog", text, tcp)
}

fn through_logweir_from(other: &str, text: &str, tcp: bool) -> BTreeMap<PathBuf, String> {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let own = dir.path().join("own");
    let out = dir.path().join("out");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::create_dir_all(&out).unwrap();
    let theirs = own.join("rsyslog.conf");
    std::fs::write(&theirs, filled(text, &out, port)).unwrap();
    let imported = run(&["import", other, theirs.to_str().unwrap()], b"");
    let control = own.join("control.sock");
    let config = own.join("logweir.toml");
    let imported = String::from_utf8(imported.stdout).unwrap();
    let daemon = format!("[daemon]\ncontrol = \"{}\"\n", control.display());
    std::fs::write(&config, format!("{daemon}{imported}")).unwrap();
    let child = Command::new(LOGWEIR)
        .args(["run", "-c"])
        .arg(&config)
        .env("TZ", "UTC")
        .stderr(std::fs::File::create(own.join("errors")).unwrap())
        .spawn()
        .unwrap();
    let mut logweir = Killed(child);
    wait_for("logweir to answer", || {
        let ended = logweir.0.try_wait().unwrap();
        let said = std::fs::read_to_string(own.join("errors")).unwrap_or_default();
        assert!(ended.is_none(), "{imported}\n{said}");
        ask(&control, Request::Status).ok()
    });
    let messages = messages(text);
    send(port, tcp, &messages);
    wait_for("logweir to receive all", || {
        let status = ask(&control, Request::Status).unwrap();
        let status: Status = serde_json::from_value(status).unwrap();
        let inputs = status.nodes.iter().filter(|node| node.input.is_some());
        let received: u64 = inputs.map(|node| node.lines_in).sum();
        (received == messages.len() as u64).then_some(())
    });
    logweir.end();
    files(&out)
}

fn import(file: &Path) -> Output {
    run(&["import", "rsyslog", file.to_str().unwrap()], b"")
}

/// How many things a configuration says that cannot be carried over.
fn left(text: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix("#@ left "));
    line.map(|count| count.trim().parse().unwrap())
}

#[test]
fn what_is_imported_is_accepted_and_says_what_was_left() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in corpus() {
        let file = dir.path().join(format!("{name}.conf"));
        std::fs::write(&file, filled(&text, dir.path(), 5140)).unwrap();
        let output = import(&file);
        let made = String::from_utf8(output.stdout.clone()).unwrap();
        let lefts = made.lines().filter(|line| line.starts_with("# LEFT ")).count();
        assert_eq!(output.status.code(), Some(i32::from(lefts > 0)), "{name}: {made}");
        if let Some(most) = left(&text) {
            assert!(lefts <= most, "{name}: {made}");
        } else if !text.contains("#@ only check") {
            assert_eq!(lefts, 0, "{name}: {made}");
        }
        let checked = run(&["check", "-c", "/dev/stdin"], made.as_bytes());
        let said = String::from_utf8(checked.stderr).unwrap();
        assert_eq!(checked.status.code(), Some(0), "{name}: {said}\n{made}");
    }
}

#[test]
fn the_same_messages_leave_the_same_files() {
    let Some(program) = rsyslogd(&["imudp", "imtcp", "imptcp"]) else { return };
    let mut wrong = Vec::new();
    for (name, text) in corpus() {
        if text.contains("#@ only check") {
            continue;
        }
        let tcp = text.contains("#@ tcp");
        let theirs = through_rsyslog(&program, &text, tcp);
        assert!(!theirs.is_empty(), "{name}: rsyslog writes nothing");
        let ours = through_logweir(&text, tcp);
        compare(&name, &text, (&theirs, &ours), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_same_messages_through_syslog_ng_leave_the_same_files() {
    let Some(program) = syslog_ng() else { return };
    let mut wrong = Vec::new();
    for (name, text) in corpus_of_syslog_ng() {
        let tcp = text.contains("#@ tcp");
        let theirs = through_syslog_ng(&program, &text, tcp);
        assert!(!theirs.is_empty(), "{name}: syslog-ng writes nothing");
        let ours = through_logweir_from("syslog-ng", &text, tcp);
        compare(&name, &text, (&theirs, &ours), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Adds what differs between the files of two programs.
fn compare(
    name: &str,
    text: &str,
    (theirs, ours): (&BTreeMap<PathBuf, String>, &BTreeMap<PathBuf, String>),
    wrong: &mut Vec<String>,
) {
    // What one file takes from several nodes is mixed within a batch.
    let mixed = text.contains("#@ any order");
    let names: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    for file in names {
        let (theirs, ours) = (theirs.get(file), ours.get(file));
        if theirs != ours {
            let lines = |text: Option<&String>| -> Vec<String> {
                text.map_or_else(Vec::new, |text| text.lines().map(str::to_string).collect())
            };
            let (mut theirs, mut ours) = (lines(theirs), lines(ours));
            if mixed {
                theirs.sort();
                ours.sort();
            }
            if theirs == ours {
                continue;
            }
            let at = theirs.iter().zip(&ours).position(|(one, other)| one != other);
            let at = at.unwrap_or_else(|| theirs.len().min(ours.len()));
            wrong.push(format!(
                "{name}: {}: line {at} of {} and {}:\n  theirs {:?}\n  ours   {:?}",
                file.display(),
                theirs.len(),
                ours.len(),
                theirs.get(at),
                ours.get(at)
            ));
        }
    }
}

#[test]
fn a_hosts_own_messages_are_imported_whole() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/38-host-of-old.conf");
    let output = import(&file);
    let made = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{made}");
    for lines in [
        "[input.kernel]\nkernel = true\n",
        "[input.mark]\nmark = \"900s\"\n",
        "[filter.repeats]\nfrom = [\"local\", \"kernel\", \"mark\"]\nsqueeze = \"30s\"\n",
        "severity = \"emerg\"\nusers = \"*\"\n",
    ] {
        assert!(made.contains(lines), "{lines}\n{made}");
    }
}

/// What is imported of a text, which has to be left in so many things.
fn imported(text: &str, lefts: usize) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rsyslog.conf");
    std::fs::write(&file, text).unwrap();
    let output = import(&file);
    let made = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(i32::from(lefts > 0)), "{made}");
    assert_eq!(made.matches("# LEFT ").count(), lefts, "{made}");
    made
}

#[test]
fn lines_of_followed_files_become_messages_with_rsyslogs_tag_and_priority() {
    let made = imported(
        "module(load=\"imfile\")\n\
         input(type=\"imfile\" file=\"/srv/a.log\" tag=\"shop:\")\n\
         $InputFileName /srv/b.log\n$InputFileTag other:\n$InputFileFacility local3\n\
         $InputFileSeverity error\n$InputRunFileMonitor\n\
         if $programname == \"shop\" then /var/log/shop\n*.* /var/log/all\n",
        0,
    );
    for lines in [
        "[input.shop]\nfacility = \"local0\"\nseverity = \"notice\"\napp = \"shop\"\n\
         tail = \"/srv/a.log\"\nas = \"message\"\n",
        "[input.other]\nfacility = \"local3\"\nseverity = \"error\"\napp = \"other\"\n\
         tail = \"/srv/b.log\"\nas = \"message\"\n",
        "program = \"shop\"\nfile = \"/var/log/shop\"\n",
    ] {
        assert!(made.contains(lines), "{lines}\n{made}");
    }
}

/// Waits for lines of a file that name this program, and ends who writes it; without their times.
fn shop_lines(file: &Path, count: usize, mut writer: Killed) -> Vec<String> {
    let lines = || -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(_, rest)| rest.to_string()).filter(|line| line.contains("shop")).collect()
    };
    wait_for("the lines of the file", || (lines().len() >= count).then_some(()));
    writer.end();
    lines()
}

#[test]
fn lines_of_followed_files_are_written_as_rsyslog_writes_them() {
    let Some(program) = rsyslogd(&["imfile"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("shop.log"), "first line\n<13> a second one: \\n\nthird\n").unwrap();
    let text = |out: &str| {
        let folder = dir.path().display();
        format!(
            "global(workDirectory=\"{folder}\")\nmodule(load=\"imfile\")\n\
             input(type=\"imfile\" file=\"{folder}/shop.log\" tag=\"shop:\" \
             facility=\"local3\" severity=\"warning\")\n\
             if $programname == \"shop\" and prifilt(\"local3.=warning\") then {folder}/{out}\n\
             mail.* {folder}/none\n"
        )
    };
    std::fs::write(path("rsyslog.conf"), text("theirs")).unwrap();
    let mut command = Command::new(program);
    command.arg("-n").arg("-f").arg(path("rsyslog.conf")).arg("-i").arg(path("pid"));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let theirs = shop_lines(&path("theirs"), 3, Killed(child));
    let made = imported(&text("ours"), 0);
    let daemon =
        format!("[daemon]\ncontrol = \"{0}/control\"\nstate = \"{0}\"\n", dir.path().display());
    std::fs::write(path("logweir.toml"), format!("{daemon}{made}")).unwrap();
    let mut command = Command::new(LOGWEIR);
    command.args(["run", "-c"]).arg(path("logweir.toml")).stderr(Stdio::null());
    let ours = shop_lines(&path("ours"), 3, Killed(command.spawn().unwrap()));
    assert_eq!(ours, theirs);
    assert!(!path("none").exists() || std::fs::read(path("none")).unwrap().is_empty());
}

#[test]
fn a_peer_for_when_another_fails_is_a_further_peer_of_the_same_output() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/52-two-hubs.conf");
    let made = String::from_utf8(import(&file).stdout).unwrap();
    for peers in [
        "forward = [\"tcp://hub1.example.org:6514\", \"tcp://hub2.example.org:6514\", \
         \"tcp://[2001:db8::7]:6514\"]\n",
        "forward = [\"tcp://mail1.example.org:514\", \"tcp://mail2.example.org:514\"]\n",
    ] {
        assert!(made.contains(peers), "{peers}\n{made}");
    }
    assert!(!made.contains("/var/log/no-hub"), "{made}");
    assert!(made.contains("an action for when to-hub1-example-org fails"), "{made}");
}

#[test]
fn messages_of_the_host_itself_are_told_from_those_of_others() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/51-own-and-others.conf");
    let made = String::from_utf8(import(&file).stdout).unwrap();
    for lines in [
        "[output.remote]\nfrom = [\"local\", \"udp\"]\nsource = [\"~.\", \"!127.0.0.1\"]\n\
         file = \"/var/log/remote/{source}/%Y-%m-%d.log\"\ntime_zone = \"local\"\n",
        "source = [\"*\", \"!127.0.0.1\", \"!~.\"]\n",
        "source = \"127.0.0.1\"\n",
    ] {
        assert!(made.contains(lines), "{lines}\n{made}");
    }
}

#[test]
fn what_cannot_be_carried_over_is_left_with_its_place_and_nothing_behind_it_changes() {
    let made = imported(
        "module(load=\"imudp\")\ninput(type=\"imudp\" port=\"514\")\n\
         set $.x = \"a;\" &\n  $msg;\n\
         foreach ($.i in $!list) do {\n  /var/log/each\n  stop\n}\n\
         if $.x == \"b\" then {\n  /var/log/b\n  stop\n}\n\
         $template Short,\"%msg:1:20%\\n\"\n\
         *.* /var/log/all;Short # all\n",
        4,
    );
    for left in [
        ":3: set $.x = \"a;\" &",
        ":5: foreach ($.i in $!list) do: a filter with `run`",
        ":9: if $.x == \"b\": ",
        ":14: the template Short: it has %msg:1:20%: choose another `format`",
    ] {
        assert!(made.contains(left), "{left}\n{made}");
    }
    assert!(
        made.ends_with(
            "[output.all]\nfrom = \"udp\"\nfile = \"/var/log/all\"\n\
                            format = \"text\"\n"
        ),
        "{made}"
    );
}

#[test]
fn every_setting_is_carried_over_or_named() {
    let made = imported(
        "$ModLoad imuxsock\n$OmitLocalLogging on\n$ModLoad imjournal\n$PrivDropToUser syslog\n\
         $WorkDirectory /var/spool/rsyslog\n$MaxMessageSize 256k\n$AllowedSender TCP, 10.0.0.0/8\n\
         $ModLoad imtcp\n$InputTCPMaxSessions 3000\n$InputTCPServerRun 514\n\
         $SomethingNew 1\n*.* @@(o)hub:514\n",
        1,
    );
    for line in [
        "# LEFT ",
        "$somethingnew 1: see logweir.toml(5)",
        "which nothing here needs: $privdroptouser, $workdirectory.\n",
        "journal = true\n",
        "syslog = \"tcp://0.0.0.0:514\"\nescape = \"control\"\nmax_message = \"256KiB\"\n\
         max_connections = 3000\n",
        "source = \"10.0.0.0/8\"\n",
        "forward = \"tcp://hub:514\"\nformat = \"rfc3164\"\n",
    ] {
        assert!(made.contains(line), "{line}\n{made}");
    }
    assert!(!made.contains("/dev/log"), "{made}");
}

#[test]
fn a_queue_of_old_is_a_spool_of_the_next_action_alone() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/42-queue-of-old.conf");
    let output = import(&file);
    let made = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{made}");
    let spool = "spool = { dir = \"/var/spool/logweir/hub\", max_size = \"2GiB\" }";
    assert_eq!(made.matches(spool).count(), 1, "{made}");
    let tls = "tls = { ca = \"/etc/ssl/hub.pem\", name = [\"*.hub.example.org\"] }";
    assert!(made.contains(tls), "{made}");
}

#[test]
fn included_files_are_read_in_their_order_below_the_root() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("etc/rsyslog.d");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in [
        ("20-b.conf", "mail.* /var/log/b\n"),
        ("10-a.conf", "input(type=\"imudp\" port=\"514\")\nmail.* /var/log/a\n"),
        ("30-c.txt", "mail.* /var/log/c\n"),
        (".hidden.conf", "mail.* /var/log/d\n"),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let main = root.path().join("etc/rsyslog.conf");
    let text = "module(load=\"imudp\")\n$IncludeConfig /etc/rsyslog.d/*.conf\n\
                include(file=\"/etc/none.conf\")\n";
    std::fs::write(&main, text).unwrap();
    let root = root.path().to_str().unwrap();
    let output = run(&["import", "rsyslog", main.to_str().unwrap(), "--root", root], b"");
    let made = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(made.contains("include /etc/none.conf: there is no such file"), "{made}");
    let files: Vec<_> = made.lines().filter(|line| line.starts_with("file = ")).collect();
    assert_eq!(files, ["file = \"/var/log/a\"", "file = \"/var/log/b\""]);
    // A file that includes itself ends.
    std::fs::write(&main, format!("$IncludeConfig {}\n", main.display())).unwrap();
    let output = run(&["import", "rsyslog", main.to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_configuration_of_udp2log_is_imported_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("udp2log");
    let path = file.to_str().unwrap();
    std::fs::write(
        &file,
        "# all\nfile 1 /log/all%.log\nflush pipe 1000 awk '{print \"x\"}' >>/l\n",
    )
    .unwrap();
    let output = run(&["import", "udp2log", path], b"");
    let made = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{made}");
    let wanted = "[input.udp2log]\nudp = \"0.0.0.0:8420\"\n\n\
                  # line 2\n[output.all]\nfrom = \"udp2log\"\nfile = \"/log/all%%.log\"\n\
                  mode = \"0644\"\n\n\
                  # line 3\n[output.awk]\nfrom = \"udp2log\"\nsample = 1000\n\
                  pipe = \"exec awk '{print \\\"x\\\"}' >>/l\"\n";
    assert!(made.ends_with(wanted), "{made}");
    std::fs::write(&file, "file 1 /log/{a}\n").unwrap();
    let output = run(&["import", "udp2log", path], b"");
    assert_eq!(output.status.code(), Some(1));
    std::fs::write(&file, "file x /log/a\n").unwrap();
    let output = run(&["import", "udp2log", path], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("udp2log:1:6: error: "));
}

/// A configuration as syslog-ng's own packages ship it, with a network and a hub.
const SYSLOG_NG: &str = r#"@version: 3.38
@include "scl.conf"
options { create-dirs(yes); perm(0640); dir-perm(0750); use-dns(no); };
source s_net { network(ip("127.0.0.1") port({port}) transport("udp")); };
source s_unused { internal(); };
template t_plain { template("$HOST $PROGRAM: $MSG\n"); };
filter f_auth { facility(auth, authpriv); };
filter f_worse { level(err..emerg); };
filter f_cron { program("^cron") and not host("web1" type(string)); };
filter f_rest { not filter(f_auth) and not facility(mail); };
destination d_auth { file("{dir}/auth" template(t_plain)); };
destination d_cron { file("{dir}/cron"); };
destination d_hosts { file("{dir}/hosts/$HOST/$PROGRAM.log"
    template("${ISODATE} ${HOST} ${MSGHDR}${MSG}\n")); };
destination d_worse { file("{dir}/worse" perm(0600)); };
log { source(s_net); filter(f_cron); destination(d_cron); flags(final); };
log { source(s_net); filter(f_auth); destination(d_auth); };
log { source(s_net); filter(f_worse); filter(f_rest); destination(d_worse); };
log { source(s_net); filter(f_rest); destination(d_hosts); };
"#;

fn import_syslog_ng(text: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("syslog-ng.conf");
    std::fs::write(&file, text).unwrap();
    let output = run(&["import", "syslog-ng", file.to_str().unwrap()], b"");
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_configuration_of_syslog_ng_does_the_same() {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let out = dir.path().join("out");
    let (code, made) = import_syslog_ng(&filled(SYSLOG_NG, &out, port));
    assert_eq!(code, Some(0), "{made}");
    let (config, control) = (dir.path().join("logweir.toml"), dir.path().join("sock"));
    let daemon = format!("[daemon]\ncontrol = \"{}\"\n", control.display());
    std::fs::write(&config, format!("{daemon}{made}")).unwrap();
    let errors = std::fs::File::create(dir.path().join("errors")).unwrap();
    let child = Command::new(LOGWEIR).args(["run", "-c"]).arg(&config).stderr(errors).spawn();
    let mut logweir = Killed(child.unwrap());
    wait_for("logweir to answer", || ask(&control, Request::Status).ok());
    let messages = messages("");
    send(port, false, &messages);
    wait_for("logweir to receive all", || {
        let status: Status =
            serde_json::from_value(ask(&control, Request::Status).unwrap()).unwrap();
        let received: u64 =
            status.nodes.iter().filter(|node| node.input.is_some()).map(|node| node.lines_in).sum();
        (received == messages.len() as u64).then_some(())
    });
    logweir.end();
    // Facility, severity, host, program and text of each message.
    let parsed: Vec<_> = messages
        .iter()
        .map(|message| {
            let (pri, rest) = message[1..].split_once('>').unwrap();
            let pri: usize = pri.parse().unwrap();
            let words: Vec<_> = rest.splitn(5, ' ').collect();
            let (tag, text) = words[4].split_once(": ").unwrap();
            (pri / 8, pri % 8, words[3], tag.split('[').next().unwrap(), tag, text, rest)
        })
        .collect();
    let is_cron = |app: &str, host: &str| app.starts_with("cron") && host != "web1";
    let left: Vec<_> = parsed.iter().filter(|one| !is_cron(one.3, one.2)).collect();
    let files = files(&out);
    let lines = |name: &str| -> Vec<String> {
        files.get(Path::new(name)).map_or("", |text| text).lines().map(str::to_string).collect()
    };
    let cron: Vec<_> =
        parsed.iter().filter(|one| is_cron(one.3, one.2)).map(|one| one.6.to_string()).collect();
    assert_eq!(lines("cron"), cron);
    let auth = left.iter().filter(|one| [4, 10].contains(&one.0));
    let auth: Vec<_> = auth.map(|one| format!("{} {}: {}", one.2, one.3, one.5)).collect();
    assert_eq!(lines("auth"), auth);
    let rest: Vec<_> = left.iter().filter(|one| ![2, 4, 10].contains(&one.0)).collect();
    let worse: Vec<_> = rest.iter().filter(|one| one.1 <= 3).map(|one| one.6.to_string()).collect();
    assert_eq!(lines("worse"), worse);
    let of_hosts: usize = files
        .iter()
        .filter(|(name, _)| name.starts_with("hosts"))
        .map(|(_, text)| text.lines().count())
        .sum();
    assert_eq!(of_hosts, rest.len());
    assert!(lines("hosts/web1/sshd.log")[0].contains(" web1 sshd"), "{files:?}");
    let mode = |name: &str| {
        std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(out.join(name)).unwrap().permissions(),
        ) & 0o777
    };
    assert_eq!((mode("worse"), mode("cron"), mode("hosts/web1")), (0o600, 0o640, 0o750));
}

#[test]
fn what_syslog_ng_has_and_logweir_not_is_left_with_what_to_do() {
    let text = r#"@version: 4.2
@include "/etc/syslog-ng/none/*.conf"
source s_local { system(); internal(); };
source s_tls {
    network(port(6514) transport("tls")
        tls(key-file("/k.pem") cert-file("/c.pem") ca-file("/ca.pem")
            peer-verify(required-trusted)));
    syslog(transport("tls") port(6515)
        tls(key-file("/k.pem") cert-file("/c.pem")
            trusted-keys("SHA1:E1:2D:53:2B:7C:6B:8A:29:A2:76:C8:64:36:0B:08:4B:7A:F1:9E:9D")));
    amqp(host("h"));
};
source s_files {
    wildcard-file(base-dir("/srv/log/") filename-pattern("*.log") recursive(yes));
    file("/proc/kmsg");
};
source s_more { unix-dgram("/run/more"); };
rewrite r_x { subst("a", "b", value("MESSAGE") flags("global")); };
destination d_hub { syslog("hub.example.org" port(6514) transport("tls")
    tls(ca-file("/ca.pem")) disk-buffer(disk-buf-size(1073741824) reliable(yes))); };
destination d_net { network("10.0.0.1" port(514)); };
destination d_users { usertty("*"); };
destination d_db { sql(type(mysql)); };
filter f_tags { tags("x"); };
log { source(s_local); source(s_tls); source(s_files); destination(d_hub); flags(flow-control); };
log { source(s_local); filter(f_tags); destination(d_net); };
log { source(s_local); rewrite(r_x); parser(p_x); destination(d_net); destination(d_db); };
log { source(s_local); filter(none); destination(d_net); };
log { source(s_more); destination(d_users); flags(fallback, strange); };
"#;
    let (code, made) = import_syslog_ng(text);
    assert_eq!(code, Some(1));
    let lefts: Vec<_> = made.lines().filter(|line| line.starts_with("# LEFT ")).collect();
    for what in [
        "@include /etc/syslog-ng/none/*.conf: there is no such file",
        "rewrite subst(a b): a filter with run = \"sed -u -E 's/a/b/g'\"",
        "source amqp(): logweir has no source like amqp()",
        "filter: tags(): a filter with selectors",
        "parser in a log path: fields of syslog are known",
        "destination sql(): pipe the lines",
        "filter: filter(none): a filter with selectors",
        "flags(strange): filters with selectors",
    ] {
        assert!(lefts.iter().any(|left| left.contains(what)), "{what}\n{made}");
    }
    assert_eq!(lefts.len(), 8, "{made}");
    for line in [
        "journal = true",
        "kernel = true",
        "tail = \"/srv/log/**/*.log\"",
        "syslog = \"tls://0.0.0.0:6514\"",
        "tls = { cert = \"/c.pem\", key = \"/k.pem\", client_ca = \"/ca.pem\" }",
        "verify = \"fingerprint\", fingerprints = [\"SHA1:E1:",
        "forward = \"tls://hub.example.org:6514\"",
        "format = \"rfc5424\"",
        "spool = { dir = \"/var/spool/logweir/hub.example.org\", max_size = \"1073741824B\" }",
        "forward = \"tcp://10.0.0.1:514\"",
        "framing = \"newline\"",
        "format = \"rfc3164\"",
        "users = \"*\"",
    ] {
        assert!(made.contains(line), "{line}\n{made}");
    }
    let checked = run(&["check", "-c", "/dev/stdin"], made.as_bytes());
    assert_eq!(checked.status.code(), Some(0), "{made}");
    let (code, _) = import_syslog_ng("source s {");
    assert_eq!(code, Some(2));
}
