//! Syslog inputs: every transport, every kind of bad sender, and lines told apart by their
//! fields.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::rsyslog::Certificates;
use crate::util::{Daemon, free_port, numbered, wait_for};

/// A daemon with a syslog input `sys` and more; `{at}` is the address of the input.
fn daemon(scheme: &str, more: &str) -> (Daemon, u16) {
    let port = free_port();
    let text = format!("[input.sys]\nsyslog = \"{scheme}://127.0.0.1:{port}\"\n{more}");
    (Daemon::start(&text), port)
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Waits until the daemon has hung up.
fn wait_for_end(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A connection that is reset has ended as well.
    let _ = stream.read_to_end(&mut rest);
}

#[test]
fn a_message_is_a_line_and_can_forge_no_other() {
    let all = "[output.all]\nfrom = \"sys\"\nfile = \"{dir}/all\"\n";
    let (daemon, port) = daemon("udp", all);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let messages: [&[u8]; 7] = [
        b"<13>one",
        b"<13>two\n<13>forged\n",
        b"",
        b"\n",
        b"<999>bad pri",
        b"\xff\xfe no pri\0",
        b"<13>last\r\n",
    ];
    for message in messages {
        socket.send_to(message, ("127.0.0.1", port)).unwrap();
    }
    daemon.wait_node("all", |node| node.lines_out == 5);
    let want: &[u8] = b"<13>one\n<13>two#012<13>forged\n<999>bad pri\n\xff\xfe no pri\n<13>last\n";
    assert_eq!(std::fs::read(daemon.path("all")).unwrap(), want);
    let node = daemon.node("sys");
    let input = node.input.unwrap();
    assert_eq!((input.datagrams, input.empty_datagrams), (7, 2));
    let faults = node.faults.unwrap();
    assert_eq!((faults.no_pri, faults.bad_pri, faults.sum()), (1, 1, 2));
}

#[test]
fn what_becomes_of_control_characters_is_the_users_choice() {
    for (escape, want) in [
        ("control", &["<13>a#011b#012c#033[0m"][..]),
        ("split", &["<13>a\tb", "c\u{1b}[0m"]),
        ("newline", &["<13>a\tb#012c\u{1b}[0m"]),
    ] {
        let more = format!(
            "escape = \"{escape}\"\n[output.all]\nfrom = \"sys\"\nfile = \"{{dir}}/all\"\n"
        );
        let (daemon, port) = daemon("tcp", &more);
        connect(port).write_all(b"13 <13>a\tb\nc\x1b[0m").unwrap();
        assert_eq!(daemon.wait_lines("all", want.len()), want, "{escape}");
    }
}

#[test]
fn lines_are_told_apart_by_their_fields() {
    let mut config = String::new();
    for (name, selectors) in [
        ("severe", "severity = \"err\""),
        ("exactly", "severity = \"=warning\""),
        ("auth", "facility = [\"auth\", \"authpriv\"]"),
        ("local", "facility = \"~^local\""),
        ("web", "host = [\"db1\", \"~^web\"]"),
        ("sshd", "app = \"sshd\"\nprocid = 7"),
        ("id", "msgid = \"ID47\""),
        ("data", "sd.\"origin@32473\".ip = \"192.0.2.1\""),
        ("from", "source = \"127.0.0.1\""),
        ("both", "severity = \"err\"\nmatch = 'disk'"),
        ("not", "severity = \"err\"\nreject = 'disk'"),
    ] {
        config +=
            &format!("[output.{name}]\nfrom = \"sys\"\n{selectors}\nfile = \"{{dir}}/{name}\"\n");
    }
    let (daemon, port) = daemon("tcp", &config);
    let lines = [
        "<35>1 - web1 sshd 7 - - disk on fire",
        "<36>1 - web2 sshd 8 - - login",
        "<86>1 - db1 su - ID47 - session",
        "<130>1 - db2 kernel - - [origin@32473 ip=\"192.0.2.1\"] oops",
        "<134>Oct 11 22:14:15 db2 cron[7]: tick",
        "plain",
    ];
    let stream: String = lines.iter().map(|line| format!("{line}\n")).collect();
    connect(port).write_all(stream.as_bytes()).unwrap();
    daemon.wait_node("from", |node| node.lines_out == 6);
    for (name, want) in [
        ("severe", &[0, 3][..]),
        ("exactly", &[1]),
        ("auth", &[0, 1, 2]),
        ("local", &[3, 4]),
        ("web", &[0, 1, 2]),
        ("sshd", &[0]),
        ("id", &[2]),
        ("data", &[3]),
        ("from", &[0, 1, 2, 3, 4, 5]),
        ("both", &[0]),
        ("not", &[3]),
    ] {
        let want: Vec<_> = want.iter().map(|at| lines[*at]).collect();
        assert_eq!(daemon.wait_lines(name, want.len()), want, "{name}");
    }
}

#[test]
fn a_field_names_the_file_and_never_a_folder_above() {
    let files = "[output.all]\nfrom = \"sys\"\nfile = \"{dir}/logs/{host}/{app}.log\"\n";
    let (daemon, port) = daemon("udp", files);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let long = "h".repeat(250);
    let messages = [
        "<13>1 - web1 app - - - one".to_string(),
        "<13>1 - .. ../../../escaped - - - two".to_string(),
        format!("<13>1 - {long} app - - - three"),
        "<13>app: four, without a host".to_string(),
        "five, with nothing".to_string(),
        "<13>1 - web1 app - - - six".to_string(),
    ];
    for message in &messages {
        socket.send_to(message.as_bytes(), ("127.0.0.1", port)).unwrap();
    }
    daemon.wait_node("all", |node| node.lines_out == 6);
    let long = &long[..220];
    for (path, want) in [
        ("logs/web1/app.log", &[0, 5][..]),
        ("logs/_/.._.._.._escaped.log", &[1]),
        (&format!("logs/{long}/app.log"), &[2]),
        ("logs/127.0.0.1/app.log", &[3]),
        ("logs/127.0.0.1/_.log", &[4]),
    ] {
        let want: Vec<_> = want.iter().map(|at| messages[*at].clone()).collect();
        assert_eq!(daemon.lines(path), want, "{path}");
    }
    assert_eq!(std::fs::read_dir(daemon.path("logs")).unwrap().count(), 4);
}

#[test]
fn a_format_is_the_same_on_a_file_a_pipe_and_standard_output() {
    let (daemon, port) = daemon(
        "udp",
        "[output.file]\nfrom = \"sys\"\nfile = \"{dir}/file\"\nformat = \"json\"\n\
         [output.pipe]\nfrom = \"sys\"\npipe = \"cat > {dir}/pipe\"\nformat = \"json\"\n\
         [output.text]\nfrom = \"sys\"\nfile = \"{dir}/text\"\nformat = \"text\"\n\
         [output.old]\nfrom = \"sys\"\nfile = \"{dir}/old\"\nformat = \"rfc3164\"\n\
         [output.wrapped]\nfrom = \"in\"\nfile = \"{dir}/wrapped\"\nformat = \"rfc5424\"\n\
         tag = \"cache\"\n",
    );
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sent: &[u8] =
        b"<165>1 2003-10-11T22:14:15.003Z h app 12 ID [a@1 x=\"1\\\"\"] caf\xe9 \"x\"";
    socket.send_to(sent, ("127.0.0.1", port)).unwrap();
    daemon.send(b"GET /\n");
    let json = daemon.wait_lines("file", 1);
    assert_eq!(daemon.wait_lines("pipe", 1), json);
    let value: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
    assert_eq!(value["message"], "caf\u{fffd} \"x\"");
    assert_eq!(value["sd"]["a@1"]["x"], "1\"");
    assert_eq!((&value["source"], &value["input"]), (&"127.0.0.1".into(), &"sys".into()));
    let text = daemon.wait_lines("text", 1);
    assert_eq!(text, ["2003-10-11T22:14:15.003Z h app[12]: caf\u{fffd} \"x\""]);
    assert!(daemon.wait_lines("old", 1)[0].starts_with("<165>Oct 1"), "{:?}", daemon.lines("old"));
    let wrapped = daemon.wait_lines("wrapped", 1);
    assert!(wrapped[0].ends_with(" cache - - - GET /"), "{wrapped:?}");
    let pipe = daemon.wait_node("pipe", |node| node.lines_out == 1);
    assert_eq!(pipe.bytes_out, json[0].len() as u64 + 1);
}

#[test]
fn a_unix_socket_tells_the_process_and_its_user() {
    let uid = nix::unistd::getuid();
    let mut daemon = Daemon::start(&format!(
        "[input.local]\nsyslog = \"unix://{{dir}}/log.sock\"\nmode = \"0622\"\n\
         [output.mine]\nfrom = \"local\"\nuid = \"{uid}\"\nfile = \"{{dir}}/{{app}}-{{pid}}\"\n\
         [output.others]\nfrom = \"local\"\nuid = \"12345678\"\nfile = \"{{dir}}/others\"\n"
    ));
    let path = daemon.path("log.sock");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o622);
    let socket = UnixDatagram::unbound().unwrap();
    socket.send_to(b"<13>Nov 23 10:00:00 tag[1]: one", &path).unwrap();
    let file = format!("tag-{}", std::process::id());
    assert_eq!(daemon.wait_lines(&file, 1), ["<13>Nov 23 10:00:00 tag[1]: one"]);
    assert_eq!(daemon.node("others").not_selected, 1);
    // Killed, it leaves its socket behind, and takes the place again.
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    assert!(path.exists());
    daemon.run();
    socket.send_to(b"<13>tag: two", &path).unwrap();
    daemon.wait_lines(&file, 2);
    let (code, _) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(!path.exists());
}

