//! Who a producer is to the cluster, and what an earlier process of the same identity can have
//! sent.

use super::partition::{Partition, Phase};
use super::{Ask, Producer};
use crate::batch::Batch;
use crate::clock::Mono;
use crate::proto::kafka::messages::producers;

/// Which of the lines that come an earlier process may have sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    /// That is not known.
    Anything,
    /// Those up to this number of the spool, without it.
    LinesTo(u64),
    /// None of them.
    Nothing,
}

impl Producer {
    /// Whether lines may be taken that no earlier process has seen: not before it is known which of
    /// those before are there. Where partitions have more lines from this identity than there
    /// were, the others are another daemon's. No batch has lines of both kinds.
    pub(super) fn is_free_for(&mut self, batch: &Batch) -> bool {
        let Earlier::LinesTo(held_to) = self.earlier else { return true };
        if batch.numbers.is_none_or(|numbers| numbers.first < held_to) {
            return true;
        }
        if self.stopped.is_some() || self.topics.all().any(|(_, _, p)| p.phase != Phase::Ready) {
            return false;
        }
        if self.topics.all().any(|(_, _, partition)| partition.expects_more()) {
            self.stop_as_fenced();
            return false;
        }
        // It asked for nothing yet, or nothing is in doubt.
        if self.identity.is_some() && !self.topics.known.is_empty() {
            self.earlier = Earlier::Nothing;
        }
        true
    }

    pub(super) fn ask_identity(&mut self, now: Mono) {
        if self.identity.is_some() || self.asks_identity || now < self.identity_at {
            return;
        }
        let Some(broker) = self.cluster.ready() else { return self.cluster.connect_any(now) };
        let Some(version) = self.cluster.version(broker, producers::INIT, now) else {
            self.error = Some("the brokers give out no producer ids: they are too old".into());
            return;
        };
        let call = (producers::INIT, version);
        self.asks_identity = true;
        self.cluster.send(broker, call, Ask::Identity, now, |writer| {
            producers::write_init(writer, version);
        });
    }

    /// Begins with a new identity: what is in doubt is sent again.
    pub(super) fn renew_identity(&mut self) {
        self.identity = None;
        for partition in self.topics.all_mut() {
            partition.begin_at(0);
            partition.phase = Phase::Ready;
        }
        self.change();
    }

    /// Nobody tells what partitions have: a new identity is what is left.
    pub(super) fn cannot_ask(&mut self, why: &str) {
        let asked = |p: &Partition| p.phase != Phase::Ready;
        let in_doubt = |p: &Partition| asked(p) && (p.base > 0 || !p.unanswered.is_empty());
        let in_doubt = self.topics.all().any(|(_, _, partition)| in_doubt(partition));
        if self.can_ask {
            log::warn!(
                "{}: {why}: lines are delivered at least once, not exactly once. It needs brokers \
                 from 3.0 on and the right to READ the topic",
                self.setup.name
            );
        }
        self.can_ask = false;
        match in_doubt {
            true => self.renew_identity(),
            false => self.topics.all_mut().for_each(|p| p.phase = Phase::Ready),
        }
    }
}
