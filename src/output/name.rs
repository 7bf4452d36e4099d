//! File names with strftime, `{input}` and fields of the line, as in `{host}`.
//!
//! The fixed part of a path (everything before the first folder with a `{field}`) is the user's;
//! the value of a field can never leave it: `/`, NUL, control bytes and invalid UTF-8 become `_`,
//! and so do an empty value and a value of only dots. A value is cut where it would make a name
//! longer than file systems allow. A name that a field would make end like an archive's gets `_`
//! appended: no message names another file's archive.

mod any_time;
mod claims;
mod written;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::parse::field::Field;

pub use any_time::AtAnyTime;
pub use written::clean;

use written::{Written, zoned};

/// Appended to a name made by a message that belongs to another file.
pub const MARK: char = '_';

/// A parsed file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate {
    source: String,
    parts: Vec<Part>,
    fields: Vec<Field>,
    /// The zone of the times in the name.
    zone: TimeZone,
}

/// The values for a name, from one line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Values {
    /// The name of the input that received the line.
    pub input: Arc<str>,
    /// The values of [`NameTemplate::fields`], in their order, [`clean`]; empty if the line has
    /// none.
    pub fields: Vec<Vec<u8>>,
}

/// The name of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Its path.
    pub path: PathBuf,
    /// The values it was made from.
    pub values: Values,
    /// The length in bytes of the folder that no message influences; `None` if no message
    /// influences the path at all.
    pub trusted: Option<usize>,
    /// True if it has [`MARK`] appended.
    marked: bool,
}

impl Name {
    /// Makes it differ from the name of another output's file.
    pub fn mark(&mut self) {
        self.marked = true;
        self.path.as_mut_os_string().push(MARK.encode_utf8(&mut [0; 4]));
    }

    /// The approximate memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        let values = self.values.fields.iter().map(|value| value.len() + size_of::<Vec<u8>>());
        size_of::<Self>() + self.path.as_os_str().len() + values.sum::<usize>()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Literal text.
    Fixed(String),
    /// One strftime conversion.
    Time(String),
    /// `{input}`: the name of the input that received the line.
    Input,
    /// The field with this index among those of the name.
    Field(usize),
}

impl NameTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// One sentence that says what is wrong: an unknown `{field}`, an unmatched brace, a strftime
    /// letter that does not exist, an empty name or a folder's name.
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
        Ok(Self { source: source.into(), parts, fields, zone: TimeZone::UTC })
    }

    /// A name without special characters (udp2log's files).
    pub fn literal(source: &str) -> Self {
        let parts = vec![Part::Fixed(source.into())];
        Self { source: source.into(), parts, fields: Vec::new(), zone: TimeZone::UTC }
    }

    /// The same template, with its times in `zone`.
    pub fn in_zone(self, zone: TimeZone) -> Self {
        Self { zone, ..self }
    }

    /// As the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The fields of lines that the name depends on.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Returns whether the name depends on the time.
    pub fn has_time(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Time(_)))
    }

    /// The leading folder that depends on neither the time nor a line.
    pub fn fixed_folder(&self) -> &str {
        let Some(Part::Fixed(text)) = self.parts.first() else { return "" };
        &text[..text.rfind('/').map_or(0, |at| at + 1)]
    }

    /// The path at `when` for a line with these values.
    pub fn render(&self, when: SystemTime, values: &Values) -> PathBuf {
        PathBuf::from(self.written(when, values).text)
    }

    /// The name at `when` for a line with these values.
    pub fn name(&self, when: SystemTime, values: Values) -> Name {
        let Written { text, first_field, .. } = self.written(when, &values);
        let folder = |field: usize| text[..field].rfind('/').map_or(0, |at| at + 1);
        let trusted = first_field.map(folder);
        Name { path: PathBuf::from(text), values, trusted, marked: false }
    }

    fn written(&self, when: SystemTime, values: &Values) -> Written {
        let time = self.has_time().then(|| zoned(when, &self.zone));
        let mut written = Written::default();
        for part in &self.parts {
            match part {
                Part::Fixed(text) => written.push(text),
                Part::Time(format) => written.push_time(format, time.as_ref()),
                Part::Input => written.push_field(&values.input),
                Part::Field(at) => {
                    written.first_field.get_or_insert(written.text.len());
                    let value = values.fields.get(*at).map_or(&[][..], |value| value);
                    written.push_field(&String::from_utf8_lossy(value));
                }
            }
        }
        written.end_component();
        written
    }

    /// This name at another time.
    pub fn name_at(&self, when: SystemTime, name: &Name) -> PathBuf {
        let mut text = self.written(when, &name.values).text;
        text.extend(name.marked.then_some(MARK));
        PathBuf::from(text)
    }

    /// The parts of the name that depend on the time: as long as they stay the same, so does the
    /// name of lines with the same values.
    pub fn times(&self, when: SystemTime) -> String {
        let mut written = Written::default();
        let time = self.has_time().then(|| zoned(when, &self.zone));
        for part in &self.parts {
            if let Part::Time(format) = part {
                written.push_time(format, time.as_ref());
                written.push("/");
            }
        }
        written.text
    }
}

