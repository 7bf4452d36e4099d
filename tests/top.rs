//! `logweir top` in a terminal: what a person sees, which keys do what, and what is left behind.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use vt100::{Color, Parser, Screen};

use crate::util::{Daemon, LOGWEIR, free_port, run, wait_for};

/// A terminal with `logweir top` in it, in a session of its own.
struct Terminal {
    top: Child,
    master: File,
    slave: OwnedFd,
    screen: Arc<Mutex<Parser>>,
}

impl Terminal {
    fn open(daemon: &Daemon, (rows, columns): (u16, u16), environment: &[(&str, &str)]) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let slave = || pty.slave.try_clone().unwrap();
        let top = Command::new("setsid")
            .args(["--ctty", LOGWEIR, "top", "--every", "0.2", "--control"])
            .arg(daemon.path("control.sock"))
            .env_remove("LC_ALL")
            .env_remove("LC_CTYPE")
            .env_remove("NO_COLOR")
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .envs(environment.iter().copied())
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        let (rows, columns) = (NonZeroU16::new(rows).unwrap(), NonZeroU16::new(columns).unwrap());
        let screen = Arc::new(Mutex::new(Parser::new(rows, columns, 0)));
        let master = File::from(pty.master);
        let (shown, mut printed) = (Arc::clone(&screen), master.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // The end of a terminal is an error.
            while let Ok(count @ 1..) = printed.read(&mut piece) {
                shown.lock().unwrap().process(&piece[..count]);
            }
        });
        Self { top, master, slave: pty.slave, screen }
    }

    fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// What is on the screen at this moment.
    fn look(&self) -> Look {
        Look(self.screen.lock().unwrap().screen().clone())
    }

    fn text(&self) -> String {
        self.look().text()
    }

    fn wait_text(&self, text: &str) {
        wait_for(text, || self.text().contains(text).then_some(()));
    }

    /// Waits until each of these begins a line.
    fn wait_rows(&self, labels: &[&str]) {
        wait_for(&labels.join(", "), || {
            let text = self.text();
            let begins = |label: &&str| text.lines().any(|line| line.starts_with(label));
            labels.iter().all(begins).then_some(())
        });
    }

    /// Waits until top has ended and left the terminal as it was.
    fn ended(&mut self) -> ExitStatus {
        let status = wait_for("top to end", || self.top.try_wait().unwrap());
        wait_for("the screen that was there before", || {
            let Look(screen) = self.look();
            (!screen.alternate_screen() && !screen.hide_cursor()).then_some(())
        });
        let modes = tcgetattr(&self.slave).unwrap().local_flags;
        assert!(modes.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG));
        status
    }
}

/// A screen.
struct Look(Screen);

impl Look {
    fn text(&self) -> String {
        self.0.contents()
    }

    /// The row of a node in the table: what stands behind its label.
    fn row(&self, label: &str) -> Option<Vec<String>> {
        let text = self.text();
        let row = text.lines().find_map(|line| line.strip_prefix(label))?;
        row.starts_with(' ').then(|| row.split_whitespace().map(str::to_string).collect())
    }

    /// The colour of the first letter of a text that stands behind a label.
    fn colour(&self, label: &str, text: &str) -> Option<Color> {
        let shown = self.text();
        let (row, line) = shown.lines().enumerate().find(|(_, line)| line.starts_with(label))?;
        let before = label.len() + line[label.len()..].find(text)?;
        let column = line[..before].chars().count();
        Some(self.0.cell(row as u16, column as u16)?.fgcolor())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.top.kill();
        let _ = self.top.wait();
        if std::thread::panicking() {
            eprintln!("the screen:\n{}", self.text());
        }
    }
}

/// A filter that complains, a pipe that never reads, a spool whose peer is not there.
fn flow() -> Daemon {
    let nobody = free_port();
    Daemon::start(&format!(
        "[input.more]\nfifo = \"{{dir}}/fifo\"\n\
         [filter.talks]\nfrom = \"in\"\n\
         run = '''while read -r l; do echo \"complaint: $l\" >&2; echo \"$l\"; done'''\n\
         [output.kept]\nfrom = [\"talks\", \"more\"]\nfile = \"{{dir}}/kept\"\n\
         [output.stuck]\nfrom = \"in\"\npipe = \"sleep 1000\"\nqueue = \"4KiB\"\n\
         stop_grace = \"100ms\"\n\
         [output.hub]\nfrom = \"in\"\nforward = \"relp://127.0.0.1:{nobody}\"\n\
         spool = {{ dir = \"{{dir}}/spool\", sync = \"never\" }}\n"
    ))
}

