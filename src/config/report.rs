//! Gathers everything there is to say about one file, so that all is said at once.

use std::ops::Range;

use super::diagnostic::{DIAGNOSTICS_MOST, Diagnostic, Place, Refusal, Severity, shown};

/// Bytes of the file.
pub(super) type Span = Range<usize>;

/// The file, and what was found in it so far.
pub(super) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    found: Vec<Finding>,
}

struct Finding {
    severity: Severity,
    span: Option<Span>,
    key: String,
    message: String,
    help: Option<String>,
}

impl<'a> Report<'a> {
    /// Nothing found yet.
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(after.map(|(at, _)| at + 1)).collect();
        Self { file, text, lines, found: Vec::new() }
    }

    /// An error at a place.
    pub(super) fn error(&mut self, span: &Span, key: &str, message: impl Into<String>) {
        self.push(Severity::Error, Some(span), key, message.into(), None);
    }

    /// An error at a place, with advice.
    pub(super) fn error_help(
        &mut self,
        span: &Span,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Severity::Error, Some(span), key, message.into(), Some(help.into()));
    }

    /// An error about the file as a whole, with advice.
    pub(super) fn error_whole(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Error, None, "", message.into(), Some(help.into()));
    }

    /// A warning at a place.
    pub(super) fn warn(&mut self, span: &Span, key: &str, message: impl Into<String>) {
        self.push(Severity::Warning, Some(span), key, message.into(), None);
    }

    fn push(
        &mut self,
        severity: Severity,
        span: Option<&Span>,
        key: &str,
        message: String,
        help: Option<String>,
    ) {
        let key = shown(key);
        self.found.push(Finding { severity, span: span.cloned(), key, message, help });
    }

    /// Whether the file is to be refused.
    pub(super) fn has_errors(&self) -> bool {
        self.found.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The source text of a span.
    pub(super) fn source(&self, span: &Span) -> &'a str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// The line a span begins on, from 1.
    pub(super) fn line(&self, span: &Span) -> usize {
        self.lines.partition_point(|start| *start <= span.start)
    }

    /// What was made of the file, with the warnings in file order, or the refusal.
    pub(super) fn finish<T>(mut self, made: Option<T>) -> Result<(Vec<Diagnostic>, T), Refusal> {
        match made {
            Some(made) if !self.has_errors() => Ok((self.diagnostics(), made)),
            _ => Err(self.refuse()),
        }
    }

    /// The refusal for what was found.
    pub(super) fn refuse(mut self) -> Refusal {
        let errors = self.found.iter().filter(|f| f.severity == Severity::Error).count();
        if self.found.len() > DIAGNOSTICS_MOST {
            self.found.retain(|finding| finding.severity == Severity::Error);
        }
        Refusal { file: self.file.into(), diagnostics: self.diagnostics(), errors }
    }

    /// The first of what was found, in file order; what is about the whole file last.
    fn diagnostics(&mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|finding| finding.span.as_ref().map_or(usize::MAX, |s| s.start));
        let (file, text) = (self.file, self.text);
        let first = self.found.drain(..).take(DIAGNOSTICS_MOST);
        let diagnostics = first.map(|finding| Diagnostic {
            severity: finding.severity,
            file: file.into(),
            place: finding.span.map(|span| Place::of(text, &span)),
            key: finding.key,
            message: finding.message,
            help: finding.help,
        });
        diagnostics.collect()
    }
}

/// The name nearest to what was written, as advice.
pub(super) fn nearest<'n>(
    written: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<String> {
    let written = written.to_lowercase();
    let scored = names.into_iter().map(|name| (strsim::jaro_winkler(&written, name), name));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.75).then(|| format!("did you mean `{}`?", shown(best.1)))
}
