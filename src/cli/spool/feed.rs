//! The lines that the user asks for, in pieces that share the memory they were read into.

use std::io;
use std::time::SystemTime;

use bytes::Bytes;

use super::folder::{Folder, open};
use super::time;
use crate::batch::{Batch, count_lines};
use crate::config::plan::FormatPlan;
use crate::filter::patterns::{Hits, PatternId, Patterns};
use crate::format::Formatter;
use crate::fs::OsFs;
use crate::limits::FEED_READ;
use crate::spool::folder::Name;
use crate::spool::reader::{Damage, Missing, Reader};
use crate::spool::scan::Item;

/// Which lines.
#[derive(Debug, clap::Args)]
pub(super) struct Pick {
    /// Begin with the line of this number
    #[arg(long, value_name = "N")]
    pub from: Option<u64>,
    /// Only lines received at T or later: an RFC 3339 time, "2026-11-23 08:00" (UTC), or 2h
    /// for two hours ago
    #[arg(long, value_name = "T", value_parser = time::parse)]
    pub since: Option<SystemTime>,
    /// Only lines received before T
    #[arg(long, value_name = "T", value_parser = time::parse)]
    pub until: Option<SystemTime>,
    /// Only lines that match this regex
    #[arg(long = "match", value_name = "RE", value_parser = regex)]
    pub matches: Option<String>,
}

fn regex(text: &str) -> Result<String, String> {
    Search::new(text).map(|_| text.into())
}

/// Lines that follow each other without a gap, each ended by a newline.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// The number of the first one.
    pub first: u64,
    /// How many; at least one.
    pub lines: u32,
    /// The lines.
    pub bytes: Bytes,
    /// When they were received.
    pub received: SystemTime,
}

/// What came of a read.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The lines asked for.
    pub pieces: Vec<Piece>,
    /// What is damaged.
    pub damage: Vec<Damage>,
    /// What is missing.
    pub missing: Vec<Missing>,
}

/// Reads the lines that a [`Pick`] asks for.
pub(super) struct Feed {
    reader: Reader<OsFs>,
    /// The first line that may be asked for.
    pub first: u64,
    /// The line after the last one.
    pub end: u64,
    span: Span,
    search: Option<Search>,
    /// How lines are written, where they do not stay as they are.
    formatter: Option<Formatter>,
}

impl Feed {
    /// The lines of `folder` that are asked for, and before line `end`.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(folder: &Folder, pick: &Pick, end: u64) -> anyhow::Result<Self> {
        let oldest = folder.oldest();
        if let Some(from) = pick.from.filter(|from| *from < oldest) {
            eprintln!("logweir: lines {from} to {} are kept no longer", oldest - 1);
        }
        let mut first = pick.from.unwrap_or(0).max(oldest);
        let mut end = end;
        let span = Span { since: pick.since, until: pick.until };
        if pick.since.is_some() || pick.until.is_some() {
            let (begin, behind) = span.lines(folder)?;
            first = first.max(begin);
            end = end.min(behind);
        }
        let search = pick.matches.as_deref().map(Search::new).transpose();
        Ok(Self {
            reader: Reader::new(OsFs, folder.dir.clone(), first),
            first,
            end: end.max(first),
            span,
            search: search.map_err(anyhow::Error::msg)?,
            formatter: None,
        })
    }

    /// Has lines written in a format.
    pub(super) fn format(&mut self, plan: &FormatPlan) {
        let formatter = Formatter::new(plan);
        self.formatter = Some(formatter).filter(|formatter| !formatter.is_plain());
    }

    /// The number of the line that is looked at next.
    pub(super) fn next_line(&self) -> u64 {
        self.reader.next_line()
    }

    /// The next lines; `None` where there are no more by now.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn next(&mut self) -> io::Result<Option<Chunk>> {
        let before = self.next_line();
        let read = self.reader.read(self.end, FEED_READ)?;
        if self.next_line() == before && read.damage.is_empty() {
            return Ok(None);
        }
        let mut chunk = Chunk { damage: read.damage, missing: read.missing, pieces: Vec::new() };
        for batch in read.batches {
            if self.span.holds(batch.received) {
                self.take(batch, &mut chunk.pieces);
            }
        }
        Ok(Some(chunk))
    }

    fn take(&mut self, batch: Batch, pieces: &mut Vec<Piece>) {
        let first = batch.numbers.map_or(0, |numbers| numbers.first);
        let before = pieces.len();
        match &mut self.search {
            Some(search) => search.runs(&batch, first, pieces),
            None => {
                let Batch { lines, ref bytes, received, .. } = batch;
                pieces.push(Piece { first, lines, bytes: bytes.clone(), received });
            }
        }
        if let Some(formatter) = &self.formatter {
            for piece in &mut pieces[before..] {
                let lines = batch.with(piece.bytes.clone(), piece.lines);
                piece.bytes = formatter.batch(&lines).0;
            }
        }
    }
}

