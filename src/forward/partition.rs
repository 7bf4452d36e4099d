//! Which of several peers gets which lines.
//!
//! Lines are partitioned among lanes, as many as there are peers. A lane prefers a peer of its own
//! and moves to the next one while that does not answer, so that a dead peer costs no other lane
//! anything. Which lane a line of a spool belongs to depends on nothing but its number, or its key
//! and the peers: after a restart the same lines belong to the same lane.
//!
//! Keys are assigned by rendezvous hashing (Thaler and Ravishankar, 1998): each peer has a weight
//! for each key, and the highest wins. So a peer that is added takes a share of each other's keys,
//! one that is removed leaves its own to the others, and no other key moves.

use super::plan::{BalancePlan, ForwardPlan};
use crate::batch::Batch;
use crate::filter::Picked;
use crate::filter::gather;
use crate::filter::key::Key;
use crate::ids::Identity;
use crate::url::Url;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Assigns lines to lanes.
#[derive(Debug)]
pub struct Partitioner {
    lanes: u64,
    /// What lines are assigned by, and the seed of each peer's weights.
    key: Option<(Key, Vec<u64>)>,
    /// Lines without a number are counted.
    count: u64,
}

impl Partitioner {
    /// The partitioner of an output.
    ///
    /// # Errors
    /// Says why the regex of the key does not compile.
    pub fn new(plan: &ForwardPlan) -> Result<Self, String> {
        let key = match &plan.balance {
            BalancePlan::Hash { key } => {
                let seed = |peer: &Url| xxh3_64(peer.to_string().as_bytes());
                Some((Key::new(key)?, plan.peers.iter().map(seed).collect()))
            }
            _ => None,
        };
        Ok(Self { lanes: u64::from(lanes(plan)), key, count: 0 })
    }

    /// The lane's share of a batch. For lines without numbers this is called for each lane in turn,
    /// and then [`Self::assigned`] once.
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
                Some((key, seeds)) => {
                    let sources = batch.sources.as_ref();
                    let source = sources.and_then(|sources| sources.of(start));
                    heaviest(key.hash(line, source).unwrap_or(0), seeds)
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

    /// Every lane has been given its share of a batch.
    pub fn assigned(&mut self, batch: &Batch) {
        self.count += u64::from(batch.lines);
    }
}

/// The peer whose weight for a key is the highest.
fn heaviest(key: u64, seeds: &[u64]) -> u64 {
    let weight = |seed: u64| xxh3_64_with_seed(&key.to_le_bytes(), seed);
    let weights = seeds.iter().zip(0..).map(|(seed, lane)| (weight(*seed), lane));
    weights.max().map_or(0, |(_, lane)| lane)
}

/// How many lanes an output has.
pub fn lanes(plan: &ForwardPlan) -> u16 {
    match plan.balance {
        BalancePlan::Failover => 1,
        _ => u16::try_from(plan.peers.len()).unwrap_or(u16::MAX),
    }
}

/// The peers of a lane in the order of its preference.
pub fn peers(plan: &ForwardPlan, lane: u16) -> Vec<Url> {
    let mut peers = plan.peers.clone();
    peers.rotate_left(usize::from(lane) % plan.peers.len().max(1));
    peers
}

/// The name of a lane as a reader of a spool.
pub fn reader(output: &str, plan: &ForwardPlan, lane: u16) -> String {
    match lanes(plan) {
        1 => output.to_string(),
        lanes => match parts(plan) {
            0 => format!("{output}.lane{lane}of{lanes}"),
            parts => format!("{output}.lane{lane}of{lanes}-{parts:016x}"),
        },
    }
}

/// Which lines belong to which lane, where that depends on the peers: other peers, other parts, so
/// that no lane takes lines for passed that were another's. 0 where it does not depend on them.
fn parts(plan: &ForwardPlan) -> u64 {
    match plan.balance {
        BalancePlan::Hash { .. } => {
            let peers: Vec<_> = plan.peers.iter().map(ToString::to_string).collect();
            xxh3_64(peers.join(" ").as_bytes())
        }
        _ => 0,
    }
}

/// The identity a lane shows to a logweir that receives: it stands for the spool and for the part
/// of its lines that the lane sends.
pub fn identity(spool: Identity, plan: &ForwardPlan, lane: u16) -> Identity {
    if lanes(plan) == 1 {
        return spool;
    }
    let mut what = format!("{spool} {:?} {lane} {}", plan.balance, lanes(plan));
    if parts(plan) != 0 {
        what += &format!(" {:016x}", parts(plan));
    }
    let half = |seed| u128::from(xxh3_64_with_seed(what.as_bytes(), seed));
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

    /// Which peer each of 10,000 keys goes to.
    fn assigned(peers: &[&str]) -> Vec<String> {
        let peer = |host: &&str| Url { protocol: Protocol::Relp, host: (*host).into(), port: 1 };
        let peers: Vec<_> = peers.iter().map(peer).collect();
        let balance = BalancePlan::Hash { key: r"^(\S+)".into() };
        let plan = ForwardPlan { peers, ..plan(balance) };
        let text: String = (0..10_000).map(|key| format!("key{key} x\n")).collect();
        let mut to = vec![String::new(); 10_000];
        for (peer, share) in plan.peers.iter().zip(shares(&plan, 0, &text)) {
            for line in share.lines() {
                let number = line[3..].split(' ').next().unwrap();
                to[number.parse::<usize>().unwrap()].clone_from(&peer.host);
            }
        }
        to
    }

    #[test]
    fn only_the_share_of_a_peer_moves_when_it_comes_or_goes() {
        let five = assigned(&["a", "b", "c", "d", "e"]);
        for peer in ["a", "b", "c", "d", "e"] {
            let keys = five.iter().filter(|to| *to == peer).count();
            assert!((1_850..2_150).contains(&keys), "{peer} has {keys} of 10,000 keys");
        }
        // One that comes takes from all, and none of the others takes anything.
        let six = assigned(&["a", "b", "c", "d", "e", "f"]);
        let moved: Vec<_> = five.iter().zip(&six).filter(|(was, is)| was != is).collect();
        assert!((1_550..1_800).contains(&moved.len()), "{} keys moved", moved.len());
        assert!(moved.iter().all(|(_, is)| *is == "f"));
        // One that goes leaves its keys to the others; wherever it stood in the list.
        let four = assigned(&["d", "a", "e", "c"]);
        let moved = five.iter().zip(&four).filter(|(was, is)| was != is);
        let moved: Vec<_> = moved.map(|(was, is)| (was.as_str(), is.as_str())).collect();
        assert!(moved.iter().all(|(was, _)| *was == "b"));
        assert_eq!(moved.len(), five.iter().filter(|to| *to == "b").count());
        for peer in ["a", "c", "d", "e"] {
            assert!(moved.iter().filter(|(_, is)| *is == peer).count() > 400, "{peer}");
        }
    }

    #[test]
    fn other_peers_are_other_parts_with_other_readers_and_identities() {
        let hash = BalancePlan::Hash { key: r"^(\S+)".into() };
        let (abc, mut abd) = (plan(hash.clone()), plan(hash));
        abd.peers[2].host = "d".into();
        assert_ne!(reader("out", &abc, 0), reader("out", &abd, 0));
        assert_ne!(identity(Identity::of(7), &abc, 0), identity(Identity::of(7), &abd, 0));
        let turns = plan(BalancePlan::RoundRobin);
        assert_eq!(reader("out", &turns, 1), "out.lane1of3");
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
