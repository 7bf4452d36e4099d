//! `logweir ctl`: gives the daemon a command and waits for the outcome.

use std::process::ExitCode;

use clap::Subcommand;

use super::control::Daemon;
use super::{minutes, top};
use crate::driver::control::Request;
use crate::engine::minutes::MinutesReport;
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
    /// Read the configuration again; if it is refused, nothing changes and the exit code is 1
    Reload,
    /// Reopen all output files by name, after logrotate has moved them
    Rotate,
    /// Print the counts of every node, as `top --once` does
    Status {
        /// Print the last minutes of every node instead, or the last hour of one: each line counts
        /// in the minute in which a logweir first received it
        #[arg(long, value_name = "NODE", num_args = 0..=1, default_missing_value = "")]
        minutes: Option<String>,
    },
    /// Log more, or less, until a restart or until a reload changes `log`
    Log {
        /// The log level
        level: Verbosity,
    },
}

/// Runs the command.
///
/// # Errors
/// That the daemon is not found, or its refusal.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.order {
        Order::Reload => {
            args.daemon.ask(Request::Reload)?;
            println!("reloaded");
        }
        Order::Rotate => {
            args.daemon.ask(Request::Rotate)?;
            println!("files are reopened at their next line");
        }
        &Order::Log { level } => {
            args.daemon.ask(Request::Log { level })?;
            println!("the log level is {}", level.word());
        }
        Order::Status { minutes: None } => print!("{}", top::table(args.daemon.status()?)),
        Order::Status { minutes: Some(node) } => {
            let (node, minutes) = match node.as_str() {
                "" => (None, minutes::OF_ALL),
                node => (Some(node.to_string()), minutes::OF_ONE),
            };
            let request = Request::Minutes { node: node.clone(), minutes: Some(minutes) };
            let report: MinutesReport = serde_json::from_value(args.daemon.ask(request)?)?;
            if let Some(node) = node.filter(|_| report.nodes.is_empty()) {
                anyhow::bail!("there is no node {node}");
            }
            super::print(minutes::table(&report).as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
