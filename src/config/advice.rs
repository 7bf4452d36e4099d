//! Advice on text that is not TOML: people write values without quotes, and regexes in quotes in
//! which a backslash is an escape.

use std::ops::Range;

/// A correction, if one is known, for the TOML parser's message and its place in the text.
pub(super) fn advice(text: &str, span: &Range<usize>, message: &str) -> Option<String> {
    let at = span.start.min(text.len());
    let before = text.get(..at)?;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let quote = value.chars().next()?;
    if message.contains("escape") && quote == '"' {
        return Some(format!(
            "in \"…\" a backslash begins an escape; use single quotes: {key} = '…'"
        ));
    }
    match quote {
        '"' if message.contains("basic string") => Some("the closing `\"` is missing".into()),
        '\'' if message.contains("literal string") => Some("the closing `'` is missing".into()),
        '\'' if value.matches('\'').count() > 2 => Some(
            "a text in single quotes ends at the next single quote; use '''…''' around it".into(),
        ),
        '"' | '\'' | '{' => None,
        '[' => Some(format!("quote each text in the list: {key} = [\"…\", \"…\"]"))
            .filter(|_| message.contains("quoted")),
        _ => unquoted(key, value),
    }
}

/// Advice for an unquoted value.
fn unquoted(key: &str, value: &str) -> Option<String> {
    // A comment may follow it; values containing a `#` are rarer.
    let value = value.split(" #").next().unwrap_or_default().trim_end();
    let lower = value.to_ascii_lowercase();
    match lower.as_str() {
        "true" | "yes" | "on" => return Some(format!("write {key} = true")),
        "false" | "no" | "off" => return Some(format!("write {key} = false")),
        _ => {}
    }
    let shown: String = value.chars().take(60).collect();
    let fits = shown.len() == value.len() && !value.contains(['"', '\'']);
    match (fits, value.contains('\\')) {
        (false, _) => Some(format!("quote it: {key} = '…'")),
        (true, true) => Some(format!("quote it, in single quotes: {key} = '{shown}'")),
        (true, false) => Some(format!("quote it: {key} = \"{shown}\"")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use toml::de::DeTable;

    use super::*;

    fn advised(text: &str) -> Option<String> {
        let (_, errors) = DeTable::parse_recoverable(text);
        let error = errors.first()?;
        advice(text, &error.span().unwrap_or(0..0), error.message())
    }

    #[test]
    fn a_text_without_quotes_is_to_be_quoted() {
        for (line, wanted) in [
            ("udp = 0.0.0.0:8420", "quote it: udp = \"0.0.0.0:8420\""),
            ("facility = mail  # comment", "quote it: facility = \"mail\""),
            ("file = /var/log/x", "quote it: file = \"/var/log/x\""),
            ("rotate = 1h", "quote it: rotate = \"1h\""),
            ("match = \\d+", "quote it, in single quotes: match = '\\d+'"),
            ("match = it's", "quote it: match = '…'"),
            ("from = [a, b]", "quote each text in the list: from = [\"…\", \"…\"]"),
            ("stdin = yes", "write stdin = true"),
            ("stdin = False", "write stdin = false"),
        ] {
            assert_eq!(advised(&format!("[a.b]\n{line}\n")).as_deref(), Some(wanted), "{line}");
        }
    }

    #[test]
    fn a_backslash_asks_for_single_quotes() {
        let wanted = "in \"…\" a backslash begins an escape; use single quotes: match = '…'";
        assert_eq!(advised("match = \"\\d+\"\n").as_deref(), Some(wanted));
    }

    #[test]
    fn quotes_that_do_not_end_or_end_too_early_are_told() {
        assert_eq!(advised("a = \"x\n").as_deref(), Some("the closing `\"` is missing"));
        assert_eq!(advised("a = 'x\n").as_deref(), Some("the closing `'` is missing"));
        let wanted = "a text in single quotes ends at the next single quote; use '''…''' around it";
        assert_eq!(advised("a = 'it's'\n").as_deref(), Some(wanted));
        assert_eq!(advised("[a\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z=\"'\\\\\\[\\]{}#é\n ]{0,40}") {
            let _ = advised(&text);
        }
    }
}