#[test]
fn one_that_floods_does_not_starve_the_others() {
    let (daemon, port) =
        daemon("tcp", "[output.few]\nfrom = \"sys\"\nmatch = '^few'\nfile = \"{dir}/few\"\n");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flood = {
        let stop = stop.clone();
        let mut stream = connect(port);
        std::thread::spawn(move || {
            let piece = "many lines of a flood\n".repeat(3000);
            let mut sent = 0_u64;
            // Bounded by the test's end, and by bytes should it never come.
            while !stop.load(std::sync::atomic::Ordering::Relaxed) && sent < 4 << 30 {
                stream.write_all(piece.as_bytes()).unwrap();
                sent += 3000;
            }
            sent
        })
    };
    let mut others: Vec<_> = (0..10).map(|_| connect(port)).collect();
    for round in 0..20 {
        for (at, stream) in others.iter_mut().enumerate() {
            stream.write_all(format!("few {at} {round}\n").as_bytes()).unwrap();
        }
        daemon.wait_lines("few", (round + 1) * 10);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let flooded = flood.join().unwrap();
    let all = daemon.wait_node("sys", |node| node.lines_in >= flooded + 200);
    assert_eq!(all.lines_in, flooded + 200);
}

#[test]
fn slow_senders_and_those_that_break_off_lose_nothing() {
    let (daemon, port) = daemon("tcp", "[output.all]\nfrom = \"sys\"\nfile = \"{dir}/all\"\n");
    let mut slow = connect(port);
    for byte in b"10 <13>slow 1<13>slow 2\n9 <13>brea" {
        slow.write_all(&[*byte]).unwrap();
        slow.flush().unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(slow);
    let want = ["<13>slow 1", "<13>slow 2", "<13>brea"];
    assert_eq!(daemon.wait_lines("all", 3), want);
    let mut stream = connect(port);
    for number in 0..5000 {
        stream.write_all(format!("line {number}\n").as_bytes()).unwrap();
    }
    drop(stream);
    let lines = daemon.wait_lines("all", 5003);
    assert_eq!(lines[3..], numbered(0, 5000));
    assert_eq!(daemon.node("sys").input.unwrap().connections, 2);
}

#[test]
fn the_end_that_comes_with_the_last_bytes_is_seen() {
    let (daemon, port) = daemon("tcp", "[output.all]\nfrom = \"sys\"\nfile = \"{dir}/all\"\n");
    for number in 0..200 {
        // Opened and closed before the daemon looks: what was sent, and its end, come at once.
        connect(port).write_all(format!("line {number}").as_bytes()).unwrap();
    }
    let mut lines = daemon.wait_lines("all", 200);
    lines.sort_by_key(|line| line[5..].parse::<u64>().unwrap());
    assert_eq!(lines, numbered(0, 200));
}

#[test]
fn connections_are_bounded_and_idle_ones_let_go() {
    let more = "max_connections = 3\nidle_timeout = \"1s\"\n\
                [output.all]\nfrom = \"sys\"\nfile = \"{dir}/all\"\n";
    let (daemon, port) = daemon("tcp", more);
    let mut kept: Vec<_> = (0..3).map(|_| connect(port)).collect();
    daemon.wait_node("sys", |node| node.input.unwrap().connections == 3);
    wait_for_end(connect(port));
    daemon.wait_node("sys", |node| node.input.unwrap().refused == 1);
    daemon.wait_log("refused: there are 3 connections already (max_connections)");
    // /healthz says what is in here, while it lasts.
    let error = daemon.wait_node("sys", |node| node.error.is_some()).error.unwrap();
    assert_eq!(error, "clients are refused: there are 3 connections already (max_connections)");
    kept[0].write_all(b"<13>unfinished").unwrap();
    for stream in kept {
        wait_for_end(stream);
    }
    assert_eq!(daemon.wait_lines("all", 1), ["<13>unfinished"]);
    let mut again = connect(port);
    again.write_all(b"<13>again\n").unwrap();
    assert_eq!(daemon.wait_lines("all", 2)[1], "<13>again");
    daemon.wait_node("sys", |node| node.error.is_none());
}

#[test]
fn silent_clients_keep_nobody_out() {
    let more = "max_connections = 3\n[output.all]\nfrom = \"sys\"\nfile = \"{dir}/all\"\n";
    let (daemon, port) = daemon("tcp", more);
    let mut talks = connect(port);
    talks.write_all(b"<13>first\n").unwrap();
    daemon.wait_lines("all", 1);
    let silent = [connect(port), connect(port)];
    daemon.wait_node("sys", |node| node.input.unwrap().connections == 3);
    wait_for("room for a client with something to say", || {
        let mut client = connect(port);
        // One that is refused may not be able to write.
        let _ = client.write_all(b"<13>second\n");
        (daemon.lines("all").len() > 1).then_some(())
    });
    daemon.wait_log("idle, disconnected for a new client (max_connections)");
    talks.write_all(b"<13>third\n").unwrap();
    wait_for("the client that talks to be connected still", || {
        daemon.lines("all").contains(&"<13>third".to_string()).then_some(())
    });
    drop(silent);
}

#[test]
fn descriptors_that_are_sent_along_are_closed() {
    let daemon = Daemon::start(
        "[input.local]\nsyslog = \"unix://{dir}/log.sock\"\n\
         [output.all]\nfrom = \"local\"\nfile = \"{dir}/all\"\n",
    );
    let open = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(daemon.path("log.sock")).unwrap();
    socket.send(b"<13>before").unwrap();
    daemon.wait_lines("all", 1);
    let before = open();
    let own = [socket.as_raw_fd(); 8];
    for number in 0..100 {
        let text = format!("<13>with descriptors {number}");
        let text = [std::io::IoSlice::new(text.as_bytes())];
        let rights = [ControlMessage::ScmRights(&own)];
        sendmsg::<()>(socket.as_raw_fd(), &text, &rights, MsgFlags::empty(), None).unwrap();
    }
    daemon.wait_lines("all", 101);
    // The control client's connection may not be closed yet.
    wait_for("as many descriptors as before", || (open() <= before).then_some(()));
}

#[test]
fn a_large_datagram_of_a_unix_socket_is_taken_whole_or_counted_as_cut() {
    for (most, length, cut) in [("64KiB", 65_536, 1), ("1MiB", 150_000, 0)] {
        let daemon = Daemon::start(&format!(
            "[input.local]\nsyslog = \"unix://{{dir}}/log.sock\"\nmax_message = \"{most}\"\n\
             [output.all]\nfrom = \"local\"\nfile = \"{{dir}}/all\"\n"
        ));
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(daemon.path("log.sock")).unwrap();
        let message = format!("<13>a: {}", "x".repeat(149_993));
        socket.send(message.as_bytes()).unwrap();
        socket.send(b"<13>a: small").unwrap();
        let lines = daemon.wait_lines("all", 2);
        assert_eq!(lines[0], message[..length]);
        assert_eq!(lines[1], "<13>a: small");
        let counts = daemon.node("local").input.unwrap();
        assert_eq!(counts.oversize, cut);
    }
}

#[test]
fn unfinished_messages_of_all_clients_together_are_bounded() {
    let more = "max_message = \"256KiB\"\n[output.all]\nfrom = \"sys\"\nfile = \"{dir}/all\"\n";
    let (daemon, port) = daemon("tcp", more);
    let part = vec![b'x'; 255 * 1024];
    let mut streams = Vec::new();
    for _ in 0..70 {
        let mut stream = connect(port);
        stream.write_all(&part).unwrap();
        streams.push(stream);
    }
    // 70 times 255 KiB is more than the 16 MiB that all of them may have.
    let node = daemon.wait_node("sys", |node| node.input.unwrap().malformed > 0);
    assert!(node.input.unwrap().malformed < 10, "{node:?}");
    daemon.wait_log("together they take too much memory");
    let mut other = connect(port);
    other.write_all(b"<13>an honest line\n").unwrap();
    wait_for("the honest line", || {
        daemon.lines("all").contains(&"<13>an honest line".to_string()).then_some(())
    });
}

#[test]
fn counts_that_lie_harm_nobody() {
    let (daemon, port) = daemon("tcp", "[output.all]\nfrom = \"sys\"\nfile = \"{dir}/all\"\n");
    let mut huge = connect(port);
    huge.write_all(b"<13>before\n9999999999 <13>x").unwrap();
    wait_for_end(huge);
    daemon.wait_log("says that its next message has 9999999999 bytes");
    let mut stream = connect(port);
    stream.write_all(b"0 zero\n1763883000 an epoch is no count\n3 <1>text after\n").unwrap();
    let want = ["<13>before", "0 zero", "1763883000 an epoch is no count", "<1>", "text after"];
    assert_eq!(daemon.wait_lines("all", 5), want);
    assert_eq!(daemon.node("sys").input.unwrap().malformed, 1);
}

#[test]
fn tls_and_plain_text_are_told_apart_on_either_port() {
    let Some(certificates) = Certificates::new() else { return };
    let (plain, port) = daemon("tcp", "[output.all]\nfrom = \"sys\"\nfile = \"{dir}/all\"\n");
    let mut hello = connect(port);
    hello.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).unwrap();
    wait_for_end(hello);
    plain.wait_log("speaks TLS, which this input does not: write tls://");
    let (through, port) = daemon(
        "tls",
        &format!(
            "tls = {{ cert = \"{}\", key = \"{}\" }}\n\
             [output.all]\nfrom = \"sys\"\nfile = \"{{dir}}/all\"\n",
            certificates.path("server.pem"),
            certificates.path("server.key")
        ),
    );
    let mut text = connect(port);
    text.write_all(b"<13>in the clear\n").unwrap();
    wait_for_end(text);
    through.wait_log("a sender of plain text needs a tcp:// input");
    for daemon in [plain, through] {
        let node = daemon.node("sys");
        assert_eq!((node.lines_in, node.input.unwrap().malformed), (0, 1));
    }
}

#[test]
fn only_clients_with_a_good_certificate_of_a_good_name_get_in() {
    let Some(certificates) = Certificates::new() else { return };
    let server = |names: &str| {
        daemon(
            "tls",
            &format!(
                "tls = {{ cert = \"{}\", key = \"{}\", client_ca = \"{}\", names = {names} }}\n\
                 [output.all]\nfrom = \"sys\"\nfile = \"{{dir}}/all\"\n",
                certificates.path("server.pem"),
                certificates.path("server.key"),
                certificates.path("ca.pem")
            ),
        )
    };
    let sender = |port: u16, tls: &str| {
        Daemon::start(&format!(
            "grace = \"1s\"\n#daemon\n[output.hub]\nfrom = \"in\"\n\
             forward = \"tls://localhost:{port}\"\n{tls}"
        ))
    };
    let (hub, port) = server("[\"other.example\", \"localhost\"]");
    let good = sender(port, &certificates.client());
    good.send_numbered(0, 1000);
    assert_eq!(hub.wait_lines("all", 1000), numbered(0, 1000));

    let none = format!("tls = {{ ca = \"{}\" }}\n", certificates.path("ca.pem"));
    let expired = format!(
        "tls = {{ ca = \"{}\", cert = \"{}\", key = \"{}\" }}\n",
        certificates.path("ca.pem"),
        certificates.path("expired.pem"),
        certificates.path("client.key")
    );
    for (tls, said) in [(none, "peer sent no certificates"), (expired, "xpired")] {
        let stranger = sender(port, &tls);
        stranger.send(b"a stranger's line\n");
        wait_for(said, || hub.log().contains(said).then_some(()));
    }
    assert_eq!(hub.node("sys").lines_in, 1000);

    // The names of the certificate are `localhost` and an address.
    let (pattern, port) = server("[\"*.example\", \"loc*st\"]");
    let good = sender(port, &certificates.client());
    good.send_numbered(0, 10);
    assert_eq!(pattern.wait_lines("all", 10), numbered(0, 10));

    let (strict, port) = server("\"other.example\"");
    let wrong = sender(port, &certificates.client());
    wrong.send(b"a line under the wrong name\n");
    strict.wait_log("NotValidForName");
    let node = strict.wait_node("sys", |node| node.input.unwrap().malformed > 0);
    assert_eq!(node.lines_in, 0);
}

#[test]
fn a_reload_reads_renewed_certificates_and_keeps_connections() {
    let Some(old) = Certificates::new() else { return };
    let Some(new) = Certificates::new() else { return };
    let tls = "tls = { cert = \"{dir}/cert\", key = \"{dir}/key\" }\n\
               [output.all]\nfrom = \"sys\"\nfile = \"{dir}/all\"\n";
    let port = free_port();
    let put = |dir: &Path, of: &Certificates| {
        std::fs::copy(of.path("server.pem"), dir.join("cert")).unwrap();
        std::fs::copy(of.path("server.key"), dir.join("key")).unwrap();
    };
    let input = format!("[input.sys]\nsyslog = \"tls://127.0.0.1:{port}\"\n{tls}");
    let hub = Daemon::start_with(&input, |dir| put(dir, &old));
    let sender = |of: &Certificates| {
        Daemon::start(&format!(
            "grace = \"1s\"\n#daemon\n[output.hub]\nfrom = \"in\"\n\
             forward = \"tls://localhost:{port}\"\ntls = {{ ca = \"{}\" }}\n",
            of.path("ca.pem")
        ))
    };
    let before = sender(&old);
    before.send(b"before\n");
    assert_eq!(hub.wait_lines("all", 1), ["before"]);

    std::fs::write(hub.path("key"), "no key").unwrap();
    assert!(!hub.ctl("reload").status.success());
    hub.wait_log("input.sys: tls: ");

    put(hub.dir.path(), &new);
    assert!(hub.ctl("reload").status.success(), "{}", hub.log());
    let after = sender(&new);
    after.send(b"after\n");
    assert_eq!(hub.wait_lines("all", 2), ["before", "after"]);
    before.send(b"before, again\n");
    assert_eq!(hub.wait_lines("all", 3)[2], "before, again");
    assert_eq!(hub.node("sys").input.unwrap().connections, 2);
}

#[test]
fn a_reload_keeps_ports_and_sockets() {
    let port = free_port();
    let text = |escape: &str| {
        format!(
            "[input.sys]\nsyslog = \"tcp://127.0.0.1:{port}\"\nescape = \"{escape}\"\n\
             [input.local]\nsyslog = \"unix://{{dir}}/log.sock\"\nescape = \"{escape}\"\n\
             [output.all]\nfrom = [\"sys\", \"local\"]\nfile = \"{{dir}}/all\"\n"
        )
    };
    let daemon = Daemon::start(&text("newline"));
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(daemon.path("log.sock")).unwrap();
    for (round, escape) in ["control", "split", "newline", "control"].into_iter().enumerate() {
        daemon.write_config(&text(escape));
        // What waits in a socket while the input is another one is not lost.
        socket.send(format!("<13>unix {round}").as_bytes()).unwrap();
        let output = daemon.ctl("reload");
        assert!(output.status.success(), "{output:?}");
        socket.send(format!("<13>unix again {round}").as_bytes()).unwrap();
        connect(port).write_all(format!("<13>tcp {round}\n").as_bytes()).unwrap();
        daemon.wait_lines("all", (round + 1) * 3);
    }
}

#[test]
fn a_path_that_is_taken_refuses_the_start_with_what_to_do() {
    let port = free_port();
    let first = Daemon::start(&format!(
        "[input.sys]\nsyslog = \"tcp://127.0.0.1:{port}\"\n\
         [input.local]\nsyslog = \"unix://{{dir}}/log.sock\"\n\
         [output.all]\nfile = \"{{dir}}/all\"\n"
    ));
    let refused = |input: &str| {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("c.toml");
        let control = dir.path().join("control").display().to_string();
        let text = format!(
            "[daemon]\ncontrol = \"{control}\"\n[input.x]\n{input}\n[output.o]\nstdout = true\n"
        );
        std::fs::write(&config, text).unwrap();
        let output = crate::util::run(&["run", "-c", config.to_str().unwrap()], b"");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let socket = first.path("log.sock");
    let said = refused(&format!("syslog = \"unix://{}\"", socket.display()));
    assert!(said.contains("another program listens there"), "{said}");
    let file = first.path("logweir.toml");
    let said = refused(&format!("syslog = \"unix://{}\"", file.display()));
    assert!(said.contains("no socket: remove it, or name another path"), "{said}");
    assert!(socket.exists() && file.exists());
}

#[test]
fn syslog_is_forwarded_as_it_came_and_raw_lines_in_a_header() {
    let (hub, port) = daemon("tcp", "[output.all]\nfrom = \"sys\"\nfile = \"{dir}/all\"\n");
    let (edge, from) = daemon(
        "udp",
        &format!(
            "[output.hub]\nfrom = [\"sys\", \"in\"]\nforward = \"tcp://127.0.0.1:{port}\"\n\
             format = \"rfc5424\"\nspool = {{ dir = \"{{dir}}/spool\", sync = \"batch\" }}\n"
        ),
    );
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let message = "<34>1 2026-10-11T22:14:15Z h su 1 - - two#012lines";
    socket
        .send_to(b"<34>1 2026-10-11T22:14:15Z h su 1 - - two\nlines", ("127.0.0.1", from))
        .unwrap();
    assert_eq!(hub.wait_lines("all", 1), [message]);
    edge.send(b"GET /\n");
    let lines = hub.wait_lines("all", 2);
    assert!(lines[1].starts_with("<13>1 ") && lines[1].ends_with(" in - - - GET /"), "{lines:?}");
}

#[test]
fn clients_leave_descriptors_for_files_and_control_and_those_that_wait_lose_nothing() {
    const CLIENTS: usize = 200;
    let port = free_port();
    let mut daemon = Daemon::prepare(&format!(
        "[input.s]\nsyslog = \"tcp://127.0.0.1:{port}\"\nmax_connections = 1000\n\
         [output.f]\nfrom = \"s\"\nfile = \"{{dir}}/{{app}}.log\"\n\
         [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
    ));
    daemon.run_behind("ulimit -n 128");
    // The system accepts all of them; the daemon takes as many as it can.
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let app = number % 4;
            writeln!(client, "<13>1 - h app{app} - - - {number}").unwrap();
            client
        })
        .collect();
    daemon.wait_log("clients cannot be taken: no file descriptor is left for them");
    let taken = daemon.wait_node("s", |node| node.lines_in > 50).lines_in;
    assert!(taken < 128, "{taken} clients with 128 descriptors");
    // Everything else has some: a reload, a new file for a new app, and the old ones anew.
    assert!(daemon.ctl("reload").status.success());
    writeln!(clients[0], "<13>1 - h late - - - late").unwrap();
    daemon.wait_lines("late.log", 1);
    assert!(daemon.ctl("rotate").status.success());
    // Those that leave make room for those that wait, until all were there.
    for client in clients.drain(..) {
        drop(client);
    }
    let files: Vec<_> = (0..4).map(|app| format!("app{app}.log")).collect();
    for file in &files {
        assert_eq!(daemon.wait_lines(file, CLIENTS / 4).len(), CLIENTS / 4, "{file}");
    }
    assert_eq!(daemon.node("s").lines_in, CLIENTS as u64 + 1);
}
