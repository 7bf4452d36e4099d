//! SIGHUP and `ctl`: what did not change stays, what is refused changes nothing.

use crate::util::{Daemon, numbered};

const BASE: &str = "[output.keep]\nfrom = \"in\"\npipe = \"cat > {dir}/keep\"\n\
                    [output.file]\nfrom = \"in\"\nfile = \"{dir}/file\"\n";

#[test]
fn what_did_not_change_keeps_its_child_its_counts_and_its_socket() {
    let mut daemon = Daemon::start(BASE);
    daemon.send_numbered(0, 500);
    let before = daemon.wait_node("keep", |node| node.lines_out == 500);
    daemon.write_config(&format!(
        "{BASE}[output.new]\nfrom = \"in\"\nmatch = '9$'\npipe = \"cat > {{dir}}/new\"\n"
    ));
    let done = daemon.ctl("reload");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "reloaded\n");
    assert_eq!(done.status.code(), Some(0));
    daemon.send_numbered(500, 1000);
    let after = daemon.wait_node("keep", |node| node.lines_out == 1000);
    assert_eq!(before.children[0].pid, after.children[0].pid);
    assert_eq!(after.children[0].restarts, 0);
    assert_eq!(daemon.wait_node("new", |node| node.lines_out == 50).lines_in, 500);
    daemon.stop();
    assert_eq!(daemon.lines("keep"), numbered(0, 1000));
    assert_eq!(daemon.lines("file"), numbered(0, 1000));
}

#[test]
fn a_refused_configuration_changes_nothing() {
    let daemon = Daemon::start(BASE);
    daemon.write_config(&format!("{BASE}[output.new]\nfrom = \"inn\"\nstdout = true\n"));
    let refused = daemon.ctl("reload");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("inn"), "{said}");
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    daemon.send_numbered(0, 100);
    assert_eq!(daemon.wait_lines("file", 100), numbered(0, 100));
    daemon.wait_log("reload refused, the old configuration goes on");
}

#[test]
fn a_reload_reads_the_files_that_are_included_too() {
    let mut daemon = Daemon::prepare(BASE);
    let main = std::fs::read_to_string(daemon.path("logweir.toml")).unwrap();
    let main = format!("include = \"conf.d/*.toml\"\n{main}");
    std::fs::write(daemon.path("logweir.toml"), main).unwrap();
    daemon.run();
    let drop_in = daemon.path("conf.d/new.toml");
    std::fs::create_dir(daemon.path("conf.d")).unwrap();
    std::fs::write(&drop_in, "[output.new]\nfrom = \"inn\"\nstdout = true\n").unwrap();
    let refused = daemon.ctl("reload");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{}:2:8: error: output.new.from", drop_in.display())), "{said}");
    let file = daemon.path("new");
    let text = format!("[output.new]\nfrom = \"in\"\nfile = \"{}\"\n", file.display());
    std::fs::write(&drop_in, text).unwrap();
    assert_eq!(daemon.ctl("reload").status.code(), Some(0));
    daemon.send_numbered(0, 100);
    assert_eq!(daemon.wait_lines("new", 100), numbered(0, 100));
    std::fs::remove_file(&drop_in).unwrap();
    assert_eq!(daemon.ctl("reload").status.code(), Some(0));
    assert!(daemon.status().nodes.iter().all(|node| node.name != "new"));
}

#[test]
fn a_port_in_use_refuses_the_reload() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let daemon = Daemon::start(BASE);
    daemon.write_config(&format!(
        "{BASE}[input.more]\nudp = \"127.0.0.1:{port}\"\n\
         [output.m]\nfrom = \"more\"\nfile = \"{{dir}}/m\"\n"
    ));
    let refused = daemon.ctl("reload");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("input.more") && said.contains("the port is in use"), "{said}");
    assert!(daemon.status().nodes.iter().all(|node| node.name != "more"));
}

