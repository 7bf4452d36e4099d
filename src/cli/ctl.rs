//! `logweir ctl`: tells the daemon something and waits for what comes of it.

use std::process::ExitCode;

use clap::Subcommand;

use super::control::Daemon;
use super::top;
use crate::driver::control::Request;
use crate::logger::Verbosity;

/// Tell the running daemon to do something, and wait for the outcome
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    daemon: Daemon,
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Read the configuration again; refused, nothing changes and the exit code is 1
    Reload,
    /// Open all output files again by their names, after logrotate moved them
    Rotate,
    /// Print the counts of every node, as `top --once` does
    Status,
    /// Log more, or less, until a restart or until a reload changes `log`
    Log {
        /// How much
        level: Verbosity,
    },
}

/// Carries the order out.
///
/// # Errors
/// That the daemon is not found, or its refusal.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match args.order {
        Order::Reload => {
            args.daemon.ask(Request::Reload)?;
            println!("reloaded");
        }
        Order::Rotate => {
            args.daemon.ask(Request::Rotate)?;
            println!("files are reopened at their next line");
        }
        Order::Log { level } => {
            args.daemon.ask(Request::Log { level })?;
            println!("the log level is {}", level.word());
        }
        Order::Status => print!("{}", top::table(args.daemon.status()?)),
    }
    Ok(ExitCode::SUCCESS)
}
