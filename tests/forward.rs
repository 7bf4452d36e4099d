//! Lines go to other hosts: over RELP and TCP, through spools, past dead peers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::util::{Daemon, LOGWEIR, free_port, numbered, wait_for};

/// A daemon with a RELP input, a spool and a file that reads from it.
fn receiver(port: u16) -> Daemon {
    Daemon::start(&receiver_config(port))
}

fn receiver_config(port: u16) -> String {
    format!(
        "[input.edge]\nrelp = \"127.0.0.1:{port}\"\n\
         [spool.hold]\nfrom = \"edge\"\ndir = \"{{dir}}/hold\"\n\
         [output.f]\nfrom = \"hold\"\nfile = \"{{dir}}/out\"\n\
         [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
    )
}

/// A daemon that forwards what comes by UDP from a spool.
fn sender(forward: &str) -> Daemon {
    Daemon::start(&format!(
        "grace = \"2s\"\n#daemon\n[output.hub]\nfrom = \"in\"\nforward = {forward}\n\
         spool = {{ dir = \"{{dir}}/spool\", sync = \"batch\" }}\n"
    ))
}

/// What a port is sent, until the peer closes, as many connections as come.
struct Sink {
    listener: TcpListener,
}

impl Sink {
    fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    fn accept(&self) -> TcpStream {
        let stream = self.listener.accept().unwrap().0;
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }
}

/// Reads lines with octet counting.
fn read_counted(stream: &mut TcpStream, lines: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < lines {
        let mut len = String::new();
        let mut byte = [0];
        while stream.read(&mut byte).unwrap() == 1 && byte[0] != b' ' {
            len.push(char::from(byte[0]));
        }
        let mut line = vec![0; len.parse().unwrap()];
        stream.read_exact(&mut line).unwrap();
        found.push(String::from_utf8(line).unwrap());
    }
    found
}

#[test]
fn lines_pass_two_spools_and_each_end_can_be_stopped_and_started() {
    let port = free_port();
    let mut hub = receiver(port);
    let mut edge = sender(&format!("\"relp://127.0.0.1:{port}\""));
    edge.send_numbered(0, 500);
    hub.wait_lines("out", 500);
    // The receiver is away for a while.
    let (code, log) = hub.stop();
    assert_eq!((code, log.contains("ledger: output f: in 500 out 500")), (Some(0), true), "{log}");
    edge.send_numbered(500, 1000);
    edge.wait_node("hub.spool", |node| node.lines_out == 1000);
    let held = edge.node("hub.spool").spool.unwrap();
    assert_eq!(
        (held.durable, held.readers[0].position, held.readers[0].lag_lines),
        (1000, 500, 500)
    );
    hub.run();
    hub.wait_lines("out", 1000);
    // The sender is away; a clean restart sends nothing again.
    edge.wait_node("hub", |node| node.lines_out == 1000);
    let (code, log) = edge.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("reader hub at 1000 (0 lines behind)"), "{log}");
    edge.run();
    edge.send_numbered(1000, 1500);
    assert_eq!(hub.wait_lines("out", 1500), numbered(0, 1500));
    let edge_input = hub.wait_node("edge", |node| node.lines_in == 1000);
    assert_eq!(edge_input.input.unwrap().sequence_lost, 0);
    assert_eq!(hub.node("hold").dropped["duplicate"], 0);
}

/// Formats make lines longer, short ones many times: pieces of a spool fit a frame all the same.
#[test]
fn what_waited_arrives_once_in_every_format() {
    for format in ["rfc5424", "rfc3164", "text", "json"] {
        let port = free_port();
        let edge = sender(&format!("\"relp://127.0.0.1:{port}\"\nformat = \"{format}\""));
        for datagram in 0..100 {
            edge.send("\u{1}\n".repeat(1000).as_bytes());
            edge.wait_node("in", |node| node.lines_in == (datagram + 1) * 1000);
        }
        edge.wait_node("hub.spool", |node| node.lines_out == 100_000);
        let hub = receiver(port);
        edge.wait_node("hub", |node| node.lines_out == 100_000);
        let input = hub.wait_node("edge", |node| node.lines_in == 100_000).input.unwrap();
        assert_eq!((input.malformed, input.sequence_lost), (0, 0), "{format}");
        assert_eq!(hub.wait_lines("out", 100_000).len(), 100_000);
    }
}

