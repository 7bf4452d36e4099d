//! SIGKILL in the middle of a flow between two logweirs, a spool at either end: nothing that was
//! on disk is lost, and nothing comes twice.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;

use crate::util::{Daemon, LOGWEIR, free_port, run, wait_for};

/// Lines of a flow, and how many at a time.
const LINES: u64 = 60_000;
const TURN: u64 = 100;

fn receiver(port: u16) -> Daemon {
    Daemon::start(&format!(
        "[input.edge]\nrelp = \"127.0.0.1:{port}\"\n\
         [spool.hold]\nfrom = \"edge\"\ndir = \"{{dir}}/hold\"\nsegment = \"256KiB\"\n\
         [output.f]\nfrom = \"hold\"\nfile = \"{{dir}}/out\"\n\
         [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
    ))
}

fn sender(port: u16) -> Daemon {
    Daemon::start(&format!(
        "[input.feed]\nfifo = \"{{dir}}/feed\"\n\
         [output.hub]\nfrom = \"feed\"\nforward = \"relp://127.0.0.1:{port}\"\n\
         spool = {{ dir = \"{{dir}}/spool\", sync = \"20ms\", segment = \"256KiB\", \
         when_full = \"block\" }}\n\
         [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
    ))
}

/// Feeds numbered lines and kills whom `victim` says at three random moments.
fn flow(victim: impl Fn(u64) -> [bool; 2]) {
    let seed = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into();
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut kills: Vec<u64> = (0..3).map(|_| random.u64(1..LINES / TURN)).collect();
    kills.sort_unstable();
    let port = free_port();
    let (mut hub, mut edge) = (receiver(port), sender(port));
    let open = |edge: &Daemon| {
        // Read and write, so that it never waits for the other end and survives its death.
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        options.open(edge.path("feed")).unwrap()
    };
    let mut feed = open(&edge);
    let mut killed = 0;
    for turn in 0..LINES / TURN {
        for number in turn * TURN..(turn + 1) * TURN {
            let line = format!("line {number}\n");
            wait_for("room in the pipe", || feed.write_all(line.as_bytes()).ok());
        }
        std::thread::sleep(Duration::from_micros(random.u64(0..3000)));
        while kills.first() == Some(&turn) {
            kills.remove(0);
            let [kill_hub, kill_edge] = victim(killed);
            killed += 1;
            for (daemon, is_victim) in [(&mut hub, kill_hub), (&mut edge, kill_edge)] {
                if is_victim {
                    daemon.signal(Signal::SIGKILL);
                    daemon.wait();
                    daemon.run();
                }
            }
            // What the pipe held is read by the next one: this end kept it open.
            feed = open(&edge);
        }
    }
    // After the last kill nothing is lost any more, so the last line comes.
    let last = format!("line {}", LINES - 1);
    let lines = wait_for("the last line at the receiver", || {
        let lines = hub.lines("out");
        (lines.last() == Some(&last)).then_some(lines)
    });
    let durable = wait_for("all to be answered", || {
        let held = edge.node("hub.spool").spool?;
        (held.readers[0].lag_lines == 0).then_some(held.durable)
    });
    let count = usize::try_from(durable).unwrap();
    assert_eq!(lines.len(), count, "as many as the sender's spool ever had");
    let numbers: Vec<u64> = lines.iter().map(|line| line[5..].parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "in order and each once");
    if (0..killed).all(|kill| !victim(kill)[1]) {
        assert_eq!(durable, LINES, "only what a dead sender had not in its spool can be lost");
    }
}

#[test]
fn a_receiver_that_is_killed_loses_nothing_and_gets_nothing_twice() {
    flow(|_| [true, false]);
}

#[test]
fn a_sender_that_is_killed_loses_nothing_that_was_in_its_spool() {
    flow(|_| [false, true]);
}

#[test]
fn both_killed_in_turn_or_at_once_lose_nothing_that_was_in_a_spool() {
    flow(|killed| [killed != 1, killed != 0]);
}

/// fdatasync(2) and fsync(2) that take two seconds, as those of a disk that is busy do.
const SLOW_SYNC: &str = r"
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static void rest(void) { struct timespec two = {2, 0}; nanosleep(&two, 0); }
int fdatasync(int file) { rest(); return syscall(SYS_fdatasync, file); }
int fsync(int file) { rest(); return syscall(SYS_fsync, file); }
";

/// Lines of a datagram, and datagrams of a second: 50,000 lines.
const TOGETHER: u64 = 10;
const RATE: u64 = 5000;

/// Compiles a library that makes syncs slow.
fn slow_sync(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("slow.c"), folder.join("slow.so"));
    std::fs::write(&source, SLOW_SYNC).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    assert!(compiler.status().unwrap().success(), "cc");
    library
}

/// Sends lines at the rate until told to stop; how many went.
fn send_until(to: SocketAddr, stop: &AtomicBool) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    let (start, mut sent) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        let due = u64::try_from(start.elapsed().as_micros()).unwrap() * RATE / 1_000_000;
        while sent < due && !stop.load(Ordering::Relaxed) {
            let line = |at: u64| format!("line {} {}\n", sent * TOGETHER + at, "x".repeat(180));
            socket.send((0..TOGETHER).map(line).collect::<String>().as_bytes()).unwrap();
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    sent * TOGETHER
}

