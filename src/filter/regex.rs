//! Regexes on the bytes of a line, of fields and of keys, compiled only here, so that the engine
//! runs exactly what the check accepts. Those over whole streams are in [`super::patterns`].

use regex_automata::meta::{BuildError, Regex};
use regex_automata::util::syntax;
use regex_automata::{PatternID, meta};
use regex_syntax::hir::Hir;

/// Compiles a regex for lines, which are bytes and need not be UTF-8.
///
/// # Errors
/// If the pattern is not a valid regex, or is too large once compiled.
pub fn compile(pattern: &str) -> Result<Regex, Box<BuildError>> {
    Regex::builder()
        .configure(meta::Config::new().utf8_empty(false))
        .syntax(syntax::Config::new().utf8(false))
        .build(pattern)
        .map_err(Box::new)
}

/// Why a regex was refused, and at which byte offset.
pub fn explain(error: &BuildError) -> (String, Option<usize>) {
    if let Some(limit) = error.size_limit() {
        return (
            format!("the regex is too large: compiled it takes more than {limit} bytes"),
            None,
        );
    }
    match error.syntax_error() {
        Some(regex_syntax::Error::Parse(error)) => {
            (format!("not a regex: {}", error.kind()), Some(error.span().start.offset))
        }
        Some(regex_syntax::Error::Translate(error)) => {
            (format!("not a regex: {}", error.kind()), Some(error.span().start.offset))
        }
        _ => (format!("not a regex: {error}"), None),
    }
}

/// The number of groups in a regex.
pub fn groups(regex: &Regex) -> usize {
    regex.group_info().group_len(PatternID::ZERO) - 1
}

/// Returns whether a regex can match no line.
pub fn finds_nothing(pattern: &str) -> bool {
    parsed(pattern).is_some_and(|hir| hir.properties().minimum_len().is_none())
}

/// Returns whether a regex matches every line.
pub fn finds_all(pattern: &str) -> bool {
    // A regex that can match empty without conditions matches before the first byte.
    parsed(pattern).is_some_and(|hir| {
        hir.properties().minimum_len() == Some(0) && hir.properties().look_set().is_empty()
    })
}

fn parsed(pattern: &str) -> Option<Hir> {
    regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bytes() {
        let regex = compile(r"(?-u:\xff)a").unwrap();
        assert!(regex.is_match(b"\xfe\xffa"));
        assert!(compile("").unwrap().is_match(b"\xff"));
    }

    #[test]
    fn errors_are_short_and_placed() {
        for (pattern, message, at) in [
            ("a(b", "not a regex: unclosed group", Some(1)),
            ("*", "not a regex: repetition operator missing expression", Some(0)),
            (r"\p{Nope}", "not a regex: Unicode property not found", Some(0)),
            (
                "[b-a]",
                "not a regex: invalid character class range, the start must be <= the end",
                Some(1),
            ),
        ] {
            assert_eq!(explain(&compile(pattern).unwrap_err()), (message.into(), at), "{pattern}");
        }
        let (message, _) = explain(&compile(r"(\w{500}){500}").unwrap_err());
        assert!(message.contains("too large"), "{message}");
    }

    #[test]
    fn groups_are_counted() {
        for (pattern, count) in [("a", 0), ("(a)", 1), ("(?:a)", 0), ("(?<x>a)(b)", 2)] {
            assert_eq!(groups(&compile(pattern).unwrap()), count, "{pattern}");
        }
    }

    #[test]
    fn nothing_and_all() {
        assert!(finds_nothing("[a&&b]"));
        assert!(!finds_nothing("a") && !finds_nothing(""));
        assert!(finds_all("") && finds_all("a*") && finds_all("x|"));
        assert!(!finds_all("a") && !finds_all("^$") && !finds_all(r"\b"));
    }
}
