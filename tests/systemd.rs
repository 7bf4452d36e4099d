//! What a service manager is told and gives, with a manager played by the test.

use std::collections::BTreeMap;
use std::io::{IoSliceMut, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};

use crate::util::{Daemon, LOGWEIR, free_port, numbered, wait_for};

/// A service manager, as far as the daemon sees one.
struct Manager {
    dir: tempfile::TempDir,
    socket: UnixDatagram,
    /// The descriptors in its store, by name.
    store: BTreeMap<String, OwnedFd>,
    /// All that it was told, a line each.
    told: Vec<String>,
    /// How many descriptors the store takes (FileDescriptorStoreMax=).
    most: usize,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { dir, socket, store: BTreeMap::new(), told: Vec::new(), most: usize::MAX }
    }

    /// Takes in what the daemon said.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        let mut control = nix::cmsg_space!([std::os::fd::RawFd; 8]);
        loop {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let fd = self.socket.as_raw_fd();
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            let Ok(message) = recvmsg::<UnixAddr>(fd, &mut slices, Some(&mut control), flags)
            else {
                return;
            };
            let mut fds = Vec::new();
            for one in message.cmsgs().unwrap() {
                if let ControlMessageOwned::ScmRights(rights) = one {
                    fds.extend(rights);
                }
            }
            let len = message.bytes;
            let text = String::from_utf8(buffer[..len].to_vec()).unwrap();
            let name = text.lines().find_map(|line| line.strip_prefix("FDNAME="));
            let name = name.unwrap_or_default().to_string();
            if text.contains("FDSTOREREMOVE=1") {
                self.store.remove(&name);
            }
            for fd in fds {
                // SAFETY: the kernel has just made this descriptor for us.
                #[expect(unsafe_code, reason = "only so can a descriptor be received")]
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                if text.contains("FDSTORE=1") {
                    self.put(name.clone(), fd);
                }
            }
            self.told.extend(text.lines().map(str::to_string));
        }
    }

    /// Puts a descriptor into the store as systemd does: not beyond what it may hold, and not a
    /// second time under another name.
    fn put(&mut self, name: String, fd: OwnedFd) {
        let inode = |fd: &OwnedFd| nix::sys::stat::fstat(fd).unwrap().st_ino;
        let there = self.store.values().any(|other| inode(other) == inode(&fd));
        if !there && self.store.len() < self.most {
            self.store.insert(name, fd);
        }
    }

    /// The names of the sockets in the store, once the manager was told all there is to tell.
    fn sockets(&mut self) -> Vec<String> {
        wait_for("the probe to go", || {
            self.listen();
            (!self.store.contains_key("logweir.probe")).then_some(())
        });
        self.store.keys().cloned().collect()
    }

    fn wait_told(&mut self, what: &str) {
        wait_for(what, || {
            self.listen();
            self.told.iter().any(|line| line.starts_with(what)).then_some(())
        });
    }

    /// Starts the daemon with what is in the store.
    fn start(&mut self, daemon: &mut Daemon) {
        self.told.clear();
        let mut script = String::new();
        for (at, fd) in self.store.values().enumerate() {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
            script += &format!("exec {}<&{}; ", at + 3, fd.as_raw_fd());
        }
        script += "export LISTEN_PID=$$; exec \"$@\"";
        let names: Vec<_> = self.store.keys().cloned().collect();
        let mut command = Command::new("bash");
        command.arg("-c").arg(script).arg("bash").arg(LOGWEIR);
        command.env("NOTIFY_SOCKET", self.dir.path().join("notify"));
        command.env("WATCHDOG_USEC", "400000");
        command.env("LISTEN_FDS", names.len().to_string());
        command.env("LISTEN_FDNAMES", names.join(":"));
        daemon.run_by(command);
    }
}

fn config(more: &str) -> (String, u16) {
    let port = free_port();
    let text = format!(
        "[input.local]\nsyslog = \"unix://{{dir}}/log.sock\"\n\
         [input.tcp]\nsyslog = \"tcp://127.0.0.1:{port}\"\n\
         [output.all]\nfile = \"{{dir}}/all\"\n{more}"
    );
    (text, port)
}

#[test]
fn a_manager_is_told_of_every_step_and_that_the_loop_goes_round() {
    let (text, _) = config("");
    let (mut daemon, mut manager) = (Daemon::prepare(&text), Manager::new());
    manager.start(&mut daemon);
    manager.wait_told("READY=1");
    manager.wait_told("WATCHDOG=1");
    manager.wait_told("STATUS=0 lines/s, 0 dropped");
    assert_eq!(manager.sockets().len(), 3);
    manager.told.clear();
    assert!(daemon.ctl("reload").status.success());
    manager.wait_told("READY=1");
    let steps: Vec<_> = manager
        .told
        .iter()
        .filter(|line| line.starts_with("RELOADING") || line.starts_with("READY"))
        .collect();
    assert_eq!(steps, ["RELOADING=1", "READY=1"]);
    assert!(manager.told.iter().any(|line| line.starts_with("MONOTONIC_USEC=")));
    let (code, _) = daemon.stop();
    assert_eq!(code, Some(0));
    manager.wait_told("STOPPING=1");
}

