//! What is inside of a log path: filters, branches, junctions, paths in a path, rewrite rules and
//! destinations, in their order.

use super::{Mapper, filter};
use crate::cli::import::rsyslog::condition::{self, Part, Parts, Property};
use crate::cli::import::syslog_ng::macros::{self, Sets, full_name};
use crate::cli::import::syslog_ng::syntax::{Call, Statement, Token};

/// The maximum nesting of what is in a log path.
const DEPTH_MAX: usize = 16;

/// Flags of log paths that are carried over.
const FLAGS: [&str; 4] = ["final", "fallback", "catchall", "flow-control"];

/// Returns whether a log path or a channel has a flag.
pub(super) fn has_flag(items: &[Call], flag: &str) -> bool {
    let flags = items.iter().filter(|item| item.name == "flags");
    flags.flat_map(|item| &item.words).any(|word| word.replace('_', "-") == flag)
}

/// The messages at a place in a log path, of those that came to its beginning.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    parts: Parts,
    /// What rewrite rules have set so far.
    sets: Sets,
}

/// The destinations found, each with what comes to it.
type Found = Vec<(Call, Place)>;

/// A log path is left out from here on; the reason has been reported.
struct Left;

impl Mapper<'_> {
    pub(super) fn log(&mut self, statement: &Statement, all: &[Statement]) {
        let items = &statement.body;
        let mut sources = Vec::new();
        for item in items.iter().filter(|item| item.name == "source") {
            sources.extend(self.source_of(item));
        }
        if has_flag(items, "catchall") {
            let named = all.iter().filter(|one| one.kind == "log").flat_map(|log| &log.body);
            for item in named.filter(|item| item.name == "source") {
                sources.extend(self.source_of(item));
            }
            sources.sort();
            sources.dedup();
        }
        let is_fallback = has_flag(items, "fallback");
        let of = if is_fallback { &self.unmatched } else { &self.rests };
        let rest_of = |name: &String| of.get(name).cloned().unwrap_or_else(Part::all);
        let from: Vec<_> = sources.iter().map(|name| (name.clone(), rest_of(name))).collect();
        let (mut found, start) = (Found::new(), Place { parts: Part::all(), sets: Sets::new() });
        let passed = self.walk(items, start, &mut found, 0).ok();
        for (destination, Place { parts, sets }) in found {
            let taken = self.take(&from, &parts, destination.line);
            self.use_destination(&destination, &sets, &taken);
        }
        let Some(passed) = passed.filter(|_| !is_fallback) else { return };
        let is_final = has_flag(items, "final");
        let Ok(others) = condition::not(&passed) else {
            return self.leave(statement.line, "a log path", "its filters have too many parts");
        };
        for name in sources {
            for (is_less, rests) in
                [(is_final, &mut self.rests), (true, &mut self.unmatched)].into_iter()
            {
                let rest = rests.entry(name.clone()).or_insert_with(Part::all);
                if let (true, Ok(left)) = (is_less, condition::and(rest, &others)) {
                    *rest = left;
                }
            }
        }
    }

    /// Follows the messages at a place through these items; returns what has passed them all.
    fn walk(
        &mut self,
        items: &[Call],
        mut place: Place,
        found: &mut Found,
        depth: usize,
    ) -> Result<Parts, Left> {
        if depth > DEPTH_MAX {
            let line = items.first().map_or(0, |item| item.line);
            self.leave(line, "a log path", "it is nested too deep");
            return Err(Left);
        }
        // What of the messages no branch before has had, and what no path inside has had.
        let (mut others, mut inner): (Option<Parts>, Option<Inner>) = (None, None);
        for (at, item) in items.iter().enumerate() {
            let is_last = items[at + 1..].iter().all(|item| item.name == "flags");
            match item.name.as_str() {
                "source" => {}
                "filter" => place.parts = self.filtered(item, &place)?,
                "destination" => found.push((item.clone(), place.clone())),
                "rewrite" => self.rewrite(item, &mut place.sets),
                "flags" => self.flags(item),
                "if" | "elif" | "else" => {
                    let before = if item.name == "if" { None } else { others.take() };
                    let before = before.unwrap_or_else(|| place.parts.clone());
                    let parts = self.condition(item, &place)?;
                    let inside = self.and(&before, &parts, item.line)?;
                    let rest = condition::not(&parts).unwrap_or_else(|_| Part::all());
                    others = Some(self.and(&before, &rest, item.line)?);
                    let branch = Place { parts: inside.clone(), sets: place.sets.clone() };
                    let changes = changes(&item.inside);
                    let goes_on = items[at + 1..]
                        .iter()
                        .any(|item| !["flags", "elif", "else"].contains(&item.name.as_str()));
                    self.walk(&item.inside, branch, found, depth + 1)?;
                    if changes && goes_on {
                        self.leave(item.line, "what follows an if with filters or rules", AGAIN);
                        return Err(Left);
                    }
                }
                "junction" => {
                    place.parts = self.junction(item, &place, found, (depth, is_last))?;
                }
                "log" => {
                    let inner = inner.get_or_insert_with(|| Inner::new(&place));
                    self.inner(item, &place, inner, (found, depth))?;
                }
                name => {
                    let what = format!("{name} in a log path");
                    self.leave(item.line, &what, instead_of(name));
                }
            }
        }
        Ok(inner.map_or(place.parts, |inner| inner.matched))
    }

    /// A path in a path: those at its side get what it does not end.
    fn inner(
        &mut self,
        item: &Call,
        place: &Place,
        inner: &mut Inner,
        (found, depth): (&mut Found, usize),
    ) -> Result<(), Left> {
        let is_fallback = has_flag(&item.inside, "fallback");
        let parts = match is_fallback {
            true => {
                let others = condition::not(&inner.matched).unwrap_or_else(|_| Part::all());
                self.and(&place.parts, &others, item.line)?
            }
            false => inner.rest.clone(),
        };
        let place = Place { parts, sets: place.sets.clone() };
        let passed = self.walk(&item.inside, place, found, depth + 1)?;
        if has_flag(&item.inside, "final") {
            let others = condition::not(&passed).unwrap_or_else(|_| Part::all());
            inner.rest = self.and(&inner.rest, &others, item.line)?;
        }
        let matched = condition::or(inner.matched.clone(), &passed);
        inner.matched = matched.unwrap_or_else(|_| Part::all());
        Ok(())
    }

    /// The messages that leave a junction, each of whose channels may take some.
    fn junction(
        &mut self,
        item: &Call,
        place: &Place,
        found: &mut Found,
        (depth, is_last): (usize, bool),
    ) -> Result<Parts, Left> {
        let (mut rest, mut passed) = (place.parts.clone(), Parts::new());
        let channels: Vec<_> = item.inside.iter().filter(|one| one.name == "channel").collect();
        for (at, channel) in channels.iter().enumerate() {
            let start = Place { parts: rest.clone(), sets: place.sets.clone() };
            let through = self.walk(&channel.inside, start, found, depth + 1)?;
            let is_end = at + 1 == channels.len();
            let sets = channel.inside.iter().any(|item| item.name == "rewrite");
            let is_twice = !is_end && !has_flag(&channel.inside, "final");
            if !is_last && (is_twice || sets) {
                let what = "what follows a junction whose channels have rules or are not final";
                self.leave(item.line, what, AGAIN);
                return Err(Left);
            }
            if has_flag(&channel.inside, "final") {
                let others = condition::not(&through).unwrap_or_else(|_| Part::all());
                rest = self.and(&rest, &others, channel.line)?;
            }
            passed = condition::or(passed, &through).unwrap_or_else(|_| place.parts.clone());
        }
        Ok(passed)
    }

    fn and(&mut self, one: &Parts, other: &Parts, line: usize) -> Result<Parts, Left> {
        condition::and(one, other).map_err(|_| {
            self.leave(line, "a log path", "its filters have too many parts");
            Left
        })
    }

    /// The messages of a place that pass a filter.
    fn filtered(&mut self, item: &Call, place: &Place) -> Result<Parts, Left> {
        let parts = self.condition(item, place)?;
        self.and(&place.parts, &parts, item.line)
    }

    /// What a filter, by name or in braces, or the condition of a branch passes.
    fn condition(&mut self, item: &Call, place: &Place) -> Result<Parts, Left> {
        let sign = |text: &str| Token { text: text.into(), quoted: false, line: item.line };
        let mut all = Ok(Part::all());
        let mut texts = vec![item.tokens.clone()];
        if item.tokens.is_empty() {
            let named = item.words.iter();
            texts =
                named.map(|name| vec![sign("filter"), sign("("), sign(name), sign(")")]).collect();
        }
        for tokens in texts {
            let parts = filter::parts(&tokens, &self.filters, 0);
            all = all.and_then(|all| condition::and(&all, &parts?));
        }
        let is_set = |(set, _): &(String, String)| {
            let key = Property::Field(match set.as_str() {
                "HOST" => "host",
                "PROGRAM" => "app",
                "PID" => "procid",
                _ => "message",
            });
            let parts = all.iter().flatten();
            parts.flat_map(|part| &part.atoms).any(|atom| atom.property == key)
        };
        let set = place.sets.iter().find(|set| is_set(set));
        let why = match (&all, set) {
            (Err(what), _) => what.clone(),
            (_, Some((set, _))) => format!("of ${set}, which a rewrite rule has set"),
            (Ok(_), None) => return all.map_err(|_| Left),
        };
        self.leave(item.line, &format!("filter: {why}"), AGAIN);
        Err(Left)
    }

    fn flags(&mut self, item: &Call) {
        for flag in item.words.iter().map(|flag| flag.replace('_', "-")) {
            if !FLAGS.contains(&flag.as_str()) {
                self.leave(item.line, &format!("flags({flag})"), "filters with selectors");
            }
        }
    }

    /// Carries over what rules set; the templates behind them show it.
    fn rewrite(&mut self, item: &Call, sets: &mut Sets) {
        let mut rules = item.inside.clone();
        for name in &item.words {
            match self.rewrites.get(name) {
                Some(named) => rules.extend(named.iter().cloned()),
                None => self.leave(item.line, &format!("rewrite({name})"), "there is no such one"),
            }
        }
        for rule in rules {
            let value = rule.get("value").trim_start_matches('$').trim_matches(['{', '}']);
            let name = full_name(value).to_string();
            let has_only = |known: &[&str]| {
                rule.inside.iter().all(|option| known.contains(&option.name.as_str()))
            };
            let text = macros::with_sets(rule.first(), sets);
            match (rule.name.as_str(), text) {
                ("set", Ok(text)) if has_only(&["value"]) && !name.is_empty() => {
                    sets.retain(|(set, _)| *set != name);
                    sets.push((name, text));
                }
                (kind, _) => {
                    let what = format!("rewrite {kind}({})", rule.words.join(" "));
                    self.leave(rule.line, &what, &in_the_place_of(&rule));
                }
            }
        }
    }
}

