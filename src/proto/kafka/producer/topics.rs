//! The topics that an output writes to, and their partitions.

use std::collections::{HashMap, VecDeque};

use super::assign;
use super::chunk::Chunk;
use super::partition::{Partition, Phase};
use super::state::TopicState;
use crate::limits::{PARTITIONS_MAX, TOPICS_MAX};
use crate::proto::kafka::cluster::View;
use crate::proto::kafka::messages::errors;
use crate::proto::kafka::wire::Uuid;

/// A topic whose partitions are known.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) id: Uuid,
    /// How many lines were assigned; or, where all go to one partition, the hash that chooses it.
    pub(super) assigned: u64,
    /// The same at the position.
    pub(super) passed: u64,
    pub(super) partitions: Vec<Partition>,
    /// It has so many partitions now; they are used once all lines that were taken are completed.
    pub(super) grows_to: Option<usize>,
}

/// All topics.
#[derive(Debug, Default)]
pub(super) struct Topics {
    pub(super) known: Vec<Topic>,
    places: HashMap<String, usize>,
    /// Topics that lines wait for.
    pub(super) missing: Vec<String>,
    /// The hash of all lines, where they go to one partition.
    sticky: Option<u64>,
    /// The topic for lines that would need one too many.
    common: String,
    /// The parts of the piece that is being assigned: topic, partition, lines.
    pub(super) parts: Vec<(usize, usize, u64)>,
}

impl Topics {
    pub(super) fn new(sticky: Option<u64>, common: String) -> Self {
        Self { sticky, common, ..Self::default() }
    }

    pub(super) fn partition_mut(
        &mut self,
        topic: usize,
        partition: usize,
    ) -> Option<&mut Partition> {
        self.known.get_mut(topic)?.partitions.get_mut(partition)
    }

    /// The place of a topic.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// All partitions with their places.
    pub(super) fn all(&self) -> impl Iterator<Item = (usize, usize, &Partition)> {
        self.known.iter().enumerate().flat_map(|(topic, known)| {
            known.partitions.iter().enumerate().map(move |(at, partition)| (topic, at, partition))
        })
    }

    /// All partitions.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Partition> {
        self.known.iter_mut().flat_map(|topic| topic.partitions.iter_mut())
    }

    /// Enters a topic that was kept with the position.
    pub(super) fn restore(&mut self, state: &TopicState) {
        let partition = |(at, base): (usize, &u64)| {
            let phase = Phase::Unknown { start: true };
            Partition::new(index(at), *base, state.left_out_of(at), phase)
        };
        let partitions = state.bases.iter().enumerate().map(partition).collect();
        self.enter(state.name.clone(), state.id, state.assigned, partitions);
    }

    /// Enters a topic that is new to the output.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn begin(&mut self, name: &str, view: &View, phase: Phase) -> Result<(), String> {
        let before: usize = self.known.iter().map(|topic| topic.partitions.len()).sum();
        let count = view.leaders.len();
        if before + count > PARTITIONS_MAX {
            return Err(format!(
                "topic {name}: with its {count} partitions this output would have more than \
                 {PARTITIONS_MAX}"
            ));
        }
        let partition = |at| Partition::new(index(at), 0, VecDeque::new(), phase);
        let partitions = (0..count).map(partition).collect();
        self.enter(name.into(), view.id, self.sticky.unwrap_or(0), partitions);
        Ok(())
    }

    fn enter(&mut self, name: String, id: Uuid, assigned: u64, partitions: Vec<Partition>) {
        self.places.insert(name.clone(), self.known.len());
        let passed = assigned;
        self.known.push(Topic { name, id, assigned, passed, partitions, grows_to: None });
    }

    /// Takes in what the cluster says of a topic that lines wait for. Returns whether there is a
    /// new topic.
    ///
    /// # Errors
    /// Why it cannot be used now.
    pub(super) fn resolve(
        &mut self,
        name: &str,
        view: &View,
        phase: Phase,
    ) -> Result<bool, String> {
        if view.error != errors::NONE || view.leaders.is_empty() {
            return Err(format!("topic {name}: {}", errors::describe(view.error)));
        }
        self.missing.retain(|missing| missing != name);
        if self.find(name).is_some() {
            return Ok(false);
        }
        self.begin(name, view, phase)?;
        Ok(true)
    }

    /// Lines of a piece are completed: so many of this partition.
    pub(super) fn pass(&mut self, topic: usize, partition: usize, lines: u64) {
        let is_sticky = self.sticky.is_some();
        let Some(topic) = self.known.get_mut(topic) else { return };
        if !is_sticky {
            topic.passed += lines;
        }
        if let Some(partition) = topic.partitions.get_mut(partition) {
            partition.pass(lines);
        }
    }

    /// What is kept of them.
    pub(super) fn state(&self) -> Vec<TopicState> {
        let topic = |topic: &Topic| TopicState {
            name: topic.name.clone(),
            id: topic.id,
            assigned: topic.passed,
            bases: topic.partitions.iter().map(|partition| partition.base).collect(),
            left_out: topic
                .partitions
                .iter()
                .enumerate()
                .flat_map(|(at, partition)| partition.left_out().map(move |line| (at, line)))
                .collect(),
        };
        self.known.iter().map(topic).collect()
    }
}

/// The number of a partition by its place.
pub(super) fn index(at: usize) -> i32 {
    i32::try_from(at).unwrap_or(i32::MAX)
}

impl assign::Topics for Topics {
    fn place(&mut self, name: &str) -> Option<usize> {
        let place = self.find(name);
        if place.is_some() {
            return place;
        }
        let full = self.known.len() + self.missing.len() >= TOPICS_MAX;
        let name =
            if full && !self.missing.iter().any(|m| m == name) { &self.common } else { name };
        let place = self.find(name);
        if place.is_none() && !self.missing.iter().any(|missing| missing == name) {
            self.missing.push(name.to_string());
        }
        place
    }

    fn partitions(&self, topic: usize) -> u32 {
        u32::try_from(self.known[topic].partitions.len()).unwrap_or(u32::MAX)
    }

    fn assigned(&self, topic: usize) -> u64 {
        self.known[topic].assigned
    }

    fn put(&mut self, topic: usize, partition: u32, chunk: Chunk) {
        let partition = partition as usize;
        let lines = u64::from(chunk.count);
        match self.parts.last_mut() {
            Some((t, p, before)) if (*t, *p) == (topic, partition) => *before += lines,
            _ => self.parts.push((topic, partition, lines)),
        }
        let topic = &mut self.known[topic];
        if self.sticky.is_none() {
            topic.assigned += lines;
        }
        topic.partitions[partition].put(chunk);
    }
}
