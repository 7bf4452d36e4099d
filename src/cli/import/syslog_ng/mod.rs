//! Converting syslog-ng's configuration to logweir's: sources, destinations, filters, templates and
//! log paths; not its rewrite rules, parsers, junctions and the rest of its language.

mod ends;
mod filter;
mod macros;
mod map;
mod syntax;

use std::path::Path;

use super::document::Document;
use crate::config;

/// Reads syslog-ng's configuration.
///
/// # Errors
/// It cannot be read, or is not understood at all.
pub(super) fn import(file: &Path) -> Result<Document, String> {
    let name = file.display().to_string();
    let bytes = config::read_bytes(file, &name).map_err(|refusal| refusal.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{name}: is not UTF-8"))?;
    let statements = syntax::parse(&text).map_err(|error| format!("{name}: {error}"))?;
    let mut document = Document::default();
    document.note(&format!("From {name}, a configuration of syslog-ng."));
    map::all(&name, &statements, &mut document);
    Ok(document)
}
