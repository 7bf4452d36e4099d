//! Losses in a simulated world: when they are reported, and what stays of them.

use std::time::Duration;

use super::Event;
use super::losses::Loss;
use crate::sim::world::World;

const INPUT: &str = "[input.in]\nudp = \"127.0.0.1:8420\"\n";

fn world(nodes: &str) -> World {
    World::new(&format!("{INPUT}{nodes}"))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// What was reported: node, cause, count, and whether it has ended.
fn reports(world: &mut World) -> Vec<(String, &'static str, u64, bool)> {
    let report = |loss: Loss| (loss.node.to_string(), loss.cause.word(), loss.count, loss.ended);
    std::mem::take(&mut world.losses).into_iter().map(report).collect()
}

#[test]
fn every_loss_is_reported_when_it_begins_while_it_lasts_and_when_it_ends() {
    let mut world = world(
        "[filter.few]\nfrom = \"in\"\nrate = \"1/m\"\n\
         [output.p]\nfrom = \"few\"\npipe = \"x\"\n",
    );
    world.lines("one\n");
    assert_eq!(reports(&mut world), []);
    world.lines("two\nthree\n");
    assert_eq!(reports(&mut world), [("few".into(), "rate", 2, false)]);
    world.pass(seconds(35));
    world.lines("four\n");
    assert_eq!(reports(&mut world), []);
    assert_eq!(world.node("few").losses[0].count, 3);
    world.pass(seconds(26));
    assert_eq!(reports(&mut world), [("few".into(), "rate", 3, false)]);
    world.pass(seconds(60));
    assert_eq!(reports(&mut world), [("few".into(), "rate", 3, true)]);
    let losses = world.node("few").losses;
    assert!(losses[0].ended && losses[0].why.is_none() && losses.len() == 1, "{losses:?}");
    let node = world.engine.find("in").unwrap();
    let counts = crate::input::InputCounts { kernel_drops: 7, ..Default::default() };
    world.handle(Event::Counts { node, counts, at: std::time::UNIX_EPOCH });
    assert_eq!(reports(&mut world), [("in".into(), "kernel_drops", 7, false)]);
}

#[test]
fn the_losses_of_a_node_end_with_it() {
    let mut world = world("[output.p]\nfrom = \"in\"\npipe = \"x\"\nqueue = \"4KiB\"\n");
    for _ in 0..100 {
        world.lines(&("x".repeat(99) + "\n"));
    }
    let lost = world.node("p").dropped["queue_full"];
    let begun = reports(&mut world);
    assert!(matches!(&begun[..], [(node, "queue_full", 1.., false)] if node == "p"), "{begun:?}");
    let plan =
        crate::sim::world::plan(&format!("{INPUT}[output.q]\nfrom = \"in\"\npipe = \"y\"\n"));
    world.engine.reload(&plan, world.now).unwrap();
    world.settle();
    world.pass(seconds(20));
    let ended = reports(&mut world);
    assert_eq!(ended.last(), Some(&("p".to_string(), "queue_full", lost, true)), "{ended:?}");
    // Its counts stay in the sums.
    let status = world.engine.status(world.now);
    assert!(status.nodes.iter().all(|node| node.name != "p"));
    let gone = status.gone.unwrap();
    assert_eq!((gone.nodes, gone.lines_in, gone.kernel_drops), (1, 0, 0));
    assert_eq!(gone.dropped["queue_full"], lost);
    assert_eq!(world.engine.figures().dropped, gone.lost());
}

#[test]
fn lines_that_a_spool_drops_unread_are_reported_at_once_and_once() {
    let text = |peer: &str| {
        format!(
            "{INPUT}[spool.hold]\nfrom = \"in\"\ndir = \"/hold\"\nsegment = \"64KiB\"\n\
             max_size = \"128KiB\"\n\
             [output.hub]\nfrom = \"hold\"\nforward = \"relp://{peer}:2514\"\n"
        )
    };
    let mut world = World::new(&text("a"));
    let lines = format!("{:09999}\n", 7).repeat(10);
    let is_reported = |world: &World| world.losses.iter().any(|loss| &*loss.node == "hub");
    let mut sent = 0;
    while !is_reported(&world) {
        world.lines(&lines);
        world.pass(Duration::from_millis(100));
        sent += 10;
        // More than an output holds in memory.
        assert!(sent < 3000, "nothing is dropped");
    }
    let of_hub = |world: &mut World| {
        let reports = reports(world).into_iter();
        let of_hub = reports.filter(|(node, ..)| node == "hub");
        of_hub.map(|(_, cause, count, ended)| (cause, count, ended)).collect::<Vec<_>>()
    };
    let oldest = |world: &World| world.node("hold").spool.unwrap().oldest;
    let [("spool_full", first, false)] = of_hub(&mut world)[..] else { panic!("no loss") };
    assert_eq!(world.node("hub").lines_in, 0, "it has not come to them");
    // What was given to the output is in its memory, and not lost.
    let given = oldest(&world) - first;
    assert!(given * 10_000 > crate::limits::FEED_HIGH / 2, "{given}");
    world.pass(seconds(55));
    (0..3).for_each(|_| world.lines(&lines));
    world.pass(seconds(5));
    let all = oldest(&world) - given;
    assert_eq!(of_hub(&mut world), [("spool_full", all, false)]);
    assert!(all > first);
    // An output that takes its place reports none of them again: only what had been in memory.
    world.reload(&text("b"));
    world.pass(seconds(600));
    let reports = of_hub(&mut world);
    let again: u64 = reports.iter().filter(|report| report.2).map(|report| report.1).sum();
    assert!(reports.contains(&("spool_full", all, true)), "{reports:?}");
    assert_eq!(again, all + given, "{reports:?}");
}
