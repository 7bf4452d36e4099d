//! `squeeze`: joins the repeats of a message, as rsyslog's RepeatedMsgReduction does.
//!
//! The first of equal messages of a sender passes at once. Those that follow are held, until the
//! sender says something else or the window is over. A single one then passes as it is; several
//! become the last of them, with the text `message repeated N times: [TEXT]`.
//!
//! A sender is the host, the app and the process that the message names, at the address it came
//! from; so senders that take turns are joined too, each by itself, where rsyslog joins only what
//! follows each other at an input. Messages are equal if their PRI and their text are. Lines
//! without a PRI are of one sender at each address.
//!
//! Of the held repeats only the last is kept; the others are dropped at once. So the node queues at
//! most one line for each sender.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use crate::batch::{Batch, Span};
use crate::clock::Mono;
use crate::ledger::Count;
use crate::ledger::tally::Tally;
use crate::limits::{SQUEEZE_LINE_MAX, SQUEEZE_SENDERS_MAX, SQUEEZE_TEXT_MAX};
use crate::parse::syslog::Message;
use crate::sources::{Gatherer, Source, Sources};

/// The state of one node.
#[derive(Debug)]
pub struct Squeezer {
    window: Duration,
    senders: HashMap<Vec<u8>, Run>,
    /// The bytes of all lines in `senders`.
    text: usize,
    /// No run is over before this time.
    next: Option<Mono>,
    /// The key of the line at hand; kept for its memory.
    key: Vec<u8>,
}

/// The last message of a sender, and how often it came again.
#[derive(Debug)]
struct Run {
    /// When it began: with its first message, or after the last time that its repeats passed.
    since: Mono,
    /// The message as it came last, without its newline.
    line: Vec<u8>,
    /// Where its text begins.
    start: usize,
    pri: u8,
    /// How many repeats are not in a message that passed.
    repeats: u64,
    /// What is known of the last repeat: a batch without lines.
    envelope: Option<(Batch, Option<Source>)>,
}

/// What became of lines.
#[derive(Debug, Default)]
pub struct Squeezed {
    /// Lines that leave, in order.
    pub batches: Vec<Batch>,
    /// Repeats that were dropped.
    pub dropped: Tally,
    /// Bytes by which messages with a count are longer than the repeat that they take the place of.
    pub grown: Tally,
}

impl Run {
    /// The line that stands for the repeats.
    fn summary(&self) -> Vec<u8> {
        let mut line = self.line.clone();
        if self.repeats > 1 {
            let text = line.split_off(self.start);
            let space = if line.is_empty() || line.ends_with(b" ") { "" } else { " " };
            let count = self.repeats;
            line.extend(format!("{space}message repeated {count} times: [").as_bytes());
            line.extend_from_slice(&text);
            line.push(b']');
        }
        line.push(b'\n');
        line
    }

    /// Lets the repeats pass, if there are any.
    fn pass(&mut self, out: &mut Squeezed) {
        let Some((envelope, source)) = self.envelope.take() else { return };
        let line = self.summary();
        // A message with a count has all of the repeat, and more.
        let bytes = line.len() as u64 - (self.line.len() as u64 + 1);
        out.grown.add(envelope.minute, Count { lines: 0, bytes });
        self.repeats = 0;
        let mut batch = envelope.with(line.into(), 1);
        batch.sources = source.map(Sources::one);
        out.batches.push(batch);
    }
}

impl Squeezer {
    /// A squeezer that holds repeats for at most `window`.
    pub fn new(window: Duration) -> Self {
        let (senders, key) = (HashMap::new(), Vec::new());
        Self { window, senders, text: 0, next: None, key }
    }

    /// Changes the window, for runs that last as well.
    pub fn set_window(&mut self, window: Duration) {
        self.window = window;
        self.next = self.first_end();
    }

    /// Repeats that are held.
    pub fn held(&self) -> Count {
        let mut held = Count::default();
        for run in self.senders.values().filter(|run| run.repeats > 0) {
            held.add(1, run.line.len() as u64 + 1);
        }
        held
    }

