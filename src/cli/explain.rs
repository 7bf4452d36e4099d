//! `logweir explain KEY`: one key's documentation.

use std::process::ExitCode;

use crate::config::explain;

/// Print the documentation of a configuration key
///
/// Lists every table that has the key, with its possible values there, its effect, and its default.
/// Exits with 2 if there is no such key, and suggests the most similar one.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The key, alone or with its table, as in `queue`, `output.queue` or `spool.dir`.
    #[arg(value_name = "KEY")]
    key: String,
}

/// Runs the subcommand.
///
/// # Errors
/// If standard output cannot be written to.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let text = match explain::explain(&args.key) {
        Ok(text) => text,
        Err(message) => {
            eprintln!("logweir: {message}");
            return Ok(ExitCode::from(2));
        }
    };
    super::print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
