//! Which lines are in a spool's segments, read without logweir.
//!
//! Only whole batches count: a batch that the kill cut short was never in the spool.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::chain::Tally;

/// Bytes of a row, as logweir-spool(5) has it.
const ROW: usize = 145;

/// Counts the lines of all segments.
pub(super) fn tally(spool: &Path, lines: u64) -> Result<Tally> {
    let mut tally = Tally::new(lines);
    for entry in fs::read_dir(spool)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "log") {
            let bytes = fs::read(&path)?;
            segment(&bytes, &mut tally).with_context(|| path.display().to_string())?;
        }
    }
    Ok(tally)
}

fn segment(mut bytes: &[u8], tally: &mut Tally) -> Result<()> {
    while let Some((row, rest)) = bytes.split_at_checked(ROW) {
        if !row.starts_with(b"\x1e1") || row[ROW - 1] != b'\n' {
            bail!("a row was expected {} bytes before the end", bytes.len());
        }
        let payload = if row[2] == b'B' { number(&row[36..46])? } else { 0 };
        let Some((payload, rest)) = rest.split_at_checked(payload) else { return Ok(()) };
        tally.lines(payload)?;
        bytes = rest;
    }
    Ok(())
}

fn number(digits: &[u8]) -> Result<usize> {
    Ok(std::str::from_utf8(digits)?.parse()?)
}
