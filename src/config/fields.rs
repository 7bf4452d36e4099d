//! The field selectors: `facility`, `severity`, `host`, `app` and the others.

use toml::de::DeValue;

use crate::filter::network::Network;
use crate::filter::plan::{FieldPlan, Wanted, Words};
use crate::filter::regex as pattern;
use crate::parse::field::Field;
use crate::parse::syslog::names::{self, FACILITIES, SEVERITIES};
use crate::settings::{Entry, Key, Report, Section, Value, nearest};

pub(super) const FACILITY: Key =
    Key::new("facility", Value::Selector, "Only messages of this facility.");
pub(super) const SEVERITY: Key = Key::new(
    "severity",
    Value::Selector,
    "Only messages this severe or worse; with a leading = exactly this severity.",
);
pub(super) const HOST: Key = Key::new(
    "host",
    Value::Selector,
    "Only messages from this host: the one that the message names, else the address it came from.",
);
pub(super) const APP: Key = Key::new(
    "app",
    Value::Selector,
    "Only messages with this APP-NAME, or name in the tag of RFC 3164.",
);
pub(super) const PROGRAM: Key = Key::new(
    "program",
    Value::Selector,
    "Only messages of this program: the app up to its first slash.",
);
pub(super) const PROCID: Key = Key::new(
    "procid",
    Value::Selector,
    "Only messages with this PROCID, or number in brackets in the tag.",
);
pub(super) const MSGID: Key = Key::new("msgid", Value::Selector, "Only messages with this MSGID.");
pub(super) const MESSAGE: Key =
    Key::new("message", Value::Selector, "Only messages whose text behind the header is this.");
pub(super) const SOURCE: Key =
    Key::new("source", Value::Selector, "Only messages received from this address.");
pub(super) const PID: Key =
    Key::new("pid", Value::Selector, "Only messages from this process, over a Unix socket.");
pub(super) const UID: Key = Key::new(
    "uid",
    Value::Selector,
    "Only messages from a process of this user, over a Unix socket.",
);
pub(super) const SD: Key = Key::new(
    "sd",
    Value::Selectors,
    "Only messages with these structured data parameters, by the id of their element and \
     their name.",
);

/// The selectors that are keys of a node, in the order in which they are evaluated.
const WORDS: [&Key; 11] =
    [&FACILITY, &SEVERITY, &HOST, &APP, &PROGRAM, &PROCID, &MSGID, &MESSAGE, &SOURCE, &PID, &UID];

/// Reads all field selectors of a node.
pub(super) fn read(section: &Section<'_>, report: &mut Report<'_>) -> Vec<FieldPlan> {
    let mut plans = Vec::new();
    for key in WORDS {
        let Some(entry) = section.entry(key) else { continue };
        let field = match key.name == MESSAGE.name {
            true => Ok(Field::Message),
            false => key.name.parse::<Field>(),
        };
        let Ok(field) = field else { continue };
        let wanted = match field {
            Field::Facility => numbers(entry, &FACILITY_SCALE, report),
            Field::Severity => numbers(entry, &SEVERITY_SCALE, report),
            _ => text(entry, report),
        };
        plans.extend(wanted.map(|wanted| FieldPlan { field, wanted }));
    }
    if let Some(entry) = section.entry(&SD) {
        data(entry, &mut plans, report);
    }
    plans
}

/// `sd."origin@32473".ip = …`: a table of tables.
fn data(entry: &Entry<'_>, plans: &mut Vec<FieldPlan>, report: &mut Report<'_>) {
    let help = "as in sd.\"origin@32473\".ip = \"192.0.2.1\"";
    let Some(elements) = entry.table() else {
        entry.wrong_help(report, "names no element and parameter", help);
        return;
    };
    for element in &elements.entries {
        let Some(section) = element.table() else {
            element.wrong_help(report, "names no parameter", help);
            continue;
        };
        for param in &section.entries {
            let field = Field::Data { id: element.key.into(), name: param.key.into() };
            let wanted = text(param, report);
            plans.extend(wanted.map(|wanted| FieldPlan { field, wanted }));
        }
    }
}

/// The words of a selector: one, or a list. A number counts as a word.
fn words(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Vec<String>> {
    let word = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().to_string()),
        _ => None,
    };
    let words: Option<Vec<_>> = match entry.list() {
        Some(items) => items.iter().map(|item| word(item.get_ref())).collect(),
        None => word(entry.value()).map(|word| vec![word]),
    };
    match words {
        Some(words) if !words.is_empty() => Some(words),
        _ => {
            entry.wrong(report, "expected a name, a list of names, or a regex as in \"~^web\"");
            None
        }
    }
}

