//! The tee loop: compiled here, measured as logweir is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::bareloop;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/fan/teeloop.c");

/// Compiles it into a folder.
pub(super) fn compile(folder: &Path) -> Result<PathBuf> {
    bareloop::compile_from(SOURCE, &folder.join("teeloop"))
}

/// The command that starts it with these children.
pub(super) fn command(program: &Path, port: u16, children: &[String]) -> Command {
    let mut command = Command::new(program);
    command.arg(port.to_string()).args(children);
    command
}
