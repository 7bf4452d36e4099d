//! Problems of a configuration and their places, shown with the source line and a caret.
//!
//! The first line of a diagnostic is `FILE:LINE:COLUMN: error: KEY: MESSAGE`, the form that
//! editors and grep understand. The excerpt below it is drawn by annotate-snippets.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

/// The maximum number of diagnostics in a report; more are only counted.
pub const DIAGNOSTICS_MAX: usize = 100;
/// The maximum number of columns of a source line shown.
const COLUMNS: usize = 100;
/// The maximum number of characters of a value quoted in a message.
const VALUE_SHOWN: usize = 60;

/// True if the configuration is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is accepted, but is probably a mistake.
    Warning,
}

/// One finding about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// True if the configuration is refused for it.
    pub severity: Severity,
    /// The file as the user named it.
    pub file: String,
    /// The place in the file; `None` for the file as a whole.
    pub place: Option<Place>,
    /// The key, as in `filter.api.sample`; empty for none.
    pub key: String,
    /// The problem, in one sentence.
    pub message: String,
    /// Advice.
    pub help: Option<String>,
}

/// A place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The whole file, safe for a terminal.
    text: Arc<str>,
    /// The range of bytes it refers to.
    span: Range<usize>,
    /// Other places related to it.
    marks: Vec<Mark>,
}

/// Another place related to a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its file's name and text; `None` for the same file.
    pub file: Option<(String, Arc<str>)>,
    /// The range of bytes in the file.
    pub span: Range<usize>,
    /// The label to show.
    pub label: String,
}

impl Place {
    /// The place of a range of bytes; a range past the end is clamped to the end. `text` is the
    /// file as returned by [`fit`].
    pub fn of(text: &Arc<str>, span: &Range<usize>, marks: Vec<Mark>) -> Self {
        let start = floor_char(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = 1 + text[..start].bytes().filter(|byte| *byte == b'\n').count();
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_char(text, span.end).clamp(start, line_end);
        let column = text[line_start..start].chars().count() + 1;
        Self { line, column, text: Arc::clone(text), span: start..end, marks }
    }

    /// The source lines with the marks below them.
    fn draw(&self, severity: Severity, help: Option<&str>, renderer: &Renderer) -> String {
        let near = || self.marks.iter().filter(|mark| mark.file.is_none());
        let spans = std::iter::once(&self.span).chain(near().map(|mark| &mark.span));
        let (view, number, start) = lines(&self.text, spans);
        let primary = AnnotationKind::Primary.span(within(&self.span, start));
        let snippet = Snippet::source(view)
            .line_start(number)
            .annotation(primary)
            .annotations(near().map(|mark| mark.annotation(start)));
        let level = match severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_level(level).element(snippet);
        for mark in &self.marks {
            let Some((name, text)) = &mark.file else { continue };
            let (view, number, start) = lines(text, std::iter::once(&mark.span));
            let snippet = Snippet::source(view).path(name).line_start(number);
            group = group.element(snippet.annotation(mark.annotation(start)));
        }
        if let Some(help) = help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }
}

impl Mark {
    fn annotation(&self, start: usize) -> Annotation<'_> {
        AnnotationKind::Context.span(within(&self.span, start)).label(&self.label)
    }
}

/// A span relative to `start`.
fn within(span: &Range<usize>, start: usize) -> Range<usize> {
    span.start - start..span.end - start
}

/// The lines that contain the spans, the number of the first, and its offset.
fn lines<'t, 's>(
    text: &'t str,
    spans: impl Iterator<Item = &'s Range<usize>> + Clone,
) -> (&'t str, usize, usize) {
    let first = spans.clone().map(|span| span.start).min().unwrap_or(0);
    let last = spans.map(|span| span.end).max().unwrap_or(first);
    let start = text[..first].rfind('\n').map_or(0, |at| at + 1);
    let end = text[last..].find('\n').map_or(text.len(), |at| last + at);
    let number = 1 + text[..start].bytes().filter(|byte| *byte == b'\n').count();
    (&text[start..end], number, start)
}

/// The file in a form that can be shown: control characters that annotate-snippets lets through are
/// replaced by a character of the same size, so that every offset stays valid.
pub fn fit(text: &str) -> Arc<str> {
    let is_c1 = |c: char| ('\u{80}'..='\u{9f}').contains(&c);
    if text.contains(is_c1) { text.replace(is_c1, "\u{b7}").into() } else { text.into() }
}

fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A character that is safe for a terminal.
fn harmless(c: char) -> char {
    if c.is_control() && c != '\t' { '\u{FFFD}' } else { c }
}

/// A value from the file, made safe and short enough for a message.
pub fn shown(value: &str) -> String {
    let mut out: String = value.chars().take(VALUE_SHOWN).map(harmless).collect();
    if value.chars().nth(VALUE_SHOWN).is_some() {
        out.push('…');
    }
    out.replace('\t', " ")
}

impl Diagnostic {
    fn headline(&self) -> String {
        let place = self.place.as_ref().map(|place| format!("{}:{}:", place.line, place.column));
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        format!("{}:{} {severity}: {key}{}", self.file, place.unwrap_or_default(), self.message)
    }

    fn render(&self, renderer: &Renderer) -> String {
        let headline = self.headline();
        match (&self.place, &self.help) {
            (Some(place), help) => {
                format!("{headline}\n{}", place.draw(self.severity, help.as_deref(), renderer))
            }
            (None, Some(help)) => format!("{headline}\n  = help: {help}"),
            (None, None) => headline,
        }
    }

    /// The diagnostic for a terminal with colours.
    pub fn in_colour(&self) -> String {
        self.render(&Renderer::styled().term_width(COLUMNS))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain().term_width(COLUMNS)))
    }
}

/// Why a configuration was refused: all errors at once, in file order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The file as the user named it.
    pub file: String,
    /// The first findings, including at least one error; warnings may be among them.
    pub diagnostics: Vec<Diagnostic>,
    /// The total number of errors, including those that do not fit into `diagnostics`.
    pub errors: usize,
}

impl Refusal {
    /// A refusal for a single reason without a place in the file.
    pub fn whole(file: &str, message: String, help: Option<&str>) -> Self {
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

    fn render(&self, diagnostic: impl Fn(&Diagnostic) -> String) -> String {
        let mut out: String = self.diagnostics.iter().map(|one| diagnostic(one) + "\n").collect();
        if self.errors > self.diagnostics.len() {
            out.push_str("… and more\n");
        }
        let (errors, plural) = (self.errors, if self.errors == 1 { "" } else { "s" });
        out + &format!("{errors} error{plural} in {}", self.file)
    }

    /// The report for a terminal with colours.
    pub fn in_colour(&self) -> String {
        self.render(Diagnostic::in_colour)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(ToString::to_string))
    }
}

impl std::error::Error for Refusal {}
