//! Peers as they are met: with names that come and move, behind balancers, and with lines that
//! they cannot take.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use crate::metrics::get;
use crate::rsyslog::Certificates;
use crate::util::{Daemon, free_port, numbered, run, wait_for};

const UDP_IN: &str = "[output.all]\nfrom = \"in\"\nfile = \"{dir}/all\"\n";

/// An output that sends to this address over UDP.
fn udp(to: &str) -> String {
    format!("{UDP_IN}[output.hub]\nfrom = \"in\"\nudp = \"{to}\"\n")
}

fn receiver() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn datagram(socket: &UdpSocket) -> String {
    let mut buffer = [0; 2000];
    let len = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..len].to_vec()).unwrap()
}

#[test]
fn a_name_that_is_not_there_yet_keeps_no_daemon_down() {
    let port = free_port();
    let daemon = Daemon::start(&format!(
        "metrics = \"127.0.0.1:{port}\"\n#daemon\n{}[output.far]\nfrom = \"in\"\n\
         forward = \"relp://far.invalid:514\"\n",
        udp("hub.invalid:514")
    ));
    daemon.send_numbered(0, 10);
    assert_eq!(daemon.wait_lines("all", 10), numbered(0, 10));
    for (name, scheme) in [("hub", "udp"), ("far", "relp")] {
        let node = daemon.wait_node(name, |node| node.lanes[0].error.is_some());
        assert_eq!((node.lanes[0].unresolved, &node.lanes[0].peer), (true, &None), "{name}");
        assert_eq!((node.lines_in, node.queued, node.lines_out), (10, 10, 0), "{name}");
        let host = name.replace("hub", "hub.invalid").replace("far", "far.invalid");
        daemon.wait_log(&format!("{scheme}://{host}:514: "));
    }
    let said = wait_for("both named", || {
        let said = get(port, "/healthz");
        (said.contains("hub: ") && said.contains("far: ")).then_some(said)
    });
    assert!(said.contains(" 503 "), "{said}");
    // What waited is sent once there is an address.
    let (socket, port) = receiver();
    daemon.write_config(&udp(&format!("127.0.0.1:{port}")));
    assert!(daemon.ctl("reload").status.success());
    daemon.send(b"after\n");
    assert_eq!(datagram(&socket), "after\n");
    let log = daemon.log();
    assert_eq!(log.matches("udp://hub.invalid:514: ").count(), 1, "said once: {log}");
}

#[test]
fn a_name_is_tried_at_each_of_its_addresses() {
    // Where the name has an address of IPv6 too, nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (socket, datagrams) = receiver();
    let daemon = Daemon::start(&format!(
        "{}[output.tcp]\nfrom = \"in\"\nforward = \"tcp://localhost:{port}\"\n",
        udp(&format!("localhost:{datagrams}"))
    ));
    let mut stream = listener.accept().unwrap().0;
    daemon.send(b"one\n");
    let mut text = [0; 5];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"3 one");
    // The first datagram may go to the other address, where it is refused.
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    wait_for("a datagram", || {
        daemon.send(b"two\n");
        socket.recv(&mut [0; 100]).ok()
    });
}

#[test]
fn reloads_leave_no_descriptor_of_a_udp_output_behind() {
    let ports: Vec<_> = (0..2).map(|_| receiver()).collect();
    let daemon = Daemon::start(&udp(&format!("127.0.0.1:{}", ports[0].1)));
    let open = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let reload = |number: usize| {
        let (socket, port) = &ports[number % 2];
        daemon.write_config(&udp(&format!("127.0.0.1:{port}")));
        assert!(daemon.ctl("reload").status.success());
        daemon.send(b"a line\n");
        assert_eq!(datagram(socket), "a line\n");
    };
    (0..4).for_each(reload);
    let before = wait_for("a rest", || Some(open()).filter(|_| daemon.status().nodes.len() == 3));
    (0..40).for_each(reload);
    // Files may be open or not at either moment; forty sockets would be more than that.
    wait_for("hardly more than before", || (open() < before + 20).then_some(()));
}

