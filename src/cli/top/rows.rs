//! The rows of the table: nodes, order and labels.

use super::model::{Key, Model, Sort, View, order};
use super::text::Glyphs;
use super::tree::{self, Place};

/// A row.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// Its node.
    pub(super) view: View<'a>,
    /// Its position in the tree, if the rows form one.
    place: Option<Place>,
}

impl Row<'_> {
    /// The node's name with its branches and the other nodes it reads from: their names or, if that
    /// exceeds `max` characters, their number.
    pub(super) fn label(&self, max: usize, glyphs: &Glyphs) -> String {
        let name = &self.view.node.name;
        let Some(Place { branches, others, .. }) = &self.place else {
            return glyphs.cut(name, max);
        };
        let label = format!("{branches}{name}");
        let mut mark = match others.len() {
            0 => String::new(),
            _ => format!(" (+{})", others.join(", ")),
        };
        if label.chars().count() + mark.chars().count() > max && !others.is_empty() {
            mark = format!(" (+{})", others.len());
        }
        glyphs.cut(&label, max.saturating_sub(mark.len())) + &mark
    }
}

/// The rows whose names contain `filter`, or those of them with a trouble. In flow order, all rows
/// form a tree.
pub(super) fn rows<'a>(
    model: &'a Model,
    sort: Sort,
    filter: &str,
    troubled: bool,
    glyphs: &Glyphs,
) -> Vec<Row<'a>> {
    let views = model.views();
    let wanted = filter.to_lowercase();
    let is_tree = sort == Sort::Flow && wanted.is_empty() && !troubled;
    let row = |place: Place| {
        let view = *views.get(place.node)?;
        let shown = view.node.name.to_lowercase().contains(&wanted)
            && !(troubled && view.troubles().is_empty());
        shown.then_some(Row { view, place: is_tree.then_some(place) })
    };
    let places = tree::places(&model.status().nodes, glyphs);
    let mut rows: Vec<_> = places.into_iter().filter_map(row).collect();
    rows.sort_by(|a, b| order(sort, &a.view, &b.view));
    rows
}

/// The index of a node in the rows.
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
        let labels = |sort, filter, max| {
            let rows = rows(&model, sort, filter, false, &ASCII).into_iter();
            rows.map(|row| row.label(max, &ASCII)).collect::<Vec<_>>()
        };
        let tree = ["net", "`- Web", "   `- all (+edge, net)", "edge"];
        assert_eq!(labels(Sort::Flow, "", 25), tree);
        assert_eq!(labels(Sort::Flow, "", 15)[2], "   `- all (+2)");
        assert_eq!(labels(Sort::Flow, "", 13)[2], "   `- a~ (+2)");
        assert_eq!(labels(Sort::Name, "", 25), ["Web", "all", "edge", "net"]);
        assert_eq!(labels(Sort::Flow, "E", 25), ["net", "Web", "edge"]);
    }
}
