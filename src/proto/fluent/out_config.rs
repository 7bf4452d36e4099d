//! What an output says of `fluent://` peers.

use crate::format::plan::FormatPlan;
use crate::host;
use crate::parse::compressed::Packing;
use crate::proto::shared::format::template;
use crate::proto::traits::ClientPlan;
use crate::settings::key::words;
use crate::settings::{Key, Report, Section, Value};

/// What an output says of Fluent forward.
#[derive(Clone, PartialEq, Eq)]
pub struct FluentOutPlan {
    /// How the tag of a line is written.
    pub tag: FormatPlan,
    /// How chunks are compressed.
    pub packing: Option<Packing>,
    /// The key that peers ask for.
    pub shared_key: Option<String>,
    /// The user and password that they ask for.
    pub user: Option<(String, String)>,
    /// This host's name, for the handshake.
    pub host: String,
}

impl std::fmt::Debug for FluentOutPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tag, packing, host, .. } = self;
        let mut plan = f.debug_struct("FluentOutPlan");
        plan.field("tag", tag).field("packing", packing).field("host", host);
        plan.finish_non_exhaustive()
    }
}

/// The tag of a line: its app.
const APP: &str = "{app}";

const TAG: Key = Key::or(
    "fluent_tag",
    Value::Text("Template", r"\S"),
    "\"{app}\"",
    "The tag of lines to fluent:// peers: a fixed text, or a template.",
);

const PACKINGS: [(&str, Option<Packing>); 3] =
    [("none", None), ("gzip", Some(Packing::Gzip)), ("zstd", Some(Packing::Zstd))];
const PACKING_WORDS: [&str; 3] = words(&PACKINGS);
const PACKING: Key = Key::or(
    "fluent_compress",
    Value::Words(&PACKING_WORDS),
    "\"none\"",
    "How chunks to fluent:// peers are compressed.",
);

const SHARED_KEY: Key = Key::new(
    "shared_key",
    Value::Text("Text", r"\S"),
    "The key that fluent:// peers ask for (fluentd: shared_key in <security>).",
);

const USER: Key = Key::new(
    "user",
    Value::Text("NAME:PASSWORD", r"^[^:]+:.+$"),
    "The user that fluent:// peers ask for, and its password.",
);

impl Default for FluentOutPlan {
    fn default() -> Self {
        Self {
            tag: template(APP).unwrap_or_default(),
            packing: None,
            shared_key: None,
            user: None,
            host: String::new(),
        }
    }
}

impl ClientPlan for FluentOutPlan {
    const KEYS: &'static [Key] = &[TAG, PACKING, SHARED_KEY, USER];

    fn read(section: &Section<'_>, report: &mut Report<'_>) -> Option<Self> {
        let mut plan = Self::default();
        if let Some(entry) = section.entry(&TAG) {
            let text = entry.text(report)?;
            plan.tag = entry.accept(report, template(text))?;
        }
        if let Some(entry) = section.entry(&PACKING) {
            plan.packing = entry.word(report, &PACKINGS)?;
        }
        let shared_key = section.entry(&SHARED_KEY);
        if let Some(entry) = shared_key {
            plan.shared_key = Some(entry.text(report)?.to_string());
            plan.host = host::name().to_string();
        }
        if let Some(entry) = section.entry(&USER) {
            let Some((name, password)) = entry.text(report)?.split_once(':') else {
                entry.wrong_help(report, "is no user", "as in \"web:secret\"");
                return None;
            };
            if shared_key.is_none() {
                entry.misplaced(report, "needs `shared_key`: a user is shown only with it");
                return None;
            }
            plan.user = Some((name.to_string(), password.to_string()));
        }
        Some(plan)
    }
}
