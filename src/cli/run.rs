//! `logweir run`: the daemon, in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config;
use crate::driver::Daemon;
use crate::logger::{self, Style, Target};
use crate::printable::printable_lines;

/// Run the daemon in the foreground, as systemd expects
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = super::DEFAULT_CONFIG)]
    config: PathBuf,
}

/// Runs the daemon until a signal ends it; returns 2 if the configuration is refused.
///
/// # Errors
/// Only if the system refuses something the daemon cannot run without.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let checked = match config::read(&args.config) {
        Ok(checked) => checked,
        Err(refusal) => {
            eprintln!("{}", printable_lines(&refusal.to_string()));
            return Ok(ExitCode::from(2));
        }
    };
    let _log = logger::start(Target::Stderr, Style::Plain)?;
    checked.plan.daemon.log.apply();
    for warning in &checked.warnings {
        logger::lines(log::Level::Warn, &warning.to_string());
    }
    let path = args.config;
    let reread = move || match config::read(&path) {
        Ok(checked) => {
            for warning in &checked.warnings {
                logger::lines(log::Level::Warn, &warning.to_string());
            }
            Ok(checked.plan)
        }
        Err(refusal) => Err(refusal.to_string()),
    };
    match Daemon::open(&checked.plan, Box::new(reread)) {
        Ok(daemon) => daemon.run()?,
        Err(error) => {
            logger::lines(log::Level::Error, &error.to_string());
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}
