//! `format` and `tag`, the same on all outputs.

use std::sync::Arc;

use super::plan::{FormatPlan, Shape};
use super::report::Report;
use super::section::{Entry, Section};

/// A word, and what makes the shape that it stands for.
type Word = (&'static str, fn() -> Shape);

/// The words for the shapes.
pub(super) const SHAPES: [Word; 6] = [
    ("line", || Shape::Line),
    ("rfc5424", || Shape::Rfc5424),
    ("rfc3164", || Shape::Rfc3164),
    ("json", || Shape::Json),
    ("text", || Shape::Text),
    ("traditional", || Shape::Traditional),
];

/// Reads how an output writes its lines.
pub(super) fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<FormatPlan> {
    let tag = match section.get("tag") {
        Some(entry) => Some(entry.system_text(report)?.to_string()),
        None => None,
    };
    let shape = match section.get("format") {
        Some(entry) => shape(entry, report)?,
        None => Shape::Line,
    };
    if let (Some(entry), Shape::Line) = (section.get("tag"), &shape) {
        entry.misplaced(report, "needs a `format` other than \"line\"", None);
    }
    Some(FormatPlan { shape, tag })
}

/// A word, or a template, which has a field in braces.
fn shape(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Shape> {
    let text = entry.text(report)?;
    if !text.contains(['{', '}']) {
        return entry.word(report, &SHAPES).map(|shape| shape());
    }
    match text.parse() {
        Ok(template) => Some(Shape::Template(Arc::new(template))),
        Err(error) => {
            entry.wrong(report, error);
            None
        }
    }
}