/// Sends lines until something is seen.
fn flowing<T>(daemon: &Daemon, what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let long = "x".repeat(8000);
    let mut number = 0;
    wait_for(what, || {
        daemon.send(format!("line {number}\n").as_bytes());
        // The kernel's pipe takes a mebibyte before the stuck one's queue begins to fill.
        daemon.send(format!("long {number} {long}\n").as_bytes());
        number += 1;
        seen()
    })
}

#[test]
fn a_person_sees_the_flow_what_is_lost_and_why_and_leaves_no_trace() {
    let daemon = flow();
    let mut terminal = Terminal::open(&daemon, (24, 80), &[]);
    let number = |text: &str| text.trim_end_matches(['k', 'M']).parse::<f64>().unwrap_or(0.0);
    flowing(&daemon, "rates, drops in red, a pid and a lag", || {
        let look = terminal.look();
        let (input, stuck) = (look.row("in")?, look.row("├─ stuck")?);
        let (talks, spool) = (look.row("├─ talks")?, look.row("└─ hub.spool")?);
        let rates = [&input, &stuck, &spool].iter().all(|row| number(&row[0]) > 0.0);
        let drops = number(&stuck[2]) > 0.0 && stuck[3].starts_with('█');
        let red = look.colour("├─ stuck", &format!("{} █", stuck[2]))? == Color::Idx(1);
        let has = |row: &[String], word: &str| row.iter().any(|other| other == word);
        (rates && drops && red && has(&talks, "pid") && has(&spool, "lag")).then_some(())
    });
    terminal.wait_rows(&[
        &format!(" logweir 0.1.0  pid {}  up ", daemon.pid()),
        "in ",
        "├─ talks ",
        "│  └─ kept (+more) ",
        "   └─ hub ",
        "more ",
    ]);
    terminal.wait_text("no peer: ");
    terminal.press("d");
    terminal.wait_text("DROPS▼");
    wait_for("the one that drops at the top", || {
        terminal.text().lines().nth(2)?.starts_with("stuck ").then_some(())
    });
    terminal.press("t/talks\r\r");
    let pid = daemon.node("talks").children[0].pid.unwrap();
    for text in [
        " filter talks",
        " from           in",
        " feeds          kept",
        "while read -r l; do echo \"complaint: $l\" >&2; echo \"$l\"; done",
        &format!("{pid}  running  restarts 0"),
        "STDERR, the last 10 lines",
        "just now",
        "complaint: l",
    ] {
        flowing(&daemon, text, || terminal.text().contains(text).then_some(()));
    }
    // Back from the page, and back to all names.
    terminal.press("\x1b");
    terminal.wait_text("filter: talks (Esc)");
    terminal.press("\x1b");
    terminal.wait_text("s sort: flow");
    terminal.press("/stuck\r\r");
    for text in ["output stuck", "   queue_full ", "command        sleep 1000", "queue          ██"]
    {
        terminal.wait_text(text);
    }
    terminal.press("?");
    terminal.wait_text("KEYS");
    terminal.wait_text("logweir(1) what to do");
    terminal.press("q");
    assert_eq!(terminal.ended().code(), Some(0));
    assert_eq!(terminal.text().trim(), "");
}

