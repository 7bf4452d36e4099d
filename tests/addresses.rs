//! Addresses of inputs that are not there yet, or are lost while the daemon runs: the daemon goes
//! on with the rest, says what does not arrive, and receives again by itself.

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};

use crate::metrics::get;
use crate::util::{Daemon, LOGWEIR, free_port, skip_here, wait_for};

/// Waits until an input says that nothing arrives; why.
fn deaf(daemon: &Daemon, name: &str) -> String {
    daemon.wait_node(name, |node| node.error.is_some()).error.unwrap()
}

fn hears(daemon: &Daemon, name: &str) {
    daemon.wait_node(name, |node| node.error.is_none());
}

fn write_to_fifo(path: &Path, line: &str) {
    let open = || {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK).open(path).ok()
    };
    wait_for("a reader of the FIFO", open).write_all(line.as_bytes()).unwrap();
}

const FIFO: &str =
    "[input.f]\nfifo = \"{dir}/pipe\"\n[output.o]\nfrom = [\"f\"]\nfile = \"{dir}/o\"\n";

#[test]
fn a_fifo_that_is_removed_or_made_anew_is_read_again_by_itself() {
    let daemon = Daemon::start(FIFO);
    let path = daemon.path("pipe");
    let mut writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    writer.write_all(b"one\nhalf").unwrap();
    // Made anew while the old one has a writer: both are read.
    std::fs::remove_file(&path).unwrap();
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    write_to_fifo(&path, "two\n");
    daemon.wait_lines("o", 2);
    writer.write_all(b" and half\n").unwrap();
    drop(writer);
    daemon.wait_lines("o", 3);
    // Gone altogether.
    std::fs::remove_file(&path).unwrap();
    write_to_fifo(&path, "four\n");
    assert_eq!(daemon.wait_lines("o", 4), ["one", "two", "half and half", "four"]);
    hears(&daemon, "f");
}

#[test]
fn a_file_in_the_place_of_a_fifo_is_said_and_not_read_until_there_is_a_fifo_again() {
    let metrics = free_port();
    let daemon = Daemon::start(&format!("metrics = \"127.0.0.1:{metrics}\"\n#daemon\n{FIFO}"));
    let path = daemon.path("pipe");
    let mut writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    writer.write_all(b"one\n").unwrap();
    daemon.wait_lines("o", 1);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "a line of the file\n").unwrap();
    drop(writer);
    let why = deaf(&daemon, "f");
    assert!(why.contains("not a named pipe") && why.contains("/pipe"), "{why}");
    assert!(daemon.ctl("reload").status.success());
    assert!(daemon.node("f").error.is_some());
    let health = get(metrics, "/healthz");
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("not a named pipe"), "{health}");
    std::fs::remove_file(&path).unwrap();
    write_to_fifo(&path, "two\n");
    assert_eq!(daemon.wait_lines("o", 2), ["one", "two"]);
    hears(&daemon, "f");
    assert_eq!(daemon.log().matches("nothing sent to it arrives").count(), 1, "said once");
}

#[test]
fn a_unix_socket_whose_path_is_removed_is_bound_anew_with_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start(
        "[input.l]\nsyslog = \"unix://{dir}/dev-log\"\nmode = \"0622\"\n\
         [output.o]\nfrom = [\"l\"]\nfile = \"{dir}/o\"\n",
    );
    let path = daemon.path("dev-log");
    let sender = UnixDatagram::unbound().unwrap();
    let send = |line: &str| {
        wait_for("the socket", || sender.send_to(line.as_bytes(), &path).ok());
    };
    send("<13>a: one");
    std::fs::remove_file(&path).unwrap();
    send("<13>a: two");
    daemon.wait_lines("o", 2);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o622);
    // Another program takes the path, and leaves it.
    std::fs::remove_file(&path).unwrap();
    let other = UnixDatagram::bind(&path).unwrap();
    let why = deaf(&daemon, "l");
    assert!(why.contains("another program listens there"), "{why}");
    drop(other);
    hears(&daemon, "l");
    send("<13>a: three");
    assert_eq!(daemon.wait_lines("o", 3), ["<13>a: one", "<13>a: two", "<13>a: three"]);
}

#[test]
fn a_reload_makes_the_control_socket_anew_where_its_path_was_removed() {
    let daemon = Daemon::start("[output.o]\nfrom = [\"in\"]\nfile = \"{dir}/o\"\n");
    std::fs::remove_file(daemon.path("control.sock")).unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    // The path is there a moment before anybody listens on it.
    let connected = || UnixStream::connect(daemon.path("control.sock")).ok();
    drop(wait_for("the control socket", connected));
    assert!(daemon.ctl("reload").status.success());
}

