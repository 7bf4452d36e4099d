//! File names with strftime in UTC, `{input}` and fields of the line, as in `{host}`.
//!
//! The fixed part of a path (all before the first folder with a `{field}`) is the
//! user's; what a field puts in can never leave it: `/`, NUL, control bytes and what is no text
//! become `_`, an empty value becomes `_`, and so does a value of only dots. A value is cut where
//! it would make a name longer than file systems take.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::limits::NAME_PART_MOST;
use crate::parse::field::Field;

/// A parsed file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate {
    source: String,
    parts: Vec<Part>,
    fields: Vec<Field>,
}

/// What the fields of a name are for one line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Values {
    /// The name of the input the line came by.
    pub input: Arc<str>,
    /// The values of [`NameTemplate::fields`], in their order; empty where the line has none.
    pub fields: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Bytes as they stand.
    Fixed(String),
    /// One strftime conversion.
    Time(String),
    /// `{input}`: the name of the input a line came by.
    Input,
    /// The field of this place among those of the name.
    Field(usize),
}

impl NameTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// Says in one sentence what is wrong: an unknown `{field}`, a brace without its
    /// partner, a strftime letter that does not exist, an empty or a folder's name.
    pub fn parse(source: &str) -> Result<Self, String> {
        if source.is_empty() {
            return Err("the file name is empty".into());
        }
        if source.ends_with('/') {
            return Err("the name ends with '/': name a file, not a folder".into());
        }
        if source.contains('\0') {
            return Err("the file name contains a NUL byte".into());
        }
        let (mut parts, mut fields) = (Vec::new(), Vec::new());
        let mut rest = source;
        while let Some(open) = rest.find(['{', '}']) {
            let (text, tail) = rest.split_at(open);
            push_text(&mut parts, text)?;
            let Some((field, after)) = tail.strip_prefix('{').and_then(|t| t.split_once('}'))
            else {
                return Err("a brace stands alone: write {input} or {host}".into());
            };
            match field {
                "input" => parts.push(Part::Input),
                other => {
                    let field: Field = other.parse()?;
                    let known = fields.iter().position(|known| *known == field);
                    parts.push(Part::Field(known.unwrap_or(fields.len())));
                    if known.is_none() {
                        fields.push(field);
                    }
                }
            }
            rest = after;
        }
        push_text(&mut parts, rest)?;
        Ok(Self { source: source.into(), parts, fields })
    }

    /// A name in which nothing is special (udp2log's files).
    pub fn literal(source: &str) -> Self {
        Self { source: source.into(), parts: vec![Part::Fixed(source.into())], fields: Vec::new() }
    }

    /// As the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The fields of lines that the name depends on.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether the name changes with the time.
    pub fn has_time(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Time(_)))
    }

    /// The name at `when` for a line with these values.
    pub fn render(&self, when: SystemTime, values: &Values) -> PathBuf {
        let mut name = String::with_capacity(self.source.len() + 16);
        for part in &self.parts {
            push_part(&mut name, part, when, values);
        }
        PathBuf::from(name)
    }

    /// What the time alone makes of the name: as long as this stays the same, so does the name of
    /// lines with the same values.
    pub fn times(&self, when: SystemTime) -> String {
        let mut times = String::new();
        for part in &self.parts {
            if let Part::Time(format) = part {
                push_time(&mut times, format, when);
                times.push('/');
            }
        }
        times
    }

    /// Tells whether the file called `name` (without its folder) can have been made from this
    /// template for lines with these values, and what follows in its name: where the name
    /// at `when` has a digit from the time, any digit may stand, and for a letter any letter.
    pub fn made<'n>(&self, name: &'n str, when: SystemTime, values: &Values) -> Option<&'n str> {
        let mut pattern: Vec<(char, bool)> = Vec::new();
        let mut whole = String::new();
        for part in &self.parts {
            let before = whole.len();
            push_part(&mut whole, part, when, values);
            let free = matches!(part, Part::Time(_));
            pattern.extend(whole[before..].chars().map(|c| (c, free)));
        }
        let file = pattern.iter().rposition(|&(c, _)| c == '/').map_or(0, |at| at + 1);
        let mut rest = name.chars();
        for &(want, free) in &pattern[file..] {
            let got = rest.next()?;
            let same_kind = want.is_ascii_digit() && got.is_ascii_digit()
                || want.is_alphabetic() && got.is_alphabetic();
            if got != want && !(free && same_kind) {
                return None;
            }
        }
        Some(rest.as_str())
    }
}

fn push_text(parts: &mut Vec<Part>, mut text: &str) -> Result<(), String> {
    while let Some(start) = text.find('%') {
        let (fixed, tail) = text.split_at(start);
        push_fixed(parts, fixed);
        // A conversion is '%', perhaps flags, and a letter; "%%" is a percent sign.
        let letter = tail[1..].find(|c: char| c.is_ascii_alphabetic() || c == '%');
        let (conversion, rest) = tail.split_at(letter.map_or(tail.len(), |at| at + 2));
        let zoned = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        strtime::format(conversion, &zoned)
            .map_err(|error| format!("strftime does not take it: {error}"))?;
        match conversion {
            "%%" => push_fixed(parts, "%"),
            _ => parts.push(Part::Time(conversion.into())),
        }
        text = rest;
    }
    push_fixed(parts, text);
    Ok(())
}

