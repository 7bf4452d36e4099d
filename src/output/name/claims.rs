//! Which paths belong to an output, so that no message makes another output write them.

use std::path::Path;
use std::time::SystemTime;

use super::{NameTemplate, Part, Values};
use crate::output::archive;

impl NameTemplate {
    /// Returns whether lines influence the last component of the name.
    fn names_files_by_lines(&self) -> bool {
        let own = |part: &Part| matches!(part, Part::Input | Part::Field(_));
        let last = |part: &Part| matches!(part, Part::Fixed(text) if text.contains('/'));
        let from = self.parts.iter().rposition(last).map_or(0, |at| at + 1);
        self.parts[from..].iter().any(own)
    }

    /// Returns whether a file with that path belongs to this template, or is an archive of one that
    /// does. Always false if lines influence the last component, because then anything could match.
    pub fn claims(&self, path: &Path, when: SystemTime) -> bool {
        if self.names_files_by_lines() {
            return false;
        }
        let Some(path) = path.to_str() else { return false };
        let (folder, file) = path.split_at(path.rfind('/').map_or(0, |at| at + 1));
        let names = self.of_values(when, &Values::default());
        names.ending(file).is_some_and(archive::is_ending) && self.folder_matches(folder)
    }

    /// Returns whether the name's folder can be that one.
    fn folder_matches(&self, folder: &str) -> bool {
        let mut parts: Vec<Option<&str>> = Vec::new();
        for part in &self.parts {
            parts.push(match part {
                Part::Fixed(text) => Some(text.as_str()),
                _ => None,
            });
        }
        let last = |part: &Option<&str>| part.is_some_and(|text| text.contains('/'));
        parts.truncate(parts.iter().rposition(last).map_or(0, |at| at + 1));
        if let Some(Some(text)) = parts.last_mut() {
            *text = &text[..text.rfind('/').map_or(0, |at| at + 1)];
        }
        matches_parts(&parts, folder)
    }
}

/// Returns whether a text consists of these parts; `None` matches anything within a component.
fn matches_parts(parts: &[Option<&str>], text: &str) -> bool {
    match parts.split_first() {
        None => text.is_empty(),
        Some((Some(fixed), rest)) => {
            text.strip_prefix(*fixed).is_some_and(|text| matches_parts(rest, text))
        }
        Some((None, rest)) => {
            let max = text.find('/').unwrap_or(text.len());
            let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
            ends.take_while(|end| *end <= max).any(|end| matches_parts(rest, &text[end..]))
        }
    }
}
