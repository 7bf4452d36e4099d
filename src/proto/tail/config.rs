//! `tail = "PATTERN"`.

use std::path::Path;

use crate::ingress::files::core::Manner;
use crate::ingress::files::decode::{Decode, Multiline, Plain};
use crate::ingress::files::source::{Files, Follow};
use crate::ingress::files::watch::Meant;
use crate::ingress::{OpenError, Source};
use crate::limits;
use crate::parse::glob::Glob;
use crate::proto::shared::follow::{self, FollowPlan, MultilinePlan};
use crate::proto::shared::lines;
use crate::proto::traits::{Claim, Input, Nature, Opening};
use crate::settings::key::{Choice, Form, Key, Value};
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
            keys: &[lines::PRINTED, follow::KEYS, follow::RECORDS],
        }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let globs = follow::globs(entry, report);
        let follow = follow::read(section, report);
        let multiline = follow::multiline(section, report);
        Some(Self { globs: globs?, follow: follow?, multiline: multiline? })
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
        let decoder = move |_: &Path| -> Box<dyn Decode> {
            match &begins {
                Some(begins) => Box::new(Multiline { begins: begins.clone(), max_line }),
                None => Box::new(Plain { max_line }),
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
