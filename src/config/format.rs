//! `format` and `tag`, the same on all outputs.

use super::plan::{FormatPlan, Shape};
use super::report::Report;
use super::section::Section;

/// The words for the shapes.
pub(super) const SHAPES: [(&str, Shape); 5] = [
    ("line", Shape::Line),
    ("rfc5424", Shape::Rfc5424),
    ("rfc3164", Shape::Rfc3164),
    ("json", Shape::Json),
    ("text", Shape::Text),
];

/// Reads how an output writes its lines.
pub(super) fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<FormatPlan> {
    let tag = match section.get("tag") {
        Some(entry) => Some(entry.system_text(report)?.to_string()),
        None => None,
    };
    let shape = match section.get("format") {
        Some(entry) => entry.word(report, &SHAPES)?,
        None => Shape::Line,
    };
    if let (Some(entry), Shape::Line) = (section.get("tag"), shape) {
        entry.misplaced(report, "needs a `format` other than \"line\"", None);
    }
    Some(FormatPlan { shape, tag })
}
