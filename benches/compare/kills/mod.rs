//! Kills one end of a chain in the middle of a flow, and counts what is missing and what is twice.

mod flow;
mod spooled;

use anyhow::{Context, Result};

use self::flow::{Flow, Outcome, Victim};
use crate::case::Case;
use crate::chain::{self, Chain, Peer};
use crate::measure::Bench;

/// How often an end is killed.
const KILLS: usize = 3;

/// Does it with another seed each round; false when logweir lost what had reached its spool, or
/// doubled a line.
pub(crate) fn run_case(
    bench: &Bench<'_>,
    case: &Case,
    rounds: usize,
    seed: Option<u64>,
    only: &[String],
) -> Result<bool> {
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let mut good = true;
    for seed in (seed..).take(rounds) {
        good &= run_round(bench, case, seed, only)?;
    }
    Ok(good)
}

/// Runs each chain undisturbed, and with the receiver, the sender or both killed.
fn run_round(bench: &Bench<'_>, case: &Case, seed: u64, only: &[String]) -> Result<bool> {
    let programs = chain::programs(bench);
    println!("{KILLS} kills of each, at moments that --seed {seed} gives:");
    println!(
        "{:<20} {:<9} {:>9} {:>9} {:>9} {:>7} {:>8} {:>13} {:>14}",
        "",
        "killed",
        "sent",
        "arrived",
        "lost",
        "twice",
        "strange",
        "in its spool",
        "of those lost"
    );
    let mut good = true;
    for peer in [Peer::Logweir, Peer::Rsyslog] {
        let chain = Chain { sender: peer, receiver: peer };
        for victim in [Victim::Nobody, Victim::Receiver, Victim::Sender, Victim::Both] {
            if !programs.have(chain) || !chain.wanted(only) {
                continue;
            }
            let dir = bench.run_dir()?;
            let flow = Flow::new(&programs, peer, dir.path(), case.lines)?;
            let at = moments(seed, case.lines);
            let outcome = flow.run(case.rate, victim, &at);
            let outcome = outcome.with_context(|| format!("{chain}, killed: {victim:?}"))?;
            print(chain, victim, case.lines, &outcome);
            good &= keeps_promise(&outcome);
        }
    }
    Ok(good)
}

/// After how many lines the kills come: the same for every chain, none near the ends.
fn moments(seed: u64, lines: u64) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut at: Vec<u64> = (0..KILLS).map(|_| random.u64(lines / 20..lines * 19 / 20)).collect();
    at.sort_unstable();
    at
}

fn print(chain: Chain, victim: Victim, lines: u64, outcome: &Outcome) {
    let kept = outcome.arrived.kept();
    let (spooled, lost) = match &outcome.spooled {
        Some(spooled) => {
            (spooled.kept().to_string(), spooled.missing_in(&outcome.arrived).to_string())
        }
        None => ("-".into(), "-".into()),
    };
    println!(
        "{:<20} {:<9} {lines:>9} {kept:>9} {:>9} {:>7} {:>8} {spooled:>13} {lost:>14}",
        chain.to_string(),
        format!("{victim:?}").to_lowercase(),
        lines - kept,
        outcome.arrived.twice(),
        outcome.arrived.strange,
    );
}

fn keeps_promise(outcome: &Outcome) -> bool {
    outcome.spooled.as_ref().is_none_or(|spooled| {
        spooled.missing_in(&outcome.arrived) == 0
            && outcome.arrived.twice() == 0
            && outcome.arrived.strange == 0
    })
}
