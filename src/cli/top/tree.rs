//! The flow as a tree: parents, and the branches drawn before each name.

use std::collections::HashMap;

use super::text::Glyphs;
use crate::engine::status::NodeStatus;

/// A node's position in the drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The node's index.
    pub(super) node: usize,
    /// The branches before its name.
    pub(super) branches: String,
    /// The nodes it reads from, other than its parent in the tree.
    pub(super) others: Vec<String>,
}

/// All nodes starting at the inputs, each below the first node it reads from.
pub(super) fn places(nodes: &[NodeStatus], glyphs: &Glyphs) -> Vec<Place> {
    let mut below = vec![Vec::new(); nodes.len()];
    let mut tops = Vec::new();
    let mut first = vec![None; nodes.len()];
    let known = by_name(nodes);
    for (number, node) in nodes.iter().enumerate() {
        let found = node.from.iter().find_map(|from| Some((from, *known.get(from.as_str())?)));
        match found {
            Some((from, above)) => {
                below[above].push(number);
                first[number] = Some(from);
            }
            None => tops.push(number),
        }
    }
    let mut places = Vec::new();
    let mut open: Vec<(usize, String, String)> = Vec::new();
    let mut placed = vec![false; nodes.len()];
    // A flow has no cycles; if a snapshot had one, its nodes would still be shown.
    for top in tops.into_iter().chain(0..nodes.len()) {
        open.push((top, String::new(), String::new()));
        while let Some((node, branches, trunks)) = open.pop() {
            if std::mem::replace(&mut placed[node], true) {
                continue;
            }
            for (nth, &child) in below[node].iter().rev().enumerate() {
                let (branch, trunk) = match nth {
                    0 => (glyphs.last, "   "),
                    _ => (glyphs.branch, glyphs.trunk),
                };
                open.push((child, format!("{trunks}{branch}"), format!("{trunks}{trunk}")));
            }
            let others = nodes[node].from.iter().filter(|from| Some(*from) != first[node]);
            let others = if first[node].is_some() { others.cloned().collect() } else { vec![] };
            places.push(Place { node, branches, others });
        }
    }
    places
}

/// Nodes by name; a retired node only if no current one has its name.
fn by_name(nodes: &[NodeStatus]) -> HashMap<&str, usize> {
    let mut known = HashMap::new();
    for retired in [false, true] {
        for (number, node) in nodes.iter().enumerate().filter(|(_, node)| node.retired == retired) {
            known.entry(node.name.as_str()).or_insert(number);
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::super::samples::node;
    use super::super::text::{ASCII, UNICODE};
    use super::*;

    fn drawn(nodes: &[NodeStatus], glyphs: &Glyphs) -> Vec<String> {
        let places = places(nodes, glyphs).into_iter();
        let line = |place: Place| {
            let others: String = place.others.iter().map(|other| format!(" +{other}")).collect();
            format!("{}{}{others}", place.branches, nodes[place.node].name)
        };
        places.map(line).collect()
    }

    #[test]
    fn each_node_stands_once_below_its_first_stream() {
        let nodes = [
            node("squid", "input", &[]),
            node("edge", "input", &[]),
            node("api", "filter", &["squid"]),
            node("mobile", "filter", &["squid", "edge"]),
            node("hub", "output", &["api", "mobile"]),
            node("all", "output", &["squid", "edge"]),
        ];
        let unicode =
            ["squid", "├─ api", "│  └─ hub +mobile", "├─ mobile +edge", "└─ all +edge", "edge"];
        assert_eq!(drawn(&nodes, &UNICODE), unicode);
        let ascii =
            ["squid", "|- api", "|  `- hub +mobile", "|- mobile +edge", "`- all +edge", "edge"];
        assert_eq!(drawn(&nodes, &ASCII), ascii);
    }

    #[test]
    fn nodes_that_a_reload_removed_and_snapshots_without_sense_are_shown_too() {
        let retired = NodeStatus { retired: true, ..node("a", "filter", &["gone", "in"]) };
        let nodes = [retired, node("in", "input", &[]), node("a", "filter", &["in"])];
        assert_eq!(drawn(&nodes, &ASCII), ["in", "|- a +gone", "`- a"]);
        let alone = [node("x", "output", &["gone"])];
        assert_eq!(drawn(&alone, &ASCII), ["x"]);
        let cycle = [node("a", "filter", &["b"]), node("b", "filter", &["a"])];
        assert_eq!(drawn(&cycle, &ASCII), ["a", "`- b"]);
        assert_eq!(drawn(&[node("a", "filter", &["a"])], &ASCII), ["a"]);
    }
}
