//! Spools that are full, or whose disk is: what gives room again does so at once, and the daemon
//! ends all the same.

use std::io::Write;
use std::net::TcpStream;

use crate::files::Disk;
use crate::util::{Daemon, free_port, numbered, wait_for};

const NULL: &str = "[output.null]\nfrom = \"in\"\nfile = \"/dev/null\"\n";

/// Sends numbered lines, filled up to 500 bytes, by a connection that waits while nothing is taken.
fn send(port: u16, count: u64) -> std::thread::JoinHandle<()> {
    let mut stream = wait_for("the input", || TcpStream::connect(("127.0.0.1", port)).ok());
    std::thread::spawn(move || {
        for number in 0..count {
            let line = format!("line {number} {}\n", "x".repeat(490));
            stream.write_all(line.as_bytes()).unwrap();
        }
    })
}

#[test]
fn a_full_spool_goes_on_once_a_reload_has_removed_the_reader_that_held_it() {
    const LINES: u64 = 8000;
    let port = free_port();
    let rest = format!(
        "[input.s]\nsyslog = \"tcp://127.0.0.1:{port}\"\n\
         [spool.hold]\nfrom = \"s\"\ndir = \"{{dir}}/hold\"\nsegment = \"64KiB\"\n\
         max_size = \"1MiB\"\nwhen_full = \"block\"\nqueue = \"256KiB\"\n\
         [output.good]\nfrom = \"hold\"\nfile = \"{{dir}}/good\"\n{NULL}"
    );
    let dead = "[output.dead]\nfrom = \"hold\"\nforward = \"relp://127.0.0.1:1\"\n";
    let mut daemon = Daemon::start(&format!("{rest}{dead}"));
    let sender = send(port, LINES);
    daemon.wait_node("hold", |node| {
        node.queued > 0
            && node.error.as_ref().is_some_and(|why| why.contains("max_size is reached"))
    });
    // Whoever reads has read what is there, and no more comes.
    let held = daemon
        .wait_node("good", |node| node.lines_out == daemon.node("hold").spool.unwrap().durable);
    assert!(held.lines_out < LINES / 2, "{held:?}");
    daemon.write_config(&rest);
    assert!(daemon.ctl("reload").status.success());
    sender.join().unwrap();
    daemon.wait_node("good", |node| node.lines_out == LINES);
    let lines = daemon.wait_lines("good", LINES as usize);
    let is_line = |(number, line): (usize, &String)| line.starts_with(&format!("line {number} x"));
    assert!(lines.iter().enumerate().all(is_line));
    // And what it has read is removed.
    daemon.wait_node("hold", |node| node.spool.as_ref().unwrap().bytes < 512 << 10);
    assert_eq!(daemon.node("hold").dropped.values().sum::<u64>(), 0);
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_daemon_whose_cursors_cannot_be_written_ends_after_its_grace_and_goes_on_later() {
    let Some(disk) = Disk::new() else { return };
    let port = free_port();
    let mut daemon = Daemon::start(&format!(
        "grace = \"1s\"\n#daemon\n[output.hub]\nfrom = \"in\"\nforward = \"relp://127.0.0.1:{port}\"\n\
         spool = {{ dir = \"{}\", sync = \"batch\", reserve = 0 }}\n",
        disk.path("mounted/spool")
    ));
    daemon.send_numbered(0, 1000);
    daemon.wait_node("hub.spool", |node| node.spool.as_ref().unwrap().durable == 1000);
    // No block is left, and none for a cursor that is set aside.
    let filler = disk.path("mounted/filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
    let _ = std::fs::remove_file(disk.path("mounted/spool/spare"));
    while file.write_all(&[b'x'; 1024]).is_ok() {}
    drop(file);
    let hub = Daemon::start(&format!(
        "[input.edge]\nrelp = \"127.0.0.1:{port}\"\n\
         [spool.hold]\nfrom = \"edge\"\ndir = \"{{dir}}/hold\"\n\
         [output.f]\nfrom = \"hold\"\nfile = \"{{dir}}/out\"\n{NULL}"
    ));
    hub.wait_lines("out", 1000);
    daemon.wait_node("hub", |node| node.lines_out == 1000);
    daemon.stop();
    // With room again it goes on, and each line is there once.
    std::fs::remove_file(filler).unwrap();
    daemon.run();
    daemon.send_numbered(1000, 1100);
    assert_eq!(hub.wait_lines("out", 1100), numbered(0, 1100));
}