#[test]
fn a_port_that_another_program_has_at_the_start_is_waited_for_and_the_rest_runs() {
    let (udp, tcp) = (free_port(), free_port());
    let others = (
        UdpSocket::bind(("127.0.0.1", udp)).unwrap(),
        TcpListener::bind(("127.0.0.1", tcp)).unwrap(),
    );
    let daemon = Daemon::start(&format!(
        "[input.u]\nudp = \"127.0.0.1:{udp}\"\nsockets = 2\n\
         [input.t]\nsyslog = \"tcp://127.0.0.1:{tcp}\"\n\
         [output.o]\nfrom = [\"in\", \"u\", \"t\"]\nfile = \"{{dir}}/o\"\n"
    ));
    assert!(deaf(&daemon, "u").contains("the port is in use (see who has it with: ss -ulpn)"));
    assert!(deaf(&daemon, "t").contains("the port is in use (see who has it with: ss -tlnp)"));
    daemon.wait_log(&format!("input.u: udp = \"127.0.0.1:{udp}\": the port is in use"));
    daemon.send(b"the rest runs\n");
    daemon.wait_lines("o", 1);
    drop(others);
    hears(&daemon, "u");
    hears(&daemon, "t");
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"over UDP\n", ("127.0.0.1", udp)).unwrap();
    daemon.wait_lines("o", 2);
    let mut client = TcpStream::connect(("127.0.0.1", tcp)).unwrap();
    client.write_all(b"<13>a: over TCP\n").unwrap();
    assert_eq!(daemon.wait_lines("o", 3), ["the rest runs", "over UDP", "<13>a: over TCP"]);
}

#[test]
fn an_input_that_waits_for_its_port_ends_with_the_daemon_and_with_a_reload() {
    let port = free_port();
    let other = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let rest = "[output.o]\nfrom = [\"in\"]\nfile = \"{dir}/o\"\n";
    let waits = format!(
        "[input.u]\nudp = \"127.0.0.1:{port}\"\n[output.p]\nfrom = \"u\"\nfile = \"{{dir}}/p\"\n"
    );
    let mut daemon = Daemon::start(&format!("{waits}{rest}"));
    deaf(&daemon, "u");
    daemon.write_config(rest);
    assert!(daemon.ctl("reload").status.success());
    assert!(daemon.status().nodes.iter().all(|node| node.name != "u"));
    // A reload says at once what is wrong.
    daemon.write_config(&format!("{waits}{rest}"));
    assert_eq!(daemon.ctl("reload").status.code(), Some(1));
    drop(other);
    assert_eq!(daemon.stop().0, Some(0));
}

/// A network of its own, of a process that `unshare` started.
struct Network(i32);

impl Network {
    fn run(&self, command: &[&str]) -> bool {
        let target = self.0.to_string();
        let mut inside = Command::new("nsenter");
        inside.args(["-t", &target, "-n"]).args(command).status().unwrap().success()
    }

    fn make_link(&self) {
        for command in [
            "ip link add w0 type veth peer name w1",
            "ip link set w1 up",
            "ip addr add 10.9.0.1/24 dev w0",
            "ip link set w0 up",
            "ip route add 224.0.0.0/4 dev w0",
        ] {
            assert!(self.run(&command.split(' ').collect::<Vec<_>>()), "{command}");
        }
    }

    fn send(&self, folder: &Path, text: &str, to: &str) {
        let file = folder.join("sent");
        std::fs::write(&file, format!("{text}\n")).unwrap();
        let to = format!("udp://{to}:24567");
        assert!(self.run(&[LOGWEIR, "send", "--to", &to, file.to_str().unwrap()]));
    }
}