#[test]
fn what_comes_while_the_daemon_is_away_waits_in_the_store() {
    let (text, port) = config("");
    let (mut daemon, mut manager) = (Daemon::prepare(&text), Manager::new());
    manager.start(&mut daemon);
    manager.wait_told("READY=1");
    let local = UnixDatagram::unbound().unwrap();
    local.connect(daemon.path("log.sock")).unwrap();
    let mut sent = 0;
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGTERM] {
        daemon.send_numbered(sent, sent + 500);
        daemon.wait_lines("all", usize::try_from(sent).unwrap() + 500);
        daemon.signal(signal);
        daemon.wait();
        manager.listen();
        // Nobody is there now; the kernel holds these.
        for number in sent + 500..sent + 600 {
            daemon.send(format!("line {number}\n").as_bytes());
        }
        local.send(format!("line {}", sent + 600).as_bytes()).unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(format!("line {}\n", sent + 601).as_bytes()).unwrap();
        sent += 602;
        manager.start(&mut daemon);
        let mut lines = daemon.wait_lines("all", usize::try_from(sent).unwrap());
        lines.sort_by_key(|line| line[5..].parse::<u64>().unwrap());
        assert_eq!(lines, numbered(0, sent));
        manager.wait_told("READY=1");
        assert_eq!(manager.sockets().len(), 3);
    }
}

#[test]
fn a_manager_that_does_not_listen_holds_nothing_up() {
    let (text, _) = config("");
    let (mut daemon, mut manager) = (Daemon::prepare(&text), Manager::new());
    manager.start(&mut daemon);
    // The kernel holds a few hundred notes at most, and the daemon gives several a second.
    for round in 0..100 {
        assert!(daemon.ctl("reload").status.success());
        daemon.send(format!("line {round}\n").as_bytes());
    }
    assert_eq!(daemon.wait_lines("all", 100), numbered(0, 100));
    manager.wait_told("READY=1");
}

#[test]
fn drops_of_the_meantime_are_counted_and_no_other_twice() {
    let text = "receive_buffer = \"4KiB\"\n[output.all]\nfile = \"{dir}/all\"\n";
    let (mut daemon, mut manager) = (Daemon::prepare(text), Manager::new());
    manager.start(&mut daemon);
    manager.wait_told("READY=1");
    let (code, _) = daemon.stop();
    assert_eq!(code, Some(0));
    manager.listen();
    for number in 0..1000 {
        daemon.send(format!("line {number}\n").as_bytes());
    }
    manager.start(&mut daemon);
    let node =
        daemon.wait_node("in", |node| node.lines_in + node.input.unwrap().kernel_drops == 1000);
    assert!(node.input.unwrap().kernel_drops > 0);
    manager.listen();
    daemon.stop();
    manager.listen();
    let dropped = format!("logweir.in.drops.{}", node.input.unwrap().kernel_drops);
    assert!(manager.store.contains_key(&dropped), "{dropped}: {:?}", manager.store.keys());
    manager.start(&mut daemon);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(daemon.node("in").input.unwrap().kernel_drops, 0);
}

#[test]
fn sockets_that_the_configuration_does_not_name_are_said_and_closed() {
    let (text, _) = config("");
    let (mut daemon, mut manager) = (Daemon::prepare(&text), Manager::new());
    let stray = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = stray.local_addr().unwrap();
    manager.store.insert("stray.socket".into(), stray.into());
    let file = std::fs::File::open("/dev/null").unwrap();
    manager.store.insert("a-file".into(), file.into());
    manager.start(&mut daemon);
    manager.wait_told("READY=1");
    daemon.wait_log("a-file, passed by the service manager, is not a socket");
    daemon.wait_log(&format!("a socket at {at}, which no input of the configuration has"));
}

#[test]
fn an_input_that_a_reload_removes_leaves_the_store() {
    let (text, _) = config("");
    let (mut daemon, mut manager) = (Daemon::prepare(&text), Manager::new());
    manager.start(&mut daemon);
    manager.wait_told("READY=1");
    assert_eq!(manager.sockets().len(), 3);
    daemon.write_config("[output.all]\nfile = \"{dir}/all\"\n");
    manager.told.clear();
    assert!(daemon.ctl("reload").status.success());
    manager.wait_told("READY=1");
    assert_eq!(manager.sockets(), ["logweir.in.drops.0"]);
    wait_for("the socket's path to go", || (!daemon.path("log.sock").exists()).then_some(()));
}

#[test]
fn a_store_that_refuses_is_said_and_nothing_waits_for_it() {
    let (text, _) = config("");
    let (mut daemon, mut manager) = (Daemon::prepare(&text), Manager::new());
    manager.most = 0;
    manager.start(&mut daemon);
    manager.wait_told("READY=1");
    wait_for("the daemon to notice", || {
        manager.listen();
        daemon.log().contains("the service manager does not keep our sockets").then_some(())
    });
    assert!(daemon.path("log.sock").exists());
    daemon.stop();
    assert!(!daemon.path("log.sock").exists(), "nobody has the socket any more");
    manager.listen();
    manager.start(&mut daemon);
    daemon.send(b"line 0\n");
    assert_eq!(daemon.wait_lines("all", 1), numbered(0, 1));
}

