//! Two daemons, a spool at either end: every line arrives exactly once, wherever a machine stops.
//! At the end of the way is one file, or a file for each app.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::sim::fs::{LOSSES, Loss, SimFs};
use crate::sim::pair::Pair;

/// Lines go in by twos, with time to write cursors in between.
const ROUNDS: usize = 6;

/// What was known to be safe when a machine stopped.
struct Story {
    pair: Pair,
    /// Lines that had left the sender's spool node, which is to say were on disk there.
    safe: usize,
    given: Vec<String>,
}

fn second() -> Duration {
    Duration::from_millis(1100)
}

/// Runs a small history; a machine that stops starts again at once with what `loss` leaves.
fn run(sender: SimFs, receiver: SimFs, name: &str, loss: Loss, slow: bool) -> Story {
    let mut pair = Pair::new(sender, receiver, name);
    if slow {
        pair.slow_syncs();
    }
    let mut given = Vec::new();
    let mut safe: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        pair.restart_stopped(loss);
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
    for _ in 0..if slow { 40 } else { 8 } {
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

/// Whether all that was given is there, each line once.
fn is_whole(story: &Story) -> bool {
    let (mut received, mut given) = (story.pair.received().concat(), story.given.clone());
    received.sort();
    given.sort();
    received == given
}

fn every_line_arrives_once(name: &str, slow: bool) {
    let (sender, receiver) = (SimFs::default(), SimFs::default());
    let whole = run(sender.clone(), receiver.clone(), name, Loss::None, slow);
    check(&whole, "no crash");
    assert!(is_whole(&whole), "{:?}", whole.pair.received());
    let ends = [(sender.operations(), true), (receiver.operations(), false)];
    for (operations, at_sender) in ends {
        assert!(operations > 30, "{operations}");
        for at in 0..operations {
            for loss in LOSSES {
                let (sender, receiver) = (SimFs::default(), SimFs::default());
                if at_sender { &sender } else { &receiver }.crash_at(at);
                let what = format!("sender {at_sender}, stopped before {at}, {loss:?}");
                let story =
                    catch_unwind(AssertUnwindSafe(|| run(sender, receiver, name, loss, slow)));
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
    every_line_arrives_once("out", false);
}

#[test]
fn every_line_arrives_once_in_the_file_that_its_field_names() {
    every_line_arrives_once("{app}", false);
}

#[test]
fn every_line_arrives_once_while_syncs_run_beside_what_is_appended() {
    every_line_arrives_once("out", true);
}
