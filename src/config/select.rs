//! The selectors, the same on filters and outputs.

use std::num::NonZeroU64;

use super::fields;
use super::pattern;
use super::plan::{RatePlan, SampleMode, SamplePlan, SelectPlan};
use super::report::Report;
use super::section::{Entry, Section};
use super::units;
use crate::filter::key;
use crate::parse::field::Field;

/// Reads all selectors of a node.
pub(super) fn read(section: &Section<'_>, report: &mut Report<'_>) -> SelectPlan {
    SelectPlan {
        fields: fields::read(section, report),
        matches: section.get("match").and_then(|entry| regex(entry, report)),
        reject: section.get("reject").and_then(|entry| regex(entry, report)),
        rate: section.get("rate").and_then(|entry| rate(entry, report)),
        sample: sample(section, report),
    }
}

fn regex(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = entry.text(report)?;
    match pattern::compile(text) {
        Ok(_) => Some(text.into()),
        Err(error) => {
            let (message, at) = pattern::explain(&error);
            let span = entry.within(report, at);
            report.error(&span, entry.path(), message);
            None
        }
    }
}

fn rate(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<RatePlan> {
    let text = entry.text(report)?;
    units::rate(text).map_err(|message| entry.wrong(report, message)).ok()
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Every,
    Random,
    Hash,
}

fn sample(section: &Section<'_>, report: &mut Report<'_>) -> Option<SamplePlan> {
    let words = [("every", Mode::Every), ("random", Mode::Random), ("hash", Mode::Hash)];
    let mode_entry = section.get("sample_mode");
    let mode = match mode_entry {
        Some(entry) => entry.word(report, &words),
        None => Some(Mode::Every),
    };
    let key_entry = section.get("sample_key");
    let key = key_entry.and_then(|entry| one_group(entry, report));
    if let Some(entry) = key_entry
        && mode.is_some_and(|mode| mode != Mode::Hash)
    {
        entry.misplaced(report, "needs `sample_mode = \"hash\"`", None);
    }
    if let Some(entry) = mode_entry
        && mode == Some(Mode::Hash)
        && key_entry.is_none()
    {
        let help = "give the key as a regex with one group, as in sample_key = 'host=(\\S+)'";
        entry.wrong_help(report, "\"hash\" needs `sample_key`", help);
    }
    let Some(entry) = section.get("sample") else {
        if let Some(entry) = mode_entry {
            entry.misplaced(report, "needs `sample`", None);
        }
        return None;
    };
    let n = NonZeroU64::new(entry.integer(report, 1..=u64::MAX)?)?;
    let mode = match mode? {
        Mode::Every => SampleMode::Every,
        Mode::Random => SampleMode::Random,
        Mode::Hash => SampleMode::Hash { key: key? },
    };
    (n.get() > 1).then_some(SamplePlan { n, mode })
}

/// A key: a field in braces, or a regex with exactly one group.
pub(super) fn one_group(entry: &Entry<'_>, report: &mut Report<'_>) -> Option<String> {
    if let Some(field) = entry.as_str().and_then(key::field_in) {
        return match field.parse::<Field>() {
            Ok(_) => entry.as_str().map(str::to_string),
            Err(message) => {
                entry.wrong(report, message);
                None
            }
        };
    }
    let text = regex(entry, report)?;
    let groups = pattern::compile(&text).map_or(0, |regex| pattern::groups(&regex));
    if groups == 1 {
        return Some(text);
    }
    let message = format!("must have exactly one group (…), this has {groups}");
    entry.wrong_help(
        report,
        message,
        "what the group finds is the key; (?:…) groups without counting",
    );
    None
}