/// Facilities or severities.
struct Scale {
    /// Their names, by number.
    all: &'static [&'static str],
    /// The number of a name.
    number: fn(&str) -> Option<u8>,
    /// True if a word includes all numbers up to its own.
    is_ordered: bool,
}

const FACILITY_SCALE: Scale =
    Scale { all: &FACILITIES, number: names::facility, is_ordered: false };
const SEVERITY_SCALE: Scale = Scale { all: &SEVERITIES, number: names::severity, is_ordered: true };

impl Scale {
    fn every(&self) -> u32 {
        (1 << self.all.len()) - 1
    }
}

/// Facilities or severities, as the bits of their numbers.
///
/// A severity stands for itself and all worse ones, after `=` for itself alone, and two with `..`
/// between them for the range. `*` stands for all. Words after `!` are excluded from the others, or
/// from all if there are no others.
fn numbers(entry: &Entry<'_>, scale: &Scale, report: &mut Report<'_>) -> Option<Wanted> {
    let (mut only, mut not) = (None, 0_u32);
    for word in words(entry, report)? {
        match word.strip_prefix('!') {
            Some(word) => not |= mask(entry, word, scale, report)?,
            None => {
                let more = mask(entry, &word, scale, report)?;
                only = Some(only.unwrap_or(0) | more);
            }
        }
    }
    let mask = only.unwrap_or_else(|| scale.every()) & !not;
    if mask == 0 {
        entry.wrong(report, format!("selects no {} at all", entry.key));
        return None;
    }
    Some(Wanted::Numbers(mask))
}

/// The bits of one word.
fn mask(entry: &Entry<'_>, word: &str, scale: &Scale, report: &mut Report<'_>) -> Option<u32> {
    let Scale { all, number, is_ordered } = *scale;
    if word == "*" {
        return Some(scale.every());
    }
    if let Some(text) = word.strip_prefix('~') {
        let regex = regex(entry, text, report)?;
        let found = all.iter().enumerate().filter(|(_, name)| regex.is_match(name.as_bytes()));
        return Some(found.fold(0, |mask, (at, _)| mask | 1 << at));
    }
    let mut number = |name: &str| {
        let found = number(name);
        if found.is_none() {
            let help = nearest(name, all.iter().copied());
            let help = help.unwrap_or_else(|| format!("there are: {}", all.join(", ")));
            entry.wrong(report, format!("`{name}` is no {}", entry.key)).help(help);
        }
        found
    };
    // The bits from 0 to this one.
    let up_to = |at: u8| (2_u32 << at) - 1;
    match word.strip_prefix('=').filter(|_| is_ordered) {
        Some(name) => Some(1 << number(name)?),
        None => match word.split_once("..").filter(|_| is_ordered) {
            Some((one, other)) => {
                let (one, other) = (number(one)?, number(other)?);
                Some(up_to(one.max(other)) & !(up_to(one.min(other)) >> 1))
            }
            None if is_ordered => Some(up_to(number(word)?)),
            None => Some(1 << number(word)?),
        },
    }
}

/// Text: names and regexes. `*` accepts anything, and words after `!` are excluded.
fn text(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Wanted> {
    let (mut only, mut not) = (Words::default(), Words::default());
    for word in words(entry, report)? {
        let (word, list) = match word.strip_prefix('!') {
            Some(word) => (word, &mut not),
            None => (word.as_str(), &mut only),
        };
        match word.strip_prefix('~') {
            Some(text) => {
                regex(entry, text, report)?;
                list.patterns.push(text.into());
            }
            None => {
                if entry.key == SOURCE.name && word.contains('/') {
                    entry.accept(report, word.parse::<Network>())?;
                }
                list.names.push(word.into());
            }
        }
    }
    let all = only == Words::default() || only.names.iter().any(|name| name == "*");
    if not.names.iter().any(|name| name == "*") {
        entry.wrong(report, format!("selects no {} at all", entry.key));
        return None;
    }
    let only = (!all).then_some(only);
    // A selector that excludes nothing is no test.
    (only.is_some() || not != Words::default()).then_some(Wanted::Text { only, not })
}

fn regex(
    entry: &Entry<'_>,
    text: &str,
    report: &mut Report<'_>,
) -> Option<regex_automata::meta::Regex> {
    let compiled = pattern::compile(text);
    entry.accept(report, compiled.map_err(|error| pattern::explain(&error).0))
}
