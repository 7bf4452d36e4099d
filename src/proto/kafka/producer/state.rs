//! What is kept with the position: who we are to the cluster, and the sequence of the next line in
//! each partition.
//!
//! One line a fact, as text: `cluster ID`, `producer ID EPOCH`, and for each topic
//! `topic NAME ID ASSIGNED SEQUENCE,SEQUENCE,… [PARTITION:LINE …]`, with the sequences of the
//! partitions in their order and then the lines that have none, counted from the position.

use std::collections::VecDeque;

use crate::limits::{PARTITIONS_MAX, TOPICS_MAX};
use crate::proto::kafka::messages::producers::ProducerId;
use crate::proto::kafka::wire::Uuid;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct State {
    pub(super) cluster: Option<String>,
    pub(super) producer: Option<ProducerId>,
    pub(super) topics: Vec<TopicState>,
}

/// What is kept of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicState {
    pub(super) name: String,
    pub(super) id: Uuid,
    /// How many lines were assigned before the position, or the hash of all.
    pub(super) assigned: u64,
    /// For each partition the sequence of its first line behind the position.
    pub(super) bases: Vec<u64>,
    /// Lines without a sequence: the partition, and the line counted from the position.
    pub(super) left_out: Vec<(usize, u64)>,
}

impl TopicState {
    /// The lines without a sequence in a partition, in order.
    pub(super) fn left_out_of(&self, partition: usize) -> VecDeque<u64> {
        let of = self.left_out.iter().filter(|(at, _)| *at == partition);
        let mut lines: Vec<_> = of.map(|(_, line)| *line).collect();
        lines.sort_unstable();
        lines.into()
    }
}

impl State {
    /// As it is kept.
    pub(super) fn encode(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(cluster) = &self.cluster {
            notes.push(format!("cluster {cluster}"));
        }
        if let Some(ProducerId { id, epoch }) = self.producer {
            notes.push(format!("producer {id} {epoch}"));
        }
        for topic in &self.topics {
            let bases: Vec<_> = topic.bases.iter().map(u64::to_string).collect();
            let TopicState { name, id, assigned, .. } = topic;
            let mut note = format!("topic {name} {:032x} {assigned} {}", id.0, bases.join(","));
            for (partition, line) in &topic.left_out {
                note += &format!(" {partition}:{line}");
            }
            notes.push(note);
        }
        notes
    }

    /// Reads what was kept; `None` where it is not ours.
    pub(super) fn decode(notes: &[String]) -> Option<Self> {
        let mut state = Self::default();
        let mut partitions = 0;
        for note in notes {
            let (kind, rest) = note.split_once(' ')?;
            match kind {
                "cluster" => state.cluster = Some(rest.into()),
                "producer" => {
                    let (id, epoch) = rest.split_once(' ')?;
                    let producer = ProducerId { id: id.parse().ok()?, epoch: epoch.parse().ok()? };
                    state.producer = Some(producer);
                }
                "topic" => {
                    let topic = topic(rest)?;
                    partitions += topic.bases.len();
                    state.topics.push(topic);
                }
                _ => return None,
            }
        }
        let in_bounds = partitions <= PARTITIONS_MAX && state.topics.len() <= TOPICS_MAX;
        (in_bounds && state.producer.is_some()).then_some(state)
    }
}

fn topic(note: &str) -> Option<TopicState> {
    let mut words = note.split(' ');
    let name = words.next()?.to_string();
    let id = Uuid(u128::from_str_radix(words.next()?, 16).ok()?);
    let assigned = words.next()?.parse().ok()?;
    let bases =
        words.next()?.split(',').map(|base| base.parse().ok().filter(|b: &u64| b >> 62 == 0));
    let bases = bases.collect::<Option<Vec<u64>>>()?;
    let left_out = |word: &str| {
        let (partition, line) = word.split_once(':')?;
        let line: u64 = line.parse().ok().filter(|line: &u64| line >> 62 == 0)?;
        Some((partition.parse().ok().filter(|p: &usize| *p < bases.len())?, line))
    };
    let left_out = words.map(left_out).collect::<Option<Vec<_>>>()?;
    Some(TopicState { name, id, assigned, bases, left_out })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_anything_else_is_refused() {
        let topic = TopicState {
            name: "web-su".into(),
            id: Uuid(77),
            assigned: 1 << 40,
            bases: vec![0, 1 << 33, 5],
            left_out: vec![(1, 8), (1, 3)],
        };
        let state = State {
            cluster: Some("AAAAAAAAAAAAAAAAAAAAAQ".into()),
            producer: Some(ProducerId { id: 9000, epoch: 2 }),
            topics: vec![topic],
        };
        let notes = state.encode();
        assert_eq!(State::decode(&notes), Some(state.clone()));
        assert_eq!(state.topics[0].left_out_of(1), [3, 8]);
        for bad in ["topic t", "topic t 0 0 x", "topic t 0 0 1 4:2", "other 1", "producer 1"] {
            let notes = vec!["producer 1 0".to_string(), bad.to_string()];
            assert_eq!(State::decode(&notes), None, "{bad}");
        }
        assert_eq!(State::decode(&[]), None);
    }
}
