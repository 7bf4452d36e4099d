//! One table of the file: its keys in file order, and readers for their values.
//!
//! Every reader reports problems and returns `None`, so that a whole table is read and all of its
//! problems are reported at once.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{Key, Value};
use super::report::{Finding, Report, Span, nearest};
use super::units;

/// A key and its value.
pub struct Entry<'t> {
    /// The key.
    pub key: &'t str,
    /// The span of the key.
    pub key_span: Span,
    /// The span of the value.
    pub span: Span,
    value: &'t DeValue<'t>,
    path: String,
    /// The offset of its file in the report.
    base: usize,
}

/// A table.
pub struct Section<'t> {
    /// Its name, as in `filter.api`.
    pub path: String,
    /// The span of its name.
    pub span: Span,
    /// Its keys in file order.
    pub entries: Vec<Entry<'t>>,
}

/// A span in one file as a span in the report.
fn moved(span: Span, base: usize) -> Span {
    span.start + base..span.end + base
}

impl<'t> Section<'t> {
    /// Reports every key that is not one of these.
    pub fn refuse_all_but(&self, keys: &[Key], report: &mut Report<'_>) {
        let names: Vec<_> = keys.iter().map(|key| key.name).collect();
        for entry in self.entries.iter().filter(|entry| !names.contains(&entry.key)) {
            entry.unknown(report, &names);
        }
    }

    /// The top-level table of a file that begins at offset `base` in the report.
    pub fn file(table: &'t DeTable<'t>, base: usize) -> Self {
        Self::new(String::new(), base..base, table, base)
    }

    fn new(path: String, span: Span, table: &'t DeTable<'t>, base: usize) -> Self {
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref(),
                key_span: moved(key.span(), base),
                span: moved(value.span(), base),
                base,
                value: value.get_ref(),
                path: if path.is_empty() {
                    key.get_ref().to_string()
                } else {
                    format!("{path}.{}", key.get_ref())
                },
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        Self { path, span, entries }
    }

    /// The entry of a key.
    pub fn get(&self, key: &str) -> Option<&Entry<'t>> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The entry of a key.
    pub fn entry(&self, key: &Key) -> Option<&Entry<'t>> {
        self.get(key.name)
    }

    /// The value of a size key.
    pub fn size(&self, key: &Key, report: &mut Report<'_>) -> Option<u64> {
        let Value::Size(bounds) = &key.value else { return None };
        self.entry(key)?.size(report, bounds.clone())
    }

    /// The value of an integer key.
    pub fn integer<T: TryFrom<u64>>(&self, key: &Key, report: &mut Report<'_>) -> Option<T> {
        let Value::Integer(bounds) = &key.value else { return None };
        T::try_from(self.entry(key)?.integer(report, bounds.clone())?).ok()
    }

    /// The value of a time key; one that is too short is reported.
    pub fn time(&self, key: &Key, report: &mut Report<'_>) -> Option<Duration> {
        let Value::Time(min) = key.value else { return None };
        let entry = self.entry(key)?;
        let time = entry.time(report)?;
        if time < min {
            entry.wrong(report, format!("must be at least {}", units::show_time(min)));
            return None;
        }
        Some(time)
    }

    /// The value of a key that is true or false.
    pub fn boolean(&self, key: &Key, report: &mut Report<'_>) -> Option<bool> {
        self.entry(key)?.boolean(report)
    }

    /// The value of a text key that is passed to the system: not empty, no NUL.
    pub fn system_text(&self, key: &Key, report: &mut Report<'_>) -> Option<&'t str> {
        self.entry(key)?.system_text(report)
    }

    /// The value of a key that accepts one of a few words.
    pub fn word<T: Copy>(
        &self,
        key: &Key,
        words: &[(&str, T)],
        report: &mut Report<'_>,
    ) -> Option<T> {
        self.entry(key)?.word(report, words)
    }

    /// The value of a key that is a file's mode.
    pub fn mode(&self, key: &Key, report: &mut Report<'_>) -> Option<u32> {
        let entry = self.entry(key)?;
        let text = entry.text(report)?;
        entry.accept(report, units::mode(text))
    }

    /// The span of a key's value, or else of the table's name.
    pub fn place(&self, key: &str) -> &Span {
        self.get(key).map_or(&self.span, |entry| &entry.span)
    }
}

