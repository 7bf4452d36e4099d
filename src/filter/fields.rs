//! The field selectors of one node.
//!
//! Fields that the PRI alone provides are read from the line's first bytes; a header is parsed once
//! a batch for all nodes that ask ([`Hits::message`]), and only for lines that passed the PRI
//! tests.

use std::collections::HashSet;
use std::net::IpAddr;

use regex_automata::meta::Regex;

use super::network::Network;
use super::patterns::Hits;
use super::plan::{FieldPlan, Wanted, Words};
use super::{Picked, Range};
use crate::batch::Batch;
use crate::parse::field::Field;
use crate::parse::syslog::{PRI_DEFAULT, pri};

/// The tests on fields.
#[derive(Debug, Default)]
pub struct FieldTests {
    facilities: Option<u32>,
    severities: Option<u32>,
    texts: Vec<TextTest>,
    /// True if a header alone does not decide.
    whole: bool,
}

#[derive(Debug)]
struct TextTest {
    field: Field,
    only: Option<Texts>,
    not: Texts,
}

/// A set of texts, ready for lookup.
#[derive(Debug)]
struct Texts {
    /// A set, because a list of thousands of hosts would be searched for each line.
    names: HashSet<Vec<u8>>,
    networks: Vec<Network>,
    patterns: Vec<Regex>,
}

impl Texts {
    fn new(field: &Field, words: &Words) -> Result<Self, String> {
        let is_network = |name: &&String| *field == Field::Source && name.contains('/');
        let (networks, names): (Vec<_>, Vec<_>) = words.names.iter().partition(is_network);
        let compile = |text: &String| {
            super::regex::compile(text).map_err(|error| format!("{field}: {error}"))
        };
        Ok(Self {
            names: names.into_iter().map(|name| name.clone().into_bytes()).collect(),
            networks: networks.into_iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            patterns: words.patterns.iter().map(compile).collect::<Result<_, _>>()?,
        })
    }

    fn have(&self, value: &[u8]) -> bool {
        let address = || std::str::from_utf8(value).ok()?.parse::<IpAddr>().ok();
        self.names.contains(value)
            || self.patterns.iter().any(|pattern| pattern.is_match(value))
            || !self.networks.is_empty()
                && address().is_some_and(|address| self.networks.iter().any(|n| n.has(address)))
    }
}

impl FieldTests {
    /// Compiles the tests of these plans.
    ///
    /// # Errors
    /// Which regex does not compile.
    pub fn new(plans: &[FieldPlan]) -> Result<Self, String> {
        let mut tests = Self::default();
        for FieldPlan { field, wanted } in plans {
            match (field, wanted) {
                (Field::Facility, Wanted::Numbers(mask)) => tests.facilities = Some(*mask),
                (_, Wanted::Numbers(mask)) => tests.severities = Some(*mask),
                (field, Wanted::Text { only, not }) => {
                    tests.whole |= !field.is_in_header();
                    let only = only.as_ref().map(|words| Texts::new(field, words)).transpose()?;
                    let not = Texts::new(field, not)?;
                    tests.texts.push(TextTest { field: field.clone(), only, not });
                }
            }
        }
        Ok(tests)
    }

    /// Returns whether every line passes.
    pub fn is_empty(&self) -> bool {
        self.facilities.is_none() && self.severities.is_none() && self.texts.is_empty()
    }

    /// The lines that pass.
    pub fn pick(&self, batch: &Batch, hits: &mut Hits) -> Picked {
        let lines = hits.lines(batch).iter().enumerate();
        let passing = lines.filter(|(_, range)| self.pri_passes(line_of(batch, **range)));
        let mut picked: Vec<_> = passing.map(|(at, range)| (at, *range)).collect();
        if !self.texts.is_empty() {
            picked.retain(|(at, range)| self.text_passes(batch, *at, *range, hits));
        }
        Picked::Some(picked.into_iter().map(|(_, range)| range).collect())
    }

    fn pri_passes(&self, line: &[u8]) -> bool {
        if self.facilities.is_none() && self.severities.is_none() {
            return true;
        }
        let pri = pri(line).map_or(PRI_DEFAULT, |(pri, _)| pri);
        let has = |mask: Option<u32>, bit: u8| mask.is_none_or(|mask| mask & (1 << bit) != 0);
        has(self.facilities, pri / 8) && has(self.severities, pri % 8)
    }

    fn text_passes(&self, batch: &Batch, at: usize, range: Range, hits: &mut Hits) -> bool {
        let line = line_of(batch, range);
        let message = hits.message(batch, at, self.whole);
        let source = batch.sources.as_ref().and_then(|sources| sources.of(range.0 as usize));
        self.texts.iter().all(|test| {
            // A line without the field matches none of these texts.
            match test.field.value(line, &message, source) {
                Some(value) => {
                    !test.not.have(&value)
                        && test.only.as_ref().is_none_or(|only| only.have(&value))
                }
                None => test.only.is_none(),
            }
        })
    }
}

