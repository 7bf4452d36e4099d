//! `logweir completions`: the script with which a shell completes the command line.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

/// Print the script with which a shell completes logweir's command line
///
/// For bash: logweir completions bash >~/.local/share/bash-completion/completions/logweir
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Runs the subcommand.
///
/// # Errors
/// If standard output cannot be written to.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    generate(args.shell, &mut super::Cli::command(), "logweir", &mut text);
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
