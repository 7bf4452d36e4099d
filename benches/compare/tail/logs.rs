//! The files that are followed, and who writes to them.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::load::LINE_BYTES;

/// How often a writer at a rate writes.
const BEAT: Duration = Duration::from_millis(2);

/// The line of this number, with its newline as long as all others.
fn line(number: u64) -> String {
    let length = usize::try_from(LINE_BYTES).unwrap_or(0);
    format!("{number:010} {:x>rest$}\n", "", rest = length - 12)
}

/// Writes so many lines to a file.
pub(super) fn fill(path: &Path, lines: u64) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    (0..lines).try_for_each(|number| file.write_all(line(number).as_bytes()))?;
    Ok(file.into_inner()?.sync_data()?)
}

/// Appends so many lines a second to a file, as a program does that logs.
pub(super) fn append(path: &Path, lines: u64, rate: u64) -> Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let (start, mut written) = (Instant::now(), 0);
    while written < lines {
        let due = u64::try_from(start.elapsed().as_micros())? * rate / 1_000_000;
        let text: String = (written..due.min(lines)).map(line).collect();
        file.write_all(text.as_bytes())?;
        written = due.min(lines).max(written);
        thread::sleep(BEAT);
    }
    Ok(())
}

/// Makes so many files with a line each.
pub(super) fn many(folder: &Path, files: usize) -> Result<()> {
    fs::create_dir(folder)?;
    for number in 0..files {
        fs::write(folder.join(format!("{number}.log")), line(number as u64))?;
    }
    Ok(())
}
