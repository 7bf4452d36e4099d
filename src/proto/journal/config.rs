//! `journal = true`, or `journal = { units = […], … }`.

use std::path::PathBuf;

use super::source::{JOURNALCTL, Journal};
use crate::ingress::files::source::Start;
use crate::ingress::{OpenError, Source};
use crate::proto::shared::follow;
use crate::proto::shared::lines;
use crate::proto::shared::record::{self, As};
use crate::proto::traits::{Claim, Input, Nature, Need, Opening};
use crate::settings::key::{Choice, Form, Key, PATH, Value};
use crate::settings::{Entry, Report, Section};

/// The system's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalPlan {
    /// Entries of these units only; of all, where there is none.
    pub units: Vec<String>,
    /// Entries that are this severe or worse.
    pub priority: Option<String>,
    /// Where the journal's files are, if not in the usual place.
    pub directory: Option<PathBuf>,
    /// Where reading begins at the very first start.
    pub start: Start,
    /// The file of positions.
    pub positions: Option<PathBuf>,
    /// What an entry becomes.
    pub form: As,
}

const PRIORITIES: [(&str, &str); 8] = [
    ("emerg", "emerg"),
    ("alert", "alert"),
    ("crit", "crit"),
    ("err", "err"),
    ("warning", "warning"),
    ("notice", "notice"),
    ("info", "info"),
    ("debug", "debug"),
];
const PRIORITY_WORDS: [&str; 8] = crate::settings::key::words(&PRIORITIES);

const UNITS: Key = Key::new("units", Value::Texts("Unit", r"\S"), "Only entries of these units.");
const PRIORITY: Key = Key::new(
    "priority",
    Value::Words(&PRIORITY_WORDS),
    "Only entries that are this severe or worse.",
);
const DIRECTORY: Key =
    Key::new("directory", PATH, "The folder of the journal's files, if not the usual one.");
const JOURNAL_KEYS: &[Key] = &[UNITS, PRIORITY, DIRECTORY];
const EXPECTED: &str = ", as in { units = [\"sshd.service\"], priority = \"warning\" }";

impl Input for JournalPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "journal",
            Value::Either(&[Value::True, Value::Table(JOURNAL_KEYS)]),
            "The system's journal is read, from the last entry that was stored.",
        )),
        name: "journal input",
        forms: &[Form {
            name: "journal input",
            scheme: None,
            keys: &[lines::MESSAGES, record::KEYS, follow::BEGIN],
        }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let (start, positions) = follow::begin(section, report);
        let form = record::read(section, report);
        let mut plan =
            Self { units: Vec::new(), priority: None, directory: None, start, positions, form };
        if entry.table().is_none() {
            if entry.boolean(report)? {
                return Some(plan);
            }
            entry.wrong(report, "an input with `journal = false` has no source: remove the input");
            return None;
        }
        let table = entry.section(JOURNAL_KEYS, EXPECTED, report)?;
        if let Some(units) = table.entry(&UNITS) {
            let names = units.names(report)?;
            plan.units = names.iter().map(|name| name.get_ref().to_string()).collect();
        }
        if table.entry(&PRIORITY).is_some() {
            plan.priority = Some(table.word(&PRIORITY, &PRIORITIES, report)?.to_string());
        }
        plan.directory = table.system_text(&DIRECTORY, report).map(PathBuf::from);
        Some(plan)
    }

    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    fn nature(&self) -> Nature {
        Nature { numbered: true, ..Nature::new("journal") }
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::Program(JOURNALCTL)]
    }

    fn describe(&self) -> String {
        let mut text = "journal".to_string();
        if !self.units.is_empty() {
            text += &format!(" of {}", self.units.join(" "));
        }
        if let Some(priority) = &self.priority {
            text += &format!(", {priority} or worse");
        }
        text
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        let positions = follow::positions_of(self.positions.as_deref(), opening);
        let (plan, max_message) = (self.clone(), opening.max_line);
        Ok(vec![Box::new(Journal { plan, max_message, positions })])
    }
}