    /// The same by the minute in which they were first received.
    #[cfg(test)]
    pub(crate) fn tally(&self) -> Tally {
        let mut held = Tally::default();
        for run in self.senders.values().filter(|run| run.repeats > 0) {
            let Some((envelope, _)) = &run.envelope else { continue };
            held.add(envelope.minute, Count { lines: 1, bytes: run.line.len() as u64 + 1 });
        }
        held
    }

    /// When to call [`Squeezer::expire`].
    pub fn deadline(&self) -> Option<Mono> {
        self.next
    }

    /// Takes lines in.
    pub fn push(&mut self, batch: &Batch, now: Mono) -> Squeezed {
        let mut out = Squeezed::default();
        self.expire_into(now, &mut out);
        let mut parts = Parts::new(batch);
        let mut at = 0;
        for (index, line) in (0..).zip(batch.iter()) {
            let source = batch.sources.as_ref().and_then(|sources| sources.of(at));
            let before = out.batches.len();
            let passes = self.take(line, source, batch, now, &mut out);
            if out.batches.len() > before {
                // What passed of others stands before this line, and after those before it.
                let made = out.batches.split_off(before);
                parts.end(&mut out.batches);
                out.batches.extend(made);
            }
            let end = at + line.len() + 1;
            if passes {
                parts.push(index, at..end, source);
            }
            at = end;
        }
        parts.end_of_all(&mut out.batches);
        out
    }

    /// Lets the repeats pass whose window is over.
    pub fn expire(&mut self, now: Mono) -> Squeezed {
        let mut out = Squeezed::default();
        self.expire_into(now, &mut out);
        out
    }

    /// Lets all repeats pass, and forgets all senders.
    pub fn end(&mut self) -> Squeezed {
        let mut out = Squeezed::default();
        let mut runs: Vec<_> = self.senders.drain().map(|(_, run)| run).collect();
        runs.sort_by_key(|run| run.since);
        runs.iter_mut().for_each(|run| run.pass(&mut out));
        (self.text, self.next) = (0, None);
        out
    }

    /// Takes one line in; returns whether it passes.
    fn take(
        &mut self,
        line: &[u8],
        source: Option<Source>,
        batch: &Batch,
        now: Mono,
        out: &mut Squeezed,
    ) -> bool {
        let message = Message::parse(line);
        let (pri, start) = (message.pri, start_of_text(&message, line));
        write_key(&mut self.key, line, &message, source);
        let fits = line.len() <= SQUEEZE_LINE_MAX;
        if let Some(run) = self.senders.get_mut(&self.key) {
            if run.pri == pri && run.line[run.start..] == line[start..] {
                if let Some((before, _)) = &run.envelope {
                    let count = Count { lines: 1, bytes: run.line.len() as u64 + 1 };
                    out.dropped.add(before.minute, count);
                }
                run.repeats += 1;
                let mut envelope = batch.with(Bytes::new(), 0);
                (envelope.origin, envelope.numbers, envelope.sources) = (None, None, None);
                run.envelope = Some((envelope, source));
                self.text = self.text - run.line.len() + line.len();
                (run.start, run.line) = (start, replaced(std::mem::take(&mut run.line), line));
                return false;
            }
            run.pass(out);
            self.text -= run.line.len();
            if fits {
                run.line = replaced(std::mem::take(&mut run.line), line);
                (run.since, run.start, run.pri) = (now, start, pri);
                self.text += line.len();
            } else {
                self.senders.remove(&self.key);
            }
        } else if fits {
            let line = line.to_vec();
            self.text += line.len();
            let run = Run { since: now, line, start, pri, repeats: 0, envelope: None };
            self.senders.insert(self.key.clone(), run);
            self.next = Some(self.next.unwrap_or(now + self.window));
        }
        while self.senders.len() > SQUEEZE_SENDERS_MAX || self.text > SQUEEZE_TEXT_MAX {
            self.forget_oldest(out);
        }
        true
    }

    /// Makes room: the sender whose run is the longest is forgotten, and its repeats pass.
    fn forget_oldest(&mut self, out: &mut Squeezed) {
        let oldest = self.senders.iter().min_by_key(|(_, run)| run.since);
        let Some(key) = oldest.map(|(key, _)| key.clone()) else { return };
        if let Some(mut run) = self.senders.remove(&key) {
            run.pass(out);
            self.text -= run.line.len();
        }
    }

