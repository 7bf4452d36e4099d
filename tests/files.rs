//! Output files: full disks, rotation, compression.

use crate::util::{Daemon, numbered, wait_for};

#[test]
fn a_full_disk_is_counted_retried_and_harms_nobody() {
    // /dev/full takes nothing, with ENOSPC, for ever.
    let mut daemon = Daemon::start(
        "[output.full]\nfrom = \"in\"\nfile = \"/dev/full\"\nqueue = \"4KiB\"\n\
         [output.fine]\nfrom = \"in\"\nfile = \"{dir}/fine\"\n",
    );
    daemon.send_numbered(0, 3000);
    assert_eq!(daemon.wait_lines("fine", 3000), numbered(0, 3000));
    let full = daemon.wait_node("full", |node| node.lines_in == 3000);
    assert!(full.dropped["disk_error"] > 0, "{full:?}");
    assert!(full.error.unwrap().contains("No space left"));
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("/dev/full: No space left on device"), "{log}");
    assert!(!log.contains("BALANCE"), "{log}");
}

#[test]
fn lines_wait_until_a_folder_can_be_written_again() {
    let daemon = Daemon::start_with(
        "[output.late]\nfrom = \"in\"\nfile = \"{dir}/blocked/late\"\n",
        |dir| std::fs::write(dir.join("blocked"), "a file where a folder must be").unwrap(),
    );
    daemon.send_numbered(0, 100);
    daemon.wait_node("late", |node| node.error.is_some());
    std::fs::remove_file(daemon.path("blocked")).unwrap();
    assert_eq!(daemon.wait_lines("blocked/late", 100), numbered(0, 100));
    daemon.wait_log("late: written to again");
}

#[test]
fn rotation_by_size_keeps_every_line_and_compresses_what_is_set_aside() {
    let mut daemon = Daemon::start(
        "[output.all]\nfrom = \"in\"\nfile = \"{dir}/logs/all\"\nrotate = \"4KiB\"\n\
         compress = \"zstd\"\n",
    );
    daemon.send_numbered(0, 3000);
    daemon.wait_node("all", |node| node.lines_out == 3000);
    daemon.stop();
    let mut names: Vec<_> = std::fs::read_dir(daemon.path("logs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_by_key(|name| name.strip_suffix(".zst").unwrap_or(name).to_string());
    assert_eq!(names[0], "all");
    assert!(names.len() > 5 && names[1..].iter().all(|name| name.ends_with(".zst")), "{names:?}");
    let mut all = String::new();
    for name in names[1..].iter().chain(&names[..1]) {
        let bytes = std::fs::read(daemon.path("logs").join(name)).unwrap();
        let plain =
            if name.ends_with(".zst") { zstd::decode_all(&bytes[..]).unwrap() } else { bytes };
        assert!(plain.len() <= 4096);
        all.push_str(std::str::from_utf8(&plain).unwrap());
    }
    assert_eq!(all.lines().collect::<Vec<_>>(), numbered(0, 3000));
}

#[test]
fn mode_and_append_are_as_the_user_says() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start_with(
        "[output.new]\nfrom = \"in\"\nfile = \"{dir}/new\"\nmode = \"0600\"\n\
         [output.old]\nfrom = \"in\"\nfile = \"{dir}/old\"\n",
        |dir| std::fs::write(dir.join("old"), "from before\n").unwrap(),
    );
    daemon.send(b"a line\n");
    assert_eq!(daemon.wait_lines("old", 2), ["from before", "a line"]);
    daemon.wait_lines("new", 1);
    let mode = daemon.path("new").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_stalled_standard_output_costs_no_file_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let text = format!(
        "[daemon]\ncontrol = {:?}\ngrace = \"100ms\"\n[input.in]\nstdin = true\n\
         [output.out]\nstdout = true\nqueue = \"4KiB\"\n[output.file]\nfile = \"{}\"\n",
        path("control.sock"),
        path("file").display(),
    );
    std::fs::write(path("c.toml"), text).unwrap();
    let mut child = std::process::Command::new(crate::util::LOGWEIR)
        .args(["run", "-c"])
        .arg(path("c.toml"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let input: String = numbered(0, 50_000).iter().map(|line| format!("{line}\n")).collect();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    // Nobody reads the standard output: its 64 KiB pipe fills up and stays so.
    let status = wait_for("the daemon to end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(path("file")).unwrap(), input);
}

#[test]
fn a_stalled_file_costs_no_other_file_a_line() {
    // A terminal whose other end nobody reads takes a few kilobytes and then stalls for good.
    let terminal = nix::pty::openpty(None, None).unwrap();
    let name = nix::unistd::ttyname(&terminal.slave).unwrap();
    let mut daemon = Daemon::start(&format!(
        "grace = \"200ms\"\n#daemon\n[output.stalled]\nfrom = \"in\"\nfile = {name:?}\n\
         queue = \"4KiB\"\n\
         [output.fine]\nfrom = \"in\"\nfile = \"{{dir}}/fine\"\n"
    ));
    daemon.send_numbered(0, 20_000);
    assert_eq!(daemon.wait_lines("fine", 20_000), numbered(0, 20_000));
    let stalled = daemon.wait_node("stalled", |node| node.lines_in == 20_000);
    assert!(stalled.dropped["queue_full"] > 10_000, "{stalled:?}");
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0), "{log}");
}
