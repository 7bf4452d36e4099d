//! The tools that take the places of Wikimedia's, by their own names and by the old ones.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::util::{LOGWEIR, run, wait_for};

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Exit code, standard output and standard error.
fn said(output: &Output) -> (Option<i32>, &str, &str) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Runs the binary under another name, by a symlink.
fn run_as(name: &str, args: &[&str], input: &[u8]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join(name);
    std::os::unix::fs::symlink(LOGWEIR, &link).unwrap();
    let mut command = Command::new(link);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that refuses its command line reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[test]
fn loss_counts_every_sender() {
    let mut lines = String::new();
    for number in (0..1000).filter(|number| number % 100 != 50) {
        writeln!(lines, "cp1 {number} x").unwrap();
    }
    lines.push_str("cp2\t7\ncp2\t9\ncp2\t8\ncp2\t5000\ncp2\t1\nnothing of that kind\n");
    let output = run(&["loss"], lines.as_bytes());
    let want = "\
SENDER                         RECEIVED           LOST    LOST %      LATE  RESTARTS DUPLICATES
cp1                                 990             10     1.000         0         0          0
cp2                                   5           4990    99.900         1         1          0
total                               995           5000    83.403         1         1          0
1 lines without a sender and a number
";
    assert_eq!(said(&output), (Some(0), want, ""));
}

#[test]
fn loss_takes_a_sample_and_a_delimiter() {
    let output = run(&["loss", "--sample", "10", "--delimiter", ","], b"a b,10\na b,20\na b,40\n");
    let (code, out, _) = said(&output);
    assert_eq!(code, Some(0));
    let row = out.lines().nth(1).unwrap();
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["a", "b", "3", "1", "25.000", "0", "0", "0"]
    );
    let output = run(&["loss", "--delimiter", "\\t"], b"a b\t1\na b\t2\n");
    assert!(text(&output.stdout).contains("a b"));
    for bad in [["--sample", "0"], ["--delimiter", "ab"]] {
        assert_eq!(run(&["loss", bad[0], bad[1]], b"").status.code(), Some(2));
    }
}

#[test]
fn loss_prints_the_hours_and_the_gaps() {
    let mut lines = String::new();
    // 3 lost in the first hour, 1 at its edge, 2 doubled in the second; then a new beginning.
    for number in (100..=199).chain(203..=210).chain(212..=220).chain([219, 220]).chain(1..=4) {
        let time = 1_700_000_000 + if number < 100 { 9000 } else { (number - 100) * 25 };
        writeln!(lines, "cp1 {number} {time}.123 GET").unwrap();
    }
    lines.push_str("cp2 7 2023-11-14T22:00:00 x\ncp2 9 - x\n");
    let output = run(&["loss", "--hourly", "--gaps"], lines.as_bytes());
    let tables: Vec<_> = text(&output.stdout).split("\n\n").collect();
    let rows = |table: &str| -> Vec<String> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        table.lines().skip(1).map(words).collect()
    };
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        rows(tables[1]),
        [
            "- cp2 1 2 1 1 1 0 50.000",
            "2023-11-14T22:00Z cp1 1 111 108 108 3 0 2.703",
            "2023-11-14T22:00Z cp2 1 1 1 1 0 0 0.000",
            "2023-11-14T23:00Z cp1 1 10 11 9 1 2 10.000",
            "2023-11-15T00:00Z cp1 2 4 4 4 0 0 0.000",
        ]
    );
    assert_eq!(
        rows(tables[2]),
        [
            "cp1 1 200 202 3 2023-11-14T22:54:35Z 2023-11-14T22:56:15Z",
            "cp1 1 211 211 1 2023-11-14T22:59:10Z 2023-11-14T23:00:00Z",
            "cp2 1 8 8 1 2023-11-14T22:00:00Z -",
        ]
    );
    let output = run(&["loss", "--gaps", "--sample", "10"], b"");
    assert_eq!(output.status.code(), Some(2));
}

fn file(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

#[test]
fn demux_writes_the_rest_of_a_line_to_the_file_its_first_word_names() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("made/where missing");
    let input =
        b"a one\nb.c/../d two  words\na \xff\0\n\nnoname\n nameless\n\xc3\xa4 x\nt\tb x\na end";
    let output = run(&["demux", to.to_str().unwrap()], input);
    let want = "demux: 5 lines without a usable name were dropped\n";
    assert_eq!(said(&output), (Some(0), "", want));
    assert_eq!(std::fs::read(to.join("a.log")).unwrap(), b"one\n\xff\0\nend\n");
    assert_eq!(file(&to, "b_c____d.log"), "two  words\n");
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 2);
    let output = run(&["demux", to.to_str().unwrap()], b"a more\n");
    assert_eq!(said(&output), (Some(0), "", ""));
    assert!(std::fs::read(to.join("a.log")).unwrap().ends_with(b"end\nmore\n"));
}

