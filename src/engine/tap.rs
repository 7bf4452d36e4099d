//! Taps: copies of what leaves a node, for an observer. A tap that is not drained loses lines and
//! counts them; the flow never waits for it. The lines delivered by a tap plus those it lost are
//! all that left the node from when the tap was opened until it ended.

use std::collections::VecDeque;

use crate::batch::{Batch, count_lines};
use crate::filter::patterns::{Hits, PatternId, Patterns};
use crate::filter::{Picked, gather};
use crate::limits::{TAP_BYTES, TAPS_BYTES, TAPS_MAX};

use super::Engine;

/// One tap.
#[derive(Debug)]
pub(super) struct Tap {
    id: u64,
    /// The node's name. A reload may give the name to another node; the tap then follows it.
    node: String,
    pattern: Option<(Patterns, PatternId)>,
    taken: VecDeque<Batch>,
    bytes: usize,
    lost: u64,
    /// Why it has ended, if it has.
    end: Option<&'static str>,
}

/// Lines taken from a tap.
#[derive(Debug)]
pub struct Tapped {
    /// Lines, in the order in which they left.
    pub batches: Vec<Batch>,
    /// Lines lost since it was opened.
    pub lost: u64,
    /// Why nothing follows, if the tap has ended.
    pub end: Option<&'static str>,
}

/// All taps.
#[derive(Debug, Default)]
pub(super) struct Taps {
    taps: Vec<Tap>,
}

impl Taps {
    /// Copies lines that leave a node.
    pub(super) fn copy(&mut self, from: &str, batch: &Batch) {
        if self.taps.is_empty() {
            return;
        }
        let mut held: usize = self.taps.iter().map(|tap| tap.bytes).sum();
        let of_node = |tap: &&mut Tap| tap.node == from && tap.end.is_none();
        for tap in self.taps.iter_mut().filter(of_node) {
            let room = TAPS_BYTES.saturating_sub(held).min(TAP_BYTES - tap.bytes);
            held += tap.take(batch, room);
        }
    }

    /// Ends the taps of a node that is gone.
    pub(super) fn end_of_node(&mut self, name: &str) {
        for tap in self.taps.iter_mut().filter(|tap| tap.node == name) {
            tap.end.get_or_insert("the node is gone: a reload has removed it");
        }
    }
}

impl Engine {
    /// Opens a tap on a node, under a number chosen by the caller. A tap on an input, filter or
    /// spool copies what it passes on; a tap on an output copies what it is given. Only lines that
    /// match the regex are copied.
    ///
    /// # Errors
    /// There is no such node, the regex is invalid, or there are too many taps.
    pub fn open_tap(&mut self, id: u64, node: &str, matches: Option<&str>) -> Result<(), String> {
        if self.find(node).is_none() {
            let names: Vec<_> = self.graph.iter().map(|(_, node)| node.name.to_string()).collect();
            return Err(format!("there is no node `{node}`; there are: {}", names.join(", ")));
        }
        if self.taps.taps.len() >= TAPS_MAX {
            return Err(format!("there are {TAPS_MAX} taps already"));
        }
        let pattern = match matches {
            Some(text) => {
                let mut patterns = Patterns::default();
                let id = patterns.enter(text);
                patterns.compile_foreign()?;
                Some((patterns, id))
            }
            None => None,
        };
        let node = node.to_string();
        let taken = VecDeque::new();
        self.taps.taps.push(Tap { id, node, pattern, taken, bytes: 0, lost: 0, end: None });
        Ok(())
    }

    /// Closes a tap.
    pub fn close_tap(&mut self, id: u64) {
        self.taps.taps.retain(|tap| tap.id != id);
    }

    /// Ends a tap; the lines it holds can still be taken.
    pub fn end_tap(&mut self, id: u64, why: &'static str) {
        for tap in self.taps.taps.iter_mut().filter(|tap| tap.id == id) {
            tap.end.get_or_insert(why);
        }
    }

    /// Ends all taps.
    pub fn end_taps(&mut self, why: &'static str) {
        for tap in &mut self.taps.taps {
            tap.end.get_or_insert(why);
        }
    }

