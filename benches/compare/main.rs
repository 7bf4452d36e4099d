//! Runs the same load through logweir and through others, side by side, and prints one table.
//!
//! `cargo bench --bench compare -- [--quick] [--case NAME]… [--lines N] [--rounds N]`
//!
//! An absolute time says little on a shared machine, so every round runs each program in turn and
//! what counts is the ratio to the bare loop (`bareloop.c`), the least work there is. Peers that
//! are not installed are left out: rsyslog is looked for in the path, syslog-ng there or below
//! the folder that `LOGWEIR_SYSLOG_NG_ROOT` names. All traffic stays on loopback.
//!
//! The cases of syslog (`syslog-udp`, `syslog-tcp`) have no bare loop: their ratio is to rsyslog.
//! Over UDP the messages are those of `logweir gen`: of several severities (some one in five is
//! an error), but of one host. Over TCP a thread of this process sends them, the daemon has one
//! core and that thread another (`taskset`), and the time runs from the first write until the last
//! line is in the file.
//!
//! `fan` has one stream go into many pipes; its ratio is to a tee loop (`fan/teeloop.c`). The
//! daemon and all readers have one core, the sender the other. `--only` chooses loads by their
//! names.
//!
//! `soak` prints no figures of speed: a site with trouble, whose lines are all accounted for. It
//! needs root, or user namespaces.
//!
//! `tail` has rsyslog's imfile follow the same files, and a bare read loop (`tail/readloop.c`) read
//! the same backlog.
//!
//! The cases over RELP compare with rsyslog (with its package for RELP), the replay with socat;
//! system calls are counted by strace. `--case kills` prints counts, not times: what is missing
//! and what is twice after SIGKILL of either end.
//!
//! The cases of Kafka start brokers from the jars in the folder that `LOGWEIR_KAFKA_JARS` names,
//! and need kcat; rsyslog takes part with its package for Kafka. `--case kafka-kills` prints counts.
//!
//! `--case memory` prints what memory and what room on disk logweir takes: of a copy of what `cargo
//! build --release` builds, by `--logweir`, for what is built for a bench has more features of what
//! it depends on.

mod bareloop;
mod case;
mod chain;
mod daemon;
mod door;
mod fan;
mod kafka;
mod kills;
mod load;
mod logweir;
mod measure;
mod memory;
mod pin;
mod program;
mod replay;
mod rsyslog;
mod soak;
mod stalled;
mod strace;
mod stream;
mod syslog_ng;
mod table;
mod tail;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::case::{Case, CaseName};
use crate::measure::{Bench, Measured};
use crate::program::{Found, Program};

/// Measures logweir beside a bare loop, rsyslog and syslog-ng.
#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Args {
    /// A smoke run: few lines, one round; fails when logweir loses lines of a steady load or of
    /// a stream
    #[arg(long)]
    quick: bool,
    /// Runs only this case (may be given several times)
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<CaseName>,
    /// Lines of each load, instead of the case's own number
    #[arg(long, value_name = "N")]
    lines: Option<u64>,
    /// How often each program is run; the table shows medians
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Runs only the programs whose name contains this (may be given several times)
    #[arg(long = "only", value_name = "NAME")]
    only: Vec<String>,
    /// Where the random moments of the kills, and the troubles of the soak, come from
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How long the soak lasts
    #[arg(long, value_name = "N", default_value_t = 3.0)]
    minutes: f64,
    /// Measures this build of logweir instead of the one just built
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_logweir"))]
    logweir: PathBuf,
    /// Writes the scratch files to memory (/dev/shm) instead of the folder for temporary files
    #[arg(long)]
    tmpfs: bool,
    /// Keeps the scratch folder and says where it is
    #[arg(long)]
    keep: bool,
    /// `cargo bench` passes this
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every case asked for; false when one of them failed.
fn run(args: &Args) -> Result<bool> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("logweir-compare-").disable_cleanup(args.keep);
    let scratch = if args.tmpfs { builder.tempdir_in("/dev/shm") } else { builder.tempdir() }
        .context("no scratch folder")?;
    let found = Found::look(&args.logweir, scratch.path())?;
    for missing in found.missing() {
        println!("not installed, left out: {missing}");
    }
    let bench = Bench { found: &found, scratch: scratch.path(), keep: args.keep };
    let mut good = true;
    for case in Case::chosen(&args.cases, args.quick, args.lines) {
        good &= run_case(&bench, &case, args).unwrap_or_else(|error| {
            eprintln!("{error:#}");
            false
        });
    }
    if args.keep {
        println!("kept: {}", scratch.path().display());
    }
    Ok(good)
}

