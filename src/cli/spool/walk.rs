//! Walking every byte of the segments in order, to find what is sound and what is damaged.

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::count;
use super::folder::{Folder, open, size};
use super::verify::Findings;
use crate::batch::count_lines;
use crate::fs::{Fs, OsFs};
use crate::ids::Identity;
use crate::spool::folder::{LOCK, Name};
use crate::spool::format::{Header, ROW, Row};
use crate::spool::reader::Either;
use crate::spool::scan::{Item, Scanner};

/// A walk through a spool.
pub(super) struct Walk<'a> {
    dir: &'a Path,
    findings: &'a mut Findings,
    /// The current segment.
    path: PathBuf,
    /// The damage in it that is not followed by anything sound yet.
    damage: Vec<Damage>,
    /// The number after the last line that was there or should have been.
    pub next: u64,
    /// Sound lines.
    pub lines: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// The spool that the last segment belongs to.
    pub spool: Option<Identity>,
}

/// Bytes that cannot be decoded.
#[derive(Debug)]
struct Damage {
    at: u64,
    /// How many; `None` for everything from there on.
    bytes: Option<u64>,
}

impl<'a> Walk<'a> {
    /// Begins a walk at the oldest line.
    pub(super) fn new(folder: &'a Folder, findings: &'a mut Findings) -> Self {
        Self {
            dir: &folder.dir,
            findings,
            path: PathBuf::new(),
            damage: Vec::new(),
            next: folder.oldest(),
            lines: 0,
            bytes: 0,
            spool: None,
        }
    }

    /// Walks one segment, which ends where a later one begins.
    pub(super) fn segment(&mut self, name: Name, later: Option<u64>) {
        self.path = name.path(self.dir);
        self.bytes += size(self.dir, name);
        match open(self.dir, name) {
            Ok(Some(mut scanner)) => {
                self.items(name, later, &mut scanner);
                self.end(name, later, scanner.offset());
            }
            // Every reader has passed it since the folder was listed.
            Ok(None) => self.next = later.unwrap_or(self.next),
            Err(error) => {
                self.findings.wrong(format!("{error:#}"));
                self.gap(later.unwrap_or(self.next), None);
            }
        }
    }

    fn items(&mut self, name: Name, later: Option<u64>, scanner: &mut Scanner<Either<File>>) {
        let until = later.unwrap_or(u64::MAX);
        while self.next < until {
            let at = scanner.offset();
            match scanner.next(later.is_some(), |_| true) {
                Ok(Some(Item::Damage { at, bytes })) => self.damaged(at, bytes.len() as u64),
                Ok(Some(Item::Batch(header, payload))) => self.batch(at, &header, &payload, until),
                Ok(Some(Item::Row(row))) => self.row(name, at, &row),
                Ok(Some(Item::Skipped(_))) => {}
                Ok(None) => break,
                Err(error) => {
                    self.findings.wrong(self.place(at, &format!("cannot be read on: {error}")));
                    self.damage.push(Damage { at, bytes: None });
                    break;
                }
            }
        }
    }

    fn damaged(&mut self, at: u64, bytes: u64) {
        // A long piece is reported in several parts.
        match self.damage.last_mut() {
            Some(Damage { at: before, bytes: Some(count) }) if *before + *count == at => {
                *count += bytes;
            }
            _ => self.damage.push(Damage { at, bytes: Some(bytes) }),
        }
    }

    fn row(&mut self, name: Name, at: u64, row: &Row) {
        if let Row::Segment { spool, first, .. } = row {
            self.spool = Some(*spool);
            if *first != name.first {
                let what = format!("says that the segment begins with line {first}");
                self.findings.wrong(self.place(at, &what));
            }
        } else if at == 0 {
            self.findings.wrong(self.place(at, "does not begin with the row of a segment"));
        }
    }

    fn batch(&mut self, at: u64, header: &Header, payload: &Bytes, until: u64) {
        if header.first < self.next {
            let what = format!("line {} comes where {} is next", header.first, self.next);
            self.findings.wrong(self.place(at, &what));
            return;
        }
        if header.first >= until {
            // The effect of a failed sync; these lines are in the next segment.
            return self.gap(until, Some(at));
        }
        self.gap(header.first, Some(at));
        if count_lines(payload) != header.lines || payload.last() != Some(&b'\n') {
            let what = format!("does not hold the {} lines that its row states", header.lines);
            self.findings.wrong(self.place(at + ROW as u64, &what));
        }
        self.lines += u64::from(header.lines);
        self.next = header.end();
    }

    /// Reports the lines missing before line `end`, and why.
    fn gap(&mut self, end: u64, at: Option<u64>) {
        let lost = end.saturating_sub(self.next);
        let lines = match lost {
            0 => "no line".into(),
            1 => format!("line {}", self.next),
            _ => format!("lines {} to {}", self.next, end - 1),
        };
        let damage = std::mem::take(&mut self.damage);
        let mut left = damage.len();
        for Damage { at, bytes } in damage {
            left -= 1;
            let bytes = bytes.map_or_else(|| "the rest".into(), |bytes| count(bytes, "byte"));
            match left {
                0 => {
                    let what = format!("{bytes} damaged, {lines} lost");
                    self.findings.lost(lost, self.place(at, &what));
                }
                _ => self.findings.wrong(self.place(at, &format!("{bytes} damaged"))),
            }
            self.next = end.max(self.next);
        }
        if self.next < end {
            let what = format!("{lines} missing");
            let what = at.map_or_else(
                || format!("{}: at its end {what}", self.path.display()),
                |at| self.place(at, &what),
            );
            self.findings.lost(lost, what);
            self.next = end;
        }
    }

    /// Handles the end of a segment of which `read` bytes were examined.
    fn end(&mut self, name: Name, later: Option<u64>, read: u64) {
        let behind = if name.packed { 0 } else { size(self.dir, name).saturating_sub(read) };
        if let Some(later) = later {
            self.gap(later, None);
            if behind > 0 {
                let what = format!(
                    "{} that belong to no line, as after a failed sync",
                    count(behind, "byte")
                );
                self.findings.note(self.place(read, &what));
            }
            return;
        }
        if self.damage.is_empty() && behind > 0 {
            return self.tail(read, behind);
        }
        // What looks like the beginning of a row was not included.
        if behind > 0 {
            self.damaged(read, behind);
        }
        for Damage { at, bytes } in std::mem::take(&mut self.damage) {
            let bytes = bytes.map_or_else(|| "the rest".into(), |bytes| count(bytes, "byte"));
            let what = format!("{bytes} damaged, where line {} should be", self.next);
            self.findings.wrong(self.place(at, &what));
        }
    }

    /// Reports an incomplete end of the newest segment.
    fn tail(&mut self, at: u64, bytes: u64) {
        let what = format!("{} after the last whole batch", count(bytes, "byte"));
        if is_held(self.dir) {
            self.findings.note(self.place(at, &format!("{what}: being written, or torn")));
        } else {
            let what = format!("{what}: torn; the daemon cuts them off when it starts");
            self.findings.wrong(self.place(at, &what));
        }
    }

    fn place(&self, at: u64, what: &str) -> String {
        format!("{}: byte {at}: {what}", self.path.display())
    }
}

/// Returns whether a daemon holds the spool's lock. The test takes the lock for a moment, shared.
fn is_held(dir: &Path) -> bool {
    let Ok(file) = OsFs.open_own(&dir.join(LOCK)) else { return false };
    let tried = Flock::lock(file, FlockArg::LockSharedNonblock);
    matches!(tried, Err((_, Errno::EWOULDBLOCK)))
}