#[test]
fn what_a_grace_does_not_suffice_for_stays_in_the_spool() {
    let port = free_port();
    let mut edge = sender(&format!("\"relp://127.0.0.1:{port}\""));
    edge.send_numbered(0, 100);
    edge.wait_node("hub.spool", |node| node.lines_out == 100);
    let lane = edge.node("hub").lanes[0].clone();
    assert!(lane.peer.is_none() && lane.error.unwrap().contains("refused"));
    let (code, log) = edge.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("ledger: output hub: in 0 out 0 not_selected 0 queued 0"), "{log}");
    assert!(log.contains("reader hub at 0 (100 lines behind)"), "{log}");
    let hub = receiver(port);
    edge.run();
    assert_eq!(hub.wait_lines("out", 100), numbered(0, 100));
}

#[test]
fn a_second_peer_takes_over_and_the_first_is_gone_back_to() {
    let (first, second) = (free_port(), free_port());
    let backup = receiver(second);
    let edge = sender(&format!("[\"relp://127.0.0.1:{first}\", \"relp://127.0.0.1:{second}\"]"));
    edge.send_numbered(0, 100);
    backup.wait_lines("out", 100);
    let main = receiver(first);
    wait_for("the first peer", || {
        (edge.node("hub").lanes[0].peer.as_deref()? == format!("relp://127.0.0.1:{first}"))
            .then_some(())
    });
    edge.send_numbered(100, 200);
    assert_eq!(main.wait_lines("out", 100), numbered(100, 200));
    assert_eq!(backup.lines("out"), numbered(0, 100));
    // What the backup got is no gap at the first.
    assert_eq!(main.node("edge").input.unwrap().sequence_lost, 0);
}

#[test]
fn peers_take_turns_and_a_dead_one_costs_nothing() {
    let (one, two) = (free_port(), free_port());
    let hubs = [receiver(one), receiver(two)];
    let mut edge = sender(&format!(
        "[\"relp://127.0.0.1:{one}\", \"relp://127.0.0.1:{two}\"]\nbalance = \"round-robin\""
    ));
    edge.send_numbered(0, 100);
    let even: Vec<_> = numbered(0, 100).into_iter().step_by(2).collect();
    let odd: Vec<_> = numbered(0, 100).into_iter().skip(1).step_by(2).collect();
    assert_eq!(hubs[0].wait_lines("out", 50), even);
    assert_eq!(hubs[1].wait_lines("out", 50), odd);
    edge.wait_node("hub", |node| node.lines_out == 100);
    // One dies: its share goes to the other.
    let [hub, dead] = hubs;
    dead.signal(Signal::SIGKILL);
    edge.send_numbered(100, 200);
    let lines = wait_for("all lines", || {
        let lines = hub.lines("out");
        (lines.len() == 150).then_some(lines)
    });
    let mut all = [lines, odd].concat();
    all.sort_by_key(|line| line[5..].parse::<u64>().unwrap());
    assert_eq!(all, numbered(0, 200));
    edge.stop();
}

#[test]
fn a_key_always_goes_to_the_same_peer() {
    let (one, two) = (free_port(), free_port());
    let hubs = [receiver(one), receiver(two)];
    let edge = sender(&format!(
        "[\"relp://127.0.0.1:{one}\", \"relp://127.0.0.1:{two}\"]\n\
         balance = \"hash\"\nkey = '^(\\S+)'"
    ));
    for round in 0..20 {
        for key in 0..10 {
            edge.send(format!("k{key} {round}\n").as_bytes());
        }
    }
    edge.wait_node("hub", |node| node.lines_out == 200);
    let lines = hubs.each_ref().map(|hub| {
        let count = usize::try_from(hub.node("hold").lines_out).unwrap();
        hub.wait_lines("out", count)
    });
    assert_eq!(lines[0].len() + lines[1].len(), 200);
    let keys = lines.each_ref().map(|lines| {
        let keys = lines.iter().map(|line| line.split(' ').next().unwrap().to_string());
        keys.collect::<std::collections::BTreeSet<_>>()
    });
    assert!(keys[0].is_disjoint(&keys[1]), "{keys:?}");
    assert!(!keys[0].is_empty() && !keys[1].is_empty(), "{keys:?}");
}

