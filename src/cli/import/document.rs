//! The imported configuration: tables with their keys and comments.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::config::select::place_of;
use crate::printable::printable;

/// Returns whether a key says which lines a node takes.
fn chooses(key: &str) -> bool {
    place_of(key).is_some()
}

/// A configuration under construction.
#[derive(Debug, Default)]
pub(super) struct Document {
    head: Vec<String>,
    tables: Vec<Table>,
    names: HashSet<String>,
    left: usize,
    needless: Vec<String>,
    /// Where the statement is that is being converted.
    pub(super) place: String,
}

/// A table, as in `[output.mail]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    kind: &'static str,
    name: String,
    comments: Vec<String>,
    keys: Vec<(&'static str, String)>,
}

impl Table {
    /// Creates the table of a node.
    pub(super) fn new(kind: &'static str, name: String) -> Self {
        Self { kind, name, ..Self::default() }
    }

    /// Gives the node another name.
    pub(super) fn rename(&mut self, name: String) {
        self.name = name;
    }

    /// The node's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Adds a comment before the table.
    pub(super) fn comment(&mut self, text: &str) {
        self.comments.push(printable(text).into_owned());
    }

    /// Adds a key with a text.
    pub(super) fn text(&mut self, key: &'static str, value: &str) {
        self.raw(key, quoted(value));
    }

    /// Adds a key with a text, or with a list if there are several.
    pub(super) fn texts(&mut self, key: &'static str, values: &[String]) {
        match values {
            [one] => self.text(key, one),
            _ => {
                let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
                self.raw(key, format!("[{}]", values.join(", ")));
            }
        }
    }

    /// Adds a key with a TOML value.
    pub(super) fn raw(&mut self, key: &'static str, value: String) {
        self.keys.push((key, value));
    }

    /// The value of a key as written.
    fn value(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(other, _)| *other == key).map(|(_, value)| value.as_str())
    }

    /// The same table, reading from every input, so that the check can be applied to it alone.
    pub(super) fn alone(&self) -> Self {
        let mut table = self.clone();
        table.keys.retain(|(key, _)| *key != "from");
        table
    }

    /// The nodes it reads from: those it names if it has no selectors, else a filter made of its
    /// selectors.
    fn taken_from(&self, document: &mut Document) -> Vec<String> {
        let (choice, own): (Vec<_>, Vec<_>) =
            self.keys.iter().cloned().partition(|(key, _)| chooses(key));
        debug_assert!(!own.is_empty());
        if let [("from", names)] = &choice[..] {
            let names = names.trim_matches(['[', ']']).split(", ");
            return names.map(|name| name.trim_matches('"').to_string()).collect();
        }
        let name = document.name(&format!("for-{}", self.name));
        document.push(Self {
            kind: "filter",
            name: name.clone(),
            keys: choice,
            comments: Vec::new(),
        });
        vec![name]
    }

    /// Returns whether it equals another table in everything except the selectors.
    fn writes_as(&self, other: &Self) -> bool {
        let own = |table: &Self| -> Vec<(&'static str, String)> {
            table.keys.iter().filter(|(key, _)| !chooses(key)).cloned().collect()
        };
        own(self) == own(other)
    }

    /// The table as text.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for comment in &self.comments {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# {comment}");
        }
        let _ = writeln!(text, "[{}.{}]", self.kind, self.name);
        // The selection comes first.
        let mut keys: Vec<_> = self.keys.iter().collect();
        keys.sort_by_key(|(key, _)| place_of(key).unwrap_or(usize::MAX));
        for (key, value) in keys {
            let _ = writeln!(text, "{key} = {value}");
        }
        text
    }
}

impl Document {
    /// Adds a comment at the head.
    pub(super) fn note(&mut self, text: &str) {
        self.head.push(printable(text).into_owned());
    }

    /// Records something that could not be imported: what, where, and what to do instead. The same
    /// thing is reported once, with its first place.
    pub(super) fn leave(&mut self, at: &str, what: &str, instead: &str) {
        let text = printable(&format!(": {what}: {instead}")).into_owned();
        if self.head.iter().any(|line| line.starts_with("LEFT ") && line.ends_with(&text)) {
            return;
        }
        self.left += 1;
        self.head.push(printable(&format!("LEFT {at}: {what}: {instead}")).into_owned());
    }

