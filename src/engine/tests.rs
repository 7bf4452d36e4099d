//! The whole daemon in a simulated world.

use std::time::Duration;

use proptest::prelude::*;

use super::Event;
use crate::filter::batch_of;
use crate::input::Throttle;
use crate::sim::world::World;

const INPUT: &str = "[input.in]\nudp = \"127.0.0.1:8420\"\n";

fn world(nodes: &str) -> World {
    World::new(&format!("{INPUT}{nodes}"))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_dead_child_costs_no_line_but_the_one_it_was_reading() {
    let mut world = world("[output.p]\nfrom = \"in\"\npipe = \"x\"\n");
    world.lines("one\ntwo\nthree\n");
    let child = world.children_of("p")[0];
    world.read(child, 6);
    world.end(child, "crashed");
    world.settle();
    let node = world.node("p");
    assert_eq!((node.lines_out, node.dropped["child_gone"], node.queued), (1, 1, 1));
    world.pass(seconds(1));
    world.lines("four\n");
    world.finish();
    assert_eq!(world.read_by("p"), ["one", "three", "four"]);
    assert_eq!(world.node("p").lines_out, 3);
}

#[test]
fn waits_double_and_lines_are_kept_until_the_queue_is_full() {
    let mut world = world("[output.p]\nfrom = \"in\"\npipe = \"x\"\nqueue = \"4KiB\"\n");
    for _ in 0..5 {
        let child = world.children_of("p")[0];
        world.end(child, "crashed");
        world.settle();
        world.pass(seconds(60));
    }
    assert_eq!((world.started, world.node("p").children[0].restarts), (6, 5));
    let child = world.children_of("p")[0];
    world.end(child, "crashed");
    for _ in 0..100 {
        world.lines(&("x".repeat(99) + "\n"));
    }
    let node = world.node("p");
    assert!(node.dropped["child_gone"] > 50 && node.queued > 10, "{node:?}");
}

#[test]
fn a_command_that_cannot_be_started_is_tried_again() {
    let mut world = world("[output.p]\nfrom = \"in\"\npipe = \"x\"\n");
    let child = world.children_of("p")[0];
    world.startable = false;
    world.end(child, "crashed");
    world.pass(seconds(3));
    assert_eq!(
        world.node("p").children[0].last_end.as_deref(),
        Some("cannot be started: no such file")
    );
    world.startable = true;
    world.pass(seconds(60));
    assert_eq!(world.node("p").children[0].state, "running");
}

#[test]
fn a_child_that_ignores_everything_is_killed_and_the_daemon_ends() {
    let mut world = world("[output.p]\nfrom = \"in\"\npipe = \"x\"\nstop_grace = \"2s\"\n");
    let child = world.children_of("p")[0];
    world.children.get_mut(&child).unwrap().stubborn = true;
    let before = world.now;
    world.finish();
    assert_eq!(world.signals, ["EOF", "TERM", "KILL"]);
    assert_eq!(world.now.since(before), seconds(4));
}

#[test]
fn what_the_grace_does_not_suffice_for_is_counted() {
    let mut world = World::new(&format!(
        "[daemon]\ngrace = \"3s\"\n{INPUT}[output.p]\nfrom = \"in\"\npipe = \"x\"\n"
    ));
    let child = world.children_of("p")[0];
    world.end(child, "crashed");
    world.startable = false;
    world.lines("one\ntwo\n");
    world.finish();
    assert_eq!(world.node("p").dropped["shutdown"], 2);
}

#[test]
fn a_full_disk_is_tried_again_and_no_line_is_torn() {
    let mut world = world("[output.f]\nfrom = \"in\"\nfile = \"/log/f\"\n");
    world.lines("first\n");
    world.fs.set_room(Some(8));
    world.lines("second\nthird\n");
    world.lines("fourth\n");
    let node = world.node("f");
    assert!(node.error.as_deref().unwrap().contains("/log/f"), "{node:?}");
    assert_eq!((node.lines_out, node.queued), (2, 2));
    let content = |world: &World| {
        String::from_utf8(world.fs.files()[std::path::Path::new("/log/f")].clone()).unwrap()
    };
    assert_eq!(content(&world), "first\nsecond\n", "the torn line is cut back");
    world.fs.set_room(None);
    world.pass(seconds(1));
    assert_eq!(content(&world), "first\nsecond\nthird\nfourth\n");
    assert_eq!(world.node("f").error, None);
}

#[test]
fn a_filter_process_makes_a_stream_and_both_sides_are_counted() {
    let mut world =
        world("[filter.r]\nfrom = \"in\"\nrun = \"x\"\n[output.p]\nfrom = \"r\"\npipe = \"y\"\n");
    world.lines("a\nb\n");
    let filter = world.children_of("r")[0];
    world.read(filter, 4);
    world.print(filter, "A\nB\nC\n");
    let node = world.node("r");
    assert_eq!((node.lines_in, node.lines_out, node.printed), (2, 2, Some(3)));
    assert_eq!(world.node("p").lines_in, 3);
    world.finish();
    assert_eq!(world.read_by("p"), ["A", "B", "C"]);
}

#[test]
fn a_blocking_queue_pauses_its_sources_and_lets_them_go_on_half_empty() {
    let mut world = World::new(
        "[input.in]\nstdin = true\n[filter.some]\nmatch = '.'\n\
         [output.p]\nfrom = \"some\"\npipe = \"x\"\nqueue = \"4KiB\"\nwhen_full = \"block\"\n",
    );
    let line = "x".repeat(99) + "\n";
    let mut sent = 0;
    while world.paused.is_empty() {
        world.lines(&line);
        sent += 1;
        assert!(sent < 1000, "it never pauses");
    }
    assert_eq!(world.paused, ["in"]);
    let child = world.children_of("p")[0];
    for _ in 0..1000 {
        world.read(child, 100);
        world.handle(Event::Tick);
        if world.paused.is_empty() {
            break;
        }
    }
    assert!(world.paused.is_empty(), "it never goes on");
    world.finish();
    assert_eq!(world.read_by("p").len(), sent);
}

#[test]
fn a_removed_node_drains_and_a_kept_one_does_not_notice() {
    let keep = "[output.keep]\nfrom = \"in\"\npipe = \"x\"\n";
    let gone = "[output.gone]\nfrom = \"in\"\npipe = \"y\"\n";
    let mut world = world(&format!("{keep}{gone}"));
    world.lines("one\n");
    let kept = world.children_of("keep");
    world.reload(&format!("{INPUT}{keep}"));
    assert_eq!(world.children_of("keep"), kept);
    world.lines("two\n");
    assert_eq!(world.read_by("gone"), ["one"], "what was queued was read before the end");
    assert!(world.status().nodes.iter().all(|node| node.name != "gone"));
    world.finish();
    assert_eq!(world.read_by("keep"), ["one", "two"]);
}

#[test]
fn children_that_take_the_same_lines_share_them_and_one_without_room_gets_its_rest() {
    let pipe = |name: &str| format!("[output.{name}]\nfrom = \"in\"\npipe = \"x\"\n");
    let some = "[output.some]\nfrom = \"in\"\nmatch = '0$'\npipe = \"x\"\n";
    let mut world = world(&format!("{}{}{}{some}", pipe("a"), pipe("b"), pipe("slow")));
    let text = |from: u32| (from..from + 20).map(|n| format!("{n}\n")).collect::<String>();
    world.lines(&text(100));
    assert_eq!(world.shared, 3 * 80, "each of the three got pages");
    let [a, b, slow] = ["a", "b", "slow"].map(|name| world.children_of(name)[0]);
    for round in 1..10 {
        world.read(a, usize::MAX);
        world.read(b, usize::MAX);
        world.lines(&text(100 + 20 * round));
    }
    // Its pipe has taken three batches of 80 bytes, and two pages of the next.
    let before = world.shared;
    assert_eq!(before, 2 * 800 + 256);
    world.read(slow, 100);
    world.settle();
    assert_eq!(world.shared, before, "what nobody else needs any more is written");
    world.finish();
    let all: Vec<_> = (100..300).map(|n| n.to_string()).collect();
    for name in ["a", "b", "slow"] {
        assert_eq!(world.read_by(name), all, "{name}");
    }
    assert_eq!(world.read_by("some").len(), 20);
}

#[test]
fn a_child_that_is_a_little_behind_finds_the_pieces_that_others_got() {
    let pipe = |name: &str| format!("[output.{name}]\nfrom = \"in\"\npipe = \"x\"\n");
    let mut world = world(&format!("{}{}", pipe("a"), pipe("b")));
    let line = "x".repeat(29) + "\n";
    world.lines(&line.repeat(8));
    // Both are full but for 16 bytes. One reads all of it, the other one a little.
    let [a, b] = ["a", "b"].map(|name| world.children_of(name)[0]);
    let before = world.shared;
    assert_eq!(before, 2 * 240);
    world.read(a, 240);
    world.read(b, 8);
    world.lines(&line.repeat(4));
    assert_eq!(world.shared - before, 120, "there is no room for the first piece of 100 bytes");
    world.read(b, 232);
    world.settle();
    assert_eq!(world.shared - before, 2 * 120);
    world.finish();
    assert_eq!((world.read_by("a").len(), world.read_by("b").len()), (12, 12));
}

#[test]
fn a_child_that_reads_gets_a_piece_once_there_is_room_for_all_of_it() {
    let pipe = |name: &str| format!("[output.{name}]\nfrom = \"in\"\npipe = \"x\"\n");
    let mut world = world(&format!("{}{}", pipe("a"), pipe("b")));
    let line = "x".repeat(39) + "\n";
    (0..3).for_each(|_| world.lines(&line.repeat(2)));
    let [a, b] = ["a", "b"].map(|name| world.children_of(name)[0]);
    world.read(a, 80);
    world.read(b, 8);
    let before = world.shared;
    world.lines(&line.repeat(2));
    assert_eq!(world.shared - before, 80, "one has room for all of it, the other one waits");
    world.read(b, 80);
    world.settle();
    assert_eq!(world.shared - before, 160);
    // One that has stopped reading is given what there is room for.
    world.lines(&line.repeat(2));
    assert_eq!(world.shared - before, 160);
    world.pass(Duration::from_millis(200));
    let queued = |name: &str| world.node(name).queued;
    assert!(world.shared - before > 160, "{}", world.shared);
    assert_eq!((queued("a"), queued("b")), (10 - 2, 10 - 2));
    world.finish();
    assert_eq!((world.read_by("a").len(), world.read_by("b").len()), (10, 10));
}

#[test]
fn datagrams_wait_in_all_of_the_kernels_buffer_only_where_nobody_has_room_for_them() {
    for other in ["", "[output.q]\nfrom = \"in\"\npipe = \"y\"\n"] {
        let text = format!("[output.p]\nfrom = \"in\"\npipe = \"x\"\nqueue = \"64KiB\"\n{other}");
        let mut world = world(&text);
        let input = world.engine.find("in").unwrap();
        let children = ["p", "q"].map(|name| world.children_of(name).first().copied());
        let line = "x".repeat(99) + "\n";
        world.lines(&line.repeat(300));
        world.read(children[0].unwrap(), 8);
        world.settle();
        assert_eq!(world.engine.throttle_of(input), Throttle::Most, "there is room in the queues");
        world.lines(&line.repeat(250));
        if let Some(reads_all) = children[1] {
            while world.node("q").queued > 0 {
                world.read(reads_all, 4096);
                world.settle();
            }
        }
        world.read(children[0].unwrap(), 8);
        world.settle();
        let expected = if other.is_empty() { Throttle::Whole } else { Throttle::Half };
        assert_eq!(world.engine.throttle_of(input), expected);
        // Until all is in its pipe: what comes then is written on while it is in the cache.
        while world.engine.throttle_of(input) == expected {
            world.read(children[0].unwrap(), 256);
            world.settle();
        }
        assert_eq!(world.engine.throttle_of(input), Throttle::Off);
        let queued = world.node("p").queued;
        assert!(queued < 300, "{queued}");
        world.finish();
        assert_eq!(world.read_by("p").len(), 550);
    }
}

#[test]
fn datagrams_wait_in_the_kernel_for_a_child_that_reads_but_not_for_a_stalled_or_a_slow_one() {
    let mut world = world("[output.p]\nfrom = \"in\"\npipe = \"x\"\n");
    let input = world.engine.find("in").unwrap();
    let child = world.children_of("p")[0];
    let line = "x".repeat(39) + "\n";
    world.lines(&line.repeat(20));
    assert_eq!(world.engine.throttle_of(input), Throttle::Most, "it had nothing to read so far");
    world.pass(Duration::from_millis(101));
    assert_eq!(world.engine.throttle_of(input), Throttle::Off, "it has not read it");
    world.read(child, 8);
    world.settle();
    assert_eq!(world.engine.throttle_of(input), Throttle::Most);
    world.pass(Duration::from_millis(101));
    assert_eq!(world.engine.throttle_of(input), Throttle::Off, "it reads no more");
    // It reads again, and is not done within a second.
    for _ in 0..15 {
        world.read(child, 8);
        world.settle();
        assert_eq!(world.engine.throttle_of(input), Throttle::Most);
        world.pass(Duration::from_millis(50));
    }
    world.pass(Duration::from_millis(90));
    world.read(child, 8);
    world.settle();
    assert_eq!(world.engine.throttle_of(input), Throttle::Off, "it is slow");
    // Once it has caught up, it begins anew.
    while world.node("p").queued > 0 {
        world.read(child, 256);
        world.settle();
    }
    world.lines(&line.repeat(20));
    assert_eq!(world.engine.throttle_of(input), Throttle::Most);
    world.finish();
    assert_eq!(world.engine.throttle_of(input), Throttle::Off);
    assert_eq!(world.read_by("p").len(), 40);
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Lines(u8),
    Read(u8, u16),
    Die(u8),
    Close(u8),
    CloseUnnoticed(u8),
    Pass(u16),
    Room(Option<u8>),
    Startable(bool),
    Reload(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..20_u8).prop_map(Step::Lines),
        8 => (any::<u8>(), 1..300_u16).prop_map(|(which, bytes)| Step::Read(which, bytes)),
        2 => any::<u8>().prop_map(Step::Die),
        1 => any::<u8>().prop_map(Step::Close),
        1 => any::<u8>().prop_map(Step::CloseUnnoticed),
        4 => (1..3000_u16).prop_map(Step::Pass),
        1 => proptest::option::of(0..200_u8).prop_map(Step::Room),
        1 => any::<bool>().prop_map(Step::Startable),
        1 => (0..3_u8).prop_map(Step::Reload),
    ]
}

