//! `logweir spool cat`: prints a spool's lines as received, without its rows.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::feed::{Feed, Pick, Piece};
use super::folder::Folder;
use super::losses::Losses;
use crate::limits::READ_CHUNK;

/// Print the lines of a spool
///
/// Works while a daemon writes to it, and on compressed segments. Damaged or missing lines are
/// reported on standard error, and the exit code is then 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The spool's folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    pick: Pick,
    /// End with the line with this number
    #[arg(long, value_name = "N")]
    to: Option<u64>,
}

/// Prints the lines; returns 1 if some are damaged or missing.
///
/// # Errors
/// The system's.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = Folder::open(&args.dir)?;
    let end = args.to.map_or(u64::MAX, |to| to.saturating_add(1));
    let mut feed = Feed::new(&folder, &args.pick, end)?;
    let stdout: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
    // Small pieces are combined, large ones are written in place.
    let mut out = BufWriter::with_capacity(READ_CHUNK, File::from(stdout));
    let mut losses = Losses::default();
    while let Some(chunk) = feed.next().with_context(|| args.dir.display().to_string())? {
        losses.take(&chunk.damage, &chunk.missing);
        if !print(&chunk.pieces, &mut out).context("standard output")? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    match out.flush() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        flushed => flushed.context("standard output")?,
    }
    Ok(losses.finish())
}

/// Prints pieces; returns false if the reader has stopped.
fn print(pieces: &[Piece], out: &mut impl Write) -> io::Result<bool> {
    for piece in pieces {
        match out.write_all(&piece.bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
            written => written?,
        }
    }
    Ok(true)
}
