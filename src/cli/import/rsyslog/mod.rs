//! Converting rsyslog's configuration to logweir's.
//!
//! [`syntax`] parses files into statements, [`condition`] and [`template`] parse their contents,
//! [`map`] walks the statements as rsyslog would and converts them to nodes, [`action`] to outputs
//! and [`source`] to inputs.

mod action;
pub(super) mod condition;
mod map;
pub(super) mod pri;
pub(super) mod select;
pub(super) mod source;
mod syntax;
pub(super) mod template;

use std::path::{Path, PathBuf};

use self::syntax::{Body, Statement};
use super::document::Document;
use crate::config;

/// The maximum number of included files, and the maximum depth.
const FILES_MAX: usize = 256;
const DEPTH_MAX: usize = 8;

/// A statement and its file.
#[derive(Debug, Clone)]
struct Placed {
    file: String,
    statement: Statement,
}

/// Reads an rsyslog configuration with the files it includes; names that begin with `/` are
/// relative to `root`.
///
/// # Errors
/// That the file cannot be read.
pub(super) fn import(file: &Path, root: Option<&Path>) -> Result<Document, String> {
    let mut document = Document::default();
    document.note(&format!("From {}, a configuration of rsyslog.", file.display()));
    let mut loader = Loader { root, files: 0, found: Vec::new(), document: &mut document };
    loader.read(file, 0)?;
    let statements = loader.found;
    map::all(&statements, &mut document);
    Ok(document)
}

struct Loader<'a> {
    root: Option<&'a Path>,
    files: usize,
    found: Vec<Placed>,
    document: &'a mut Document,
}

impl Loader<'_> {
    fn read(&mut self, file: &Path, depth: usize) -> Result<(), String> {
        let name = file.display().to_string();
        let bytes = config::read_bytes(file, &name).map_err(|refusal| refusal.to_string())?;
        for statement in syntax::parse(&String::from_utf8_lossy(&bytes)) {
            match included(&statement.body) {
                Some((pattern, is_optional)) => {
                    let at = format!("{name}:{}", statement.line);
                    self.include((&pattern, is_optional), &name, &at, depth);
                }
                None => self.found.push(Placed { file: name.clone(), statement }),
            }
        }
        Ok(())
    }

    fn include(
        &mut self,
        (pattern, is_optional): (&str, bool),
        file: &str,
        at: &str,
        depth: usize,
    ) {
        let path = match (self.root, pattern.strip_prefix('/')) {
            (Some(root), Some(below)) => root.join(below),
            (None, Some(_)) => PathBuf::from(pattern),
            // rsyslog uses its own working folder; in practice the files are next to this one.
            (_, None) => Path::new(file).with_file_name(pattern),
        };
        let mut files = matching(&path);
        files.sort();
        let optional = pattern.contains(['*', '?', '[']) || is_optional;
        if files.is_empty() && !optional {
            self.document.leave(at, &format!("include {pattern}"), "there is no such file");
        }
        for next in files {
            self.files += 1;
            if self.files > FILES_MAX || depth == DEPTH_MAX {
                let limits = format!("the maximum is {FILES_MAX} files and a depth of {DEPTH_MAX}");
                self.document.leave(at, &format!("include {pattern}"), &limits);
                return;
            }
            if let Err(error) = self.read(&next, depth + 1) {
                let error = error.lines().next().unwrap_or_default().to_string();
                self.document.leave(at, &format!("include {}", next.display()), &error);
            }
        }
    }
}

/// The pattern that a statement includes, and whether there may be no such file.
fn included(body: &Body) -> Option<(String, bool)> {
    match body {
        Body::Directive(name, value) if name == "includeconfig" => Some((value.clone(), false)),
        Body::Object(object) if object.kind == "include" => {
            let file = object.get("file");
            // A text, or a name from the environment, is left.
            let is_file = !file.is_empty() && !file.starts_with('`');
            is_file.then(|| (file.to_string(), object.get("mode") == "optional"))
        }
        _ => None,
    }
}

/// The files whose names match a pattern; only its last part may have wildcards. Hidden files match
/// only if the pattern says so.
pub(super) fn matching(pattern: &Path) -> Vec<PathBuf> {
    let last = pattern.file_name().map(|name| name.to_string_lossy().into_owned());
    let Some(last) = last.filter(|name| name.contains(['*', '?'])) else {
        return match pattern.is_dir() {
            true => matching(&pattern.join("*")),
            false => Vec::from_iter(pattern.exists().then(|| pattern.to_path_buf())),
        };
    };
    let Some(Ok(entries)) = pattern.parent().map(std::fs::read_dir) else { return Vec::new() };
    let fits = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| {
            let hidden = name.starts_with('.') && !last.starts_with('.');
            !hidden && wildcard(last.as_bytes(), name.as_bytes())
        })
    };
    entries.flatten().map(|entry| entry.path()).filter(fits).filter(|path| path.is_file()).collect()
}

fn wildcard(pattern: &[u8], name: &[u8]) -> bool {
    // The position after the last star, and the position in the name at that point.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(c) if *c == name[n] || *c == b'?' => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((behind, from)) => {
                    star = Some((behind, from + 1));
                    (p, n) = (behind, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_a_shell_has_it() {
        for (pattern, name, is) in [
            ("*.conf", "50-default.conf", true),
            ("*.conf", "50-default.conf.bak", false),
            ("a?c*", "abc", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXb", false),
            ("*", "", true),
        ] {
            assert_eq!(wildcard(pattern.as_bytes(), name.as_bytes()), is, "{pattern} {name}");
        }
    }
}
