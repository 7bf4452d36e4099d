//! A host's own messages: the kernel's, marks, repeats that are joined, users' terminals.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::net::UdpSocket;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::util::{Daemon, LOGWEIR, free_port, run, skip_here, wait_for};

/// The numbers of the kernel's messages that are there, as the device gives them.
fn kernel_numbers() -> Option<Vec<u64>> {
    let mut options = OpenOptions::new();
    let device = options.read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
    let Ok(mut device) = device else {
        skip_here("/dev/kmsg cannot be read");
        return None;
    };
    let (mut numbers, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    while let Ok(count) = device.read(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..count]);
        numbers.push(text.split(',').nth(1).unwrap().parse().unwrap());
    }
    if numbers.is_empty() {
        skip_here("/dev/kmsg has no messages");
        return None;
    }
    Some(numbers)
}

/// The numbers in lines of the kernel input.
fn numbers_of(lines: &[String]) -> Vec<u64> {
    let number = |line: &String| {
        let (_, rest) = line.split_once("[kernel@32473 seq=\"").unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    };
    lines.iter().map(number).collect()
}

#[test]
fn the_kernels_messages_go_into_a_spool_once_through_kills() {
    let Some(there) = kernel_numbers() else { return };
    let mut daemon = Daemon::start(
        "[input.k]\nkernel = true\n[spool.s]\nfrom = \"k\"\ndir = \"{dir}/spool\"\n\
         [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n",
    );
    let texts = |daemon: &Daemon| -> Vec<String> {
        let dir = daemon.path("spool");
        let output = run(&["spool", "cat", dir.to_str().unwrap()], b"");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_string).collect()
    };
    for _ in 0..2 {
        let lines = wait_for("the messages", || {
            let lines = texts(&daemon);
            (lines.len() >= there.len()).then_some(lines)
        });
        let numbers = numbers_of(&lines);
        assert_eq!(numbers[..there.len()], there);
        assert!(numbers.is_sorted_by(|one, other| one < other), "each once: {numbers:?}");
        assert!(
            lines.iter().all(|line| line.starts_with('<') && line.contains(">1 2")),
            "{lines:?}"
        );
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
        daemon.run();
    }
    daemon.wait_node("k", |node| node.error.is_none());
    assert_eq!(numbers_of(&texts(&daemon))[..there.len()], there);
}

#[test]
fn marks_come_by_themselves() {
    let daemon = Daemon::start(
        "[input.m]\nmark = \"1s\"\n[output.f]\nfrom = \"m\"\nfile = \"{dir}/marks\"\n\
         format = \"traditional\"\n[output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n",
    );
    let lines = daemon.wait_lines("marks", 1);
    assert!(lines[0].ends_with(" logweir -- MARK --"), "{lines:?}");
}

#[test]
fn repeats_are_joined_and_every_line_is_in_the_ledger() {
    let port = free_port();
    let mut daemon = Daemon::start(&format!(
        "[input.sys]\nsyslog = \"udp://127.0.0.1:{port}\"\n\
         [filter.once]\nfrom = \"sys\"\nsqueeze = \"1h\"\n\
         [output.f]\nfrom = \"once\"\nfile = \"{{dir}}/all\"\nformat = \"traditional\"\n\
         [output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n"
    ));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let send = |app: &str, text: &str| {
        let message = format!("<13>Nov 27 10:00:00 h {app}: {text}");
        socket.send_to(message.as_bytes(), ("127.0.0.1", port)).unwrap();
    };
    for number in 0..50 {
        send("a", "same");
        send("b", &format!("number {number}"));
    }
    let node = daemon.wait_node("once", |node| node.lines_in == 100);
    assert_eq!((node.lines_out, node.queued, node.dropped["repeated"]), (51, 1, 48));
    send("a", "other");
    let node = daemon.wait_node("once", |node| node.lines_in == 101);
    assert_eq!((node.lines_out, node.queued, node.dropped["repeated"]), (53, 0, 48));
    send("a", "other");
    send("a", "other");
    daemon.wait_node("once", |node| node.lines_in == 103);
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("ledger: filter once: in 103 out 54 not_selected 0 repeated 49 queued 0"));
    assert!(!log.contains("BALANCE") && !log.contains("WARN"), "{log}");
    let lines = std::fs::read_to_string(daemon.path("all")).unwrap();
    let of_a: Vec<_> = lines.lines().filter(|line| line.contains(" a: ")).collect();
    assert_eq!(
        of_a,
        [
            "Nov 27 10:00:00 h a: same",
            "Nov 27 10:00:00 h a: message repeated 49 times: [ same]",
            "Nov 27 10:00:00 h a: other",
            "Nov 27 10:00:00 h a: message repeated 2 times: [ other]",
        ]
    );
}

#[test]
fn a_filter_that_joins_no_more_passes_on_what_it_holds_at_the_reload() {
    let nodes = "[filter.once]\nfrom = \"in\"\nsqueeze = \"1h\"\n\
                 [output.f]\nfrom = \"once\"\nfile = \"{dir}/all\"\n";
    let daemon = Daemon::start(nodes);
    for _ in 0..5 {
        daemon.send(b"<13>a: x\n");
    }
    daemon.wait_node("once", |node| node.lines_in == 5 && node.queued == 1);
    daemon.write_config(&nodes.replace("squeeze = \"1h\"\n", ""));
    assert!(daemon.ctl("reload").status.success());
    assert_eq!(daemon.wait_lines("all", 2)[1], "<13>a: message repeated 4 times: [ x]");
}

#[test]
fn a_user_who_is_logged_in_sees_the_line() {
    if !nix::unistd::geteuid().is_root() {
        return skip_here("needs root, to make a record of a login");
    }
    let pty = nix::pty::openpty(None, None).unwrap();
    let terminal = nix::unistd::ttyname(&pty.slave).unwrap();
    let line = terminal.strip_prefix("/dev").unwrap().to_str().unwrap().to_string();
    let mut daemon =
        Daemon::prepare("[output.t]\nfrom = \"in\"\nusers = [\"nobody-but-a-test\"]\n");
    // utmp(5): the type of a user's process, the terminal, the name.
    let mut record = vec![0_u8; size_of::<libc::utmpx>()];
    record[..2].copy_from_slice(&7_i16.to_ne_bytes());
    record[8..8 + line.len()].copy_from_slice(line.as_bytes());
    record[44..44 + 17].copy_from_slice(b"nobody-but-a-test");
    std::fs::create_dir(daemon.path("run")).unwrap();
    std::fs::write(daemon.path("run/utmp"), record).unwrap();
    let there = Command::new("unshare").args(["-m", "true"]).status();
    if !there.is_ok_and(|status| status.success()) {
        return skip_here("needs mount namespaces");
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", "mount --bind \"$0\" /run && exec \"$@\""]);
    command.arg(daemon.path("run")).arg(LOGWEIR);
    daemon.run_by(command);
    daemon.send(b"<13>Nov 27 10:00:00 h su: to \x1b[31mroot\n");
    let mut screen: File = pty.master.into();
    let (mut text, mut buffer) = (String::new(), [0; 1024]);
    while !text.contains("root") {
        let count = screen.read(&mut buffer).unwrap();
        text += &String::from_utf8_lossy(&buffer[..count]);
    }
    assert!(text.contains("su: to \\x1b[31mroot"), "{text:?}");
    daemon.wait_node("t", |node| node.lines_out == 1);
}
