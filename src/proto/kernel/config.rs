//! `kernel = true`.

use std::path::PathBuf;

use super::source::Kernel;
use crate::ingress::files::source::Start;
use crate::ingress::{OpenError, Source};
use crate::proto::shared::record::{self, As};
use crate::proto::shared::{follow, lines};
use crate::proto::traits::{Claim, Input, Nature, Need, Opening};
use crate::settings::{Choice, Entry, Form, Key, Report, Section, Value};

/// Where the kernel's messages are read.
const DEVICE: &str = "/dev/kmsg";

/// The messages of this host's kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelPlan {
    /// Where reading begins at the very first start.
    pub start: Start,
    /// The file of positions.
    pub positions: Option<PathBuf>,
    /// What a record becomes.
    pub form: As,
}

impl Input for KernelPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "kernel",
            Value::True,
            "The messages of the kernel are read from /dev/kmsg, from the last one that was \
             stored.",
        )),
        name: "kernel input",
        forms: &[Form {
            name: "kernel input",
            scheme: None,
            keys: &[lines::MESSAGES, record::KEYS, follow::BEGIN],
        }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let (start, positions) = follow::begin(section, report);
        let form = record::read(section, report);
        if entry.boolean(report)? {
            return Some(Self { start, positions, form });
        }
        entry.wrong(report, "an input with `kernel = false` has no source: remove the input");
        None
    }

    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    fn nature(&self) -> Nature {
        Nature { numbered: true, ..Nature::new("kernel") }
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::Read(DEVICE.into())]
    }

    fn describe(&self) -> String {
        "kernel".into()
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        let positions = follow::positions_of(self.positions.as_deref(), opening);
        let (plan, max_message) = (self.clone(), opening.max_line);
        Ok(vec![Box::new(Kernel { plan, device: DEVICE.into(), max_message, positions })])
    }
}
