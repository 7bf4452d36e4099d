//! The packages on a booted systemd: installed, started, loaded, upgraded, killed and purged in a
//! container. Where no container can be booted, each test says so and passes.

mod flow;
mod machine;

use std::process::Command;

use crate::packages;
use crate::util::wait_for;
use flow::{CONFIG, Flow, Loss, MAY_BUFFER, RATE};
use machine::Machine;

/// Lines that a receiver takes from the kernel in one read, at most.
const READ: u64 = logweir::limits::RECV_SLOTS as u64;
/// What a daemon may hold in memory when it is killed, and so lose: two reads, one that was handed
/// on and is not in the spool's file yet, and one that has just been taken from the kernel.
const HELD: u64 = 2 * READ;

const NOTHING: Loss = Loss { lost: 0, twice: 0 };

/// Boots a release and installs the packages there.
fn installed(release: &str) -> Option<Machine> {
    let debs = packages::debian()?;
    let machine = Machine::boot(release)?;
    let version = machine.run("systemctl --version");
    eprintln!("Debian {release}: {}", version.lines().next().unwrap_or_default());
    for (deb, name) in debs.iter().zip(["logweir.deb", "udp2log.deb"]) {
        std::fs::copy(deb, machine.path(&format!("/root/{name}"))).unwrap();
    }
    machine.run("apt-get install -y /root/logweir.deb /root/udp2log.deb");
    Some(machine)
}

/// Puts another configuration in force.
fn configure(machine: &Machine, config: &str, drop_in: &str) {
    machine.write("/etc/logweir/logweir.toml", config);
    machine.write("/etc/systemd/system/logweir.service.d/test.conf", drop_in);
    machine.run("systemctl daemon-reload && systemctl restart logweir");
}

/// The same package with a higher version, made of the first.
fn newer(machine: &Machine) {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (machine.path("/root/logweir.deb"), machine.path("/root/newer.deb"));
    let run = |command: &mut Command| assert!(command.output().unwrap().status.success());
    let root = folder.path().join("root");
    run(Command::new("dpkg-deb").arg("-R").arg(from).arg(&root));
    let control = root.join("DEBIAN/control");
    let text = std::fs::read_to_string(&control).unwrap();
    let line = text.lines().find(|line| line.starts_with("Version:")).unwrap();
    std::fs::write(&control, text.replace(line, &format!("{line}.1"))).unwrap();
    run(Command::new("dpkg-deb").arg("-b").arg(root).arg(to));
}

fn main_pid(machine: &Machine) -> String {
    machine.run("systemctl show --value --property=MainPID logweir").trim().to_string()
}

#[test]
fn no_line_is_lost_by_restarts_reloads_and_upgrades_and_few_by_kills_on_debian_13() {
    let Some(machine) = installed("trixie") else { return };
    lines_flow_through_everything(&machine);
}

#[test]
fn no_line_is_lost_by_restarts_reloads_and_upgrades_and_few_by_kills_on_debian_12() {
    let Some(machine) = installed("bookworm") else { return };
    lines_flow_through_everything(&machine);
}

fn lines_flow_through_everything(machine: &Machine) {
    configure(machine, CONFIG, &format!("{MAY_BUFFER}WatchdogSec=2\n"));
    newer(machine);
    let mut flow = Flow::start(machine);
    assert_eq!(flow.loss_after(RATE), [NOTHING; 2]);

    machine.run("systemctl restart logweir");
    assert_eq!(flow.loss_after(2 * RATE), [NOTHING; 2], "restart");

    for round in 0..20 {
        let more = "[output.more]\nfrom = \"udp\"\nmatch = 'x'\nfile = \"/var/log/logweir/x\"\n";
        let more = if round % 2 == 0 { more } else { "" };
        machine.write("/etc/logweir/logweir.toml", &format!("{CONFIG}{more}"));
        machine.run("systemctl reload logweir");
    }
    assert_eq!(flow.loss_after(2 * RATE), [NOTHING; 2], "reload");

    let before = main_pid(machine);
    machine.run("apt-get install -y -o Dpkg::Options::=--force-confold /root/newer.deb");
    assert_ne!(main_pid(machine), before, "the upgrade starts the new program");
    assert_eq!(flow.loss_after(2 * RATE), [NOTHING; 2], "upgrade");

    let mut losses = Vec::new();
    for _ in 0..5 {
        machine.run("systemctl kill --signal=KILL --kill-whom=main logweir");
        losses.push(flow.loss_after(3 * RATE));
    }
    machine.run("systemctl kill --signal=STOP --kill-whom=main logweir");
    let result = "systemctl show --value --property=NRestarts logweir";
    wait_for("the watchdog", || (machine.run(result).trim() == "6").then_some(()));
    losses.push(flow.loss_after(6 * RATE));
    let (last, sent) = flow.stop();
    assert_eq!(last, [NOTHING; 2]);
    eprintln!("{sent} lines; killed, through the spool and directly: {losses:?}");
    for [spooled, direct] in losses {
        assert!(spooled.lost <= HELD, "{spooled:?}");
        assert_eq!((spooled.twice, direct.twice), (0, 0));
    }
}
