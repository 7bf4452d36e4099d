//! The readers of topics: which inputs share a topic's lines, and which outputs write them.
//!
//! The members of a group share the lines, and so do inputs that read different partitions. Any
//! other two inputs each get all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::place::{Place, Topics};
use super::store::{About, NodeKey};

/// Inputs that share lines, and the outputs that write them.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub(super) inputs: BTreeSet<NodeKey>,
    pub(super) outputs: BTreeSet<NodeKey>,
    /// The topics of each of the inputs.
    topics: Vec<Topics>,
}

impl Set {
    /// Returns whether an input shares the lines of these.
    fn has_share_for(&self, topics: &Topics, outputs: &BTreeSet<NodeKey>) -> bool {
        let shares = |other: &Topics| match (&other.group, &topics.group) {
            (Some(group), Some(same)) => group == same,
            (None, None) => other.names == topics.names && other.is_apart_from(topics),
            _ => false,
        };
        !self.outputs.is_disjoint(outputs) && self.topics.iter().all(shares)
    }
}

/// The nodes of a kind that have topics.
fn with_topics(
    nodes: &BTreeMap<NodeKey, About>,
    kind: &str,
    is_open: impl Fn(&NodeKey) -> bool,
) -> Vec<(NodeKey, Topics)> {
    let of_kind = nodes.iter().filter(|(key, about)| about.kind == kind && is_open(key));
    let found = of_kind.filter_map(|(key, about)| match Place::of(about.at.as_deref()?)? {
        Place::Topics(topics) => Some((key.clone(), topics)),
        Place::Ports(_) => None,
    });
    found.collect()
}

/// All sets, of the nodes that are `is_open` to be joined, and what is not clear.
pub(super) fn of_topics(
    nodes: &BTreeMap<NodeKey, About>,
    is_open: impl Fn(&NodeKey) -> bool,
) -> (Vec<Set>, Vec<String>) {
    let outputs = with_topics(nodes, "output", &is_open);
    let inputs = with_topics(nodes, "input", &is_open);
    let clusters = Clusters::of(outputs.iter().chain(&inputs).map(|(_, topics)| topics));
    let (mut sets, mut notes): (Vec<Set>, Vec<String>) = (Vec::new(), Vec::new());
    for (input, topics) in inputs {
        let writers: Vec<_> = outputs.iter().filter(|(_, own)| own.reach(&topics)).collect();
        let cluster = clusters.find(&topics);
        let is_here = |own: &Topics| clusters.find(own) == cluster;
        // Where all writers are of one cluster, it is this one, by whatever name.
        let is_one = writers.windows(2).all(|two| {
            let [(_, one), (_, other)] = two else { return true };
            clusters.find(one) == clusters.find(other)
        });
        let writers = writers.into_iter().filter(|(_, own)| is_one || is_here(own));
        let writers: BTreeSet<_> = writers.map(|(key, _)| key.clone()).collect();
        if writers.is_empty() {
            if !is_one {
                notes.push(format!(
                    "{}/{} reads what several clusters have, and enters its own by none of their \
                     hosts: say who writes it by --join",
                    input.host, input.node
                ));
            }
            continue;
        }
        let at = sets.iter().position(|set| set.has_share_for(&topics, &writers));
        let at = at.unwrap_or_else(|| {
            sets.push(Set::default());
            sets.len() - 1
        });
        let set = &mut sets[at];
        set.inputs.insert(input);
        set.outputs.extend(writers);
        set.topics.push(topics);
    }
    (sets, notes)
}

/// Which hosts belong to one cluster: those that are named together.
struct Clusters(BTreeMap<String, usize>);

impl Clusters {
    fn of<'t>(all: impl Iterator<Item = &'t Topics>) -> Self {
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        for (number, topics) in all.enumerate() {
            let met = topics.hosts.iter().filter_map(|host| numbers.get(host).copied());
            let met: BTreeSet<_> = met.collect();
            numbers.values_mut().filter(|one| met.contains(one)).for_each(|one| *one = number);
            numbers.extend(topics.hosts.iter().map(|host| (host.clone(), number)));
        }
        Self(numbers)
    }

    fn find(&self, topics: &Topics) -> Option<usize> {
        topics.hosts.first().and_then(|host| self.0.get(host)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> NodeKey {
        let (host, node) = name.split_once('/').unwrap();
        NodeKey { host: host.into(), node: node.into() }
    }

    /// The sets of nodes, each with a description: inputs, and after `<` the outputs.
    fn sets(nodes: &[(&str, &str)]) -> (Vec<String>, usize) {
        let about = |name: &str, at: &str| {
            let kind = if name.ends_with("/out") { "output" } else { "input" };
            (key(name), About { kind: kind.into(), from: Vec::new(), at: Some(at.into()) })
        };
        let nodes = nodes.iter().map(|(name, at)| about(name, at)).collect();
        let (sets, notes) = of_topics(&nodes, |_| true);
        let names = |keys: &BTreeSet<NodeKey>| {
            keys.iter().map(|key| key.host.clone() + " ").collect::<String>()
        };
        let shown = sets.iter().map(|set| names(&set.inputs) + "< " + names(&set.outputs).trim());
        (shown.collect(), notes.len())
    }

    #[test]
    fn members_of_a_group_share_the_lines_and_groups_do_not() {
        let nodes = [
            ("hub1/out", "kafka web on k1:9092 k2:9092"),
            ("hub2/out", "kafka web on k2:9092"),
            ("f1/web", "kafka web on k1:9092 in group filters"),
            ("f2/web", "kafka web on k2:9092 in group filters"),
            ("x/web", "kafka web on k1:9092 in group others"),
            ("y/web", "kafka web on k1:9092"),
            ("z/web", "kafka web on k1:9092"),
            ("q/web", "kafka other on k1:9092"),
        ];
        let expected = ["f1 f2 < hub1 hub2", "x < hub1 hub2", "y < hub1 hub2", "z < hub1 hub2"];
        assert_eq!(sets(&nodes), (expected.map(str::to_string).to_vec(), 0));
    }

    #[test]
    fn readers_of_different_partitions_share_the_lines() {
        let nodes = [
            ("hub/out", "kafka web-{app} on k:9092"),
            ("a/web", "kafka web-x on k:9092 partitions 0-2"),
            ("b/web", "kafka web-x on k:9092 partitions 3 5"),
            ("c/web", "kafka web-x on k:9092 partitions 2-3"),
            ("d/web", "kafka web-x on k:9092 partitions 4"),
        ];
        let expected = ["a b d < hub", "c < hub"];
        assert_eq!(sets(&nodes), (expected.map(str::to_string).to_vec(), 0));
    }

    #[test]
    fn a_topic_of_two_clusters_is_two_topics() {
        let mut nodes = vec![
            ("hub1/out", "kafka web on k1:9092"),
            ("hub2/out", "kafka web on m1:9092"),
            ("a/web", "kafka web on k1:9092 k2:9092 in group g"),
            ("b/web", "kafka web on m1:9092 in group g"),
        ];
        let expected = ["a < hub1", "b < hub2"];
        assert_eq!(sets(&nodes), (expected.map(str::to_string).to_vec(), 0));
        nodes.push(("c/web", "kafka web on n:9092 in group g"));
        assert_eq!(sets(&nodes).1, 1);
        // With one cluster, its other name is no obstacle.
        nodes.remove(1);
        nodes.remove(2);
        let expected = ["a c < hub1"];
        assert_eq!(sets(&nodes), (expected.map(str::to_string).to_vec(), 0));
    }
}