#[test]
fn a_multicast_group_is_joined_once_its_interface_is_there_and_again_when_it_is_made_anew() {
    if !Uid::effective().is_root() || Command::new("ip").arg("-V").output().is_err() {
        return skip_here("needs root and ip");
    }
    let mut daemon = Daemon::prepare(
        "[input.m]\nudp = \"0.0.0.0:24567\"\nmulticast = \"239.1.2.3\"\ninterface = \"w0\"\n\
         [output.o]\nfrom = [\"m\"]\nfile = \"{dir}/o\"\n",
    );
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh", LOGWEIR]);
    daemon.run_by(command);
    let network = Network(daemon.pid());
    let folder = daemon.dir.path().to_path_buf();
    assert!(deaf(&daemon, "m").contains("interface 'w0'"));
    network.make_link();
    hears(&daemon, "m");
    network.send(&folder, "one", "239.1.2.3");
    daemon.wait_lines("o", 1);
    assert!(network.run(&["ip", "link", "del", "w0"]));
    assert!(deaf(&daemon, "m").contains("interface 'w0'"));
    network.make_link();
    hears(&daemon, "m");
    network.send(&folder, "two", "239.1.2.3");
    daemon.wait_lines("o", 2);
    // A group that only another program of the host has joined on the port.
    let mut other = Daemon::prepare(
        "[input.m]\nudp = \"0.0.0.0:24567\"\nmulticast = \"239.9.9.9\"\ninterface = \"w0\"\n\
         [output.o]\nfrom = [\"m\"]\nfile = \"{dir}/o\"\n",
    );
    let mut command = Command::new("nsenter");
    command.args(["-t", &daemon.pid().to_string(), "-n", LOGWEIR]);
    other.run_by(command);
    network.send(&folder, "alien", "239.9.9.9");
    other.wait_lines("o", 1);
    network.send(&folder, "three", "239.1.2.3");
    assert_eq!(daemon.wait_lines("o", 3), ["one", "two", "three"]);
    assert_eq!(other.lines("o"), ["alien"]);
}

#[test]
fn udp_on_all_of_ipv6_takes_ipv4_too_whatever_the_system_prefers() {
    if !Uid::effective().is_root() || Command::new("ip").arg("-V").output().is_err() {
        return skip_here("needs root and ip");
    }
    let mut daemon = Daemon::prepare(
        "[input.m]\nudp = \"[::]:24567\"\n[output.o]\nfrom = [\"m\"]\nfile = \"{dir}/o\"\n",
    );
    let mut command = Command::new("unshare");
    let setup = "ip link set lo up && sysctl -qw net.ipv6.bindv6only=1 && exec \"$@\"";
    command.args(["-n", "sh", "-c", setup, "sh", LOGWEIR]);
    daemon.run_by(command);
    let network = Network(daemon.pid());
    network.send(daemon.dir.path(), "over IPv4", "127.0.0.1");
    assert_eq!(daemon.wait_lines("o", 1), ["over IPv4"]);
}

#[test]
fn an_address_that_no_interface_has_yet_is_waited_for_and_the_rest_runs() {
    if !Uid::effective().is_root() || Command::new("ip").arg("-V").output().is_err() {
        return skip_here("needs root and ip");
    }
    let mut daemon = Daemon::prepare(
        "[input.u]\nudp = \"192.0.2.7:24567\"\n[input.s]\nsyslog = \"tcp://192.0.2.7:24567\"\n\
         [output.o]\nfrom = [\"u\", \"s\"]\nfile = \"{dir}/o\"\n",
    );
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh", LOGWEIR]);
    daemon.run_by(command);
    let network = Network(daemon.pid());
    for name in ["u", "s"] {
        let why = deaf(&daemon, name);
        assert!(why.contains("no interface has this address"), "{why}");
    }
    assert!(network.run(&["ip", "addr", "add", "192.0.2.7/32", "dev", "lo"]));
    for name in ["u", "s"] {
        hears(&daemon, name);
    }
    let file = daemon.path("sent");
    for (number, scheme) in ["udp", "tcp"].into_iter().enumerate() {
        std::fs::write(&file, format!("by {scheme}\n")).unwrap();
        let to = format!("{scheme}://192.0.2.7:24567");
        assert!(network.run(&[LOGWEIR, "send", "--to", &to, file.to_str().unwrap()]));
        daemon.wait_lines("o", number + 1);
    }
    assert!(daemon.lines("o")[0].ends_with("by udp") && daemon.lines("o")[1].ends_with("by tcp"));
}

#[test]
fn a_metrics_port_that_another_program_has_is_opened_once_it_is_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let daemon = Daemon::start(&format!(
        "metrics = \"127.0.0.1:{port}\"\n#daemon\n[output.o]\nfile = \"{{dir}}/o\"\n"
    ));
    daemon.wait_log("tried again every second");
    drop(taken);
    daemon.wait_log(&format!("daemon.metrics: listening on 127.0.0.1:{port}"));
    assert!(get(port, "/healthz").starts_with("HTTP/1.1 200 "));
}
