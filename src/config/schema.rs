//! The JSON Schema of the whole configuration, generated from the definitions of its keys.
//!
//! It is draft 7, the version that TOML editors (taplo) understand. A node's table is one of the
//! forms of its kind, each with its own keys and no others.

use serde_json::{Map, Value as Json, json};

use super::keys::{DAEMON, TABLES, TOP, Table};
use crate::limits;
use crate::settings::key::{self, Choice, Form, Key, Value};

/// A size as text.
const SIZE: &str = r"^\s*[0-9]+\s*(B|KiB|MiB|GiB)?\s*$";
/// A time.
const TIME: &str = r"^\s*[0-9]+\s*(ms|s|m|h|d)\s*$";
/// The name of a node.
const NAME: &str = "^[A-Za-z0-9_.-]+$";

/// The schema.
pub fn schema() -> Json {
    let mut properties: Map<_, _> =
        TOP.iter().map(|key| (key.name.into(), property(key))).collect();
    properties.insert("daemon".into(), table(DAEMON.iter(), &[], "The daemon as a whole."));
    for table in &TABLES {
        let nodes = json!({
            "description": format!("The {}s, by name.", table.kind.word()),
            "type": "object",
            "propertyNames": { "pattern": NAME, "maxLength": limits::NAME_MAX },
            "additionalProperties": node(table),
        });
        properties.insert(table.kind.word().into(), nodes);
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "logweir.toml",
        "description": "The configuration of logweir.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        // Nothing is required: an input and an output may be in an included file.
    })
}

/// A node: one of the forms of its kind.
fn node(kind: &Table) -> Json {
    let choices = kind.choices.iter();
    let forms = choices.flat_map(|choice| choice.forms.iter().map(move |form| (choice, form)));
    let mut forms: Vec<_> = forms.map(|(choice, form)| node_form(kind, choice, form)).collect();
    match forms.len() {
        1 => forms.remove(0),
        _ => json!({ "oneOf": forms }),
    }
}

fn node_form(kind: &Table, choice: &'static Choice, form: &'static Form) -> Json {
    let common = kind.common.iter().flat_map(|group| group.iter());
    let keys = choice.key.iter().chain(form.all()).chain(common);
    let required: Vec<_> = match &choice.key {
        Some(key) => vec![key.name],
        None => required(form.all()),
    };
    let mut table = table(keys, &required, form.name);
    let Some(key) = &choice.key else { return table };
    let value = &mut table["properties"][key.name];
    let others: Vec<_> = choice.forms.iter().filter_map(|other| other.scheme).collect();
    match form.scheme {
        Some(scheme) => value["pattern"] = format!("^{scheme}://").into(),
        None if others.is_empty() => {}
        // The form of all other values.
        None => value["not"] = json!({ "pattern": format!("^({})://", others.join("|")) }),
    }
    table
}

/// A table with these keys and no others.
fn table<'k>(keys: impl Iterator<Item = &'k Key>, required: &[&str], description: &str) -> Json {
    let properties: Map<_, _> = keys.map(|key| (key.name.into(), property(key))).collect();
    let mut table = json!({
        "description": description,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        table["required"] = required.into();
    }
    table
}

/// The keys that a table requires.
fn required<'k>(keys: impl Iterator<Item = &'k Key>) -> Vec<&'k str> {
    keys.filter(|key| key.default == key::Default::Required).map(|key| key.name).collect()
}

fn property(key: &Key) -> Json {
    let mut property = value(&key.value);
    let default = key.default_sentence();
    property["description"] = format!("{} {default}", key.doc).trim().into();
    if let key::Default::Value(text) = key.default
        && let Some(default) = literal(text)
    {
        property["default"] = default;
    }
    property
}

/// A value as written in the file.
fn literal(text: &str) -> Option<Json> {
    let table: toml::Table = format!("value = {text}").parse().ok()?;
    serde_json::to_value(table.get("value")?).ok()
}

fn value(value: &Value) -> Json {
    match value {
        Value::Size(bounds) => {
            let bytes = integer(*bounds.start(), *bounds.end());
            json!({ "anyOf": [bytes, { "type": "string", "pattern": SIZE }] })
        }
        Value::Time(_) => json!({ "type": "string", "pattern": TIME }),
        Value::TwoTimes => {
            let time = json!({ "type": "string", "pattern": TIME });
            json!({ "type": "array", "items": time, "minItems": 2, "maxItems": 2 })
        }
        Value::Integer(bounds) => integer(*bounds.start(), *bounds.end()),
        Value::Integers(bounds) => list(&integer(*bounds.start(), *bounds.end())),
        Value::Bool => json!({ "type": "boolean" }),
        Value::True => json!({ "const": true }),
        Value::Text(_, pattern) => text(pattern),
        Value::Words(words) => json!({ "enum": words }),
        Value::Texts(_, pattern) => {
            json!({ "anyOf": [text(pattern), list(&text(pattern))] })
        }
        Value::Selector => selector(),
        Value::Selectors => {
            let params = json!({ "type": "object", "additionalProperties": selector() });
            json!({ "type": "object", "additionalProperties": params })
        }
        // Its description is that of its key.
        Value::Table(keys) => table(keys.iter(), &required(keys.iter()), ""),
        Value::Either(values) => {
            json!({ "anyOf": values.iter().map(self::value).collect::<Vec<_>>() })
        }
    }
}

fn integer(min: u64, max: u64) -> Json {
    let mut integer = json!({ "type": "integer", "minimum": min });
    if max != u64::MAX {
        integer["maximum"] = max.into();
    }
    integer
}

fn text(pattern: &str) -> Json {
    match pattern {
        "" => json!({ "type": "string" }),
        _ => json!({ "type": "string", "pattern": pattern }),
    }
}

fn list(item: &Json) -> Json {
    json!({ "type": "array", "items": item, "minItems": 1 })
}

/// A name, a number, or a list of them.
fn selector() -> Json {
    let word = json!({ "type": ["string", "integer"] });
    json!({ "anyOf": [word, list(&word)] })
}
