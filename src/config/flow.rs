//! The flow: which node reads from which, without cycles, in an order to build it in.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use toml::Spanned;

use super::plan::{BodyPlan, Kind, NodePlan, SelectPlan, SpoolPlan};
use crate::settings::diagnostic::shown;
use crate::settings::{Report, Section, nearest};

/// A node as far as it could be parsed.
pub(super) struct Draft<'t> {
    /// The name the user chose.
    pub(super) name: &'t str,
    /// The kind of its table.
    pub(super) kind: Kind,
    /// Its table.
    pub(super) section: Section<'t>,
    /// The names in `from`; `None` if the key is absent.
    pub(super) from: Option<Vec<Spanned<&'t str>>>,
    /// Its selectors.
    pub(super) select: SelectPlan,
    /// Its `squeeze`.
    pub(super) squeeze: Option<Duration>,
    /// Its body; `None` if that was refused.
    pub(super) body: Option<BodyPlan>,
    /// The spool of an output that has one of its own.
    pub(super) own_spool: Option<SpoolPlan>,
}

/// The suffix of the name of an output's own spool.
pub(super) const OWN_SPOOL: &str = ".spool";

/// All nodes, in file order, with the nodes each reads from.
pub(super) struct Flow<'t> {
    /// The nodes.
    pub(super) drafts: Vec<Draft<'t>>,
    /// For each node, the nodes it reads from.
    pub(super) from: Vec<Vec<usize>>,
    /// All nodes, each after those it reads from; fewer if there are cycles.
    pub(super) order: Vec<usize>,
}

impl<'t> Flow<'t> {
    /// Resolves every `from`, and reports unknown names and cycles.
    pub(super) fn new(drafts: Vec<Draft<'t>>, report: &mut Report<'_>) -> Self {
        let index = index(&drafts, report);
        let inputs: Vec<usize> = indexes(&drafts, Kind::Input);
        let from: Vec<_> = drafts
            .iter()
            .map(|draft| match &draft.from {
                _ if draft.kind == Kind::Input => Vec::new(),
                Some(names) => resolve(draft, names, &index, &drafts, report),
                None => inputs.clone(),
            })
            .collect();
        let order = order(&drafts, &from);
        let flow = Self { drafts, from, order };
        flow.report_cycles(report);
        flow
    }

    /// The names of the first `max` inputs whose lines reach this node.
    pub(super) fn inputs_behind(&self, node: usize, max: usize) -> Vec<&'t str> {
        let mut seen = HashSet::from([node]);
        let mut open = vec![node];
        let mut names = Vec::new();
        while let Some(at) = open.pop() {
            if self.drafts[at].kind == Kind::Input {
                names.push(self.drafts[at].name);
                if names.len() == max {
                    break;
                }
            }
            open.extend(self.from[at].iter().rev().filter(|&&before| seen.insert(before)));
        }
        names
    }

    /// The nodes as the plan holds them; `None` if one could not be read. An output with its own
    /// spool becomes two nodes: the spool, which reads and selects in its place, and the output,
    /// which reads from the spool.
    pub(super) fn into_nodes(self) -> Option<Vec<NodePlan>> {
        let names: Vec<_> = self.drafts.iter().map(|draft| draft.name).collect();
        let mut nodes = Vec::new();
        for &node in &self.order {
            let draft = &self.drafts[node];
            let mut from = self.from[node].iter().map(|&before| names[before].into()).collect();
            let mut select = draft.select.clone();
            if let Some(spool) = &draft.own_spool {
                let name = format!("{}{OWN_SPOOL}", draft.name);
                let body = BodyPlan::Spool(spool.clone());
                let select = std::mem::take(&mut select);
                let from = std::mem::replace(&mut from, vec![name.clone()]);
                nodes.push(NodePlan { name, from, select, squeeze: None, body });
            }
            nodes.push(NodePlan {
                name: draft.name.into(),
                from,
                select,
                squeeze: draft.squeeze,
                body: draft.body.clone()?,
            });
        }
        (self.order.len() == names.len()).then_some(nodes)
    }

    fn report_cycles(&self, report: &mut Report<'_>) {
        let mut done = vec![false; self.drafts.len()];
        for &node in &self.order {
            done[node] = true;
        }
        // The remaining nodes are in a cycle or downstream of one: going from node to node
        // upstream must return to a node already seen.
        let mut seen_by = vec![usize::MAX; self.drafts.len()];
        for start in 0..self.drafts.len() {
            let mut walk = Vec::new();
            let mut at = start;
            while !done[at] && seen_by[at] == usize::MAX {
                seen_by[at] = start;
                walk.push(at);
                let Some(&before) = self.from[at].iter().find(|before| !done[**before]) else {
                    break;
                };
                at = before;
            }
            if !walk.is_empty() && seen_by[at] == start {
                let first = walk.iter().position(|node| *node == at).unwrap_or(0);
                self.report_cycle(&walk[first..], report);
            }
        }
    }

    /// Reports a cycle; `cycle` runs upstream.
    fn report_cycle(&self, cycle: &[usize], report: &mut Report<'_>) {
        let Some(&first) = cycle.iter().min() else { return };
        let mut way: Vec<usize> = cycle.iter().rev().copied().collect();
        let at = way.iter().position(|node| *node == first).unwrap_or(0);
        way.rotate_left(at);
        way.push(first);
        let names: Vec<_> = way.iter().map(|&node| shown(self.drafts[node].name)).collect();
        let draft = &self.drafts[first];
        let key = format!("{}.from", draft.section.path);
        let message = format!("the flow has a cycle: {}", names.join(" → "));
        report.error(draft.section.place("from"), &key, message);
    }
}

