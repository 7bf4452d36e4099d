//! `logweir spool`: shows a spool's content, lines and damage; replays it; trims it.
//!
//! All except `trim` can read a spool while a daemon writes to it, and take no lock.

mod cat;
mod destination;
mod feed;
mod folder;
mod losses;
mod ls;
mod replay;
mod target;
pub(super) mod time;
mod trim;
mod verify;
mod walk;

use std::process::ExitCode;

use clap::Subcommand;

/// List, read, check, replay or trim a spool
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ls(ls::Args),
    Cat(cat::Args),
    Verify(verify::Args),
    Replay(replay::Args),
    Trim(trim::Args),
}

/// Runs the command.
///
/// # Errors
/// That the folder is not a spool or cannot be read, with advice.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Ls(args) => ls::run(args),
        Command::Cat(args) => cat::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Trim(args) => trim::run(args),
    }
}

/// `1 line`, `2 lines`.
fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
