//! `gen` and `send`: what arrives is what they say they sent.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, mkfifo};

use crate::util::{LOGWEIR, free_port, run};

/// A bound socket that is read until nothing more comes for a while after `count` datagrams.
fn sink() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let url = format!("udp://{}", socket.local_addr().unwrap());
    (socket, url)
}

fn receive(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 65_536];
    let mut next = || {
        let len = socket.recv(&mut buffer).unwrap();
        buffer[..len].to_vec()
    };
    let got = (0..count).map(|_| next()).collect();
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 10]).is_err(), "more than {count} datagrams");
    got
}

/// Takes one connection and reads all of it.
fn stream() -> (JoinHandle<Vec<u8>>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let reader = thread::spawn(move || {
        let mut got = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
        got
    });
    (reader, url)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn generate(url: &str, args: &str) -> Output {
    let mut all = vec!["gen", "--to", url];
    all.extend(args.split_whitespace());
    run(&all, b"")
}

#[test]
fn gen_sends_every_number_once_in_order_with_and_without_gso() {
    for more in ["", "--no-gso", "--rate 5000", "--rate 5000 --no-gso"] {
        let (socket, url) = sink();
        let args = format!("--lines 150 --size 80 --format raw --sender me {more}");
        let output = generate(&url, &args);
        assert!(output.status.success(), "{}", stderr(&output));
        let said = stdout(&output);
        assert!(said.starts_with("150 lines, 12000 bytes, "), "{said}");
        assert!(said.ends_with(" lines/s, 0 errors\n"), "{said}");
        for (i, line) in receive(&socket, 150).into_iter().enumerate() {
            let want = format!("{:x<79}\n", format!("me {:012} ", i + 1));
            assert_eq!(String::from_utf8(line).unwrap(), want);
        }
    }
}

#[test]
fn gen_puts_several_lines_into_a_datagram() {
    for more in ["", "--no-gso", "--rate 20000"] {
        let (socket, url) = sink();
        let args = format!("--lines 103 --per-datagram 10 --format raw --size 100 {more}");
        assert!(generate(&url, &args).status.success());
        let got = receive(&socket, 11);
        assert!(got[..10].iter().all(|datagram| datagram.len() == 1000));
        assert_eq!(got[10].len(), 300);
        let text = String::from_utf8(got.concat()).unwrap();
        for (i, line) in text.lines().enumerate() {
            assert!(line.contains(&format!(" {:012} x", i + 1)), "{line}");
        }
    }
}

#[test]
fn gen_speaks_squid_and_syslog() {
    let (socket, url) = sink();
    assert!(generate(&url, "--lines 100 --sender cp1.example").status.success());
    for (i, line) in receive(&socket, 100).into_iter().enumerate() {
        assert_eq!(line.len(), 200);
        let text = String::from_utf8(line).unwrap();
        let fields: Vec<&str> = text.trim_end().split(' ').collect();
        assert_eq!(fields.len(), 14, "{text}");
        assert_eq!(fields[..2], ["cp1.example", &format!("{:012}", i + 1)]);
        assert_eq!(fields[7], "GET");
        assert!(fields[8].starts_with("http://"), "{text}");
    }
    let (socket, url) = sink();
    assert!(generate(&url, "--lines 100 --format rfc5424 --sender cp1").status.success());
    for (i, line) in receive(&socket, 100).into_iter().enumerate() {
        assert_eq!(line.len(), 200);
        let text = String::from_utf8(line).unwrap();
        let fields: Vec<&str> = text.split(' ').collect();
        assert!(fields[0].starts_with('<') && fields[0].ends_with(">1"), "{text}");
        assert!(fields[1].ends_with('Z') && fields[2] == "cp1", "{text}");
        assert_eq!(fields[6..8], ["[meta", &format!("sequenceId=\"{:010}\"]", i + 1)]);
    }
}

#[test]
fn gen_fills_a_stream() {
    let (reader, url) = stream();
    let output = generate(&url, "--lines 20000 --format raw --sender a --size 50");
    assert!(stdout(&output).starts_with("20000 lines, 1000000 bytes"), "{}", stdout(&output));
    let got = String::from_utf8(reader.join().unwrap()).unwrap();
    assert_eq!(got.lines().count(), 20_000);
    for (i, line) in got.lines().enumerate() {
        assert!(line.starts_with(&format!("a {:012} x", i + 1)), "{line}");
    }
}

#[test]
fn gen_without_end_is_ended_by_a_signal_and_counts() {
    let (socket, url) = sink();
    let child = Command::new(LOGWEIR)
        .args(["gen", "--to", &url, "--lines", "0", "--rate", "1000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    socket.recv(&mut [0; 300]).unwrap();
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let count = stdout(&output).split(' ').next().unwrap().parse::<usize>().unwrap();
    receive(&socket, count - 1);
}

#[test]
fn gen_goes_on_where_nobody_listens() {
    let url = format!("udp://127.0.0.1:{}", free_port());
    let output = generate(&url, "--lines 5000 --no-gso");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.starts_with("5000 lines") && !said.contains(" 0 errors"), "{said}");
}

#[test]
fn what_cannot_be_is_refused() {
    for (args, said) in [
        ("gen --to localhost:1", "the protocol is missing: write udp://host:port"),
        ("gen --to relp://localhost:1", "`relp` is not a protocol known here"),
        ("send --to udp://localhost", "the port is missing: write udp://localhost:8420"),
        ("send --to udp://localhost:1 --sample 0", "0 is not in 1.."),
        ("gen --to udp://localhost:1 --format raw --sender me --size 5", "me\": write 17 or more"),
        ("gen --to udp://localhost:1 --size 0", "too small"),
        ("gen --to udp://localhost:1 --size 70000", "at most 65507 fit into one"),
        ("gen --to udp://localhost:1 --per-datagram 400", "400 lines in a datagram: at most 163"),
        ("gen --to udp://localhost:1 --per-datagram 0", "at least 1 line"),
        ("gen --to udp://localhost:1 --sender a,ä", "ASCII characters without spaces"),
    ] {
        let output = run(&args.split(' ').collect::<Vec<_>>(), b"");
        assert_eq!(output.status.code(), Some(2), "{args}");
        assert!(stderr(&output).contains(said), "{args}: {}", stderr(&output));
    }
}

#[test]
fn send_makes_each_line_a_datagram() {
    let (socket, url) = sink();
    let output = run(&["send", "--to", &url], b"one\n\nth\0ree\nno newline");
    assert_eq!(stderr(&output), "sent 4 of 4 lines\n");
    assert_eq!(output.status.code(), Some(0));
    let want: [&[u8]; 4] = [b"one\n", b"\n", b"th\0ree\n", b"no newline\n"];
    assert_eq!(receive(&socket, 4), want);
}

#[test]
fn send_samples_and_numbers_all_lines() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let text: String = (1..=100).map(|i| format!("line {i}\n")).collect();
    std::fs::write(&file, text).unwrap();
    let (socket, url) = sink();
    let (reader, stream) = stream();
    for url in [&url, &stream] {
        let args = ["send", "--to", url, "--sample", "10", "--sequence", file.to_str().unwrap()];
        let output = run(&args, b"");
        assert_eq!(stderr(&output), "sent 10 of 100 lines\n");
    }
    let want: String = (1..=10).map(|i| format!("{0} line {0}\n", i * 10)).collect();
    assert_eq!(receive(&socket, 10).concat(), want.as_bytes());
    assert_eq!(reader.join().unwrap(), want.as_bytes());
}

#[test]
fn send_puts_a_name_before_the_numbers_and_loss_counts_by_them() {
    let (socket, url) = sink();
    let args = ["send", "--to", &url, "--sequence", "--sender", "cp1"];
    assert_eq!(run(&args, b"one\ntwo\nthree\n").status.code(), Some(0));
    let lines = receive(&socket, 3);
    assert_eq!(lines.concat(), b"cp1 1 one\ncp1 2 two\ncp1 3 three\n");
    let found = run(&["loss"], &[&lines[0][..], &lines[2]].concat());
    let found = String::from_utf8(found.stdout).unwrap();
    let row: Vec<_> = found.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["cp1", "2", "1", "33.333"], "{found}");
    let long = "x".repeat(256);
    for wrong in [&["--sender", "cp1"][..], &["--sequence", "--sender", "a b"]] {
        assert_eq!(run(&[&args[..3], wrong].concat(), b"").status.code(), Some(2), "{wrong:?}");
    }
    for wrong in ["", "a\tb", &long] {
        assert_eq!(run(&[&args[..5], &[wrong]].concat(), b"").status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn send_cuts_what_no_datagram_can_take() {
    let input = [&[b'x'; 70_000][..], b"\nshort\n"].concat();
    for (more, first) in [
        (&[][..], 65_507),
        (&["--sequence"], 65_507 - 21 + 2),
        (&["--sequence", "--sender", "cp1"], 65_507 - 21 + 2),
    ] {
        let (socket, url) = sink();
        let output = run(&[&["send", "--to", &url], more].concat(), &input);
        assert!(stderr(&output).starts_with("sent 2 of 2 lines, 1 cut to "), "{output:?}");
        let got = receive(&socket, 2);
        assert_eq!(got[0].len(), first);
        assert!(got[0].ends_with(b"x\n") && got[1].ends_with(b"short\n"));
    }
}

#[test]
fn send_reads_a_named_pipe_on_after_its_end() {
    let Reader { child, fifo, socket, _dir } = Reader::new();
    for text in ["one\n", "two", "three\n"] {
        let mut writer = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        drop(writer);
        let mut buffer = [0; 100];
        let count = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], format!("{}\n", text.trim_end()).as_bytes());
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "sent 3 of 3 lines\n");
}

#[test]
fn send_ends_at_the_end_of_a_pipe_without_a_name() {
    let (socket, url) = sink();
    let output = run(&["send", "--to", &url, "/dev/stdin"], b"one\n");
    assert_eq!(stderr(&output), "sent 1 of 1 lines\n");
    assert_eq!(receive(&socket, 1), [b"one\n"]);
}

#[test]
fn send_says_how_much_a_broken_connection_took() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let closer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 10]).unwrap();
    });
    let output = run(&["send", "--to", &url], &b"a line\n".repeat(5_000_000));
    closer.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains(" lines were handed over") && said.contains("sent "), "{said}");
}

