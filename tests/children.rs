//! Filter processes: each misbehaving one beside a pipe and a file that get every line.

use crate::util::{Daemon, numbered, wait_for};

/// A pipe and a file beside the node under test.
const OTHERS: &str = "[output.pipe]\nfrom = \"in\"\npipe = \"cat > {dir}/pipe\"\n\
                      [output.file]\nfrom = \"in\"\nfile = \"{dir}/file\"\n";

/// Starts a daemon with `node` beside the others, sends lines, and sees the others through.
fn beside(node: &str, lines: u64) -> Daemon {
    let daemon = Daemon::start(&format!("{node}\n{OTHERS}"));
    daemon.send_numbered(0, lines);
    let count = usize::try_from(lines).unwrap();
    assert_eq!(daemon.wait_lines("file", count), numbered(0, lines));
    assert_eq!(daemon.wait_lines("pipe", count), numbered(0, lines));
    assert_eq!(daemon.node("in").input.unwrap().kernel_drops, 0);
    daemon
}

fn test_node(command: &str, more: &str) -> String {
    format!("[output.test]\nfrom = \"in\"\npipe = '''{command}'''\n{more}")
}

#[test]
fn a_missing_command_is_a_crash_loop_that_is_said_once() {
    let mut daemon = beside(&test_node("/no/such/program", "restart = [\"20ms\", \"20ms\"]"), 2000);
    let crashing = |node: &logweir::engine::status::NodeStatus| node.children[0].restarts >= 10;
    let node = daemon.wait_node("test", crashing);
    assert_eq!((node.queued, node.lines_out), (2000, 0), "its lines wait");
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert_eq!(log.matches("crash loop").count(), 1, "{log}");
    assert!(log.matches("exited with 127 (command not found?)").count() <= 4, "{log}");
    assert!(log.contains("test: 2000 lines were still waiting and are dropped"), "{log}");
    assert!(
        log.contains("ledger: output test: in 2000 out 0 not_selected 0 shutdown 2000 queued 0")
    );
}

#[test]
fn a_command_that_exits_at_once_costs_only_what_it_had_read() {
    let mut daemon = beside(&test_node("exit 3", "restart = [\"10ms\", \"10ms\"]"), 2000);
    let node = daemon.wait_node("test", |node| node.children[0].restarts >= 5);
    assert_eq!(node.children[0].last_end.as_deref(), Some("exited with 3"));
    daemon.stop();
}

#[test]
fn a_child_that_ends_after_some_lines_is_followed_by_one_that_gets_the_next() {
    // `head` reads in blocks, so `read` takes exactly a line and leaves the rest in the pipe.
    let command = "for i in 1 2 3; do read -r line && echo \"$line\" >> {dir}/got; done";
    let mut daemon = beside(&test_node(command, "restart = [\"10ms\", \"10ms\"]"), 300);
    assert_eq!(daemon.wait_lines("got", 300), numbered(0, 300));
    let node = daemon.wait_node("test", |node| node.lines_out == 300);
    assert_eq!((node.lines_in, node.dropped["child_gone"]), (300, 0));
    let (_, log) = daemon.stop();
    assert!(!log.contains("BALANCE"));
}

#[test]
fn a_child_that_never_reads_fills_its_own_queue_only() {
    let node = test_node("sleep 1000", "queue = \"4KiB\"\nstop_grace = \"100ms\"");
    let lines = 200_000 / 10;
    let mut daemon = beside(&(node + "\n#"), lines);
    // The kernel's pipe takes up to 1 MiB before the queue begins to fill.
    daemon.send(&vec![b'x'; 60_000]);
    for _ in 0..30 {
        daemon.send(&vec![b'x'; 60_000]);
    }
    let node = daemon.wait_node("test", |node| node.lines_in == lines + 31);
    assert!(node.dropped["queue_full"] > 0, "{node:?}");
    let pid = node.children[0].pid.unwrap();
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("test: was ended by SIGTERM"), "{log}");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_slow_child_gets_whole_lines_in_order() {
    let command = "while read -r line; do echo \"$line\" >> {dir}/slow; sleep 0.01; done";
    let node = test_node(command, "stop_grace = \"100ms\"");
    let daemon = beside(&node, 2000);
    let got = wait_for("some lines of the slow child", || {
        Some(daemon.lines("slow")).filter(|lines| lines.len() > 20)
    });
    assert_eq!(got, numbered(0, got.len() as u64));
}

