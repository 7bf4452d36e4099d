//! `audit = "1m"`.

use super::source::Audit;
use crate::host;
use crate::ingress::{OpenError, Source};
use crate::proto::traits::{Claim, Input, Nature, Opening};
use crate::settings::key::{Choice, Form, Key, Value};
use crate::settings::{Entry, Report, Section};

/// What the daemon counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPlan {
    /// The length of a window in minutes; an hour is a multiple of it.
    pub window: u32,
    /// The host's name in the lines, if not the system's.
    pub host: Option<String>,
}

const WINDOWS: [(&str, u32); 6] =
    [("1m", 1), ("5m", 5), ("10m", 10), ("15m", 15), ("30m", 30), ("1h", 60)];
const WINDOW_WORDS: [&str; 6] = crate::settings::key::words(&WINDOWS);

const HOST: Key = Key {
    name: "host",
    value: Value::Text("Name", r"\S"),
    default: crate::settings::key::Default::Words("the name of the system"),
    doc: "The name of this host in audit lines.",
};

impl Input for AuditPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "audit",
            Value::Words(&WINDOW_WORDS),
            "Each node has a line about every window of this length: what it counted of the lines \
             that were first received in it.",
        )),
        name: "audit input",
        forms: &[Form { name: "audit input", scheme: None, keys: &[&[HOST]] }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let window = entry.word(report, &WINDOWS)?;
        let host = section.system_text(&HOST, report).map(str::to_string);
        Some(Self { window, host })
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Counts]
    }

    fn nature(&self) -> Nature {
        Nature::new("audit")
    }

    fn describe(&self) -> String {
        match self.window {
            60 => "audit 1h".into(),
            minutes => format!("audit {minutes}m"),
        }
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        let host = self.host.clone().unwrap_or_else(|| host::name().to_string());
        Ok(vec![Box::new(Audit::new(host, self.window, opening.teller.clone()))])
    }
}
