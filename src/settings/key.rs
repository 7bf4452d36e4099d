//! What a key is: its name, its value, its default and one sentence about it, in one place.
//!
//! A [`Key`] stands beside its reader. From it come the check for unknown and misplaced keys,
//! `logweir schema`, `logweir explain` and, held by a test, the man page's entry.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::units::{show_size, show_time};

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What may stand behind it.
    pub value: Value,
    /// What holds where it is left out.
    pub default: Default,
    /// What it does, in one sentence or two.
    pub doc: &'static str,
}

/// What holds where a key is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// Nothing: the key asks for something that is not done without it.
    None,
    /// The table needs the key.
    Required,
    /// This value, as it is written in the file.
    Value(&'static str),
    /// What these words say.
    Words(&'static str),
}

/// What may stand behind a key.
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
    /// `true` or `false`.
    Bool,
    /// `true`.
    True,
    /// Text; what it is, in words ("Path"), and a regex that it must match, or "".
    Text(&'static str, &'static str),
    /// One of these words.
    Words(&'static [&'static str]),
    /// Text as [`Value::Text`], or a list of such texts.
    Texts(&'static str, &'static str),
    /// A name, a number, or a regex behind `~`; or a list of them.
    Selector,
    /// Selectors by two names, the second within the first.
    Selectors,
    /// A table with these keys.
    Table(&'static [Key]),
    /// One of these.
    Either(&'static [Self]),
}

/// What an address and a port look like.
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

/// One way in which a table of a kind is written: which keys it has beside the common ones.
#[derive(Debug)]
pub struct Form {
    /// What such a table is called in messages, as in "syslog input over TCP".
    pub name: &'static str,
    /// The word before `://` in the value of the choice's key, where that tells the forms apart.
    pub scheme: Option<&'static str>,
    /// The keys, in groups.
    pub keys: &'static [&'static [Key]],
}

/// One of the keys of which a table has exactly one, and the forms that its value chooses from.
#[derive(Debug)]
pub struct Choice {
    /// The key; `None` for what a table is when it has none of the others.
    pub key: Option<Key>,
    /// What all of its forms together are called, as in "syslog input".
    pub name: &'static str,
    /// At least one.
    pub forms: &'static [Form],
}

impl Key {
    /// A key without a default.
    pub const fn new(name: &'static str, value: Value, doc: &'static str) -> Self {
        Self { name, value, default: Default::None, doc }
    }

    /// A key that its table needs.
    pub const fn required(name: &'static str, value: Value, doc: &'static str) -> Self {
        Self { name, value, default: Default::Required, doc }
    }

    /// A key with a default, as it is written in the file.
    pub const fn or(
        name: &'static str,
        value: Value,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, value, default: Default::Value(default), doc }
    }

    /// A key that where it is left out means what these words say.
    pub const fn or_else(
        name: &'static str,
        value: Value,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, value, default: Default::Words(default), doc }
    }

    /// The default as a sentence; empty where there is none.
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
    /// Whether it has a key.
    pub fn has(&self, name: &str) -> bool {
        self.all().any(|key| key.name == name)
    }

    /// All of its keys.
    pub fn all(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().flat_map(|group| group.iter())
    }
}

impl Choice {
    /// The form that the value of its key chooses; `None` where it chooses none.
    pub fn form(&self, value: Option<&str>) -> Option<&'static Form> {
        let scheme = value.and_then(|text| text.split_once("://")).map(|(scheme, _)| scheme);
        self.forms.iter().find(|form| form.scheme.is_none() || form.scheme == scheme)
    }

    /// Whether all of its forms have a key.
    pub fn has(&self, name: &str) -> bool {
        self.forms.iter().all(|form| form.has(name))
    }
}

impl Value {
    /// What it is, in words: "Size from 64B to 16MiB".
    pub fn describe(&self) -> String {
        match self {
            Self::Size(bounds) => {
                format!("Size{}", within(bounds, &|bytes| show_size(bytes)))
            }
            Self::Integer(bounds) => format!("Integer{}", within(bounds, &|n| n.to_string())),
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

/// The words of a table of words and what they mean.
pub const fn words<T, const N: usize>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = table[at].0;
        at += 1;
    }
    words
}