fn configuration(which: u8) -> String {
    let extra = match which {
        0 => "",
        1 => "[output.extra]\nfrom = \"even\"\npipe = \"z\"\nqueue = \"4KiB\"\n",
        _ => "[output.other]\nfrom = \"in\"\nsample = 3\nfile = \"/log/other\"\n",
    };
    format!(
        "{INPUT}[filter.even]\nfrom = \"in\"\nmatch = '[02468]$'\n\
         [output.p]\nfrom = \"in\"\npipe = \"x\"\n[output.q]\nfrom = \"in\"\npipe = \"x\"\n\
         [output.r]\nfrom = \"in\"\npipe = \"x\"\n[output.w]\nfrom = \"even\"\npipe = \"y\"\n\
         workers = 2\n[output.f]\nfrom = \"in\"\nfile = \"/log/f\"\n{extra}"
    )
}

proptest! {
    /// Whatever happens, every ledger balances at every step. At the end each line has reached its
    /// destinations once, whole and in order, or is counted as lost.
    #[test]
    fn every_line_has_one_fate(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new(&configuration(0));
        let mut sent = 0_u32;
        for step in steps {
            let pick = |world: &World, which: u8| {
                let all: Vec<_> = world.children.keys().copied().collect();
                (!all.is_empty()).then(|| all[usize::from(which) % all.len()])
            };
            match step {
                Step::Lines(count) => {
                    let next = sent + u32::from(count);
                    let text: String = (sent..next).map(|n| format!("{n}\n")).collect();
                    sent = next;
                    world.lines(&text);
                }
                Step::Read(which, bytes) => {
                    if let Some(child) = pick(&world, which) {
                        world.read(child, usize::from(bytes));
                    }
                }
                Step::Die(which) => {
                    if let Some(child) = pick(&world, which) {
                        world.end(child, "crashed");
                    }
                }
                Step::Close(which) => {
                    if let Some(child) = pick(&world, which) {
                        world.close(child);
                    }
                }
                Step::CloseUnnoticed(which) => {
                    if let Some(child) = pick(&world, which) {
                        world.close_unnoticed(child);
                    }
                }
                Step::Pass(ms) => world.pass(Duration::from_millis(ms.into())),
                Step::Room(room) => world.fs.set_room(room.map(usize::from)),
                Step::Startable(startable) => world.startable = startable,
                Step::Reload(which) => world.reload(&configuration(which)),
            }
            world.settle();
        }
        world.fs.set_room(None);
        world.startable = true;
        world.pass(seconds(70));
        world.finish();

        let all: Vec<String> = (0..sent).map(|n| n.to_string()).collect();
        let file = world.fs.files().remove(std::path::Path::new("/log/f")).unwrap_or_default();
        let file = String::from_utf8(file).unwrap();
        prop_assert_eq!(file.lines().collect::<Vec<_>>(), all.clone());
        for (name, want) in [
            ("p", all.clone()),
            ("q", all.clone()),
            ("r", all.clone()),
            ("w", all.iter().filter(|n| n.parse::<u32>().unwrap() % 2 == 0).cloned().collect()),
        ] {
            let node = world.node(name);
            let lost: u64 = node.dropped.values().sum();
            let mut got = world.read_by(name);
            if name == "w" {
                got.sort_by_key(|line| line.parse::<u32>().unwrap());
            }
            prop_assert_eq!(got.len() as u64, node.lines_out, "{} counts what was read", name);
            prop_assert_eq!(got.len() as u64 + lost, want.len() as u64, "{} lost some", name);
            let mut rest = want.iter();
            for line in &got {
                let found = rest.any(|other| other == line);
                prop_assert!(found, "{} got {} twice or torn", name, line);
            }
        }
    }
}

