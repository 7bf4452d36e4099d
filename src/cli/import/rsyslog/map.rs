//! Walks the statements as rsyslog would, and converts them to nodes.
//!
//! The messages that reach a statement are a stream: nodes by name, and the parts of their messages
//! ([`Flow`]). An action takes from it the messages of its conditions; `stop` removes messages.

mod define;
mod directive;
mod receive;

use std::collections::{BTreeMap, BTreeSet};

use super::Placed;
use super::action::{self, Defaults};
use super::condition::{self, Atom, INPUT, Part, Parts, Property, Test};
use super::select::{self, Selectors};
use super::source::Settings;
use super::syntax::{BEHIND_BLOCK, Body, Object, Statement};
use crate::cli::import::document::{Document, Table};
use crate::cli::import::refusal;

/// The maximum depth of calls between rulesets, and the maximum number of all calls.
const CALL_DEPTH_MAX: usize = 8;
const CALLS_MAX: usize = 1000;

/// The messages that reach a statement.
#[derive(Debug, Clone, PartialEq)]
struct Flow {
    /// The nodes they come from.
    from: Vec<String>,
    /// Which of those; the parts are disjoint.
    rest: Parts,
}

/// Nodes, and the selectors one after another that what comes from them passes.
type Chain = (Vec<String>, Vec<Selectors>);

/// The state of the conversion.
struct Mapper<'d> {
    document: &'d mut Document,
    defaults: Defaults,
    settings: Settings,
    /// Whether inputs join repeats.
    squeezes: bool,
    rulesets: BTreeMap<String, (String, Vec<Statement>)>,
    /// The inputs of each ruleset; those of the main one under the empty name.
    inputs: BTreeMap<String, Vec<String>>,
    /// The module of each input, without `im`.
    kinds: BTreeMap<String, String>,
    /// What rsyslog calls each input, and the filters behind inputs of one name alone.
    input_names: BTreeMap<String, String>,
    /// The modules that have been loaded: once more means nothing.
    loaded: BTreeSet<String>,
    /// The ruleset of inputs that name none, if that is not the main one.
    main: String,
    /// Parameters from legacy directives for the next input of each module.
    next: BTreeMap<&'static str, BTreeMap<String, String>>,
    file: String,
    /// Parameters from legacy directives for the next action alone.
    pending: BTreeMap<String, String>,
    /// The calls of rulesets so far.
    calls: usize,
    /// The last output: the next may be there for when it fails.
    last: Option<String>,
    /// Whether legacy actions are for when the one before fails.
    is_spare: bool,
}

/// The main ruleset, as `$RuleSet` names it.
const MAIN: &str = "RSYSLOG_DefaultRuleset";

/// The statements of the main ruleset, and those behind a `$RuleSet` of another one, which are of
/// that.
fn by_ruleset(statements: &[Placed]) -> (Vec<&Placed>, Vec<(&str, &Placed)>) {
    let (mut main, mut others, mut present) = (Vec::new(), Vec::new(), MAIN);
    for placed in statements {
        match &placed.statement.body {
            Body::Directive(name, value) if name == "ruleset" => present = value,
            _ if present.eq_ignore_ascii_case(MAIN) => main.push(placed),
            _ => others.push((present, placed)),
        }
    }
    (main, others)
}

/// Converts all statements to nodes.
pub(super) fn all(statements: &[Placed], document: &mut Document) {
    let mut mapper = Mapper {
        document,
        defaults: Defaults::default(),
        settings: Settings::default(),
        squeezes: false,
        rulesets: BTreeMap::new(),
        inputs: BTreeMap::new(),
        kinds: BTreeMap::new(),
        input_names: BTreeMap::new(),
        loaded: BTreeSet::new(),
        main: String::new(),
        next: BTreeMap::new(),
        file: String::new(),
        pending: BTreeMap::new(),
        calls: 0,
        last: None,
        is_spare: false,
    };
    // Templates and globals apply wherever they are; inputs need the latter.
    for placed in statements {
        mapper.file.clone_from(&placed.file);
        mapper.define(&placed.statement);
    }
    mapper.share_tls();
    for placed in statements {
        mapper.file.clone_from(&placed.file);
        mapper.receive(&placed.statement);
    }
    let (main, others) = by_ruleset(statements);
    for (name, placed) in others {
        let empty = (placed.file.clone(), Vec::new());
        let (_, inside) = mapper.rulesets.entry(name.to_ascii_lowercase()).or_insert(empty);
        inside.push(placed.statement.clone());
    }
    mapper.adopt();
    let mut flow = mapper.flow_of("");
    for placed in main {
        mapper.file.clone_from(&placed.file);
        flow = mapper.statement(&placed.statement, flow, 0);
    }
    for (name, (file, statements)) in mapper.rulesets.clone() {
        if mapper.inputs.contains_key(&name) {
            mapper.file = file;
            let flow = mapper.flow_of(&name);
            mapper.statements(&statements, flow, 0);
        }
    }
    if !document.has("input") {
        document.leave("the whole", "there is no input", "add an [input.NAME]");
    }
    if !document.has("output") {
        document.leave("the whole", "there is no output", "add an [output.NAME]");
    }
}

