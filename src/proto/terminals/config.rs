//! `users = ["root"]`.

use super::sessions::Places;
use super::worker::Terminals;
use crate::format::plan::FormatPlan;
use crate::fs::Fs;
use crate::output::worker::{Worker, Workplace};
use crate::proto::shared::{format, queue};
use crate::proto::traits::{Output, SinkPlan};
use crate::settings::key::Value;
use crate::settings::{Choice, Entry, Form, Key, Report, Section};

/// What a terminal shows of a message, as rsyslog's omusrmsg has it.
const SHOWN: &str = "{tag} {message}";
/// Everyone.
const ALL: &str = "*";
/// The longest name of a user (utmp(5)).
const NAME_MAX: usize = 32;

/// An output to users' terminals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminalsPlan {
    /// The users; `None` for everyone.
    pub users: Option<Vec<String>>,
    /// What is shown.
    pub format: FormatPlan,
    /// The bound of the queue before it, in bytes.
    pub queue: u64,
}

impl Output for TerminalsPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "users",
            Value::Texts("User", r"\S"),
            "Lines are written to the terminals of these users where they are logged in; \"*\" is \
             everyone.",
        )),
        name: "output to terminals",
        forms: &[Form { name: "output to terminals", scheme: None, keys: &[queue::KEYS] }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let queue = queue::read(section, report);
        let names = entry.names(report)?;
        let names: Vec<_> = names.iter().map(|name| name.get_ref().to_string()).collect();
        if names.is_empty() {
            entry.wrong_help(report, "names no user", "as in [\"root\"], or \"*\" for everyone");
            return None;
        }
        let is_bad = |name: &&String| {
            name.is_empty() || name.len() > NAME_MAX || name.contains(char::is_whitespace)
        };
        if let Some(bad) = names.iter().find(is_bad) {
            entry.wrong(report, format!("`{bad}` cannot be a user's name"));
            return None;
        }
        let format = entry.accept(report, format::template(SHOWN))?;
        let users = (!names.iter().any(|name| name == ALL)).then_some(names);
        Some(Self { users, format, queue })
    }

    fn format(&self) -> &FormatPlan {
        &self.format
    }

    fn queue(&self) -> u64 {
        self.queue
    }

    fn describe(&self) -> String {
        match &self.users {
            Some(users) => format!("terminals of {}", users.join(", ")),
            None => "terminals of everyone".into(),
        }
    }

    fn sink(&self) -> SinkPlan<'_> {
        SinkPlan::Jobs { has_position: false }
    }

    fn worker<F: Fs + 'static>(&self, workplace: Workplace<'_, F>) -> Option<Box<dyn Worker>> {
        let places = Places::default();
        Some(Box::new(Terminals::new(workplace.name, self.users.clone(), places)))
    }
}