#[test]
fn a_broken_tcp_connection_sends_again_what_was_not_acknowledged() {
    let sink = Sink::new();
    let edge = sender(&format!("\"tcp://127.0.0.1:{}\"\nformat = \"rfc5424\"", sink.port()));
    let mut first = sink.accept();
    edge.send(b"one\ntwo\n");
    let lines = read_counted(&mut first, 2);
    let suffix = " in - - - one";
    assert!(lines[0].starts_with("<13>1 20") && lines[0].ends_with(suffix), "{}", lines[0]);
    edge.wait_node("hub", |node| node.lines_out == 2);
    drop(first);
    drop(sink.listener.try_clone());
    edge.send(b"three\n");
    let mut second = sink.accept();
    assert!(read_counted(&mut second, 1)[0].ends_with(" - - - three"));
    edge.wait_node("hub", |node| node.lines_out == 3);
}

#[test]
fn without_a_spool_lines_wait_in_memory_for_the_peer() {
    let port = free_port();
    let edge = Daemon::start(&format!(
        "[output.hub]\nfrom = \"in\"\nforward = \"relp://127.0.0.1:{port}\"\n"
    ));
    edge.send_numbered(0, 100);
    let node = edge.wait_node("hub", |node| node.lines_in == 100);
    assert_eq!((node.queued, node.lines_out), (100, 0));
    let hub = receiver(port);
    assert_eq!(hub.wait_lines("out", 100), numbered(0, 100));
    edge.wait_node("hub", |node| node.lines_out == 100 && node.queued == 0);
}

#[test]
fn several_outputs_read_one_spool_each_at_its_own_pace() {
    let port = free_port();
    let config = format!(
        "grace = \"1s\"\n#daemon\n[spool.hold]\nfrom = \"in\"\ndir = \"{{dir}}/hold\"\n\
         sync = \"batch\"\n\
         [output.all]\nfrom = \"hold\"\nfile = \"{{dir}}/all\"\n\
         [output.some]\nfrom = \"hold\"\nmatch = '5$'\npipe = \"cat >> {{dir}}/some\"\n\
         [output.hub]\nfrom = \"hold\"\nmatch = '0$'\nforward = \"relp://127.0.0.1:{port}\"\n"
    );
    let mut daemon = Daemon::start(&config);
    daemon.send_numbered(0, 1000);
    let fives: Vec<_> = numbered(0, 1000).into_iter().filter(|line| line.ends_with('5')).collect();
    let tens: Vec<_> = numbered(0, 1000).into_iter().filter(|line| line.ends_with('0')).collect();
    assert_eq!(daemon.wait_lines("all", 1000), numbered(0, 1000));
    assert_eq!(daemon.wait_lines("some", 100), fives);
    let held = daemon.node("hold").spool.unwrap();
    // The first line is one that it has to send: its reader cannot be past it.
    let lag = |name: &str| held.readers.iter().find(|r| r.name == name).unwrap().lag_lines;
    assert_eq!((lag("hub"), held.oldest), (1000, 0));
    let (code, _) = daemon.stop();
    assert_eq!(code, Some(0));
    let hub = receiver(port);
    daemon.run();
    assert_eq!(hub.wait_lines("out", 100), tens);
    // What the others had they do not get again.
    daemon.send(b"line 1000\n");
    assert_eq!(daemon.wait_lines("all", 1001), numbered(0, 1001));
    assert_eq!(daemon.lines("some"), fives);
}

#[test]
fn a_file_behind_a_spool_is_exact_through_kill_and_rotation() {
    let mut daemon = Daemon::start(
        "[spool.hold]\nfrom = \"in\"\ndir = \"{dir}/hold\"\nsync = \"batch\"\n\
         [output.f]\nfrom = \"hold\"\nfile = \"{dir}/logs/out\"\nrotate = \"2KiB\"\n",
    );
    for round in 0..6 {
        daemon.send_numbered(round * 300, (round + 1) * 300);
        daemon.wait_node("hold", |node| node.lines_out >= 300);
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        daemon.run();
    }
    let total = 1800;
    let lines = wait_for("every line", || {
        let mut lines = Vec::new();
        for entry in std::fs::read_dir(daemon.path("logs")).ok()? {
            let bytes = std::fs::read(entry.unwrap().path()).ok()?;
            lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_string));
        }
        (lines.len() >= total).then_some(lines)
    });
    let mut lines = lines;
    lines.sort_by_key(|line| line[5..].parse::<u64>().unwrap());
    assert_eq!(lines, numbered(0, total as u64));
}

