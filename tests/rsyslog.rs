//! A real rsyslog at the other end, from Debian's packages. Where it or one of its modules is
//! not installed, a test says so and passes.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::util::{Daemon, free_port, wait_for};

/// Where rsyslogd is, if the modules are there too.
pub fn rsyslogd(modules: &[&str]) -> Option<PathBuf> {
    let program = ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"].map(PathBuf::from);
    let program = program.into_iter().find(|path| path.exists());
    let folders: Vec<_> = ["/usr/lib", "/lib"]
        .iter()
        .filter_map(|lib| std::fs::read_dir(lib).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path().join("rsyslog")))
        .collect();
    let has = |module: &&&str| folders.iter().any(|dir| dir.join(format!("{module}.so")).exists());
    let missing = modules.iter().find(|module| !has(module));
    if program.is_none() || missing.is_some() {
        crate::util::skip_missing(&format!(
            "Debian's rsyslog with {modules:?} (missing: {missing:?})"
        ));
        return None;
    }
    program
}

/// A running rsyslogd, killed when dropped.
pub struct Rsyslog {
    program: PathBuf,
    dir: tempfile::TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl Rsyslog {
    /// Starts one; in `config` `{dir}` is its folder and `{port}` a free port.
    pub fn start(program: PathBuf, config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let text = format!("global(workDirectory=\"{{dir}}\" maxMessageSize=\"64k\")\n{config}");
        let text = text
            .replace("{dir}", &dir.path().display().to_string())
            .replace("{port}", &port.to_string());
        std::fs::write(dir.path().join("rsyslog.conf"), text).unwrap();
        let mut rsyslog = Self { program, dir, port, child: None };
        rsyslog.run();
        rsyslog
    }

    fn run(&mut self) {
        let child = Command::new(&self.program)
            .arg("-n")
            .arg("-f")
            .arg(self.dir.path().join("rsyslog.conf"))
            .arg("-i")
            .arg(self.dir.path().join("pid"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.dir.path().join("errors")).unwrap())
            .spawn()
            .unwrap();
        self.child = Some(child);
        wait_for("rsyslog to listen", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal);
            let _ = child.wait();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.end(Signal::SIGKILL);
        if std::thread::panicking() {
            let errors = std::fs::read_to_string(self.path("errors")).unwrap_or_default();
            eprintln!("rsyslog said:\n{errors}");
        }
    }
}

const RELP_SERVER: &str = "module(load=\"imrelp\")\n\
    template(name=\"bare\" type=\"string\" string=\"%rawmsg%\\n\")\n\
    ruleset(name=\"in\") { action(type=\"omfile\" file=\"{dir}/out\" template=\"bare\") }\n\
    input(type=\"imrelp\" port=\"{port}\" ruleset=\"in\" TLS)\n";

const TCP_SERVER: &str = "module(load=\"imtcp\" TLS)\n\
    template(name=\"bare\" type=\"string\" string=\"%rawmsg%\\n\")\n\
    ruleset(name=\"in\") { action(type=\"omfile\" file=\"{dir}/out\" template=\"bare\") }\n\
    input(type=\"imtcp\" port=\"{port}\" ruleset=\"in\")\n";

/// A daemon that forwards what comes by UDP from a spool.
fn sender(forward: &str, more: &str) -> Daemon {
    Daemon::start(&format!(
        "grace = \"1s\"\n#daemon\n[output.hub]\nfrom = \"in\"\nforward = \"{forward}\"\n\
         spool = {{ dir = \"{{dir}}/spool\", sync = \"batch\" }}\n{more}"
    ))
}

/// The numbers of the lines `line N` that a file holds so far, each once.
fn numbers(path: &Path) -> std::collections::BTreeSet<u64> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let number = |line: &str| line.rsplit_once("line ")?.1.trim().parse().ok();
    text.lines().filter_map(number).collect()
}

fn wait_numbers(path: &Path, count: u64) {
    wait_for(&format!("{count} lines in {}", path.display()), || {
        let found = numbers(path);
        (found.len() as u64 == count && found.last() == Some(&(count - 1))).then_some(())
    });
}