#[test]
fn a_manager_that_is_not_there_is_said_once() {
    let (text, _) = config("");
    let mut daemon = Daemon::prepare(&text);
    let mut command = Command::new(LOGWEIR);
    command.env("NOTIFY_SOCKET", daemon.path("nobody"));
    daemon.run_by(command);
    for _ in 0..3 {
        assert!(daemon.ctl("reload").status.success());
    }
    daemon.send(b"line 0\n");
    assert_eq!(daemon.wait_lines("all", 1), numbered(0, 1));
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert_eq!(
        log.matches("cannot notify the service manager (NOTIFY_SOCKET)").count(),
        1,
        "{log}"
    );
}

#[test]
fn a_manager_may_listen_at_an_abstract_address() {
    let (text, _) = config("");
    let mut daemon = Daemon::prepare(&text);
    let name = daemon.path("notify").display().to_string();
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    let mut command = Command::new(LOGWEIR);
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    daemon.run_by(command);
    socket.set_nonblocking(true).unwrap();
    wait_for("READY=1", || {
        let mut told = [0; 64];
        let len = socket.recv(&mut told).ok()?;
        (&told[..len] == b"READY=1").then_some(())
    });
}

#[test]
fn descriptors_for_another_process_and_none_where_some_were_promised_are_said() {
    let (text, _) = config("");
    let mut daemon = Daemon::prepare(&text);
    let mut command = Command::new(LOGWEIR);
    command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    daemon.run_by(command);
    let (_, log) = daemon.stop();
    assert!(log.contains("LISTEN_FDS=1 is for process 1 (LISTEN_PID), not for this one"), "{log}");

    let script = "for fd in 3 4 5 6 7 8 9; do eval \"exec $fd<&-\"; done; \
                  export LISTEN_PID=$$; exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", LOGWEIR]).env("LISTEN_FDS", "7");
    daemon.run_by(command);
    daemon.send(b"line 0\n");
    assert_eq!(daemon.wait_lines("all", 1), numbered(0, 1));
    let (_, log) = daemon.stop();
    assert!(log.contains("LISTEN_FDS=7, but 0 descriptors were passed"), "{log}");
}

#[test]
fn a_socket_out_of_the_store_gets_the_mode_that_the_configuration_says_now() {
    let text = |mode: &str| {
        format!(
            "[input.local]\nsyslog = \"unix://{{dir}}/log.sock\"\n{mode}\
             [output.all]\nfile = \"{{dir}}/all\"\n"
        )
    };
    let (mut daemon, mut manager) = (Daemon::prepare(&text("mode = \"0600\"\n")), Manager::new());
    let mode = |daemon: &Daemon| daemon.path("log.sock").metadata().unwrap().mode() & 0o777;
    manager.start(&mut daemon);
    manager.wait_told("READY=1");
    assert_eq!(mode(&daemon), 0o600);
    for (setting, expected) in [("mode = \"0620\"\n", 0o620), ("", 0o666)] {
        daemon.stop();
        manager.listen();
        let inode = daemon.path("log.sock").metadata().unwrap().ino();
        daemon.write_config(&text(setting));
        manager.start(&mut daemon);
        assert_eq!(mode(&daemon), expected);
        assert_eq!(daemon.path("log.sock").metadata().unwrap().ino(), inode);
    }
    // Its path goes when a reload removes it, though another daemon had made it.
    daemon.write_config("[output.all]\nfile = \"{dir}/all\"\n");
    assert!(daemon.ctl("reload").status.success());
    wait_for("the socket's path to go", || (!daemon.path("log.sock").exists()).then_some(()));
}

#[test]
fn a_status_names_the_reader_that_is_furthest_behind() {
    let text = "[output.hub]\nforward = \"tcp://127.0.0.1:1\"\n\
                spool = { dir = \"{dir}/hub\", sync = \"never\" }\n\
                [output.all]\nfile = \"{dir}/all\"\nspool = { dir = \"{dir}/spool\" }\n";
    let (mut daemon, mut manager) = (Daemon::prepare(text), Manager::new());
    manager.start(&mut daemon);
    manager.wait_told("STATUS=0 lines/s, 0 dropped, ");
    let lags = |line: &String| {
        let lag = line.strip_prefix("STATUS=").and_then(|line| line.split_once(", hub lag "));
        lag.is_some_and(|(_, lag)| lag != "0 s" && lag.ends_with(" s"))
    };
    let mut sent = 0;
    wait_for("hub to lag", || {
        daemon.send(format!("line {sent}\n").as_bytes());
        sent += 1;
        manager.listen();
        manager.told.iter().any(lags).then_some(())
    });
}
