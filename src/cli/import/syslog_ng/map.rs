//! Walks the log paths in order, as syslog-ng does, and converts them to nodes.
//!
//! A message goes through every log path whose source and filters it passes, unless an earlier one
//! with `flags(final)` had it. So for each source there is what later paths still get.

mod path;

use std::collections::BTreeMap;

use super::ends::{self, Around};
use super::filter::{self, Filters};
use super::macros::Sets;
use super::merge::Merged;
use super::syntax::{Call, Statement};
use crate::cli::import::document::{Document, Table};
use crate::cli::import::refusal;
use crate::cli::import::rsyslog::condition::{self, Parts};
use crate::cli::import::rsyslog::select;

/// A driver of a destination: its key, its call, and what rewrite rules before it have set.
type Driver = (String, Call, Sets);

/// Messages: of these nodes, those in these parts.
type Taken = (Vec<String>, Parts);

/// The state of the conversion.
struct Mapper<'d> {
    merged: Merged,
    document: &'d mut Document,
    options: Call,
    /// The definitions by name, and the nodes of those sources that are used.
    sources: BTreeMap<String, Vec<Call>>,
    destinations: BTreeMap<String, Vec<Call>>,
    filters: Filters,
    templates: BTreeMap<String, String>,
    nodes: BTreeMap<String, Vec<String>>,
    /// What later log paths get of each source.
    rests: BTreeMap<String, Parts>,
    /// What each driver of a destination gets, in the order of their first use.
    uses: Vec<(Driver, Vec<Taken>)>,
    /// The rewrite rules by name.
    rewrites: BTreeMap<String, Vec<Call>>,
    /// What no log path has had of each source.
    unmatched: BTreeMap<String, Parts>,
}

/// Converts all statements to nodes.
pub(super) fn all(merged: Merged, statements: &[Statement], document: &mut Document) {
    let mut mapper = Mapper {
        merged,
        document,
        options: Call::default(),
        sources: BTreeMap::new(),
        destinations: BTreeMap::new(),
        filters: Filters::new(),
        templates: BTreeMap::new(),
        nodes: BTreeMap::new(),
        rests: BTreeMap::new(),
        uses: Vec::new(),
        rewrites: BTreeMap::new(),
        unmatched: BTreeMap::new(),
    };
    for statement in statements {
        mapper.define(statement);
    }
    let logs = statements.iter().filter(|statement| statement.kind == "log");
    let (fallbacks, logs): (Vec<_>, Vec<_>) =
        logs.partition(|log| path::has_flag(&log.body, "fallback"));
    for log in logs.into_iter().chain(fallbacks) {
        mapper.log(log, statements);
    }
    mapper.outputs();
    mapper.note_hosts();
    for kind in ["input", "output"] {
        if !document.has(kind) {
            let (what, instead) = (format!("there is no {kind}"), format!("add an [{kind}.NAME]"));
            document.leave("the whole", &what, &instead);
        }
    }
}