#[test]
fn a_spool_whose_queue_is_never_empty_is_not_stuck_while_it_is_written() {
    let spool = "[spool.s]\nfrom = \"in\"\ndir = \"/s\"\nsync = \"batch\"\n";
    let mut world = world(&format!("{spool}[output.f]\nfrom = \"s\"\nfile = \"/f\"\n"));
    let node = world.engine.find("in").unwrap();
    for _ in 0..20 {
        world.now = world.now + seconds(1);
        world.engine.handle(Event::Lines { node, batch: batch_of("one\n") }, world.now);
        let actions: Vec<_> = std::iter::from_fn(|| world.engine.poll_action()).collect();
        // More lines come while the disk is busy.
        world.engine.handle(Event::Lines { node, batch: batch_of("two\n") }, world.now);
        actions.into_iter().for_each(|action| world.act(action));
        world.end_sync();
    }
    let spool = world.node("s");
    assert!(spool.queued > 0 && spool.lines_out > 30, "{spool:?}");
    assert!(spool.stuck_seconds.unwrap() <= 1.0, "{spool:?}");
    world.finish();
}

#[test]
fn a_file_behind_a_spool_is_reopened_without_waiting_for_the_next_line() {
    let spool = "[spool.s]\nfrom = \"in\"\ndir = \"/s\"\nsync = \"batch\"\n";
    let mut world = world(&format!("{spool}[output.f]\nfrom = \"s\"\nfile = \"/f\"\n"));
    world.lines("1\n");
    world.pass(seconds(2));
    world.lines("2\n");
    // Written, but not in the cursor.
    world.lines("3\n");
    let cursor = |world: &World| {
        let bytes = world.fs.files().remove(std::path::Path::new("/s/f.cursor")).unwrap();
        crate::spool::cursor::Cursor::decode(&bytes).unwrap().position
    };
    assert!(cursor(&world) < 3);
    let path = std::path::Path::new("/f");
    crate::fs::Fs::rename(&world.fs, path, std::path::Path::new("/f.1")).unwrap();
    world.engine.reopen();
    assert!(world.engine.is_reopening());
    world.settle();
    assert!(!world.engine.is_reopening());
    assert_eq!(cursor(&world), 3);
    world.lines("4\n");
    let mut files = world.fs.files();
    let mut read = |name: &str| files.remove(std::path::Path::new(name));
    assert_eq!(read("/f.1"), Some(b"1\n2\n3\n".to_vec()));
    assert_eq!(read("/f"), Some(b"4\n".to_vec()));
    world.finish();
}

