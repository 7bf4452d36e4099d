//! Lines in, lines out, and every one of them in the ledger.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::util::{Daemon, free_port, numbered, run, wait_for};

const FILE: &str = "[output.all]\nfrom = \"in\"\nfile = \"{dir}/all\"\n";

#[test]
fn every_line_reaches_a_file_and_the_ledger_says_so() {
    let mut daemon = Daemon::start(FILE);
    daemon.send_numbered(0, 5000);
    assert_eq!(daemon.wait_lines("all", 5000), numbered(0, 5000));
    let node = daemon.node("all");
    assert_eq!((node.lines_in, node.lines_out, node.queued), (5000, 5000, 0));
    let input = daemon.node("in").input.unwrap();
    assert_eq!((input.datagrams, input.kernel_drops), (5000, 0));
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(
        log.contains("ledger: input in: in 5000 out 5000 not_selected 0 queued 0 kernel_drops 0")
    );
    assert!(log.contains("ledger: output all: in 5000 out 5000 not_selected 0 queued 0"), "{log}");
    assert!(!log.contains("BALANCE"));
    assert!(!daemon.path("control.sock").exists());
}

#[test]
fn datagrams_of_every_kind_have_a_defined_outcome() {
    let daemon = Daemon::start(FILE);
    daemon.send(b"");
    daemon.send(b"\n\n\n");
    daemon.send(b"no newline");
    daemon.send(b"two\nlines");
    daemon.send(b"\0\xff\xfe invalid\n");
    daemon.send(&[b'x'; 65_507]);
    let node = daemon.wait_node("all", |node| node.lines_out == 8);
    assert_eq!(node.bytes_out, 3 + 11 + 10 + 12 + 65_508);
    let input = daemon.node("in").input.unwrap();
    assert_eq!((input.datagrams, input.empty_datagrams, input.oversize), (6, 1, 0));
    let bytes = std::fs::read(daemon.path("all")).unwrap();
    let start = b"\n\n\nno newline\ntwo\nlines\n\0\xff\xfe invalid\nxxx";
    assert_eq!(&bytes[..start.len()], start);
}

#[test]
fn a_line_longer_than_max_line_is_cut_and_counted() {
    let daemon = Daemon::start(&format!("max_line = \"64B\"\n{FILE}"));
    daemon.send(&[b'x'; 1000]);
    daemon.send(b"short\n");
    let lines = daemon.wait_lines("all", 2);
    assert_eq!((lines[0].len(), lines[1].as_str()), (64, "short"));
    let input = daemon.node("in").input.unwrap();
    assert_eq!(input.oversize, 1);
}

#[test]
fn selectors_apply_in_order_and_chains_of_filters_count() {
    let daemon = Daemon::start(
        "[filter.even]\nfrom = \"in\"\nmatch = '[02468]$'\n\
         [filter.not_zero]\nfrom = \"even\"\nreject = '0$'\n\
         [output.chain]\nfrom = \"not_zero\"\nfile = \"{dir}/chain\"\n\
         [output.sampled]\nfrom = [\"even\", \"in\"]\nsample = 10\nfile = \"{dir}/sampled\"\n\
         [output.rated]\nfrom = \"in\"\nmatch = '7$'\nrate = \"5/h\"\nfile = \"{dir}/rated\"\n",
    );
    daemon.send_numbered(0, 1000);
    let want: Vec<_> =
        numbered(0, 1000).into_iter().filter(|line| line.ends_with(['2', '4', '6', '8'])).collect();
    assert_eq!(daemon.wait_lines("chain", 400), want);
    daemon.wait_lines("sampled", 150);
    assert_eq!(daemon.wait_lines("rated", 5)[4], "line 47");
    let rated = daemon.node("rated");
    assert_eq!((rated.lines_in, rated.not_selected, rated.dropped["rate"]), (1000, 900, 95));
    let even = daemon.node("even");
    assert_eq!((even.lines_in, even.lines_out, even.not_selected), (1000, 500, 500));
}

#[test]
fn several_sockets_share_a_port_and_lose_nothing() {
    let daemon = Daemon::start(&format!("sockets = 2\n{FILE}"));
    // Which socket gets a datagram is chosen by its sender's address.
    for _ in 0..16 {
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..50 {
            sender.send_to(format!("{number}\n").as_bytes(), ("127.0.0.1", daemon.port)).unwrap();
        }
    }
    daemon.wait_lines("all", 800);
    assert_eq!(daemon.node("in").lines_in, 800);
}

