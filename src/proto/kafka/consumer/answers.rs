//! What brokers answer to a consumer.

use std::time::Duration;

use super::part::{Locate, Part, Phase};
use super::{Ask, Consumer, Place};
use crate::clock::Mono;
use crate::limits::CONSUMED_AT_ONCE;
use crate::proto::kafka::cluster::BrokerId;
use crate::proto::kafka::messages::fetch::{self, Fetched, FetchedPart};
use crate::proto::kafka::messages::offsets::{self, LATEST};
use crate::proto::kafka::messages::{classic, errors, group};
use crate::proto::kafka::wire::Reader;

impl Consumer {
    /// An answer has come.
    pub(super) fn answered(
        &mut self,
        broker: BrokerId,
        ask: Ask,
        version: i16,
        mut body: Reader,
        now: Mono,
    ) {
        match ask {
            Ask::Fetch(of, places) => {
                self.fetching.remove(&of);
                match fetch::read(&mut body, version) {
                    Ok(fetched) => self.fetched(broker, &places, fetched, now),
                    Err(error) => {
                        self.lost(Ask::Fetch(of, places), now);
                        self.cluster.failed(broker, error.to_string(), now);
                    }
                }
            }
            Ask::Locate(place, flight, locate) => match offsets::read_list(&mut body, version) {
                Ok(found) => {
                    let offset = found.into_iter().next();
                    let (error, offset) =
                        offset.map_or((errors::NONE, -1), |one| (one.error, one.offset));
                    self.located(&place, (flight, locate), (error, offset), now);
                }
                Err(error) => {
                    self.lost(Ask::Locate(place, flight, locate), now);
                    self.cluster.failed(broker, error.to_string(), now);
                }
            },
            ask => {
                let api = match ask {
                    Ask::Coordinator => group::FIND,
                    Ask::Beat => group::BEAT,
                    Ask::Join => classic::JOIN,
                    Ask::Sync => classic::SYNC,
                    Ask::There => classic::BEAT,
                    Ask::Leave => classic::LEAVE,
                    Ask::Commit(_) => group::COMMIT,
                    _ => group::OFFSETS,
                };
                if let Err(error) = self.group_answered(&ask, (api, version), &mut body, now) {
                    self.group_lost(&ask, now);
                    self.cluster.failed(broker, error, now);
                }
            }
        }
    }

    /// The answer to a request will not come.
    pub(super) fn lost(&mut self, ask: Ask, now: Mono) {
        let places = match ask {
            Ask::Fetch(broker, places) => {
                self.fetching.remove(&broker);
                places
            }
            Ask::Locate(place, flight, _) => vec![(place, flight)],
            ask => return self.group_lost(&ask, now),
        };
        for (place, flight) in places {
            if let Some(part) = self.in_flight(&place, flight) {
                part.failed(None, now);
            }
        }
    }

    /// The partition that this request was for, if it still waits for it.
    fn in_flight(&mut self, place: &Place, flight: u64) -> Option<&mut Part> {
        let part = self.parts.get_mut(place).filter(|part| part.flight == Some(flight))?;
        part.flight = None;
        Some(part)
    }

    fn fetched(&mut self, broker: BrokerId, places: &[(Place, u64)], fetched: Fetched, now: Mono) {
        if let Ok(throttle @ 1..) = u64::try_from(fetched.throttle) {
            self.cluster.mute(broker, now + Duration::from_millis(throttle));
        }
        let mut parts = fetched.parts;
        let mut unread = CONSUMED_AT_ONCE * 4;
        for (place, flight) in places {
            let id = self.topics.get(&place.0).copied().unwrap_or_default();
            let is_it = |part: &FetchedPart| {
                let topic =
                    if part.topic.is_empty() { part.id == id } else { *part.topic == *place.0 };
                topic && part.index == place.1
            };
            let found = parts.iter().position(is_it).map(|at| parts.swap_remove(at));
            let Some(part) = self.in_flight(place, *flight) else { continue };
            let error = found.as_ref().map_or(fetched.error, |found| found.error);
            match found {
                Some(found) if error == errors::NONE => match found.diverges {
                    Some(end) => self.truncated(place, end),
                    None if found.records.len() <= unread => {
                        unread -= found.records.len();
                        part.take(found);
                    }
                    // It has more than it was asked for; next time.
                    None => part.failed(None, now),
                },
                _ if error == errors::NONE => part.failed(None, now),
                _ if error == errors::OFFSET_OUT_OF_RANGE => {
                    part.phase = Phase::Locate(Locate::First);
                }
                _ => self.refused(place, error, now),
            }
        }
    }

    /// A broker does not give what was asked for.
    fn refused(&mut self, (topic, index): &Place, error: i16, now: Mono) {
        let text = format!("topic {topic}, partition {index}: {}", errors::describe(error));
        if let Some(part) = self.parts.get_mut(&(topic.clone(), *index)) {
            // What passes by itself is said only where it does not.
            let passes = errors::PASSING.contains(&error) && part.error.is_none();
            let once = passes && !part.has_failed();
            part.failed((!once).then_some(text), now);
        }
        self.cluster.refresh();
    }

    fn located(
        &mut self,
        place: &Place,
        (flight, locate): (u64, Locate),
        (error, offset): (i16, i64),
        now: Mono,
    ) {
        let name = self.setup.name.clone();
        let Some(part) = self.in_flight(place, flight) else { return };
        if error != errors::NONE {
            return self.refused(place, error, now);
        }
        let (topic, index) = place;
        match locate {
            // No record is so new.
            Locate::Start(time) if offset < 0 && time != LATEST => {
                part.phase = Phase::Locate(Locate::Start(LATEST));
            }
            Locate::Start(_) => {
                let (offset, origin) = (offset.max(0), part.origin);
                part.read_from(offset, None);
                self.begun.push((origin, offset.unsigned_abs()));
                self.group_begun(place, offset);
            }
            Locate::First if offset > part.next => {
                let lost = offset.abs_diff(part.next);
                part.read_from(offset, None);
                self.counts.sequence_lost += lost;
                log::warn!(
                    "{name}: topic {topic}, partition {index}: {lost} records were removed by the \
                     topic's retention before they were read; raise its retention.ms, or read \
                     faster"
                );
            }
            Locate::First => part.phase = Phase::Locate(Locate::End),
            Locate::End if offset < part.next => self.truncated(place, offset.max(0)),
            Locate::End => part.phase = Phase::Reading,
        }
    }

    fn truncated(&mut self, place: &Place, end: i64) {
        let Some(part) = self.parts.get_mut(place) else { return };
        let (topic, index) = place;
        log::warn!(
            "{}: topic {topic}, partition {index}: the brokers have lost the records from offset \
             {end} to {} after they were read, and give their numbers to others; those are read \
             too, and after a crash some of them may come twice (set \
             unclean.leader.election.enable = false on the topic)",
            self.setup.name,
            part.next - 1
        );
        part.truncated(end);
    }
}
