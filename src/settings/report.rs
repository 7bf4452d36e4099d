//! Collects all findings about a file and its included files, so that they are reported at once.

use std::ops::Range;
use std::sync::Arc;

use super::diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Mark, Place, Refusal, Severity, fit, shown};

/// A range of bytes in the files.
pub type Span = Range<usize>;

/// The files and their findings so far.
///
/// Offsets run through all files, as if each followed the previous one.
pub struct Report<'a> {
    sources: Vec<ConfigFile<'a>>,
    found: Vec<Finding>,
}

/// One file.
struct ConfigFile<'a> {
    name: &'a str,
    text: &'a str,
    /// The offset at which it begins.
    base: usize,
    /// The offsets of its lines, from its own beginning.
    lines: Vec<usize>,
}

impl<'a> ConfigFile<'a> {
    fn new(name: &'a str, text: &'a str, base: usize) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(after.map(|(at, _)| at + 1)).collect();
        Self { name, text, base, lines }
    }

    /// A span relative to this file.
    fn local(&self, span: &Span) -> Span {
        span.start - self.base..span.end - self.base
    }
}

/// A finding; help and labels may be added to it.
pub struct Finding {
    severity: Severity,
    span: Option<Span>,
    key: String,
    message: String,
    help: Option<String>,
    labels: Vec<(Span, String)>,
}

impl Finding {
    /// Advice.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Labels another place related to it.
    pub fn label(&mut self, span: &Span, label: impl Into<String>) -> &mut Self {
        self.labels.push((span.clone(), label.into()));
        self
    }
}

impl<'a> Report<'a> {
    /// Creates a report without findings for this file.
    pub fn new(name: &'a str, text: &'a str) -> Self {
        Self { sources: vec![ConfigFile::new(name, text, 0)], found: Vec::new() }
    }

    /// Adds a file; returns the offset at which it begins.
    pub fn add(&mut self, name: &'a str, text: &'a str) -> usize {
        // One byte apart, so that the end of one is not the beginning of the next.
        let base = self.sources.last().map_or(0, |last| last.base + last.text.len() + 1);
        self.sources.push(ConfigFile::new(name, text, base));
        base
    }

    /// The index of the file that contains a span.
    fn at(&self, span: &Span) -> usize {
        let after = self.sources.partition_point(|source| source.base <= span.start);
        after.saturating_sub(1)
    }

    /// An error at a place.
    pub fn error(&mut self, span: &Span, key: &str, message: impl Into<String>) -> &mut Finding {
        self.push(Severity::Error, Some(span), key, message.into())
    }

    /// An error at a place, with advice.
    pub fn error_help(
        &mut self,
        span: &Span,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.error(span, key, message).help(help);
    }

    /// An error about the file as a whole, with advice.
    pub fn error_whole(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Error, None, "", message.into()).help(help);
    }

    /// A warning at a place.
    pub fn warn(&mut self, span: &Span, key: &str, message: impl Into<String>) -> &mut Finding {
        self.push(Severity::Warning, Some(span), key, message.into())
    }

    fn push(
        &mut self,
        severity: Severity,
        span: Option<&Span>,
        key: &str,
        message: String,
    ) -> &mut Finding {
        let (key, span) = (shown(key), span.cloned());
        let finding = Finding { severity, span, key, message, help: None, labels: Vec::new() };
        let at = self.found.len();
        self.found.push(finding);
        &mut self.found[at]
    }

    /// Returns whether the file must be refused.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The source text of a span.
    pub fn source(&self, span: &Span) -> &'a str {
        let source = &self.sources[self.at(span)];
        source.text.get(source.local(span)).unwrap_or_default()
    }

    /// The line that a span begins on, as in "line 3"; with the file's name if it differs from the
    /// one that contains `from`.
    pub fn line(&self, span: &Span, from: &Span) -> String {
        let source = &self.sources[self.at(span)];
        let line = source.lines.partition_point(|start| source.base + start <= span.start);
        match self.at(span) == self.at(from) {
            true => format!("line {line}"),
            false => format!("line {line} of {}", source.name),
        }
    }

    /// Returns the result with the warnings in file order, or the refusal.
    pub fn finish<T>(mut self, made: Option<T>) -> Result<(Vec<Diagnostic>, T), Refusal> {
        match made {
            Some(made) if !self.has_errors() => Ok((self.diagnostics(), made)),
            _ => Err(self.refuse()),
        }
    }

    /// The refusal for the findings.
    pub fn refuse(mut self) -> Refusal {
        let errors = self.found.iter().filter(|f| f.severity == Severity::Error).count();
        if self.found.len() > DIAGNOSTICS_MAX {
            self.found.retain(|finding| finding.severity == Severity::Error);
        }
        let file = self.sources[0].name.to_string();
        Refusal { file, diagnostics: self.diagnostics(), errors }
    }

    /// The first findings, in file order; those about the whole file come last.
    fn diagnostics(&mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|finding| finding.span.as_ref().map_or(usize::MAX, |s| s.start));
        let texts: Vec<_> = self.sources.iter().map(|source| fit(source.text)).collect();
        let found = std::mem::take(&mut self.found);
        let first = found.into_iter().take(DIAGNOSTICS_MAX);
        first.map(|finding| self.diagnostic(finding, &texts)).collect()
    }

    fn diagnostic(&self, finding: Finding, texts: &[Arc<str>]) -> Diagnostic {
        let at = finding.span.as_ref().map_or(0, |span| self.at(span));
        let marks = finding.labels.into_iter().map(|(span, label)| {
            let other = self.at(&span);
            let source = &self.sources[other];
            let file = (other != at).then(|| (source.name.to_string(), Arc::clone(&texts[other])));
            Mark { file, span: source.local(&span), label }
        });
        let source = &self.sources[at];
        let place = |span| Place::of(&texts[at], &source.local(&span), marks.collect());
        Diagnostic {
            severity: finding.severity,
            file: source.name.into(),
            place: finding.span.map(place),
            key: finding.key,
            message: finding.message,
            help: finding.help,
        }
    }
}

/// Suggests the name most similar to what was written.
pub fn nearest<'n>(written: &str, names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let written = written.to_lowercase();
    let scored = names.into_iter().map(|name| (strsim::jaro_winkler(&written, name), name));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.75).then(|| format!("did you mean `{}`?", shown(best.1)))
}