#[test]
fn imrelp_gets_every_line_as_it_is() {
    let Some(program) = rsyslogd(&["imrelp"]) else { return };
    let hub = Rsyslog::start(program, &RELP_SERVER.replace("TLS", ""));
    let edge = sender(&format!("relp://127.0.0.1:{}", hub.port), "");
    edge.send_numbered(0, 5000);
    wait_numbers(&hub.path("out"), 5000);
    edge.wait_node("hub", |node| node.lines_out == 5000 && node.lanes[0].peer.is_some());
}

#[test]
fn every_line_arrives_at_imrelp_while_it_is_ended_killed_and_started_again() {
    let Some(program) = rsyslogd(&["imrelp"]) else { return };
    let mut hub = Rsyslog::start(program, &RELP_SERVER.replace("TLS", ""));
    let edge = sender(&format!("relp://127.0.0.1:{}", hub.port), "format = \"rfc5424\"\n");
    let ends = [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGTERM];
    for (round, signal) in (0..).zip(ends) {
        edge.send_numbered(round * 2000, round * 2000 + 1000);
        // rsyslog answers before it has written: what it holds must get to its file, or
        // a SIGKILL loses what it has answered for.
        edge.wait_node("hub", |node| node.lines_out == round * 2000 + 1000);
        wait_numbers(&hub.path("out"), round * 2000 + 1000);
        hub.end(signal);
        edge.send_numbered(round * 2000 + 1000, round * 2000 + 2000);
        hub.run();
    }
    wait_numbers(&hub.path("out"), 6000);
    let text = std::fs::read_to_string(hub.path("out")).unwrap();
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("<13>1 20") && first.ends_with(" in - - - line 0"), "{first}");
}

#[test]
fn imtcp_gets_every_line_with_its_length_also_when_it_was_away() {
    let Some(program) = rsyslogd(&["imtcp"]) else { return };
    let mut hub = Rsyslog::start(program, &TCP_SERVER.replace("TLS", ""));
    let edge = sender(&format!("tcp://127.0.0.1:{}", hub.port), "format = \"rfc5424\"\n");
    edge.send_numbered(0, 2000);
    wait_numbers(&hub.path("out"), 2000);
    edge.wait_node("hub", |node| node.lines_out == 2000);
    // What comes while it is away waits in the spool. (What its TCP had acknowledged and it had
    // not read when it ended would be lost: plain TCP can promise no more.)
    hub.end(Signal::SIGTERM);
    edge.wait_node("hub", |node| node.lanes[0].peer.is_none());
    edge.send_numbered(2000, 4000);
    hub.run();
    wait_numbers(&hub.path("out"), 4000);
}

#[test]
fn omrelp_delivers_every_line_and_again_after_the_receiver_was_killed() {
    let Some(program) = rsyslogd(&["omrelp", "imtcp"]) else { return };
    let port = free_port();
    let mut hub = Daemon::start(&format!(
        "[input.edge]\nrelp = \"127.0.0.1:{port}\"\n\
         [spool.hold]\nfrom = \"edge\"\ndir = \"{{dir}}/hold\"\n\
         [output.f]\nfrom = \"hold\"\nfile = \"{{dir}}/out\"\n\
         [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
    ));
    let edge = Rsyslog::start(
        program,
        &format!(
            "module(load=\"imtcp\")\nmodule(load=\"omrelp\")\n\
             template(name=\"bare\" type=\"string\" string=\"%rawmsg%\")\n\
             ruleset(name=\"in\") {{ action(type=\"omrelp\" target=\"127.0.0.1\" \
             port=\"{port}\" template=\"bare\" action.resumeRetryCount=\"-1\" \
             action.resumeInterval=\"1\") }}\n\
             input(type=\"imtcp\" port=\"{{port}}\" ruleset=\"in\")\n"
        ),
    );
    let mut feed = TcpStream::connect(("127.0.0.1", edge.port)).unwrap();
    let mut send = |from: u64, to: u64| {
        let text: String = (from..to).map(|number| format!("<13>line {number}\n")).collect();
        feed.write_all(text.as_bytes()).unwrap();
    };
    send(0, 3000);
    wait_numbers(&hub.path("out"), 3000);
    send(3000, 4000);
    hub.signal(Signal::SIGKILL);
    hub.wait();
    send(4000, 6000);
    hub.run();
    wait_numbers(&hub.path("out"), 6000);
    assert_eq!(hub.node("edge").input.unwrap().malformed, 0);
}

