//! The key of a line: what the one group of a regex finds in it, as a number.

use regex_automata::meta::{self, Regex};
use regex_automata::util::captures::Captures;
use regex_automata::util::syntax;
use xxhash_rust::xxh3::xxh3_64;

/// Finds keys.
#[derive(Debug)]
pub struct Key {
    regex: Regex,
    found: Captures,
}

impl Key {
    /// A key by this regex, which has one group.
    ///
    /// # Errors
    /// Says why the regex does not compile.
    pub fn new(text: &str) -> Result<Self, String> {
        let regex = Regex::builder()
            .configure(meta::Config::new().utf8_empty(false))
            .syntax(syntax::Config::new().utf8(false))
            .build(text)
            .map_err(|error| format!("key '{text}': {error}"))?;
        let found = regex.create_captures();
        Ok(Self { regex, found })
    }

    /// The hash of a line's key (XXH3), the same on every host; `None` where it has none.
    pub fn hash(&mut self, line: &[u8]) -> Option<u64> {
        self.regex.captures(line, &mut self.found);
        self.found.get_group(1).map(|span| xxh3_64(&line[span]))
    }
}