impl<'t> Entry<'t> {
    /// Reports that the value is wrong.
    pub fn wrong<'r>(
        &self,
        report: &'r mut Report<'_>,
        message: impl Into<String>,
    ) -> &'r mut Finding {
        report.error(&self.span, &self.path, message)
    }

    /// Returns the result; reports an error.
    pub fn accept<T>(&self, report: &mut Report<'_>, made: Result<T, String>) -> Option<T> {
        match made {
            Ok(made) => Some(made),
            Err(message) => {
                self.wrong(report, message);
                None
            }
        }
    }

    /// Reports that the value is wrong, with advice.
    pub fn wrong_help(
        &self,
        report: &mut Report<'_>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        report.error_help(&self.span, &self.path, message, help);
    }

    /// Reports that the key does not belong here.
    pub fn misplaced<'r>(
        &self,
        report: &'r mut Report<'_>,
        message: impl Into<String>,
    ) -> &'r mut Finding {
        report.error(&self.key_span, &self.path, message)
    }

    /// Reports a key that this table does not have; `names` are the keys it has.
    pub fn unknown(&self, report: &mut Report<'_>, names: &[&str]) {
        let help = nearest(self.key, names.iter().copied());
        let help = help.unwrap_or_else(|| format!("there are: {}", names.join(", ")));
        self.misplaced(report, "unknown key").help(help);
    }

    /// The key with the names of its tables.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value as a table with these keys; `None` if it is not a table, which is reported.
    pub fn section(
        &self,
        keys: &[Key],
        expected: &str,
        report: &mut Report<'_>,
    ) -> Option<Section<'t>> {
        let Some(section) = self.table() else {
            self.wrong(report, format!("expected a table{expected}"));
            return None;
        };
        section.refuse_all_but(keys, report);
        Some(section)
    }

    /// The value as a table whose span is that of its name.
    pub fn named_table(&self) -> Option<Section<'t>> {
        let table = self.value.as_table()?;
        Some(Section::new(self.path.clone(), self.key_span.clone(), table, self.base))
    }

    /// The value as a table with its own span.
    pub fn table(&self) -> Option<Section<'t>> {
        let table = self.value.as_table()?;
        Some(Section::new(self.path.clone(), self.span.clone(), table, self.base))
    }

    fn expect(&self, report: &mut Report<'_>, what: &str) {
        let found = match self.value {
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
            DeValue::String(_) => "a string",
        };
        self.wrong(report, format!("expected {what}, found {found}"));
    }

    /// A string.
    pub fn text(&self, report: &mut Report<'_>) -> Option<&'t str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.expect(report, "a string");
        }
        text
    }

    /// A string that is passed to the system: not empty, no NUL.
    pub fn system_text(&self, report: &mut Report<'_>) -> Option<&'t str> {
        let text = self.text(report)?;
        if text.trim().is_empty() {
            self.wrong(report, "is empty");
            return None;
        }
        if text.contains('\0') {
            self.wrong(report, "contains a NUL byte");
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    pub fn boolean(&self, report: &mut Report<'_>) -> Option<bool> {
        let value = self.value.as_bool();
        if value.is_none() {
            self.expect(report, "true or false");
        }
        value
    }

    /// An integer within bounds.
    pub fn integer(&self, report: &mut Report<'_>, bounds: RangeInclusive<u64>) -> Option<u64> {
        let Some(integer) = self.value.as_integer() else {
            self.expect(report, "an integer");
            return None;
        };
        // No key accepts a negative number, so what does not parse is out of bounds.
        let value = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let value = value.filter(|value| bounds.contains(value));
        if value.is_none() {
            let (min, max) = (bounds.start(), bounds.end());
            let bounds = match *max {
                u64::MAX => format!("at least {min}"),
                _ => format!("from {min} to {max}"),
            };
            self.wrong(report, format!("must be {bounds}"));
        }
        value
    }

    /// A list of integers within bounds, at least one.
    pub fn integers(
        &self,
        report: &mut Report<'_>,
        bounds: &RangeInclusive<u64>,
    ) -> Option<Vec<u64>> {
        let items = self.list().filter(|items| !items.is_empty());
        let Some(items) = items else {
            self.expect(report, "a list of integers, as in [0, 1]");
            return None;
        };
        let each = items.iter().map(|item| {
            let number = item.get_ref().as_integer();
            number.and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok())
        });
        let all: Option<Vec<_>> = each.map(|n| n.filter(|n| bounds.contains(n))).collect();
        if all.is_none() {
            let (min, max) = (bounds.start(), bounds.end());
            self.wrong(report, format!("must be a list of integers from {min} to {max}"));
        }
        all
    }

    /// A size within bounds: text with a unit, or an integer of bytes.
    pub fn size(&self, report: &mut Report<'_>, bounds: RangeInclusive<u64>) -> Option<u64> {
        let size = match self.value {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix())
                .map_err(|_| "is not a size".to_owned()),
            DeValue::String(text) => units::size(text),
            _ => {
                self.expect(report, "a size such as \"64MiB\"");
                return None;
            }
        };
        let size = self.accept(report, size)?;
        if bounds.contains(&size) {
            return Some(size);
        }
        let (min, max) = (units::show_size(*bounds.start()), units::show_size(*bounds.end()));
        let bounds = match *bounds.end() {
            u64::MAX => format!("at least {min}"),
            _ => format!("from {min} to {max}"),
        };
        self.wrong(report, format!("must be {bounds}"));
        None
    }

    /// A time.
    pub fn time(&self, report: &mut Report<'_>) -> Option<Duration> {
        let DeValue::String(text) = self.value else {
            self.expect(report, "a time such as \"10s\"");
            return None;
        };
        self.accept(report, units::time(text))
    }

    /// One of a few words.
    pub fn word<T: Copy>(&self, report: &mut Report<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(report)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let help = nearest(text, words.iter().map(|(word, _)| *word));
            let message = format!("must be {}", all.join(" or "));
            match help {
                Some(help) => self.wrong_help(report, message, help),
                None => {
                    self.wrong(report, message);
                }
            }
        }
        found.map(|(_, value)| *value)
    }

    /// A name, or a list of names; each with its span.
    pub fn names(&self, report: &mut Report<'_>) -> Option<Vec<Spanned<&'t str>>> {
        let items: Vec<(Span, &'t DeValue<'t>)> = match self.value {
            DeValue::Array(items) => {
                items.iter().map(|i| (moved(i.span(), self.base), i.get_ref())).collect()
            }
            value => vec![(self.span.clone(), value)],
        };
        let mut names = Vec::new();
        let mut whole = true;
        for (span, value) in items {
            match value {
                DeValue::String(name) => names.push(Spanned::new(span, &**name)),
                _ => {
                    report.error(&span, &self.path, "expected a name or a list of names");
                    whole = false;
                }
            }
        }
        whole.then_some(names)
    }

    /// A list of exactly two times.
    pub fn two_times(&self, report: &mut Report<'_>) -> Option<(Duration, Duration)> {
        let texts = match self.value {
            DeValue::Array(items) if items.len() == 2 => {
                items[0].get_ref().as_str().zip(items[1].get_ref().as_str())
            }
            _ => None,
        };
        let Some((first, second)) = texts else {
            self.wrong(report, "expected a list of two times, as in [\"1s\", \"60s\"]");
            return None;
        };
        let mut read = |text| self.accept(report, units::time(text));
        // Both are read before either is rejected, so that both are reported.
        let (first, second) = (read(first), read(second));
        first.zip(second)
    }

    /// The span in the file of byte `at` of the string, if the string is written there literally
    /// (without escapes).
    pub fn within(&self, report: &Report<'_>, at: Option<usize>) -> Span {
        let (Some(at), Some(text)) = (at, self.value.as_str()) else {
            return self.span.clone();
        };
        let source = report.source(&self.span);
        let quote = ["'''", "\"\"\"", "'", "\""].into_iter().find(|q| source.starts_with(q));
        let Some(quote) = quote else { return self.span.clone() };
        let inner = source.strip_prefix(quote).and_then(|s| s.strip_suffix(quote));
        if inner != Some(text) {
            return self.span.clone();
        }
        let start = self.span.start + quote.len() + at;
        start..start + 1
    }

    /// The value.
    pub fn value(&self) -> &'t DeValue<'t> {
        self.value
    }

    /// The items of the value, if it is a list.
    pub fn list(&self) -> Option<&'t [Spanned<DeValue<'t>>]> {
        match self.value {
            DeValue::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The value, if it is a string.
    pub fn as_str(&self) -> Option<&'t str> {
        self.value.as_str()
    }
}