#[test]
fn a_child_that_closes_stdin_but_lives_on_is_ended_and_replaced() {
    let command = "exec < /dev/null; echo started >> {dir}/starts; sleep 1000";
    let node = test_node(command, "restart = [\"10ms\", \"10ms\"]\nstop_grace = \"50ms\"");
    let mut daemon = beside(&node, 1000);
    wait_for("a second start", || {
        daemon.send(b"more\n");
        (daemon.lines("starts").len() >= 2).then_some(())
    });
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("test: closed its stdin but keeps running; ending it"), "{log}");
}

#[test]
fn a_child_that_ignores_term_is_killed_with_its_whole_group() {
    let command = "trap '' TERM; (trap '' TERM; echo $$ > {dir}/pid; \
                   while :; do sleep 0.05; done) & cat > /dev/null; while :; do sleep 0.05; done";
    let mut daemon = beside(&test_node(command, "stop_grace = \"50ms\""), 1000);
    let pid = daemon.node("test").children[0].pid.unwrap();
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("test: was ended by SIGKILL"), "{log}");
    let group = nix::unistd::Pid::from_raw(-i32::try_from(pid).unwrap());
    wait_for("the group to be gone", || nix::sys::signal::kill(group, None).err());
}

#[test]
fn a_line_of_ten_mebibytes_without_a_newline_is_cut() {
    let node = "[filter.test]\nfrom = \"in\"\n\
                run = \"head -c 10485760 /dev/zero; echo; echo next; cat > /dev/null\"\n\
                [output.printed]\nfrom = \"test\"\nfile = \"{dir}/printed\"\n";
    let daemon = beside(node, 1000);
    let lines = daemon.wait_lines("printed", 2);
    assert_eq!((lines[0].len(), lines[1].as_str()), (65_536, "next"));
    let node = daemon.node("test");
    assert_eq!((node.printed, node.input.unwrap().oversize), (Some(2), 1));
}

#[test]
fn a_filter_that_is_fed_a_lot_and_prints_a_lot_never_deadlocks() {
    let daemon = Daemon::start(
        "[filter.twice]\nfrom = \"in\"\nrun = \"sed p\"\n\
         [output.out]\nfrom = \"twice\"\npipe = \"cat > {dir}/out\"\n",
    );
    daemon.send_numbered(0, 20_000);
    let mut daemon = daemon;
    daemon.wait_node("in", |node| node.lines_in == 20_000);
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    let lines = daemon.lines("out");
    assert_eq!(lines.len(), 40_000, "{log}");
    assert_eq!((lines[39_998].as_str(), lines[39_999].as_str()), ("line 19999", "line 19999"));
}

#[test]
fn workers_share_the_lines_and_none_is_lost() {
    let mut daemon = Daemon::start(
        "[filter.work]\nfrom = \"in\"\nrun = \"sed s/line/done/\"\nworkers = 3\n\
         [output.out]\nfrom = \"work\"\nfile = \"{dir}/out\"\n",
    );
    daemon.send_numbered(0, 3000);
    daemon.wait_node("in", |node| node.lines_in == 3000);
    assert_eq!(daemon.node("work").children.len(), 3);
    daemon.stop();
    let mut got = daemon.lines("out");
    got.sort();
    let mut want: Vec<_> = (0..3000).map(|number| format!("done {number}")).collect();
    want.sort();
    assert_eq!(got, want);
}

#[test]
fn children_start_clean_and_die_with_the_daemon() {
    let command = "ls -l /proc/self/fd > {dir}/fds; grep -E 'Sig(Ign|Blk)' /proc/self/status > \
                   {dir}/signals; echo $$ > {dir}/pid; exec cat > /dev/null";
    let mut daemon = Daemon::start(&test_node(command, ""));
    let pid = wait_for("the child's pid", || daemon.lines("pid").first().cloned());
    let fds = daemon.lines("fds");
    // 0, 1, 2 and the folder that ls itself reads.
    assert_eq!(fds.iter().filter(|line| line.contains(" -> ")).count(), 4, "{fds:#?}");
    for line in daemon.lines("signals") {
        let mask = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        // Signals 32 and 33 are the C library's own and cannot be changed.
        assert_eq!(mask & !(3 << 31), 0, "{line}");
    }
    daemon.signal(nix::sys::signal::Signal::SIGKILL);
    daemon.wait();
    let gone = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        (status.is_empty() || status.contains("State:\tZ")).then_some(())
    };
    wait_for("the child to die with the daemon", gone);
}

