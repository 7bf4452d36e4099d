//! A part of a condition as selectors of nodes: one node, or a chain of nodes if a selector is
//! needed twice.

use super::condition::{Atom, Part, Property, Test};
use super::pri::PriSet;
use crate::config::pattern;
use crate::parse::syslog::names::FACILITIES;

/// The selectors of one node: a key and its values.
pub(in crate::cli::import) type Selectors = Vec<(&'static str, Vec<String>)>;

/// The chain of nodes that passes exactly the messages of a part. It is a single chain, so that
/// messages stay in order.
///
/// # Errors
/// What no selector can express.
pub(in crate::cli::import) fn chain(part: &Part) -> Result<Vec<Selectors>, String> {
    let mut chain: Vec<Selectors> = vec![Vec::new()];
    match &part.pri.selectors()[..] {
        [(facilities, severities)] => {
            for (key, values) in
                [("facility", shorter(facilities)), ("severity", severities.clone())]
            {
                if !values.is_empty() {
                    enter(&mut chain, (key, values));
                }
            }
        }
        _ => enter(&mut chain, priorities(part.pri)),
    }
    for atom in &part.atoms {
        let (key, values) = selector(atom);
        let line = ["match", "reject"].contains(&key);
        for value in &values {
            let regex = if line {
                Some(value.as_str())
            } else {
                value.trim_start_matches('!').strip_prefix('~')
            };
            if regex.is_some_and(|regex| pattern::compile(regex).is_err()) {
                return Err(format!("regex {value}"));
            }
        }
        enter(&mut chain, (key, values));
    }
    Ok(chain)
}

/// Priorities that two lists cannot express, by the number that a message begins with.
fn priorities(set: PriSet) -> (&'static str, Vec<String>) {
    let (key, set) = match set.numbers().len() > PriSet::ALL.numbers().len() / 2 {
        true => ("reject", set.not()),
        false => ("match", set),
    };
    let numbers: Vec<_> = set.numbers().iter().map(u8::to_string).collect();
    (key, vec![format!("^<({})>", numbers.join("|"))])
}

/// Many facilities are expressed by excluding the others.
fn shorter(facilities: &[String]) -> Vec<String> {
    if facilities.len() <= FACILITIES.len() / 2 {
        return facilities.to_vec();
    }
    let others = FACILITIES.iter().filter(|name| !facilities.iter().any(|other| other == *name));
    std::iter::once("*".into()).chain(others.map(|name| format!("!{name}"))).collect()
}

/// Adds a selector to the first node of a chain that has none with its key. Exclusions are merged
/// with existing exclusions.
fn enter(chain: &mut Vec<Selectors>, (key, values): (&'static str, Vec<String>)) {
    let negated = values.first().is_some_and(|first| first == "*");
    for (other, known) in chain.iter_mut().flatten().filter(|(other, _)| *other == key) {
        if key == "reject" {
            known[0] = format!("{}|{}", known[0], values[0]);
            return;
        }
        let is_list = !["match", "severity"].contains(&key);
        if negated && is_list {
            // Behind `*`, or behind what is wanted.
            known.extend(values.into_iter().skip(1));
            debug_assert_eq!(*other, key);
            return;
        }
        if is_list && known.first().is_some_and(|first| first == "*") {
            known.splice(..1, values);
            return;
        }
    }
    let free = chain.iter_mut().find(|node| node.iter().all(|(other, _)| *other != key));
    match free {
        Some(node) => node.push((key, values)),
        None => chain.push(vec![(key, values)]),
    }
}

fn selector(atom: &Atom) -> (&'static str, Vec<String>) {
    match atom.property {
        Property::Field(key) => field(key, atom),
        Property::Line => {
            let key = if atom.not { "reject" } else { "match" };
            (key, vec![line_regex(atom)])
        }
    }
}

/// The values of a field: words, or regexes after a `~`.
fn field(key: &'static str, atom: &Atom) -> (&'static str, Vec<String>) {
    let word = |value: &String| {
        let plain = atom.test == Test::Is
            && !atom.ignore_case
            && !value.starts_with(['~', '!', '=', '*'])
            && !value.is_empty();
        if plain {
            return value.clone();
        }
        let case = if atom.ignore_case { "(?i)" } else { "" };
        match atom.test {
            Test::Is => format!("~{case}^{}$", escaped(value)),
            Test::Contains => format!("~{case}{}", escaped(value)),
            Test::Begins => format!("~{case}^{}", escaped(value)),
            Test::Regex => format!("~{case}{value}"),
        }
    };
    let mut values: Vec<_> = atom.values.iter().map(word).collect();
    if atom.not {
        values = values.into_iter().map(|value| format!("!{value}")).collect();
        values.insert(0, "*".into());
    }
    (key, values)
}

/// A regex on the whole line.
fn line_regex(atom: &Atom) -> String {
    let one = |value: &String| match atom.test {
        Test::Regex => grouped(value),
        Test::Contains => escaped(value),
        Test::Begins => format!("^{}", escaped(value)),
        Test::Is => format!("^{}$", escaped(value)),
    };
    let values: Vec<_> = atom.values.iter().map(one).collect();
    match atom.ignore_case {
        true => format!("(?i:{})", values.join("|")),
        false => values.join("|"),
    }
}

/// A regex that matches a literal text.
fn escaped(text: &str) -> String {
    regex_syntax::escape(text)
}

/// A user's regex among others: flags at its beginning, as in `(?i)`, apply to it alone.
fn grouped(regex: &str) -> String {
    match regex.contains("(?") || regex.contains('|') {
        true => format!("(?:{regex})"),
        false => regex.into(),
    }
}
