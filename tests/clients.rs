//! Real senders of syslog into `syslog` inputs. Where a program is not installed, a test says so
//! and passes.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::rsyslog::{Certificates, Rsyslog, rsyslogd};
use crate::util::{Daemon, free_port, wait_for};

/// The severities, most severe first.
const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// A daemon that takes syslog at one place, and writes each line as it came and as JSON.
struct Receiver {
    daemon: Daemon,
    /// Where it listens, if not at `socket`.
    port: String,
    /// Where it listens, if that is a file.
    socket: PathBuf,
    started: Timestamp,
}

/// A message that was received: the line, and what was found in it.
struct Message {
    line: String,
    json: Value,
}

impl Receiver {
    /// Starts one that listens by `udp`, `tcp`, `tls` or `unix`; `more` goes into its input.
    fn start(scheme: &str, more: &str) -> Self {
        let port = free_port().to_string();
        let address = match scheme {
            "unix" => "unix://{dir}/syslog".to_string(),
            _ => format!("{scheme}://127.0.0.1:{port}"),
        };
        // To the second, as that is all that some senders say.
        let started = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
        let daemon = Daemon::start(&format!(
            "[input.sys]\nsyslog = \"{address}\"\n{more}\n\
             [output.all]\nfrom = \"sys\"\nfile = \"{{dir}}/out\"\n\
             [output.json]\nfrom = \"sys\"\nfile = \"{{dir}}/json\"\nformat = \"json\"\n\
             [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
        ));
        let socket = daemon.path("syslog");
        Self { daemon, port, socket, started }
    }

    /// Where it listens, as most programs want it: an address with a port, or a path.
    fn address(&self, scheme: &str) -> String {
        match scheme {
            "unix" => self.socket.display().to_string(),
            _ => format!("127.0.0.1:{}", self.port),
        }
    }

    /// Waits until so many messages have come in all: fewer at a time than a receive buffer holds.
    fn wait_in(&self, count: usize) {
        self.daemon.wait_node("sys", |node| node.lines_in == count as u64);
    }

    /// What was received: so many messages, and no more.
    fn messages(&self, count: usize) -> Vec<Message> {
        let lines = self.daemon.wait_lines("out", count);
        let objects = self.daemon.wait_lines("json", count);
        self.wait_in(count);
        let messages: Vec<_> = lines
            .into_iter()
            .zip(objects)
            .map(|(line, object)| Message { line, json: serde_json::from_str(&object).unwrap() })
            .collect();
        for message in &messages {
            assert_eq!(message.field("input"), "sys", "{}", message.json);
            let received = message.time("received");
            let now = Timestamp::now();
            assert!(self.started <= received && received <= now, "{}", message.json);
        }
        messages
    }

    /// Whether a message was sent while this was there, as senders here share its clock.
    fn is_recent(&self, message: &Message) -> bool {
        let time = message.time("time");
        self.started <= time && time <= Timestamp::now() + SignedDuration::from_secs(1)
    }
}

impl Message {
    /// A field of text; `-` where it is not there.
    fn field(&self, name: &str) -> &str {
        self.json.get(name).map_or("-", |value| value.as_str().unwrap())
    }

    fn fields<const N: usize>(&self, names: [&str; N]) -> [&str; N] {
        names.map(|name| self.field(name))
    }

    fn time(&self, name: &str) -> Timestamp {
        self.field(name).parse().unwrap()
    }

    /// FACILITY.SEVERITY HOST APP PROCID MSGID MESSAGE
    fn parts(&self) -> String {
        let fields = self.fields(["host", "app", "procid", "msgid", "message"]);
        format!("{}.{} {}", self.field("facility"), self.field("severity"), fields.join(" "))
    }

    /// The value of a parameter in its structured data.
    fn sd(&self, id: &str, name: &str) -> Option<&str> {
        self.json.get("sd")?.get(id)?.get(name)?.as_str()
    }
}

/// The parts of each message.
fn parts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(Message::parts).collect()
}

/// This host's name, as the senders ask for it.
fn host() -> String {
    nix::unistd::gethostname().unwrap().into_string().unwrap()
}

