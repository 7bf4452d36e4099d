//! Two daemons with a spool at each end: every line arrives exactly once, wherever a machine stops.
//! The final destination is one file, or one file per app.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::sim::fs::{LOSSES, Loss, SimFs};
use crate::sim::pair::Pair;
use crate::sim::world::World;

/// Rounds of two lines each, with time to write cursors in between.
const ROUNDS: usize = 6;

/// The lines known to be safe when a machine stopped.
struct Story {
    pair: Pair,
    /// Lines that had left the sender's spool node and so were on disk there.
    safe: usize,
    given: Vec<String>,
}

fn second() -> Duration {
    Duration::from_millis(1100)
}

/// What happens in a history in addition to crashes.
#[derive(Debug, Clone, Copy, Default)]
struct Twist {
    /// The sender is reloaded.
    reloads: bool,
    /// Syncs end only as time passes.
    slow: bool,
}

/// Runs a short history; a machine that stops restarts at once with what `loss` leaves.
fn run(sender: SimFs, receiver: SimFs, name: &str, twist: Twist, loss: Loss) -> Story {
    let mut pair = Pair::new(sender, receiver, name);
    if twist.slow {
        pair.slow_syncs();
    }
    let mut given = Vec::new();
    let mut safe: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        pair.restart_stopped(loss);
        if twist.reloads && round > 0 && !pair.sender.fs.has_stopped() {
            pair.reload_sender(round - 1);
        }
        let text = format!("<13>a: line {round}\n<13>b: line {round}\n");
        let before = pair.sender.node("hub.spool").lines_out;
        given.extend(text.lines().map(str::to_string));
        pair.sender.lines(&text);
        if pair.sender.node("hub.spool").lines_out == before + 2 {
            safe.extend(text.lines().map(str::to_string));
        }
        pair.exchange();
        pair.pass(second());
    }
    for _ in 0..if twist.slow { 40 } else { 8 } {
        pair.restart_stopped(loss);
        pair.pass(second());
    }
    let received = pair.received();
    for line in &safe {
        let there = received.iter().flatten().any(|other| other == line);
        assert!(there, "{line} is missing in {received:?}");
    }
    Story { pair, safe: safe.len(), given }
}

fn check(story: &Story, what: &str) {
    let received = story.pair.received();
    for file in &received {
        // In order and each once: a subsequence of what was given.
        let mut given = story.given.iter();
        for line in file {
            assert!(given.any(|other| other == line), "{what}: {line} twice or late in {file:?}");
        }
    }
    assert!(received.iter().flatten().count() >= story.safe, "{what}");
}

/// Returns whether every given line is there, once.
fn is_whole(story: &Story) -> bool {
    let (mut received, mut given) = (story.pair.received().concat(), story.given.clone());
    received.sort();
    given.sort();
    received == given
}

fn every_line_arrives_once(name: &str, twist: Twist) {
    let (sender, receiver) = (SimFs::default(), SimFs::default());
    let whole = run(sender.clone(), receiver.clone(), name, twist, Loss::None);
    check(&whole, "no crash");
    assert!(is_whole(&whole), "{:?}", whole.pair.received());
    let minutes = |world: &World, node: &str| world.engine.lines_by_minute(node);
    let sent = minutes(&whole.pair.sender, "in");
    assert!(sent.len() > 1, "{sent:?}");
    assert_eq!(sent, minutes(&whole.pair.receiver, "edge"), "the minute goes along");
    let ends = [(sender.operations(), true), (receiver.operations(), false)];
    for (operations, at_sender) in ends {
        assert!(operations > 30, "{operations}");
        for at in 0..operations {
            for loss in LOSSES {
                let (sender, receiver) = (SimFs::default(), SimFs::default());
                if at_sender { &sender } else { &receiver }.crash_at(at);
                let what = format!("sender {at_sender}, stopped before {at}, {loss:?}");
                let story =
                    catch_unwind(AssertUnwindSafe(|| run(sender, receiver, name, twist, loss)));
                let story = story.unwrap_or_else(|_| panic!("{what}"));
                check(&story, &what);
                if !at_sender {
                    assert!(is_whole(&story), "{what}: {:?}", story.pair.received());
                }
            }
        }
    }
}

#[test]
fn every_line_arrives_once_whichever_machine_stops_at_whatever_step() {
    every_line_arrives_once("out", Twist::default());
}

#[test]
fn every_line_arrives_once_in_the_file_that_its_field_names() {
    every_line_arrives_once("{app}", Twist::default());
}

#[test]
fn every_line_arrives_once_through_reloads_that_make_the_output_anew() {
    every_line_arrives_once("out", Twist { reloads: true, ..Twist::default() });
}

#[test]
fn every_line_arrives_once_while_syncs_run_beside_what_is_appended() {
    every_line_arrives_once("out", Twist { slow: true, ..Twist::default() });
}
