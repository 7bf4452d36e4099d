//! A long line as it is to be written: made in pieces, so that it costs no copy of its own.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Formatter, Line, Moment, escape, json};
use crate::batch::Batch;
use crate::limits::LONG_PIECE;
use crate::parse::syslog::{Faults, Message};

/// A part of what is to be written.
#[derive(Debug, Clone)]
pub enum Part {
    /// Bytes as they are.
    Plain(Bytes),
    /// Text that is escaped as in a JSON string.
    Json(Bytes),
}

impl Part {
    /// Takes the next piece of it off, as it is to be written; `None` if nothing is left. What is
    /// not escaped is one piece.
    pub fn take_piece(&mut self) -> Option<Bytes> {
        let piece = match self {
            Self::Plain(bytes) => std::mem::take(bytes),
            Self::Json(text) => {
                let piece = text.split_to(escape::cut(text, LONG_PIECE));
                let mut out = Vec::with_capacity(piece.len() + piece.len() / 8);
                escape::json(&piece, &mut out);
                out.into()
            }
        };
        (!piece.is_empty()).then_some(piece)
    }

    /// How many bytes it has when it is written.
    pub fn len(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.len(),
            Self::Json(text) => escape::json_len(text),
        }
    }

    /// Returns whether it has none.
    pub fn is_empty(&self) -> bool {
        let (Self::Plain(bytes) | Self::Json(bytes)) = self;
        bytes.is_empty()
    }
}

/// A line in one format, without its newline.
#[derive(Debug, Clone)]
pub struct Long {
    /// What it consists of.
    pub parts: VecDeque<Part>,
    /// How many bytes it has when it is written.
    pub len: usize,
}

impl Formatter {
    /// Formats a line of a batch, without its newline. The text of its message stays where it is,
    /// except in a template.
    pub fn long(
        &self,
        line: &Bytes,
        message: &Message,
        (input, source): (&str, Option<crate::sources::Source>),
        received: &Moment,
    ) -> Long {
        let (mut head, mut foot) = (Vec::new(), Vec::new());
        let line_of = Line { bytes: line, message, input, source, received };
        let text = line.slice_ref(self.head(&line_of, &mut head));
        let text = match self.escapes() {
            true => {
                json::foot(&line_of, &mut foot);
                Part::Json(text)
            }
            false => Part::Plain(text),
        };
        let parts = VecDeque::from([Part::Plain(head.into()), text, Part::Plain(foot.into())]);
        let len = parts.iter().map(Part::len).sum();
        Long { parts, len }
    }

    /// Formats all lines of a batch for `take`, which also gets the length of each as it was, with
    /// its newline.
    pub fn each_long(&self, batch: &Batch, mut take: impl FnMut(usize, Long)) -> Faults {
        let mut faults = Faults::default();
        let received = Moment::of(batch.received);
        let mut start = 0;
        for line in batch.iter() {
            let message = Message::parse(line);
            faults.count_header(message.fault);
            let source = batch.sources.as_ref().and_then(|sources| sources.of(start));
            let from = (&*batch.input, source);
            take(
                line.len() + 1,
                self.long(&batch.bytes.slice_ref(line), &message, from, &received),
            );
            start += line.len() + 1;
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::FormatPlan;
    use crate::filter::batch_of;
    use crate::format::plan::Shape;

    #[test]
    fn a_line_in_pieces_is_the_line() {
        let text = "x\"\n\u{1}\u{e4}".replace('\n', "\t").repeat(LONG_PIECE);
        let template = Shape::Template(std::sync::Arc::new("{host}: {message}".parse().unwrap()));
        let shapes = [
            Shape::Line,
            Shape::Rfc5424,
            Shape::Rfc3164,
            Shape::Json,
            Shape::Text,
            Shape::Traditional,
            template,
        ];
        for head in ["<13>1 - h a - - - ", "<13>1 x h a - - - ", "<13>a: ", ""] {
            let batch = batch_of(&format!("{head}{text}\n{head}short\n"));
            for shape in &shapes {
                let plan = FormatPlan { shape: shape.clone(), ..FormatPlan::default() };
                let formatter = Formatter::new(&plan);
                let mut pieces = Vec::new();
                let mut lens = Vec::new();
                let faults = formatter.each_long(&batch, |len, mut long| {
                    let before = pieces.len();
                    for part in &mut long.parts {
                        while let Some(piece) = part.take_piece() {
                            pieces.extend_from_slice(&piece);
                        }
                    }
                    assert_eq!(pieces.len() - before, long.len, "{shape:?}");
                    pieces.push(b'\n');
                    lens.push(len);
                });
                let (whole, of_whole) = formatter.batch(&batch);
                assert!(pieces == whole, "{shape:?} {head}");
                let is_plain = formatter.is_plain();
                assert!(is_plain || faults == of_whole);
                assert_eq!(lens, [head.len() + text.len() + 1, head.len() + 6]);
            }
        }
    }
}
