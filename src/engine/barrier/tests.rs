//! Barriers and spools that a reload takes away.

use std::time::Duration;

use crate::batch::Inquiry;
use crate::engine::Event;
use crate::sim::world::World;

const INPUT: &str = "[input.in]\nudp = \"127.0.0.1:8420\"\n";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A spool that a reload removes while its disk fails, with one line in it; how long its removal
/// takes is `grace` (10 s).
fn spool_removed_with_a_line(fails: bool) -> World {
    let spool = "[spool.s]\nfrom = \"in\"\ndir = \"/s\"\n";
    let output = "[output.o]\nfrom = \"in\"\nfile = \"/o\"\n";
    let mut world = World::new(&format!("{INPUT}{output}{spool}"));
    let node = world.engine.find("in").unwrap();
    world.fs.fail_syncs(fails);
    world.lines("one\n");
    world.handle(Event::Barrier { node, number: 1, inquiry: Inquiry::default() });
    world.reload(&format!("{INPUT}{output}"));
    world.lines("two\n");
    world.handle(Event::Barrier { node, number: 2, inquiry: Inquiry::default() });
    world
}

#[test]
fn lines_that_a_removed_spool_gives_up_are_never_acknowledged_and_those_behind_them_are() {
    let mut world = spool_removed_with_a_line(true);
    assert_eq!((world.completed, world.lost.as_slice()), (0, &[][..]));
    world.pass(Duration::from_secs(60));
    assert!(world.status().nodes.iter().all(|node| node.name != "s"), "it was given up");
    assert_eq!((world.completed, world.lost.as_slice()), (2, &[1][..]));
}

#[test]
fn lines_that_a_removed_spool_still_writes_are_acknowledged() {
    let mut world = spool_removed_with_a_line(false);
    world.pass(Duration::from_secs(60));
    assert_eq!((world.completed, world.lost.as_slice()), (2, &[][..]));
}

const ACKNOWLEDGED: &str = "[input.acked]\nrelp = \"127.0.0.1:2514\"\n\
    [output.o]\nfrom = [\"in\", \"acked\"]\nfile = \"/o\"\n";

/// A line goes to a spool whose disk may fail, and its barrier comes after a reload to `after`.
fn lines_whose_barrier_comes_after_a_reload(fails: bool, after: &str) -> World {
    let spool = "[spool.s]\nfrom = \"acked\"\ndir = \"/s\"\n";
    let mut world = World::new(&format!("{INPUT}{ACKNOWLEDGED}{spool}"));
    let node = world.engine.find("acked").unwrap();
    world.fs.fail_syncs(fails);
    world.lines_of("acked", "one\n");
    world.reload(&format!("{INPUT}{ACKNOWLEDGED}{after}"));
    world.handle(Event::Barrier { node, number: 1, inquiry: Inquiry::default() });
    world
}

#[test]
fn a_barrier_after_a_reload_waits_for_the_spool_that_the_reload_removed() {
    let mut world = lines_whose_barrier_comes_after_a_reload(true, "");
    world.pass(seconds(5));
    assert_eq!((world.completed, world.lost.as_slice()), (0, &[][..]), "it is not durable");
    world.pass(seconds(60));
    assert_eq!((world.completed, world.lost.as_slice()), (0, &[1][..]), "it was given up");
    let node = world.engine.find("acked").unwrap();
    world.handle(Event::Barrier { node, number: 2, inquiry: Inquiry::default() });
    assert_eq!(world.completed, 2, "one barrier stands for all lines before the reload");
}

#[test]
fn a_barrier_after_a_reload_is_lost_if_the_removed_spool_is_gone_already() {
    let spool = "[spool.s]\nfrom = \"acked\"\ndir = \"/s\"\n";
    let mut world = World::new(&format!("{INPUT}{ACKNOWLEDGED}{spool}"));
    world.fs.fail_syncs(true);
    world.lines_of("acked", "one\n");
    world.reload(&format!("{INPUT}{ACKNOWLEDGED}"));
    world.pass(seconds(60));
    let node = world.engine.find("acked").unwrap();
    world.handle(Event::Barrier { node, number: 1, inquiry: Inquiry::default() });
    assert_eq!((world.completed, world.lost.as_slice()), (0, &[1][..]));
}

#[test]
fn a_barrier_after_a_reload_waits_for_a_spool_that_is_no_longer_fed_by_its_input() {
    let elsewhere = "[spool.s]\nfrom = \"acked\"\ndir = \"/s\"\n";
    let mut world = lines_whose_barrier_comes_after_a_reload(true, elsewhere);
    world.pass(seconds(60));
    assert_eq!((world.completed, world.lost.as_slice()), (0, &[][..]));
    world.fs.fail_syncs(false);
    world.pass(seconds(60));
    assert_eq!((world.completed, world.lost.as_slice()), (1, &[][..]));
}

#[test]
fn barriers_behind_an_output_that_is_stuck_for_days_are_bounded() {
    let mut world =
        World::new("[input.in]\ntail = \"/l\"\n[output.p]\nfrom = \"in\"\npipe = \"x\"\n");
    let node = world.engine.find("in").unwrap();
    let barriers = 10 * crate::limits::BARRIERS_HELD as u64;
    for number in 1..=barriers {
        world.lines("a line\n");
        world.handle(Event::Barrier { node, number, inquiry: Inquiry::default() });
    }
    assert_eq!(world.engine.barriers.waiting[&node].len(), crate::limits::BARRIERS_HELD);
    let child = world.children_of("p")[0];
    world.read(child, 7);
    world.handle(Event::Tick);
    assert_eq!(world.completed, 1, "each of the oldest by itself");
    for _ in 0..100 {
        world.read(child, usize::MAX);
        world.handle(Event::Tick);
    }
    assert_eq!(world.completed, barriers);
}
