//! `stdin = true`.

use crate::ingress::{OpenError, Source};
use crate::proto::shared::lines;
use crate::proto::traits::{Claim, Input, Nature, Opening};
use crate::settings::{Choice, Entry, Form, Key, Report, Section, Value};

/// The daemon's standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StdinPlan;

impl Input for StdinPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "stdin",
            Value::True,
            "Lines are read from standard input; its end ends the daemon.",
        )),
        name: "standard input",
        forms: &[Form { name: "standard input", scheme: None, keys: &[lines::LINES] }],
    };

    fn read(_: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        if entry.boolean(report)? {
            return Some(Self);
        }
        entry.wrong(report, "an input with `stdin = false` has no source: remove the input");
        None
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Stdin]
    }

    fn nature(&self) -> Nature {
        Nature::new("standard input")
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        super::input::open(self, opening)
    }

    fn describe(&self) -> String {
        "stdin".into()
    }
}
