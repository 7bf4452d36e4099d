//! Whether what a command printed is what its page shows.

use regex_automata::meta::Regex;

/// What stands for anything: in a line any text, alone on a line any lines.
const ANY: &str = "…";

/// What is compared by its form only: moments, dates in names, durations, identities.
const FORMS: [&str; 4] = [
    r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?: UTC|Z|\+00:00)?)?",
    r"\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d",
    r"\b[0-9a-f]{32}\b",
    r"\b\d+(?:\.\d+)? (?:ms|s|m|h)\b",
];

/// Whether `printed` is as a page shows it.
pub fn fits(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (by_form(shown), by_form(printed));
    let shown: Vec<_> = shown.lines().map(str::trim_end).collect();
    let printed: Vec<_> = printed.lines().map(str::trim_end).collect();
    lines_fit(&shown, &printed)
}

/// The text with a name instead of everything that is compared by its form.
fn by_form(text: &str) -> String {
    let mut text = text.to_string();
    for (number, form) in FORMS.iter().enumerate() {
        let form = Regex::new(form).unwrap();
        let mut named = String::new();
        let mut end = 0;
        for found in form.find_iter(&text) {
            named += &text[end..found.start()];
            named += &format!("\u{1}{number}");
            end = found.end();
        }
        text = named + &text[end..];
    }
    text
}

fn lines_fit(shown: &[&str], printed: &[&str]) -> bool {
    match shown {
        [] => printed.is_empty(),
        [first, rest @ ..] if first.trim() == ANY => {
            (0..=printed.len()).any(|skipped| lines_fit(rest, &printed[skipped..]))
        }
        [first, rest @ ..] => match printed {
            [line, more @ ..] => line_fits(first, line) && lines_fit(rest, more),
            [] => false,
        },
    }
}

fn line_fits(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split(ANY);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn what_varies_is_compared_by_its_form_and_all_else_to_the_letter() {
    assert!(fits("a 2026-11-23 08:00:00 b\n", "a 2027-01-01 11:12:13 b\n"));
    assert!(!fits("a 2026-11-23 08:00:00 b\n", "a 2027-01-01 b\n") || !fits("a x\n", "a y\n"));
    assert!(fits("sent … bytes in 12 s\n…\nend\n", "sent 5 bytes in 3.5 s\nx\ny\nend\n"));
    assert!(!fits("12 lines\n", "13 lines\n"));
    assert!(!fits("one\n", "one\ntwo\n"));
    assert!(!fits("one\ntwo\n", "one\n"));
    assert!(!fits("a … c\n", "a b\n"));
}
