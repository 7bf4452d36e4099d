//! The pages, drawn on an in-memory screen and read back.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyCode;
use ratatui::style::{Color, Modifier};

use super::app::App;
use super::draw::{Theme, draw};
use super::model::Model;
use super::past::sample as past;
use super::samples::{node, status};
use super::text::{ASCII, Glyphs, UNICODE};
use crate::engine::status::{
    ChildStatus, Complaint, InputStatus, LaneStatus, NodeStatus, QueueStatus, ReaderStatus,
    ServiceStatus, SpoolStatus, Status,
};

/// A flow with examples of most things, at a time.
fn flow(uptime: f64, lines: u64, full: u64) -> Status {
    let counted = |node: NodeStatus| NodeStatus {
        lines_in: lines,
        bytes_in: lines * 100,
        lines_out: lines,
        bytes_out: lines * 100,
        ..node
    };
    let queue = |used| Some(QueueStatus { used, limit: 8 << 20 });
    let child = ChildStatus {
        pid: Some(4242),
        state: "running".into(),
        restarts: 3,
        last_end: Some("exited with 1".into()),
        pipe: Some(1 << 20),
    };
    let mut mobile = counted(node("mobile", "filter", &["squid"]));
    mobile.dropped.insert("queue_full".into(), full);
    let mobile = NodeStatus {
        lines_in: lines + full,
        queue: queue(6 << 20),
        command: Some("grep --line-buffered m.wikipedia".into()),
        children: vec![child],
        printed: Some(lines / 2),
        stuck_seconds: Some(0.2),
        stderr: vec![
            Complaint { at: 70.0, text: "grep: the first".into() },
            Complaint { at: 70.0, text: "grep: the second".into() },
            Complaint { at: uptime, text: "grep: the last".into() },
        ],
        ..mobile
    };
    let input = InputStatus { datagrams: lines, kernel_drops: 7, ..InputStatus::default() };
    let reader = ReaderStatus {
        name: "hub".into(),
        position: 10,
        lag_lines: 2000,
        lag_bytes: 200_000,
        lag_seconds: 42.0,
        waits_since: None,
        dropped_lines: 0,
    };
    let spool = SpoolStatus {
        identity: "ab12".into(),
        oldest: 5,
        durable: 2000,
        next: 2010,
        kept: 5,
        bytes: 3 << 20,
        max_size: 10 << 30,
        segments: 2,
        readers: vec![reader],
    };
    let error = Some("hub:2514: Connection refused".into());
    let service = ServiceStatus {
        name: "_relp._tcp.logs.test".into(),
        hosts: vec!["hub1.logs.test:2514".into(), "hub2.logs.test:2514".into()],
        age_seconds: Some(75),
        error: Some("there is no such name".into()),
    };
    let lane = LaneStatus { error, services: vec![service], ..LaneStatus::default() };
    let nodes = vec![
        NodeStatus { input: Some(input), ..counted(node("squid", "input", &[])) },
        counted(node("edge", "input", &[])),
        mobile,
        counted(NodeStatus { queue: queue(0), ..node("phones", "output", &["mobile", "edge"]) }),
        counted(NodeStatus { spool: Some(spool), ..node("hub.spool", "spool", &["edge"]) }),
        NodeStatus { lanes: vec![lane], ..node("hub", "output", &["hub.spool"]) },
    ];
    status(uptime, nodes)
}

/// The flow after a second in which 200 lines arrived and 30 were dropped.
fn app(glyphs: Glyphs) -> App {
    let mut app = App::new(Model::new(flow(99.0, 1000, 50)), glyphs);
    app.model.take(flow(100.0, 1200, 80));
    app
}

fn drawn(app: &mut App, width: u16, height: u16, colour: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app, Theme { colour })).unwrap();
    terminal.backend().buffer().clone()
}

/// The lines on the screen.
fn read(screen: &Buffer) -> Vec<String> {
    let lines = screen.content().chunks(usize::from(screen.area.width));
    let line = |cells: &[ratatui::buffer::Cell]| -> String {
        cells.iter().map(ratatui::buffer::Cell::symbol).collect()
    };
    lines.map(|cells| line(cells).trim_end().to_owned()).collect()
}

fn press(app: &mut App, keys: &[KeyCode]) {
    for key in keys {
        app.press((*key).into());
    }
}

