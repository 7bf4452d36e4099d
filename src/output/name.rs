//! File names with strftime in UTC and `{input}`.
//!
//! The fixed part of a path (all before the first folder with a `{field}`) is the
//! user's; what a field puts in can never leave it: `/`, NUL and control bytes become
//! `_`, an empty value becomes `_`, and so does a value of only dots.

use std::path::PathBuf;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// A parsed file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Bytes as they stand.
    Fixed(String),
    /// A strftime format without fields.
    Time(String),
    /// `{input}`: the name of the input a line came by.
    Input,
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
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some(open) = rest.find(['{', '}']) {
            let (text, tail) = rest.split_at(open);
            push_text(&mut parts, text)?;
            let Some((field, after)) = tail.strip_prefix('{').and_then(|t| t.split_once('}'))
            else {
                return Err("a brace stands alone: write {input}".into());
            };
            match field {
                "input" => parts.push(Part::Input),
                other => return Err(format!("unknown field {{{other}}}: there is {{input}}")),
            }
            rest = after;
        }
        push_text(&mut parts, rest)?;
        Ok(Self { source: source.into(), parts })
    }

    /// A name in which nothing is special (udp2log's files).
    pub fn literal(source: &str) -> Self {
        Self { source: source.into(), parts: vec![Part::Fixed(source.into())] }
    }

    /// As the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether the name changes with the time.
    pub fn has_time(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Time(_)))
    }

    /// The name at `when` for a line that came by `input`.
    pub fn render(&self, when: SystemTime, input: &str) -> PathBuf {
        let mut name = String::with_capacity(self.source.len() + 16);
        for part in &self.parts {
            match part {
                Part::Fixed(text) => name.push_str(text),
                Part::Time(format) => push_time(&mut name, format, when),
                Part::Input => push_field(&mut name, input),
            }
        }
        PathBuf::from(name)
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    if !text.contains('%') {
        parts.push(Part::Fixed(text.into()));
        return Ok(());
    }
    let zoned = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    strtime::format(text, &zoned).map_err(|error| format!("strftime does not take it: {error}"))?;
    parts.push(Part::Time(text.into()));
    Ok(())
}

fn push_time(name: &mut String, format: &str, when: SystemTime) {
    let stamp = Timestamp::try_from(when).unwrap_or(Timestamp::UNIX_EPOCH);
    // The format was tried when the template was read, so this cannot fail.
    if let Ok(text) = strtime::format(format, &stamp.to_zoned(TimeZone::UTC)) {
        name.push_str(&text);
    }
}

fn push_field(name: &mut String, value: &str) {
    if value.bytes().all(|byte| byte == b'.') {
        name.push('_');
        return;
    }
    for c in value.chars() {
        name.push(if c == '/' || c.is_control() { '_' } else { c });
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn render(template: &str, input: &str) -> String {
        let when = UNIX_EPOCH + Duration::from_secs(86_400 * 365);
        NameTemplate::parse(template).unwrap().render(when, input).display().to_string()
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
    fn a_literal_name_is_taken_as_it_stands() {
        let name = NameTemplate::literal("/log/100%-{x}");
        assert_eq!(name.render(UNIX_EPOCH, "a").display().to_string(), "/log/100%-{x}");
    }
}
