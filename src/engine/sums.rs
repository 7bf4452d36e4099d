//! Sums of a node that go on over reloads: what a node counted that a reload has rebuilt belongs to
//! the one that has its name and kind now.
//!
//! A node hands over what is settled when its successor comes, and the rest when it has drained. So
//! every line is in one sum at any time.

use std::sync::Arc;

use super::Engine;
use super::graph::{Body, Node};
use super::status::GoneStatus;
use crate::config::plan::Kind;
use crate::ids::NodeId;
use crate::input::InputCounts;
use crate::ledger::seconds::Totals;
use crate::ledger::{Count, Ledger, REASONS};

/// The counts of a ledger, without its minutes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) entered: Count,
    pub(super) left: Count,
    pub(super) not_selected: Count,
    pub(super) dropped: [Count; REASONS.len()],
}

/// What a node and its predecessors counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    pub(super) ledger: Counts,
    pub(super) counts: InputCounts,
    /// Lines that children printed.
    pub(super) printed: Count,
    /// Restarts of children.
    pub(super) restarts: u64,
}

impl Counts {
    pub(super) fn of(ledger: &Ledger) -> Self {
        let Ledger { entered, left, not_selected, .. } = *ledger;
        Self { entered, left, not_selected, dropped: REASONS.map(|reason| ledger.dropped(reason)) }
    }

    /// Without what waits: as many lines entered as have left or were dropped.
    fn settled(mut self) -> Self {
        self.entered = self.dropped_in_all();
        for count in [self.left, self.not_selected] {
            self.entered.add(count.lines, count.bytes);
        }
        self
    }

    /// The lines dropped for any reason.
    pub(super) fn dropped_in_all(&self) -> Count {
        let mut all = Count::default();
        self.dropped.iter().for_each(|count| all.add(count.lines, count.bytes));
        all
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Count> {
        let Self { entered, left, not_selected, dropped } = self;
        [entered, left, not_selected].into_iter().chain(dropped)
    }

    fn add(&mut self, mut other: Self) {
        self.all().zip(other.all()).for_each(|(sum, one)| sum.add(one.lines, one.bytes));
    }

    /// Takes off what was counted earlier.
    fn subtract(&mut self, mut earlier: Self) {
        for (sum, one) in self.all().zip(earlier.all()) {
            *sum = Count { lines: sum.lines - one.lines, bytes: sum.bytes - one.bytes };
        }
    }
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.ledger.add(other.ledger);
        self.counts.add(&other.counts);
        self.printed.add(other.printed.lines, other.printed.bytes);
        self.restarts += other.restarts;
    }
}

impl Node {
    /// What it and its predecessors counted, without what it has handed over.
    pub(super) fn sums(&self) -> Sums {
        let mut sums = Sums {
            ledger: Counts::of(&self.ledger),
            counts: self.counts,
            printed: match &self.body {
                Body::Lanes(lanes) => lanes.printed,
                _ => Count::default(),
            },
            restarts: {
                let children = self.lanes().iter().filter_map(|lane| lane.child());
                children.map(|child| child.supervisor.restarts).sum()
            },
        };
        sums.add(&self.before);
        sums.ledger.subtract(self.handed);
        sums
    }
}

impl Engine {
    /// Has `take` look at the sums of every node, those that drain included.
    pub fn each_total(&self, mut take: impl FnMut(&Arc<str>, Kind, Totals)) {
        for (_, node) in self.graph.iter() {
            let Sums { ledger, counts, .. } = node.sums();
            let totals = Totals {
                lines_in: ledger.entered.lines,
                lines_out: ledger.left.lines,
                not_selected: ledger.not_selected.lines,
                dropped: ledger.dropped_in_all().lines,
                kernel_drops: counts.kernel_drops,
            };
            take(&node.name, node.plan.body.kind(), totals);
        }
    }

    /// Nodes were added, from `first` on: each goes on with what its predecessors counted so far.
    pub(super) fn take_up_sums(&mut self, first: NodeId) {
        let retired = self.graph.iter().filter(|(_, node)| node.retired.is_some());
        let handed: Vec<_> = retired
            .filter_map(|(id, node)| {
                let successor = self.graph.successor_of(node).filter(|id| *id >= first)?;
                Some((id, successor, node.sums().ledger.settled()))
            })
            .collect();
        for (id, successor, settled) in handed {
            self.graph.node_mut(id).handed.add(settled);
            self.graph.node_mut(successor).before.ledger.add(settled);
        }
    }

