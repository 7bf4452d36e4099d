//! `logweir schema`: the JSON Schema of the configuration.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::schema;

/// Print the JSON Schema of the configuration
///
/// An editor completes and checks a configuration with it: save it to a file, and name that in
/// the first line of the configuration, as in `#:schema ./logweir.schema.json`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
///
/// # Errors
/// When standard output cannot be written to.
pub fn run(_: &Args) -> anyhow::Result<ExitCode> {
    let text = serde_json::to_string_pretty(&schema::schema())? + "\n";
    match io::stdout().lock().write_all(text.as_bytes()) {
        // `schema | head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    Ok(ExitCode::SUCCESS)
}
