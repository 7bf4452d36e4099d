//! How an output writes its lines, as the configuration says it.

use std::sync::Arc;

use super::template::Template;
use crate::ledger::Count;

/// How lines are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FormatPlan {
    /// In which shape.
    pub shape: Shape,
    /// The app-name of a line that has none; the input's name where it is left out.
    pub tag: Option<String>,
}

impl FormatPlan {
    /// Lines as they are.
    pub const RAW: &Self = &Self { shape: Shape::Line, tag: None };

    /// The most bytes that lines can take as they are written.
    pub fn most(&self, lines: Count) -> usize {
        // More than the longest head.
        let heads = 1024 * lines.lines;
        let most = match &self.shape {
            Shape::Line => lines.bytes,
            Shape::Rfc5424 | Shape::Rfc3164 | Shape::Text | Shape::Traditional => {
                lines.bytes + heads
            }
            // A byte is escaped in six at most.
            Shape::Json => 6 * lines.bytes + heads,
            Shape::Template(template) => template.most(lines) + heads,
        };
        usize::try_from(most).unwrap_or(usize::MAX)
    }
}

/// The shapes of a line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Shape {
    /// As it is.
    #[default]
    Line,
    /// As RFC 5424 has it.
    Rfc5424,
    /// As RFC 3164 has it.
    Rfc3164,
    /// A JSON object.
    Json,
    /// `time host app: message`.
    Text,
    /// As rsyslog's RSYSLOG_TraditionalFileFormat has it.
    Traditional,
    /// As the user wants it.
    Template(Arc<Template>),
}
