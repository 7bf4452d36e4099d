//! How lines are distributed over several peers.
//!
//! Lines are partitioned among lanes, one for each peer. A lane prefers a peer of its own and moves
//! to the next one while that peer does not answer, so that a dead peer costs the other lanes
//! nothing. The lane of a spool's line depends only on the line's number or key: after a restart
//! the same lines belong to the same lane.

use super::plan::{BalancePlan, ForwardPlan};
use crate::batch::Batch;
use crate::filter::Picked;
use crate::filter::gather;
use crate::filter::key::Key;
use crate::ids::Identity;
use crate::url::Url;

/// Assigns lines to lanes.
#[derive(Debug)]
pub struct Partitioner {
    lanes: u64,
    key: Option<Key>,
    /// Counts lines without a number.
    count: u64,
}

impl Partitioner {
    /// Creates the partitioner of an output.
    ///
    /// # Errors
    /// Why the regex of the key does not compile.
    pub fn new(plan: &ForwardPlan) -> Result<Self, String> {
        let key = match &plan.balance {
            BalancePlan::Hash { key } => Some(Key::new(key)?),
            _ => None,
        };
        Ok(Self { lanes: u64::from(lanes(plan)), key, count: 0 })
    }

    /// The lane's share of a batch. For lines without numbers, call this for each lane in turn, and
    /// then [`Self::assigned`] once.
    pub fn share(&mut self, batch: &Batch, lane: u16) -> Option<Batch> {
        if self.lanes == 1 {
            return Some(batch.clone());
        }
        let first = batch.numbers.map_or(self.count, |numbers| numbers.first);
        let mut ranges = Vec::new();
        let mut start = 0;
        for (number, line) in (first..).zip(batch.iter()) {
            let end = start + line.len() + 1;
            let assigned = match &mut self.key {
                Some(key) => {
                    let sources = batch.sources.as_ref();
                    let source = sources.and_then(|sources| sources.of(start));
                    key.hash(line, source).unwrap_or(0) % self.lanes
                }
                None => number % self.lanes,
            };
            if assigned == u64::from(lane) {
                let bound = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
                ranges.push((bound(start), bound(end)));
            }
            start = end;
        }
        gather(batch, &Picked::Some(ranges))
    }

    /// Records that every lane has received its share of a batch.
    pub fn assigned(&mut self, batch: &Batch) {
        self.count += u64::from(batch.lines);
    }
}

/// The number of lanes of an output.
pub fn lanes(plan: &ForwardPlan) -> u16 {
    match plan.balance {
        BalancePlan::Failover => 1,
        _ => u16::try_from(plan.peers.len()).unwrap_or(u16::MAX),
    }
}

/// The peers of a lane, in order of preference.
pub fn peers(plan: &ForwardPlan, lane: u16) -> Vec<Url> {
    let mut peers = plan.peers.clone();
    peers.rotate_left(usize::from(lane) % plan.peers.len().max(1));
    peers
}

/// The reader name of a lane in a spool.
pub fn reader(output: &str, plan: &ForwardPlan, lane: u16) -> String {
    match lanes(plan) {
        1 => output.to_string(),
        lanes => format!("{output}.lane{lane}of{lanes}"),
    }
}

/// The identity that a lane presents to a receiving logweir: it stands for the spool and for the
/// lane's share of its lines.
pub fn identity(spool: Identity, plan: &ForwardPlan, lane: u16) -> Identity {
    if lanes(plan) == 1 {
        return spool;
    }
    let what = format!("{spool} {:?} {lane} {}", plan.balance, lanes(plan));
    let half = |seed| u128::from(xxhash_rust::xxh3::xxh3_64_with_seed(what.as_bytes(), seed));
    Identity::of(half(0) << 64 | half(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Numbers;
    use crate::config::plan::{ClientTlsPlan, FormatPlan};
    use crate::filter::batch_of;
    use crate::limits::ANSWER_DEFAULT;
    use crate::url::Protocol;

    fn plan(balance: BalancePlan) -> ForwardPlan {
        let peer = |host: &str| Url { protocol: Protocol::Relp, host: host.into(), port: 1 };
        ForwardPlan {
            peers: ["a", "b", "c"].map(peer).to_vec(),
            balance,
            format: FormatPlan::default(),
            timeout: ANSWER_DEFAULT,
            tls: ClientTlsPlan::default(),
            clients: crate::proto::ClientPlans::default().into(),
            queue: 1,
        }
    }

    fn shares(plan: &ForwardPlan, first: u64, text: &str) -> Vec<String> {
        let mut partitioner = Partitioner::new(plan).unwrap();
        let last = first + text.lines().count() as u64 - 1;
        let numbers = Some(Numbers { first, last });
        let batch = Batch { numbers, ..batch_of(text) };
        let text = |batch: Batch| String::from_utf8(batch.bytes.to_vec()).unwrap();
        (0..lanes(plan))
            .map(|l| partitioner.share(&batch, l).map(text).unwrap_or_default())
            .collect()
    }

    #[test]
    fn turns_go_by_the_number_of_the_line() {
        let plan = plan(BalancePlan::RoundRobin);
        assert_eq!(
            shares(&plan, 4, "four\nfive\nsix\nseven\n"),
            ["six\n", "four\nseven\n", "five\n"]
        );
        assert_eq!(shares(&plan, 6, "six\n"), ["six\n", "", ""]);
        let hosts: Vec<_> = peers(&plan, 1).into_iter().map(|peer| peer.host).collect();
        assert_eq!(hosts, ["b", "c", "a"]);
    }

    #[test]
    fn a_key_always_goes_the_same_way_and_every_line_goes_one() {
        let plan = plan(BalancePlan::Hash { key: r"^(\S+)".into() });
        let text = "k1 x\nk2 x\nk3 x\nk1 y\nk2 y\n no key\nk3 y\n";
        let shares = shares(&plan, 0, text);
        for key in ["k1", "k2", "k3"] {
            let holders = shares.iter().filter(|share| share.contains(key)).count();
            assert_eq!(holders, 1, "{shares:?}");
        }
        assert_eq!(shares.iter().map(|share| share.lines().count()).sum::<usize>(), 7);
    }

    #[test]
    fn every_lane_is_known_by_another_identity() {
        let spool = Identity::of(7);
        let turns = plan(BalancePlan::RoundRobin);
        let mut all: Vec<_> = (0..3).map(|lane| identity(spool, &turns, lane)).collect();
        all.push(identity(spool, &plan(BalancePlan::Failover), 0));
        assert_eq!(all[3], spool);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4);
    }
}
