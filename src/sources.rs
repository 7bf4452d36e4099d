//! The senders of the lines of a batch.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Where a line is in its batch: its first byte, and the byte after its newline.
pub type Range = (u32, u32);

/// The sender of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A host: the address of its datagram or connection.
    Address(SocketAddr),
    /// A process of this host (unix(7), SCM_CREDENTIALS).
    Process {
        /// Its process id.
        pid: u32,
        /// The user it ran as.
        uid: u32,
    },
}

impl Source {
    /// The address of its host; a process of this host is at loopback.
    pub fn ip(self) -> IpAddr {
        match self {
            Self::Address(address) => address.ip(),
            Self::Process { .. } => Ipv4Addr::LOCALHOST.into(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Process { pid, uid } => write!(f, "process {pid} of user {uid}"),
        }
    }
}

/// The senders of the lines of one batch. Cheap to clone; the shared list is immutable.
#[derive(Debug, Clone)]
pub struct Sources {
    list: Arc<List>,
    /// Bytes of the original batch that were cut off its front.
    skipped: u32,
}

#[derive(Debug, Default)]
struct List {
    sources: Vec<Source>,
    /// The end of a run of lines of one sender, in bytes, and the sender's index in `sources`.
    runs: Vec<(u32, u32)>,
}

impl Sources {
    /// A single sender for all lines.
    pub fn one(source: Source) -> Self {
        let list = List { sources: vec![source], runs: vec![(u32::MAX, 0)] };
        Self { list: Arc::new(list), skipped: 0 }
    }

    /// The sender of the line that begins at byte `at` of the batch.
    pub fn of(&self, at: usize) -> Option<Source> {
        let List { sources, runs } = &*self.list;
        let at = u32::try_from(at).unwrap_or(u32::MAX).saturating_add(self.skipped);
        let run = match runs.len() {
            1 => 0,
            _ => runs.partition_point(|(end, _)| *end <= at),
        };
        runs.get(run).map(|(_, source)| sources[*source as usize])
    }

    /// Accounts for `bytes` bytes removed from the front of the batch.
    pub fn cut_front(&mut self, bytes: usize) {
        self.skipped = self.skipped.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// The senders of a selection of lines, concatenated.
    #[must_use]
    pub fn gather(&self, ranges: &[Range]) -> Self {
        if self.list.runs.len() == 1 {
            return self.clone();
        }
        let mut gatherer = Gatherer::default();
        let mut end = 0;
        for &(start, stop) in ranges {
            end += (stop - start) as usize;
            if let Some(source) = self.of(start as usize) {
                gatherer.push(source, end);
            }
        }
        gatherer.take().unwrap_or_else(|| self.clone())
    }

    /// The memory used by the list, in bytes.
    pub fn cost(&self) -> u64 {
        let List { sources, runs } = &*self.list;
        (size_of_val(&sources[..]) + size_of_val(&runs[..])) as u64
    }
}

/// Collects the senders of a batch while its lines arrive.
#[derive(Debug, Default)]
pub struct Gatherer {
    list: List,
    places: HashMap<Source, u32>,
}

impl Gatherer {
    /// Assigns everything since the last call, up to byte `end` of the batch, to this sender.
    pub fn push(&mut self, source: Source, end: usize) {
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        let last = self.list.runs.last_mut();
        if let Some((last_end, place)) = last
            && self.list.sources[*place as usize] == source
        {
            *last_end = end;
            return;
        }
        let sources = &mut self.list.sources;
        let place = *self.places.entry(source).or_insert_with(|| {
            sources.push(source);
            // A batch has far fewer bytes than 2^32.
            u32::try_from(sources.len() - 1).unwrap_or(u32::MAX)
        });
        self.list.runs.push((end, place));
    }

    /// The senders of the batch that is cut off now; `None` if none are known.
    pub fn take(&mut self) -> Option<Sources> {
        self.places.clear();
        let list = std::mem::take(&mut self.list);
        (!list.runs.is_empty()).then(|| Sources { list: Arc::new(list), skipped: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32) -> Source {
        Source::Process { pid, uid: 0 }
    }

    #[test]
    fn a_line_is_of_the_sender_of_its_run_also_when_lines_before_it_are_gone() {
        let mut gatherer = Gatherer::default();
        for (pid, end) in [(1, 10), (1, 20), (2, 30), (1, 40)] {
            gatherer.push(process(pid), end);
        }
        let mut sources = gatherer.take().unwrap();
        assert_eq!(sources.list.runs.len(), 3);
        let pids = |sources: &Sources, at: &[usize]| -> Vec<_> {
            at.iter().map(|at| sources.of(*at).unwrap()).collect()
        };
        let want = [process(1), process(1), process(2), process(1)];
        assert_eq!(pids(&sources, &[0, 19, 20, 39]), want);
        sources.cut_front(10);
        assert_eq!(pids(&sources, &[0, 9, 10, 20]), want);
        let some = sources.gather(&[(10, 20), (20, 30)]);
        assert_eq!(pids(&some, &[0, 10]), [process(2), process(1)]);
        assert!(sources.of(40).is_none());
        assert!(gatherer.take().is_none());
    }

    #[test]
    fn one_sender_stays_the_one() {
        let mut sources = Sources::one(process(7));
        sources.cut_front(100);
        assert_eq!(sources.gather(&[(0, 5)]).of(3), Some(process(7)));
    }
}