#[test]
fn a_refused_reload_with_more_sockets_loses_nothing_that_came_to_them() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = taken.local_addr().unwrap().port();
    let daemon = Daemon::start(&format!("sockets = 2\n{BASE}"));
    // The kernel chooses the socket of a port by the sender's port.
    let senders: Vec<_> = (0..32)
        .map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap())
        .inspect(|sender| sender.connect(("127.0.0.1", daemon.port)).unwrap())
        .collect();
    daemon
        .write_config(&format!("metrics = \"127.0.0.1:{metrics}\"\n#daemon\nsockets = 8\n{BASE}"));
    let mut sent = 0;
    for _ in 0..10 {
        let reload = std::thread::scope(|scope| {
            let reload = scope.spawn(|| daemon.ctl("reload"));
            while !reload.is_finished() {
                for sender in &senders {
                    sender.send(format!("line {sent}\n").as_bytes()).unwrap();
                    sent += 1;
                }
                std::thread::yield_now();
            }
            reload.join().unwrap()
        });
        let said = String::from_utf8_lossy(&reload.stderr).into_owned();
        assert_eq!(reload.status.code(), Some(1), "{said}");
        assert!(said.contains("daemon.metrics"), "{said}");
    }
    let input =
        daemon.wait_node("in", |node| node.lines_in + node.input.unwrap().kernel_drops >= sent);
    assert_eq!(input.lines_in + input.input.unwrap().kernel_drops, sent);
}

fn send(daemon: &Daemon, from: u64, to: u64) {
    for line in numbered(from, to) {
        daemon.send(line.as_bytes());
    }
}

#[test]
fn twenty_reloads_under_load_lose_no_line() {
    let mut daemon = Daemon::start(BASE);
    for round in 0..20 {
        send(&daemon, round * 200, round * 200 + 100);
        // Every second time the input itself changes, and one output comes or goes.
        let buffer = if round % 2 == 0 { "receive_buffer = \"2MiB\"\n" } else { "" };
        let extra = if round % 3 == 0 {
            "[output.x]\nfrom = \"in\"\npipe = \"cat > {dir}/x\"\n"
        } else {
            ""
        };
        daemon.write_config(&format!("{buffer}{BASE}{extra}"));
        daemon.signal(nix::sys::signal::Signal::SIGHUP);
        send(&daemon, round * 200 + 100, round * 200 + 200);
    }
    assert_eq!(daemon.wait_lines("file", 4000), numbered(0, 4000));
    // Whatever a signal asked for before is done when this is.
    assert!(daemon.ctl("reload").status.success());
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert_eq!(daemon.lines("keep"), numbered(0, 4000));
    assert!(!log.contains("BALANCE"), "{log}");
    assert!(!log.contains("refused"), "{log}");
}

#[test]
fn a_changed_process_drains_to_the_old_child_and_goes_on_with_the_new() {
    let mut daemon = Daemon::start(BASE);
    daemon.send_numbered(0, 300);
    daemon.wait_node("keep", |node| node.lines_out == 300);
    daemon.write_config(&BASE.replace("{dir}/keep", "{dir}/keep2"));
    assert!(daemon.ctl("reload").status.success());
    daemon.send_numbered(300, 600);
    // It goes on counting where the old one stopped.
    daemon.wait_node("keep", |node| node.lines_out == 600 && node.lines_in == 600);
    let (_, log) = daemon.stop();
    assert_eq!(daemon.lines("keep"), numbered(0, 300));
    assert_eq!(daemon.lines("keep2"), numbered(300, 600));
    assert_eq!(log.matches("ledger: output keep: in 300 out 300").count(), 1, "{log}");
    assert_eq!(log.matches("ledger: output keep: in 600 out 600").count(), 1, "{log}");
}

#[test]
fn rotate_reopens_files_by_name() {
    let daemon = Daemon::start(BASE);
    daemon.send_numbered(0, 10);
    daemon.wait_lines("file", 10);
    std::fs::rename(daemon.path("file"), daemon.path("file.1")).unwrap();
    assert!(daemon.ctl("rotate").status.success());
    daemon.send_numbered(10, 20);
    assert_eq!(daemon.wait_lines("file", 10), numbered(10, 20));
    assert_eq!(daemon.lines("file.1"), numbered(0, 10));
}