#[test]
fn an_output_that_is_given_another_spool_reads_all_of_it() {
    let spools = "[spool.a]\nfrom = \"in\"\ndir = \"/a\"\nsync = \"batch\"\n\
                  [spool.b]\nfrom = \"in\"\ndir = \"/b\"\nsync = \"batch\"\n";
    let reads =
        |spool: &str| format!("{INPUT}{spools}[output.f]\nfrom = \"{spool}\"\nfile = \"/f\"\n");
    let mut world = World::new(&reads("a"));
    world.lines("1\n2\n");
    world.pass(seconds(2));
    world.reload(&reads("b"));
    world.pass(seconds(2));
    world.lines("3\n");
    world.pass(seconds(2));
    let written = world.fs.files().remove(std::path::Path::new("/f"));
    assert_eq!(written, Some(b"1\n2\n1\n2\n3\n".to_vec()), "each spool has its own lines");
    world.finish();
}

#[test]
fn a_spool_whose_disk_fails_for_long_goes_on_by_itself() {
    let spool = "[spool.s]\nfrom = \"in\"\ndir = \"/s\"\nsync = \"batch\"\n";
    let mut world = world(&format!("{spool}[output.f]\nfrom = \"s\"\nfile = \"/f\"\n"));
    world.fs.fail_syncs(true);
    world.lines("1\n");
    // Housekeeping falls due several times while the spool waits to be retried.
    world.pass(seconds(30));
    assert!(world.node("s").error.is_some());
    world.fs.fail_syncs(false);
    world.pass(seconds(3));
    let written = world.fs.files().remove(std::path::Path::new("/f"));
    assert_eq!((written, world.node("s").error), (Some(b"1\n".to_vec()), None));
    world.finish();
}