#[test]
fn the_table_at_80_columns_shows_what_is_essential() {
    let expected = [
        " logweir 0.1.0  pid 1  up 1 min  in 400 lines/s  dropped 87, 30/s",
        "NODE▼                LINES/S BYTES/S   DROPS QUEUE     MINUTE   STATE",
        "squid                    200   20.0k       7                  █ kernel_drops 7",
        "└─ mobile                230   20.0k      80 ███░  75%        █ pid 4242 ×3",
        "   └─ phones (+1)        200   20.0k       0 ░░░░   0%        █",
        "edge                     200   20.0k       0                  █",
        "└─ hub.spool             200   20.0k       0                  █ lag 2.00k 42 s",
        "   └─ hub                  0       0       0                    no peer: hub:25…",
    ];
    let screen = read(&drawn(&mut app(UNICODE), 80, 24, true));
    assert_eq!(screen[..8], expected, "{}", screen.join("\n"));
    assert!(screen[8..23].iter().all(String::is_empty));
    assert_eq!(screen[23], " q quit  ? help  Enter details  ↑↓ move  s sort: flow  / filter");
}

#[test]
fn a_wider_terminal_shows_more_and_a_narrower_one_what_matters_most() {
    let mut app = app(ASCII);
    let wide = read(&drawn(&mut app, 140, 24, false)).join("\n");
    for text in ["DROPS/S", "`- phones (+edge)", "pid 4242 x3, queue_full 80 +30/s", "###.  75%"] {
        assert!(wide.contains(text), "{text}:\n{wide}");
    }
    assert!(wide.contains("no peer: hub:2514: Connection refused"), "{wide}");
    assert!(wide.is_ascii(), "{wide}");
    let narrow = read(&drawn(&mut app, 40, 12, false)).join("\n");
    for text in ["squid", "`- mobile", "hub.spool", "LINES/S", "DROPS", "230      80"] {
        assert!(narrow.contains(text), "{text}:\n{narrow}");
    }
    for (width, height) in [(1, 1), (3, 2), (20, 3), (79, 4), (300, 100)] {
        for page in [KeyCode::Esc, KeyCode::Enter, KeyCode::Char('?')] {
            press(&mut app, &[page]);
            drawn(&mut app, width, height, true);
        }
        press(&mut app, &[KeyCode::Esc, KeyCode::Esc]);
    }
}

#[test]
fn drops_stand_out_with_and_without_colour() {
    let mut app = app(ASCII);
    let style = |screen: &Buffer, text: &str, row: u16| {
        let line = &read(screen)[usize::from(row)];
        let at = u16::try_from(line.find(text).unwrap()).unwrap();
        let cell = &screen[(at, row)];
        (cell.fg, cell.modifier)
    };
    let screen = drawn(&mut app, 80, 24, true);
    assert_eq!(style(&screen, "80 ###", 3), (Color::Red, Modifier::BOLD));
    assert_eq!(style(&screen, "75%", 3).0, Color::Yellow);
    // The kernel's drops are old; the row is the selected one.
    assert_eq!(style(&screen, "kernel_drops", 2), (Color::Yellow, Modifier::REVERSED));
    assert_eq!(style(&screen, "0 ....", 4), (Color::Reset, Modifier::empty()));
    let screen = drawn(&mut app, 80, 24, false);
    let urgent = Modifier::BOLD | Modifier::UNDERLINED;
    assert_eq!(style(&screen, "80 ###", 3), (Color::Reset, urgent));
    assert!(screen.content().iter().all(|cell| (cell.fg, cell.bg) == Default::default()));
}

#[test]
fn rows_are_sorted_and_scrolled_with_the_selection_in_sight() {
    let mut app = app(ASCII);
    press(&mut app, &[KeyCode::Char('d')]);
    let screen = read(&drawn(&mut app, 80, 24, false));
    assert!(screen[1].contains(" DROPSv "), "{}", screen[1]);
    assert!(screen[2].starts_with("mobile  ") && screen[3].starts_with("squid  "));
    press(&mut app, &[KeyCode::Char('t'), KeyCode::End]);
    let screen = read(&drawn(&mut app, 80, 5, false));
    assert!(screen[3].starts_with("   `- hub  "), "{}", screen.join("\n"));
    press(&mut app, &[KeyCode::PageUp, KeyCode::PageUp, KeyCode::PageUp]);
    assert!(read(&drawn(&mut app, 80, 5, false))[2].starts_with("squid  "));
}