impl Mapper<'_> {
    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.file)
    }

    /// Processes statements; returns the flow after them, if any remains.
    fn statements(
        &mut self,
        statements: &[Statement],
        mut flow: Option<Flow>,
        depth: usize,
    ) -> Option<Flow> {
        for statement in statements {
            flow = self.statement(statement, flow, depth);
        }
        flow
    }

    fn statement(
        &mut self,
        statement: &Statement,
        flow: Option<Flow>,
        depth: usize,
    ) -> Option<Flow> {
        let at = self.at(statement.line);
        if let Body::Object(object) = &statement.body
            && !self.is_used(object, statement.line)
        {
            return flow;
        }
        match &statement.body {
            Body::Directive(name, value) => self.directive(name, value, &at),
            Body::Object(object) if object.kind == "action" => {
                if let Some(flow) = &flow {
                    self.act(object, &Part::all(), flow, &at);
                }
            }
            Body::Object(object) => self.other_object(object, &at),
            Body::Filter { filter, actions } => {
                return self.filter(filter, actions, flow, &at);
            }
            Body::If { condition, then, or_else } => {
                let parts = condition::expression(condition).map(|parts| self.received(parts));
                let text = format!("if {condition}");
                return self.branch((&text, parts), (then, or_else), flow, (depth, &at));
            }
            Body::Block { filter, inside } => {
                let parts = condition::filter(filter).map(|parts| self.received(parts));
                return self.branch((filter, parts), (inside, &[]), flow, (depth, &at));
            }
            Body::Stop => return None,
            Body::Call(name) => {
                let ruleset = self.rulesets.get(&name.to_ascii_lowercase());
                let Some((file, inside)) = ruleset.cloned() else {
                    self.document.leave(&at, &format!("call {name}"), "there is no such ruleset");
                    return flow;
                };
                self.calls += 1;
                if depth == CALL_DEPTH_MAX || self.calls > CALLS_MAX {
                    self.document.leave(&at, &format!("call {name}"), "rulesets call each other");
                    return flow;
                }
                let before = std::mem::replace(&mut self.file, file);
                let flow = self.statements(&inside, flow, depth + 1);
                self.file = before;
                return flow;
            }
            Body::Unknown(text) => {
                let text: String = text.chars().take(80).collect();
                self.document.leave(&at, &text, instead_of(&text));
            }
        }
        flow
    }

    fn filter(
        &mut self,
        filter: &str,
        actions: &[String],
        flow: Option<Flow>,
        at: &str,
    ) -> Option<Flow> {
        let flow = flow?;
        let parts = match condition::filter(filter) {
            Ok(parts) => self.received(parts),
            Err(what) => {
                let stops = actions.iter().any(|action| is_stop(action));
                self.document.leave(at, filter, &in_the_place_of_condition(&what, stops));
                return Some(flow);
            }
        };
        let mut stops = false;
        for action in actions {
            let text = action.trim();
            if is_stop(text) {
                stops = true;
                continue;
            }
            match old_or_new(text) {
                Some(object) => self.act(&object, &parts, &flow, at),
                None => self.document.leave(at, text, "an action that is not understood"),
            }
        }
        if stops { self.without(&parts, flow, at) } else { Some(flow) }
    }

    /// A condition on the sender, where only messages of other hosts, or only those of this one,
    /// come at all.
    fn received(&self, parts: Parts) -> Parts {
        if self.has_own() { parts } else { condition::of_others(parts) }
    }

    fn branch(
        &mut self,
        (text, parts): (&str, Result<Parts, condition::Unsaid>),
        (then, or_else): (&[Statement], &[Statement]),
        flow: Option<Flow>,
        (depth, at): (usize, &str),
    ) -> Option<Flow> {
        let flow = flow?;
        let parts = match parts {
            Ok(parts) => parts,
            Err(what) => {
                let stops = [then, or_else].iter().any(|side| has_stop(side));
                self.document.leave(at, text, &in_the_place_of_condition(&what, stops));
                return Some(flow);
            }
        };
        let others = condition::not(&parts).and_then(|others| condition::and(&others, &flow.rest));
        let inside = condition::and(&parts, &flow.rest);
        let (Ok(inside), Ok(outside)) = (inside, others) else {
            self.document.leave(at, text, "filters with selectors");
            return Some(flow);
        };
        let side = |rest: &Parts| {
            let from = flow.from.clone();
            (!rest.is_empty()).then(|| Flow { from, rest: rest.clone() })
        };
        let after_then = self.statements(then, side(&inside), depth);
        let after_else = self.statements(or_else, side(&outside), depth);
        self.joined((side(&inside), after_then), (side(&outside), after_else), flow, at)
    }

    /// The flow after both sides of an `if`, each given as what reached it and what remains.
    fn joined(
        &mut self,
        (inside, then): (Option<Flow>, Option<Flow>),
        (outside, or_else): (Option<Flow>, Option<Flow>),
        flow: Flow,
        at: &str,
    ) -> Option<Flow> {
        if then == inside && or_else == outside {
            return Some(flow);
        }
        match (then, or_else) {
            (Some(one), Some(other)) if one.from == other.from => {
                let rest = condition::union(one.rest, &other.rest);
                Some(self.settled(Flow { from: one.from, rest }, at))
            }
            (Some(one), Some(other)) => {
                let mut from = self.filters(&one, "rest", at).unwrap_or_default();
                from.extend(self.filters(&other, "rest", at).unwrap_or_default());
                Some(Flow { from, rest: Part::all() })
            }
            (one, other) => one.or(other).map(|flow| self.settled(flow, at)),
        }
    }

    /// The remainder of a flow after the messages of a condition have stopped.
    fn without(&mut self, parts: &Parts, flow: Flow, at: &str) -> Option<Flow> {
        let rest = condition::not(parts).and_then(|others| condition::and(&flow.rest, &others));
        match rest {
            Ok(rest) if rest.is_empty() => None,
            Ok(rest) => {
                let rest = condition::union(Parts::new(), &rest);
                let left = Flow { from: flow.from.clone(), rest };
                match self.chains(&left) {
                    Ok(_) => Some(self.settled(left, at)),
                    Err(what) => {
                        let instead =
                            format!("these lines reach the outputs behind it: there is no {what}");
                        self.document.leave(at, "stop", &instead);
                        Some(flow)
                    }
                }
            }
            Err(what) => {
                self.document.leave(at, "stop", &what);
                Some(flow)
            }
        }
    }

    /// The same flow; if it has several parts, filters pass them once for everything that follows.
    fn settled(&mut self, flow: Flow, at: &str) -> Flow {
        if flow.rest.len() < 2 {
            return flow;
        }
        match self.filters(&flow, "rest", at) {
            Ok(from) => Flow { from, rest: Part::all() },
            Err(_) => flow,
        }
    }

    /// Adds filters that pass the messages of a flow; returns their names.
    fn filters(&mut self, flow: &Flow, word: &str, at: &str) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        for (mut from, chain) in self.chains(flow)? {
            for selectors in chain.into_iter().filter(|selectors| !selectors.is_empty()) {
                let mut table = Table::new("filter", self.document.name(word));
                table.comment(at);
                if !from.is_empty() {
                    table.texts("from", &from);
                }
                enter(&mut table, &selectors);
                from = vec![table.name().to_string()];
                self.document.push(table);
            }
            names.extend(from);
        }
        Ok(names)
    }

    /// The chains of selectors that pass the messages of a flow, and the nodes each reads from.
    fn chains(&self, flow: &Flow) -> Result<Vec<Chain>, String> {
        let mut chains = Vec::new();
        for part in &flow.rest {
            let (from, part) = self.by_input(&flow.from, part)?;
            if !from.is_empty() || flow.from.is_empty() {
                chains.push((from, select::chain(&part)?));
            }
        }
        Ok(chains)
    }

    /// Those of some nodes whose messages pass the tests of a part on the input, and the part
    /// without these tests.
    fn by_input(&self, from: &[String], part: &Part) -> Result<(Vec<String>, Part), String> {
        let is_test = |atom: &Atom| atom.property == Property::Field(INPUT);
        let (tests, atoms): (Vec<_>, Vec<_>) = part.atoms.iter().cloned().partition(is_test);
        let part = Part { pri: part.pri, atoms };
        if tests.is_empty() {
            return Ok((from.to_vec(), part));
        }
        if from.is_empty() || tests.iter().any(|atom| atom.test == Test::Regex) {
            return Err("input by such a name".into());
        }
        let mut nodes = Vec::new();
        for node in from {
            let name = self.input_names.get(node);
            let name = name.ok_or_else(|| format!("input of one name behind {node}"))?;
            if tests.iter().all(|atom| atom.passes(name)) {
                nodes.push(node.clone());
            }
        }
        Ok((nodes, part))
    }

    /// Converts an action to an output, for the messages of a condition.
    fn act(&mut self, object: &Object, parts: &Parts, flow: &Flow, at: &str) {
        let Ok(parts) = condition::and(parts, &flow.rest) else {
            self.document.leave(at, "a condition", "filters with selectors");
            return;
        };
        let parts = condition::union(Parts::new(), &parts);
        if parts.is_empty() {
            return;
        }
        let mut object = object.clone();
        for (key, value) in std::mem::take(&mut self.pending) {
            object.keys.entry(key).or_insert(value);
        }
        let is_spare = object.get(SPARE).eq_ignore_ascii_case("on") || self.is_spare;
        let Some(mut table) = action::output(&object, &self.defaults, at, self.document) else {
            return;
        };
        if is_spare {
            return self.spare(table, at);
        }
        let flow = Flow { from: flow.from.clone(), rest: parts };
        let chains: Vec<_> = match self.chains(&flow) {
            Ok(chains) => chains,
            Err(what) => {
                self.document.leave(at, "a condition", &format!("there is no {what}"));
                return;
            }
        };
        match &chains[..] {
            [] => return,
            [(from, chain)] if chain.len() == 1 => {
                if !from.is_empty() {
                    table.texts("from", from);
                }
                enter(&mut table, &chain[0]);
            }
            _ => {
                let word = format!("for-{}", table.name());
                match self.filters(&flow, &word, at) {
                    Ok(from) => table.texts("from", &from),
                    Err(what) => {
                        self.document.leave(at, "a condition", &format!("there is no {what}"));
                        return;
                    }
                }
            }
        }
        if let Err(why) = refusal(&table.alone().to_text()) {
            self.document.leave(at, "an output that is not taken", &why);
            return;
        }
        self.last = Some(table.name().to_string());
        if !self.document.push_output(table) {
            self.document.leave(at, "a file that is written in two ways", "name another file");
        }
    }

    /// An action for when the one before fails: another peer, if both forward in the same way.
    fn spare(&mut self, table: Table, at: &str) {
        let before = self.last.clone().unwrap_or_default();
        if !self.document.add_peer(&before, &table) {
            let what = format!("an action for when {before} fails");
            let instead = format!("give {before} a `spool`, which holds lines meanwhile");
            self.document.leave(at, &what, &instead);
        }
    }

    /// Returns whether an object is in force; what comes from the environment is not known.
    fn is_used(&mut self, object: &Object, line: usize) -> bool {
        let at = self.at(line);
        for (key, value) in object.keys.iter().filter(|(_, value)| value.starts_with('`')) {
            let what = format!("{} {key} = {value}", object.kind);
            let is_switch = key == "config.enabled";
            let instead = if is_switch { "it is taken as on" } else { "write it with its value" };
            self.document.leave(&at, &what, instead);
            if !is_switch {
                return false;
            }
        }
        !["off", "no", "0"].contains(&object.get("config.enabled").to_ascii_lowercase().as_str())
    }
}