#[test]
fn the_last_cursor_of_an_output_that_is_removed_is_written() {
    let spool = "[spool.s]\nfrom = \"in\"\ndir = \"/s\"\nsync = \"batch\"\n";
    let mut world = world(&format!("{spool}[output.p]\nfrom = \"s\"\npipe = \"x\"\n"));
    world.pass(seconds(2));
    world.lines("1\n2\n3\n");
    let child = world.children_of("p")[0];
    world.read(child, usize::MAX);
    world.reload(&format!("{INPUT}{spool}"));
    world.read(child, usize::MAX);
    world.settle();
    world.pass(seconds(1));
    let bytes = world.fs.files().remove(std::path::Path::new("/s/p.cursor")).unwrap();
    assert_eq!(crate::spool::cursor::Cursor::decode(&bytes).unwrap().position, 3);
    world.finish();
}

#[test]
fn readers_do_not_wait_for_the_time_of_a_sync_while_much_is_written() {
    let spool = "[spool.s]\nfrom = \"in\"\ndir = \"/s\"\nsync = \"60s\"\n";
    let mut world = world(&format!("{spool}[output.f]\nfrom = \"s\"\nfile = \"/f\"\n"));
    let piece = "x".repeat(99) + "\n";
    // No time passes.
    (0..10).for_each(|_| world.lines(&piece.repeat(6000)));
    let durable = world.node("s").lines_out;
    assert!(durable >= 60_000 - (4 << 20) / 100, "{durable} of 60000");
    world.finish();
}

#[test]
fn a_file_that_has_all_its_lines_is_named_by_the_cursor_before_the_next_ones_come() {
    let spool = "[spool.s]\nfrom = \"in\"\ndir = \"/s\"\nsync = \"1s\"\n";
    let mut world = world(&format!("{spool}[output.f]\nfrom = \"s\"\nfile = \"/f\"\n"));
    let position = |world: &World| {
        let bytes = world.fs.files().remove(std::path::Path::new("/s/f.cursor"))?;
        Some(crate::spool::cursor::Cursor::decode(&bytes).unwrap().position)
    };
    world.lines("line\n");
    world.pass(seconds(3));
    for round in 2..=5 {
        world.lines("line\n");
        // They are durable, and given to the file, once a second.
        world.pass(seconds(1));
        world.pass(Duration::from_millis(30));
        assert_eq!(position(&world), Some(round));
    }
    world.finish();
}
