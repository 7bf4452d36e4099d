//! The journal of a booted systemd: what its units print comes with their fields, each entry once
//! into a spool, through kills and rotated and vacuumed journals.

use std::collections::HashMap;

use super::machine::Machine;
use crate::packages;
use crate::util::{LOGWEIR, wait_for};

const CONFIG: &str = r#"
[daemon]
control = "/run/follower/control.sock"

[input.journal]
journal = true

[spool.hold]
from = "journal"
dir = "/var/lib/follower/hold"
reserve = 0

[output.all]
from = "hold"
file = "/var/lib/follower/all"
mode = "0644"
"#;

/// What the manual asks for: a user that may read the journal, and no more.
const UNIT: &str = "\
[Unit]
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/local/bin/logweir run -c /etc/follower.toml
DynamicUser=yes
SupplementaryGroups=systemd-journal
StateDirectory=follower
RuntimeDirectory=follower
Restart=always
RestartSec=100ms
";

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
    for line in machine.run("cat /var/lib/follower/all 2>/dev/null || true").lines() {
        let Some((head, text)) = line.split_once("] round ") else { continue };
        let round = text.split(' ').next().unwrap();
        assert!(head.contains(&format!("_SYSTEMD_UNIT=\"talk{round}.service\"")), "{line}");
        assert!(head.starts_with("<30>1 ") && head.contains(" sh "), "{line}");
        *counts.entry(text.to_string()).or_default() += 1;
    }
    counts
}

#[test]
fn what_units_print_comes_once_from_the_journal_of_a_booted_system() {
    if !packages::wanted() {
        return;
    }
    let Some(machine) = Machine::boot("bookworm") else { return };
    std::fs::copy(LOGWEIR, machine.path("/usr/local/bin/logweir")).unwrap();
    machine.write("/etc/follower.toml", CONFIG);
    machine.write("/etc/systemd/system/follower.service", UNIT);
    // Before it ever ran, while it runs, and while it is away.
    print(&machine, 0);
    machine.run("systemctl daemon-reload && systemctl start follower");
    let mut rounds = 1;
    let wait_all = |rounds: usize| {
        wait_for(&format!("{rounds} rounds"), || {
            let counts = written(&machine);
            assert!(counts.values().all(|count| *count == 1), "{counts:?}");
            (counts.len() == rounds * LINES).then_some(())
        });
    };
    wait_all(rounds);
    for away in ["", "journalctl --rotate", "journalctl --rotate --vacuum-size=1"] {
        print(&machine, rounds);
        machine.run("systemctl kill --signal=KILL --kill-whom=main follower");
        print(&machine, rounds + 1);
        wait_all(rounds + 2);
        machine.run(&format!("systemctl stop follower; {away}"));
        print(&machine, rounds + 2);
        machine.run("systemctl start follower");
        wait_all(rounds + 3);
        rounds += 3;
    }
    machine.run("logger -p auth.err -t 'a b' 'it is an error' && journalctl --sync");
    let error = wait_for("the error", || {
        let all = machine.run("cat /var/lib/follower/all");
        all.lines().find(|line| line.ends_with("] it is an error")).map(str::to_string)
    });
    assert!(error.starts_with("<35>1 "), "{error}");
}