#[test]
fn without_colour_and_utf8_and_in_any_size() {
    let daemon = flow();
    let mut terminal = Terminal::open(&daemon, (40, 132), &[("NO_COLOR", "1"), ("LC_ALL", "C")]);
    flowing(&daemon, "drops", || terminal.text().contains("queue_full").then_some(()));
    terminal.wait_rows(&["in ", "|- talks ", "|  `- kept (+more) ", "`- hub.spool ", "   `- hub "]);
    terminal.wait_text("DROPS/S");
    let text = terminal.text();
    assert!(text.is_ascii(), "{text}");
    {
        let Look(screen) = terminal.look();
        let cells = (0..40).flat_map(|row| (0..132).map(move |column| (row, column)));
        let mut cells = cells.filter_map(|(row, column)| screen.cell(row, column));
        assert!(cells.all(|cell| (cell.fgcolor(), cell.bgcolor()) == Default::default()));
    }
    // The kernel tells whoever is in the terminal.
    let (rows, columns) = (NonZeroU16::new(12).unwrap(), NonZeroU16::new(60).unwrap());
    terminal.screen.lock().unwrap().set_size(rows, columns);
    let resized = Command::new("stty")
        .args(["rows", "12", "cols", "60"])
        .stdin(terminal.slave.try_clone().unwrap())
        .status()
        .unwrap();
    assert!(resized.success());
    wait_for("the foot on the last row", || {
        let text = terminal.text();
        let foot = text.lines().nth(11)?.starts_with(" q quit");
        (foot && text.lines().any(|line| line.starts_with("|- stuck "))).then_some(())
    });
    terminal.press("\x03");
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn a_daemon_that_goes_away_is_waited_for() {
    let mut daemon = flow();
    let mut terminal = Terminal::open(&daemon, (24, 80), &[]);
    terminal.wait_text(&format!("pid {}  up", daemon.pid()));
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    terminal.wait_text("daemon gone, waiting (no daemon answers at ");
    // What was seen last stays, and keys do what they do.
    assert!(terminal.look().row("in").is_some());
    terminal.press("?");
    terminal.wait_text("KEYS");
    terminal.press("\x1b");
    daemon.run();
    terminal.wait_text(&format!("pid {}  up", daemon.pid()));
    // One that is there and does not answer.
    daemon.signal(Signal::SIGSTOP);
    terminal.wait_text("the daemon has not answered for ");
    daemon.signal(Signal::SIGCONT);
    terminal.wait_text(&format!("pid {}  up", daemon.pid()));
    kill(Pid::from_raw(i32::try_from(terminal.top.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn where_nothing_can_be_drawn_the_table_is_named() {
    let daemon = flow();
    let control = daemon.path("control.sock");
    let piped = run(&["top", "--control", control.to_str().unwrap()], b"");
    assert_eq!((piped.status.code(), piped.stdout.as_slice()), (Some(1), &b""[..]));
    let said = String::from_utf8(piped.stderr).unwrap();
    assert_eq!(
        said,
        "logweir: top needs a terminal and standard output is not one: try `logweir top --once`\n"
    );
    let mut dumb = Terminal::open(&daemon, (24, 80), &[("TERM", "dumb")]);
    dumb.wait_text("(TERM=dumb) cannot be drawn on: try `logweir top --once`");
    assert_eq!(dumb.ended().code(), Some(1));
    let nobody = Daemon::prepare("");
    let mut terminal = Terminal::open(&nobody, (24, 80), &[]);
    terminal.wait_text("no daemon answers at ");
    assert_eq!(terminal.ended().code(), Some(1));
}

#[test]
fn the_last_words_of_a_process_are_kept_and_outlive_it() {
    let daemon = Daemon::start(
        "[output.dies]\nfrom = \"in\"\nrestart = [\"60s\", \"60s\"]\n\
         pipe = \"for i in $(seq 30); do echo line $i >&2; done; printf 'a\\\\033b\\\\377' >&2\"\n",
    );
    let node = daemon.wait_node("dies", |node| node.children[0].last_end.is_some());
    let texts: Vec<_> = node.stderr.iter().map(|complaint| complaint.text.to_string()).collect();
    let expected = (22..=30).map(|i| format!("line {i}")).chain(["a\\u{1b}b\u{fffd}".into()]);
    assert_eq!(texts, expected.collect::<Vec<_>>());
    assert!(node.stderr.is_sorted_by(|a, b| a.at <= b.at) && node.stderr[0].at > 0.0);
    assert!(node.command.unwrap().starts_with("for i in $(seq 30)"));
}

#[test]
fn of_three_hundred_nodes_the_worst_is_found_by_a_key_and_by_its_name() {
    let mut nodes =
        String::from("[output.stuck]\nfrom = \"f7\"\npipe = \"sleep 600\"\nqueue = \"4KiB\"\n");
    for nth in 0..150 {
        nodes += &format!("[filter.f{nth}]\nfrom = \"in\"\nsample = 1\n");
        nodes += &format!("[output.o{nth}]\nfrom = \"f{nth}\"\nfile = \"{{dir}}/o{nth}\"\n");
    }
    let daemon = Daemon::start(&format!("memory = \"256MiB\"\n#daemon\n{nodes}"));
    let mut terminal = Terminal::open(&daemon, (24, 100), &[]);
    daemon.send_numbered(0, 10);
    daemon.wait_node("stuck", |node| node.stuck_seconds.is_some_and(|seconds| seconds > 2.0));
    terminal.press("w");
    terminal.wait_text("WORST▼");
    wait_for("the worst at the top", || {
        let row = terminal.look().row("stuck")?;
        (row[0] == "warning" && terminal.text().lines().nth(2)?.starts_with("stuck ")).then_some(())
    });
    terminal.wait_text(" warning: stuck: nothing has left its queue for ");
    terminal.wait_text("find out what it waits for");
    terminal.press("!");
    terminal.wait_text("filter: ! (Esc)");
    wait_for("no other node", || {
        let text = terminal.text();
        text.lines().nth(3).is_none_or(|line| line.trim().is_empty()).then_some(())
    });
    terminal.press("\x1b");
    terminal.wait_text("s sort: worst");
    terminal.press("/f149\r");
    terminal.wait_rows(&["f149 "]);
    terminal.press("\r");
    terminal.wait_text(" filter f149");
    terminal.press("q");
    assert_eq!(terminal.ended().code(), Some(0));
}
