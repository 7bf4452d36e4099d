//! How the leader of a classic group shares partitions out: `range` and `cooperative-sticky`, as
//! Java's clients name them.
//!
//! By `range` each topic is cut into as many ranges as it has members, in the order of their names;
//! everybody gives everything back before. By `cooperative-sticky` each keeps what it has, as far
//! as nobody else has less by two; what is to move is given to nobody before its owner has given
//! it back, which the next round then sees.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::ASSIGNOR_STEPS;
use crate::proto::kafka::messages::subscription::{Parts, Subscription};

/// A way to share partitions out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proto::kafka) enum Assignor {
    Range,
    Cooperative,
}

impl Assignor {
    /// Its name in the protocol.
    pub(in crate::proto::kafka) fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Cooperative => "cooperative-sticky",
        }
    }

    /// The one of this name.
    pub(in crate::proto::kafka) fn of(name: &str) -> Option<Self> {
        [Self::Range, Self::Cooperative].into_iter().find(|one| one.name() == name)
    }

    /// What each member is to have, in the order of `members`, of topics that have so many
    /// partitions.
    pub(super) fn share(
        self,
        members: &[(String, Subscription)],
        counts: &BTreeMap<String, i32>,
    ) -> Vec<Parts> {
        match self {
            Self::Range => range(members, counts),
            Self::Cooperative => Table::new(members, counts).share(),
        }
    }
}

fn range(members: &[(String, Subscription)], counts: &BTreeMap<String, i32>) -> Vec<Parts> {
    let mut shares = vec![Parts::new(); members.len()];
    for (topic, count) in counts {
        let reads = |at: &usize| members[*at].1.topics.contains(topic);
        let mut readers: Vec<usize> = (0..members.len()).filter(reads).collect();
        readers.sort_by_key(|at| &members[*at].0);
        let mut parts = 0..*count;
        for (nth, at) in readers.iter().enumerate() {
            // What is left, shared by who is left; the first ones get one more.
            let left = readers.len() - nth;
            let take = parts.len().div_ceil(left);
            let taken: Vec<i32> = parts.by_ref().take(take).collect();
            if !taken.is_empty() {
                shares[*at].push((topic.clone(), taken));
            }
        }
    }
    shares
}

/// A partition: the number of its topic, and its own.
type Part = (usize, i32);

/// Members and what they have.
struct Table<'t> {
    topics: Vec<&'t str>,
    /// By topic, who reads it.
    readers: Vec<Vec<usize>>,
    /// By topic, whether each member reads it.
    reads: Vec<Vec<bool>>,
    /// Who says that it has a partition: the one with the highest generation first.
    owners: BTreeMap<Part, Vec<usize>>,
    held: Vec<BTreeSet<Part>>,
    all: Vec<Part>,
}

impl<'t> Table<'t> {
    fn new(members: &'t [(String, Subscription)], counts: &'t BTreeMap<String, i32>) -> Self {
        let topics: Vec<&str> = counts.keys().map(String::as_str).collect();
        let mut reads = vec![vec![false; members.len()]; topics.len()];
        let mut owners: BTreeMap<Part, Vec<usize>> = BTreeMap::new();
        for (at, (_, member)) in members.iter().enumerate() {
            for topic in member.topics.iter().filter_map(|name| topics.binary_search(&&**name).ok())
            {
                reads[topic][at] = true;
            }
            for (name, parts) in &member.owned {
                let Ok(topic) = topics.binary_search(&&**name) else { continue };
                let is_there = |part: &&i32| (0..counts[name]).contains(*part);
                for part in parts.iter().filter(is_there) {
                    let owners = owners.entry((topic, *part)).or_default();
                    if !owners.contains(&at) {
                        owners.push(at);
                    }
                }
            }
        }
        for owners in owners.values_mut() {
            owners
                .sort_by_key(|at| (std::cmp::Reverse(members[*at].1.generation), &members[*at].0));
        }
        let readers = reads
            .iter()
            .map(|reads| (0..members.len()).filter(|at| reads[*at]).collect())
            .collect();
        let all = counts.values().enumerate();
        let all = all.flat_map(|(topic, count)| (0..*count).map(move |part| (topic, part)));
        let (held, all) = (vec![BTreeSet::new(); members.len()], all.collect());
        Self { topics, readers, reads, owners, held, all }
    }

    fn share(mut self) -> Vec<Parts> {
        let mut free = Vec::new();
        for part in &self.all {
            let owners = self.owners.get(part).into_iter().flatten();
            match owners.copied().find(|at| self.reads[part.0][*at]) {
                Some(owner) => drop(self.held[owner].insert(*part)),
                None => free.push(*part),
            }
        }
        // Those that few can take come first.
        free.sort_by_key(|part| (self.readers[part.0].len(), *part));
        for part in free {
            let least = self.readers[part.0].iter().min_by_key(|at| (self.held[**at].len(), **at));
            if let Some(least) = least.copied() {
                self.held[least].insert(part);
            }
        }
        let mut steps = ASSIGNOR_STEPS;
        while let Some((from, to, part)) = self.unfair(&mut steps) {
            self.held[from].remove(&part);
            self.held[to].insert(part);
        }
        self.held.iter().enumerate().map(|(at, held)| self.parts(at, held)).collect()
    }

    /// A partition of one that has at least two more than another who could take it.
    fn unfair(&self, steps: &mut usize) -> Option<(usize, usize, Part)> {
        let mut order: Vec<usize> = (0..self.held.len()).collect();
        order.sort_by_key(|at| (self.held[*at].len(), *at));
        for from in order.iter().rev() {
            for to in &order {
                if self.held[*from].len() < self.held[*to].len() + 2 {
                    break;
                }
                for part in self.held[*from].iter().rev() {
                    *steps = steps.checked_sub(1)?;
                    if self.reads[part.0][*to] {
                        return Some((*from, *to, *part));
                    }
                }
            }
        }
        None
    }

    /// What a member is to have now: nothing that another one has.
    fn parts(&self, at: usize, held: &BTreeSet<Part>) -> Parts {
        let mut parts = Parts::new();
        for part in held {
            if self.owners.get(part).is_some_and(|owners| !owners.contains(&at)) {
                continue;
            }
            let topic = self.topics[part.0];
            match parts.last_mut().filter(|(last, _)| last == topic) {
                Some((_, parts)) => parts.push(part.1),
                None => parts.push((topic.to_string(), vec![part.1])),
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests;
