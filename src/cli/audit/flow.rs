//! The order of the flow over all hosts: which output's lines go to which input.
//!
//! An output and an input belong together if they name the same port, or the same topic. Where
//! several inputs have that port, the host's name decides; of a topic all its readers have the
//! lines ([`super::readers`]).

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::place::Place;
use super::readers;
use super::store::{About, NodeKey, Store};

/// An output and an input that the user joins.
#[derive(Debug, Clone)]
pub(super) struct Join {
    output: NodeKey,
    input: NodeKey,
}

impl FromStr for Join {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = |text: &str| {
            let (host, node) = text.split_once('/')?;
            (!host.is_empty() && !node.is_empty())
                .then(|| NodeKey { host: host.into(), node: node.into() })
        };
        let parts = text.split_once('=').and_then(|(o, i)| Some((key(o)?, key(i)?)));
        let (output, input) = parts.ok_or("must be HOST/OUTPUT=HOST/INPUT")?;
        Ok(Self { output, input })
    }
}

/// The nodes in the order of the flow.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) order: Vec<NodeKey>,
    pub(super) about: BTreeMap<NodeKey, About>,
    /// The outputs of other hosts that send to an input. All inputs that share their lines have the
    /// same list.
    senders: BTreeMap<NodeKey, Vec<NodeKey>>,
    /// The inputs that share lines with an input, itself included.
    siblings: BTreeMap<NodeKey, Vec<NodeKey>>,
    notes: Vec<String>,
}

/// Returns whether a destination's host is this one.
fn is_host(destination: &str, host: &str) -> bool {
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_string();
    destination == host
        || destination.parse::<std::net::IpAddr>().is_err() && label(destination) == label(host)
}

fn ports(about: &About) -> Vec<(String, String)> {
    match about.at.as_deref().and_then(Place::of) {
        Some(Place::Ports(ports)) => ports,
        _ => Vec::new(),
    }
}

impl Flow {
    /// Finds it.
    ///
    /// # Errors
    /// A join names a node that no line is about.
    pub(super) fn of(store: &Store, joins: &[Join]) -> anyhow::Result<Self> {
        let mut flow = Self { about: store.nodes.clone(), ..Self::default() };
        let mut links: BTreeSet<(NodeKey, NodeKey)> = BTreeSet::new();
        for Join { output, input } in joins {
            for key in [output, input] {
                if !store.nodes.contains_key(key) {
                    anyhow::bail!("--join: no line is about {}/{}", key.host, key.node);
                }
            }
            links.insert((output.clone(), input.clone()));
        }
        let is_open =
            |key: &NodeKey| joins.iter().all(|join| join.output != *key && join.input != *key);
        let outputs = store.nodes.iter().filter(|(_, about)| about.kind == "output");
        for (key, about) in outputs.filter(|(key, _)| is_open(key)) {
            let found = flow.inputs_of(key, about);
            links.extend(found.into_iter().map(|input| (key.clone(), input)));
        }
        flow.group(&links);
        let (sets, notes) = readers::of_topics(&flow.about, is_open);
        flow.notes.extend(notes);
        for set in sets {
            flow.enter(set.outputs, &set.inputs);
        }
        flow.sort();
        Ok(flow)
    }