#[test]
fn the_page_of_a_process_has_its_whole_ledger_and_its_last_words() {
    let mut app = app(UNICODE);
    press(&mut app, &[KeyCode::Down, KeyCode::Enter]);
    let screen = read(&drawn(&mut app, 80, 24, true));
    let expected = [
        " filter mobile",
        " from           squid",
        " feeds          phones",
        " LEDGER                           LINES       /S                BYTES       /S",
        " in                                1280      230               120000    20.0k",
        " out                               1200      200               120000    20.0k",
        " dropped                             80       30                    0        0",
        "   queue_full                        80       30",
        " queued                               0",
        " printed                            600      100",
        " last minute                                                               █",
        " queue          ███████████████░░░░░ 75%  6.0 MiB of 8.0 MiB",
        " PROCESS",
        " command        grep --line-buffered m.wikipedia",
        " pid            4242  running  restarts 3  the last one exited with 1",
        " pipe           1.0 MiB",
        " STDERR, the last 10 lines",
        " 30 s ago       grep: the first",
        "                grep: the second",
        " just now       grep: the last",
    ];
    assert_eq!(screen[1..21], expected, "{}", screen.join("\n"));
    assert_eq!(screen[23], " Esc back  ↑↓ scroll  ? help  q quit");
    // A page that does not fit scrolls to its end and no further.
    press(&mut app, &[KeyCode::End]);
    let screen = read(&drawn(&mut app, 80, 6, true));
    assert!(screen[4].contains("grep: the last"), "{}", screen.join("\n"));
    press(&mut app, &[KeyCode::Up]);
    assert!(read(&drawn(&mut app, 80, 6, true))[4].contains("grep: the second"));
}

#[test]
fn the_page_of_a_node_has_its_day_and_its_hour_with_what_was_lost() {
    let mut app = app(UNICODE);
    press(&mut app, &[KeyCode::Down, KeyCode::Enter]);
    assert_eq!(app.wants_past(), Some("mobile"));
    app.past = Some(past());
    let screen = read(&drawn(&mut app, 80, 40, true)).join("\n");
    let (day, lost) = (format!("█{:60}▁▁", ""), format!("{:61}^", ""));
    for text in [
        &format!("\n {:<14} {day}\n", "last day"),
        &format!("\n {:<14} {lost}\n", "lost"),
        "  5 of 60 lines lost (queue_full)\n",
        "\n last hour      ",
        "  2 of 7 lines lost\n",
    ] {
        assert!(screen.contains(text), "{text}:\n{screen}");
    }
    // That of another node is not shown here.
    app.past = Some(super::past::Past { node: "squid".into(), ..past() });
    assert!(!read(&drawn(&mut app, 80, 40, true)).join("\n").contains("last day"));
    press(&mut app, &[KeyCode::Esc]);
    assert_eq!(app.wants_past(), None);
}

#[test]
fn the_pages_of_an_input_a_spool_and_a_forward() {
    let mut app = app(UNICODE);
    for (downs, texts) in [
        (0, &["INPUT", "datagrams      1200", "kernel drops   7", "  kernel_drops"][..]),
        (
            4,
            &[
                "holds          2005 lines, 3.0 MiB in 2 segments",
                "oldest 5  on disk up to 2000  next 2010",
                "reader         hub  at 10  lag 2000 lines, 195.3 KiB, 42 s",
            ],
        ),
        (
            1,
            &[
                "PEERS",
                "hub:2514: Connection refused",
                "service        _relp._tcp.logs.test",
                "found          hub1.logs.test:2514, hub2.logs.test:2514, 1 min ago",
                "look-up        there is no such name",
            ],
        ),
    ] {
        press(&mut app, &vec![KeyCode::Down; downs]);
        press(&mut app, &[KeyCode::Enter]);
        let page = read(&drawn(&mut app, 80, 30, true)).join("\n");
        for text in texts {
            assert!(page.contains(text), "{text}:\n{page}");
        }
        press(&mut app, &[KeyCode::Esc]);
    }
    press(&mut app, &[KeyCode::Enter]);
    app.model.take(status(101.0, vec![node("squid", "input", &[])]));
    assert_eq!(read(&drawn(&mut app, 80, 24, true))[1], " hub no longer exists");
}

#[test]
fn the_help_fits_80_by_24_and_a_lost_daemon_is_reported() {
    let mut app = app(UNICODE);
    press(&mut app, &[KeyCode::Char('?')]);
    app.gone = Some("daemon gone, waiting (no daemon answers)".into());
    let screen = read(&drawn(&mut app, 80, 24, true));
    assert_eq!(screen[0], " daemon gone, waiting (no daemon answers)");
    assert!(
        screen[1..23].iter().any(|line| line.contains("makes it wait")),
        "{}",
        screen.join("\n")
    );
    assert!(screen.iter().all(|line| line.chars().count() < 80));
}
