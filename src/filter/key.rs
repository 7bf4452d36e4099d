//! The key of a line, as a number: a field of it, or what the one group of a regex finds in it.

use std::borrow::Cow;

use regex_automata::meta::Regex;
use regex_automata::util::captures::Captures;
use xxhash_rust::xxh3::xxh3_64;

use crate::parse::field::Field;
use crate::parse::syslog::Message;
use crate::sources::Source;

/// Finds keys.
#[derive(Debug)]
pub enum Key {
    /// What this field is.
    Field(Field),
    /// What the group finds.
    Group {
        /// A regex with one group.
        regex: Regex,
        /// Used again for each line.
        found: Captures,
    },
}

/// The field's name in `{host}`; `None` where this is no field but a regex.
pub fn field_in(text: &str) -> Option<&str> {
    text.strip_prefix('{')?.strip_suffix('}')
}

impl Key {
    /// A key by a field in braces, or by a regex that has one group.
    ///
    /// # Errors
    /// Says why the field is none or the regex does not compile.
    pub fn new(text: &str) -> Result<Self, String> {
        if let Some(field) = field_in(text) {
            return Ok(Self::Field(field.parse()?));
        }
        let regex =
            super::regex::compile(text).map_err(|error| format!("key '{text}': {error}"))?;
        let found = regex.create_captures();
        Ok(Self::Group { regex, found })
    }

    /// A line's key; `None` where it has none.
    pub fn find<'l>(&mut self, line: &'l [u8], source: Option<Source>) -> Option<Cow<'l, [u8]>> {
        match self {
            Self::Field(field) => {
                let message = match field.is_in_header() {
                    true => Message::parse_header(line),
                    false => Message::parse(line),
                };
                field.value(line, &message, source)
            }
            Self::Group { regex, found } => {
                regex.captures(line, found);
                found.get_group(1).map(|span| Cow::Borrowed(&line[span]))
            }
        }
    }

    /// The hash of a line's key (XXH3), the same on every host; `None` where it has none.
    pub fn hash(&mut self, line: &[u8], source: Option<Source>) -> Option<u64> {
        self.find(line, source).map(|value| xxh3_64(&value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_and_a_group_that_find_the_same_are_the_same_key() {
        let line = b"<34>1 - web1 su - - - x";
        let mut field = Key::new("{host}").unwrap();
        let mut group = Key::new("- (\\S+) su").unwrap();
        assert_eq!(field.hash(line, None), group.hash(line, None));
        assert_eq!(field.hash(b"raw", None), None);
        assert!(Key::new("{hots}").is_err());
    }
}
