//! Converting syslog-ng's configuration to logweir's: sources, destinations, filters, templates and
//! log paths with their branches, junctions and what `set` rewrites; not its parsers and the rest
//! of its language.

mod ends;
mod filter;
mod macros;
mod map;
mod merge;
mod syntax;

use std::path::Path;

use super::document::Document;

/// Reads syslog-ng's configuration with the files it includes; names that begin with `/` are
/// relative to `root`.
///
/// # Errors
/// It cannot be read, or is not understood at all.
pub(super) fn import(file: &Path, root: Option<&Path>) -> Result<Document, String> {
    let name = file.display().to_string();
    let merged = merge::merge(file, root)?;
    let statements = syntax::parse(&merged.text).map_err(|error| {
        // Errors begin with the line.
        let line = error.strip_prefix("line ").and_then(|rest| rest.split_once(':'));
        match line.and_then(|(line, what)| Some((line.parse().ok()?, what))) {
            Some((line, what)) => format!("{}:{what}", merged.at(line)),
            None => format!("{name}: {error}"),
        }
    })?;
    let mut document = Document::default();
    document.note(&format!("From {name}, a configuration of syslog-ng."));
    map::all(merged, &statements, &mut document);
    Ok(document)
}
