//! Every byte of the segments, one after the other: what is sound, and what is not and where.

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

/// The walk through a spool.
pub(super) struct Walk<'a> {
    dir: &'a Path,
    findings: &'a mut Findings,
    /// The segment under hand.
    path: PathBuf,
    /// What in it is damaged and not followed by anything sound yet.
    damage: Vec<Damage>,
    /// The number after the last line that was there or should have been.
    pub next: u64,
    /// Sound lines.
    pub lines: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// The spool that the last segment is of.
    pub spool: Option<Identity>,
}

/// Bytes that make no sense.
#[derive(Debug)]
struct Damage {
    at: u64,
    /// How many; `None`: all from there on.
    bytes: Option<u64>,
}

impl<'a> Walk<'a> {
    /// A walk from the oldest line on.
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

    /// Goes through one segment, which ends where a later one begins.
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
        // A long piece comes in several.
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
                let said = format!("says that the segment begins with line {first}");
                self.findings.wrong(self.place(at, &said));
            }
        } else if at == 0 {
            self.findings.wrong(self.place(at, "does not begin with the row of a segment"));
        }
    }

    fn batch(&mut self, at: u64, header: &Header, payload: &Bytes, until: u64) {
        if header.first < self.next {
            let said = format!("line {} comes where {} is next", header.first, self.next);
            self.findings.wrong(self.place(at, &said));
            return;
        }
        if header.first >= until {
            // Behind a failed sync; where these lines are is the next segment.
            return self.gap(until, Some(at));
        }
        self.gap(header.first, Some(at));
        if count_lines(payload) != header.lines || payload.last() != Some(&b'\n') {
            let said = format!("holds other than the {} lines its row says", header.lines);
            self.findings.wrong(self.place(at + ROW as u64, &said));
        }
        self.lines += u64::from(header.lines);
        self.next = header.end();
    }

    /// What was not there before line `end`, and why.
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
                    let said = format!("{bytes} damaged, {lines} lost");
                    self.findings.lost(lost, self.place(at, &said));
                }
                _ => self.findings.wrong(self.place(at, &format!("{bytes} damaged"))),
            }
            self.next = end.max(self.next);
        }
        if self.next < end {
            let said = format!("{lines} missing");
            let said = at.map_or_else(
                || format!("{}: at its end {said}", self.path.display()),
                |at| self.place(at, &said),
            );
            self.findings.lost(lost, said);
            self.next = end;
        }
    }

    /// The end of a segment, of which `read` bytes made sense or not.
    fn end(&mut self, name: Name, later: Option<u64>, read: u64) {
        let behind = if name.packed { 0 } else { size(self.dir, name).saturating_sub(read) };
        if let Some(later) = later {
            self.gap(later, None);
            if behind > 0 {
                let said =
                    format!("{} that are nobody's, as after a failed sync", count(behind, "byte"));
                self.findings.note(self.place(read, &said));
            }
            return;
        }
        if self.damage.is_empty() && behind > 0 {
            return self.tail(read, behind);
        }
        // What looks like the beginning of a row was left out of it.
        if behind > 0 {
            self.damaged(read, behind);
        }
        for Damage { at, bytes } in std::mem::take(&mut self.damage) {
            let bytes = bytes.map_or_else(|| "the rest".into(), |bytes| count(bytes, "byte"));
            let said = format!("{bytes} damaged, where line {} should be", self.next);
            self.findings.wrong(self.place(at, &said));
        }
    }

    /// What is not whole at the end of the newest segment.
    fn tail(&mut self, at: u64, bytes: u64) {
        let said = format!("{} behind the last whole batch", count(bytes, "byte"));
        if is_held(self.dir) {
            self.findings.note(self.place(at, &format!("{said}: being written, or torn")));
        } else {
            let said = format!("{said}: torn; the daemon cuts them off when it starts");
            self.findings.wrong(self.place(at, &said));
        }
    }

    fn place(&self, at: u64, said: &str) -> String {
        format!("{}: byte {at}: {said}", self.path.display())
    }
}

/// Whether a daemon holds the spool's lock. To find out takes the lock for a moment, shared.
fn is_held(dir: &Path) -> bool {
    let Ok(file) = OsFs.open_own(&dir.join(LOCK)) else { return false };
    let tried = Flock::lock(file, FlockArg::LockSharedNonblock);
    matches!(tried, Err((_, Errno::EWOULDBLOCK)))
}
