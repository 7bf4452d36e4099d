//! The command line: one module a subcommand, each with its `Args` and its `run`.
//!
//! Exit codes: 0 done, 1 it failed, 2 the command line or the configuration was refused.

pub mod check;
pub mod control;
pub mod ctl;
pub mod run;
pub mod top;
pub mod udp2log;

use std::ffi::{OsStr, OsString};
use std::path::Path;
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
    Udp2log(udp2log::Args),
}

/// Runs what the command line asks for; the code to exit with.
pub fn main() -> ExitCode {
    let cli = Cli::parse_from(with_drop_in(std::env::args_os().collect()));
    let done: anyhow::Result<ExitCode> = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Top(args) => top::run(&args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Udp2log(args) => udp2log::run(args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("logweir: {error:#}");
        ExitCode::FAILURE
    })
}

/// The programs whose job is done under their own names.
const DROP_INS: [&str; 4] = ["udp2log", "log2udp", "packet-loss", "udp2log-demux"];

/// Started by the name of a program it replaces (a symlink), the first argument is that name.
fn with_drop_in(mut args: Vec<OsString>) -> Vec<OsString> {
    let program = args.first().and_then(|path| Path::new(path).file_name());
    if let Some(name) = DROP_INS.iter().find(|name| program == Some(OsStr::new(name))) {
        args.insert(1, name.into());
    }
    args
}
