//! The last hour of all nodes by the second.
//!
//! While lines flow, the sums of all nodes are looked at once a second: a line costs nothing, and
//! an idle daemon is not woken.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Mono, SystemClock};
use crate::config::plan::Kind;
use crate::engine::Engine;
use crate::ledger::seconds::{SecondRow, Seconds, Totals};
use crate::limits::{
    SECONDS_ANSWER, SECONDS_DEFAULT, SECONDS_KEPT, SECONDS_ROWS, SECONDS_ROWS_MIN,
};

const SECOND: Duration = Duration::from_secs(1);

/// The seconds of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSeconds {
    /// The node's name.
    pub name: String,
    /// `input`, `filter`, `spool` or `output`.
    pub kind: String,
    /// The seconds in which something was counted, oldest first.
    pub rows: Vec<SecondRow>,
}

/// The seconds of some nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SecondsReport {
    /// The version of this format, 1.
    pub v: u32,
    /// When it was made, in seconds since 1970.
    pub now: f64,
    /// The length of a window in seconds, 1.
    pub window: u32,
    /// The seconds told, back from now.
    pub seconds: u32,
    /// The seconds that each node keeps at most.
    pub kept: u32,
    /// The nodes.
    pub nodes: Vec<NodeSeconds>,
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SecondsQuery {
    /// One node; else all.
    pub node: Option<String>,
    /// Seconds back from now; else an hour of one node, or a minute of all.
    pub seconds: Option<u32>,
}

#[derive(Debug, Default)]
struct Track {
    /// The sums of all nodes of this name, as they are looked at.
    sums: Totals,
    /// True if there is such a node.
    is_there: bool,
    seconds: Seconds,
}

/// The loop's part.
#[derive(Debug)]
pub(super) struct SecondKeeper {
    clock: SystemClock,
    tracks: HashMap<(Arc<str>, Kind), Track>,
    /// When the present second ends; `None` while nothing happens.
    next: Option<Mono>,
    /// When the sums were last looked at.
    looked: Option<Mono>,
}

impl SecondKeeper {
    pub(super) fn new(clock: SystemClock) -> Self {
        Self { clock, tracks: HashMap::new(), next: None, looked: None }
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.next
    }

    /// Notes what a second counted that has ended. Looks at all nodes once a second, at most.
    pub(super) fn look(&mut self, engine: &Engine, now: Mono) {
        let is_early = |at: Mono| now < at;
        if self.next.is_some_and(is_early) {
            return;
        }
        let wall = self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let rest = SECOND.saturating_sub(Duration::from_nanos(wall.subsec_nanos().into()));
        let is_due = self.next.is_some();
        if !is_due && self.looked.is_some_and(|at| is_early(at + SECOND)) {
            self.next = Some(now + rest);
            return;
        }
        self.looked = Some(now);
        self.sum_up(engine);
        let happens = match is_due {
            true => self.note(u32::try_from(wall.as_secs()).unwrap_or(0).saturating_sub(1)),
            false => self.tracks.values().any(|track| track.seconds.differs(track.sums)),
        };
        self.next = happens.then(|| now + rest);
    }

    /// Looks at the sums of all nodes.
    fn sum_up(&mut self, engine: &Engine) {
        for track in self.tracks.values_mut() {
            (track.sums, track.is_there) = (Totals::default(), false);
        }
        engine.each_total(|name, kind, totals| {
            let track = self.tracks.entry((Arc::clone(name), kind)).or_default();
            track.sums.add(totals);
            track.is_there = true;
        });
    }

    /// Enters what was counted since the last look. Returns whether there was anything.
    fn note(&mut self, second: u32) -> bool {
        let (limit, mut is_any) = (self.limit(), false);
        self.tracks.retain(|_, track| {
            is_any |= track.seconds.note(second, track.sums, limit);
            track.is_there || !track.seconds.is_empty()
        });
        is_any
    }

    /// The most rows of each node.
    fn limit(&self) -> usize {
        (SECONDS_ROWS / self.tracks.len().max(1)).clamp(SECONDS_ROWS_MIN, SECONDS_KEPT as usize)
    }

    /// The seconds of some nodes.
    pub(super) fn report(&self, query: &SecondsQuery) -> SecondsReport {
        let now = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let is_wanted = |name: &str| query.node.as_deref().is_none_or(|wanted| wanted == name);
        let mut wanted: Vec<_> =
            self.tracks.iter().filter(|((name, _), _)| is_wanted(name)).collect();
        wanted.sort_by(|((one, _), _), ((other, _), _)| one.cmp(other));
        let default = if query.node.is_some() { SECONDS_KEPT } else { SECONDS_DEFAULT };
        let each = u32::try_from(SECONDS_ANSWER / wanted.len().max(1)).unwrap_or(SECONDS_KEPT);
        let most = each.clamp(1, SECONDS_KEPT);
        let seconds = query.seconds.unwrap_or(default).clamp(1, most);
        let from = u32::try_from(now.as_secs()).unwrap_or(u32::MAX).saturating_sub(seconds);
        let nodes = wanted.into_iter().map(|((name, kind), track)| NodeSeconds {
            name: name.to_string(),
            kind: kind.word().to_string(),
            rows: track.seconds.rows(from).collect(),
        });
        let nodes = nodes.collect();
        let kept = u32::try_from(self.limit()).unwrap_or(SECONDS_KEPT);
        SecondsReport { v: 1, now: now.as_secs_f64(), window: 1, seconds, kept, nodes }
    }
}
