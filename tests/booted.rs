//! The packages on a booted systemd: installed, started, loaded, upgraded, killed and purged in a
//! container. Where no container can be booted, each test says so and passes.

mod flow;
mod journal;
mod machine;

use std::path::Path;
use std::process::{Command, Stdio};

use logweir::limits;

use crate::packages;
use crate::util::wait_for;
use flow::{CONFIG, Flow, Loss, MAY_BUFFER, RATE};
use machine::Machine;

/// Lines that a receiver takes from the kernel in one read, at most.
const READ: u64 = limits::RECV_SLOTS as u64;
/// What a daemon holds only in memory when it is killed, and so loses on the way into a spool: two
/// reads, one just taken from the kernel and one on its way to the segment. What is in the segment
/// outlives the process, synced or not.
const HELD: u64 = 2 * READ;
/// The most that it can hold, where the loop was kept from running meanwhile (other programs want
/// the processor too): what waits between a receiver and the loop, and [`HELD`].
const HELD_MAX: u64 = (limits::RECEIVED_WAITING as u64 + 2) * (1 + PAUSES) * READ;
const PAUSES: u64 = limits::RECV_PAUSES_MAX as u64;

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

fn no_service_is_left(machine: &Machine) {
    let left = machine.run(
        "for process in /proc/[0-9]*; do stat -c '%U %n' $process 2>/dev/null; done | \
         grep '^logweir ' || true; ls /run/logweir 2>/dev/null || true",
    );
    assert_eq!(left, "");
}

/// Whether somebody has 127.0.0.1:8420, as /proc/net/udp writes it.
fn port_is_bound(machine: &Machine) -> bool {
    machine.sh("grep -q ' 0100007F:20E4 ' /proc/net/udp").status.success()
}

#[test]
fn a_package_runs_once_installed_and_leaves_only_what_was_collected() {
    let Some(machine) = installed("trixie") else { return };
    assert_eq!(machine.run("systemctl is-active logweir; systemctl is-enabled logweir"), ON);
    machine.run("logweir gen --to udp://127.0.0.1:8420 --lines 100 --rate 1000");
    let collected = "cat /var/log/logweir/all-*.log | wc -l";
    wait_for("a hundred lines", || (machine.run(collected).trim() == "100").then_some(()));
    assert_eq!(machine.run(&format!("stat -c '%a %U:%G %n' {FOLDERS}")), MODES);
    let udp2log = machine.sh("udp2log --help");
    assert!(udp2log.status.success(), "{udp2log:?}");

    machine.run("useradd member && usermod -a -G logweir member && useradd other");
    let top = machine.run("runuser -u member -- logweir top --once");
    assert!(top.contains("udp") && top.contains("all"), "{top}");
    machine.run("runuser -u member -- logweir ctl status && logweir top --once");
    let other = machine.sh("runuser -u other -- logweir top --once");
    assert!(!other.status.success());
    assert!(String::from_utf8_lossy(&other.stderr).contains("Permission denied"), "{other:?}");

    assert_eq!(machine.run("systemd-analyze verify --man=no logweir.service"), "");
    let security = machine.run("systemd-analyze security --threshold=20 logweir.service");
    eprintln!("{}", security.lines().last().unwrap());

    machine.run("systemctl stop logweir");
    no_service_is_left(&machine);
    assert!(port_is_bound(&machine), "a socket outlives a stop, for the next start");
    machine.run("systemctl start logweir");
    machine.run("apt-get remove -y logweir logweir-udp2log");
    no_service_is_left(&machine);
    assert!(!port_is_bound(&machine));
    assert_eq!(
        machine.run("ls -d /etc/logweir/* /var/*/logweir /run/logweir 2>/dev/null || true"),
        KEPT
    );
    assert_eq!(machine.run(collected).trim(), "100");
    let said = machine.run("apt-get purge -y logweir");
    assert!(said.contains("logweir: /var/log/logweir is not empty and stays"), "{said}");
    let left =
        "ls -d /etc/logweir /etc/systemd/system/*/logweir* /var/*/logweir 2>/dev/null || true";
    assert_eq!(machine.run(left), "/var/log/logweir\n");
}

const ON: &str = "active\nenabled\n";
const FOLDERS: &str = "/run/logweir /run/logweir/control.sock /var/lib/logweir /var/log/logweir \
                       /var/log/logweir/*.log /var/spool/logweir | sed s/-20.*log/-DAY.log/";
const MODES: &str = "\
755 logweir:logweir /run/logweir
660 logweir:logweir /run/logweir/control.sock
750 logweir:logweir /var/lib/logweir
750 logweir:logweir /var/log/logweir
640 logweir:logweir /var/log/logweir/all-DAY.log
750 logweir:logweir /var/spool/logweir
";
const KEPT: &str = "\
/etc/logweir/conf.d
/etc/logweir/logweir.toml
/var/lib/logweir
/var/log/logweir
/var/spool/logweir
";