#[test]
fn a_spool_that_another_daemon_has_is_refused() {
    let port = free_port();
    let hub = receiver(port);
    let config = hub.path("other.toml");
    let other = free_port();
    let text = receiver_config(other).replace("{dir}", &hub.dir.path().display().to_string());
    std::fs::write(&config, format!("[input.in]\nudp = \"127.0.0.1:0\"\n{text}")).unwrap();
    let output = Command::new(LOGWEIR).arg("run").arg("-c").arg(&config).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("another daemon writes to this spool"), "{said}");
}

#[test]
fn a_folder_that_was_restored_from_a_backup_is_refused_by_the_peer_and_said() {
    let port = free_port();
    let hub = receiver(port);
    let mut edge = sender(&format!("\"relp://127.0.0.1:{port}\""));
    edge.send_numbered(0, 10);
    hub.wait_lines("out", 10);
    edge.stop();
    let backup = edge.path("backup");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(done.success());
    };
    copy(&edge.path("spool"), &backup);
    edge.run();
    edge.send_numbered(10, 20);
    hub.wait_lines("out", 20);
    edge.stop();
    std::fs::remove_dir_all(edge.path("spool")).unwrap();
    copy(&backup, &edge.path("spool"));
    edge.run();
    edge.wait_log("the folder was restored from a backup or copied");
    edge.send(b"line 20\n");
    edge.wait_node("hub.spool", |node| node.lines_out == 1);
    assert_eq!(hub.lines("out"), numbered(0, 20), "nothing is taken for what it is not");
}

#[test]
fn send_counts_what_the_peer_has_answered() {
    let port = free_port();
    let hub = receiver(port);
    let text = numbered(0, 10_000).join("\n") + "\n";
    let to = format!("relp://127.0.0.1:{port}");
    let output = crate::util::run(&["send", "--to", &to], text.as_bytes());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), "sent 10000 of 10000 lines\n"));
    assert_eq!(hub.wait_lines("out", 10_000), numbered(0, 10_000));
}

#[test]
fn a_full_spool_drops_its_oldest_lines_and_both_ends_count_them() {
    let port = free_port();
    let mut edge = Daemon::start(&format!(
        "grace = \"1s\"\n#daemon\n\
         [output.hub]\nfrom = \"in\"\nforward = \"relp://127.0.0.1:{port}\"\n\
         spool = {{ dir = \"{{dir}}/spool\", sync = \"batch\", segment = \"64KiB\", \
         max_size = \"128KiB\" }}\n"
    ));
    // A first line sets the receiver's count of this spool.
    let mut hub = receiver(port);
    edge.send(b"first\n");
    hub.wait_lines("out", 1);
    hub.stop();
    edge.wait_node("hub", |node| node.lanes[0].peer.is_none());
    let long = "x".repeat(990);
    for number in 0..400 {
        edge.send(format!("{number:08} {long}\n").as_bytes());
        if number % 50 == 49 {
            edge.wait_node("hub.spool", |node| node.lines_out == number + 2);
        }
    }
    // What it had in memory it would send yet.
    edge.stop();
    edge.run();
    hub.run();
    let kept = wait_for("the newest line", || {
        let lines = hub.lines("out");
        lines.last().is_some_and(|line| line.starts_with("00000399")).then_some(lines)
    });
    let lost = 401 - kept.len() as u64;
    assert!((200..395).contains(&lost), "{lost}");
    let node = edge.wait_node("hub", |node| node.lines_in == 400);
    assert_eq!(node.dropped["spool_full"], lost);
    assert_eq!(hub.node("edge").input.unwrap().sequence_lost, lost);
}

