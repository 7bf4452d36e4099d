//! The choice of a line's file by its content.
//!
//! Rendered names are cached by the values they were made from, within a memory bound, because the
//! values come from strangers.

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

/// The minimum time between reports of a file that can never be written.
const REFUSED_EVERY: Duration = Duration::from_secs(60);
/// The approximate overhead of a route and its key beyond their bytes.
const OVERHEAD: usize = 160;

/// Finds the file of each line.
#[derive(Debug)]
pub(super) struct Router {
    fields: Vec<Field>,
    pub(super) formatter: Formatter,
    /// Routes by the values that led to them.
    known: HashMap<Vec<u8>, usize>,
    routes: Vec<Route>,
    by_path: HashMap<ByPath, usize>,
    /// The memory that they take.
    memory: usize,
    /// The rendered time parts of names when the routes were made.
    times: String,
    /// The set of outputs at that time, as a change count.
    changes: u64,
    /// True if a message's header alone does not provide all values.
    pub(super) whole: bool,
    /// The values of the current line, for `known`.
    key: Vec<u8>,
    /// The route of the previous line.
    last: Option<usize>,
    refused_reported: Option<SystemTime>,
}

#[derive(Debug)]
struct Route {
    name: Arc<Name>,
    /// Its share of the current round.
    share: Option<usize>,
}

/// A name, looked up by its path.
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
            refused_reported: None,
        }
    }

    pub(super) fn looks_into_lines(&self) -> bool {
        !self.fields.is_empty() || !self.formatter.is_plain()
    }

    /// Returns whether fields of messages appear in names.
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

    /// Discards the rendered names if the time now renders differently, if the set of outputs has
    /// changed, or if they take too much memory. Call it only between rounds.
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

    /// The route of a line; `None` if there is no memory for another one.
    pub(super) fn route(
        &mut self,
        plan: &FilePlan,
        (batch, at): (&Batch, usize),
        line: &[u8],
        message: &Message,
        member: &Member,
    ) -> Option<usize> {
        let source = batch.sources.as_ref().and_then(|sources| sources.of(at));
        // A line usually goes where the previous one went.
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
        // Values that differ only in characters not allowed in a name share a file.
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

    /// Reports that a file can never be written, at most once per period.
    pub(super) fn report_refused(&mut self, why: &str, now: SystemTime) {
        let recent = |at: SystemTime| now.duration_since(at).unwrap_or_default();
        if self.refused_reported.is_none_or(|at| recent(at) >= REFUSED_EVERY) {
            log::error!("{why}; lines for such files are dropped");
            self.refused_reported = Some(now);
        }
    }
}