/// A RELP peer that ends the session at a line with this word in it; what it took.
fn picky(listener: TcpListener, word: &'static [u8]) -> std::sync::mpsc::Receiver<String> {
    let (took, taken) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            while let Some((number, command, data)) = frame(&mut stream) {
                let answer = match command.as_str() {
                    "open" => "200 OK\nrelp_version=0\ncommands=syslog",
                    _ if data.windows(word.len()).any(|part| part == word) => {
                        // The client may be gone.
                        let _ = stream.write_all(b"0 serverclose 0\n");
                        break;
                    }
                    "syslog" => {
                        took.send(String::from_utf8(data).unwrap()).unwrap();
                        "200 OK"
                    }
                    _ => break,
                };
                let answer = format!("{number} rsp {} {answer}\n", answer.len());
                if stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    taken
}

/// The next frame of a RELP client; `None` at the end.
fn frame(stream: &mut TcpStream) -> Option<(u64, String, Vec<u8>)> {
    let mut word = || {
        let (mut text, mut byte) = (String::new(), [0]);
        loop {
            stream.read_exact(&mut byte).ok()?;
            match byte[0] {
                b' ' | b'\n' => return Some((text, byte[0])),
                other => text.push(char::from(other)),
            }
        }
    };
    let (number, command, (len, end)) = (word()?.0, word()?.0, word()?);
    let mut data = vec![0; len.parse().ok()?];
    stream.read_exact(&mut data).ok()?;
    if end == b' ' {
        stream.read_exact(&mut [0]).ok()?;
    }
    Some((number.parse().ok()?, command, data))
}

#[test]
fn a_line_that_a_peer_can_never_take_is_given_up_and_those_behind_it_go_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let daemon = Daemon::start(&format!(
        "[output.hub]\nfrom = \"in\"\nforward = \"relp://127.0.0.1:{port}\"\n\
         spool = {{ dir = \"{{dir}}/spool\", sync = \"batch\" }}\n"
    ));
    daemon.send_numbered(0, 50);
    daemon.send(b"poison\n");
    daemon.send_numbered(50, 100);
    daemon.wait_node("hub.spool", |node| node.lines_in == 101);
    let taken = picky(listener, b"poison");
    let node = daemon.wait_node("hub", |node| node.lines_out == 100);
    assert_eq!((node.lines_in, node.dropped["send_error"], node.balanced), (101, 1, true));
    let mut lines: Vec<_> = taken.try_iter().collect();
    // Lines before it were under way too when the sessions ended; each was taken.
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 100);
    daemon.wait_log("hub: the peer did not take line 50 of 7 bytes");
    daemon.wait_log("It begins: poison");
}

#[test]
fn a_balancer_without_a_server_behind_it_is_given_no_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let daemon = Daemon::start(&format!(
        "[output.hub]\nfrom = \"in\"\nforward = \"tcp://{}\"\n\
         spool = {{ dir = \"{{dir}}/spool\", sync = \"batch\" }}\n",
        listener.local_addr().unwrap()
    ));
    daemon.send_numbered(0, 100);
    for _ in 0..3 {
        let stream = listener.accept().unwrap().0;
        // Something has come, and is not read.
        stream.peek(&mut [0]).unwrap();
    }
    let mut stream = listener.accept().unwrap().0;
    assert_eq!(daemon.node("hub").lines_out, 0);
    let want: String =
        numbered(0, 100).iter().map(|line| format!("{} {line}", line.len())).collect();
    let mut text = vec![0; want.len()];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), want);
    daemon.wait_node("hub", |node| node.lines_out == 100);
}

#[test]
fn a_peer_that_reads_nothing_for_longer_than_the_timeout_gets_each_line_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let daemon = Daemon::start(&format!(
        "[output.hub]\nfrom = \"in\"\nforward = \"tcp://{}\"\ntimeout = \"1s\"\n\
         spool = {{ dir = \"{{dir}}/spool\", sync = \"batch\" }}\n",
        listener.local_addr().unwrap()
    ));
    let mut stream = listener.accept().unwrap().0;
    let line = format!("{}\n", "x".repeat(60_000));
    for _ in 0..300 {
        daemon.send(line.as_bytes());
    }
    // More than the kernel holds on the way, so that the peer's window is closed; for three times
    // the timeout nothing leaves.
    let full = wait_for("a full window", || {
        let node = daemon.node("hub");
        let stands = node.stuck_seconds.is_some_and(|seconds| seconds > 3.0);
        (node.lines_in > 0 && stands).then_some(node)
    });
    assert!(full.lanes[0].peer.is_some(), "{full:?}");
    let lines = daemon.node("hub.spool").lines_in;
    let mut text = vec![0; 60_006];
    for _ in 0..lines {
        stream.read_exact(&mut text).unwrap();
        assert!(text.starts_with(b"60000 x"));
    }
    let node = daemon.wait_node("hub", |node| node.lines_out == lines);
    assert_eq!(node.lines_in, lines);
    assert!(!daemon.log().contains("no answer in"), "{}", daemon.log());
}

