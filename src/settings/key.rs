//! The definition of a key: its name, its value, its default and a sentence about it, in one place.
//!
//! A [`Key`] is defined next to its reader. It is the source for the check for unknown and
//! misplaced keys, `logweir schema`, `logweir explain` and, enforced by a test, the man page's
//! entry.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::units::{show_size, show_time};

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// The name in the file.
    pub name: &'static str,
    /// Its possible values.
    pub value: Value,
    /// Its default.
    pub default: Default,
    /// Its effect, in one or two sentences.
    pub doc: &'static str,
}

/// The default of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// None: without the key, the feature is off.
    None,
    /// The table needs the key.
    Required,
    /// This value, as written in the file.
    Value(&'static str),
    /// A description in words.
    Words(&'static str),
}

/// The possible values of a key.
#[derive(Debug)]
pub enum Value {
    /// A size in bytes, with these bounds.
    Size(RangeInclusive<u64>),
    /// A time, at least this long.
    Time(Duration),
    /// Two times in a list.
    TwoTimes,
    /// An integer, with these bounds.
    Integer(RangeInclusive<u64>),
    /// A list of integers, each with these bounds.
    Integers(RangeInclusive<u64>),
    /// `true` or `false`.
    Bool,
    /// `true`.
    True,
    /// Text; a description ("Path"), and a regex that it must match, or "".
    Text(&'static str, &'static str),
    /// One of these words.
    Words(&'static [&'static str]),
    /// Text as in [`Value::Text`], or a list of such texts.
    Texts(&'static str, &'static str),
    /// A name, a number, or a regex after `~`; or a list of them.
    Selector,
    /// Selectors by two names, the second nested in the first.
    Selectors,
    /// A table with these keys.
    Table(&'static [Key]),
    /// One of these.
    Either(&'static [Self]),
}

/// An address and a port.
pub const ADDRESS: Value =
    Value::Text("IP address and port", r"^[0-9a-fA-F.:\[\]]+(%[^\]]+\])?:[0-9]+$");
/// A path.
pub const PATH: Value = Value::Text("Path", r"\S");
/// A regex.
pub const REGEX: Value = Value::Text("Regex", "");
/// A command for the shell.
pub const COMMAND: Value = Value::Text("Command for /bin/sh -c", r"\S");
/// A file's mode.
pub const MODE: Value = Value::Text("Mode in octal digits, as text", "^[0-7]{3,4}$");

/// One form of a kind of table, with its keys in addition to the common ones.
#[derive(Debug)]
pub struct Form {
    /// The name of such a table in messages, as in "syslog input over TCP".
    pub name: &'static str,
    /// The word before `://` in the value of the choice's key, if that distinguishes the forms.
    pub scheme: Option<&'static str>,
    /// The keys, in groups.
    pub keys: &'static [&'static [Key]],
}

/// One of the keys of which a table has exactly one, and the forms that its value selects.
#[derive(Debug)]
pub struct Choice {
    /// The key; `None` for the choice of a table that has none of the others' keys.
    pub key: Option<Key>,
    /// The name of all of its forms together, as in "syslog input".
    pub name: &'static str,
    /// At least one.
    pub forms: &'static [Form],
}

impl Key {
    /// A key without a default.
    pub const fn new(name: &'static str, value: Value, doc: &'static str) -> Self {
        Self { name, value, default: Default::None, doc }
    }

    /// A required key.
    pub const fn required(name: &'static str, value: Value, doc: &'static str) -> Self {
        Self { name, value, default: Default::Required, doc }
    }

    /// A key with a default, as written in the file.
    pub const fn or(
        name: &'static str,
        value: Value,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, value, default: Default::Value(default), doc }
    }

    /// A key whose default is described in words.
    pub const fn or_else(
        name: &'static str,
        value: Value,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, value, default: Default::Words(default), doc }
    }

    /// The default as a sentence; empty if there is none.
    pub fn default_sentence(&self) -> String {
        match self.default {
            Default::None | Default::Required => String::new(),
            Default::Value(value) | Default::Words(value) => format!("Default: {value}."),
        }
    }

    /// The keys of the table that is its value.
    pub fn inner(&self) -> &'static [Self] {
        match self.value {
            Value::Table(keys) => keys,
            _ => &[],
        }
    }
}

impl Form {
    /// Returns whether it has a key.
    pub fn has(&self, name: &str) -> bool {
        self.all().any(|key| key.name == name)
    }

    /// All of its keys.
    pub fn all(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().flat_map(|group| group.iter())
    }
}

impl Choice {
    /// The form selected by the value of its key; `None` if there is none.
    pub fn form(&self, value: Option<&str>) -> Option<&'static Form> {
        let scheme = value.and_then(|text| text.split_once("://")).map(|(scheme, _)| scheme);
        self.forms.iter().find(|form| form.scheme.is_none() || form.scheme == scheme)
    }

    /// Returns whether all of its forms have a key.
    pub fn has(&self, name: &str) -> bool {
        self.forms.iter().all(|form| form.has(name))
    }
}

impl Value {
    /// A description: "Size from 64B to 16MiB".
    pub fn describe(&self) -> String {
        match self {
            Self::Size(bounds) => {
                format!("Size{}", within(bounds, &|bytes| show_size(bytes)))
            }
            Self::Integer(bounds) => format!("Integer{}", within(bounds, &|n| n.to_string())),
            Self::Integers(bounds) => {
                format!("List of integers{}", within(bounds, &|n| n.to_string()))
            }
            Self::Time(min) if min.is_zero() => "Time".into(),
            Self::Time(min) => format!("Time of at least {}", show_time(*min)),
            Self::TwoTimes => "List of two times".into(),
            Self::Bool => "true or false".into(),
            Self::True => "true".into(),
            Self::Text(what, _) => (*what).into(),
            Self::Words(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                words.join(" or ")
            }
            Self::Texts(what, _) => format!("{what}, or a list of them"),
            Self::Selector => "Name, or regex behind ~, or a list of them".into(),
            Self::Selectors => "Table of tables of selectors".into(),
            Self::Table(keys) => {
                let names: Vec<_> = keys.iter().map(|key| key.name).collect();
                format!("Table with {}", names.join(", "))
            }
            Self::Either(values) => {
                let parts: Vec<_> = values.iter().map(Self::describe).collect();
                parts.join(", or ")
            }
        }
    }
}

fn within(bounds: &RangeInclusive<u64>, show: &dyn Fn(u64) -> String) -> String {
    match (*bounds.start(), *bounds.end()) {
        (0, u64::MAX) => String::new(),
        (min, u64::MAX) => format!(" of at least {}", show(min)),
        (min, max) => format!(" from {} to {}", show(min), show(max)),
    }
}

/// The words of a table of words and their meanings.
pub const fn words<T, const N: usize>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = table[at].0;
        at += 1;
    }
    words
}
