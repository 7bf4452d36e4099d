//! The rows of the table: which nodes, in which order, with which label.

use super::model::{Key, Model, Sort, View, order};
use super::text::Glyphs;
use super::tree;

/// A row.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// Its node.
    pub(super) view: View<'a>,
    /// The node's name, with its branches and the other streams it takes where rows are a tree.
    pub(super) label: String,
}

/// The rows whose names hold `filter`. In the order of the flow all of them are a tree.
pub(super) fn rows<'a>(
    model: &'a Model,
    sort: Sort,
    filter: &str,
    glyphs: &Glyphs,
) -> Vec<Row<'a>> {
    let views = model.views();
    let places = tree::places(&model.status().nodes, glyphs);
    let wanted = filter.to_lowercase();
    let is_tree = sort == Sort::Flow && wanted.is_empty();
    let row = |place: &tree::Place| {
        let view = *views.get(place.node)?;
        let name = &view.node.name;
        let label = match (is_tree, &place.others[..]) {
            (false, _) => name.clone(),
            (true, []) => format!("{}{name}", place.branches),
            (true, others) => format!("{}{name} (+{})", place.branches, others.join(", ")),
        };
        name.to_lowercase().contains(&wanted).then_some(Row { view, label })
    };
    let mut rows: Vec<_> = places.iter().filter_map(row).collect();
    rows.sort_by(|a, b| order(sort, &a.view, &b.view));
    rows
}

/// Where in the rows a node is.
pub(super) fn position(rows: &[Row], key: &Key) -> Option<usize> {
    rows.iter().position(|row| row.view.key == key)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{node, status};
    use super::super::text::ASCII;
    use super::*;

    #[test]
    fn rows_are_a_tree_until_they_are_sorted_or_filtered() {
        let nodes = vec![
            node("net", "input", &[]),
            node("Web", "filter", &["net"]),
            node("edge", "input", &[]),
            node("all", "output", &["Web", "edge", "net"]),
        ];
        let model = Model::new(status(1.0, nodes));
        let labels = |sort, filter| {
            let rows = rows(&model, sort, filter, &ASCII).into_iter();
            rows.map(|row| row.label).collect::<Vec<_>>()
        };
        let tree = ["net", "`- Web", "   `- all (+edge, net)", "edge"];
        assert_eq!(labels(Sort::Flow, ""), tree);
        assert_eq!(labels(Sort::Name, ""), ["Web", "all", "edge", "net"]);
        assert_eq!(labels(Sort::Flow, "E"), ["net", "Web", "edge"]);
    }
}