impl Mapper<'_> {
    fn at(&self, line: usize) -> String {
        self.merged.at(line)
    }

    fn leave(&mut self, line: usize, what: &str, instead: &str) {
        let at = self.at(line);
        self.document.leave(&at, what, instead);
    }

    fn define(&mut self, statement: &Statement) {
        let Statement { kind, name, body, tokens, line } = statement;
        match kind.as_str() {
            "options" => self.options.inside.extend(body.iter().cloned()),
            "source" => drop(self.sources.insert(name.clone(), body.clone())),
            "destination" => drop(self.destinations.insert(name.clone(), body.clone())),
            "filter" => drop(self.filters.insert(name.clone(), tokens.clone())),
            "template" => {
                let text = body.iter().find(|call| call.name == "template").map(Call::first);
                self.templates.insert(name.clone(), text.unwrap_or_default().to_string());
            }
            "log" | "@version" | "@module" | "@requires" | "@define" => {}
            "@include" if name.ends_with("scl.conf") => {}
            "@include" => {
                self.leave(*line, &format!("@include {name}"), "there is no such file");
            }
            "rewrite" => drop(self.rewrites.insert(name.clone(), body.clone())),
            "parser" => self.leave(
                *line,
                &format!("parser {name}"),
                "fields of syslog are known; for others, a filter with `run` or a regex in `match`",
            ),
            kind => {
                let what = format!("{kind} {name}");
                self.leave(*line, what.trim(), "logweir has nothing like it");
            }
        }
    }

    /// Says what becomes of the hosts in messages, which syslog-ng replaces unless told otherwise.
    fn note_hosts(&mut self) {
        let is_network = |call: &Call| {
            ["network", "syslog", "tcp", "udp", "tcp6", "udp6"].contains(&call.name.as_str())
        };
        if self.options.get("keep-hostname") != "yes"
            && self.sources.values().flatten().any(is_network)
        {
            self.document.note(
                "keep-hostname(no): syslog-ng puts the name or address of the sender in the place \
                 of the host in a message.",
            );
            self.document.note("logweir keeps what the message says; {source} is the address.");
        }
    }

    /// The nodes of a source, made at its first use.
    fn source(&mut self, name: &str, drivers: &[Call]) -> Vec<String> {
        if let Some(nodes) = self.nodes.get(name) {
            return nodes.clone();
        }
        let mut nodes = Vec::new();
        for driver in drivers {
            let at = self.at(driver.line);
            let word = name.strip_prefix("s_").unwrap_or(name);
            let word = format!("{word}-{}", driver.name);
            let made = ends::source(driver, &word, self.document);
            let tables = match made {
                Ok(tables) => tables,
                Err(what) => {
                    self.document.leave(&at, &format!("source {}()", driver.name), &what);
                    continue;
                }
            };
            for mut table in tables {
                table.comment(&at);
                if let Err(why) = refusal(&table.to_text()) {
                    self.document.leave(&at, &format!("source {}()", driver.name), &why);
                    continue;
                }
                self.left(driver);
                nodes.push(table.name().to_string());
                self.document.push(table);
            }
        }
        self.nodes.insert(name.to_string(), nodes.clone());
        nodes
    }

    /// Reports the options of a driver that are not carried over.
    fn left(&mut self, driver: &Call) {
        let unknown = ends::unknown(driver);
        if !unknown.is_empty() {
            let what = format!("{}(): {}", driver.name, unknown.join(", "));
            self.leave(driver.line, &what, "see logweir.toml(5) for what takes its place");
        }
    }

    /// The name of a source, which a log path may also define itself.
    fn source_of(&mut self, item: &Call) -> Vec<String> {
        if !item.inside.is_empty() {
            let name = format!("line-{}", item.line);
            self.source(&name, &item.inside);
            return vec![name];
        }
        let mut found = Vec::new();
        for name in &item.words {
            match self.sources.get(name).cloned() {
                Some(drivers) => {
                    self.source(name, &drivers);
                    found.push(name.clone());
                }
                None => self.leave(item.line, &format!("source({name})"), "there is no such one"),
            }
        }
        found
    }

    /// What of its sources a log path gives to a destination, grouped where that is the same.
    fn take(&mut self, from: &[(String, Parts)], passes: &Parts, line: usize) -> Vec<Taken> {
        let mut groups: Vec<Taken> = Vec::new();
        for (name, rest) in from {
            let nodes = self.nodes.get(name).cloned().unwrap_or_default();
            let Ok(taken) = condition::and(rest, passes) else {
                self.leave(line, "a log path", "its filters have too many parts");
                continue;
            };
            if taken.is_empty() || nodes.is_empty() {
                continue;
            }
            match groups.iter_mut().find(|(_, parts)| *parts == taken) {
                Some((from, _)) => from.extend(nodes),
                None => groups.push((nodes, taken)),
            }
        }
        groups
    }

    fn use_destination(&mut self, item: &Call, sets: &Sets, taken: &[Taken]) {
        let mut drivers = Vec::new();
        if item.inside.is_empty() {
            for name in &item.words {
                match self.destinations.get(name) {
                    Some(found) => {
                        let named = found.iter().cloned().enumerate();
                        drivers.extend(named.map(|(at, call)| (format!("{name}/{at}"), call)));
                    }
                    None => {
                        let what = format!("destination({name})");
                        self.leave(item.line, &what, "there is no such one");
                    }
                }
            }
        } else {
            let own = item.inside.iter().cloned().enumerate();
            drivers.extend(own.map(|(at, call)| (format!("line-{}/{at}", item.line), call)));
        }
        for (key, driver) in drivers {
            let is_it =
                |((known, _, set), _): &&mut (Driver, Vec<Taken>)| *known == key && set == sets;
            match self.uses.iter_mut().find(is_it) {
                Some((_, all)) => all.extend(taken.iter().cloned()),
                None => self.uses.push(((key, driver, sets.clone()), taken.to_vec())),
            }
        }
    }

    /// Adds an output for each driver that a log path leads to.
    fn outputs(&mut self) {
        for ((key, driver, sets), taken) in std::mem::take(&mut self.uses) {
            let around = Around { templates: &self.templates, options: &self.options, sets: &sets };
            let mut table = match ends::destination(&driver, &around) {
                Ok(table) => table,
                Err(what) => {
                    self.leave(driver.line, &format!("destination {}()", driver.name), &what);
                    continue;
                }
            };
            self.left(&driver);
            let word = key.split('/').next().unwrap_or_default();
            let word = word.strip_prefix("d_").unwrap_or(word);
            table.rename(self.document.name(word));
            let at = self.at(driver.line);
            table.comment(&at);
            if let Err(what) = self.connect(&mut table, &taken) {
                self.document.leave(&at, "a filter", &what);
                continue;
            }
            match refusal(&table.alone().to_text()) {
                Err(why) => self.document.leave(&at, &format!("{}()", driver.name), &why),
                Ok(()) => {
                    if !self.document.push_output(table) {
                        let what = "a file that is written in two ways";
                        self.document.leave(&at, what, "name another file");
                    }
                }
            }
        }
    }

    /// Says what an output takes: by selectors of its own, or by filters before it.
    fn connect(&mut self, table: &mut Table, taken: &[Taken]) -> Result<(), String> {
        let mut chains = Vec::new();
        for (from, parts) in taken {
            for part in condition::union(Parts::new(), parts) {
                let chain = select::chain(&part).map_err(|what| format!("there is no {what}"))?;
                chains.push((from.clone(), chain));
            }
        }
        match &chains[..] {
            [] => return Err("nothing comes to this destination".into()),
            [(from, chain)] if chain.len() == 1 => {
                table.texts("from", from);
                chain[0].iter().for_each(|(key, values)| table.texts(key, values));
                return Ok(());
            }
            _ => {}
        }
        let mut all = Vec::new();
        for (mut from, chain) in chains {
            for selectors in chain.iter().filter(|selectors| !selectors.is_empty()) {
                let word = format!("for-{}", table.name());
                let mut filter = Table::new("filter", self.document.name(&word));
                filter.texts("from", &from);
                selectors.iter().for_each(|(key, values)| filter.texts(key, values));
                from = vec![filter.name().to_string()];
                self.document.push(filter);
            }
            all.extend(from);
        }
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|name| seen.insert(name.clone()));
        table.texts("from", &all);
        Ok(())
    }
}