fn push_text(parts: &mut Vec<Part>, mut text: &str) -> Result<(), String> {
    while let Some(start) = text.find('%') {
        let (fixed, tail) = text.split_at(start);
        push_fixed(parts, fixed);
        // A conversion is '%', optional flags, and a letter; "%%" is a percent sign.
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use std::borrow::Cow;
    use std::path::Path;

    use super::*;
    use crate::limits::NAME_PART_MAX;

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
    fn a_field_never_makes_a_name_that_ends_as_an_archive_does() {
        let render = |template: &str, fields: &[&str]| {
            let template = NameTemplate::parse(template).unwrap();
            template.render(UNIX_EPOCH, &values("in", fields)).display().to_string()
        };
        for (template, fields, name) in [
            ("/l/{host}", &["h.20990101T000000Z"][..], "/l/h.20990101T000000Z_"),
            ("/l/{host}", &["h.20990101T000000Z.0001"], "/l/h.20990101T000000Z.0001_"),
            ("/l/{host}", &["h.zst"], "/l/h.zst_"),
            ("/l/{host}", &["h.zst.part"], "/l/h.zst.part_"),
            ("/l/{host}.{app}", &["h", "20990101T000000Z"], "/l/h.20990101T000000Z_"),
            ("/l/{host}T{app}", &["h.20990101", "000000Z"], "/l/h.20990101T000000Z_"),
            (
                "/l/{host}.%Y%m%dT%H%M%SZ",
                &["h.20990101T000000Z"],
                "/l/h.20990101T000000Z.19700101T000000Z_",
            ),
            // Folders too: they are next to other outputs' files.
            ("/l/{host}/x", &["h.20990101T000000Z"], "/l/h.20990101T000000Z_/x"),
            // What the user wrote is intended, …
            ("/l/{host}.zst", &["h"], "/l/h.zst"),
            ("/l/{host}.%Y%m%dT%H%M%SZ", &["h"], "/l/h.19700101T000000Z"),
            // … unless a field extends it.
            ("/l/{host}.zst", &["h.20990101T000000Z"], "/l/h.20990101T000000Z.zst_"),
            ("/l/{host}.log", &["h.20990101T000000Z"], "/l/h.20990101T000000Z.log"),
            ("/l/{host}", &["10.20.30.40"], "/l/10.20.30.40"),
        ] {
            assert_eq!(render(template, fields), name, "{template} {fields:?}");
        }
        // Also where a value is cut.
        let long = "h".repeat(NAME_PART_MAX - 17) + ".20990101T000000Z" + "x";
        let name = render("/l/{host}", &[&long]);
        assert!(name.ends_with(".20990101T000000Z_"), "{name}");
        assert_eq!(name.len(), "/l/".len() + NAME_PART_MAX + 1);
    }

    #[test]
    fn what_is_remembered_of_a_value_is_no_more_than_a_name_can_hold() {
        let template = NameTemplate::parse("/l/{host}").unwrap();
        let long = "h".repeat(60_000);
        let bad = "\u{9f}".repeat(60_000);
        let broken = [&[0xf0, 0x9f, 0x98][..]].concat().repeat(500);
        for value in [b"" as &[u8], b"..", b"web-1", "ü/ü".as_bytes(), long.as_bytes()]
            .into_iter()
            .chain([bad.as_bytes(), &broken])
        {
            let render = |value: &[u8]| {
                let fields = vec![value.to_vec()];
                template.render(UNIX_EPOCH, &Values { input: "in".into(), fields })
            };
            let cleaned = clean(value);
            assert!(cleaned.len() <= NAME_PART_MAX, "{}", cleaned.len());
            assert_eq!(render(&cleaned), render(value));
        }
        assert!(matches!(clean(b"web-1"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_folder_that_no_message_has_a_part_in_is_known() {
        let name = |template: &str| {
            let template = NameTemplate::parse(template).unwrap();
            let name = template.name(UNIX_EPOCH, values("in", &["h", "a"]));
            name.trusted.map(|len| name.path.to_str().unwrap()[..len].to_string())
        };
        assert_eq!(name("/log/%Y/x-{host}/{app}").as_deref(), Some("/log/1970/"));
        assert_eq!(name("{host}").as_deref(), Some(""));
        assert_eq!(name("/{host}").as_deref(), Some("/"));
        assert_eq!(name("/log/{input}/x"), None);
        assert_eq!(NameTemplate::parse("/log/a-%Y/{host}").unwrap().fixed_folder(), "/log/");
    }

    #[test]
    fn a_file_of_another_output_or_its_archive_is_known() {
        for (template, path, claims) in [
            ("/log/all.log", "/log/all.log", true),
            ("/log/all.log", "/log/all.log.20990101T000000Z.zst", true),
            ("/log/all.log", "/log/all.log2", false),
            ("/log/all.log", "/other/all.log", false),
            ("/log/web-%F.log", "/log/web-2020-01-01.log", true),
            ("/log/web-%F.log", "/log/web-1.log", false),
            ("/log/{host}/all.log", "/log/h/all.log", true),
            ("/log/{host}/all.log", "/log/h/i/all.log", false),
            ("/log/x{host}/%Y/all", "/log/xy/2020/all", true),
            ("/log/x{host}/%Y/all", "/log/y/2020/all", false),
            // Each could be the other's.
            ("/log/{host}.log", "/log/h.log", false),
            ("all.log", "all.log", true),
        ] {
            let parsed = NameTemplate::parse(template).unwrap();
            assert_eq!(parsed.claims(Path::new(path), UNIX_EPOCH), claims, "{template} {path}");
        }
    }

    #[test]
    fn times_are_told_in_the_zone_that_is_asked_for_also_when_clocks_change() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let template = NameTemplate::parse("/log/%F-%H.log").unwrap().in_zone(berlin);
        let name = |when: &str| {
            let when: Timestamp = when.parse().unwrap();
            template.render(when.into(), &Values::default()).display().to_string()
        };
        assert_eq!(name("2026-11-26T23:30:00Z"), "/log/2026-11-27-00.log");
        // The hour that is skipped in spring has no file, …
        assert_eq!(name("2026-03-29T00:59:59Z"), "/log/2026-03-29-01.log");
        assert_eq!(name("2026-03-29T01:00:00Z"), "/log/2026-03-29-03.log");
        // … and the one that occurs twice in autumn has one file for both.
        assert_eq!(name("2026-10-25T00:00:00Z"), "/log/2026-10-25-02.log");
        assert_eq!(name("2026-10-25T01:59:59Z"), "/log/2026-10-25-02.log");
        assert_eq!(name("2026-10-25T02:00:00Z"), "/log/2026-10-25-03.log");
    }

    #[test]
    fn wrong_templates_are_named() {
        for (template, message) in [
            ("", "empty"),
            ("/log/", "folder"),
            ("/log/{hots}", "unknown field {hots}"),
            ("/log/{input", "brace"),
            ("/log/}", "brace"),
            ("/log/%!", "strftime"),
        ] {
            let error = NameTemplate::parse(template).unwrap_err();
            assert!(error.contains(message), "{template}: {error}");
        }
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
