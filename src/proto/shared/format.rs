//! `format` and `tag`, the same on all outputs.

use std::sync::Arc;

use crate::format::plan::{FormatPlan, Shape};
use crate::settings::key::words;
use crate::settings::{Entry, Key, Report, Section, Value};

/// The keys of every output.
pub const KEYS: &[Key] = &[FORMAT, TAG];

/// A word, and what makes the shape that it stands for.
type Word = (&'static str, fn() -> Shape);

const SHAPES: [Word; 6] = [
    ("line", || Shape::Line),
    ("rfc5424", || Shape::Rfc5424),
    ("rfc3164", || Shape::Rfc3164),
    ("json", || Shape::Json),
    ("text", || Shape::Text),
    ("traditional", || Shape::Traditional),
];
const SHAPE_WORDS: [&str; 6] = words(&SHAPES);

const FORMAT: Key = Key::or(
    "format",
    Value::Either(&[Value::Words(&SHAPE_WORDS), Value::Text("Template", r"[{]")]),
    "\"line\"",
    "How lines are written.",
);

const TAG: Key = Key::or_else(
    "tag",
    Value::Text("Text", r"\S"),
    "the input's name",
    "The app of lines that have none.",
);

/// The shape that a word or a template stands for, as a tool is given it.
///
/// # Errors
/// What is wrong, and what can be written.
pub fn shape_of(text: &str) -> Result<Shape, String> {
    if text.contains(['{', '}']) {
        return text.parse().map(|template| Shape::Template(Arc::new(template)));
    }
    let known = SHAPES.iter().find(|(word, _)| *word == text);
    let words = || format!("write {}, or a template with fields in braces", SHAPE_WORDS.join(", "));
    known.map(|(_, shape)| shape()).ok_or_else(words)
}

/// A format that writes a template.
///
/// # Errors
/// Why it is none.
pub fn template(text: &str) -> Result<FormatPlan, String> {
    Ok(FormatPlan { shape: Shape::Template(Arc::new(text.parse()?)), tag: None })
}

/// Reads how an output writes its lines.
pub fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<FormatPlan> {
    let tag = match section.entry(&TAG) {
        Some(entry) => Some(entry.system_text(report)?.to_string()),
        None => None,
    };
    let shape = match section.entry(&FORMAT) {
        Some(entry) => shape(entry, report)?,
        None => Shape::Line,
    };
    if let (Some(entry), Shape::Line) = (section.entry(&TAG), &shape) {
        entry.misplaced(report, "needs a `format` other than \"line\"");
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