#[test]
fn kernel_drops_are_counted_to_the_datagram() {
    let daemon = Daemon::start(&format!("receive_buffer = \"8KiB\"\n{FILE}"));
    daemon.signal(nix::sys::signal::Signal::SIGSTOP);
    for _ in 0..400 {
        daemon.send(&[b'x'; 100]);
    }
    daemon.signal(nix::sys::signal::Signal::SIGCONT);
    let drops = |node: &logweir::engine::status::NodeStatus| node.input.unwrap().kernel_drops;
    let node = daemon.wait_node("in", |node| node.lines_in + drops(node) == 400);
    assert!(drops(&node) > 0);
    assert_eq!(
        daemon.wait_lines("all", usize::try_from(node.lines_in).unwrap()).len(),
        node.lines_in as usize
    );
}

#[test]
fn ipv6_and_multicast_are_received() {
    let port = free_port();
    let daemon = Daemon::start(&format!(
        "[input.six]\nudp = \"[::1]:{port}\"\n\
         [input.group]\nudp = \"0.0.0.0:{port}\"\nmulticast = \"239.255.77.88\"\n\
         interface = \"lo\"\n\
         [output.all]\nfrom = [\"six\", \"group\"]\nfile = \"{{dir}}/{{input}}.log\"\n"
    ));
    let six = std::net::UdpSocket::bind("[::1]:0").unwrap();
    six.send_to(b"six\n", ("::1", port)).unwrap();
    assert_eq!(daemon.wait_lines("six.log", 1), ["six"]);
    let four = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    four.set_multicast_if_v4(&std::net::Ipv4Addr::LOCALHOST).unwrap();
    let group: std::net::SocketAddr = format!("239.255.77.88:{port}").parse().unwrap();
    four.send_to(b"group\n", &group.into()).unwrap();
    assert_eq!(daemon.wait_lines("group.log", 1), ["group"]);
}

#[test]
fn a_group_that_another_program_has_joined_is_not_received() {
    let port = free_port();
    let daemon = Daemon::start(&format!(
        "[input.group]\nudp = \"0.0.0.0:{port}\"\nmulticast = \"239.255.77.90\"\n\
         interface = \"lo\"\n[output.all]\nfrom = \"group\"\nfile = \"{{dir}}/all\"\n"
    ));
    let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let lo = std::net::Ipv4Addr::LOCALHOST;
    other.join_multicast_v4(&std::net::Ipv4Addr::new(239, 255, 77, 91), &lo).unwrap();
    let sender = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    sender.set_multicast_if_v4(&lo).unwrap();
    for (group, text) in [("239.255.77.91", "another's\n"), ("239.255.77.90", "ours\n")] {
        let to: std::net::SocketAddr = format!("{group}:{port}").parse().unwrap();
        sender.send_to(text.as_bytes(), &to.into()).unwrap();
    }
    // Datagrams of one socket come in their order.
    assert_eq!(daemon.wait_lines("all", 1), ["ours"]);
    assert_eq!(daemon.node("group").lines_in, 1);
}

#[test]
fn a_udp_output_sends_each_line_and_counts_refusals() {
    let sink = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = sink.local_addr().unwrap();
    let closed = free_port();
    let daemon = Daemon::start(&format!(
        "[output.net]\nfrom = \"in\"\nudp = \"{to}\"\n\
         [output.nobody]\nfrom = \"in\"\nudp = \"127.0.0.1:{closed}\"\n"
    ));
    daemon.send(b"one\ntwo\nthree");
    let mut buffer = [0; 100];
    for want in ["one\n", "two\n", "three\n"] {
        let count = sink.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], want.as_bytes());
    }
    assert_eq!(daemon.wait_node("net", |node| node.lines_out == 3).dropped["send_error"], 0);
    let nobody = daemon.wait_node("nobody", |node| node.queued == 0 && node.lines_in == 3);
    assert!(nobody.dropped["send_error"] > 0);
}

#[test]
fn stdin_ends_the_daemon_at_its_end_and_stdout_gets_every_line() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("c.toml");
    let control = dir.path().join("control.sock");
    let text = format!(
        "[daemon]\ncontrol = {control:?}\n[input.in]\nstdin = true\n\
         [filter.up]\nrun = \"tr a-z A-Z\"\n[output.out]\nfrom = \"up\"\nstdout = true\n"
    );
    std::fs::write(&config, text).unwrap();
    let input: String = numbered(0, 20_000).iter().map(|line| format!("{line}\n")).collect();
    let input = input + "no newline";
    let output = run(&["run", "-c", config.to_str().unwrap()], input.as_bytes());
    assert_eq!(output.status.code(), Some(0));
    let got = String::from_utf8(output.stdout).unwrap();
    assert_eq!(got, input.to_uppercase() + "\n");
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("ledger: output out: in 20001 out 20001"), "{log}");
}

