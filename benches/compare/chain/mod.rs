//! Chains: a sender that spools and forwards over RELP, and its receiver.

mod ends;
mod feed;
mod line;
mod logweir;
mod place;
mod rsyslog;
mod run;
mod table;
mod tally;

use anyhow::Result;

pub(crate) use self::ends::Programs;
pub(crate) use self::feed::Feed;
pub(crate) use self::line::Lines;
pub(crate) use self::place::{Chain, Peer, Place, Way};
use self::run::{Flow, Measured};
pub(crate) use self::tally::Tally;
use crate::case::{Case, CaseName};
use crate::measure::Bench;
use crate::strace::Strace;

/// Lines of the further run that counts system calls; each of them costs a great deal there.
const STRACED: u64 = 50_000;

/// Runs the case's chains in turn, round by round, and prints its table; false when one failed.
pub(crate) fn run_case(bench: &Bench<'_>, case: &Case, rounds: usize, only: &[String]) -> bool {
    let programs = programs(bench);
    let mut chains = chains(case.name);
    chains.retain(|chain| programs.have(*chain) && chain.wanted(only));
    let mut runs: Vec<Vec<Measured>> = chains.iter().map(|_| Vec::new()).collect();
    let mut good = true;
    let flow = Flow { lines: case.lines, rate: case.rate, strace: false };
    for round in 0..rounds {
        for (chain, runs) in chains.iter().zip(&mut runs) {
            let mut flows = vec![flow];
            if round == 0 && Strace::is_here() {
                flows.push(Flow { lines: case.lines.min(STRACED), strace: true, ..flow });
            }
            for flow in flows {
                match run(bench, &programs, *chain, flow) {
                    Ok(measured) => runs.push(measured),
                    Err(error) => {
                        eprintln!("{chain}: {error:#}");
                        good = false;
                    }
                }
            }
        }
    }
    let rows: Vec<_> = chains.into_iter().zip(runs).collect();
    table::print(&rows);
    table::print_ratios(case.name, &rows);
    good && exact(&rows)
}

/// The programs that can stand at the ends.
pub(crate) fn programs(bench: &Bench<'_>) -> Programs {
    Programs::look(&bench.found.logweir, bench.found.rsyslog(), bench.scratch)
}

fn run(bench: &Bench<'_>, programs: &Programs, chain: Chain, flow: Flow) -> Result<Measured> {
    let dir = bench.run_dir()?;
    run::run(programs, chain, flow, dir.path())
}

fn chains(name: CaseName) -> Vec<Chain> {
    let receiver = |sender| if name == CaseName::Relp { Peer::Rsyslog } else { sender };
    [Peer::Logweir, Peer::Rsyslog]
        .map(|sender| Chain { sender, receiver: receiver(sender) })
        .to_vec()
}

/// Whether every line that logweir forwarded arrived, once and as it was.
fn exact(rows: &[(Chain, Vec<Measured>)]) -> bool {
    let mut good = true;
    for (chain, runs) in rows.iter().filter(|(chain, _)| chain.sender == Peer::Logweir) {
        if runs.iter().any(|run| run.kept != run.sent || run.twice + run.strange > 0) {
            eprintln!("{chain}: lines are missing, there twice, or altered");
            good = false;
        }
    }
    good
}
