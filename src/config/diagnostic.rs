//! What is wrong with a configuration, and where: shown with the line and a caret.

use std::fmt;
use std::ops::Range;

/// The most diagnostics one report holds; more are only counted.
pub(super) const DIAGNOSTICS_MOST: usize = 100;
/// The most characters of a source line that are shown.
const LINE_SHOWN: usize = 100;
/// How much of a longer line is shown before the place.
const LINE_BEFORE: usize = 40;
/// The most characters of a value that are repeated in a message.
const VALUE_SHOWN: usize = 60;

/// Whether the configuration is refused for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is taken, but is hardly what was meant.
    Warning,
}

/// One thing to say about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the configuration is refused for it.
    pub severity: Severity,
    /// The file as the user named it.
    pub file: String,
    /// Where in the file; `None` for what is about the file as a whole.
    pub place: Option<Place>,
    /// The key, as in `filter.api.sample`; empty for none.
    pub key: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The source line, made fit to be shown.
    view: String,
    /// Where in the view the place begins and how many characters it has.
    caret: (usize, usize),
}

impl Place {
    /// The place of a range of bytes; a range past the end is the end.
    pub(super) fn of(text: &str, span: &Range<usize>) -> Self {
        let start = floor_char(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[..start].bytes().filter(|byte| *byte == b'\n').count() + 1;
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_char(text, span.end).clamp(start, line_end);
        let before = text[line_start..start].chars().count();
        let marked = text[start..end].chars().count().max(1);
        let (view, caret) = view(text[line_start..line_end].trim_end_matches('\r'), before, marked);
        Self { line, column: before + 1, view, caret }
    }
}

fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A window on a source line, and where in it the marked characters are.
fn view(line: &str, before: usize, marked: usize) -> (String, (usize, usize)) {
    let skip = if before > LINE_SHOWN - 20 { before - LINE_BEFORE } else { 0 };
    let mut view = String::new();
    if skip > 0 {
        view.push('…');
    }
    let shift = usize::from(skip > 0);
    let mut rest = line.chars().skip(skip);
    view.extend(rest.by_ref().take(LINE_SHOWN).map(harmless));
    if rest.next().is_some() {
        view.push('…');
    }
    let at = before - skip + shift;
    let room = view.chars().count().saturating_sub(at).max(1);
    (view, (at, marked.min(room)))
}

/// A character that cannot upset a terminal.
fn harmless(c: char) -> char {
    if c.is_control() && c != '\t' { '\u{FFFD}' } else { c }
}

/// A value from the file, made fit to stand in a message.
pub(super) fn shown(value: &str) -> String {
    let mut out: String = value.chars().take(VALUE_SHOWN).map(harmless).collect();
    if value.chars().nth(VALUE_SHOWN).is_some() {
        out.push('…');
    }
    out.replace('\t', " ")
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(place) = &self.place {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, " {severity}: ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.message)?;
        if let Some(place) = &self.place {
            let number = place.line.to_string();
            let indent = " ".repeat(number.len());
            // Tabs are repeated, so that the caret stands under its place on any terminal.
            let pad: String = place
                .view
                .chars()
                .take(place.caret.0)
                .map(|c| if c == '\t' { c } else { ' ' })
                .collect();
            write!(f, "\n  {number} | {}", place.view)?;
            write!(f, "\n  {indent} | {pad}{}", "^".repeat(place.caret.1))?;
        }
        match &self.help {
            Some(help) => write!(f, "\n    {help}"),
            None => Ok(()),
        }
    }
}

/// Why a configuration was refused: every error at once, in file order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The file as the user named it.
    pub file: String,
    /// The first of what was found, at least one error; warnings may stand between them.
    pub diagnostics: Vec<Diagnostic>,
    /// How many errors there are, with those that `diagnostics` has no room for.
    pub errors: usize,
}

impl Refusal {
    /// A refusal for one reason that has no place in the file.
    pub(super) fn whole(file: &str, message: String, help: Option<&str>) -> Self {
        let diagnostic = Diagnostic {
            severity: Severity::Error,
            file: file.into(),
            place: None,
            key: String::new(),
            message,
            help: help.map(Into::into),
        };
        Self { file: file.into(), diagnostics: vec![diagnostic], errors: 1 }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            writeln!(f, "{diagnostic}")?;
        }
        if self.errors > self.diagnostics.len() {
            writeln!(f, "… and more")?;
        }
        let errors = self.errors;
        write!(f, "{errors} error{} in {}", if errors == 1 { "" } else { "s" }, self.file)
    }
}

impl std::error::Error for Refusal {}
