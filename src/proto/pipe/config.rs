//! `pipe = "COMMAND"`.

use crate::format::plan::FormatPlan;
use crate::proto::shared::format;
use crate::proto::shared::process::{self, ProcessPlan};
use crate::proto::traits::{Output, SinkPlan};
use crate::settings::key::{COMMAND, Choice, Form, Key};
use crate::settings::{Entry, Report, Section};

const PIPE: Key = Key::new("pipe", COMMAND, "It reads the lines from its standard input.");

impl Output for ProcessPlan {
    const CHOICE: Choice = Choice {
        key: Some(PIPE),
        name: "pipe output",
        forms: &[Form { name: "pipe output", scheme: None, keys: &[format::KEYS, process::KEYS] }],
    };

    fn read(section: &Section<'_>, _: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let process = process::read(section, &PIPE, report);
        let format = format::read(section, report)?;
        Some(Self { format, ..process? })
    }

    fn format(&self) -> &FormatPlan {
        &self.format
    }

    fn queue(&self) -> u64 {
        self.queue
    }

    fn describe(&self) -> String {
        self.describe_as("pipe")
    }

    fn sink(&self) -> SinkPlan<'_> {
        SinkPlan::Children(self)
    }
}
