//! `logweir check`: reads and validates the whole configuration; opens nothing else.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::config::plan::{Kind, Plan};
use crate::config::{self, FILE_DEFAULT, graph};
use crate::driver::access;
use crate::printable::printable_lines;

/// Read and validate the whole configuration, without opening a port or a file
///
/// Exits with 0 if it is valid and with 2 if it is refused; then every error is reported with its
/// file, line, column and key. With `--access`, exits with 1 if something it names cannot be had.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = FILE_DEFAULT)]
    config: PathBuf,
    /// Draw the flow on standard output.
    #[arg(long, value_name = "FORMAT")]
    graph: Option<Graph>,
    /// Also try what it names (addresses, folders, files, commands), without changing anything.
    #[arg(long)]
    access: bool,
    /// With --access: as whom; by default as the service's user, logweir, if root asks.
    #[arg(long, value_name = "USER", requires = "access")]
    user: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Graph {
    /// A tree, 80 columns wide.
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid.
    Mermaid,
}

/// Runs the subcommand.
///
/// # Errors
/// If standard output cannot be written to.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let checked = match config::read(&args.config) {
        Ok(checked) => checked,
        Err(refusal) => {
            match has_colours() {
                true => eprintln!("{}", refusal.in_colour()),
                false => eprintln!("{}", printable_lines(&refusal.to_string())),
            }
            return Ok(ExitCode::from(2));
        }
    };
    for warning in &checked.warnings {
        match has_colours() {
            true => eprintln!("{}", warning.in_colour()),
            false => eprintln!("{}", printable_lines(&warning.to_string())),
        }
    }
    let text = match args.graph {
        Some(Graph::Text) => graph::text(&checked.plan),
        Some(Graph::Dot) => graph::dot(&checked.plan),
        Some(Graph::Mermaid) => graph::mermaid(&checked.plan),
        None => format!("{}: {}: fine\n", args.config.display(), summary(&checked.plan)),
    };
    super::print(text.as_bytes())?;
    match args.access {
        true => try_access(&checked.plan, args.user.as_deref()),
        false => Ok(ExitCode::SUCCESS),
    }
}

/// Tries what a plan names, and reports what cannot be had.
fn try_access(plan: &Plan, user: Option<&str>) -> anyhow::Result<ExitCode> {
    let found = access::look(plan, user).map_err(anyhow::Error::msg)?;
    for fault in &found.faults {
        eprintln!("{}", printable_lines(fault));
    }
    if found.faults.is_empty() {
        super::print(format!("access as {}: fine\n", found.user).as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("logweir: {} things cannot be had by {}", found.faults.len(), found.user);
    if found.is_service {
        eprintln!(
            "(rights and groups that a unit adds are not known here: see systemctl cat logweir)"
        );
    }
    Ok(ExitCode::from(1))
}

/// Returns whether standard error is a terminal whose user accepts colours (no-color.org).
fn has_colours() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_unwanted
}

fn summary(plan: &Plan) -> String {
    let mut counts = Vec::new();
    for kind in [Kind::Input, Kind::Filter, Kind::Spool, Kind::Output] {
        let count = plan.nodes.iter().filter(|node| node.body.kind() == kind).count();
        if count > 0 || kind != Kind::Spool {
            counts.push(format!("{count} {}{}", kind.word(), if count == 1 { "" } else { "s" }));
        }
    }
    counts.join(", ")
}
