//! Into Kafka and out of it, beside kcat and rsyslog, with real brokers; and with kills.

mod brokers;
#[path = "../../../tests/kafka/cluster.rs"]
mod cluster;
mod figures;
mod kills;
mod programs;
mod table;
mod topic;

use anyhow::Result;

use crate::case::{Case, CaseName};
use crate::measure::Bench;

/// Runs one of the cases; false when it failed. Where there are no brokers, it says so.
pub(crate) fn run_case(
    bench: &Bench<'_>,
    case: &Case,
    rounds: usize,
    seed: Option<u64>,
    only: &[String],
) -> Result<bool> {
    match case.name {
        CaseName::KafkaKills => kills::run_case(bench, case, rounds, seed, only),
        _ => figures::run_case(bench, case, rounds, only),
    }
}