#[test]
fn send_says_what_it_cannot_read() {
    let output = run(&["send", "--to", "udp://127.0.0.1:9", "/no/such/file"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/no/such/file: No such file"), "{}", stderr(&output));
}

/// A `send` that reads a named pipe in a folder of its own.
struct Reader {
    child: std::process::Child,
    fifo: std::path::PathBuf,
    socket: UdpSocket,
    _dir: tempfile::TempDir,
}

impl Reader {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (socket, url) = sink();
        let mut command = Command::new(LOGWEIR);
        command.args(["send", "--to", &url]).arg(&fifo).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        Self { child, fifo, socket, _dir: dir }
    }

    /// One that has sent its first line.
    fn started() -> Self {
        let reader = Self::new();
        let mut writer = std::fs::OpenOptions::new().write(true).open(&reader.fifo).unwrap();
        writer.write_all(b"one\n").unwrap();
        assert_eq!(reader.socket.recv(&mut [0; 100]).unwrap(), 4);
        reader
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

#[test]
fn send_ends_where_its_named_pipe_gives_way_to_a_file() {
    let reader = Reader::started();
    let writer = std::fs::OpenOptions::new().write(true).open(&reader.fifo).unwrap();
    std::fs::remove_file(&reader.fifo).unwrap();
    std::fs::write(&reader.fifo, "two\n").unwrap();
    drop(writer);
    let output = reader.child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is not a named pipe"), "{}", stderr(&output));
    assert_eq!(receive(&reader.socket, 0), [b""; 0]);
}

#[test]
fn send_takes_what_its_pipe_holds_when_it_is_told_to_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let reader = Reader::started();
        let mut writer = std::fs::OpenOptions::new().write(true).open(&reader.fifo).unwrap();
        reader.signal(Signal::SIGSTOP);
        writer.write_all(b"two\nthree\nfour").unwrap();
        reader.signal(signal);
        reader.signal(Signal::SIGCONT);
        let output = reader.child.wait_with_output().unwrap();
        assert_eq!(stderr(&output), "sent 4 of 4 lines\n");
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(receive(&reader.socket, 3).concat(), b"two\nthree\nfour\n");
    }
}

#[test]
fn send_that_is_stopped_in_a_file_says_so_and_what_it_sent_has_arrived() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    std::fs::write(&file, b"a line of the file\n".repeat(5_000_000)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let mut command = Command::new(LOGWEIR);
    command.args(["send", "--to", &url]).arg(&file).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("there is more to read in "), "{said}");
    let lines = got.iter().filter(|byte| **byte == b'\n').count();
    assert!(said.starts_with(&format!("sent {lines} of {lines} lines\n")), "{said}");
    assert!(got.ends_with(b"a line of the file\n"));
}

#[test]
fn what_a_peer_says_reaches_no_terminal_as_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("relp://{}", listener.local_addr().unwrap());
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let words = b"500 no\nlogweir: forged\x1b]52;c;x\x07\x9b31m";
        stream.write_all(format!("1 rsp {} ", words.len()).as_bytes()).unwrap();
        stream.write_all(&[&words[..], b"\n"].concat()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let output = run(&["send", "--to", &url], b"a line\n");
    peer.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let wanted =
        "the peer refuses the session: 500 no\\nlogweir: forged\\x1b]52;c;x\\x07\\x9b31m\n";
    assert!(stderr(&output).ends_with(wanted), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1);
}
