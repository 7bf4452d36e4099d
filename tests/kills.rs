//! SIGKILL in the middle of a flow between two logweirs, a spool at either end: nothing that was
//! on disk is lost, and nothing comes twice.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use crate::util::{Daemon, free_port, wait_for};

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