    /// Records a setting that has no equivalent because nothing here needs it.
    pub(super) fn needless(&mut self, what: &str) {
        if !self.needless.iter().any(|known| known == what) {
            self.needless.push(what.to_string());
        }
    }

    /// How many things could not be imported.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Makes an unused node name from a word.
    pub(super) fn name(&mut self, word: &str) -> String {
        let good =
            |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
        let word: String = word.chars().map(good).take(40).collect();
        let word = word.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
        let word = word.trim_matches('-');
        let word = if word.is_empty() { "node" } else { word };
        let mut name = word.to_string();
        let mut number = 2;
        while !self.names.insert(name.clone()) {
            name = format!("{word}-{number}");
            number += 1;
        }
        name
    }

    /// Adds an output. If another one writes to the same file, the two become one that reads what
    /// both read; returns false if they write it in different ways.
    pub(super) fn push_output(&mut self, table: Table) -> bool {
        let same = |other: &Table| {
            other.kind == "output"
                && other.value("file").is_some()
                && other.value("file") == table.value("file")
        };
        let Some(at) = self.tables.iter().position(same) else {
            self.push(table);
            return true;
        };
        if !self.tables[at].writes_as(&table) {
            return false;
        }
        let first = self.tables[at].clone();
        let mut from = first.taken_from(self);
        from.extend(table.taken_from(self));
        let joined = &mut self.tables[at];
        joined.keys.retain(|(key, _)| !chooses(key));
        joined.comments.extend(table.comments);
        from.dedup();
        joined.texts("from", &from);
        true
    }

    /// Adds the peer of an output to those of another one; returns false if they send in different
    /// ways.
    pub(super) fn add_peer(&mut self, name: &str, table: &Table) -> bool {
        let Some(to) = table.value("forward").map(str::to_string) else { return false };
        let is_it = |other: &&mut Table| other.kind == "output" && other.name == name;
        let Some(before) = self.tables.iter_mut().find(is_it) else { return false };
        let others = |table: &Table| {
            let skip = |key: &str| key == "forward" || key == "spool" || chooses(key);
            let keys = table.keys.iter().filter(|(key, _)| !skip(key));
            keys.cloned().collect::<Vec<_>>()
        };
        let is_same = others(before) == others(table);
        let peers = before.keys.iter_mut().find(|(key, _)| *key == "forward");
        let (Some((_, peers)), true) = (peers, is_same) else { return false };
        *peers = format!("[{}, {to}]", peers.trim_matches(['[', ']']));
        before.comments.extend(table.comments.iter().cloned());
        true
    }

    /// Adds a table.
    pub(super) fn push(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// Returns whether there is a node of a kind.
    pub(super) fn has(&self, kind: &str) -> bool {
        self.tables.iter().any(|table| table.kind == kind)
    }

    /// The whole configuration as text.
    pub(super) fn text(&self) -> String {
        let mut head: String = self.head.iter().map(|line| format!("# {line}\n")).collect();
        if !self.needless.is_empty() {
            let all = printable(&self.needless.join(", ")).into_owned();
            head +=
                &format!("# Settings without an equivalent, which nothing here needs: {all}.\n");
        }
        let mut parts: Vec<_> = std::iter::once(head).filter(|head| !head.is_empty()).collect();
        for kind in ["input", "filter", "spool", "output"] {
            parts.extend(self.tables.iter().filter(|t| t.kind == kind).map(Table::to_text));
        }
        parts.join("\n")
    }
}

/// A TOML text: in single quotes if it has backslashes, as regexes do.
pub(super) fn quoted(text: &str) -> String {
    let literal = text.contains(['\\', '"']) && !text.contains('\'');
    if literal && !text.contains(char::is_control) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        // Writing to a string cannot fail.
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c)),
            c => write!(out, "{c}"),
        };
    }
    out + "\""
}