/// The indexes of the nodes of one kind.
pub(super) fn indexes(drafts: &[Draft<'_>], kind: Kind) -> Vec<usize> {
    (0..drafts.len()).filter(|&node| drafts[node].kind == kind).collect()
}

fn index<'t>(drafts: &[Draft<'t>], report: &mut Report<'_>) -> HashMap<&'t str, usize> {
    let mut index = HashMap::new();
    for (node, draft) in drafts.iter().enumerate() {
        let first = *index.entry(draft.name).or_insert(node);
        if first != node {
            let other: &Section<'_> = &drafts[first].section;
            let line = report.line(&other.span, &draft.section.span);
            let message = format!("the name is taken by [{}] on {line}", other.path);
            let finding = report.error(&draft.section.span, &draft.section.path, message);
            finding.label(&other.span, "named here first");
        }
    }
    index
}

fn resolve(
    draft: &Draft<'_>,
    names: &[Spanned<&str>],
    index: &HashMap<&str, usize>,
    drafts: &[Draft<'_>],
    report: &mut Report<'_>,
) -> Vec<usize> {
    let key = format!("{}.from", draft.section.path);
    if names.is_empty() {
        let message = "names no node: leave `from` out to take from every input";
        report.error(draft.section.place("from"), &key, message);
    }
    let mut from = Vec::new();
    for name in names {
        let (span, name) = (name.span(), *name.get_ref());
        let Some(&node) = index.get(name) else {
            let message = format!("there is no node `{}`", shown(name));
            let givers = drafts.iter().filter(|d| d.kind != Kind::Output && d.name != draft.name);
            let finding = report.error(&span, &key, message);
            if let Some(help) = nearest(name, givers.map(|draft| draft.name)) {
                finding.help(help);
            }
            continue;
        };
        if drafts[node].kind == Kind::Output {
            let message = format!("`{name}` is an output: nothing can read from it");
            let finding = report.error(&span, &key, message);
            finding.label(&drafts[node].section.span, "the output");
        } else if from.contains(&node) {
            let first = names.iter().find(|first| *first.get_ref() == name);
            let first = first.map_or_else(|| span.clone(), Spanned::span);
            let finding = report.error(&span, &key, format!("names `{name}` twice"));
            finding.label(&first, "named here first");
        } else {
            from.push(node);
        }
    }
    from
}

/// Inputs first, then every node after all nodes it reads from, in file order.
fn order(drafts: &[Draft<'_>], from: &[Vec<usize>]) -> Vec<usize> {
    let mut takers = vec![Vec::new(); drafts.len()];
    let mut missing: Vec<usize> = from.iter().map(Vec::len).collect();
    for (node, befores) in from.iter().enumerate() {
        for &before in befores {
            takers[before].push(node);
        }
    }
    let rank = |node: usize| Reverse((drafts[node].kind != Kind::Input, node));
    let ready = (0..drafts.len()).filter(|&node| missing[node] == 0);
    let mut ready: BinaryHeap<_> = ready.map(rank).collect();
    let mut order = Vec::with_capacity(drafts.len());
    while let Some(Reverse((_, node))) = ready.pop() {
        order.push(node);
        for &taker in &takers[node] {
            missing[taker] -= 1;
            if missing[taker] == 0 {
                ready.push(rank(taker));
            }
        }
    }
    order
}
