//! Templates: text with fields of the line in braces, as in `{time:%H:%M:%S} {host} {message}`.
//!
//! A template is parsed once, into a list of parts; a line is written by walking that list.

use std::fmt;
use std::str::FromStr;

use super::clock::Clock;
use crate::ledger::Count;
use crate::parse::field::Field;

/// The fields of a template in addition to those that selectors have.
const WORDS: [(&str, Name); 8] = [
    ("message", Name::Message),
    ("line", Name::Line),
    ("time", Name::Time),
    ("received", Name::Received),
    ("pri", Name::Pri),
    ("tag", Name::Tag),
    ("input", Name::Input),
    ("sd", Name::Data),
];

/// The styles of a value.
const STYLES: [(&str, Style); 4] =
    [("json", Style::Json), ("csv", Style::Csv), ("lower", Style::Lower), ("upper", Style::Upper)];

/// A parsed template.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Literal text.
    Text(String),
    /// A value of the line.
    Value(Name, Style),
}

/// What a value refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// A field that selectors have.
    Field(Field),
    /// The message proper.
    Message,
    /// The whole line as received.
    Line,
    /// When it was sent; if unknown, when it was received.
    Time,
    /// When it was received.
    Received,
    /// The time it was sent, in this format.
    TimeAs(Clock),
    /// The time it was received, in this format.
    ReceivedAs(Clock),
    /// Facility times eight plus severity.
    Pri,
    /// `app[procid]:`, as in RFC 3164; nothing if there is no app.
    Tag,
    /// The input that received it.
    Input,
    /// All structured data as received.
    Data,
}

/// The style in which a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Unchanged; `-` if absent.
    Plain,
    /// As a JSON string with its quotes; `null` if absent.
    Json,
    /// As a quoted field of RFC 4180.
    Csv,
    /// In lower case.
    Lower,
    /// In upper case.
    Upper,
}

impl Template {
    /// The parts, in order.
    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The maximum size of lines written with this template, in bytes.
    pub fn most(&self, lines: Count) -> u64 {
        let mut max = 0_u64;
        for part in &self.parts {
            max = max.saturating_add(match part {
                Part::Text(text) => lines.lines.saturating_mul(text.len() as u64),
                // A value that is not in the line (an address, a time, a name) is short.
                Part::Value(_, style) => {
                    let grows = match style {
                        // An escaped byte takes six, an invalid UTF-8 byte three.
                        Style::Json => 6,
                        Style::Csv | Style::Lower | Style::Upper => 3,
                        Style::Plain => 1,
                    };
                    lines.bytes.saturating_mul(grows) + lines.lines.saturating_mul(1024)
                }
            });
        }
        max
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Template {
    type Err = String;

    /// Parses a template. `{{` and `}}` stand for one brace.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        if text.contains(['\n', '\r', '\0']) {
            return Err("a template is one line: it cannot have a line end or a NUL".into());
        }
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let found = &rest[at..];
            if let Some(behind) = found.strip_prefix("{{").or_else(|| found.strip_prefix("}}")) {
                literal.push_str(&found[..1]);
                rest = behind;
            } else if let Some(inner) = found.strip_prefix('{') {
                let (inner, behind) = inner
                    .split_once('}')
                    .ok_or("a `{` without its `}`: write `{{` for the sign itself")?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(value(inner)?);
                rest = behind;
            } else {
                return Err("a `}` without its `{`: write `}}` for the sign itself".into());
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { text: text.into(), parts })
    }
}

/// Parses the text in braces: a name, or a name and a style.
fn value(inner: &str) -> Result<Part, String> {
    if let Some(path) = inner.strip_prefix("sd:") {
        return structured(inner, path);
    }
    let (name, option) = match inner.split_once(':') {
        Some((name, option)) => (name, Some(option)),
        None => (inner, None),
    };
    let name = match WORDS.iter().find(|(word, _)| *word == name) {
        Some((_, found)) => found.clone(),
        None => Name::Field(name.parse().map_err(|error| unknown(name, error))?),
    };
    let Some(option) = option else { return Ok(Part::Value(name, Style::Plain)) };
    if matches!(name, Name::Time | Name::Received) && option.contains('%') {
        let clock = option.parse()?;
        let name = match name {
            Name::Time => Name::TimeAs(clock),
            _ => Name::ReceivedAs(clock),
        };
        return Ok(Part::Value(name, Style::Plain));
    }
    Ok(Part::Value(name, style(inner, option)?))
}

