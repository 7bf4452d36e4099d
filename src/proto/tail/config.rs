//! `tail = "PATTERN"`.

use std::path::Path;

use super::headed::Headed;
use crate::host;
use crate::ingress::files::core::Manner;
use crate::ingress::files::decode::{Decode, Multiline, Plain};
use crate::ingress::files::source::{Files, Follow};
use crate::ingress::files::watch::Meant;
use crate::ingress::{OpenError, Source};
use crate::limits;
use crate::parse::glob::Glob;
use crate::parse::syslog::PRI_DEFAULT;
use crate::parse::syslog::names;
use crate::proto::shared::follow::{self, FollowPlan, MultilinePlan};
use crate::proto::shared::lines;
use crate::proto::shared::record::{APP_MAX, Header, Heads};
use crate::proto::traits::{Claim, Input, Nature, Opening};
use crate::settings::key::{Choice, Form, Key, Value, words};
use crate::settings::{Entry, Report, Section};

/// Followed files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailPlan {
    /// Their paths.
    pub globs: Vec<Glob>,
    /// How they are followed.
    pub follow: FollowPlan,
    /// How lines are joined into records.
    pub multiline: Option<MultilinePlan>,
    /// What the header of a message says, where lines become messages.
    pub message: Option<MessagePlan>,
}

/// The header of messages made of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePlan {
    /// Facility and severity.
    pub pri: u8,
    /// The app; `None` for the input's name.
    pub app: Option<String>,
}

const FORMS: [(&str, bool); 2] = [("line", false), ("message", true)];
const FORM_WORDS: [&str; 2] = words(&FORMS);
const AS: Key = Key::or(
    "as",
    Value::Words(&FORM_WORDS),
    "\"line\"",
    "What a line of a file becomes: it stays as it is, or is the text of a message of RFC 5424.",
);
const APP: Key = Key::or_else(
    "app",
    Value::Text("Text", "^[!-~]{1,48}$"),
    "the input's name",
    "The app of the messages.",
);
const FACILITY: Key =
    Key::or("facility", Value::Text("Name", ""), "\"user\"", "The facility of the messages.");
const SEVERITY: Key =
    Key::or("severity", Value::Text("Name", ""), "\"notice\"", "The severity of the messages.");

/// Reads what lines become.
fn message(section: &Section<'_>, report: &mut Report<'_>) -> Option<Option<MessagePlan>> {
    let is_message = match section.entry(&AS) {
        Some(entry) => entry.word(report, &FORMS)?,
        None => false,
    };
    if !is_message {
        for entry in [&APP, &FACILITY, &SEVERITY].into_iter().filter_map(|key| section.entry(key)) {
            entry.misplaced(report, "needs `as = \"message\"`");
        }
        return Some(None);
    }
    let mut number = |key: &Key, of: fn(&str) -> Option<u8>, default: u8| {
        let Some(entry) = section.entry(key) else { return Some(default) };
        let text = entry.text(report)?;
        let found = of(text).ok_or_else(|| format!("`{text}` is no {}", key.name));
        entry.accept(report, found)
    };
    let facility = number(&FACILITY, names::facility, PRI_DEFAULT / 8)?;
    let severity = number(&SEVERITY, names::severity, PRI_DEFAULT % 8)?;
    let app = match section.entry(&APP) {
        Some(entry) => {
            let text = entry.text(report)?;
            let fits = crate::proto::shared::record::fits(text.as_bytes(), APP_MAX);
            let most = format!("must be 1 to {APP_MAX} printable characters without a space");
            Some(entry.accept(report, if fits { Ok(text.to_string()) } else { Err(most) })?)
        }
        None => None,
    };
    Some(Some(MessagePlan { pri: facility * 8 + severity, app }))
}

impl MessagePlan {
    /// What stands before each line. The time is left out: it is when the line is received.
    fn head(&self, name: &str) -> Vec<u8> {
        let mut head = Vec::new();
        let header = Header {
            pri: self.pri,
            time: None,
            host: host::name().as_bytes(),
            app: self.app.as_deref().unwrap_or(name).as_bytes(),
            procid: b"",
        };
        Heads::default().header(&header, &mut head);
        head.extend_from_slice(b"- ");
        head
    }
}

impl Input for TailPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "tail",
            Value::Texts("Pattern for paths", "^/"),
            "Files are followed whose paths match: with *, ?, [a-z], and ** for any number of \
             folders.",
        )),
        name: "file input",
        forms: &[Form {
            name: "file input",
            scheme: None,
            keys: &[lines::PRINTED, &[AS, APP, FACILITY, SEVERITY], follow::KEYS, follow::RECORDS],
        }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let globs = follow::globs(entry, report);
        let follow = follow::read(section, report);
        let multiline = follow::multiline(section, report);
        let message = message(section, report);
        Some(Self { globs: globs?, follow: follow?, multiline: multiline?, message: message? })
    }

    fn claims(&self) -> Vec<Claim> {
        let exclude = &self.follow.exclude;
        let meant = |glob: &Glob| Meant { globs: vec![glob.clone()], exclude: exclude.clone() };
        self.globs.iter().map(meant).map(Claim::Followed).collect()
    }

    fn nature(&self) -> Nature {
        Nature { numbered: true, ..Nature::new("file") }
    }

    fn describe(&self) -> String {
        let texts: Vec<_> = self.globs.iter().map(Glob::text).collect();
        format!("tail {}", texts.join(" "))
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        let FollowPlan { start, ignore_older, keep_open, .. } = self.follow;
        let max_line = opening.max_line;
        let begins = self.multiline.as_ref().and_then(MultilinePlan::begins);
        let head = self.message.as_ref().map(|message| message.head(opening.name));
        let decoder = move |_: &Path| -> Box<dyn Decode> {
            // The header is a part of the line, as far as there is room for some text behind it.
            let max_line = max_line.saturating_sub(head.as_ref().map_or(0, Vec::len)).max(1);
            let inner: Box<dyn Decode> = match &begins {
                Some(begins) => Box::new(Multiline { begins: begins.clone(), max_line }),
                None => Box::new(Plain { max_line }),
            };
            match &head {
                Some(head) => Box::new(Headed::new(head.clone(), inner)),
                None => inner,
            }
        };
        let timeout = self.multiline.as_ref().map_or(limits::MULTILINE_DEFAULT, |m| m.timeout);
        let decoder = Box::new(decoder);
        let manner = Manner { max_line, keep_open, timeout, ignore_older, decoder };
        let meant = Meant { globs: self.globs.clone(), exclude: self.follow.exclude.clone() };
        let positions = self.follow.positions_of(opening);
        Ok(vec![Box::new(Files::new(Follow { meant, manner, start, positions }))])
    }
}
