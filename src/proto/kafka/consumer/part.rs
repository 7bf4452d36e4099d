//! One partition that is read: where it is read, and what came and is not handed over.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::Place;
use super::batch::{self, Fault, Records};
use super::record::Writer;
use crate::clock::Mono;
use crate::ids::Identity;
use crate::limits::{CONSUMED_RETRY, FOLLOW_READ};
use crate::proto::kafka::messages::fetch::FetchedPart;
use crate::proto::kafka::messages::offsets::{EARLIEST, LATEST};
use crate::proto::shared::record::Lines;

/// A partition.
#[derive(Debug)]
pub(super) struct Part {
    /// Its identity as an origin: another one where the topic is made anew.
    pub(super) origin: Identity,
    pub(super) phase: Phase,
    /// The offset of the next record to be handed over.
    pub(super) next: i64,
    /// Offsets below this were handed over before as numbers of this origin, but the brokers have
    /// lost those records: what has these offsets now goes without a number.
    floor: i64,
    /// Offsets that some spools have come to: no run goes across.
    borders: BTreeSet<i64>,
    /// Batches that came, and the transactions in them that were aborted.
    pending: Bytes,
    aborted: Vec<(i64, i64)>,
    /// Producers of aborted transactions that are open here.
    dropped: BTreeSet<i64>,
    records: Option<Records>,
    /// The epoch of the last record that was read.
    pub(super) epoch: i32,
    /// The end of what may be read, as last heard.
    pub(super) end: Option<i64>,
    /// The number of the request that is under way.
    pub(super) flight: Option<u64>,
    /// Nothing is asked before, and the wait after the next failure.
    pub(super) retry_at: Mono,
    wait: std::time::Duration,
    pub(super) error: Option<String>,
    /// Nothing more of it is handed over.
    pub(super) stopped: bool,
    /// An offset was found that was committed for another topic of this name, when the cluster had
    /// said so often what it is.
    pub(super) doubted: Option<u64>,
}

/// What is known of where to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing; the stored position is to be asked for.
    Unknown,
    /// It was asked for.
    Asked,
    /// So far it is stored in spools; how far the group has committed is to be asked for.
    Stored(Option<i64>),
    /// A broker is to be asked for an offset.
    Locate(Locate),
    Reading,
}

/// The question about an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proto::kafka) enum Locate {
    /// Where reading begins: a time, or what stands for one.
    Start(i64),
    /// The first offset, as the next one is not there.
    First,
    /// The end, for the same reason.
    End,
}

impl Locate {
    /// The time to ask for.
    pub(super) fn time(self) -> i64 {
        match self {
            Self::Start(time) => time,
            Self::First => EARLIEST,
            Self::End => LATEST,
        }
    }
}

/// Lines of consecutive records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proto::kafka) struct Span {
    pub(in crate::proto::kafka) first: i64,
    pub(in crate::proto::kafka) last: i64,
    /// The time of the first, in milliseconds since 1970.
    pub(in crate::proto::kafka) time: i64,
    /// Whether the offsets are numbers of the origin.
    pub(in crate::proto::kafka) numbered: bool,
}

const MINUTE: i64 = 60_000;
/// Room for a run: it ends with the line that reaches [`FOLLOW_READ`].
const RUN_ROOM: usize = FOLLOW_READ + FOLLOW_READ / 16;

impl Part {
    pub(super) fn new(origin: Identity) -> Self {
        Self {
            origin,
            phase: Phase::Unknown,
            next: 0,
            floor: 0,
            borders: BTreeSet::new(),
            pending: Bytes::new(),
            aborted: Vec::new(),
            dropped: BTreeSet::new(),
            records: None,
            epoch: -1,
            end: None,
            flight: None,
            retry_at: Mono::default(),
            wait: CONSUMED_RETRY.0,
            error: None,
            stopped: false,
            doubted: None,
        }
    }

    /// Lets go of what came and is not handed over.
    pub(super) fn forget(&mut self) {
        self.pending = Bytes::new();
        self.records = None;
    }

    /// Whether something came that is not handed over.
    pub(super) fn has_pending(&self) -> bool {
        self.records.is_some() || !self.pending.is_empty()
    }

    /// Whether it is to be asked for records.
    pub(super) fn wants(&self, now: Mono) -> bool {
        self.phase == Phase::Reading
            && !self.stopped
            && self.flight.is_none()
            && !self.has_pending()
            && now >= self.retry_at
    }

    /// Reads from here on; `borders` are offsets of last records that spools have.
    pub(super) fn read_from(&mut self, next: i64, borders: impl IntoIterator<Item = i64>) {
        self.next = next;
        self.divide_at(borders);
        self.phase = Phase::Reading;
    }

    /// No run goes across these offsets.
    pub(super) fn divide_at(&mut self, borders: impl IntoIterator<Item = i64>) {
        self.borders.extend(borders);
    }

    /// How many records behind the end it is read.
    pub(super) fn lag(&self) -> Option<u64> {
        (self.phase == Phase::Reading).then(|| {
            self.end.map(|end| u64::try_from(end.saturating_sub(self.next)).unwrap_or(0))
        })?
    }

