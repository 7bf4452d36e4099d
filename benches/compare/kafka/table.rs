//! The table of the figures, and the ratios that are wanted.

use super::figures::Measured;
use super::programs::Program;
use crate::case::CaseName;
use crate::table::{median, show};

/// The bound of memory: 32 MiB beside `memory`, in MiB. It holds however much waits:
/// `--lines 11000000` are 2 GiB.
const MEMORY_MAX: f64 = 32.0 + 64.0;

type Rows = [(Program, Vec<Measured>)];

/// Prints a row a program, each figure the median over its runs.
pub(super) fn print(rows: &Rows) {
    println!(
        "{:<22} {:>10} {:>10} {:>6} {:>12} {:>9}",
        "", "kept", "lines/s", "twice", "CPU ns/line", "peak MiB"
    );
    for (program, runs) in rows {
        let figure = |of: fn(&Measured) -> f64, decimals| show(median(runs, of), decimals);
        println!(
            "{:<22} {:>10} {:>10} {:>6} {:>12} {:>9}",
            program.to_string(),
            figure(|run| run.kept as f64, 0),
            figure(|run| run.lines_per_s, 0),
            figure(|run| run.twice as f64, 0),
            figure(|run| run.cpu_ns_per_line, 0),
            figure(|run| run.memory_mib, 1),
        );
    }
}

/// Prints what logweir's figures are over those of the others, and what they should be.
pub(super) fn print_ratios(case: CaseName, rows: &Rows) {
    let (kcat, rsyslog) = match case {
        CaseName::KafkaOut => ("wanted: at most 0.40", "wanted: at most 0.125"),
        _ => ("wanted: at most 0.50", "no figure is wanted"),
    };
    for (peer, wanted) in [(Program::Kcat, kcat), (Program::Rsyslog, rsyslog)] {
        let ratio = |of| ratio(rows, peer, of);
        println!(
            "logweir over {peer}: CPU a line x {} ({wanted}), lines a second x {}",
            ratio(|run| run.cpu_ns_per_line),
            ratio(|run| run.lines_per_s),
        );
    }
    println!("peak MiB of logweir: wanted: at most 32 beside `memory` (64 MiB)");
}

/// Whether logweir took no more memory than it may, however much waits.
pub(super) fn is_small(rows: &Rows) -> bool {
    let small = ours(rows).all(|run| run.memory_mib <= MEMORY_MAX);
    if !small {
        eprintln!("logweir took more than {MEMORY_MAX} MiB");
    }
    small
}

fn ours(rows: &Rows) -> impl Iterator<Item = &Measured> {
    let ours = [Program::Logweir, Program::LogweirPiped];
    let ours = rows.iter().filter(move |(program, _)| ours.contains(program));
    ours.flat_map(|(_, runs)| runs)
}

fn ratio(rows: &Rows, peer: Program, of: fn(&Measured) -> f64) -> String {
    let of = |program| {
        let (_, runs) = rows.iter().find(|(one, _)| *one == program)?;
        median(runs, of)
    };
    let ratio = of(Program::Logweir).zip(of(peer)).map(|(ours, theirs)| ours / theirs);
    show(ratio, 3)
}

/// Whether logweir's lines all came, each once.
pub(super) fn is_exact(rows: &Rows, lines: u64) -> bool {
    let exact = ours(rows).all(|run| run.kept == lines && run.twice == 0);
    if !exact {
        eprintln!("logweir lost lines, or doubled them");
    }
    exact
}
