//! What brokers answer to a producer, and what becomes of requests whose answers are lost.

use std::time::Duration;

use super::partition::{Located, Phase};
use super::{Ask, Producer};
use crate::clock::Mono;
use crate::limits::{RECORDS_REFUSED_RETRY, RECORDS_RETRY};
use crate::proto::kafka::cluster::BrokerId;
use crate::proto::kafka::messages::errors::{self, describe};
use crate::proto::kafka::messages::offsets::{self, LATEST};
use crate::proto::kafka::messages::produce::{self, Produced};
use crate::proto::kafka::messages::producers;
use crate::proto::kafka::wire::{Malformed, Reader};

/// Errors of a cluster that has just started, which pass by themselves.
const STARTING: [i16; 4] = [7, 14, 15, 16];

/// What to do about a batch that a partition did not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It did, now or before.
    Taken,
    /// Send it again, to whoever leads the partition then.
    Again,
    /// Ask the partition what it has.
    Ask,
    /// It is too large.
    TooLarge,
    /// Its time is out of bounds.
    Time,
    /// Somebody else uses our identity.
    Fenced,
    /// A person has to do something.
    Refused,
}

fn verdict(error: i16) -> Verdict {
    match error {
        errors::NONE | errors::DUPLICATE_SEQUENCE => Verdict::Taken,
        errors::OUT_OF_ORDER_SEQUENCE | errors::UNKNOWN_PRODUCER_ID => Verdict::Ask,
        errors::MESSAGE_TOO_LARGE | errors::RECORD_LIST_TOO_LARGE => Verdict::TooLarge,
        errors::INVALID_TIMESTAMP => Verdict::Time,
        errors::INVALID_PRODUCER_EPOCH | errors::PRODUCER_FENCED => Verdict::Fenced,
        // Damaged on its way, missing for a moment, without a leader or replicas, disk, throttled.
        2 | 3 | 5..=9 | 13 | 19 | 20 | 56 | 72 | 74 | 75 | 89 | 100 => Verdict::Again,
        _ => Verdict::Refused,
    }
}

impl Producer {
    /// Takes in an answer.
    pub(super) fn take_answer(
        &mut self,
        broker: BrokerId,
        ask: Ask,
        version: i16,
        mut body: Reader,
        now: Mono,
    ) {
        let taken = match &ask {
            Ask::Identity => self.take_identity(&mut body, now),
            Ask::Last(asked) => self.take_last(asked, &mut body, now),
            Ask::Batches(sent) => self.take_produced(broker, sent, version, &mut body, now),
            Ask::End(topic, at) => self.take_end((*topic, *at), broker, &mut body, now),
            Ask::Replicated(topic, at, end) => {
                self.take_replicated((*topic, *at), *end, version, &mut body, now)
            }
        };
        if let Err(error) = taken {
            self.cluster.failed(broker, error.to_string(), now);
            self.lost(ask);
        }
    }

    /// The answer to a request will not come.
    pub(super) fn lost(&mut self, ask: Ask) {
        match ask {
            Ask::Identity => self.asks_identity = false,
            Ask::Last(asked) => {
                for (topic, at) in asked {
                    if let Some(partition) = self.topics.partition_mut(topic, at)
                        && let Phase::Asked { start } = partition.phase
                    {
                        partition.phase = Phase::Unknown { start };
                    }
                }
            }
            // The broker tells a repetition of these batches from new lines.
            Ask::Batches(sent) => {
                for (topic, at, serial) in sent {
                    let partition = self.topics.partition_mut(topic, at);
                    if let Some(batch) = partition.and_then(|p| p.batch_mut(serial)) {
                        batch.sent = false;
                    }
                }
            }
            Ask::End(topic, at) | Ask::Replicated(topic, at, _) => {
                if let Some(partition) = self.topics.partition_mut(topic, at) {
                    partition.retry_at = Mono::default();
                }
            }
        }
    }

    fn take_identity(&mut self, body: &mut Reader, now: Mono) -> Result<(), Malformed> {
        self.asks_identity = false;
        let (error, identity) = producers::read_init(body)?;
        if error == errors::NONE {
            self.identity = Some(identity);
            self.error = None;
            self.change();
        } else if STARTING.contains(&error) {
            self.identity_at = now + RECORDS_RETRY;
        } else {
            self.identity_at = now + RECORDS_REFUSED_RETRY;
            self.error = Some(format!("no producer id: {}", describe(error)));
        }
        Ok(())
    }

