//! `mark = "20m"`.

use std::time::Duration;

use super::source::Marks;
use crate::ingress::{OpenError, Source};
use crate::proto::traits::{Claim, Input, Nature, Opening};
use crate::settings::units::show_time;
use crate::settings::{Choice, Entry, Form, Key, Report, Section, Value};

/// A message from time to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkPlan {
    /// The time from one to the next.
    pub every: Duration,
}

/// The shortest time between marks.
const LEAST: Duration = Duration::from_secs(1);

impl Input for MarkPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "mark",
            Value::Time(LEAST),
            "A message `-- MARK --` (syslog.info) each time this time has passed.",
        )),
        name: "mark input",
        forms: &[Form { name: "mark input", scheme: None, keys: &[] }],
    };

    fn read(_: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let every = entry.time(report)?;
        if every < LEAST {
            entry.wrong(report, "must be at least 1s");
            return None;
        }
        Some(Self { every })
    }

    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    fn nature(&self) -> Nature {
        Nature::new("mark")
    }

    fn describe(&self) -> String {
        format!("mark every {}", show_time(self.every))
    }

    fn open(&self, _: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        Ok(vec![Box::new(Marks { every: self.every })])
    }
}
