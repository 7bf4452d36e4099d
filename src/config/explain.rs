//! The explanation of a key, wherever it may appear.

use super::keys::{DAEMON, TABLES, TOP, Table};
use crate::settings::key::Key;
use crate::settings::nearest;

/// A place where a key may appear.
struct Place {
    /// The key with its tables, as in `output.tls.ca`.
    path: String,
    /// The table, as a user would call it.
    table: String,
    /// The key's definition there.
    key: &'static Key,
}

/// Explains a key, given its name alone or with its tables, as in `output.queue` or `spool.dir`.
///
/// # Errors
/// If there is no such key; suggests similar ones.
pub fn explain(name: &str) -> Result<String, String> {
    let places = places();
    let found: Vec<_> = places.iter().filter(|place| place.is_called(name)).collect();
    if found.is_empty() {
        let names = places.iter().map(|place| place.key.name);
        let paths = places.iter().map(|place| place.path.as_str());
        let near = if name.contains('.') { nearest(name, paths) } else { nearest(name, names) };
        let help = near.unwrap_or_else(|| "see logweir.toml(5) for all keys".into());
        return Err(format!("there is no key `{name}`: {help}"));
    }
    // Explain once what is the same in several places.
    let mut texts: Vec<(String, Vec<&str>)> = Vec::new();
    for place in found {
        let text = text(place.key);
        match texts.iter_mut().find(|(known, _)| *known == text) {
            Some((_, tables)) => tables.push(&place.table),
            None => texts.push((text, vec![&place.table])),
        }
    }
    let texts: Vec<_> = texts.into_iter().map(|(text, tables)| head(&tables) + &text).collect();
    Ok(texts.join("\n"))
}

impl Place {
    fn is_called(&self, name: &str) -> bool {
        let bare = name.trim_start_matches('[').replace(']', "");
        self.key.name == bare || self.path == bare || self.path.ends_with(&format!(".{bare}"))
    }
}

/// The tables that have a key, one per line.
fn head(tables: &[&str]) -> String {
    let mut lines: Vec<String> = tables.iter().map(|table| format!("{table}\n")).collect();
    lines.dedup();
    lines.concat()
}

fn text(key: &Key) -> String {
    let mut text = format!("  {}: {}.\n  {}\n", key.name, key.value.describe(), key.doc);
    let default = key.default_sentence();
    if !default.is_empty() {
        text += &format!("  {default}\n");
    }
    text
}

/// Every key in every place.
fn places() -> Vec<Place> {
    let mut places = Vec::new();
    for key in TOP {
        places.push(Place { path: key.name.into(), table: "before any table".into(), key });
    }
    for key in DAEMON {
        push(&mut places, "daemon", "[daemon]", key);
    }
    for table in &TABLES {
        of_table(&mut places, table);
    }
    places
}

fn of_table(places: &mut Vec<Place>, table: &Table) {
    let kind = table.kind.word();
    let any = format!("[{kind}.NAME]");
    for key in table.common.iter().flat_map(|group| group.iter()) {
        push(places, kind, &any, key);
    }
    for choice in table.choices {
        if let Some(key) = &choice.key {
            push(places, kind, &any, key);
        }
        for form in choice.forms {
            let here = match &choice.key {
                Some(key) => match form.scheme {
                    Some(scheme) => format!("{any} with {} = \"{scheme}://…\"", key.name),
                    None => format!("{any} with {}", key.name),
                },
                None => any.clone(),
            };
            for key in form.all() {
                push(places, kind, &here, key);
            }
        }
    }
}

fn push(places: &mut Vec<Place>, path: &str, table: &str, key: &'static Key) {
    let path = format!("{path}.{}", key.name);
    for inner in key.inner() {
        push(places, &path, &format!("{table}, in {} = {{…}}", key.name), inner);
    }
    places.push(Place { path, table: table.into(), key });
}
