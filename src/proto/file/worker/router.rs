//! Which file a line goes to, by what is in it.
//!
//! The names that were made are remembered, by the values that they were made from, as long as
//! they take no more memory than they may: the values are strangers' words.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::batch::Batch;
use crate::format::Formatter;
use crate::output::name::{Name, Values, clean};
use crate::output::open_files::Member;
use crate::parse::field::Field;
use crate::parse::syslog::Message;
use crate::proto::file::config::FilePlan;
use crate::sources::Source;

/// A file that can never be written is reported so often at most.
const REFUSED_EVERY: Duration = Duration::from_secs(60);
/// What a route and its key take beside their bytes, about.
const OVERHEAD: usize = 160;

/// Knows the file of each line.
#[derive(Debug)]
pub(super) struct Router {
    fields: Vec<Field>,
    pub(super) formatter: Formatter,
    /// The routes of values that were met, by the values.
    known: HashMap<Vec<u8>, usize>,
    routes: Vec<Route>,
    by_path: HashMap<ByPath, usize>,
    /// The memory that they take.
    memory: usize,
    /// What the time made of names when they were rendered.
    times: String,
    /// Which outputs there were then.
    changes: u64,
    /// Whether a header alone does not tell all that is needed.
    pub(super) whole: bool,
    /// The values of the line at hand, for `known`.
    key: Vec<u8>,
    /// The route of the line before.
    last: Option<usize>,
    refused_said: Option<SystemTime>,
}

#[derive(Debug)]
struct Route {
    name: Arc<Name>,
    /// Its share of the round under way.
    share: Option<usize>,
}

/// A name that is found by its path.
#[derive(Debug)]
struct ByPath(Arc<Name>);

impl Borrow<Path> for ByPath {
    fn borrow(&self) -> &Path {
        &self.0.path
    }
}

impl PartialEq for ByPath {
    fn eq(&self, other: &Self) -> bool {
        self.0.path == other.0.path
    }
}

impl Eq for ByPath {}

impl Hash for ByPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.path.as_path().hash(state);
    }
}

impl Router {
    pub(super) fn new(plan: &FilePlan) -> Self {
        let formatter = Formatter::new(&plan.format);
        let fields = plan.path.fields().to_vec();
        Self {
            whole: !formatter.is_plain() || fields.iter().any(|field| !field.is_in_header()),
            fields,
            formatter,
            known: HashMap::new(),
            routes: Vec::new(),
            by_path: HashMap::new(),
            memory: 0,
            times: String::new(),
            changes: 0,
            key: Vec::new(),
            last: None,
            refused_said: None,
        }
    }

    pub(super) fn looks_into_lines(&self) -> bool {
        !self.fields.is_empty() || !self.formatter.is_plain()
    }

    /// Whether messages have a part in names.
    pub(super) fn names_by_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    pub(super) fn name(&self, route: usize) -> &Arc<Name> {
        &self.routes[route].name
    }

    pub(super) fn share(&self, route: usize) -> Option<usize> {
        self.routes[route].share
    }

    pub(super) fn set_share(&mut self, route: usize, share: Option<usize>) {
        self.routes[route].share = share;
    }

    /// Forgets what was rendered where the time makes other names now, where other outputs have
    /// come, or where it takes more memory than it may. Only between rounds.
    pub(super) fn refresh(&mut self, times: &str, member: &Member) {
        let changes = member.changes();
        let is_full = self.memory >= member.names_memory();
        if times != self.times || changes != self.changes || is_full {
            self.changes = changes;
            self.known = HashMap::new();
            self.routes = Vec::new();
            self.by_path = HashMap::new();
            self.memory = 0;
            self.last = None;
            self.times = times.into();
        }
    }

    /// The route of a line; `None` where there is no memory for one more.
    pub(super) fn route(
        &mut self,
        plan: &FilePlan,
        (batch, at): (&Batch, usize),
        line: &[u8],
        message: &Message,
        member: &Member,
    ) -> Option<usize> {
        let source = batch.sources.as_ref().and_then(|sources| sources.of(at));
        // A line goes most often where the one before it went.
        if let Some(last) =
            self.last.filter(|last| self.is_route(*last, batch, line, message, source))
        {
            return Some(last);
        }
        self.key.clear();
        self.key.extend_from_slice(batch.input.as_bytes());
        for field in &self.fields {
            let value = field.value(line, message, source).unwrap_or_default();
            self.key.push(0);
            self.key.extend_from_slice(&clean(&value));
        }
        let route = match self.known.get(&self.key) {
            Some(&route) => route,
            None if self.memory >= member.names_memory() => return None,
            None => self.new_route(plan, (batch, source), (line, message), member),
        };
        self.last = Some(route);
        Some(route)
    }

    fn is_route(
        &self,
        route: usize,
        batch: &Batch,
        line: &[u8],
        message: &Message,
        source: Option<Source>,
    ) -> bool {
        let values = &self.routes[route].name.values;
        let mut fields = self.fields.iter().zip(&values.fields);
        *values.input == *batch.input
            && fields.all(|(field, value)| {
                field.value(line, message, source).unwrap_or_default() == value.as_slice()
            })
    }

    fn new_route(
        &mut self,
        plan: &FilePlan,
        (batch, source): (&Batch, Option<Source>),
        (line, message): (&[u8], &Message),
        member: &Member,
    ) -> usize {
        let value = |field: &Field| {
            clean(&field.value(line, message, source).unwrap_or_default()).into_owned()
        };
        let fields = self.fields.iter().map(value).collect();
        let values = Values { input: Arc::clone(&batch.input), fields };
        let mut name = plan.path.name(batch.received, values);
        if name.trusted.is_some() && member.is_anothers(&name.path, batch.received) {
            name.mark();
        }
        // Values that differ only in what cannot be part of a name have the same file.
        let route = self.by_path.get(name.path.as_path()).copied().unwrap_or_else(|| {
            self.memory += name.memory() + OVERHEAD;
            let name = Arc::new(name);
            self.by_path.insert(ByPath(Arc::clone(&name)), self.routes.len());
            self.routes.push(Route { name, share: None });
            self.routes.len() - 1
        });
        self.memory += self.key.len() + OVERHEAD;
        self.known.insert(self.key.clone(), route);
        route
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let known: usize = self.known.keys().map(|key| key.len() + OVERHEAD).sum();
        let routes: usize = self.routes.iter().map(|r| r.name.memory() + OVERHEAD).sum();
        assert_eq!(known + routes, self.memory);
        self.memory
    }

    /// Reports that a file can never be written, though not each time.
    pub(super) fn report_refused(&mut self, why: &str, now: SystemTime) {
        let recent = |said: SystemTime| now.duration_since(said).unwrap_or_default();
        if self.refused_said.is_none_or(|said| recent(said) >= REFUSED_EVERY) {
            log::error!("{why}; lines for such files are dropped");
            self.refused_said = Some(now);
        }
    }
}
