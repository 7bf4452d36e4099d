//! `logweir spool`: what is in a spool, its lines, its damages; sending it on; trimming it.
//!
//! All but `trim` read a spool while a daemon writes to it, and take no lock.

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

/// Look at a spool, read it, check it, send it on, trim it
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

/// Does what the command asks for.
///
/// # Errors
/// That the folder is no spool or cannot be read, and what to do about it.
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
