//! What applies wherever it stands: templates, rulesets, modules' parameters and globals.

use super::Mapper;
use crate::cli::import::rsyslog::source;
use crate::cli::import::rsyslog::syntax::{Body, Object, Statement};
use crate::cli::import::rsyslog::template;

/// The globals that name the files of TLS: authorities, certificate and key.
const TLS: [&str; 3] = [
    "defaultnetstreamdrivercafile",
    "defaultnetstreamdrivercertfile",
    "defaultnetstreamdriverkeyfile",
];

/// The parameters of `global(…)` that change messages, which logweir cannot do.
const CHANGING: [&str; 5] = [
    "localhostname",
    "environment",
    "parser.controlcharacterescapeprefix",
    "parser.escapecontrolcharacterscstyle",
    "parser.spacelfonreceive",
];

impl Mapper<'_> {
    pub(super) fn define(&mut self, statement: &Statement) {
        match &statement.body {
            Body::Directive(name, value) => self.define_legacy(name, value),
            Body::Object(object) if self.is_used(object, statement.line) => {
                self.define_object(object, statement.line);
            }
            _ => {}
        }
    }

    fn define_legacy(&mut self, name: &str, value: &str) {
        if let Some(at) = TLS.iter().position(|key| *key == name) {
            self.defaults.tls[at] = value.to_string();
        }
        match name {
            // $template NAME,"text",options
            "template" => {
                if let Some((name, rest)) = value.split_once(',') {
                    let text = rest.trim().strip_prefix('"').unwrap_or(rest);
                    let text = text.rfind('"').map_or(text, |end| &text[..end]);
                    let pieces = template::pieces(&text.replace("\\\"", "\""));
                    // Of several with one name, rsyslog knows the first.
                    let name = name.trim().to_ascii_lowercase();
                    self.defaults.templates.entry(name).or_insert(pieces);
                }
            }
            "inputtcpserverstreamdrivermode" => self.settings.tls = value == "1",
            "inputtcpserverstreamdriverauthmode" => self.settings.auth = value.into(),
            "inputtcpserverstreamdriverpermittedpeer" => {
                self.settings.peers.extend(source::words(value));
            }
            "inputtcpmaxsessions" => self.settings.sessions = value.into(),
            "markmessageperiod" => self.settings.mark = value.into(),
            "maxmessagesize" => self.settings.longest(value),
            "omitlocallogging" => self.settings.omits_local = value.eq_ignore_ascii_case("on"),
            "systemlogsocketname" => self.settings.socket = value.into(),
            "defaultruleset" => self.main = value.into(),
            "allowedsender" => self.settings.allow(value),
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
                    self.defaults.templates.entry(name).or_insert(pieces);
                }
                None => {
                    let at = self.at(line);
                    let what = format!("the template {}", object.get("name"));
                    self.document.leave(&at, &what, "write the output's `format`");
                }
            },
            "ruleset" => {
                let file = self.file.clone();
                let name = object.get("name").to_ascii_lowercase();
                self.rulesets.insert(name, (file, object.inside.clone()));
            }
            "global" => self.define_globals(object, line),
            "module" => match object.get("load").to_ascii_lowercase().as_str() {
                "builtin:omfile" => self.defaults.file.extend(object.keys.clone()),
                "builtin:omfwd" => self.defaults.forward.extend(object.keys.clone()),
                "imtcp" => {
                    self.settings.tls |= object.get("streamdriver.mode") == "1";
                    self.settings.auth = object.get("streamdriver.authmode").into();
                    self.settings.peers = source::words(object.get("permittedpeer")).collect();
                    self.settings.sessions = object.get("maxsessions").into();
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn define_globals(&mut self, object: &Object, line: usize) {
        self.settings.is_raw |= object.get("parser.escapecontrolcharactersonreceive") == "off";
        self.settings.longest(object.get("maxmessagesize"));
        for (at, key) in TLS.iter().enumerate() {
            if !object.get(key).is_empty() {
                self.defaults.tls[at] = object.get(key).to_string();
            }
        }
        for key in CHANGING.iter().filter(|key| !object.get(key).is_empty()) {
            let (at, what) = (self.at(line), format!("global {key} = {}", object.get(key)));
            self.document.leave(&at, &what, "a filter with `run` can change lines");
        }
    }

    pub(super) fn share_tls(&mut self) {
        let [ca, cert, key] = self.defaults.tls.clone();
        (self.settings.ca, self.settings.cert, self.settings.key) = (ca, cert, key);
    }
}
