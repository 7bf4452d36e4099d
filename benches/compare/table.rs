//! The table of a case.

use crate::case::CaseName;
use crate::measure::Measured;
use crate::program::Program;

/// Prints a row a program, each figure the median over its runs. The ratio is to the bare loop or,
/// where it has no part, to rsyslog.
pub(crate) fn print(rows: &[(&Program, &Vec<Measured>)]) {
    let bare = runs_of(rows, |program| matches!(program, Program::BareLoop));
    let rsyslog = runs_of(rows, |program| matches!(program, Program::Rsyslog(_)));
    let (ratio, base) = match (bare, rsyslog) {
        (None, Some(runs)) => ("x rsyslog", Some(runs)),
        (runs, _) => ("x bare loop", runs),
    };
    println!(
        "{:<22} {:>10} {:>10} {:>10} {:>7} {:>12} {ratio:>12} {:>9}",
        "program", "sent", "lines/s", "kept", "%", "CPU ns/line", "peak MiB"
    );
    let base = base.and_then(|runs| median(runs, |run| run.cpu_ns_per_line));
    for (program, runs) in rows {
        print_row(&program.name(), runs, base);
    }
}

/// Prints how a case of syslog compares with what is wanted of it.
pub(crate) fn print_wanted(case: CaseName, rows: &[(&Program, &Vec<Measured>)]) {
    type Figure = fn(&Measured) -> f64;
    let (what, figure, wanted): (_, Figure, _) = match case {
        CaseName::SyslogUdp => ("CPU a line", |run| run.cpu_ns_per_line, "at most 0.167"),
        CaseName::SyslogTcp => ("lines a second", |run| run.lines_per_s, "at least 4"),
        _ => return,
    };
    let ours = runs_of(rows, |program| matches!(program, Program::Logweir(_)));
    let theirs = runs_of(rows, |program| matches!(program, Program::Rsyslog(_)));
    let of = |runs: Option<&[Measured]>| median(runs?, figure);
    if let Some((ours, theirs)) = of(ours).zip(of(theirs)) {
        println!("logweir over rsyslog: {what} x {:.3} (wanted: {wanted})", ours / theirs);
    }
}

fn runs_of<'a>(
    rows: &[(&Program, &'a Vec<Measured>)],
    is: impl Fn(&Program) -> bool,
) -> Option<&'a [Measured]> {
    rows.iter().find(|(program, _)| is(program)).map(|(_, runs)| runs.as_slice())
}

fn print_row(name: &str, runs: &[Measured], base: Option<f64>) {
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
        show(cpu.zip(base).map(|(cpu, base)| cpu / base), 2),
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
