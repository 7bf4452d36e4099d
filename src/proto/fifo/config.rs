//! `fifo = "PATH"`.

use std::path::PathBuf;

use crate::ingress::{OpenError, Source};
use crate::proto::shared::lines;
use crate::proto::traits::{Claim, Input, Nature, Opening};
use crate::settings::key::{Choice, Form, Key, PATH};
use crate::settings::{Entry, Report, Section};

/// A named pipe, created if missing and reopened at end of file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FifoPlan {
    /// Its path.
    pub path: PathBuf,
}

impl Input for FifoPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "fifo",
            PATH,
            "Lines are read from this named pipe, which is created where it is missing and \
             reopened at end of file.",
        )),
        name: "FIFO input",
        forms: &[Form { name: "FIFO input", scheme: None, keys: &[lines::LINES] }],
    };

    fn read(_: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        Some(Self { path: PathBuf::from(entry.system_text(report)?) })
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Path(self.path.clone())]
    }

    fn nature(&self) -> Nature {
        Nature::new("FIFO")
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        super::input::open(self, opening)
    }

    fn describe(&self) -> String {
        format!("fifo {}", self.path.display())
    }
}
