//! Walks the statements as rsyslog would, and converts them to nodes.
//!
//! The messages that reach a statement are a stream: nodes by name, and the parts of their messages
//! ([`Flow`]). An action takes from it the messages of its conditions; `stop` removes messages.

use std::collections::BTreeMap;

use super::Placed;
use super::action::{self, Defaults};
use super::condition::{self, Part, Parts};
use super::select;
use super::source::{self, Settings};
use super::syntax::{Body, Object, Statement};
use super::template;
use crate::cli::import::document::{Document, Table};
use crate::cli::import::refusal;

/// The maximum depth of calls between rulesets.
const CALLS_MAX: usize = 8;

/// The messages that reach a statement.
#[derive(Debug, Clone, PartialEq)]
struct Flow {
    /// The nodes they come from.
    from: Vec<String>,
    /// Which of those; the parts are disjoint.
    rest: Parts,
}

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
    /// The settings from legacy directives for the inputs and actions that follow.
    address: String,
    ruleset: String,
    file: String,
    /// The tags of followed files, each with its place and its input.
    tags: Vec<(String, String, String)>,
    /// Parameters from legacy directives for the next action alone.
    pending: BTreeMap<String, String>,
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
        address: String::new(),
        ruleset: String::new(),
        file: String::new(),
        tags: Vec::new(),
        pending: BTreeMap::new(),
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
    mapper.ruleset.clear();
    let (main, others) = by_ruleset(statements);
    for (name, placed) in others {
        let empty = (placed.file.clone(), Vec::new());
        let (_, inside) = mapper.rulesets.entry(name.to_string()).or_insert(empty);
        inside.push(placed.statement.clone());
    }
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
    for (tag, at, input) in std::mem::take(&mut mapper.tags) {
        if mapper.document.selects("app", &tag) {
            let what = format!("a condition on the tag {tag} of a followed file");
            let instead = format!("its lines have no app: take them by from = \"{input}\"");
            mapper.document.leave(&at, &what, &instead);
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

    /// The messages that reach a ruleset; nothing if all inputs belong to others.
    fn flow_of(&mut self, ruleset: &str) -> Option<Flow> {
        let mut from = match self.inputs.get(ruleset) {
            Some(inputs) => inputs.clone(),
            None if self.inputs.is_empty() => Vec::new(),
            None => return None,
        };
        if self.squeezes {
            let mut table = Table::new("filter", self.document.name("repeats"));
            if !from.is_empty() {
                table.texts("from", &from);
            }
            table.text("squeeze", "30s");
            from = vec![table.name().to_string()];
            self.document.push(table);
        }
        Some(Flow { from, rest: Part::all() })
    }

    // ---- what is known wherever it stands

    fn define(&mut self, statement: &Statement) {
        match &statement.body {
            Body::Directive(name, value) => self.define_legacy(name, value),
            Body::Object(object) => self.define_object(object, statement.line),
            _ => {}
        }
    }

    fn define_legacy(&mut self, name: &str, value: &str) {
        let mut tls = |at: usize| self.defaults.tls[at] = value.to_string();
        match name {
            // $template NAME,"text",options
            "template" => {
                if let Some((name, rest)) = value.split_once(',') {
                    let text = rest.trim().strip_prefix('"').unwrap_or(rest);
                    let text = text.rfind('"').map_or(text, |end| &text[..end]);
                    let pieces = template::pieces(&text.replace("\\\"", "\""));
                    self.defaults.templates.insert(name.trim().to_ascii_lowercase(), pieces);
                }
            }
            "defaultnetstreamdrivercafile" => tls(0),
            "defaultnetstreamdrivercertfile" => tls(1),
            "defaultnetstreamdriverkeyfile" => tls(2),
            "inputtcpserverstreamdrivermode" => self.settings.tls = value == "1",
            "inputtcpserverstreamdriverauthmode" => self.settings.auth = value.into(),
            "inputtcpserverstreamdriverpermittedpeer" => {
                self.settings.peers.extend(source::words(value));
            }
            "markmessageperiod" => self.settings.mark = value.into(),
            "escapecontrolcharactersonreceive" => self.settings.is_raw = value == "off",
            "repeatedmsgreduction" => self.squeezes = value.eq_ignore_ascii_case("on"),
            _ => {}
        }
    }

    fn define_object(&mut self, object: &Object, line: usize) {
        match object.kind.as_str() {
            "template" => match template::read(object) {
                Some(pieces) => {
                    let name = object.get("name").to_ascii_lowercase();
                    self.defaults.templates.insert(name, pieces);
                }
                None => {
                    let at = self.at(line);
                    let what = format!("the template {}", object.get("name"));
                    self.document.leave(&at, &what, "write the output's `format`");
                }
            },
            "ruleset" => {
                let file = self.file.clone();
                let name = object.get("name").to_string();
                self.rulesets.insert(name, (file, object.inside.clone()));
            }
            "global" => {
                self.settings.is_raw |=
                    object.get("parser.escapecontrolcharactersonreceive") == "off";
                for (at, key) in [
                    "defaultnetstreamdrivercafile",
                    "defaultnetstreamdrivercertfile",
                    "defaultnetstreamdriverkeyfile",
                ]
                .iter()
                .enumerate()
                {
                    if !object.get(key).is_empty() {
                        self.defaults.tls[at] = object.get(key).to_string();
                    }
                }
            }
            "module" => match object.get("load").to_ascii_lowercase().as_str() {
                "builtin:omfile" => self.defaults.file.extend(object.keys.clone()),
                "builtin:omfwd" => self.defaults.forward.extend(object.keys.clone()),
                "imtcp" => {
                    self.settings.tls |= object.get("streamdriver.mode") == "1";
                    self.settings.auth = object.get("streamdriver.authmode").into();
                    self.settings.peers = source::words(object.get("permittedpeer")).collect();
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn share_tls(&mut self) {
        let [ca, cert, key] = self.defaults.tls.clone();
        (self.settings.ca, self.settings.cert, self.settings.key) = (ca, cert, key);
    }

    // ---- inputs

    fn receive(&mut self, statement: &Statement) {
        let at = self.at(statement.line);
        let (name, ruleset) = match &statement.body {
            Body::Object(object) if object.kind == "input" => {
                let name = source::input(object, &self.settings, &at, self.document);
                (name, object.get("ruleset").to_string())
            }
            Body::Object(object) if object.kind == "module" => {
                let module = object.get("load").to_ascii_lowercase();
                (
                    source::of_module(&module, object, &self.settings, &at, self.document),
                    String::new(),
                )
            }
            Body::Directive(name, value) => {
                (self.receive_legacy(name, value, &at), self.ruleset.clone())
            }
            _ => return,
        };
        if let (Some(name), Body::Object(object)) = (&name, &statement.body)
            && !object.get("tag").is_empty()
        {
            let tag = object.get("tag").trim_end_matches(':').to_string();
            self.tags.push((tag, at, name.clone()));
        }
        if let Some(name) = name {
            self.inputs.entry(ruleset).or_default().push(name);
        }
    }

    fn receive_legacy(&mut self, name: &str, value: &str, at: &str) -> Option<String> {
        let kind = match name {
            "modload" => {
                let module = value.trim_end_matches(".so").to_ascii_lowercase();
                let mut object = Object::default();
                object.keys.insert("interval".into(), self.settings.mark.clone());
                return source::of_module(&module, &object, &self.settings, at, self.document);
            }
            "udpserveraddress" => {
                self.address = value.into();
                return None;
            }
            "inputtcpserverbindruleset"
            | "inputudpserverbindruleset"
            | "inputrelpserverbindruleset" => {
                self.ruleset = value.into();
                return None;
            }
            "addunixlistensocket" => "imuxsock",
            "udpserverrun" => "imudp",
            "inputtcpserverrun" => "imtcp",
            "inputrelpserverrun" => "imrelp",
            _ => return None,
        };
        let mut object = Object { kind: "input".into(), ..Object::default() };
        let mut set = |key: &str, value: &str| object.keys.insert(key.into(), value.into());
        set("type", kind);
        set(if kind == "imuxsock" { "socket" } else { "port" }, value);
        if kind == "imudp" {
            set("address", &self.address.clone());
        }
        source::input(&object, &self.settings, at, self.document)
    }

    // ---- what is done with messages

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
                let parts = condition::expression(condition);
                let text = format!("if {condition}");
                return self.branch((&text, parts), (then, or_else), flow, (depth, &at));
            }
            Body::Block { filter, inside } => {
                let parts = condition::filter(filter);
                return self.branch((filter, parts), (inside, &[]), flow, (depth, &at));
            }
            Body::Stop => return None,
            Body::Call(name) => {
                let Some((file, inside)) = self.rulesets.get(name).cloned() else {
                    self.document.leave(&at, &format!("call {name}"), "there is no such ruleset");
                    return flow;
                };
                if depth == CALLS_MAX {
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
                self.document.leave(&at, &text, "it is not understood");
            }
        }
        flow
    }

    fn directive(&mut self, name: &str, value: &str, at: &str) {
        let file =
            ["fileowner", "filegroup", "dirowner", "dirgroup", "filecreatemode", "dircreatemode"];
        if file.contains(&name) {
            self.defaults.file.insert(name.into(), value.into());
            return;
        }
        match name {
            "actionfiledefaulttemplate" => {
                self.defaults.file.insert("template".into(), value.into());
            }
            "actionforwarddefaulttemplate" => {
                self.defaults.forward.insert("template".into(), value.into());
            }
            "actionsendstreamdrivermode" => {
                self.defaults.forward.insert("streamdrivermode".into(), value.into());
            }
            "actionsendstreamdriverauthmode" => {
                self.defaults.forward.insert("streamdriverauthmode".into(), value.into());
            }
            "actionsendstreamdriverpermittedpeer" => {
                self.defaults.forward.insert("streamdriverpermittedpeers".into(), value.into());
            }
            "actionqueuefilename" => {
                self.pending.insert("queue.filename".into(), value.into());
            }
            "actionqueuemaxdiskspace" => {
                self.pending.insert("queue.maxdiskspace".into(), value.into());
            }
            "repeatedmsgreduction" | "markmessageperiod" | "escapecontrolcharactersonreceive" => {}
            "systemlogratelimitinterval" | "imjournalratelimitinterval" if value != "0" => {
                self.document.note(&format!(
                    "{at}: no limit of a program's messages in the place of ${name}: a `rate` on a \
                     filter bounds all of them."
                ));
            }
            _ if NEEDLESS.iter().any(|word| name.starts_with(word)) => {}
            _ => self.document.leave(at, &format!("${name} {value}"), "see logweir.toml(5)"),
        }
    }

    fn other_object(&mut self, object: &Object, at: &str) {
        let module = object.get("load").to_ascii_lowercase();
        match object.kind.as_str() {
            "module" if MODULES.iter().any(|known| module.starts_with(known)) => {}
            "module" => {
                self.document.leave(at, &format!("module {module}"), "logweir has nothing like it");
            }
            "template" | "ruleset" | "input" | "main_queue" | "global" => {}
            kind => self.document.leave(at, kind, "logweir has nothing like it"),
        }
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
            Ok(parts) => parts,
            Err(what) => {
                let instead = format!("a filter with selectors ({what} is not understood)");
                self.document.leave(at, filter, &instead);
                return Some(flow);
            }
        };
        let mut stops = false;
        for action in actions {
            match action.trim() {
                "~" | "stop" => stops = true,
                text => match old_or_new(text) {
                    Some(object) => self.act(&object, &parts, &flow, at),
                    None => self.document.leave(at, text, "an action that is not understood"),
                },
            }
        }
        if stops { self.without(&parts, flow, at) } else { Some(flow) }
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
                let instead = format!("a filter with selectors ({what} is not understood)");
                self.document.leave(at, text, &instead);
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
                let chains: Result<Vec<_>, _> = rest.iter().map(select::chain).collect();
                match chains {
                    Ok(_) => Some(self.settled(Flow { from: flow.from, rest }, at)),
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
        let mut chains = Vec::new();
        for part in &flow.rest {
            chains.push(select::chain(part)?);
        }
        let mut names = Vec::new();
        for chain in chains {
            let mut from = flow.from.clone();
            for selectors in chain {
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
        let Some(mut table) = action::output(&object, &self.defaults, at, self.document) else {
            return;
        };
        let chains: Result<Vec<_>, _> = parts.iter().map(select::chain).collect();
        let chains: Vec<_> = match chains {
            Ok(chains) => chains,
            Err(what) => {
                self.document.leave(at, "a condition", &format!("there is no {what}"));
                return;
            }
        };
        match &chains[..] {
            [chain] if chain.len() == 1 => {
                if !flow.from.is_empty() {
                    table.texts("from", &flow.from);
                }
                enter(&mut table, &chain[0]);
            }
            _ => {
                let word = format!("for-{}", table.name());
                let flow = Flow { from: flow.from.clone(), rest: parts };
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
        if !self.document.push_output(table) {
            self.document.leave(at, "a file that is written in two ways", "name another file");
        }
    }
}

fn enter(table: &mut Table, selectors: &select::Selectors) {
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

/// Modules that are inputs or outputs, or need no conversion.
const MODULES: [&str; 21] = [
    "builtin:",
    "imudp",
    "imtcp",
    "imptcp",
    "imrelp",
    "imuxsock",
    "imklog",
    "imkmsg",
    "imjournal",
    "immark",
    "imfile",
    "omfile",
    "omfwd",
    "omrelp",
    "omprog",
    "omusrmsg",
    "omkafka",
    "ommysql",
    "lmnsd",
    "impstats",
    "ommail",
];

/// Directives with no equivalent here.
const NEEDLESS: [&str; 29] = [
    "addunixlistensocket",
    "createdirs",
    "actionfileenablesync",
    "resetconfigvariables",
    "debug",
    "modload",
    "template",
    "workdirectory",
    "privdropto",
    "umask",
    "mainmsgqueue",
    "actionqueue",
    "actionresume",
    "udpserver",
    "inputtcp",
    "inputudp",
    "inputrelp",
    "defaultnetstreamdriver",
    "actionsendstreamdriver",
    "optimizeforuniprocessor",
    "preservefqdn",
    "maxmessagesize",
    "moddir",
    "ruleset",
    "repeatedmsgreduction",
    "systemlogratelimit",
    "imjournalstatefile",
    "omitlocallogging",
    "klogpermitnonkernelfacility",
];
