//! Inputs: `input(…)`, modules that are one, and the directives of old.

use super::{Flow, MAIN, Mapper};
use crate::cli::import::document::Table;
use crate::cli::import::rsyslog::condition::Part;
use crate::cli::import::rsyslog::source;
use crate::cli::import::rsyslog::syntax::{Body, Object, Statement};

/// Directives that set a parameter of the next input of a module: their name, the module and the
/// parameter.
const PARAMETERS: [(&str, &str, &str); 12] = [
    ("udpserveraddress", "imudp", "address"),
    ("inputudpserverbindruleset", "imudp", "ruleset"),
    ("inputtcpserverbindruleset", "imtcp", "ruleset"),
    ("inputptcpserverbindruleset", "imptcp", "ruleset"),
    ("inputptcpserverlistenip", "imptcp", "address"),
    ("inputrelpserverbindruleset", "imrelp", "ruleset"),
    ("inputfilename", "imfile", "file"),
    ("inputfiletag", "imfile", "tag"),
    ("inputfilefacility", "imfile", "facility"),
    ("inputfileseverity", "imfile", "severity"),
    ("inputfilereadmode", "imfile", "readmode"),
    ("inputfilebindruleset", "imfile", "ruleset"),
];

/// Directives that open an input: their name, the module and the parameter that they set.
const RUNS: [(&str, &str, &str); 6] = [
    ("udpserverrun", "imudp", "port"),
    ("inputtcpserverrun", "imtcp", "port"),
    ("inputptcpserverrun", "imptcp", "port"),
    ("inputrelpserverrun", "imrelp", "port"),
    ("addunixlistensocket", "imuxsock", "socket"),
    ("inputrunfilemonitor", "imfile", "monitor"),
];

/// Returns whether a directive opens an input, or sets what one has.
pub(super) fn knows(name: &str) -> bool {
    PARAMETERS.iter().chain(&RUNS).any(|(known, ..)| *known == name)
}

impl Mapper<'_> {
    pub(super) fn receive(&mut self, statement: &Statement) {
        let at = self.at(statement.line);
        if let Body::Object(object) = &statement.body
            && !self.is_used(object, statement.line)
        {
            return;
        }
        let object = match &statement.body {
            Body::Object(object) if object.kind == "input" => object.clone(),
            Body::Object(object) if object.kind == "module" => {
                let module = super::directive::module_of(object.get("load"));
                if !self.loaded.insert(module.clone()) {
                    return;
                }
                let made = source::of_module(&module, object, &self.settings, &at, self.document);
                return self.add(&module, &Object::default(), made);
            }
            Body::Directive(name, value) => match self.receive_legacy(name, value, &at) {
                Some(object) => object,
                None => return,
            },
            _ => return,
        };
        for name in source::inputs(&object, &self.settings, &at, self.document) {
            let kind = object.get("type").to_ascii_lowercase();
            self.add(&kind, &object, Some(name));
        }
    }

    fn add(&mut self, module: &str, object: &Object, name: Option<String>) {
        let Some(name) = name else { return };
        let theirs = match object.get("name") {
            "" => module,
            own => own,
        };
        self.input_names.insert(name.clone(), theirs.to_string());
        let ruleset = match object.get("ruleset") {
            "" => self.main.to_ascii_lowercase(),
            own => own.to_ascii_lowercase(),
        };
        let ruleset = if ruleset.eq_ignore_ascii_case(MAIN) { String::new() } else { ruleset };
        let module = module.trim_start_matches("im").trim_start_matches('p').to_string();
        self.kinds.insert(name.clone(), module);
        self.inputs.entry(ruleset).or_default().push(name);
    }

    /// Gives the inputs of rulesets that do not exist to the main one, as rsyslog does.
    pub(super) fn adopt(&mut self) {
        let is_unknown = |ruleset: &&String| {
            !ruleset.is_empty() && !self.rulesets.contains_key(ruleset.as_str())
        };
        let unknown: Vec<_> = self.inputs.keys().filter(is_unknown).cloned().collect();
        for ruleset in unknown {
            let inputs = self.inputs.remove(&ruleset).unwrap_or_default();
            self.document.note(&format!(
                "There is no ruleset {ruleset}: as in rsyslog, the main one has its inputs."
            ));
            self.inputs.entry(String::new()).or_default().extend(inputs);
        }
    }

    /// The input that a directive opens; others set what the next one has.
    fn receive_legacy(&mut self, name: &str, value: &str, at: &str) -> Option<Object> {
        if name == "modload" {
            let module = super::directive::module_of(value);
            if !self.loaded.insert(module.clone()) {
                return None;
            }
            let mut object = Object::default();
            object.keys.insert("interval".into(), self.settings.mark.clone());
            let made = source::of_module(&module, &object, &self.settings, at, self.document);
            self.add(&module, &Object::default(), made);
            return None;
        }
        if let Some((_, module, key)) = PARAMETERS.iter().find(|(known, ..)| *known == name) {
            let of_module = self.next.entry(module).or_default();
            of_module.insert((*key).to_string(), value.to_string());
            return None;
        }
        let (_, module, key) = RUNS.iter().find(|(known, ..)| *known == name)?;
        let mut object = Object { kind: "input".into(), ..Object::default() };
        object.keys.extend(self.next.get(module).cloned().unwrap_or_default());
        object.keys.insert("type".into(), (*module).to_string());
        object.keys.insert((*key).to_string(), value.to_string());
        Some(object)
    }

    /// The messages that reach a ruleset; nothing if all inputs belong to others.
    pub(super) fn flow_of(&mut self, ruleset: &str) -> Option<Flow> {
        let mut from = match self.inputs.get(ruleset) {
            Some(inputs) => self.allowed(inputs.clone()),
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

    /// The same nodes, with a filter before those inputs of which only some senders are allowed.
    fn allowed(&mut self, mut from: Vec<String>) -> Vec<String> {
        for (kind, senders) in self.settings.allowed.clone() {
            let is_of = |name: &String| self.kinds.get(name).is_some_and(|known| *known == kind);
            let (of, mut others): (Vec<_>, Vec<_>) = from.into_iter().partition(is_of);
            if !of.is_empty() {
                let name = self.document.name(&format!("allowed-{kind}"));
                let mut table = Table::new("filter", name.clone());
                table.comment("$AllowedSender");
                table.texts("from", &of);
                table.texts("source", &senders);
                self.document.push(table);
                let mut names = of.iter().filter_map(|input| self.input_names.get(input));
                if let Some(first) = names.next().cloned()
                    && names.all(|other| *other == first)
                {
                    self.input_names.insert(name.clone(), first);
                }
                others.push(name);
            }
            from = others;
        }
        from
    }

    /// Returns whether some messages come from this host itself.
    pub(super) fn has_own(&self) -> bool {
        self.kinds.values().any(|kind| !["udp", "tcp", "relp"].contains(&kind.as_str()))
    }
}
