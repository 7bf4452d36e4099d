//! How an output writes its lines, as configured.

use std::sync::Arc;

use super::template::Template;
use crate::ledger::Count;

/// How lines are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FormatPlan {
    /// Their shape.
    pub shape: Shape,
    /// The app-name of a line that has none; by default the input's name.
    pub tag: Option<String>,
}

impl FormatPlan {
    /// Unchanged lines.
    pub const RAW: &Self = &Self { shape: Shape::Line, tag: None };

    /// The maximum size of written lines in bytes.
    pub fn most(&self, lines: Count) -> usize {
        // More than the longest header.
        let heads = 1024 * lines.lines;
        let max = match &self.shape {
            Shape::Line => lines.bytes,
            Shape::Rfc5424 | Shape::Rfc3164 | Shape::Text | Shape::Traditional => {
                lines.bytes + heads
            }
            // A byte is escaped to at most six.
            Shape::Json => 6 * lines.bytes + heads,
            Shape::Template(template) => template.most(lines) + heads,
        };
        usize::try_from(max).unwrap_or(usize::MAX)
    }
}

/// The shapes of a line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Shape {
    /// Unchanged.
    #[default]
    Line,
    /// RFC 5424.
    Rfc5424,
    /// RFC 3164.
    Rfc3164,
    /// A JSON object.
    Json,
    /// `time host app: message`.
    Text,
    /// As rsyslog's RSYSLOG_TraditionalFileFormat.
    Traditional,
    /// By the user's template.
    Template(Arc<Template>),
}