/// The paths inside of a path: what the next one gets, and what any has had.
struct Inner {
    rest: Parts,
    matched: Parts,
}

impl Inner {
    fn new(place: &Place) -> Self {
        Self { rest: place.parts.clone(), matched: Parts::new() }
    }
}

/// What to do in the place of a log path that is left out.
const AGAIN: &str = "a filter with selectors; this log path is left out from here on";

/// Returns whether items change messages or choose among them.
fn changes(items: &[Call]) -> bool {
    items.iter().any(|item| {
        ["filter", "rewrite", "junction"].contains(&item.name.as_str())
            || ["if", "elif", "else"].contains(&item.name.as_str()) && changes(&item.inside)
    })
}

/// What to do in the place of a rewrite rule.
fn in_the_place_of(rule: &Call) -> String {
    let plain = |text: &String| !text.contains(['/', '\'', '\n']);
    match (rule.name.as_str(), &rule.words[..]) {
        ("subst", [from, to]) if plain(from) && plain(to) => {
            let all = rule.option("flags").is_some_and(|flags| flags.first() == "global");
            let end = if all { "g" } else { "" };
            format!("a filter with run = \"sed -u -E 's/{from}/{to}/{end}'\" (it sees whole lines)")
        }
        _ => "a filter with `run` can change lines".into(),
    }
}

/// What to do in the place of an item of a log path.
fn instead_of(name: &str) -> &'static str {
    match name {
        "parser" => "fields of syslog are known; for others, a filter with `run`, or `match`",
        _ => "a filter with `run`, or selectors",
    }
}
