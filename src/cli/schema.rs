//! `logweir schema`: the JSON Schema of the configuration.

use std::process::ExitCode;

use crate::config::schema;

/// Print the JSON Schema of the configuration
///
/// Editors use it to complete and check a configuration: save it to a file, and name that in the
/// first line of the configuration, as in `#:schema ./logweir.schema.json`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the subcommand.
///
/// # Errors
/// If standard output cannot be written to.
pub fn run(_: &Args) -> anyhow::Result<ExitCode> {
    let text = serde_json::to_string_pretty(&schema::schema())? + "\n";
    super::print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