/// A span of time.
#[derive(Debug, Clone, Copy)]
struct Span {
    since: Option<SystemTime>,
    until: Option<SystemTime>,
}

impl Span {
    fn holds(&self, received: SystemTime) -> bool {
        self.since.is_none_or(|since| received >= since)
            && self.until.is_none_or(|until| received < until)
    }

    /// The first line and that behind the last one that can be of this time. Nothing is taken for
    /// granted of the order of times, for clocks are put right: each segment is asked, by its rows
    /// and up to the first that is of this time.
    fn lines(&self, folder: &Folder) -> anyhow::Result<(u64, u64)> {
        let segments = &folder.listing.segments;
        let mut found: Option<(u64, u64)> = None;
        for (at, &name) in segments.iter().enumerate() {
            if self.is_in(folder, name)? {
                let end = segments.get(at + 1).map_or(u64::MAX, |next| next.first);
                found = Some((found.map_or(name.first, |(first, _)| first), end));
            }
        }
        // The newest one is written to meanwhile.
        let newest = segments.last().map_or(0, |name| name.first);
        let (first, end) = found.unwrap_or((newest, u64::MAX));
        Ok((first, if self.until.is_none() { u64::MAX } else { end }))
    }

    /// Whether a segment has a batch of this time; what cannot be read may have.
    fn is_in(&self, folder: &Folder, name: Name) -> anyhow::Result<bool> {
        let Some(mut scanner) = open(&folder.dir, name)? else { return Ok(false) };
        loop {
            match scanner.next(true, |_| false) {
                Ok(Some(Item::Skipped(header))) if self.holds(header.received) => return Ok(true),
                Ok(Some(Item::Damage { .. })) | Err(_) => return Ok(true),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(false),
            }
        }
    }
}

/// A regex that is looked for in whole batches.
struct Search {
    patterns: Patterns,
    id: PatternId,
    hits: Hits,
}

impl Search {
    fn new(text: &str) -> Result<Self, String> {
        let mut patterns = Patterns::default();
        let id = patterns.enter(text);
        patterns.compile()?;
        Ok(Self { patterns, id, hits: Hits::default() })
    }

    /// The lines that match, those that follow each other as one piece.
    fn runs(&mut self, batch: &Batch, first: u64, pieces: &mut Vec<Piece>) {
        self.patterns.search(batch, &mut self.hits);
        let (mut at, mut number) = (0, first);
        let mut hits = self.hits.of(self.id).iter().copied().peekable();
        while let Some((start, mut end)) = hits.next() {
            let mut lines = 1;
            while let Some((_, further)) = hits.next_if(|&(start, _)| start == end) {
                end = further;
                lines += 1;
            }
            let (start, end) = (start as usize, end as usize);
            number += u64::from(count_lines(&batch.bytes[at..start]));
            let bytes = batch.bytes.slice(start..end);
            pieces.push(Piece { first: number, lines, bytes, received: batch.received });
            number += u64::from(lines);
            at = end;
        }
    }
}
