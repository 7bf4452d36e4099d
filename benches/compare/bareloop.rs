//! The bare loop: compiled here, measured as the others are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::program::Place;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/bareloop.c");

/// Compiles it into a folder.
pub(crate) fn compile(folder: &Path) -> Result<PathBuf> {
    compile_from(SOURCE, &folder.join("bareloop"))
}

/// Compiles a program of one C file.
pub(crate) fn compile_from(source: &str, program: &Path) -> Result<PathBuf> {
    let done = Command::new("cc").args(["-O2", "-o"]).arg(program).arg(source).status();
    ensure!(done.context("cannot start cc")?.success(), "cc could not compile {source}");
    Ok(program.to_owned())
}

/// Compiles a library of one C file, to be preloaded.
pub(crate) fn compile_library(source: &str, library: &Path) -> Result<PathBuf> {
    let mut command = Command::new("cc");
    command.args(["-O2", "-shared", "-fPIC", "-o"]).arg(library).arg(source);
    ensure!(
        command.status().context("cannot start cc")?.success(),
        "cc could not compile {source}"
    );
    Ok(library.to_owned())
}

/// The command that starts it.
pub(crate) fn command(program: &Path, place: &Place<'_>) -> Command {
    let mut command = Command::new(program);
    command.arg(place.port.to_string()).arg(place.output());
    command
}
