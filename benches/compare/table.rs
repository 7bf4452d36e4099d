//! The table of a case.

use crate::measure::Measured;
use crate::program::Program;

/// Prints a row a program, each figure the median over its runs.
pub(crate) fn print(rows: &[(&Program, &Vec<Measured>)]) {
    println!(
        "{:<22} {:>10} {:>10} {:>10} {:>7} {:>12} {:>12} {:>9}",
        "program", "sent", "lines/s", "kept", "%", "CPU ns/line", "x bare loop", "peak MiB"
    );
    let bare = rows.iter().find(|(program, _)| matches!(program, Program::BareLoop));
    let bare = bare.and_then(|(_, runs)| median(runs, |run| run.cpu_ns_per_line));
    for (program, runs) in rows {
        print_row(&program.name(), runs, bare);
    }
}

fn print_row(name: &str, runs: &[Measured], bare: Option<f64>) {
    let figure = |of: fn(&Measured) -> f64| median(runs, of);
    let sent = figure(|run| run.sent as f64);
    let kept = figure(|run| run.kept as f64);
    let cpu = figure(|run| run.cpu_ns_per_line);
    println!(
        "{name:<22} {:>10} {:>10} {:>10} {:>7} {:>12} {:>12} {:>9}",
        show(sent, 0),
        show(figure(|run| run.lines_per_s), 0),
        show(kept, 0),
        show(figure(|run| 100.0 * run.kept as f64 / run.sent as f64), 2),
        show(cpu, 0),
        show(cpu.zip(bare).map(|(cpu, bare)| cpu / bare), 2),
        show(figure(|run| run.memory_mib), 1),
    );
}

pub(crate) fn show(figure: Option<f64>, decimals: usize) -> String {
    figure.map_or_else(|| "-".into(), |figure| format!("{figure:.decimals$}"))
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median<T>(runs: &[T], of: impl Fn(&T) -> f64) -> Option<f64> {
    let mut figures: Vec<f64> = runs.iter().map(of).collect();
    figures.sort_by(f64::total_cmp);
    let (low, high) = (figures.get(figures.len().checked_sub(1)? / 2)?, figures[figures.len() / 2]);
    Some(f64::midpoint(*low, high))
}