    /// Something is not as it should be; it is tried again after a while.
    pub(super) fn failed(&mut self, error: Option<String>, now: Mono) {
        self.retry_at = now + self.wait;
        self.wait = (self.wait * 2).min(CONSUMED_RETRY.1);
        if error.is_some() {
            self.error = error;
        }
    }

    /// Whether the last thing that was tried failed too.
    pub(super) fn has_failed(&self) -> bool {
        self.wait > CONSUMED_RETRY.0
    }

    /// All is well.
    fn succeeded(&mut self) {
        self.wait = CONSUMED_RETRY.0;
        self.error = None;
    }

    /// Takes what a broker sent.
    pub(super) fn take(&mut self, fetched: FetchedPart) {
        self.end = Some(fetched.stable);
        self.pending = fetched.records;
        self.aborted = fetched.aborted;
        self.aborted.sort_unstable_by_key(|(_, first)| std::cmp::Reverse(*first));
        self.dropped.clear();
        if self.pending.is_empty() {
            self.succeeded();
        }
    }

    /// The log of the brokers ends before what was read.
    pub(super) fn truncated(&mut self, end: i64) {
        self.floor = self.floor.max(self.next);
        self.next = end.min(self.next);
        self.epoch = -1;
        self.forget();
        self.phase = Phase::Reading;
    }

    /// Writes the next run of records: consecutive ones of one minute. `None` where there are none.
    pub(super) fn run(
        &mut self,
        place: &Place,
        (now, wall): (Mono, i64),
        writer: &mut Writer,
        lines: &mut Lines,
    ) -> Option<Span> {
        let (start, mut span) = (self.next, None);
        lines.reserve(self.pending.len().min(RUN_ROOM));
        let had = self.has_pending();
        loop {
            if self.records.is_none() {
                match self.open() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(fault) => {
                        self.refuse(place, &fault, now);
                        return span;
                    }
                }
            }
            match self.write(place, wall, &mut span, writer, lines) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => {
                    self.refuse(place, &fault, now);
                    return span;
                }
            }
        }
        if had && !self.has_pending() && self.next == start {
            self.refuse(place, &Fault::Malformed("no whole batch came"), now);
        }
        span
    }

    fn refuse(&mut self, (topic, index): &Place, fault: &Fault, now: Mono) {
        self.forget();
        let error = format!("topic {topic}, partition {index}, offset {}: {fault}", self.next);
        self.failed(Some(error), now);
    }

    /// Opens the next batch whose records count; `false` where there is none.
    fn open(&mut self) -> Result<bool, Fault> {
        while let Some((head, packed)) = batch::split(&mut self.pending)? {
            let begun = |aborted: &mut (i64, i64)| aborted.1 <= head.last;
            while let Some((producer, _)) = self.aborted.pop_if(begun) {
                self.dropped.insert(producer);
            }
            self.epoch = head.epoch;
            if head.is_control() {
                let records = Records::open(head, packed)?;
                if head.is_transactional() && batch::is_abort(&records)? {
                    self.dropped.remove(&head.producer);
                }
            } else if head.last >= self.next
                && !(head.is_transactional() && self.dropped.contains(&head.producer))
            {
                self.records = Some(Records::open(head, packed)?);
                return Ok(true);
            }
            self.next = self.next.max(head.last + 1);
            self.succeeded();
        }
        Ok(false)
    }

    /// Writes records of the open batch; `true` once it is done with and the run may go on.
    fn write(
        &mut self,
        place: &Place,
        wall: i64,
        span: &mut Option<Span>,
        writer: &mut Writer,
        lines: &mut Lines,
    ) -> Result<bool, Fault> {
        let Some(records) = &mut self.records else { return Ok(true) };
        let bytes = records.bytes.clone();
        lines.reserve((bytes.len() - records.at).min(RUN_ROOM));
        while let Some((record, behind)) = records.peek(&bytes)? {
            let offset = record.offset;
            if offset < self.next {
                records.pass(offset, behind);
                continue;
            }
            let time = if record.time < 0 { wall } else { record.time.min(wall) };
            let numbered = offset >= self.floor;
            let is_next = span.is_none_or(|span: Span| {
                span.last + 1 == offset
                    && span.time / MINUTE == time / MINUTE
                    && span.numbered == numbered
            });
            if !is_next {
                return Ok(false);
            }
            writer.write(place, &record, lines);
            records.pass(offset, behind);
            self.next = offset + 1;
            let first = span.map_or((offset, time), |span| (span.first, span.time));
            *span = Some(Span { first: first.0, time: first.1, last: offset, numbered });
            // A run is one piece.
            let held = lines.held();
            if self.borders.remove(&offset) || held == 0 || held >= FOLLOW_READ {
                return Ok(false);
            }
        }
        self.next = self.next.max(records.head.last + 1);
        self.records = None;
        self.succeeded();
        Ok(true)
    }
}