    /// A node is gone: its successor, or the sums of those that are gone, get the rest.
    pub(super) fn keep_sums_of(&mut self, node: &Node) {
        match self.graph.successor_of(node) {
            Some(id) => {
                let other = self.graph.node_mut(id);
                other.before.add(&node.sums());
                node.hand_over_losses(other);
            }
            None => self.gone.add(node),
        }
    }
}

impl GoneStatus {
    /// Adds a node that goes.
    fn add(&mut self, node: &Node) {
        let sums = node.sums();
        self.nodes += 1;
        if node.is_input() {
            self.lines_in += sums.ledger.entered.lines;
        }
        for (reason, dropped) in REASONS.into_iter().zip(sums.ledger.dropped) {
            if dropped.lines > 0 {
                *self.dropped.entry(reason.word().into()).or_default() += dropped.lines;
            }
        }
        self.kernel_drops += sums.counts.kernel_drops;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::engine::Event;
    use crate::input::InputCounts;
    use crate::sim::world::World;

    const INPUT: &str = "[input.in]\nudp = \"127.0.0.1:8420\"\n";

    fn text(command: &str) -> String {
        format!("{INPUT}[output.p]\nfrom = \"in\"\npipe = \"{command}\"\nqueue = \"4KiB\"\n")
    }

    /// What the rows of a node say together: lines in, lines out, queued; and the rows.
    fn rows(world: &World) -> ((u64, u64, u64, u64), usize) {
        let mut sum = ((0, 0, 0, 0), 0);
        for node in world.status().nodes.iter().filter(|node| node.name == "p") {
            let ((entered, left, dropped, queued), rows) = sum;
            let drops: u64 = node.dropped.values().sum();
            let lines = (entered + node.lines_in, left + node.lines_out);
            sum = ((lines.0, lines.1, dropped + drops, queued + node.queued), rows + 1);
        }
        sum
    }

    #[test]
    fn a_rebuilt_node_goes_on_counting_and_nothing_is_counted_twice() {
        let mut world = World::new(&text("x"));
        let lines = |count: u32| (0..count).map(|n| format!("{n:9}\n")).collect::<String>();
        world.lines(&lines(10));
        let child = world.children_of("p")[0];
        world.children.get_mut(&child).unwrap().stubborn = true;
        world.read(child, 100);
        world.lines(&lines(20));
        let (before, _) = rows(&world);
        assert_eq!(before, (30, 10, 0, 20));
        world.reload(&text("y"));
        assert_eq!(rows(&world), (before, 2), "it drains");
        let node = world.node("p");
        assert_eq!((node.lines_in, node.lines_out, node.queued), (10, 10, 0));
        world.lines(&lines(3));
        assert_eq!(rows(&world).0.0, 33);
        // Another one before the first has drained.
        world.reload(&text("z"));
        assert_eq!(rows(&world).0.0, 33);
        world.pass(Duration::from_secs(60));
        let ((entered, left, dropped, queued), count) = rows(&world);
        assert_eq!((entered, left + dropped + queued, count), (33, 33, 1));
        let node = world.node("p");
        assert_eq!(node.lines_in, 33);
        let status = world.status();
        assert_eq!(status.gone, None, "its successor has its sums");
        assert_eq!(world.engine.figures().dropped, dropped);
        // Gone for good.
        world.reload(&format!("{INPUT}[output.q]\nfrom = \"in\"\npipe = \"x\"\n"));
        world.pass(Duration::from_secs(60));
        let gone = world.status().gone.unwrap();
        assert_eq!((gone.nodes, gone.lost()), (1, world.engine.figures().dropped));
    }

    #[test]
    fn counts_beside_lines_and_the_last_loss_outlive_a_rebuilt_input() {
        let mut world = World::new(&text("x"));
        let node = world.engine.find("in").unwrap();
        let counts = InputCounts { kernel_drops: 7, datagrams: 9, ..InputCounts::default() };
        world.handle(Event::Counts { node, counts, at: std::time::UNIX_EPOCH });
        world.lines("a\nb\n");
        let text = text("x").replace("8420", "8421");
        world.reload(&text);
        // Nothing of it is left to drain.
        let input = world.node("in");
        let counts = input.input.unwrap();
        assert_eq!((input.lines_in, counts.kernel_drops, counts.datagrams), (2, 7, 9));
        assert_eq!(input.losses[0].count, 7);
        assert_eq!((world.engine.figures().lines, world.engine.figures().dropped), (2, 7));
    }
}
