//! `sample`: one line in N.

use xxhash_rust::xxh3::xxh3_64;

use super::Picked;
use super::key::Key;
use super::patterns::Hits;
use super::plan::{SampleMode, SamplePlan};
use crate::batch::Batch;

/// Keeps one line in N of its input.
#[derive(Debug)]
pub struct Sampler {
    n: u64,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    /// Skips `skip` more lines before the next one is kept.
    Every {
        skip: u64,
    },
    Random(fastrand::Rng),
    Hash(Key),
}

impl Sampler {
    /// Creates a sampler; `name` is the node's name.
    ///
    /// # Errors
    /// Why the regex of the key does not compile.
    pub fn new(plan: &SamplePlan, name: &str) -> Result<Self, String> {
        let n = plan.n.get();
        let seed = xxh3_64(name.as_bytes());
        let mode = match &plan.mode {
            // Two nodes on one stream should not always keep the same lines.
            SampleMode::Every => Mode::Every { skip: seed % n },
            SampleMode::EveryFromStart => Mode::Every { skip: 0 },
            SampleMode::Random => Mode::Random(fastrand::Rng::new()),
            SampleMode::Hash { key } => Mode::Hash(Key::new(key)?),
        };
        Ok(Self { n, mode })
    }

    /// Continues as if `lines` lines had passed since the start of the stream, for udp2log's way of
    /// counting: one counter shared by all nodes that read from it.
    pub fn align(&mut self, plan: &SamplePlan, lines: u64) {
        if let (Mode::Every { skip }, SampleMode::EveryFromStart) = (&mut self.mode, &plan.mode) {
            *skip = (self.n - lines % self.n) % self.n;
        }
    }

    /// Keeps its share of the picked lines.
    pub fn pick(&mut self, picked: Picked, batch: &Batch, hits: &mut Hits) -> Picked {
        let n = self.n;
        let lines = match &picked {
            Picked::All => hits.lines(batch),
            Picked::Some(ranges) => ranges,
        };
        let taken = match &mut self.mode {
            Mode::Every { skip } => {
                let first = usize::try_from(*skip).unwrap_or(usize::MAX);
                let step = usize::try_from(n).unwrap_or(usize::MAX);
                let taken: Vec<_> = lines.iter().copied().skip(first).step_by(step).collect();
                // From the first line to the next one due, in a later batch.
                let turns = *skip + taken.len() as u64 * n;
                *skip = turns - lines.len() as u64;
                taken
            }
            Mode::Random(rng) => lines.iter().copied().filter(|_| rng.u64(0..n) == 0).collect(),
            Mode::Hash(key) => {
                let mut chosen = |&(start, end): &(u32, u32)| {
                    let line = &batch.bytes[start as usize..end as usize - 1];
                    let sources = batch.sources.as_ref();
                    let source = sources.and_then(|sources| sources.of(start as usize));
                    key.hash(line, source).is_some_and(|hash| hash.is_multiple_of(n))
                };
                lines.iter().copied().filter(|range| chosen(range)).collect()
            }
        };
        Picked::Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{batch_of, gather};
    use super::*;

    fn take(sampler: &mut Sampler, text: &str) -> String {
        let batch = batch_of(text);
        let picked = sampler.pick(Picked::All, &batch, &mut Hits::default());
        gather(&batch, &picked)
            .map_or(String::new(), |batch| String::from_utf8(batch.bytes.to_vec()).unwrap())
    }

    fn sampler(n: u64, mode: SampleMode) -> Sampler {
        Sampler::new(&SamplePlan { n: n.try_into().unwrap(), mode }, "node").unwrap()
    }

    #[test]
    fn udp2log_takes_each_nth_line_of_the_stream_across_batches() {
        let mut first = sampler(3, SampleMode::EveryFromStart);
        assert_eq!(take(&mut first, "1\n2\n"), "1\n");
        assert_eq!(take(&mut first, "3\n4\n5\n6\n"), "4\n");
        let mut later = sampler(3, SampleMode::EveryFromStart);
        later.align(&SamplePlan { n: 3.try_into().unwrap(), mode: SampleMode::EveryFromStart }, 6);
        assert_eq!(take(&mut later, "7\n8\n9\n10\n"), take(&mut first, "7\n8\n9\n10\n"));
    }

    #[test]
    fn every_nth_has_a_phase_of_its_own_and_keeps_its_share() {
        let text: String = (0..1000).map(|n| format!("{n}\n")).collect();
        let mut phases = std::collections::BTreeSet::new();
        for name in ["a", "b", "c", "d", "e"] {
            let plan = SamplePlan { n: 10.try_into().unwrap(), mode: SampleMode::Every };
            let taken = take(&mut Sampler::new(&plan, name).unwrap(), &text);
            assert_eq!(taken.lines().count(), 100);
            phases.insert(taken.lines().next().unwrap().to_string());
        }
        assert!(phases.len() > 1, "{phases:?}");
    }

    #[test]
    fn random_takes_about_its_share() {
        let text = "x\n".repeat(100_000);
        let taken = take(&mut sampler(10, SampleMode::Random), &text).lines().count();
        // Ten standard deviations of a binomial distribution.
        assert!((9_000..11_000).contains(&taken), "{taken}");
    }

    #[test]
    fn a_hash_keeps_or_leaves_a_key_on_every_host() {
        let text: String = (0..5000).map(|n| format!("id={} {n}\n", n % 50)).collect();
        let mode = SampleMode::Hash { key: "id=([0-9]+)".into() };
        let taken = take(&mut sampler(5, mode.clone()), &text);
        let keys: std::collections::BTreeSet<_> =
            taken.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(taken.lines().count(), keys.len() * 100, "a key is whole or absent");
        assert!((2..25).contains(&keys.len()), "{keys:?}");
        assert_eq!(take(&mut sampler(5, mode.clone()), &text), taken);
        assert_eq!(take(&mut sampler(1, mode), "no key\n"), "");
    }
}