#[test]
fn a_spool_takes_new_readers_and_keys_by_a_reload() {
    let spool = "[spool.hold]\nfrom = \"in\"\ndir = \"{dir}/hold\"\nsync = \"batch\"\n";
    let one = "[output.one]\nfrom = \"hold\"\nfile = \"{dir}/one\"\n";
    let daemon = Daemon::start(&format!("{spool}{one}"));
    daemon.send_numbered(0, 100);
    daemon.wait_lines("one", 100);
    let two = "[output.two]\nfrom = \"hold\"\nmatch = '9$'\nfile = \"{dir}/two\"\n";
    daemon.write_config(&format!("{spool}max_age = \"1d\"\n{one}{two}"));
    let output = daemon.ctl("reload");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    daemon.send_numbered(100, 200);
    assert_eq!(daemon.wait_lines("one", 200), numbered(0, 200));
    let nines: Vec<_> = numbered(0, 200).into_iter().filter(|line| line.ends_with('9')).collect();
    assert_eq!(daemon.wait_lines("two", 20), nines);
    // An output that became another goes on where it was.
    daemon.write_config(&format!("{spool}{one}mode = \"0600\"\n{two}"));
    assert!(daemon.ctl("reload").status.success());
    daemon.send_numbered(200, 300);
    assert_eq!(daemon.wait_lines("one", 300), numbered(0, 300));
}

#[test]
fn clients_that_are_wrong_or_silent_harm_nobody() {
    let port = free_port();
    let hub = Daemon::start(
        &receiver_config(port)
            .replace("[spool", "max_connections = 3\nmax_message = \"64B\"\n[spool"),
    );
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    };
    let ask = |text: &[u8]| {
        let mut stream = connect();
        stream.write_all(text).unwrap();
        let mut answer = String::new();
        // The server may close with what it did not read unread.
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let open = b"1 open 28 relp_version=0\ncommands=syslog\n";
    let open = [&open[..7], b"30", &open[9..]].concat();
    assert_eq!(ask(b"GET / HTTP/1.0\r\n\r\n"), "");
    assert_eq!(ask(b"1 open 9999999999 x\n"), "");
    assert!(ask(&[&open[..], b"2 open 0\n"].concat()).contains("2 rsp 43 500"), "{open:?}");
    assert!(ask(&[&open[..], b"2 close 0\n"].concat()).ends_with("2 rsp 0\n0 serverclose 0\n"));
    hub.wait_node("edge", |node| node.input.unwrap().malformed == 3);
    // As many silent ones as may be, and one more.
    let silent = [connect(), connect(), connect()];
    hub.wait_node("edge", |node| node.input.unwrap().connections == 7);
    let mut refused = connect();
    assert_eq!(refused.read(&mut [0]).unwrap_or(0), 0);
    hub.wait_node("edge", |node| node.input.unwrap().refused == 1);
    drop(silent);
    // One that sends too long a line, and half of one.
    let long = "y".repeat(100);
    let mut client = wait_for("room", || {
        let mut client = connect();
        client.write_all(&open).unwrap();
        let mut answer = [0; 8];
        (client.read(&mut answer).ok()? > 0).then_some(client)
    });
    client.write_all(format!("2 syslog 100 {long}\n3 syslog 9 ha").as_bytes()).unwrap();
    assert_eq!(hub.wait_lines("out", 1), ["y".repeat(64)]);
    drop(client);
    let node = hub.node("edge");
    assert_eq!((node.lines_in, node.input.unwrap().oversize), (1, 1));
}

/// The frame that opens a session.
fn open_frame() -> Vec<u8> {
    b"1 open 30 relp_version=0\ncommands=syslog\n".to_vec()
}

#[test]
fn unfinished_frames_of_all_clients_together_are_bounded() {
    let port = free_port();
    let hub = Daemon::start(&format!(
        "[input.edge]\nrelp = \"127.0.0.1:{port}\"\nmax_message = \"1MiB\"\n\
         [output.f]\nfrom = \"edge\"\nfile = \"{{dir}}/out\"\n"
    ));
    let frame = format!("2 syslog 1048576 {}", "x".repeat(1_000_000));
    let mut clients = Vec::new();
    for _ in 0..24 {
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(&open_frame()).unwrap();
        // One that is disconnected meanwhile cannot write all of it.
        let _ = client.write_all(frame.as_bytes());
        clients.push(client);
    }
    let node = hub.wait_node("edge", |node| node.input.unwrap().malformed > 0);
    assert!(node.input.unwrap().malformed <= 24 - 16, "{node:?}");
    hub.wait_log("together they take too much memory");
}