/// `sd:ID:NAME`, optionally followed by a style.
fn structured(inner: &str, path: &str) -> Result<Part, String> {
    if let Ok(style) = style(inner, path) {
        return Ok(Part::Value(Name::Data, style));
    }
    let parts: Vec<_> = path.split(':').collect();
    let (id, name, style) = match parts[..] {
        [id, name] => (id, name, Style::Plain),
        [id, name, option] => (id, name, style(inner, option)?),
        _ => return Err(format!("{{{inner}}}: write {{sd:ID:NAME}}")),
    };
    if id.is_empty() || name.is_empty() {
        return Err(format!("{{{inner}}}: write {{sd:ID:NAME}}"));
    }
    let field = Field::Data { id: id.into(), name: name.into() };
    Ok(Part::Value(Name::Field(field), style))
}

fn style(inner: &str, option: &str) -> Result<Style, String> {
    let found = STYLES.iter().find(|(word, _)| *word == option);
    found.map(|(_, style)| *style).ok_or_else(|| {
        let words: Vec<_> = STYLES.iter().map(|(word, _)| *word).collect();
        let clock = match inner.starts_with("time") || inner.starts_with("received") {
            true => ", and a time as in %Y-%m-%d",
            false => "",
        };
        format!("{{{inner}}}: there is no '{option}', but {}{clock}", words.join(", "))
    })
}

/// A field's own message for an unknown name, plus the other names that a template has.
fn unknown(name: &str, error: String) -> String {
    if name.starts_with("sd.") {
        return error;
    }
    let words: Vec<_> = WORDS.iter().map(|(word, _)| *word).collect();
    format!("{error}; in a template also {}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_read_into_its_parts() {
        let template: Template = "a {{{host}}} {message:json}b".parse().unwrap();
        let want = [
            Part::Text("a {".into()),
            Part::Value(Name::Field(Field::Host), Style::Plain),
            Part::Text("} ".into()),
            Part::Value(Name::Message, Style::Json),
            Part::Text("b".into()),
        ];
        assert_eq!(template.parts(), want);
        assert_eq!(template.to_string(), "a {{{host}}} {message:json}b");
        let data = Field::Data { id: "a@1".into(), name: "x".into() };
        for text in ["{sd:a@1:x}", "{sd.a@1.x}", "{sd.\"a@1\".x}"] {
            let template: Template = text.parse().unwrap();
            assert_eq!(
                template.parts(),
                [Part::Value(Name::Field(data.clone()), Style::Plain)],
                "{text}"
            );
        }
        let json: Template = "{sd:a@1:x:json}".parse().unwrap();
        assert_eq!(json.parts(), [Part::Value(Name::Field(data), Style::Json)]);
    }

    #[test]
    fn what_is_wrong_with_a_template_is_said() {
        for (wrong, message) in [
            ("{host", "without its `}`"),
            ("host}", "without its `{`"),
            ("{}", "unknown field {}"),
            ("{hots} x", "unknown field {hots}: there are facility"),
            ("{hots} x", "in a template also message, line"),
            ("{message:jsn}", "{message:jsn}: there is no 'jsn', but json, csv"),
            ("{time:rfc}", "and a time as in %Y-%m-%d"),
            ("{time:%K!}", "%K"),
            ("{sd:a}", "write {sd:ID:NAME}"),
            ("{sd::x}", "write {sd:ID:NAME}"),
            ("{sd.a}", "write sd.\"ID\".NAME"),
            ("a\nb", "one line"),
            ("{time:%H\n%M}", "one line"),
            ("{sd:a\r:b}", "one line"),
        ] {
            let error = wrong.parse::<Template>().unwrap_err();
            assert!(error.contains(message), "{wrong}: {error}");
        }
        let time = |times| format!("{{time:{}}}", "%F ".repeat(times)).parse::<Template>();
        assert!(time(23).is_ok());
        let error = time(24).unwrap_err();
        assert!(error.ends_with("takes more than 256 bytes"), "{error}");
    }

    #[test]
    fn what_a_line_can_grow_to_is_known() {
        let lines = Count { lines: 2, bytes: 100 };
        let most = |text: &str| text.parse::<Template>().unwrap().most(lines);
        assert_eq!(most("abc"), 6);
        assert_eq!(most("{message}"), 100 + 2048);
        assert_eq!(most("{message:json}{message:csv}"), 600 + 300 + 2 * 2048);
        assert_eq!(most("{time:%F %T}"), 100 + 2048);
    }
}
