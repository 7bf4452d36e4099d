//! How much is done, in operations of the disk and in nodes that are looked at: what costs little
//! for one line or node must not cost more for each of many.

use std::time::Duration;

use crate::engine::Event;
use crate::sim::world::World;

fn lines(count: usize) -> String {
    (0..count).map(|number| format!("{number:09} {}\n", "x".repeat(220))).collect()
}

/// Operations of the disk for as many lines, through a spool of this size into a file that rotates.
fn operations(max_size: &str, rotate: &str) -> u64 {
    let mut world = World::new(&format!(
        "[input.in]\nsyslog = \"tcp://127.0.0.1:514\"\n\
         [spool.s]\nfrom = \"in\"\ndir = \"/s\"\nsync = \"batch\"\nwhen_full = \"block\"\n\
         segment = \"64KiB\"\nmax_size = \"{max_size}\"\n\
         [output.f]\nfrom = \"s\"\nfile = \"/f/f\"\nrotate = \"{rotate}\"\n"
    ));
    let before = world.fs.operations();
    for _ in 0..40 {
        world.lines(&lines(100));
        // A full spool may wait a moment for its reader, not for each of a few lines.
        for _ in 0..20 {
            if world.paused.is_empty() {
                break;
            }
            world.pass(Duration::from_millis(100));
        }
    }
    // It makes room once a second at least.
    world.pass(Duration::from_secs(5));
    assert_eq!((world.node("f").lines_out, world.node("s").queued), (4000, 0));
    world.fs.operations() - before
}

#[test]
fn a_full_spool_costs_its_reader_few_more_operations_than_one_with_room() {
    for rotate in ["20KiB", "1GiB"] {
        let (roomy, full) = (operations("1GiB", rotate), operations("160KiB", rotate));
        assert!(full < 2 * roomy + 400, "{full} operations with rotate = {rotate}, else {roomy}");
    }
}

#[test]
fn a_reader_that_a_reload_removes_holds_no_segment_and_fills_no_spool() {
    let rest = "[input.in]\nsyslog = \"tcp://127.0.0.1:514\"\n\
                [spool.s]\nfrom = \"in\"\ndir = \"/s\"\nsync = \"batch\"\nwhen_full = \"block\"\n\
                segment = \"64KiB\"\nmax_size = \"256KiB\"\n\
                [output.f]\nfrom = \"s\"\nfile = \"/f\"\n";
    let stuck = "[output.dead]\nfrom = \"s\"\nforward = \"relp://192.0.2.1:1\"\n";
    let mut world = World::new(&format!("{rest}{stuck}"));
    (0..30).for_each(|_| world.lines(&lines(100)));
    world.pass(Duration::from_secs(3));
    let full = world.node("s");
    assert!(full.queued > 0 && full.error.is_some(), "{full:?}");
    world.reload(rest);
    // What is removed has the grace, ten seconds, to get rid of its lines.
    world.pass(Duration::from_secs(14));
    assert_eq!((world.node("s").queued, world.node("f").lines_out), (0, 3000));
    assert!(world.node("s").spool.unwrap().bytes <= 2 * 64 * 1024);
    world.finish();
}

/// Nodes that were looked at while one of so many was changed by a reload, and until the end.
fn looks(nodes: usize) -> (u64, u64) {
    let filters: String =
        (0..nodes).map(|n| format!("[filter.f{n}]\nfrom = \"in\"\nmatch = \"{n}x\"\n")).collect();
    let text = |word: &str| {
        format!(
            "[input.in]\nudp = \"127.0.0.1:8420\"\n{filters}\
             [filter.last]\nfrom = \"in\"\nmatch = \"{word}\"\n\
             [output.o]\nfrom = [\"last\", \"f0\"]\nfile = \"/o\"\n"
        )
    };
    let mut world = World::new(&text("a"));
    let before = world.engine.looks();
    world.reload(&text("b"));
    let reloaded = world.engine.looks();
    let node = world.engine.find("in").unwrap();
    world.engine.terminate(world.now);
    world.handle(Event::InputEnded { node });
    assert!(world.engine.is_done());
    (reloaded - before, world.engine.looks() - reloaded)
}

#[test]
fn a_reload_and_the_end_look_at_each_node_a_few_times() {
    for nodes in [100, 400] {
        let (reload, end) = looks(nodes);
        let most = 12 * nodes as u64;
        assert!(reload <= most && end <= most, "{nodes} nodes: {reload} and {end} looks");
    }
}
