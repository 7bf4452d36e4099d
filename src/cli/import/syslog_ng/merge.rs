//! One text of a configuration and the files that it includes, as syslog-ng reads it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cli::import::rsyslog::matching;
use crate::config;

/// The maximum number of files, the maximum depth, and the maximum size of all files together.
const FILES_MAX: usize = 256;
const DEPTH_MAX: usize = 8;
const SIZE_MAX: usize = 16 << 20;

/// The text of all files.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) text: String,
    lines: usize,
    /// From which line on the text is of which file, and the number of that line there.
    places: Vec<(usize, String, usize)>,
    files: usize,
    /// What `@define` says.
    defined: BTreeMap<String, String>,
}

impl Merged {
    /// Where a line of the text is from, as `FILE:LINE`.
    pub(super) fn at(&self, line: usize) -> String {
        let place = self.places.iter().rev().find(|(first, ..)| *first <= line);
        place.map_or_else(String::new, |(first, file, number)| {
            format!("{file}:{}", number + line - first)
        })
    }

    fn add(&mut self, file: &Path, root: Option<&Path>, depth: usize) -> Result<(), String> {
        let name = file.display().to_string();
        let bytes = config::read_bytes(file, &name).map_err(|refusal| refusal.to_string())?;
        // Comments of old may be in another encoding.
        let text = String::from_utf8_lossy(&bytes);
        self.files += 1;
        self.places.push((self.lines + 1, name.clone(), 1));
        for (at, line) in text.lines().enumerate() {
            let line = self.replaced(line);
            let Some(files) = self.included(&line, file, root, depth) else {
                self.text += &line;
                self.text.push('\n');
                self.lines += 1;
                continue;
            };
            if self.text.len() > SIZE_MAX {
                return Err(format!("{name}: all files together are longer than {SIZE_MAX} bytes"));
            }
            for file in files {
                self.add(&file, root, depth + 1)?;
            }
            self.places.push((self.lines + 1, name.clone(), at + 2));
        }
        Ok(())
    }

    /// The files that a line includes; `None` for another line, and for one that stays because
    /// there are none, or too many.
    fn included(
        &self,
        line: &str,
        file: &Path,
        root: Option<&Path>,
        depth: usize,
    ) -> Option<Vec<PathBuf>> {
        let name = line.trim().strip_prefix("@include")?.trim().trim_matches(['"', '\'']);
        if name.ends_with("scl.conf") || depth == DEPTH_MAX {
            return None;
        }
        let path = match (root, name.strip_prefix('/')) {
            (Some(root), Some(below)) => root.join(below),
            (None, Some(_)) => PathBuf::from(name),
            (_, None) => file.with_file_name(name),
        };
        let mut files = matching(&path);
        files.sort();
        let is_pattern = name.contains(['*', '?']) && path.parent().is_some_and(Path::is_dir);
        let fits = self.files + files.len() <= FILES_MAX && (is_pattern || !files.is_empty());
        fits.then_some(files)
    }

    /// A line with the values of `@define` in the place of names in backticks.
    fn replaced(&mut self, line: &str) -> String {
        if let Some(defined) = line.trim().strip_prefix("@define")
            && let Some((name, value)) = defined.trim().split_once(char::is_whitespace)
        {
            let value = value.trim().trim_matches('"').to_string();
            self.defined.insert(name.into(), value);
        }
        let mut line = line.to_string();
        for (name, value) in &self.defined {
            line = line.replace(&format!("`{name}`"), value);
        }
        line
    }
}

/// Reads a file and what it includes.
///
/// # Errors
/// A file that cannot be read, is not UTF-8, or is too large.
pub(super) fn merge(file: &Path, root: Option<&Path>) -> Result<Merged, String> {
    let mut merged = Merged::default();
    // What syslog-ng itself defines, for a console.
    merged.defined.insert("tty10".into(), "/dev/tty10".into());
    merged.add(file, root, 0)?;
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_files_stand_where_they_are_included_and_lines_keep_their_places() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("etc/conf.d");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("b.conf"), "b1\nb2 `port`\n").unwrap();
        std::fs::write(folder.join("a.conf"), "a1\n").unwrap();
        let main = root.path().join("etc/main.conf");
        let text = "@define port \"514\"\n@include \"scl.conf\"\n@include \"/etc/conf.d/*.conf\"\n\
                    m4\n@include \"conf.d/*.none\"\n@include \"none.conf\"\nm7\n";
        std::fs::write(&main, text).unwrap();
        let merged = merge(&main, Some(root.path())).unwrap();
        let wanted = "@define port \"514\"\n@include \"scl.conf\"\na1\nb1\nb2 514\nm4\n\
                      @include \"none.conf\"\nm7\n";
        assert_eq!(merged.text, wanted);
        for (line, word) in [(1, "main.conf:1"), (3, "a.conf:1"), (5, "b.conf:2")] {
            assert!(merged.at(line).ends_with(word), "{}", merged.at(line));
        }
        for (line, word) in [(6, "main.conf:4"), (7, "main.conf:6"), (8, "main.conf:7")] {
            assert!(merged.at(line).ends_with(word), "{}", merged.at(line));
        }
        // A file that includes itself ends.
        std::fs::write(&main, "@include \"main.conf\"\n").unwrap();
        assert_eq!(merge(&main, None).unwrap().text, "@include \"main.conf\"\n");
    }
}