#[test]
fn a_reload_holds_nothing_up_and_those_asked_for_meanwhile_become_one() {
    let mut daemon = Daemon::start(BASE);
    let good = std::fs::read(daemon.path("logweir.toml")).unwrap();
    // Whoever reads the configuration waits for whoever writes it.
    let config = daemon.path("logweir.toml");
    std::fs::remove_file(&config).unwrap();
    nix::unistd::mkfifo(&config, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..3).map(|_| scope.spawn(|| daemon.ctl("reload"))).collect();
        // Opened once the reload reads it.
        let mut pipe = std::fs::OpenOptions::new().write(true).open(&config).unwrap();
        daemon.send_numbered(0, 100);
        assert_eq!(daemon.wait_lines("file", 100), numbered(0, 100));
        assert!(asked.iter().all(|asked| !asked.is_finished()));
        daemon.write_config(BASE);
        std::io::Write::write_all(&mut pipe, &good).unwrap();
        drop(pipe);
        for asked in asked {
            let done = asked.join().unwrap();
            assert_eq!(String::from_utf8_lossy(&done.stdout), "reloaded\n");
        }
    });
    daemon.send_numbered(100, 200);
    assert_eq!(daemon.wait_lines("file", 200), numbered(0, 200));
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    let reloads = log.matches("reloaded: 3 nodes").count();
    // The clients may have asked before or after the first reload had begun.
    assert!((1..=3).contains(&reloads), "{log}");
}

#[test]
fn a_daemon_that_is_told_to_end_while_it_reloads_ends() {
    let mut daemon = Daemon::start(BASE);
    let config = daemon.path("logweir.toml");
    std::fs::remove_file(&config).unwrap();
    nix::unistd::mkfifo(&config, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    let _pipe = std::fs::OpenOptions::new().write(true).open(&config).unwrap();
    daemon.send_numbered(0, 100);
    daemon.wait_lines("file", 100);
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("the daemon is ending"), "{log}");
    assert_eq!(daemon.lines("file"), numbered(0, 100));
}

#[test]
fn fewer_sockets_lose_nothing_of_what_the_closing_ones_hold() {
    let config = |sockets: u16| {
        format!(
            "[input.many]\nudp = \"127.0.0.1:{{port2}}\"\nsockets = {sockets}\n\
             [output.many-out]\nfrom = \"many\"\nfile = \"{{dir}}/many\"\n{BASE}"
        )
    };
    let port = crate::util::free_port();
    let config = |sockets| config(sockets).replace("{port2}", &port.to_string());
    let mut daemon = Daemon::start(&config(4));
    let mut sent = 0_u64;
    for round in 0..20 {
        let sockets = if round % 2 == 0 { 1 } else { 4 };
        daemon.write_config(&config(sockets));
        let reload = std::thread::scope(|scope| {
            let reload = scope.spawn(|| daemon.ctl("reload"));
            // From many ports, so that each socket is given some.
            while !reload.is_finished() {
                let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                for _ in 0..20 {
                    socket.send_to(format!("{sent}\n").as_bytes(), ("127.0.0.1", port)).unwrap();
                    sent += 1;
                }
                // No more than the kernel holds while nobody reads.
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            reload.join().unwrap()
        });
        assert_eq!(String::from_utf8_lossy(&reload.stdout), "reloaded\n");
    }
    let got = || {
        let lines = daemon.lines("many").len() as u64;
        (lines >= sent).then_some(lines)
    };
    assert_eq!(crate::util::wait_for("all lines", got), sent);
    let (code, _) = daemon.stop();
    assert_eq!(code, Some(0));
}

#[test]
fn a_spool_that_moves_to_another_folder_and_back_finds_its_lock_free() {
    let of = |folder: &str| {
        format!(
            "[output.all]\nfrom = \"in\"\nfile = \"{{dir}}/all\"\n\
             spool = {{ dir = \"{{dir}}/{folder}\" }}\n"
        )
    };
    let mut daemon = Daemon::start(&of("one"));
    for round in 0..5 {
        daemon.send_numbered(round * 100, round * 100 + 100);
        daemon.wait_lines("all", usize::try_from(round * 100 + 100).unwrap());
        for folder in ["two", "one"] {
            daemon.write_config(&of(folder));
            let done = daemon.ctl("reload");
            assert_eq!(String::from_utf8_lossy(&done.stderr), "", "to {folder}");
            assert_eq!(done.status.code(), Some(0));
        }
    }
    daemon.send_numbered(500, 600);
    assert_eq!(daemon.wait_lines("all", 600), numbered(0, 600));
    assert!(!daemon.log().contains("another daemon"), "{}", daemon.log());
    // One that another output of the plan in force has is not free, and says so.
    daemon.write_config(&of("one").replace("output.all", "output.other"));
    let refused = daemon.ctl("reload");
    let said = format!(
        "logweir: spool of other.spool: {}: is the folder of all.spool until the new configuration \
         is in force: reload without this spool first, or restart\n",
        daemon.path("one").display()
    );
    assert_eq!(String::from_utf8_lossy(&refused.stderr), said);
    assert_eq!(daemon.stop().0, Some(0));
}
