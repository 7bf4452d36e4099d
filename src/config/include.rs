//! `include = "conf.d/*.toml"`: files that add nodes.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Parsed, read_bytes, text_of};
use crate::limits;
use crate::settings::units::show_size;
use crate::settings::{Entry, Key, Refusal, Report, Section, Value};

/// The keys before any table.
pub(super) const KEYS: &[Key] = &[INCLUDE];

const INCLUDE: Key = Key::new(
    "include",
    Value::Texts("Path with * and ? in its last part", r"\S"),
    "Files with these names are also read, in the order of their names; they may add nodes.",
);

/// A file included in the main one.
pub(super) struct Included {
    /// Its name.
    pub(super) name: String,
    /// Its content.
    pub(super) text: String,
}

/// Reads the files that a configuration includes; none if it is not valid TOML, which is reported
/// elsewhere.
///
/// # Errors
/// If an `include` is wrong, or a file as a whole.
pub(super) fn read(
    (root, errors): &Parsed<'_>,
    text: &str,
    name: &str,
) -> Result<Vec<Included>, Refusal> {
    let section = Section::file(root.get_ref(), 0);
    let Some(entry) = section.entry(&INCLUDE).filter(|_| errors.is_empty()) else {
        return Ok(Vec::new());
    };
    let mut report = Report::new(name, text);
    let folder = Path::new(name).parent().unwrap_or_else(|| Path::new(""));
    let Some(paths) = paths(entry, folder, &mut report) else { return Err(report.refuse()) };
    let mut size = text.len() as u64;
    let mut included = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        let text = text_of(&read_bytes(&path, &name)?, &name)?;
        size += text.len() as u64;
        if size > limits::CONFIG_MAX {
            let max = show_size(limits::CONFIG_MAX);
            entry.wrong(&mut report, format!("all files together are larger than {max}"));
            return Err(report.refuse());
        }
        included.push(Included { name, text });
    }
    Ok(included)
}

/// The files named, each once; `None` if something is wrong, which is reported.
fn paths(entry: &Entry<'_>, folder: &Path, report: &mut Report<'_>) -> Option<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for pattern in entry.names(report)? {
        match matching(&folder.join(*pattern.get_ref())) {
            Ok(more) => paths.extend(more),
            Err(message) => {
                report.error(&pattern.span(), entry.path(), message);
                return None;
            }
        }
    }
    let mut seen = HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    if paths.len() > limits::INCLUDED_MAX {
        let (files, max) = (paths.len(), limits::INCLUDED_MAX);
        entry.wrong(report, format!("names {files} files: the maximum is {max}"));
        return None;
    }
    Some(paths)
}

/// The files that match a pattern, sorted by name. A pattern may match none; a name without `*` and
/// `?` is a file that must exist.
pub(super) fn matching(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let name = pattern.file_name().and_then(|name| name.to_str()).ok_or("names no file")?;
    let folder = pattern.parent().unwrap_or_else(|| Path::new(""));
    let is_pattern = |text: &str| text.contains(['*', '?']);
    if folder.to_str().is_some_and(is_pattern) {
        return Err("only the last part of a path can have * and ?".into());
    }
    if !is_pattern(name) {
        return Ok(vec![pattern.to_path_buf()]);
    }
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let failed = |error: std::io::Error| format!("{}: {error}", here.display());
    let entries = match fs::read_dir(here) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // As in a shell, a pattern skips names that begin with a dot.
        let found = entry.map_err(failed)?.file_name().into_string().ok();
        names.extend(found.filter(|found| !found.starts_with('.') && fits(name, found)));
    }
    names.sort_unstable();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Returns whether a name matches a pattern, in which `*` is any text and `?` any character.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    // The position of the last `*`, and the end of the text it has matched.
    let mut star: Option<(usize, usize)> = None;
    let (mut at, mut taken) = (0, 0);
    while taken < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, taken));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[taken] => {
                at += 1;
                taken += 1;
            }
            _ => {
                let Some((back, end)) = star else { return false };
                star = Some((back, end + 1));
                at = back + 1;
                taken = end + 1;
            }
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns_as_in_a_shell() {
        for (pattern, name, good) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml.bak", false),
            ("??-*", "10-squid.toml", true),
            ("??-*", "1-squid.toml", false),
            ("*a*b", "xaybzb", true),
            ("*a*b", "xayb.", false),
            ("é?", "éž", true),
            ("a", "a", true),
            ("", "", true),
        ] {
            assert_eq!(fits(pattern, name), good, "{pattern} {name}");
        }
    }
}