/// A line without its newline.
fn line_of(batch: &Batch, (start, end): Range) -> &[u8] {
    &batch.bytes[start as usize..end as usize - 1]
}

#[cfg(test)]
mod tests {
    use super::super::{batch_of, gather};
    use super::*;
    use crate::sources::{Source, Sources};

    const LINES: &str = "<34>1 - web1 su 1 ID [a@1 ip=\"1\"] crit\n\
                         <30>1 - web2 cron - - - info\n\
                         <36>Oct 11 22:14:15 db1 sshd[7]: warning\n\
                         raw\n";

    fn picked(plans: &[FieldPlan]) -> Vec<String> {
        let mut batch = batch_of(LINES);
        let source = Source::Address("192.0.2.7:514".parse().unwrap());
        batch.sources = Some(Sources::one(source));
        let tests = FieldTests::new(plans).unwrap();
        let picked = tests.pick(&batch, &mut Hits::default());
        let word = |line: &[u8]| String::from_utf8(line.to_vec()).unwrap();
        let last = |line: String| line.rsplit(' ').next().unwrap().to_string();
        gather(&batch, &picked)
            .map_or_else(Vec::new, |batch| batch.iter().map(word).map(last).collect())
    }

    fn numbers(field: Field, mask: u32) -> FieldPlan {
        FieldPlan { field, wanted: Wanted::Numbers(mask) }
    }

    fn text(field: &str, names: &[&str], patterns: &[&str]) -> FieldPlan {
        let strings = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let only = Some(Words { names: strings(names), patterns: strings(patterns) });
        let wanted = Wanted::Text { only, not: Words::default() };
        FieldPlan { field: field.parse().unwrap(), wanted }
    }

    /// Excludes these.
    fn not(field: &str, names: &[&str], patterns: &[&str]) -> FieldPlan {
        let FieldPlan { field, wanted } = text(field, names, patterns);
        let Wanted::Text { only, .. } = wanted else { panic!() };
        FieldPlan { field, wanted: Wanted::Text { only: None, not: only.unwrap() } }
    }

    #[test]
    fn lines_are_left_out_by_names_and_regexes() {
        assert_eq!(picked(&[not("host", &["web1"], &["^db"])]), ["info", "raw"]);
        // A line without the field has none of these.
        assert_eq!(picked(&[not("msgid", &["ID"], &[])]), ["info", "warning", "raw"]);
        assert_eq!(picked(&[not("source", &["192.0.2.0/24"], &[])]), [""; 0]);
        assert_eq!(picked(&[text("source", &["192.0.2.0/30"], &[])]), [""; 0]);
        assert_eq!(picked(&[text("source", &["192.0.2.4/30"], &[])]).len(), 4);
        let mut both = text("host", &[], &["^web"]);
        let Wanted::Text { not, .. } = &mut both.wanted else { panic!() };
        not.names.push("web2".into());
        assert_eq!(picked(&[both]), ["crit"]);
    }

    #[test]
    fn lines_are_picked_by_facility_and_severity() {
        assert_eq!(picked(&[numbers(Field::Facility, 1 << 4)]), ["crit", "warning"]);
        assert_eq!(picked(&[numbers(Field::Severity, 0b111)]), ["crit"]);
        assert_eq!(picked(&[numbers(Field::Severity, 1 << 5)]), ["raw"]);
        let both = [numbers(Field::Facility, 1 << 4), numbers(Field::Severity, 1 << 4)];
        assert_eq!(picked(&both), ["warning"]);
    }

    #[test]
    fn lines_are_picked_by_the_text_behind_their_header() {
        let message = |names: &[&str], patterns: &[&str]| {
            let FieldPlan { wanted, .. } = text("app", names, patterns);
            FieldPlan { field: Field::Message, wanted }
        };
        assert_eq!(picked(&[message(&["crit"], &[])]), ["crit"]);
        assert_eq!(picked(&[message(&[], &["^(info|w)"])]), ["info", "warning"]);
        // A line without a header is all text; a word of a header is none.
        assert_eq!(picked(&[message(&["raw"], &["web|sshd|a@1"])]), ["raw"]);
    }

    #[test]
    fn lines_are_picked_by_names_and_regexes() {
        assert_eq!(picked(&[text("host", &["web1", "db1"], &[])]), ["crit", "warning"]);
        assert_eq!(picked(&[text("host", &["db1"], &["^web"])]), ["crit", "info", "warning"]);
        assert_eq!(picked(&[text("host", &["192.0.2.7"], &[])]), ["raw"]);
        assert_eq!(
            picked(&[text("app", &["sshd"], &[]), text("procid", &["7"], &[])]),
            ["warning"]
        );
        assert_eq!(picked(&[text("sd.a@1.ip", &["1"], &[])]), ["crit"]);
        assert_eq!(picked(&[text("msgid", &[], &["."])]), ["crit"]);
        assert_eq!(picked(&[text("uid", &["0"], &[])]), [""; 0]);
    }
}
