//! Names of topics, with fields of the line as in `web-{app}`.
//!
//! What a field puts in can only be what a topic's name may have: letters, digits, `.`, `_` and
//! `-`; anything else becomes `_`, and so does an empty value.

use std::str::FromStr;

use crate::batch::Batch;
use crate::limits::TOPIC_NAME_MAX;
use crate::parse::field::Field;
use crate::parse::syslog::Message;
use crate::sources::Source;

/// A topic's name, or how it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicName {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Fixed(String),
    Input,
    Field(Field),
}

fn is_good(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

impl FromStr for TopicName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(['{', '}']).unwrap_or(rest.len());
            let (fixed, tail) = rest.split_at(end);
            if let Some(bad) = fixed.chars().find(|c| !u8::try_from(*c).is_ok_and(is_good)) {
                return Err(format!("has {bad:?}: a topic's name has letters, digits, . _ and -"));
            }
            if !fixed.is_empty() {
                parts.push(Part::Fixed(fixed.into()));
            }
            rest = match tail.strip_prefix('{').and_then(|tail| tail.split_once('}')) {
                Some((field, after)) => {
                    parts.push(match field {
                        "input" => Part::Input,
                        other => Part::Field(other.parse()?),
                    });
                    after
                }
                None if tail.is_empty() => tail,
                None => return Err("a brace stands alone: write {app} or {host}".into()),
            };
        }
        if parts.is_empty() || [".", ".."].contains(&text) || text.len() > TOPIC_NAME_MAX {
            return Err(format!("must have 1 to {TOPIC_NAME_MAX} characters, not dots alone"));
        }
        Ok(Self { text: text.into(), parts })
    }
}

impl TopicName {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name, where it is the same for all lines.
    pub(super) fn fixed(&self) -> Option<&str> {
        let is_fixed = |part: &Part| matches!(part, Part::Fixed(_));
        self.parts.iter().all(is_fixed).then_some(&self.text)
    }

    /// The name for a line.
    pub(super) fn of(&self, batch: &Batch, line: &[u8], source: Option<Source>) -> String {
        let message = self.parts.iter().any(|part| matches!(part, Part::Field(_)));
        let message = message.then(|| Message::parse(line));
        let mut name = String::new();
        for part in &self.parts {
            match (part, &message) {
                (Part::Fixed(text), _) => name.push_str(text),
                (Part::Input, _) => push(&mut name, batch.input.as_bytes()),
                (Part::Field(field), Some(message)) => {
                    push(&mut name, &field.value(line, message, source).unwrap_or_default());
                }
                (Part::Field(_), None) => {}
            }
        }
        name.truncate(TOPIC_NAME_MAX);
        if [".", ".."].contains(&name.as_str()) {
            return "_".into();
        }
        name
    }

    /// The name of the topic for lines that would need one too many.
    pub(super) fn common(&self) -> String {
        let part = |part: &Part| match part {
            Part::Fixed(text) => text.clone(),
            _ => "_".into(),
        };
        self.parts.iter().map(part).collect()
    }
}

fn push(name: &mut String, value: &[u8]) {
    if value.is_empty() {
        name.push('_');
    }
    name.extend(value.iter().map(|byte| if is_good(*byte) { char::from(*byte) } else { '_' }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::batch_of;

    #[test]
    fn a_message_can_only_choose_among_good_names() {
        let name: TopicName = "web-{app}".parse().unwrap();
        let of = |line: &str| name.of(&batch_of(&format!("{line}\n")), line.as_bytes(), None);
        assert_eq!(of("<34>1 - h su - - - x"), "web-su");
        assert_eq!(of("<34>1 - h a/../b - - - x"), "web-a_.._b");
        assert_eq!(of("<34>1 - h - - - - x"), "web-_");
        assert_eq!(of(&format!("<34>1 - h {} - - - x", "a".repeat(300))).len(), TOPIC_NAME_MAX);
        let all: TopicName = "{app}".parse().unwrap();
        assert_eq!(all.of(&batch_of("x\n"), b"<34>1 - h .. - - - x", None), "_");
        assert_eq!((name.fixed(), name.common().as_str()), (None, "web-_"));
        let input: TopicName = "x.{input}".parse().unwrap();
        assert_eq!(input.of(&batch_of("x\n"), b"x", None), "x.in");
        assert_eq!("plain".parse::<TopicName>().unwrap().fixed(), Some("plain"));
    }

    #[test]
    fn names_that_no_topic_can_have_are_refused() {
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a{b", "a}b", "{nothing}", &"x".repeat(250)]
        {
            assert!(bad.parse::<TopicName>().is_err(), "{bad:?}");
        }
    }
}