    /// Takes about `max` bytes of the lines that a tap has collected.
    pub fn take_tapped(&mut self, id: u64, max: usize) -> Option<Tapped> {
        let tap = self.taps.taps.iter_mut().find(|tap| tap.id == id)?;
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while bytes < max
            && let Some(batch) = tap.taken.pop_front()
        {
            bytes += batch.bytes.len();
            batches.push(batch);
        }
        tap.bytes -= bytes;
        let end = tap.end.filter(|_| tap.taken.is_empty());
        Some(Tapped { batches, lost: tap.lost, end })
    }
}

impl Tap {
    /// Copies the selected lines of a batch if there is room. Returns their size in bytes.
    fn take(&mut self, batch: &Batch, room: usize) -> usize {
        let chosen = match &self.pattern {
            None => Some(batch.clone()),
            Some((patterns, id)) => {
                let mut hits = Hits::default();
                let searched = patterns.search_foreign(batch, &mut hits);
                self.lost += u64::from(count_lines(&batch.bytes[searched..]));
                gather(batch, &Picked::Some(hits.of(*id).to_vec()))
            }
        };
        let Some(chosen) = chosen else { return 0 };
        let count = chosen.bytes.len();
        if count > room {
            self.lost += u64::from(chosen.lines);
            return 0;
        }
        self.bytes += count;
        // A whole block must not be kept alive for a few of its lines.
        let bytes = match chosen.bytes.len() < batch.bytes.len() {
            true => chosen.bytes,
            false => bytes::Bytes::copy_from_slice(&chosen.bytes),
        };
        self.taken.push_back(Batch { bytes, sources: None, ..chosen });
        count
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clock::Mono;
    use crate::engine::Event;

    const MIB: usize = 1024 * 1024;

    /// An engine, and a closure that sends 64 lines of 16 KiB out of its input.
    fn engine() -> (Engine, impl Fn(&mut Engine)) {
        let text = "[input.in]\nudp = \"127.0.0.1:8420\"\n[output.out]\nstdout = true\n";
        let plan = crate::config::parse(text, "test").unwrap().plan;
        let mut line = vec![b'x'; MIB / 64];
        line[MIB / 64 - 1] = b'\n';
        let bytes = bytes::Bytes::from(line.repeat(64));
        let send = move |engine: &mut Engine| {
            let node = engine.find("in").unwrap();
            let batch = Batch::new(bytes.clone(), 64, "in".into(), SystemTime::UNIX_EPOCH);
            engine.handle(Event::Lines { node, batch }, Mono::default());
        };
        (Engine::new(&plan, Mono::default()).unwrap(), send)
    }

    #[test]
    fn what_taps_hold_is_bounded_for_each_and_for_all_and_the_rest_is_counted() {
        let (mut engine, send) = engine();
        for id in 0..3 {
            engine.open_tap(id, "in", None).unwrap();
        }
        for _ in 0..6 {
            send(&mut engine);
        }
        let mut held = 0;
        for id in 0..3 {
            let tapped = engine.take_tapped(id, usize::MAX).unwrap();
            let bytes: usize = tapped.batches.iter().map(|batch| batch.bytes.len()).sum();
            let lines: u64 = tapped.batches.iter().map(|batch| u64::from(batch.lines)).sum();
            assert!(bytes <= TAP_BYTES);
            assert_eq!(lines + tapped.lost, 6 * 64, "tap {id}");
            held += bytes;
        }
        assert_eq!(held, TAPS_BYTES);
        assert_eq!(engine.take_tapped(0, 1).unwrap().batches.len(), 0);
    }

    #[test]
    fn a_tap_that_ends_takes_no_more_and_says_so_with_the_last_of_what_it_has() {
        let (mut engine, send) = engine();
        engine.open_tap(7, "in", Some("x")).unwrap();
        send(&mut engine);
        send(&mut engine);
        engine.end_tap(7, "because");
        engine.end_taps("for another reason");
        send(&mut engine);
        // One batch at a time, because each is larger than the requested size.
        for end in [None, Some("because")] {
            let tapped = engine.take_tapped(7, MIB / 4).unwrap();
            assert_eq!((tapped.batches.len(), tapped.lost, tapped.end), (1, 0, end));
        }
    }
}