#[test]
fn a_daemon_ends_though_clients_wait_for_answers() {
    for round in 0..10 {
        let port = free_port();
        let mut hub = receiver(port);
        let mut clients: Vec<_> =
            (0..4).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        for client in &mut clients {
            client.write_all(&open_frame()).unwrap();
            for number in 2..50 + round {
                client.write_all(format!("{number} syslog 3 abc\n").as_bytes()).unwrap();
            }
        }
        let (code, log) = hub.stop();
        assert_eq!(code, Some(0), "{log}");
    }
}

#[test]
fn a_spool_goes_on_when_its_output_gets_another_peer() {
    let (dead, port) = (free_port(), free_port());
    let config = |port: u16| {
        format!(
            "[output.hub]\nfrom = \"in\"\nforward = \"relp://127.0.0.1:{port}\"\n\
             spool = {{ dir = \"{{dir}}/spool\", sync = \"batch\" }}\n"
        )
    };
    let daemon = Daemon::start(&format!("grace = \"1h\"\n#daemon\n{}", config(dead)));
    daemon.send_numbered(0, 100);
    daemon.wait_node("hub.spool", |node| node.lines_out == 100);
    let hub = receiver(port);
    daemon.write_config(&format!("grace = \"1h\"\n#daemon\n{}", config(port)));
    assert!(daemon.ctl("reload").status.success());
    daemon.send_numbered(100, 200);
    assert_eq!(hub.wait_lines("out", 200), numbered(0, 200));
    // Also from a peer that has answered all it was sent.
    let other = receiver(dead);
    daemon.write_config(&format!("grace = \"1h\"\n#daemon\n{}", config(dead)));
    assert!(daemon.ctl("reload").status.success());
    daemon.send_numbered(200, 300);
    assert_eq!(other.wait_lines("out", 100), numbered(200, 300));
    assert_eq!(hub.lines("out").len(), 200);
}

#[test]
fn a_refused_configuration_leaves_the_spool_alone() {
    let port = free_port();
    let mut edge = sender(&format!("\"relp://127.0.0.1:{port}\""));
    edge.send_numbered(0, 100);
    edge.wait_node("hub.spool", |node| node.lines_out == 100);
    edge.stop();
    let good = std::fs::read_to_string(edge.path("logweir.toml")).unwrap();
    std::fs::write(edge.path("logweir.toml"), good.replace("sync", "snyc")).unwrap();
    let before = std::fs::read_dir(edge.path("spool")).unwrap().count();
    let output = Command::new(LOGWEIR).arg("run").arg("-c").arg(edge.path("logweir.toml")).output();
    assert_eq!(output.unwrap().status.code(), Some(2));
    assert_eq!(std::fs::read_dir(edge.path("spool")).unwrap().count(), before);
    std::fs::write(edge.path("logweir.toml"), good).unwrap();
    let hub = receiver(port);
    edge.run();
    assert_eq!(hub.wait_lines("out", 100), numbered(0, 100));
}

#[test]
fn closed_segments_are_compressed_and_read_all_the_same() {
    let port = free_port();
    let edge = Daemon::start(&format!(
        "[output.hub]\nfrom = \"in\"\nforward = \"relp://127.0.0.1:{port}\"\nqueue = \"64KiB\"\n\
         spool = {{ dir = \"{{dir}}/spool\", sync = \"batch\", segment = \"64KiB\", \
         compress = \"zstd\" }}\n"
    ));
    let mut edge = edge;
    let long = "x".repeat(490);
    for number in 0..1000 {
        edge.send(format!("line {number} {long}\n").as_bytes());
        if number % 100 == 99 {
            edge.wait_node("hub.spool", |node| node.lines_out == number + 1);
        }
    }
    let packed = |edge: &Daemon| {
        let names = std::fs::read_dir(edge.path("spool")).unwrap();
        names.filter(|n| n.as_ref().unwrap().path().extension().is_some_and(|e| e == "zst")).count()
    };
    wait_for("compressed segments", || (packed(&edge) >= 6).then_some(()));
    // Nothing of it is in memory any more.
    edge.signal(Signal::SIGKILL);
    edge.wait();
    edge.run();
    let hub = receiver(port);
    let lines = hub.wait_lines("out", 1000);
    assert!((0..).zip(&lines).all(|(n, line)| *line == format!("line {n} {long}")));
    wait_for("what was passed to be removed", || (packed(&edge) == 0).then_some(()));
}