/// The parameter of an action that is for when the one before fails.
const SPARE: &str = "action.execonlywhenpreviousissuspended";

/// What to do in the place of a statement that is not understood.
fn instead_of(text: &str) -> &'static str {
    match text.split_whitespace().next().unwrap_or_default() {
        "set" | "unset" | "reset" => "there are no variables: use fields, or a filter with `run`",
        "foreach" => "a filter with `run`",
        "call_indirect" => "a filter with selectors for each ruleset",
        _ if text == BEHIND_BLOCK => {
            "rsyslog takes it for an error and reads no further: put it into the braces"
        }
        word if word.starts_with(['!', '+']) => "a filter with `app` or `host`",
        _ => "it is not understood",
    }
}

/// What to do in the place of something whose condition is not understood.
fn in_the_place_of_condition(what: &str, stops: bool) -> String {
    let end = match stops {
        true => "; what it would stop goes on to what is behind it",
        false => "",
    };
    format!("a filter with selectors ({what} is not understood){end}")
}

/// Returns whether an action is `stop` or `~`.
fn is_stop(action: &str) -> bool {
    ["~", "stop"].contains(&action.split_whitespace().next().unwrap_or_default())
}

/// Returns whether some of these statements stop messages.
fn has_stop(statements: &[Statement]) -> bool {
    statements.iter().any(|statement| match &statement.body {
        Body::Stop => true,
        Body::Filter { actions, .. } => actions.iter().any(|action| is_stop(action)),
        Body::If { then, or_else, .. } => has_stop(then) || has_stop(or_else),
        Body::Block { inside, .. } => has_stop(inside),
        _ => false,
    })
}

fn enter(table: &mut Table, selectors: &Selectors) {
    for (key, values) in selectors {
        table.texts(key, values);
    }
}

/// An action in either form.
fn old_or_new(text: &str) -> Option<Object> {
    let text = text.trim();
    if text.starts_with("action") {
        return match super::syntax::parse(text).into_iter().next()?.body {
            Body::Object(object) if object.kind == "action" => Some(object),
            _ => None,
        };
    }
    action::legacy(text)
}
