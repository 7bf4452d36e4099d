//! Regexes, and the keys by which lines are distributed or sampled.

use regex_automata::meta::Regex;

use crate::filter::key;
use crate::filter::regex;
use crate::parse::field::Field;
use crate::settings::{Entry, Report};

/// Reads a regex.
pub fn regex(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<String> {
    compiled(entry, report).map(|(text, _)| text.to_string())
}

/// Reads a regex; returns its text and the compiled form.
fn compiled<'t>(entry: &Entry<'t>, report: &mut Report<'_>) -> Option<(&'t str, Regex)> {
    let text = entry.text(report)?;
    match regex::compile(text) {
        Ok(regex) => Some((text, regex)),
        Err(error) => {
            let (message, at) = regex::explain(&error);
            let span = entry.within(report, at);
            report.error(&span, entry.path(), message);
            None
        }
    }
}

/// Reads the key of a line: a field in braces, or a regex with exactly one group.
pub fn key(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<String> {
    if let Some(field) = entry.as_str().and_then(key::field_in) {
        entry.accept(report, field.parse::<Field>())?;
        return entry.as_str().map(str::to_string);
    }
    let (text, found) = compiled(entry, report)?;
    let groups = regex::groups(&found);
    if groups == 1 {
        return Some(text.into());
    }
    let message = format!("must have exactly one group (…), this has {groups}");
    let help = "what the group finds is the key; (?:…) groups without counting";
    entry.wrong_help(report, message, help);
    None
}