#[test]
fn a_reload_that_is_refused_fails_the_command_and_the_old_flow_goes_on() {
    let Some(machine) = installed("trixie") else { return };
    let before = main_pid(&machine);
    machine.write("/etc/logweir/logweir.toml", "[input.udp]\nudp = \"nowhere\"\n");
    let refused = machine.sh("systemctl reload logweir");
    assert!(!refused.status.success(), "{refused:?}");
    let journal = machine.run("journalctl --no-pager -u logweir -o cat");
    assert!(journal.contains("reload refused, the old configuration goes on"), "{journal}");
    assert!(journal.contains("udp = \"nowhere\""), "{journal}");
    assert_eq!(machine.run("systemctl is-active logweir"), "active\n");
    machine.run("logweir gen --to udp://127.0.0.1:8420 --lines 10");
    let collected = "cat /var/log/logweir/all-*.log | wc -l";
    wait_for("ten lines", || (machine.run(collected).trim() == "10").then_some(()));
    assert_eq!(main_pid(&machine), before);
}

/// The drop-in that docs/from-rsyslog.md has for a host's own messages.
fn documented_drop_in() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/from-rsyslog.md");
    let page = std::fs::read_to_string(page).unwrap();
    let block = page.split("```ini\n").find(|block| block.contains("PrivateDevices=no")).unwrap();
    block.split("```").next().unwrap().to_string()
}

#[test]
fn the_documented_drop_in_lets_it_have_the_kernels_messages_groups_and_terminals() {
    for release in ["bookworm", "trixie"] {
        let Some(machine) = installed(release) else { return };
        let config = "[input.kernel]\nkernel = true\n\
                      [input.local]\nsyslog = \"unix:///run/logweir/log\"\n\
                      [output.all]\nfile = \"/var/log/logweir/all.log\"\n\
                      format = \"traditional\"\ngroup = \"adm\"\nmode = \"0640\"\n\
                      [output.everyone]\nseverity = \"emerg\"\nusers = \"*\"\n";
        // Without it the kernel's messages are not to be had.
        configure(&machine, config, "");
        let journal = "journalctl --no-pager -u logweir -o cat";
        wait_for("the daemon to say so", || {
            machine.run(journal).contains("kernel: /dev/kmsg: ").then_some(())
        });
        configure(&machine, config, &documented_drop_in());
        wait_for("the first message of the kernel", || {
            let said = "grep -q ': Linux version' /var/log/logweir/all.log";
            machine.sh(said).status.success().then_some(())
        });
        let modes = machine.run("stat -c '%a %U:%G' /var/log/logweir/all.log");
        assert_eq!(modes, "640 logweir:adm\n");
        // Debian 13 keeps no /run/utmp, and sessions take more than is in the container.
        if release == "bookworm" {
            a_terminal_gets_emergencies(&machine);
        }
    }
}

fn a_terminal_gets_emergencies(machine: &Machine) {
    machine.run("useradd -m member");
    let session = "(echo 'mesg y'; until test -e /root/end; do sleep 0.1; done; echo exit) | \
                   script -qfc 'login -f member' /root/screen";
    let mut session = machine.enter(&["sh", "-c", session]).stdout(Stdio::null()).spawn().unwrap();
    wait_for("the session to take messages", || {
        let open = "who | grep -q member && test \"$(stat -c %A /dev/pts/0)\" = crw--w----";
        machine.sh(open).status.success().then_some(())
    });
    machine.run("logger -u /run/logweir/log -p user.emerg -t test 'the house is on fire'");
    wait_for("the message on the screen", || {
        machine.read("/root/screen").contains("test: the house is on fire").then_some(())
    });
    machine.run("touch /root/end");
    session.wait().unwrap();
}

#[test]
fn a_slow_program_finishes_what_it_was_handed_when_the_service_stops() {
    let Some(machine) = installed("trixie") else { return };
    let slow = "while read -r line; do echo $line; sleep 0.01; done";
    let config = format!(
        "[daemon]\ncontrol = \"/run/logweir/control.sock\"\n\
         [input.udp]\nudp = \"127.0.0.1:8420\"\n\
         [filter.slow]\nfrom = \"udp\"\nrun = \"{slow}\"\n\
         [output.all]\nfrom = \"slow\"\nfile = \"/var/log/logweir/all\"\n\
         [output.pipe]\nfrom = \"udp\"\npipe = \"({slow}) >> /var/log/logweir/pipe\"\n"
    );
    configure(&machine, &config, "");
    machine.run("logweir gen --to udp://127.0.0.1:8420 --lines 200 --format raw");
    let count = "wc -l < /var/log/logweir/pipe";
    wait_for("a first line", || (machine.run(count).trim() != "0").then_some(()));
    let before: u32 = machine.run(count).trim().parse().unwrap();
    machine.run("systemctl stop logweir");
    assert!(before < 200, "it was not slow enough to see anything: {before}");
    assert_eq!(machine.run("cat /var/log/logweir/all /var/log/logweir/pipe | wc -l"), "400\n");
    no_service_is_left(&machine);
    assert_eq!(machine.run("systemctl show --value --property=Result logweir"), "success\n");
}

