//! `containers = "FOLDER"`.

use std::path::Path;

use super::decoder::{Decoder, Style};
use crate::host;
use crate::ingress::files::core::Manner;
use crate::ingress::files::decode::Decode;
use crate::ingress::files::source::{Files, Follow};
use crate::ingress::files::watch::Meant;
use crate::ingress::{OpenError, Source};
use crate::limits;
use crate::parse::glob::Glob;
use crate::proto::shared::follow::{self, FollowPlan};
use crate::proto::shared::lines;
use crate::proto::shared::record::{self, As};
use crate::proto::traits::{Claim, Input, Nature, Opening};
use crate::settings::key::{Choice, Form, Key, Value};
use crate::settings::{Entry, Report, Section};

/// The longest line of a runtime's file that is looked at: pieces have 16 KiB, of which Docker
/// writes some bytes as six.
const LINE_MAX: usize = 1024 * 1024;

/// The output of containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainersPlan {
    /// The folders, as they were written.
    pub folders: Vec<String>,
    /// The files below them.
    pub globs: Vec<Glob>,
    /// How they are followed.
    pub follow: FollowPlan,
    /// What a record becomes.
    pub form: As,
}

impl Input for ContainersPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "containers",
            Value::Texts("Folder", "^/"),
            "The output of containers is read from the files that their runtime writes in this \
             folder: /var/log/pods (CRI), /var/lib/docker/containers (Docker's json-file).",
        )),
        name: "containers input",
        forms: &[Form {
            name: "containers input",
            scheme: None,
            keys: &[lines::MESSAGES, record::KEYS, follow::KEYS],
        }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let names = entry.names(report)?;
        let folders: Vec<String> = names.iter().map(|name| name.get_ref().to_string()).collect();
        let globs: Result<Vec<_>, String> = folders.iter().map(|one| globs(one)).collect();
        let globs = entry.accept(report, globs);
        let follow = follow::read(section, report);
        let form = record::read(section, report);
        Some(Self { folders, globs: globs?.concat(), follow: follow?, form })
    }

    fn claims(&self) -> Vec<Claim> {
        let exclude = &self.follow.exclude;
        let meant = |glob: &Glob| Meant { globs: vec![glob.clone()], exclude: exclude.clone() };
        self.globs.iter().map(meant).map(Claim::Followed).collect()
    }

    fn nature(&self) -> Nature {
        Nature { numbered: true, ..Nature::new("containers") }
    }

    fn describe(&self) -> String {
        format!("containers {}", self.folders.join(" "))
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        let FollowPlan { start, ignore_older, keep_open, .. } = self.follow;
        let host = host::name().into();
        let style = Style { form: self.form, max_message: opening.max_line, host };
        let decoder =
            move |path: &Path| -> Box<dyn Decode> { Box::new(Decoder::new(path, style.clone())) };
        let timeout = limits::MULTILINE_DEFAULT;
        let (max_line, decoder) = (LINE_MAX, Box::new(decoder));
        let manner = Manner { max_line, keep_open, timeout, ignore_older, decoder };
        let meant = Meant { globs: self.globs.clone(), exclude: self.follow.exclude.clone() };
        let positions = self.follow.positions_of(opening);
        Ok(vec![Box::new(Files::new(Follow { meant, manner, start, positions }))])
    }
}

/// The files of containers below a folder: `POD/CONTAINER/N.log`, and `ID/ID-json.log`.
fn globs(folder: &str) -> Result<Vec<Glob>, String> {
    let folder = folder.trim_end_matches('/');
    let globs =
        ["*/*/*.log", "*/*-json.log"].map(|below| Glob::parse(&format!("{folder}/{below}")));
    globs.into_iter().collect::<Result<_, _>>().map_err(|why| format!("`{folder}` {why}"))
}
