//! The names that a file has at other times, to find those of times that have passed.

use std::ops::Range;
use std::time::SystemTime;

use super::written::Written;
use super::{MARK, Name, NameTemplate, Values};

/// A name without its folder, at any time: where it has a digit from the time, any digit matches,
/// and for a letter any letter. It is rendered once, however many names it is compared with.
#[derive(Debug)]
pub struct AtAnyTime {
    file: String,
    /// The ranges that times occupy.
    times: Vec<Range<usize>>,
    marked: bool,
}

impl AtAnyTime {
    /// The beginning that all of them have.
    pub fn beginning(&self) -> &str {
        &self.file[..self.times.first().map_or(self.file.len(), |time| time.start)]
    }

    /// What follows in a file's name if it begins with one of them; `None` if it does not.
    pub fn ending<'n>(&self, name: &'n str) -> Option<&'n str> {
        let mut rest = name.chars();
        for (at, want) in self.file.char_indices() {
            let got = rest.next()?;
            let same_kind = want.is_ascii_digit() && got.is_ascii_digit()
                || want.is_alphabetic() && got.is_alphabetic();
            let is_free = || self.times.iter().any(|time| time.contains(&at));
            if got != want && !(same_kind && is_free()) {
                return None;
            }
        }
        let rest = rest.as_str();
        if self.marked { rest.strip_prefix(MARK) } else { Some(rest) }
    }
}

impl NameTemplate {
    /// This name at any time; `when` is one at which it can be rendered.
    pub fn at_any_time(&self, when: SystemTime, name: &Name) -> AtAnyTime {
        AtAnyTime { marked: name.marked, ..self.of_values(when, &name.values) }
    }

    /// The names of lines with these values.
    pub(super) fn of_values(&self, when: SystemTime, values: &Values) -> AtAnyTime {
        let Written { text, times, .. } = self.written(when, values);
        let from = text.rfind('/').map_or(0, |at| at + 1);
        let times = times.into_iter().filter(|time| time.end > from);
        let times = times.map(|time| time.start.saturating_sub(from)..time.end - from).collect();
        AtAnyTime { file: text[from..].to_string(), times, marked: false }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn names(template: &str) -> AtAnyTime {
        let template = NameTemplate::parse(template).unwrap();
        let fields = template.fields().iter().map(|_| b"web1".to_vec()).collect();
        template.of_values(UNIX_EPOCH, &Values { input: "squid".into(), fields })
    }

    #[test]
    fn files_of_a_template_are_known_again() {
        let names = names("/log/{input}/web1-%Y-%b-%d.log");
        assert_eq!(names.ending("web1-2026-Nov-23.log"), Some(""));
        assert_eq!(names.ending("web1-1999-May-01.log.zst"), Some(".zst"));
        assert_eq!(names.ending("web2-2026-Nov-23.log"), None, "only the time's digits are free");
        assert_eq!(names.ending("web1-2026-Nov-23"), None);
    }

    #[test]
    fn a_name_begins_as_at_any_time_up_to_the_first_time_in_it() {
        for (template, beginning) in [
            ("/log/{host}-%H.log", "web1-"),
            ("/log/%Y/{host}-%H.log", "web1-"),
            ("/log/%Y-{host}.log", ""),
            ("/log/%Y/{host}.log", "web1.log"),
            ("/log/x", "x"),
        ] {
            let names = names(template);
            assert_eq!(names.beginning(), beginning, "{template}");
            assert_eq!(names.ending(&names.file), Some(""));
        }
    }
}
