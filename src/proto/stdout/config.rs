//! `stdout = true`.

use super::worker::Stdout;
use crate::format::plan::FormatPlan;
use crate::fs::Fs;
use crate::output::worker::{Worker, Workplace};
use crate::proto::shared::{format, queue};
use crate::proto::traits::{Claim, Output, SinkPlan};
use crate::settings::{Choice, Entry, Form, Key, Report, Section, Value};

/// An output to standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StdoutPlan {
    /// How lines are written.
    pub format: FormatPlan,
    /// The bound of the queue before it, in bytes.
    pub queue: u64,
}

impl Output for StdoutPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new("stdout", Value::True, "Lines go to standard output.")),
        name: "standard output",
        forms: &[Form {
            name: "standard output",
            scheme: None,
            keys: &[format::KEYS, queue::KEYS],
        }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let queue = queue::read(section, report);
        let format = format::read(section, report);
        if entry.boolean(report)? {
            return Some(Self { format: format?, queue });
        }
        entry.wrong(report, "an output with `stdout = false` goes nowhere: remove the output");
        None
    }

    fn format(&self) -> &FormatPlan {
        &self.format
    }

    fn queue(&self) -> u64 {
        self.queue
    }

    fn describe(&self) -> String {
        "stdout".into()
    }

    fn claims(&self, _: &mut dyn FnMut() -> Vec<String>) -> Vec<Claim> {
        vec![Claim::Stdout]
    }

    fn sink(&self) -> SinkPlan<'_> {
        SinkPlan::Jobs { has_position: false }
    }

    fn worker<F: Fs + 'static>(&self, _: Workplace<'_, F>) -> Option<Box<dyn Worker>> {
        Some(Box::new(Stdout::default()))
    }
}