#[test]
fn stderr_is_logged_with_the_nodes_name_and_a_flood_of_it_is_counted() {
    let command = "echo 'a complaint' >&2; seq 1000 >&2; cat > /dev/null";
    let mut daemon = beside(&test_node(command, ""), 100);
    let (_, log) = daemon.stop();
    assert!(log.contains("test: stderr: a complaint"), "{log}");
    assert!(log.contains("more lines on stderr were not logged"), "{log}");
}

#[test]
fn a_queue_that_blocks_makes_standard_input_wait_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let text = format!(
        "[daemon]\ncontrol = {:?}\n[input.in]\nstdin = true\n[output.slow]\n\
         pipe = \"while read -r line; do echo $line; done > {}\"\nqueue = \"4KiB\"\n\
         when_full = \"block\"\n",
        path("control.sock"),
        path("out").display(),
    );
    std::fs::write(path("c.toml"), text).unwrap();
    let input: String = numbered(0, 200_000).iter().map(|line| format!("{line}\n")).collect();
    let output =
        crate::util::run(&["run", "-c", path("c.toml").to_str().unwrap()], input.as_bytes());
    assert_eq!(output.status.code(), Some(0));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        log.contains("ledger: output slow: in 200000 out 200000 not_selected 0 queued 0"),
        "{log}"
    );
    assert!(log.contains("in: paused: a queue with when_full = \"block\" is full"), "{log}");
    assert_eq!(std::fs::read_to_string(path("out")).unwrap(), input);
}

#[test]
fn a_process_is_confined_as_it_is_told() {
    let daemon = Daemon::start(
        "[filter.who]\nfrom = \"in\"\n\
         run = \"while read line; do echo $(ulimit -v) $(ulimit -t) $(ulimit -n) $(nice) \
         $(grep NoNewPrivs /proc/self/status); done\"\n\
         nice = 7\nlimits = { memory = \"1GiB\", cpu = \"1h\", files = 55 }\n\
         [output.all]\nfrom = \"who\"\nfile = \"{dir}/all\"\n",
    );
    daemon.send(b"who?\n");
    let lines = daemon.wait_lines("all", 1);
    assert_eq!(lines, ["1048576 3600 55 7 NoNewPrivs: 1"]);
}

#[test]
fn a_process_runs_as_another_user_with_that_ones_groups_or_not_at_all() {
    let text = |user: &str| {
        format!(
            "[filter.who]\nfrom = \"in\"\nuser = \"{user}\"\n\
             run = \"while read line; do id -un; id -Gn; done\"\n\
             [output.all]\nfrom = \"who\"\nfile = \"{{dir}}/all\"\n"
        )
    };
    let daemon = Daemon::start(&text("no-such-user-here"));
    daemon.wait_log("there is no user `no-such-user-here`");
    if !nix::unistd::getuid().is_root() {
        crate::util::skip_here("only root can run a process as another user");
        return;
    }
    let daemon = Daemon::start(&text("daemon"));
    daemon.send(b"who?\n");
    assert_eq!(daemon.wait_lines("all", 2), ["daemon", "daemon"]);
}

#[test]
fn signals_that_were_blocked_or_mean_nothing_here_do_no_harm() {
    use nix::sys::signal::Signal;
    let node = test_node("exit 3", "restart = [\"20ms\", \"20ms\"]");
    let mut daemon = Daemon::prepare(&format!("{node}\n{OTHERS}"));
    let mut command = std::process::Command::new("env");
    command.args(["--block-signal=TERM,CHLD,HUP,INT", crate::util::LOGWEIR]);
    daemon.run_by(command);
    daemon.wait_node("test", |node| node.children[0].restarts >= 2);
    for unused in [
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGXFSZ,
        Signal::SIGXCPU,
        Signal::SIGVTALRM,
        Signal::SIGPROF,
        Signal::SIGIO,
        Signal::SIGPWR,
        Signal::SIGSTKFLT,
    ] {
        daemon.signal(unused);
    }
    daemon.send_numbered(0, 100);
    assert_eq!(daemon.wait_lines("file", 100), numbered(0, 100));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_log("reloaded: 4 nodes");
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("ledger: output file: in 100 out 100"), "{log}");
}