    fn take_last(
        &mut self,
        asked: &[(usize, usize)],
        body: &mut Reader,
        now: Mono,
    ) -> Result<(), Malformed> {
        let described = producers::read_describe(body)?;
        let Some(identity) = self.identity else { return Ok(()) };
        let mut refused = None;
        for answer in described {
            let Some(topic) = self.topics.find(&answer.topic) else { continue };
            let Ok(at) = usize::try_from(answer.index) else { continue };
            let Some(partition) = self.topics.partition_mut(topic, at) else { continue };
            let Phase::Asked { start } = partition.phase else { continue };
            if answer.error != errors::NONE {
                partition.phase = Phase::Unknown { start };
                partition.retry_at = now + RECORDS_RETRY;
                let text = format!("topic {}: {}", answer.topic, describe(answer.error));
                if answer.error == errors::TOPIC_AUTHORIZATION_FAILED {
                    refused = Some(text);
                } else {
                    if !errors::PASSING.contains(&answer.error) {
                        partition.error = Some(text);
                    }
                    self.cluster.refresh();
                }
                continue;
            }
            partition.error = None;
            let ours = answer.producers.iter().find(|(id, _, _)| *id == identity.id);
            let foreign_epoch =
                ours.is_some_and(|(_, epoch, _)| *epoch > i32::from(identity.epoch));
            let last = ours.map(|(_, _, last)| *last).filter(|last| *last >= 0);
            if start && last.is_none() && partition.base > 0 && self.setup.keeps_state {
                log::warn!(
                    "{}: partition {at} of topic {} has forgotten what it had from this output, as \
                     after a day without lines; if the last process was killed, lines of its last \
                     second may come twice",
                    self.setup.name,
                    answer.topic
                );
            }
            let located = match foreign_epoch {
                true => Located::Foreign,
                false => partition.locate(last),
            };
            self.located(located, &answer.topic, at);
        }
        // A partition that the answer leaves out is asked again.
        self.lost(Ask::Last(asked.to_vec()));
        if let Some(why) = refused {
            self.cannot_ask(&why);
        }
        Ok(())
    }

    fn located(&mut self, located: Located, topic: &str, at: usize) {
        match located {
            Located::Well => {}
            Located::Foreign => self.stop_as_fenced(),
            Located::Uncountable => self.warn_uncountable(),
            Located::Lost(lines) => {
                log::error!(
                    "{}: partition {at} of topic {topic} has lost {lines} lines that it had \
                     acknowledged, as after an unclean election of its leader; lines that are \
                     not completed are sent again",
                    self.setup.name
                );
                self.change();
            }
        }
    }

    pub(super) fn stop_as_fenced(&mut self) {
        self.stopped = Some(
            "another process produces with the identity that this output has: is the spool's \
             folder a copy that a second daemon uses too? Stop one of the two, and give the copy \
             an identity of its own by `logweir spool trim --new-identity`; nothing more is sent"
                .into(),
        );
    }

    fn take_produced(
        &mut self,
        broker: BrokerId,
        sent: &[(usize, usize, u64)],
        version: i16,
        body: &mut Reader,
        now: Mono,
    ) -> Result<(), Malformed> {
        let (produced, throttle) = produce::read(body, version)?;
        if throttle > Duration::ZERO {
            self.cluster.mute(broker, now + throttle);
        }
        for answer in &produced {
            let place = self.topics.find(&answer.topic);
            let is_of = |(topic, at, _): &&(usize, usize, u64)| {
                Some(*topic) == place && super::topics::index(*at) == answer.index
            };
            if let Some((topic, at, serial)) = sent.iter().find(is_of) {
                self.take_part(*topic, *at, *serial, answer, now);
            }
        }
        // A batch that the answer leaves out is sent again.
        let mut left = Vec::new();
        for (topic, at, serial) in sent {
            let index = super::topics::index(*at);
            let name = &self.topics.known[*topic].name;
            if !produced.iter().any(|p| p.index == index && p.topic == *name) {
                left.push((*topic, *at, *serial));
            }
        }
        self.lost(Ask::Batches(left));
        Ok(())
    }