    /// The inputs of other hosts at whose ports an output sends.
    fn inputs_of(&mut self, output: &NodeKey, about: &About) -> Vec<NodeKey> {
        let mut found = Vec::new();
        for (destination, port) in ports(about) {
            let is_other = |key: &NodeKey| key.host != output.host;
            let has_port = |about: &About| {
                about.kind == "input" && ports(about).iter().any(|(_, other)| *other == port)
            };
            let nodes = self.about.iter().filter(|(key, about)| is_other(key) && has_port(about));
            let candidates: Vec<_> = nodes.map(|(key, _)| key.clone()).collect();
            let named: Vec<_> =
                candidates.iter().filter(|key| is_host(&destination, &key.host)).cloned().collect();
            match (named.is_empty(), candidates.len()) {
                (false, _) => found.extend(named),
                (true, 0) => {}
                (true, 1) => found.extend(candidates),
                (true, count) => self.notes.push(format!(
                    "{}/{} sends to {destination}:{port}, and {count} hosts have such an input: \
                     say which by --join",
                    output.host, output.node
                )),
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Puts outputs and inputs together that exchange lines, directly or through others.
    fn group(&mut self, links: &BTreeSet<(NodeKey, NodeKey)>) {
        let mut left: BTreeSet<_> = links.clone();
        while let Some((output, input)) = left.pop_first() {
            let (mut outputs, mut inputs) = (BTreeSet::from([output]), BTreeSet::from([input]));
            loop {
                let more: Vec<_> = left
                    .iter()
                    .filter(|(output, input)| outputs.contains(output) || inputs.contains(input))
                    .cloned()
                    .collect();
                if more.is_empty() {
                    break;
                }
                for link in more {
                    left.remove(&link);
                    outputs.insert(link.0);
                    inputs.insert(link.1);
                }
            }
            self.enter(outputs, &inputs);
        }
    }

    /// Enters inputs that share the lines of these outputs.
    fn enter(&mut self, outputs: BTreeSet<NodeKey>, inputs: &BTreeSet<NodeKey>) {
        let outputs: Vec<_> = outputs.into_iter().collect();
        for input in inputs {
            self.senders.insert(input.clone(), outputs.clone());
            self.siblings.insert(input.clone(), inputs.iter().cloned().collect());
        }
    }

    /// The nodes whose lines a node gets: those of its host, or the outputs that send to it.
    pub(super) fn upstream(&self, key: &NodeKey) -> Vec<NodeKey> {
        if let Some(senders) = self.senders.get(key) {
            return senders.clone();
        }
        let from = self.about.get(key).into_iter().flat_map(|about| &about.from);
        let keys = from.map(|node| NodeKey { host: key.host.clone(), node: node.clone() });
        keys.collect()
    }

    /// The inputs that share lines with this one, itself included.
    pub(super) fn siblings(&self, input: &NodeKey) -> &[NodeKey] {
        self.siblings.get(input).map_or(&[], Vec::as_slice)
    }

    /// Each node after all that it gets lines from; a circle is cut.
    fn sort(&mut self) {
        let mut depths: BTreeMap<NodeKey, usize> = BTreeMap::new();
        for key in self.about.keys() {
            self.depth(key, &mut depths, 0);
        }
        let mut order: Vec<_> = self.about.keys().cloned().collect();
        // A host's nodes stay together, behind the hosts that send to it.
        let first = |host: &str| {
            let of_host = depths.iter().filter(|(key, _)| key.host == host);
            of_host.map(|(_, depth)| *depth).max().unwrap_or(0)
        };
        order.sort_by_cached_key(|key| {
            (first(&key.host), key.host.clone(), depths[key], key.clone())
        });
        self.order = order;
    }

    fn depth(&self, key: &NodeKey, depths: &mut BTreeMap<NodeKey, usize>, level: usize) -> usize {
        if let Some(depth) = depths.get(key) {
            return *depth;
        }
        // No flow is that deep: it runs in a circle.
        if level > 64 {
            return 0;
        }
        let above = self.upstream(key).into_iter().filter(|other| self.about.contains_key(other));
        let above: Vec<_> = above.collect();
        let deepest = above.iter().map(|other| self.depth(other, depths, level + 1) + 1).max();
        let depth = deepest.unwrap_or(0);
        depths.insert(key.clone(), depth);
        depth
    }

    /// What is not clear.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(nodes: &[(&str, &str, &str, &str, &str)]) -> Store {
        let mut store = Store::default();
        for (host, node, kind, from, at) in nodes {
            let key = NodeKey { host: host.to_string(), node: node.to_string() };
            let from = from.split_whitespace().map(str::to_string).collect();
            let at = Some(at.to_string()).filter(|at| !at.is_empty());
            store.nodes.insert(key, About { kind: kind.to_string(), from, at });
        }
        store
    }

    fn senders<'f>(flow: &'f Flow, input: &NodeKey) -> &'f [NodeKey] {
        flow.senders.get(input).map_or(&[], Vec::as_slice)
    }

    fn order(flow: &Flow) -> Vec<String> {
        flow.order.iter().map(|key| format!("{}/{}", key.host, key.node)).collect()
    }

    #[test]
    fn hosts_stand_in_the_order_of_the_flow_whatever_their_names() {
        let store = store(&[
            ("a", "edge", "input", "", "relp 0.0.0.0:2514"),
            ("a", "file", "output", "edge", "file /x"),
            (
                "z1",
                "hub",
                "output",
                "hub.spool",
                "forward failover relp://a.example.org:2514 relp://b:2514",
            ),
            ("z1", "hub.spool", "spool", "squid", ""),
            ("z1", "squid", "input", "", "udp 0.0.0.0:8420"),
            ("z2", "hub", "output", "", "forward relp://127.0.0.1:2514"),
        ]);
        let flow = Flow::of(&store, &[]).unwrap();
        let wanted = ["z2/hub", "z1/squid", "z1/hub.spool", "z1/hub", "a/edge", "a/file"];
        assert_eq!(order(&flow), wanted);
        let edge = NodeKey { host: "a".into(), node: "edge".into() };
        let senders: Vec<_> = senders(&flow, &edge).iter().map(|key| key.host.as_str()).collect();
        assert_eq!(senders, ["z1", "z2"]);
        assert!(flow.notes().is_empty());
    }

    #[test]
    fn where_addresses_do_not_tell_the_user_is_asked_and_a_topic_tells() {
        let nodes = [
            ("e", "out", "output", "", "forward relp://10.0.0.1:2514"),
            ("h1", "in", "input", "", "relp 0.0.0.0:2514"),
            ("h2", "in", "input", "", "relp 0.0.0.0:2514"),
            ("h1", "web", "output", "in", "topic web on k1:9092"),
            ("f", "web", "input", "", "topic web on k2:9092"),
        ];
        let flow = Flow::of(&store(&nodes), &[]).unwrap();
        assert_eq!(flow.notes().len(), 1, "{:?}", flow.notes());
        let key = |host: &str, node: &str| NodeKey { host: host.into(), node: node.into() };
        assert_eq!(senders(&flow, &key("f", "web")), [key("h1", "web")]);
        assert!(senders(&flow, &key("h2", "in")).is_empty());
        let flow = Flow::of(&store(&nodes), &["e/out=h2/in".parse().unwrap()]).unwrap();
        assert_eq!(senders(&flow, &key("h2", "in")), [key("e", "out")]);
        assert!(flow.notes().is_empty());
        assert!(Flow::of(&store(&nodes), &["e/out=h3/in".parse().unwrap()]).is_err());
        assert!("e=h".parse::<Join>().is_err());
    }
}