#[test]
fn demux_writes_more_files_than_it_keeps_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut input = String::new();
    for line in 0..3000 {
        writeln!(input, "n{} {line}", line % 1000).unwrap();
    }
    let command = format!("ulimit -n 280; exec {LOGWEIR} demux {}", dir.path().display());
    let mut child =
        Command::new("sh").args(["-c", &command]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    for name in 0..1000 {
        let want = format!("{name}\n{}\n{}\n", name + 1000, name + 2000);
        assert_eq!(file(dir.path(), &format!("n{name}.log")), want);
    }
}

#[test]
fn demux_says_what_it_could_not_write() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("folder.log")).unwrap();
    std::os::unix::fs::symlink("/dev/full", dir.path().join("full.log")).unwrap();
    let to = dir.path().to_str().unwrap();
    let input = b"folder 1\nfolder 2\nfull 3\nfine 4\n";
    let output = run(&["demux", to], input);
    let want = "Failed to open file \"folder.log\"\nI/O error writing to file \"full.log\"\n\
                demux: 3 lines could not be written\n";
    assert_eq!(said(&output), (Some(1), "", want));
    assert_eq!(file(dir.path(), "fine.log"), "4\n");
    let output = run_as("udp2log-demux", &["--basedir", to], input);
    let want = want.split_inclusive('\n').take(2).collect::<String>();
    assert_eq!(said(&output), (Some(0), "", &*want));
}

#[test]
fn udp2log_demux_takes_the_originals_options() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().to_str().unwrap();
    let equals = format!("--basedir={to}");
    for args in [&["--basedir", to][..], &[&equals], &[to]] {
        assert_eq!(said(&run_as("udp2log-demux", args, b"a 1\nbad\n")), (Some(0), "", ""));
    }
    assert_eq!(file(dir.path(), "a.log"), "1\n1\n1\n");
    assert_eq!(run(&["udp2log-demux", to], b"a 2\n").status.code(), Some(0));
    assert_eq!(file(dir.path(), "a.log"), "1\n1\n1\n2\n");
    let output = run_as("udp2log-demux", &[], b"");
    assert_eq!(said(&output), (Some(1), "", "--basedir is required\n"));
    let output = run_as("udp2log-demux", &["--nonsense"], b"");
    let (code, _, err) = said(&output);
    assert_eq!(code, Some(1));
    assert!(
        err.starts_with("unrecognised option '--nonsense'\nUsage: udp2log-demux [..options..]\n")
    );
}

/// Ten lines of two senders; of `a` half are missing at rate 1.
fn packet_loss_lines() -> String {
    let mut lines = String::new();
    for number in 0..11 {
        let at = format!("2012-01-01T00:0{}:00.123", number % 10);
        writeln!(lines, "a {} {at} x\nb {number} {at} x y", number * 2).unwrap();
    }
    lines
}

#[test]
fn packet_loss_reports_as_the_original_to_the_byte() {
    let mut lines = packet_loss_lines();
    lines.push_str("c 5 2012-01-01T00:11:00 x\nc 4 2012-01-01T00:11:01 x\nbad\n\n");
    let output = run_as("packet-loss", &["1"], lines.as_bytes());
    let want = "\
[2012-01-01T00:00:00] invalid: (0.00000 +/- 100.00000)%
[2012-01-01T00:00:00] out of order: (0.00000 +/- 100.00000)%
[2012-01-01T00:00:00] total lost: (0 +/- 0)%
[2012-01-01T00:11:00] invalid: (0.00000 +/- 21.32007)%
[2012-01-01T00:11:00] out of order: (0.00000 +/- 21.32007)%
[2012-01-01T00:11:00] total lost: (26.66667 +/- 15.63472)%
[2012-01-01T00:11:00] a lost: (45.00000 +/- 16.58312)%
[2012-01-01T00:11:00] b lost: (-10.00000 +/- 33.16625)%
[2012-01-01T00:11:01] invalid: (66.66667 +/- 57.73503)%
[2012-01-01T00:11:01] out of order: (33.33333 +/- 57.73503)%
[2012-01-01T00:11:01] total lost: (0 +/- 0)%
";
    assert_eq!(said(&output), (Some(0), want, ""));
    let tabs = lines.replace(' ', "\t");
    let output = run(&["packet-loss", "1", "\\t"], tabs.as_bytes());
    assert_eq!(said(&output), (Some(0), want, ""));
}

#[test]
fn packet_loss_refuses_as_the_original() {
    let usage = "usage: packet-loss <sample-rate> [delimiter]\n";
    assert_eq!(said(&run_as("packet-loss", &[], b"")), (Some(1), "", usage));
    for bad in ["0", "-3", "x", "", "1.5", "2147483648"] {
        let output = run_as("packet-loss", &[bad], b"");
        assert_eq!(said(&output), (Some(1), "", "packet-loss: invalid sample rate\n"), "{bad}");
    }
    assert_eq!(run_as("packet-loss", &["+10"], b"").status.code(), Some(0));
}

fn sink() -> (UdpSocket, String) {
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    sink.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let port = sink.local_addr().unwrap().port().to_string();
    (sink, port)
}