    /// Takes in what became of one batch.
    fn take_part(&mut self, topic: usize, at: usize, serial: u64, answer: &Produced, now: Mono) {
        let Some(partition) = self.topics.partition_mut(topic, at) else { return };
        let is_first = partition.unanswered.front().is_some_and(|batch| batch.serial == serial);
        let Some(batch) = partition.batch_mut(serial) else { return };
        batch.sent = false;
        let verdict = verdict(answer.error);
        if verdict != Verdict::Taken {
            let wait = match verdict {
                Verdict::Refused => RECORDS_REFUSED_RETRY,
                Verdict::Again => RECORDS_RETRY,
                _ => Duration::ZERO,
            };
            partition.retry_at = now + wait;
        }
        match verdict {
            Verdict::Taken => {
                let done = partition.answered(serial);
                done.iter().for_each(|chunk| self.complete(chunk, false));
            }
            Verdict::Again | Verdict::Refused => {
                let why = answer.message.as_deref().unwrap_or_default();
                let error = format!("topic {}: {} {why}", answer.topic, describe(answer.error));
                partition.error = Some(error.trim_end().to_string());
                self.cluster.refresh();
            }
            // Those behind the first are refused because it was.
            Verdict::Ask if is_first => partition.phase = Phase::Unknown { start: false },
            Verdict::Ask => {}
            Verdict::TooLarge => {
                if let Some(line) = partition.too_large(serial) {
                    log::warn!(
                        "{}: topic {} takes no line of {} bytes; it is dropped and counted as \
                         oversize. Raise the topic's max.message.bytes, or cut lines with \
                         max_line at the input",
                        self.setup.name,
                        answer.topic,
                        line.lines.len() - 1
                    );
                    self.change();
                    self.complete(&line, true);
                }
            }
            Verdict::Time => {
                if let Some(batch) = partition.batch_mut(serial) {
                    if batch.now {
                        partition.retry_at = now + RECORDS_REFUSED_RETRY;
                        partition.error =
                            Some(format!("topic {}: {}", answer.topic, describe(answer.error)));
                        return;
                    }
                    batch.now = true;
                    batch.batch = bytes::Bytes::new();
                }
            }
            Verdict::Fenced => self.stop_as_fenced(),
        }
    }

    fn take_end(
        &mut self,
        (topic, at): (usize, usize),
        broker: BrokerId,
        body: &mut Reader,
        now: Mono,
    ) -> Result<(), Malformed> {
        let ends = offsets::read_epoch_end(body)?;
        match ends.first() {
            Some(end) if end.error == errors::NONE && end.offset >= 0 => {
                self.ask_replicated(topic, at, broker, end.offset, now);
            }
            end => {
                let error = end.map_or(errors::NONE, |end| end.error);
                self.not_told(topic, at, error, now);
                self.cluster.refresh();
            }
        }
        Ok(())
    }

    /// A partition does not tell how far it is; it is asked again.
    fn not_told(&mut self, topic: usize, at: usize, error: i16, now: Mono) {
        let text = format!("topic {}: {}", self.topics.known[topic].name, describe(error));
        let Some(partition) = self.topics.partition_mut(topic, at) else { return };
        partition.retry_at = now + RECORDS_RETRY;
        if error != errors::NONE && !errors::PASSING.contains(&error) {
            partition.error = Some(text);
        }
    }

    fn ask_replicated(&mut self, topic: usize, at: usize, broker: BrokerId, end: i64, now: Mono) {
        let Some(version) = self.cluster.version(broker, offsets::LIST, now) else {
            return self.confirm(topic, at);
        };
        let name = self.topics.known[topic].name.clone();
        let asks = [(name, super::topics::index(at), LATEST)];
        let ask = Ask::Replicated(topic, at, end);
        self.cluster.send(broker, (offsets::LIST, version), ask, now, |writer| {
            offsets::write_list(writer, version, &asks);
        });
    }

    fn take_replicated(
        &mut self,
        (topic, at): (usize, usize),
        end: i64,
        version: i16,
        body: &mut Reader,
        now: Mono,
    ) -> Result<(), Malformed> {
        let answers = offsets::read_list(body, version)?;
        let error = answers.first().map_or(errors::NONE, |answer| answer.error);
        self.not_told(topic, at, error, now);
        let there = answers.first().filter(|answer| answer.error == errors::NONE);
        if there.is_some_and(|answer| answer.offset >= end) {
            self.confirm(topic, at);
        }
        Ok(())
    }
}
