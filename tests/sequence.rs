//! Lines that never came are counted by the numbers in those that did.

use crate::util::{Daemon, LOGWEIR};

const FILE: &str = "[output.all]\nfrom = [\"in\"]\nfile = \"{dir}/all\"\n";

fn lost(daemon: &Daemon, name: &str) -> u64 {
    daemon.node(name).input.unwrap().sequence_lost
}

#[test]
fn gaps_in_datagrams_are_counted_per_sender() {
    let mut daemon = Daemon::start(&format!("sequence = true\n{FILE}"));
    daemon.send(b"cp1 1 x\ncp1 2 x\ncp2 7 x\n");
    daemon.send(b"cp1 5 x");
    daemon.send(b"cp2 8 x\nnone of these\n");
    daemon.wait_lines("all", 6);
    assert_eq!(lost(&daemon, "in"), 2);
    daemon.send(b"cp1 4 late\ncp2 18 x\n");
    daemon.wait_lines("all", 8);
    // Of 2 told one came late, and 9 more are missing.
    assert_eq!(lost(&daemon, "in"), 10);
    let control = daemon.path("control.sock");
    let top = |json: &[&str]| {
        let mut top = std::process::Command::new(LOGWEIR);
        top.args(["top", "--once"]).args(json).arg("--control").arg(&control);
        String::from_utf8(top.output().unwrap().stdout).unwrap()
    };
    assert!(top(&["--json"]).contains("\"sequence_lost\":10"), "{}", top(&["--json"]));
    assert!(top(&[]).contains("sequence_lost 10"), "{}", top(&[]));
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn gaps_are_not_counted_unless_asked_for() {
    let daemon = Daemon::start(FILE);
    daemon.send(b"cp1 1 x\ncp1 9 x\n");
    daemon.wait_lines("all", 2);
    assert_eq!(lost(&daemon, "in"), 0);
}

#[test]
fn gaps_in_a_fifo_are_counted_across_its_writers() {
    let daemon = Daemon::start(
        "[input.pipe]\nfifo = \"{dir}/fifo\"\nsequence = true\n\
         [output.all]\nfrom = \"pipe\"\nfile = \"{dir}/all\"\n",
    );
    std::fs::write(daemon.path("fifo"), "a\t1\na\t2\n").unwrap();
    daemon.wait_lines("all", 2);
    std::fs::write(daemon.path("fifo"), "a\t4\na\t7").unwrap();
    daemon.wait_lines("all", 4);
    assert_eq!(lost(&daemon, "pipe"), 3);
}
