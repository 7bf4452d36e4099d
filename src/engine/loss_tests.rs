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