fn push_fixed(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Fixed(before)) => before.push_str(text),
        _ => parts.push(Part::Fixed(text.into())),
    }
}

fn push_time(name: &mut String, format: &str, when: SystemTime) {
    let stamp = Timestamp::try_from(when).unwrap_or(Timestamp::UNIX_EPOCH);
    // The format was tried when the template was read, so this cannot fail.
    if let Ok(text) = strtime::format(format, &stamp.to_zoned(TimeZone::UTC)) {
        name.push_str(&text);
    }
}

fn push_part(name: &mut String, part: &Part, when: SystemTime, values: &Values) {
    match part {
        Part::Fixed(text) => name.push_str(text),
        Part::Time(format) => push_time(name, format, when),
        Part::Input => push_field(name, &values.input),
        Part::Field(at) => {
            let value = values.fields.get(*at).map_or(&[][..], |value| value);
            push_field(name, &String::from_utf8_lossy(value));
        }
    }
}

fn push_field(name: &mut String, value: &str) {
    if value.bytes().all(|byte| byte == b'.') {
        name.push('_');
        return;
    }
    let folder = name.rfind('/').map_or(0, |at| at + 1);
    for c in value.chars() {
        if name.len() - folder + c.len_utf8() > NAME_PART_MOST {
            break;
        }
        let bad = c == '/' || c.is_control() || c == char::REPLACEMENT_CHARACTER;
        name.push(if bad { '_' } else { c });
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn values(input: &str, fields: &[&str]) -> Values {
        let fields = fields.iter().map(|value| value.as_bytes().to_vec()).collect();
        Values { input: input.into(), fields }
    }

    fn render(template: &str, input: &str) -> String {
        let when = UNIX_EPOCH + Duration::from_secs(86_400 * 365);
        let template = NameTemplate::parse(template).unwrap();
        template.render(when, &values(input, &[])).display().to_string()
    }

    #[test]
    fn fields_of_the_line_are_filled_in_and_cut_to_what_a_name_can_be() {
        let template = NameTemplate::parse("/log/{host}/{app}-{host}-{sd.\"a@1\".b}.log").unwrap();
        let names: Vec<_> = template.fields().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["host", "app", "sd.\"a@1\".b"]);
        let render = |fields: &[&str]| {
            template.render(UNIX_EPOCH, &values("in", fields)).display().to_string()
        };
        assert_eq!(render(&["h", "../a", "x"]), "/log/h/.._a-h-x.log");
        assert_eq!(render(&["..", "", "\u{fffd}"]), "/log/_/_-_-_.log");
        let long = "h".repeat(300);
        let name = render(&[&long, "a", "b"]);
        let lengths: Vec<_> = name.split('/').map(str::len).collect();
        assert_eq!(lengths, [0, 3, 220, 225]);
    }

    #[test]
    fn time_is_utc_and_fields_are_filled() {
        assert_eq!(render("/log/{input}/%Y-%m-%d.log", "squid"), "/log/squid/1971-01-01.log");
        assert_eq!(render("plain", "squid"), "plain");
    }

    #[test]
    fn a_field_never_leaves_its_folder() {
        assert_eq!(render("/log/{input}.log", "../../etc/passwd"), "/log/.._.._etc_passwd.log");
        assert_eq!(render("/log/{input}/x", ".."), "/log/_/x");
        assert_eq!(render("/log/{input}/x", ""), "/log/_/x");
        assert_eq!(render("/log/{input}/x", "a\nb"), "/log/a_b/x");
    }

    #[test]
    fn wrong_templates_are_named() {
        for (template, said) in [
            ("", "empty"),
            ("/log/", "folder"),
            ("/log/{hots}", "unknown field {hots}"),
            ("/log/{input", "brace"),
            ("/log/}", "brace"),
            ("/log/%!", "strftime"),
        ] {
            let error = NameTemplate::parse(template).unwrap_err();
            assert!(error.contains(said), "{template}: {error}");
        }
    }

    #[test]
    fn files_of_a_template_are_known_again() {
        let template = NameTemplate::parse("/log/{input}/web1-%Y-%b-%d.log").unwrap();
        let made = |name| template.made(name, UNIX_EPOCH, &values("squid", &[]));
        assert_eq!(made("web1-2026-Nov-23.log"), Some(""));
        assert_eq!(made("web1-1999-May-01.log.zst"), Some(".zst"));
        assert_eq!(made("web2-2026-Nov-23.log"), None, "only the time's digits are free");
        assert_eq!(made("web1-2026-Nov-23"), None);
    }

    #[test]
    fn a_literal_name_is_taken_as_it_stands() {
        let name = NameTemplate::literal("/log/100%-{x}");
        assert_eq!(
            name.render(UNIX_EPOCH, &values("a", &[])).display().to_string(),
            "/log/100%-{x}"
        );
    }
}
