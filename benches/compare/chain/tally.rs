//! Which numbered lines are there, which are missing, which are there twice.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};

use super::line;

/// How often each line was seen.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    seen: Vec<u8>,
    /// Lines that are none of ours: cut, merged, or made up.
    pub(crate) strange: u64,
}

impl Tally {
    /// For lines 1 to `lines`.
    pub(crate) fn new(lines: u64) -> Self {
        Self { seen: (0..lines).map(|_| 0).collect(), strange: 0 }
    }

    /// Counts the lines of a file.
    pub(crate) fn file(path: &Path, lines: u64) -> Result<Self> {
        let mut tally = Self::new(lines);
        let file = File::open(path).with_context(|| format!("no {}", path.display()))?;
        tally.lines(BufReader::with_capacity(1 << 20, file))?;
        Ok(tally)
    }

    /// Counts lines, each ended by a newline.
    pub(crate) fn lines(&mut self, mut from: impl BufRead) -> Result<()> {
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line)? > 0 {
            // Without its newline a line is not whole.
            self.line(line.strip_suffix(b"\n").unwrap_or_default());
            line.clear();
        }
        Ok(())
    }

    /// Counts one line, given without its newline; its number, where it is one of ours.
    pub(crate) fn line(&mut self, line: &[u8]) -> Option<u64> {
        let number = line::number(line);
        match number.and_then(place).and_then(|place| self.seen.get_mut(place)) {
            Some(seen) => {
                *seen = seen.saturating_add(1);
                number
            }
            None => {
                self.strange += 1;
                None
            }
        }
    }

    /// How many different lines there are.
    pub(crate) fn kept(&self) -> u64 {
        self.seen.iter().filter(|&&seen| seen > 0).count() as u64
    }

    /// How many lines came once too often.
    pub(crate) fn twice(&self) -> u64 {
        self.seen.iter().map(|&seen| u64::from(seen.saturating_sub(1))).sum()
    }

    /// How many lines are here and not there.
    pub(crate) fn missing_in(&self, there: &Self) -> u64 {
        let pairs = self.seen.iter().zip(&there.seen);
        pairs.filter(|(here, there)| **here > 0 && **there == 0).count() as u64
    }

    /// Takes over what another tally saw; a line that both saw stays one line.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (seen, other) in self.seen.iter_mut().zip(&other.seen) {
            *seen = (*seen).max(*other);
        }
    }
}

/// Where line `number`, counted from 1, is noted.
fn place(number: u64) -> Option<usize> {
    usize::try_from(number.checked_sub(1)?).ok()
}