#[test]
fn a_socket_unit_hands_over_udp_tcp_and_unix_sockets() {
    let Some(machine) = installed("trixie") else { return };
    let socket = machine.read("/usr/share/doc/logweir/examples/logweir.socket");
    // The file itself says how it is used, and which inputs it is for.
    let steps: Vec<_> = socket.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    let inputs = socket.lines().filter_map(|line| line.strip_prefix("# [input."));
    let inputs: String =
        inputs.map(|line| format!("[input.{}\n", line.replace(']', "]\n"))).collect();
    let config = format!(
        "[daemon]\ncontrol = \"/run/logweir/control.sock\"\n{inputs}\
         [output.all]\nfile = \"/var/log/logweir/all\"\n"
    );
    machine.write("/etc/logweir/logweir.toml", &config);
    machine.run(&format!("cd /usr/share/doc/logweir/examples && {}", steps.join(" && ")));
    let mut expected = Vec::new();
    for round in ["first", "second", "third"] {
        for (kind, by) in [
            ("udp", "--udp --server 127.0.0.1 --port 514"),
            ("tcp", "--tcp --server 127.0.0.1 --port 514"),
            ("unix", "--socket /run/logweir/log"),
        ] {
            machine.run(&format!("logger {by} {round}-{kind}"));
            expected.push(format!("{round}-{kind}"));
        }
        let count = expected.len().to_string();
        wait_for(&format!("{count} lines"), || {
            let lines = machine.sh("wc -l < /var/log/logweir/all").stdout;
            (String::from_utf8_lossy(&lines).trim() == count).then_some(())
        });
        let end = if round == "first" { "restart logweir" } else { "kill --signal=KILL logweir" };
        machine.run(&format!("systemctl {end}"));
    }
    let lines = machine.read("/var/log/logweir/all");
    for line in expected {
        assert_eq!(lines.matches(&line).count(), 1, "{line}: {lines}");
    }
    assert_eq!(machine.run("stat -c '%a %U' /run/logweir/log"), "666 root\n");
    let journal = machine.run("journalctl --no-pager -u logweir -o cat");
    assert!(!journal.contains("no input of the configuration has"), "{journal}");
}

#[test]
fn a_socket_and_the_count_of_its_drops_outlive_restarts_on_debian_13() {
    let Some(machine) = installed("trixie") else { return };
    a_socket_and_the_count_of_its_drops_outlive_restarts(&machine);
}

#[test]
fn a_socket_and_the_count_of_its_drops_outlive_restarts_on_debian_12() {
    let Some(machine) = installed("bookworm") else { return };
    a_socket_and_the_count_of_its_drops_outlive_restarts(&machine);
}

fn a_socket_and_the_count_of_its_drops_outlive_restarts(machine: &Machine) {
    configure(machine, &CONFIG.replace("64MiB", "4KiB"), "");
    let inode = "awk '$2 == \"0100007F:20E4\" { print $10 }' /proc/net/udp";
    let socket = machine.run(inode);
    machine.run(
        "systemctl kill --signal=STOP --kill-whom=main logweir
         logweir gen --to udp://127.0.0.1:8420 --lines 1000 --no-gso
         systemctl kill --signal=CONT --kill-whom=main logweir",
    );
    let kept = "systemctl show --value --property=NFileDescriptorStore logweir";
    let ledger = "journalctl --no-pager -u logweir -o cat | grep 'ledger: input udp' | tail -n 1";
    for drops_are_new in [true, false] {
        machine.run("systemctl restart logweir");
        assert_eq!(machine.run(inode), socket);
        let ledger = machine.run(ledger);
        assert_eq!(!ledger.ends_with("kernel_drops 0\n"), drops_are_new, "{ledger}");
        wait_for("one socket in the store", || (machine.run(kept).trim() == "1").then_some(()));
    }
    configure(machine, CONFIG, "[Service]\nFileDescriptorStoreMax=0\n");
    let journal = "journalctl --no-pager -u logweir -o cat";
    wait_for("the daemon to say that nothing is kept", || {
        machine.run(journal).contains("does not keep our sockets").then_some(())
    });
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
    let status = "systemctl show --value --property=StatusText logweir";
    let status = wait_for("a status", || {
        let status = machine.run(status);
        status.contains("k lines/s, ").then_some(status)
    });
    eprintln!("{status}");
    assert!(status.contains("k lines/s, 0 dropped, spooled lag "), "{status}");

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
    let mut lost: Vec<_> = losses.iter().map(|[spooled, _]| spooled.lost).collect();
    lost.sort_unstable();
    assert!(lost[lost.len() / 2] <= HELD && lost[lost.len() - 1] <= HELD_MAX, "{lost:?}");
    assert!(losses.iter().flatten().all(|loss| loss.twice == 0), "{losses:?}");
}