fn openssl(certificates: &Certificates, script: &str) {
    let mut shell = Command::new("sh");
    let output = shell.arg("-ec").arg(script).current_dir(certificates.path("")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A RELP input through TLS with this certificate and key, and a peer's authority.
fn tls_input(certificates: &Certificates, port: u16, cert: &str, key: &str, rest: &str) -> String {
    format!(
        "[input.edge]\nrelp = \"127.0.0.1:{port}\"\n\
         tls = {{ cert = \"{}\", key = \"{}\"{rest} }}\n\
         [output.f]\nfrom = \"edge\"\nfile = \"{{dir}}/out\"\n{UDP_IN}",
        certificates.path(cert),
        certificates.path(key)
    )
}

#[test]
fn certificates_are_taken_as_people_have_them() {
    let Some(certificates) = Certificates::new() else { return };
    openssl(
        &certificates,
        "cat ca.pem server.pem > backwards.pem
         openssl x509 -in server.pem -outform DER -out server.der
         openssl pkey -in server.key -outform DER -out serverkey.der
         cat server.key server.pem > both.pem
         { printf '\\357\\273\\277'; sed 's/$/\\r/' server.pem; } > windows.pem
         openssl rsa -in server.key -traditional -out pkcs1.key
         sed 's/BEGIN CERT/BEGIN X509 CERT/; s/END CERT/END X509 CERT/' server.pem > older.pem
         openssl req -x509 -newkey rsa:2048 -nodes -keyout self.key -out self.pem -days 2 \
           -subj /CN=localhost -addext subjectAltName=DNS:localhost",
    );
    for (cert, key, ca) in [
        ("backwards.pem", "server.key", "ca.pem"),
        ("server.der", "serverkey.der", "ca.pem"),
        ("both.pem", "both.pem", "ca.pem"),
        ("windows.pem", "pkcs1.key", "ca.pem"),
        ("older.pem", "server.key", "ca.pem"),
        ("self.pem", "self.key", "self.pem"),
    ] {
        let port = free_port();
        let hub = Daemon::start(&tls_input(&certificates, port, cert, key, ""));
        let edge = Daemon::start(&format!(
            "[output.hub]\nfrom = \"in\"\nforward = \"relp+tls://localhost:{port}\"\n\
             tls = {{ ca = \"{}\" }}\n",
            certificates.path(ca)
        ));
        edge.send(b"a line\n");
        assert_eq!(hub.wait_lines("out", 1), ["a line"], "{cert} {key}");
    }
}

#[test]
fn certificates_that_cannot_be_used_are_refused_with_what_to_do() {
    let Some(certificates) = Certificates::new() else { return };
    openssl(
        &certificates,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-521 -nodes -keyout p521.key \
           -out p521.pem -days 2 -subj /CN=localhost
         openssl req -x509 -newkey rsa:2048 -passout pass:x -keyout enc.key -out enc.pem -days 2 \
           -subj /CN=localhost
         openssl x509 -req -in server.csr -signkey server.key -days 2 -out v1.pem",
    );
    for (cert, key, said) in [
        ("p521.pem", "p521.key", "its curve P-521 is not supported"),
        ("enc.pem", "enc.key", "is encrypted"),
        ("server.pem", "client.key", "belongs to no certificate in"),
        ("server.csr", "server.key", "is a request, of which an authority makes"),
        ("server.key", "server.key", "no certificate is with it"),
        ("server.pem", "ca.pem", "there is no private key in it"),
    ] {
        let config = tls_input(&certificates, free_port(), cert, key, "");
        let daemon = Daemon::prepare(&config);
        let path = daemon.path("logweir.toml").display().to_string();
        let output = run(&["run", "-c", &path], b"");
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{cert} {key}: {log}");
        assert!(log.contains(said), "{said}: {log}");
    }
}

#[test]
fn an_outputs_own_certificate_is_read_again_at_a_reload() {
    let Some(certificates) = Certificates::new() else { return };
    let leaf = |host: &str| {
        let script = format!(
            "printf 'subjectAltName=DNS:{host}\\n' > ext
             openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
               -extfile ext -out client.pem"
        );
        openssl(&certificates, &script);
    };
    leaf("old");
    let port = free_port();
    let rest = format!(", client_ca = \"{}\", names = [\"new\"]", certificates.path("ca.pem"));
    let hub = Daemon::start(&tls_input(&certificates, port, "server.pem", "server.key", &rest));
    let edge = Daemon::start(&format!(
        "[output.hub]\nfrom = \"in\"\nforward = \"relp+tls://localhost:{port}\"\n{}",
        certificates.client()
    ));
    edge.send(b"a line\n");
    edge.wait_node("hub", |node| node.lanes[0].error.is_some());
    leaf("new");
    assert!(edge.ctl("reload").status.success());
    assert_eq!(hub.wait_lines("out", 1), ["a line"]);
}

#[test]
fn an_idle_tls_peer_counts_as_connected_only_after_the_handshake() {
    let Some(certificates) = Certificates::new() else { return };
    let port = free_port();
    let _hub = Daemon::start(&tls_input(&certificates, port, "server.pem", "server.key", ""));
    openssl(
        &certificates,
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.pem -days 2 \
           -subj /CN=other",
    );
    let edge = |ca: &str| {
        Daemon::start(&format!(
            "[output.hub]\nfrom = \"in\"\nforward = \"tls://localhost:{port}\"\n\
             tls = {{ ca = \"{}\" }}\n",
            certificates.path(ca)
        ))
    };
    let stranger = edge("other.pem");
    let node = stranger.wait_node("hub", |node| node.lanes[0].error.is_some());
    assert_eq!(node.lanes[0].peer, None);
    stranger.wait_log("UnknownIssuer: its authority is not one of those that tls = { ca = … }");
    let friend = edge("ca.pem");
    friend.wait_node("hub", |node| node.lanes[0].peer.is_some());
}
