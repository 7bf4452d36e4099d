//! Inputs that can wait: for how long they do so for an output that is behind, and what of theirs
//! does not wait for one that is stuck.

use std::time::Duration;

use crate::batch::Inquiry;
use crate::engine::Event;
use crate::ids::Identity;
use crate::limits::{WAITS_MAX, WAITS_STUCK};
use crate::sim::world::World;

/// Followed files, which go to `p` through a filter, and to `q`.
const FILES: &str = "[input.in]\ntail = \"/l/*.log\"\n[filter.some]\nmatch = '.'\n\
                     [output.p]\nfrom = \"some\"\npipe = \"x\"\nqueue = \"4KiB\"\n\
                     [output.q]\nfrom = \"in\"\npipe = \"y\"\nqueue = \"1MiB\"\n";

fn line(number: usize) -> String {
    format!("{number:09} {}\n", "x".repeat(89))
}

/// Lines come until the input waits; how many.
fn fill(world: &mut World) -> usize {
    let mut sent = 0;
    while world.waiting.is_empty() {
        assert!(sent < 1000, "it never waits");
        world.lines(&line(sent));
        sent += 1;
    }
    assert_eq!((world.waiting.as_slice(), world.paused.len()), (&["in".to_string()][..], 0));
    assert!(!world.node("in").paused, "this is no trouble");
    sent
}

/// A child of this node reads all there is.
fn drain(world: &mut World, name: &str) {
    for _ in 0..10_000 {
        if world.node(name).queued == 0 {
            return;
        }
        let child = world.children_of(name)[0];
        world.read(child, usize::MAX);
        world.handle(Event::Tick);
    }
    panic!("{name} never reads all");
}

fn dropped(world: &World, name: &str) -> u64 {
    world.node(name).dropped.values().sum()
}

#[test]
fn an_output_that_is_slow_for_a_while_loses_nothing() {
    let mut world = World::new(FILES);
    let mut sent = 0;
    for _ in 0..20 {
        sent += fill(&mut world);
        world.pass(WAITS_STUCK / 2);
        drain(&mut world, "p");
        drain(&mut world, "q");
        assert_eq!((dropped(&world, "p"), world.waiting.len()), (0, 0));
    }
    world.finish();
    assert_eq!((world.read_by("p").len(), world.read_by("q").len()), (sent, sent));
}

#[test]
fn an_output_that_is_stuck_is_not_waited_for_and_loses_what_its_queue_cannot_take() {
    let mut world = World::new(FILES);
    let node = world.engine.find("in").unwrap();
    let sent = fill(&mut world);
    world.handle(Event::Barrier { node, number: 1, inquiry: Inquiry::default() });
    world.pass(WAITS_STUCK);
    assert_eq!(world.waiting.len(), 0);
    // The others go on at once, however much comes.
    for number in sent..sent + 100 {
        world.lines(&line(number));
        drain(&mut world, "q");
        assert_eq!((world.waiting.len(), dropped(&world, "q")), (0, 0));
    }
    assert!(dropped(&world, "p") > 50, "{}", dropped(&world, "p"));
    // What it holds is not delivered, so positions stay, but questions are answered.
    let inquiry = Inquiry { origins: vec![Identity::of(7)], ..Inquiry::default() };
    world.handle(Event::Barrier { node, number: 2, inquiry });
    assert_eq!((world.completed, world.answers.pop_front()), (0, Some((2, vec![vec![]]))));
    drain(&mut world, "p");
    assert_eq!(world.completed, 2);
    // It has caught up, and is waited for again.
    let lost = dropped(&world, "p");
    fill(&mut world);
    assert_eq!(dropped(&world, "p"), lost);
}

#[test]
fn an_output_that_is_too_slow_keeps_the_others_waiting_for_a_bounded_time() {
    let mut world = World::new(FILES);
    let (mut number, mut waited) = (0, Duration::ZERO);
    while dropped(&world, "p") == 0 {
        assert!(waited <= 2 * WAITS_MAX, "it waits for ever");
        // Each second one line is read, and more come.
        for _ in 0..20 {
            if world.waiting.is_empty() {
                world.lines(&line(number));
                number += 1;
            }
        }
        let child = world.children_of("p")[0];
        world.read(child, 100);
        drain(&mut world, "q");
        world.pass(Duration::from_secs(1));
        waited += Duration::from_secs(1);
    }
    assert!(waited >= WAITS_MAX, "{waited:?}");
    for number in number..number + 50 {
        world.lines(&line(number));
        drain(&mut world, "q");
        let child = world.children_of("p")[0];
        world.read(child, 100);
        assert_eq!((world.waiting.len(), dropped(&world, "q")), (0, 0));
    }
}

#[test]
fn inputs_that_cannot_wait_and_what_is_behind_a_spool_make_nobody_wait() {
    let mut world = World::new(&FILES.replace("tail = \"/l/*.log\"", "udp = \"127.0.0.1:8420\""));
    (0..100).for_each(|number| world.lines(&line(number)));
    assert_eq!((world.waiting.len(), world.paused.len()), (0, 0));
    assert!(dropped(&world, "p") > 0);
    let spool = "[spool.s]\nfrom = \"in\"\ndir = \"/s\"\n[output.p]\nfrom = \"s\"\npipe";
    let mut world = World::new(&FILES.replace("[output.p]\nfrom = \"some\"\npipe", spool));
    (0..100).for_each(|number| world.lines(&line(number)));
    world.pass(Duration::from_secs(2));
    assert_eq!((world.waiting.len(), dropped(&world, "p")), (0, 0));
}

#[test]
fn an_output_that_a_reload_removes_makes_nobody_wait() {
    let mut world = World::new(FILES);
    fill(&mut world);
    let (input, rest) = FILES.split_once("[filter.some]").unwrap();
    let (_, rest) = rest.split_once("[output.q]").unwrap();
    world.reload(&format!("{input}[output.q]{rest}"));
    assert_eq!(world.waiting.len(), 0);
}