    fn expire_into(&mut self, now: Mono, out: &mut Squeezed) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        let (window, text) = (self.window, &mut self.text);
        self.senders.retain(|_, run| {
            let stays = run.since + window > now || run.repeats > 0;
            *text -= if stays { 0 } else { run.line.len() };
            stays
        });
        let mut over: Vec<_> =
            self.senders.values_mut().filter(|run| run.since + window <= now).collect();
        over.sort_by(|one, other| (one.since, &one.line).cmp(&(other.since, &other.line)));
        for run in over {
            run.since = now;
            run.pass(out);
        }
        self.next = self.first_end();
    }

    fn first_end(&self) -> Option<Mono> {
        let first = self.senders.values().map(|run| run.since).min();
        first.map(|since| since + self.window)
    }
}

/// Where the text begins: as rsyslog has it, before the space that follows the tag.
fn start_of_text(message: &Message, line: &[u8]) -> usize {
    let mut start = message.text as usize;
    if message.is_rfc5424 {
        return start;
    }
    while start > 0 && line[start - 1] == b' ' {
        start -= 1;
    }
    start
}

/// What tells a sender from others.
fn write_key(key: &mut Vec<u8>, line: &[u8], message: &Message, source: Option<Source>) {
    key.clear();
    for part in [message.host, message.app, message.procid] {
        key.extend_from_slice(part.of(line).unwrap_or_default());
        // No part contains a newline.
        key.push(b'\n');
    }
    if let Some(Source::Address(address)) = source {
        match address.ip() {
            std::net::IpAddr::V4(ip) => key.extend(ip.octets()),
            std::net::IpAddr::V6(ip) => key.extend(ip.octets()),
        }
    }
}

/// The text in the memory of another.
fn replaced(mut memory: Vec<u8>, text: &[u8]) -> Vec<u8> {
    memory.clear();
    memory.extend_from_slice(text);
    memory
}

/// The lines of a batch that pass, up to where lines of others stand between them.
struct Parts<'b> {
    batch: &'b Batch,
    bytes: Vec<u8>,
    lines: u32,
    sources: Gatherer,
    /// The number of the first line that the part accounts for.
    first: u32,
    /// Up to here the lines are in parts that have ended.
    next: u32,
    whole: bool,
}

impl<'b> Parts<'b> {
    fn new(batch: &'b Batch) -> Self {
        let (bytes, sources) = (Vec::new(), Gatherer::default());
        Self { batch, bytes, lines: 0, sources, first: 0, next: 0, whole: true }
    }

    fn push(&mut self, index: u32, at: std::ops::Range<usize>, source: Option<Source>) {
        self.bytes.extend_from_slice(&self.batch.bytes[at]);
        self.lines += 1;
        self.next = index + 1;
        if let Some(source) = source {
            self.sources.push(source, self.bytes.len());
        }
    }

    /// Ends a part, which accounts for the lines of the batch up to its last one.
    fn end(&mut self, out: &mut Vec<Batch>) {
        self.whole = false;
        self.end_at(self.next, out);
    }

    /// Ends the last part, which accounts for the rest of the batch.
    fn end_of_all(mut self, out: &mut Vec<Batch>) {
        if self.whole && self.lines == self.batch.lines {
            return out.push(self.batch.clone());
        }
        self.end_at(self.batch.lines, out);
    }

    fn end_at(&mut self, next: u32, out: &mut Vec<Batch>) {
        if self.lines == 0 {
            return;
        }
        let mut part = self.batch.with(std::mem::take(&mut self.bytes).into(), self.lines);
        part.sources = self.sources.take();
        part.numbers = None;
        part.origin = self.batch.origin.and_then(|span| self.span(span, next));
        out.push(part);
        (self.lines, self.first) = (0, next);
    }

    /// The numbers that the part accounts for; `None` if they are not known, unless it is the last.
    fn span(&self, span: Span, next: u32) -> Option<Span> {
        if span.lines() == u64::from(self.batch.lines) {
            let number = |line: u32| span.first + u64::from(line);
            return Some(Span { first: number(self.first), last: number(next) - 1, ..span });
        }
        (next == self.batch.lines).then_some(span)
    }
}

#[cfg(test)]
mod tests;