/// Runs one case; false when it failed.
fn run_case(bench: &Bench<'_>, case: &Case, args: &Args) -> Result<bool> {
    let few = args.quick || case.name.is_no_figure();
    let rounds = args.rounds.unwrap_or(if few { 1 } else { 3 });
    if case.name != CaseName::Soak {
        println!("\n{case}; {rounds} round(s), medians");
    }
    match case.name {
        CaseName::Relp | CaseName::Pair => Ok(chain::run_case(bench, case, rounds, &args.only)),
        CaseName::Soak => soak::run_case(bench, args.minutes, args.seed),
        CaseName::Fan => fan::run_case(bench, case, rounds, &args.only),
        CaseName::Replay => replay::run_case(bench, case, rounds),
        CaseName::Tail => tail::run_case(bench, case, rounds),
        CaseName::Memory => memory::run_case(bench, case),
        CaseName::Kills => kills::run_case(bench, case, rounds, args.seed, &args.only),
        CaseName::KafkaOut | CaseName::KafkaIn | CaseName::KafkaKills => {
            kafka::run_case(bench, case, rounds, args.seed, &args.only)
        }
        _ => run_programs(bench, case, rounds, args),
    }
}

/// Runs one case's programs in turn, round by round, and prints its table.
fn run_programs(bench: &Bench<'_>, case: &Case, rounds: usize, args: &Args) -> Result<bool> {
    let wanted = |program: &Program| {
        let name = program.name();
        args.only.is_empty() || args.only.iter().any(|part| name.contains(part.as_str()))
    };
    let mut programs = bench.found.programs(case.name);
    programs.retain(wanted);
    let mut runs: Vec<Vec<Measured>> = programs.iter().map(|_| Vec::new()).collect();
    let mut good = true;
    for _ in 0..rounds {
        for (program, runs) in programs.iter().zip(&mut runs) {
            match bench.run(program, case) {
                Ok(measured) => runs.push(measured),
                Err(error) => {
                    eprintln!("{}: {error:#}", program.name());
                    good = false;
                }
            }
        }
    }
    let rows: Vec<_> = programs.iter().zip(&runs).collect();
    table::print(&rows);
    table::print_wanted(case.name, &rows);
    good &= all_in_place(&rows);
    if args.quick && case.is_gentle() {
        good &= kept_all(&rows);
    }
    Ok(good)
}

/// Whether logweir kept every line, in every round.
fn kept_all(rows: &[(&Program, &Vec<Measured>)]) -> bool {
    let mut good = true;
    for (program, runs) in rows {
        if matches!(program, Program::Logweir(_)) && runs.iter().any(|run| run.kept != run.sent) {
            eprintln!("logweir lost lines of this load");
            good = false;
        }
    }
    good
}

/// Whether logweir wrote every error to the file of the errors, and nothing else to it. Where lines
/// were lost this says nothing: each file may have lost others.
fn all_in_place(rows: &[(&Program, &Vec<Measured>)]) -> bool {
    let mut good = true;
    for (program, runs) in rows {
        let whole = runs.iter().filter(|run| run.kept == run.sent);
        let misplaced: u64 = whole.map(|run| run.misplaced).sum();
        if misplaced > 0 {
            let name = program.name();
            eprintln!("{name}: the file of the errors is {misplaced} lines off, over all rounds");
            good &= !matches!(program, Program::Logweir(_));
        }
    }
    good
}