/// Where a program is, also where only root's path has it.
fn find(name: &str, packages: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: needs {name} (Debian's {packages})");
    }
    found
}

/// A program that sends, ended when dropped.
struct Sender {
    child: Child,
    errors: tempfile::NamedTempFile,
}

impl Sender {
    fn start(command: &mut Command) -> Self {
        let errors = tempfile::NamedTempFile::new().unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors.reopen().unwrap())
            .spawn()
            .unwrap();
        Self { child, errors }
    }

    /// Runs one that ends by itself; its process id.
    fn run(program: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> u32 {
        let mut sender = Self::start(Command::new(program).args(args));
        let status = wait_for("the sender to end", || sender.child.try_wait().unwrap());
        assert!(status.success(), "{}: {status}", program.display());
        sender.child.id()
    }

    /// Asks an HTTP server for `/a?n=NUMBER`, when it is there; the first line of the answer.
    fn ask(&mut self, port: u16, number: usize) -> String {
        let mut stream = wait_for("an HTTP server", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {ended:?}");
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = format!(
            "GET /a?n={number} HTTP/1.1\r\nHost: h\r\nUser-Agent: agent {number}\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_string()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let errors = std::fs::read_to_string(self.errors.path()).unwrap_or_default();
            eprintln!("the sender said:\n{errors}");
        }
    }
}

/// How `logger` can be told to send to a port.
const LOGGER_WAYS: [(&str, &[&str]); 3] =
    [("udp", &["--udp"]), ("tcp", &["--tcp"]), ("tcp", &["--tcp", "--octet-count"])];

/// Runs `logger`; its process id.
fn logger(program: &Path, receiver: &Receiver, way: &[&str], args: &[&str]) -> u32 {
    let to = ["-t", "app", "-n", "127.0.0.1", "-P", &receiver.port];
    Sender::run(program, to.iter().chain(way).chain(args))
}

#[test]
fn logger_sends_rfc_5424_by_udp_and_tcp_and_with_octet_counts() {
    let Some(program) = find("logger", "bsdutils") else { return };
    let host = host();
    for (scheme, way) in LOGGER_WAYS {
        let receiver = Receiver::start(scheme, "");
        let send = |args: &[&str]| logger(&program, &receiver, way, args);
        send(&["-p", "local3.err", "plain"]);
        let pid = send(&["--rfc5424", "-i", "with its id"]);
        send(&[
            "--rfc5424",
            "--id=42",
            "--msgid=ID7",
            "--sd-id=zoo@123",
            "--sd-param=tiger=\"hungry\"",
            "--sd-param=z=\"a \\\"b\\\" \\]\\\\\"",
            "--sd-id=manager@123",
            "--sd-param=x=\"1\"",
            "all of it",
        ]);
        send(&["--rfc5424=notime,notq,nohost", "größe € <13>x"]);
        let messages = receiver.messages(4);
        let want = [
            format!("local3.err {host} app - - plain"),
            format!("user.notice {host} app {pid} - with its id"),
            format!("user.notice {host} app 42 ID7 all of it"),
            // Without a name, its address stands for the host.
            "user.notice 127.0.0.1 app - - größe € <13>x".to_string(),
        ];
        assert_eq!(parts(&messages), want);
        for message in &messages[..3] {
            assert!(receiver.is_recent(message), "{}", message.json);
            assert_eq!(message.sd("timeQuality", "tzKnown"), Some("1"));
        }
        let sd = |id, name| messages[2].sd(id, name);
        assert_eq!(sd("zoo@123", "tiger"), Some("hungry"));
        assert_eq!(sd("zoo@123", "z"), Some("a \"b\" ]\\"));
        assert_eq!(sd("manager@123", "x"), Some("1"));
        assert_eq!(messages[3].line, "<13>1 - - app - - - größe € <13>x");
        assert_eq!((messages[3].json.get("time"), messages[3].json.get("sd")), (None, None));
    }
}

#[test]
fn every_line_of_a_file_that_logger_sends_is_a_message() {
    let Some(program) = find("logger", "bsdutils") else { return };
    let host = host();
    for (scheme, way) in LOGGER_WAYS {
        let receiver = Receiver::start(scheme, "");
        let file = receiver.daemon.path("lines");
        let text: String = (0..100).map(|number| format!("line {number}\n")).collect();
        std::fs::write(&file, text).unwrap();
        logger(&program, &receiver, way, &[&format!("--file={}", file.display())]);
        let want = (0..100).map(|number| format!("user.notice {host} app - - line {number}"));
        assert_eq!(parts(&receiver.messages(100)), want.collect::<Vec<_>>());
    }
}

#[test]
fn a_newline_in_a_message_of_logger_is_kept_where_the_frame_tells() {
    let Some(program) = find("logger", "bsdutils") else { return };
    let host = host();
    for (scheme, way) in LOGGER_WAYS {
        let receiver = Receiver::start(scheme, "");
        logger(&program, &receiver, way, &["a\nb"]);
        // Where newlines end messages, no one can tell that this one does not.
        let want = match way == ["--tcp"] {
            false => vec![format!("user.notice {host} app - - a#012b")],
            true => vec![
                format!("user.notice {host} app - - a"),
                "user.notice 127.0.0.1 sys - - b".to_string(),
            ],
        };
        let messages = receiver.messages(want.len());
        assert_eq!(parts(&messages), want);
        let end = want[0].rsplit_once(' ').unwrap().1;
        assert!(messages[0].line.ends_with(&format!("] {end}")), "{}", messages[0].line);
    }
}

#[test]
fn logger_sends_as_of_old_by_udp_and_to_a_socket() {
    let Some(program) = find("logger", "bsdutils") else { return };
    let receiver = Receiver::start("udp", "");
    logger(&program, &receiver, &["--udp"], &["--rfc3164", "--id=7", "-p", "mail.debug", "old"]);
    let messages = receiver.messages(1);
    let host = host();
    let host = host.split('.').next().unwrap();
    assert_eq!(parts(&messages), [format!("mail.debug {host} app 7 - old")]);
    assert!(receiver.is_recent(&messages[0]), "{}", messages[0].json);

    let receiver = Receiver::start("unix", "");
    let socket = receiver.address("unix");
    let send =
        |args: &[&str]| Sender::run(&program, ["-t", "app", "-u", &socket].iter().chain(args));
    let pids = [
        send(&["local"]),
        send(&["--id=7", "-p", "daemon.crit", "a\nb"]),
        send(&["--rfc5424", "--msgid=X", "-p", "daemon.debug", "new"]),
    ];
    let messages = receiver.messages(3);
    // It names no host where it writes as of old: it is on this one.
    let host = self::host();
    let want = [
        format!("user.notice {host} app - - local"),
        format!("daemon.crit {host} app 7 - a#012b"),
        format!("daemon.debug {host} app - X new"),
    ];
    assert_eq!(parts(&messages), want);
    let uid = nix::unistd::getuid().to_string();
    for (message, pid) in messages.iter().zip(pids) {
        assert!(receiver.is_recent(message), "{}", message.json);
        // As root it gives itself out for the process that it is told to name.
        if message.field("procid") != "7" {
            assert_eq!(message.fields(["pid", "uid"]), [pid.to_string().as_str(), uid.as_str()]);
        }
    }
}

/// Lets an rsyslogd of the test's own send on 2000 messages that it is given as `inject` says, and
/// gives what came.
fn through_rsyslog(
    receiver: &Receiver,
    program: PathBuf,
    action: &str,
    inject: impl Fn(usize) -> String,
) -> Vec<Message> {
    let rsyslog = Rsyslog::start(
        program,
        &format!(
            "module(load=\"imtcp\")\n\
             ruleset(name=\"in\") {{ action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{}\" \
             action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\" {action}) }}\n\
             input(type=\"imtcp\" port=\"{{port}}\" ruleset=\"in\")\n",
            receiver.port
        ),
    );
    let mut feed = TcpStream::connect(("127.0.0.1", rsyslog.port)).unwrap();
    for first in (0..2000).step_by(100) {
        let text: String = (first..first + 100).map(|number| inject(number) + "\n").collect();
        feed.write_all(text.as_bytes()).unwrap();
        receiver.wait_in(first + 100);
    }
    receiver.messages(2000)
}

/// A message of RFC 5424 with every field, told apart by its number.
fn numbered_5424(number: usize) -> String {
    format!(
        "<{}>1 2024-05-06T07:08:09.{number:06}+02:00 edge.example app{} {number} ID{number} \
         [ex@1 n=\"{number}\" q=\"\\]\\\"\"][b@2] line {number}",
        128 + number % 64,
        number % 3
    )
}

/// Checks that all fields of [`numbered_5424`] came through.
fn check_5424(messages: &[Message]) {
    for (number, message) in messages.iter().enumerate() {
        assert_eq!(message.line, numbered_5424(number));
        let want = format!(
            "local{}.{} edge.example app{} {number} ID{number} line {number}",
            number % 64 / 8,
            SEVERITIES[number % 8],
            number % 3
        );
        assert_eq!(message.parts(), want);
        let time: Timestamp = format!("2024-05-06T05:08:09.{number:06}Z").parse().unwrap();
        assert_eq!(message.time("time"), time);
        assert_eq!(message.sd("ex@1", "n"), Some(number.to_string().as_str()));
        assert_eq!(message.sd("ex@1", "q"), Some("]\""));
    }
}

#[test]
fn omfwd_sends_every_field_of_rfc_5424_in_every_way() {
    // It ends its messages with a newline, also where it has counted them.
    let format = "template=\"RSYSLOG_SyslogProtocol23Format\"";
    for (scheme, way) in [
        ("udp", "protocol=\"udp\""),
        ("tcp", "protocol=\"tcp\""),
        ("tcp", "protocol=\"tcp\" TCP_Framing=\"octet-counted\""),
    ] {
        let Some(program) = rsyslogd(&["imtcp"]) else { return };
        let receiver = Receiver::start(scheme, "");
        let action = format!("{way} {format}");
        check_5424(&through_rsyslog(&receiver, program, &action, numbered_5424));
    }
}

#[test]
fn omfwd_sends_what_it_does_by_default() {
    for (scheme, way) in [
        ("udp", "protocol=\"udp\""),
        ("tcp", "protocol=\"tcp\""),
        ("tcp", "protocol=\"tcp\" TCP_Framing=\"octet-counted\""),
    ] {
        let Some(program) = rsyslogd(&["imtcp"]) else { return };
        let receiver = Receiver::start(scheme, "");
        let inject = |number| format!("<78>May  6 07:08:09 edge cron[{number}]: line {number}");
        let messages = through_rsyslog(&receiver, program, way, inject);
        for (number, message) in messages.iter().enumerate() {
            assert_eq!(message.line, inject(number));
            let want = format!("cron.info edge cron {number} - line {number}");
            assert_eq!(message.parts(), want);
        }
    }
}

#[test]
fn omfwd_sends_through_tls() {
    for (driver, module) in [("ossl", "lmnsd_ossl"), ("gtls", "lmnsd_gtls")] {
        let Some(program) = rsyslogd(&["imtcp", module]) else { continue };
        let Some(certificates) = Certificates::new() else { return };
        let receiver = Receiver::start(
            "tls",
            &format!(
                "tls = {{ cert = \"{}\", key = \"{}\" }}",
                certificates.path("server.pem"),
                certificates.path("server.key")
            ),
        );
        let action = format!(
            "protocol=\"tcp\" TCP_Framing=\"octet-counted\" StreamDriver=\"{driver}\" \
             StreamDriverMode=\"1\" StreamDriverAuthMode=\"x509/name\" \
             StreamDriverPermittedPeers=\"localhost\" StreamDriver.CAFile=\"{}\" \
             template=\"RSYSLOG_SyslogProtocol23Format\"",
            certificates.path("ca.pem")
        );
        check_5424(&through_rsyslog(&receiver, program, &action, numbered_5424));
    }
}

#[test]
fn loggen_sends_in_every_way_it_knows() {
    let Some(loggen) = find("loggen", "syslog-ng-core") else { return };
    let bsd: &[&str] = &[];
    let ietf: &[&str] = &["-P", "--sdata=[test name=\"value\"]"];
    for (scheme, way, format) in [
        ("udp", &["-i", "-D"][..], bsd),
        ("tcp", &["-i", "-S"], bsd),
        ("tcp", &["-i", "-S"], ietf),
        ("tcp", &["-i", "-S", "-F"], ietf),
        ("unix", &["-x", "-D"], bsd),
    ] {
        let receiver = Receiver::start(scheme, "");
        let target = match scheme {
            "unix" => vec![receiver.address("unix")],
            _ => vec!["127.0.0.1".to_string(), receiver.port.clone()],
        };
        // It sends at one go what the rate allows: no more than a receive buffer holds.
        let args = ["-Q", "-n", "100", "-r", "1000", "-s", "300"].iter().chain(way).chain(format);
        Sender::run(&loggen, args.map(ToString::to_string).chain(target));
        for (number, message) in receiver.messages(100).iter().enumerate() {
            let text = format!("seq: {number:010}, thread: 0000, runid: ");
            let parts = message.parts();
            // Its time of old has no zone, which is this host's then.
            let want = format!("auth.info localhost prg00000 1234 - {text}");
            assert!(parts.starts_with(&want), "{parts}");
            let text = message.field("message");
            assert!(text.contains(" PADDPADD") && message.line.ends_with(text), "{text}");
            let value = message.sd("test", "name");
            assert_eq!(value, (!format.is_empty()).then_some("value"));
        }
    }
}

#[test]
fn nginx_logs_every_request() {
    let Some(program) = find("nginx", "nginx-light") else { return };
    for scheme in ["udp", "unix"] {
        let receiver = Receiver::start(scheme, "");
        let address = match scheme {
            "unix" => format!("unix:{}", receiver.address("unix")),
            _ => receiver.address(scheme),
        };
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        // One process, so that ending it ends all.
        let config = format!(
            "daemon off;\nmaster_process off;\npid {{dir}}/pid;\nerror_log stderr;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n\
             access_log syslog:server={address},facility=local7,tag=nginx,severity=info;\n\
             client_body_temp_path {{dir}}/body;\nproxy_temp_path {{dir}}/proxy;\n\
             fastcgi_temp_path {{dir}}/fastcgi;\nuwsgi_temp_path {{dir}}/uwsgi;\n\
             scgi_temp_path {{dir}}/scgi;\n\
             server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }}\n}}\n"
        );
        let config = config.replace("{dir}", &dir.path().display().to_string());
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let mut nginx = Sender::start(
            Command::new(&program).args(["-e", "stderr", "-p"]).arg(dir.path()).arg("-c").arg(file),
        );
        for number in 0..50 {
            assert_eq!(nginx.ask(port, number), "HTTP/1.1 204 No Content");
            receiver.wait_in(number + 1);
        }
        // It writes its host in small letters.
        let head = format!("local7.info {} nginx - - 127.0.0.1 - - [", host().to_lowercase());
        for (number, message) in receiver.messages(50).iter().enumerate() {
            let parts = message.parts();
            let tail = format!("] \"GET /a?n={number} HTTP/1.1\" 204 0 \"-\" \"agent {number}\"");
            assert!(parts.starts_with(&head) && parts.ends_with(&tail), "{parts}");
            assert!(receiver.is_recent(message), "{}", message.json);
        }
    }
}

#[test]
fn haproxy_logs_every_request() {
    let Some(program) = find("haproxy", "haproxy") else { return };
    for scheme in ["udp", "unix", "tcp"] {
        let receiver = Receiver::start(scheme, "");
        let address = receiver.address(scheme);
        let port = free_port();
        // A stream it can send only by way of a ring.
        let logs = match scheme {
            "tcp" => format!(
                "log ring@r local0\nlog ring@s format rfc5424 local1\n\
                 ring r\nformat rfc3164\nserver r {address} log-proto octet-count\n\
                 ring s\nformat rfc5424\nserver s {address} log-proto octet-count\n"
            ),
            _ => format!("log {address} local0\nlog {address} format rfc5424 local1\n"),
        };
        let config = format!(
            "global\n{logs}\
             defaults\nmode http\nlog global\noption httplog\nretries 0\n\
             timeout connect 5s\ntimeout client 20s\ntimeout server 20s\n\
             frontend front\nbind 127.0.0.1:{port}\ndefault_backend back\n\
             backend back\nserver dead 127.0.0.1:{}\n",
            free_port()
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let mut haproxy = Sender::start(Command::new(&program).arg("-db").arg("-f").arg(file));
        for number in 0..20 {
            assert_eq!(haproxy.ask(port, number), "HTTP/1.1 503 Service Unavailable");
            // It drops what a socket does not take at once, and a Unix one holds ten messages.
            receiver.wait_in(2 * (number + 1));
        }
        let pid = haproxy.child.id().to_string();
        let messages = receiver.messages(40);
        for facility in ["local0", "local1"] {
            let is_of = |message: &&Message| message.field("facility") == facility;
            let messages: Vec<_> = messages.iter().filter(is_of).collect();
            assert_eq!(messages.len(), 20);
            for (number, message) in messages.into_iter().enumerate() {
                let fields = ["severity", "app", "procid", "msgid"];
                let want = ["info", "haproxy", pid.as_str(), "-"];
                assert_eq!(message.fields(fields), want, "{}", message.json);
                let text = message.field("message");
                let tail = format!(" \"GET /a?n={number} HTTP/1.1\"");
                assert!(text.starts_with("127.0.0.1:") && text.ends_with(&tail), "{text}");
                assert!(text.contains(" front back/dead ") && text.contains(" 503 "), "{text}");
                assert!(message.line.ends_with(&tail), "{}", message.line);
                assert!(receiver.is_recent(message), "{}", message.json);
            }
        }
    }
}

/// What Python's handler is made to send; it takes the address and the kind of socket.
const HANDLER: &str = "\
import logging, logging.handlers, socket, sys
kind, address = sys.argv[1:3]
if kind != 'unix':
    host, port = address.split(':')
    address = (host, int(port))
handler = logging.handlers.SysLogHandler(
    address, facility='local2',
    socktype=socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
handler.ident = 'app[77]: '
logger = logging.Logger('test')
logger.addHandler(handler)
logger.debug('debug')
logger.info('gr\\u00f6\\u00dfe \\u20ac')
logger.warning('two\\nlines')
logger.error('%s', 'x' * 2000)
logger.critical('bye')
if kind != 'tcp':
    handler.append_nul = False
    logger.critical('without a NUL')
handler.ident = ''
handler.append_nul = True
for number in range(100):
    logger.info('line %d', number)
handler.close()
";

#[test]
fn python_sends_messages_that_a_nul_ends() {
    let packages = "python3-minimal and libpython3-stdlib";
    let Some(python) = find("python3", packages) else { return };
    let mut import = Command::new(&python);
    import.args(["-c", "import logging.handlers"]).stderr(Stdio::null());
    if !import.status().unwrap().success() {
        eprintln!("skipped: needs Python's logging.handlers (Debian's {packages})");
        return;
    }
    for scheme in ["udp", "tcp", "unix"] {
        let more = if scheme == "tcp" { "delimiter = \"nul\"" } else { "" };
        let receiver = Receiver::start(scheme, more);
        Sender::run(&python, ["-c", HANDLER, scheme, &receiver.address(scheme)]);
        let long = "x".repeat(2000);
        let long_line = format!("<147>app[77]: {long}");
        let mut want = vec![
            ("<151>app[77]: debug", "debug", "debug"),
            ("<150>app[77]: größe €", "info", "größe €"),
            ("<148>app[77]: two#012lines", "warning", "two#012lines"),
            (&long_line, "err", &long),
            ("<146>app[77]: bye", "crit", "bye"),
        ];
        match scheme {
            // In a stream a newline ends a message all the same; what follows has no PRI.
            "tcp" => want[2] = ("<148>app[77]: two", "warning", "two"),
            _ => want.push(("<146>app[77]: without a NUL", "crit", "without a NUL")),
        }
        let mut messages = receiver.messages(106);
        if scheme == "tcp" {
            let rest = messages.remove(3);
            assert_eq!(rest.line, "lines");
            assert_eq!(rest.fields(["facility", "severity", "app"]), ["user", "notice", "sys"]);
        }
        let host = if scheme == "unix" { host() } else { "127.0.0.1".to_string() };
        let (tagged, bare) = messages.split_at(want.len());
        for (message, (line, severity, text)) in tagged.iter().zip(want) {
            assert_eq!(message.line, line);
            let fields = ["facility", "severity", "host", "app", "procid", "message"];
            let want = ["local2", severity, &host, "app", "77", text];
            assert_eq!(message.fields(fields), want, "{}", message.json);
        }
        for (number, message) in bare.iter().enumerate() {
            assert_eq!(message.line, format!("<150>line {number}"));
            assert_eq!(message.field("message"), format!("line {number}"));
        }
    }
}

/// Docker's own id of a container, which can be its tag in full.
const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What Docker's syslog driver sends with `syslog-format=rfc5424` and `rfc5424micro`, and what is
/// in it: its tag stands for APP-NAME and for MSGID, and may be longer than either may be; the app
/// is taken whole, though it is longer than RFC 5424 allows.
fn docker() -> Vec<(String, String, &'static str)> {
    let short = &CONTAINER[..12];
    let seconds = "2017-04-01T17:41:05+08:00";
    let micros = "2017-04-01T17:41:05.616647+08:00";
    [
        (30, seconds, short, "daemon.info", "GET /index.html 200"),
        (27, seconds, short, "daemon.err", "panic: runtime error"),
        (30, micros, "{taskid:aa,version:}", "daemon.info", "{\"level\":\"info\",\"n\":1}"),
        (30, micros, "web.1/0123456789ab", "daemon.info", "[notice] 7#7: ready"),
        (134, micros, CONTAINER, "local0.info", "  at indented (x.js:1)"),
        (30, "2017-04-01T09:41:05.000000Z", short, "daemon.info", "größe € \u{1b}[31mred\u{1b}[0m"),
    ]
    .into_iter()
    .map(|(pri, time, tag, is, text)| {
        let line = format!("<{pri}>1 {time} a.vm {tag} 1787791 {tag} - {text}");
        (line, format!("{is} a.vm {tag} 1787791 {tag} {text}"), time)
    })
    .collect()
}

#[test]
fn what_docker_sends_is_told_apart_frame_by_frame() {
    let receiver = Receiver::start("tcp", "");
    // A connection of each container; the last one sends as it would through TLS, with octet
    // counts that count a newline too, and one sends both ways.
    let counted = |line: &str| format!("{} {line}\n", line.len() + 1);
    let mut want = 0;
    for round in 0..3 {
        let mut stream = TcpStream::connect(receiver.address("tcp")).unwrap();
        let frames = docker().into_iter().enumerate().map(|(at, (line, ..))| match round {
            0 => line + "\n",
            1 if at % 2 == 0 => line + "\n",
            _ => counted(&line),
        });
        let bytes: String = frames.collect();
        for piece in bytes.as_bytes().chunks(37) {
            stream.write_all(piece).unwrap();
            stream.flush().unwrap();
        }
        drop(stream);
        want += docker().len();
        receiver.wait_in(want);
    }
    let messages = receiver.messages(want);
    for (message, (line, parts, time)) in messages.iter().zip((0..3).flat_map(|_| docker())) {
        assert_eq!((&message.line, message.parts()), (&line, parts));
        assert_eq!(message.time("time"), time.parse::<Timestamp>().unwrap());
        assert_eq!(message.field("source"), "127.0.0.1");
        assert!(message.json.get("sd").is_none(), "{}", message.json);
    }
}
