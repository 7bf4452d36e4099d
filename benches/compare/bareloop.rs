//! The bare loop: compiled here, measured as the others are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::program::Place;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/bareloop.c");

/// Compiles it into a folder.
pub(crate) fn compile(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("bareloop");
    let done = Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(SOURCE).status();
    ensure!(done.context("cannot start cc")?.success(), "cc could not compile {SOURCE}");
    Ok(program)
}

/// The command that starts it.
pub(crate) fn command(program: &Path, place: &Place<'_>) -> Command {
    let mut command = Command::new(program);
    command.arg(place.port.to_string()).arg(place.output());
    command
}
