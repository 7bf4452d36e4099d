//! The command line: one module a subcommand, each with its `Args` and its `run`.
//!
//! Exit codes: 0 done, 1 it failed, 2 the command line or the configuration was refused.

pub mod check;
pub mod control;
pub mod ctl;
pub mod r#gen;
pub mod peer;
pub mod run;
pub mod send;
pub mod top;
pub mod url;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Where the configuration is, unless the user says otherwise.
pub const DEFAULT_CONFIG: &str = crate::config::FILE_DEFAULT;

/// Takes log lines in, splits the flow through filter processes and sampling, and hands
/// it on without losing count of a single line.
#[derive(Debug, Parser)]
#[command(name = "logweir", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Top(top::Args),
    Ctl(ctl::Args),
    Check(check::Args),
    Send(send::Args),
    Gen(r#gen::Args),
}

/// Runs what the command line asks for; the code to exit with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done: anyhow::Result<ExitCode> = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Top(args) => top::run(&args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Gen(args) => r#gen::run(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("logweir: {error:#}");
        ExitCode::FAILURE
    })
}
