//! `thrift = "ADDRESS"`, and what an output says of `scribe://` peers.

use std::net::SocketAddr;

use crate::format::plan::FormatPlan;
use crate::ingress::{OpenError, Source};
use crate::proto::shared::format::template;
use crate::proto::shared::record::{self, As};
use crate::proto::shared::{connections, datagrams, lines};
use crate::proto::traits::{Claim, ClientPlan, Input, Nature, Opening};
use crate::settings::key::{ADDRESS, Choice, Form, Key, Value};
use crate::settings::{Entry, Report, Section};
use crate::url::Protocol;

/// What a peer is reached by.
pub const SCHEMES: &[Protocol] = &[Protocol::Scribe];

/// An input of Scribe and Flume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThriftInPlan {
    /// The address to bind.
    pub address: SocketAddr,
    /// How entries and events are written.
    pub form: As,
    /// The most connections at a time.
    pub max_connections: usize,
}

impl Input for ThriftInPlan {
    const CHOICE: Choice = Choice {
        key: Some(Key::new(
            "thrift",
            ADDRESS,
            "Where clients of Scribe (Log) and Flume's thrift sinks (append, appendBatch) connect; \
             a call is answered when its lines are on disk in every spool that they come to.",
        )),
        name: "Thrift input",
        forms: &[Form {
            name: "Thrift input",
            scheme: None,
            keys: &[lines::MESSAGES, record::KEYS, connections::KEYS],
        }],
    };

    fn read(section: &Section<'_>, entry: &Entry<'_>, report: &mut Report<'_>) -> Option<Self> {
        let address = datagrams::address(entry, report);
        let max_connections = connections::read(section, report);
        let form = record::read(section, report);
        Some(Self { address: address?, form, max_connections })
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::Tcp(self.address)]
    }

    fn nature(&self) -> Nature {
        Nature { acknowledged: true, ..Nature::new("Thrift") }
    }

    fn describe(&self) -> String {
        format!("thrift {}", self.address)
    }

    fn open(&self, opening: &mut Opening<'_>) -> Result<Vec<Box<dyn Source>>, OpenError> {
        super::input::open(self, opening)
    }
}

/// What an output says of Scribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScribeOutPlan {
    /// How the category of a line is written.
    pub category: FormatPlan,
}

const CATEGORY: Key = Key::or(
    "category",
    Value::Text("Template", r"\S"),
    "\"{app}\"",
    "The category of lines to scribe:// peers: a fixed text, or a template.",
);

impl Default for ScribeOutPlan {
    fn default() -> Self {
        Self { category: template("{app}").unwrap_or_default() }
    }
}

impl ClientPlan for ScribeOutPlan {
    const KEYS: &'static [Key] = &[CATEGORY];

    fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<Self> {
        let Some(entry) = section.entry(&CATEGORY) else { return Some(Self::default()) };
        let text = entry.text(report)?;
        entry.accept(report, template(text)).map(|category| Self { category })
    }
}
