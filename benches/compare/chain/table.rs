//! The table of the chains, and the ratios that are wanted.

use super::place::{Chain, Peer};
use super::run::Measured;
use crate::case::CaseName;
use crate::table::{median, show};

type Rows = [(Chain, Vec<Measured>)];

/// Prints a row a chain, each figure the median over its runs.
pub(crate) fn print(rows: &Rows) {
    println!(
        "{:<20} {:>9} {:>6} {:>6} {:>8} {:>10} {:>10} {:>8} {:>8} {:>12}",
        "",
        "lines/s",
        "lost",
        "twice",
        "CPU both",
        "CPU sender",
        "CPU recvr",
        "MiB sndr",
        "MiB rcvr",
        "calls/1000"
    );
    for (chain, runs) in rows {
        let timed: Vec<Measured> = runs.iter().filter(|run| run.calls.is_none()).copied().collect();
        let figure = |of: fn(&Measured) -> f64, decimals| show(median(&timed, of), decimals);
        println!(
            "{:<20} {:>9} {:>6} {:>6} {:>8} {:>10} {:>10} {:>8} {:>8} {:>12}",
            chain.to_string(),
            figure(|run| run.lines_per_s, 0),
            figure(|run| (run.sent - run.kept) as f64, 0),
            figure(|run| run.twice as f64, 0),
            figure(both, 0),
            figure(|run| run.sender.cpu_ns_per_line, 0),
            figure(|run| run.receiver.cpu_ns_per_line, 0),
            figure(|run| run.sender.memory_mib, 1),
            figure(|run| run.receiver.memory_mib, 1),
            show(runs.iter().find_map(|run| run.calls), 1),
        );
    }
    println!(
        "CPU in ns a line; calls of the sender a thousand lines, in a run of its own (strace)"
    );
}

fn both(run: &Measured) -> f64 {
    run.sender.cpu_ns_per_line + run.receiver.cpu_ns_per_line
}

/// Prints what logweir's figures are over rsyslog's, and what they should be.
pub(crate) fn print_ratios(case: CaseName, rows: &Rows) {
    let ratio = |of: fn(&Measured) -> f64| {
        let of = |peer: Peer| {
            let (_, runs) = rows.iter().find(|(chain, _)| chain.sender == peer)?;
            let timed: Vec<_> = runs.iter().filter(|run| run.calls.is_none()).copied().collect();
            median(&timed, of)
        };
        show(of(Peer::Logweir).zip(of(Peer::Rsyslog)).map(|(ours, theirs)| ours / theirs), 2)
    };
    let speed = ratio(|run| run.lines_per_s);
    let cpu = ratio(|run| run.sender.cpu_ns_per_line);
    match case {
        CaseName::Pair => println!(
            "logweir over rsyslog: lines a second x {speed} (wanted: at least 5), CPU of both \
             ends x {}",
            ratio(both)
        ),
        _ => println!(
            "logweir over rsyslog: CPU of the sender x {cpu} (wanted: at most 0.25), lines a \
             second x {speed}"
        ),
    }
}
