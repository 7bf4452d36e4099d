//! All tables with their keys: the check for unknown and misplaced keys.
//!
//! The keys themselves are defined next to their readers; this module collects them.

use std::sync::OnceLock;

use super::plan::{Kind, OUTPUTS};
use super::{daemon, filter, include, output, select, spool};
use crate::proto::{INPUTS, is_key};
use crate::settings::diagnostic::shown;
use crate::settings::{Choice, Entry, Form, Key, Report, Section, nearest};

/// The tables of one kind of node.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// The kind.
    pub kind: Kind,
    /// The keys common to all of them, in groups.
    pub common: &'static [&'static [Key]],
    /// The choices for such a node.
    pub choices: &'static [Choice],
}

/// The keys before any table.
pub const TOP: &[Key] = include::KEYS;

/// The keys of `[daemon]`.
pub const DAEMON: &[Key] = daemon::KEYS;

/// All kinds of node, in the order of the flow.
pub const TABLES: [Table; 4] = [
    Table { kind: Kind::Input, common: &[], choices: INPUTS },
    Table { kind: Kind::Filter, common: select::KEYS, choices: filter::CHOICES },
    Table { kind: Kind::Spool, common: select::KEYS, choices: spool::CHOICES },
    Table { kind: Kind::Output, common: output::COMMON, choices: OUTPUTS },
];

impl Table {
    /// The table of a kind.
    pub fn of(kind: Kind) -> Self {
        TABLES[kind as usize]
    }

    /// The keys that every node of the kind may have: the common ones, and those that state what it
    /// is.
    fn general(&self) -> impl Iterator<Item = &'static Key> + use<> {
        let common = self.common.iter().flat_map(|group| group.iter());
        common.chain(self.choices.iter().filter_map(|choice| choice.key.as_ref()))
    }

    /// The keys that state what a node is.
    pub fn chosen_by(&self) -> Vec<&'static str> {
        let keys = self.choices.iter().filter_map(|choice| choice.key.as_ref());
        keys.map(|key| key.name).collect()
    }

    /// The names of all keys that a node of the kind may have, sorted. They are collected once,
    /// however many nodes there are.
    fn names(&self) -> &'static [&'static str] {
        static NAMES: [OnceLock<Vec<&str>>; TABLES.len()] = [const { OnceLock::new() }; 4];
        NAMES[self.kind as usize].get_or_init(|| {
            let forms = self.choices.iter().flat_map(|choice| choice.forms);
            let keys = self.general().chain(forms.flat_map(|form| form.all()));
            let mut names: Vec<_> = keys.map(|key| key.name).collect();
            names.sort_unstable();
            names.dedup();
            names
        })
    }

    /// What has a key, in the plural: the kind, or some of its forms.
    fn owners(&self, name: &str) -> Vec<String> {
        let all = self.choices.iter().all(|choice| choice.has(name));
        if all || self.general().any(|key| key.name == name) {
            return vec![plural(self.kind.word())];
        }
        let mut owners = Vec::new();
        for choice in self.choices {
            if choice.has(name) {
                owners.push(plural(choice.name));
            } else {
                let forms = choice.forms.iter().filter(|form| form.has(name));
                owners.extend(forms.map(|form| plural(form.name)));
            }
        }
        owners
    }

    /// The form of a node with this choice.
    pub fn form(&self, section: &Section<'_>, chosen: &str) -> Option<&'static Form> {
        let choice = self.choices.iter().find(|choice| match &choice.key {
            Some(_) => is_key(choice, chosen),
            None => chosen.is_empty(),
        })?;
        choice.form(section.get(chosen).and_then(|entry| entry.as_str()))
    }
}

/// The names of all keys, except those of tables within a node's.
#[cfg(test)]
pub(super) fn all_names() -> Vec<&'static str> {
    let daemon = TOP.iter().chain(DAEMON).map(|key| key.name);
    daemon.chain(TABLES.iter().flat_map(Table::names).copied()).collect()
}

/// Reports every key that is unknown or belongs elsewhere.
///
/// `form` is what the node is; `None` if the table does not say.
pub fn check(section: &Section<'_>, kind: Kind, form: Option<&Form>, report: &mut Report<'_>) {
    let table = Table::of(kind);
    let names = table.names();
    for entry in &section.entries {
        if names.binary_search(&entry.key).is_err() {
            elsewhere(entry, &table, names, report);
            continue;
        }
        let Some(form) = form else { continue };
        if !form.has(entry.key) && !table.general().any(|key| key.name == entry.key) {
            let owners = spoken(&table.owners(entry.key));
            let message = format!("`{}` is a key of {owners}; this is a {}", entry.key, form.name);
            entry.misplaced(report, message);
        }
    }
}

/// Reports a key that no node of this kind has: another kind may have it.
fn elsewhere(entry: &Entry<'_>, table: &Table, names: &[&str], report: &mut Report<'_>) {
    let kind = table.kind.word();
    let owners = |table: &Table| table.owners(entry.key);
    let owners: Vec<_> = TABLES.iter().flat_map(owners).collect();
    if owners.is_empty() {
        let help = nearest(entry.key, names.iter().copied());
        let all = || format!("{} has: {}", a(kind), names.join(", "));
        let help = help.unwrap_or_else(all);
        entry.misplaced(report, format!("unknown key `{}`", shown(entry.key))).help(help);
        return;
    }
    let owners = spoken(&owners);
    let message = format!("`{}` is a key of {owners}; this is {}", entry.key, a(kind));
    entry.misplaced(report, message);
}

/// A word with its article.
fn a(word: &str) -> String {
    let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {word}")
}

/// Joins words with commas and an `and`.
fn spoken(words: &[String]) -> String {
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

fn plural(word: &str) -> String {
    let split = |at: &'static str| word.split_once(at).map(|(before, after)| (before, at, after));
    match split(" input ").or_else(|| split(" without ")) {
        Some((before, " input ", after)) => format!("{before} inputs {after}"),
        Some((before, at, after)) => format!("{before}s{at}{after}"),
        None => format!("{word}{}", if word.ends_with('s') { "es" } else { "s" }),
    }
}

/// Returns the choice that a table has made; reports it if there is none or several.
pub fn choose(section: &Section<'_>, kind: Kind, report: &mut Report<'_>) -> Option<&'static str> {
    let choices = Table::of(kind).chosen_by();
    let words = || {
        let words = Table::of(kind).chosen_by();
        words.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ")
    };
    let mut made = choices.into_iter().filter_map(|choice| Some((choice, section.get(choice)?)));
    let Some((first, entry)) = made.next() else {
        let message = format!("needs one of {}", words());
        report.error(&section.span, &section.path, message);
        return None;
    };
    let mut alone = true;
    for (_, other) in made {
        let message = format!("has `{first}` already: only one of {} is allowed", words());
        other.misplaced(report, message).label(&entry.key_span, "chosen here");
        alone = false;
    }
    alone.then_some(first)
}