fn received(sink: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let count = sink.recv(&mut buffer).unwrap();
    buffer.truncate(count);
    buffer
}

#[test]
fn log2udp_numbers_all_lines_and_sends_every_nth() {
    let (sink, port) = sink();
    let args = ["-h", "127.0.0.1", "-p", &port, "-f", "3"];
    let output = run_as("log2udp", &args, b"a\nb\nc\nd\ne\nf\ng\nh\ni");
    assert_eq!(said(&output), (Some(0), "", ""));
    for want in [&b"0 a\n"[..], b"3 d\n", b"6 g\n"] {
        assert_eq!(received(&sink), want);
    }
    let output = run(&["log2udp", "-h", "localhost", "-p", &port, "-"], b"\0\xff\nx\n");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(received(&sink), b"0 \0\xff\n");
}

#[test]
fn log2udp_sends_what_a_datagram_can_hold() {
    let (sink, port) = sink();
    let mut input = vec![b'x'; 65_504];
    input.extend_from_slice(b"\n");
    input.extend_from_slice(&[b'y'; 200_000]);
    input.extend_from_slice(b"\nz\n");
    let output = run(&["log2udp", "-h", "127.0.0.1", "-p", &port], &input);
    let want = "log2udp: 1 lines were cut to a datagram's size\n";
    assert_eq!(said(&output), (Some(0), "", want));
    let first = received(&sink);
    assert_eq!((first.len(), &first[..3], first.last()), (65_507, &b"0 x"[..], Some(&b'\n')));
    let second = received(&sink);
    assert_eq!((second.len(), &second[..3], second.last()), (65_507, &b"1 y"[..], Some(&b'\n')));
    assert_eq!(received(&sink), b"2 z\n");
}

/// A process that ends with its test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn log2udp_makes_a_fifo_and_reads_it_again_after_its_end() {
    let (sink, port) = sink();
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    let child = Command::new(LOGWEIR)
        .args(["log2udp", "-h", "127.0.0.1", "-p", &port, "-f", "1"])
        .arg(&fifo)
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    wait_for("the named pipe", || fifo.exists().then_some(()));
    // A writer may come and go while the pipe is being opened again: many tries find that.
    for round in 0..300 {
        std::fs::write(&fifo, "a\nb").unwrap();
        assert_eq!(text(&received(&sink)), format!("{} a\n", round * 2));
        assert_eq!(text(&received(&sink)), format!("{} b\n", round * 2 + 1));
    }
    assert!(child.0.try_wait().unwrap().is_none());
}

#[test]
fn log2udp_ends_where_its_named_pipe_gives_way_to_a_file() {
    let (sink, port) = sink();
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut command = Command::new(LOGWEIR);
    command.args(["log2udp", "-h", "127.0.0.1", "-p", &port, "-f", "1"]).arg(&fifo);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut writer = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    writer.write_all(b"a\n").unwrap();
    assert_eq!(text(&received(&sink)), "0 a\n");
    std::fs::remove_file(&fifo).unwrap();
    std::fs::write(&fifo, "b\n").unwrap();
    drop(writer);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the file specified is not a fifo: "));
    sink.set_nonblocking(true).unwrap();
    assert!(sink.recv(&mut [0; 10]).is_err());
}

#[test]
fn log2udp_refuses_with_1_and_only_the_long_option_is_help() {
    for args in [&["-h"][..], &["-h", "x", "-p", "99999"], &["-q"], &["/etc/passwd"]] {
        let output = run_as("log2udp", args, b"");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    let output = run_as("log2udp", &["--help"], b"");
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("-h, --host <HOST>"));
    // By its own name logweir keeps its own code.
    assert_eq!(run(&["nonsense"], b"").status.code(), Some(2));
}

#[test]
fn the_help_of_a_drop_in_calls_it_by_the_name_it_was_started_by() {
    for (name, usage) in [
        ("udp2log", "Usage: udp2log [OPTIONS]\n"),
        ("log2udp", "Usage: log2udp [OPTIONS] [FIFO]\n"),
        ("packet-loss", "Usage: packet-loss RATE [DELIMITER]\n"),
        ("udp2log-demux", "Usage: udp2log-demux [[--basedir] DIR]\n"),
    ] {
        let output = run_as(name, &["--help"], b"");
        let (code, help, errors) = said(&output);
        assert_eq!((code, errors), (Some(0), ""));
        assert!(help.contains(usage), "{help}");
    }
    // What it reads and prints is told too; the subcommand says the same.
    for output in [run_as("packet-loss", &["-h"], b""), run(&["packet-loss", "--help"], b"")] {
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("Usage: packet-loss RATE [DELIMITER]\n"));
    }
    let long = run(&["packet-loss", "--help"], b"");
    assert!(text(&long.stdout).contains("begin with a sender's name, a number and a time"));
    let output = run(&["log2udp", "--help"], b"");
    assert!(text(&output.stdout).contains("Usage: logweir log2udp [OPTIONS] [FIFO]\n"));
}
