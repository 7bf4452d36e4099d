//! Gathers everything there is to say about one file, so that all is said at once.

use std::ops::Range;

use super::diagnostic::{DIAGNOSTICS_MOST, Diagnostic, Place, Refusal, Severity, fit, shown};

/// Bytes of the file.
pub type Span = Range<usize>;

/// The file, and what was found in it so far.
pub struct Report<'a> {
    file: &'a str,
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    found: Vec<Finding>,
}

/// One thing that was found; help and labels may be added to it.
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

    /// Another place that has to do with it, and why.
    pub fn label(&mut self, span: &Span, label: impl Into<String>) -> &mut Self {
        self.labels.push((span.clone(), label.into()));
        self
    }
}

impl<'a> Report<'a> {
    /// Nothing found yet.
    pub fn new(file: &'a str, text: &'a str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(after.map(|(at, _)| at + 1)).collect();
        Self { file, text, lines, found: Vec::new() }
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

    /// Whether the file is to be refused.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The source text of a span.
    pub fn source(&self, span: &Span) -> &'a str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// The line a span begins on, from 1.
    pub fn line(&self, span: &Span) -> usize {
        self.lines.partition_point(|start| *start <= span.start)
    }

    /// What was made of the file, with the warnings in file order, or the refusal.
    pub fn finish<T>(mut self, made: Option<T>) -> Result<(Vec<Diagnostic>, T), Refusal> {
        match made {
            Some(made) if !self.has_errors() => Ok((self.diagnostics(), made)),
            _ => Err(self.refuse()),
        }
    }

    /// The refusal for what was found.
    pub fn refuse(mut self) -> Refusal {
        let errors = self.found.iter().filter(|f| f.severity == Severity::Error).count();
        if self.found.len() > DIAGNOSTICS_MOST {
            self.found.retain(|finding| finding.severity == Severity::Error);
        }
        Refusal { file: self.file.into(), diagnostics: self.diagnostics(), errors }
    }

    /// The first of what was found, in file order; what is about the whole file last.
    fn diagnostics(&mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|finding| finding.span.as_ref().map_or(usize::MAX, |s| s.start));
        let (file, text) = (self.file, fit(self.text));
        let first = self.found.drain(..).take(DIAGNOSTICS_MOST);
        let diagnostics = first.map(|finding| Diagnostic {
            severity: finding.severity,
            file: file.into(),
            place: finding.span.map(|span| Place::of(&text, &span, finding.labels)),
            key: finding.key,
            message: finding.message,
            help: finding.help,
        });
        diagnostics.collect()
    }
}

/// The name nearest to what was written, as advice.
pub fn nearest<'n>(written: &str, names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let written = written.to_lowercase();
    let scored = names.into_iter().map(|name| (strsim::jaro_winkler(&written, name), name));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.75).then(|| format!("did you mean `{}`?", shown(best.1)))
}