#[test]
fn pipes_that_take_the_same_lines_share_them_whatever_becomes_of_one() {
    // One reads, one ends again and again after whole lines, one never reads, one takes some.
    let reads = "[output.reads]\nfrom = \"in\"\npipe = \"exec cat > {dir}/reads\"\n";
    let ends = "[output.ends]\nfrom = \"in\"\npipe = \"exec sed -u 3000q >> {dir}/ends\"\n\
                restart = [\"10ms\", \"10ms\"]\n";
    let stalled = "[output.stalled]\nfrom = \"in\"\npipe = \"exec sleep 600\"\nqueue = \"1MiB\"\n\
                   stop_grace = \"100ms\"\n";
    let some = "[output.some]\nfrom = \"in\"\nmatch = '7$'\npipe = \"exec cat > {dir}/some\"\n";
    let mut daemon = Daemon::start(&format!("{reads}{ends}{stalled}{some}"));
    let pipe = daemon.wait_node("reads", |node| node.children[0].pipe.is_some()).children[0].pipe;
    assert!(pipe.unwrap() >= 64 * 1024, "{pipe:?}");
    let line = |number: u64| format!("{} line {number}", "x".repeat(180));
    let lines = 20_000;
    for first in (0..lines).step_by(200) {
        let datagram: String = (first..first + 200).map(|number| line(number) + "\n").collect();
        daemon.send(datagram.as_bytes());
        daemon.wait_node("in", |node| node.lines_in + 4000 > first);
    }
    let all: Vec<_> = (0..lines).map(line).collect();
    let count = usize::try_from(lines).unwrap();
    assert_eq!(daemon.wait_lines("reads", count), all);
    assert_eq!(daemon.wait_lines("ends", count), all);
    assert_eq!(daemon.wait_lines("some", count / 10).len(), count / 10);
    let ends = daemon.wait_node("ends", |node| node.lines_out == lines);
    assert!(ends.children[0].restarts >= 6, "{ends:?}");
    let stalled = daemon.node("stalled");
    let full = stalled.dropped["queue_full"];
    assert!(full > 0 && stalled.lines_out == 0 && stalled.queued + full == lines, "{stalled:?}");
    assert_eq!(daemon.node("in").input.unwrap().kernel_drops, 0);
    daemon.stop();
}

#[test]
fn a_program_that_keeps_its_output_back_prints_at_once_to_a_terminal() {
    // `sed` prints in blocks where its output is a pipe.
    let filter = |name: &str, more: &str| {
        format!(
            "[filter.{name}]\nfrom = \"in\"\nrun = \"sed s/line/{name}/\"\n{more}\
             [output.of-{name}]\nfrom = \"{name}\"\nfile = \"{{dir}}/{name}\"\n"
        )
    };
    let nodes = filter("late", "") + &filter("soon", "unbuffered = true\n");
    let mut daemon = Daemon::start(&nodes);
    daemon.send_numbered(0, 30);
    let wanted: Vec<_> = (0..30).map(|number| format!("soon {number}")).collect();
    assert_eq!(daemon.wait_lines("soon", 30), wanted);
    let late = daemon.wait_node("late", |node| node.lines_out == 30);
    assert_eq!(late.printed, Some(0));
    let status = String::from_utf8(daemon.ctl("status").stdout).unwrap();
    let note = "read 30, printed 0: does it buffer its output? (unbuffered = true)";
    let told: Vec<_> = status.lines().filter(|line| line.contains(note)).collect();
    assert!(told.len() == 1 && told[0].contains("late"), "{status}");
    // Bytes are not changed, and the end of the process is the end of what it prints.
    daemon.send(b"\xff\x00\t\x03\x04 \r\n");
    assert_eq!(daemon.stop().0, Some(0));
    let soon = std::fs::read(daemon.path("soon")).unwrap();
    assert!(soon.ends_with(b"soon 29\n\xff\x00\t\x03\x04 \r\n"), "{}", soon.escape_ascii());
    assert_eq!(daemon.wait_lines("late", 31)[29], "late 29");
}

#[test]
fn what_a_filter_has_printed_it_has_read() {
    let daemon = Daemon::start(
        "[filter.cat]\nfrom = \"in\"\nrun = \"cat\"\n\
         [output.all]\nfrom = \"cat\"\nfile = \"{dir}/all\"\n",
    );
    for number in 0..200 {
        daemon.send(format!("line {number}\n").as_bytes());
        let node = daemon.node("cat");
        assert!(node.printed <= Some(node.lines_out), "{node:?}");
    }
    daemon.wait_lines("all", 200);
    let node = daemon.node("cat");
    assert_eq!((node.printed, node.lines_out), (Some(200), 200));
}

#[test]
fn python_prints_each_line_at_once() {
    let daemon = Daemon::start(
        "[filter.env]\nfrom = \"in\"\n\
         run = 'while read -r line; do echo \"$PYTHONUNBUFFERED $line\"; done'\n\
         [output.all]\nfrom = \"env\"\nfile = \"{dir}/all\"\n",
    );
    daemon.send(b"x\n");
    assert_eq!(daemon.wait_lines("all", 1), ["1 x"]);
}