/// A certificate authority, and two certificates of it, by the openssl command.
pub struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    pub fn new() -> Option<Self> {
        let there = Command::new("openssl").arg("version").stdout(Stdio::null()).status();
        if !there.is_ok_and(|status| status.success()) {
            crate::util::skip_missing("the openssl command");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let script = "set -e\n\
            openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 \
              -subj /CN=authority\n\
            for name in server client; do\n\
            openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr \
              -subj /CN=localhost\n\
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\n' > ext\n\
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
              -extfile ext -out $name.pem\n\
            done\n\
            printf 'basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n' > ext\n\
            openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days -1 \
              -extfile ext -out expired.pem\n";
        let output =
            Command::new("sh").arg("-c").arg(script).current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(Self { dir })
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub fn client(&self) -> String {
        format!(
            "tls = {{ ca = \"{}\", cert = \"{}\", key = \"{}\" }}\n",
            self.path("ca.pem"),
            self.path("client.pem"),
            self.path("client.key")
        )
    }
}

#[test]
fn relp_goes_through_tls_to_imrelp_with_certificates_both_ways() {
    let Some(program) = rsyslogd(&["imrelp"]) else { return };
    let Some(certificates) = Certificates::new() else { return };
    let tls = format!(
        "tls=\"on\" tls.caCert=\"{}\" tls.myCert=\"{}\" tls.myPrivKey=\"{}\" \
         tls.authMode=\"name\" tls.permittedPeer=[\"localhost\"]",
        certificates.path("ca.pem"),
        certificates.path("server.pem"),
        certificates.path("server.key")
    );
    for library in ["openssl", "gnutls"] {
        let load = format!("module(load=\"imrelp\" tls.tlslib=\"{library}\")");
        let config = RELP_SERVER.replace("TLS", &tls).replace("module(load=\"imrelp\")", &load);
        let hub = Rsyslog::start(program.clone(), &config);
        let edge = sender(&format!("relp+tls://127.0.0.1:{}", hub.port), &certificates.client());
        edge.send_numbered(0, 2000);
        wait_numbers(&hub.path("out"), 2000);
        edge.wait_node("hub", |node| node.lines_out == 2000);
    }
}

#[test]
fn lines_go_through_tls_to_imtcp() {
    for (driver, module) in [("ossl", "lmnsd_ossl"), ("gtls", "lmnsd_gtls")] {
        let Some(program) = rsyslogd(&["imtcp", module]) else { continue };
        let Some(certificates) = Certificates::new() else { return };
        let tls = format!(
            "streamDriver.name=\"{driver}\" streamDriver.mode=\"1\" \
             streamDriver.authMode=\"anon\""
        );
        let global = format!(
            "global(defaultNetstreamDriverCAFile=\"{}\" defaultNetstreamDriverCertFile=\"{}\" \
             defaultNetstreamDriverKeyFile=\"{}\")\n",
            certificates.path("ca.pem"),
            certificates.path("server.pem"),
            certificates.path("server.key")
        );
        let hub = Rsyslog::start(program, &(global + &TCP_SERVER.replace("TLS", &tls)));
        let edge = sender(&format!("tls://127.0.0.1:{}", hub.port), &certificates.client());
        edge.send_numbered(0, 2000);
        wait_numbers(&hub.path("out"), 2000);
        edge.wait_node("hub", |node| node.lines_out == 2000);
    }
}

#[test]
fn two_logweirs_speak_through_tls_and_a_stranger_is_refused() {
    let Some(certificates) = Certificates::new() else { return };
    let port = free_port();
    let hub = Daemon::start(&format!(
        "[input.edge]\nrelp = \"127.0.0.1:{port}\"\n\
         tls = {{ cert = \"{}\", key = \"{}\", client_ca = \"{}\" }}\n\
         [spool.hold]\nfrom = \"edge\"\ndir = \"{{dir}}/hold\"\n\
         [output.f]\nfrom = \"hold\"\nfile = \"{{dir}}/out\"\n\
         [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n",
        certificates.path("server.pem"),
        certificates.path("server.key"),
        certificates.path("ca.pem")
    ));
    let edge = sender(&format!("relp+tls://localhost:{port}"), &certificates.client());
    edge.send_numbered(0, 2000);
    assert_eq!(hub.wait_lines("out", 2000), crate::util::numbered(0, 2000));
    // One that has no certificate.
    let ca = format!("tls = {{ ca = \"{}\" }}\n", certificates.path("ca.pem"));
    let stranger = sender(&format!("relp+tls://localhost:{port}"), &ca);
    stranger.send(b"a stranger's line\n");
    let error = wait_for("a refusal", || stranger.node("hub").lanes[0].error.clone());
    assert!(error.contains("ertificate"), "{error}");
    assert_eq!(hub.node("edge").lines_in, 2000);
}

/// The fingerprint of a certificate, as the openssl command writes it.
fn fingerprint(certificates: &Certificates, name: &str, digest: &str) -> String {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", digest, "-in", &certificates.path(name)])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().split_once('=').unwrap().1.to_string()
}

#[test]
fn certificates_are_good_by_their_fingerprints_as_rsyslog_writes_them() {
    let Some(program) = rsyslogd(&["imtcp", "lmnsd_gtls"]) else { return };
    let Some(certificates) = Certificates::new() else { return };
    let tls = format!(
        "streamDriver.name=\"gtls\" streamDriver.mode=\"1\" \
         streamDriver.authMode=\"x509/fingerprint\" permittedPeer=[\"SHA1:{}\"]",
        fingerprint(&certificates, "client.pem", "-sha1")
    );
    let global = format!(
        "global(defaultNetstreamDriverCAFile=\"{}\" defaultNetstreamDriverCertFile=\"{}\" \
         defaultNetstreamDriverKeyFile=\"{}\")\n",
        certificates.path("ca.pem"),
        certificates.path("server.pem"),
        certificates.path("server.key")
    );
    let hub = Rsyslog::start(program, &(global + &TCP_SERVER.replace("TLS", &tls)));
    let tls = |wanted: &str| {
        format!(
            "tls = {{ verify = \"fingerprint\", fingerprints = {wanted}, cert = \"{}\", \
             key = \"{}\" }}\n",
            certificates.path("client.pem"),
            certificates.path("client.key")
        )
    };
    let sha256 = fingerprint(&certificates, "server.pem", "-sha256");
    let of_server =
        format!("[\"SHA1:{}\", \"SHA256:{sha256}\"]", "00:".repeat(20).trim_end_matches(':'));
    let edge = sender(&format!("tls://127.0.0.1:{}", hub.port), &tls(&of_server));
    edge.send_numbered(0, 2000);
    wait_numbers(&hub.path("out"), 2000);
    // Another one than the server's, and it is said which it is.
    let other = format!("\"SHA256:{}\"", fingerprint(&certificates, "client.pem", "-sha256"));
    let stranger = sender(&format!("tls://127.0.0.1:{}", hub.port), &tls(&other));
    let error = wait_for("a refusal", || stranger.node("hub").lanes[0].error.clone());
    assert!(error.contains(&format!("another fingerprint, SHA256:{sha256}")), "{error}");
}

#[test]
fn a_common_name_alone_is_a_name_for_rsyslog_and_is_refused_here_with_what_to_do() {
    let Some(program) = rsyslogd(&["imtcp", "lmnsd_gtls"]) else { return };
    let Some(certificates) = Certificates::new() else { return };
    let make = "set -e\n\
        openssl req -newkey rsa:2048 -nodes -keyout plain.key -out plain.csr \
          -subj /CN=plain.example.org\n\
        printf 'basicConstraints=CA:FALSE\\n' > ext\n\
        openssl x509 -req -in plain.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
          -extfile ext -out plain.pem\n";
    let folder = PathBuf::from(certificates.path("ca.pem"));
    let made = Command::new("sh").args(["-c", make]).current_dir(folder.parent().unwrap()).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (ca, plain) = (certificates.path("ca.pem"), certificates.path("plain.pem"));
    let client = format!(
        "tls = {{ ca = \"{ca}\", cert = \"{plain}\", key = \"{}\" }}\n",
        certificates.path("plain.key")
    );
    let (cert, key) = (certificates.path("server.pem"), certificates.path("server.key"));
    let tls = "streamDriver.name=\"gtls\" streamDriver.mode=\"1\" \
               streamDriver.authMode=\"x509/name\" permittedPeer=[\"plain.example.org\"]";
    let global = format!(
        "global(defaultNetstreamDriverCAFile=\"{ca}\" defaultNetstreamDriverCertFile=\"{cert}\" \
         defaultNetstreamDriverKeyFile=\"{key}\")\n"
    );
    let theirs = Rsyslog::start(program, &(global + &TCP_SERVER.replace("TLS", tls)));
    let edge = sender(&format!("tls://127.0.0.1:{}", theirs.port), &client);
    edge.send_numbered(0, 1000);
    wait_numbers(&theirs.path("out"), 1000);

    let port = free_port();
    let ours = |known: &str| {
        format!(
            "[input.edge]\nsyslog = \"tls://127.0.0.1:{port}\"\n\
             tls = {{ cert = \"{cert}\", key = \"{key}\", {known} }}\n\
             [output.f]\nfrom = \"edge\"\nfile = \"{{dir}}/out\"\n\
             [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
        )
    };
    let named = ours(&format!("client_ca = \"{ca}\", names = \"plain.example.org\""));
    let hub = Daemon::start(&named);
    let edge = sender(&format!("tls://127.0.0.1:{port}"), &client);
    edge.send_numbered(0, 1000);
    let shown = fingerprint(&certificates, "plain.pem", "-sha256");
    hub.wait_log(&format!(
        "the peer's certificate has no host's name in subjectAltName, and a common name is none: \
         have it made anew with one, or list its fingerprint, SHA256:{shown}"
    ));
    assert_eq!(hub.node("edge").lines_in, 0);
    drop(hub);
    // What the log said, done.
    let hub = Daemon::start(&ours(&format!(
        "verify = \"fingerprint\", fingerprints = \"SHA256:{shown}\""
    )));
    assert_eq!(hub.wait_lines("out", 1000), crate::util::numbered(0, 1000));
}

#[test]
fn a_client_is_known_by_the_fingerprint_of_a_certificate_that_it_made_itself() {
    let Some(certificates) = Certificates::new() else { return };
    let own = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
               -keyout own.key -out own.pem -days 2 -subj /CN=own";
    let folder = PathBuf::from(certificates.path("ca.pem"));
    let made = Command::new("sh").args(["-c", own]).current_dir(folder.parent().unwrap()).output();
    assert!(made.unwrap().status.success());
    let port = free_port();
    let hub = Daemon::start(&format!(
        "[input.edge]\nrelp = \"127.0.0.1:{port}\"\n\
         tls = {{ cert = \"{}\", key = \"{}\", verify = \"fingerprint\", \
         fingerprints = \"sha256 Fingerprint={}\" }}\n\
         [spool.hold]\nfrom = \"edge\"\ndir = \"{{dir}}/hold\"\n\
         [output.f]\nfrom = \"hold\"\nfile = \"{{dir}}/out\"\n\
         [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n",
        certificates.path("server.pem"),
        certificates.path("server.key"),
        fingerprint(&certificates, "own.pem", "-sha256"),
    ));
    let client = |name: &str| {
        let (ca, path) =
            (certificates.path("ca.pem"), |end: &str| certificates.path(&format!("{name}.{end}")));
        format!(
            "tls = {{ ca = \"{ca}\", cert = \"{}\", key = \"{}\", \
             name = [\"x.example\", \"*host\"] }}\n",
            path("pem"),
            path("key")
        )
    };
    let edge = sender(&format!("relp+tls://127.0.0.1:{port}"), &client("own"));
    edge.send_numbered(0, 1000);
    assert_eq!(hub.wait_lines("out", 1000), crate::util::numbered(0, 1000));
    let _stranger = sender(&format!("relp+tls://127.0.0.1:{port}"), &client("client"));
    let shown = fingerprint(&certificates, "client.pem", "-sha256");
    hub.wait_log(&format!("the peer's certificate has another fingerprint, SHA256:{shown}"));
    assert_eq!(hub.node("edge").lines_in, 1000);
}
