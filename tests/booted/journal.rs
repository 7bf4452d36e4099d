//! The journal of a booted systemd, read by the packaged service: what its units print comes with
//! their fields, each entry once into a spool, through kills and rotated and vacuumed journals.

use std::collections::HashMap;

use super::machine::Machine;
use super::{configure, installed};
use crate::util::wait_for;

const CONFIG: &str = r#"
[daemon]
control = "/run/logweir/control.sock"

[input.journal]
journal = true

[spool.hold]
from = "journal"
dir = "/var/spool/logweir/hold"
reserve = 0

[output.all]
from = "hold"
file = "/var/log/logweir/all"
"#;

/// What the manual asks for: a group that may read the journal, and no more.
const DROP_IN: &str = "[Service]\nSupplementaryGroups=systemd-journal\n";

/// Lines that a unit prints.
const LINES: usize = 100;

/// A unit prints lines, and waits until they are in the journal.
fn print(machine: &Machine, round: usize) {
    machine.run(&format!(
        "systemd-run --quiet --wait --unit=talk{round} \
         sh -c 'for n in $(seq {LINES}); do echo round {round} line $n; done' \
         && journalctl --sync"
    ));
}

/// How often each line of the units was written.
fn written(machine: &Machine) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for line in machine.read("/var/log/logweir/all").lines() {
        let Some((head, text)) = line.split_once("] round ") else { continue };
        let round = text.split(' ').next().unwrap();
        assert!(head.contains(&format!("_SYSTEMD_UNIT=\"talk{round}.service\"")), "{line}");
        assert!(head.starts_with("<30>1 ") && head.contains(" sh "), "{line}");
        *counts.entry(text.to_string()).or_default() += 1;
    }
    counts
}

#[test]
fn what_units_print_comes_once_from_the_journal_of_a_booted_debian_12() {
    let Some(machine) = installed("bookworm") else { return };
    what_units_print_comes_once(&machine);
}

#[test]
fn what_units_print_comes_once_from_the_journal_of_a_booted_debian_13() {
    let Some(machine) = installed("trixie") else { return };
    what_units_print_comes_once(&machine);
}

fn what_units_print_comes_once(machine: &Machine) {
    // Before it ever read the journal, while it reads, and while it is away.
    print(machine, 0);
    configure(machine, CONFIG, DROP_IN);
    let wait_all = |rounds: usize| {
        wait_for(&format!("{rounds} rounds"), || {
            let counts = written(machine);
            assert!(counts.values().all(|count| *count == 1), "{counts:?}");
            (counts.len() == rounds * LINES).then_some(())
        });
    };
    let mut rounds = 1;
    wait_all(rounds);
    for away in ["true", "journalctl --rotate", "journalctl --rotate --vacuum-size=1"] {
        print(machine, rounds);
        machine.run("systemctl kill --signal=KILL --kill-whom=main logweir");
        print(machine, rounds + 1);
        wait_all(rounds + 2);
        machine.run("systemctl stop logweir");
        machine.run(away);
        print(machine, rounds + 2);
        machine.run("systemctl start logweir");
        wait_all(rounds + 3);
        rounds += 3;
    }
    machine.run("logger -p auth.err -t checker 'it is an error' && journalctl --sync");
    let error = wait_for("the error", || {
        let all = machine.read("/var/log/logweir/all");
        all.lines().find(|line| line.ends_with("] it is an error")).map(str::to_string)
    });
    assert!(error.starts_with("<35>1 ") && error.contains(" checker "), "{error}");
}