/// What a socket still holds, in lines.
fn left_in(socket: &UdpSocket) -> u64 {
    socket.set_nonblocking(true).unwrap();
    let mut datagram = [0; 4096];
    std::iter::from_fn(|| socket.recv(&mut datagram).ok()).count() as u64 * TOGETHER
}

/// Lines that a daemon had taken from its socket and that are not in its spool after a SIGKILL
/// in the middle of a flow, with a sync under way that takes two seconds.
fn lost_by_a_kill(library: &Path) -> i64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = socket.local_addr().unwrap();
    let mut daemon = Daemon::prepare(&format!(
        "[input.web]\nudp = \"{to}\"\n\
         [spool.hold]\nfrom = \"web\"\ndir = \"{{dir}}/hold\"\nreserve = 0\n\
         [output.f]\nfrom = \"hold\"\nfile = \"/dev/null\"\n"
    ));
    // As a service manager does that keeps the socket: what it holds outlives the daemon.
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let script = format!(
        "exec 3<&{}; export LISTEN_PID=$$ LD_PRELOAD='{}'; exec \"$@\"",
        socket.as_raw_fd(),
        library.display()
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash", LOGWEIR]);
    command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "web");
    daemon.run_by(command);
    let stop = Arc::new(AtomicBool::new(false));
    let sender = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || send_until(to, &stop)
    });
    // More than one sync has ended, and another is under way.
    let held = daemon.wait_node("hold", |node| {
        node.spool.as_ref().is_some_and(|held| held.durable > 50_000 && held.next > held.durable)
    });
    let dropped: u64 = held.dropped.values().sum();
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    stop.store(true, Ordering::Relaxed);
    let sent = sender.join().unwrap();
    let hold = daemon.path("hold").display().to_string();
    let read = run(&["spool", "cat", &hold], b"").stdout;
    let kept = read.iter().filter(|byte| **byte == b'\n').count() as u64;
    let left = left_in(&socket);
    println!("sent {sent}, in the spool {kept}, in the socket {left}, dropped {dropped}");
    i64::try_from(sent).unwrap() - i64::try_from(kept + left + dropped).unwrap()
}

#[test]
fn a_kill_costs_what_came_in_the_last_milliseconds_however_slow_the_disk_is() {
    let folder = tempfile::tempdir().unwrap();
    let library = slow_sync(folder.path());
    // Another test may have the processor just then; a daemon that waits for its disk loses tens
    // of thousands each time.
    let mut lost = Vec::new();
    for _ in 0..8 {
        lost.push(lost_by_a_kill(&library));
        if lost.last() <= Some(&250) {
            return;
        }
    }
    panic!("lost by kills: {lost:?}");
}

/// A folder that 0.1.0 wrote: a spool with four segments, lines of an input and of another
/// logweir, and two readers, one at the end and one in the middle.
const OLD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/spool-0.1.0");

/// Copies the old folder, with the file that its reader `f` wrote where the daemon's is.
fn old_folder(dir: &Path) {
    let hold = dir.join("hold");
    std::fs::create_dir(&hold).unwrap();
    for entry in std::fs::read_dir(OLD).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, hold.join(path.file_name().unwrap())).unwrap();
    }
    let out = dir.join("out.log");
    std::fs::copy(format!("{OLD}.out"), &out).unwrap();
    let cursor = std::fs::read_to_string(hold.join("f.cursor")).unwrap();
    let (body, _) = cursor.split_once("sum ").unwrap();
    let body = body.replace("/srv/log/out.log", &out.display().to_string());
    let sum = crc32c::crc32c(body.as_bytes());
    std::fs::write(hold.join("f.cursor"), format!("{body}sum {sum:08x}\n")).unwrap();
}

#[test]
fn a_folder_and_cursors_of_before_go_on() {
    let config = "[spool.hold]\nfrom = \"in\"\ndir = \"{dir}/hold\"\nsegment = \"64KiB\"\n\
                  reserve = 0\nsync = \"20ms\"\n\
                  [output.f]\nfrom = \"hold\"\nfile = \"{dir}/out.log\"\n\
                  [output.stuck]\nfrom = \"hold\"\nfile = \"{dir}/late.log\"\n";
    let mut daemon = Daemon::start_with(config, old_folder);
    let before = daemon.lines("out.log");
    assert_eq!(before.len(), 2250);
    let held = daemon.node("hold").spool.unwrap();
    assert_eq!(held.identity, "234657a44539b71e9776b41b98972c0b");
    assert_eq!((held.oldest, held.next), (0, 2250));
    daemon.send_numbered(0, 1000);
    let lines = daemon.wait_lines("out.log", 3250);
    assert_eq!(lines[..2250], before[..], "what was written before stays and comes once");
    assert_eq!(lines[2250..], crate::util::numbered(0, 1000)[..]);
    // The other reader had done with 302 lines.
    let late = daemon.wait_lines("late.log", 3250 - 302);
    assert_eq!(late, lines[302..]);
    assert_eq!(daemon.stop().0, Some(0));
    let hold = daemon.path("hold").display().to_string();
    let verified = run(&["spool", "verify", &hold], b"");
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
    let listed = run(&["spool", "ls", "--json", &hold], b"").stdout;
    let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
    assert_eq!(listed["origins"].as_object().unwrap().values().next().unwrap(), 1499);
}