#[test]
fn a_fifo_is_made_and_read_again_after_its_end() {
    let daemon = Daemon::start(
        "[input.pipe]\nfifo = \"{dir}/fifo\"\n\
         [output.all]\nfrom = \"pipe\"\nfile = \"{dir}/all\"\n",
    );
    for round in 1..=3 {
        std::fs::write(daemon.path("fifo"), format!("round {round}\nlast of {round}")).unwrap();
        daemon.wait_lines("all", round * 2);
    }
    assert_eq!(daemon.lines("all")[4..], ["round 3", "last of 3"]);
}

#[test]
fn the_control_socket_is_for_the_group_and_survives_bad_clients() {
    use std::io::{BufRead, BufReader, Write};
    let daemon = Daemon::start(FILE);
    let path = daemon.path("control.sock");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    let client = || std::os::unix::net::UnixStream::connect(&path).unwrap();
    let answer = |text: &[u8]| {
        let mut stream = client();
        stream.write_all(text).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    };
    assert!(answer(b"garbage\n").contains("\"error\":\"not a request of version 1"));
    assert!(answer(b"{\"command\":\"dance\"}\n").contains("unknown variant"));
    assert!(answer(b"{\"command\":\"status\"}\n").contains("\"ok\":{"));
    let mut endless = client();
    let chunk = [b'x'; 65_536];
    while endless.write_all(&chunk).is_ok() {}
    let crowd: Vec<_> = (0..200).map(|_| client()).collect();
    drop(crowd);
    wait_for("the daemon to answer again", || {
        logweir::driver::control::ask(&path, logweir::driver::control::Request::Status).ok()
    });
}

#[test]
fn top_prints_a_table_and_the_same_figures_as_data() {
    let daemon = Daemon::start(FILE);
    daemon.send_numbered(0, 300);
    daemon.wait_node("all", |node| node.lines_out == 300);
    let control = daemon.path("control.sock");
    let top = |more: &[&str]| {
        let mut args = vec!["top", "--once", "--control", control.to_str().unwrap()];
        args.extend(more);
        let output = run(&args, b"");
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let data: serde_json::Value = serde_json::from_str(&top(&["--json"])).unwrap();
    let all = &data["nodes"][1];
    assert_eq!((all["name"].as_str(), all["lines_in"].as_u64()), (Some("all"), Some(300)));
    assert_eq!(all["dropped"]["queue_full"].as_u64(), Some(0));
    let table = top(&[]);
    let row: Vec<_> =
        table.lines().find(|line| line.contains(" all ")).unwrap().split_whitespace().collect();
    assert_eq!(row[1..6], ["all", "output", "300", "300", "0"]);
    let nobody = run(&["top", "--once", "--control", "/no/such/socket"], b"");
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&nobody.stderr).contains("no daemon answers at /no/such/socket")
    );
}

#[test]
fn datagrams_that_the_kernel_coalesced_are_told_apart() {
    let mut daemon = Daemon::start(FILE);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", daemon.port)).unwrap();
    // One call, many datagrams (UDP_SEGMENT): they reach the daemon as one message.
    logweir::sys::send::set_segment(&socket, 5).unwrap();
    for _ in 0..100 {
        socket.send(b"aaaaabbbbbccccc\nddd\nee").unwrap();
    }
    daemon.wait_node("all", |node| node.lines_out == 600);
    let want = ["aaaaa", "bbbbb", "ccccc", "", "ddd", "ee"];
    assert!(daemon.lines("all").chunks(6).all(|lines| lines == want));
    assert_eq!(daemon.node("in").input.unwrap().datagrams, 500);
    daemon.stop();
}

/// Sends 50 lines a datagram, as many datagrams as that.
pub fn flood(daemon: &Daemon, datagrams: std::ops::Range<u64>) {
    for datagram in datagrams {
        let line = |n: u64| format!("{:0>599}\n", datagram * 50 + n);
        daemon.send((0..50).map(line).collect::<String>().as_bytes());
    }
}

#[test]
fn a_flood_into_one_file_is_written_in_order_through_reloads() {
    let two =
        format!("{FILE}[output.tenth]\nfrom = \"in\"\nsample = 10\nfile = \"{{dir}}/tenth\"\n");
    let mut daemon = Daemon::start(FILE);
    for round in 0..4 {
        flood(&daemon, round * 500..(round + 1) * 500);
        daemon.write_config(if round % 2 == 0 { &two } else { FILE });
        assert!(daemon.ctl("reload").status.success());
    }
    flood(&daemon, 2000..2500);
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    let lines: Vec<u64> = daemon.lines("all").iter().map(|line| line.parse().unwrap()).collect();
    assert!(lines.is_sorted_by(|one, next| one < next), "out of order or twice");
    let said = format!("ledger: output all: in {0} out {0} not_selected 0 queued 0", lines.len());
    assert!(log.contains(&said), "{said}: {log}");
    let data = daemon.path("all").metadata().unwrap();
    let room = (data.blocks() * 512).saturating_sub(data.len());
    assert!(room <= 64 * 1024, "{room} bytes are set aside yet");
}
